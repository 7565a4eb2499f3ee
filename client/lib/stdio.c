/*
 * stdio: see stdio.h. One function per kind of descriptor; each makes the child's end and, where there is one, mine.
 */
#include "stdio.h"
#include "child.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

struct opening { /* stdio_open() under way */
	struct stdio *set;
	struct brood_peer *peer;
	const struct pipe_sink *user, *lines;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- one of each ------------------------------------------------------------------------------------------------- */

/* ends[0] is the child's, ends[1] mine. */
static int make_pair(int target, int ends[2])
{
	if (target > 2)
		return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	if (target != 0) { /* the child writes */
		int reading = ends[0];
		ends[0] = ends[1];
		ends[1] = reading;
	}
	return 0;
}

static void add_pipe(struct opening *o, enum pipe_kind kind, int target, int fd, const struct pipe_sink *sink)
{
	struct pipe *p = &o->set->pipes[o->set->n_pipes++];
	pipe_init(p, o->peer, kind, target, fd, sink);
	p->keeps_tail = o->peer->remote && kind == PIPE_PLAIN && target == STDERR_FILENO;
}

static int open_pipe(struct opening *o, const struct brood_stdio *want, struct stdio_entry *e)
{
	int ends[2], rc = make_pair(want->fd, ends);
	if (rc < 0)
		return rc;
	e->source = ends[0];
	add_pipe(o, want->fd > 2 ? PIPE_SOCKET : PIPE_PLAIN, want->fd, ends[1], o->user);
	return 0;
}

/* A plain pipe whatever its number: the child only writes. */
static int open_log(struct opening *o, const struct brood_stdio *want, struct stdio_entry *e)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	e->source = ends[1];
	add_pipe(o, PIPE_PLAIN, want->fd, ends[0], o->lines);
	return 0;
}

static int open_held(struct opening *o, const struct brood_stdio *want, struct stdio_entry *e)
{
	int ends[2];
	(void)o;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	e->source = ends[want->fd == 0 ? 0 : 1];
	e->held = ends[want->fd == 0 ? 1 : 0];
	return 0;
}

static int duplicate(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return copy < 0 ? -errno : copy;
}

static int open_copy(struct opening *o, const struct brood_stdio *want, struct stdio_entry *e)
{
	(void)o;
	e->source = duplicate(want->other);
	return e->source < 0 ? e->source : 0;
}

/* Who gets the reading end of its pipe calls it by another number than 1 and 2, who gets the writing end not 0. */
static int fits(const struct brood_stdio *want)
{
	return want->other == 0 ? want->fd != 0 : want->fd != 1 && want->fd != 2;
}

static int open_peer(struct opening *o, const struct brood_stdio *want, struct stdio_entry *e)
{
	struct child *c = want->peer->h == o->peer->h && fits(want) ? want->peer->child : NULL;
	struct stdio *its = c ? &c->stdio : NULL;
	for (size_t i = 0; its && its->plan && i < its->plan->n_fds; i++) {
		if (its->plan->fds[i].fd != want->other || its->entries[i].held < 0)
			continue;
		e->source = its->entries[i].held;
		its->entries[i].held = -1;
		return 0;
	}
	return -EINVAL;
}

/* The child's side of a terminal is opened without its path, which may mean nothing in this mount namespace. */
static int open_terminal(int *master)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int side = grantpt(fd) < 0 || unlockpt(fd) < 0 ? -1 : ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (side < 0) {
		int code = -errno;
		close(fd);
		return code;
	}
	*master = fd;
	return side;
}

static int terminal_source(const struct stdio *set)
{
	for (size_t i = 0; i < set->plan->n_fds; i++)
		if (set->plan->fds[i].kind == BROOD_STDIO_TTY && set->entries[i].source >= 0)
			return set->entries[i].source;
	return -1;
}

static int open_tty(struct opening *o, const struct brood_stdio *want, struct stdio_entry *e)
{
	int master = -1, first = terminal_source(o->set);
	e->source = first >= 0 ? duplicate(first) : open_terminal(&master);
	if (e->source < 0)
		return e->source;
	if (first >= 0)
		return 0;
	struct winsize size = { .ws_row = o->set->plan->tty_rows, .ws_col = o->set->plan->tty_columns };
	(void)ioctl(master, TIOCSWINSZ, &size); /* before anybody can look: a child that starts at once sees it */
	o->set->terminal = want->fd;
	add_pipe(o, PIPE_TERMINAL, want->fd, master, o->user);
	return 0;
}

static int open_later(struct opening *o, const struct brood_stdio *want, struct stdio_entry *e)
{
	(void)o;
	(void)want;
	(void)e;
	return 0;
}

static int (*const open_kind[])(struct opening *, const struct brood_stdio *, struct stdio_entry *) = {
	[BROOD_STDIO_NULL] = open_later, [BROOD_STDIO_MINE] = open_later, [BROOD_STDIO_PIPE] = open_pipe,
	[BROOD_STDIO_FD] = open_copy,    [BROOD_STDIO_LOG] = open_log,    [BROOD_STDIO_TTY] = open_tty,
	[BROOD_STDIO_HELD] = open_held,  [BROOD_STDIO_PEER] = open_peer,
};

