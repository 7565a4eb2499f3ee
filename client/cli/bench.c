/*
 * bench: `brood bench`, how fast brood is here, beside the least that the kernel alone would need.
 *
 * It starts a broker of its own, eight children, and a relay, and then runs rounds: in each, every contender of every
 * row for a moment. What takes part in a measurement is this process, the one in the middle, and one child or all of
 * them; the middle is either the broker or the relay, everything else is the same. The children are this program in
 * another role. With --via link there are two brokers, two relays, and one child, which is at the other broker.
 */
#include "bench_peer.h"
#include "bench_report.h"
#include "bench_rows.h"
#include "bench_stage.h"
#include "cli.h"
#include "relay.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char help[] =
	"Example:\n"
	"  brood bench --only one-way,pool\n"
	"\n"
	"Usage: brood bench [--via unix|fifo|tcp|tls|link] [--seconds S] [--rounds N] [--only NAME,...]\n"
	"\n"
	"Measure speed with a broker of its own: round-trip, one-way, pool, spawn. Beside each\n"
	"stands its floor, measured in the same rounds: a minimal relay between the same\n"
	"processes, or posix_spawn(). RATIO is brood's speed as a part of the floor's.\n"
	"Values are medians of the rounds. For round trips, processes are held where they are:\n"
	"all contenders of a round in the same places, each round in others.\n"
	"\n"
	"  --via TRANSPORT  how the processes reach the broker, and the relay: unix (default),\n"
	"                   fifo, tcp, tls; or link: the children are on another host, and\n"
	"                   its broker is linked with ours over TLS on the loopback device\n"
	"  --seconds S      length of one measurement (default: 0.5)\n"
	"  --rounds N       rounds, 1 to 99 (default: 8)\n"
	"  --only NAME,...  rows by name, such as one-way.64, or kinds, such as pool\n"
	"  --json           one object per row, one row per line\n"
	"\n"
	"Exit status: 0 measured and nothing was lost, 1 failed, 2 wrong arguments.\n";

struct plan {
	const char *only;
	long rounds;
	double seconds;
	enum via via;
	int json;
};

/* ---- roles ------------------------------------------------------------------------------------------------------- */

static int play_role(const char *role, char **argv, enum via via)
{
	if (strcmp(role, "quit") == 0)
		return 0;
	if (strcmp(role, "hello") == 0)
		return bench_peer_hello();
	if (strcmp(role, "worker") == 0)
		return bench_peer_worker();
	if (strcmp(role, "relay") == 0 && argv[0])
		return relay_pairs(argv[0], via);
	if (strcmp(role, "relay-near") == 0 && argv[0] && argv[1])
		return relay_near(argv[0], argv[1]);
	if (strcmp(role, "relay-far") == 0 && argv[0] && argv[1])
		return relay_far(argv[0], argv[1]);
	return cli_usage("bench", "there is no such role");
}

/* ---- the rows ---------------------------------------------------------------------------------------------------- */

static const struct row rows[] = {
	{ "round-trip.64", &bench_round_trip, 64, 1 },
	{ "round-trip.1K", &bench_round_trip, 1024, 1 },
	{ "round-trip.64K", &bench_round_trip, 64 * 1024, 1 },
	{ "round-trip.1M", &bench_round_trip, 1024 * 1024, 1 },
	{ "one-way.64", &bench_one_way, 64, 0 },
	{ "one-way.1K", &bench_one_way, 1024, 0 },
	{ "one-way.64K", &bench_one_way, 64 * 1024, 0 },
	{ "one-way.1M", &bench_one_way, 1024 * 1024, 0 },
	{ "pool.1", &bench_pool, 64, 1 },
	{ "pool.16", &bench_pool, 64, 16 },
	{ "spawn-exit", &bench_spawn_exit, 0, 0 },
	{ "spawn-channel", &bench_spawn_channel, 0, 0 },
	{ "spawn-message", &bench_spawn_message, 0, 0 },
};
#define N_ROWS (sizeof rows / sizeof *rows)

static const struct row far_rows[] = {
	{ "round-trip.64", &bench_round_trip, 64, 1 },
	{ "round-trip.1K", &bench_round_trip, 1024, 1 },
	{ "round-trip.64K", &bench_round_trip, 64 * 1024, 1 },
	{ "one-way.64", &bench_one_way, 64, 0 },
	{ "one-way.1K", &bench_one_way, 1024, 0 },
	{ "one-way.64K", &bench_one_way, 64 * 1024, 0 },
	{ "spawn-message", &bench_spawn_far, 0, 0 },
};
#define N_FAR_ROWS (sizeof far_rows / sizeof *far_rows)

