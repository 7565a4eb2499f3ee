/*
 * slab: one area for what is read, and spare buffers for what must wait.
 *
 * The area is filled from its beginning and emptied all at once by slab_reset(): nothing in it is ever freed singly. A
 * buffer is in one of four places: spare here, retired here (a frame in it was shown and may still be in use), or in a
 * channel as its carry or its kept bytes. Spare ones are bounded, so a burst does not hold its memory for ever.
 */
#include "slab.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SPARE_MOST 32u /* buffers kept for reuse */

struct buffer *slab_take(struct slab *s)
{
	struct buffer *b = STAILQ_FIRST(&s->spare);

	if (b) {
		STAILQ_REMOVE_HEAD(&s->spare, next);
		s->n_spare--;
	} else {
		b = malloc(sizeof(*b) + FRAME_MAX);
		if (!b)
			return NULL;
	}
	b->at = b->end = 0;
	b->elsewhere = 0;
	return b;
}

void slab_give(struct slab *s, struct buffer *b)
{
	if (s->n_spare >= SPARE_MOST) {
		free(b);
		return;
	}
	STAILQ_INSERT_HEAD(&s->spare, b, next);
	s->n_spare++;
}

static void buffers_free(struct buffer_list *list)
{
	struct buffer *b;

	while ((b = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, next);
		free(b);
	}
}

void slab_give_all(struct slab *s, struct buffer_list *list)
{
	struct buffer *b;

	while ((b = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, next);
		slab_give(s, b);
	}
}

int slab_init(struct slab *s, size_t size)
{
	memset(s, 0, sizeof(*s));
	STAILQ_INIT(&s->spare);
	STAILQ_INIT(&s->retired);
	s->bytes = malloc(size);
	if (!s->bytes)
		return -ENOMEM;
	s->size = size;
	return 0;
}

void slab_deinit(struct slab *s)
{
	if (!s->bytes)
		return;
	buffers_free(&s->spare);
	buffers_free(&s->retired);
	free(s->bytes);
	memset(s, 0, sizeof(*s));
}

void slab_reset(struct slab *s)
{
	s->used = 0;
	slab_give_all(s, &s->retired);
}

int slab_has_room(const struct slab *s)
{
	return s->size - s->used >= SLAB_LEAST;
}

void slab_retire(struct slab *s, struct buffer *b)
{
	STAILQ_INSERT_TAIL(&s->retired, b, next);
}
