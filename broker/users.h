/*
 * users: whose something is, as text and as number. Users of this host have their uid; users of other nodes, "alice@beta",
 * get numbers from USERS_FOREIGN on, for as long as the broker runs. So accounts, names and processes know numbers only.
 */
#ifndef BROOD_USERS_H
#define BROOD_USERS_H

#include "address.h"
#include <stddef.h>
#include <stdint.h>

#define USERS_FOREIGN 0xf0000000u /* no user of this host has such a uid */
#define USERS_MOST 65536u         /* of other nodes */
#define USERS_NAME 64u            /* of a user alone, with its NUL */
#define USERS_TEXT (USERS_NAME + 1 + NAME_MAX_LENGTH)

struct user;

struct users {
	struct user *by_text, *by_uid; /* two ways to the same */
	struct user **foreign;         /* by number */
	uint32_t n;                    /* of these */
	uint32_t n_local;
};

void users_deinit(struct users *);
/* The number of a user of another node. 0 if it is none: not a name, too many, no memory. */
uint32_t users_foreign(struct users *, const char *user, const char *node);
/* A uid's name on this host, or its digits; "alice@beta" of another. Lives until the next call. */
const char *users_text(struct users *, uint32_t uid);

/* "alice@beta", or NULL for a number that is nobody's there. For struct policy, with the users as data. */
const char *users_foreign_text(void *users, uint32_t uid);

/* 1 if [A-Za-z0-9._-]{1,63} and no dash in front: what may stand before the @. */
int users_is_name(const char *);

static inline int user_is_foreign(uint32_t uid)
{
	return uid >= USERS_FOREIGN && uid != UINT32_MAX;
}

/*
 * Lists: "alice@beta carol@gamma".
 */

/* 1 if this user is in the list. NULL is an empty list. */
int users_listed(const char *list, const char *user);
/* 1 if somebody of this node is. */
int users_node_listed(const char *list, const char *node);
/*
 * Add it at the end of *list, which is malloc'd or NULL, unless it is there; the oldest are dropped if it becomes longer than
 * `most`. 0 or -ENOMEM.
 */
int users_list_add(char **list, const char *user, size_t most);

#endif
