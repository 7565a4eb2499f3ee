/*
 * link: my connection to the broker, as what is said on it: hello, frames that are read and handed up, goodbye; and whether
 * it is sought again when it ends. How it is made is the dialer's, writing is the pump's.
 */
#ifndef BROOD_LINK_H
#define BROOD_LINK_H

#include "handle.h"

/* Who is told what the link learns; given at creation. */
struct link_up {
	void (*up)(struct brood *);                          /* the broker knows me: id, node, ids are set */
	void (*named)(struct brood *, const char *name);     /* my parent had me registered under it */
	void (*away)(struct brood *);                        /* the connection is lost, and sought again ... */
	void (*back)(struct brood *);                        /* ... it is there again, under the same id */
	void (*frame)(struct brood *, const struct frame *); /* anything but HELLO_OK, BIRTH, GOODBYE */
	void (*stopping)(struct brood *);                    /* the broker is about to end */
	void (*down)(struct brood *, const struct fault *);  /* for good */
};

/* Decide where the broker is, without contacting it. Never fails: a bad address is told by down() later. */
void link_init(struct brood *, const char *address, const struct brood_options *, const struct link_up *);
void link_deinit(struct brood *);

/* Something needs the broker: begin, unless that was done. */
void link_need(struct brood *);
/* Ids for children are needed: 1 if there are some, 0 if they were asked for. */
int link_need_ids(struct brood *);
/* An id for a child of this parent, with its ticket. */
uint64_t link_take_id(struct brood *, uint64_t parent, uint8_t ticket[TICKET_SIZE]);

/* 1 if descriptors can be passed over this connection, as far as that is known. */
int link_passes_fds(struct brood *);

static inline int link_is_up(const struct brood *h)
{
	return h->link.state == LINK_UP;
}

/* One helping from the broker; more than 0 if frames may have come (link_next() shows them). */
int link_read(struct brood *);
/* Show the next frame to its handler. 1, or 0 if there is none. */
int link_next(struct brood *);

/* 1: not connected, but the broker may know me, and would wait for my return if it does not hear that I leave. */
int link_may_be_known(const struct brood *);
/* Say goodbye, after everything else; nothing is sent afterwards. Without a connection nobody hears it. */
void link_leave(struct brood *);
/* If it was spoiled: make the connection anew, as if it had been lost. */
void link_renew(struct brood *);

/* End for good, for this reason. */
void link_fail(struct brood *, const struct fault *);

#endif
