/*
 * broker_home: the lock of the broker's directory, in a directory of the test's own.
 */
#include "home.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <unistd.h>

#define MOMENT_US 7000 /* longer than until the next try, shorter than until the last */

struct bench {
	char path[64];
	struct home home;
	char why[256];
};

static int begin(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	strcpy(b->path, "/tmp/brood-home-XXXXXX");
	assert_non_null(mkdtemp(b->path));
	assert_int_equal(home_open(&b->home, b->path, b->why, sizeof(b->why)), 0);
	*state = b;
	return 0;
}

static int end(void **state)
{
	struct bench *b = *state;

	home_remove(&b->home, "lock");
	home_close(&b->home);
	assert_int_equal(rmdir(b->path), 0);
	free(b);
	return 0;
}

/* The lock, held as `kind`, by whoever has the descriptor. */
static int held(struct bench *b, int kind)
{
	int fd = openat(b->home.fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(flock(fd, kind | LOCK_NB), 0);
	return fd;
}

static int looks;

static void has_looked(int signo)
{
	(void)signo;
	close(looks);
}

static void test_clients_may_look(void **state)
{
	const struct itimerval moment = { .it_value.tv_usec = MOMENT_US };
	struct bench *b = *state;
	pid_t holder = 0;

	looks = held(b, LOCK_SH);
	signal(SIGALRM, has_looked);
	assert_int_equal(setitimer(ITIMER_REAL, &moment, NULL), 0);
	assert_int_equal(home_lock(&b->home, &holder), 0);
	signal(SIGALRM, SIG_DFL);
}

static void test_another_has_it(void **state)
{
	struct bench *b = *state;
	int other = held(b, LOCK_EX);
	pid_t holder = 0;

	dprintf(other, "%d\n", 4711);
	assert_int_equal(home_lock(&b->home, &holder), -EWOULDBLOCK);
	assert_int_equal(holder, 4711);
	close(b->home.lock_fd);
	close(other);
	assert_int_equal(home_lock(&b->home, &holder), 0); /* it is free when its holder has ended */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_clients_may_look, begin, end),
		cmocka_unit_test_setup_teardown(test_another_has_it, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
