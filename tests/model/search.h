/*
 * search: every state that can be reached, breadth first, so that the way to whatever is found is a shortest one.
 */
#ifndef MODEL_SEARCH_H
#define MODEL_SEARCH_H

#include "rules.h"
#include <stddef.h>
#include <stdint.h>

struct search {
	struct state *states;
	uint32_t *parent; /* from which each was reached first */
	uint32_t n, room;
	uint32_t *table; /* open addressing: number of the state + 1 */
	uint32_t slots;
	uint32_t (*edges)[2]; /* steps that happen without a fault, from and to */
	size_t n_edges, edges_room;
	/* what was found, or NULL */
	const char *wrong;
	uint32_t last;     /* from this state ... */
	struct next broke; /* by this step; if the promise is about what can never come, only `last` counts */
};

/* Look at all states that can be reached with these faults, until a promise is broken. 0, or -ENOMEM. */
int search_run(struct search *, const struct faults *);
void search_free(struct search *);

/* The way to what was found, a step per line. */
void search_print(const struct search *);

#endif
