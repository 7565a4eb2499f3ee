/*
 * policy: who may do what, beyond what everybody may. Pure, but for the users and groups that are looked up when it is made.
 *
 * Without a configuration everybody of this host may connect and take names, and users have nothing to do with each other.
 * That root and the broker's own user may do everything between users is not said here, but in the router.
 */
#ifndef BROOD_POLICY_H
#define BROOD_POLICY_H

#include "address.h"
#include "config.h"
#include "who.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

enum policy_verb {                /* what processes of one user may do to those of another */
		   POLICY_SEND,   /* write to them, and be answered */
		   POLICY_PARENT, /* become their children */
		   POLICY_LIST,   /* see them, though it may not write to them */
		   POLICY_VERBS
};

struct policy_name { /* that users share */
	UT_hash_handle hh;
	uint32_t owner; /* whose processes may hold it */
	struct who_set users;
	char text[NAME_MAX_LENGTH + 1];
};

/* "alice@beta" for a uid from USERS_FOREIGN on; NULL: it is nobody's. */
typedef const char *policy_abroad_fn(void *data, uint32_t uid);

struct policy {
	struct who_set connect, names;
	struct who_rules {
		struct who_pair *pairs;
		unsigned n;
	} rules[POLICY_VERBS];
	struct policy_name *shared;
	policy_abroad_fn *abroad; /* NULL: there are no other nodes; set by who knows them, ... */
	void *abroad_data;        /* ... with this */
};

/* What counts as long as nothing is configured. */
extern const struct policy policy_default;

/*
 * What the configuration says; owner is the broker's own user, who like root may connect, take names, and use those that are
 * shared. 0, or -EINVAL, -ENOMEM with what, why, next in `why`. To be freed also after a failure.
 */
int policy_make(struct policy *, const struct config *, uint32_t owner, char *why, size_t n);
void policy_free(struct policy *);

int policy_may_connect(const struct policy *, uint32_t uid);
int policy_may_hold(const struct policy *, uint32_t uid, const char *name);
/* For two of one user always 1. */
int policy_may(const struct policy *, enum policy_verb, uint32_t from, uint32_t to);

/* NULL: users do not share this name. */
const struct policy_name *policy_shared(const struct policy *, const char *name);
/* 1 if processes of this user find it, and may write to its holder. Its owner's do. */
int policy_may_use(const struct policy *, const struct policy_name *, uint32_t uid);
/* 1 if there is any name that this user may use and that one may hold. */
int policy_share_any(const struct policy *, uint32_t user, uint32_t owner);

#endif
