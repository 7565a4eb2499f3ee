/*
 * schedule: whose turn it is. Waiters are served one by one, the users whom they belong to in turn, until the work of one
 * turn is done. Pure: it knows neither sockets nor what the work is.
 *
 * Each user has a *lane*. A lane is served until its quantum of work is done; then it goes behind the
 * others. What was more work than expected is owed, and paid before the lane is served again. In a lane the light ones,
 * who took little when they were served last, go before the heavy ones, so many of them at most before each of these; among
 * their like it is first come, first served. No heavy one is served behind a light one in the same turn: what the light ones
 * said is sent first, and others of them may have come.
 */
#ifndef BROOD_SCHEDULE_H
#define BROOD_SCHEDULE_H

#include "limit.h"
#include <stdint.h>
#include <sys/queue.h>

struct waiter {
	TAILQ_ENTRY(waiter) entry;
	struct lane *lane; /* in which it waits, or NULL */
	uint8_t heavy;     /* the caller's to set, while it does not wait */
};
TAILQ_HEAD(waiter_list, waiter);

struct lane {
	TAILQ_ENTRY(lane) entry; /* in the ring, while somebody waits */
	struct waiter_list light, heavy;
	int64_t credit;
	uint8_t passed; /* light ones served while a heavy one waited */
	uint8_t spent;  /* its credit was used up when it was served last: it goes behind the others */
};

struct schedule {
	TAILQ_HEAD(, lane) ring;
	const struct limits *limits;
	int64_t left;  /* work of this turn */
	unsigned n;    /* who wait */
	uint8_t light; /* somebody light was served in this turn */
};

void schedule_init(struct schedule *, const struct limits *);
void lane_init(struct lane *);

/* It waits, behind its like. Again: nothing. */
void schedule_add(struct schedule *, struct waiter *, struct lane *);
/* It waits no more. Again: nothing. */
void schedule_remove(struct schedule *, struct waiter *);
/* A turn begins. */
void schedule_begin(struct schedule *);
/* Who is served now, and waits no more. NULL: nobody waits, or this turn is over. */
struct waiter *schedule_next(struct schedule *);
/* Serving one of this lane was so much work. */
void schedule_charge(struct schedule *, struct lane *, uint64_t work);

#endif
