/*
 * parting: how a relation ends. Whatever ends one (goodbye, death, loss, a name that finds nobody) passes here:
 * everybody who waits is answered, what was not consumed is reported, and the events come in their order.
 */
#ifndef BROOD_PARTING_H
#define BROOD_PARTING_H

#include "handle.h"

/* What was sent to this remote and not consumed will not be: requests fail, messages are reported. It may go on. */
void parting_report(struct remote *, const struct fault *);

/* Messages and answers accepted by the handle of which it is not known that they were consumed. */
uint64_t parting_count(struct brood *);

/* No message will come or go any more: DISCONNECT, once; why, or NULL if both agreed. */
void parting_disconnect(struct brood_peer *, const struct fault *);

/* The last event of a peer: CLOSE, once. The peer is not alive afterwards. */
void parting_close(struct brood_peer *);

/* The process behind this remote is gone for the reason given. Its peer is told as its kind demands. */
void parting_gone(struct remote *, const struct fault *);

#endif
