/* Tombstones: against a slow model; the latest 65,536 stay, the oldest go first. */
#include "test.h"

#include "tombstone.h"
#include <string.h>

static struct tombstone stone(uint64_t id)
{
	return (struct tombstone){
		.id = id, .next = id * 3, .its = (uint8_t)(id & 15), .mine = (uint8_t)(id >> 4 & 15)
	};
}

static void expect(struct tombstones *t, uint64_t id, int there)
{
	struct tombstone got = { 0 };
	assert_int_equal(tombstone_take(t, id, &got), there);
	if (!there)
		return;
	assert_int_equal(got.id, id);
	assert_int_equal(got.next, id * 3);
	assert_int_equal(got.its, id & 15);
	assert_int_equal(got.mine, id >> 4 & 15);
}

static void put(struct tombstones *t, uint64_t id)
{
	struct tombstone s = stone(id);
	tombstone_put(t, &s);
}

static void test_taken_once(void **state)
{
	struct tombstones t = { 0 };
	(void)state;
	expect(&t, 7, 0);
	put(&t, 7);
	put(&t, 8);
	expect(&t, 7, 1);
	expect(&t, 7, 0);
	expect(&t, 8, 1);
	tombstones_deinit(&t);
}

static void test_put_again_replaces(void **state)
{
	struct tombstones t = { 0 };
	struct tombstone newer = { .id = 7, .next = 99 }, got;
	(void)state;
	put(&t, 7);
	tombstone_put(&t, &newer);
	assert_int_equal(tombstone_take(&t, 7, &got), 1);
	assert_int_equal(got.next, 99);
	expect(&t, 7, 0);
	tombstones_deinit(&t);
}

static void test_oldest_goes_first(void **state)
{
	struct tombstones t = { 0 };
	uint64_t most = TOMBSTONES_MOST, id;
	(void)state;
	for (id = 1; id <= most + 1000; id++)
		put(&t, id);
	for (id = 1; id <= 1000; id++)
		expect(&t, id, 0);
	for (; id <= most + 1000; id++)
		expect(&t, id, 1);
	assert_int_equal(t.size, TOMBSTONES_MOST);
	tombstones_deinit(&t);
}

#define IDS 300u

/* Few ids, put and taken at random, while the ring grows around them. */
static void test_against_a_model(void **state)
{
	struct tombstones t = { 0 };
	unsigned char there[IDS + 1] = { 0 };
	uint32_t random = 1;
	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		random = random * 1664525u + 1013904223u;
		uint64_t id = 1 + (random >> 8) % IDS;
		if (random >> 30) {
			put(&t, id);
			there[id] = 1;
		} else {
			expect(&t, id, there[id]);
			there[id] = 0;
		}
	}
	for (uint64_t id = 1; id <= IDS; id++)
		expect(&t, id, there[id]);
	tombstones_deinit(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken_once),
		cmocka_unit_test(test_put_again_replaces),
		cmocka_unit_test(test_oldest_goes_first),
		cmocka_unit_test(test_against_a_model),
	};
	return cmocka_run_group_tests_name("client_tombstone", tests, NULL, NULL);
}
