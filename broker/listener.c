/*
 * listener: accepts, in batches, and survives having no descriptors left.
 *
 * When accept() finds no free descriptor, the connection stays in the queue and the socket stays readable, so the loop
 * would spin. Instead the reserve descriptor is given up to accept, answer and close what waits (those clients learn at
 * once that the broker is full, instead of waiting), and then nothing is accepted for a moment.
 *
 * Leaving is a race with those who connect: the file is removed first, so nobody new finds us, and then the queue is
 * looked at once more. The surprising rule: if somebody is in it, we listen again under the same path.
 */
#include "listener.h"
#include "dial.h"
#include "door.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096
#define BATCH 64
#define PAUSE_MS 200

static void on_resume(evutil_socket_t, short, void *);

int listeners_init(struct listeners *l, struct event_base *base, struct log *log, listener_taken_fn *taken, void *data)
{
	memset(l, 0, sizeof(*l));
	l->base = base;
	l->log = log;
	l->taken = taken;
	l->data = data;
	event_assign(&l->resume, base, -1, 0, on_resume, l);
	l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return l->reserve < 0 ? -errno : 0;
}

/*
 * The socket's file.
 */

static const char *path_of(const struct address *a)
{
	return ((const struct sockaddr_un *)(const void *)&a->sockaddr)->sun_path;
}

static int has_file(const struct listener *one)
{
	return one->address.kind == ADDRESS_UNIX && !one->inherited;
}

static void remember_file(struct listener *one)
{
	struct stat st;

	if (!has_file(one) || lstat(path_of(&one->address), &st) < 0)
		return;
	one->device = st.st_dev;
	one->inode = st.st_ino;
}

static int file_is_ours(const struct listener *one)
{
	struct stat st;

	return lstat(path_of(&one->address), &st) == 0 && st.st_dev == one->device && st.st_ino == one->inode;
}

const struct listener *listener_lost(const struct listeners *l)
{
	for (unsigned i = 0; i < l->n; i++)
		if (has_file(&l->all[i]) && !file_is_ours(&l->all[i]))
			return &l->all[i];
	return NULL;
}

static void remove_file(const struct listener *one)
{
	if (has_file(one) && file_is_ours(one))
		unlink(path_of(&one->address));
}

static void remove_files(struct listeners *l)
{
	for (unsigned i = 0; i < l->n; i++)
		remove_file(&l->all[i]);
}

/*
 * Accepting.
 */

