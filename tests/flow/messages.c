/*
 * messages: what is sent arrives, whole, once and in order, in both directions; what is not consumed fills a window and
 * nothing else.
 */
#include "brood.pb-c.h"
#include "control.pb-c.h"
#include "flow.h"
#include <brood/pb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WINDOW (4u << 20) /* of the library, by default */

/* Send a numbered message, waiting for room as programs do: for DRAIN. */
static void send_when_there_is_room(struct family *f, uint64_t number, size_t length)
{
	int rc;
	while ((rc = numbered_send(f->kid, number, length, 0)) == -EAGAIN) {
		unsigned drains = f->d.n[BROOD_EVENT_DRAIN];
		until(f->b, f->d.n[BROOD_EVENT_DRAIN] > drains);
	}
	assert_int_equal(rc, 0);
}

static void test_order(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("echo"));
	for (uint64_t i = 0; i < 100000; i++)
		send_when_there_is_room(&f, i, 16);
	until(f.b, diary_messages(&f.d) == 100000);
	assert_int_equal(f.d.wrong, 0);
	assert_int_equal(info_of(f.kid).sent, 100000);
	assert_int_equal(info_of(f.kid).received, 100000);
	family_end(&f);
}

/* ---- types ------------------------------------------------------------------------------------------------------- */

/* Its body is its type. */
static int check_type(const brood_event *e)
{
	if (e->msg)
		assert_string_equal(e->msg->type, e->msg->text);
	return 0;
}

static void test_types(void **state)
{
	struct family f = { .d.also = check_type };
	char type[257];
	(void)state;
	family_begin(&f, KID("echo"));
	for (unsigned i = 0; i < 600; i++) {
		snprintf(type, sizeof type, "test.Type%u", i % 200);
		say(f.kid, type, type);
	}
	say(f.kid, "", "");
	say(f.kid, NULL, "");
	memset(type, 'x', 256);
	type[256] = '\0';
	assert_int_equal(brood_send(f.kid, BROOD_MSG(type, NULL, 0)), -EINVAL);
	type[255] = '\0';
	say(f.kid, type, type);
	until(f.b, diary_messages(&f.d) == 603);
	family_end(&f);
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static const char *expected;
static size_t expected_length;

static int check_body(const brood_event *e)
{
	if (!e->msg)
		return 0;
	assert_int_equal(e->msg->length, expected_length);
	assert_memory_equal(e->msg->body, expected, expected_length);
	assert_ptr_equal(e->msg->text, e->msg->body);
	assert_int_equal(e->msg->text[expected_length], 0);
	assert_int_equal((uintptr_t)e->msg->body % 8, 0);
	return 0;
}

/* One at a time, so that check_body() knows what to expect. */
static void there_and_back(struct family *f, const char *body, size_t length)
{
	unsigned before = diary_messages(&f->d);
	expected = body;
	expected_length = length;
	assert_int_equal(brood_send(f->kid, BROOD_MSG("body", body, length)), 0);
	until(f->b, diary_messages(&f->d) == before + 1);
}

static void test_small_bodies(void **state)
{
	struct family f = { .d.also = check_body };
	(void)state;
	family_begin(&f, KID("echo"));
	for (size_t length = 0; length <= 9; length++)
		there_and_back(&f, "123456789", length);
	there_and_back(&f, NULL, 0);
	family_end(&f);
}

/* Several small ones in one frame. */
static void test_small_bodies_together(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("echo"));
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(brood_send(f.kid, BROOD_MSG("", "123456789", i % 10, .flags = BROOD_MORE)), 0);
	until(f.b, diary_messages(&f.d) == 1000);
	assert_int_equal(f.d.bytes, 4500);
	family_end(&f);
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static int32_t last; /* of the row that came */

/* Some are looked at, some kept, some taken apart. */
static int check_row(const brood_event *e)
{
	const Brood__Failure *failure;
	if (!e->msg)
		return 0;
	assert_string_equal(e->msg->type, "brood.Failure");
	assert_ptr_equal(e->msg->from, e->peer);
	assert_int_equal(e->msg->wants_reply, 0);
	assert_int_equal(e->msg->timeout_ms, -1);
	last++;
	if (last % 3 == 0)
		assert_non_null(failure = brood_msg_pb(e->msg, &brood__failure__descriptor));
	if (last % 3 == 0)
		assert_int_equal(failure->code, -last);
	if (last % 7 == 0)
		brood_msg_release(brood_msg_keep(e->msg));
	Brood__Failure again = BROOD__FAILURE__INIT;
	again.code = -last;
	uint8_t body[64];
	assert_int_equal(brood__failure__pack(&again, body), e->msg->length);
	assert_memory_equal(e->msg->body, body, e->msg->length);
	assert_int_equal(e->msg->text[e->msg->length], 0);
	return 0;
}

/* Most are of one type and length; what the program does with one does not change the next. */
static void test_rows(void **state)
{
	struct family f = { .d.also = check_row };
	(void)state;
	last = 0;
	family_begin(&f, KID("echo"));
	for (int32_t i = 1; i <= 1000; i++) {
		Brood__Failure failure = BROOD__FAILURE__INIT;
		uint8_t body[64];
		failure.code = -i;
		size_t length = brood__failure__pack(&failure, body);
		assert_int_equal(brood_send(f.kid, BROOD_MSG("brood.Failure", body, length, .flags = BROOD_MORE)), 0);
	}
	until(f.b, diary_messages(&f.d) == 1000);
	family_end(&f);
}

static char *letters(size_t length)
{
	char *text = malloc(length + 1);
	assert_non_null(text);
	for (size_t i = 0; i < length; i++)
		text[i] = (char)('a' + i % 26 + (i / 4096) % 7);
	text[length] = '\0';
	return text;
}

/* Around the sizes at which something changes: a block, a fragment, a frame; and a long text. */
static void test_long_bodies(void **state)
{
	static const size_t lengths[] = { 16 * 1024,        64 * 1024,        128 * 1024 - 65,
					  128 * 1024 - 64,  128 * 1024 - 63,  256 * 1024,
					  256 * 1024 - 128, 256 * 1024 - 127, 800000 };
	struct family f = { .d.also = check_body };
	char *text = letters(800000);
	(void)state;
	family_begin(&f, KID("echo"));
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
		there_and_back(&f, text, lengths[i]);
	free(text);
	family_end(&f);
}

static void test_four_of_8_mib(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("echo"));
	for (uint64_t i = 0; i < 4; i++) {
		send_when_there_is_room(&f, i, 8u << 20);
		assert_int_equal(numbered_send(f.kid, i, 8, 0), -EAGAIN); /* alone in the window, longer than it */
	}
	until(f.b, diary_messages(&f.d) == 4);
	assert_int_equal(f.d.wrong, 0);
	assert_int_equal(f.d.bytes, 4 * (8u << 20));
	family_end(&f);
}

