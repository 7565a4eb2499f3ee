/*
 * sim: runs real broker and library code in a simulated kernel, one world per seed. tests/README.md has more.
 */
#include "fate.h"
#include "nodes.h"
#include "world.h"
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct request {
	unsigned long long first, seeds;
	int tracing, twice, plant;
	unsigned nodes; /* 0: as the seed says */
};

/* The bug that is planted, in the program that has some; 0: none. */
int sim_plant;

extern int __sigaction(int, const struct sigaction *, struct sigaction *); /* the real one */

/* A product's crash is a finding like others. */
static void crashed(int signo)
{
	char text[160];
	int n = snprintf(text, sizeof(text),
			 "seed %llu: a process crashed: signal %d\nreplay: sim --first-seed %llu --seeds 1 --trace\n",
			 (unsigned long long)world.seed, signo, (unsigned long long)world.seed);
	(void)fflush(stdout);
	simulator_write(text, (size_t)n);
	_exit(1);
}

static void see_crashes(void)
{
	static char stack[65536];
	static const int signals[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };
	const struct sigaction action = { .sa_handler = crashed, .sa_flags = SA_ONSTACK };
	(void)sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof(stack) }, NULL);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		(void)__sigaction(signals[i], &action, NULL);
}

static int usage(void)
{
	fprintf(stderr, "usage: sim [--first-seed S] [--seeds N] [--trace] [--twice] [--nodes N] [--plant N]\n");
	return 2;
}

static int parse(struct request *r, int argc, char **argv)
{
	static const struct option options[] = {
		{ "first-seed", required_argument, NULL, 'f' },
		{ "seeds", required_argument, NULL, 's' },
		{ "trace", no_argument, NULL, 't' },
		{ "twice", no_argument, NULL, '2' },
		{ "nodes", required_argument, NULL, 'n' },
		{ "plant", required_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 },
	};
	int option;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case 'f':
			r->first = strtoull(optarg, NULL, 10);
			break;
		case 's':
			r->seeds = strtoull(optarg, NULL, 10);
			break;
		case 't':
			r->tracing = 1;
			break;
		case '2':
			r->twice = 1;
			break;
		case 'n':
			r->nodes = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'p':
			r->plant = atoi(optarg);
			break;
		default:
			return -1;
		}
	return optind == argc && r->nodes <= NODES_MOST ? 0 : -1;
}

static double seconds(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void say_how_to_replay(const struct request *r, unsigned long long seed)
{
	printf("replay: %s --plant %d --nodes %u --first-seed %llu --seeds 1 --trace\n",
	       sim_plant ? "sim_planted" : "sim", sim_plant, r->nodes, seed);
}

/* 1: well. */
static int run(const struct request *r, unsigned long long seed)
{
	int well = fate_run(seed, r->nodes, r->tracing);
	uint64_t hash = world.hash;
	if (!well) {
		printf("seed %llu: %s\n", seed, world.broken);
		say_how_to_replay(r, seed);
		return 0;
	}
	if (!r->twice)
		return 1;
	(void)fate_run(seed, r->nodes, 0);
	if (world.hash == hash)
		return 1;
	printf("seed %llu: a second run went another way\n", seed);
	return 0;
}

int main(int argc, char **argv)
{
	static char *nothing[] = { NULL };
	struct request r = { .first = 1, .seeds = 100 };
	if (parse(&r, argc, argv) < 0)
		return usage();
	see_crashes();
	environ = nothing; /* what programs inherit is the same everywhere */
	sim_plant = r.plant;
	double began = seconds();
	unsigned long long bad = 0;
	for (unsigned long long seed = r.first; seed < r.first + r.seeds; seed++) {
		if (run(&r, seed))
			continue;
		bad++;
		if (r.plant || bad == 5)
			break;
	}
	double took = seconds() - began;
	printf("%llu seeds from %llu in %.1f s (%.0f a second): %llu failed\n", r.seeds, r.first, took,
	       (double)r.seeds / took, bad);
	return bad != 0;
}
