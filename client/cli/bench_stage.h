/*
 * bench_stage: what the measurements of `brood bench` share: the processes they measure, and the shape of a result.
 *
 * A *row* is one thing measured, such as one-way.64. Its *contenders* do the same work: brood, and one or two floors.
 * A round runs every contender of every row once, one after the other, so that a machine that slows down slows all of
 * them; what is reported is the median of the rounds.
 */
#ifndef BENCH_STAGE_H
#define BENCH_STAGE_H

#include "bench_link.h"
#include "testbed.h"
#include <brood.h>
#include <sched.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_WORKERS 8
#define BENCH_LARGEST (1024u * 1024u)
#define BENCH_ROOM (BENCH_LARGEST + 4096) /* with what a floor adds */
#define BENCH_VALUES 5
#define BENCH_CONTENDERS 3
#define BENCH_WAIT_MS 10000 /* for what takes no time unless it hangs */

struct worker {
	brood_peer *peer; /* a child of ours with a channel; see bench_peer.h for what it answers */
	pid_t pid;
};

/* What stands between us and a worker: one process, or one on each host. */
struct middle {
	pid_t pids[2]; /* 0: none */
};

struct bench {
	struct testbed bed;
	struct bench_link link; /* with VIA_LINK: beta, where the first worker is, and no other */
	const char *host;       /* for brood_spawn_options.host: NULL is here */
	brood *b;               /* our connection to the testbed's broker */
	struct worker workers[BENCH_WORKERS];
	struct middle brokers, relays;
	char self[4096];                /* this program */
	char relay_place[TESTBED_PATH]; /* see raw.h; ours */
	char far_place[TESTBED_PATH];   /* and the workers', which may be the same */
	unsigned char *payload;         /* BENCH_ROOM bytes */
	uint64_t span_ns;               /* one measurement lasts so long */
	cpu_set_t processors;           /* those that we may use */
	unsigned round;                 /* the one under way, from 0 */
};

struct sample {
	double values[BENCH_VALUES];
	uint64_t lost; /* sent and never received */
};

struct row;
/* Measure once. 0, or a negative errno after a message to stderr. */
typedef int bench_run(struct bench *, const struct row *, struct sample *);

struct kind {
	const char *name;
	const char *values[BENCH_VALUES]; /* what the values are; the first one is compared */
	int is_time;                      /* they are times: less is better */
	struct {
		const char *name;
		bench_run *run;
	} contenders[BENCH_CONTENDERS]; /* the first is brood */
};

struct row {
	char name[32];
	const struct kind *kind;
	size_t size;          /* of a message */
	unsigned outstanding; /* requests per worker */
};

/*
 * Start everything; a measurement is to last so many seconds. 0, or a negative errno after a message to stderr.
 * bench_deinit() ends all of it, whatever there is.
 */
int bench_init(struct bench *, double seconds, enum via);
void bench_deinit(struct bench *);

/*
 * Bytes that a message with a body of this size takes on brood's wire: a head of 8 bytes, 16 more if it belongs to a
 * request, and padding. The floors carry as many. What brood shares among many messages is not in it.
 */
size_t bench_wire_size(size_t body, int is_request);

/* Processor time so far, in ns, of ours, of the first worker and of what stands between them. */
uint64_t bench_cpu(const struct bench *, const struct middle *);

/* Say what went wrong in a measurement. Returns rc. */
int bench_failed(const struct row *, const char *what, int rc);

/* Ask a worker to leave brood and serve the floor instead until its connection ends. 0 when it has connected. */
int bench_serve_floor(struct bench *, unsigned worker, const char *kind, size_t number);

#endif
