/*
 * obituary: what the broker is told of a child's end: how, whose doing it was, what it used, and its last words.
 */
#ifndef BROOD_OBITUARY_H
#define BROOD_OBITUARY_H

#include "child.h"

/* DIED, with all that is known by now. The connection is up, and the child has its id. */
void obituary_send(struct child *);
/* Once more, if there is something that was not said, and somebody to say it to. */
void obituary_complete(struct child *);

/* END did not come in time. DIED is said again at every return, until it does. */
void obituary_owe(struct child *);
/* It came. id 0: the handle ends, and nobody waits for any. */
void obituary_settle(struct brood *, uint64_t id);
void obituary_repeat(struct brood *);

#endif
