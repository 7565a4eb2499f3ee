/*
 * session: connect to a broker, ask it, and explain in words when that fails. Everything here blocks; the commands that
 * use it have nothing else to do meanwhile.
 */
#include "session.h"
#include "output.h"
#include <brood/pb.h>
#include <stdio.h>

#define PATIENCE_MS 10000
#define FLUSH_MS 100 /* each command has waited for what it sent before it closes */

void session_explain(const char *command, const struct brood_error *error)
{
	char text[1024], hint[512]; /* it may be the words of somebody far away */
	output_safe(error->text, text, sizeof text);
	output_safe(error->hint, hint, sizeof hint);
	fprintf(stderr, "brood %s: %s\n", command, text);
	if (hint[0])
		fprintf(stderr, "  %s\n", hint);
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

int session_run(const struct session_command *command, struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS, CLI_OPTIONS_END };
	brood *b;
	int c, rc;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if ((rc = cli_option(cli, c, command->help)) != CLI_GO_ON)
			return rc;
	if (optind < argc)
		return cli_usage(command->name, "it takes no arguments");
	if (session_open(cli, &b) < 0)
		return CLI_FAILED;
	rc = command->act(cli, b);
	brood_close(b);
	return rc;
}

/* The answer as a struct, or the reason why it is none. */
static int unpack(brood_msg *msg, const ProtobufCMessageDescriptor *type, const void **ret)
{
	const void *unpacked = brood_msg_pb(msg, type);
	if (!unpacked) {
		int rc = -errno;
		fprintf(stderr, "brood: the broker's answer \"%s\" is not understood: %s\n", msg->type, strerror(-rc));
		return rc;
	}
	*ret = unpacked;
	return 0;
}

/* 0 and its answer, or a negative errno with the reason in brood_last_error(). */
static int call_broker(brood *b, const char *node, const ProtobufCMessage *request, brood_msg **answer)
{
	char name[160];
	brood_peer *broker = NULL;
	snprintf(name, sizeof name, "%s%s@broker", node, *node ? "/" : "");
	int rc = *node ? brood_sync(b, PATIENCE_MS)
		       : 0; /* our own node may be meant: which that is, we know when connected */
	if (rc == 0)
		rc = brood_find(b, &broker, name, NULL);
	if (rc == 0)
		rc = brood_call_pb(broker, request, PATIENCE_MS, answer);
	brood_release(broker);
	return rc;
}

static int take_answer(brood_msg *answer, const ProtobufCMessageDescriptor *type, brood_msg **msg, const void **ret)
{
	int rc = unpack(answer, type, ret);
	if (rc < 0)
		brood_msg_release(answer);
	else
		*msg = answer;
	return rc;
}

int session_call_broker(brood *b, const char *node, const ProtobufCMessage *request,
			const ProtobufCMessageDescriptor *type, brood_msg **msg, const void **ret)
{
	brood_msg *answer = NULL;
	int rc = call_broker(b, node, request, &answer);
	return rc < 0 ? rc : take_answer(answer, type, msg, ret);
}

int session_ask_broker(brood *b, const char *command, const ProtobufCMessage *request,
		       const ProtobufCMessageDescriptor *type, brood_msg **msg, const void **ret)
{
	brood_msg *answer = NULL;
	int rc = call_broker(b, "", request, &answer);
	if (rc < 0)
		session_explain(command, brood_last_error(b));
	return rc < 0 ? rc : take_answer(answer, type, msg, ret);
}
