/*
 * broker_identity: the files that make a broker itself, in a directory of the test's own.
 */
#include "identity.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct bench {
	char path[64];
	struct home home;
	char why[256];
};

static int begin(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	strcpy(b->path, "/tmp/brood-identity-XXXXXX");
	assert_non_null(mkdtemp(b->path));
	assert_int_equal(home_open(&b->home, b->path, b->why, sizeof(b->why)), 0);
	*state = b;
	return 0;
}

static int end(void **state)
{
	struct bench *b = *state;
	char command[128];

	home_close(&b->home);
	snprintf(command, sizeof(command), "rm -rf '%s'", b->path);
	assert_int_equal(system(command), 0);
	free(b);
	return 0;
}

static struct identity open_at(struct bench *b, uint32_t now)
{
	struct identity id;

	assert_int_equal(identity_open(&id, &b->home, now, b->why, sizeof(b->why)), 0);
	return id;
}

static void test_epoch_grows_whatever_the_clock_says(void **state)
{
	struct bench *b = *state;
	struct identity id = open_at(b, 1000);

	assert_int_equal(id.epoch, 1000);
	assert_false(id.unclean); /* there was no run before */
	id = open_at(b, 2000);
	assert_int_equal(id.epoch, 2000);
	assert_true(id.unclean);
	id = open_at(b, 2000);
	assert_int_equal(id.epoch, 2001);
	id = open_at(b, 5);
	assert_int_equal(id.epoch, 2002);
	identity_close(&id);
	id = open_at(b, 6);
	assert_int_equal(id.epoch, 2003);
	assert_false(id.unclean);
}

static void test_ids_are_never_given_twice(void **state)
{
	struct bench *b = *state;
	struct identity id = open_at(b, 1000), next;
	uint64_t first = identity_take(&id, 1);

	assert_true(first == ((uint64_t)1000 << 32 | 1));
	assert_true(identity_take(&id, 10) == first + 1);
	assert_true(identity_take(&id, 1) == first + 11);
	/* The counter's end is a new epoch, which the next run knows of. */
	id.counter = UINT32_MAX - 5;
	assert_true(identity_take(&id, 5) == ((uint64_t)1000 << 32 | (UINT32_MAX - 5)));
	assert_true(identity_take(&id, 5) == ((uint64_t)1001 << 32 | 1));
	assert_int_equal(id.first_epoch, 1000);
	next = open_at(b, 1000);
	assert_int_equal(next.epoch, 1002);
}

static void test_secrets_stay(void **state)
{
	const uint8_t zeros[TICKET_KEY] = { 0 };
	struct bench *b = *state;
	struct identity id = open_at(b, 1000), again = open_at(b, 1000);

	assert_memory_not_equal(id.key, zeros, sizeof(zeros));
	assert_memory_equal(id.key, again.key, sizeof(id.key));
	assert_int_equal(identity_open_cookie(&id, b->why, sizeof(b->why)), 0);
	assert_int_equal(identity_open_cookie(&again, b->why, sizeof(b->why)), 0);
	assert_int_equal(strlen(id.cookie), COOKIE_TEXT);
	assert_string_equal(id.cookie, again.cookie);
}

static void test_cookie(void **state)
{
	struct bench *b = *state;
	struct identity id = open_at(b, 1000);
	char text[COOKIE_TEXT + 2] = "";

	assert_false(identity_is_cookie(&id, (const uint8_t *)"", 0));
	assert_false(identity_is_cookie(&id, (const uint8_t *)text, COOKIE_TEXT));
	assert_int_equal(identity_open_cookie(&id, b->why, sizeof(b->why)), 0);
	snprintf(text, sizeof(text), "%s\n", id.cookie);
	assert_true(identity_is_cookie(&id, (const uint8_t *)text, COOKIE_TEXT));
	assert_true(identity_is_cookie(&id, (const uint8_t *)text, COOKIE_TEXT + 1));
	assert_false(identity_is_cookie(&id, (const uint8_t *)text, COOKIE_TEXT - 1));
	assert_false(identity_is_cookie(&id, (const uint8_t *)"", 0));
	text[5] ^= 1;
	assert_false(identity_is_cookie(&id, (const uint8_t *)text, COOKIE_TEXT));
}

static void assert_refused(struct bench *b, const char *word)
{
	struct identity id;

	b->why[0] = '\0';
	assert_true(identity_open(&id, &b->home, 1000, b->why, sizeof(b->why)) < 0);
	assert_non_null(strstr(b->why, word));
}

static void test_files_that_are_not_right(void **state)
{
	struct bench *b = *state;

	assert_int_equal(home_write(&b->home, "epoch", "soon\n", 5), 0);
	assert_refused(b, "epoch");
	assert_int_equal(home_write(&b->home, "epoch", "1000\n", 5), 0);
	assert_int_equal(home_write(&b->home, "key", "short", 5), 0);
	assert_refused(b, "key");
	assert_int_equal(home_write(&b->home, "key", "123456789012345678901234567890123", 33), 0);
	assert_refused(b, "key");
	home_remove(&b->home, "key");
	open_at(b, 1000);
	assert_int_equal(fchmodat(b->home.fd, "key", 0644, 0), 0);
	assert_refused(b, "key");
	home_remove(&b->home, "key");
	assert_int_equal(symlinkat("/etc/passwd", b->home.fd, "key"), 0);
	assert_refused(b, "key");
}

static void test_home(void **state)
{
	struct bench *b = *state;
	struct home other;
	char path[96];
	pid_t holder = -1;

	assert_int_equal(home_lock(&b->home, &holder), 0);
	assert_int_equal(home_open(&other, b->path, b->why, sizeof(b->why)), 0);
	assert_string_equal(other.path, b->path);
	assert_int_equal(home_lock(&other, &holder), -EWOULDBLOCK);
	assert_int_equal(holder, getpid());
	home_close(&other);
	home_close(&b->home);
	assert_int_equal(home_open(&b->home, b->path, b->why, sizeof(b->why)), 0);
	assert_int_equal(home_lock(&b->home, &holder), 0);
	/* A symbolic link may be somebody else's. */
	snprintf(path, sizeof(path), "%s/link", b->path);
	assert_int_equal(symlink(b->path, path), 0);
	assert_int_equal(home_open(&other, path, b->why, sizeof(b->why)), -EINVAL);
	/* It is made if it is not there, but not its parents. */
	snprintf(path, sizeof(path), "%s/new", b->path);
	assert_int_equal(home_open(&other, path, b->why, sizeof(b->why)), 0);
	home_close(&other);
	snprintf(path, sizeof(path), "%s/no/such", b->path);
	assert_int_equal(home_open(&other, path, b->why, sizeof(b->why)), -EINVAL);
	assert_non_null(strstr(b->why, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_epoch_grows_whatever_the_clock_says, begin, end),
		cmocka_unit_test_setup_teardown(test_ids_are_never_given_twice, begin, end),
		cmocka_unit_test_setup_teardown(test_secrets_stay, begin, end),
		cmocka_unit_test_setup_teardown(test_cookie, begin, end),
		cmocka_unit_test_setup_teardown(test_files_that_are_not_right, begin, end),
		cmocka_unit_test_setup_teardown(test_home, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
