/*
 * identity: what makes this broker itself across its runs: the epoch in every id, the key behind every ticket, the
 * cookie for TCP.
 */
#ifndef BROOD_IDENTITY_H
#define BROOD_IDENTITY_H

#include "home.h"
#include "ticket.h"
#include <stdint.h>

#define BLOCK_MOST 4096u /* ids of one block */
#define COOKIE_TEXT 64u  /* 32 random bytes in hex */

struct identity {
	const struct home *home;
	uint32_t first_epoch; /* of this run: ids with a lower one are of earlier runs */
	uint32_t epoch;       /* of ids given now */
	uint32_t counter;     /* of the next id */
	int unclean;          /* there was an earlier run and it did not end by identity_close() */
	uint8_t key[TICKET_KEY];
	char cookie[COOKIE_TEXT + 1]; /* "": TCP is not listened on */
};

/* Read or make epoch and key. now: in seconds. 0, or negative errno with the file in `why`. */
int identity_open(struct identity *, const struct home *, uint32_t now, char *why, size_t n);
/* Read or make the cookie; or read it from a file elsewhere. Likewise. */
int identity_open_cookie(struct identity *, const char *elsewhere, char *why, size_t n);
/* This run ends and leaves nobody behind who could come back. */
void identity_close(struct identity *);

/* The first of n consecutive ids that nobody ever had; n at most 1 + BLOCK_MOST. 0: the state cannot be written. */
uint64_t identity_take(struct identity *, uint32_t n);
/* 1 if this id, or a later one, may still be given to somebody. */
int identity_is_ahead(const struct identity *, uint64_t id);

/*
 * Tickets. A block of ids belongs to a user, and its key mints tickets for that user only; root's for all. A ticket for
 * an id that is of no block has first = 0, and only this broker can make one.
 */
void identity_block_key(const struct identity *, uint32_t uid, uint64_t first, uint8_t ret[TICKET_KEY]);
/* A ticket of a block (or of none) of the user `owner`. */
void identity_mint(const struct identity *, uint32_t owner, const struct ticket *, uint8_t ret[TICKET_SIZE]);
/* 1 if it is genuine, with *ret filled: then its uid is proven. */
int identity_check(const struct identity *, const uint8_t *bytes, size_t n, struct ticket *ret);

/* 1 if these are the contents of the cookie file, with or without its newline. Constant time in the secret. */
int identity_is_cookie(const struct identity *, const uint8_t *bytes, size_t n);

#endif
