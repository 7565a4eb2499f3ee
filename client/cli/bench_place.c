/*
 * bench_place: see bench_place.h. Bit i of the round's number tells where the process runs that is i + 1 steps from ours.
 */
#include "bench_place.h"
#include <sched.h>
#include <unistd.h>

#define MOST 4 /* processes that pass a message on: ours, two in the middle, the worker */

/* In the order of a message's way. How many. */
static unsigned gather(const struct bench *m, const struct middle *middle, pid_t pids[MOST])
{
	unsigned n = 0;
	pids[n++] = getpid();
	for (size_t i = 0; i < sizeof middle->pids / sizeof *middle->pids; i++)
		if (middle->pids[i])
			pids[n++] = middle->pids[i];
	pids[n++] = m->workers[0].pid;
	return n;
}

/* The first two that we may use; the same one twice if there is no other. */
static void choose_two(const cpu_set_t *all, size_t two[2])
{
	int n = 0;
	two[0] = two[1] = 0;
	for (size_t cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
		if (CPU_ISSET(cpu, all))
			two[n++] = cpu;
	if (n == 1)
		two[1] = two[0];
}

void bench_place(const struct bench *m, const struct middle *middle)
{
	pid_t pids[MOST];
	size_t two[2];
	choose_two(&m->processors, two);
	for (unsigned i = 0, n = gather(m, middle, pids); i < n; i++) {
		cpu_set_t one;
		CPU_ZERO(&one);
		CPU_SET(two[i > 0 && m->round >> (i - 1) & 1], &one);
		(void)sched_setaffinity(pids[i], sizeof one, &one);
	}
}

void bench_unplace(const struct bench *m, const struct middle *middle)
{
	pid_t pids[MOST];
	for (unsigned i = 0, n = gather(m, middle, pids); i < n; i++)
		(void)sched_setaffinity(pids[i], sizeof m->processors, &m->processors);
}
