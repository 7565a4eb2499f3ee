/*
 * quota: what each user has of what is limited per user: connections, greetings, names. Pure: the time comes in.
 *
 * Whoever comes over TCP and has not said who they are is nobody's: all of them together are one user, QUOTA_NOBODY.
 */
#ifndef BROOD_QUOTA_H
#define BROOD_QUOTA_H

#include "limit.h"
#include "table.h"

#define QUOTA_NOBODY UINT32_MAX
#define QUOTA_TEXT 160 /* bytes that quota_explain() needs */

enum quota_kind { QUOTA_SESSIONS, QUOTA_GREETINGS, QUOTA_NAMES, QUOTA_KINDS };

struct quota {
	const struct limits *limits;
	struct table users;
	uint32_t sweep_at; /* so many users: forget those that have nothing */
	uint32_t sessions; /* of all users */
};

void quota_init(struct quota *, const struct limits *);
void quota_deinit(struct quota *);

/* One more of it for this user. 0. -EDQUOT: it has the most allowed. -ENFILE: all users together have. -ENOMEM. */
int quota_take(struct quota *, uint32_t uid, enum quota_kind);
/* One less, that was taken before. */
void quota_give(struct quota *, uint32_t uid, enum quota_kind);
/* One more connection at this time. 0. -EAGAIN: too many of this user came lately. -ENOMEM. */
int quota_knock(struct quota *, uint32_t uid, uint64_t now_ms);

/* "user 1000 has 64 sessions, the most allowed (limits.sessions-per-user = 64)", for what was refused. Returns to. */
char *quota_explain(const struct quota *, uint32_t uid, enum quota_kind, int error, char to[QUOTA_TEXT]);

#endif
