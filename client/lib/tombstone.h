/*
 * tombstone: what is remembered of a process that was given up without a witness of its end, should it return after all:
 * how far its stream was taken and consumed, and which streams there were. Pure. The latest 65,536, 32 bytes each.
 */
#ifndef BROOD_TOMBSTONE_H
#define BROOD_TOMBSTONE_H

#include <stdint.h>

#define TOMBSTONES_MOST 65536u

struct tombstone {
	uint64_t id;        /* 0: none */
	uint64_t next;      /* sequence that would have been taken next */
	uint64_t consumed;  /* all up to this one were consumed */
	uint8_t its, mine;  /* generation of the stream from it, and of the one to it */
	uint32_t next_slot; /* private: chain, slot + 1 */
};

struct tombstones {
	struct tombstone *stones; /* a ring: the oldest is overwritten */
	uint32_t *chains;         /* by hash of the id: slot + 1 */
	uint32_t at, size;
};

void tombstones_deinit(struct tombstones *);
/* Remember, in place of what was remembered of this id. Without memory it is not. */
void tombstone_put(struct tombstones *, const struct tombstone *);
/* 1 with *ret, which is then forgotten; 0: nothing is known of this id. */
int tombstone_take(struct tombstones *, uint64_t id, struct tombstone *ret);

#endif