/* A receiver that says nothing still tells when the window is empty again. */
static void test_8_mib_to_a_quiet_receiver(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	for (uint64_t i = 0; i < 6; i++) {
		if (i % 2)
			send_when_there_is_room(&f, i, 8u << 20);
		else
			assert_int_equal(numbered_send(f.kid, i, 8u << 20, BROOD_BLOCK), 0);
	}
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(ask_number(f.kid, "count"), 6);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	family_end(&f);
}

static void test_64_mib(void **state)
{
	size_t most = 64u << 20;
	struct family f = { .d.also = check_body };
	char *text = letters(most + 1);
	(void)state;
	family_begin(&f, KID("echo"));
	assert_int_equal(brood_send(f.kid, BROOD_MSG("body", text, most + 1)), -EMSGSIZE);
	there_and_back(&f, text, most);
	free(text);
	family_end(&f);
}

/* ---- other members ----------------------------------------------------------------------------------------------- */

static unsigned fills;

static void fill(void *to, size_t length, const void *from)
{
	fills++;
	memcpy(to, from, length);
}

static void test_fill(void **state)
{
	static const size_t lengths[] = { 1, 64, 65536, 128 * 1024 - 64, 300000 };
	struct family f = { .d.also = check_body };
	char *text = letters(300000);
	(void)state;
	family_begin(&f, KID("echo"));
	expected = text;
	for (unsigned i = 0; i < 5; i++) {
		expected_length = lengths[i];
		fills = 0;
		assert_int_equal(brood_send(f.kid, BROOD_MSG("body", text, lengths[i], .fill = fill)), 0);
		assert_int_equal(fills, 1);
		until(f.b, diary_messages(&f.d) == i + 1);
	}
	free(text);
	family_end(&f);
}

static const char *expected_trace;

static int check_trace(const brood_event *e)
{
	if (e->msg)
		assert_string_equal(e->msg->trace, expected_trace);
	return 0;
}

