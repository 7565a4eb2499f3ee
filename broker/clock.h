/*
 * clock: milliseconds that only grow, for deadlines and ages.
 */
#ifndef BROOD_CLOCK_H
#define BROOD_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* What was this time in milliseconds since the host was started; but for time that it slept since. */
static inline uint64_t clock_since_boot(uint64_t ms)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 - (clock_ms() - ms);
}

#endif
