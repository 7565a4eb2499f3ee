/*
 * broker_home: the lock of the broker's directory, in a directory of the test's own.
 */
#include "own_home.h"
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

static int end(void **state)
{
	struct own_home *b = *state;

	home_remove(&b->home, "lock");
	return own_home_end(b);
}

/* The lock, held as `kind`, by whoever has the descriptor. */
static int held(struct own_home *b, int kind)
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
	struct own_home *b = *state;
	pid_t holder = 0;

	looks = held(b, LOCK_SH);
	signal(SIGALRM, has_looked);
	assert_int_equal(setitimer(ITIMER_REAL, &moment, NULL), 0);
	assert_int_equal(home_lock(&b->home, &holder), 0);
	signal(SIGALRM, SIG_DFL);
}

static void test_another_has_it(void **state)
{
	struct own_home *b = *state;
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
		cmocka_unit_test_setup_teardown(test_clients_may_look, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_another_has_it, own_home_begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
