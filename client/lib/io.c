/*
 * io: the public calls on a child's pipes and terminal.
 */
#include "child.h"
#include "event.h"
#include "link.h"
#include "loop.h"
#include "peer.h"
#include <errno.h>
#include <sys/ioctl.h>
#include <termios.h>

/* The pipe, or NULL with the reason in *why. */
static struct pipe *find_pipe(struct brood_peer *p, int fd, int *why)
{
	struct pipe *found = p && p->child ? stdio_pipe(&p->child->stdio, fd) : NULL;
	*why = handle_check(p ? p->h : NULL);
	if (*why < 0)
		return NULL;
	if (found)
		return found;
	*why = handle_fail(p->h, -EBADF, "pipe.unknown", "%s has no pipe or terminal at its descriptor %d",
			   peer_label(p), fd);
	return NULL;
}

static int is_closed(struct brood_peer *p)
{
	return handle_fail(p->h, -ESRCH, "peer.unknown", "%s is closed", peer_label(p));
}

static int explain(struct brood_peer *p, int fd, int rc)
{
	struct brood *h = p->h;
	if (rc == -EAGAIN)
		return handle_fail(h, rc, "pipe.full", "%s has not yet read what was written to its descriptor %d",
				   peer_label(p), fd);
	if (rc == -EPIPE)
		return handle_fail(h, rc, "pipe.closed", "nothing reads descriptor %d of %s", fd, peer_label(p));
	return handle_fail(h, rc, "memory", "cannot write to %s: out of memory", peer_label(p));
}

int brood_write(brood_peer *p, int fd, const void *bytes, size_t n)
{
	int rc;
	struct pipe *to = find_pipe(p, fd, &rc);
	if (!to)
		return rc;
	if (p->closed)
		return is_closed(p);
	if (!bytes && n)
		return handle_fail(p->h, -EINVAL, "argument", "no bytes to write");
	if (!to->writes && to->target != 0 && to->kind == PIPE_PLAIN)
		return handle_fail(p->h, -EBADF, "pipe.unknown", "%s writes to its descriptor %d", peer_label(p), fd);
	rc = bytes ? pipe_write(to, bytes, n) : pipe_end(to);
	return rc < 0 ? explain(p, fd, rc) : 0;
}

int brood_pause(brood_peer *p, int fd, int paused)
{
	int rc = handle_check(p ? p->h : NULL);
	if (rc < 0)
		return rc;
	if (p->told_closed)
		return is_closed(p);
	struct pipe *from = fd == -1 ? NULL : find_pipe(p, fd, &rc);
	if (fd == -1)
		p->paused = (p->paused & ~PAUSED_BY_PROGRAM) | (paused ? PAUSED_BY_PROGRAM : 0);
	else if (from)
		pipe_pause(from, paused);
	if (from)
		child_paused(p->child, fd, paused);
	if (rc == 0)
		event_paused(p);
	return rc;
}

int brood_tty_size(brood_peer *p, unsigned rows, unsigned columns)
{
	int rc;
	struct pipe *tty = find_pipe(p, p && p->child ? p->child->stdio.terminal : -1, &rc);
	struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };
	if (rc == -EBADF)
		return handle_fail(p->h, -ENOTTY, "pipe.unknown", "%s has no terminal", peer_label(p));
	if (!tty)
		return rc;
	if (p->closed)
		return is_closed(p);
	if (rows > 0xffff || columns > 0xffff)
		return handle_fail(p->h, -EINVAL, "argument", "a terminal has at most 65535 rows and columns");
	return ioctl(tty->source.fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}
