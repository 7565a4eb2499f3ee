/*
 * rendezvous: the FIFO in the broker's directory to which clients of the same user write their hellos (knock.h), and the
 * pairs of pipes that they bring.
 */
#ifndef BROOD_RENDEZVOUS_H
#define BROOD_RENDEZVOUS_H

#include "home.h"
#include "knock.h"
#include "log.h"
#include <event2/event.h>
#include <event2/event_struct.h>

/* A pair, open and without names, non-blocking; now the callee's. */
typedef void rendezvous_taken_fn(void *data, int in_fd, int out_fd);

struct rendezvous { /* zeros: closed */
	struct event_base *base;
	struct log *log;
	const struct home *home;
	rendezvous_taken_fn *taken;
	void *data;
	int fd, keep; /* what is read; and a writer, so that there is always one */
	int reserve;  /* a descriptor to be given up when there are no others */
	ino_t inode;  /* of the FIFO's file */
	int stale_s;  /* a pair is so old that its client has given up */
	struct event readable;
	struct knock_reader reader;
};

/* Remove what others left behind, and take hellos. 0, or negative errno with what, why, next in `why`. */
int rendezvous_open(struct rendezvous *, struct event_base *, struct log *, const struct home *, rendezvous_taken_fn *,
		    void *data, char *why, size_t n);
/* Closes, and removes the file if it is still ours, and what clients left. Closed is fine. */
void rendezvous_close(struct rendezvous *);

/* Now and then: remove pairs whose clients died before they said hello. 0 if the FIFO was removed or replaced by somebody. */
int rendezvous_check(struct rendezvous *);

/*
 * Stop taking hellos, unless one is there at this moment: 1: none was; close, or come back with rendezvous_return(). 0: it
 * was taken, and all is as before. Negative errno: it cannot be.
 */
int rendezvous_leave(struct rendezvous *);
int rendezvous_return(struct rendezvous *);

#endif
