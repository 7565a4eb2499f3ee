/*
 * session: a connection to a broker that runs already, for the commands that ask or tell somebody something.
 */
#ifndef SESSION_H
#define SESSION_H

#include "cli.h"
#include <brood.h>
#include <protobuf-c/protobuf-c.h>

/*
 * A handle that connects as soon as it is used. 0 and *ret, to be closed with brood_close(); else a negative errno, and
 * the reason is on stderr. Asking who is here must not start a broker, so this never does.
 */
int session_open(const struct cli *, brood **ret);

/* A command without options of its own. */
struct session_command {
	const char *name, *help;
	int (*act)(const struct cli *, brood *); /* returns the exit code */
};

/* The whole of it: take the arguments, connect, act, close. The exit code. */
int session_run(const struct session_command *, struct cli *, int argc, char **argv);

/* Write an error of libbrood to stderr: "brood ps: what and why", and its hint. */
void session_explain(const char *command, const struct brood_error *);

/* As session_ask_broker(), but of a node ("" is this one), and the reason is in brood_last_error(). */
int session_call_broker(brood *, const char *node, const ProtobufCMessage *request,
			const ProtobufCMessageDescriptor *type, brood_msg **msg, const void **ret);

/*
 * Ask the broker itself. 0 and *ret, an unpacked `type` that belongs to *msg, to be released; else a negative errno,
 * and the reason is on stderr.
 */
int session_ask_broker(brood *, const char *command, const ProtobufCMessage *request,
		       const ProtobufCMessageDescriptor *type, brood_msg **msg, const void **ret);

#endif
