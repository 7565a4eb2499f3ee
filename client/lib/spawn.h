/*
 * spawn: starts programs; the only place in the project that forks. A program can be tied to this process by a life
 * line (life_line.h): then the kernel ends it when this process ends, however it ends.
 *
 * A start is clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD): the cost does not grow with the caller's size, the caller's
 * thread sleeps until exec or failure, and the child tells a failure through the shared memory. Between clone and exec
 * only raw system calls run.
 *
 * The program begins with default signal handling, no signal blocked, and no descriptor but those asked for (and the
 * read end of its life line, at the first number above them). The rest is inherited: user, limits, umask, terminal.
 */
#ifndef BROOD_SPAWN_H
#define BROOD_SPAWN_H

#include "life_line.h"
#include <brood.h>
#include <stddef.h>
#include <sys/types.h>

struct spawn_fd { /* in the child, `target` is a copy of my `source`, not close-on-exec */
	int target, source;
};

struct spawn_plan {
	const char *file;                 /* looked up in the PATH of `env` unless it has a slash; relative to `cwd` */
	const char *const *argv;          /* NULL-ended */
	const char *const *env;           /* NULL-ended, complete */
	const char *cwd;                  /* NULL: mine */
	const struct spawn_fd *fds;       /* in any order, also crosswise; no target twice */
	size_t n_fds;                     /* every other descriptor is closed in the child */
	int own_session;                  /* setsid() */
	int own_group;                    /* setpgid(0, 0) */
	int has_terminal, terminal;       /* 1: this target becomes the session's controlling terminal */
	const struct brood_limit *limits; /* ended by resource -1; NULL: none */
	const struct brood_ids *ids;      /* NULL: mine */
	struct life_line *line; /* NULL: none. It ends the child's own group; the child alone if it has none */
};

struct spawned {
	pid_t pid;
	int pidfd;   /* close-on-exec, yours */
	int line_fd; /* my copy of the child's read description, to be closed when it was reaped; -1: none */
};

struct spawn_failure {
	const char *stage; /* "fork", "group", "line", "stdio", "terminal", "cwd", "limits", "ids", "exec"; static */
	int code;          /* negative errno */
};

/*
 * 0 and *ret: exec succeeded. Negative errno and *why: nothing is left behind, the failed child was reaped. A script
 * without #! is -ENOEXEC: no shell is ever used.
 */
int spawn_start(const struct spawn_plan *, struct spawned *ret, struct spawn_failure *why);

#endif