static void test_trace(void **state)
{
	static const char usual[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
	struct family f = { .d.also = check_trace };
	char trace[257], *body = letters(300000);
	const char *traces[] = { "", usual, trace };
	(void)state;
	memset(trace, 't', 256);
	trace[256] = '\0';
	family_begin(&f, KID("echo"));
	assert_int_equal(brood_send(f.kid, BROOD_MSG("t", body, 1, .trace = trace)), -EINVAL);
	trace[255] = '\0';
	for (unsigned i = 0; i < 6; i++) {
		expected_trace = traces[i % 3];
		size_t length = i < 3 ? 10 : 300000; /* in fragments: the first carries it */
		assert_int_equal(brood_send(f.kid, BROOD_MSG("t", body, length, .trace = traces[i % 3])), 0);
		until(f.b, diary_messages(&f.d) == i + 1);
	}
	free(body);
	family_end(&f);
}

static void test_bad_arguments(void **state)
{
	struct family f = { 0 };
	struct brood_out no_size = { .type = "t" };
	(void)state;
	family_begin(&f, KID("echo"));
	assert_int_equal(brood_send(f.kid, NULL), -EINVAL);
	assert_int_equal(brood_send(f.kid, &no_size), -EINVAL);
	assert_int_equal(brood_send(NULL, BROOD_TEXT("x")), -EINVAL);
	assert_int_equal(brood_send(f.kid, BROOD_MSG("t", NULL, 5)), -EINVAL);
	assert_int_equal(brood_send(f.kid, BROOD_MSG("t", "x", 1, .flags = 1u << 31)), -EINVAL);
	say(f.kid, "t", "good");
	until(f.b, diary_messages(&f.d) == 1);
	assert_string_equal(f.d.body, "good");
	family_end(&f);
}

/* ---- gathering --------------------------------------------------------------------------------------------------- */

/* Frames that the broker has routed so far. */
static uint64_t frames_routed(struct family *f)
{
	brood_msg *m = ask_broker(f->b, "brood.control.GetStatus");
	Brood__Control__Status *s = brood__control__status__unpack(NULL, m->length, m->body);
	assert_non_null(s);
	uint64_t frames = s->frames;
	brood__control__status__free_unpacked(s, NULL);
	brood_msg_release(m);
	return frames;
}

static uint64_t frames_for_1000(struct family *f, unsigned flags)
{
	uint64_t before = frames_routed(f), counted = ask_number(f->kid, "count");
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(numbered_send(f->kid, counted + i, 16, flags), 0);
	assert_int_equal(ask_number(f->kid, "count"), counted + 1000);
	return frames_routed(f) - before;
}

static void test_more(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	uint64_t one_by_one = frames_for_1000(&f, 0), gathered = frames_for_1000(&f, BROOD_MORE);
	assert_true(one_by_one >= 1000);
	assert_true(gathered < 50);
	/* Nothing needs to follow: the next turn of the loop sends what was gathered. */
	assert_int_equal(brood_send(f.kid, BROOD_MSG("stream", "1 8", 3, .flags = BROOD_MORE)), 0);
	until(f.b, diary_messages(&f.d) == 1);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	family_end(&f);
}

static int send_ten(const brood_event *e)
{
	if (e->type == BROOD_EVENT_MESSAGE && strcmp(e->msg->type, "numbered") == 0)
		for (int i = 0; i < 1000; i++)
			assert_int_equal(brood_send(e->peer, BROOD_MSG("other", "x", 1)), 0);
	return 0;
}

/* What is sent inside a callback leaves together. */
static void test_callback_gathers(void **state)
{
	struct family f = { .d.also = send_ten };
	(void)state;
	family_begin(&f, KID("worker"));
	uint64_t before = frames_routed(&f);
	say(f.kid, "stream", "1 8");
	until_polled(f.b, ask_number(f.kid, "count") == 1001);
	assert_true(frames_routed(&f) - before < 100);
	family_end(&f);
}

/* ---- the window -------------------------------------------------------------------------------------------------- */

static pid_t stopped_child(struct family *f)
{
	until(f->b, f->d.n[BROOD_EVENT_READY] == 1);
	pid_t pid = info_of(f->kid).pid;
	kill(pid, SIGSTOP);
	until_polled(f->b, process_state(pid) == 'T');
	return pid;
}

/* Numbered messages from `n` on, until -EAGAIN is the answer even after a while. The next number. */
static uint64_t send_until_full(struct family *f, uint64_t n, size_t length)
{
	int rc;
	do {
		while ((rc = numbered_send(f->kid, n, length, BROOD_MORE)) == 0)
			n++;
		assert_int_equal(rc, -EAGAIN);
		(void)brood_process(f->b, 20);
	} while (numbered_send(f->kid, n, length, 0) == 0 && n++);
	return n;
}

/* The child is stopped: it takes a window of messages, and never more; afterwards all of them arrive. */
static void fill_window(size_t length, uint64_t least, uint64_t most, const struct fixture *x)
{
	struct family f = { 0 };
	family_begin(&f, KID("worker"));
	pid_t pid = stopped_child(&f);
	long mine = process_status(getpid(), "VmRSS:"), brokers = process_status(x->broker, "VmRSS:");
	uint64_t n = send_until_full(&f, 0, length);
	assert_in_range(n, least, most);
	for (int i = 0; i < 10000; i++)
		assert_int_equal(numbered_send(f.kid, n, length, 0), -EAGAIN);
	assert_string_equal(brood_last_error(f.b)->name, "window");
	assert_int_equal(info_of(f.kid).queued, n);
	assert_true(info_of(f.kid).queued_bytes >= n * length);
	assert_true(process_status(getpid(), "VmRSS:") - mine < 12 * 1024 + MEMORY_SLACK_KIB);
	assert_true(process_status(x->broker, "VmRSS:") - brokers < 12 * 1024 + MEMORY_SLACK_KIB);
	assert_int_equal(f.d.n[BROOD_EVENT_DRAIN], 0);
	kill(pid, SIGCONT);
	until(f.b, f.d.n[BROOD_EVENT_DRAIN] == 1);
	assert_int_equal(ask_number(f.kid, "count"), n);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	assert_string_equal(f.d.order, "SRd");
	family_end(&f);
}

static void test_window_of_bytes(void **state)
{
	fill_window(65536, WINDOW / 65536 / 2, WINDOW / 65536, *state);
}

static void test_window_of_messages(void **state)
{
	fill_window(8, 65536, 65536, *state);
}

static void test_window_option(void **state)
{
	struct family f = { 0 };
	(void)state;
	assert_int_equal(brood_connect(&f.b, NULL, BROOD_OPTIONS(.window_bytes = 256 * 1024)), 0);
	assert_int_equal(brood_spawn(f.b, &f.kid, KID("worker"), BROOD_SPAWN(.on = diary_table, .data = &f.d)), 0);
	pid_t pid = stopped_child(&f);
	assert_in_range(send_until_full(&f, 0, 1024), 100, 256);
	kill(pid, SIGCONT);
	until(f.b, f.d.n[BROOD_EVENT_DRAIN] == 1);
	family_end(&f);
}

struct later {
	pid_t pid;
	int signo;
};

static void *signal_later(void *data)
{
	const struct later *l = data;
	for (int i = 0; i < 100; i++)
		nap();
	kill(l->pid, l->signo);
	return NULL;
}

/* brood_send() waits while the child is stopped. What it gives when a thread has sent the child a signal. */
static int send_blocking(struct family *f, int signo)
{
	pthread_t thread;
	struct later l = { stopped_child(f), signo };
	uint64_t n = send_until_full(f, 0, 65536);
	assert_int_equal(pthread_create(&thread, NULL, signal_later, &l), 0);
	int rc = numbered_send(f->kid, n, 65536, BROOD_BLOCK);
	pthread_join(thread, NULL);
	if (rc == 0)
		assert_int_equal(ask_number(f->kid, "count"), n + 1);
	return rc;
}

static void test_block(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(send_blocking(&f, SIGCONT), 0);
	uint64_t n = ask_number(f.kid, "count");
	for (uint64_t i = 0; i < 200; i++) /* three windows */
		assert_int_equal(numbered_send(f.kid, n + i, 65536, BROOD_BLOCK), 0);
	assert_int_equal(ask_number(f.kid, "count"), n + 200);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	family_end(&f);
}

static void test_block_ends_with_the_child(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(send_blocking(&f, SIGKILL), -ENOTCONN);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("x")), -ESRCH);
	assert_string_equal(f.d.error, "undelivered");
	family_end(&f);
}

