/*
 * desk: what clients say to the broker itself in control frames, and what follows when a connection ends.
 */
#ifndef BROOD_DESK_H
#define BROOD_DESK_H

#include "control.h"
#include "welcome.h"

struct claim_list; /* names asked for while earlier holders may yet come back */

struct desk {
	struct registry *registry;
	struct router *router;
	struct life *life;
	struct welcome *welcome;
	struct control *control;
	struct claim_list *claims;
	unsigned n_claims;
};

/* 0, -ENOMEM. */
int desk_init(struct desk *);
void desk_deinit(struct desk *);
/* Earlier holders had their time: give the names that were asked for meanwhile. */
void desk_settle(struct desk *);

/* Data of these is the desk. */
extern const struct session_ops desk_ops;

/* For registry_init(): data is not used. */
void desk_named(void *data, struct process *watcher, const struct name *, const char *as);

#endif
