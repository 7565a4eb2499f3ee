/*
 * life_line: the kernel ends our children when this process ends, however it ends.
 *
 * One pipe per handle. Its write end stays here, close-on-exec; each child gets a read description of its own (a fresh
 * open of /proc/self/fd/N) that spawn arms with O_ASYNC, F_SETSIG SIGKILL, F_SETOWN -pgid: when the last write end
 * closes, the kernel kills the child's process group. We keep a copy of the description until the child is reaped, so
 * the child cannot disarm it by closing; the write end is numbered above those copies, because a dying process releases
 * its highest descriptors first.
 */
#ifndef BROOD_LIFE_LINE_H
#define BROOD_LIFE_LINE_H

#include <stddef.h>

struct life_line {
	int read_fd;  /* reopened for each child */
	int write_fd; /* -1: not made; its number may change whenever a child is started */
	int *lone;    /* where /proc is missing: the write ends of pipes that serve one child each */
	size_t n_lone;
};

/* -EMFILE and so on. Both ends close-on-exec. */
int life_line_init(struct life_line *);

/* Ends every child that is still armed with it. Twice is fine; in a forked copy it only closes the copies. */
void life_line_deinit(struct life_line *);

/*
 * A fresh read description for one child, close-on-exec, numbered below its write end; the caller's. Negative errno:
 * -EMFILE, -ENFILE, -ENOMEM.
 */
int life_line_reader(struct life_line *);

#endif
