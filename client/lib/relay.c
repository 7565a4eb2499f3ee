/*
 * relay: see relay.h. As with a pipe, one that waits for nothing is not watched at all.
 */
#include "relay.h"
#include "quiet.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK ((size_t)16 * 1024)     /* read at once */
#define TELL_AT (RELAY_CREDIT / 4)    /* taken bytes that are told even if more waits */
#define QUEUE_MOST (2 * RELAY_CREDIT) /* nobody who keeps to the credit gets there */

static size_t waiting(const struct relay *r)
{
	return r->end - r->at;
}

static void update(struct relay *r)
{
	unsigned events = 0;
	if (r->source.fd < 0 || r->patient)
		return;
	if (r->reads && r->credit)
		events |= EPOLLIN;
	if (r->writes && waiting(r))
		events |= EPOLLOUT;
	handle_watch(r->h, &r->source, events);
}

static void drop_queue(struct relay *r)
{
	free(r->queue);
	r->queue = NULL;
	r->at = r->end = r->size = 0;
}

void relay_close(struct relay *r)
{
	r->reads = r->writes = 0;
	drop_queue(r);
	if (!r->h || r->source.fd < 0)
		return;
	if (!r->patient)
		handle_watch(r->h, &r->source, 0);
	close(r->source.fd);
	r->source.fd = -1;
}

static void close_unless_used(struct relay *r)
{
	if (!r->reads && !r->writes)
		relay_close(r);
	else
		update(r);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void tell_taken(struct relay *r)
{
	size_t n = r->untold;
	r->untold = 0;
	if (n)
		r->ops->taken(r, n);
}

static void close_writing(struct relay *r)
{
	r->untold += waiting(r); /* the child need not wait for somebody who does not read */
	drop_queue(r);
	r->writes = 0;
	if (r->socket && r->reads)
		shutdown(r->source.fd, SHUT_WR);
	close_unless_used(r);
	tell_taken(r);
}

static void break_off(struct relay *r)
{
	close_writing(r);
	r->ops->broken(r);
}

static ssize_t put(struct relay *r)
{
	struct iovec all = { r->queue + r->at, waiting(r) };
	ssize_t n = r->socket ? send(r->source.fd, all.iov_base, all.iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
			      : quiet_writev(r->source.fd, &all, 1);
	return n < 0 && r->socket ? -errno : n;
}

static void write_more(struct relay *r)
{
	ssize_t n = 0;
	while (r->writes && waiting(r) && (n = put(r)) > 0) {
		r->at += (size_t)n;
		r->untold += (size_t)n;
	}
	if (n < 0 && n != -EAGAIN && n != -EINTR) {
		break_off(r);
		return;
	}
	if (waiting(r) == 0)
		drop_queue(r);
	if (waiting(r) == 0 || r->untold >= TELL_AT)
		tell_taken(r);
	if (r->writes && r->ending && waiting(r) == 0)
		close_writing(r);
	update(r);
}

/* Room behind what waits. */
static int reserve(struct relay *r, size_t n)
{
	if (r->at) {
		memmove(r->queue, r->queue + r->at, waiting(r));
		r->end -= r->at;
		r->at = 0;
	}
	if (r->end + n <= r->size)
		return 0;
	if (r->end + n > QUEUE_MOST)
		return -ENOBUFS;
	uint8_t *queue = realloc(r->queue, r->end + n);
	if (!queue)
		return -ENOMEM;
	r->queue = queue;
	r->size = r->end + n;
	return 0;
}

void relay_put(struct relay *r, const uint8_t *bytes, size_t n)
{
	if (n == 0)
		return;
	if (!r->writes || r->ending || reserve(r, n) < 0) {
		if (r->writes && !r->ending)
			break_off(r); /* a gap would be worse than an end */
		r->ops->taken(r, n);
		return;
	}
	memcpy(r->queue + r->end, bytes, n);
	r->end += n;
	write_more(r);
	r->ops->moved(r);
}

void relay_end(struct relay *r)
{
	if (!r->writes || r->ending)
		return;
	r->ending = 1;
	write_more(r);
	r->ops->moved(r);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Until the first credit nothing was read. */
static size_t not_taken(const struct relay *r)
{
	int n = 0;
	if (!r->begun || r->source.fd < 0 || ioctl(r->source.fd, FIONREAD, &n) < 0)
		n = 0;
	return (r->begun ? RELAY_CREDIT - r->credit : 0) + (size_t)n;
}

static void stop_reading(struct relay *r)
{
	r->reads = 0;
	if (r->socket && r->writes && r->source.fd >= 0)
		shutdown(r->source.fd, SHUT_RD);
	close_unless_used(r);
}

size_t relay_stop_reading(struct relay *r)
{
	size_t left = r->begun && !r->told_left ? not_taken(r) : 0;
	r->told_left = 1;
	stop_reading(r);
	return left;
}

static void read_more(struct relay *r)
{
	uint8_t bytes[CHUNK];
	size_t most = r->credit < CHUNK ? r->credit : CHUNK;
	if (!r->reads || most == 0)
		return;
	ssize_t n = read(r->source.fd, bytes, most);
	if (n > 0) {
		r->credit -= (size_t)n;
		r->ops->input(r, bytes, (size_t)n);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		stop_reading(r);
		r->ops->input(r, NULL, 0);
	}
}

void relay_credit(struct relay *r, size_t n)
{
	r->begun = 1;
	r->credit = n > RELAY_CREDIT - r->credit ? RELAY_CREDIT : r->credit + n;
	update(r);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void ready(struct source *s, unsigned events)
{
	struct relay *r = (struct relay *)(void *)s;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR) && waiting(r))
		write_more(r);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_more(r);
	update(r);
	r->ops->moved(r); /* the last that is done here: it may end all */
}

static void init(struct relay *r, struct brood *h, int target, int fd, const struct relay_ops *ops, void *data)
{
	*r = (struct relay){
		.source = { .ready = ready, .fd = fd }, .h = h, .target = target, .ops = ops, .data = data
	};
}

void relay_open(struct relay *r, struct brood *h, int target, int fd, int reads, int writes,
		const struct relay_ops *ops, void *data)
{
	init(r, h, target, fd, ops, data);
	r->reads = reads != 0;
	r->writes = writes != 0;
	r->socket = reads && writes;
	(void)fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK); /* only the second counts */
}

/*
 * A description of my own, so that its being non-blocking is not the program's, which shares its with others. A socket
 * has none to open, but needs none.
 */
void relay_open_mine(struct relay *r, struct brood *h, int target, const struct relay_ops *ops, void *data)
{
	char path[32];
	struct stat s;
	int known = fstat(target, &s) == 0 && !(fcntl(target, F_GETFD) & FD_CLOEXEC), fd = -1;
	int waits = known && (S_ISFIFO(s.st_mode) || isatty(target));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	if (waits)
		fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (known && fd < 0)
		fd = fcntl(target, F_DUPFD_CLOEXEC, 3);
	init(r, h, target, fd, ops, data);
	r->writes = fd >= 0;
	r->socket = known && S_ISSOCK(s.st_mode);
	r->patient = !waits && !r->socket;
}
