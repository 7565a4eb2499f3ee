/*
 * model_streams [--mutant NAME | --mutants | --list]: the rules of streams, resume, HOLD and GO, checked in every state that
 * can be reached; or with one rule left out, which has to be noticed.
 */
#include "search.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Few faults of every sort multiply; so each search has those that belong together. */
struct plan {
	const char *name;
	struct faults faults;
};

static const struct plan plans[] = {
	{ "two cuts and a crowd", { .messages = 3, .cuts = 2, .crowds = 1 } },
	{ "a cut and a death", { .messages = 3, .cuts = 1, .deaths = 1, .retries = 1 } },
	{ "a kill and a cut", { .messages = 3, .kills = 1, .cuts = 1, .crowds = 1 } },
	{ "a kill and a death", { .messages = 3, .kills = 1, .deaths = 1, .retries = 1 } },
	{ "two kills", { .messages = 3, .kills = 2, .retries = 1 } },
	{ "an expiry and a kill", { .messages = 3, .kills = 1, .cuts = 1, .expiries = 1 } },
	{ "an expiry and a death", { .messages = 2, .kills = 1, .cuts = 1, .expiries = 1, .deaths = 1 } },
	{ "an expiry and a crowd", { .messages = 2, .kills = 1, .cuts = 1, .expiries = 1, .crowds = 1 } },
	{ "something forgotten", { .messages = 2, .kills = 1, .cuts = 1, .expiries = 1, .evictions = 1 } },
	{ NULL, { 0 } },
};

/* A mutant has to be noticed in one of these. */
static const struct plan small[] = {
	{ "a kill", { .messages = 2, .kills = 1 } },
	{ "a cut and a death", { .messages = 2, .cuts = 1, .deaths = 1 } },
	{ "a kill and a death", { .messages = 2, .kills = 1, .deaths = 1 } },
	{ "a cut and a crowd", { .messages = 3, .cuts = 1, .crowds = 1 } },
	{ "an expiry and a death", { .messages = 2, .kills = 1, .cuts = 1, .expiries = 1, .deaths = 1 } },
	{ "an expiry and a crowd", { .messages = 2, .kills = 1, .cuts = 1, .expiries = 1, .crowds = 1 } },
	{ "an expiry and a kill", { .messages = 3, .kills = 1, .cuts = 1, .expiries = 1 } },
	{ NULL, { 0 } },
};

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* 0: no promise is broken; 1: one is; negative: out of memory. */
static int run(const struct plan *plan, int verbose)
{
	struct search s;
	double begin = now();
	int rc = search_run(&s, &plan->faults);
	if (rc < 0)
		fprintf(stderr, "model_streams: out of memory\n");
	else if (s.wrong || verbose)
		printf("%-22s %9u states, %5.1f s%s\n", plan->name, s.n, now() - begin, s.wrong ? ":" : "");
	if (rc == 0 && s.wrong) {
		search_print(&s);
		rc = 1;
	}
	search_free(&s);
	fflush(stdout);
	return rc;
}

/* Until one breaks a promise. */
static int run_all(const struct plan *plan, int verbose)
{
	int rc = 0;
	for (; plan->name && rc == 0; plan++)
		rc = run(plan, verbose);
	return rc;
}

static int run_mutants(void)
{
	const char *name, *what;
	int missed = 0;
	for (int i = 0; (name = rules_mutant(i, &what)); i++) {
		rules_mutate(name);
		printf("%s: %s\n", name, what);
		if (run_all(small, 0) != 1) {
			printf("  --  NOT NOTICED\n");
			missed++;
		}
	}
	return missed;
}

int main(int argc, char **argv)
{
	const char *what;
	if (argc == 1)
		return run_all(plans, 1) != 0;
	if (argc == 2 && strcmp(argv[1], "--mutants") == 0)
		return run_mutants() != 0;
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (int i = 0; rules_mutant(i, &what); i++)
			printf("%-20s %s\n", rules_mutant(i, &what), what);
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "--mutant") == 0 && rules_mutate(argv[2]) == 0)
		return run_all(small, 1) != 0;
	fprintf(stderr, "usage: model_streams [--list | --mutants | --mutant NAME]\n");
	return 2;
}
