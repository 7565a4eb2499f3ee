/*
 * confirm: messages whose sender asked to be told when they were consumed. The event is made when the message is
 * accepted, so telling it cannot fail.
 */
#ifndef BROOD_CONFIRM_H
#define BROOD_CONFIRM_H

#include "handle.h"

/* The event for the next message to this peer: confirm_attach() or confirm_drop() it. NULL: no memory. */
struct event_item *confirm_new(struct brood_peer *, brood_fn *, void *data);
void confirm_drop(struct event_item *);
/* It belongs to the item that the peer's outflow has accepted last. */
void confirm_attach(struct event_item *);

/* Tell all of acknowledged items. */
void confirm_arrived(struct remote *);
/* This one came back, for this reason. 1 if somebody was to be told. */
int confirm_refused(struct remote *, uint64_t sequence, const struct fault *);
/* None of the others will arrive. How many these were. */
uint64_t confirm_fail_all(struct remote *, const struct fault *);
/* Its messages become those of another, where the first of them will have the number `first`. */
void confirm_move(struct remote *from, struct remote *to, uint64_t first);

#endif
