/*
 * stdio: what a child's descriptors are, what comes through them, and that nothing is lost, doubled or kept too long,
 * whoever stops reading, ends first or calls what from within a callback.
 */
#include "flow.h"
#include "pattern.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)
#define PIPED BROOD_STDIO(BROOD_PIPE(0), BROOD_PIPE(1), BROOD_PIPE(2))
#define OUT BROOD_STDIO(BROOD_PIPE(1))

/* All n bytes of the pattern came at fd, and its end, once. */
static void expect_pattern(const struct family *f, int fd, uint64_t n)
{
	assert_int_equal(f->d.output[fd].bytes, n);
	assert_true(f->d.output[fd].sum == pattern_sum(n));
	assert_int_equal(f->d.output[fd].ends, 1);
}

/* n bytes of the pattern, a piece at a time, as the child takes them, and the end. */
static void write_pattern(struct family *f, int fd, uint64_t n, size_t piece)
{
	uint8_t *bytes = malloc(piece);
	for (uint64_t at = 0; at < n;) {
		size_t part = n - at < piece ? (size_t)(n - at) : piece;
		unsigned drains = f->d.n[BROOD_EVENT_DRAIN];
		pattern_fill(bytes, at, part);
		int rc = brood_write(f->kid, fd, bytes, part);
		if (rc == -EAGAIN) {
			until(f->b, f->d.n[BROOD_EVENT_DRAIN] > drains);
			assert_int_equal(f->d.drained, fd);
			continue;
		}
		assert_int_equal(rc, 0);
		at += part;
	}
	assert_int_equal(brood_end(f->kid, fd), 0);
	free(bytes);
}

static void expect_sum(const struct family *f, uint64_t n)
{
	char text[64];
	snprintf(text, sizeof text, "%llu %llu\n", (unsigned long long)n, (unsigned long long)pattern_sum(n));
	assert_string_equal(f->d.output[1].text, text);
}

/* ---- both ways --------------------------------------------------------------------------------------------------- */

static void test_a_mebibyte_both_ways(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, PLAIN("copy", "0", "1"), .stdio = PIPED);
	write_pattern(&f, 0, MIB, 10000);
	family_closes(&f);
	expect_pattern(&f, 1, MIB);
	assert_int_equal(f.d.output[2].ends, 1);
	assert_int_equal(f.d.exit.code, 0);
	family_end(&f);
}

static void test_with_a_channel_too(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_connect(&f);
	family_start(&f, BROOD_ARGV("sh", "-c", "cat; exec \"$0\" burst 5 1000", KID_PROGRAM), .stdio = PIPED);
	write_pattern(&f, 0, MIB, 65536);
	family_closes(&f);
	expect_pattern(&f, 1, MIB);
	assert_int_equal(diary_messages(&f.d), 5);
	family_end(&f);
}

/* A socket pair at a number of the program's choice. */
static void test_other_numbers(void **state)
{
	static const int numbers[] = { 3, 100 };
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct family f = { 0 };
		char text[8];
		snprintf(text, sizeof text, "%d", numbers[i]);
		plain_begin(&f, PLAIN("copy", text, text), .stdio = BROOD_STDIO(BROOD_PIPE(numbers[i])));
		write_pattern(&f, numbers[i], MIB, 50000);
		family_closes(&f);
		expect_pattern(&f, numbers[i] == 3 ? 3 : DIARY_FDS - 1, MIB);
		family_end(&f);
	}
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* Filled past its limit, a hundred more, then the end: the child gets every byte, and nothing that was refused. */
static void test_input_past_its_limit(void **state)
{
	struct family f = { 0 };
	uint8_t bytes[1000];
	uint64_t n = 0;
	int rc;
	(void)state;
	plain_begin(&f, PLAIN("sum", "0"), .stdio = PIPED);
	until(f.b, f.d.n[BROOD_EVENT_SPAWN] == 1);
	pid_t pid = info_of(f.kid).pid;
	kill(pid, SIGSTOP);
	until_polled(f.b, process_state(pid) == 'T');
	do {
		pattern_fill(bytes, n, sizeof bytes);
		rc = brood_write(f.kid, 0, bytes, sizeof bytes);
		n += rc == 0 ? sizeof bytes : 0;
	} while (rc == 0);
	assert_int_equal(rc, -EAGAIN);
	assert_string_equal(brood_last_error(f.b)->name, "pipe.full");
	assert_in_range(n, 64000, 64 * 1024 * 3); /* the kernel's 64 KiB and ours */
	for (int i = 0; i < 100; i++)
		assert_int_equal(brood_write(f.kid, 0, bytes, sizeof bytes), -EAGAIN);
	assert_int_equal(f.d.n[BROOD_EVENT_DRAIN], 0);
	kill(pid, SIGCONT);
	until(f.b, f.d.n[BROOD_EVENT_DRAIN] == 1);
	assert_int_equal(f.d.drained, 0);
	for (int i = 0; i < 100; i++, n += 10) {
		pattern_fill(bytes, n, 10);
		assert_int_equal(brood_write(f.kid, 0, bytes, 10), 0);
	}
	assert_int_equal(brood_end(f.kid, 0), 0);
	assert_int_equal(brood_end(f.kid, 0), -EPIPE);
	assert_int_equal(brood_write(f.kid, 0, "x", 1), -EPIPE);
	family_closes(&f);
	expect_sum(&f, n);
	assert_int_equal(f.d.n[BROOD_EVENT_DRAIN], 1);
	family_end(&f);
}

