/*
 * letter: one received message, from the slab to its release. While its handler runs its body lies in the slab; what
 * outlives its handler (kept by the program, or waiting for its turn) is copied out once. The struct itself never
 * moves, so a program may go on using the pointer that it kept. In steady state one struct serves all messages.
 */
#ifndef BROOD_LETTER_H
#define BROOD_LETTER_H

#include "handle.h"

/* A letter for the item just taken, held until letter_drop(); the caller fills msg, correlation, deadline. NULL: no
 * memory. */
struct letter *letter_take(struct brood *, struct remote *, uint64_t sequence);

/* The same if there is memory from the one before, which there usually is. That is blank: nothing in it is kept, shown,
 * owned, it has no trace and no descriptors. */
static inline struct letter *letter_take_spare(struct brood *h, struct remote *r, uint64_t sequence)
{
	struct letter *m = h->current;
	if (!m)
		return NULL;
	h->current = NULL;
	m->remote = r;
	m->hold.sequence = sequence;
	inflow_begin(&r->in, sequence);
	return m;
}

/* It must outlive its handler: copy it out of the slab. -ENOMEM. Twice is fine. */
int letter_stay(struct letter *);

/* The handler returned `rc` (0 if there is none): answer an open request, with this name if the handler was silent;
 * release unless kept. */
void letter_settle(struct letter *, int rc, const char *unanswered);

/* 1 if nothing is to be settled: a plain message that its handler is done with. It is dropped then. */
static inline int letter_is_done(struct letter *m)
{
	if (m->owns || m->msg.wants_reply || m->h->current)
		return 0;
	inflow_finish(&m->remote->in, m->hold.sequence);
	m->h->current = m;
	return 1;
}

/* Answer a request with this error, unless nobody waits for it any more, and drop it. 0, -ENOMEM: its sender will not know.
 */
int letter_fail(struct letter *, const struct fault *);
/* The same where its descriptors did not come with it; what is no request goes back to its sender. */
int letter_refuse(struct letter *, const struct fault *);

/* Consumed: the sender's window grows. Frees what stayed. */
void letter_drop(struct letter *);

/* The sender does not wait any more for the answer to this one. */
void letter_cancel(struct remote *, uint64_t correlation);

/* Frees what brood_msg_pb() unpacked, given by pb.c when it first does. */
struct unpacked {
	struct unpacked *next;
	void *message;
	void (*release)(void *);
};

#endif
