/*
 * outflow: what I have accepted for one receiver on one stream and it has not yet consumed. Pure: no sockets, no time.
 *
 * Items are written once, into blocks, as the frames that will travel; they stay there until acknowledged, so sending
 * costs one copy and sending again costs none. A block holds frames back to back. The last frame is *open* until it is
 * gathered for transmission: more items may join it. Three positions, in bytes since the beginning, move one after the
 * other: freed <= cursor <= written.
 *
 * An item with descriptors is alone in its frame, which says so (FRAME_FDS) and is gathered alone. The descriptors are
 * kept beside the blocks until the item was consumed, so that they too can be sent again.
 *
 * The window bounds what is retained. One message always fits an empty window. Every quarter of it, and every
 * 512 KiB, a frame asks for an acknowledgement (FRAME_ACK_NOW), so a full window always has an answer under way.
 */
#ifndef BROOD_OUTFLOW_H
#define BROOD_OUTFLOW_H

#include "frame.h"
#include "message.h"
#include "parcel.h"
#include <string.h>
#include <sys/queue.h>
#include <sys/uio.h>

struct outflow_block {
	TAILQ_ENTRY(outflow_block) next;
	uint64_t last;     /* sequence of its last item */
	uint64_t position; /* of its first byte */
	uint32_t used, size;
	int counted; /* in the pool's `held` */
	_Alignas(8) uint8_t bytes[];
};
TAILQ_HEAD(outflow_blocks, outflow_block);

/* Spare blocks, shared by all outflows of a handle. */
struct outflow_pool {
	struct outflow_blocks small, large;
	size_t spare_bytes;
	unsigned n_large; /* in large */
	size_t held;      /* bytes of blocks in use, the first of each outflow not counted ... */
	size_t most;      /* ... and where that ends: then one message for each receiver */
};

void outflow_pool_init(struct outflow_pool *, size_t most);
void outflow_pool_deinit(struct outflow_pool *);

#define OUTFLOW_MESSAGES 65536u /* most items unacknowledged */
#define OUTFLOW_FDS 128u        /* and most descriptors; answers may exceed it */

/* An item of the other direction that was not taken, and the one here that says so. */
struct outflow_refusal {
	TAILQ_ENTRY(outflow_refusal) entry;
	uint64_t item, said_by;
};
TAILQ_HEAD(outflow_refusals, outflow_refusal);

struct outflow {
	struct outflow_pool *pool;
	struct outflow_blocks blocks;
	size_t window;
	uint64_t next, acked;     /* sequence of the next item; all up to acked were consumed */
	uint64_t reached;         /* highest sequence that was ever gathered */
	uint64_t written, freed;  /* positions */
	uint64_t settled;         /* position of the first frame that was not consumed as a whole; from freed on */
	struct outflow_block *at; /* where the cursor is; NULL: behind everything */
	uint32_t at_offset;
	struct outflow_block *open; /* the last one if its last frame is open; it begins at open_offset ... */
	uint32_t open_offset;
	uint64_t open_first;              /* ... with this item */
	uint64_t join_end;                /* position up to which items may join it by outflow_join(), 0: none may */
	uint64_t marked, marked_position; /* last item and position that asked for an acknowledgement ... */
	size_t mark;                      /* ... which the next does so many bytes later */
	char **types;                     /* interned type names; number i is types[i - 1] */
	unsigned n_types, last_type;      /* last used, 0: none yet ... */
	const char *last_name;            /* ... and its name, else "" */
	int spells_types;                 /* its receiver forgets: no numbers, a name with each item */
	struct parcel_list parcels;       /* of unacknowledged items, by sequence */
	unsigned n_fds;                   /* in them */
	struct outflow_refusals refusals; /* of which the other side may not have heard, in order */
	uint64_t with_fds, refused;       /* items that ever had some; of those the receiver did not take so many */
};

void outflow_init(struct outflow *, struct outflow_pool *, size_t window);
void outflow_deinit(struct outflow *);

/* Items accepted and not acknowledged. */
static inline uint64_t outflow_unacknowledged(const struct outflow *o)
{
	return o->next - 1 - o->acked;
}

/* 1 if `bytes` more (of whole items) may be accepted now. */
static inline int outflow_has_room(const struct outflow *o, size_t bytes)
{
	if (outflow_unacknowledged(o) == 0)
		return 1;
	return o->written - o->freed + bytes <= o->window && outflow_unacknowledged(o) < OUTFLOW_MESSAGES &&
	       o->pool->held < o->pool->most;
}

/* The same for n descriptors. */
static inline int outflow_has_room_for_fds(const struct outflow *o, size_t n)
{
	return o->n_fds + n <= OUTFLOW_FDS;
}

/* Room was refused; is there enough of it again to tell the program? */
int outflow_has_recovered(const struct outflow *);

