/*
 * pump: the writing half of my connection to the broker: control frames, and what the dirty remotes have to transmit, in one
 * write for all of them.
 */
#ifndef BROOD_PUMP_H
#define BROOD_PUMP_H

#include "handle.h"
#include <protobuf-c/protobuf-c.h>

/* Write a control frame, with a descriptor to pass (then closed) or -1. */
void pump_control(struct brood *, unsigned kind, const ProtobufCMessage *, int fd);

/* Tell a process that its stream is not read on, and how far it was; 0: that I cannot read it, and we are done. */
void pump_reset(struct brood *, const struct remote *, uint64_t expected);

/* Hand everything that waits to the kernel, as far as it takes it. */
void pump_run(struct brood *);

/* After something was put into an outflow: outside of a turn it leaves at once, inside when the turn ends. */
static inline void pump_kick(struct brood *h)
{
	if (!h->gather)
		pump_run(h);
}

/* Send the first unacknowledged frame of one that is held, all the same. */
void pump_retry(struct brood *, struct remote *);

/* Ask for room to write as long as something waits for it; for FIFOs, stop. */
void pump_interest(struct brood *);
void pump_unwatch(struct brood *);

/* The connection cannot be used on, for lack of memory: link_renew() makes it anew in the next turn. */
void pump_spoil(struct brood *);

#endif
