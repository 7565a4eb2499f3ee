/*
 * limit: the bounds that an administrator may set. settings.c has their names, ranges and what each is for.
 *
 * The parts of the broker hold a pointer to the one struct, so that a reload of the configuration changes all at once. What
 * is above a limit that was lowered stays; there is just no more of it. (A file limits.h would be taken for the system's.)
 */
#ifndef BROOD_LIMIT_H
#define BROOD_LIMIT_H

#include <stddef.h>
#include <stdint.h>

struct limits {
	size_t memory; /* bytes that wait in all; of one user as many as it leaves free */
	size_t queue;  /* bytes that wait for one process, shared by its senders, never more than twice that; ... */
	size_t share;  /* ... but at most so many of one sender, ... */
	size_t share_least; /* ... and at least so many, if its user has them */
	size_t notes;       /* bytes of the broker's own words that one session may leave unread, ... */
	size_t user_notes;  /* ... and all of one user's */

	size_t turn;    /* work done between two looks at who is ready: bytes, and what counts as such */
	size_t quantum; /* work done for one user before it is the next one's turn */

	/* of one process */
	uint32_t destinations;
	uint32_t names_per_process;
	uint32_t watches_per_process;
	uint32_t id_blocks_per_process; /* the oldest are forgotten */

	/* of one user */
	uint32_t sessions_per_user; /* and no more than are free for others */
	uint32_t names_per_user;
	uint32_t greetings_per_user;   /* connections that have not said HELLO yet */
	uint32_t connections_per_user; /* a second, beyond the burst; 0: any number */
	uint32_t connection_burst;

	/* in all */
	uint32_t connections; /* 0: as many as there are descriptors */
	uint32_t descriptors; /* that wait to be passed on; 0: half of the limit of open files */
	uint32_t awaited;     /* processes of an earlier run that somebody wrote to */
	uint32_t absent;      /* whose connection ends after that is gone */
	uint32_t absent_seen; /* of those the first so many have a descriptor; the others are only waited for */
	uint32_t claims;      /* names asked for while earlier holders may come back */
	uint32_t exits;       /* processes of which it is remembered how they ended; 0: none */

	uint32_t hello_ms; /* that a new connection has for its HELLO */
};

#define LIMITS_DEFAULT                                                                                                 \
	{                                                                                                              \
		.memory = 512u << 20, .queue = 32u << 20, .share = 8u << 20, .share_least = 256u << 10,                \
		.notes = 8u << 20, .user_notes = 64u << 20, .turn = 128u << 10, .quantum = 128u << 10,                 \
		.destinations = 65536, .names_per_process = 256, .watches_per_process = 4096,                          \
		.id_blocks_per_process = 1024, .sessions_per_user = 65536, .names_per_user = 65536,                    \
		.greetings_per_user = 65536, .connections_per_user = 0, .connection_burst = 128, .connections = 0,     \
		.descriptors = 0, .awaited = 65536, .absent = 16384, .absent_seen = 1024, .claims = 65536,             \
		.exits = 1024, .hello_ms = 5000                                                                        \
	}

#endif
