/*
 * diary: see diary.h. Everything is copied, because what an event shows lasts only until its callback returns.
 */
#include "diary.h"
#include <stdio.h>

static const struct brood_handlers table = { .size = sizeof table, .any = diary_write };
const struct brood_handlers *const diary_table = &table;

static void write_letter(struct diary *d, int type)
{
	static const char letters[] = "?SRmd  !DECJw";
	size_t n = strlen(d->order);
	if (type == BROOD_EVENT_REPLY || n + 1 == sizeof d->order)
		return;
	char letter = letters[type];
	if (letter == ' ' || (letter == 'm' && n > 0 && d->order[n - 1] == 'm'))
		return;
	d->order[n] = letter;
	d->order[n + 1] = '\0';
}

static void write_message(struct diary *d, const brood_msg *m)
{
	size_t n = m->length < sizeof d->body - 1 ? m->length : sizeof d->body - 1;
	d->bytes += m->length;
	d->length = m->length;
	snprintf(d->type, sizeof d->type, "%s", m->type);
	memcpy(d->body, m->body, n);
	d->body[n] = '\0';
	if (strcmp(m->type, "numbered") != 0)
		return;
	uint64_t number = numbered_read(m);
	d->wrong += number != d->next;
	d->next = number + 1;
}

static void write_error(struct diary *d, const struct brood_error *e)
{
	d->code = e->code;
	snprintf(d->error, sizeof d->error, "%s", e->name);
	snprintf(d->text, sizeof d->text, "%s", e->text);
}

static void write_exit(struct diary *d, const struct brood_exit *x)
{
	d->exit = *x;
	snprintf(d->stage, sizeof d->stage, "%s", x->stage);
	snprintf(d->exit_text, sizeof d->exit_text, "%s", x->text);
	d->exit.stage = d->stage;
	d->exit.text = d->exit_text;
}

int diary_write(const brood_event *e)
{
	struct diary *d = e->data;
	d->n[e->type]++;
	d->peer = e->peer;
	write_letter(d, e->type);
	if (e->msg)
		write_message(d, e->msg);
	if (e->error && e->type == BROOD_EVENT_DISCONNECT)
		snprintf(d->why, sizeof d->why, "%s", e->error->name);
	else if (e->error)
		write_error(d, e->error);
	if (e->exit)
		write_exit(d, e->exit);
	return d->also ? d->also(e) : 0;
}
