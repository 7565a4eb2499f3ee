/*
 * child: a program that this handle started, from plan to CLOSE.
 *
 *   PLANNED   waits for the broker (its id comes from there); plain programs start at once
 *   RUNNING   exec succeeded
 *   REAPED    its status is known; waiting for what it sent and wrote
 *   EXITED    EXIT was posted; waiting for the others who hold its pipes
 *   DONE      CLOSE was posted
 */
#ifndef BROOD_CHILD_H
#define BROOD_CHILD_H

#include "handle.h"
#include "plan.h"
#include "stdio.h"

enum child_state { CHILD_PLANNED, CHILD_RUNNING, CHILD_REAPED, CHILD_EXITED, CHILD_DONE };

struct child_kind { /* what spawn and exec have different; given at creation */
	enum plan_use use;
	const struct pipe_sink *output;
	/* It started, and its pipes can be written. May be NULL. */
	void (*started)(struct child *);
	/* All is known, CLOSE comes next. May be NULL. */
	void (*ended)(struct child *);
	/* Its memory goes. May be NULL. */
	void (*released)(struct child *);
};

struct child_kept { /* a child that is kept for a process of another host */
	uint64_t parent, id;
	uint8_t ticket[TICKET_SIZE];
};

struct child {
	LIST_ENTRY(child) entry; /* of the handle, until DONE */
	struct brood_peer *peer;
	const struct child_kind *kind;
	void *data; /* the kind's */
	struct plan *plan;
	struct stdio stdio;
	enum child_state state;
	struct source pidfd;
	int line_fd;
	struct timer life, readiness, grace, patience, linger;
	uint64_t started;
	int ended_by, kill_tree, kill_by, missing;
	int signalled;                 /* whatever the signal was */
	int beyond_reach;              /* its grace is over, and I may not signal it */
	int doomed;                    /* ended_by is what it cannot survive */
	int channel;                   /* it has one */
	int own_group;                 /* its process group is its own, so its tree can be signalled */
	int sent_all;                  /* everything that it sent has passed, as far as will ever be known */
	int has_status;                /* the program reaped it and handed in ... */
	int status;                    /* ... this, as waitpid(2) says it */
	struct errand *errand;         /* it runs on another host; NULL: here */
	int host_away;                 /* which cannot be reached now, whatever the child itself can */
	const struct child_kept *kept; /* it is another's; NULL: mine */
	const char *failed_as;         /* the error's name, if it could not start ... */
	const char *failed_hint;       /* ... and what to do next */
	uint64_t last;                 /* of what it sent, as far as the broker saw; once ... */
	int awaits;                    /* ... that has to come yet */
	int mourned;                   /* the broker was told how it ended */
	int tail;                      /* the process group still has its grace when the child itself is gone */
	void (*free)(struct child *);
};

/*
 * What brood_spawn() does; kind and data as above. kept: NULL, or for whom, which outlives it. The child's peer in *ret,
 * referenced.
 */
int child_spawn(struct brood *, const struct child_kind *, void *data, const struct child_kept *kept,
		const char *const *argv, const struct brood_spawn_options *, struct brood_peer **ret);

/* The broker knows me, and gave ids: start what waits. */
void child_start_planned(struct brood *);
/* There will be no broker: what waits cannot start, what was reaped need not wait any longer. */
void child_no_broker(struct brood *, const struct fault *);
/* The connection to the broker is there again: ask again for what was not answered. */
void child_ask_again(struct brood *);
/* The same of those that were started, and not heard of yet: the broker must know them before it is asked about them. */
void child_announce(struct brood *);
/* It said that it is ready. */
void child_ready(struct brood_peer *);
/* The broker's word that everything a dead child sent has passed. */
void child_end(struct remote *, uint64_t last);
/* The same of one that is kept for another. */
void child_end_kept(struct brood *, uint64_t id, uint64_t last);
/* Something of it has come. */
void child_arrived(struct child *);
/* Its pipe was paused, or goes on. */
void child_paused(struct child *, int fd, int paused);
/* The child's goodbye came: its exit need not wait for the broker. */
void child_left(struct brood_peer *);
/* One of its pipes has moved: EXIT or CLOSE may be due. */
void child_moved(struct child *);
/* End it and its tree for this reason (enum brood_ended_by). */
void child_terminate(struct child *, int ended_by);
/* End all that are not detached; returns how many are still to be reaped, but for those that nobody here can end. */
unsigned child_kill_all(struct brood *);
/* The same on other hosts. */
unsigned child_kill_abroad(struct brood *);
unsigned child_count_abroad(const struct brood *);
unsigned child_count(const struct brood *);
/* Let go of the system's part of what is left (detached ones), when the handle is freed. */
void child_abandon_all(struct brood *);
/* 1 while one waits to be started. */
int child_pending(const struct brood *);

#endif
