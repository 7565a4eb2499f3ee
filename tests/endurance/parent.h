/*
 * parent: an actor that starts children, one after the other. Each says some numbered messages and exits: all of them have
 * to be there before its EXIT, and CLOSE comes once, last.
 */
#ifndef CHAOS_PARENT_H
#define CHAOS_PARENT_H

#include "stage.h"

#define CHILD_MESSAGES 100u

/* Until the stage says finish. The exit status. */
int parent_play(struct stage *, unsigned number);
/* The child's part. */
int child_play(void);

#endif
