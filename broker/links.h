/*
 * links: all nodes that this one is linked with: who is dialed and when, beats, and what those below ask of other nodes.
 */
#ifndef BROOD_LINKS_H
#define BROOD_LINKS_H

#include "config.h"
#include "link.h"

/*
 * Set by the owner before: the pointers to other parts, node, owner, epoch. Reads the table of aliases. 0, or negative errno
 * with `why`.
 */
int links_init(struct links *, const struct home *, char *why, size_t n);
/* The processes of other nodes must have ended. Half-built is fine. */
void links_deinit(struct links *);
/* These are the other nodes from now on. Who is not among them any more is let go. */
void links_configure(struct links *, const struct config *);
/* Dial nobody any more: we are going. */
void links_close(struct links *);

/* A frame of a session that is a link, or says so. */
void links_take(struct links *, struct session *, const struct frame *);
/* Such a session is closing. */
void links_parted(struct links *, struct session *, const char *why);

/* A process of ours watches "node/name", and is told by NAME. 0, -ENOSPC: it watches too many. -ENOMEM. */
int links_watch(struct links *, struct process *, const char *name);
void links_unwatch(struct links *, struct process *, const char *name);
/* Who is not back by now has lost its names; or the policy has changed: tell again who asks from other nodes. */
void links_settle(struct links *);

#endif
