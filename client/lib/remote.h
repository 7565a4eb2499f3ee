/*
 * remote: a process as I talk to it. Two flows, and whether there is something to transmit.
 */
#ifndef BROOD_REMOTE_H
#define BROOD_REMOTE_H

#include "handle.h"

/* A remote whose id is not known yet: one reference, the caller's. NULL: no memory. */
struct remote *remote_new(struct brood *);
static inline struct remote *remote_ref(struct remote *r)
{
	r->refs++;
	return r;
}

void remote_free(struct remote *); /* when nobody refers to it */

static inline void remote_unref(struct remote *r) /* NULL is fine */
{
	if (r && --r->refs == 0)
		remote_free(r);
}

/* The remote with this id, borrowed, or NULL. */
struct remote *remote_find(struct brood *, uint64_t id);
/* Give it its id and put it into the table, which holds a reference until remote_end(). 0, or -ENOMEM and nothing
 * happened. */
int remote_resolve(struct remote *, uint64_t id);

/* What the body of an outgoing message is made of. */
struct body {
	const char *type;
	const void *bytes;
	size_t length;
	void (*fill)(void *to, size_t length, const void *from);
	const int *fds; /* to pass, n_fds of them */
	size_t n_fds;
	brood_fn *confirm;
	void *confirm_data;
};

/* Bytes that a message takes in the window, about. */
static inline size_t remote_cost(size_t length)
{
	size_t fragments = length <= ITEM_BODY_MAX ? 1 : length / ITEM_BODY_MAX + 1;
	return length + fragments * (FRAME_HEAD + ITEM_HEAD + ITEM_CALL + 8);
}

/* Append a message, in fragments if it is long. `it`: kind, correlation, deadline, trace. 0, or -ENOMEM, -EINVAL (type
 * name too long), -EBADF, -EMFILE (descriptors) and nothing happened. */
int remote_put(struct remote *, struct item *it, const struct body *);
/* The same without body: READY, FIN, CANCEL. */
int remote_signal(struct remote *, unsigned kind, uint64_t correlation);

/* Something may have to be transmitted: remember it for the next pump_run(). */
void remote_touch(struct remote *);
/* Ask it to acknowledge all that it was sent. */
void remote_ask(struct remote *);
/* What it consumed: the number that goes out with the next frame to it. */
struct outflow_route remote_route(const struct remote *);

/* What waited for a name goes to `to`, in order; `from` is empty afterwards. -ENOMEM: some of it was lost. */
int remote_move(struct remote *from, struct remote *to);

/* It is given up, but nobody witnessed its end: remember what there was, should it return. Before remote_end(). */
void remote_remember(struct remote *);

/* It begins its stream anew, as the one with this number: what was taken before stays taken. */
void remote_begin_in(struct remote *, unsigned generation);
/* It forgot my stream: the next message begins another. What is in `out` is lost; report it before. */
void remote_begin_out(struct remote *);

/* No frame goes or comes any more. What was not consumed stays countable in `out` until the last reference goes. */
void remote_end(struct remote *);

#endif
