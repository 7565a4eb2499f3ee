/*
 * sessions: all connections, and the turn in which they are served, written to and freed.
 */
#ifndef BROOD_SESSIONS_H
#define BROOD_SESSIONS_H

#include "session.h"

/* -ENOMEM. */
int sessions_init(struct sessions *, struct event_base *, struct log *, struct router *, const struct session_ops *,
		  void *data);
/* Closes all without a word; what ended() does is done before. Half-built is fine. */
void sessions_deinit(struct sessions *);
/* A turn: serve who is ready, read the dead to their end, write to everybody, free what closed. */
void sessions_turn(struct sessions *);
/* The limits have changed. */
void sessions_relimit(struct sessions *);
/* 1 if there is more to do than one turn could: do not wait before the next. */
int sessions_are_busy(const struct sessions *);
/* Tell everybody that the broker is going. Those that have not said HELLO are closed. */
void sessions_goodbye(struct sessions *, Brood__Parting);
/* After a reload of certificates: close those whose own would not pass any more. */
void sessions_review(struct sessions *);
/* The same, for those of which a certificate has expired at this time, in seconds since 1970. */
void sessions_expire(struct sessions *, int64_t now);
/* The policy has changed: close those of users who may not connect any more. */
void sessions_expel(struct sessions *, const struct policy *);

#endif
