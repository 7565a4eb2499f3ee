/*
 * client_tail: the last bytes of a stream, whatever the pieces in which it came.
 */
#include "tail.h"
#include "test.h"
#include <stdlib.h>
#include <string.h>

#define LONG (5 * TAIL_MOST)

static void assert_tail(struct tail *t, const uint8_t *expected, size_t n)
{
	uint8_t got[TAIL_MOST];

	assert_int_equal(tail_copy(t, got), n);
	assert_memory_equal(got, expected, n);
}

static void test_short(void **state)
{
	struct tail t = { 0 };

	(void)state;
	assert_tail(&t, (const uint8_t *)"", 0);
	tail_add(&t, (const uint8_t *)"", 0);
	assert_null(t.ring); /* nothing is kept for nothing */
	tail_add(&t, (const uint8_t *)"one\ntwo", 7);
	assert_true(t.fresh);
	assert_tail(&t, (const uint8_t *)"one\ntwo", 7);
	assert_false(t.fresh);
	tail_add(&t, (const uint8_t *)"\n", 1);
	assert_true(t.fresh);
	assert_tail(&t, (const uint8_t *)"one\ntwo\n", 8);
	tail_deinit(&t);
}

/* Lines of 10 bytes, in pieces of every size: the last whole ones that fit. */
static void test_long_in_pieces(void **state)
{
	static uint8_t bytes[LONG];
	const size_t whole = (TAIL_MOST - 1) / 10 * 10;

	(void)state;
	for (size_t i = 0; i < LONG; i++)
		bytes[i] = i % 10 == 9 ? '\n' : (uint8_t)('a' + i / 10 % 26);
	for (size_t piece = 1; piece <= LONG; piece = piece * 3 / 2 + 1) {
		struct tail t = { 0 };

		for (size_t at = 0; at < LONG; at += piece)
			tail_add(&t, bytes + at, at + piece < LONG ? piece : LONG - at);
		assert_tail(&t, bytes + LONG - whole, whole);
		tail_deinit(&t);
	}
}

static void test_one_long_line(void **state)
{
	static uint8_t bytes[LONG];
	struct tail t = { 0 };

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	tail_add(&t, bytes, LONG);
	assert_tail(&t, bytes, TAIL_MOST);
	bytes[LONG - 1] = '\n';
	tail_add(&t, bytes, LONG); /* its own end does not begin a line */
	assert_tail(&t, bytes + LONG - TAIL_MOST, TAIL_MOST);
	tail_deinit(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_long_in_pieces),
		cmocka_unit_test(test_one_long_line),
	};

	return cmocka_run_group_tests_name("client_tail", tests, NULL, NULL);
}
