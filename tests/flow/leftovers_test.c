/*
 * leftovers_test: the check that no test leaves anything behind notices each kind of thing that can be left.
 */
#include "test.h"

#include "leftovers.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const nothing[] = { NULL };

static pid_t child(void (*act)(void))
{
	pid_t pid = fork();
	if (pid == 0) {
		act();
		_exit(0);
	}
	return pid;
}

static void stay(void)
{
	pause();
}

static void die(void)
{
}

static void have_child_that_stays(void)
{
	child(stay);
}

static void have_child_that_dies(void)
{
	pid_t pid = child(die);
	waitid(P_PID, (id_t)pid, &(siginfo_t){ .si_pid = 0 }, WEXITED | WNOWAIT);
}

static void test_nothing(void **state)
{
	struct leftovers l;
	(void)state;
	leftovers_begin(&l);
	assert_int_equal(leftovers_fds(&l), 0);
	assert_int_equal(leftovers_processes(50, 0), 0);
}

static void test_descriptor(void **state)
{
	struct leftovers l;
	(void)state;
	leftovers_begin(&l);
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(leftovers_fds(&l), 1);
	close(fd);
	assert_int_equal(leftovers_fds(&l), 0);
}

static void test_running(void **state)
{
	(void)state;
	child(stay);
	child(stay);
	assert_int_equal(leftovers_processes(50, -1), 2);
	assert_int_equal(leftovers_processes(50, 0), 0);
}

static void test_running_grandchild(void **state)
{
	(void)state;
	waitpid(child(have_child_that_stays), NULL, 0);
	assert_int_equal(leftovers_processes(50, 0), 1);
}

static void test_dead(void **state)
{
	(void)state;
	child(die);
	assert_int_equal(leftovers_processes(50, 0), 1);
	child(die);
	assert_int_equal(leftovers_processes(50, 1), 0);
}

static void test_dead_grandchild(void **state)
{
	(void)state;
	waitpid(child(have_child_that_dies), NULL, 0);
	assert_int_equal(leftovers_processes(50, -1), 0);
}

static void test_files(void **state)
{
	char directory[] = "/tmp/brood-test.XXXXXX", inside[64], file[80];
	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(inside, sizeof inside, "%s/sub", directory);
	assert_int_equal(mkdir(inside, 0700), 0);
	snprintf(file, sizeof file, "%s/epoch", inside);
	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	snprintf(file, sizeof file, "%s/sock", inside);
	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(leftovers_files(directory, (const char *const[]){ "epoch", NULL }), 1);
	assert_int_equal(access(directory, F_OK), -1);
	assert_int_equal(leftovers_files(directory, nothing), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing), cmocka_unit_test(test_descriptor),
		cmocka_unit_test(test_running), cmocka_unit_test(test_running_grandchild),
		cmocka_unit_test(test_dead),    cmocka_unit_test(test_dead_grandchild),
		cmocka_unit_test(test_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
