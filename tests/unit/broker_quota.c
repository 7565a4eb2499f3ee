/* broker_quota: what each user may have, and how fast it may come. Time is what the test says. */
#include "quota.h"
#include "test.h"
#include <errno.h>

static struct limits limits;
static struct quota quota;

static int begin(void **state)
{
	(void)state;
	limits = (struct limits)LIMITS_DEFAULT;
	quota_init(&quota, &limits);
	return 0;
}

static int end(void **state)
{
	(void)state;
	quota_deinit(&quota);
	return 0;
}

static void test_counts(void **state)
{
	(void)state;
	limits.sessions_per_user = 2;
	assert_int_equal(quota_take(&quota, 0, QUOTA_SESSIONS), 0);
	assert_int_equal(quota_take(&quota, 0, QUOTA_SESSIONS), 0);
	assert_int_equal(quota_take(&quota, 0, QUOTA_SESSIONS), -EDQUOT);
	assert_int_equal(quota_take(&quota, 0, QUOTA_NAMES), 0); /* another kind */
	assert_int_equal(quota_take(&quota, 1, QUOTA_SESSIONS), 0);
	assert_int_equal(quota_take(&quota, QUOTA_NOBODY, QUOTA_SESSIONS), 0);
	assert_int_equal(quota.sessions, 4);
	quota_give(&quota, 0, QUOTA_SESSIONS);
	assert_int_equal(quota_take(&quota, 0, QUOTA_SESSIONS), 0);
	assert_int_equal(quota_take(&quota, 0, QUOTA_SESSIONS), -EDQUOT);
	limits.sessions_per_user = 3;
	assert_int_equal(quota_take(&quota, 0, QUOTA_SESSIONS), 0);
	limits.sessions_per_user = 1; /* lowered below what is there */
	assert_int_equal(quota_take(&quota, 0, QUOTA_SESSIONS), -EDQUOT);
	quota_give(&quota, 0, QUOTA_SESSIONS);
	quota_give(&quota, 0, QUOTA_SESSIONS);
	assert_int_equal(quota_take(&quota, 0, QUOTA_SESSIONS), -EDQUOT);
	quota_give(&quota, 0, QUOTA_SESSIONS);
	assert_int_equal(quota_take(&quota, 0, QUOTA_SESSIONS), 0);
}

static void test_all_users_together(void **state)
{
	(void)state;
	limits.connections = 3;
	for (uint32_t uid = 0; uid < 3; uid++)
		assert_int_equal(quota_take(&quota, uid, QUOTA_SESSIONS), 0);
	assert_int_equal(quota_take(&quota, 3, QUOTA_SESSIONS), -ENFILE);
	assert_int_equal(quota_take(&quota, 3, QUOTA_NAMES), 0);
	quota_give(&quota, 1, QUOTA_SESSIONS);
	assert_int_equal(quota_take(&quota, 3, QUOTA_SESSIONS), 0);
}

static void test_rate(void **state)
{
	uint64_t now = 1000000;

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(quota_knock(&quota, 7, now), 0); /* not limited */
	assert_int_equal(quota.users.count, 0);
	limits.connections_per_user = 10;
	limits.connection_burst = 3;
	for (int i = 0; i < 3; i++)
		assert_int_equal(quota_knock(&quota, 7, now), 0);
	assert_int_equal(quota_knock(&quota, 7, now), -EAGAIN);
	assert_int_equal(quota_knock(&quota, 8, now), 0); /* another user */
	assert_int_equal(quota_knock(&quota, 7, now + 99), -EAGAIN);
	assert_int_equal(quota_knock(&quota, 7, now + 100), 0);
	assert_int_equal(quota_knock(&quota, 7, now + 150), -EAGAIN); /* refused ones cost nothing */
	assert_int_equal(quota_knock(&quota, 7, now + 200), 0);
	now += 60000; /* not more than a burst is saved up */
	for (int i = 0; i < 3; i++)
		assert_int_equal(quota_knock(&quota, 7, now), 0);
	assert_int_equal(quota_knock(&quota, 7, now), -EAGAIN);
	limits.connections_per_user = 0;
	assert_int_equal(quota_knock(&quota, 7, now), 0);
}

/* Many that come and go leave nothing; but who has something, or came just now, is not forgotten. */
static void test_users_are_forgotten(void **state)
{
	uint64_t now = 5000;

	(void)state;
	limits.connections_per_user = 1;
	limits.connection_burst = 1;
	assert_int_equal(quota_take(&quota, 1, QUOTA_NAMES), 0);
	for (uint32_t uid = 100; uid < 20100; uid++) {
		assert_int_equal(quota_knock(&quota, uid, now), 0);
		assert_int_equal(quota_knock(&quota, uid, now), -EAGAIN);
		now += 100;
	}
	assert_true(quota.users.count < 200);
	limits.names_per_user = 1;
	assert_int_equal(quota_take(&quota, 1, QUOTA_NAMES), -EDQUOT);
}

static void test_words(void **state)
{
	char text[QUOTA_TEXT];

	(void)state;
	limits.sessions_per_user = 1;
	limits.connections = 9;
	limits.connections_per_user = 20;
	assert_int_equal(quota_take(&quota, 1000, QUOTA_SESSIONS), 0);
	assert_string_equal(quota_explain(&quota, 1000, QUOTA_SESSIONS, -EDQUOT, text),
			    "user 1000 has 1 sessions, the most allowed (limits.sessions-per-user = 1)");
	assert_string_equal(quota_explain(&quota, 1000, QUOTA_SESSIONS, -ENFILE, text),
			    "there are 1 sessions, the most allowed (limits.sessions = 9)");
	assert_string_equal(quota_explain(&quota, 1000, QUOTA_SESSIONS, -EAGAIN, text),
			    "user 1000 connects more than 20 times a second (limits.connections-per-user = 20)");
	assert_string_equal(quota_explain(&quota, QUOTA_NOBODY, QUOTA_GREETINGS, -EDQUOT, text),
			    "who came over TCP has 0 connections without a HELLO, the most allowed "
			    "(limits.greetings-per-user = 65536)");
	assert_string_equal(quota_explain(&quota, 5, QUOTA_NAMES, -EDQUOT, text),
			    "user 5 has 0 names, the most allowed (limits.names-per-user = 65536)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_counts, begin, end),
		cmocka_unit_test_setup_teardown(test_all_users_together, begin, end),
		cmocka_unit_test_setup_teardown(test_rate, begin, end),
		cmocka_unit_test_setup_teardown(test_users_are_forgotten, begin, end),
		cmocka_unit_test_setup_teardown(test_words, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
