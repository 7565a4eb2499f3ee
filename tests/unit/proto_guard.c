/*
 * Bombs: bytes that make protobuf-c slow, hungry or overflow its stack are refused cheaply, honest bytes pass. malloc
 * is wrapped so that each of its calls can be made to fail.
 */
#include "test.h"

#include "bomb.pb-c.h"
#include "brood.pb-c.h"
#include "control.pb-c.h"
#include "guard.h"
#include "utf8.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long mallocs_left = -1; /* -1: as many as wanted */
static size_t malloc_bytes;

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);

void *__wrap_malloc(size_t n)
{
	if (mallocs_left == 0)
		return NULL;
	if (mallocs_left > 0)
		mallocs_left--;
	malloc_bytes += n;
	return __real_malloc(n);
}

static uint8_t bytes[2 * 1024 * 1024];
static size_t n_bytes;

static void begin(void)
{
	n_bytes = 0;
}

static void put(const void *from, size_t n)
{
	assert_true(n_bytes + n <= sizeof(bytes));
	memcpy(bytes + n_bytes, from, n);
	n_bytes += n;
}

static int unpack(const ProtobufCMessageDescriptor *type, int strict)
{
	ProtobufCMessage *message = NULL;
	int r = guard_unpack(type, bytes, n_bytes, strict, &message);

	assert_true((r == 0) == (message != NULL));
	guard_free(message);
	return r;
}

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void a_doubled_submessage_costs_nothing(void **state)
{
	double before;
	int i;

	(void)state;
	begin();
	for (i = 0; i < 1024 * 1024 / 6; i++)
		put("\x0a\x04\x0a\x02\x08\x01", 6); /* Holder.points.point.x = 1, again and again */
	before = cpu_ms();
	assert_int_equal(unpack(&bomb__holder__descriptor, 0), -EMSGSIZE);
	assert_true(cpu_ms() - before < 5);
}

static void a_choice_cannot_be_doubled_either(void **state)
{
	(void)state;
	begin();
	put("\x0a\x02\x08\x01\x12\x01x", 7); /* the last one counts: fine */
	assert_int_equal(unpack(&bomb__choice__descriptor, 0), 0);
	put("\x0a\x02\x10\x02", 4);
	assert_int_equal(unpack(&bomb__choice__descriptor, 0), -EMSGSIZE);
}

static void empty_submessages_stay_within_the_budget(void **state)
{
	int i;

	(void)state;
	begin();
	for (i = 0; i < 512 * 1024; i++)
		put("\x0a\x00", 2);
	malloc_bytes = 0;
	assert_int_equal(unpack(&bomb__points__descriptor, 0), -EMSGSIZE);
	assert_true(malloc_bytes <= GUARD_BUDGET(n_bytes) + n_bytes);
}

/* Put the bytes into another Nest: field 1 with their length in front. */
static void wrap(void)
{
	uint8_t head[4] = { 0x0a };
	size_t length = n_bytes, n = 1;

	for (; length > 0x7f; length >>= 7)
		head[n++] = (uint8_t)(length | 0x80);
	head[n++] = (uint8_t)length;
	memmove(bytes + n, bytes, n_bytes);
	memcpy(bytes, head, n);
	n_bytes += n;
}

static void recursion_ends_at_its_depth(void **state)
{
	int depth;

	(void)state;
	begin();
	for (depth = 1; n_bytes < 30 * 1024; depth++) {
		if (depth == GUARD_DEPTH)
			assert_int_equal(unpack(&bomb__nest__descriptor, 0), 0);
		if (depth == GUARD_DEPTH + 1)
			assert_int_equal(unpack(&bomb__nest__descriptor, 0), -EMSGSIZE);
		wrap();
	}
	assert_true(depth > 5000);
	assert_int_equal(unpack(&bomb__nest__descriptor, 0), -EMSGSIZE);
	assert_int_equal(guard_scan(&bomb__nest__descriptor, bytes, n_bytes), -EMSGSIZE);
}

static void honest_lists_pass(void **state)
{
	ProtobufCMessage *message;
	Bomb__Points *points;
	int i;

	(void)state;
	begin();
	for (i = 0; i < 100000; i++)
		put("\x0a\x04\x08\x01\x10\x02", 6);
	for (i = 0; i < 100000; i++)
		put("\x12\x02hi", 4);
	assert_int_equal(guard_unpack(&bomb__points__descriptor, bytes, n_bytes, 1, &message), 0);
	points = (Bomb__Points *)message;
	assert_int_equal(points->n_point, 100000);
	assert_int_equal(points->point[99999]->y, 2);
	assert_string_equal(points->word[99999], "hi");
	guard_free(message);
}

