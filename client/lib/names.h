/*
 * names: taking names, and finding processes by name or address.
 */
#ifndef BROOD_NAMES_H
#define BROOD_NAMES_H

#include "brood.pb-c.h"
#include "handle.h"

/* The broker knows me (again): take and watch all names. */
void names_announce(struct brood *);
/* The broker's answer to REGISTER, or a name that was lost. */
void names_registered(struct brood *, const Brood__Registered *);
/* Who holds a watched name now. */
void names_holder(struct brood *, const Brood__Name *);
/* This peer, whose process was not known yet, is this one: what waits goes there, and it is READY. 0, -ENOMEM. */
int names_turn_to(struct brood_peer *, uint64_t id);
/* The same, and nothing is told. */
int names_join(struct brood_peer *, uint64_t id);
/* The holder of "NODE/NAME", as the library itself asks for it; the handle's. NULL: no memory. */
struct brood_peer *names_seek(struct brood *, const char *name);
/* 1 while a name is not confirmed. */
int names_pending(const struct brood *);
/* Something was sent to a name that nobody holds: it waits for as long as the program said. */
void names_wait(struct brood_peer *);
/* One for whose holder something waits, whose node cannot be reached; or NULL. */
struct brood_peer *names_unreached(struct brood *);
/* The program gave this name back; what it sent there before still finds a holder, or is reported. */
void names_release(struct brood_peer *);
void names_free(struct brood *);

/* The implicit peer of a process that talks to me: new, alive, not owned. */
struct brood_peer *names_stranger(struct brood *, uint64_t id);

/* As brood_register(), and processes of linked nodes find it, and may write to me. */
int names_register_open(struct brood *, const char *name);
/* This user of a linked node, "user@node", may write to me: I found somebody of his, or work for him. */
void names_admit(struct brood *, const char *user);
/* The program itself took one. */
int names_taken(const struct brood *);
/* A name that my parent took for me: mine from the beginning. */
void names_given(struct brood *, const char *name);

#endif
