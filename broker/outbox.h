/*
 * outbox: what one destination gets at the end of this turn, as a list of pieces ready for writev(2). A session has one
 * only while it has something to send; the pool lends it.
 */
#ifndef BROOD_OUTBOX_H
#define BROOD_OUTBOX_H

#include "parcel.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

struct edge;

STAILQ_HEAD(outbox_copies, outbox_copy);

struct outbox {
	SLIST_ENTRY(outbox) next;
	struct iovec *pieces;
	struct edge **edges; /* of the same index; NULL: a copy */
	unsigned n, size;
	unsigned sealed; /* the piece before this one is not lengthened */
	struct outbox_copies copies;
	struct parcel_list parcels; /* in order; each is at a piece of its own */
};

struct outbox_pool {
	SLIST_HEAD(, outbox) spare;
	unsigned n_spare;
};

void outbox_pool_init(struct outbox_pool *);
void outbox_pool_deinit(struct outbox_pool *);

/* An empty outbox, or NULL without memory. */
struct outbox *outbox_lend(struct outbox_pool *);
/* Give it back, emptied. NULL is fine. */
void outbox_return(struct outbox_pool *, struct outbox *);

/* Add bytes by reference. What lies directly behind the last piece of the same edge lengthens it. -ENOMEM. */
int outbox_add(struct outbox *, struct edge *, const uint8_t *bytes, size_t n);
/* The same for one frame with descriptors, which are the outbox's if that succeeds. -ENOMEM. */
int outbox_add_parcel(struct outbox *, struct edge *, const uint8_t *bytes, size_t n, struct parcel *);
/* The parcel of this piece, now the caller's, or NULL. Pieces are to be asked for in order. */
struct parcel *outbox_take_parcel(struct outbox *, unsigned piece);

/* Add a copy of bytes. -ENOMEM. */
int outbox_copy(struct outbox *, const uint8_t *bytes, size_t n);

#endif
