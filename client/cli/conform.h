/*
 * conform: the checks of `brood conform`, by the level of the wire.
 */
#ifndef CONFORM_H
#define CONFORM_H

#include "trial.h"

#define CHECK_BASIS 1u /* the others of its list rest on it */
#define CHECK_LEADS 2u /* the next one does */
#define CHECK_LEFT 4u  /* it is about a client that has left */

struct check {
	const char *name;
	int (*run)(struct trial *); /* 0: passed; else the reason is noted */
	unsigned flags;
};

/* All end with one that has no name. Those of level 1 need a tap, and a client that was not asked anything yet. */
extern const struct check conform_level0[];
extern const struct check conform_level1[];

/* With a broker that is played, to say what one seldom says: these need a script that has begun. */
extern const struct check conform_wire[];
extern const struct check conform_fds[];
extern const struct check conform_anew[];
extern const struct check conform_anew_level1[];
extern const struct check conform_end[]; /* the client leaves */

#endif
