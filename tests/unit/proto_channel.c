/*
 * Channels over a socketpair and over pipes: frames cut anywhere, descriptors, order of what is kept, and what an idle
 * channel owns. malloc is wrapped to be counted and to fail.
 */
#include "test.h"

#include "channel.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned mallocs;
static int malloc_fails;

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);

void *__wrap_malloc(size_t n)
{
	if (malloc_fails)
		return NULL;
	mallocs++;
	return __real_malloc(n);
}

static struct slab slab;
static struct channel here, there; /* two ends */

static void set_up(void)
{
	int fds[2];

	assert_int_equal(slab_init(&slab, 4 * SLAB_HELPING), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	channel_init(&here, fds[0], fds[0], &slab);
	channel_init(&there, fds[1], fds[1], &slab);
}

static void tear_down(void)
{
	channel_deinit(&here);
	channel_deinit(&there);
	slab_deinit(&slab);
}

/* A frame whose body of `length` bytes follows from its sequence number. */
static size_t make_frame(uint8_t *to, uint64_t sequence, size_t length)
{
	struct frame f = { .kind = FRAME_DATA, .length = (uint32_t)length, .sequence = sequence };
	size_t i;

	frame_write_head(to, &f);
	memset(to + FRAME_HEAD, 0, frame_size(length) - FRAME_HEAD);
	for (i = 0; i < length; i++)
		to[FRAME_HEAD + i] = (uint8_t)(sequence * 31 + i * 7 + i / 251);
	return frame_size(length);
}

static void expect_frame(const struct frame *f, uint64_t sequence, size_t length)
{
	static uint8_t expected[FRAME_MAX];
	size_t size = make_frame(expected, sequence, length);

	assert_int_equal(f->sequence, sequence);
	assert_int_equal(f->size, size);
	assert_int_equal((uintptr_t)f->bytes % 8, 0);
	assert_memory_equal(f->bytes, expected, size);
}

static void put(const uint8_t *bytes, size_t n)
{
	if (n > 0)
		assert_int_equal(write(there.in_fd, bytes, n), (ssize_t)n);
}

/* Read once and take all frames. The lengths of frames `first`, `first + 1`, ... are in `lengths`. */
static uint64_t take_all(uint64_t first, const size_t *lengths)
{
	ssize_t got = channel_read(&here);
	struct frame f;
	int r;

	assert_true(got > 0 || got == -EAGAIN);
	while ((r = channel_next(&here, &f)) == 1) {
		expect_frame(&f, first, lengths[first]);
		first++;
	}
	assert_int_equal(r, 0);
	return first;
}

static const size_t lengths[] = { 0, 5, 100, 8, 0, 64 };

static size_t make_stream(uint8_t *to)
{
	size_t n = 0, i;

	for (i = 0; i < 6; i++)
		n += make_frame(to + n, i, lengths[i]);
	return n;
}

static void frames_may_be_cut_at_every_byte(void **state)
{
	_Alignas(8) uint8_t stream[1024];
	size_t n = make_stream(stream), cut;

	(void)state;
	for (cut = 0; cut <= n; cut++) {
		uint64_t came;

		set_up();
		put(stream, cut);
		came = take_all(0, lengths);
		put(stream + cut, n - cut);
		assert_int_equal(take_all(came, lengths), 6);
		tear_down();
	}
}

static void frames_may_come_byte_by_byte(void **state)
{
	_Alignas(8) uint8_t stream[1024];
	size_t n = make_stream(stream), i;
	uint64_t came = 0;

	(void)state;
	set_up();
	for (i = 0; i < n; i++) {
		put(stream + i, 1);
		came = take_all(came, lengths);
		if (i % 7 == 0)
			slab_reset(&slab);
	}
	assert_int_equal(came, 6);
	tear_down();
}

/* Lengths that fall on no border of anything. */
static size_t odd_length(uint64_t sequence)
{
	return sequence % 5 == 4 ? FRAME_BODY_MAX - sequence : (size_t)(sequence * 7919 % 70000);
}

static void large_frames_go_through_small_helpings(void **state)
{
	static uint8_t out[FRAME_MAX];
	size_t at = 0, end = 0;
	uint64_t made = 0, came = 0;

	(void)state;
	set_up();
	while (came < 60) {
		struct frame f;
		ssize_t n;

		if (at == end && made < 60) {
			end = make_frame(out, made, odd_length(made));
			made++;
			at = 0;
		}
		n = write(there.in_fd, out + at, end - at);
		at += n > 0 ? (size_t)n : 0;
		if (n > 0 && (size_t)n % 3 == 0)
			continue;
		n = channel_read(&here);
		assert_true(n > 0 || n == -EAGAIN || n == -ENOBUFS);
		if (n == -ENOBUFS)
			slab_reset(&slab);
		while (channel_next(&here, &f) == 1) {
			expect_frame(&f, came, odd_length(came));
			came++;
		}
	}
	tear_down();
}

/* Where a test has the bodies of frames read to; `asked` and `again` count. */
struct elsewhere {
	uint8_t body[FRAME_MAX];
	int refuses;
	unsigned asked, again;
};

static uint8_t *place(void *data, const struct frame *head, size_t have, int again, size_t *n)
{
	struct elsewhere *e = data;

	e->asked++;
	e->again += again != 0;
	if (e->refuses)
		return NULL;
	*n = FRAME_HEAD + head->length - have;
	return e->body + (have - FRAME_HEAD);
}

static void expect_elsewhere(const struct elsewhere *e, uint64_t sequence, size_t length, size_t first)
{
	static uint8_t expected[FRAME_MAX];
	size_t size = make_frame(expected, sequence, length), i;
	struct frame f;

	assert_int_equal(channel_next(&here, &f), 1);
	assert_true(f.elsewhere);
	assert_int_equal(f.size, size);
	assert_memory_equal(f.bytes, expected, FRAME_HEAD + first); /* as much as had come before */
	assert_memory_equal(e->body + first, expected + FRAME_HEAD + first, length - first);
	for (i = FRAME_HEAD + length; i < size; i++)
		assert_int_equal(f.bytes[i], 0);
}

static void a_body_goes_where_it_is_told(void **state)
{
	static struct elsewhere e;
	static uint8_t stream[3 * FRAME_MAX];
	const size_t length = 100003, first = 500, part = 30000;
	size_t n = make_frame(stream, 0, length);
	struct frame f;

	(void)state;
	set_up();
	n += make_frame(stream + n, 1, 77);
	n += make_frame(stream + n, 2, length);
	put(stream, FRAME_HEAD + first);
	assert_true(channel_read_to(&here, place, &e) > 0);
	assert_int_equal(e.asked, 0); /* nothing was cut yet */
	assert_int_equal(channel_next(&here, &f), 0);
	put(stream + FRAME_HEAD + first, part);
	assert_int_equal(channel_read_to(&here, place, &e), (ssize_t)part);
	assert_int_equal(channel_next(&here, &f), 0);
	put(stream + FRAME_HEAD + first + part, n - FRAME_HEAD - first - part);
	assert_true(channel_read_to(&here, place, &e) > 0);
	assert_int_equal(e.asked, 2);
	assert_int_equal(e.again, 1);
	expect_elsewhere(&e, 0, length, first);
	/* What is behind it is as ever, and may be next to go elsewhere. */
	assert_int_equal(channel_next(&here, &f), 1);
	assert_false(f.elsewhere);
	expect_frame(&f, 1, 77);
	assert_int_equal(channel_next(&here, &f), 0);
	e.refuses = 1;
	while (channel_next(&here, &f) == 0)
		assert_true(channel_read_to(&here, place, &e) > 0);
	assert_int_equal(e.again, 1);
	assert_false(f.elsewhere);
	expect_frame(&f, 2, length);
	tear_down();
}

static void what_was_shown_stays_until_reset(void **state)
{
	static uint8_t stream[3 * 1024];
	struct frame shown[3];
	size_t n = 0, i;

	(void)state;
	set_up();
	for (i = 0; i < 3; i++)
		n += make_frame(stream + n, i, 900);
	put(stream, 500);
	assert_int_equal(channel_read(&here), 500);
	assert_int_equal(channel_next(&here, &shown[0]), 0);
	put(stream + 500, 1000);
	assert_int_equal(channel_read(&here), 1000);
	assert_int_equal(channel_next(&here, &shown[0]), 1); /* from the carry */
	assert_int_equal(channel_next(&here, &shown[1]), 0);
	put(stream + 1500, n - 1500);
	assert_int_equal(channel_read(&here), (ssize_t)(n - 1500));
	assert_int_equal(channel_next(&here, &shown[1]), 1);
	assert_int_equal(channel_next(&here, &shown[2]), 1);
	for (i = 0; i < 3; i++)
		expect_frame(&shown[i], i, 900);
	tear_down();
}

static void a_full_slab_asks_for_a_reset(void **state)
{
	static uint8_t stream[FRAME_MAX];
	size_t n = make_frame(stream, 0, 100 * 1024);
	struct frame f;
	int i;

	(void)state;
	set_up();
	for (i = 0; slab_has_room(&slab); i++) {
		put(stream, n);
		assert_int_equal(channel_read(&here), (ssize_t)n);
		assert_int_equal(channel_next(&here, &f), 1);
		assert_int_equal(channel_next(&here, &f), 0);
	}
	assert_true(i > 5);
	put(stream, n);
	assert_int_equal(channel_read(&here), -ENOBUFS);
	slab_reset(&slab);
	assert_true(slab_has_room(&slab));
	assert_int_equal(channel_read(&here), (ssize_t)n);
	assert_int_equal(channel_next(&here, &f), 1);
	tear_down();
}

static void the_end_and_emptiness_are_told(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(channel_read(&here), -EAGAIN);
	channel_deinit(&there);
	assert_int_equal(channel_read(&here), 0);
	channel_deinit(&here);
	channel_deinit(&here);
	tear_down();
}

static void strangers_and_giants_are_refused(void **state)
{
	uint8_t stream[200];
	size_t n = make_frame(stream, 0, 8);
	struct frame f;

	(void)state;
	set_up();
	put(stream, n);
	put((const uint8_t *)"GET", 3);
	assert_int_equal(channel_read(&here), (ssize_t)n + 3);
	assert_int_equal(channel_next(&here, &f), 1);
	assert_int_equal(channel_next(&here, &f), -EPROTO);
	tear_down();
	set_up();
	here.most = 64;
	n = make_frame(stream, 0, 16);
	put(stream, n);
	n = make_frame(stream, 1, 17);
	put(stream, n);
	assert_true(channel_read(&here) > 0);
	assert_int_equal(channel_next(&here, &f), 1);
	assert_int_equal(channel_next(&here, &f), -EMSGSIZE);
	tear_down();
}

static void without_memory_a_cut_frame_is_an_error(void **state)
{
	uint8_t stream[200];
	struct frame f;

	(void)state;
	set_up();
	make_frame(stream, 0, 8);
	put(stream, 10);
	assert_int_equal(channel_read(&here), 10);
	malloc_fails = 1;
	assert_int_equal(channel_next(&here, &f), -ENOMEM);
	malloc_fails = 0;
	tear_down();
}

/* Descriptors. */

static ino_t inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static int send_with_fd(uint64_t sequence, int fd)
{
	struct frame f = { .kind = FRAME_ADOPT, .length = 3, .sequence = sequence };

	return channel_send(&there, &f, "abc", fd);
}

static void descriptors_come_with_their_frames(void **state)
{
	int pipes[2][2], got, i;
	ino_t expected[2];
	struct frame f;

	(void)state;
	set_up();
	for (i = 0; i < 2; i++) {
		assert_int_equal(pipe(pipes[i]), 0);
		expected[i] = inode(pipes[i][0]);
		assert_int_equal(send_with_fd((uint64_t)i, pipes[i][0]), 0);
		assert_int_equal(fcntl(pipes[i][0], F_GETFD), -1); /* sent and closed */
	}
	assert_int_equal(channel_take_fd(&here), -ENOENT);
	for (i = 0; i < 2; i++) {
		assert_true(channel_read(&here) > 0); /* the kernel ends a helping at every descriptor */
		assert_int_equal(channel_take_fd(&here), -ENOENT);
		assert_int_equal(channel_next(&here, &f), 1);
		got = channel_take_fd(&here);
		assert_true(got >= 0);
		assert_true(fcntl(got, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(inode(got), expected[i]);
		close(got);
		close(pipes[i][1]);
		assert_int_equal(channel_take_fd(&here), -ENOENT);
		assert_int_equal(channel_next(&here, &f), 0);
	}
	assert_int_equal(here.parcels, 0);
	tear_down();
}

static void a_descriptor_may_be_lost_but_not_its_frame(void **state)
{
	struct rlimit old, tight;
	struct frame f;
	int fd = dup(0);

	(void)state;
	set_up();
	assert_int_equal(send_with_fd(1, dup(0)), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = old;
	tight.rlim_cur = (rlim_t)fd; /* no number below is free, so none is */
	close(fd);
	while ((fd = dup(0)) < (int)tight.rlim_cur - 1)
		assert_true(fd >= 0);
	tight.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	assert_true(channel_read(&here) > 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	close(fd);
	assert_int_equal(channel_next(&here, &f), 1);
	assert_int_equal(f.kind, FRAME_ADOPT);
	assert_int_equal(channel_take_fd(&here), -EMFILE);
	assert_int_equal(channel_take_fd(&here), -ENOENT);
	tear_down();
}

static void descriptors_that_nobody_takes_are_closed(void **state)
{
	int ends[2], i, before, after;
	char byte;

	(void)state;
	set_up();
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(send_with_fd(1, dup(ends[1])), 0);
	assert_true(channel_read(&here) > 0);
	close(ends[1]);
	channel_deinit(&here);
	assert_int_equal(read(ends[0], &byte, 1), 0); /* no writer is left */
	close(ends[0]);
	tear_down();
	set_up();
	before = dup(0);
	close(before);
	for (i = 0; i < 40; i++) {
		struct frame f;

		assert_int_equal(send_with_fd(1, dup(0)), 0);
		assert_true(channel_read(&here) > 0);
		assert_int_equal(channel_next(&here, &f), 1);
		assert_int_equal(channel_next(&here, &f), 0);
	}
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
	tear_down();
}

/* Bytes with n copies of a descriptor, in a call of their own. */
static void put_with(const uint8_t *bytes, size_t length, size_t n, int fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(32 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, length };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	struct cmsghdr *cmsg;
	size_t i;

	msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	cmsg = CMSG_FIRSTHDR(&msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
	for (i = 0; i < n; i++)
		memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fd, sizeof(fd));
	assert_int_equal(sendmsg(there.in_fd, &msg, 0), length);
}

/* Frames 0 to 3; number 2 has descriptors. Those that came, checked; returns the number of the next one. */
static uint64_t take_with_fds(uint64_t next)
{
	struct frame f;
	int r;

	assert_true(channel_read(&here) > 0);
	while ((r = channel_next(&here, &f)) == 1) {
		struct parcel *p = channel_take_parcel(&here);

		assert_int_equal(f.sequence, next++);
		assert_int_equal(p != NULL, f.sequence == 2);
		assert_true(!p || (p->n == 3 && !p->lost));
		parcel_free(p);
	}
	assert_int_equal(r, 0);
	return next;
}

/* The kernel says what came, but not where: whatever the pieces are, the frame is found. */
static void descriptors_find_their_frame_however_it_is_cut(void **state)
{
	_Alignas(8) uint8_t stream[4][128];
	size_t n = make_frame(stream[0], 0, 40), before, cut;

	(void)state;
	make_frame(stream[1], 1, 40);
	make_frame(stream[2], 2, 40);
	make_frame(stream[3], 3, 40);
	stream[2][FRAME_FLAGS_AT] |= FRAME_FDS;
	for (before = 0; before <= n; before += 11)
		for (cut = 1; cut <= n; cut++) {
			uint64_t next;

			set_up();
			put(stream[0], n);
			put(stream[1], before); /* the helping may end in the frame before ... */
			next = take_with_fds(0);
			put(stream[1] + before, n - before);
			put_with(stream[2], cut, 3, 0); /* ... and in this one */
			next = take_with_fds(next);
			put(stream[2] + cut, n - cut);
			put(stream[3], n);
			assert_int_equal(take_with_fds(next), 4);
			assert_int_equal(here.parcels, 0);
			tear_down();
		}
}

static void descriptors_of_no_frame_end_it(void **state)
{
	_Alignas(8) uint8_t stream[128];
	size_t n = make_frame(stream, 0, 40), cut;
	struct frame f;

	(void)state;
	set_up();
	put_with(stream, n, 1, 0); /* it does not say so */
	assert_true(channel_read(&here) > 0);
	assert_int_equal(channel_next(&here, &f), -EPROTO);
	tear_down();
	stream[FRAME_FLAGS_AT] |= FRAME_FDS;
	for (cut = 1; cut < n; cut++) { /* they come in the middle of it */
		set_up();
		put(stream, cut);
		assert_true(channel_read(&here) > 0);
		assert_int_equal(channel_next(&here, &f), 0);
		put_with(stream + cut, n - cut, 1, 0);
		assert_true(channel_read(&here) > 0);
		assert_int_equal(channel_next(&here, &f), cut < n ? 1 : 0);
		assert_int_equal(channel_next(&here, &f), -EPROTO);
		tear_down();
	}
}

static void more_than_a_parcel_are_lost(void **state)
{
	_Alignas(8) uint8_t stream[128];
	size_t n = make_frame(stream, 0, 40);
	struct parcel *p;
	struct frame f;

	(void)state;
	set_up();
	stream[FRAME_FLAGS_AT] |= FRAME_FDS;
	put_with(stream, n, 17, 0);
	assert_true(channel_read(&here) > 0);
	assert_int_equal(channel_next(&here, &f), 1);
	p = channel_take_parcel(&here);
	assert_non_null(p);
	assert_true(p->lost);
	parcel_free(p);
	tear_down();
}

static void where_none_pass_the_frame_says_so(void **state)
{
	_Alignas(8) uint8_t stream[128];
	size_t n = make_frame(stream, 0, 40), i;
	struct parcel *p = parcel_of(dup(0));
	struct iovec bytes[4] = { { stream, 1 }, { stream + 1, 1 }, { stream + 2, 5 }, { stream + 7, n - 7 } };
	struct frame f;

	(void)state;
	for (i = 0; i < 2; i++) {
		set_up();
		there.takes_fds = i == 1;
		stream[FRAME_FLAGS_AT] = FRAME_FDS | FRAME_ACK_NOW;
		assert_int_equal(channel_write_parcel(&there, bytes, 4, p), n);
		assert_true(channel_read(&here) > 0);
		assert_int_equal(channel_next(&here, &f), 1);
		assert_int_equal(f.flags, i ? FRAME_FDS | FRAME_ACK_NOW : FRAME_ACK_NOW);
		assert_int_equal(here.parcels != NULL, i);
		tear_down();
	}
	parcel_free(p);
}

/* In a process of an ordinary user with few descriptors. The exit code tells what was seen. */
static int send_more_than_may_be_under_way(void)
{
	const struct rlimit few = { 20, 20 };
	uint64_t i;
	int sent = 0;

	if (getuid() == 0 && setuid(65534) < 0)
		return 2;
	if (setrlimit(RLIMIT_NOFILE, &few) < 0)
		return 3;
	for (i = 0; i < 50; i++)
		sent += send_with_fd(i, dup(0)) == 0;
	return sent == 50 && !channel_wants_write(&there) ? 0 : 1;
}

static void a_descriptor_too_many_does_not_stop_its_frame(void **state)
{
	unsigned frames = 0, fds = 0;
	struct frame f;
	int status, fd;
	pid_t pid;

	(void)state;
	set_up();
	pid = fork();
	if (pid == 0)
		_exit(send_more_than_may_be_under_way());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	while (channel_read(&here) > 0) {
		while (channel_next(&here, &f) == 1) {
			assert_int_equal(f.sequence, frames++);
			if ((fd = channel_take_fd(&here)) >= 0) {
				close(fd);
				fds++;
			}
		}
	}
	assert_int_equal(frames, 50);
	assert_true(fds >= 20 && fds < 50);
	tear_down();
}

/* Sending. */

static size_t told[4];

static void count(void *tag, size_t n)
{
	told[(size_t)(uintptr_t)tag] += n;
}

static void *tag(size_t i)
{
	return (void *)(uintptr_t)i;
}

/* Fill the socket so that nothing more goes. */
static size_t fill_socket(struct channel *c)
{
	static uint8_t bytes[64 * 1024];
	struct iovec iov = { bytes, sizeof(bytes) };
	size_t all = 0;
	ssize_t n;

	while ((n = channel_write(c, &iov, 1)) > 0)
		all += (size_t)n;
	assert_int_equal(n, 0);
	return all;
}

static void read_away(int fd, size_t n)
{
	static uint8_t bytes[64 * 1024];

	while (n > 0) {
		ssize_t got = read(fd, bytes, n < sizeof(bytes) ? n : sizeof(bytes));

		assert_true(got > 0);
		n -= (size_t)got;
	}
}

static void kept_bytes_go_in_order_and_are_told(void **state)
{
	struct iovec more = { (char[]){ "!" }, 1 };
	size_t before;
	char got[32] = "";

	(void)state;
	memset(told, 0, sizeof(told));
	set_up();
	before = fill_socket(&there);
	assert_false(channel_wants_write(&there));
	assert_int_equal(channel_keep(&there, "one", 3, tag(1), -1), 0);
	assert_int_equal(channel_keep(&there, "two", 3, tag(2), -1), 0);
	assert_int_equal(channel_keep(&there, "again", 5, tag(2), -1), 0);
	assert_int_equal(there.backlog->n_runs, 2); /* neighbours with the same tag are one run */
	assert_true(channel_wants_write(&there));
	assert_int_equal(channel_drain(&there, count), 0);
	assert_int_equal(told[1], 0);
	read_away(here.in_fd, before);
	assert_int_equal(channel_write(&there, &more, 1), 0); /* never past what is kept */
	assert_int_equal(channel_drain(&there, count), 0);
	assert_int_equal(channel_write(&there, &more, 1), 1);
	assert_int_equal(read(here.in_fd, got, sizeof(got)), 12);
	assert_string_equal(got, "onetwoagain!");
	assert_int_equal(told[1], 3);
	assert_int_equal(told[2], 8);
	assert_null(there.backlog);
	tear_down();
}

/* What has no tag is nobody's, with its descriptors, until it left; tags can change. */
static void kept_bytes_are_somebodys_or_nobodys(void **state)
{
	size_t before;

	(void)state;
	memset(told, 0, sizeof(told));
	set_up();
	before = fill_socket(&there);
	assert_int_equal(channel_kept_nobodys(&there), 0);
	assert_int_equal(channel_keep(&there, "nobody", 6, NULL, dup(0)), 0);
	assert_int_equal(channel_keep(&there, "one", 3, tag(1), -1), 0);
	assert_int_equal(channel_keep(&there, "two", 3, tag(2), dup(0)), 0);
	assert_int_equal(channel_kept_nobodys(&there), 6 + BACKLOG_FD_BYTES);
	channel_retag(&there, tag(2), NULL);
	assert_int_equal(channel_kept_nobodys(&there), 9 + 2 * BACKLOG_FD_BYTES);
	channel_retag(&there, tag(1), tag(2));
	assert_int_equal(channel_kept_nobodys(&there), 9 + 2 * BACKLOG_FD_BYTES);
	read_away(here.in_fd, before);
	assert_int_equal(channel_drain_some(&there, count, 1), 0);
	assert_int_equal(channel_kept_nobodys(&there), 3 + BACKLOG_FD_BYTES);
	channel_retag(&there, NULL, tag(3));
	assert_int_equal(channel_kept_nobodys(&there), 0);
	assert_int_equal(channel_drain(&there, count), 0);
	assert_int_equal(told[2], 3);
	assert_int_equal(told[3], 3 + BACKLOG_FD_BYTES);
	tear_down();
}

/* What is kept can be sent in portions: so much, and the rest of the call that completed it. */
static void a_portion_of_what_is_kept(void **state)
{
	static uint8_t bytes[1000];

	(void)state;
	set_up();
	for (int i = 0; i < 3; i++) /* each is a call, because of its descriptor */
		assert_int_equal(channel_keep(&there, bytes, sizeof(bytes), tag(1), dup(STDERR_FILENO)), 0);
	assert_int_equal(channel_drain_some(&there, NULL, 0), 0);
	assert_int_equal(channel_kept_bytes(&there), 3000);
	assert_int_equal(channel_drain_some(&there, NULL, 1), 0);
	assert_int_equal(channel_kept_bytes(&there), 2000);
	assert_int_equal(channel_drain_some(&there, NULL, 1001), 0);
	assert_int_equal(channel_kept_bytes(&there), 0);
	tear_down();
}

static void many_runs_and_partial_writes_add_up(void **state)
{
	static uint8_t bytes[50000], got[50000];
	size_t kept[4] = { 0 }, at = 0, received = 0, i;

	(void)state;
	memset(told, 0, sizeof(told));
	set_up();
	for (i = 0; i < 300; i++) {
		size_t n = 1 + i * 997 % sizeof(bytes), j;

		for (j = 0; j < n; j++)
			bytes[j] = (uint8_t)((at + j) * 31 >> 3);
		assert_int_equal(channel_keep(&there, bytes, n, tag(1 + i % 3), -1), 0);
		kept[1 + i % 3] += n;
		at += n;
	}
	assert_int_equal(channel_kept_bytes(&there), at);
	while (received < at) {
		ssize_t n;

		assert_int_equal(channel_drain(&there, count), 0);
		n = read(here.in_fd, got, 1 + received * 13 % sizeof(got));
		assert_true(n > 0);
		for (i = 0; i < (size_t)n; i++)
			if (got[i] != (uint8_t)((received + i) * 31 >> 3))
				fail_msg("byte %zu is wrong", received + i);
		received += (size_t)n;
	}
	assert_memory_equal(told, kept, sizeof(kept));
	assert_false(channel_wants_write(&there));
	assert_null(there.backlog);
	tear_down();
}

static void a_descriptor_goes_with_its_own_bytes(void **state)
{
	uint8_t stream[200];
	size_t n = make_frame(stream, 0, 8);
	struct frame f;
	uint64_t i;
	int fd;

	(void)state;
	set_up();
	for (i = 0; i < 6; i++) {
		make_frame(stream, i, 8);
		if (i % 2)
			stream[FRAME_FLAGS_AT] |= FRAME_FDS;
		assert_int_equal(channel_keep(&there, stream, n, tag(1), i % 2 ? dup(0) : -1), 0);
	}
	memset(told, 0, sizeof(told));
	assert_int_equal(channel_kept_fds(&there), 3);
	assert_int_equal(channel_drain(&there, count), 0);
	assert_int_equal(channel_kept_fds(&there), 0);
	assert_int_equal(told[1], 6 * n + 3 * BACKLOG_FD_BYTES);
	for (i = 0; i < 6;) {
		assert_true(channel_read(&here) > 0);
		while (channel_next(&here, &f) == 1) {
			fd = channel_take_fd(&here);
			assert_int_equal(f.sequence, i);
			assert_int_equal(fd >= 0, i % 2);
			if (fd >= 0)
				close(fd);
			i++;
		}
	}
	tear_down();
}

static void a_descriptor_goes_once_however_many_writes_it_takes(void **state)
{
	static uint8_t stream[FRAME_MAX];
	size_t n = make_frame(stream, 0, FRAME_BODY_MAX);
	struct frame f;
	int i, frames = 0, fd = -ENOENT;

	(void)state;
	set_up();
	stream[FRAME_FLAGS_AT] |= FRAME_FDS;
	for (i = 0; i < 8; i++) {
		assert_int_equal(channel_keep(&there, stream, n, tag(1), i == 0 ? dup(0) : -1), 0);
		stream[FRAME_FLAGS_AT] = 0;
	}
	assert_int_equal(there.backlog->n_runs, 2);
	while (frames < 8) {
		ssize_t got;

		assert_int_equal(channel_drain(&there, NULL), 0);
		got = channel_read(&here);
		assert_true(got > 0 || got == -ENOBUFS);
		while (channel_next(&here, &f) == 1) {
			fd = channel_take_fd(&here);
			assert_int_equal(fd >= 0, frames++ == 0);
			if (fd >= 0)
				close(fd);
		}
		if (got == -ENOBUFS)
			slab_reset(&slab);
	}
	tear_down();
}

static void unsent_descriptors_are_closed(void **state)
{
	int ends[2];
	char byte;

	(void)state;
	set_up();
	fill_socket(&there);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(send_with_fd(1, ends[1]), 0);
	assert_true(channel_wants_write(&there));
	channel_deinit(&there);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	tear_down();
}

static void a_frame_is_sent_at_once_or_kept_whole(void **state)
{
	static uint8_t body[FRAME_BODY_MAX];
	struct frame f = { .kind = FRAME_DATA, .length = sizeof(body) - 3 }, got;
	int i, came = 0;

	(void)state;
	set_up();
	for (i = 0; i < 6; i++) {
		f.sequence = (uint64_t)i;
		make_frame(body, 0, 0);
		memset(body, i, sizeof(body));
		assert_int_equal(channel_send(&there, &f, body, -1), 0);
	}
	assert_true(channel_wants_write(&there));
	while (came < 6) {
		ssize_t n = channel_read(&here);

		assert_true(n > 0 || n == -ENOBUFS);
		while (channel_next(&here, &got) == 1) {
			assert_int_equal(got.sequence, came);
			assert_int_equal(got.length, f.length);
			assert_int_equal(got.body[0], came);
			assert_int_equal(got.body[f.length - 1], came);
			assert_memory_equal(got.body + f.length, "\0\0\0", 3);
			came++;
		}
		if (n == -ENOBUFS)
			slab_reset(&slab);
		assert_int_equal(channel_drain(&there, NULL), 0);
	}
	tear_down();
}

static void more_pieces_than_one_call_takes_are_written(void **state)
{
	static struct iovec iov[2 * IOV_MAX + 5];
	static char byte = 'b', got[sizeof(iov) / sizeof(*iov) + 1];
	const int n = sizeof(iov) / sizeof(*iov);
	int i;

	(void)state;
	set_up();
	for (i = 0; i < n; i++)
		iov[i] = (struct iovec){ &byte, 1 };
	assert_int_equal(channel_write(&there, iov, n), n);
	assert_int_equal(read(here.in_fd, got, sizeof(got)), n);
	tear_down();
}

static void a_dead_peer_is_an_error_not_a_signal(void **state)
{
	struct iovec iov = { (char[]){ "x" }, 1 };

	(void)state;
	signal(SIGPIPE, SIG_DFL);
	set_up();
	channel_deinit(&here);
	assert_int_equal(channel_write(&there, &iov, 1), -EPIPE);
	assert_int_equal(channel_keep(&there, "x", 1, NULL, -1), 0);
	assert_int_equal(channel_drain(&there, NULL), -EPIPE);
	tear_down();
}

static void without_memory_nothing_is_kept(void **state)
{
	int ends[2];
	char byte;

	(void)state;
	set_up();
	assert_int_equal(pipe(ends), 0);
	malloc_fails = 1;
	assert_int_equal(channel_keep(&there, "x", 1, NULL, ends[1]), -ENOMEM);
	assert_int_equal(channel_keep(&there, "x", 1, NULL, -1), -ENOMEM);
	malloc_fails = 0;
	assert_null(there.backlog);
	assert_int_equal(read(ends[0], &byte, 1), 0); /* the descriptor was closed all the same */
	close(ends[0]);
	assert_int_equal(channel_keep(&there, "x", 1, NULL, -1), 0);
	assert_int_equal(channel_drain(&there, NULL), 0);
	tear_down();
}

/* What it costs. */

/* One turn: frames cut in odd places come in, the queue the other way moves but is never empty. */
static void one_turn(const uint8_t *stream, size_t n)
{
	struct frame f;
	size_t cut;

	for (cut = 0; cut < n; cut += 1000) {
		put(stream + cut, n - cut < 1000 ? n - cut : 1000);
		assert_true(channel_read(&here) > 0);
		while (channel_next(&here, &f) == 1)
			;
	}
	slab_reset(&slab);
	assert_int_equal(channel_keep(&here, stream, n, tag(n % 2), -1), 0);
	assert_int_equal(channel_drain(&here, NULL), 0);
	read_away(there.in_fd, n);
}

static void steady_traffic_needs_no_malloc(void **state)
{
	static uint8_t stream[FRAME_MAX];
	size_t n = make_frame(stream, 0, 30011);
	unsigned before = 0;
	int i;

	(void)state;
	set_up();
	fill_socket(&here);
	for (i = 0; i < 60; i++) {
		if (i == 20) /* the queue has crossed the end of a buffer by now */
			before = mallocs;
		one_turn(stream, n);
		assert_true(channel_wants_write(&here) || i == 0);
	}
	assert_int_equal(mallocs, before);
	tear_down();
}

static void an_idle_channel_owns_nothing(void **state)
{
	static uint8_t stream[FRAME_MAX];
	size_t n = make_frame(stream, 0, 30011);
	struct frame f;

	(void)state;
	set_up();
	put(stream, 10000);
	assert_int_equal(channel_read(&here), 10000);
	assert_int_equal(channel_next(&here, &f), 0);
	assert_non_null(here.carry);
	put(stream + 10000, n - 10000);
	assert_int_equal(channel_read(&here), (ssize_t)(n - 10000));
	assert_int_equal(channel_next(&here, &f), 1);
	assert_int_equal(channel_next(&here, &f), 0);
	assert_int_equal(channel_keep(&here, stream, n, NULL, -1), 0);
	assert_int_equal(channel_drain(&here, NULL), 0);
	assert_null(here.carry);
	assert_null(here.parcels);
	assert_null(here.backlog);
	assert_int_equal(here.at - here.end, 0);
	tear_down();
}

static void spare_memory_is_bounded(void **state)
{
	static uint8_t bytes[FRAME_MAX];
	int i;

	(void)state;
	set_up();
	fill_socket(&there);
	for (i = 0; i < 50; i++)
		assert_int_equal(channel_keep(&there, bytes, sizeof(bytes), NULL, -1), 0);
	channel_deinit(&there);
	assert_int_equal(slab.n_spare, 32);
	tear_down();
}

/* Named pipes. */

static struct channel left, right;

static void set_up_pipes(void)
{
	int up[2], down[2];

	assert_int_equal(slab_init(&slab, SLAB_HELPING), 0);
	assert_int_equal(pipe2(up, O_NONBLOCK | O_CLOEXEC), 0);
	assert_int_equal(pipe2(down, O_NONBLOCK | O_CLOEXEC), 0);
	channel_init(&left, down[0], up[1], &slab);
	channel_init(&right, up[0], down[1], &slab);
}

static void tear_down_pipes(void)
{
	channel_deinit(&left);
	channel_deinit(&right);
	slab_deinit(&slab);
}

static void pipes_carry_frames_both_ways(void **state)
{
	static uint8_t body[100000];
	struct frame f = { .kind = FRAME_DATA, .length = sizeof(body), .sequence = 9 }, got;
	int came = 0;

	(void)state;
	set_up_pipes();
	memset(body, 'p', sizeof(body));
	assert_int_equal(channel_read(&left), -EAGAIN);
	assert_int_equal(channel_send(&left, &f, body, -1), 0);
	assert_true(channel_wants_write(&left));
	while (!came) {
		assert_true(channel_read(&right) > 0);
		came = channel_next(&right, &got);
		assert_int_equal(channel_drain(&left, NULL), 0);
	}
	assert_memory_equal(got.body, body, sizeof(body));
	f.length = 3;
	assert_int_equal(channel_send(&right, &f, "abc", -1), 0);
	slab_reset(&slab);
	assert_int_equal(channel_read(&left), FRAME_HEAD + 8);
	assert_int_equal(channel_next(&left, &got), 1);
	assert_memory_equal(got.body, "abc\0\0\0\0", 8);
	channel_deinit(&right);
	assert_int_equal(channel_read(&left), 0);
	tear_down_pipes();
}

static void pipes_refuse_descriptors(void **state)
{
	int fd = dup(0);

	(void)state;
	set_up_pipes();
	assert_int_equal(channel_keep(&left, "x", 1, NULL, fd), -ENOTSOCK);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	tear_down_pipes();
}

static int sigpipe_is_pending(void)
{
	sigset_t pending;

	sigpending(&pending);
	return sigismember(&pending, SIGPIPE);
}

static void a_broken_pipe_raises_no_signal(void **state)
{
	struct iovec iov = { (char[]){ "x" }, 1 };
	sigset_t sigpipe, now;

	(void)state;
	signal(SIGPIPE, SIG_DFL);
	set_up_pipes();
	channel_deinit(&right);
	assert_int_equal(channel_write(&left, &iov, 1), -EPIPE);
	assert_false(sigpipe_is_pending());
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	assert_false(sigismember(&now, SIGPIPE));

	/* One that was pending before is somebody else's, and stays. */
	sigemptyset(&sigpipe);
	sigaddset(&sigpipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &sigpipe, NULL);
	pthread_kill(pthread_self(), SIGPIPE);
	assert_int_equal(channel_write(&left, &iov, 1), -EPIPE);
	assert_true(sigpipe_is_pending());
	signal(SIGPIPE, SIG_IGN);
	pthread_sigmask(SIG_UNBLOCK, &sigpipe, NULL);
	tear_down_pipes();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_may_be_cut_at_every_byte),
		cmocka_unit_test(frames_may_come_byte_by_byte),
		cmocka_unit_test(large_frames_go_through_small_helpings),
		cmocka_unit_test(a_body_goes_where_it_is_told),
		cmocka_unit_test(what_was_shown_stays_until_reset),
		cmocka_unit_test(a_full_slab_asks_for_a_reset),
		cmocka_unit_test(the_end_and_emptiness_are_told),
		cmocka_unit_test(strangers_and_giants_are_refused),
		cmocka_unit_test(without_memory_a_cut_frame_is_an_error),
		cmocka_unit_test(descriptors_come_with_their_frames),
		cmocka_unit_test(a_descriptor_may_be_lost_but_not_its_frame),
		cmocka_unit_test(descriptors_that_nobody_takes_are_closed),
		cmocka_unit_test(a_descriptor_too_many_does_not_stop_its_frame),
		cmocka_unit_test(kept_bytes_go_in_order_and_are_told),
		cmocka_unit_test(kept_bytes_are_somebodys_or_nobodys),
		cmocka_unit_test(a_portion_of_what_is_kept),
		cmocka_unit_test(many_runs_and_partial_writes_add_up),
		cmocka_unit_test(descriptors_find_their_frame_however_it_is_cut),
		cmocka_unit_test(descriptors_of_no_frame_end_it),
		cmocka_unit_test(more_than_a_parcel_are_lost),
		cmocka_unit_test(where_none_pass_the_frame_says_so),
		cmocka_unit_test(a_descriptor_goes_with_its_own_bytes),
		cmocka_unit_test(a_descriptor_goes_once_however_many_writes_it_takes),
		cmocka_unit_test(unsent_descriptors_are_closed),
		cmocka_unit_test(a_frame_is_sent_at_once_or_kept_whole),
		cmocka_unit_test(more_pieces_than_one_call_takes_are_written),
		cmocka_unit_test(a_dead_peer_is_an_error_not_a_signal),
		cmocka_unit_test(without_memory_nothing_is_kept),
		cmocka_unit_test(steady_traffic_needs_no_malloc),
		cmocka_unit_test(an_idle_channel_owns_nothing),
		cmocka_unit_test(spare_memory_is_bounded),
		cmocka_unit_test(pipes_carry_frames_both_ways),
		cmocka_unit_test(pipes_refuse_descriptors),
		cmocka_unit_test(a_broken_pipe_raises_no_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
