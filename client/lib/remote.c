/*
 * remote: see remote.h. Everything that is sent to a process passes remote_put(); everything that must be transmitted
 * sooner or later, data or acknowledgement, puts the remote on the handle's dirty list, which pump_run() empties.
 */
#include "remote.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MUCH (2 * (size_t)ITEM_BODY_MAX) /* bytes that are worth a write of their own */

struct remote *remote_new(struct brood *h)
{
	struct remote *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->h = h;
	r->refs = 1;
	LIST_INIT(&r->requests);
	TAILQ_INIT(&r->confirms);
	outflow_init(&r->out, &h->pool, h->window);
	inflow_init(&r->in);
	return r;
}

static void clean(struct remote *r)
{
	if (!r->dirty)
		return;
	r->dirty = 0;
	TAILQ_REMOVE(&r->h->dirty, r, dirty_entry);
}

void remote_free(struct remote *r)
{
	clean(r);
	outflow_deinit(&r->out);
	inflow_deinit(&r->in);
	free(r);
}

struct remote *remote_find(struct brood *h, uint64_t id)
{
	struct remote *r = h->last_remote;
	if (r && r->id == id)
		return r;
	HASH_FIND(hh, h->by_id, &id, sizeof(id), r);
	if (r)
		h->last_remote = r;
	return r;
}

/* It was given up before: both sides may still know streams that this one does not. */
static void recall(struct remote *r)
{
	struct tombstone stone;
	if (!tombstone_take(&r->h->tombstones, r->id, &stone))
		return;
	r->mine = (stone.mine + 1) & 15;
	r->its = stone.its & 15;
	r->its_known = 1;
	r->forgotten = 1;
	r->consumed = stone.consumed;
	r->in.next = stone.next;
	r->in.told = stone.next - 1;
}

void remote_remember(struct remote *r)
{
	/* What it may not have heard that it was refused is not consumed: it reports that. */
	uint64_t consumed = outflow_may_acknowledge(&r->out, inflow_consumed(&r->in), r->out.acked);
	struct tombstone stone = { .id = r->id,
				   .next = r->in.next,
				   .consumed = r->forgotten ? r->consumed : consumed,
				   .its = r->its,
				   .mine = r->mine };
	if (r->resolved && !r->ended && (r->in.next > 1 || r->out.next > 1 || r->forgotten))
		tombstone_put(&r->h->tombstones, &stone);
}

void remote_begin_in(struct remote *r, unsigned generation)
{
	inflow_begin_anew(&r->in);
	r->its = (uint8_t)generation;
	r->its_known = 1;
	r->forgotten = 0;
	r->untaken = 0; /* its items have the same numbers again */
}

void remote_begin_out(struct remote *r)
{
	int spells = r->out.spells_types;
	outflow_deinit(&r->out);
	outflow_init(&r->out, &r->h->pool, r->h->window);
	r->out.spells_types = spells;
	r->mine = (r->mine + 1) & 15;
}

int remote_resolve(struct remote *r, uint64_t id)
{
	r->id = id;
	HASH_ADD(hh, r->h->by_id, id, sizeof(r->id), r);
	if (!r->hh.tbl)
		return -ENOMEM;
	r->resolved = 1;
	recall(r);
	remote_ref(r);
	remote_touch(r);
	return 0;
}

void remote_end(struct remote *r)
{
	if (r->ended)
		return;
	r->ended = 1;
	clean(r);
	while (r->out.n_fds)
		parcel_free(outflow_take_parcel(&r->out));
	if (r->h->last_remote == r)
		r->h->last_remote = NULL;
	if (!r->resolved)
		return;
	HASH_DELETE(hh, r->h->by_id, r);
	remote_unref(r);
}

void remote_touch(struct remote *r)
{
	if (r->dirty || r->ended || !r->resolved || r->hold)
		return;
	if (!outflow_pending(&r->out) && !r->probe && !inflow_owes(&r->in))
		return;
	r->dirty = 1;
	TAILQ_INSERT_TAIL(&r->h->dirty, r, dirty_entry);
}

void remote_ask(struct remote *r)
{
	if (r->ended || r->probe || r->asked == outflow_cursor(&r->out) || !outflow_unacknowledged(&r->out))
		return;
	r->probe = 1;
	remote_touch(r);
}

