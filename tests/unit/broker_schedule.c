/*
 * broker_schedule: who is served in which order, as a string: each waiter has a letter.
 */
#include "schedule.h"
#include "test.h"
#include <string.h>

static const struct limits limits = { .turn = 400, .quantum = 100 };
static struct schedule schedule;
static struct lane lanes[3];
static struct waiter waiters[26];
static char order[128];

static int begin(void **state)
{
	(void)state;
	schedule_init(&schedule, &limits);
	for (int i = 0; i < 3; i++)
		lane_init(&lanes[i]);
	memset(waiters, 0, sizeof(waiters));
	order[0] = '\0';
	return 0;
}

static struct waiter *waiter(char letter)
{
	return &waiters[letter - 'a'];
}

/* Those of a user wait. Capitals are heavy. */
static void wait_all(unsigned user, const char *letters)
{
	for (; *letters; letters++) {
		struct waiter *w = waiter((char)(*letters | 0x20));

		w->heavy = *letters < 'a';
		schedule_add(&schedule, w, &lanes[user]);
	}
}

/* One turn, in which serving one costs so much, and makes it wait again if `again`. */
static void turn(unsigned work, int again)
{
	struct waiter *w;
	size_t n = strlen(order);

	schedule_begin(&schedule);
	while ((w = schedule_next(&schedule))) {
		struct lane *lane = w->lane;

		assert_null(lane); /* it does not wait while it is served */
		lane = w - waiters < 10 ? &lanes[0] : w - waiters < 20 ? &lanes[1] : &lanes[2];
		order[n++] = (char)('a' + (w - waiters));
		schedule_charge(&schedule, lane, work);
		if (again)
			schedule_add(&schedule, w, lane);
	}
	order[n++] = '|';
	order[n] = '\0';
}

#define assert_order(text) (assert_string_equal(order, text), (void)(order[0] = '\0'))

static void test_first_come_first_served(void **state)
{
	(void)state;
	assert_int_equal(schedule.n, 0);
	wait_all(0, "abc");
	wait_all(0, "b"); /* again */
	schedule_remove(&schedule, waiter('b'));
	schedule_remove(&schedule, waiter('b'));
	wait_all(0, "db");
	assert_int_equal(schedule.n, 4);
	turn(1, 0);
	assert_order("acdb|");
	assert_int_equal(schedule.n, 0);
	turn(1, 0);
	assert_order("|");
}

/* The work of a turn is bounded, whoever waits; the next one goes on where this one stopped. */
static void test_turn_ends(void **state)
{
	(void)state;
	wait_all(0, "abcdefghij");
	turn(100, 0);
	turn(150, 0);
	turn(1000, 0);
	turn(1, 0);
	assert_order("abcd|efg|h|ij|");
}

/* One of one user has the same share as many of another. */
static void test_users_share(void **state)
{
	(void)state;
	wait_all(0, "ABCDEFGHIJ");
	wait_all(1, "k");
	for (int i = 0; i < 4; i++)
		turn(100, 1);
	assert_order("ak|bk|ck|dk|");
	/* With less to do at a time the many take more of them, and the one comes as often as before. */
	for (int i = 0; i < 3; i++)
		turn(50, 1);
	assert_order("efk|ghk|ijk|");
}

/* Who did too much waits until it is even with the others. */
static void test_debts_are_paid(void **state)
{
	(void)state;
	wait_all(0, "a");
	turn(350, 0);
	wait_all(0, "ab");
	wait_all(1, "klmnop");
	turn(99, 0);
	assert_order("a|klman|"); /* 350 and 297 */
	turn(50, 0);
	assert_order("bop|");
	/* ... and no longer than that: alone it is served at once. */
	wait_all(0, "a");
	turn(5000, 0);
	wait_all(0, "ab");
	turn(1, 0);
	assert_order("a|ab|");
}

/* What was not used is not saved up. */
static void test_nothing_is_saved(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		wait_all(1, "k");
		turn(1, 0);
	}
	order[0] = '\0';
	wait_all(0, "abcdefg");
	wait_all(1, "klmnopq");
	turn(50, 0);
	assert_order("abklcdmn|");
}

/* Who took little is not behind a crowd that took much, also if it comes later, and has its answer before the crowd is served. */
static void test_light_before_heavy(void **state)
{
	(void)state;
	wait_all(0, "ABCDE");
	wait_all(0, "fgh");
	turn(10, 0);
	assert_order("fgh|");
	wait_all(0, "i");
	turn(10, 0);
	turn(100, 0);
	wait_all(0, "g");
	turn(10, 0);
	turn(10, 0);
	assert_order("i|abcd|g|e|");
}

/* The same when the light one is another user's. */
static void test_light_of_another(void **state)
{
	(void)state;
	wait_all(0, "A");
	wait_all(1, "kl");
	wait_all(0, "B");
	turn(50, 0);
	assert_order("abkl|");
	wait_all(1, "k");
	wait_all(0, "AB");
	turn(50, 0);
	turn(50, 0);
	assert_order("k|ab|");
}

/* ... and they do not keep it from being served. */
static void test_many_light_ones(void **state)
{
	(void)state;
	wait_all(0, "Ab");
	turn(1, 1);
	turn(1, 1);
	assert_order("bbbbbbbbbbbbbbbb|abbbbbbbbbbbbbbbb|");
	schedule_remove(&schedule, waiter('a'));
	turn(100, 1);
	wait_all(0, "A");
	turn(1, 1); /* passing is counted from when it waits */
	assert_order("bbbb|bbbbbbbbbbbbbbbb|");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_first_come_first_served, begin),
		cmocka_unit_test_setup(test_turn_ends, begin),
		cmocka_unit_test_setup(test_users_share, begin),
		cmocka_unit_test_setup(test_debts_are_paid, begin),
		cmocka_unit_test_setup(test_nothing_is_saved, begin),
		cmocka_unit_test_setup(test_light_before_heavy, begin),
		cmocka_unit_test_setup(test_light_of_another, begin),
		cmocka_unit_test_setup(test_many_light_ones, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