static void test_a_long_piece_when_nothing_waits(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, PLAIN("sum", "0"), .stdio = PIPED);
	write_pattern(&f, 0, 5 * MIB, 5 * MIB);
	family_closes(&f);
	expect_sum(&f, 5 * MIB);
	family_end(&f);
}

static void test_wrong_pipes(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, PLAIN("wait"), .stdio = PIPED);
	assert_int_equal(brood_write(f.kid, 1, "x", 1), -EBADF);
	assert_int_equal(brood_write(f.kid, 7, "x", 1), -EBADF);
	assert_int_equal(brood_end(f.kid, 7), -EBADF);
	assert_int_equal(brood_write(f.kid, 0, NULL, 5), -EINVAL);
	assert_int_equal(brood_pause(f.kid, 9, 1), -EBADF);
	assert_int_equal(brood_write(NULL, 0, "x", 1), -EINVAL);
	assert_int_equal(brood_pause(NULL, 1, 1), -EINVAL);
	assert_int_equal(brood_tty_size(f.kid, 1, 1), -ENOTTY);
	assert_int_equal(brood_write(brood_self(f.b), 0, "x", 1), -EBADF);
	assert_int_equal(brood_kill(f.kid, SIGKILL, 0), 0);
	family_closes(&f);
	assert_int_equal(brood_write(f.kid, 0, "x", 1), -ESRCH);
	assert_int_equal(brood_end(f.kid, 0), -ESRCH);
	assert_int_equal(brood_pause(f.kid, 1, 1), -ESRCH);
	assert_int_equal(brood_pause(f.kid, -1, 1), -ESRCH);
	family_end(&f);
}

/* Nobody reads: told at once when nothing waits, and by ERROR where bytes are left. */
static void test_input_that_nobody_reads(void **state)
{
	struct family f = { 0 };
	uint8_t *bytes = calloc(1, MIB);
	((struct fixture *)*state)->orphans = -1; /* the shell's own child */
	plain_begin(&f, BROOD_ARGV("sh", "-c", "exec <&-; echo closed; sleep 1000"), .stdio = PIPED);
	until(f.b, f.d.output[1].bytes > 0);
	assert_int_equal(brood_write(f.kid, 0, "x", 1), -EPIPE);
	assert_string_equal(brood_last_error(f.b)->name, "pipe.closed");
	assert_int_equal(f.d.n[BROOD_EVENT_ERROR], 0);
	family_end(&f);
	for (int i = 0; i < 20; i++) {
		struct family g = { 0 };
		plain_begin(&g, BROOD_ARGV("sh", "-c", i % 2 ? "exec <&-; sleep 0.01" : "exit 0"),
			    .stdio = BROOD_STDIO(BROOD_PIPE(0)));
		if (brood_write(g.kid, 0, bytes, MIB) == -EPIPE) { /* it was faster */
			family_end(&g);
			continue;
		}
		family_closes(&g);
		assert_int_equal(g.d.n[BROOD_EVENT_ERROR], 1);
		assert_string_equal(g.d.error, "input.closed");
		assert_int_equal(g.d.code, -EPIPE);
		family_end(&g);
	}
	struct family h = { 0 }; /* somebody else has it open when its child is closed */
	plain_begin(&h, PLAIN("leave-holder"), .stdio = BROOD_STDIO(BROOD_PIPE(0), BROOD_NUL(1)));
	assert_int_equal(brood_write(h.kid, 0, bytes, MIB), 0);
	family_closes(&h);
	assert_string_equal(h.d.error, "input.closed");
	family_end(&h);
	free(bytes);
}

/* Written before there is a process; it is not lost silently if none will be. */
static void test_input_before_the_start(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	family_connect(&f);
	family_start(&f, BROOD_ARGV("cat"), .stdio = PIPED);
	assert_int_equal(brood_write(f.kid, 0, "early", 5), 0);
	assert_int_equal(brood_end(f.kid, 0), 0);
	assert_int_equal(info_of(f.kid).pid, 0);
	family_closes(&f);
	assert_string_equal(f.d.output[1].text, "early");
	family_end(&f);
	plain_begin(&g, BROOD_ARGV("/nowhere"), .stdio = PIPED);
	assert_int_equal(brood_write(g.kid, 0, "early", 5), -ESRCH);
	family_closes(&g);
	assert_string_equal(g.d.order, "!C"); /* no output events, no end of streams */
	family_end(&g);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* What the child wrote just before its end comes before EXIT, every time. */
static int check_complete(const brood_event *e)
{
	const struct diary *d = e->data;
	if (e->type == BROOD_EVENT_EXIT) {
		assert_int_equal(d->output[1].bytes, 5000);
		assert_true(d->output[1].sum == *(const uint64_t *)d->data);
	}
	return 0;
}

static void test_output_before_exit(void **state)
{
	uint64_t sum = pattern_sum(5000);
	brood *b;
	(void)state;
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	for (int i = 0; i < 1000; i++) {
		struct diary d = { .also = check_complete, .data = &sum };
		brood_peer *p;
		assert_int_equal(
			brood_spawn(b, &p, PLAIN("pattern", "1", "5000"),
				    BROOD_SPAWN(.on = diary_table, .data = &d, .flags = BROOD_PLAIN, .stdio = OUT)),
			0);
		until(b, d.n[BROOD_EVENT_CLOSE] == 1);
		assert_ptr_equal(strstr(d.order, "E") < strstr(d.order, "o"), 0);
		assert_int_equal(d.output[1].ends, 1);
		brood_release(p);
	}
	brood_close(b);
}

/* The same where it takes several chunks, and the child is dead before the first is read. */
static int check_all_chunks(const brood_event *e)
{
	if (e->type == BROOD_EVENT_EXIT)
		assert_int_equal(((const struct diary *)e->data)->output[3].bytes, 150000);
	return 0;
}

static void test_chunks_before_exit(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		struct family f = { .d.also = check_all_chunks };
		plain_begin(&f, PLAIN("pattern", "3", "150000"), .stdio = BROOD_STDIO(BROOD_PIPE(3)));
		until_polled(NULL, process_state(info_of(f.kid).pid) == 'Z');
		family_closes(&f);
		expect_pattern(&f, 3, 150000);
		assert_true(f.d.n[BROOD_EVENT_OUTPUT] > 2);
		family_end(&f);
	}
}

