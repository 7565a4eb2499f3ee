/*
 * hmac: a keyed hash, so that whoever has the key can tell that a text came from another who has it.
 *
 * HMAC(key, text) is H(key xor opad, H(key xor ipad, text)). A key longer than a block of the hash is hashed first.
 * Key material is wiped from the stack when done.
 */
#include "hmac.h"
#include <sha2.h>
#include <string.h>

static void set_pad(uint8_t pad[SHA256_BLOCK_LENGTH], const uint8_t *key, size_t n, uint8_t with)
{
	size_t i;

	memset(pad, with, SHA256_BLOCK_LENGTH);
	for (i = 0; i < n; i++)
		pad[i] ^= key[i];
}

static void hash_two(const uint8_t pad[SHA256_BLOCK_LENGTH], const uint8_t *text, size_t n, uint8_t ret[HMAC_SIZE])
{
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, pad, SHA256_BLOCK_LENGTH);
	SHA256Update(&ctx, text, n);
	SHA256Final(ret, &ctx);
	explicit_bzero(&ctx, sizeof(ctx));
}

void hmac_sha256(const uint8_t *key, size_t key_length, const uint8_t *text, size_t n, uint8_t ret[HMAC_SIZE])
{
	uint8_t pad[SHA256_BLOCK_LENGTH], short_key[HMAC_SIZE], inner[HMAC_SIZE];

	if (key_length > SHA256_BLOCK_LENGTH) {
		SHA2_CTX ctx;

		SHA256Init(&ctx);
		SHA256Update(&ctx, key, key_length);
		SHA256Final(short_key, &ctx);
		key = short_key;
		key_length = sizeof(short_key);
	}
	set_pad(pad, key, key_length, 0x36);
	hash_two(pad, text, n, inner);
	set_pad(pad, key, key_length, 0x5c);
	hash_two(pad, inner, sizeof(inner), ret);
	explicit_bzero(pad, sizeof(pad));
	explicit_bzero(short_key, sizeof(short_key));
}

int hmac_equal(const uint8_t a[HMAC_SIZE], const uint8_t b[HMAC_SIZE])
{
	unsigned difference = 0;
	size_t i;

	for (i = 0; i < HMAC_SIZE; i++)
		difference |= (unsigned)(a[i] ^ b[i]);
	return difference == 0;
}
