/*
 * quota: a record per user who is, or was, there.
 *
 * A record says how many of each kind the user has, and holds a bucket of tokens: each new connection takes one, and they
 * come back at the rate that is allowed. The surprising rule: a record outlives what it counts, because who disconnects
 * and connects again must not find a full bucket; records of users who have nothing are forgotten when there are many of
 * them, and then only those whose bucket would be full by now.
 */
#include "quota.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_FIRST 64u

struct user {
	uint32_t uid;
	uint32_t has[QUOTA_KINDS];
	uint32_t used; /* tokens that are not in the bucket */
	uint64_t refilled_ms;
};

void quota_init(struct quota *q, const struct limits *limits)
{
	*q = (struct quota){ .limits = limits, .sweep_at = SWEEP_FIRST };
}

void quota_deinit(struct quota *q)
{
	struct user *user;
	uint32_t at = 0;

	while ((user = table_next(&q->users, &at)))
		free(user);
	table_deinit(&q->users);
}

static uint64_t key_of(uint32_t uid)
{
	return (uint64_t)uid + 1; /* 0 is no key */
}

/*
 * Tokens.
 */

static void refill(const struct quota *q, struct user *user, uint64_t now_ms)
{
	uint64_t rate = q->limits->connections_per_user, more = (now_ms - user->refilled_ms) * rate / 1000;

	if (rate == 0 || more >= user->used) {
		user->used = 0;
		user->refilled_ms = now_ms;
	} else if (more > 0) {
		user->used -= (uint32_t)more;
		user->refilled_ms += more * 1000 / rate;
	}
}

/*
 * Users.
 */

static int has_nothing(const struct user *user)
{
	for (int i = 0; i < QUOTA_KINDS; i++)
		if (user->has[i] > 0)
			return 0;
	return user->used == 0;
}

/* Removal moves places about, so one walk may miss some; those are found by the next. */
static void sweep(struct quota *q, uint64_t now_ms)
{
	struct user *user;
	uint32_t at = 0;

	while ((user = table_next(&q->users, &at))) {
		if (now_ms > 0)
			refill(q, user, now_ms);
		if (!has_nothing(user))
			continue;
		(void)table_remove(&q->users, key_of(user->uid));
		free(user);
	}
	q->sweep_at = q->users.count * 2 > SWEEP_FIRST ? q->users.count * 2 : SWEEP_FIRST;
}

/* now_ms: 0 if it is not known. NULL without memory. */
static struct user *user_get(struct quota *q, uint32_t uid, uint64_t now_ms)
{
	struct user *user = table_get(&q->users, key_of(uid));

	if (user)
		return user;
	if (q->users.count >= q->sweep_at)
		sweep(q, now_ms);
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->uid = uid;
	if (table_put(&q->users, key_of(uid), user) < 0) {
		free(user);
		return NULL;
	}
	return user;
}

static uint32_t most_of(const struct limits *limits, enum quota_kind kind)
{
	switch (kind) {
	case QUOTA_SESSIONS:
		return limits->sessions_per_user;
	case QUOTA_GREETINGS:
		return limits->greetings_per_user;
	default:
		return limits->names_per_user;
	}
}

int quota_take(struct quota *q, uint32_t uid, enum quota_kind kind)
{
	struct user *user = user_get(q, uid, 0);

	if (!user)
		return -ENOMEM;
	if (user->has[kind] >= most_of(q->limits, kind))
		return -EDQUOT;
	if (kind == QUOTA_SESSIONS && q->limits->connections > 0 && q->sessions >= q->limits->connections)
		return -ENFILE;
	user->has[kind]++;
	q->sessions += kind == QUOTA_SESSIONS;
	return 0;
}

void quota_give(struct quota *q, uint32_t uid, enum quota_kind kind)
{
	struct user *user = table_get(&q->users, key_of(uid));

	if (!user)
		return;
	user->has[kind]--;
	q->sessions -= kind == QUOTA_SESSIONS;
}

int quota_knock(struct quota *q, uint32_t uid, uint64_t now_ms)
{
	struct user *user = q->limits->connections_per_user > 0 ? user_get(q, uid, now_ms) : NULL;

	if (!user)
		return q->limits->connections_per_user > 0 ? -ENOMEM : 0;
	refill(q, user, now_ms);
	if (user->used >= q->limits->connection_burst)
		return -EAGAIN;
	user->used++;
	return 0;
}

/*
 * For people.
 */

static const struct {
	const char *what, *key;
} kinds[] = { [QUOTA_SESSIONS] = { "sessions", "sessions-per-user" },
	      [QUOTA_GREETINGS] = { "connections without a HELLO", "greetings-per-user" },
	      [QUOTA_NAMES] = { "names", "names-per-user" } };

char *quota_explain(const struct quota *q, uint32_t uid, enum quota_kind kind, int error, char to[QUOTA_TEXT])
{
	const struct user *user = table_get(&q->users, key_of(uid));
	char who[48];

	if (uid == QUOTA_NOBODY)
		snprintf(who, sizeof(who), "who came over TCP");
	else
		snprintf(who, sizeof(who), "user %" PRIu32, uid);
	if (error == -EAGAIN)
		snprintf(to, QUOTA_TEXT,
			 "%s connects more than %" PRIu32 " times a second (limits.connections-per-user = %" PRIu32 ")",
			 who, q->limits->connections_per_user, q->limits->connections_per_user);
	else if (error == -ENFILE)
		snprintf(to, QUOTA_TEXT,
			 "there are %" PRIu32 " sessions, the most allowed (limits.sessions = %" PRIu32 ")",
			 q->sessions, q->limits->connections);
	else
		snprintf(to, QUOTA_TEXT, "%s has %" PRIu32 " %s, the most allowed (limits.%s = %" PRIu32 ")", who,
			 user ? user->has[kind] : 0, kinds[kind].what, kinds[kind].key, most_of(q->limits, kind));
	return to;
}
