/*
 * primes N: counts the primes below N with one worker per core.
 *
 * Each worker always has a few ranges to work on, so it never waits for us: the answer to one range is the moment to
 * send the next. A range that is not answered fails the whole; the example filestats shows how to go on instead.
 */
#include "primes.pb-c.h"
#include <brood/pb.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define STEP UINT64_C(50000) /* numbers in a range */
#define OUTSTANDING 3        /* ranges per worker */

struct sum {
	uint64_t next, end; /* what was not handed out yet */
	uint64_t primes;
	unsigned open; /* ranges handed out and not answered */
	int failed;
};

static int answered(const brood_event *ev);

/* Give a worker its next range, if there is one. */
static int hand_out(brood_peer *worker, struct sum *s)
{
	Primes__Range range = PRIMES__RANGE__INIT;
	if (s->next >= s->end)
		return 0;
	range.first = s->next;
	range.last = s->end - s->next > STEP ? s->next + STEP : s->end;
	int64_t id = brood_request_pb(worker, &range.base, -1, answered, s);
	if (id < 0)
		return (int)id;
	s->next = range.last;
	s->open++;
	return 0;
}

static int answered(const brood_event *ev)
{
	struct sum *s = ev->data;
	const Primes__Count *count = ev->msg ? brood_msg_pb(ev->msg, &primes__count__descriptor) : NULL;
	s->open--;
	if (count)
		s->primes += count->primes;
	if (!count || hand_out(ev->peer, s) < 0) {
		fprintf(stderr, "primes: %s\n", ev->error ? ev->error->text : "a worker answered with something else");
		s->failed = 1;
	}
	return s->open == 0 || s->failed ? brood_stop(ev->handle) : 0;
}

static int start_worker(brood *b, struct sum *s)
{
	brood_peer *worker;
	int rc = brood_spawn(b, &worker, BROOD_ARGV("./primes-worker"), NULL);
	for (int i = 0; i < OUTSTANDING && rc == 0; i++)
		rc = hand_out(worker, s);
	return rc;
}

int main(int argc, char **argv)
{
	brood *b;
	struct sum s = { .end = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000 };
	if (brood_connect(&b, NULL, NULL) < 0)
		return 1;
	for (long i = 0; i < sysconf(_SC_NPROCESSORS_ONLN); i++)
		if (start_worker(b, &s) < 0)
			s.failed = 1;
	if (s.open > 0 && !s.failed && brood_run(b) < 0)
		s.failed = 1;
	if (!s.failed)
		printf("%" PRIu64 "\n", s.primes);
	else
		fprintf(stderr, "primes: %s\n", brood_last_error(b)->text);
	brood_close(b);
	return s.failed;
}
