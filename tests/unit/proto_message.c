/* Items of DATA frames: round trips, fragments, and every way to be malformed. */
#include "test.h"

#include "message.h"
#include <errno.h>
#include <string.h>

static _Alignas(8) uint8_t bytes[4096];

static size_t size_of(const struct item *it)
{
	return item_size(it->kind, item_extension_size(it), it->length);
}

/* Write `it` with a body of that many 'x' over dirty memory; its size. */
static size_t write_item(uint8_t *to, const struct item *it)
{
	uint8_t *body;

	memset(to, 0xee, size_of(it));
	body = item_write(to, it);
	assert_int_equal((uintptr_t)body % 8, 0);
	memset(body, 'x', it->length);
	return size_of(it);
}

static int read_item(size_t n, struct item *ret)
{
	const uint8_t *at = bytes;
	int rc;

	ret->wrong = NULL;
	rc = item_next(&at, bytes + n, ret);
	assert_true(rc >= 0 || (ret->wrong && ret->wrong[0]));
	return rc;
}

static struct item message(uint32_t length)
{
	return (struct item){ .kind = ITEM_MESSAGE, .length = length };
}

static void bytes_are_at_their_offsets(void **state)
{
	static const uint8_t expected[] = {
		2,   0,   0,   0,   7,   0,   0x02, 2,                               /* head */
		1,   2,   3,   4,   5,   6,   7,    8,   9, 0, 0,   0,   0, 0, 0, 0, /* correlation, deadline */
		1,   6,   's', '.', 'T', 'e', 's',  't', 2, 2, 'a', 'b', 0, 0, 0, 0, /* extension */
		'x', 'x', 0,   0,   0,   0,   0,    0,
	};
	struct item it = {
		.kind = ITEM_REQUEST, .type = 7, .length = 2, .correlation = 0x0807060504030201, .deadline = 9
	};

	(void)state;
	it.name = "s.Test";
	it.name_length = 6;
	it.trace = "ab";
	it.trace_length = 2;
	assert_int_equal(write_item(bytes, &it), sizeof(expected));
	assert_memory_equal(bytes, expected, sizeof(expected));
}

static void bodies_are_aligned_and_end_in_nul(void **state)
{
	uint32_t length;

	(void)state;
	for (length = 0; length < 40; length++) {
		struct item it = message(length), got;
		size_t n = write_item(bytes, &it);

		assert_int_equal(n, 8 + (length / 8 + 1) * 8);
		assert_int_equal(read_item(n, &got), 1);
		assert_int_equal(got.length, length);
		assert_int_equal(got.total, length);
		assert_int_equal((uintptr_t)got.body % 8, 0);
		assert_int_equal(strlen((const char *)got.body), length);
	}
}

static void calls_carry_correlation_and_deadline(void **state)
{
	unsigned kind;

	(void)state;
	for (kind = ITEM_MESSAGE; kind <= ITEM_REFUSED; kind++) {
		struct item it = { .kind = kind, .correlation = 77, .deadline = 88 }, got;

		assert_int_equal(read_item(write_item(bytes, &it), &got), 1);
		assert_int_equal(got.kind, kind);
		assert_int_equal(got.correlation, item_is_call(kind) ? 77 : 0);
		assert_int_equal(got.deadline, item_is_call(kind) ? 88 : 0);
	}
}

