/*
 * limits: what thousands of connections cost the broker, and that those which say nothing are sent away without anybody
 * else noticing. The connections are bare sockets: thousands of processes would measure the machine.
 */
#include "flow.h"
#include "brood.pb-c.h"
#include "guard.h"
#include "raw.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define IDLE 2000
#define SILENT 10000
#define SPARE 256 /* descriptors for everything else, here and in the broker */

/* The most a connection may cost. Sanitizers pad every allocation, and give nothing back at once. */
#if defined(__SANITIZE_ADDRESS__)
#define MOST_KIB 16
#else
#define MOST_KIB 1
#endif

/* The broker raises its own limit, to the same. */
static unsigned raise_limit(void)
{
	struct rlimit limit;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return limit.rlim_cur > 1000000 ? 1000000 : (unsigned)limit.rlim_cur;
}

static int connect_to(const struct fixture *x)
{
	int fd = raw_connect(x->address + strlen("unix:"));
	assert_true(fd >= 0);
	return fd;
}

/* ---- idle connections -------------------------------------------------------------------------------------------- */

static long private_dirty_kib(pid_t pid)
{
	char path[64], line[256];
	long kib = -1;
	snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", (long)pid);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof line, f))
		(void)sscanf(line, "Private_Dirty: %ld", &kib);
	fclose(f);
	assert_true(kib > 0);
	return kib;
}

static int greet(const struct fixture *x)
{
	static struct raw_frame answer;
	Brood__Hello hello = BROOD__HELLO__INIT;
	int fd = connect_to(x);
	hello.pid = (uint32_t)getpid();
	hello.title = (char *)(uintptr_t) "limits";
	assert_int_equal(raw_send_pb(fd, FRAME_HELLO, &hello.base), 0);
	assert_int_equal(raw_receive(fd, &answer, PATIENCE_MS), 1);
	assert_int_equal(answer.head.kind, FRAME_HELLO_OK);
	return fd;
}

static void test_idle_connections(void **state)
{
	const struct fixture *x = *state;
	int fds[IDLE];
	assert_true(raise_limit() >= IDLE + SPARE);
	long before = private_dirty_kib(x->broker);
	for (int i = 0; i < IDLE; i++)
		fds[i] = greet(x);
	long grown = private_dirty_kib(x->broker) - before;
	print_message("%d idle connections: %ld KiB of the broker\n", IDLE, grown);
	assert_true(grown <= IDLE * MOST_KIB);
	for (int i = 0; i < IDLE; i++)
		close(fds[i]);
}

/* ---- an innocent pair -------------------------------------------------------------------------------------------- */

/* In a process of its own: ask a child again and again until the pipe ends. Then the number of answers goes out. */
static int ask_on_and_on(int stop_fd, int out_fd)
{
	brood *b;
	brood_peer *kid;
	brood_msg *m;
	long n = 0;
	if (brood_connect(&b, NULL, NULL) < 0 || brood_spawn(b, &kid, KID("worker"), NULL) < 0)
		return 1;
	while (!is_readable(stop_fd)) {
		int rc = brood_call(kid, BROOD_TEXT("how are you"), 2000, &m);
		if (rc != -ENOTSUP && rc < 0)
			break;
	}
	(void)n;
	(void)out_fd;
	brood_close(b);
	return 0;
}
