/*
 * plan: what a program asked to start, checked and copied into one block: arguments, environment, directory, stdio,
 * identity, limits, input.
 */
#ifndef BROOD_PLAN_H
#define BROOD_PLAN_H

#include <brood.h>

#define PLAN_CHANNEL_FD 3 /* where the child finds its channel, unless the program uses that number itself */
#define PLAN_GROUPS 64u
#define PLAN_FAR_PIPES 12u /* to another host: what may be under way on them fits the window of its keeper */

struct plan {
	const char *file, *cwd, *name;
	const char *host, *nursery; /* the node, and the name of the nursery there; NULL: here */
	const char **argv, **env;   /* before env[0] is a place for BROOD_FD: plan_set_channel() */
	const char **env_add;       /* host only: env is then as the program gave it, or NULL */
	struct brood_stdio *fds;    /* what 0, 1, 2 and the listed numbers are; no number twice */
	size_t n_fds;
	int channel_fd;             /* in the child; not among them */
	struct brood_limit *limits; /* ended by resource -1; NULL: none */
	struct brood_ids *ids;      /* NULL: mine */
	unsigned flags, timeout_ms, ready_ms, grace_ms, linger_ms, lease_ms, give_up_ms;
	int keep; /* host: it goes on when I am unreachable */
	int kill_signal;
	size_t max_output;
	const uint8_t *input;
	size_t input_length;
	unsigned short tty_rows, tty_columns;
	char birth[64]; /* "BROOD_FD=3:inode" */
};

/* What brood_spawn() and brood_exec_file() have different. */
enum plan_use { PLAN_SPAWN, PLAN_EXEC };

/* 0 and *ret (one block: free(3) it); -EINVAL, -EXDEV (not to another host) with what is wrong in *why; -ENOMEM. */
int plan_make(enum plan_use, const char *const *argv, const struct brood_spawn_options *, struct plan **ret,
	      const char **why);

/* The child's channel is this inode. */
void plan_set_channel(struct plan *, unsigned long long inode);

/* What this number is in the child; NULL: closed. */
const struct brood_stdio *plan_stdio(const struct plan *, int fd);

/* How people call it: the last part of argv[0], as text. */
const char *plan_title(const struct plan *);

#endif
