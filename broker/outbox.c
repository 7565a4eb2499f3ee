/*
 * outbox: references to bytes that lie elsewhere, in order.
 *
 * Frames that arrived one behind the other for one destination are one piece: a burst costs the kernel one iovec, and
 * this list one comparison per frame. The broker's own words have no place of their own until they are written, so
 * they are copied, each into a block that lives as long as the outbox is lent. The surprising rule: outboxes keep their
 * arrays when they go back to the pool, which is why steady traffic allocates nothing.
 */
#include "outbox.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SPARE_MOST 1024u /* outboxes kept for reuse */
#define PIECES_LEAST 16u
#define PIECES_KEPT 1024u /* larger arrays are not kept */

struct outbox_copy {
	STAILQ_ENTRY(outbox_copy) next;
	uint8_t bytes[];
};

void outbox_pool_init(struct outbox_pool *pool)
{
	SLIST_INIT(&pool->spare);
	pool->n_spare = 0;
}

static void outbox_free(struct outbox *out)
{
	free(out->pieces);
	free(out->edges);
	free(out);
}

void outbox_pool_deinit(struct outbox_pool *pool)
{
	struct outbox *out;

	while ((out = SLIST_FIRST(&pool->spare))) {
		SLIST_REMOVE_HEAD(&pool->spare, next);
		outbox_free(out);
	}
	pool->n_spare = 0;
}

static void outbox_clear(struct outbox *out)
{
	out->n = out->sealed = 0;
	STAILQ_INIT(&out->copies);
	STAILQ_INIT(&out->parcels);
}

struct outbox *outbox_lend(struct outbox_pool *pool)
{
	struct outbox *out = SLIST_FIRST(&pool->spare);

	if (out) {
		SLIST_REMOVE_HEAD(&pool->spare, next);
		pool->n_spare--;
		return out;
	}
	out = calloc(1, sizeof(*out));
	if (out)
		outbox_clear(out);
	return out;
}

void outbox_return(struct outbox_pool *pool, struct outbox *out)
{
	struct outbox_copy *copy;
	struct parcel *parcel;

	if (!out)
		return;
	while ((copy = STAILQ_FIRST(&out->copies))) {
		STAILQ_REMOVE_HEAD(&out->copies, next);
		free(copy);
	}
	while ((parcel = STAILQ_FIRST(&out->parcels))) {
		STAILQ_REMOVE_HEAD(&out->parcels, next);
		parcel_free(parcel);
	}
	outbox_clear(out);
	if (pool->n_spare >= SPARE_MOST || out->size > PIECES_KEPT) {
		outbox_free(out);
		return;
	}
	SLIST_INSERT_HEAD(&pool->spare, out, next);
	pool->n_spare++;
}

static int outbox_grow(struct outbox *out)
{
	unsigned size = out->size ? 2 * out->size : PIECES_LEAST;
	struct iovec *pieces = realloc(out->pieces, size * sizeof(*pieces));
	struct edge **edges;

	if (!pieces)
		return -ENOMEM;
	out->pieces = pieces;
	edges = realloc(out->edges, size * sizeof(*edges));
	if (!edges)
		return -ENOMEM;
	out->edges = edges;
	out->size = size;
	return 0;
}

static int add_piece(struct outbox *out, struct edge *edge, const uint8_t *bytes, size_t n)
{
	if (out->n == out->size && outbox_grow(out) < 0)
		return -ENOMEM;
	out->pieces[out->n] = (struct iovec){ (void *)(uintptr_t)bytes, n };
	out->edges[out->n++] = edge;
	return 0;
}

int outbox_add(struct outbox *out, struct edge *edge, const uint8_t *bytes, size_t n)
{
	struct iovec *last = out->n > 0 ? &out->pieces[out->n - 1] : NULL;

	if (last && out->edges[out->n - 1] == edge && (const uint8_t *)last->iov_base + last->iov_len == bytes &&
	    out->n != out->sealed) {
		last->iov_len += n;
		return 0;
	}
	return add_piece(out, edge, bytes, n);
}

int outbox_add_parcel(struct outbox *out, struct edge *edge, const uint8_t *bytes, size_t n, struct parcel *parcel)
{
	if (add_piece(out, edge, bytes, n) < 0)
		return -ENOMEM;
	out->sealed = out->n;
	parcel->at = out->n - 1;
	STAILQ_INSERT_TAIL(&out->parcels, parcel, next);
	return 0;
}

struct parcel *outbox_take_parcel(struct outbox *out, unsigned piece)
{
	struct parcel *parcel = STAILQ_FIRST(&out->parcels);

	if (!parcel || parcel->at != piece)
		return NULL;
	STAILQ_REMOVE_HEAD(&out->parcels, next);
	return parcel;
}

int outbox_copy(struct outbox *out, const uint8_t *bytes, size_t n)
{
	struct outbox_copy *copy = malloc(sizeof(*copy) + n);

	if (!copy)
		return -ENOMEM;
	memcpy(copy->bytes, bytes, n);
	if (add_piece(out, NULL, copy->bytes, n) < 0) {
		free(copy);
		return -ENOMEM;
	}
	STAILQ_INSERT_TAIL(&out->copies, copy, next);
	return 0;
}