/* ---- a receiver that does not listen ----------------------------------------------------------------------------- */

static void test_before_listening(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("late", "worker"));
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(numbered_send(f.kid, i, 100, 0), 0);
	until(f.b, f.d.n[BROOD_EVENT_SPAWN] == 1);
	pid_t pid = info_of(f.kid).pid;
	until_polled(f.b, process_state(pid) == 'T');
	assert_int_equal(numbered_send(f.kid, 1000, 100, 0), 0);
	assert_int_equal(brood_process(f.b, 20), 0);
	assert_string_equal(f.d.order, "S");
	kill(pid, SIGCONT);
	assert_int_equal(ask_number(f.kid, "count"), 1001);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	family_end(&f);
}

static void test_not_ready(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("not-ready"));
	assert_int_equal(ask_number(f.kid, "count"), 0); /* it listens all the same */
	until(f.b, f.d.n[BROOD_EVENT_SPAWN] == 1);
	assert_string_equal(f.d.order, "S");
	say(f.kid, "ready", "");
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	say(f.kid, "ready", "");
	assert_int_equal(ask_number(f.kid, "count"), 2);
	assert_string_equal(f.d.order, "SR");
	family_end(&f);
}

static brood_msg *kept[4096];
static unsigned n_kept, keep_most;

static int keep_some(const brood_event *e)
{
	if (e->msg && n_kept < keep_most)
		kept[n_kept++] = brood_msg_keep(e->msg);
	return 0;
}

