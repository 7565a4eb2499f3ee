/*
 * broker_home: the lock of the broker's directory, in a directory of the test's own.
 */
#include "home.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
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

/* Somebody holds the lock, as `kind`, until the process ends that is returned. */
static pid_t held(struct bench *b, int kind, useconds_t us)
{
	int fd = openat(b->home.fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	pid_t pid;

	assert_true(fd >= 0);
	assert_int_equal(flock(fd, kind | LOCK_NB), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dprintf(fd, "%d\n", (int)getpid());
		usleep(us);
		_exit(0);
	}
	close(fd);
	return pid;
}

static void test_clients_may_look(void **state)
{
	struct bench *b = *state;
	pid_t looks = held(b, LOCK_SH, MOMENT_US), holder = 0;

	assert_int_equal(home_lock(&b->home, &holder), 0);
	assert_int_equal(waitpid(looks, NULL, 0), looks);
}

static void test_another_has_it(void **state)
{
	struct bench *b = *state;
	pid_t other = held(b, LOCK_EX, 500000), holder = 0;

	assert_int_equal(home_lock(&b->home, &holder), -EWOULDBLOCK);
	assert_int_equal(holder, other);
	assert_int_equal(waitpid(other, NULL, 0), other);
	close(b->home.lock_fd);
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