static void control_bodies_come_out_as_they_went_in(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT, *got;
	uint8_t packed[256];
	ProtobufCMessage *message;
	size_t n;

	(void)state;
	hello.level = 1;
	hello.title = (char *)(uintptr_t) "gr\303\274n";
	hello.cookie.data = (uint8_t *)(uintptr_t) "\0\1\2";
	hello.cookie.len = 3;
	n = brood__hello__pack(&hello, packed);
	assert_int_equal(guard_unpack(&brood__hello__descriptor, packed, n, 1, &message), 0);
	got = (Brood__Hello *)message;
	assert_int_equal(got->level, 1);
	assert_string_equal(got->title, hello.title);
	assert_int_equal(got->cookie.len, 3);
	assert_memory_equal(got->cookie.data, "\0\1\2", 3);
	assert_string_equal(got->parent, "");
	guard_free(message);
}

static void an_empty_body_is_a_message(void **state)
{
	(void)state;
	begin();
	assert_int_equal(unpack(&brood__control__get_status__descriptor, 1), 0);
	guard_free(NULL);
}

static void only_strict_readers_want_text(void **state)
{
	static const char *const bad[] = { "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "a\0b" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		size_t n = i == 5 ? 3 : strlen(bad[i]);
		uint8_t head[2] = { 0x12, (uint8_t)n };

		begin();
		put(head, 2);
		put(bad[i], n);
		assert_int_equal(unpack(&bomb__holder__descriptor, 1), -EBADMSG);
		assert_int_equal(unpack(&bomb__holder__descriptor, 0), 0);
		bytes[0] = 0x1a; /* in a bytes field everything is fine */
		assert_int_equal(unpack(&bomb__holder__descriptor, 1), 0);
	}
}

static void text_is_utf8(void **state)
{
	static const char good[] =
		"a\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80"
		"\xf4\x8f\xbf\xbf";
	static const char *const bad[] = {
		"\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf5\x80\x80\x80", "\xed\xbf\xbf",
		"\xc2", "\xc2z",    "\xe1\x80",     "\xf1\x80\x80",     "\xf1\x80\x80z"
	};
	size_t i;

	(void)state;
	assert_true(utf8_is_text((const uint8_t *)good, sizeof(good) - 1));
	assert_false(utf8_is_text((const uint8_t *)good, sizeof(good)));
	assert_true(utf8_is_text(NULL, 0));
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(utf8_is_text((const uint8_t *)bad[i], strlen(bad[i])));
}

static void expect_malformed(const void *from, size_t n)
{
	begin();
	put(from, n);
	assert_int_equal(unpack(&bomb__holder__descriptor, 0), -EBADMSG);
	assert_int_equal(guard_scan(&bomb__holder__descriptor, bytes, n_bytes), -EBADMSG);
}

static void broken_bytes_are_malformed(void **state)
{
	(void)state;
	expect_malformed("\x80", 1);                                              /* a tag that does not end */
	expect_malformed("\x00\x01", 2);                                          /* field 0 */
	expect_malformed("\x12\x05hi", 4);                                        /* longer than what is left */
	expect_malformed("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);     /* much longer */
	expect_malformed("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12); /* a number of 11 bytes */
	expect_malformed("\x21\x01\x02", 3);                                      /* half a fixed64 */
	expect_malformed("\x25\x01", 2);                                          /* half a fixed32 */
	expect_malformed("\x0b\x0c", 2);                                          /* a group */
	expect_malformed("\x08\x01", 2);                                          /* a number where a message belongs */
	expect_malformed("\x0a\x02\x12\x05", 4);                                  /* broken further inside */
	expect_malformed("\xf8\xff\xff\xff\x7f\x01", 6); /* a field number of more than 29 bits */
}

static void unknown_fields_are_skipped(void **state)
{
	(void)state;
	begin();
	put("\xa8\x06\x01\xa2\x06\x02hi\xa5\x06\1\2\3\4\xa1\x06\1\2\3\4\5\6\7\x08\x12\x01x", 27);
	assert_int_equal(unpack(&bomb__holder__descriptor, 1), 0);
}

static void every_failed_malloc_is_survived(void **state)
{
	int r = -ENOMEM, failures;
	int i;

	(void)state;
	begin();
	for (i = 0; i < 2000; i++)
		put("\x0a\x04\x08\x01\x10\x02\x12\x02hi", 10);
	for (failures = 0; r != 0; failures++) {
		mallocs_left = failures;
		r = unpack(&bomb__points__descriptor, 0);
		mallocs_left = -1;
		if (r != 0)
			assert_int_equal(r, -ENOMEM);
	}
	assert_true(failures > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_doubled_submessage_costs_nothing),
		cmocka_unit_test(a_choice_cannot_be_doubled_either),
		cmocka_unit_test(empty_submessages_stay_within_the_budget),
		cmocka_unit_test(recursion_ends_at_its_depth),
		cmocka_unit_test(honest_lists_pass),
		cmocka_unit_test(control_bodies_come_out_as_they_went_in),
		cmocka_unit_test(an_empty_body_is_a_message),
		cmocka_unit_test(only_strict_readers_want_text),
		cmocka_unit_test(text_is_utf8),
		cmocka_unit_test(broken_bytes_are_malformed),
		cmocka_unit_test(unknown_fields_are_skipped),
		cmocka_unit_test(every_failed_malloc_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
