/*
 * pipe: see pipe.h. What it waits for follows from its state, in one place: interest().
 *
 * The surprising rule: an idle pipe is not watched at all. epoll reports hang-ups and errors whether one asked for them
 * or not, so a pipe whose chunk nobody takes, or whose reader is gone, would turn the loop for nothing.
 */
#include "pipe.h"
#include "peer.h"
#include "quiet.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define DRAIN_AT (PIPE_ROOM / 2)            /* bytes in the queue at which more is asked for */
#define TERMINAL_MOST ((size_t)1024 * 1024) /* more than a terminal of the kernel's holds */

static size_t waiting(const struct pipe *p)
{
	return p->end - p->at;
}

static unsigned interest(const struct pipe *p)
{
	unsigned events = 0;
	if (p->reads && !p->paused && !p->showing)
		events |= EPOLLIN;
	if (p->writes && waiting(p))
		events |= EPOLLOUT;
	return events;
}

static void update(struct pipe *p)
{
	unsigned events = interest(p);
	if (p->source.fd >= 0)
		handle_watch(p->peer->h, &p->source, events);
}

static void shut(struct pipe *p)
{
	if (p->source.fd < 0)
		return;
	handle_watch(p->peer->h, &p->source, 0);
	close(p->source.fd);
	p->source.fd = -1;
}

/* The descriptor goes when neither way is open. */
static void shut_unless_used(struct pipe *p)
{
	if (!p->reads && !p->writes)
		shut(p);
	else
		update(p);
}

