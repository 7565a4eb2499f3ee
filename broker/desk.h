/*
 * desk: what clients say to the broker itself in control frames, and what follows when a connection ends.
 */
#ifndef BROOD_DESK_H
#define BROOD_DESK_H

#include "control.h"
#include "welcome.h"

struct desk {
	struct registry *registry;
	struct router *router;
	struct life *life;
	struct welcome *welcome;
	struct control *control;
};

/* Data of these is the desk. */
extern const struct session_ops desk_ops;

/* For registry_init(): data is not used. */
void desk_named(void *data, struct process *watcher, const struct name *);

#endif
