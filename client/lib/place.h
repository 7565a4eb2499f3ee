/*
 * place: where the broker is, as the environment and the file system tell, and what lies there. Knows nothing of a handle.
 */
#ifndef BROOD_PLACE_H
#define BROOD_PLACE_H

#include "address.h"
#include <stddef.h>
#include <stdint.h>

/* The channel that I was born with: its descriptor, which is the caller's, or -1. Whoever asks again gets none. */
int place_inherited(void);

/*
 * The broker's address, as text: what the program said (`address`, or NULL), or its environment; else this machine's broker,
 * if there is one; else this user's own. 1: it is that one, which may have to be started.
 */
int place_find(const char *address, char *to, size_t n);

/* Proof that I may read it: at most n bytes of this file, or (NULL) of the one beside a private broker. Bytes, or 0. */
size_t place_cookie(const char *file, uint8_t *to, size_t n);
/* Why there is none to show, as text: which file cannot be read for which reason. "" if it can. */
void place_cookie_fault(const char *file, char *why, size_t n);

/* 1: a private broker has taken this address (its directory's lock), so it listens there, or soon will. */
int place_is_taken(const char *address, enum address_kind);
/* The pid of the private broker that has taken this address; 0: that is not known. */
long place_holder(const char *address, enum address_kind);

#endif