static void drop_queue(struct pipe *p)
{
	free(p->queue);
	p->queue = NULL;
	p->at = p->end = p->size = 0;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void show(struct pipe *p)
{
	p->showing = 1;
	p->sink->chunk(p);
}

/* Nothing more will come; said once. */
static void reached_end(struct pipe *p)
{
	if (p->ended)
		return;
	p->ended = 1;
	p->have = p->kept;
	if (p->buffer)
		p->buffer[p->have] = '\0';
	p->owed = p->more = 0;
	show(p);
}

/* What is in there. A terminal has more in hand than it tells: being asked makes it go on with that. */
static size_t in_there(const struct pipe *p)
{
	int n = 0;
	if (p->source.fd < 0)
		return 0;
	if (p->kind == PIPE_TERMINAL)
		(void)poll(&(struct pollfd){ .fd = p->source.fd, .events = POLLIN }, 1, 0);
	return ioctl(p->source.fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

/* A terminal shows what was written in portions; all of it is owed, but not what others may write for ever. */
static void owe_more(struct pipe *p)
{
	size_t n = in_there(p);
	p->owed = n < p->more ? n : p->more;
	p->more -= p->owed;
}

static void owe(struct pipe *p)
{
	p->more = p->kind == PIPE_TERMINAL ? TERMINAL_MOST : 0;
	p->owed = in_there(p);
}

static void took(struct pipe *p, size_t n)
{
	p->have = p->kept + n;
	p->buffer[p->have] = '\0';
	if (p->keeps_tail)
		tail_add(&p->tail, p->buffer + p->kept, n);
	p->owed -= n < p->owed ? n : p->owed;
	if (p->owed == 0 && p->more)
		owe_more(p);
	show(p);
}

static int read_chunk(struct pipe *p)
{
	size_t room = PIPE_ROOM - p->kept, most = p->final && p->owed < room ? p->owed : room;
	if (!p->buffer && !(p->buffer = malloc(PIPE_ROOM + 1)))
		return -ENOMEM; /* later, perhaps; meanwhile the child waits */
	ssize_t n = read(p->source.fd, p->buffer + p->kept, most);
	if (n > 0)
		took(p, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR) || p->final)
		reached_end(p); /* also EIO: nobody has the terminal open any more */
	else
		p->owed = p->more = 0;
	return 0;
}

static void read_more(struct pipe *p)
{
	if (!p->reads || p->paused || p->showing)
		return;
	if (p->final && p->owed == 0)
		reached_end(p);
	else
		(void)read_chunk(p);
}

void pipe_keep(struct pipe *p, size_t n)
{
	p->have -= n;
	if (n)
		memmove(p->buffer, p->buffer + n, p->have + 1);
}

void pipe_taken(struct pipe *p)
{
	pipe_taken_but(p, 0);
}

void pipe_taken_but(struct pipe *p, size_t n)
{
	if (n)
		pipe_keep(p, p->have - n);
	p->kept = n;
	p->showing = 0;
	p->item.pipe = NULL;
	p->have = 0;
	if (p->ended) {
		p->reads = 0;
		free(p->buffer);
		p->buffer = NULL;
		shut_unless_used(p);
	} else {
		if (p->final && p->owed == 0)
			read_more(p);
		update(p);
	}
	p->sink->moved(p);
}

void pipe_pause(struct pipe *p, int paused)
{
	p->paused = paused != 0;
	if (paused)
		p->owed = p->more = 0; /* it is owed when it goes on, and EXIT does not wait for that */
	else if (p->final)
		pipe_finish(p);
	update(p);
	p->sink->moved(p);
}

void pipe_stop_reading(struct pipe *p)
{
	p->owed = p->more = 0;
	if (p->reads && p->showing)
		p->ended = 1;
	else if (p->reads)
		reached_end(p);
}

void pipe_owe(struct pipe *p)
{
	if (p->reads && !p->paused && !p->ended)
		owe(p);
}

void pipe_finish(struct pipe *p)
{
	p->final = 1;
	if (!p->reads || p->paused || p->ended)
		return;
	owe(p);
	if (p->owed == 0 && !p->showing)
		reached_end(p);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* Bytes taken, 0 if it is full, or a negative errno. */
static ssize_t put(struct pipe *p, const void *bytes, size_t n)
{
	struct iovec all = { (void *)(uintptr_t)bytes, n };
	ssize_t rc = p->kind == PIPE_SOCKET ? send(p->source.fd, bytes, n, MSG_NOSIGNAL)
					    : quiet_writev(p->source.fd, &all, 1);
	if (rc < 0 && p->kind == PIPE_SOCKET)
		rc = -errno;
	return rc == -EAGAIN || rc == -EINTR ? 0 : rc;
}

static void close_writing(struct pipe *p)
{
	p->writes = 0;
	drop_queue(p);
	if (p->kind == PIPE_SOCKET && p->reads)
		shutdown(p->source.fd, SHUT_WR);
	shut_unless_used(p);
}

static void end_if_empty(struct pipe *p)
{
	if (p->ending && !waiting(p))
		close_writing(p);
}

static void broke(struct pipe *p)
{
	size_t left = waiting(p);
	close_writing(p);
	if (left)
		p->sink->broken(p, left);
}

size_t pipe_drop_input(struct pipe *p)
{
	size_t left = waiting(p);
	close_writing(p);
	return left;
}

static void write_more(struct pipe *p)
{
	if (!p->writes || !waiting(p))
		return;
	ssize_t n = put(p, p->queue + p->at, waiting(p));
	if (n < 0) {
		broke(p);
		return;
	}
	p->at += (size_t)n;
	if (!waiting(p))
		drop_queue(p);
	end_if_empty(p);
	if (p->want_drain && waiting(p) <= DRAIN_AT) {
		p->want_drain = 0;
		p->sink->drained(p);
	}
}

static int reserve(struct pipe *p, size_t n)
{
	size_t need = waiting(p) + n;
	if (p->at) {
		memmove(p->queue, p->queue + p->at, waiting(p));
		p->end -= p->at;
		p->at = 0;
	}
	if (need <= p->size)
		return 0;
	uint8_t *queue = realloc(p->queue, need);
	if (!queue)
		return -ENOMEM;
	p->queue = queue;
	p->size = need;
	return 0;
}

static void enqueue(struct pipe *p, const uint8_t *bytes, size_t n)
{
	if (n)
		memcpy(p->queue + p->end, bytes, n);
	p->end += n;
	if (!waiting(p))
		drop_queue(p);
	update(p);
}

/* All or nothing: room for the rest is made before the first byte goes, unless the kernel promises the same. */
static int write_now(struct pipe *p, const uint8_t *bytes, size_t n)
{
	int whole = p->kind == PIPE_PLAIN && n <= PIPE_BUF, rc = whole ? 0 : reserve(p, n);
	if (rc < 0)
		return rc;
	ssize_t taken = put(p, bytes, n);
	if (taken < 0) {
		close_writing(p);
		return -EPIPE;
	}
	if ((size_t)taken < n && whole && (rc = reserve(p, n)) < 0)
		return rc;
	enqueue(p, bytes + taken, n - (size_t)taken);
	return 0;
}

/* Behind what waits, however much that is. */
static int append(struct pipe *p, const uint8_t *bytes, size_t n)
{
	if (!waiting(p))
		return write_now(p, bytes, n);
	int rc = reserve(p, n);
	if (rc == 0)
		enqueue(p, bytes, n);
	return rc;
}

int pipe_write(struct pipe *p, const void *bytes, size_t n)
{
	if (!p->writes || p->ending)
		return -EPIPE;
	if (n == 0)
		return 0;
	if (waiting(p) && waiting(p) + n > PIPE_ROOM) {
		p->want_drain = 1;
		return -EAGAIN;
	}
	int rc = append(p, bytes, n);
	if (rc == 0)
		p->mid_line = ((const char *)bytes)[n - 1] != '\n' && ((const char *)bytes)[n - 1] != '\r';
	return rc;
}

/*
 * A terminal has no end of its own; its line discipline makes one of this character, at the beginning of a line. In the
 * middle of one the first only hands over what is there, and the second is the end.
 */
static int end_terminal(struct pipe *p)
{
	struct termios mode = { .c_lflag = ICANON, .c_cc[VEOF] = 4 };
	(void)tcgetattr(p->source.fd, &mode);
	const uint8_t end[2] = { mode.c_cc[VEOF], mode.c_cc[VEOF] };
	int rc = append(p, end, p->mid_line && mode.c_lflag & ICANON ? 2 : 1);
	p->mid_line = 0;
	return rc;
}

int pipe_end(struct pipe *p)
{
	if (!p->writes || p->ending)
		return -EPIPE;
	if (p->kind == PIPE_TERMINAL)
		return end_terminal(p);
	p->ending = 1;
	end_if_empty(p);
	return 0;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void ready(struct source *s, unsigned events)
{
	struct pipe *p = (struct pipe *)(void *)s;
	struct brood_peer *peer = peer_ref(p->peer); /* what is shown may be its last, and end it */
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_more(p);
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		write_more(p);
	update(p);
	p->sink->moved(p);
	peer_unref(peer);
}

/* Of a plain pipe 0 is what the child reads; everything else is read by us, and all but plain pipes go both ways. */
void pipe_init(struct pipe *p, struct brood_peer *peer, enum pipe_kind kind, int target, int fd,
	       const struct pipe_sink *sink)
{
	int input = kind == PIPE_PLAIN && target == 0;
	memset(p, 0, sizeof(*p));
	p->source = (struct source){ .ready = ready, .fd = fd };
	p->peer = peer;
	p->sink = sink;
	p->kind = kind;
	p->target = target;
	p->reads = !input;
	p->writes = input || kind != PIPE_PLAIN;
	(void)fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK); /* only the second counts */
	update(p);
}

void pipe_shut(struct pipe *p)
{
	size_t left = waiting(p);
	p->reads = p->writes = 0;
	p->owed = p->more = 0;
	shut(p);
	drop_queue(p);
	if (left)
		p->sink->broken(p, left);
}

void pipe_deinit(struct pipe *p)
{
	pipe_shut(p);
	free(p->buffer);
	p->buffer = NULL;
	p->have = 0;
	tail_deinit(&p->tail);
}
