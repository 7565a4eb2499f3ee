/*
 * isolation: what innocents notice of stopped receivers, of flooders, and of a user with a thousand flooding connections.
 *
 *   BROOD_BROKER=build/bin/broodd build/tests/bench_isolation [--rounds N] [--seconds S] [--only NAME] [--json]
 *
 * One broker and the same innocents throughout; in each round they are measured alone, then beside the burden, and then
 * beside the same burden at a broker of its own: that is what the machine's processors and memory make of it, and the rest
 * is what sharing a broker costs. What machines can do differs; the ratios are what to look at.
 */
#include "actors.h"
#include "testbed.h"
#include "timings.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 50
#define PROCESSES 64 /* of one burden */
#define NOBODY 65534
#define SETTLE_US 500000
#define PATIENCE 30000 /* steps of a millisecond */

struct figures {               /* of one stretch of one round */
	double per_s;          /* messages of the one-way pairs */
	double p50_us, p99_us; /* of round trips */
	double flood_mib_s;    /* what crowds received or the flood got through */
	double held_cpu;       /* share of one processor that the burden's processes took */
	double broker_cpu;
};

struct burden {
	pid_t pids[PROCESSES];
	unsigned n;
};

struct scenario {
	const char *name, *what;
	int (*begin)(struct burden *, const struct scenario *);
	unsigned n; /* connections that burden */
	int polite; /* only round trips are measured, at a lower rate */
};

struct stretches { /* of each round */
	struct figures alone[ROUNDS], beside[ROUNDS], elsewhere[ROUNDS];
};

static struct {
	struct testbed bed, elsewhere; /* the second is burdened for comparison */
	const struct testbed *burdened;
	struct board *board;
	pid_t broker;
	unsigned numbers; /* of crowd members so far, which makes names different */
	double seconds;
	unsigned rounds, flooders, stopped, many;
	int json;
	long before_kib;
} run;

