/*
 * lines: see lines.h. A line waits in the pipe's buffer until its end comes; one that never ends is cut.
 *
 * They travel as messages to @broker, so its window is their back-pressure: a child that writes faster than the broker
 * logs is slowed, not forgotten. Without a broker there is no log: the lines are dropped, and the program hears of it.
 */
#include "lines.h"
#include "child.h"
#include "control.pb-c.h"
#include "event.h"
#include "link.h"
#include "peer.h"
#include "pump.h"
#include "remote.h"
#include <errno.h>
#include <string.h>

#define LINE_MOST 2000u /* bytes; the rest is a line of its own */

static void pack_line(void *to, size_t length, const void *line)
{
	(void)length;
	protobuf_c_message_pack(line, to);
}

/* 0, or -EAGAIN: later. */
static int send_line(struct pipe *p, const uint8_t *text, size_t n)
{
	struct brood *h = p->peer->h;
	struct remote *broker = h->broker->remote;
	Brood__Control__Line line = BROOD__CONTROL__LINE__INIT;
	line.pid = (uint32_t)p->peer->pid;
	line.title = (char *)(uintptr_t)plan_title(p->peer->child->plan);
	line.fd = (uint32_t)p->target;
	line.text = (ProtobufCBinaryData){ n, (uint8_t *)(uintptr_t)text };
	struct body b = { .type = "brood.control.Line", .bytes = &line, .fill = pack_line };
	b.length = protobuf_c_message_get_packed_size(&line.base);
	if (!outflow_has_room(&broker->out, remote_cost(b.length)))
		return -EAGAIN;
	return remote_put(broker, &(struct item){ .kind = ITEM_MESSAGE }, &b) < 0 ? -EAGAIN : 0;
}

static int has_log(const struct brood *h)
{
	return !h->failed && !h->broker->remote->ended;
}

static void tell_lost(struct pipe *p)
{
	struct fault f;
	if (p->lines_lost)
		return;
	p->lines_lost = 1;
	fault_set_code(&f, -ENOTCONN, "log.lost",
		       "what %s writes to its descriptor %d is not logged: there is no broker", peer_label(p->peer),
		       p->target);
	event_post(p->peer->h, p->peer, BROOD_EVENT_ERROR, &f);
}

/* The first line in there, with its newline; 0: it is not complete. */
static size_t line_length(const struct pipe *p, const uint8_t *from, size_t n)
{
	const uint8_t *end = memchr(from, '\n', n <= LINE_MOST ? n : LINE_MOST + 1);
	if (end)
		return (size_t)(end - from) + 1;
	return n > LINE_MOST ? LINE_MOST : p->ended ? n : 0;
}

/* All whole lines; how many bytes they were. */
static size_t send_lines(struct pipe *p)
{
	size_t at = 0, n;
	while ((n = line_length(p, p->buffer + at, p->have - at)) > 0) {
		size_t text = p->buffer[at + n - 1] == '\n' ? n - 1 : n;
		if (send_line(p, p->buffer + at, text) < 0) {
			p->peer->h->lines_wait = 1;
			break;
		}
		at += n;
	}
	return at;
}

static int is_waiting(const struct pipe *p, size_t sent)
{
	return line_length(p, p->buffer + sent, p->have - sent) > 0;
}

void lines_chunk(struct pipe *p)
{
	struct brood *h = p->peer->h;
	if (!has_log(h)) {
		tell_lost(p);
		pipe_taken(p);
		return;
	}
	size_t sent = p->have ? send_lines(p) : 0;
	int more = p->have && is_waiting(p, sent);
	link_need(h);
	pump_kick(h);
	if (more)
		pipe_keep(p, sent); /* shown again by lines_go_on() */
	else
		pipe_taken_but(p, p->have - sent);
}

void lines_go_on(struct brood *h)
{
	struct child *c, *next;
	if (!h->lines_wait)
		return;
	h->lines_wait = 0;
	for (c = LIST_FIRST(&h->children); c; c = next) {
		next = LIST_NEXT(c, entry);
		struct brood_peer *p = peer_ref(c->peer);
		for (size_t i = 0; i < c->stdio.n_pipes; i++)
			if (c->stdio.pipes[i].sink->chunk == lines_chunk && c->stdio.pipes[i].showing)
				lines_chunk(&c->stdio.pipes[i]);
		peer_unref(p);
	}
}
