/*
 * outlet: one writer for many readers that come and go. It has a reader of its own open, too, so that a script may close
 * its end and open it again: meanwhile the pipe keeps what is in it, and what does not fit waits here.
 */
#include "outlet.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

int outlet_open(struct outlet *out, const char *path, int raw)
{
	*out = (struct outlet){ .fd = -1, .hold = -1, .raw = raw };
	TAILQ_INIT(&out->lines);
	if (mkfifo(path, 0600) < 0)
		return -errno;
	out->path = path;
	out->hold = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	out->fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	return out->hold < 0 || out->fd < 0 ? -errno : 0;
}

static void drop_first(struct outlet *out)
{
	struct line *l = TAILQ_FIRST(&out->lines);
	TAILQ_REMOVE(&out->lines, l, entry);
	brood_msg_release(l->msg);
	free(l);
	out->n--;
	out->done = 0;
}

int outlet_close(struct outlet *out)
{
	while (out->n > 0)
		drop_first(out);
	int rc = out->path && unlink(out->path) < 0 && errno != ENOENT ? -errno : 0;
	if (out->fd >= 0)
		close(out->fd);
	if (out->hold >= 0)
		close(out->hold);
	out->path = NULL;
	out->fd = out->hold = -1;
	return rc;
}

int outlet_takes(const struct outlet *out, const brood_msg *msg)
{
	return out->raw || !memchr(msg->body, '\n', msg->length);
}

struct line *outlet_reserve(struct outlet *out, void *data)
{
	struct line *l = calloc(1, sizeof *l);
	if (!l)
		return NULL;
	l->data = data;
	TAILQ_INSERT_TAIL(&out->lines, l, entry);
	out->n++;
	return l;
}

void outlet_unreserve(struct outlet *out, struct line *l)
{
	TAILQ_REMOVE(&out->lines, l, entry);
	free(l);
	out->n--;
}

void outlet_fill(struct line *l, brood_msg *msg)
{
	l->msg = msg;
	l->there = 1;
}

/* One try at the first line. 1: it is written, 0: there is no room, or negative errno. */
static int write_first(struct outlet *out, const struct line *l)
{
	size_t n = l->msg ? l->msg->length : 0;
	const unsigned char head[4] = { (unsigned char)n, (unsigned char)(n >> 8), (unsigned char)(n >> 16),
					(unsigned char)(n >> 24) };
	struct iovec parts[3] = { { (void *)(uintptr_t)head, out->raw ? 4 : 0 },
				  { l->msg ? (void *)(uintptr_t)l->msg->body : NULL, n },
				  { (void *)(uintptr_t) "\n", out->raw ? 0 : 1 } };
	size_t all = parts[0].iov_len + n + parts[2].iov_len, skip = out->done;
	for (int i = 0; i < 3; i++) {
		size_t some = skip < parts[i].iov_len ? skip : parts[i].iov_len;
		parts[i].iov_base = (char *)parts[i].iov_base + some;
		parts[i].iov_len -= some;
		skip -= some;
	}
	ssize_t written = writev(out->fd, parts, 3);
	if (written < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	out->done += (size_t)written;
	return out->done == all;
}

int outlet_waits(const struct outlet *out)
{
	const struct line *first = TAILQ_FIRST(&out->lines);
	return first && first->there;
}

int outlet_write(struct outlet *out)
{
	int rc = 1;
	while (rc > 0 && outlet_waits(out)) {
		rc = write_first(out, TAILQ_FIRST(&out->lines));
		if (rc == 1)
			drop_first(out);
	}
	return rc < 0 ? rc : 0;
}
