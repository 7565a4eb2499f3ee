/*
 * Finding and starting the private broker. The broker that is started is this program, which then looks at itself and
 * tells by its exit code what is wrong.
 */
#include "test.h"

#include "autostart.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char self[4096];

/* ---- the started program ----------------------------------------------------------------------------------------- */

static int is_null(int fd)
{
	struct stat null_status, status;
	return stat("/dev/null", &null_status) == 0 && fstat(fd, &status) == 0 && status.st_rdev == null_status.st_rdev;
}

/* 0: all as a broker expects it. */
static int play_broker(void)
{
	if (getsid(0) != getpid())
		return 1;
	if (!is_null(0) || !is_null(1) || !is_null(2))
		return 2;
	if (fcntl(3, F_GETFD) >= 0)
		return 3;
	if (getenv("BROOD_FD"))
		return 4;
	return getenv("BROOD_MARK") && getenv("BROOD_FDX") ? 0 : 5;
}

/* ---- the tests --------------------------------------------------------------------------------------------------- */

static char beside[4096]; /* where the broker of this very tree would be */

static void make_beside(void)
{
	snprintf(beside, sizeof beside, "%s", self);
	strcpy(strrchr(beside, '/'), "/../bin/broodd");
}

static void the_environment_comes_first(void **state)
{
	char path[4096];
	(void)state;
	setenv("BROOD_BROKER", "/some/where", 1);
	assert_int_equal(autostart_find(path, sizeof path), 0);
	assert_string_equal(path, "/some/where");
	assert_int_equal(autostart_find(path, strlen("/some/where")), -ENAMETOOLONG);
	assert_int_equal(autostart_find(path, strlen("/some/where") + 1), 0);
}

/* An empty variable is none. What is beside this program counts only if it can be executed. */
static void then_what_is_beside_and_then_what_is_installed(void **state)
{
	char path[4096];
	(void)state;
	setenv("BROOD_BROKER", "", 1);
	assert_int_equal(autostart_find(path, sizeof path), 0);
	assert_string_equal(path, access(beside, X_OK) == 0 ? beside : BROOD_BROODD_PATH);
	unsetenv("BROOD_BROKER");
	assert_int_equal(autostart_find(path, sizeof path), 0);
	assert_string_equal(path, access(beside, X_OK) == 0 ? beside : BROOD_BROODD_PATH);
	assert_int_equal(autostart_find(path, 5), -ENAMETOOLONG);
}

/*
 * The same for a copy of this program, which can arrange its neighbourhood: also where libraries and programs were installed
 * as BROOD_LIB_TO_BIN says.
 */
static void a_neighbour_is_found_from_anywhere(void **state)
{
	char folder[] = "/tmp/brood-autostart-XXXXXX", command[9000];
	(void)state;
	unsetenv("BROOD_BROKER");
	assert_non_null(mkdtemp(folder));
	snprintf(command, sizeof command,
		 "set -e; cd %s; mkdir lib bin; cp '%s' lib/program; : >bin/broodd; chmod 755 bin/broodd\n"
		 "cd /; test \"$(%s/lib/program find)\" = %s/lib/../bin/broodd\n"
		 "cd %s/lib; test \"$(PATH=. program find)\" = %s/lib/../bin/broodd\n"
		 "chmod 644 ../bin/broodd; test \"$(./program find)\" = '%s'\n"
		 "mkdir ../programs some; cp program some; cp ../bin/broodd ../programs; chmod 755 ../programs/broodd\n"
		 "test \"$(some/program find)\" = %s/lib/some/../../programs/broodd",
		 folder, self, folder, folder, folder, folder, BROOD_BROODD_PATH, folder);
	assert_int_equal(system(command), 0);
	snprintf(command, sizeof command, "rm -r %s", folder);
	assert_int_equal(system(command), 0);
}

static void it_starts_apart_from_us(void **state)
{
	struct spawned broker;
	struct spawn_failure why;
	siginfo_t info;
	(void)state;
	setenv("BROOD_BROKER", self, 1);
	setenv("BROOD_FD", "7:1234", 1);
	setenv("BROOD_FDX", "not this one", 1);
	setenv("BROOD_MARK", "1", 1);
	assert_int_equal(dup2(0, 9), 9);
	assert_int_equal(autostart(&broker, &why), 0);
	close(9);
	assert_int_equal(waitid(P_PIDFD, (id_t)broker.pidfd, &info, WEXITED), 0);
	assert_int_equal(info.si_pid, broker.pid);
	assert_int_equal(info.si_code, CLD_EXITED);
	assert_int_equal(info.si_status, 0);
	assert_int_equal(broker.line_fd, -1);
	assert_string_equal(getenv("BROOD_FD"), "7:1234");
	close(broker.pidfd);
}

static void a_missing_one_is_told(void **state)
{
	struct spawned broker;
	struct spawn_failure why;
	(void)state;
	setenv("BROOD_BROKER", "/nonexistent/broodd", 1);
	int before = dup(0);
	assert_int_equal(autostart(&broker, &why), -ENOENT);
	assert_string_equal(why.stage, "exec");
	int after = dup(0);
	assert_int_equal(after, before + 1); /* /dev/null was closed */
	close(before);
	close(after);
}

int main(int argc, char **argv)
{
	char path[4096];
	if (argc == 2 && strcmp(argv[1], "--private") == 0)
		return strcmp(argv[0], "broodd") == 0 ? play_broker() : 6;
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	if (length < 0)
		return 1;
	if (argc == 2) {
		int rc = autostart_find(path, sizeof path);
		puts(rc < 0 ? strerror(-rc) : path);
		return 0;
	}
	make_beside();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_environment_comes_first),
		cmocka_unit_test(then_what_is_beside_and_then_what_is_installed),
		cmocka_unit_test(a_neighbour_is_found_from_anywhere),
		cmocka_unit_test(it_starts_apart_from_us),
		cmocka_unit_test(a_missing_one_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
