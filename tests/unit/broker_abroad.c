/*
 * broker_abroad: the table of epochs of other nodes, and its file, in a directory of the test's own.
 */
#include "abroad.h"
#include "own_home.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EPOCH 0x65000000u

static int end(void **state)
{
	struct own_home *b = *state;

	home_remove(&b->home, "abroad");
	return own_home_end(b);
}

static struct abroad open_table(struct own_home *b)
{
	struct abroad a;

	assert_int_equal(abroad_open(&a, &b->home, b->why, sizeof(b->why)), 0);
	return a;
}

static void test_numbers_stay(void **state)
{
	struct abroad a = open_table(*state);
	uint32_t first = abroad_number(&a, "beta", EPOCH), second = abroad_number(&a, "gamma", EPOCH);

	assert_true(first > 0 && first < EPOCH_LEAST);
	assert_true(second > 0 && second != first);
	assert_int_equal(abroad_number(&a, "beta", EPOCH), first);
	assert_int_equal(abroad_known(&a, "beta", EPOCH), first);
	assert_int_equal(abroad_known(&a, "beta", EPOCH + 1), 0);
	abroad_deinit(&a);
	a = open_table(*state);
	assert_int_equal(a.n, 2);
	assert_int_equal(abroad_known(&a, "beta", EPOCH), first);
	assert_int_equal(abroad_known(&a, "gamma", EPOCH), second);
	assert_string_equal(abroad_of(&a, second)->node, "gamma");
	assert_int_equal(abroad_of(&a, second)->epoch, EPOCH);
	assert_null(abroad_of(&a, 99));
	assert_int_not_equal(abroad_number(&a, "beta", EPOCH + 1), second);
	abroad_deinit(&a);
}

/* Nobody finds somebody else under an id that was forgotten. */
static void test_the_oldest_are_forgotten(void **state)
{
	struct abroad a = open_table(*state);
	uint32_t other = abroad_number(&a, "gamma", EPOCH), first = abroad_number(&a, "beta", EPOCH), last = 0;

	for (uint32_t i = 1; i <= ABROAD_PER_NODE; i++)
		last = abroad_number(&a, "beta", EPOCH + i);
	assert_int_equal(a.n, ABROAD_PER_NODE + 1);
	assert_null(abroad_of(&a, first));
	assert_non_null(abroad_of(&a, other)); /* one node's many are not another's loss */
	abroad_deinit(&a);
	a = open_table(*state);
	assert_int_equal(abroad_number(&a, "beta", EPOCH), last + 1);
	abroad_deinit(&a);
}

static void test_what_has_no_number(void **state)
{
	struct abroad a = open_table(*state);

	assert_int_equal(abroad_number(&a, "beta", EPOCH_LEAST - 1), 0);
	assert_int_equal(abroad_number(&a, "beta", EPOCH_MOST + 1), 0);
	assert_int_equal(abroad_number(&a, "Beta", EPOCH), 0);
	a.next = EPOCH_LEAST;
	assert_int_equal(abroad_number(&a, "beta", EPOCH), 0);
	assert_int_equal(a.n, 0);
	abroad_deinit(&a);
}

/* A number that is not on disk is not given. */
static void test_a_full_disk(void **state)
{
	struct own_home *b = *state;
	struct abroad a = open_table(b);
	int fd = b->home.fd;

	b->home.fd = -1;
	assert_int_equal(abroad_number(&a, "beta", EPOCH), 0);
	assert_int_equal(abroad_known(&a, "beta", EPOCH), 0);
	b->home.fd = fd;
	assert_int_equal(abroad_number(&a, "beta", EPOCH), 2); /* the first may be there in part */
	abroad_deinit(&a);
}

static int is_listed(void *data, const char *node)
{
	return strcmp(data, node) == 0;
}

