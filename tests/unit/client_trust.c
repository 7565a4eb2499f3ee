/*
 * client_trust: whose sockets and directories are trusted. As root, who can be anybody; others can only look at their own.
 */
#include "test.h"
#include "trust.h"
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ME 64321u
#define OTHER 64322u
#define SYSTEM 64323u

static int system_user_exists;

/* Instead of libc's: there may be no such user here. */
int getpwnam_r(const char *name, struct passwd *user, char *strings, size_t n, struct passwd **found)
{
	assert_string_equal(name, "brood");
	(void)strings;
	assert_true(n > 0);
	user->pw_uid = SYSTEM;
	*found = system_user_exists ? user : NULL;
	return 0;
}

static char directory[32], path[64], why[160];

static int begin(void **state)
{
	(void)state;
	system_user_exists = 0;
	strcpy(directory, "/tmp/trust-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/sock", directory);
	return 0;
}

static int end(void **state)
{
	(void)state;
	return rmdir(directory);
}

/* What is thought of a socket on which `listener` listens, in a directory of `owner`. */
static int look(uid_t owner, uid_t listener)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client, r;

	strcpy(un.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(chmod(path, 0666), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(directory, owner, (gid_t)-1), 0);
		assert_int_equal(chmod(directory, 0755), 0);
		assert_int_equal(seteuid(listener), 0);
		assert_int_equal(listen(fd, 1), 0);
		assert_int_equal(seteuid(0), 0);
		assert_int_equal(seteuid(ME), 0);
	} else {
		assert_int_equal(listen(fd, 1), 0);
	}
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&un, sizeof(un)), 0);
	why[0] = '\0';
	r = trust_socket(path, client, why, sizeof(why));
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	close(client);
	close(fd);
	unlink(path);
	return r;
}

static void test_mine(void **state)
{
	(void)state;
	assert_int_equal(look(getuid() == 0 ? ME : getuid(), getuid() == 0 ? ME : getuid()), 0);
}

static void test_whose(void **state)
{
	(void)state;
	if (getuid() != 0)
		skip(); /* only root can be several users */
	assert_int_equal(look(0, 0), 0);
	assert_int_equal(look(0, ME), 0);
	assert_int_equal(look(ME, 0), 0);
	assert_int_equal(look(0, OTHER), -EPERM);
	assert_string_equal(why, "what listens there belongs to user 64322, who is neither root nor \"brood\" nor you");
	assert_int_equal(look(ME, OTHER), -EPERM);
	assert_int_equal(look(OTHER, ME), -EPERM);
	assert_string_equal(why, "its directory belongs to user 64322, who is neither root nor \"brood\" nor you");
	assert_int_equal(look(OTHER, 0), -EPERM);
}

static void test_the_systems(void **state)
{
	(void)state;
	if (getuid() != 0)
		skip(); /* only root can be several users */
	assert_int_equal(look(0, SYSTEM), -EPERM);
	system_user_exists = 1;
	assert_int_equal(look(0, SYSTEM), 0);
	assert_int_equal(look(SYSTEM, SYSTEM), 0);
	assert_int_equal(look(SYSTEM, OTHER), -EPERM);
}

static void test_what_cannot_be_seen(void **state)
{
	(void)state;
	assert_int_equal(trust_socket("/nonexistent/sock", 0, why, sizeof(why)), -ENOENT);
	assert_string_equal(why, "its directory cannot be examined: No such file or directory");
	assert_int_equal(trust_socket("/sock", -1, why, sizeof(why)), -EBADF);
	assert_string_equal(why, "whoever listens there cannot be examined: Bad file descriptor");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_mine, begin, end),
		cmocka_unit_test_setup_teardown(test_whose, begin, end),
		cmocka_unit_test_setup_teardown(test_the_systems, begin, end),
		cmocka_unit_test_setup_teardown(test_what_cannot_be_seen, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
