/*
 * broker_table: against the simplest table there is, through a long random life.
 */
#include "table.h"
#include "test.h"
#include <stdlib.h>

#define KEYS 3000u

static int values[KEYS];

/* Keys that look like ids, and keys that share their low bits. */
static uint64_t key_of(unsigned i)
{
	return i % 3 ? UINT64_C(0x65f2a1b000000001) + i : ((uint64_t)i + 1) << 32;
}

static void assert_same(const struct table *t, const unsigned char *there)
{
	uint32_t n = 0, at = 0;
	int *value;

	for (unsigned i = 0; i < KEYS; i++) {
		assert_ptr_equal(table_get(t, key_of(i)), there[i] ? &values[i] : NULL);
		n += there[i];
	}
	assert_int_equal(t->count, n);
	for (; (value = table_next(t, &at)); n--)
		assert_true(there[value - values]);
	assert_int_equal(n, 0);
}

static void test_random_life(void **state)
{
	struct table t = { 0 };
	unsigned char there[KEYS] = { 0 };

	(void)state;
	srand(3);
	assert_null(table_get(&t, 1));
	assert_null(table_remove(&t, 1));
	for (unsigned round = 0; round < 60000; round++) {
		unsigned i = (unsigned)rand() % KEYS, fill = round / 10000 % 2;

		if (there[i] && (fill == 0 || rand() % 4 == 0)) {
			assert_ptr_equal(table_remove(&t, key_of(i)), &values[i]);
			there[i] = 0;
		} else if (!there[i] && (fill == 1 || rand() % 4 == 0)) {
			assert_int_equal(table_put(&t, key_of(i), &values[i]), 0);
			there[i] = 1;
		}
		if (round % 997 == 0)
			assert_same(&t, there);
	}
	for (unsigned i = 0; i < KEYS; i++)
		assert_ptr_equal(table_remove(&t, key_of(i)), there[i] ? &values[i] : NULL);
	assert_int_equal(t.count, 0);
	assert_in_range(t.size, 1, 8); /* it gave its memory back */
	table_deinit(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_life) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