/* ---- the set ----------------------------------------------------------------------------------------------------- */

static int make_room(struct stdio *set)
{
	size_t n = set->plan->n_fds;
	set->entries = calloc(n, sizeof(*set->entries));
	set->pipes = calloc(n, sizeof(*set->pipes));
	if (!set->entries || !set->pipes)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		set->entries[i] = (struct stdio_entry){ -1, -1 };
	return 0;
}

/* What the caller got wrong is said at once; what the system has not got makes the start fail. */
static int is_callers_mistake(int code)
{
	return code == -EBADF || code == -EINVAL;
}

static int open_entry(struct opening *o, size_t i)
{
	const struct brood_stdio *want = &o->set->plan->fds[i];
	struct stdio_entry *e = &o->set->entries[i];
	int rc = open_kind[want->kind](o, want, e);
	if (rc < 0)
		e->source = -1;
	if (rc < 0 && !is_callers_mistake(rc) && !o->set->error)
		o->set->error = rc;
	return is_callers_mistake(rc) ? rc : 0;
}

/* Mistakes are found before anything is taken from another child, which could not be given back. */
static int open_entries(struct opening *o, int wired)
{
	for (size_t i = 0; i < o->set->plan->n_fds; i++) {
		if ((o->set->plan->fds[i].kind == BROOD_STDIO_PEER) != wired)
			continue;
		int rc = open_entry(o, i);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int stdio_open(struct stdio *set, const struct plan *plan, struct brood_peer *peer, const struct pipe_sink *user,
	       const struct pipe_sink *lines)
{
	struct opening o = { set, peer, user, lines };
	*set = (struct stdio){ .plan = plan, .terminal = -1 };
	int rc = make_room(set);
	if (rc == 0 && (rc = open_entries(&o, 0)) == 0)
		rc = open_entries(&o, 1);
	if (rc < 0)
		stdio_deinit(set);
	return rc;
}

void stdio_shut(struct stdio *set)
{
	for (size_t i = 0; i < set->n_pipes; i++)
		pipe_shut(&set->pipes[i]);
	for (size_t i = 0; set->entries && i < set->plan->n_fds; i++) {
		close_fd(&set->entries[i].source);
		close_fd(&set->entries[i].held);
	}
}

void stdio_deinit(struct stdio *set)
{
	stdio_shut(set);
	for (size_t i = 0; i < set->n_pipes; i++)
		pipe_deinit(&set->pipes[i]);
	free(set->entries);
	free(set->pipes);
	*set = (struct stdio){ .terminal = -1 };
}

void stdio_given(struct stdio *set)
{
	for (size_t i = 0; i < set->plan->n_fds; i++)
		close_fd(&set->entries[i].source);
}

/* Where the program closed one of the first three, the number may be one of this library's by now, never to be shown. */
static int is_open_here(int fd)
{
	int flags = fcntl(fd, F_GETFD);
	return flags >= 0 && (fd > 2 || !(flags & FD_CLOEXEC));
}

static int source_of(const struct stdio *set, size_t i, int null_fd)
{
	const struct brood_stdio *want = &set->plan->fds[i];
	if (set->entries[i].source >= 0)
		return set->entries[i].source;
	return want->kind == BROOD_STDIO_MINE && is_open_here(want->fd) ? want->fd : null_fd;
}

void stdio_show(const struct stdio *set, int null_fd, struct spawn_fd *fds)
{
	for (size_t i = 0; i < set->plan->n_fds; i++)
		fds[i] = (struct spawn_fd){ set->plan->fds[i].fd, source_of(set, i, null_fd) };
}

struct pipe *stdio_pipe(struct stdio *set, int fd)
{
	const struct brood_stdio *want = set->plan ? plan_stdio(set->plan, fd) : NULL;
	if (want && want->kind == BROOD_STDIO_TTY)
		fd = set->terminal;
	for (size_t i = 0; want && i < set->n_pipes; i++)
		if (set->pipes[i].target == fd)
			return &set->pipes[i];
	return NULL;
}

int stdio_settled(const struct stdio *set)
{
	for (size_t i = 0; i < set->n_pipes; i++)
		if (!pipe_settled(&set->pipes[i]))
			return 0;
	return 1;
}

int stdio_is_open(const struct stdio *set)
{
	for (size_t i = 0; i < set->n_pipes; i++)
		if (pipe_is_open(&set->pipes[i]))
			return 1;
	return 0;
}

int stdio_is_stuck(const struct stdio *set)
{
	for (size_t i = 0; i < set->n_pipes; i++)
		if (pipe_is_stuck(&set->pipes[i]))
			return 1;
	return 0;
}

int stdio_is_paused(const struct stdio *set)
{
	for (size_t i = 0; i < set->n_pipes; i++)
		if (set->pipes[i].reads && set->pipes[i].paused)
			return 1;
	return 0;
}

void stdio_owe(struct stdio *set)
{
	for (size_t i = 0; i < set->n_pipes; i++)
		pipe_owe(&set->pipes[i]);
}

void stdio_finish(struct stdio *set)
{
	for (size_t i = 0; i < set->n_pipes; i++)
		pipe_finish(&set->pipes[i]);
}
