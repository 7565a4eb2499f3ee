/* Heads of frames: bytes at their offsets, limits of every kind, and what is not a frame. */
#include "test.h"

#include "frame.h"
#include <errno.h>
#include <string.h>

static const struct frame full = {
	.kind = FRAME_DATA,
	.flags = FRAME_ACK_NOW,
	.source_node = 0x1122,
	.destination_node = 0x3344,
	.length = 5,
	.stream = 0x55667788,
	.source = 0x0102030405060708,
	.destination = 0x1112131415161718,
	.sequence = 0x2122232425262728,
	.acknowledge = 0x3132333435363738,
};

static void head_has_every_member_at_its_offset(void **state)
{
	static const uint8_t expected[FRAME_HEAD] = {
		0xb1, 0x01, 0x01, 0x00, 5,    0,    0,    0,    8,    7,    6,    5,    4,    3,    2,    1,
		0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0x88, 0x77, 0x66, 0x55, 0x22, 0x11, 0x44, 0x33,
		0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31,
	};
	uint8_t bytes[FRAME_HEAD];

	(void)state;
	frame_write_head(bytes, &full);
	assert_memory_equal(bytes, expected, sizeof(bytes));
}

static void what_is_written_is_read(void **state)
{
	_Alignas(8) uint8_t bytes[FRAME_HEAD + 8] = { 0 };
	struct frame f;

	(void)state;
	frame_write_head(bytes, &full);
	assert_int_equal(frame_parse(bytes, sizeof(bytes), FRAME_MAX, &f), 1);
	assert_int_equal(f.kind, full.kind);
	assert_int_equal(f.flags, full.flags);
	assert_int_equal(f.source_node, full.source_node);
	assert_int_equal(f.destination_node, full.destination_node);
	assert_int_equal(f.length, full.length);
	assert_int_equal(f.stream, full.stream);
	assert_int_equal(f.source, full.source);
	assert_int_equal(f.destination, full.destination);
	assert_int_equal(f.sequence, full.sequence);
	assert_int_equal(f.acknowledge, full.acknowledge);
	assert_ptr_equal(f.bytes, bytes);
	assert_ptr_equal(f.body, bytes + FRAME_HEAD);
	assert_int_equal(f.size, FRAME_HEAD + 8);
}

static void a_part_asks_for_more(void **state)
{
	_Alignas(8) uint8_t bytes[FRAME_HEAD + 8] = { 0 };
	struct frame f;
	size_t n;

	(void)state;
	frame_write_head(bytes, &full);
	for (n = 0; n < sizeof(bytes); n++) {
		assert_int_equal(frame_parse(bytes, n, FRAME_MAX, &f), 0);
		assert_int_equal(f.size, n < FRAME_HEAD ? 0 : sizeof(bytes));
	}
}

static void strangers_are_refused_at_their_first_byte(void **state)
{
	uint8_t http[] = "GET / HTTP/1.1";
	struct frame f;

	(void)state;
	assert_int_equal(frame_parse(http, 1, FRAME_MAX, &f), -EPROTO);
}

static void heads_that_make_no_sense_are_refused(void **state)
{
	_Alignas(8) uint8_t bytes[FRAME_HEAD + 8] = { 0 };
	struct frame f;

	(void)state;
	frame_write_head(bytes, &full);
	bytes[3] = 1;
	assert_int_equal(frame_parse(bytes, sizeof(bytes), FRAME_MAX, &f), -EPROTO);
	bytes[3] = 0;
	bytes[1] = 0;
	assert_int_equal(frame_parse(bytes, sizeof(bytes), FRAME_MAX, &f), -EPROTO);
	bytes[1] = 0x21;
	assert_int_equal(frame_parse(bytes, sizeof(bytes), FRAME_MAX, &f), -EPROTO);
	bytes[1] = 0xff;
	assert_int_equal(frame_parse(bytes, sizeof(bytes), FRAME_MAX, &f), -EPROTO);
}

static int parse_kind(unsigned kind, uint32_t length, size_t most)
{
	_Alignas(8) uint8_t bytes[FRAME_HEAD];
	struct frame f = { .kind = (uint8_t)kind, .length = length };

	frame_write_head(bytes, &f);
	return frame_parse(bytes, sizeof(bytes), most, &f);
}

static void every_kind_has_its_longest_body(void **state)
{
	static const unsigned bare[] = { FRAME_ACK, FRAME_RESET, FRAME_PROBE, FRAME_HOLD, FRAME_GO };
	size_t i;

	(void)state;
	assert_int_equal(parse_kind(FRAME_DATA, FRAME_BODY_MAX, FRAME_MAX), 0);
	assert_int_equal(parse_kind(FRAME_DATA, FRAME_BODY_MAX + 1, SIZE_MAX), -EMSGSIZE);
	assert_int_equal(parse_kind(FRAME_DATA, UINT32_MAX, SIZE_MAX), -EMSGSIZE);
	assert_int_equal(parse_kind(FRAME_BIRTH, FRAME_CONTROL_MAX, FRAME_MAX), 0);
	assert_int_equal(parse_kind(FRAME_GOODBYE, FRAME_CONTROL_MAX + 1, FRAME_MAX), -EMSGSIZE);
	for (i = 0; i < sizeof(bare) / sizeof(*bare); i++) {
		assert_int_equal(parse_kind(bare[i], 0, FRAME_MAX), 1);
		assert_int_equal(parse_kind(bare[i], 1, FRAME_MAX), -EMSGSIZE);
	}
}

static void the_callers_limit_counts_the_whole_frame(void **state)
{
	(void)state;
	assert_int_equal(parse_kind(FRAME_HELLO, FRAME_HELLO_MAX - FRAME_HEAD, FRAME_HELLO_MAX), 0);
	assert_int_equal(parse_kind(FRAME_HELLO, FRAME_HELLO_MAX - FRAME_HEAD + 1, FRAME_HELLO_MAX), -EMSGSIZE);
}

static void only_the_source_is_overwritten(void **state)
{
	uint8_t before[FRAME_HEAD], after[FRAME_HEAD];

	(void)state;
	frame_write_head(before, &full);
	memcpy(after, before, sizeof(after));
	frame_set_source(after, 0xaabbccdd00000001);
	assert_memory_equal(after, before, 8);
	assert_memory_equal(after + 8, "\x01\0\0\0\xdd\xcc\xbb\xaa", 8);
	assert_memory_equal(after + 16, before + 16, FRAME_HEAD - 16);
}

static void kinds_have_names(void **state)
{
	(void)state;
	assert_string_equal(frame_kind_name(FRAME_HELLO_OK), "HELLO_OK");
	assert_string_equal(frame_kind_name(FRAME_BIRTH), "BIRTH");
	assert_string_equal(frame_kind_name(0), "?");
	assert_string_equal(frame_kind_name(1000), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(head_has_every_member_at_its_offset),
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(a_part_asks_for_more),
		cmocka_unit_test(strangers_are_refused_at_their_first_byte),
		cmocka_unit_test(heads_that_make_no_sense_are_refused),
		cmocka_unit_test(every_kind_has_its_longest_body),
		cmocka_unit_test(the_callers_limit_counts_the_whole_frame),
		cmocka_unit_test(only_the_source_is_overwritten),
		cmocka_unit_test(kinds_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
