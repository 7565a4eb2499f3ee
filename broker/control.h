/*
 * control: the peer "@broker" (id 0), who answers the requests of control.proto.
 */
#ifndef BROOD_CONTROL_H
#define BROOD_CONTROL_H

#include "exits.h"
#include "frame.h"
#include "log.h"
#include "registry.h"
#include "router.h"
#include "users.h"

struct links;

struct control {
	const struct registry *registry;
	struct router *router;
	struct users *users;
	const struct exits *exits;
	const char *node;
	uint64_t pid_space; /* ours, as welcome has it */
	uint64_t boot;      /* of our host; 0: not known */
	uint64_t started_ms;
	const uint64_t *refused; /* sessions, so far */
	int private;
	const struct links *links; /* NULL: with no other nodes */
	struct log *log;           /* where the lines of its clients' children go */
};

/* A routed frame to the broker, from a live process. 0. -EBADMSG: malformed. -ENOMEM. */
int control_request(const struct control *, struct process *from, const struct frame *);
/* The process is going: free what is kept of it. */
void control_forget(struct process *);

#endif
