/*
 * exits: how processes ended, for who asks later. What the broker saw itself, and what their parents said.
 *
 * As many are remembered as the limit says. When it is reached, the user who has most of them loses one: the oldest of
 * those that ended in peace (it said goodbye, exited with 0, or its parent wanted it so), else the oldest. Pure: the time
 * comes in.
 */
#ifndef BROOD_EXITS_H
#define BROOD_EXITS_H

#include "brood.pb-c.h"
#include "limit.h"
#include "registry.h"
#include "table.h"

#define EXITS_NAMES 256u /* bytes of its names, with a NUL ... */
#define EXITS_TEXT 256u  /* ... and of a text; longer ones are cut */
#define EXITS_TAIL 2048u /* bytes of its last words */

struct ending {
	TAILQ_ENTRY(ending) entry; /* of its user, in order of time */
	struct exits_user *user;
	uint64_t serial;             /* grows with time */
	uint64_t id, parent, teller; /* teller: who may say how it ended, its parent or its keeper; 0: nobody */
	uint64_t began_ms, ended_ms; /* when the broker got to know it; when it knew that it ended */
	uint32_t pid, parent_uid;
	int in_peace;
	char title[TITLE_SIZE], parent_title[TITLE_SIZE];
	char *names;       /* separated by blanks, or NULL */
	Brood__Why why;    /* as the broker saw it; UNKNOWN: it never had a connection, or has one still */
	const char *error; /* CLOSED: the reason's name, or NULL */

	/* As its parent said it; cause UNKNOWN: it did not. */
	Brood__Cause cause;
	Brood__EndedBy ended_by;
	int32_t code;
	uint32_t signo;
	int core;
	uint64_t wall_ms, user_us, system_us, max_rss_kib;
	char *stage, *text, *tail; /* or NULL; text also of the broker, for CLOSED */
	size_t tail_length;
};

TAILQ_HEAD(ending_list, ending);

struct exits_user {
	LIST_ENTRY(exits_user) entry;
	uint32_t uid, n;
	struct ending_list peaceful, others;
};

struct exits {
	const struct limits *limits;
	struct table by_id;
	LIST_HEAD(, exits_user) users;
	uint64_t serial;
};

void exits_init(struct exits *, const struct limits *);
void exits_deinit(struct exits *);

/*
 * This process is about to end, with its names and its parent still there. Without memory nothing is remembered. error and
 * text: of the reason for which the broker closed its connection, else NULL; error is constant.
 */
void exits_see(struct exits *, const struct process *, Brood__Why, const char *error, const char *text,
	       uint64_t now_ms);

/*
 * Its parent, or keeper, says how it ended; again is fine. child: NULL if it is not known (any more), and then the teller is believed
 * about those that are remembered as its own, and of others if it `may` have had this one.
 */
void exits_tell(struct exits *, const struct process *teller, const struct process *child, const Brood__Died *, int may,
		uint64_t now_ms);

/* NULL: not remembered. */
const struct ending *exits_find(const struct exits *, uint64_t id);
/* One by one, in no order: *at begins as 0. NULL at the end. */
const struct ending *exits_next(const struct exits *, uint32_t *at);

#endif
