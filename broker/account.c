/*
 * account: one record per user that has anything here, found by uid, freed with the last that refers to it.
 *
 * A record holds a bucket of tokens: if connections are limited each new one takes a token, and they come back at the rate
 * that is allowed. The surprising rule: a record whose bucket is not full outlives what refers to it, because who
 * disconnects and connects again must not find a full bucket. Such records are looked through when there are many, and those
 * whose bucket would be full by now are forgotten.
 */
#include "account.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SWEEP_FIRST 64u

void accounts_init(struct accounts *all, const struct limits *limits)
{
	*all = (struct accounts){ .limits = limits, .sweep_at = SWEEP_FIRST };
}

void accounts_deinit(struct accounts *all)
{
	struct account *a;
	uint32_t at = 0;

	while ((a = table_next(&all->by_uid, &at)))
		free(a);
	table_deinit(&all->by_uid);
}

static uint64_t key_of(uint32_t uid)
{
	return (uint64_t)uid + 1; /* 0 is no key */
}

/*
 * Tokens.
 */

static void refill(struct account *a, uint64_t now_ms)
{
	uint64_t rate = a->all->limits->connections_per_user, more = (now_ms - a->refilled_ms) * rate / 1000;

	if (rate == 0 || more >= a->tokens_used) {
		a->tokens_used = 0;
		a->refilled_ms = now_ms;
	} else if (more > 0) {
		a->tokens_used -= (uint32_t)more;
		a->refilled_ms += more * 1000 / rate;
	}
}

/*
 * Records.
 */

static void account_free(struct account *a)
{
	(void)table_remove(&a->all->by_uid, key_of(a->uid));
	free(a);
}

static int is_unused(const struct account *a)
{
	return a->users == 0 && (a->tokens_used == 0 || a->all->limits->connections_per_user == 0);
}

/* Removal moves places about, so one walk may miss some; those are found by the next. */
static void sweep(struct accounts *all, uint64_t now_ms)
{
	struct account *a;
	uint32_t at = 0;

	while ((a = table_next(&all->by_uid, &at))) {
		refill(a, now_ms);
		if (is_unused(a))
			account_free(a);
	}
	all->sweep_at = all->by_uid.count * 2 > SWEEP_FIRST ? all->by_uid.count * 2 : SWEEP_FIRST;
}

static struct account *account_new(struct accounts *all, uint32_t uid)
{
	struct account *a = calloc(1, sizeof(*a));

	if (!a || table_put(&all->by_uid, key_of(uid), a) < 0) {
		free(a);
		return NULL;
	}
	a->all = all;
	a->uid = uid;
	lane_init(&a->lane);
	return a;
}

static struct account *account_find(const struct accounts *all, uint32_t uid)
{
	return table_get(&all->by_uid, key_of(uid));
}

struct account *account_open(struct accounts *all, uint32_t uid)
{
	struct account *a = account_find(all, uid);

	if (!a)
		a = account_new(all, uid);
	return a ? account_hold(a) : NULL;
}

struct account *account_hold(struct account *a)
{
	a->users++;
	return a;
}

void account_release(struct account *a)
{
	if (!a)
		return;
	a->users--;
	if (is_unused(a))
		account_free(a);
}

/*
 * Memory.
 */

void account_charge(struct account *a, size_t n)
{
	a->memory += n;
	a->all->memory += n;
}

void account_uncharge(struct account *a, size_t n)
{
	a->memory -= n;
	a->all->memory -= n;
}

size_t account_room(const struct account *a)
{
	size_t most = a->all->limits->memory, used = a->all->memory + a->memory;

	return used < most ? most - used : 0;
}

int accounts_are_full(const struct accounts *all)
{
	return all->memory > all->limits->memory;
}

/*
 * What is counted.
 */

static uint32_t most_of(const struct limits *limits, enum account_kind kind)
{
	switch (kind) {
	case ACCOUNT_SESSIONS:
		return limits->sessions_per_user;
	case ACCOUNT_GREETINGS:
		return limits->greetings_per_user;
	default:
		return limits->names_per_user;
	}
}

int account_take(struct accounts *all, uint32_t uid, enum account_kind kind)
{
	const struct limits *limits = all->limits;
	struct account *a = account_open(all, uid);
	int r = 0;

	if (!a)
		return -ENOMEM;
	if (a->has[kind] >= most_of(limits, kind))
		r = -EDQUOT;
	else if (kind == ACCOUNT_SESSIONS && limits->connections > 0 && all->sessions >= limits->connections)
		r = -ENFILE;
	if (r < 0) {
		account_release(a);
		return r;
	}
	a->has[kind]++;
	all->sessions += kind == ACCOUNT_SESSIONS;
	return 0;
}

void account_give(struct accounts *all, uint32_t uid, enum account_kind kind)
{
	struct account *a = account_find(all, uid);

	a->has[kind]--;
	all->sessions -= kind == ACCOUNT_SESSIONS;
	account_release(a);
}

int account_has_its_part(const struct account *a, uint32_t most)
{
	return (uint64_t)a->all->sessions + a->has[ACCOUNT_SESSIONS] + 2 > most;
}

int account_knock(struct accounts *all, uint32_t uid, uint64_t now_ms)
{
	struct account *a;
	int r = 0;

	if (all->limits->connections_per_user == 0)
		return 0;
	if (all->by_uid.count >= all->sweep_at)
		sweep(all, now_ms);
	a = account_open(all, uid);
	if (!a)
		return -ENOMEM;
	refill(a, now_ms);
	if (a->tokens_used >= all->limits->connection_burst)
		r = -EAGAIN;
	else
		a->tokens_used++;
	account_release(a);
	return r;
}

/*
 * For people.
 */

static const struct {
	const char *what, *key;
} kinds[] = { [ACCOUNT_SESSIONS] = { "sessions", "sessions-per-user" },
	      [ACCOUNT_GREETINGS] = { "connections without a HELLO", "greetings-per-user" },
	      [ACCOUNT_NAMES] = { "names", "names-per-user" } };

char *account_explain(const struct accounts *all, uint32_t uid, enum account_kind kind, int error,
		      char to[ACCOUNT_TEXT])
{
	const struct limits *limits = all->limits;
	const struct account *a = account_find(all, uid);
	char who[48];

	if (uid == ACCOUNT_NOBODY)
		snprintf(who, sizeof(who), "who came over TCP");
	else
		snprintf(who, sizeof(who), "user %" PRIu32, uid);
	if (error == -EAGAIN)
		snprintf(to, ACCOUNT_TEXT,
			 "%s connects more than %" PRIu32 " times a second (limits.connections-per-user = %" PRIu32 ")",
			 who, limits->connections_per_user, limits->connections_per_user);
	else if (error == -ENFILE)
		snprintf(to, ACCOUNT_TEXT,
			 "there are %" PRIu32 " sessions, the most allowed (limits.sessions = %" PRIu32 ")",
			 all->sessions, limits->connections);
	else
		snprintf(to, ACCOUNT_TEXT, "%s has %" PRIu32 " %s, the most allowed (limits.%s = %" PRIu32 ")", who,
			 a ? a->has[kind] : 0, kinds[kind].what, kinds[kind].key, most_of(limits, kind));
	return to;
}
