/* The handle's clocks: the cheap one is never behind the exact one, and hardly ahead of it. */
#include "test.h"

#include "handle.h"

static void test_now_at_most(void **state)
{
	static struct brood h;
	(void)state;
	for (uint64_t end = handle_now() + 100, before = handle_now(); before < end; before = handle_now()) {
		uint64_t most = handle_now_at_most(&h), after = handle_now();
		assert_true(most >= before);
		assert_true(most <= after + HANDLE_TICK_MS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_now_at_most) };
	return cmocka_run_group_tests_name("client_handle", tests, NULL, NULL);
}
