/*
 * errand: a program that runs on another host, as its parent here sees it.
 *
 * The nursery there is asked by a request. A process of the nursery, the *keeper*, then asks for leave to start it, and from
 * then on tells what becomes of it; to the program that is the child, whose pipes are here as those of any child, with
 * a relay at the end where its process would be. Messages do not pass here: parent and child talk directly.
 *
 *   ASKED      the nursery was asked; it answers when the keeper has leave, or with a refusal
 *   GRANTED    the keeper has leave to start it
 *   STARTED    exec succeeded there
 *   ENDED      how it ended is known here, and told when all that it wrote before is in the pipes
 */
#ifndef BROOD_ERRAND_H
#define BROOD_ERRAND_H

#include "child.h"
#include "letter.h"

struct errand_up { /* who is told; given at creation */
	void (*started)(struct child *, pid_t);
	/* It was refused, or could not start. The name is a constant. */
	void (*failed)(struct child *, const char *name, int code, const char *text);
	/* last: sequence of the last item that it sent, as far as is known; missing: nobody knows. */
	void (*exited)(struct child *, const struct brood_exit *, uint64_t last, int missing);
	/* Its host cannot be reached now; can be again. */
	void (*away)(struct child *, int away);
	/* It read its descriptor no more, and so many bytes were left. */
	void (*left)(struct child *, int fd, size_t n);
	/* errand_is_open() may have changed. */
	void (*moved)(struct child *);
};

/* For a child whose plan has a host, and whose pipes are open: their other ends are the errand's now. NULL: no memory. */
struct errand *errand_new(struct child *, const struct errand_up *);
/* Ask the nursery. May fail at once. */
void errand_begin(struct errand *);
/* Nobody is told any more. If it may still run, or start, it is ended there, unless it was to be detached. Twice is fine. */
void errand_end(struct errand *);
void errand_free(struct errand *);

void errand_kill(struct errand *, int signo, unsigned flags);
/* The program reads this descriptor not (again). */
void errand_pause(struct errand *, int fd, int paused);
/* Output of it may still come. */
int errand_is_open(const struct errand *);
/* Its host is this one. */
int errand_is_here(const struct errand *);

/* A request that is a keeper's first. */
int errand_is_starting(const struct letter *);
void errand_starting(struct remote *, struct letter *);
/* The broker's word that this process of another host is a child of mine. 1: it is an errand's. */
int errand_joined(struct brood *, const char *address, uint64_t id);

#endif
