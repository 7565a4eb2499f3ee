/*
 * verdict: how a child ended, from what the kernel says to what the program is told.
 */
#ifndef BROOD_VERDICT_H
#define BROOD_VERDICT_H

#include "child.h"

/* Before the first child: what the kernel ended for lack of memory until now was none of them. */
void verdict_watch_memory(struct brood *);

/* It has ended; its zombie is left, so that nobody else can get its pid and its process group. */
int verdict_is_in(const struct child *);
/* Take its status, once, into the peer's exit. 0: it has not ended. */
int verdict_take(struct child *);

/* Write the exit's text, when everything about it is known. */
void verdict_describe(struct child *);

#endif
