/*
 * timer: a heap of timers that their owners hold by value. Pure: the time is passed in, in milliseconds of any clock.
 */
#ifndef BROOD_TIMER_H
#define BROOD_TIMER_H

#include <stddef.h>
#include <stdint.h>

struct timer { /* begin with { .fire = ... }; must not move in memory while armed */
	uint64_t due;
	unsigned slot;     /* 0: not armed */
	unsigned promised; /* arming it cannot fail */
	void (*fire)(struct timer *);
};

struct timers {
	struct timer **heap; /* from 1; a parent is due no later than its children */
	unsigned n, size;    /* armed; room for so many */
	unsigned promised;   /* timers that always have room ... */
	unsigned others;     /* ... and how many of the others are armed */
	uint64_t earliest;   /* while timers_run() runs: nothing becomes due before this */
};

void timers_init(struct timers *);
/* Cancels all. Twice is fine, also from a timer's callback. */
void timers_deinit(struct timers *);

/* From now on timer_arm() cannot fail for this one. 0, -ENOMEM. Twice is fine. */
int timer_promise(struct timers *, struct timer *);
/* Cancel it for good. Fine if nothing was promised. */
void timer_release(struct timers *, struct timer *);

/*
 * Fire at `due`; an armed timer is moved, which cannot fail. -ENOMEM: no room for one more, nothing changed. A timer
 * that a callback arms for now or earlier fires in the next run, 1 ms later, so a run always ends.
 */
int timer_arm(struct timers *, struct timer *, uint64_t due);
/* It will not fire. Fine if it is not armed. */
void timer_cancel(struct timers *, struct timer *);

/* When the next one is due; UINT64_MAX: none is armed. */
uint64_t timers_next(const struct timers *);
/*
 * Fire all that are due at `now`, the earliest first. A timer is disarmed before its callback, which may arm or cancel
 * any timer and free its own owner. How many were fired.
 */
unsigned timers_run(struct timers *, uint64_t now);

#endif
