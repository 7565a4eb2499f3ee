/*
 * bench_peer: the worker. Two lives that alternate: as a brood child it echoes and counts; when told to, it becomes one
 * end of a floor with plain sockets, so that both are measured between the same processes. The change happens outside
 * of callbacks: the handler connects, notes the task, answers and stops the loop.
 */
#include "bench_peer.h"
#include "bench_stage.h"
#include "raw.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BUFFER (256u * 1024u)

struct peer {
	uint64_t count;
	char kind[16];
	struct raw raw; /* of the floor to serve next, or -1 */
	size_t number;
	unsigned char *buffer; /* room for the largest message */
};

/* ---- the floors -------------------------------------------------------------------------------------------------- */

static void serve_echo(struct peer *p, int poll_first)
{
	while (raw_read(&p->raw, p->buffer, p->number, poll_first) > 0)
		if (raw_write(&p->raw, p->buffer, p->number) < 0)
			return;
}

/* Count whole messages by their heads: how much of the buffer they are. `skip` bytes of a long one are still to come. */
static void count_messages(struct peer *p, size_t n, size_t *have, size_t *skip, uint64_t *count)
{
	size_t at = *skip < n ? *skip : n, all = n;
	uint64_t wire;
	*skip -= at;
	while (all - at >= sizeof wire) {
		memcpy(&wire, p->buffer + at, sizeof wire);
		++*count;
		*skip = wire > all - at ? wire - (all - at) : 0;
		at = *skip ? all : at + wire;
	}
	*have = all - at;
	memmove(p->buffer, p->buffer + at, *have);
}

static void serve_sink(struct peer *p)
{
	uint64_t count = 0;
	size_t have = 0, skip = 0;
	long n;
	while ((n = raw_some(&p->raw, p->buffer + have, BUFFER - have, 1)) > 0)
		count_messages(p, have + (size_t)n, &have, &skip, &count);
	raw_write(&p->raw, &count, sizeof count);
}

/* Send all whole requests that came back as they are, and keep the rest. */
static void serve_worker(struct peer *p, int poll_first)
{
	size_t have = 0;
	long n;
	while ((n = raw_some(&p->raw, p->buffer + have, BUFFER - have, poll_first)) > 0) {
		have += (size_t)n;
		size_t whole = raw_whole(p->buffer, have);
		if (raw_write(&p->raw, p->buffer, whole) < 0)
			return;
		have -= whole;
		memmove(p->buffer, p->buffer + whole, have);
	}
}

static void serve(struct peer *p)
{
	if (strcmp(p->kind, "echo-read") == 0)
		serve_echo(p, 0);
	else if (strcmp(p->kind, "echo-poll") == 0)
		serve_echo(p, 1);
	else if (strcmp(p->kind, "sink") == 0)
		serve_sink(p);
	else if (strcmp(p->kind, "worker-poll") == 0)
		serve_worker(p, 1);
	else if (strcmp(p->kind, "worker-read") == 0)
		serve_worker(p, 0);
	raw_close(&p->raw);
}

static int take_task(struct peer *p, const brood_event *ev)
{
	char place[TESTBED_PATH];
	if (sscanf(ev->msg->text, "%15s %107s %zu", p->kind, place, &p->number) != 3 || p->number > BENCH_ROOM)
		return -EINVAL;
	int rc = raw_dial(place, &p->raw);
	if (rc < 0)
		return rc;
	brood_stop(ev->handle);
	return brood_reply(ev->msg, BROOD_TEXT("connected"));
}

/* ---- as a child -------------------------------------------------------------------------------------------------- */

static int take_message(const brood_event *ev)
{
	struct peer *p = ev->data;
	uint64_t count = p->count;
	switch (ev->msg->type[0]) { /* the first letter is enough, and this runs millions of times a second */
	case 'd':
		p->count++;
		return 0;
	case 'e':
		return brood_reply(ev->msg, BROOD_MSG("echo", ev->msg->body, ev->msg->length));
	case 't':
		p->count = 0;
		return brood_reply(ev->msg, BROOD_MSG("tally", &count, sizeof count));
	case 'f':
		return take_task(p, ev);
	default:
		return -EOPNOTSUPP;
	}
}

int bench_peer_worker(void)
{
	brood *b;
	struct peer p = { .raw = RAW_NONE, .buffer = malloc(BENCH_ROOM) };
	if (!p.buffer ||
	    brood_connect(&b, NULL, BROOD_OPTIONS(.on = BROOD_ON(.message = take_message), .data = &p)) < 0)
		return 1;
	while (brood_run(b) == 0 && p.raw.in >= 0)
		serve(&p);
	brood_close(b);
	free(p.buffer);
	return 0;
}

int bench_peer_hello(void)
{
	brood *b;
	if (brood_connect(&b, NULL, NULL) < 0 || !brood_parent(b))
		return 1;
	if (brood_send(brood_parent(b), BROOD_TEXT("hello")) < 0)
		return 1;
	brood_close(b);
	return 0;
}
