/*
 * schema: every message of the .proto files, listed at build time. For the lint and for fuzzing.
 */
#ifndef BROOD_SCHEMA_H
#define BROOD_SCHEMA_H

#include <protobuf-c/protobuf-c.h>

/* NULL-ended. */
extern const ProtobufCMessageDescriptor *const schema_messages[];

#endif
