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

enum place {
	PLACE_FIXED,  /* the program said so, or its environment */
	PLACE_SYSTEM, /* of this machine's broker, which there is */
	PLACE_PRIVATE /* of this user's own broker, which may have to be started */
};

/* The broker's address, as text; of these the first that applies. `address` is what the program said, or NULL. */
enum place place_find(const char *address, char *to, size_t n);

/* Proof that I may read it: at most n bytes of this file, or (NULL) of the one beside a private broker. Bytes, or 0. */
size_t place_cookie(const char *file, uint8_t *to, size_t n);

/* The pid of the private broker that has taken this address; 0: that is not known. */
long place_holder(const char *address, enum address_kind);

#endif
