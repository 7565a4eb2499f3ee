/*
 * broker_identity: the files that make a broker itself, in a directory of the test's own.
 */
#include "address.h"
#include "identity.h"
#include "own_home.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int end(void **state)
{
	struct own_home *b = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'/*", b->path);
	assert_int_equal(system(command), 0);
	return own_home_end(b);
}

static struct identity open_at(struct own_home *b, uint32_t now)
{
	struct identity id;

	assert_int_equal(identity_open(&id, &b->home, now, b->why, sizeof(b->why)), 0);
	return id;
}

#define T 0x60000000u /* some time */

static void test_epoch_grows_whatever_the_clock_says(void **state)
{
	struct own_home *b = *state;
	struct identity id = open_at(b, T + 1000);

	assert_int_equal(id.epoch, T + 1000);
	assert_false(id.unclean); /* there was no run before */
	id = open_at(b, T + 2000);
	assert_int_equal(id.epoch, T + 2000);
	assert_true(id.unclean);
	id = open_at(b, T + 2000);
	assert_int_equal(id.epoch, T + 2001);
	id = open_at(b, 5);
	assert_int_equal(id.epoch, T + 2002);
	identity_close(&id);
	id = open_at(b, 6);
	assert_int_equal(id.epoch, T + 2003);
	assert_false(id.unclean);
}

/* What is below stands for epochs of other nodes. */
static void test_epoch_is_not_small(void **state)
{
	struct identity id = open_at(*state, 1000);

	assert_int_equal(id.epoch, EPOCH_LEAST);
	assert_int_equal(id.first_epoch, EPOCH_LEAST);
}

static void test_ids_are_never_given_twice(void **state)
{
	struct own_home *b = *state;
	struct identity id = open_at(b, T + 1000), next;
	uint64_t first = identity_take(&id, 1);

	assert_true(first == ((uint64_t)(T + 1000) << 32 | 1));
	assert_true(identity_take(&id, 10) == first + 1);
	assert_true(identity_take(&id, 1) == first + 11);
	/* The counter's end is a new epoch, which the next run knows of. */
	id.counter = UINT32_MAX - 5;
	assert_true(identity_take(&id, 5) == ((uint64_t)(T + 1000) << 32 | (UINT32_MAX - 5)));
	assert_true(identity_take(&id, 5) == ((uint64_t)(T + 1001) << 32 | 1));
	assert_int_equal(id.first_epoch, T + 1000);
	next = open_at(b, T + 1000);
	assert_int_equal(next.epoch, T + 1002);
}

static void test_secrets_stay(void **state)
{
	const uint8_t zeros[TICKET_KEY] = { 0 };
	struct own_home *b = *state;
	struct identity id = open_at(b, 1000), again = open_at(b, 1000);

	assert_memory_not_equal(id.key, zeros, sizeof(zeros));
	assert_memory_equal(id.key, again.key, sizeof(id.key));
	assert_int_equal(identity_open_cookie(&id, "", b->why, sizeof(b->why)), 0);
	assert_int_equal(identity_open_cookie(&again, "", b->why, sizeof(b->why)), 0);
	assert_int_equal(strlen(id.cookie), COOKIE_TEXT);
	assert_string_equal(id.cookie, again.cookie);
}

static void test_cookie(void **state)
{
	struct own_home *b = *state;
	struct identity id = open_at(b, 1000);
	char text[COOKIE_TEXT + 2] = "";

	assert_false(identity_is_cookie(&id, (const uint8_t *)"", 0));
	assert_false(identity_is_cookie(&id, (const uint8_t *)text, COOKIE_TEXT));
	assert_int_equal(identity_open_cookie(&id, "", b->why, sizeof(b->why)), 0);
	snprintf(text, sizeof(text), "%s\n", id.cookie);
	assert_true(identity_is_cookie(&id, (const uint8_t *)text, COOKIE_TEXT));
	assert_true(identity_is_cookie(&id, (const uint8_t *)text, COOKIE_TEXT + 1));
	assert_false(identity_is_cookie(&id, (const uint8_t *)text, COOKIE_TEXT - 1));
	assert_false(identity_is_cookie(&id, (const uint8_t *)"", 0));
	text[5] ^= 1;
	assert_false(identity_is_cookie(&id, (const uint8_t *)text, COOKIE_TEXT));
}

