/*
 * broker_link: what two brokers decide about their connection, each for itself and with the same result.
 */
#include "link.h"
#include "test.h"

/* Both ends see both connections, in any order. */
static void test_one_of_two_stays(void **state)
{
	(void)state;
	for (int first_is_alphas = 0; first_is_alphas < 2; first_is_alphas++) {
		/* at alpha, and at beta: the first is up, and the second comes, which the other one dialed */
		int at_alpha = link_new_one_stays("alpha", "beta", first_is_alphas, !first_is_alphas, 1);
		int at_beta = link_new_one_stays("beta", "alpha", !first_is_alphas, first_is_alphas, 1);
		/* ... and for whom they came the other way round */
		int reversed = link_new_one_stays("beta", "alpha", first_is_alphas, !first_is_alphas, 1);

		assert_int_equal(at_alpha, at_beta);
		assert_int_equal(at_alpha, !reversed);
		assert_int_equal(at_alpha, !first_is_alphas); /* alpha's stays */
	}
}

static void test_who_began_anew_wins(void **state)
{
	(void)state;
	for (int dialed = 0; dialed < 2; dialed++) {
		assert_true(link_new_one_stays("alpha", "beta", dialed, dialed, 1));
		assert_true(link_new_one_stays("alpha", "beta", dialed, !dialed, 0));
		assert_true(link_new_one_stays("beta", "alpha", dialed, !dialed, 0));
	}
}

static void test_versions(void **state)
{
	(void)state;
	assert_int_equal(link_version(LINK_VERSION_FIRST, LINK_VERSION_LAST), LINK_VERSION_LAST);
	assert_int_equal(link_version(LINK_VERSION_FIRST, LINK_VERSION_LAST + 5), LINK_VERSION_LAST);
	assert_int_equal(link_version(LINK_VERSION_LAST, LINK_VERSION_LAST), LINK_VERSION_LAST);
	assert_int_equal(link_version(0, LINK_VERSION_FIRST), LINK_VERSION_FIRST);
	assert_int_equal(link_version(LINK_VERSION_LAST + 1, LINK_VERSION_LAST + 5), 0);
	assert_int_equal(link_version(0, 0), 0);
	assert_int_equal(link_version(2, 1), 0);
}

static void test_back_off(void **state)
{
	unsigned ms = 0, before = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		ms = link_back_off(ms);
		assert_true(ms >= LINK_BACK_OFF_MIN && ms <= LINK_BACK_OFF_MAX);
		assert_true(ms > before || ms == LINK_BACK_OFF_MAX);
		before = ms;
	}
	assert_int_equal(ms, LINK_BACK_OFF_MAX);
	assert_int_equal(link_back_off(0), LINK_BACK_OFF_MIN);
}

static void test_dead(void **state)
{
	(void)state;
	assert_false(link_is_dead(0, 100));
	assert_false(link_is_dead(300, 100));
	assert_true(link_is_dead(301, 100));
	assert_false(link_is_dead((uint64_t)UINT32_MAX * LINK_BEATS, UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_of_two_stays),
		cmocka_unit_test(test_who_began_anew_wins),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_back_off),
		cmocka_unit_test(test_dead),
	};
	return cmocka_run_group_tests_name("broker_link", tests, NULL, NULL);
}
