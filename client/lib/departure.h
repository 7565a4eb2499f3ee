/*
 * departure: exit(3) and fork(2). The only global state of the library: the list of open handles, so that exit can
 * flush them and a forked copy can refuse to use them.
 */
#ifndef BROOD_DEPARTURE_H
#define BROOD_DEPARTURE_H

#include "handle.h"

void departure_add(struct brood *);
void departure_remove(struct brood *);

#endif