/* What somebody who has the key of this user's block can claim. */
static int claim(const struct identity *id, uint32_t owner, uint32_t uid, uint64_t first)
{
	struct ticket t = { .id = 0x100000007, .parent = 0x100000002, .first = first, .uid = uid }, got = { 0 };
	uint8_t key[TICKET_KEY], bytes[TICKET_SIZE];
	int genuine;

	identity_block_key(id, owner, 0x100000005, key);
	ticket_mint(key, &t, bytes);
	genuine = identity_check(id, bytes, sizeof(bytes), &got);
	if (genuine)
		assert_true(got.id == t.id && got.parent == t.parent && got.first == t.first && got.uid == t.uid);
	return genuine;
}

static void test_tickets_prove_their_user(void **state)
{
	struct own_home *b = *state;
	struct identity id = open_at(b, 1000), other = id;
	struct ticket t = { .id = 7, .uid = 1000 }, got;
	uint8_t bytes[TICKET_SIZE];

	assert_true(claim(&id, 1000, 1000, 0x100000005));
	assert_false(claim(&id, 1000, 1001, 0x100000005));
	assert_false(claim(&id, 1000, 0, 0x100000005));
	assert_true(claim(&id, 0, 1000, 0x100000005)); /* root spawns for others */
	assert_true(claim(&id, 0, 0, 0x100000005));
	assert_false(claim(&id, 1000, 1000, 0x100000006)); /* another block */
	assert_false(claim(&id, 1000, 1000, 0));           /* not the broker's own */
	assert_false(claim(&id, 0, 0, 0));
	/* The broker's own. */
	identity_mint(&id, 1000, &t, bytes);
	assert_true(identity_check(&id, bytes, sizeof(bytes), &got));
	assert_true(got.id == 7 && got.first == 0 && got.uid == 1000);
	assert_false(identity_check(&id, bytes, sizeof(bytes) - 1, &got));
	other.key[0] ^= 1;
	assert_false(identity_check(&other, bytes, sizeof(bytes), &got));
}

static void assert_refused(struct own_home *b, const char *word)
{
	struct identity id;

	b->why[0] = '\0';
	assert_true(identity_open(&id, &b->home, 1000, b->why, sizeof(b->why)) < 0);
	assert_non_null(strstr(b->why, word));
}

static void test_files_that_are_not_right(void **state)
{
	struct own_home *b = *state;
	struct rlimit was, none;

	assert_int_equal(home_write(&b->home, "epoch", "soon\n", 5), 0);
	assert_refused(b, "/epoch: it does not hold what a broker writes there; remove it");
	assert_int_equal(home_write(&b->home, "epoch", "1000\n", 5), 0);
	assert_int_equal(home_write(&b->home, "key", "short", 5), 0);
	assert_refused(b, "/key: it does not hold");
	assert_int_equal(home_write(&b->home, "key", "123456789012345678901234567890123", 33), 0);
	assert_refused(b, "key");
	home_remove(&b->home, "key");
	open_at(b, 1000);
	assert_int_equal(fchmodat(b->home.fd, "key", 0644, 0), 0);
	assert_refused(b, "only we may read; change that with chown and chmod 600");
	home_remove(&b->home, "key");
	assert_int_equal(symlinkat("/etc/passwd", b->home.fd, "key"), 0);
	assert_refused(b, "it is a symbolic link; remove it");
	home_remove(&b->home, "key");
	/* What is wrong is not the file: to remove it would not help. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){ 0, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_refused(b, "/epoch: Too many open files; put that right");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
}

static void test_home(void **state)
{
	struct own_home *b = *state;
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
	assert_non_null(strstr(b->why, "it is a symbolic link"));
	/* It is made if it is not there, but not its parents. */
	snprintf(path, sizeof(path), "%s/new", b->path);
	assert_int_equal(home_open(&other, path, b->why, sizeof(b->why)), 0);
	home_close(&other);
	snprintf(path, sizeof(path), "%s/no/such", b->path);
	assert_int_equal(home_open(&other, path, b->why, sizeof(b->why)), -EINVAL);
	assert_non_null(strstr(b->why, path));
	assert_non_null(strstr(b->why, "make the directory that it is in"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_epoch_grows_whatever_the_clock_says, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_epoch_is_not_small, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_ids_are_never_given_twice, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_secrets_stay, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_tickets_prove_their_user, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_cookie, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_files_that_are_not_right, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_home, own_home_begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
