/*
 * mixture: children of all kinds side by side, in an order that dice decide. Each must have what it would have alone, whatever
 * its neighbours do, and what they do is end: killed at once, in the middle of their output, by their timeout.
 */
#include "flow.h"
#include "pattern.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define CHILDREN 150
#define BURST 12 /* started at once; the next when few of them are left */
#define ECHOED 9000
#define ASKED 5

struct one {
	struct diary d;
	const struct kind *kind;
	brood_peer *peer;
	uint64_t n; /* what its kind makes of it */
};

static unsigned dice;

static struct one *one_of(const brood_event *e)
{
	return (struct one *)e->data;
}

#define START(one, argv, ...)                                                                                          \
	assert_int_equal(                                                                                              \
		brood_spawn(b, &(one)->peer, argv, BROOD_SPAWN(.on = diary_table, .data = &(one)->d, __VA_ARGS__)), 0)

/* ---- kinds: how one begins, what it does then, how it must have been --------------------------------------------- */

static void start_writer(brood *b, struct one *o)
{
	char n[16];
	o->n = (uint64_t)(rand_r(&dice) % 400000);
	snprintf(n, sizeof n, "%u", (unsigned)o->n);
	START(o, PLAIN("pattern", "1", n), .flags = BROOD_PLAIN, .stdio = BROOD_STDIO(BROOD_PIPE(1)));
}

static void check_output(const struct one *o)
{
	assert_int_equal(o->d.output[1].bytes, o->n);
	assert_true(o->d.output[1].sum == pattern_sum(o->n));
	assert_int_equal(o->d.output[1].ends, 1);
	assert_int_equal(o->d.exit.code, 0);
}

static void start_echo(brood *b, struct one *o)
{
	uint8_t bytes[ECHOED];
	START(o, BROOD_ARGV("cat"), .flags = BROOD_PLAIN, .stdio = BROOD_STDIO(BROOD_PIPE(0), BROOD_PIPE(1)));
	pattern_fill(bytes, 0, sizeof bytes);
	o->n = ECHOED;
	for (size_t at = 0; at < ECHOED; at += ECHOED / 3)
		assert_int_equal(brood_write(o->peer, 0, bytes + at, ECHOED / 3), 0);
	assert_int_equal(brood_end(o->peer, 0), 0);
}

static void start_logger(brood *b, struct one *o)
{
	START(o, BROOD_ARGV("seq", "1", "5000"), .flags = BROOD_PLAIN, .stdio = BROOD_STDIO(BROOD_LOG(1)));
}

static void start_failing(brood *b, struct one *o)
{
	START(o, BROOD_ARGV("sh", "-c", "seq 1 3000 >&2; exit 3"), .flags = BROOD_PLAIN,
	      .stdio = BROOD_STDIO(BROOD_NUL(1), BROOD_PIPE(2)));
}

static void check_failed(const struct one *o)
{
	assert_int_equal(o->d.output[2].bytes, 13893);
	assert_int_equal(o->d.exit.code, 3);
}

static void start_flood(brood *b, struct one *o)
{
	START(o, BROOD_ARGV("yes"), .flags = BROOD_PLAIN, .stdio = BROOD_STDIO(BROOD_PIPE(1)));
}

static int stop_flood(const brood_event *e)
{
	if (e->type == BROOD_EVENT_OUTPUT && rand_r(&dice) % 3 == 0)
		(void)brood_kill(e->peer, SIGTERM, BROOD_THEN_KILL);
	return 0;
}

static void check_terminated(const struct one *o)
{
	assert_int_equal(o->d.exit.signo, SIGTERM);
	assert_int_equal(o->d.exit.ended_by, BROOD_BY_KILL);
}

/* Here it has started when the call returns; elsewhere it may not have. */
static void start_cancelled(brood *b, struct one *o)
{
	START(o, PLAIN("wait"), .flags = BROOD_PLAIN);
	for (int turns = rand_r(&dice) % 3; turns > 0; turns--)
		assert_true(brood_process(b, 1) >= 0);
	assert_int_equal(brood_kill(o->peer, SIGKILL, 0), 0);
}

static void check_cancelled(const struct one *o)
{
	if (o->d.n[BROOD_EVENT_SPAWN])
		assert_int_equal(o->d.exit.signo, SIGKILL);
	else
		assert_string_equal(o->d.error, "spawn.cancelled");
}

static void start_slow(brood *b, struct one *o)
{
	START(o, PLAIN("wait"), .flags = BROOD_PLAIN, .timeout_ms = 20);
}

static void check_timeout(const struct one *o)
{
	assert_int_equal(o->d.exit.ended_by, BROOD_BY_TIMEOUT);
}

