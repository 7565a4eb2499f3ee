/*
 * relay: the least that could stand between two processes. `brood bench` measures brood beside it.
 */
#ifndef RELAY_H
#define RELAY_H

#include "testbed.h"

/* Join each connection with the next one, all pairs at once, for ever. Returns an exit code only if it cannot work. */
int relay_pairs(const char *place, enum via);

#endif
