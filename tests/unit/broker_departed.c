/*
 * broker_departed: who is remembered as gone, on whose word, and for how long.
 */
#include "departed.h"
#include "test.h"

#define ID(n) (UINT64_C(0x65f2a1b000000000) + (n))

static void test_on_whose_word(void **state)
{
	struct departed d = { 0 };

	(void)state;
	assert_false(departed_has(&d, ID(1), 0));
	departed_add(&d, ID(1), 0);
	assert_true(departed_has(&d, ID(1), 0));
	assert_true(departed_has(&d, ID(1), ID(9)));
	departed_add(&d, ID(2), ID(9));
	assert_true(departed_has(&d, ID(2), ID(9)));
	assert_false(departed_has(&d, ID(2), ID(8)));
	assert_false(departed_has(&d, ID(2), 0));
	departed_add(&d, ID(2), ID(8)); /* the first word counts */
	assert_false(departed_has(&d, ID(2), ID(8)));
	departed_add(&d, ID(2), 0);
	assert_true(departed_has(&d, ID(2), ID(8)));
	departed_add(&d, ID(1), ID(8)); /* what was seen is not made less certain */
	assert_true(departed_has(&d, ID(1), ID(9)));
	departed_deinit(&d);
}

static void test_the_oldest_are_forgotten(void **state)
{
	struct departed d = { 0 };

	(void)state;
	for (uint64_t i = 1; i <= 3 * DEPARTED_MOST + 5; i++)
		departed_add(&d, ID(i), 0);
	assert_int_equal(d.n, DEPARTED_MOST);
	assert_int_equal(d.ids.count, DEPARTED_MOST);
	assert_false(departed_has(&d, ID(2 * DEPARTED_MOST + 5), 0));
	assert_true(departed_has(&d, ID(2 * DEPARTED_MOST + 6), 0));
	assert_true(departed_has(&d, ID(3 * DEPARTED_MOST + 5), 0));
	departed_deinit(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_on_whose_word),
		cmocka_unit_test(test_the_oldest_are_forgotten),
	};
	return cmocka_run_group_tests_name("broker_departed", tests, NULL, NULL);
}