/* Is the row's name, or what is before a "." or "-" in it, in the list of names separated by commas? */
static int wanted(const char *only, const char *name)
{
	if (!only)
		return 1;
	for (const char *at = only; *at; at += strcspn(at, ","), at += *at == ',') {
		size_t n = strcspn(at, ",");
		if (n > 0 && strncmp(at, name, n) == 0 && strchr(".-", name[n]))
			return 1;
	}
	return 0;
}

static size_t choose(const struct plan *plan, struct result *results)
{
	const struct row *from = plan->via == VIA_LINK ? far_rows : rows;
	size_t n = 0, most = plan->via == VIA_LINK ? N_FAR_ROWS : N_ROWS;
	for (size_t i = 0; i < most; i++)
		if (wanted(plan->only, from[i].name))
			results[n++].row = &from[i];
	return n;
}

static int run_row(struct bench *m, struct result *r)
{
	const struct kind *k = r->row->kind;
	int rc = 0;
	for (unsigned c = 0; c < BENCH_CONTENDERS && k->contenders[c].run && rc == 0; c++)
		rc = k->contenders[c].run(m, r->row, &r->samples[c][r->rounds]);
	r->rounds += rc == 0;
	return rc;
}

static int run_rounds(struct bench *m, const struct plan *plan, struct result *results, size_t n)
{
	int rc = 0;
	for (long round = 0; round < plan->rounds && rc == 0; round++) {
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\rround %ld of %ld ", round + 1, plan->rounds);
		m->round = (unsigned)round;
		for (size_t i = 0; i < n && rc == 0; i++)
			rc = run_row(m, &results[i]);
	}
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	return rc;
}

static int report(const struct plan *plan, const struct result *results, size_t n)
{
	int exit_code = CLI_OK;
	for (size_t i = 0; i < n; i++) {
		if (!plan->json)
			bench_report_table(&results[i], i ? results[i - 1].row->kind : NULL);
		else if (bench_report_json(&results[i], via_name(plan->via)) < 0)
			return CLI_FAILED;
		for (unsigned r = 0; r < results[i].rounds; r++)
			if (results[i].samples[0][r].lost)
				exit_code = CLI_FAILED;
	}
	return exit_code;
}

static int run(const struct plan *plan)
{
	struct bench m = { 0 };
	struct result *results = calloc(N_ROWS, sizeof *results);
	size_t n = results ? choose(plan, results) : 0;
	int rc;
	if (n == 0) {
		free(results);
		return cli_usage("bench", "--only names no row");
	}
	rc = bench_init(&m, plan->seconds, plan->via);
	if (rc == 0)
		rc = run_rounds(&m, plan, results, n);
	bench_deinit(&m);
	int exit_code = rc < 0 ? CLI_FAILED : report(plan, results, n);
	free(results);
	return exit_code;
}

int cli_bench(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		CLI_OPTIONS,
		{ "via", required_argument, NULL, 'v' },
		{ "seconds", required_argument, NULL, 's' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "only", required_argument, NULL, 'o' },
		{ "role", required_argument, NULL, 'R' }, /* for our own children */
		CLI_OPTIONS_END,
	};
	struct plan plan = { .rounds = 8, .seconds = .5 };
	const char *role = NULL;
	int c, rc, via = VIA_UNIX;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'v')
			via = via_parse(optarg);
		else if (c == 's')
			plan.seconds = atof(optarg);
		else if (c == 'r')
			plan.rounds = cli_number(optarg, 1, BENCH_ROUNDS_MAX);
		else if (c == 'o')
			plan.only = optarg;
		else if (c == 'R')
			role = optarg;
		else if ((rc = cli_option(cli, c, help)) != CLI_GO_ON)
			return rc;
	}
	plan.json = cli->json;
	if (via < 0)
		return cli_usage("bench", "--via wants unix, fifo, tcp, tls or link");
	plan.via = (enum via)via;
	if (role)
		return play_role(role, argv + optind, plan.via);
	if (!(plan.seconds >= .01 && plan.seconds <= 600))
		return cli_usage("bench", "--seconds wants 0.01 to 600");
	if (plan.rounds < 0)
		return cli_usage("bench", "--rounds wants 1 to 99");
	if (optind < argc)
		return cli_usage("bench", "it takes no arguments");
	return run(&plan);
}
