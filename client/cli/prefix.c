/*
 * prefix: see prefix.h. A line that is longer than LONGEST is cut into several.
 */
#include "prefix.h"
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define LONGEST 65536u

/* Our output may be somebody else's, and not wait by itself. */
static ssize_t write_some(int fd, const struct iovec *iov, int n)
{
	ssize_t wrote = writev(fd, iov, n);
	if (wrote >= 0)
		return wrote;
	if (errno == EAGAIN)
		(void)poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

/* All of it: label, ": ", two halves of a line, and its end. In one call if the other end takes it, so lines stay whole. */
static int write_line(const struct prefix *p, const char *rest, size_t n)
{
	struct iovec iov[] = { { (char *)(uintptr_t)p->label, strlen(p->label) },
			       { (char *)(uintptr_t) ": ", 2 },
			       { p->line, p->n },
			       { (char *)(uintptr_t)rest, n },
			       { (char *)(uintptr_t) "\n", 1 } };
	struct iovec *at = iov, *end = iov + sizeof iov / sizeof *iov;
	while (at < end) {
		ssize_t wrote = write_some(p->fd, at, (int)(end - at));
		if (wrote < 0)
			return (int)wrote;
		while (at < end && (size_t)wrote >= at->iov_len)
			wrote -= (ssize_t)at++->iov_len;
		if (at < end) {
			at->iov_base = (char *)at->iov_base + wrote;
			at->iov_len -= (size_t)wrote;
		}
	}
	return 0;
}

static int keep(struct prefix *p, const char *bytes, size_t n)
{
	if (p->n + n > p->room) {
		char *line = realloc(p->line, p->n + n);
		if (!line)
			return -ENOMEM;
		p->line = line;
		p->room = p->n + n;
	}
	if (n)
		memcpy(p->line + p->n, bytes, n);
	p->n += n;
	return 0;
}

int prefix_write(struct prefix *p, const char *bytes, size_t n)
{
	int rc = 0;
	while (rc == 0 && n > 0) {
		const char *newline = memchr(bytes, '\n', n);
		size_t length = newline ? (size_t)(newline - bytes) : n;
		if (!newline && p->n + length < LONGEST)
			return keep(p, bytes, length);
		if (!p->cut || p->n + length > 0) /* what was cut last may have been all of its line */
			rc = write_line(p, bytes, length);
		p->cut = !newline;
		p->n = 0;
		length += newline != NULL;
		bytes += length;
		n -= length;
	}
	return rc;
}

int prefix_end(struct prefix *p)
{
	int rc = p->n ? write_line(p, "", 0) : 0;
	free(p->line);
	p->line = NULL;
	p->n = p->room = 0;
	return rc;
}
