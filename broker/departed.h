/*
 * departed: ids of processes that are gone for good, so that none comes back.
 *
 * A process can be gone while bytes of it are still under way: over an older connection of it, or in one that waited to be
 * accepted when it died. They begin with HELLO and a ticket that is genuine, and what follows was delivered already, or was
 * reported as lost. Whoever was told that a process is gone has forgotten how far its stream went.
 */
#ifndef BROOD_DEPARTED_H
#define BROOD_DEPARTED_H

#include "table.h"
#include <stdint.h>

#define DEPARTED_MOST 16384u /* the oldest are forgotten: bytes are not under way for long */

struct departed {
	struct table ids;
	uint64_t *ring; /* the same in order of time */
	uint32_t size, n, oldest;
};

/* Zero bytes are an empty one. */
void departed_deinit(struct departed *);
/*
 * by: 0 if this broker saw it go; else the process that says so of a child which is not known here, and which is believed
 * only for tickets that name it as the parent. Without memory nothing is remembered.
 */
void departed_add(struct departed *, uint64_t id, uint64_t by);
/* 1 if it is gone, as far as a child of `parent` (0: nobody) can be concerned. */
int departed_has(const struct departed *, uint64_t id, uint64_t parent);

#endif
