/*
 * bench_spawn: starting programs, one after the other, until each has ended.
 *
 * Three rows: a plain program, a program with a channel that it does not use, and one that says hello, where the clock
 * stops when the hello is here; with two hosts the last one only, which stands beside the same here and a round trip to
 * the other host. The floor of all is posix_spawn() and waitpid() of this program as it returns
 * from main() at once, so the children's own time to load is in every number.
 */
#include "bench_rows.h"
#include "timings.h"
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>

extern char **environ;

/* Start one program and see it end: the time that counts, or 0 if it did not end well. */
typedef uint64_t once(struct bench *);

static int measure(struct bench *m, const struct row *row, once *one, struct sample *ret)
{
	struct timings t = { 0 };
	uint64_t end = timings_now() + m->span_ns;
	int rc = 0;
	while (rc == 0 && timings_now() < end) {
		uint64_t ns = one(m);
		if (ns == 0)
			ret->lost++;
		else
			rc = timings_add(&t, ns);
	}
	rc = rc == 0 && t.n == 0 ? -ECHILD : rc;
	timings_quantiles(&t, ret->values);
	timings_deinit(&t);
	return rc < 0 ? bench_failed(row, "programs do not start", rc) : 0;
}

static int ended_well(brood_peer *child)
{
	struct brood_peer_info info;
	BROOD_INIT(info);
	return brood_info(child, &info) == 0 && info.exit && info.exit->cause == BROOD_EXITED && info.exit->code == 0;
}

/* Start this program as `role`; the time until it has closed. */
static uint64_t spawn_and_wait(struct bench *m, const char *role, const struct brood_spawn_options *o)
{
	brood_peer *child;
	uint64_t begin = timings_now();
	if (brood_spawn(m->b, &child, BROOD_ARGV(m->self, "bench", "--role", role), o) < 0)
		return 0;
	int rc = brood_wait(child, BENCH_WAIT_MS);
	uint64_t ns = timings_now() - begin;
	int well = rc == 0 && ended_well(child);
	brood_release(child);
	return well ? ns : 0;
}

static uint64_t plain(struct bench *m)
{
	return spawn_and_wait(m, "quit", BROOD_SPAWN(.flags = BROOD_PLAIN));
}

static uint64_t with_channel(struct bench *m)
{
	return spawn_and_wait(m, "quit", NULL);
}

static int note_hello(const brood_event *ev)
{
	*(uint64_t *)ev->data = timings_now();
	return 0;
}

static uint64_t until_message_from(struct bench *m, const char *host)
{
	uint64_t begin = timings_now(), came = 0;
	uint64_t all = spawn_and_wait(m, "hello",
				      BROOD_SPAWN(.host = host, .on = BROOD_ON(.message = note_hello), .data = &came));
	return all && came ? came - begin : 0;
}

static uint64_t until_message(struct bench *m)
{
	return until_message_from(m, NULL);
}

static uint64_t until_far_message(struct bench *m)
{
	return until_message_from(m, m->host);
}

static uint64_t round_trip(struct bench *m)
{
	brood_msg *reply;
	uint64_t begin = timings_now();
	if (brood_call(m->workers[0].peer, BROOD_MSG("echo", m->payload, 64), BENCH_WAIT_MS, &reply) < 0)
		return 0;
	uint64_t ns = timings_now() - begin;
	brood_msg_release(reply);
	return ns;
}

/* The sum of a spawn here and one round trip to the other host, measured one after the other. */
static uint64_t until_message_and_trip(struct bench *m)
{
	uint64_t here = until_message(m), trip = here ? round_trip(m) : 0;
	return trip ? here + trip : 0;
}

static uint64_t posix(struct bench *m)
{
	char *argv[] = { m->self, (char *)"bench", (char *)"--role", (char *)"quit", NULL };
	uint64_t begin = timings_now();
	pid_t pid;
	int status;
	if (posix_spawn(&pid, m->self, NULL, NULL, argv, environ) != 0)
		return 0;
	if (waitpid(pid, &status, 0) != pid || status != 0)
		return 0;
	return timings_now() - begin;
}

static int run_plain(struct bench *m, const struct row *row, struct sample *ret)
{
	return measure(m, row, plain, ret);
}

static int run_channel(struct bench *m, const struct row *row, struct sample *ret)
{
	return measure(m, row, with_channel, ret);
}

static int run_message(struct bench *m, const struct row *row, struct sample *ret)
{
	return measure(m, row, until_message, ret);
}

static int run_far_message(struct bench *m, const struct row *row, struct sample *ret)
{
	return measure(m, row, until_far_message, ret);
}

static int run_message_and_trip(struct bench *m, const struct row *row, struct sample *ret)
{
	return measure(m, row, until_message_and_trip, ret);
}

static int run_posix(struct bench *m, const struct row *row, struct sample *ret)
{
	return measure(m, row, posix, ret);
}

#define VALUES                                                                                                         \
	{                                                                                                              \
		"p50_us", "p90_us", "p99_us", "p99.9_us"                                                               \
	}

const struct kind bench_spawn_exit = {
	.name = "spawn-exit",
	.values = VALUES,
	.is_time = 1,
	.contenders = { { "brood", run_plain }, { "posix_spawn", run_posix } },
};

const struct kind bench_spawn_channel = {
	.name = "spawn-channel",
	.values = VALUES,
	.is_time = 1,
	.contenders = { { "brood", run_channel }, { "posix_spawn", run_posix } },
};

const struct kind bench_spawn_message = {
	.name = "spawn-message",
	.values = VALUES,
	.is_time = 1,
	.contenders = { { "brood", run_message }, { "posix_spawn", run_posix } },
};

const struct kind bench_spawn_far = {
	.name = "spawn-far",
	.values = VALUES,
	.is_time = 1,
	.contenders = { { "brood", run_far_message },
			{ "here+trip", run_message_and_trip },
			{ "posix_spawn", run_posix } },
};
