/*
 * The receiving side of a channel. The first byte seeds the sizes of the pieces in which the rest is written to a
 * socket; whatever the pieces, the frames must be those of the uncut bytes.
 *
 * If the first byte is above 0x7f, descriptors come with some of the pieces. They may be refused; none may stay open.
 */
#include "channel.h"
#include "target.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST (64u * 1024u)

static _Alignas(8) uint8_t whole[MOST];
static struct slab slab;

static void expect_same(const struct frame *got, size_t *at, size_t n)
{
	struct frame f;

	must(frame_parse(whole + *at, n - *at, FRAME_MAX, &f) == 1);
	must(got->size == f.size && memcmp(got->bytes, f.bytes, f.size) == 0);
	must((uintptr_t)got->bytes % 8 == 0);
	*at += f.size;
}

/* Read what is there. 0, or the error that ended it. */
static int read_some(struct channel *c, size_t *at, size_t n)
{
	ssize_t got = channel_read(c);
	struct frame f;
	int r;

	if (got == -ENOBUFS) {
		slab_reset(&slab);
		got = channel_read(c);
	}
	must(got > 0);
	while ((r = channel_next(c, &f)) == 1)
		expect_same(&f, at, n);
	return r;
}

/* With this many descriptors. */
static void put(int fd, const uint8_t *bytes, size_t n, unsigned fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(32 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fds > 0) {
		struct cmsghdr *cmsg = (struct cmsghdr *)(void *)control;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fds * sizeof(int));
		for (unsigned i = 0; i < fds; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fd, sizeof(fd));
	}
	must(sendmsg(fd, &msg, 0) == (ssize_t)n);
}

/* The pieces come with descriptors: what is shown must still be as it was sent. */
static void feed_with_fds(struct channel *c, int fd, unsigned seed, size_t n)
{
	size_t written = 0, at = 0;
	int r = 0;

	while (written < n && r == 0) {
		size_t some = 1 + (seed >> 8) % (seed % 2 ? 60 : 200);
		unsigned fds = seed % 3 == 0 ? seed % 19 : 0;

		seed = seed * 1103515245u + 12345u;
		if (some > n - written)
			some = n - written;
		put(fd, whole + written, some, fds);
		written += some;
		r = read_some(c, &at, written);
	}
}

static int lowest_free(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static void feed(struct channel *c, int fd, unsigned seed, size_t n)
{
	size_t written = 0, at = 0;
	struct frame f;
	int r = 0;

	while (written < n && r == 0) {
		size_t some = 1 + (seed >> 8) % (seed % 4 == 0 ? 7 : seed % 4 == 1 ? 60 : 5000);

		seed = seed * 1103515245u + 12345u;
		if (some > n - written)
			some = n - written;
		must(write(fd, whole + written, some) == (ssize_t)some);
		written += some;
		r = read_some(c, &at, written);
	}
	must(frame_parse(whole + at, written - at, FRAME_MAX, &f) == r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct channel c;
	int fds[2], free_before = lowest_free();

	if (n < 2 || n - 1 > MOST)
		return 0;
	if (!slab.bytes)
		must(slab_init(&slab, SLAB_HELPING) == 0);
	memcpy(whole, data + 1, n - 1);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	channel_init(&c, fds[0], fds[0], &slab);
	if (data[0] > 0x7f)
		feed_with_fds(&c, fds[1], data[0] * 2654435761u, n - 1);
	else
		feed(&c, fds[1], data[0] * 2654435761u, n - 1);
	channel_deinit(&c);
	close(fds[1]);
	slab_reset(&slab);
	must(lowest_free() == free_before);
	return 0;
}
