/*
 * relay: two minimal epoll relays, the floor under any broker: what the kernel alone costs when a third process carries
 * the bytes. Nothing is parsed that need not be, nothing is allocated per message, nobody is authenticated.
 *
 * Pairs: a connection is joined with the next one. Each direction is a pipe with a buffer of 256 KiB and two states:
 * empty, then its source is watched for reading; or pending, then only its target is watched, for writing. That is all
 * the back-pressure there is, and it is enough.
 *
 * Switch: one parent, eight workers. What is under way is bounded by what the parent has outstanding, a few KiB, so the
 * sockets' own buffers never fill and writes may block.
 */
#include "relay.h"
#include "raw.h"
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER (256u * 1024u)
#define EVENTS 16

static int accept_one(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		raw_tune(fd);
	return fd;
}

/* ---- pairs ------------------------------------------------------------------------------------------------------- */

struct side {
	struct side *other;
	int fd;
	size_t begin, end; /* of what was read here and not yet written to the other side */
	int eof, closed;   /* nothing more comes from here; that was told to the other side */
	char buffer[BUFFER];
};

/* What this side waits for follows from both directions that meet in it. */
static void watch(int epoll, struct side *s)
{
	struct epoll_event e = { .data.ptr = s };
	if (s->begin == s->end && !s->eof)
		e.events |= EPOLLIN;
	if (s->other->begin != s->other->end)
		e.events |= EPOLLOUT;
	epoll_ctl(epoll, EPOLL_CTL_MOD, s->fd, &e);
}

static void fill(struct side *s)
{
	ssize_t n = recv(s->fd, s->buffer, BUFFER, MSG_DONTWAIT);
	if (n > 0) {
		s->begin = 0;
		s->end = (size_t)n;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		s->eof = 1;
	}
}

/* Write what was read at `s` to the other side, and then its end. */
static void drain(struct side *s)
{
	while (s->begin < s->end) {
		ssize_t n = send(s->other->fd, s->buffer + s->begin, s->end - s->begin, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) /* nobody reads there any more */
			s->begin = s->end;
		else
			s->begin += (size_t)n;
	}
	if (s->eof && !s->closed) {
		shutdown(s->other->fd, SHUT_WR);
		s->closed = 1;
	}
}

static void turn(int epoll, struct side *s, uint32_t events)
{
	size_t mine = s->end - s->begin, theirs = s->other->end - s->other->begin;
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && mine == 0 && !s->eof)
		fill(s);
	drain(s);
	if (events & EPOLLOUT)
		drain(s->other);
	if (mine != s->end - s->begin || theirs != s->other->end - s->other->begin || s->eof) {
		watch(epoll, s);
		watch(epoll, s->other);
	}
}

static int finished(const struct side *s)
{
	return s->closed && s->other->closed;
}

/* Carry one pair to its end. */
static void carry(int epoll, struct side *a)
{
	struct epoll_event events[EVENTS];
	while (!finished(a)) {
		int n = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++)
			turn(epoll, events[i].data.ptr, events[i].events);
	}
}

static int take(int epoll, int listener, struct side *s, struct side *other)
{
	s->other = other;
	s->fd = accept_one(listener);
	s->begin = s->end = 0;
	s->eof = s->closed = 0;
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = s };
	return s->fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &e) < 0 ? -1 : 0;
}

static int carry_pairs(int epoll, int listener, struct side *pair)
{
	for (;;) {
		if (take(epoll, listener, &pair[0], &pair[1]) < 0 || take(epoll, listener, &pair[1], &pair[0]) < 0)
			return 1;
		carry(epoll, pair);
		close(pair[0].fd);
		close(pair[1].fd);
	}
}

int relay_pairs(const char *place, int tcp)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), listener = raw_listen(place, tcp);
	struct side *pair = calloc(2, sizeof *pair);
	int rc = epoll < 0 || listener < 0 || !pair ? 1 : carry_pairs(epoll, listener, pair);
	free(pair);
	return rc;
}