/* 1,000 KiB from each of 41 children, one after the other. */
static void test_a_thousand_kib_from_41(void **state)
{
	(void)state;
	for (int i = 0; i < 41; i++) {
		struct family f = { 0 };
		plain_begin(&f, PLAIN("pattern", "1", "1024000"), .stdio = OUT);
		family_closes(&f);
		expect_pattern(&f, 1, 1024000);
		family_end(&f);
	}
}

/* Multi-byte text, whose characters lie across the reads. */
static void test_multi_byte_text(void **state)
{
	struct family f = { 0 };
	static const char letters[] = "\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xa3"; /* 2, 3 and 4 bytes */
	uint64_t sum = 0;
	(void)state;
	for (int i = 0; i < 90000; i++)
		sum = pattern_add(sum, (const uint8_t *)letters, 9);
	plain_begin(&f,
		    BROOD_ARGV("python3", "-c",
			       "import sys; sys.stdout.buffer.write('\\u00e4\\u20ac\\U0001f423'.encode() * 90000)"),
		    .stdio = OUT);
	family_closes(&f);
	assert_int_equal(f.d.output[1].bytes, 810000);
	assert_true(f.d.output[1].sum == sum);
	family_end(&f);
}

/* Paused, a child that writes comes to a stop; nothing is lost, and EXIT does not come before what it wrote. */
static void test_pause(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, PLAIN("pattern", "1", "10000000"), .stdio = OUT);
	until(f.b, f.d.output[1].bytes > 100000);
	assert_int_equal(brood_pause(f.kid, 1, 1), 0);
	uint64_t before = f.d.output[1].bytes;
	long mine = process_status(getpid(), "VmRSS:");
	pid_t pid = info_of(f.kid).pid;
	int sleeping = 0; /* it stands still in write(2): a while without a look at it running */
	until_polled(f.b, (sleeping = process_state(pid) == 'S' ? sleeping + 1 : 0) == 50);
	assert_int_equal(f.d.output[1].bytes, before);
	assert_true(process_status(getpid(), "VmRSS:") - mine < MEMORY_SLACK_KIB);
	assert_int_equal(f.d.n[BROOD_EVENT_EXIT], 0);
	assert_int_equal(brood_pause(f.kid, 1, 0), 0);
	family_closes(&f);
	expect_pattern(&f, 1, 10000000);
	assert_string_equal(strchr(f.d.order, 'E') ? "E" : "", "E");
	family_end(&f);
}

/* EXIT comes although its output is paused, CLOSE only behind that, however long after. */
static void test_exit_passes_paused_output(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, PLAIN("pattern", "1", "30000"), .stdio = OUT, .linger_ms = 20);
	assert_int_equal(brood_pause(f.kid, 1, 1), 0);
	until(f.b, f.d.n[BROOD_EVENT_EXIT] == 1);
	for (int i = 0; i < 5; i++)
		assert_int_equal(brood_process(f.b, 20), 0);
	assert_string_equal(f.d.order, "SDE");
	assert_int_equal(brood_wait(f.kid, PATIENCE_MS), -EDEADLK);
	assert_int_equal(brood_pause(f.kid, 1, 0), 0);
	family_closes(&f);
	assert_string_equal(f.d.order, "SDEoC");
	expect_pattern(&f, 1, 30000);
	family_end(&f);
}

/* In the middle of what was owed to the program before EXIT. */
static int pause_at_first(const brood_event *e)
{
	const struct diary *d = e->data;
	if (e->type == BROOD_EVENT_OUTPUT && d->n[BROOD_EVENT_OUTPUT] == 1)
		assert_int_equal(brood_pause(e->peer, 3, 1), 0);
	return 0;
}

static void test_pause_in_a_callback(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		struct family f = { .d.also = pause_at_first };
		plain_begin(&f, PLAIN("pattern", "3", "150000"), .stdio = BROOD_STDIO(BROOD_PIPE(3)));
		until_polled(NULL, process_state(info_of(f.kid).pid) == 'Z'); /* all of it is in the pipe */
		until(f.b, f.d.n[BROOD_EVENT_EXIT] == 1);
		assert_string_equal(f.d.order, "SoDE");
		assert_int_equal(brood_pause(f.kid, 3, 0), 0);
		family_closes(&f);
		expect_pattern(&f, 3, 150000);
		family_end(&f);
	}
}

/* Nothing of a paused pipe is told, not even what had been read already. */
static int pause_both(const brood_event *e)
{
	if (e->type == BROOD_EVENT_OUTPUT && ((struct diary *)e->data)->n[BROOD_EVENT_OUTPUT] == 1) {
		assert_int_equal(brood_pause(e->peer, 1, 1), 0);
		assert_int_equal(brood_pause(e->peer, 2, 1), 0);
	}
	return 0;
}