static uint64_t received_in_peace(struct family *f)
{
	uint64_t before;
	do
		before = diary_messages(&f->d);
	while (brood_process(f->b, 100) > 0 || diary_messages(&f->d) > before);
	return diary_messages(&f->d);
}

/* `most` messages are kept: no more than a window comes until they are released. */
static void keep_until_full(unsigned most)
{
	struct family f = { .d.also = keep_some };
	n_kept = 0;
	keep_most = most;
	family_begin(&f, KID("pour", "10000"));
	until(f.b, diary_messages(&f.d) >= 400);
	uint64_t came = received_in_peace(&f);
	assert_true(came <= WINDOW / 10000);
	assert_int_equal(numbered_read(kept[0]), 0);
	keep_most = 0;
	while (n_kept > 0)
		brood_msg_release(kept[--n_kept]);
	until(f.b, diary_messages(&f.d) > 4 * came);
	assert_int_equal(f.d.wrong, 0);
	family_end(&f);
}

static void test_kept_messages_fill_the_window(void **state)
{
	(void)state;
	keep_until_full(4096);
}

/* A message that is held holds back those behind it. */
static void test_one_kept_message(void **state)
{
	(void)state;
	keep_until_full(1);
}

/* A peer without a table, of a handle without one, is not told: its messages wait, in order. */
static void test_parent_pauses(void **state)
{
	struct family f = { 0 };
	const brood_event *e;
	(void)state;
	assert_int_equal(brood_connect(&f.b, NULL, NULL), 0);
	assert_int_equal(brood_spawn(f.b, &f.kid, KID("pour", "10000"), BROOD_SPAWN(.on = diary_table, .data = &f.d)),
			 0);
	until(f.b, diary_messages(&f.d) > 100);
	assert_int_equal(brood_on(f.kid, NULL, NULL), 0);
	uint64_t before = f.d.next;
	for (int i = 0; i < 10; i++)
		assert_int_equal(brood_process(f.b, 20), 0);
	assert_true(info_of(f.kid).received - before <= WINDOW / 10000);
	assert_int_equal(brood_on(f.kid, diary_table, &f.d), 0);
	until(f.b, f.d.next > before + 3000);
	assert_int_equal(f.d.wrong, 0);
	brood_on(f.kid, NULL, NULL);
	do /* the handle's own READY may come first */
		assert_int_equal(brood_next(f.b, &e, PATIENCE_MS), 1);
	while (e->type != BROOD_EVENT_MESSAGE);
	assert_int_equal(numbered_read(e->msg), f.d.next);
	family_end(&f);
}

static unsigned stop_at;

static int stop(const brood_event *e)
{
	const struct diary *d = e->data;
	if (e->msg && diary_messages(d) == stop_at)
		assert_int_equal(brood_on(e->peer, NULL, NULL), 0);
	return 0;
}

static int pause_(const brood_event *e)
{
	const struct diary *d = e->data;
	if (e->msg && diary_messages(d) == stop_at)
		assert_int_equal(brood_pause(e->peer, -1, 1), 0);
	return 0;
}

