/*
 * ticket: proof of an id, made without asking the broker. The broker has one key; what it hands out is
 * HMAC-SHA256 (RFC 2104), so it remembers nothing.
 *
 *   key                                   the broker's for a user, 32 bytes
 *   block key = HMAC(key, "block" first)  given to a client with the ids first, first+1, ... for its children
 *   ticket    = {id, parent, first, uid, zero} and HMAC(block key of `first`, those 32 bytes)
 *
 * A client mints its children's tickets from its block key; the broker checks any ticket from its own key alone. A
 * ticket of a process the broker itself gave an id has first = 0: nobody gets the key of that block.
 */
#ifndef BROOD_TICKET_H
#define BROOD_TICKET_H

#include <stddef.h>
#include <stdint.h>

#define TICKET_KEY 32
#define TICKET_SIZE 64

struct ticket {
	uint64_t id, parent, first;
	uint32_t uid;
};

void ticket_block_key(const uint8_t key[TICKET_KEY], uint64_t first, uint8_t ret[TICKET_KEY]);
void ticket_mint(const uint8_t block_key[TICKET_KEY], const struct ticket *, uint8_t ret[TICKET_SIZE]);
/* 1 if genuine, with *ret filled; else 0. Constant time in the secret. */
int ticket_check(const uint8_t key[TICKET_KEY], const uint8_t *bytes, size_t n, struct ticket *ret);

#endif
