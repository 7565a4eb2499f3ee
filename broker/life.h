/*
 * life: how a process comes, is lost, comes back, and ends; and who is told.
 */
#ifndef BROOD_LIFE_H
#define BROOD_LIFE_H

#include "absence.h"
#include "exits.h"
#include "log.h"
#include "registry.h"
#include "router.h"

struct life {
	struct registry *registry;
	struct router *router;
	struct log *log;
	struct absences *absences;
	struct exits *exits; /* who ended is remembered there */
};

/* A new process with this connection; keeper: who started it for its parent, or NULL. NULL without memory. */
struct process *life_begin(struct life *, uint64_t id, uint32_t uid, const char *title, enum process_transport,
			   struct process *keeper, struct sink *);
/* A child whose connection did not come with it: lost from the beginning, until it comes by itself. */
struct process *life_expect(struct life *, uint64_t id, uint32_t uid, const char *title, struct process *keeper);
/* It says hello again on a new connection. Those who wait for it go on. */
void life_return(struct life *, struct process *, uint32_t uid, enum process_transport, struct sink *);
/*
 * Its connection is gone. It is lost if its parent vouches for it, or if it can come back and has not ended; else this is
 * its end. pidfd: as session_pidfd(); used up.
 */
void life_disconnect(struct life *, struct process *, int pidfd);
/* 1 if that would wait for it, so that a pidfd is of use. */
int life_waits_for(const struct process *);
/* It was lost, and will not come back. For absences_init(), with the life as data. */
void life_over(void *data, struct process *);
/*
 * It is gone for good: names are free, everybody who has to do with it is told but `except` (or NULL), its lost
 * children are gone, too. Its sink, if it has one, is left alone. The record is freed.
 */
void life_end(struct life *, struct process *, Brood__Why, struct process *except);
/* Who is not back by now from an earlier run of the broker will not come. */
void life_end_grace(struct life *);

#endif
