/*
 * stdio: a child's descriptors, from the plan's list to what spawn gets, and my ends of them.
 *
 * Everything that is opened is opened when the program asks for the child, which may be before the child can start: so
 * its input can be written at once, a duplicate is of what the number meant then, and another child can be wired to it.
 */
#ifndef BROOD_STDIO_SET_H
#define BROOD_STDIO_SET_H

#include "pipe.h"
#include "plan.h"

struct stdio_entry { /* one of the plan's */
	int source;  /* what the child gets; -1: NULL or MINE, known when it starts */
	int held;    /* HELD: the other end, until somebody takes it; -1 */
};

struct stdio {
	const struct plan *plan;
	struct stdio_entry *entries; /* as many as the plan has */
	struct pipe *pipes;
	size_t n_pipes;
	int terminal; /* number in the child that becomes its controlling terminal, or -1 */
	int error;    /* negative errno: something could not be opened, so the start fails */
};

/* user: who takes PIPE and TTY; lines: who takes LOG. 0, or at once -EBADF, -EINVAL, -ENOMEM with nothing left open. */
int stdio_open(struct stdio *, const struct plan *, struct brood_peer *, const struct pipe_sink *user,
	       const struct pipe_sink *lines);
/* Close everything that is open; what was read and is with the program stays valid. */
void stdio_shut(struct stdio *);
/* Fine if it was never opened; twice is fine. */
void stdio_deinit(struct stdio *);

/* What the child gets, as many as plan->n_fds; null_fd: a descriptor of /dev/null. */
void stdio_show(const struct stdio *, int null_fd, struct spawn_fd *);
/* The child has it: close my copies. */
void stdio_given(struct stdio *);

/* My end of the child's fd (for a terminal: any of its numbers), or NULL. */
struct pipe *stdio_pipe(struct stdio *, int fd);

/* Every pipe was shown as far as pipe_owe() asked. */
int stdio_settled(const struct stdio *);
/* Something may still be read. */
int stdio_is_open(const struct stdio *);
/* Something stands still because nobody takes it. */
int stdio_is_stuck(const struct stdio *);
/* Something that can still be read is paused. */
int stdio_is_paused(const struct stdio *);
void stdio_owe(struct stdio *);
void stdio_finish(struct stdio *);

#endif
