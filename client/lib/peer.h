/*
 * peer: the life of what programs hold. A peer is counted: one reference for being alive (until it closes), one while
 * the program has not released it, one per event under way and open request. All peers of a handle are in its list.
 */
#ifndef BROOD_PEER_H
#define BROOD_PEER_H

#include "handle.h"

/* Alive, not owned. The remote may be NULL; else it is referenced, and its events go to this peer. NULL: no memory. */
struct brood_peer *peer_new(struct brood *, enum peer_kind, struct remote *);

static inline struct brood_peer *peer_ref(struct brood_peer *p)
{
	p->refs++;
	return p;
}

void peer_free(struct brood_peer *); /* when nobody refers to it */

static inline void peer_unref(struct brood_peer *p)
{
	if (--p->refs == 0)
		peer_free(p);
}

/* Who is this process to the program; NULL: nobody. A name that has another holder now only hears what became of what it
 * sent. */
static inline struct brood_peer *peer_of(const struct remote *r)
{
	return r->peer && r->peer->remote == r ? r->peer : NULL;
}

/* The program gets it. */
void peer_own(struct brood_peer *);
/* It is not alive any more: no event will be posted for it. Twice is fine. */
void peer_retire(struct brood_peer *);
/* From now on it talks to this remote (referenced; the old one is let go). */
void peer_turn_to(struct brood_peer *, struct remote *);

/* Copy a program's table, which may be shorter or longer than ours. -EINVAL: its size is not set. */
#define UNSIZED_TABLE "the size of a table is not set: use BROOD_ON() or BROOD_INIT()"
int peer_set_table(struct brood_peer *, const struct brood_handlers *, void *data);

/* "resize", or its address: how texts call it. */
const char *peer_label(struct brood_peer *);
/* "beta cannot be reached: " and why, or that it is away; "" if nothing is known that keeps it from answering. */
const char *peer_silence(const struct brood_peer *, char *to, size_t n);

#endif