static void descriptors_are_announced(void **state)
{
	struct item it = { .kind = ITEM_MESSAGE, .type = 1, .length = 3, .fds = 16 }, got;
	unsigned kind;
	size_t n;

	(void)state;
	assert_int_equal(read_item(write_item(bytes, &it), &got), 1);
	assert_int_equal(got.fds, 16);
	it.name = "T"; /* with all else that there is */
	it.name_length = 1;
	it.trace = "t";
	it.trace_length = 1;
	it.more = 1;
	it.total = 99;
	assert_int_equal(read_item(write_item(bytes, &it), &got), 1);
	assert_int_equal(got.fds, 16);
	assert_int_equal(got.total, 99);
	assert_memory_equal(got.body, "xxx", 4);
	for (kind = ITEM_MESSAGE; kind <= ITEM_REFUSED; kind++) { /* only what a program gets brings some */
		it = (struct item){ .kind = kind, .fds = 1 };
		assert_int_equal(read_item(write_item(bytes, &it), &got), kind <= ITEM_REPLY ? 1 : -EPROTO);
	}
	it = (struct item){ .kind = ITEM_MESSAGE, .fds = 17 };
	assert_int_equal(read_item(write_item(bytes, &it), &got), -EPROTO);
	it.fds = 1;
	n = write_item(bytes, &it);
	assert_memory_equal(bytes + ITEM_HEAD, "\4\1\1\0\0\0\0\0", 8);
	bytes[ITEM_HEAD + 2] = 0; /* none is not said */
	assert_int_equal(read_item(n, &got), -EPROTO);
	memcpy(bytes + ITEM_HEAD, "\4\1\1\4\1\1\0\0", 8); /* nor anything twice */
	assert_int_equal(read_item(n, &got), -EPROTO);
	memcpy(bytes + ITEM_HEAD, "\4\2\1\0\0\0\0\0", 8);
	assert_int_equal(read_item(n, &got), -EPROTO);
	it = message(4); /* what has none says none */
	assert_int_equal(read_item(write_item(bytes, &it), &got), 1);
	assert_int_equal(got.fds, 0);
}

static void a_refusal_is_whole(void **state)
{
	struct item it = { .kind = ITEM_REFUSED, .correlation = 12, .length = 40 }, got;

	(void)state;
	assert_int_equal(read_item(write_item(bytes, &it), &got), 1);
	assert_int_equal(got.correlation, 12);
	it.more = 1;
	it.total = 99;
	assert_int_equal(read_item(write_item(bytes, &it), &got), -EPROTO);
	it.continued = 1;
	assert_int_equal(read_item(write_item(bytes, &it), &got), -EPROTO);
}

static void the_longest_extension_is_read(void **state)
{
	char text[255];
	struct item it = { .kind = ITEM_REQUEST, .type = ITEM_UNNUMBERED, .length = 16, .more = 1, .total = 1000 }, got;

	(void)state;
	memset(text, 'n', sizeof(text));
	it.name = it.trace = text;
	it.name_length = it.trace_length = 255;
	assert_int_equal(read_item(write_item(bytes, &it), &got), 1);
	assert_int_equal(got.type, ITEM_UNNUMBERED);
	assert_int_equal(got.name_length, 255);
	assert_memory_equal(got.name, text, 255);
	assert_int_equal(got.trace_length, 255);
	assert_memory_equal(got.trace, text, 255);
	assert_int_equal(got.total, 1000);
	assert_true(got.more && !got.continued);
	assert_memory_equal(got.body, "xxxxxxxxxxxxxxxx", 17);
}

static void items_follow_each_other(void **state)
{
	struct item a = message(3), b = { .kind = ITEM_REPLY, .correlation = 5, .length = 8 }, c = { .kind = ITEM_FIN },
		    got;
	const uint8_t *at = bytes, *end;
	uint8_t *to = bytes;

	(void)state;
	to += write_item(to, &a);
	to += write_item(to, &b);
	to += write_item(to, &c);
	end = to;
	assert_int_equal(item_next(&at, end, &got), 1);
	assert_int_equal(got.length, 3);
	assert_int_equal(item_next(&at, end, &got), 1);
	assert_int_equal(got.correlation, 5);
	assert_int_equal(item_next(&at, end, &got), 1);
	assert_int_equal(got.kind, ITEM_FIN);
	assert_int_equal(item_next(&at, end, &got), 0);
	assert_ptr_equal(at, end);
}

