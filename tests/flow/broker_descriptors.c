/*
 * broker_descriptors: descriptors go through the broker with their frame or not at all, and none stays in it, whatever
 * clients do. The broker's own descriptors are counted before and after every test.
 */
#include "message.h"
#include "wire.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct wire_broker broker;
static struct wire sender, receiver;
static int ends[2]; /* of a pipe, to be passed around */

static unsigned broker_fds(void)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%ld/fd", (long)broker.pid);
	d = opendir(path);
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Within a while: what was closed is closed at the end of the broker's turn. */
static void expect_broker_fds(unsigned n)
{
	for (int i = 0; i < 2000 && broker_fds() != n; i++)
		usleep(1000);
	assert_int_equal(broker_fds(), n);
}

/* When nothing changes any more: connections that just ended are closed. */
static unsigned settled_broker_fds(void)
{
	unsigned n = broker_fds();

	for (int same = 0; same < 20; same++) {
		usleep(1000);
		if (broker_fds() != n)
			same = 0;
		n = broker_fds();
	}
	return n;
}

static int same_file(int a, int b)
{
	struct stat s, t;

	return fstat(a, &s) == 0 && fstat(b, &t) == 0 && s.st_ino == t.st_ino && s.st_dev == t.st_dev;
}

/* Bytes with n descriptors (copies of one), in a call of their own. The result of sendmsg(). */
static ssize_t send_with(const struct wire *w, const void *bytes, size_t length, size_t n)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(253 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, length };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	struct cmsghdr *cmsg;

	msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	cmsg = CMSG_FIRSTHDR(&msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
	for (size_t i = 0; i < n; i++)
		memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &ends[1], sizeof(int));
	return sendmsg(w->channel.out_fd, &msg, MSG_NOSIGNAL);
}

static _Alignas(8) uint8_t bytes[1024];

/* A frame with one message of this text that says to have so many descriptors. Its size. */
static size_t make(uint64_t to, uint64_t sequence, unsigned flags, unsigned said, const char *text)
{
	struct item it = { .kind = ITEM_MESSAGE, .length = (uint32_t)strlen(text), .fds = (uint8_t)said };
	struct frame head = { .kind = FRAME_DATA, .flags = (uint8_t)flags, .destination = to, .sequence = sequence };

	head.length = (uint32_t)item_size(it.kind, item_extension_size(&it), it.length);
	memset(bytes, 0, sizeof(bytes));
	frame_write_head(bytes, &head);
	memcpy(item_write(bytes + FRAME_HEAD, &it), text, it.length);
	return frame_size(head.length);
}

/* The receiver's next frame has this text and so many descriptors, of the pipe. -1: the frame must not have the flag. */
static void expect(const char *text, int n)
{
	struct frame f = wire_expect(&receiver, FRAME_DATA);
	const uint8_t *at = f.body;
	struct parcel *parcel = channel_take_parcel(&receiver.channel);
	struct item it;

	assert_int_equal(item_next(&at, f.body + f.length, &it), 1);
	assert_string_equal((const char *)it.body, text);
	assert_int_equal((f.flags & FRAME_FDS) != 0, n > 0);
	assert_int_equal(parcel ? parcel->n : -1, n);
	for (int i = 0; i < n; i++)
		assert_true(same_file(parcel->fds[i], ends[1]));
	parcel_free(parcel);
}

static void test_they_come_with_their_frame(void **state)
{
	uint64_t sequence = 1;
	char text[24];

	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		size_t n;

		wire_raw(&sender, bytes, make(receiver.id, sequence++, 0, 0, "before"));
		snprintf(text, sizeof(text), "with %u", 1 + round % 16);
		n = make(receiver.id, sequence++, FRAME_FDS, 1 + round % 16, text);
		if (round % 2) {
			assert_int_equal(send_with(&sender, bytes, n, 1 + round % 16), n);
		} else { /* the frame in pieces, as a socket that is nearly full would have it */
			assert_int_equal(send_with(&sender, bytes, 1, 1 + round % 16), 1);
			usleep(200);
			wire_raw(&sender, bytes + 1, 30);
			usleep(200);
			wire_raw(&sender, bytes + 31, n - 31);
		}
		wire_raw(&sender, bytes, make(receiver.id, sequence++, 0, 0, "behind"));
		expect("before", -1);
		expect(text, (int)(1 + round % 16));
		expect("behind", -1);
	}
}

static void test_announced_but_not_there(void **state)
{
	(void)state;
	wire_raw(&sender, bytes, make(receiver.id, 1, FRAME_FDS, 2, "nothing with it"));
	expect("nothing with it", -1);
}

