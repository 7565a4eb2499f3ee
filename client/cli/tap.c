/*
 * tap: see tap.h. There is one client, so there are few wires at a time: the one in use, and such that were cut and whose
 * other end is still open. What was read and not written when a wire is cut is lost, as it would be in a socket.
 */
#include "tap.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WIRES 16
#define BUFFER (64u * 1024)
#define LATE_MS 50 /* the other end of a cut connection closes so much later */

struct pipe { /* one direction */
	uint32_t at, n;
	uint8_t bytes[BUFFER];
};

enum { CLIENT, BROKER, ENDS };

struct wire {
	int fd[ENDS]; /* -1: closed */
	struct pipe from[ENDS];
	uint64_t budget;  /* bytes until it is cut; UINT64_MAX: never */
	int64_t close_ms; /* when it was cut: its other end closes then; 0: in use */
	int mute;         /* it is cut when the broker says something, which is lost */
};

struct tap {
	int listener, epoll;
	struct sockaddr_un broker;
	struct wire *wires[WIRES];
	uint64_t next_budget; /* 0: none */
	enum tap_cut how;
	int next_mute; /* the next one is */
	unsigned attempts, cuts;
};

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Level-triggered, so that a turn may be short; for writing only while something waits to be written. */
static void watch(struct tap *t, int fd, int operation, uint32_t events)
{
	struct epoll_event e = { .events = events };
	(void)epoll_ctl(t->epoll, operation, fd, &e);
}

static int set_path(struct sockaddr_un *a, const char *path)
{
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof a->sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(a->sun_path, path, strlen(path));
	return 0;
}

struct tap *tap_open(const char *path, const char *broker)
{
	struct sockaddr_un a;
	struct tap *t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	t->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (t->epoll < 0 || t->listener < 0 || set_path(&a, path) < 0 || set_path(&t->broker, broker) < 0 ||
	    bind(t->listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(t->listener, 64) < 0) {
		int error = errno;
		tap_close(t);
		errno = error;
		return NULL;
	}
	watch(t, t->listener, EPOLL_CTL_ADD, EPOLLIN);
	return t;
}

static void close_end(struct wire *w, int end)
{
	if (w->fd[end] >= 0)
		close(w->fd[end]);
	w->fd[end] = -1;
}

static void drop(struct tap *t, int i)
{
	close_end(t->wires[i], CLIENT);
	close_end(t->wires[i], BROKER);
	free(t->wires[i]);
	t->wires[i] = NULL;
}

void tap_close(struct tap *t)
{
	for (int i = 0; t && i < WIRES; i++)
		if (t->wires[i])
			drop(t, i);
	if (t && t->listener >= 0)
		close(t->listener);
	if (t && t->epoll >= 0)
		close(t->epoll);
	free(t);
}

int tap_fd(const struct tap *t)
{
	return t->epoll;
}

unsigned tap_attempts(const struct tap *t)
{
	return t->attempts;
}

unsigned tap_cuts(const struct tap *t)
{
	return t->cuts;
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static int dial(const struct tap *t)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&t->broker, sizeof t->broker) < 0) {
		close(fd);
		return -1;
	}
	if (fd >= 0)
		(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static struct wire **free_place(struct tap *t)
{
	for (int i = 0; i < WIRES; i++)
		if (!t->wires[i])
			return &t->wires[i];
	return NULL;
}

/* Without a broker, or with too many connections, it is closed at once. */
static void take_client(struct tap *t, int client)
{
	struct wire **place = free_place(t), *w = place ? calloc(1, sizeof *w) : NULL;
	int broker = w ? dial(t) : -1;
	t->attempts++;
	if (broker < 0) {
		free(w);
		close(client);
		return;
	}
	*place = w;
	w->fd[CLIENT] = client;
	w->fd[BROKER] = broker;
	w->budget = t->next_budget ? t->next_budget : UINT64_MAX;
	t->next_budget = 0;
	w->mute = t->next_mute;
	t->next_mute = 0;
	watch(t, client, EPOLL_CTL_ADD, EPOLLIN);
	watch(t, broker, EPOLL_CTL_ADD, EPOLLIN);
}

void tap_cut(struct tap *t, uint64_t bytes, enum tap_cut how, uint64_t then)
{
	t->next_budget = bytes;
	t->how = how;
	for (int i = 0; i < WIRES; i++)
		if (t->wires[i] && !t->wires[i]->close_ms) {
			t->wires[i]->budget = bytes;
			t->next_budget = then;
		}
}

void tap_cut_answer(struct tap *t)
{
	t->next_mute = 1;
	t->how = TAP_BOTH;
}

static void cut(struct tap *t, struct wire *w)
{
	t->cuts++;
	w->close_ms = now_ms() + LATE_MS;
	if (t->how != TAP_BROKER)
		close_end(w, CLIENT);
	else
		watch(t, w->fd[CLIENT], EPOLL_CTL_DEL, 0);
	if (t->how != TAP_CLIENT)
		close_end(w, BROKER);
	else
		watch(t, w->fd[BROKER], EPOLL_CTL_DEL, 0);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

/* 1: something came; 0: not now; -1: it ended. */
static int fill(struct wire *w, int end)
{
	struct pipe *p = &w->from[end];
	if (p->n > 0)
		return 0;
	ssize_t n = recv(w->fd[end], p->bytes, BUFFER, 0);
	if (n > 0) {
		p->at = 0;
		p->n = (uint32_t)n;
	}
	return n > 0 ? 1 : n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

/* 1: something went; 0: not now. */
static int empty(struct wire *w, int end)
{
	struct pipe *p = &w->from[end];
	size_t most = p->n < w->budget ? p->n : (size_t)w->budget;
	if (most == 0)
		return 0;
	ssize_t n = send(w->fd[1 - end], p->bytes + p->at, most, MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0) { /* nobody reads it, but what the other end said last shall arrive */
		p->n = 0;
		return 0;
	}
	p->at += (uint32_t)n;
	p->n -= (uint32_t)n;
	if (w->budget != UINT64_MAX)
		w->budget -= (uint64_t)n;
	return 1;
}

/* One direction. 1: something moved; 0: not now; -1: it ended. */
static int move(struct wire *w, int end)
{
	int came = fill(w, end);
	if (came > 0 && end == BROKER && w->mute)
		w->budget = 0;
	return came < 0 ? -1 : came | empty(w, end);
}

static void watch_again(struct tap *t, struct wire *w)
{
	for (int end = CLIENT; end <= BROKER; end++)
		watch(t, w->fd[end], EPOLL_CTL_MOD,
		      (w->from[end].n ? 0u : (uint32_t)EPOLLIN) | (w->from[1 - end].n ? (uint32_t)EPOLLOUT : 0u));
}

static void turn(struct tap *t, int i)
{
	struct wire *w = t->wires[i];
	int up = 1, down = 1;
	if (w->close_ms) {
		if (now_ms() >= w->close_ms)
			drop(t, i);
		return;
	}
	for (int n = 0; n < 4 && (up > 0 || down > 0) && w->budget; n++) {
		up = move(w, CLIENT);
		down = move(w, BROKER);
		if (up < 0 || down < 0) {
			drop(t, i);
			return;
		}
	}
	if (!w->budget)
		cut(t, w);
	else
		watch_again(t, w);
}

void tap_turn(struct tap *t)
{
	int fd;
	while ((fd = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		take_client(t, fd);
	for (int i = 0; i < WIRES; i++)
		if (t->wires[i])
			turn(t, i);
}
