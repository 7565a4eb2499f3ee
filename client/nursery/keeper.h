/*
 * keeper: starts one program for somebody of another host, and stands between the two: carries what the program writes and
 * reads, signals it, and tells how it ended. It is a process of its own to the broker, so that its stream to the parent,
 * and its window, are this one program's.
 */
#ifndef NURSERY_KEEPER_H
#define NURSERY_KEEPER_H

#include "policy.h"
#include <brood.h>

struct keeper;

/*
 * Start one for the sender of this message, a request that was kept and is the keeper's from now on, and for this order,
 * which is too. user: the sender's, "user@node"; address: the broker. NULL: no memory or no descriptor, and both are still
 * the caller's.
 */
struct keeper *keeper_new(brood_msg *, const Brood__Nursery__Spawn *, struct order *, const char *user,
			  const char *address);
/* Its descriptor is readable. 1: it is done, keeper_free() it. */
int keeper_turn(struct keeper *);
int keeper_fd(const struct keeper *);
/* The nursery is about to end: so does the program. */
void keeper_stop(struct keeper *);
/* It was not employed after all: the message and the order are the caller's again. keeper_free() follows. */
void keeper_give_back(struct keeper *);
/* Frees all, whatever state it is in. A program that still runs is ended, unless it was to be detached. */
void keeper_free(struct keeper *);
/* 1 if it started the program with this id, and for this user ("user@node"). */
int keeper_is_of(const struct keeper *, uint64_t id, const char *user);
/* Signal the program (tree: all of its process group) for somebody who is not its parent. 0 or negative errno. */
int keeper_signal(const struct keeper *, int signo, int tree);
/* The section of the program. */
const char *keeper_program(const struct keeper *);

#endif