static void test_pause_holds_what_was_read(void **state)
{
	struct family f = { .d.also = pause_both };
	(void)state;
	plain_begin(&f, BROOD_ARGV("sh", "-c", "echo 1; echo 2 >&2"), .stdio = PIPED);
	until_polled(NULL, process_state(info_of(f.kid).pid) == 'Z');
	until(f.b, f.d.n[BROOD_EVENT_EXIT] == 1);
	assert_int_equal(f.d.n[BROOD_EVENT_OUTPUT], 1);
	assert_int_equal(brood_pause(f.kid, 1, 0), 0);
	assert_int_equal(brood_pause(f.kid, 2, 0), 0);
	family_closes(&f);
	assert_string_equal(f.d.output[1].text, "1\n");
	assert_string_equal(f.d.output[2].text, "2\n");
	family_end(&f);
}

/* The parent looks away from a flood: neither side grows, and nothing is lost. */
static void test_flood_while_nobody_looks(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, PLAIN("pattern", "1", "50000000"), .stdio = OUT);
	until(f.b, f.d.output[1].bytes > 0);
	pid_t pid = info_of(f.kid).pid;
	long mine = process_status(getpid(), "VmRSS:"), its = process_status(pid, "VmRSS:");
	int sleeping = 0;
	until_polled(NULL, (sleeping = process_state(pid) == 'S' ? sleeping + 1 : 0) == 50);
	until(f.b, f.d.output[1].bytes > 10000000);
	assert_true(process_status(getpid(), "VmRSS:") - mine < MEMORY_SLACK_KIB);
	assert_true(process_status(pid, "VmRSS:") - its < MEMORY_SLACK_KIB);
	family_closes(&f);
	expect_pattern(&f, 1, 50000000);
	family_end(&f);
}

/* ---- callbacks that do things ------------------------------------------------------------------------------------ */

static int release_it(const brood_event *e)
{
	if (e->type == BROOD_EVENT_OUTPUT && ((struct diary *)e->data)->n[BROOD_EVENT_OUTPUT] == 1)
		brood_release(e->peer);
	return 0;
}

static void test_release_in_output(void **state)
{
	struct family f = { .d.also = release_it };
	(void)state;
	plain_begin(&f, PLAIN("pattern", "1", "1000000"), .stdio = OUT);
	family_closes(&f);
	expect_pattern(&f, 1, 1000000);
	family_end(&f);
}

static int close_it(const brood_event *e)
{
	if (e->type == BROOD_EVENT_OUTPUT)
		brood_close(e->handle);
	return 0;
}

static void test_close_in_output(void **state)
{
	struct family f = { .d.also = close_it };
	(void)state;
	plain_begin(&f, PLAIN("flood", "1"), .stdio = OUT);
	until_by(f.d.n[BROOD_EVENT_OUTPUT] == 1, (void)brood_process(f.b, left_));
	assert_int_equal(f.d.n[BROOD_EVENT_EXIT], 0);
}

static int kill_it(const brood_event *e)
{
	if (e->type == BROOD_EVENT_OUTPUT && ((struct diary *)e->data)->n[BROOD_EVENT_OUTPUT] == 1)
		assert_int_equal(brood_kill(e->peer, SIGKILL, 0), 0);
	return 0;
}

static void test_kill_in_output(void **state)
{
	struct family f = { .d.also = kill_it };
	(void)state;
	plain_begin(&f, PLAIN("flood", "1"), .stdio = OUT);
	family_closes(&f);
	assert_int_equal(f.d.exit.signo, SIGKILL);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_KILL);
	uint64_t n = f.d.output[1].bytes;
	expect_pattern(&f, 1, n); /* complete up to where it ended */
	family_end(&f);
}

/* Whatever comes goes back. */
static int write_back(const brood_event *e)
{
	struct diary *d = e->data;
	if (e->type != BROOD_EVENT_OUTPUT || e->fd != 1 || d->n[BROOD_EVENT_OUTPUT] > 100)
		return 0;
	if (d->n[BROOD_EVENT_OUTPUT] == 100)
		return brood_end(e->peer, 0);
	assert_int_equal(brood_write(e->peer, 0, e->bytes, e->length), 0);
	return 0;
}

static void test_write_in_output(void **state)
{
	struct family f = { .d.also = write_back };
	(void)state;
	plain_begin(&f, BROOD_ARGV("cat"), .stdio = PIPED);
	assert_int_equal(brood_write(f.kid, 0, "ball", 4), 0);
	family_closes(&f);
	assert_int_equal(f.d.output[1].bytes, 400);
	family_end(&f);
}

/* A new child for each that closes. */
static int start_again(const brood_event *e)
{
	struct diary *d = e->data;
	if (e->type == BROOD_EVENT_CLOSE && d->n[BROOD_EVENT_CLOSE] < 20)
		assert_int_equal(
			brood_spawn(e->handle, NULL, PLAIN("pattern", "1", "100"),
				    BROOD_SPAWN(.on = diary_table, .data = d, .flags = BROOD_PLAIN, .stdio = OUT)),
			0);
	return 0;
}

static void test_spawn_in_close(void **state)
{
	struct family f = { .d.also = start_again };
	(void)state;
	plain_begin(&f, PLAIN("pattern", "1", "100"), .stdio = OUT);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 20);
	assert_int_equal(f.d.output[1].bytes, 2000);
	family_end(&f);
}

/* ---- without callbacks ------------------------------------------------------------------------------------------- */

