/*
 * slab: memory that all channels of a loop share, so that steady traffic needs no malloc and an idle connection owns
 * nothing. One large area takes what is read; buffers of one frame's size take what must wait, and are kept for reuse.
 */
#ifndef BROOD_SLAB_H
#define BROOD_SLAB_H

#include "frame.h"
#include <sys/queue.h>

struct buffer { /* a piece of memory that fits one frame; kept for reuse by the slab */
	STAILQ_ENTRY(buffer) next;
	uint32_t at, end; /* bytes in use */
	int elsewhere;    /* of a carry: some of those are not here, but where channel_read_to() was told */
	_Alignas(8) uint8_t bytes[];
};
STAILQ_HEAD(buffer_list, buffer);

struct slab {
	uint8_t *bytes;
	size_t size, used;
	struct buffer_list spare, retired;
	unsigned n_spare;
};

#define SLAB_HELPING (257u * 1024u)    /* most bytes per channel_read(): four messages of 64 KiB and their heads */
#define SLAB_LEAST (SLAB_HELPING / 4u) /* less room than this is not worth a helping */

/* size: at least SLAB_HELPING. -ENOMEM. */
int slab_init(struct slab *, size_t size);
void slab_deinit(struct slab *);
/* Nothing shown by channel_next() is in use any more. */
void slab_reset(struct slab *);
/* 1 if there is room for another channel_read() before slab_reset(). */
int slab_has_room(const struct slab *);

/* An empty buffer of FRAME_MAX bytes, or NULL. */
struct buffer *slab_take(struct slab *);
/* Give a buffer back, at once ... */
void slab_give(struct slab *, struct buffer *);
void slab_give_all(struct slab *, struct buffer_list *);
/* ... or, because a frame in it was shown, at the next slab_reset(). */
void slab_retire(struct slab *, struct buffer *);

#endif
