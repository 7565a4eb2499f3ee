/*
 * filter: lines from chunks, and the end of a child told once.
 *
 * A line that has no end when its writer does is none: it may have been cut off.
 */
#include "filter.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

void filter_init(struct filter *f, const struct filter_owner *owner)
{
	*f = (struct filter){ .owner = owner };
}

static void drop_partial(struct filter *f)
{
	free(f->partial);
	f->partial = NULL;
	f->length = 0;
}

void filter_deinit(struct filter *f)
{
	drop_partial(f);
	*f = (struct filter){ 0 };
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static int keep_partial(struct filter *f, const char *bytes, size_t n)
{
	if (n == 0)
		return 0;
	char *longer = f->length + n <= FILTER_LINE_OUT ? realloc(f->partial, f->length + n) : NULL;
	if (!longer)
		return -ENOBUFS;
	memcpy(longer + f->length, bytes, n);
	f->partial = longer;
	f->length += n;
	return 0;
}

/* bytes up to `end` end a line. */
static int show_line(struct filter *f, const char *bytes, const char *end)
{
	size_t n = (size_t)(end - bytes);
	if (!f->length) {
		f->owner->line(f->owner->data, bytes, n);
		return 0;
	}
	if (keep_partial(f, bytes, n) < 0)
		return -ENOBUFS;
	f->owner->line(f->owner->data, f->partial, f->length);
	drop_partial(f);
	return 0;
}

static int show_lines(struct filter *f, const char *at, size_t n)
{
	const char *end, *last = at + n;
	while ((end = memchr(at, '\n', (size_t)(last - at)))) {
		if (show_line(f, at, end) < 0)
			return -ENOBUFS;
		at = end + 1;
	}
	return keep_partial(f, at, (size_t)(last - at));
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static int started(const brood_event *ev)
{
	struct filter *f = ev->data;
	f->running = 1;
	f->owner->started(f->owner->data);
	return 0;
}

static int output(const brood_event *ev)
{
	struct filter *f = ev->data;
	if (ev->length == 0) {
		f->useless = 1;
		f->owner->moved(f->owner->data);
	}
	if (f->useless || show_lines(f, ev->bytes, ev->length) == 0)
		return 0;
	fprintf(stderr, "brood worker: the filter wrote a line of more than %u bytes\n", FILTER_LINE_OUT);
	f->useless = 1;
	filter_kill(f, 0);
	return 0;
}

static int drained(const brood_event *ev)
{
	struct filter *f = ev->data;
	f->owner->moved(f->owner->data);
	return 0;
}

static int failed(const brood_event *ev)
{
	struct filter *f = ev->data;
	if (!f->running) {
		f->owner->gone(f->owner->data, NULL, ev->error);
		return 0;
	}
	f->useless = 1; /* it reads no more; its exit says why */
	f->owner->moved(f->owner->data);
	return 0;
}

static int closed(const brood_event *ev)
{
	struct filter *f = ev->data;
	struct brood_peer_info info;
	int ran = f->running;
	BROOD_INIT(info);
	(void)brood_info(ev->peer, &info);
	brood_release(f->peer);
	f->peer = NULL;
	f->running = f->useless = 0;
	drop_partial(f);
	if (ran)
		f->owner->gone(f->owner->data, info.exit, NULL);
	return 0;
}

/* ---- what the owner does ----------------------------------------------------------------------------------------- */

int filter_start(struct filter *f, brood *b, const char *const *argv)
{
	const struct brood_handlers *on =
		BROOD_ON(.spawn = started, .output = output, .drain = drained, .error = failed, .close = closed);
	return brood_spawn(b, &f->peer, argv,
			   BROOD_SPAWN(.flags = BROOD_PLAIN, .on = on, .data = f,
				       .stdio = BROOD_STDIO(BROOD_PIPE(0), BROOD_PIPE(1), BROOD_MINE(2))));
}

int filter_write(struct filter *f, const void *bytes, size_t n)
{
	static char line[FILTER_LINE_IN + 1]; /* all or nothing, so in one piece */
	if (!f->running || f->useless)
		return -EPIPE;
	memcpy(line, bytes, n);
	line[n] = '\n';
	int rc = brood_write(f->peer, 0, line, n + 1);
	if (rc < 0 && rc != -EAGAIN)
		f->useless = 1;
	return rc;
}

void filter_end(struct filter *f)
{
	if (f->peer)
		(void)brood_end(f->peer, 0);
}

void filter_kill(struct filter *f, int at_once)
{
	if (f->peer)
		brood_kill(f->peer, at_once ? SIGKILL : 0, at_once ? BROOD_TREE : BROOD_TREE | BROOD_THEN_KILL);
}