/* ---- switch ------------------------------------------------------------------------------------------------------ */

struct line { /* one connection, and what is to be written to it when the turn ends */
	int fd;
	size_t in, out;
	char *input, *output;
};

struct exchange {
	int epoll;
	struct line parent, workers[RELAY_WORKERS];
};

static int line_init(struct line *l, int epoll, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = l };
	l->fd = fd;
	l->in = l->out = 0;
	l->input = malloc(BUFFER);
	l->output = malloc(BUFFER);
	return !l->input || !l->output || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -1 : 0;
}

static void line_deinit(struct line *l)
{
	if (l->fd >= 0)
		close(l->fd);
	free(l->input);
	free(l->output);
	*l = (struct line){ .fd = -1 };
}

static void line_put(struct line *l, const char *frame, size_t n)
{
	if (l->fd < 0 || l->out + n > BUFFER)
		return;
	memcpy(l->output + l->out, frame, n);
	l->out += n;
}

static void line_flush(struct line *l)
{
	if (l->out > 0)
		(void)raw_write(l->fd, l->output, l->out);
	l->out = 0;
}

/* Move the whole frames that came from a line to where they go. */
static void forward(struct exchange *x, struct line *from)
{
	size_t at = 0;
	uint32_t head[2];
	while (from->in - at >= sizeof head) {
		memcpy(head, from->input + at, sizeof head);
		size_t n = sizeof head + head[1];
		if (n > from->in - at)
			break;
		if (from != &x->parent)
			line_put(&x->parent, from->input + at, n);
		else if (head[0] < RELAY_WORKERS)
			line_put(&x->workers[head[0]], from->input + at, n);
		at += n;
	}
	from->in -= at;
	memmove(from->input, from->input + at, from->in);
}

/* 0 when the parent has left. */
static int read_line(struct exchange *x, struct line *from)
{
	ssize_t n = recv(from->fd, from->input + from->in, BUFFER - from->in, MSG_DONTWAIT);
	if (n > 0) {
		from->in += (size_t)n;
		forward(x, from);
		return 1;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 1;
	epoll_ctl(x->epoll, EPOLL_CTL_DEL, from->fd, NULL);
	return from != &x->parent;
}

static void serve(struct exchange *x)
{
	struct epoll_event events[EVENTS];
	for (int open = 1; open;) {
		int n = epoll_wait(x->epoll, events, EVENTS, -1);
		for (int i = 0; i < n && open; i++)
			open = read_line(x, events[i].data.ptr);
		line_flush(&x->parent);
		for (int i = 0; i < RELAY_WORKERS; i++)
			line_flush(&x->workers[i]);
	}
}

static int gather(struct exchange *x, int listener)
{
	if (line_init(&x->parent, x->epoll, accept_one(listener)) < 0)
		return -1;
	for (int i = 0; i < RELAY_WORKERS; i++) {
		uint32_t index = 0;
		int fd = accept_one(listener);
		if (fd < 0 || raw_read(fd, &index, sizeof index, 0) <= 0 || index >= RELAY_WORKERS)
			return -1;
		if (line_init(&x->workers[index], x->epoll, fd) < 0)
			return -1;
	}
	return 0;
}

static void exchange_deinit(struct exchange *x)
{
	line_deinit(&x->parent);
	for (int i = 0; i < RELAY_WORKERS; i++)
		line_deinit(&x->workers[i]);
}

int relay_switch(const char *place, int tcp)
{
	struct exchange x = { .epoll = epoll_create1(EPOLL_CLOEXEC), .parent.fd = -1 };
	int listener = raw_listen(place, tcp), rc = x.epoll < 0 || listener < 0;
	for (int i = 0; i < RELAY_WORKERS; i++)
		x.workers[i].fd = -1;
	while (rc == 0) {
		rc = gather(&x, listener) < 0;
		if (rc == 0)
			serve(&x);
		exchange_deinit(&x);
	}
	return rc;
}
