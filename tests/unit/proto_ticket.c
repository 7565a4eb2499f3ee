/* HMAC against RFC 4231, tickets against forgery. */
#include "test.h"

#include "hmac.h"
#include "ticket.h"
#include <stdio.h>
#include <string.h>

static void expect_hmac(const void *key, size_t key_length, const void *text, size_t n, const char *hex)
{
	uint8_t mac[HMAC_SIZE];
	char got[2 * HMAC_SIZE + 1];
	size_t i;

	hmac_sha256(key, key_length, text, n, mac);
	for (i = 0; i < sizeof(mac); i++)
		snprintf(got + 2 * i, 3, "%02x", mac[i]);
	assert_string_equal(got, hex);
}

static void hmac_is_that_of_rfc_4231(void **state)
{
	static const char long_text[] =
		"This is a test using a larger than block-size key and a larger than block-size "
		"data. The key needs to be hashed before being used by the HMAC algorithm.";
	uint8_t key[131], text[50];

	(void)state;
	memset(key, 0x0b, 20);
	expect_hmac(key, 20, "Hi There", 8, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	expect_hmac("Jefe", 4, "what do ya want for nothing?", 28,
		    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	memset(text, 0xdd, sizeof(text));
	expect_hmac(key, 20, text, 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
	expect_hmac(key, 131, "Test Using Larger Than Block-Size Key - Hash Key First", 54,
		    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	expect_hmac(key, 131, long_text, sizeof(long_text) - 1,
		    "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

static const uint8_t key[TICKET_KEY] = "the broker's key of thirty-two b";
static const struct ticket child = { .id = 0x100000007, .parent = 0x100000002, .first = 0x100000005, .uid = 1000 };

static void mint(const struct ticket *t, uint8_t ret[TICKET_SIZE])
{
	uint8_t block_key[TICKET_KEY];

	ticket_block_key(key, t->first, block_key);
	ticket_mint(block_key, t, ret);
}

static void a_genuine_ticket_tells_what_was_minted(void **state)
{
	uint8_t bytes[TICKET_SIZE];
	struct ticket got;

	(void)state;
	mint(&child, bytes);
	assert_int_equal(ticket_check(key, bytes, sizeof(bytes), &got), 1);
	assert_int_equal(got.id, child.id);
	assert_int_equal(got.parent, child.parent);
	assert_int_equal(got.first, child.first);
	assert_int_equal(got.uid, child.uid);
}

static void no_bit_can_be_changed(void **state)
{
	uint8_t bytes[TICKET_SIZE];
	struct ticket got = { .id = 42 };
	size_t i;

	(void)state;
	mint(&child, bytes);
	for (i = 0; i < 8 * sizeof(bytes); i++) {
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
		assert_int_equal(ticket_check(key, bytes, sizeof(bytes), &got), 0);
		bytes[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	assert_int_equal(got.id, 42);
	assert_int_equal(ticket_check(key, bytes, sizeof(bytes), &got), 1);
}

static void another_size_or_key_is_refused(void **state)
{
	static const uint8_t other[TICKET_KEY] = "another broker's key of 32 bytes";
	uint8_t bytes[TICKET_SIZE + 1] = { 0 };
	struct ticket got;

	(void)state;
	mint(&child, bytes);
	assert_int_equal(ticket_check(key, bytes, 0, &got), 0);
	assert_int_equal(ticket_check(key, bytes, TICKET_SIZE - 1, &got), 0);
	assert_int_equal(ticket_check(key, bytes, TICKET_SIZE + 1, &got), 0);
	assert_int_equal(ticket_check(other, bytes, TICKET_SIZE, &got), 0);
}

static void a_block_key_opens_no_other_block(void **state)
{
	struct ticket stolen = child;
	uint8_t block_key[TICKET_KEY], bytes[TICKET_SIZE];
	struct ticket got;

	(void)state;
	ticket_block_key(key, child.first, block_key);
	stolen.first = child.first + 1;
	ticket_mint(block_key, &stolen, bytes);
	assert_int_equal(ticket_check(key, bytes, sizeof(bytes), &got), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hmac_is_that_of_rfc_4231),
		cmocka_unit_test(a_genuine_ticket_tells_what_was_minted),
		cmocka_unit_test(no_bit_can_be_changed),
		cmocka_unit_test(another_size_or_key_is_refused),
		cmocka_unit_test(a_block_key_opens_no_other_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
