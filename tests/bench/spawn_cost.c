/*
 * spawn_cost: what it costs to start a program from a small process and from a large one: brood_spawn() of a plain child
 * until its CLOSE beside posix_spawn() and waitpid(), in turns. JSON on stdout; see README.md.
 *
 *   bench_spawn_cost [--rounds N] [--mib N,N...]
 */
#include <brood.h>
#include <errno.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

#define MOST 100000

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void fail(const char *what, int rc)
{
	fprintf(stderr, "spawn_cost: %s: %s\n", what, strerror(-rc));
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static int note_close(const brood_event *e)
{
	*(int *)e->data = 1;
	return 0;
}

/* To the return of the call, and to the child's CLOSE. */
static double with_brood(brood *b, double *started)
{
	int closed = 0;
	brood_peer *p;
	double begin = now_us();
	int rc = brood_spawn(b, &p, BROOD_ARGV("/bin/true"),
			     BROOD_SPAWN(.flags = BROOD_PLAIN, .on = BROOD_ON(.close = note_close), .data = &closed));
	*started = now_us() - begin;
	while (rc >= 0 && !closed)
		rc = brood_process(b, -1);
	if (rc < 0)
		fail("brood_spawn", rc);
	double took = now_us() - begin;
	brood_release(p);
	return took;
}

static double with_posix_spawn(double *started)
{
	pid_t pid;
	int status;
	char *const argv[] = { (char *)(uintptr_t) "/bin/true", NULL };
	double begin = now_us();
	int rc = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
	*started = now_us() - begin;
	if (rc != 0 || waitpid(pid, &status, 0) != pid)
		fail("posix_spawn", rc ? -rc : -errno);
	return now_us() - begin;
}

static void print_times(const char *name, double *sum, double *starts, int n)
{
	qsort(sum, (size_t)n, sizeof *sum, by_value);
	qsort(starts, (size_t)n, sizeof *starts, by_value);
	printf("\"%s\": {\"start_us\": %.1f, \"exit_us\": %.1f, \"exit_p99_us\": %.1f}", name, starts[n / 2],
	       sum[n / 2], sum[n - 1 - n / 100]);
}

static void measure(brood *b, long mib, int rounds, const char *separator)
{
	static double samples[2][MOST], starts[2][MOST];
	size_t size = (size_t)mib << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		fail("mmap", -errno);
	memset(memory, 1, size);
	for (int i = 0; i < rounds; i++) {
		samples[0][i] = with_brood(b, &starts[0][i]);
		samples[1][i] = with_posix_spawn(&starts[1][i]);
	}
	printf("  {\"touched_mib\": %ld, \"rounds\": %d, ", mib, rounds);
	print_times("brood_spawn", samples[0], starts[0], rounds);
	printf(", ");
	print_times("posix_spawn", samples[1], starts[1], rounds);
	printf("}%s\n", separator);
	munmap(memory, size);
}

int main(int argc, char **argv)
{
	int rounds = 1000, rc;
	const char *sizes = "10,1024";
	brood *b;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--rounds") == 0)
			rounds = atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--mib") == 0)
			sizes = argv[i + 1];
	}
	if (rounds < 1 || rounds > MOST) {
		fprintf(stderr, "usage: bench_spawn_cost [--rounds 1..%d] [--mib N,N...]\n", MOST);
		return 2;
	}
	if ((rc = brood_connect(&b, NULL, BROOD_OPTIONS(.flags = BROOD_NO_AUTOSTART))) < 0)
		fail("brood_connect", rc);
	printf("[\n");
	for (const char *at = sizes; *at;) {
		char *end;
		long mib = strtol(at, &end, 10);
		measure(b, mib, rounds, *end ? "," : "");
		at = *end ? end + 1 : end;
	}
	printf("]\n");
	brood_close(b);
	return 0;
}
