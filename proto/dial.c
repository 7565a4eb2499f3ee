/*
 * dial: makes the sockets between clients and brokers.
 *
 * Nothing here waits, but the system's resolver for a name. A connect either succeeds, fails, or is pending until the
 * socket becomes writable. The surprising rule: a listening Unix socket is bound under a temporary name, gets its mode while nobody can connect yet
 * (it does not listen), and only then is renamed to its path. So the path always leads to a broker that answers, and
 * replacing an old socket leaves no moment without one.
 */
#include "dial.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define UNIX_SEND_BUFFER (1024 * 1024) /* the kernel clamps it to net.core.wmem_max */

/* A user's pipes beyond 64 MiB in all are made with 8 KiB, so none takes more than it makes use of. */
#define PIPE_ROOM (256 * 1024)
#define PIPE_ROOM_LEAST (64 * 1024) /* what a pipe has anyway */

/* A silent peer is given up after a minute, whether we wait for its bytes (keepalive) or it does not take ours. */
#define TCP_IDLE_S 20
#define TCP_INTERVAL_S 10
#define TCP_PROBES 4
#define TCP_GIVE_UP_MS 60000

static int socket_for(const struct address *a)
{
	int fd = socket(a->sockaddr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static int close_with(int fd, int error)
{
	close(fd);
	return error;
}

static int resolver_error(int error)
{
	if (error == EAI_MEMORY)
		return -ENOMEM;
	return error == EAI_SYSTEM && errno ? -errno : -EHOSTUNREACH;
}

int dial_look_up(struct address *a)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *found;
	char port[8];
	int r;

	snprintf(port, sizeof(port), "%u", a->port);
	r = getaddrinfo(a->host, port, &hints, &found);
	if (r != 0)
		return resolver_error(r);
	memcpy(&a->sockaddr, found->ai_addr, found->ai_addrlen);
	a->length = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static int connect_to(const struct address *a, int *pending)
{
	int fd = socket_for(a);

	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)&a->sockaddr, a->length) == 0)
		return fd;
	/* Interrupted or not, the kernel goes on connecting. */
	if (errno == EINPROGRESS || errno == EINTR) {
		*pending = 1;
		return fd;
	}
	return close_with(fd, -errno);
}

int dial(const struct address *a, int *pending)
{
	struct address found = *a;
	int r = a->length == 0 ? dial_look_up(&found) : 0;

	*pending = 0;
	return r < 0 ? r : connect_to(&found, pending);
}

int dial_result(int fd)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof(int);
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		return -errno;
	if (error != 0)
		return -error;
	length = sizeof(peer);
	return getpeername(fd, (struct sockaddr *)&peer, &length) < 0 ? -errno : 0;
}

/* The path's directory with a file name that only this process uses. */
static int temporary_name(const struct sockaddr_un *path, struct sockaddr_un *ret)
{
	int directory = (int)(strrchr(path->sun_path, '/') - path->sun_path);
	int n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%.*s/.%d", directory, path->sun_path, (int)getpid());

	ret->sun_family = AF_UNIX;
	return n < (int)sizeof(ret->sun_path) ? 0 : -ENAMETOOLONG;
}

static int publish(int fd, const struct sockaddr_un *temporary, const struct sockaddr_un *path, int backlog)
{
	if (chmod(temporary->sun_path, 0600) < 0 || listen(fd, backlog) < 0)
		return -errno;
	return rename(temporary->sun_path, path->sun_path) < 0 ? -errno : 0;
}

static int listen_unix(int fd, const struct address *a, int backlog)
{
	struct sockaddr_un path, temporary;
	int r;

	memcpy(&path, &a->sockaddr, sizeof(path));
	r = temporary_name(&path, &temporary);
	if (r < 0)
		return r;
	unlink(temporary.sun_path); /* a dead process with our pid may have left it */
	if (bind(fd, (const struct sockaddr *)&temporary, sizeof(temporary)) < 0)
		return -errno;
	r = publish(fd, &temporary, &path, backlog);
	if (r < 0)
		unlink(temporary.sun_path);
	return r;
}

static void set_option(int fd, int level, int option, int value)
{
	/* Every option here is an improvement that a connection also works without. */
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static int listen_tcp(int fd, const struct address *a, int backlog)
{
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (a->sockaddr.ss_family == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (bind(fd, (const struct sockaddr *)&a->sockaddr, a->length) < 0)
		return -errno;
	return listen(fd, backlog) < 0 ? -errno : 0;
}

int dial_listen(const struct address *a, int backlog)
{
	int fd = socket_for(a), r;

	if (fd < 0)
		return fd;
	r = (a->kind == ADDRESS_UNIX ? listen_unix : listen_tcp)(fd, a, backlog);
	return r < 0 ? close_with(fd, r) : fd;
}

/* As much as /proc/sys/fs/pipe-max-size, and what this user's pipes have already, allow. */
static void enlarge_pipe(int fd)
{
	int room = PIPE_ROOM;

	while (fcntl(fd, F_SETPIPE_SZ, room) < 0 && room > PIPE_ROOM_LEAST)
		room /= 2;
}

void dial_tune(int fd, enum address_kind kind)
{
	if (kind == ADDRESS_FIFO) {
		enlarge_pipe(fd);
		return;
	}
	if (kind == ADDRESS_UNIX) {
		set_option(fd, SOL_SOCKET, SO_SNDBUF, UNIX_SEND_BUFFER);
		return;
	}
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, TCP_IDLE_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, TCP_INTERVAL_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, TCP_PROBES);
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_GIVE_UP_MS);
}