static void test_more_than_anybody_may_send(void **state)
{
	size_t n = make(receiver.id, 1, FRAME_FDS, 16, "far too many");

	(void)state;
	assert_int_equal(send_with(&sender, bytes, n, 200), n);
	expect("far too many", -1);
}

/* What its item says is between the two ends: the broker passes on what came. */
static void test_more_than_said(void **state)
{
	size_t n = make(receiver.id, 1, FRAME_FDS, 1, "one, it says");

	(void)state;
	assert_int_equal(send_with(&sender, bytes, n, 3), n);
	expect("one, it says", 3);
}

static void test_there_but_not_announced(void **state)
{
	size_t n = make(receiver.id, 1, 0, 1, "unannounced");

	(void)state;
	assert_int_equal(send_with(&sender, bytes, n, 1), n);
	wire_expect_refused(&sender, "frame.kind");
}

static void test_in_the_middle_of_a_frame(void **state)
{
	size_t n = make(receiver.id, 1, FRAME_FDS, 1, "late");

	(void)state;
	wire_raw(&sender, bytes, 56);
	usleep(10000); /* so that the frame began in an earlier helping */
	(void)send_with(&sender, bytes + 56, n - 56, 1);
	wire_expect_refused(&sender, "frame.kind");
}

static void test_before_hello(void **state)
{
	struct wire w;

	(void)state;
	wire_connect(&w, broker.socket);
	(void)send_with(&w, bytes, make(receiver.id, 1, FRAME_FDS, 1, "who am I"), 1);
	wire_expect_refused(&w, "hello.expected");
	wire_close(&w);
}

static void test_to_nobody_and_to_the_broker(void **state)
{
	size_t n = make(sender.id + 1000, 1, FRAME_FDS, 1, "to nobody");

	(void)state;
	assert_int_equal(send_with(&sender, bytes, n, 1), n);
	wire_expect_gone(&sender, sender.id + 1000, BROOD__WHY__WHY_NOBODY);
	n = make(FRAME_BROKER, 1, FRAME_FDS, 1, "to the broker");
	assert_int_equal(send_with(&sender, bytes, n, 1), n);
	wire_expect(&sender, FRAME_ACK);
}

/* Flood somebody who does not read. How many frames were sent until HOLD. */
static unsigned flood(unsigned each)
{
	struct frame f;
	unsigned sent = 0;

	for (; sent < 5000; sent++) {
		size_t n = make(receiver.id, sent + 1, FRAME_FDS, each, "more of them");

		while (send_with(&sender, bytes, n, each) < 0)
			usleep(100);
		if (wire_next(&sender, &f, 0) == 1) {
			assert_int_equal(f.kind, FRAME_HOLD);
			break;
		}
	}
	return sent;
}

/*
 * How many descriptors may be under way before the kernel refuses more: none, unless the broker has CAP_SYS_RESOURCE, which
 * an ordinary user, and root in a container, has not.
 */
static unsigned under_way_most(void)
{
	struct rlimit limit;

	assert_int_equal(prlimit(broker.pid, RLIMIT_NOFILE, NULL, &limit), 0);
	return (unsigned)limit.rlim_cur;
}

static void test_who_does_not_read(void **state)
{
	unsigned before = broker_fds(), sent = flood(16), most = broker_fds();
	struct frame f;
	unsigned came = 0;

	(void)state;
	assert_true(sent < 5000);
	print_message("held after %u frames; the broker had %u descriptors more\n", sent, most - before);
	assert_in_range(most - before, 16, 128 + 2 * 16);
	while (wire_next(&receiver, &f, 300) == 1) { /* now it reads */
		struct parcel *parcel = channel_take_parcel(&receiver.channel);

		assert_int_equal(f.sequence, ++came); /* what was dropped, was dropped behind all that was not */
		if (parcel)
			assert_int_equal(parcel->n, 16);
		else
			assert_true(came * 16 > under_way_most() / 2); /* others are on their way to the broker */
		assert_int_equal(!(f.flags & FRAME_FDS), !parcel);
		parcel_free(parcel);
	}
	assert_true(came > 0 && came <= sent + 1);
	assert_int_equal(wire_expect(&sender, FRAME_GO).source, receiver.id);
	expect_broker_fds(before);
}

static void test_who_does_not_read_and_leaves(void **state)
{
	unsigned before = broker_fds();

	(void)state;
	(void)flood(16);
	wire_close(&receiver);
	expect_broker_fds(before - 1);
	wire_open(&receiver, &broker, 0);
}