/* What a handler changes holds for the very next message, which has come in the same frame. */
static void stops_at(brood_fn *how, unsigned at)
{
	struct family f = { .d.also = how };
	stop_at = at;
	assert_int_equal(brood_connect(&f.b, NULL, NULL), 0);
	assert_int_equal(brood_spawn(f.b, &f.kid, KID("pour", "16"), BROOD_SPAWN(.on = diary_table, .data = &f.d)), 0);
	until(f.b, diary_messages(&f.d) >= at);
	for (int i = 0; i < 10; i++)
		assert_int_equal(brood_process(f.b, 20), 0);
	assert_int_equal(diary_messages(&f.d), at);
	assert_int_equal(brood_on(f.kid, diary_table, &f.d), 0);
	assert_int_equal(brood_pause(f.kid, -1, 0), 0);
	until(f.b, f.d.next > at + 3000);
	assert_int_equal(f.d.wrong, 0);
	family_end(&f);
}

static void test_handler_takes_no_more(void **state)
{
	(void)state;
	stops_at(stop, 10); /* behind the child's READY, so that they wait for their turn */
	stops_at(stop, 20000);
}

static void test_handler_pauses(void **state)
{
	(void)state;
	stops_at(pause_, 10);
	stops_at(pause_, 20000);
}

static void test_child_pauses(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("pauser"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	say(f.kid, "pause", "");
	until(f.b, diary_messages(&f.d) == 1);
	uint64_t n = send_until_full(&f, 0, 10000);
	assert_in_range(n, WINDOW / 10000 / 2, WINDOW / 10000);
	assert_int_equal(brood_kill(f.kid, SIGUSR1, 0), 0);
	until(f.b, f.d.n[BROOD_EVENT_DRAIN] == 1);
	assert_int_equal(ask_number(f.kid, "count"), n);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	family_end(&f);
}

/* ---- a connection that takes nothing ----------------------------------------------------------------------------- */

/* All my connections hold as little as can be. */
static void shrink_sockets(void)
{
	for (int fd = 3; fd < 64; fd++)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){ 1 }, sizeof(int));
}

static void continue_later(pid_t pid)
{
	pid_t helper = fork();
	if (helper == 0) {
		usleep(200000);
		_exit(kill(pid, SIGCONT));
	}
	assert_true(helper > 0);
}

/* The broker is stopped until its socket is full, so that a write takes nothing at all, and nothing else will happen. */
static void test_full_socket(void **state)
{
	const struct fixture *x = *state;
	struct family f = { 0 };
	family_begin(&f, KID("worker"));
	assert_int_equal(ask_number(f.kid, "count"), 0);
	shrink_sockets();
	kill(x->broker, SIGSTOP);
	until_polled(NULL, process_state(x->broker) == 'T');
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(numbered_send(f.kid, i, 8, 0), 0);
	continue_later(x->broker);
	assert_int_equal(ask_number(f.kid, "count"), 100);
	assert_true(wait(NULL) > 0);
	family_end(&f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_UNIX(test_full_socket),
		ON_ALL(test_order),
		ON_HOSTS(test_types),
		ON_HOSTS(test_small_bodies),
		ON_HOSTS(test_small_bodies_together),
		ON_HOSTS(test_rows),
		ON_ALL(test_long_bodies),
		ON_ALL(test_four_of_8_mib),
		ON_ALL(test_8_mib_to_a_quiet_receiver),
		ON_ALL(test_64_mib),
		ON_HOSTS(test_fill),
		ON_HOSTS(test_trace),
		ON_HOSTS(test_bad_arguments),
		ON_HOSTS(test_more),
		ON_HOSTS(test_callback_gathers),
		ON_ALL(test_window_of_bytes),
		ON_HOSTS(test_window_of_messages),
		ON_HOSTS(test_window_option),
		ON_ALL(test_block),
		ON_ALL(test_block_ends_with_the_child),
		ON_ALL(test_before_listening),
		ON_HOSTS(test_not_ready),
		ON_ALL(test_kept_messages_fill_the_window),
		ON_HOSTS(test_one_kept_message),
		ON_ALL(test_parent_pauses),
		ON_ALL(test_child_pauses),
		ON_ALL(test_handler_takes_no_more),
		ON_ALL(test_handler_pauses),
	};
	return RUN("messages", tests);
}
