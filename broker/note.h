/*
 * note: a frame that the broker itself says to a client: a head, and a control body or none.
 */
#ifndef BROOD_NOTE_H
#define BROOD_NOTE_H

#include "frame.h"
#include "sink.h"
#include <protobuf-c/protobuf-c.h>

#define NOTE_MOST 2048u /* longest note; every text in one is bounded where it comes from */

/* sink may be NULL: nobody listens. */
void note_put(struct sink *, enum frame_kind, const ProtobufCMessage *body);

/* A note without body that is about a process: HOLD or GO. */
void note_about(struct sink *, enum frame_kind, unsigned flags, uint64_t about);

#endif
