/*
 * plan: what a program asked to start, checked and copied into one block: arguments, environment, directory, stdio.
 */
#ifndef BROOD_PLAN_H
#define BROOD_PLAN_H

#include <brood.h>

#define PLAN_CHANNEL_FD 3 /* where the child finds its channel */

struct plan {
	const char *file, *cwd, *name;
	const char **argv, **env; /* before env[0] is a place for BROOD_FD: plan_set_channel() */
	int stdio[3];             /* enum brood_stdio_kind of 0, 1, 2 */
	unsigned flags, timeout_ms, grace_ms;
	int kill_signal;
	char birth[64]; /* "BROOD_FD=3:inode" */
};

/* 0 and *ret (one block: free(3) it); -EINVAL with what is wrong in *why; -ENOMEM. */
int plan_make(const char *const *argv, const struct brood_spawn_options *, struct plan **ret, const char **why);

/* The child's channel is this inode. */
void plan_set_channel(struct plan *, unsigned long long inode);

#endif
