/* broker_account: what is kept of a user, how much it may have, and how fast it may come. Time is what the test says. */
#include "account.h"
#include "test.h"
#include <errno.h>

static struct limits limits;
static struct accounts all;

static int begin(void **state)
{
	(void)state;
	limits = (struct limits)LIMITS_DEFAULT;
	limits.memory = 1200;
	accounts_init(&all, &limits);
	return 0;
}

static int end(void **state)
{
	(void)state;
	accounts_deinit(&all);
	return 0;
}

static void test_one_for_each_user(void **state)
{
	struct account *a = account_open(&all, 0), *b = account_open(&all, UINT32_MAX);

	(void)state;
	assert_non_null(a);
	assert_ptr_not_equal(a, b);
	assert_int_equal(b->uid, UINT32_MAX);
	assert_ptr_equal(account_open(&all, 0), a);
	assert_ptr_equal(account_hold(a), a);
	for (int i = 0; i < 2; i++) {
		account_release(a);
		assert_int_equal(all.by_uid.count, 2);
	}
	account_release(a);
	assert_int_equal(all.by_uid.count, 1);
	account_release(b);
	account_release(NULL);
	assert_int_equal(all.by_uid.count, 0);
}

/* A user takes as much as it can get: half, then of what that leaves the next one half again, and so on. */
static void test_as_much_as_is_free(void **state)
{
	struct account *a = account_open(&all, 1), *b = account_open(&all, 2), *c = account_open(&all, 3);

	(void)state;
	assert_int_equal(account_room(a), 1200);
	account_charge(a, 600);
	assert_int_equal(account_room(a), 0);
	assert_int_equal(account_room(b), 600);
	account_charge(b, 300);
	assert_int_equal(account_room(b), 0);
	assert_int_equal(account_room(c), 300);
	account_charge(c, 100);
	assert_int_equal(account_room(a), 0); /* it has more than it would get now, and gets no more */
	account_uncharge(a, 300);
	assert_int_equal(account_room(c), 400);
	account_charge(c, 300);
	account_charge(a, 201);
	assert_int_equal(all.memory, 1201);
	assert_true(accounts_are_full(&all));
	assert_int_equal(account_room(c), 0);
	account_uncharge(a, 1);
	assert_false(accounts_are_full(&all));
	limits.memory = 600; /* lowered below what is there, and raised again */
	assert_true(accounts_are_full(&all));
	assert_int_equal(account_room(b), 0);
	limits.memory = 1600;
	assert_int_equal(account_room(b), 100);
	account_uncharge(a, 500);
	account_uncharge(b, 300);
	account_uncharge(c, 400);
	assert_int_equal(all.memory, 0);
	account_release(a);
	account_release(b);
	account_release(c);
}

static void test_counts(void **state)
{
	(void)state;
	limits.sessions_per_user = 2;
	assert_int_equal(account_take(&all, 0, ACCOUNT_SESSIONS), 0);
	assert_int_equal(account_take(&all, 0, ACCOUNT_SESSIONS), 0);
	assert_int_equal(account_take(&all, 0, ACCOUNT_SESSIONS), -EDQUOT);
	assert_int_equal(account_take(&all, 0, ACCOUNT_NAMES), 0); /* another kind */
	assert_int_equal(account_take(&all, 1, ACCOUNT_SESSIONS), 0);
	assert_int_equal(account_take(&all, ACCOUNT_NOBODY, ACCOUNT_SESSIONS), 0);
	assert_int_equal(all.sessions, 4);
	account_give(&all, 0, ACCOUNT_SESSIONS);
	assert_int_equal(account_take(&all, 0, ACCOUNT_SESSIONS), 0);
	assert_int_equal(account_take(&all, 0, ACCOUNT_SESSIONS), -EDQUOT);
	limits.sessions_per_user = 3;
	assert_int_equal(account_take(&all, 0, ACCOUNT_SESSIONS), 0);
	limits.sessions_per_user = 1; /* lowered below what is there */
	assert_int_equal(account_take(&all, 0, ACCOUNT_SESSIONS), -EDQUOT);
	account_give(&all, 0, ACCOUNT_SESSIONS);
	account_give(&all, 0, ACCOUNT_SESSIONS);
	assert_int_equal(account_take(&all, 0, ACCOUNT_SESSIONS), -EDQUOT);
	account_give(&all, 0, ACCOUNT_SESSIONS);
	assert_int_equal(account_take(&all, 0, ACCOUNT_SESSIONS), 0);
}

static void test_all_users_together(void **state)
{
	(void)state;
	limits.connections = 3;
	for (uint32_t uid = 0; uid < 3; uid++)
		assert_int_equal(account_take(&all, uid, ACCOUNT_SESSIONS), 0);
	assert_int_equal(account_take(&all, 3, ACCOUNT_SESSIONS), -ENFILE);
	assert_int_equal(all.by_uid.count, 3); /* who was refused is not remembered */
	assert_int_equal(account_take(&all, 3, ACCOUNT_NAMES), 0);
	account_give(&all, 1, ACCOUNT_SESSIONS);
	assert_int_equal(account_take(&all, 3, ACCOUNT_SESSIONS), 0);
}

