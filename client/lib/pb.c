/*
 * pb: protobuf-c bodies of received messages, unpacked behind the guard: what came in is never given to protobuf-c as
 * it is. What was unpacked belongs to its message.
 */
#include "guard.h"
#include "letter.h"
#include <brood/pb.h>
#include <stdlib.h>
#include <string.h>

static void release(void *message)
{
	guard_free(message);
}

static int remember(struct letter *m, ProtobufCMessage *unpacked)
{
	struct unpacked *u = malloc(sizeof(*u));
	if (!u)
		return -ENOMEM;
	*u = (struct unpacked){ m->unpacked, unpacked, release };
	m->unpacked = u;
	m->owns = 1;
	return 0;
}

const void *brood_msg_pb(brood_msg *msg, const ProtobufCMessageDescriptor *type)
{
	struct letter *m = (struct letter *)(void *)msg;
	ProtobufCMessage *unpacked;
	if (!msg || !type || strcmp(msg->type, type->name) != 0) {
		errno = msg && type ? EPROTOTYPE : EINVAL;
		return NULL;
	}
	int rc = handle_check(m->h);
	if (rc == 0 || rc == -ESHUTDOWN) /* the last answers can be read, too */
		rc = guard_unpack(type, msg->body, msg->length, 0, &unpacked);
	if (rc == 0 && (rc = remember(m, unpacked)) < 0)
		guard_free(unpacked);
	if (rc < 0) {
		errno = -rc;
		return NULL;
	}
	return unpacked;
}
