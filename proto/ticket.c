/*
 * ticket: makes and checks proofs of an id.
 *
 * There is nothing to look up: a ticket names its id, its parent, its uid and the block its id is from, and its last
 * 32 bytes prove that whoever wrote it had that block's key. The broker derives any block's key from its own, so it
 * remembers neither blocks nor tickets, and a broker that was restarted with the same key accepts the old ones.
 */
#include "ticket.h"
#include "hmac.h"
#include "little.h"
#include <string.h>

#define CLAIM_SIZE (TICKET_SIZE - HMAC_SIZE)

void ticket_block_key(const uint8_t key[TICKET_KEY], uint64_t first, uint8_t ret[TICKET_KEY])
{
	uint8_t text[5 + 8] = "block";

	put64(text + 5, first);
	hmac_sha256(key, TICKET_KEY, text, sizeof(text), ret);
}

void ticket_mint(const uint8_t block_key[TICKET_KEY], const struct ticket *t, uint8_t ret[TICKET_SIZE])
{
	put64(ret, t->id);
	put64(ret + 8, t->parent);
	put64(ret + 16, t->first);
	put32(ret + 24, t->uid);
	put32(ret + 28, 0);
	hmac_sha256(block_key, TICKET_KEY, ret, CLAIM_SIZE, ret + CLAIM_SIZE);
}

int ticket_check(const uint8_t key[TICKET_KEY], const uint8_t *bytes, size_t n, struct ticket *ret)
{
	uint8_t block_key[TICKET_KEY], proof[HMAC_SIZE];
	int genuine;

	if (n != TICKET_SIZE)
		return 0;
	ticket_block_key(key, get64(bytes + 16), block_key);
	hmac_sha256(block_key, TICKET_KEY, bytes, CLAIM_SIZE, proof);
	genuine = hmac_equal(proof, bytes + CLAIM_SIZE);
	explicit_bzero(block_key, sizeof(block_key));
	explicit_bzero(proof, sizeof(proof));
	if (!genuine)
		return 0;
	ret->id = get64(bytes);
	ret->parent = get64(bytes + 8);
	ret->first = get64(bytes + 16);
	ret->uid = get32(bytes + 24);
	return 1;
}
