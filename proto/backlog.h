/*
 * backlog: what a channel could not write yet. Its bytes in order, in runs of whom they belong to, and the descriptors
 * that go with them. A channel has one only while something waits.
 */
#ifndef BROOD_BACKLOG_H
#define BROOD_BACKLOG_H

#include "parcel.h"
#include "slab.h"
#include <sys/uio.h>

/* What a descriptor counts as beside its frame's bytes: it is scarcer than they are. */
#define BACKLOG_FD_BYTES 65536u

struct run; /* bytes with one tag */

struct backlog { /* to be looked at only */
	struct buffer_list buffers;
	struct buffer *last; /* of these, with the last byte */
	size_t bytes;        /* above 0 */
	size_t nobodys;      /* what the runs without a tag count as, their descriptors too */
	struct run *runs;    /* a ring */
	unsigned first, n_runs, size, fds;
};

/* n bytes of a run left. */
typedef void backlog_left_fn(void *tag, size_t n);

/*
 * Copy n bytes, at least one, behind all others; one is made if there is none. A parcel (or NULL) goes with the first of them,
 * which begin a frame that ends with the last; it is the backlog's if that succeeds. -ENOMEM: nothing changed.
 */
int backlog_add(struct backlog **, struct slab *, const void *, size_t n, void *tag, struct parcel *);
/*
 * What the next call is to write: how many pieces, at most `most`, and in *ret the parcel that goes with them, or NULL.
 */
int backlog_next(const struct backlog *, struct iovec *, int most, const struct parcel **ret);
/*
 * So many bytes of that left; `left` (or NULL) is told, of descriptors as BACKLOG_FD_BYTES each, and must not touch the
 * backlog. It is freed with its last byte.
 */
void backlog_sent(struct backlog **, struct slab *, size_t n, backlog_left_fn *left);
/* Bytes with this tag have that one from now on. NULL is fine. */
void backlog_retag(struct backlog *, const void *tag, void *to);
/* With all that waits, of which nobody is told. NULL is fine. */
void backlog_free(struct backlog **, struct slab *);

#endif
