/*
 * body: the one place where the broker unpacks what strangers wrote.
 */
#include "body.h"
#include <errno.h>

void *body_unpack(struct session *s, const ProtobufCMessageDescriptor *type, const struct frame *f)
{
	const char *kind = frame_kind_name(f->kind);
	ProtobufCMessage *body;
	int r = guard_unpack(type, f->body, f->length, 1, &body);

	if (r == 0)
		return body;
	if (r == -EBADMSG)
		session_refuse(s, "control.malformed", "the body of %s is not a %s", kind, type->name);
	else if (r == -EMSGSIZE)
		session_refuse(s, "control.limit", "the body of %s is too deep or has too much in it", kind);
	else
		session_refuse(s, "broker.full", "the broker has no memory left");
	return NULL;
}
