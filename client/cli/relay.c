/*
 * relay: a minimal epoll relay, the floor under any broker: what the kernel alone costs when a third process carries
 * the bytes. Nothing is parsed, nothing is allocated per message, nobody is authenticated.
 *
 * A connection is joined with the next one, and as many pairs as come are carried at once. Each direction of a pair is
 * a pipe with a buffer of 256 KiB and two states: empty, then its source is watched for reading; or pending, then only
 * its target is watched, for writing. That is all the back-pressure there is, and it is enough.
 *
 * With TLS it decrypts what comes and encrypts it again: then the floor is what OpenSSL and the kernel need.
 *
 * The end of a pair is also the end of the turn: the events that follow may be of the same pair, and those of the
 * others are reported again.
 */
#include "relay.h"
#include "raw.h"
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER (256u * 1024u)
#define EVENTS 32

struct side {
	struct side *other;
	struct raw raw;
	uint32_t in_events, out_events; /* watched for */
	size_t begin, end;              /* of what was read here and not yet written to the other side */
	int is_socket;
	int eof, closed; /* nothing more comes from here; that was told to the other side */
	char buffer[BUFFER];
};

struct relay {
	int epoll;
	struct raw_listener listener, wire; /* the second one of relay_far() only */
	const char *next;                   /* where relay_near() dials for everybody who comes */
	struct side *single;                /* has no other side yet, and is not watched */
};

/* Watch a descriptor, if that is something new. */
static void watch_one(int epoll, struct side *s, int fd, uint32_t events, uint32_t *before)
{
	struct epoll_event e = { .events = events, .data.ptr = s };
	if (fd >= 0 && events != *before)
		epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e);
	*before = events;
}

/* What this side waits for follows from both directions that meet in it. */
static void watch(int epoll, struct side *s)
{
	uint32_t in = s->begin == s->end && !s->eof ? EPOLLIN : 0;
	uint32_t out = raw_wants_room(&s->raw, s->other->begin != s->other->end) ? EPOLLOUT : 0;
	if (s->is_socket)
		in |= out;
	else
		watch_one(epoll, s, s->raw.out, out, &s->out_events);
	watch_one(epoll, s, s->raw.in, in, &s->in_events);
}

/* A pipe at its end would report that for ever. */
static void end_input(struct side *s)
{
	s->eof = 1;
	if (s->is_socket)
		return;
	close(s->raw.in);
	s->raw.in = -1;
}

static void fill(struct side *s)
{
	ssize_t n = raw_take(&s->raw, s->buffer, BUFFER);
	if (n > 0) {
		s->begin = 0;
		s->end = (size_t)n;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		end_input(s);
	}
}

/* Write what was read at `s` to the other side, and then its end. */
static void drain(struct side *s)
{
	while (s->begin < s->end) {
		ssize_t n = raw_give(&s->other->raw, s->buffer + s->begin, s->end - s->begin);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) /* nobody reads there any more */
			s->begin = s->end;
		else
			s->begin += (size_t)n;
	}
	if (raw_flush(&s->other->raw) != -EAGAIN && s->eof && !s->closed) {
		raw_end(&s->other->raw);
		s->closed = 1;
	}
}

static void turn(int epoll, struct side *s, uint32_t events)
{
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && s->begin == s->end && !s->eof)
		fill(s);
	drain(s);
	if (events & EPOLLOUT)
		drain(s->other);
	watch(epoll, s);
	watch(epoll, s->other);
}

static int finished(const struct side *s)
{
	return s->closed && s->other->closed;
}

/* ---- coming and going -------------------------------------------------------------------------------------------- */

/* Who came; or with NULL, whom we dial. */
static struct side *side_new(const struct relay *r, const struct raw_listener *listener)
{
	struct side *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	if ((listener ? raw_accept(listener, &s->raw) : raw_dial(r->next, &s->raw)) == 0) {
		s->is_socket = s->raw.in == s->raw.out;
		return s;
	}
	free(s);
	return NULL;
}

static void side_free(struct side *s)
{
	raw_close(&s->raw);
	free(s);
}

static int add(int epoll, int fd, uint32_t events, void *of)
{
	struct epoll_event e = { .events = events, .data.ptr = of };
	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

static int add_side(int epoll, struct side *s)
{
	s->in_events = EPOLLIN;
	if (!s->is_socket && add(epoll, s->raw.out, 0, s) < 0)
		return -1;
	return add(epoll, s->raw.in, EPOLLIN, s);
}

static int join(int epoll, struct side *a, struct side *b)
{
	a->other = b;
	b->other = a;
	return add_side(epoll, a) < 0 || add_side(epoll, b) < 0 ? -1 : 0;
}

static int welcome(struct relay *r, const struct raw_listener *listener)
{
	struct side *first = r->next ? side_new(r, NULL) : r->single, *s = side_new(r, listener);
	if (!s || (r->next && !first))
		return -1;
	r->single = first ? NULL : s;
	return first ? join(r->epoll, first, s) : 0;
}

static void part(struct side *s)
{
	side_free(s->other);
	side_free(s);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

/* An event of one of ours is a listener's; all others are of a side. */
static const struct raw_listener *listener_of(const struct relay *r, const void *of)
{
	return of == &r->listener ? &r->listener : of == &r->wire ? &r->wire : NULL;
}

static int take_events(struct relay *r, const struct epoll_event *events, int n)
{
	for (int i = 0; i < n; i++) {
		struct side *s = events[i].data.ptr;
		const struct raw_listener *listener = listener_of(r, s);
		if (listener)
			return welcome(r, listener);
		turn(r->epoll, s, events[i].events);
		if (finished(s)) {
			part(s);
			return 0;
		}
	}
	return 0;
}

static int hear(struct relay *r, struct raw_listener *listener, const char *place, enum via via)
{
	return raw_listen(listener, place, via) < 0 ? -1 : add(r->epoll, listener->fd, EPOLLIN, listener);
}

static int run(struct relay *r)
{
	struct epoll_event events[EVENTS];
	while (take_events(r, events, epoll_wait(r->epoll, events, EVENTS, -1)) == 0)
		;
	return 1;
}

int relay_pairs(const char *place, enum via via)
{
	struct relay r = { .epoll = epoll_create1(EPOLL_CLOEXEC) };
	return r.epoll < 0 || hear(&r, &r.listener, place, via) < 0 ? 1 : run(&r);
}

int relay_near(const char *place, const char *wire)
{
	struct relay r = { .epoll = epoll_create1(EPOLL_CLOEXEC), .next = wire };
	return r.epoll < 0 || hear(&r, &r.listener, place, VIA_UNIX) < 0 ? 1 : run(&r);
}

int relay_far(const char *place, const char *wire)
{
	struct relay r = { .epoll = epoll_create1(EPOLL_CLOEXEC) };
	return r.epoll < 0 || hear(&r, &r.listener, place, VIA_UNIX) < 0 || hear(&r, &r.wire, wire, VIA_TLS) < 0
		       ? 1
		       : run(&r);
}
