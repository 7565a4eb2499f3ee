/*
 * watch: looks after streams that stand still. Progress never depends on it; it is there for what should not happen.
 *
 * While anything is under way: who is held sends one message a second all the same, and who heard nothing for 10 s asks.
 * The other side finds out with the question whether something before it is missing, which would be a defect of brood:
 * if it is still missing with another question 10 s later, both programs are told, and the stream begins anew. These 10 s
 * it has to be awake for: a machine that slept, or a process that was stopped, saw none of what came meanwhile.
 */
#ifndef BROOD_WATCH_H
#define BROOD_WATCH_H

#include "handle.h"

void watch_init(struct brood *);
/* Somebody has to wait: look again soon. */
void watch_soon(struct brood *);
/* It asks, and has sent all items before this one. 1: some are missing, and were when it asked before. */
int watch_gap(struct remote *, uint64_t sequence);

#endif
