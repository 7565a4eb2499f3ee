/*
 * tail: see tail.h.
 */
#include "tail.h"
#include <stdlib.h>
#include <string.h>

static void put(struct tail *t, const uint8_t *bytes, size_t n)
{
	size_t end = TAIL_MOST - t->at, first = n < end ? n : end;
	memcpy(t->ring + t->at, bytes, first);
	memcpy(t->ring, bytes + first, n - first);
	t->full |= n >= end;
	t->fresh = 1;
	t->at = (t->at + n) % TAIL_MOST;
}

void tail_add(struct tail *t, const uint8_t *bytes, size_t n)
{
	if (n == 0 || (!t->ring && !(t->ring = malloc(TAIL_MOST))))
		return;
	if (n > TAIL_MOST) {
		t->full = 1;
		bytes += n - TAIL_MOST;
		n = TAIL_MOST;
	}
	put(t, bytes, n);
}

/* Where the first whole line begins; 0 if there is none. */
static size_t first_line(const uint8_t *bytes, size_t n)
{
	const uint8_t *end = n > 1 ? memchr(bytes, '\n', n - 1) : NULL;
	return end ? (size_t)(end - bytes) + 1 : 0;
}

size_t tail_copy(struct tail *t, uint8_t *to)
{
	size_t older = t->full ? TAIL_MOST - t->at : 0, n = older + t->at, skip;
	if (!t->ring)
		return 0;
	t->fresh = 0;
	memcpy(to, t->ring + t->at, older);
	memcpy(to + older, t->ring, t->at);
	skip = t->full ? first_line(to, n) : 0;
	memmove(to, to + skip, n - skip);
	return n - skip;
}

void tail_deinit(struct tail *t)
{
	free(t->ring);
	*t = (struct tail){ 0 };
}
