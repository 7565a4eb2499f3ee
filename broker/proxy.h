/*
 * proxy: processes of other nodes in our registry, under an id of ours, with a sink that leads to their node. So whoever
 * has to do with them here need not know that they are elsewhere.
 */
#ifndef BROOD_PROXY_H
#define BROOD_PROXY_H

#include "node.h"

/* The process that a sink is of. */
struct proxy *proxy_of(struct sink *);
/* There are as many as may be. */
int proxies_are_full(const struct node *);
/* NULL: nobody here has to do with it. */
struct proxy *proxy_find(const struct node *, uint64_t real);
/*
 * The same, made if there is none. `put` is for its sink. NULL: there are too many, its epoch cannot be written down, or
 * there is no memory.
 */
struct proxy *proxy_get(struct node *, uint64_t real,
			void (*put)(struct sink *, struct edge *, const uint8_t *, size_t));
/* The node's link is up, or down. */
void proxy_attach(struct proxy *);
void proxy_detach(struct proxy *);
/* What its node says of it. parent: of this node, or NULL. */
void proxy_know(struct proxy *, uint32_t uid, uint32_t pid, const char *title, struct process *parent);
/* Tell one of ours that it is its child: again, after what was said may have been lost. */
void proxy_tell_joined(const struct proxy *, struct process *parent);
/* It is gone for good. */
void proxy_end(struct proxy *, Brood__Why);
/* All of a node. */
void proxies_end(struct node *, Brood__Why);
/* End those that nobody here has to do with any more. */
void proxies_sweep(struct node *);
/* The router has ended it: the record goes. */
void proxy_forget(struct process *);

#endif
