/*
 * actor: one of a pair: numbers what it sends to the other one, and checks the numbers of what comes.
 */
#ifndef CHAOS_ACTOR_H
#define CHAOS_ACTOR_H

#include "stage.h"

/* Until the stage says finish. The exit status. */
int actor_play(struct stage *, unsigned number);

#endif