/* Output waits for brood_next(), and not more of it than a chunk. */
static void test_next(void **state)
{
	struct family f = { 0 };
	const brood_event *e;
	uint64_t n = 0, sum = 0;
	int ended = 0;
	(void)state;
	assert_int_equal(brood_connect(&f.b, NULL, NULL), 0);
	assert_int_equal(brood_spawn(f.b, &f.kid, PLAIN("pattern", "1", "5000000"),
				     BROOD_SPAWN(.flags = BROOD_PLAIN, .stdio = OUT)),
			 0);
	assert_int_equal(brood_wait(f.kid, PATIENCE_MS), -EDEADLK);
	assert_string_equal(brood_last_error(f.b)->name, "peer.untaken");
	long mine = process_status(getpid(), "VmRSS:");
	for (int i = 0; i < 20; i++)
		assert_int_equal(brood_process(f.b, 1), 0);
	assert_true(process_status(getpid(), "VmRSS:") - mine < MEMORY_SLACK_KIB);
	do {
		assert_int_equal(brood_next(f.b, &e, PATIENCE_MS), 1);
		if (e->type == BROOD_EVENT_OUTPUT) {
			assert_int_equal(((const char *)e->bytes)[e->length], '\0');
			n += e->length;
			sum = pattern_add(sum, e->bytes, e->length);
			ended += e->length == 0;
		}
		if (e->type == BROOD_EVENT_EXIT)
			assert_int_equal(n, 5000000);
	} while (e->type != BROOD_EVENT_CLOSE);
	assert_int_equal(n, 5000000);
	assert_true(sum == pattern_sum(n));
	assert_int_equal(ended, 1);
	assert_int_equal(brood_wait(f.kid, 0), 0);
	family_end(&f);
}

static int wait_inside(const brood_event *e)
{
	if (e->type == BROOD_EVENT_SPAWN)
		assert_int_equal(brood_wait(e->peer, PATIENCE_MS), -EDEADLK);
	return 0;
}

static void test_wait_in_a_callback(void **state)
{
	struct family f = { .d.also = wait_inside };
	(void)state;
	plain_begin(&f, PLAIN("pattern", "1", "500000"), .stdio = OUT);
	assert_int_equal(brood_wait(f.kid, PATIENCE_MS), 0);
	expect_pattern(&f, 1, 500000);
	family_end(&f);
}

/* ---- others hold the pipe ---------------------------------------------------------------------------------------- */

/* EXIT at once; CLOSE when the linger time is over. */
static void test_grandchild_holds_stdout(void **state)
{
	struct family f = { 0 };
	((struct fixture *)*state)->orphans = 1;
	plain_begin(&f, PLAIN("leave-holder"), .stdio = OUT, .linger_ms = 100);
	until(f.b, f.d.n[BROOD_EVENT_EXIT] == 1);
	uint64_t begin = now_ms();
	assert_string_equal(f.d.output[1].text, "mine");
	assert_int_equal(f.d.n[BROOD_EVENT_CLOSE], 0);
	family_closes(&f);
	assert_in_range(now_ms() - begin, 80, 20000);
	assert_string_equal(f.d.order, "SoDEoC");
	assert_int_equal(f.d.output[1].ends, 1);
	family_end(&f);
}

static void test_grandchild_floods_stdout(void **state)
{
	struct family f = { 0 };
	((struct fixture *)*state)->orphans = 1;
	plain_begin(&f, PLAIN("leave-flood"), .stdio = OUT, .linger_ms = 100);
	uint64_t begin = now_ms();
	family_closes(&f);
	assert_in_range(now_ms() - begin, 80, 20000);
	assert_int_equal(f.d.n[BROOD_EVENT_EXIT], 1);
	assert_true(f.d.output[1].bytes > 4);
	assert_int_equal(f.d.output[1].ends, 1);
	family_end(&f);
}

/* ---- wired to each other ----------------------------------------------------------------------------------------- */

struct stage {
	brood_peer *p;
	struct diary d;
};

static void start_stage(brood *b, struct stage *s, const char *const *argv, const struct brood_stdio *stdio)
{
	assert_int_equal(
		brood_spawn(b, &s->p, argv,
			    BROOD_SPAWN(.on = diary_table, .data = &s->d, .flags = BROOD_PLAIN, .stdio = stdio)),
		0);
}

static int all_closed(const struct stage *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (s[i].d.n[BROOD_EVENT_CLOSE] != 1)
			return 0;
	return 1;
}

/* echo | grep | sed, every byte through the parent. */
static int pass_on(const brood_event *e)
{
	struct stage *next = ((struct diary *)e->data)->data;
	if (e->type == BROOD_EVENT_OUTPUT && e->fd == 1)
		return brood_write(next->p, 0, e->length ? e->bytes : NULL, e->length);
	return 0;
}

static void test_pipeline_through_the_parent(void **state)
{
	struct stage s[3] = { { .d.also = pass_on }, { .d.also = pass_on }, { 0 } };
	brood *b;
	(void)state;
	s[0].d.data = &s[1];
	s[1].d.data = &s[2];
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	start_stage(b, &s[2], BROOD_ARGV("sed", "s/o/0/g"), PIPED);
	start_stage(b, &s[1], BROOD_ARGV("grep", "foo"), PIPED);
	start_stage(b, &s[0], BROOD_ARGV("printf", "bar\nfoo\nfool\n"), PIPED);
	until(b, all_closed(s, 3));
	assert_string_equal(s[2].d.output[1].text, "f00\nf00l\n");
	for (int i = 0; i < 3; i++)
		assert_int_equal(s[i].d.exit.code, 0);
	brood_close(b);
}

