/*
 * vigil: whether to wait awake. The answer to a question often comes within a few microseconds, which is less than it takes to
 * fall asleep and be woken. So the broker looks a little while for one, if that was worth it the last times.
 *
 * What is learned is kept of the edge that the question travelled on: how often the next thing that happened was the answer,
 * and how often it was waited for in vain, after which it has to come at once twice as many times before it is waited for
 * again. Turns that forward more than one frame are no conversation. Pure: who looks, and how, is the broker's business.
 */
#ifndef BROOD_VIGIL_H
#define BROOD_VIGIL_H

#include "router.h"

#define VIGIL_LOOKS 100 /* so often it looks, each about half a microsecond */

struct vigil {
	const struct router *router;
	uint64_t frames;         /* that were forwarded when the turn before ended ... */
	const struct edge *edge; /* ... and the edge of that turn's, if it was only one. Perhaps it is gone */
	int looked;              /* for its answer, and not in vain so far */
};

/* A turn is over. 1: look for the answer to what it forwarded. Turns that forward nothing are none. */
int vigil_begin(struct vigil *);
/* It did not come while we looked. */
void vigil_in_vain(struct vigil *);

#endif
