/*
 * inlet: one reader for many writers that come and go.
 *
 * When the last writer has closed, the FIFO is at its end, and would say so for ever; so it is opened once more, which
 * makes that a beginning, and only then is the old descriptor closed: a writer that came in between loses nothing. The
 * end also says that a line without an end will not get one. Such a line is dropped, because its writer may have been
 * killed in the middle of it.
 */
#include "inlet.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP (64u * 1024u)
#define HEAD 4u

int inlet_open(struct inlet *in, const char *path, int raw)
{
	*in = (struct inlet){ .fd = -1, .raw = raw };
	if (mkfifo(path, 0600) < 0)
		return -errno;
	in->path = path;
	in->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return in->fd < 0 ? -errno : 0;
}

int inlet_close(struct inlet *in)
{
	int rc = in->path && unlink(in->path) < 0 && errno != ENOENT ? -errno : 0;
	if (in->fd >= 0)
		close(in->fd);
	free(in->bytes);
	*in = (struct inlet){ .fd = -1, .dropped = in->dropped };
	return rc;
}

static void drop(struct inlet *in, const char *why)
{
	in->dropped++;
	fprintf(stderr, "brood pipe: %s: %s; it is dropped\n", in->path, why);
}

/* ---- what was read ----------------------------------------------------------------------------------------------- */

/* What comes until its end belongs to it. */
static void skip_line(struct inlet *in)
{
	if (!in->skipping)
		drop(in, "a line has more than 65536 bytes");
	in->skipping = 1;
	in->begin = in->end;
}

static int next_line(struct inlet *in, const void **body, size_t *length)
{
	for (;;) {
		const unsigned char *at = in->bytes + in->begin;
		size_t n = in->end - in->begin;
		const unsigned char *end = n ? memchr(at, '\n', n) : NULL;
		int was_skipping = in->skipping;
		if (!end && (in->skipping || n > INLET_LINE))
			skip_line(in);
		if (!end)
			return 0;
		n = (size_t)(end - at);
		in->begin += n + 1;
		in->skipping = 0;
		if (!was_skipping && n <= INLET_LINE) {
			*body = at;
			*length = n;
			return 1;
		}
		if (!was_skipping)
			drop(in, "a line has more than 65536 bytes");
	}
}

static size_t length_at(const unsigned char *at)
{
	return (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
}

static void skip_some(struct inlet *in)
{
	size_t n = in->end - in->begin;
	n = n < in->skip ? n : in->skip;
	in->begin += n;
	in->skip -= n;
}

static int next_record(struct inlet *in, const void **body, size_t *length)
{
	skip_some(in);
	size_t n = in->end - in->begin;
	if (n < HEAD)
		return 0;
	size_t wanted = length_at(in->bytes + in->begin);
	if (wanted > INLET_RECORD) {
		drop(in, "a record has more than 64 MiB");
		in->begin += HEAD;
		in->skip = wanted;
		return next_record(in, body, length);
	}
	if (n - HEAD < wanted)
		return 0;
	*body = in->bytes + in->begin + HEAD;
	*length = wanted;
	in->begin += HEAD + wanted;
	return 1;
}

int inlet_next(struct inlet *in, const void **body, size_t *length)
{
	return (in->raw ? next_record : next_line)(in, body, length);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static int make_room(struct inlet *in)
{
	if (in->begin > 0)
		memmove(in->bytes, in->bytes + in->begin, in->end - in->begin);
	in->end -= in->begin;
	in->begin = 0;
	if (in->room - in->end >= STEP)
		return 0;
	unsigned char *bytes = realloc(in->bytes, in->room * 2 + STEP);
	if (!bytes)
		return -ENOMEM;
	in->bytes = bytes;
	in->room = in->room * 2 + STEP;
	return 0;
}

static int begin_again(struct inlet *in)
{
	char same[64];
	if (in->end > in->begin || in->skip)
		drop(in, in->raw ? "a record was not finished" : "a line was not ended by a newline");
	in->begin = in->end = in->skip = 0;
	in->skipping = 0;
	snprintf(same, sizeof same, "/proc/self/fd/%d", in->fd); /* whatever lies at the path now */
	int fd = open(same, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(in->fd);
	in->fd = fd;
	return 0;
}

int inlet_read(struct inlet *in)
{
	int rc = make_room(in);
	if (rc < 0)
		return rc;
	ssize_t n = read(in->fd, in->bytes + in->end, in->room - in->end);
	in->more = n > 0 || (n < 0 && errno == EINTR);
	if (n > 0)
		in->end += (size_t)n;
	else if (n == 0)
		return begin_again(in);
	return n < 0 && errno != EAGAIN && errno != EINTR ? -errno : 0;
}