/* Pipe to pipe: the parent reads nothing of the first two. */
static void test_pipeline_wired(void **state)
{
	struct stage s[3] = { 0 };
	char text[64];
	brood *b;
	(void)state;
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	start_stage(b, &s[0], PLAIN("pattern", "1", "1048576"), BROOD_STDIO(BROOD_HELD(1)));
	start_stage(b, &s[1], PLAIN("copy", "0", "1"), BROOD_STDIO(BROOD_FROM(0, s[0].p, 1), BROOD_HELD(1)));
	start_stage(b, &s[2], PLAIN("sum", "0"), BROOD_STDIO(BROOD_FROM(0, s[1].p, 1), BROOD_PIPE(1)));
	until(b, all_closed(s, 3));
	snprintf(text, sizeof text, "%llu %llu\n", (unsigned long long)MIB, (unsigned long long)pattern_sum(MIB));
	assert_string_equal(s[2].d.output[1].text, text);
	assert_int_equal(s[0].d.n[BROOD_EVENT_OUTPUT] + s[1].d.n[BROOD_EVENT_OUTPUT], 0);
	brood_close(b);
}

/* From the reader's side: HELD(0) is what it reads, and who is wired to that writes. */
static void test_wired_from_the_reader(void **state)
{
	struct stage s[2] = { 0 };
	brood *b;
	(void)state;
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	start_stage(b, &s[0], BROOD_ARGV("cat"), BROOD_STDIO(BROOD_HELD(0), BROOD_PIPE(1)));
	assert_int_equal(brood_spawn(b, NULL, BROOD_ARGV("true"),
				     BROOD_SPAWN(.flags = BROOD_PLAIN, .stdio = BROOD_STDIO(BROOD_FROM(0, s[0].p, 0)))),
			 -EINVAL);
	assert_int_equal(brood_spawn(b, NULL, BROOD_ARGV("true"),
				     BROOD_SPAWN(.flags = BROOD_PLAIN, .stdio = BROOD_STDIO(BROOD_FROM(1, s[0].p, 1)))),
			 -EINVAL);
	start_stage(b, &s[1], BROOD_ARGV("echo", "hello"), BROOD_STDIO(BROOD_FROM(1, s[0].p, 0)));
	assert_int_equal(brood_spawn(b, NULL, BROOD_ARGV("true"),
				     BROOD_SPAWN(.flags = BROOD_PLAIN, .stdio = BROOD_STDIO(BROOD_FROM(1, s[0].p, 0)))),
			 -EINVAL); /* taken */
	assert_non_null(strstr(brood_last_error(b)->text, "holds no such pipe"));
	until(b, all_closed(s, 2));
	assert_string_equal(s[0].d.output[1].text, "hello\n");
	brood_close(b);
}

/* An end that nobody took goes with its child, or with the handle. */
static void test_held_and_never_taken(void **state)
{
	struct stage s[2] = { 0 };
	brood *b;
	(void)state;
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	start_stage(b, &s[0], BROOD_ARGV("true"), BROOD_STDIO(BROOD_HELD(1)));
	until(b, all_closed(s, 1));
	assert_int_equal(brood_spawn(b, NULL, BROOD_ARGV("cat"),
				     BROOD_SPAWN(.flags = BROOD_PLAIN, .stdio = BROOD_STDIO(BROOD_FROM(0, s[0].p, 1)))),
			 -EINVAL);
	start_stage(b, &s[1], BROOD_ARGV("cat"), BROOD_STDIO(BROOD_HELD(0)));
	until(b, s[1].d.n[BROOD_EVENT_SPAWN] == 1);
	brood_close(b);
}

/* ---- what is open in the child ----------------------------------------------------------------------------------- */

/* The numbers that it has open. */
static const char *numbers_of(const char *fds)
{
	static char text[256];
	size_t n = 0;
	for (const char *at = fds; at && *at; at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL)
		n += (size_t)snprintf(text + n, sizeof text - n, "%ld ", strtol(at, NULL, 10));
	return text;
}

/* Nothing of its siblings, of the handle and of the program; the last is its life line. */
static void test_nothing_else_is_open(void **state)
{
	struct family f = { 0 };
	brood_peer *sibling;
	int mine = fcntl(0, F_DUPFD, 50); /* not close-on-exec */
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(brood_spawn(f.b, &sibling, BROOD_ARGV("cat"), BROOD_SPAWN(.stdio = PIPED)), 0);
	family_start(&f, PLAIN("fds"), .flags = BROOD_PLAIN,
		     .stdio = BROOD_STDIO(BROOD_PIPE(1), BROOD_PIPE(7), BROOD_NUL(9)));
	family_closes(&f);
	assert_string_equal(numbers_of(f.d.output[1].text), "0 1 2 7 9 10 ");
	close(mine);
	family_end(&f);
}

/* My descriptors under numbers that are also others' sources. */
static void test_crosswise(void **state)
{
	struct family f = { 0 };
	int one[2], two[2];
	char text[16] = "";
	(void)state;
	assert_int_equal(pipe2(one, O_CLOEXEC), 0);
	assert_int_equal(pipe2(two, O_CLOEXEC), 0);
	plain_begin(&f, BROOD_ARGV("sh", "-c", "echo -n A >&$0; echo -n B >&$1; echo -n C >&2", "8", "9"),
		    .stdio = BROOD_STDIO(BROOD_FD(8, two[1]), BROOD_FD(9, one[1]), BROOD_FD(2, two[1])));
	close(one[1]); /* duplicates were taken */
	close(two[1]);
	family_closes(&f);
	assert_int_equal(read(two[0], text, sizeof text), 2);
	assert_string_equal(text, "AC");
	assert_int_equal(read(one[0], text, sizeof text), 1);
	assert_int_equal(text[0], 'B');
	assert_int_equal(read(one[0], text, sizeof text), 0); /* and nobody else has it */
	close(one[0]);
	close(two[0]);
	family_end(&f);
	struct family g = { 0 };
	plain_begin(&g, BROOD_ARGV("true"), .stdio = BROOD_STDIO(BROOD_FD(1, 0), BROOD_FD(0, 1), BROOD_FD(2, 1)));
	family_closes(&g);
	assert_int_equal(g.d.exit.code, 0);
	family_end(&g);
}

