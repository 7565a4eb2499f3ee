/*
 * estate: what a process has besides its connection and its family: names, watches, ids for its children, an account with
 * @broker, somebody who keeps it. Most processes that are just connected have nothing of this, and no estate.
 *
 * It is made when there is something to be put into it, and whoever takes something out of it tidies up, which frees it if that
 * was the last. So it is always asked for by its process, and not remembered.
 */
#ifndef BROOD_ESTATE_H
#define BROOD_ESTATE_H

#include <stdint.h>
#include <sys/queue.h>

struct process;
struct name;
struct watch;
struct inquiry;
struct endpoint; /* what @broker keeps of a process */
struct absence;  /* while it is lost and nobody vouches for it */
struct estate;
LIST_HEAD(name_list, name);
LIST_HEAD(watch_list, watch);
LIST_HEAD(inquiry_list, inquiry);
LIST_HEAD(estate_list, estate);

struct block { /* ids that a process may give to its children */
	uint64_t first;
	uint32_t n;
};

struct estate {
	struct process *process;   /* whose it is */
	struct endpoint *endpoint; /* NULL until it spoke to the broker */
	struct absence *absence;   /* NULL, unless it is lost and nobody vouches for it */
	struct process *keeper; /* who started it for its parent and will tell how it ended; NULL: that is its parent */
	struct estate_list kept; /* of those that it started for their parents */
	LIST_ENTRY(estate) of_keeper;
	struct name_list names;
	struct watch_list watches;
	struct inquiry_list asks; /* names with a node's in front that it watches */
	struct block *blocks;
	char *abroad; /* who of other nodes may write to it: "user@node", separated by blanks; or NULL */
	char *had;    /* the names it had when it gave up some, or NULL */
	uint16_t n_blocks, n_names, n_watches;
};

/* Of this process, to look at: an empty one if it has none. */
const struct estate *estate_of(const struct process *);
/* To put something into: made if it has none. NULL without memory. */
struct estate *estate_get(struct process *);
/* Something may have been taken out: it is freed if it is empty now. Fine if there is none. */
void estate_tidy(struct process *);
/* The process goes: only what is the estate's alone may still be in it. */
void estate_free(struct process *);

#endif
