/*
 * timings: how long each of many things took, and what is to be said of them all.
 */
#ifndef TIMINGS_H
#define TIMINGS_H

#include <stddef.h>
#include <stdint.h>

struct timings {
	uint64_t *ns;
	size_t n, room;
};

#define TIMINGS_QUANTILES 4 /* p50, p90, p99, p99.9 */

/* Nanoseconds of a clock that only goes forward. */
uint64_t timings_now(void);

/* Note one duration. 0 or -ENOMEM. */
int timings_add(struct timings *, uint64_t ns);

/* The quantiles in microseconds; zeros if nothing was noted. Sorts what was noted. */
void timings_quantiles(struct timings *, double us[TIMINGS_QUANTILES]);

void timings_deinit(struct timings *);

/* The middle one of n values, or the mean of the middle two; n > 0. Sorts them. */
double timings_median(double *values, size_t n);

#endif
