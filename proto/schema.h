/*
 * schema: every message of brood.proto and control.proto, listed at build time. For the lint and for fuzzing.
 */
#ifndef BROOD_SCHEMA_H
#define BROOD_SCHEMA_H

#include <protobuf-c/protobuf-c.h>

/* NULL-ended. */
extern const ProtobufCMessageDescriptor *const schema_messages[];

#endif