static void test_a_part_of_the_connections(void **state)
{
	struct account *a = account_open(&all, 1), *b = account_open(&all, 2);

	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_false(account_has_its_part(a, 10));
		assert_int_equal(account_take(&all, 1, ACCOUNT_SESSIONS), 0);
	}
	assert_true(account_has_its_part(a, 10)); /* five of ten: five are free */
	assert_false(account_has_its_part(b, 10));
	assert_int_equal(account_take(&all, 2, ACCOUNT_SESSIONS), 0);
	assert_true(account_has_its_part(a, 10));
	account_give(&all, 1, ACCOUNT_SESSIONS);
	assert_true(account_has_its_part(a, 10)); /* four and one: with another four would be free for five */
	account_give(&all, 1, ACCOUNT_SESSIONS);
	assert_false(account_has_its_part(a, 10));
	account_release(a);
	account_release(b);
}

/* What is counted holds the record, and nothing else does. */
static void test_counted_things_hold_the_record(void **state)
{
	(void)state;
	assert_int_equal(account_take(&all, 7, ACCOUNT_SESSIONS), 0);
	assert_int_equal(account_take(&all, 7, ACCOUNT_GREETINGS), 0);
	account_release(account_open(&all, 7));
	account_give(&all, 7, ACCOUNT_GREETINGS);
	assert_int_equal(all.by_uid.count, 1);
	account_give(&all, 7, ACCOUNT_SESSIONS);
	assert_int_equal(all.by_uid.count, 0);
	assert_int_equal(all.sessions, 0);
}

static void test_rate(void **state)
{
	uint64_t now = 1000000;

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(account_knock(&all, 7, now), 0); /* not limited */
	assert_int_equal(all.by_uid.count, 0);
	limits.connections_per_user = 10;
	limits.connection_burst = 3;
	for (int i = 0; i < 3; i++)
		assert_int_equal(account_knock(&all, 7, now), 0);
	assert_int_equal(account_knock(&all, 7, now), -EAGAIN);
	assert_int_equal(account_knock(&all, 8, now), 0); /* another user */
	assert_int_equal(account_knock(&all, 7, now + 99), -EAGAIN);
	assert_int_equal(account_knock(&all, 7, now + 100), 0);
	assert_int_equal(account_knock(&all, 7, now + 150), -EAGAIN); /* refused ones cost nothing */
	assert_int_equal(account_knock(&all, 7, now + 200), 0);
	now += 60000; /* not more than a burst is saved up */
	for (int i = 0; i < 3; i++)
		assert_int_equal(account_knock(&all, 7, now), 0);
	assert_int_equal(account_knock(&all, 7, now), -EAGAIN);
	limits.connections_per_user = 0;
	assert_int_equal(account_knock(&all, 7, now), 0);
	account_release(account_open(&all, 7)); /* its bucket does not matter now */
	assert_int_equal(all.by_uid.count, 1);  /* the other user's */
}

/* Many that come and go leave nothing; but who has something, or came just now, is not forgotten. */
static void test_users_are_forgotten(void **state)
{
	uint64_t now = 5000;

	(void)state;
	limits.connections_per_user = 1;
	limits.connection_burst = 1;
	assert_int_equal(account_take(&all, 1, ACCOUNT_NAMES), 0);
	for (uint32_t uid = 100; uid < 20100; uid++) {
		assert_int_equal(account_knock(&all, uid, now), 0);
		account_release(account_open(&all, uid)); /* here and gone */
		assert_int_equal(account_knock(&all, uid, now), -EAGAIN);
		now += 100;
	}
	assert_true(all.by_uid.count < 200);
	limits.names_per_user = 1;
	assert_int_equal(account_take(&all, 1, ACCOUNT_NAMES), -EDQUOT);
}

static void test_words(void **state)
{
	char text[ACCOUNT_TEXT];

	(void)state;
	limits.sessions_per_user = 1;
	limits.connections = 9;
	limits.connections_per_user = 20;
	assert_int_equal(account_take(&all, 1000, ACCOUNT_SESSIONS), 0);
	assert_string_equal(account_explain(&all, 1000, ACCOUNT_SESSIONS, -EDQUOT, text),
			    "user 1000 has 1 sessions, the most allowed (limits.sessions-per-user = 1)");
	assert_string_equal(account_explain(&all, 1000, ACCOUNT_SESSIONS, -ENFILE, text),
			    "there are 1 sessions, the most allowed (limits.sessions = 9)");
	assert_string_equal(account_explain(&all, 1000, ACCOUNT_SESSIONS, -EAGAIN, text),
			    "user 1000 connects more than 20 times a second (limits.connections-per-user = 20)");
	assert_string_equal(account_explain(&all, ACCOUNT_NOBODY, ACCOUNT_GREETINGS, -EDQUOT, text),
			    "who came over TCP has 0 connections without a HELLO, the most allowed "
			    "(limits.greetings-per-user = 65536)");
	assert_string_equal(account_explain(&all, 5, ACCOUNT_NAMES, -EDQUOT, text),
			    "user 5 has 0 names, the most allowed (limits.names-per-user = 65536)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_for_each_user, begin, end),
		cmocka_unit_test_setup_teardown(test_as_much_as_is_free, begin, end),
		cmocka_unit_test_setup_teardown(test_counts, begin, end),
		cmocka_unit_test_setup_teardown(test_all_users_together, begin, end),
		cmocka_unit_test_setup_teardown(test_a_part_of_the_connections, begin, end),
		cmocka_unit_test_setup_teardown(test_counted_things_hold_the_record, begin, end),
		cmocka_unit_test_setup_teardown(test_rate, begin, end),
		cmocka_unit_test_setup_teardown(test_users_are_forgotten, begin, end),
		cmocka_unit_test_setup_teardown(test_words, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
