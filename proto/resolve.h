/*
 * resolve: the address of a host's name, without waiting for it. The system's resolver knows no other way than to wait, so
 * a thread does that: one for each name under way, which lives no longer than the resolver takes.
 */
#ifndef BROOD_RESOLVE_H
#define BROOD_RESOLVE_H

#include "address.h"

struct resolve;

/* Begin to look up the host of an address of TLS. 0 and *ret, or negative errno: no memory, descriptor, or thread. */
int resolve_begin(struct resolve **ret, const struct address *);
/* Becomes readable when the answer is there. It lives as long as *ret. */
int resolve_fd(const struct resolve *);
/* 0, and the address is whole; the reason why there is none, as dial_look_up(); -EINPROGRESS: no answer yet. */
int resolve_answer(const struct resolve *, struct address *);
/* Whether the answer is there or not; nobody waits. NULL is fine. */
void resolve_free(struct resolve *);

#endif
