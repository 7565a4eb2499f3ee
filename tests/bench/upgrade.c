/*
 * upgrade: how long programs wait while their broker is replaced by another under load.
 *
 *   BROOD_BROKER=build/bin/broodd build/tests/bench_upgrade [--upgrades N] [--pairs N] [--broker NEW]
 *
 * Children answer what they are asked, 4 requests at a time for each. Every half second the broker is told to make way
 * (SIGUSR2) and another is started in the same directory, as a service manager would; beside it stand half seconds
 * without. A pause is the longest time between two answers of one child in such a half second. Every request must be
 * answered, once.
 */
#include "testbed.h"
#include "timings.h"
#include <brood.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTERVAL_NS 500000000u
#define OUTSTANDING 4
#define MOST_PAIRS 64

struct pair {
	brood_peer *child;
	uint64_t last, longest; /* answer; time between two, in this interval */
};

static struct {
	brood *b;
	struct testbed bed;
	struct pair pairs[MOST_PAIRS];
	unsigned n;
	const char *broker;
	uint64_t asked, answered, failed, backs;
	int stopping;
} bench = { .n = 8 };

/* ---- a child ----------------------------------------------------------------------------------------------------- */

static int answer(const brood_event *e)
{
	return e->msg->wants_reply ? brood_reply(e->msg, BROOD_MSG("", e->msg->body, e->msg->length)) : 0;
}

static int child(void)
{
	brood *b;
	if (brood_connect(&b, NULL, BROOD_OPTIONS(.on = BROOD_ON(.message = answer))) < 0)
		return 1;
	int rc = brood_run(b);
	brood_close(b);
	return rc < 0;
}

/* ---- the load ---------------------------------------------------------------------------------------------------- */

static void ask(struct pair *p);

static int answered(const brood_event *e)
{
	struct pair *p = e->data;
	uint64_t now = timings_now();
	bench.answered++;
	bench.failed += e->error != NULL;
	if (now - p->last > p->longest)
		p->longest = now - p->last;
	p->last = now;
	if (!bench.stopping && !e->error)
		ask(p);
	return 0;
}

static void ask(struct pair *p)
{
	if (brood_request(p->child, BROOD_MSG("", "0123456789abcdef", 16), -1, answered, p) > 0)
		bench.asked++;
	else
		bench.failed++;
}

static int came_back(const brood_event *e)
{
	bench.backs += e->peer == brood_self(bench.b);
	return 0;
}

static int begin(const char *program)
{
	int rc = brood_connect(&bench.b, bench.bed.address, BROOD_OPTIONS(.on = BROOD_ON(.back = came_back)));
	for (unsigned i = 0; rc == 0 && i < bench.n; i++)
		rc = brood_spawn(bench.b, &bench.pairs[i].child, BROOD_ARGV(program, "child"), NULL);
	if (rc == 0)
		rc = brood_sync(bench.b, 10000);
	for (unsigned i = 0; rc == 0 && i < bench.n; i++) {
		bench.pairs[i].last = timings_now();
		for (int k = 0; k < OUTSTANDING; k++)
			ask(&bench.pairs[i]);
	}
	return rc;
}

/* ---- the broker -------------------------------------------------------------------------------------------------- */

static int broker_has_ended(void)
{
	struct brood_peer_info info;
	BROOD_INIT(info);
	return brood_info(bench.bed.process, &info) < 0 || info.state == BROOD_IS_CLOSED;
}

static int start_next_broker(void)
{
	const char *program = bench.broker ? bench.broker : bench.bed.broker;
	return brood_spawn(bench.bed.keeper, &bench.bed.process,
			   BROOD_ARGV(program, "--dir", bench.bed.directory, "--log-level", "warn"),
			   BROOD_SPAWN(.flags = BROOD_PLAIN));
}

/* Half a second of load, with or without an upgrade at its beginning. The longest pause of any pair, in ns. */
static uint64_t interval(int upgrade)
{
	uint64_t end = timings_now() + INTERVAL_NS, longest = 0, backs = bench.backs;
	for (unsigned i = 0; i < bench.n; i++)
		bench.pairs[i].longest = 0;
	if (upgrade)
		(void)brood_kill(bench.bed.process, SIGUSR2, 0);
	int leaving = upgrade;
	while (timings_now() < end || (upgrade && bench.backs == backs)) {
		if (brood_process(bench.b, 1) < 0 || brood_process(bench.bed.keeper, 0) < 0)
			exit(1);
		if (leaving && broker_has_ended()) {
			leaving = 0;
			if (start_next_broker() < 0)
				exit(1);
		}
	}
	for (unsigned i = 0; i < bench.n; i++)
		longest = bench.pairs[i].longest > longest ? bench.pairs[i].longest : longest;
	return longest;
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static int report(double *quiet, double *busy, size_t n)
{
	double lost = (double)(bench.asked - bench.answered);
	qsort(quiet, n, sizeof *quiet, by_size);
	qsort(busy, n, sizeof *busy, by_size);
	printf("{\"upgrades\": %zu, \"pairs\": %u, \"requests\": %llu, \"unanswered\": %.0f, \"failed\": %llu,\n"
	       " \"pause_ms\": {\"median\": %.1f, \"longest\": %.1f},\n"
	       " \"pause_ms_without\": {\"median\": %.1f, \"longest\": %.1f}}\n",
	       n, bench.n, (unsigned long long)bench.asked, lost, (unsigned long long)bench.failed, busy[n / 2],
	       busy[n - 1], quiet[n / 2], quiet[n - 1]);
	return lost != 0 || bench.failed;
}

static int measure(size_t upgrades)
{
	double *quiet = calloc(2 * upgrades, sizeof *quiet), *busy = quiet ? quiet + upgrades : NULL;
	if (!quiet)
		return 1;
	(void)interval(0); /* warm */
	for (size_t i = 0; i < upgrades; i++) {
		quiet[i] = (double)interval(0) / 1e6;
		busy[i] = (double)interval(1) / 1e6;
	}
	bench.stopping = 1;
	for (uint64_t end = timings_now() + 20u * INTERVAL_NS; bench.answered < bench.asked && timings_now() < end;)
		(void)brood_process(bench.b, 100);
	int rc = report(quiet, busy, upgrades);
	free(quiet);
	return rc;
}

static int usage(void)
{
	fprintf(stderr, "bench_upgrade [--upgrades N] [--pairs 1..%d] [--broker NEW]\n", MOST_PAIRS);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "upgrades", 1, NULL, 'u' },
						 { "pairs", 1, NULL, 'p' },
						 { "broker", 1, NULL, 'b' },
						 { NULL, 0, NULL, 0 } };
	size_t upgrades = 10;
	int c;
	if (argc == 2 && strcmp(argv[1], "child") == 0)
		return child();
	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (c == 'u')
			upgrades = strtoul(optarg, NULL, 10);
		else if (c == 'p')
			bench.n = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'b')
			bench.broker = optarg;
		else
			return usage();
	}
	if (upgrades == 0 || bench.n == 0 || bench.n > MOST_PAIRS)
		return usage();
	int rc = testbed_init(&bench.bed, VIA_UNIX);
	if (rc == 0)
		rc = begin("/proc/self/exe");
	rc = rc < 0 ? 1 : measure(upgrades);
	brood_close(bench.b);
	testbed_deinit(&bench.bed);
	return rc;
}
