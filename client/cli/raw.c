/*
 * raw: the sockets of the floor. They block, because the floor is what the simplest program could do; reading after
 * poll() exists beside it, because a process that sleeps in poll() wakes up faster than one that sleeps in read().
 */
#include "raw.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 5000

static int unix_address(const char *place, struct sockaddr_un *un)
{
	*un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(place) >= sizeof un->sun_path)
		return -ENAMETOOLONG;
	strcpy(un->sun_path, place);
	return 0;
}

static int listen_unix(int fd, const char *place)
{
	struct sockaddr_un un;
	int rc = unix_address(place, &un);
	if (rc < 0)
		return rc;
	return bind(fd, (struct sockaddr *)&un, sizeof un) < 0 || listen(fd, 64) < 0 ? -errno : 0;
}

/* The port's number appears in the file at once and whole, by renaming. */
static int publish_port(const char *place, unsigned port)
{
	char temporary[256];
	snprintf(temporary, sizeof temporary, "%s.new", place);
	FILE *f = fopen(temporary, "we");
	if (!f)
		return -errno;
	fprintf(f, "%u\n", port);
	if (fclose(f) == EOF || rename(temporary, place) < 0)
		return -errno;
	return 0;
}

static int listen_tcp(int fd, const char *place)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof in;
	if (bind(fd, (struct sockaddr *)&in, sizeof in) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &size) < 0)
		return -errno;
	return publish_port(place, ntohs(in.sin_port));
}

int raw_listen(const char *place, int tcp)
{
	int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int rc = tcp ? listen_tcp(fd, place) : listen_unix(fd, place);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

void raw_tune(int fd)
{
	int domain = AF_UNIX, on = 1, buffer = 1024 * 1024;
	socklen_t size = sizeof domain;
	(void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
	if (domain == AF_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
	else
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int dial_unix(const char *place)
{
	struct sockaddr_un un;
	int rc = unix_address(place, &un);
	if (rc < 0)
		return rc;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof un) == 0)
		return fd;
	rc = -errno;
	if (fd >= 0)
		close(fd);
	return rc;
}

static int dial_tcp(const char *place)
{
	unsigned port = 0;
	FILE *f = fopen(place, "re");
	int n = f ? fscanf(f, "%u", &port) : 0;
	if (f)
		fclose(f);
	if (n != 1)
		return -ENOENT;
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				  .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&in, sizeof in) == 0)
		return fd;
	int rc = -errno;
	if (fd >= 0)
		close(fd);
	return rc;
}

static int dial_once(const char *place)
{
	struct stat st;
	if (stat(place, &st) < 0)
		return -errno;
	return S_ISSOCK(st.st_mode) ? dial_unix(place) : dial_tcp(place);
}

int raw_dial(const char *place)
{
	int rc = -ENOENT;
	for (int waited = 0; waited < PATIENCE_MS; waited += 5) {
		rc = dial_once(place);
		if (rc >= 0)
			raw_tune(rc);
		if (rc != -ENOENT && rc != -ECONNREFUSED)
			return rc;
		usleep(5000);
	}
	return rc;
}

int raw_write(int fd, const void *bytes, size_t n)
{
	const char *from = bytes;
	while (n > 0) {
		ssize_t done = send(fd, from, n, MSG_NOSIGNAL);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		from += done;
		n -= (size_t)done;
	}
	return 0;
}

long raw_some(int fd, void *bytes, size_t n, int poll_first)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	for (;;) {
		if (poll_first && poll(&p, 1, -1) < 0 && errno != EINTR)
			return -errno;
		ssize_t done = read(fd, bytes, n);
		if (done >= 0)
			return done;
		if (errno != EINTR)
			return -errno;
	}
}

int raw_read(int fd, void *bytes, size_t n, int poll_first)
{
	char *to = bytes;
	while (n > 0) {
		long done = raw_some(fd, to, n, poll_first);
		if (done <= 0)
			return (int)done;
		to += done;
		n -= (size_t)done;
	}
	return 1;
}

size_t raw_whole(const void *bytes, size_t n)
{
	const char *from = bytes;
	size_t whole = 0;
	uint64_t length;
	while (n - whole >= sizeof length) {
		memcpy(&length, from + whole, sizeof length);
		if (length > n - whole)
			break;
		whole += length;
	}
	return whole;
}
