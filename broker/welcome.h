/*
 * welcome: HELLO and ADOPT, the two ways a connection becomes a process.
 */
#ifndef BROOD_WELCOME_H
#define BROOD_WELCOME_H

#include "identity.h"
#include "life.h"
#include "session.h"

struct welcome {
	struct registry *registry;
	struct router *router;
	struct life *life;
	struct identity *identity;
	struct log *log;
	uint32_t pid;       /* the broker's */
	uint64_t pid_space; /* inode of /proc/self/ns/pid; 0: not known */
	const char *node;
	const char *unix_address; /* where children of local clients reach us; "" if nowhere */
	const char *tcp_address;  /* of those who came by TCP */
	const char *fifo_address; /* by FIFO */
};

void welcome_hello(struct welcome *, struct session *, const struct frame *);
void welcome_adopt(struct welcome *, struct session *, const struct frame *);

#endif