/* Nobody who was told to be gone is found again, and the other node can see that it was given up. */
static void test_parting(void **state)
{
	static char beta[] = "beta", gamma[] = "gamma";
	struct abroad a = open_table(*state);
	uint32_t other = abroad_number(&a, "gamma", EPOCH), first = abroad_number(&a, "beta", EPOCH), parting;

	assert_int_equal(abroad_parting(&a, "beta"), 0);
	abroad_part(&a, is_listed, gamma);
	parting = abroad_parting(&a, "beta");
	assert_int_not_equal(parting, 0);
	assert_int_equal(abroad_known(&a, "beta", EPOCH), 0);
	assert_int_equal(abroad_known(&a, "gamma", EPOCH), other);
	assert_int_equal(abroad_parting(&a, "gamma"), 0);
	abroad_part(&a, is_listed, gamma); /* which has happened already */
	assert_int_equal(abroad_parting(&a, "beta"), parting);
	abroad_deinit(&a);
	a = open_table(*state);
	assert_int_equal(abroad_parting(&a, "beta"), parting);
	assert_true(abroad_number(&a, "beta", EPOCH) > first);
	abroad_part(&a, is_listed, beta);
	abroad_part(&a, is_listed, gamma);
	assert_true(abroad_parting(&a, "beta") > parting);
	assert_int_equal(a.n, 2); /* the last parting from each, and nothing else */
	abroad_deinit(&a);
}

/* Who had an id of an earlier start of a host is gone, whether this broker saw the end of that or not. */
static void test_hosts_that_start_anew(void **state)
{
	static const uint8_t one[] = "one!", two[] = "two!";
	struct abroad a = open_table(*state);
	uint32_t first = abroad_number(&a, "beta", EPOCH), last = 0;

	assert_int_equal(abroad_boot(&a, "beta", one), 1);
	assert_int_equal(abroad_boot(&a, "beta", one), 1);
	assert_int_equal(abroad_boot(&a, "gamma", two), 1);
	assert_int_equal(abroad_known(&a, "beta", EPOCH), first);
	abroad_deinit(&a);
	a = open_table(*state);
	assert_int_equal(abroad_boot(&a, "beta", two), 0);
	assert_int_equal(abroad_known(&a, "beta", EPOCH), 0);
	assert_int_equal(abroad_boot(&a, "beta", two), 1);
	for (uint32_t i = 0; i <= ABROAD_PER_NODE; i++)
		last = abroad_number(&a, "beta", EPOCH + i);
	assert_true(last > first);
	assert_int_equal(abroad_boot(&a, "beta", one), 0); /* what it was is not forgotten with old epochs */
	abroad_deinit(&a);
}

static void refused(struct own_home *b, const char *text, size_t n)
{
	struct abroad a;

	assert_int_equal(home_write(&b->home, "abroad", text, n), 0);
	if (abroad_open(&a, &b->home, b->why, sizeof(b->why)) == 0)
		fail_msg("taken for a table: %.*s", (int)n, text);
	assert_non_null(strstr(b->why, "abroad"));
	abroad_deinit(&a);
}

static void test_garbled(void **state)
{
	static const char good[] = "next 4 2\n1 beta 65000000\n3 gamma 65000000\n";
	static const char *const bad[] = {
		"next 4 2\n1 beta 65000000\n",                                    /* a line is missing */
		"next 4 2\n1 beta 65000000\n3 gamma 650000",                      /* torn */
		"next 4 2\n1 beta 65000000\n3 gamma 65000000\n5 beta 65000001\n", /* more */
		"next 4 2\n3 beta 65000000\n1 gamma 65000000\n",                  /* not in order */
		"next 3 2\n1 beta 65000000\n3 gamma 65000000\n",                  /* a number to come */
		"next 4 2\n1 beta 65000000\n3 Gamma 65000000\n",                  /* no name */
		"next 4 2\n1 beta 65000000\n3 gamma 5\n",                         /* no epoch */
		"next 4 2\n1 beta 65000000\n3 gamma 0x65000000\n",                /* not as we write it */
		"next 4 2\n1 beta 65000000\n3 gamma 65000000 \n",
		"next 4 2\n1 beta 65000000\n\n",
		"next 0 0\n",
		"next 99999999 0\n",
		"4 2\n",
		"\n",
		"",
	};
	struct own_home *b = *state;
	struct abroad a;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refused(b, bad[i], strlen(bad[i]));
	for (size_t n = 0; n < sizeof(good) - 1; n++) /* cut anywhere */
		refused(b, good, n);
	refused(b, "next 4 0\n\0next", 14);
	assert_int_equal(home_write(&b->home, "abroad", good, sizeof(good) - 1), 0);
	a = open_table(b);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.next, 4);
	abroad_deinit(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_numbers_stay, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_the_oldest_are_forgotten, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_what_has_no_number, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_a_full_disk, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_parting, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_hosts_that_start_anew, own_home_begin, end),
		cmocka_unit_test_setup_teardown(test_garbled, own_home_begin, end),
	};
	return cmocka_run_group_tests_name("broker_abroad", tests, NULL, NULL);
}
