/*
 * caught: signals that a command handles in its loop rather than in a handler, which only notes them and wakes it.
 */
#ifndef CAUGHT_H
#define CAUGHT_H

#include <brood.h>

struct caught {
	int signo;       /* 0: none */
	int from_kernel; /* a terminal sent it, to its whole foreground group */
};

/*
 * Catch these (0 ends the list). Those that are ignored stay ignored, as nohup and shells rely on; but SIGCHLD does not:
 * ignored, it would take our children's statuses.
 */
void caught_catch(const int *signals);

/* This handle gets a WAKE event for each that is noted; NULL: none any more. */
void caught_wake(brood *);

/* The next one that was noted, in the order of the list. */
struct caught caught_next(void);

/* Do to ourselves what this signal would do if it were not caught. Returns, if at all, when we go on. */
void caught_suffer(int signo);

#endif
