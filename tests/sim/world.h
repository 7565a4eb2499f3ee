/*
 * world: virtual time, chance and the trace of one run. Everything that happens in a run follows from its seed.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stddef.h>
#include <stdint.h>

#define MS ((uint64_t)1000) /* times are microseconds */
#define SECOND ((uint64_t)1000000)
#define NEVER UINT64_MAX

/* What a run may do to its processes. Probabilities are one in so many; 0: never. */
struct weather {
	unsigned delay_us;        /* bytes become visible up to so much later */
	unsigned short_one_in;    /* a read or write takes only part */
	unsigned preempt_one_in;  /* a system call lets others run first */
	unsigned emfile_one_in;   /* accept() finds no descriptor */
	unsigned lost_fds_one_in; /* descriptors do not arrive (MSG_CTRUNC) */
	unsigned enobufs_one_in;  /* a write fails for lack of memory */
	unsigned buffer;          /* bytes that a socket takes */
};

struct world {
	uint64_t seed, now; /* microseconds since the beginning */
	uint64_t slept;     /* while the machine was suspended; CLOCK_MONOTONIC does not see it */
	uint64_t chance;    /* state of the generator */
	uint64_t hash;      /* of the trace so far */
	int tracing;        /* and print it */
	struct weather weather;
	char broken[512]; /* the promise that broke, or "" */
};

extern struct world world;

/* As deadlines see it: a suspended machine's clock has gone on. */
static inline uint64_t booted(void)
{
	return world.now + world.slept;
}

void world_begin(uint64_t seed, int tracing);

/* A number below n; n above 0. */
uint64_t chance_below(uint64_t *state, uint64_t n);
/* 1 once in n; never if n is 0. */
int chance_one_in(uint64_t *state, unsigned n);
uint64_t world_below(uint64_t n);
int world_one_in(unsigned n);

/* One line of the trace: who, what, numbers. */
void trace(const char *what, uint64_t a, uint64_t b, uint64_t c);
void trace_text(const char *what, const char *text);

/* A promise is broken; the first one is kept. */
void broken(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* To the real standard output, whoever runs. */
void simulator_write(const char *text, size_t n);

#endif
