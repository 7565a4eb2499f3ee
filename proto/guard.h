/*
 * guard: protobuf-c must not see untrusted bytes unguarded. It merges doubled sub-messages quadratically, recurses
 * without a limit and amplifies memory 30 to 100 times. So every body is first scanned in one linear pass against its
 * descriptor (depth, doubled singular sub-messages), then unpacked with an allocator that has a byte
 * budget. Strings in control bodies must be UTF-8 without NUL.
 */
#ifndef BROOD_GUARD_H
#define BROOD_GUARD_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#define GUARD_DEPTH 32 /* messages inside each other, the outermost counts */

/*
 * Memory that unpacking `length` bytes may take. Lists of small messages or short strings, honestly meant, take 13 to
 * 20 bytes per byte received, because protobuf-c needs 32 to 64 bytes per field while it unpacks; empty ones, which
 * only an attacker sends by the thousand, 32 to 50.
 */
#define GUARD_BUDGET(length) (24 * (size_t)(length) + 64 * 1024)

/* 0; -EBADMSG: malformed; -EMSGSIZE: too deep, or a doubled singular sub-message; -ENOMEM. */
int guard_scan(const ProtobufCMessageDescriptor *, const uint8_t *, size_t);

/*
 * Scan and unpack. 0 and *ret, to be given to guard_free(); as guard_scan(), or -EMSGSIZE when the budget ran out, or
 * -ENOMEM. With `strict`, strings must be valid UTF-8 without NUL (-EBADMSG). All of a message is one arena:
 * guard_free() is one walk over a few blocks. NULL is fine there.
 */
int guard_unpack(const ProtobufCMessageDescriptor *, const uint8_t *, size_t, int strict, ProtobufCMessage **ret);
void guard_free(ProtobufCMessage *);

#endif