/* Where the program has closed its own, its child gets /dev/null: never what the library opened there meanwhile. */
static void test_mine_is_closed(void **state)
{
	struct family f = { 0 };
	int saved[3];
	(void)state;
	for (int fd = 0; fd < 3; fd++) {
		saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 20);
		close(fd);
	}
	int rc = brood_connect(&f.b, NULL, BROOD_OPTIONS(.on = diary_table, .data = &f.me));
	int rc2 = brood_spawn(f.b, &f.kid, PLAIN("fds"),
			      BROOD_SPAWN(.on = diary_table, .data = &f.d, .flags = BROOD_PLAIN,
					  .stdio = BROOD_STDIO(BROOD_MINE(0), BROOD_PIPE(1), BROOD_MINE(2))));
	int is_null = 0;
	for (uint64_t end = now_ms() + PATIENCE_MS; !f.d.n[BROOD_EVENT_CLOSE] && now_ms() < end;)
		(void)brood_process(f.b, 100);
	is_null = strstr(f.d.output[1].text, "0=/dev/null ") && strstr(f.d.output[1].text, "2=/dev/null ");
	family_end(&f);
	for (int fd = 0; fd < 3; fd++) {
		dup2(saved[fd], fd);
		close(saved[fd]);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(rc2, 0);
	assert_true(is_null);
}

/* ---- for the broker's log ---------------------------------------------------------------------------------------- */

/* Text of the broker's log so far. */
static char *log_text(const struct fixture *x)
{
	struct stat s;
	assert_int_equal(fstat(x->log_fd, &s), 0);
	char *text = calloc(1, (size_t)s.st_size + 1);
	assert_true(pread(x->log_fd, text, (size_t)s.st_size, 0) == s.st_size);
	return text;
}

static unsigned count_in_log(const struct fixture *x, const char *what)
{
	char *text = log_text(x);
	unsigned n = 0;
	for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
		n++;
	free(text);
	return n;
}

static void test_log(void **state)
{
	struct family f = { 0 };
	char who[64];
	const struct fixture *x = *state;
	family_connect(&f);
	family_start(&f, BROOD_ARGV("sh", "-c", "echo first line; printf 'second\\n\\nno newline' >&2"),
		     .stdio = BROOD_STDIO(BROOD_LOG(1), BROOD_LOG(2)));
	family_closes(&f);
	snprintf(who, sizeof who, "pid=%ld", (long)info_of(f.kid).pid);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	until_polled(f.b, count_in_log(x, "no newline") == 1);
	assert_int_equal(count_in_log(x, "first line"), 1);
	assert_int_equal(count_in_log(x, "second"), 1);
	assert_true(count_in_log(x, who) >= 4);
	assert_int_equal(f.d.n[BROOD_EVENT_OUTPUT], 0);
	family_end(&f);
}

/* Cut into lines of 2,000; exactly 2,000 are one. */
static void test_log_of_long_lines(void **state)
{
	struct family f = { 0 };
	const struct fixture *x = *state;
	family_connect(&f);
	family_start(
		&f,
		BROOD_ARGV("sh", "-c",
			   "head -c 100000 /dev/zero | tr '\\0' x; echo; head -c 2000 /dev/zero | tr '\\0' y; echo;"
			   "echo end"),
		.stdio = BROOD_STDIO(BROOD_LOG(1)));
	family_closes(&f);
	until_polled(f.b, count_in_log(x, "text=end") + count_in_log(x, "text=\"end\"") == 1);
	assert_int_equal(count_in_log(x, "fd=1"), 50 + 1 + 1);
	family_end(&f);
}

