/*
 * who: users as a configuration names them, looked up when it is read: "alice", "1000", "@staff" (a group), "*" (every user
 * of this host); and of linked nodes "alice@beta", "*@beta", "*@*", who are never included in "*".
 */
#ifndef BROOD_WHO_H
#define BROOD_WHO_H

#include "users.h"
#include <stddef.h>
#include <stdint.h>

struct who_set {
	int all; /* of this host */
	uint32_t *uids;
	char **abroad; /* "alice@beta", "*@beta", "*@*" */
	unsigned n_uids, n_abroad;
};

struct who_pair { /* "alice > @staff" */
	struct who_set from, to;
};

/* All that can fail: 0, or -EINVAL, -ENOMEM with what, why, next in `why`. */

/* Whether a text is one user, of this host; a list of those above, separated by commas; a list of pairs. "" is both of these. */
int who_check_user(const char *text, char *why, size_t n);
int who_check_list(const char *text, char *why, size_t n);
int who_check_pairs(const char *text, char *why, size_t n);

/* The set of a list. To be freed also after a failure. One more; -ENOMEM. */
int who_set_make(struct who_set *, const char *list, char *why, size_t n);
int who_set_add(struct who_set *, uint32_t uid);
void who_set_free(struct who_set *);
/* abroad: "alice@beta" for a uid of another node, or NULL if that is not known. */
int who_set_has(const struct who_set *, uint32_t uid, const char *abroad);

/* The pairs of a list. *ret is to be freed also after a failure. */
int who_pairs_make(const char *list, struct who_pair **ret, unsigned *n_ret, char *why, size_t n);
void who_pairs_free(struct who_pair *, unsigned n);

/* By name or number, which needs no entry in the user database. 1: *uid. 0: there is none, or it could not be looked up. */
int who_find_user(const char *user, uint32_t *uid);

#endif
