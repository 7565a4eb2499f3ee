/*
 * child: a program that this handle started, from plan to CLOSE.
 *
 *   PLANNED   waits for the broker (its id comes from there); plain programs start at once
 *   RUNNING   exec succeeded
 *   REAPED    its status is known; waiting until the broker says that its last message has passed
 *   DONE      CLOSE was posted
 */
#ifndef BROOD_CHILD_H
#define BROOD_CHILD_H

#include "handle.h"
#include "plan.h"

enum child_state { CHILD_PLANNED, CHILD_RUNNING, CHILD_REAPED, CHILD_DONE };

struct child {
	LIST_ENTRY(child) entry; /* of the handle, until DONE */
	struct brood_peer *peer;
	struct plan *plan;
	enum child_state state;
	struct source pidfd;
	int line_fd;
	struct timer life, grace, patience;
	uint64_t started;
	int ended_by, kill_tree, missing;
	int channel;   /* it has one */
	int own_group; /* its process group is its own, so its tree can be signalled */
};

/* The broker knows me, and gave ids: start what waits. */
void child_start_planned(struct brood *);
/* There will be no broker: what waits cannot start, what was reaped need not wait any longer. */
void child_no_broker(struct brood *, const struct fault *);
/* The broker's word that everything a dead child sent has passed. */
void child_end(struct remote *, uint64_t last);
/* The child's goodbye came: its exit need not wait for the broker. */
void child_left(struct brood_peer *);
/* End all that are not detached; returns how many are still to be reaped. */
unsigned child_kill_all(struct brood *);
unsigned child_count(const struct brood *);
/* Let go of the system's part of what is left (detached ones), when the handle is freed. */
void child_abandon_all(struct brood *);
/* 1 while one waits to be started. */
int child_pending(const struct brood *);

#endif