static void test_sender_gone_before_they_are_read(void **state)
{
	unsigned before = broker_fds(), sent = flood(4), came = 0;
	struct frame f;

	(void)state;
	wire_close(&sender);
	while (wire_next(&receiver, &f, 300) == 1 && f.kind == FRAME_DATA) {
		struct parcel *parcel = channel_take_parcel(&receiver.channel);

		assert_int_equal(parcel->n, 4);
		parcel_free(parcel);
		came++;
	}
	assert_true(came > 0 && came <= sent + 1);
	expect_broker_fds(before - 1);
	wire_open(&sender, &broker, 0);
}

static void set_broker_limit(rlim_t n, struct rlimit *old)
{
	struct rlimit new = { n, 0 };

	assert_int_equal(prlimit(broker.pid, RLIMIT_NOFILE, NULL, old), 0);
	new.rlim_max = old->rlim_max;
	assert_int_equal(prlimit(broker.pid, RLIMIT_NOFILE, &new, NULL), 0);
}

static void test_broker_without_a_free_descriptor(void **state)
{
	unsigned before = broker_fds();
	struct rlimit old;
	uint64_t sequence = 1;
	size_t n;

	(void)state;
	set_broker_limit(1, &old);
	for (int i = 0; i < 20; i++) {
		n = make(receiver.id, sequence++, FRAME_FDS, 5, "too much for it");
		assert_int_equal(send_with(&sender, bytes, n, 5), n);
		expect("too much for it", -1);
	}
	assert_int_equal(prlimit(broker.pid, RLIMIT_NOFILE, &old, NULL), 0);
	n = make(receiver.id, sequence++, FRAME_FDS, 5, "again");
	assert_int_equal(send_with(&sender, bytes, n, 5), n);
	expect("again", 5);
	expect_broker_fds(before);
}

/* Half of the broker's descriptors are for connections. The rest of what somebody does not read comes without. */
static void test_more_than_the_broker_lets_wait(void **state)
{
	unsigned before = broker_fds(), with = 0, without = 0;
	struct rlimit old;
	struct frame f;

	(void)state;
	set_broker_limit(100, &old);
	for (unsigned i = 0; i < 5000; i++) {
		size_t n = make(receiver.id, i + 1, FRAME_FDS, 8, "more of them");

		while (send_with(&sender, bytes, n, 8) < 0)
			usleep(100);
	}
	wire_raw(&sender, bytes, make(receiver.id, 5001, 0, 0, "the end"));
	usleep(100000);
	assert_in_range(broker_fds() - before, 16, 50 + 8);
	while (wire_next(&receiver, &f, 300) == 1) {
		struct parcel *parcel = channel_take_parcel(&receiver.channel);

		assert_int_equal(f.sequence, 1 + with + without);
		assert_int_equal((f.flags & FRAME_FDS) != 0, parcel != NULL);
		with += parcel != NULL;
		without += !parcel;
		parcel_free(parcel);
	}
	assert_int_equal(with + without, 5001);
	assert_true(with > 0 && without > 1);
	assert_int_equal(prlimit(broker.pid, RLIMIT_NOFILE, &old, NULL), 0);
	expect_broker_fds(before);
}

static unsigned fds_before;

static int each_begin(void **state)
{
	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fds_before = settled_broker_fds();
	wire_open(&sender, &broker, 0);
	wire_open(&receiver, &broker, 0);
	return 0;
}

static int each_end(void **state)
{
	char byte;

	(void)state;
	wire_close(&sender);
	wire_close(&receiver);
	expect_broker_fds(fds_before);
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 0); /* nobody has the other end any more */
	close(ends[0]);
	return 0;
}

static int begin(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	wire_broker_init(&broker);
	wire_broker_start(&broker, (const char *[]){ "--away-ms", "20", "--log-level", "debug", NULL });
	return 0;
}

static int end(void **state)
{
	(void)state;
	wire_broker_deinit(&broker);
	return 0;
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, each_begin, each_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH(test_they_come_with_their_frame),
		EACH(test_announced_but_not_there),
		EACH(test_more_than_anybody_may_send),
		EACH(test_more_than_said),
		EACH(test_there_but_not_announced),
		EACH(test_in_the_middle_of_a_frame),
		EACH(test_before_hello),
		EACH(test_to_nobody_and_to_the_broker),
		EACH(test_who_does_not_read),
		EACH(test_who_does_not_read_and_leaves),
		EACH(test_sender_gone_before_they_are_read),
		EACH(test_broker_without_a_free_descriptor),
		EACH(test_more_than_the_broker_lets_wait),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