static void the_same_again(void **state)
{
	struct item one = message(3);
	struct item_plain plain = { 0 };
	size_t size = write_item(bytes, &one);
	uint8_t *again = bytes + size;

	(void)state;
	write_item(again, &one);
	assert_int_equal(item_plain(bytes, sizeof(bytes), &plain), size);
	assert_true(item_is_again(again, size, plain.head, size));
	assert_false(item_is_again(again, size - 1, plain.head, size));
	assert_false(item_is_again(again, sizeof(bytes), plain.head, SIZE_MAX));
	again[size - 1] = 1; /* padding */
	assert_false(item_is_again(again, size, plain.head, size));
	one.type = 1;
	write_item(again, &one);
	assert_false(item_is_again(again, size, plain.head, size));
	one = message(4);
	write_item(again, &one);
	assert_false(item_is_again(again, size, plain.head, size));
}

static void fragments_say_the_total_once(void **state)
{
	struct item first = { .kind = ITEM_MESSAGE, .more = 1, .length = 100, .total = 250 };
	struct item middle = { .kind = ITEM_MESSAGE, .more = 1, .continued = 1, .length = 100 };
	struct item last = { .kind = ITEM_MESSAGE, .continued = 1, .length = 50 }, got;

	(void)state;
	assert_int_equal(read_item(write_item(bytes, &first), &got), 1);
	assert_int_equal(got.total, 250);
	assert_int_equal(item_extension_size(&middle), 0);
	assert_int_equal(read_item(write_item(bytes, &middle), &got), 1);
	assert_true(got.more && got.continued);
	assert_int_equal(read_item(write_item(bytes, &last), &got), 1);
	assert_true(!got.more && got.continued);
}

/* Write `it`, set one byte, read. */
static int read_with(struct item it, size_t offset, uint8_t value)
{
	size_t n = write_item(bytes, &it);
	struct item got;

	bytes[offset] = value;
	return read_item(n, &got);
}

static void cut_items_are_malformed(void **state)
{
	struct item it = { .kind = ITEM_REQUEST, .type = 1, .name = "T", .name_length = 1, .length = 20 }, got;
	size_t whole = write_item(bytes, &it), n;

	(void)state;
	for (n = 1; n < whole; n++)
		assert_int_equal(read_item(n, &got), -EPROTO);
	assert_int_equal(read_item(0, &got), 0);
	assert_int_equal(read_item(whole, &got), 1);
}

static void lengths_are_not_believed(void **state)
{
	(void)state;
	assert_int_equal(read_with(message(5), 0, 8), -EPROTO);
	assert_int_equal(read_with(message(5), 3, 0xff), -EPROTO);
	assert_int_equal(read_with(message(5), 7, 1), -EPROTO);
	assert_int_equal(read_with(message(5), 7, 255), -EPROTO);
}

static void padding_is_zero(void **state)
{
	size_t i;

	(void)state;
	for (i = 8 + 5; i < 16; i++)
		assert_int_equal(read_with(message(5), i, 1), -EPROTO);
	assert_int_equal(read_with(message(5), 8 + 4, 0), 1);
	assert_int_equal(read_with(message(8), 23, 1), -EPROTO);
}

static void kinds_are_checked(void **state)
{
	struct item bare = { .kind = ITEM_FIN, .length = 1 }, got;

	(void)state;
	assert_int_equal(read_with(message(5), 6, 0), -EPROTO);
	assert_int_equal(read_with(message(5), 6, 8), -EPROTO);
	assert_int_equal(read_item(write_item(bytes, &bare), &got), -EPROTO);
	bare = (struct item){ .kind = ITEM_READY, .continued = 1 };
	assert_int_equal(read_item(write_item(bytes, &bare), &got), -EPROTO);
	bare = (struct item){ .kind = ITEM_CANCEL, .more = 1, .total = 9 };
	assert_int_equal(read_item(write_item(bytes, &bare), &got), -EPROTO);
}

static void type_numbers_are_checked(void **state)
{
	struct item it = message(0), got;

	(void)state;
	it.type = ITEM_TYPES;
	assert_int_equal(read_item(write_item(bytes, &it), &got), 1);
	it.type = ITEM_TYPES + 1;
	assert_int_equal(read_item(write_item(bytes, &it), &got), -EPROTO);
	it.type = ITEM_UNNUMBERED;
	assert_int_equal(read_item(write_item(bytes, &it), &got), -EPROTO);
	it.name = "T";
	it.name_length = 1;
	assert_int_equal(read_item(write_item(bytes, &it), &got), 1);
	it.type = 0;
	assert_int_equal(read_item(write_item(bytes, &it), &got), -EPROTO);
}