static int lacks_descriptors(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* Accept, answer and close what waits, by means of the reserve. */
static void turn_away(struct listeners *l, struct listener *one)
{
	int fd, n;

	close(l->reserve);
	for (n = 0; n < BATCH; n++) {
		fd = accept4(one->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			break;
		door_say_full(fd);
		close(fd);
	}
	l->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void pause_all(struct listeners *l, struct listener *one, int error)
{
	const struct timeval t = { 0, PAUSE_MS * 1000 };

	log_say(l->log, LOG_ACCEPT_PAUSED, FIELD_TEXT("address", one->text), FIELD_TEXT("error", strerror(error)));
	turn_away(l, one);
	for (unsigned i = 0; i < l->n; i++)
		event_del(&l->all[i].readable);
	event_add(&l->resume, &t);
}

static void on_resume(evutil_socket_t fd, short what, void *data)
{
	struct listeners *l = data;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < l->n; i++)
		event_add(&l->all[i].readable, NULL);
}

/* 1: a connection was taken. Else 0, with errno. */
static int take_one(struct listener *one)
{
	int fd = accept4(one->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return 0;
	if (one->address.kind != ADDRESS_UNIX)
		dial_tune(fd, one->address.kind);
	one->all->taken(one->all->data, fd, one->address.kind);
	return 1;
}

static void on_readable(evutil_socket_t fd, short what, void *data)
{
	struct listener *one = data;
	int n = 0;

	(void)fd;
	(void)what;
	while (n < BATCH && take_one(one))
		n++;
	if (n == BATCH || errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	if (lacks_descriptors(errno))
		pause_all(one->all, one, errno);
	else
		log_say(one->all->log, LOG_ACCEPT_FAILED, FIELD_TEXT("address", one->text),
			FIELD_TEXT("error", strerror(errno)));
}

/*
 * Life.
 */

/* Enter the next listener, whose fd and address are there, into the loop. */
static int begin(struct listeners *l)
{
	struct listener *one = &l->all[l->n];

	one->all = l;
	address_text(&one->address, one->text, sizeof(one->text));
	remember_file(one);
	event_assign(&one->readable, l->base, one->fd, EV_READ | EV_PERSIST, on_readable, one);
	if (event_add(&one->readable, NULL) < 0) {
		remove_file(one);
		close(one->fd);
		return -ENOMEM;
	}
	l->n++;
	return 0;
}

/* The port that was picked, say. */
static int bound_address(int fd, struct address *a)
{
	a->length = sizeof(a->sockaddr);
	return getsockname(fd, (struct sockaddr *)&a->sockaddr, &a->length) < 0 ? -errno : 0;
}

/*
 * Listening takes a path over, whatever is there. That is right for what a dead broker left, and for nothing else: DIR/sock
 * has DIR's lock, but two brokers may be told the same other path, and anything may be written by mistake.
 */
static int check_free(const struct address *a)
{
	struct stat st;
	int fd, pending;

	if (a->kind != ADDRESS_UNIX || lstat(path_of(a), &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = dial(a, &pending);
	if (fd >= 0)
		close(fd);
	return fd >= 0 || fd == -EAGAIN ? -EADDRINUSE : 0;
}

static const char *what_next(int error)
{
	if (error == -EEXIST)
		return "a file that is no socket is there; remove it, or choose another address";
	if (error == -EADDRINUSE)
		return "stop what uses it, or choose another address";
	return "choose another address";
}

int listener_add(struct listeners *l, const struct address *address, char *why, size_t n)
{
	struct listener *one = &l->all[l->n];
	char text[ADDRESS_TEXT];
	int r = l->n < LISTENERS_MOST ? check_free(address) : -E2BIG;

	if (r == 0)
		r = dial_listen(address, BACKLOG);
	if (r >= 0) {
		*one = (struct listener){ .fd = r, .asked = *address, .address = *address };
		r = 0;
		/* A Unix socket was bound under another name first, so it is not asked. */
		if (address->kind != ADDRESS_UNIX)
			r = bound_address(one->fd, &one->address);
		r = r < 0 ? r : begin(l);
	}
	if (r < 0)
		snprintf(why, n, "cannot listen on %s: %s; %s", address_text(address, text, sizeof(text)), strerror(-r),
			 what_next(r));
	return r;
}

static struct listener *find(const struct listeners *l, const struct address *asked)
{
	for (unsigned i = 0; i < l->n; i++)
		if (!l->all[i].inherited && address_equal(&l->all[i].asked, asked))
			return (struct listener *)(uintptr_t)&l->all[i];
	return NULL;
}

int listener_has(const struct listeners *l, const struct address *asked)
{
	return find(l, asked) != NULL;
}

/* An event must not move while the loop knows it. */
static void move_to(struct listeners *l, struct listener *to, struct listener *from)
{
	event_del(&from->readable);
	*to = *from;
	event_assign(&to->readable, l->base, to->fd, EV_READ | EV_PERSIST, on_readable, to);
	if (!event_pending(&l->resume, EV_TIMEOUT, NULL))
		event_add(&to->readable, NULL);
}

void listener_remove(struct listeners *l, const struct address *asked)
{
	struct listener *one = find(l, asked), *last;
	int left = BACKLOG;

	if (!one)
		return;
	remove_file(one);
	while (left-- > 0 && take_one(one))
		;
	event_del(&one->readable);
	close(one->fd);
	last = &l->all[--l->n];
	if (last != one)
		move_to(l, one, last);
}

static int check_inherited(int fd, struct address *a)
{
	int listening = 0;
	socklen_t n = sizeof(listening);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) < 0 || !listening)
		return -ENOTSOCK;
	if (bound_address(fd, a) < 0)
		return -ENOTSOCK;
	a->kind = a->sockaddr.ss_family == AF_UNIX ? ADDRESS_UNIX : ADDRESS_TCP;
	return 0;
}

int listener_inherit(struct listeners *l, int fd, char *why, size_t n)
{
	struct listener *one = &l->all[l->n];
	struct address address = { 0 }, parsed;
	char text[ADDRESS_TEXT];
	int r = l->n < LISTENERS_MOST ? check_inherited(fd, &address) : -E2BIG;

	if (r == 0)
		/* Whether it is loopback only is known by parsing what it is called. */
		r = address_parse(address_format(&address.sockaddr, address.length, text, sizeof(text)), &parsed, why,
				  n);
	if (r == 0 && parsed.kind == ADDRESS_TCP && !parsed.loopback)
		r = -EACCES;
	if (r == 0) {
		fcntl(fd, F_SETFL, O_NONBLOCK);
		*one = (struct listener){ .fd = fd, .address = address, .inherited = 1 };
		return begin(l);
	}
	snprintf(why, n, "inherited descriptor %d: %s; check the service manager's socket unit", fd,
		 r == -EACCES ? "it listens on more than loopback, in plain TCP" : strerror(-r));
	close(fd);
	return r;
}

const char *listener_text(const struct listeners *l, enum address_kind kind)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->all[i].address.kind == kind)
			return l->all[i].text;
	return "";
}

/* 1 if at least one connection was in a queue and was taken. */
static int last_look(struct listeners *l)
{
	int taken = 0;

	for (unsigned i = 0; i < l->n; i++)
		while (take_one(&l->all[i]))
			taken = 1;
	return taken;
}

/* Bind again what was just removed. */
static int listen_again(struct listeners *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct listener *one = &l->all[i];
		int fd;

		if (!has_file(one))
			continue;
		fd = dial_listen(&one->address, BACKLOG);
		if (fd < 0)
			return fd;
		event_del(&one->readable);
		close(one->fd);
		one->fd = fd;
		remember_file(one);
		event_assign(&one->readable, l->base, fd, EV_READ | EV_PERSIST, on_readable, one);
		if (event_add(&one->readable, NULL) < 0)
			return -ENOMEM;
	}
	return 0;
}

int listeners_leave(struct listeners *l)
{
	remove_files(l);
	if (last_look(l))
		return listen_again(l);
	listeners_deinit(l);
	return 1;
}

void listeners_deinit(struct listeners *l)
{
	if (!l->base)
		return;
	remove_files(l);
	for (unsigned i = 0; i < l->n; i++) {
		event_del(&l->all[i].readable);
		close(l->all[i].fd);
	}
	l->n = 0;
	event_del(&l->resume);
	if (l->reserve >= 0)
		close(l->reserve);
	l->reserve = -1;
	l->base = NULL;
}