static int die(const char *what)
{
	fprintf(stderr, "isolation: %s: %s\n", what, strerror(errno));
	return -1;
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

static int await_ready(unsigned n)
{
	for (int i = 0; i < PATIENCE && atomic_load(&run.board->ready) < n; i++) {
		if (waitpid(-1, NULL, WNOHANG | WNOWAIT) > 0)
			break; /* it has said why */
		usleep(1000);
	}
	errno = ETIME;
	return atomic_load(&run.board->ready) < n ? die("the actors") : 0;
}

static int start(struct burden *burden, enum act act, struct actor *a)
{
	a->address = run.burdened->address;
	if (burden->n == PROCESSES)
		return -1;
	burden->pids[burden->n] = actor_start(act, a);
	return burden->pids[burden->n++] < 0 ? die("fork") : 0;
}

/* So many of a crowd, some to a process. */
static int start_crowd(struct burden *burden, enum act act, struct actor a, unsigned per_process, unsigned n)
{
	int rc = 0;
	atomic_store(&run.board->ready, 0);
	for (unsigned i = 0; i < n && rc == 0; i += per_process) {
		a.n = n - i < per_process ? n - i : per_process;
		rc = start(burden, act, &a);
		a.first += a.n;
	}
	return rc < 0 ? rc : await_ready(n);
}

static void end(struct burden *burden)
{
	for (unsigned i = 0; i < burden->n; i++)
		kill(burden->pids[i], SIGKILL);
	for (unsigned i = 0; i < burden->n; i++)
		waitpid(burden->pids[i], NULL, 0);
	burden->n = 0;
	usleep(SETTLE_US / 2);
}

static int begin_innocents(struct burden *all)
{
	int rc = 0;
	atomic_store(&run.board->ready, 0);
	for (unsigned i = 0; i < PAIRS && rc == 0; i++)
		rc = start(all, ACT_RECEIVER, &(struct actor){ .first = i }) ||
		     start(all, ACT_SENDER, &(struct actor){ .first = i });
	if (rc == 0)
		rc = start(all, ACT_ANSWERER, &(struct actor){ 0 }) || start(all, ACT_ASKER, &(struct actor){ 0 });
	return rc ? -1 : await_ready(2 * PAIRS + 2);
}

/* ---- burdens ----------------------------------------------------------------------------------------------------- */

/* Receivers that are stopped once they are connected, and a sender for each. */
static int begin_stopped(struct burden *burden, const struct scenario *s)
{
	struct actor a = { .first = run.numbers };
	run.numbers += s->n;
	if (start_crowd(burden, ACT_CROWD_RECEIVER, a, CROWD_PER_PROCESS, s->n) < 0)
		return -1;
	for (unsigned i = 0; i < burden->n; i++)
		kill(burden->pids[i], SIGSTOP);
	return start_crowd(burden, ACT_CROWD_SENDER, a, CROWD_PER_PROCESS, s->n);
}

/* Half of the receivers take a millisecond for each message. */
static int begin_flooders(struct burden *burden, const struct scenario *s)
{
	struct actor a = { .first = run.numbers }, slow = { .first = run.numbers + s->n / 2, .slow_us = 1000 };
	run.numbers += s->n;
	if (start_crowd(burden, ACT_CROWD_RECEIVER, a, CROWD_PER_PROCESS, s->n / 2) < 0 ||
	    start_crowd(burden, ACT_CROWD_RECEIVER, slow, CROWD_PER_PROCESS, s->n - s->n / 2) < 0)
		return -1;
	return start_crowd(burden, ACT_CROWD_SENDER, a, CROWD_PER_PROCESS, s->n);
}

static int begin_user(struct burden *burden, const struct scenario *s)
{
	struct actor a = { .user = geteuid() == 0 ? NOBODY : 0 };
	return start_crowd(burden, ACT_FLOOD, a, (s->n + 1) / 2, s->n);
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

static long status_kib(const char *key)
{
	char path[64], line[256];
	long kib = -1;
	size_t n = strlen(key);
	snprintf(path, sizeof path, "/proc/%d/status", (int)run.broker);
	FILE *f = fopen(path, "re");
	while (f && kib < 0 && fgets(line, sizeof line, f))
		if (strncmp(line, key, n) == 0)
			kib = atol(line + n);
	if (f)
		fclose(f);
	return kib;
}

/* Processor time of a process so far, in seconds. */
static double cpu_of(pid_t pid)
{
	char path[64], text[1024];
	unsigned long user = 0, system = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
	text[n] = '\0';
	if (f)
		fclose(f);
	const char *at = strrchr(text, ')');
	if (at)
		sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double cpu_of_all(const struct burden *burden)
{
	double sum = 0;
	for (unsigned i = 0; i < burden->n; i++)
		sum += cpu_of(burden->pids[i]);
	return sum;
}

static uint64_t received(void)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < PAIRS; i++)
		sum += atomic_load(&run.board->received[i]);
	return sum;
}

static void pass_time(double seconds)
{
	usleep((useconds_t)(seconds * 1e6));
}

static void measure_throughput(struct figures *f, const struct burden *burden)
{
	atomic_store(&run.board->phase, PHASE_THROUGHPUT);
	pass_time(.05);
	double broker = cpu_of(run.broker), held = cpu_of_all(burden);
	uint64_t begin = timings_now(), messages = received(), flooded = atomic_load(&run.board->flooded);
	pass_time(run.seconds);
	double s = (double)(timings_now() - begin) / 1e9;
	f->per_s = (double)(received() - messages) / s;
	f->flood_mib_s = (double)(atomic_load(&run.board->flooded) - flooded) / s / 1048576;
	f->broker_cpu = (cpu_of(run.broker) - broker) / s;
	f->held_cpu = (cpu_of_all(burden) - held) / s;
	atomic_store(&run.board->phase, PHASE_REST);
	pass_time(.05);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static void measure_latency(struct figures *f, int phase)
{
	atomic_store(&run.board->samples, 0);
	atomic_store(&run.board->phase, phase);
	uint64_t flooded = atomic_load(&run.board->flooded);
	double begin = cpu_of(run.broker);
	pass_time(run.seconds);
	atomic_store(&run.board->phase, PHASE_REST);
	if (phase == PHASE_POLITE) {
		f->flood_mib_s = (double)(atomic_load(&run.board->flooded) - flooded) / run.seconds / 1048576;
		f->broker_cpu = (cpu_of(run.broker) - begin) / run.seconds;
	}
	for (int i = 0; i < PATIENCE && atomic_load(&run.board->samples) == 0; i++)
		pass_time(.001); /* the one on its way */
	unsigned n = atomic_load(&run.board->samples);
	pass_time(.05);
	qsort(run.board->us, n, sizeof *run.board->us, compare);
	f->p50_us = n ? run.board->us[n / 2] : 1e9;
	f->p99_us = n ? run.board->us[(uint64_t)n * 99 / 100] : 1e9;
}

static void measure(struct figures *f, const struct scenario *s, const struct burden *burden)
{
	*f = (struct figures){ 0 };
	if (!s->polite)
		measure_throughput(f, burden);
	measure_latency(f, s->polite ? PHASE_POLITE : PHASE_LATENCY);
}

static double median_of(const struct figures *all, size_t offset)
{
	double values[ROUNDS];
	for (unsigned i = 0; i < run.rounds; i++)
		memcpy(&values[i], (const char *)&all[i] + offset, sizeof *values);
	return timings_median(values, run.rounds);
}

#define MEDIAN(all, member) median_of(all, offsetof(struct figures, member))

/* ---- reporting --------------------------------------------------------------------------------------------------- */

static struct figures middle(const struct figures *all)
{
	return (struct figures){ .per_s = MEDIAN(all, per_s),
				 .p50_us = MEDIAN(all, p50_us),
				 .p99_us = MEDIAN(all, p99_us),
				 .flood_mib_s = MEDIAN(all, flood_mib_s),
				 .held_cpu = MEDIAN(all, held_cpu),
				 .broker_cpu = MEDIAN(all, broker_cpu) };
}

/* Of what the innocents would get if the bytes that went through were shared by connections. */
static double fair(const struct figures *f, const struct scenario *s)
{
	double each = f->per_s * MESSAGE_SIZE / 1048576 / PAIRS, crowd = f->flood_mib_s / s->n;
	return crowd > 0 ? each / crowd : 0;
}

static double kept_of(const struct figures *alone, const struct figures *beside)
{
	return alone->per_s > 0 ? beside->per_s / alone->per_s : 0;
}

static void report(const struct scenario *s, const struct stretches *all, long kib)
{
	struct figures a = middle(all->alone), b = middle(all->beside), e = middle(all->elsewhere);
	double kept = kept_of(&a, &b), kept_elsewhere = kept_of(&a, &e);
	if (run.json) {
		printf("{\"row\":\"%s\",\"burden\":%u,\"per_s_alone\":%.0f,\"per_s\":%.0f,\"kept\":%.3f,"
		       "\"kept_elsewhere\":%.3f,\"p50_us_alone\":%.0f,\"p50_us\":%.0f,\"p50_us_elsewhere\":%.0f,"
		       "\"p99_us_alone\":%.0f,\"p99_us\":%.0f,\"p99_us_elsewhere\":%.0f,"
		       "\"burden_mib_s\":%.1f,\"fair\":%.3f,\"burden_cpu\":%.3f,\"broker_cpu\":%.3f,\"grown_kib\":%ld}"
		       "\n",
		       s->name, s->n, a.per_s, b.per_s, kept, kept_elsewhere, a.p50_us, b.p50_us, e.p50_us, a.p99_us,
		       b.p99_us, e.p99_us, b.flood_mib_s, fair(&b, s), b.held_cpu, b.broker_cpu, kib);
	} else {
		printf("%-9s %-42s %8.0f %8.0f %5.2f %5.2f  %6.0f %6.0f %6.0f  %7.0f %7.0f %7.0f  %7.1f %6.2f %5.2f "
		       "%5.2f %6ld\n",
		       s->name, s->what, a.per_s / 1e3, b.per_s / 1e3, kept, kept_elsewhere, a.p50_us, b.p50_us,
		       e.p50_us, a.p99_us, b.p99_us, e.p99_us, b.flood_mib_s, fair(&b, s), b.held_cpu, b.broker_cpu,
		       kib / 1024);
	}
	fflush(stdout);
}

static void report_head(void)
{
	if (run.json)
		return;
	printf("%-9s %-42s %17s %11s  %20s  %23s  %7s %6s %5s %5s %6s\n", "", "", "k messages/s", "kept", "p50 us",
	       "p99 us", "burden", "fair", "cpu", "cpu", "grown");
	printf("%-9s %-42s %8s %8s %5s %5s  %6s %6s %6s  %7s %7s %7s  %7s %6s %5s %5s %6s\n", "", "burden", "alone",
	       "beside", "", "els.", "alone", "beside", "els.", "alone", "beside", "els.", "MiB/s", "share", "it",
	       "brok.", "MiB");
}

/* Measure beside the burden, at this broker. */
static int measure_burdened(struct figures *f, const struct scenario *s, const struct testbed *at)
{
	struct burden burden = { 0 };
	run.burdened = at;
	int rc = s->begin(&burden, s);
	if (rc == 0) {
		usleep(SETTLE_US);
		measure(f, s, &burden);
	}
	end(&burden);
	return rc;
}

static int run_scenario(const struct scenario *s)
{
	struct stretches all;
	const struct burden none = { 0 };
	int rc = 0;
	for (unsigned i = 0; i < run.rounds && rc == 0; i++) {
		measure(&all.alone[i], s, &none);
		rc = measure_burdened(&all.beside[i], s, &run.bed);
		if (rc == 0)
			rc = measure_burdened(&all.elsewhere[i], s, &run.elsewhere);
	}
	if (rc == 0)
		report(s, &all, status_kib("VmHWM:") - run.before_kib);
	return rc;
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

/* Other users may come in, too. */
static int open_door(const struct testbed *bed)
{
	char path[TESTBED_PATH];
	testbed_path(bed, "sock", path);
	if (geteuid() == 0 && (chmod(bed->directory, 0711) < 0 || chmod(path, 0666) < 0))
		return die(path);
	return 0;
}

static int open_doors(void)
{
	struct brood_peer_info info;
	BROOD_INIT(info);
	if (brood_info(run.bed.process, &info) < 0)
		return die("the broker");
	run.broker = info.pid;
	run.before_kib = status_kib("VmRSS:");
	return open_door(&run.bed) < 0 || open_door(&run.elsewhere) < 0 ? -1 : 0;
}

static int run_all(const char *only)
{
	const struct scenario scenarios[] = {
		{ "stopped", "receivers that are stopped, sent to", begin_stopped, run.stopped, 0 },
		{ "flooders", "flooders, half of them to slow receivers", begin_flooders, run.flooders, 0 },
		{ "user", "another user's flooding connections", begin_user, run.many, 1 },
	};
	struct burden innocents = { 0 };
	run.burdened = &run.bed;
	int rc = open_doors() < 0 || begin_innocents(&innocents) < 0 ? -1 : 0;
	report_head();
	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios && rc == 0; i++)
		if (!only || strcmp(only, scenarios[i].name) == 0)
			rc = run_scenario(&scenarios[i]);
	end(&innocents);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "rounds", required_argument, NULL, 'r' }, { "seconds", required_argument, NULL, 's' },
		{ "only", required_argument, NULL, 'o' },   { "connections", required_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },         { NULL, 0, NULL, 0 }
	};
	const char *only = NULL;
	int c, scale = 1000;
	if (argc > 1 && strcmp(argv[1], ACTOR_ARGUMENT) == 0)
		return actor_main(argv);
	run.rounds = 5;
	run.seconds = 1;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'r')
			run.rounds = (unsigned)atoi(optarg);
		else if (c == 's')
			run.seconds = atof(optarg);
		else if (c == 'o')
			only = optarg;
		else if (c == 'n')
			scale = atoi(optarg);
		else if (c == 'j')
			run.json = 1;
		else
			return 2;
	}
	if (run.rounds < 1 || run.rounds > ROUNDS || run.seconds <= 0 || scale < 20 || scale > 10000 || optind < argc) {
		fputs("usage: bench_isolation [--rounds 1..50] [--seconds S] [--connections 20..10000]\n"
		      "                       [--only stopped|flooders|user] [--json]\n",
		      stderr);
		return 2;
	}
	run.many = (unsigned)scale;
	run.stopped = run.flooders = run.many / 10;
	run.board = actor_board();
	int rc = !run.board || testbed_init(&run.bed, VIA_UNIX) < 0 || testbed_init(&run.elsewhere, VIA_UNIX) < 0 ||
		 run_all(only) < 0;
	testbed_deinit(&run.elsewhere);
	testbed_deinit(&run.bed);
	return rc;
}
