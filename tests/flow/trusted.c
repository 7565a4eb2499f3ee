/*
 * trusted: which brokers a program takes for one. Other users' are refused before a word is said to them; unit.client_trust
 * has all the cases.
 */
#include "flow.h"
#include "raw.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OTHER 64322u

static char place[40], path[64], address[80];

static void make_place(uid_t owner)
{
	strcpy(place, "/tmp/trusted-XXXXXX");
	assert_non_null(mkdtemp(place));
	assert_int_equal(chmod(place, owner ? 0700 : 0755), 0);
	assert_int_equal(chown(place, owner, (gid_t)-1), 0);
	snprintf(path, sizeof path, "%s/sock", place);
	snprintf(address, sizeof address, "unix:%s", path);
}

static void remove_all(const char *directory)
{
	static const char *const files[] = { "sock", "lock", "epoch", "key" };
	char file[80];
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(file, sizeof file, "%s/%s", directory, files[i]);
		unlink(file);
	}
	assert_int_equal(rmdir(directory), 0);
}

static void become(uid_t uid)
{
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		_exit(126);
}

/* 1 if this user may run the broker from where it lies. */
static int may_run(uid_t uid)
{
	int status;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		become(uid);
		_exit(access(getenv("BROOD_BROKER"), X_OK) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status == 0;
}

static pid_t start_broker(uid_t uid, const char *home, const char *more)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		become(uid);
		dup2(null, 2);
		execl(getenv("BROOD_BROKER"), "broodd", "--dir", home, more ? "--listen" : NULL, more, NULL);
		_exit(127);
	}
	until_polled(NULL, access(path, F_OK) == 0);
	return pid;
}

static void stop_broker(pid_t pid)
{
	int status;
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void expect_distrust(brood *b)
{
	assert_int_equal(brood_sync(b, PATIENCE_MS), -EPERM);
	assert_string_equal(brood_last_error(b)->name, "broker.untrusted");
	assert_non_null(strstr(brood_last_error(b)->text, address));
	assert_non_null(strstr(brood_last_error(b)->text, "belongs to user 64322"));
	assert_non_null(strstr(brood_last_error(b)->hint, "BROOD_ADDRESS"));
	brood_close(b);
}

static int is_not_root(void)
{
	if (geteuid() != 0)
		print_message("skipped: only root can run a broker of another user\n");
	return geteuid() != 0;
}

static void test_another_users_broker(void **state)
{
	brood *b;
	(void)state;
	if (is_not_root())
		skip();
	if (!may_run(OTHER)) {
		print_message("skipped: others may not run the broker from where it lies\n");
		skip();
	}
	make_place(OTHER);
	pid_t broker = start_broker(OTHER, place, NULL);
	assert_int_equal(brood_connect(&b, address, NULL), 0);
	expect_distrust(b);
	stop_broker(broker);
	remove_all(place);
}

/* In a directory where everybody may make files, say. It does not hear a word. */
static void test_a_squatted_socket(void **state)
{
	struct pollfd heard;
	brood *b;
	char byte;
	(void)state;
	if (is_not_root())
		skip();
	make_place(0);
	assert_int_equal(chmod(place, 01777), 0);
	assert_int_equal(seteuid(OTHER), 0);
	int listener = raw_listen(path);
	assert_int_equal(seteuid(0), 0);
	assert_true(listener >= 0);
	assert_int_equal(brood_connect(&b, address, BROOD_OPTIONS(.name = "secret")), 0);
	expect_distrust(b);
	heard = (struct pollfd){ .fd = listener, .events = POLLIN };
	assert_int_equal(poll(&heard, 1, PATIENCE_MS), 1);
	int fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, &byte, 1), 0);
	close(fd);
	close(listener);
	remove_all(place);
}

static int sync_as(uid_t uid)
{
	int status;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		brood *b;
		become(uid);
		if (brood_connect(&b, address, NULL) < 0)
			_exit(1);
		_exit(brood_sync(b, PATIENCE_MS) == 0 ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* Root's serves everybody whom it lets in. */
static void test_roots_broker(void **state)
{
	(void)state;
	if (is_not_root())
		skip();
	make_place(0);
	char home[64];
	snprintf(home, sizeof home, "%s/home", place);
	pid_t broker = start_broker(0, home, address);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(sync_as(OTHER), 0);
	stop_broker(broker);
	remove_all(home);
	remove_all(place);
}

#define ALONE(test) cmocka_unit_test_setup_teardown(test, fixture_setup_empty, fixture_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ALONE(test_another_users_broker),
		ALONE(test_a_squatted_socket),
		ALONE(test_roots_broker),
	};
	return RUN("trusted", tests);
}
