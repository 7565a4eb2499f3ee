/*
 * lint: rules that a schema of control bodies keeps, so that unpacking hostile bytes stays linear in time and memory:
 * no recursive types, and no singular sub-message that contains a repeated field (also not further inside).
 */
#ifndef BROOD_LINT_H
#define BROOD_LINT_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

/* 0 if this type and all inside it keep the rules, else -EINVAL with the reason in `why` (at most n bytes, one line).
 */
int lint_message(const ProtobufCMessageDescriptor *, char *why, size_t n);

#endif
