/*
 * inbound: what came in. Frames become items, items become messages, answers and signals, and those become events.
 */
#ifndef BROOD_INBOUND_H
#define BROOD_INBOUND_H

#include "link.h"

/* What the link tells upwards; for link_init(). */
extern const struct link_up inbound_link_up;

/* Work through what was read, until nothing is left or callbacks must not go on. 1 if something is left. */
int inbound_run(struct brood *);

#endif
