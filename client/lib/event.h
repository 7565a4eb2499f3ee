/*
 * event: what the program is told, and in which order.
 *
 * A message goes straight from the slab to its handler when a turn that calls callbacks is under way and nothing older
 * waits. Everything else (and messages while a callback runs or a blocking call waits) goes through one of three queues:
 * `ready` for events that have a callback, `kept` for those of peers without any table, which brood_next() shows, `held`
 * for what is paused: a peer's messages with all that comes behind them, or the chunk of a pipe.
 */
#ifndef BROOD_EVENT_QUEUE_H
#define BROOD_EVENT_QUEUE_H

#include "handle.h"
#include "letter.h"

/* 1 if callbacks must not go on: brood_stop() or brood_close() was called in one, or fork() and this is the copy. */
static inline int event_interrupted(const struct brood *h)
{
	return h->closing || (h->running && h->stop) || h->generation != handle_generation;
}

/* Whose table counts for this peer: its own, the handle's, or nobody's. */
static inline const struct brood_peer *event_table(const struct brood_peer *p)
{
	if (p->has_on)
		return p;
	return p->h->self->has_on && !p->quiet ? p->h->self : NULL;
}

/* 1 if an event may go straight to its callback: a turn that calls them is under way, and nothing older waits. */
static inline int event_may_call(const struct brood *h)
{
	return h->dispatching && !h->in_callback && !h->blocking && !event_interrupted(h) && TAILQ_EMPTY(&h->ready);
}

/* The short way of event_message(), while event_may_call(): call the handler at once, and settle. */
static inline void event_call_message(struct brood *h, brood_fn *fn, const struct brood_event *e, struct letter *m)
{
	m->showing = h->in_callback = 1;
	int rc = fn(e);
	m->showing = h->in_callback = 0;
	h->delivered++;
	if (!letter_is_done(m))
		letter_settle(m, rc, "unanswered");
}

struct pipe;

/* Queue an event of a peer. fault and exit may be NULL; both are as long as needed. */
void event_post(struct brood *, struct brood_peer *, int type, const struct fault *);

/* A message for a peer: its handler runs now or later, and the letter is settled then. 0; -ENOMEM: the letter is dropped.
 */
int event_message(struct brood *, struct brood_peer *, struct letter *);

/* The answer to a request: letter or fault. */
void event_reply(struct brood *, struct brood_peer *, brood_fn *done, void *data, struct letter *,
		 const struct fault *);

/* The child takes more on this pipe. */
void event_drain(struct brood_peer *, int fd);
/* The pipe's chunk; it is taken when the program has seen it. */
void event_output(struct pipe *);
/* How brood_exec_file() ended; the result lives as long as the peer. */
void event_result(struct brood_peer *, brood_fn *done, void *data, const struct brood_result *, const struct fault *);

/* Its messages or one of its pipes were paused, or go on: what waits already is held back, or let go. */
void event_paused(struct brood_peer *);

/* Call callbacks of waiting events until none waits, or the turn was interrupted. */
void event_dispatch(struct brood *);

/* 1 while a callback is still to be called for this peer. */
int event_is_owed(const struct brood_peer *);

/* The handle ends: of what waits, call those whom somebody was promised to be told exactly once; drop the others. */
void event_tell_promised(struct brood *);

/* The next kept event for brood_next(); the one shown before is settled. NULL: none. */
const struct brood_event *event_show(struct brood *);

/* A peer or the handle has another table, or none: kept events get their callbacks after all, or those that wait for one
 * are kept. */
void event_table_changed(struct brood *);

/* 0, -ENOMEM. In any case event_free_all() is fine. */
int event_init(struct brood *);
void event_free_all(struct brood *);

/* One that is told to `done` later: event_tell() or event_discard() it. NULL: no memory. */
struct event_item *event_prepare(struct brood_peer *, int type, brood_fn *done, void *data);
void event_tell(struct event_item *, const struct fault *); /* why it failed, or NULL */
void event_discard(struct event_item *);

#endif
