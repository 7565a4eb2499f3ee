/*
 * policy: whether somebody may have a program started, and with what.
 */
#ifndef NURSERY_POLICY_H
#define NURSERY_POLICY_H

#include "control.pb-c.h"
#include "fault.h"
#include "nursery.pb-c.h"
#include "settings.h"

struct order { /* a Spawn that was allowed, as arguments of brood_spawn(); free it with order_free() */
	const char **argv;
	const char **env, **env_add;
	char *file, *cwd, *name;
	char *program; /* the section's name, for counting */
	struct brood_stdio *stdio;
	struct brood_limit *limits;
	unsigned lease_ms;
	struct brood_spawn_options options; /* points to all that */
};

#define POLICY_USER 256

/* "user@node": whom `for` names, and the broker knows him by. Returns `to`. */
const char *policy_user(const Brood__Control__Identity *, char to[POLICY_USER]);
/* 0 and *ret, or why not: spawn.unknown, spawn.denied, argument, memory. own_uid, node: the nursery's. */
int policy_judge(const struct settings *, const Brood__Control__Identity *who, const Brood__Nursery__Spawn *,
		 const char *node, struct order **ret, struct fault *why);
void order_free(struct order *);

#endif
