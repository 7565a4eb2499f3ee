/*
 * absence: processes that lost their connection, that nobody vouches for, and that could come back. Each is absent until
 * it is back, is seen to have ended, or has been away too long.
 */
#ifndef BROOD_ABSENCE_H
#define BROOD_ABSENCE_H

#include "limit.h"
#include "registry.h"
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/types.h>

TAILQ_HEAD(absence_list, absence);

struct absences {
	struct event_base *base;
	const struct limits *limits;
	struct absence_list list; /* the longest away first */
	uint32_t n, seen;
	unsigned most_ms;
	const int *grace; /* while it is not 0 nobody has been away too long */
	struct event timer;
	void (*over)(void *data, struct process *); /* it will not come back */
	void *data;
};

void absences_init(struct absences *, struct event_base *, const struct limits *, unsigned most_ms, const int *grace,
		   void (*over)(void *data, struct process *), void *data);
/* From now on they may be away so long, those too that are away already. */
void absences_allow(struct absences *, unsigned most_ms);
void absences_deinit(struct absences *);

/* A pidfd by the number that is known of the process, for absence_begin(); -ENOENT, -ESRCH. */
int absence_pidfd(const struct process *);

/*
 * pidfd: of the process, used up; -ENOENT: its end cannot be seen from here; -ESRCH: it has ended. 0; -ESRCH: it has
 * ended already; -ENOSPC; -ENOMEM.
 */
int absence_begin(struct absences *, struct process *, int pidfd);
/* It is back, or gone. Fine if it was not absent. */
void absence_end(struct absences *, struct process *);

#endif
