/*
 * target: a process that is to be signalled, held so that a number used again for another process is never hit.
 */
#ifndef TARGET_H
#define TARGET_H

#include "control.pb-c.h"
#include <sys/types.h>

struct target {
	pid_t pid;
	int fd; /* a pidfd, or -1 */
};

/*
 * Hold the process that the broker described a moment ago. 0, or with what speaks against it in `why`: -EXDEV: its number does
 * not mean it here; -ESRCH: it means another by now, or nobody.
 */
int target_hold(struct target *, const Brood__Control__Process *, char *why, size_t n);

/* 0 or negative errno; -ESRCH: it has ended meanwhile. tree: with its process group; -ENOTSUP: it leads none. */
int target_signal(const struct target *, int signo, int tree);
void target_release(struct target *);

#endif
