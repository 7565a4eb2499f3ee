/*
 * body: control bodies of clients, unpacked under guard.
 */
#ifndef BROOD_BODY_H
#define BROOD_BODY_H

#include "guard.h"
#include "session.h"

/* The frame's body, to be freed with guard_free(). NULL: it was malformed, and the session has been refused. */
void *body_unpack(struct session *, const ProtobufCMessageDescriptor *, const struct frame *);

#endif
