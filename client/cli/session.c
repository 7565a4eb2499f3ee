/*
 * session: connect to a broker, ask it, and explain in words when that fails. Everything here blocks; the commands that
 * use it have nothing else to do meanwhile.
 */
#include "session.h"
#include <brood/pb.h>
#include <stdio.h>

#define PATIENCE_MS 10000
#define FLUSH_MS 100 /* each command has waited for what it sent before it closes */

void session_explain(const char *command, const struct brood_error *error)
{
	fprintf(stderr, "brood %s: %s\n", command, error->text);
	if (error->hint[0])
		fprintf(stderr, "  %s\n", error->hint);
}

int session_open(const struct cli *cli, brood **ret)
{
	brood *b = NULL;
	int rc = brood_connect(&b, cli->address, BROOD_OPTIONS(.flags = BROOD_NO_AUTOSTART, .flush_ms = FLUSH_MS));
	if (rc < 0) {
		fprintf(stderr, "brood: %s\n", strerror(-rc));
		return rc;
	}
	*ret = b;
	return 0;
}

/* The answer as a struct, or the reason why it is none. */
static int unpack(brood_msg *msg, const char *command, const ProtobufCMessageDescriptor *type, const void **ret)
{
	const void *unpacked = brood_msg_pb(msg, type);
	if (!unpacked) {
		int rc = -errno;
		fprintf(stderr, "brood %s: the broker's answer \"%s\" is not understood: %s\n", command, msg->type,
			strerror(-rc));
		return rc;
	}
	*ret = unpacked;
	return 0;
}

int session_ask_broker(brood *b, const char *command, const ProtobufCMessage *request,
		       const ProtobufCMessageDescriptor *type, brood_msg **msg, const void **ret)
{
	brood_peer *broker = NULL;
	brood_msg *answer = NULL;
	int rc = brood_find(b, &broker, "@broker", NULL);
	if (rc == 0)
		rc = brood_call_pb(broker, request, PATIENCE_MS, &answer);
	if (rc < 0)
		session_explain(command, brood_last_error(b));
	brood_release(broker);
	if (rc < 0)
		return rc;
	rc = unpack(answer, command, type, ret);
	if (rc < 0)
		brood_msg_release(answer);
	else
		*msg = answer;
	return rc;
}
