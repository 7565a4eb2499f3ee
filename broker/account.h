/*
 * account: what the broker keeps of a user: how much of it waits, its connections and names, how fast it connects, and its
 * place in the order of service. Pure: the time comes in.
 *
 * The rule for what all users share, memory and connections: one may have as much as is still free. So a user alone gets
 * half, two get a third each, and whoever comes later always finds something left. Besides, a user may have so many of each
 * kind of thing, and connect so often, as the limits say.
 *
 * Whoever comes over TCP and has not said who they are is nobody's: all of them together are one user, ACCOUNT_NOBODY.
 */
#ifndef BROOD_ACCOUNT_H
#define BROOD_ACCOUNT_H

#include "limit.h"
#include "schedule.h"
#include "table.h"
#include <stddef.h>
#include <stdint.h>

#define ACCOUNT_NOBODY UINT32_MAX
#define ACCOUNT_TEXT 160 /* bytes that account_explain() needs */

/* What is counted: connections; those that have not said HELLO; names. */
enum account_kind { ACCOUNT_SESSIONS, ACCOUNT_GREETINGS, ACCOUNT_NAMES, ACCOUNT_KINDS };

struct account {
	struct lane lane;
	struct accounts *all;
	uint32_t uid;
	uint32_t users; /* what refers to it */
	uint32_t has[ACCOUNT_KINDS];
	uint32_t tokens_used; /* of the bucket, one for each new connection */
	uint64_t refilled_ms;
	size_t memory; /* bytes in use for what its processes sent, or for what waits for them */
	size_t notes;  /* bytes of the broker's own that its processes have not read */
};

struct accounts {
	struct table by_uid;
	const struct limits *limits;
	size_t memory;
	uint32_t sessions; /* of all users */
	uint32_t sweep_at; /* so many users: forget those that have nothing */
};

void accounts_init(struct accounts *, const struct limits *);
/* Nobody may refer to an account any more. */
void accounts_deinit(struct accounts *);

/* This user's, made if there is none; to be released. NULL without memory. */
struct account *account_open(struct accounts *, uint32_t uid);
/* Another reference to it. Returns it. */
struct account *account_hold(struct account *);
/* NULL is fine. */
void account_release(struct account *);

/* n more bytes are in use for this user; are free again. */
void account_charge(struct account *, size_t n);
void account_uncharge(struct account *, size_t n);
/* So many more it may use. */
size_t account_room(const struct account *);
/* 1 if all that there is is in use. */
int accounts_are_full(const struct accounts *);

/*
 * One more of it for this user, which is a reference to its account. 0. -EDQUOT: it has the most allowed. -ENFILE: all users
 * together have. -ENOMEM.
 */
int account_take(struct accounts *, uint32_t uid, enum account_kind);
/* One less, that was taken before. */
void account_give(struct accounts *, uint32_t uid, enum account_kind);
/* 1 if it would have more connections with one more than are free for others. `most`: all that the broker can have. */
int account_has_its_part(const struct account *, uint32_t most);
/* One more connection at this time. 0. -EAGAIN: too many of this user came lately. -ENOMEM. */
int account_knock(struct accounts *, uint32_t uid, uint64_t now_ms);

/* "user 1000 has 64 sessions, the most allowed (limits.sessions-per-user = 64)", for what was refused. Returns to. */
char *account_explain(const struct accounts *, uint32_t uid, enum account_kind, int error, char to[ACCOUNT_TEXT]);

#endif