static void start_talker(brood *b, struct one *o)
{
	START(o, KID("burst", "200", "300"), .cwd = NULL);
}

static void check_talk(const struct one *o)
{
	assert_int_equal(diary_messages(&o->d), 200);
	assert_int_equal(o->d.wrong, 0);
	assert_int_equal(o->d.exit.code, 0);
}

static void start_worker(brood *b, struct one *o)
{
	START(o, KID("worker"), .cwd = NULL);
}

/* With the last answer its work is done. */
static int ask_worker(const brood_event *e)
{
	if (e->type == BROOD_EVENT_READY)
		for (int i = 0; i < ASKED; i++)
			assert_true(brood_request(e->peer, BROOD_MSG("echo", "x", 1), -1, diary_write, e->data) > 0);
	if (e->type == BROOD_EVENT_REPLY && !e->error && ++one_of(e)->n == ASKED)
		assert_int_equal(brood_kill(e->peer, SIGTERM, 0), 0);
	return 0;
}

static void check_worker(const struct one *o)
{
	assert_int_equal(o->n, ASKED);
	assert_int_equal(o->d.n[BROOD_EVENT_REPLY], ASKED);
	check_terminated(o);
}

static int kill_ready(const brood_event *e)
{
	if (e->type == BROOD_EVENT_READY)
		assert_int_equal(brood_kill(e->peer, SIGTERM, 0), 0);
	return 0;
}

static const struct kind {
	void (*start)(brood *, struct one *);
	brood_fn *also;
	void (*check)(const struct one *);
	const char *order; /* of its diary; NULL: one of several */
} kinds[] = {
	{ start_writer, NULL, check_output, NULL },
	{ start_echo, NULL, check_output, NULL },
	{ start_logger, NULL, NULL, "SDEC" },
	{ start_failing, NULL, check_failed, NULL },
	{ start_flood, stop_flood, check_terminated, NULL },
	{ start_cancelled, NULL, check_cancelled, NULL },
	{ start_slow, NULL, check_timeout, "SDEC" },
	{ start_talker, NULL, check_talk, "SRmDEC" },
	{ start_worker, ask_worker, check_worker, "SRDEC" },
	{ start_worker, kill_ready, check_terminated, "SRDEC" },
};

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static void check(const struct one *o)
{
	if (o->kind->order)
		assert_string_equal(o->d.order, o->kind->order);
	if (o->kind->check)
		o->kind->check(o);
	assert_int_equal(o->d.n[BROOD_EVENT_CLOSE], 1);
}

static unsigned count_closed(const struct one *all, unsigned n)
{
	unsigned closed = 0;
	for (unsigned i = 0; i < n; i++)
		closed += all[i].d.n[BROOD_EVENT_CLOSE];
	return closed;
}

/* As long as there is something to do its descriptor says so: who waits for that alone misses nothing. */
static void turn(brood *b, int by_descriptor, int patience_ms)
{
	struct pollfd its = { .fd = by_descriptor ? brood_fd(b) : -1, .events = POLLIN };
	if (by_descriptor)
		assert_int_equal(poll(&its, 1, patience_ms), 1);
	assert_true(brood_process(b, by_descriptor ? 0 : patience_ms) >= 0);
}

static void mix(int by_descriptor)
{
	struct family f = { 0 };
	struct one *all = calloc(CHILDREN, sizeof *all);
	const char *seed = getenv("MIXTURE_SEED");
	dice = seed ? (unsigned)strtoul(seed, NULL, 10) : 1;
	assert_non_null(all);
	family_connect(&f);
	for (unsigned i = 0; i < CHILDREN; i++) {
		struct one *o = &all[i];
		o->kind = &kinds[(unsigned)rand_r(&dice) % (sizeof kinds / sizeof *kinds)];
		o->d.also = o->kind->also;
		o->kind->start(f.b, o);
		if (i % BURST == BURST - 1)
			until_by(i + 1 - count_closed(all, i + 1) < BURST / 2, turn(f.b, by_descriptor, left_));
	}
	until_by(count_closed(all, CHILDREN) == CHILDREN, turn(f.b, by_descriptor, left_));
	for (unsigned i = 0; i < CHILDREN; i++)
		check(&all[i]);
	assert_int_equal(f.me.n[BROOD_EVENT_ERROR], 0);
	assert_int_equal(brood_close(f.b), 0);
	free(all);
}

static void test_mixture(void **state)
{
	(void)state;
	mix(0);
}

static void test_mixture_in_another_loop(void **state)
{
	(void)state;
	mix(1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_ALL(test_mixture),
		ON_ALL(test_mixture_in_another_loop),
	};
	return RUN("mixture", tests);
}
