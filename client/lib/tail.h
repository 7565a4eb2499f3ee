/*
 * tail: the last bytes of a stream, as many as fit.
 */
#ifndef BROOD_TAIL_H
#define BROOD_TAIL_H

#include <stddef.h>
#include <stdint.h>

#define TAIL_MOST 2048u

struct tail {          /* zero bytes are an empty one */
	uint8_t *ring; /* made with the first byte */
	size_t at;     /* where the next one goes */
	int full;
	int fresh; /* something came since it was copied last */
};

/* These came next. Without memory they are not kept. */
void tail_add(struct tail *, const uint8_t *, size_t n);
/* What is kept, into TAIL_MOST bytes: from the beginning of a line, if something was left out before. Returns its length. */
size_t tail_copy(struct tail *, uint8_t *to);
void tail_deinit(struct tail *);

#endif
