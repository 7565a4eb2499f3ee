/*
 * diary: see diary.h. Everything is copied, because what an event shows lasts only until its callback returns.
 */
#include "diary.h"
#include <stdio.h>

static const struct brood_handlers table = { .size = sizeof table, .any = diary_write };
const struct brood_handlers *const diary_table = &table;

static void write_letter(struct diary *d, int type)
{
	static const char letters[BROOD_EVENT_CONFIRM + 1] = {
		[BROOD_EVENT_SPAWN] = 'S',      [BROOD_EVENT_READY] = 'R', [BROOD_EVENT_MESSAGE] = 'm',
		[BROOD_EVENT_OUTPUT] = 'o',     [BROOD_EVENT_DRAIN] = 'd', [BROOD_EVENT_ERROR] = '!',
		[BROOD_EVENT_DISCONNECT] = 'D', [BROOD_EVENT_EXIT] = 'E',  [BROOD_EVENT_CLOSE] = 'C',
		[BROOD_EVENT_JOIN] = 'J',       [BROOD_EVENT_WAKE] = 'w',  [BROOD_EVENT_RESULT] = 'x',
		[BROOD_EVENT_CONFIRM] = 'c',
	};
	size_t n = strlen(d->order);
	char letter = letters[type];
	if (!letter || n + 1 == sizeof d->order)
		return;
	if (n > 0 && d->order[n - 1] == letter && (letter == 'm' || letter == 'o'))
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

static void write_output(struct diary_output *o, const brood_event *e)
{
	size_t room = sizeof o->text - 1 - o->used, n = e->length < room ? e->length : room;
	const unsigned char *bytes = e->bytes;
	if (e->length == 0)
		o->ends++;
	if (n)
		memcpy(o->text + o->used, bytes, n);
	o->used += n;
	o->bytes += e->length;
	for (size_t i = 0; i < e->length; i++)
		o->sum = (o->sum ^ bytes[i]) * 1099511628211u;
}

static void write_result(struct diary *d, const brood_event *e)
{
	d->failed = e->error != NULL;
	d->out_length = e->result->out_length;
	d->err_length = e->result->err_length;
	snprintf(d->out, sizeof d->out, "%s", e->result->out);
	snprintf(d->err, sizeof d->err, "%s", e->result->err);
	write_exit(d, e->result->exit);
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
	if (e->type == BROOD_EVENT_OUTPUT)
		write_output(&d->output[e->fd < DIARY_FDS ? e->fd : DIARY_FDS - 1], e);
	if (e->type == BROOD_EVENT_DRAIN)
		d->drained = e->fd;
	if (e->result)
		write_result(d, e);
	return d->also ? d->also(e) : 0;
}
