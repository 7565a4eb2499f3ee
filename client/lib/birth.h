/*
 * birth: how a planned child becomes a process with a channel to the broker. Local: a socket pair, one end of which the
 * child inherits with a BIRTH record in it, while the broker adopts the other. No round trip is waited for.
 */
#ifndef BROOD_BIRTH_H
#define BROOD_BIRTH_H

#include "child.h"

struct birth { /* the channel's ends; -1: none */
	int mine, its;
};

/* Start it: pid, pidfd and life line are set. Negative errno and *why: nothing is left behind. */
int birth_start(struct child *, struct birth *, struct spawn_failure *why);
/* Give the broker its end, and the child's name; closes what is left of the ends. */
void birth_finish(struct child *, struct birth *);
/* What the broker calls it. */
uint64_t birth_id(const struct child *);
/* What was said to the broker of its birth may have been lost with the connection. */
void birth_say_again(struct child *);

#endif