/* More lines than a window holds, nobody takes events, and the program waits: the log goes on. */
static void test_log_flood(void **state)
{
	struct family f = { 0 };
	const struct fixture *x = *state;
	assert_int_equal(brood_connect(&f.b, NULL, BROOD_OPTIONS(.window_bytes = 65536)), 0);
	assert_int_equal(brood_spawn(f.b, &f.kid, BROOD_ARGV("seq", "100000", "130000"),
				     BROOD_SPAWN(.stdio = BROOD_STDIO(BROOD_LOG(1)))),
			 0);
	long brokers = process_status(x->broker, "VmRSS:");
	assert_int_equal(brood_wait(f.kid, PATIENCE_MS), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_in_range(count_in_log(x, "fd=1"), 100,
			30001); /* the log keeps to its pace, and counts what it leaves out */
	assert_int_equal(info_of(f.kid).exit->code, 0);
	assert_true(process_status(x->broker, "VmRSS:") - brokers < 12 * 1024 + MEMORY_SLACK_KIB);
	family_end(&f);
}

static void test_log_without_broker(void **state)
{
	struct family f = { 0 };
	(void)state;
	setenv("BROOD_ADDRESS", "unix:/nowhere/sock", 1);
	plain_begin(&f, BROOD_ARGV("seq", "1", "30000"), .stdio = BROOD_STDIO(BROOD_LOG(1)));
	family_closes(&f);
	assert_int_equal(f.d.exit.code, 0);
	assert_int_equal(f.d.n[BROOD_EVENT_ERROR], 1);
	assert_string_equal(f.d.error, "log.lost");
	family_end(&f);
}

/* The broker goes while lines wait for it. */
static void test_log_and_the_broker_goes(void **state)
{
	struct family f = { 0 };
	struct fixture *x = *state;
	assert_int_equal(
		brood_connect(&f.b, NULL, BROOD_OPTIONS(.on = diary_table, .data = &f.me, .window_bytes = 65536)), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	kill(x->broker, SIGSTOP);
	family_start(&f, BROOD_ARGV("seq", "1", "300000"), .flags = BROOD_PLAIN, .stdio = BROOD_STDIO(BROOD_LOG(1)));
	pid_t pid = info_of(f.kid).pid;
	int sleeping = 0;
	until_polled(f.b, (sleeping = process_state(pid) == 'S' ? sleeping + 1 : 0) == 50);
	kill_broker_hard(x);
	family_closes(&f);
	assert_int_equal(f.d.exit.code, 0);
	assert_string_equal(f.d.error, "log.lost");
	family_end(&f);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* Paused messages: the sender's window fills, and EXIT waits behind them. */
static void test_paused_messages(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("burst", "1000", "10000"));
	assert_int_equal(brood_pause(f.kid, -1, 1), 0);
	for (int i = 0; i < 10; i++)
		assert_true(brood_process(f.b, 20) >= 0);
	assert_int_equal(diary_messages(&f.d), 0);
	pid_t pid = info_of(f.kid).pid;
	if (pid) /* the window is full: it cannot have ended */
		assert_false(process_is_dead(pid));
	assert_int_equal(brood_pause(f.kid, -1, 0), 0);
	family_closes(&f);
	assert_int_equal(diary_messages(&f.d), 1000);
	assert_int_equal(f.d.wrong, 0);
	assert_string_equal(f.d.order, "SRmDEC");
	family_end(&f);
}

static void test_exit_waits_for_paused_messages(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("vanish", "100", "100"));
	assert_int_equal(brood_pause(f.kid, -1, 1), 0);
	until_polled(f.b, info_of(f.kid).state == BROOD_IS_CLOSED);
	assert_string_equal(f.d.order, "");
	assert_int_equal(brood_pause(f.kid, -1, 0), 0);
	family_closes(&f);
	assert_string_equal(f.d.order, "SRmDEC");
	assert_int_equal(diary_messages(&f.d), 100);
	assert_int_equal(f.d.wrong, 0);
	family_end(&f);
}

/* From within: also messages that were read already wait. */
static int pause_messages(const brood_event *e)
{
	if (e->type == BROOD_EVENT_MESSAGE && diary_messages(e->data) == 5)
		assert_int_equal(brood_pause(e->peer, -1, 1), 0);
	return 0;
}

static void test_pause_messages_in_a_callback(void **state)
{
	struct family f = { .d.also = pause_messages };
	(void)state;
	family_begin(&f, KID("worker"));
	say(f.kid, "stream", "100 100");
	assert_int_equal(ask_number(f.kid, "count"), 1); /* by now all are here and wait for their callbacks */
	until(f.b, diary_messages(&f.d) == 5);
	for (int i = 0; i < 5; i++)
		assert_true(brood_process(f.b, 10) >= 0);
	assert_int_equal(diary_messages(&f.d), 5);
	assert_int_equal(brood_pause(f.kid, -1, 0), 0);
	until(f.b, diary_messages(&f.d) == 100);
	assert_int_equal(f.d.wrong, 0);
	family_end(&f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_HOSTS(test_a_mebibyte_both_ways),
		ON_ALL(test_with_a_channel_too),
		ON_HOSTS(test_other_numbers),
		ON_HOSTS(test_input_past_its_limit),
		ON_HOSTS(test_a_long_piece_when_nothing_waits),
		ON_HOSTS(test_wrong_pipes),
		ON_UNIX(test_input_that_nobody_reads),
		ON_ALL_HERE(test_input_before_the_start),
		ON_HOSTS(test_output_before_exit),
		ON_UNIX(test_chunks_before_exit),
		ON_HOSTS(test_a_thousand_kib_from_41),
		ON_HOSTS(test_multi_byte_text),
		ON_HOSTS(test_pause),
		ON_HOSTS(test_exit_passes_paused_output),
		ON_UNIX(test_pause_in_a_callback),
		ON_UNIX(test_pause_holds_what_was_read),
		ON_HOSTS(test_flood_while_nobody_looks),
		ON_HOSTS(test_release_in_output),
		ON_HOSTS(test_close_in_output),
		ON_HOSTS(test_kill_in_output),
		ON_HOSTS(test_write_in_output),
		ON_HOSTS(test_spawn_in_close),
		ON_HOSTS(test_next),
		ON_HOSTS(test_wait_in_a_callback),
		ON_HOSTS(test_grandchild_holds_stdout),
		ON_HOSTS(test_grandchild_floods_stdout),
		ON_HOSTS(test_pipeline_through_the_parent),
		ON_UNIX(test_pipeline_wired),
		ON_UNIX(test_wired_from_the_reader),
		ON_UNIX(test_held_and_never_taken),
		ON_ALL(test_nothing_else_is_open),
		ON_UNIX(test_crosswise),
		ON_UNIX(test_mine_is_closed),
		ON_ALL(test_log),
		ON_ALL(test_log_of_long_lines),
		ON_ALL(test_log_flood),
		ON_UNIX(test_log_without_broker),
		ON_UNIX(test_log_and_the_broker_goes),
		ON_ALL(test_paused_messages),
		ON_HOSTS(test_exit_waits_for_paused_messages),
		ON_HOSTS(test_pause_messages_in_a_callback),
	};
	return RUN("stdio", tests);
}
