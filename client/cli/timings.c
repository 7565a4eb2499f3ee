/*
 * timings: every duration is kept and sorted at the end, so that quantiles are exact. A second of round trips is some
 * hundred kilobytes.
 */
#include "timings.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>

uint64_t timings_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int timings_add(struct timings *t, uint64_t ns)
{
	if (t->n == t->room) {
		size_t room = t->room ? t->room * 2 : 4096;
		uint64_t *larger = realloc(t->ns, room * sizeof *larger);
		if (!larger)
			return -ENOMEM;
		t->ns = larger;
		t->room = room;
	}
	t->ns[t->n++] = ns;
	return 0;
}

static int compare_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

void timings_quantiles(struct timings *t, double us[TIMINGS_QUANTILES])
{
	static const double quantiles[TIMINGS_QUANTILES] = { .5, .9, .99, .999 };
	if (t->n)
		qsort(t->ns, t->n, sizeof *t->ns, compare_ns);
	for (size_t i = 0; i < TIMINGS_QUANTILES; i++)
		us[i] = t->n ? (double)t->ns[(size_t)((double)(t->n - 1) * quantiles[i])] / 1000 : 0;
}

void timings_deinit(struct timings *t)
{
	free(t->ns);
	*t = (struct timings){ 0 };
}

static int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

double timings_median(double *values, size_t n)
{
	qsort(values, n, sizeof *values, compare_double);
	return (values[(n - 1) / 2] + values[n / 2]) / 2;
}
