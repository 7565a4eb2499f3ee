/*
 * relay: the least that could stand between two processes. `brood bench` measures brood beside it.
 */
#ifndef RELAY_H
#define RELAY_H

#include "testbed.h"

/* Join each connection with the next one, all pairs at once, for ever. Returns an exit code only if it cannot work. */
int relay_pairs(const char *place, enum via);

/*
 * One at each host. Near: join each connection with one to the wire, which is TLS. Far: join those that come to the place
 * with those that come from the wire, as pairs.
 */
int relay_near(const char *place, const char *wire);
int relay_far(const char *place, const char *wire);

#endif
