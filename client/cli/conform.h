/*
 * conform: the checks of `brood conform`, by the level of the wire.
 */
#ifndef CONFORM_H
#define CONFORM_H

#include "trial.h"

struct check {
	const char *name;
	int (*run)(struct trial *); /* 0: passed; else the reason is noted */
};

/* Both end with one that has no name. Those of level 1 need a tap, and a client that was not asked anything yet. */
extern const struct check conform_level0[];
extern const struct check conform_level1[];

#endif