/* A message with this extension of 16 bytes. */
static int read_extension(const char extension[16])
{
	struct item it = { .kind = ITEM_MESSAGE, .type = 1, .name = "12345678", .name_length = 8 }, got;
	size_t n = write_item(bytes, &it);

	memcpy(bytes + 8, extension, 16);
	return read_item(n, &got);
}

static void extensions_are_checked(void **state)
{
	(void)state;
	assert_int_equal(read_extension("\1\6TTTTTT\0\0\0\0\0\0\0"), 1);
	assert_int_equal(read_extension("\1\016TTTTTTTTTTTTTT"), 1);
	assert_int_equal(read_extension("\1\017TTTTTTTTTTTTTT"), -EPROTO);            /* beyond its end */
	assert_int_equal(read_extension("\1\015TTTTTTTTTTTTT\2"), -EPROTO);           /* a tag without a length */
	assert_int_equal(read_extension("\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), -EPROTO);  /* empty name */
	assert_int_equal(read_extension("\1\3T\0T\0\0\0\0\0\0\0\0\0\0"), -EPROTO);    /* NUL in a name */
	assert_int_equal(read_extension("\1\2TT\1\2TT\0\0\0\0\0\0\0"), -EPROTO);      /* two names */
	assert_int_equal(read_extension("\3\4TTTT\0\0\0\0\0\0\0\0\0"), -EPROTO);      /* total of 4 bytes */
	assert_int_equal(read_extension("\3\10\0\0\0\0\0\0\0\0\0\0\0\0\0"), -EPROTO); /* total 0 */
	assert_int_equal(read_extension("\3\10\1\0\0\0\0\0\0\0\0\0\0\0\0"), -EPROTO); /* total of another length */
	assert_int_equal(read_extension("\11\4TTTT\1\1T\0\0\0\0\0\0"), 1);            /* an unknown tag is skipped */
	assert_int_equal(read_extension("\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16"), 1); /* ended by tag 0 */
}

static int read_total(int more, int continued, uint64_t total)
{
	struct item it = { .kind = ITEM_MESSAGE, .length = 10, .total = total, .more = more, .continued = continued },
		    got;

	return read_item(write_item(bytes, &it), &got);
}

static void totals_are_checked(void **state)
{
	struct item it = { .kind = ITEM_MESSAGE, .type = 1, .name = "T", .name_length = 1 };

	(void)state;
	assert_int_equal(read_total(1, 0, 11), 1);
	assert_int_equal(read_total(1, 0, MESSAGE_MAX), 1);
	assert_int_equal(read_total(1, 0, MESSAGE_MAX + 1), -EPROTO);
	assert_int_equal(read_total(1, 0, 10), -EPROTO); /* nothing would be left for the next fragment */
	assert_int_equal(read_with(it, 6, ITEM_MESSAGE | ITEM_MORE), -EPROTO);      /* no total */
	assert_int_equal(read_with(it, 6, ITEM_MESSAGE | ITEM_CONTINUED), -EPROTO); /* named again */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_are_at_their_offsets),
		cmocka_unit_test(bodies_are_aligned_and_end_in_nul),
		cmocka_unit_test(calls_carry_correlation_and_deadline),
		cmocka_unit_test(descriptors_are_announced),
		cmocka_unit_test(a_refusal_is_whole),
		cmocka_unit_test(the_longest_extension_is_read),
		cmocka_unit_test(items_follow_each_other),
		cmocka_unit_test(the_same_again),
		cmocka_unit_test(fragments_say_the_total_once),
		cmocka_unit_test(cut_items_are_malformed),
		cmocka_unit_test(lengths_are_not_believed),
		cmocka_unit_test(padding_is_zero),
		cmocka_unit_test(kinds_are_checked),
		cmocka_unit_test(type_numbers_are_checked),
		cmocka_unit_test(extensions_are_checked),
		cmocka_unit_test(totals_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