struct outflow_route remote_route(const struct remote *r)
{
	return (struct outflow_route){ .destination = r->id,
				       .stream = stream_make(r->mine, r->its),
				       .acknowledge = inflow_consumed(&r->in) };
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

/* Where the item's body goes. Its descriptors, if it has some, are the outflow's then. */
static uint8_t *append(struct remote *r, const struct item *it, struct parcel *parcel)
{
	return it->fds ? outflow_append_parcel(&r->out, it, parcel) : outflow_append(&r->out, it);
}

/* The rest of a long message is copied while its beginning is under way. */
static void hurry(struct remote *r)
{
	if (outflow_pending(&r->out) < MUCH)
		return;
	remote_touch(r);
	r->h->push(r->h);
}

static int put_fragments(struct remote *r, struct item *it, const struct body *b, const uint8_t *bytes,
			 struct parcel *parcel)
{
	size_t left = b->length;
	int rc = outflow_reserve(&r->out, b->length);
	if (rc < 0 || (rc = outflow_type(&r->out, b->type, it)) < 0)
		return rc;
	it->total = b->length;
	do {
		it->length = (uint32_t)(left > ITEM_BODY_MAX ? ITEM_BODY_MAX : left);
		it->more = left > ITEM_BODY_MAX;
		memcpy(append(r, it, parcel), bytes, it->length);
		bytes += it->length;
		left -= it->length;
		it->continued = 1;
		it->name = it->trace = NULL;
		it->fds = 0;
		it->total = it->length;
		if (left > 0)
			hurry(r);
	} while (left > 0);
	return 0;
}

static int put_long(struct remote *r, struct item *it, const struct body *b, struct parcel *parcel)
{
	if (!b->fill)
		return put_fragments(r, it, b, b->bytes, parcel);
	uint8_t *whole = malloc(b->length);
	if (!whole)
		return -ENOMEM;
	b->fill(whole, b->length, b->bytes);
	int rc = put_fragments(r, it, b, whole, parcel);
	free(whole);
	return rc;
}

static int put_short(struct remote *r, struct item *it, const struct body *b, struct parcel *parcel)
{
	it->length = (uint32_t)b->length;
	it->total = b->length;
	int rc = outflow_type(&r->out, b->type, it);
	if (rc < 0)
		return rc;
	uint8_t *to = append(r, it, parcel);
	if (!to)
		return -ENOMEM;
	if (b->fill)
		b->fill(to, b->length, b->bytes);
	else if (b->length)
		memcpy(to, b->bytes, b->length);
	return 0;
}

static int put_fds(struct remote *r, struct item *it, const struct body *b)
{
	struct parcel *parcel;
	int rc = parcel_dup(b->fds, b->n_fds, &parcel);
	if (rc < 0)
		return rc;
	it->fds = parcel->n;
	rc = b->length > ITEM_BODY_MAX ? put_long(r, it, b, parcel) : put_short(r, it, b, parcel);
	if (rc < 0)
		parcel_free(parcel);
	return rc;
}

int remote_put(struct remote *r, struct item *it, const struct body *b)
{
	int rc;
	if (b->n_fds)
		rc = put_fds(r, it, b);
	else
		rc = b->length > ITEM_BODY_MAX ? put_long(r, it, b, NULL) : put_short(r, it, b, NULL);
	if (rc == 0)
		remote_touch(r);
	return rc;
}

int remote_signal(struct remote *r, unsigned kind, uint64_t correlation)
{
	struct item it = { .kind = kind, .correlation = correlation };
	return remote_put(r, &it, &(struct body){ 0 });
}

struct move {
	struct remote *from, *to;
};

static int move_item(void *data, const struct item *it, const char *type)
{
	const struct move *m = data;
	struct remote *r = m->to;
	struct item copy = *it;
	copy.name = NULL;
	copy.type = 0;
	if (!it->continued && outflow_type(&r->out, type, &copy) < 0)
		return -ENOMEM;
	struct parcel *parcel = it->fds ? outflow_take_parcel(&m->from->out) : NULL;
	uint8_t *body = append(r, &copy, parcel);
	if (!body) {
		parcel_free(parcel);
		return -ENOMEM;
	}
	memcpy(body, it->body, it->length);
	return 0;
}

int remote_move(struct remote *from, struct remote *to)
{
	int rc = outflow_each(&from->out, move_item, &(struct move){ from, to });
	outflow_deinit(&from->out);
	outflow_init(&from->out, &from->h->pool, from->h->window);
	remote_touch(to);
	return rc;
}
