/*
 * conform_client [MISTAKE] NAME: a client as `brood conform` wants it, written with libbrood; and on request one that
 * makes a mistake, to see that the mistake is found.
 */
#include <brood.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const char *mistake = "";
static unsigned long messages;

static int has(const char *name)
{
	return strcmp(mistake, name) == 0;
}

static int send_back(const brood_event *ev)
{
	const brood_msg *m = ev->msg;
	messages++;
	if (has("--lose") && messages % 1000 == 0)
		return 0;
	const char *type = has("--retype") ? "conform.other" : m->type;
	size_t length = has("--shorten") && m->length > 100000 ? m->length - 1 : m->length;
	return brood_send(m->from, BROOD_MSG(type, m->body, length, .flags = BROOD_BLOCK));
}

static int answer(const brood_event *ev)
{
	const brood_msg *m = ev->msg;
	return has("--silent") ? 0 : brood_reply(ev->msg, BROOD_MSG(m->type, m->body, m->length));
}

static int found(const brood_event *ev)
{
	return brood_send(ev->peer, BROOD_MSG("conform.found", NULL, 0));
}

/* The body is a name, which is text. */
static int watch(const brood_event *ev)
{
	brood_peer *holder;
	const char *name = ev->msg->body;
	return brood_find(ev->handle, &holder, name, BROOD_FIND(.on = BROOD_ON(.ready = found)));
}

static int message(const brood_event *ev)
{
	if (ev->msg->wants_reply)
		return answer(ev);
	if (strcmp(ev->msg->type, "conform.watch") == 0)
		return watch(ev);
	if (strcmp(ev->msg->type, "conform.stop") != 0)
		return send_back(ev);
	if (has("--rude"))
		_exit(0);
	return brood_stop(ev->handle);
}

int main(int argc, char **argv)
{
	brood *b;
	if (argc < 2)
		return 2;
	if (argc > 2)
		mistake = argv[1];
	const char *name = has("--nameless") ? NULL : argv[argc - 1];
	int rc = brood_connect(&b, NULL, BROOD_OPTIONS(.name = name, .on = BROOD_ON(.message = message)));
	if (rc == 0) {
		rc = brood_run(b);
		if (rc < 0 && strcmp(brood_last_error(b)->name, "broker.stopping") == 0)
			rc = 0;
		brood_close(b);
	}
	return has("--badly") ? 3 : rc < 0;
}
