/*
 * relay: one descriptor of a child on another host. What the child writes is written to a descriptor here, and what is
 * read from that is for the child. The descriptor is what a child of this host would have got, so the program's end of it
 * knows no difference.
 *
 * Both ways have a credit: so many bytes may be under way. What was taken is told in portions, and gives credit back. So
 * a descriptor that nobody reads holds up its own writer and no other.
 */
#ifndef BROOD_RELAY_H
#define BROOD_RELAY_H

#include "handle.h"

#define RELAY_CREDIT ((size_t)256 * 1024) /* nursery.proto says so, too */

struct relay;

struct relay_ops { /* given at creation */
	/* Bytes for the child; n 0: their end, once. */
	void (*input)(struct relay *, const uint8_t *, size_t n);
	/* So many more of the bytes that the child wrote were taken. */
	void (*taken)(struct relay *, size_t n);
	/* What the child writes cannot be written here any more. */
	void (*broken)(struct relay *);
	/* It may be that relay_is_empty() or relay_is_open() changed. */
	void (*moved)(struct relay *);
};

struct relay {
	struct source source; /* fd -1: closed */
	struct brood *h;
	void *data; /* the owner's */
	const struct relay_ops *ops;
	int target;                     /* what the child calls it */
	unsigned reads : 1, writes : 1; /* ways that are open */
	unsigned ending : 1;            /* nothing more comes to be written */
	unsigned patient : 1;           /* a file: writing to it does not wait, and it cannot be watched */
	unsigned socket : 1;
	unsigned begun : 1;     /* there was credit */
	unsigned told_left : 1; /* relay_stop_reading() said how much it left */
	uint8_t *queue;         /* bytes from at to end wait to be written */
	size_t at, end, size;
	size_t credit; /* bytes that may be read from here */
	size_t untold; /* bytes written that were not told as taken */
};

/* Take over the descriptor, which is nobody else's. */
void relay_open(struct relay *, struct brood *, int target, int fd, int reads, int writes, const struct relay_ops *,
		void *data);
/* Write to a descriptor of the program's, which is not touched; if it is closed, to nowhere. */
void relay_open_mine(struct relay *, struct brood *, int target, const struct relay_ops *, void *data);
/* Close what is open. Twice is fine, and for zero bytes. */
void relay_close(struct relay *);

/* What the child wrote. */
void relay_put(struct relay *, const uint8_t *, size_t n);
/* It writes no more. */
void relay_end(struct relay *);
/* So much more may be read for it. */
void relay_credit(struct relay *, size_t n);
/* It reads no more. How many bytes were read from here, or could have been, that it did not take. */
size_t relay_stop_reading(struct relay *);

/* Nothing waits to be written. */
static inline int relay_is_empty(const struct relay *r)
{
	return r->at == r->end;
}

/* Something may still be written. */
static inline int relay_is_open(const struct relay *r)
{
	return r->writes;
}

#endif
