/*
 * script: the input of a target that is a story and not a file: bytes that decide what happens next, and frames made of
 * them that are well-formed but for what the script wants otherwise. Where the script ends, all is 0.
 */
#ifndef BROOD_FUZZ_SCRIPT_H
#define BROOD_FUZZ_SCRIPT_H

#include "frame.h"
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

struct script {
	const uint8_t *at, *end;
};

uint8_t script_byte(struct script *);
/* A length, and so many of its bytes where they lie. */
size_t script_bytes(struct script *, const uint8_t **ret);
/* Small numbers mostly, and some that are on the edge of something. */
uint64_t script_number(struct script *);
/* A name: good ones that occur often, and such that are none. */
const char *script_name(struct script *);

/*
 * Frames, into room for FRAME_MAX bytes that are 8-aligned; their size on the wire. Bodies of control frames are as the
 * message says; the script decides what is in a routed one, and whether it has the flag for descriptors: *n_fds. *next is
 * the sequence of the next item and moves on, or does not.
 */
size_t script_control(uint8_t *to, unsigned kind, const ProtobufCMessage *);
size_t script_bare(uint8_t *to, const struct frame *head);
size_t script_data(struct script *, uint8_t *to, struct frame *head, uint64_t *next, unsigned *n_fds);

#endif