/*
 * Set it->type, and it->name if the receiver does not know the number yet, for a type name. 0, -ENOMEM, -EINVAL (too
 * long). Names beyond ITEM_TYPES travel with each item.
 */
int outflow_type(struct outflow *, const char *name, struct item *it);

/* Make sure that the next `bytes` of items will not fail for lack of memory. 0, -ENOMEM. */
int outflow_reserve(struct outflow *, size_t bytes);

/* Append an item. Where its it->length body bytes go, or NULL for lack of memory. */
uint8_t *outflow_append(struct outflow *, const struct item *it);

/* The same for an item with it->fds descriptors, which are the outflow's if it succeeds. */
uint8_t *outflow_append_parcel(struct outflow *, const struct item *it, struct parcel *);

/* The oldest parcel, if the caller shall own it from now on: the item is moved elsewhere. */
struct parcel *outflow_take_parcel(struct outflow *);

/* The descriptors of the frame that is gathered next, which then comes alone; or NULL. */
const struct parcel *outflow_parcel(const struct outflow *);

/* The number of this type name if it is the one used last (0: untyped), else -1. */
static inline __attribute__((always_inline)) int outflow_same_type(const struct outflow *o, const char *name)
{
	if (!name || !*name)
		return 0;
	for (const char *last = o->last_name; *name == *last;
	     name++, last++) /* names are short, and calls are not free */
		if (!*name)
			return (int)o->last_type;
	return -1;
}

/*
 * The short way of the usual case: an item without extension joins the open frame. Where its body goes, or NULL if the
 * case is not that: outflow_append() then, which looks at room and marks, and says in join_end how far this may go
 * without looking.
 */
static inline __attribute__((always_inline)) uint8_t *outflow_join(struct outflow *o, const struct item *it)
{
	struct outflow_block *b = o->open;
	size_t size = item_size(it->kind, 0, it->length);
	if (o->written + size > o->join_end)
		return NULL;
	uint8_t *to = b->bytes + b->used;
	b->used += (uint32_t)size;
	b->last = o->next++;
	o->written += size;
	put64(to + size - 8, 0); /* the body's last bytes will overwrite the first of these */
	put64(to, it->length | (uint64_t)it->type << 32 | (uint64_t)it->kind << 48);
	if (!item_is_call(it->kind))
		return to + ITEM_HEAD;
	put64(to + ITEM_HEAD, it->correlation);
	put64(to + ITEM_HEAD + 8, it->deadline);
	return to + ITEM_HEAD + ITEM_CALL;
}

/* Bytes that wait to be transmitted. */
static inline size_t outflow_pending(const struct outflow *o)
{
	return o->at ? (size_t)(o->written - o->at->position - o->at_offset) : 0;
}

struct outflow_route { /* what the heads need to know */
	uint64_t destination;
	uint32_t stream;
	uint64_t acknowledge; /* ... as far as outflow_may_acknowledge() */
};

/* The item appended last refuses this one: the node is the outflow's from now on. */
void outflow_refuses(struct outflow *, struct outflow_refusal *, uint64_t item);

/*
 * How much of what was consumed may be acknowledged in a frame whose last item is `last`, or behind it. An item that was
 * refused is acknowledged with its REFUSED, or behind that: who hears of one has heard of the other, whatever comes then.
 */
uint64_t outflow_may_acknowledge(const struct outflow *, uint64_t consumed, uint64_t last);

/* Close the open frame, complete the heads and show up to n pieces and about `most` bytes, whole frames. Pieces filled.
 */
int outflow_gather(struct outflow *, const struct outflow_route *, struct iovec *, int n, size_t most);

/*
 * So many of the gathered bytes were taken. If that ends inside a frame, its rest (pointer and length in *rest) must go
 * out before anything else: the cursor already stands behind it.
 */
void outflow_advance(struct outflow *, size_t bytes, struct iovec *rest);

/* All up to `sequence` were consumed. 1 if that was news, 0 if old, -EPROTO if it was never sent. */
int outflow_acknowledge(struct outflow *, uint64_t sequence);

/* Begin again at the first unacknowledged item. */
void outflow_rewind(struct outflow *);

/* Of the items accepted, those never handed to the connection. */
uint64_t outflow_unsent(const struct outflow *);
/* The first item that was not gathered since the last rewind: what waits for the window has not been sent. */
uint64_t outflow_cursor(const struct outflow *);

/* Ask for an acknowledgement of everything with the frame that is still open. 1; 0 if all frames are closed. */
int outflow_mark(struct outflow *);

/* Visit every unacknowledged item in order, to move them to another stream. Stops at a non-zero result, and returns it.
 */
int outflow_each(struct outflow *, int (*visit)(void *data, const struct item *, const char *type), void *data);

#endif
