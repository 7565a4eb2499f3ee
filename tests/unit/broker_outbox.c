/* What one destination gets, in order: adjacent frames are one piece, frames with descriptors are pieces of their own. */
#include "test.h"

#include "outbox.h"
#include <unistd.h>

static uint8_t bytes[400];
static struct edge *const edge = (struct edge *)(void *)bytes, *const other = (struct edge *)(void *)(bytes + 8);

static void adjacent_frames_are_one_piece(void **state)
{
	struct outbox_pool pool;
	struct outbox *out;

	(void)state;
	outbox_pool_init(&pool);
	out = outbox_lend(&pool);
	assert_int_equal(outbox_add(out, edge, bytes, 48), 0);
	assert_int_equal(outbox_add(out, edge, bytes + 48, 56), 0);
	assert_int_equal(out->n, 1);
	assert_int_equal(out->pieces[0].iov_len, 104);
	assert_int_equal(outbox_add(out, other, bytes + 104, 48), 0);
	assert_int_equal(outbox_add(out, other, bytes + 200, 48), 0);
	assert_int_equal(out->n, 3);
	outbox_return(&pool, out);
	outbox_pool_deinit(&pool);
}

static void a_frame_with_descriptors_is_a_piece(void **state)
{
	struct outbox_pool pool;
	struct outbox *out;
	struct parcel *first = parcel_of(dup(0)), *second = parcel_of(dup(0));

	(void)state;
	outbox_pool_init(&pool);
	out = outbox_lend(&pool);
	assert_int_equal(outbox_add(out, edge, bytes, 48), 0);
	assert_int_equal(outbox_add_parcel(out, edge, bytes + 48, 48, first), 0);
	assert_int_equal(outbox_add(out, edge, bytes + 96, 48), 0); /* all of these lie one behind the other */
	assert_int_equal(outbox_add(out, edge, bytes + 144, 48), 0);
	assert_int_equal(outbox_add_parcel(out, edge, bytes + 192, 48, second), 0);
	assert_int_equal(out->n, 4);
	assert_int_equal(out->pieces[1].iov_len, 48);
	assert_int_equal(out->pieces[2].iov_len, 96);
	assert_null(outbox_take_parcel(out, 0));
	assert_ptr_equal(outbox_take_parcel(out, 1), first);
	assert_null(outbox_take_parcel(out, 2));
	assert_ptr_equal(outbox_take_parcel(out, 3), second);
	parcel_free(first);
	parcel_free(second);
	outbox_return(&pool, out);
	assert_ptr_equal(outbox_lend(&pool), out); /* and nothing is left in it */
	assert_int_equal(outbox_add(out, edge, bytes, 48), 0);
	assert_int_equal(outbox_add(out, edge, bytes + 48, 48), 0);
	assert_int_equal(out->n, 1);
	outbox_return(&pool, out);
	outbox_pool_deinit(&pool);
}

static void descriptors_that_nobody_took_are_closed(void **state)
{
	struct outbox_pool pool;
	struct outbox *out;
	int ends[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	outbox_pool_init(&pool);
	out = outbox_lend(&pool);
	assert_int_equal(outbox_add_parcel(out, edge, bytes, 48, parcel_of(ends[1])), 0);
	outbox_return(&pool, out);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	outbox_pool_deinit(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adjacent_frames_are_one_piece),
		cmocka_unit_test(a_frame_with_descriptors_is_a_piece),
		cmocka_unit_test(descriptors_that_nobody_took_are_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
