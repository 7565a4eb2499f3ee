/*
 * raw: the sockets of the floor. They block, because the floor is what the simplest program could do; reading after
 * poll() exists beside it, because a process that sleeps in poll() wakes up faster than one that sleeps in read().
 *
 * Over FIFOs whoever dials makes two, writes their name to the place, and waits for one byte; until then it reads its
 * own, because a FIFO without a reader cannot be opened for writing.
 */
#include "raw.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
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
static int publish_port(const char *place, unsigned port, enum via via)
{
	char temporary[256];
	snprintf(temporary, sizeof temporary, "%s.new", place);
	FILE *f = fopen(temporary, "we");
	if (!f)
		return -errno;
	fprintf(f, "%u%s\n", port, via == VIA_TLS ? " tls" : "");
	if (fclose(f) == EOF || rename(temporary, place) < 0)
		return -errno;
	return 0;
}

static int listen_tcp(int fd, const char *place, enum via via)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof in;
	if (bind(fd, (struct sockaddr *)&in, sizeof in) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &size) < 0)
		return -errno;
	return publish_port(place, ntohs(in.sin_port), via);
}

#define NAME 128         /* bytes of a hello over FIFOs: a path, then zeros */
#define PIPE_ROOM 262144 /* as brood's own */

static int listen_socket(const char *place, enum via via)
{
	int fd = socket(via == VIA_UNIX ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int rc = via == VIA_UNIX ? listen_unix(fd, place) : listen_tcp(fd, place, via);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

/* With a writer of its own, so that it has no end. */
static int listen_fifo(const char *place)
{
	int fd = mkfifo(place, 0600) < 0 ? -1 : open(place, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	return fd < 0 ? -errno : fd;
}

int raw_listen(struct raw_listener *l, const char *place, enum via via)
{
	*l = (struct raw_listener){ .fd = -1, .via = via };
	if (via == VIA_TLS && !(l->tls = raw_tls_server()))
		return -EOPNOTSUPP;
	l->fd = via == VIA_FIFO ? listen_fifo(place) : listen_socket(place, via);
	return l->fd < 0 ? l->fd : 0;
}

/* What brood gives its own: large buffers for Unix, no delay for TCP. */
static void tune(int fd)
{
	int domain = AF_UNIX, on = 1, buffer = 1024 * 1024;
	socklen_t size = sizeof domain;
	(void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
	if (domain == AF_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
	else
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int open_end(const char *name, const char *suffix, int flags)
{
	char path[NAME + 8];
	snprintf(path, sizeof path, "%s%s", name, suffix);
	return open(path, flags | O_NONBLOCK | O_CLOEXEC);
}

static int accept_fifo(int listener, struct raw *ret)
{
	char name[NAME];
	if (read(listener, name, sizeof name) != sizeof name)
		return -EPROTO;
	name[NAME - 1] = '\0';
	*ret = (struct raw){ open_end(name, ".up", O_RDONLY), open_end(name, ".down", O_WRONLY), NULL };
	if (ret->in < 0 || ret->out < 0 || write(ret->out, "", 1) != 1)
		return -errno;
	(void)fcntl(ret->in, F_SETPIPE_SZ, PIPE_ROOM);
	(void)fcntl(ret->out, F_SETPIPE_SZ, PIPE_ROOM);
	return 0;
}

int raw_accept(const struct raw_listener *l, struct raw *ret)
{
	if (l->via == VIA_FIFO)
		return accept_fifo(l->fd, ret);
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return -errno;
	tune(fd);
	*ret = (struct raw){ fd, fd, NULL };
	return l->tls ? raw_tls_accept(l->tls, fd, &ret->tls) : 0;
}

void raw_end(struct raw *r)
{
	if (r->tls)
		raw_tls_end(r->tls);
	if (r->in == r->out)
		shutdown(r->out, SHUT_WR);
	else if (r->out >= 0)
		close(r->out);
	if (r->in != r->out)
		r->out = -1;
}

void raw_close(struct raw *r)
{
	if (r->tls)
		raw_tls_free(r->tls);
	else if (r->in >= 0)
		close(r->in);
	if (r->out >= 0 && r->out != r->in)
		close(r->out);
	*r = RAW_NONE;
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

static int dial_tcp(const char *place, int *secure)
{
	char word[4] = "";
	unsigned port = 0;
	FILE *f = fopen(place, "re");
	int n = f ? fscanf(f, "%u %3s", &port, word) : 0;
	if (f)
		fclose(f);
	*secure = strcmp(word, "tls") == 0;
	if (n < 1)
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

static int make_fifo(const char *name, const char *suffix)
{
	char path[NAME + 8];
	snprintf(path, sizeof path, "%s%s", name, suffix);
	return mkfifo(path, 0600);
}

static void remove_fifo(const char *name, const char *suffix)
{
	char path[NAME + 8];
	snprintf(path, sizeof path, "%s%s", name, suffix);
	unlink(path);
}

/* Say which, wait for the answer, and block from then on. */
static int meet(int rendezvous, const char *name, const struct raw *r)
{
	struct pollfd p = { .fd = r->in, .events = POLLIN };
	char byte;
	if (write(rendezvous, name, NAME) != NAME)
		return -errno;
	if (poll(&p, 1, PATIENCE_MS) != 1 || read(r->in, &byte, 1) != 1)
		return -ETIMEDOUT;
	return fcntl(r->in, F_SETFL, 0) < 0 || fcntl(r->out, F_SETFL, 0) < 0 ? -errno : 0;
}

static int dial_fifo(const char *place, struct raw *ret)
{
	static unsigned number;
	char name[NAME] = "";
	int rendezvous = open(place, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (rendezvous < 0)
		return errno == ENXIO ? -ECONNREFUSED : -errno;
	signal(SIGPIPE, SIG_IGN);
	snprintf(name, sizeof name, "%s.%d.%u", place, (int)getpid(), number++);
	int rc = make_fifo(name, ".up") < 0 || make_fifo(name, ".down") < 0 ? -errno : 0;
	*ret = (struct raw){ open_end(name, ".down", O_RDONLY), -1, NULL };
	int hold = open_end(name, ".up", O_RDONLY);
	ret->out = open_end(name, ".up", O_WRONLY);
	if (rc == 0)
		rc = meet(rendezvous, name, ret);
	remove_fifo(name, ".up");
	remove_fifo(name, ".down");
	close(hold);
	close(rendezvous);
	if (rc < 0)
		raw_close(ret);
	return rc;
}

static int dial_once(const char *place, struct raw *ret)
{
	struct stat st;
	if (stat(place, &st) < 0)
		return -errno;
	if (S_ISFIFO(st.st_mode))
		return dial_fifo(place, ret);
	int secure = 0, fd = S_ISSOCK(st.st_mode) ? dial_unix(place) : dial_tcp(place, &secure);
	if (fd < 0)
		return fd;
	tune(fd);
	*ret = (struct raw){ fd, fd, NULL };
	int rc = secure ? raw_tls_dial(fd, &ret->tls) : 0;
	if (rc < 0)
		*ret = RAW_NONE;
	return rc;
}

int raw_dial(const char *place, struct raw *ret)
{
	int rc = -ENOENT;
	for (int waited = 0; waited < PATIENCE_MS; waited += 5) {
		rc = dial_once(place, ret);
		if (rc != -ENOENT && rc != -ECONNREFUSED)
			return rc;
		usleep(5000);
	}
	return rc;
}

/* ---- both ways --------------------------------------------------------------------------------------------------- */

ssize_t raw_take(const struct raw *r, void *bytes, size_t n)
{
	if (r->tls)
		return raw_tls_take(r->tls, bytes, n);
	return r->in == r->out ? recv(r->in, bytes, n, MSG_DONTWAIT) : read(r->in, bytes, n);
}

ssize_t raw_give(const struct raw *r, const void *bytes, size_t n)
{
	if (r->tls)
		return raw_tls_give(r->tls, bytes, n);
	return r->in == r->out ? send(r->out, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) : write(r->out, bytes, n);
}

int raw_flush(const struct raw *r)
{
	return r->tls ? raw_tls_flush(r->tls) : 0;
}

int raw_wants_room(const struct raw *r, int more)
{
	return r->tls ? raw_tls_wants_room(r->tls, more) : more;
}

int raw_write(const struct raw *r, const void *bytes, size_t n)
{
	const char *from = bytes;
	if (r->tls)
		return raw_tls_write(r->tls, bytes, n);
	while (n > 0) {
		ssize_t done = r->in == r->out ? send(r->out, from, n, MSG_NOSIGNAL) : write(r->out, from, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		from += done;
		n -= (size_t)done;
	}
	return 0;
}

long raw_some(const struct raw *r, void *bytes, size_t n, int poll_first)
{
	struct pollfd p = { .fd = r->in, .events = POLLIN };
	if (r->tls)
		return raw_tls_some(r->tls, bytes, n);
	for (;;) {
		if (poll_first && poll(&p, 1, -1) < 0 && errno != EINTR)
			return -errno;
		ssize_t done = read(r->in, bytes, n);
		if (done >= 0)
			return done;
		if (errno != EINTR)
			return -errno;
	}
}

int raw_read(const struct raw *r, void *bytes, size_t n, int poll_first)
{
	char *to = bytes;
	while (n > 0) {
		long done = raw_some(r, to, n, poll_first);
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
