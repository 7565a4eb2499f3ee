/*
 * outflow: see outflow.h. The log of one stream, kept as the frames that travel.
 *
 * The surprising rule: acknowledgement is by item, memory is by block. A block is freed when its last item was
 * consumed, so what a program may add is counted by blocks; what may be under way is counted by frames, because answers
 * are added without asking, and one block may hold more of them than a small window.
 */
#include "outflow.h"
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SMALL (64u * 1024u) /* bytes in a block for usual messages ... */
#define LARGE FRAME_MAX     /* ... and in one for items above SMALL_ITEM */
#define SMALL_ITEM (16u * 1024u)
#define FRAME_USUAL (16u * 1024u) /* longer frames only for longer items: what a read cuts is copied */
#define MARK_MOST (512u * 1024u)
#define MARK_ITEMS (OUTFLOW_MESSAGES / 4)
#define SPARE_MAX (6u * 1024u * 1024u)

void outflow_pool_init(struct outflow_pool *p, size_t most)
{
	TAILQ_INIT(&p->small);
	TAILQ_INIT(&p->large);
	p->spare_bytes = p->held = 0;
	p->most = most;
}

static void blocks_free(struct outflow_blocks *list)
{
	struct outflow_block *b;
	while ((b = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, b, next);
		free(b);
	}
}

void outflow_pool_deinit(struct outflow_pool *p)
{
	blocks_free(&p->small);
	blocks_free(&p->large);
	p->spare_bytes = 0;
}

static struct outflow_block *block_new(uint32_t size)
{
	struct outflow_block *b = malloc(sizeof(*b) + size);
	if (b)
		b->size = size;
	return b;
}

static struct outflow_block *pool_take(struct outflow_pool *p, uint32_t size)
{
	struct outflow_blocks *list = size == SMALL ? &p->small : &p->large;
	struct outflow_block *b = TAILQ_FIRST(list);
	if (!b)
		return block_new(size);
	TAILQ_REMOVE(list, b, next);
	p->spare_bytes -= size;
	p->n_large -= size == LARGE;
	return b;
}

static void pool_keep(struct outflow_pool *p, struct outflow_block *b)
{
	p->spare_bytes += b->size;
	p->n_large += b->size == LARGE;
	TAILQ_INSERT_HEAD(b->size == SMALL ? &p->small : &p->large, b, next);
}

static void pool_give(struct outflow_pool *p, struct outflow_block *b)
{
	p->held -= b->counted ? b->size : 0;
	if (p->spare_bytes + b->size > SPARE_MAX)
		free(b);
	else
		pool_keep(p, b);
}

void outflow_init(struct outflow *o, struct outflow_pool *pool, size_t window)
{
	memset(o, 0, sizeof(*o));
	o->pool = pool;
	o->window = window;
	/* A quarter of the window, but not so much that the blocks under way fall out of the processor's cache. */
	o->mark = window / 4 < MARK_MOST ? window / 4 : MARK_MOST;
	o->next = 1;
	o->last_name = "";
	TAILQ_INIT(&o->blocks);
	STAILQ_INIT(&o->parcels);
	TAILQ_INIT(&o->refusals);
}

struct parcel *outflow_take_parcel(struct outflow *o)
{
	struct parcel *p = STAILQ_FIRST(&o->parcels);
	if (!p)
		return NULL;
	STAILQ_REMOVE_HEAD(&o->parcels, next);
	o->n_fds -= p->n;
	return p;
}

static void drop_refusals(struct outflow *o, uint64_t upto)
{
	struct outflow_refusal *f;
	while ((f = TAILQ_FIRST(&o->refusals)) && f->said_by <= upto) {
		TAILQ_REMOVE(&o->refusals, f, entry);
		free(f);
	}
}

void outflow_deinit(struct outflow *o)
{
	struct outflow_block *b;
	if (!o->pool)
		return;
	while (o->n_fds)
		parcel_free(outflow_take_parcel(o));
	drop_refusals(o, UINT64_MAX);
	while ((b = TAILQ_FIRST(&o->blocks))) {
		TAILQ_REMOVE(&o->blocks, b, next);
		pool_give(o->pool, b);
	}
	for (unsigned i = 0; i < o->n_types; i++)
		free(o->types[i]);
	free(o->types);
	memset(o, 0, sizeof(*o));
}

uint64_t outflow_unsent(const struct outflow *o)
{
	return o->next - 1 - o->reached;
}

int outflow_has_recovered(const struct outflow *o)
{
	if (outflow_unacknowledged(o) == 0)
		return 1; /* whatever others hold */
	return o->written - o->freed <= o->window / 2 && outflow_unacknowledged(o) <= OUTFLOW_MESSAGES / 2 &&
	       o->n_fds <= OUTFLOW_FDS / 2 && o->pool->held < o->pool->most / 4 * 3;
}

/* ---- type names -------------------------------------------------------------------------------------------------- */

static unsigned type_number(const struct outflow *o, const char *name)
{
	if (strcmp(o->last_name, name) == 0)
		return o->last_type;
	for (unsigned i = 0; i < o->n_types; i++)
		if (strcmp(o->types[i], name) == 0)
			return i + 1;
	return 0;
}

static int type_add(struct outflow *o, const char *name)
{
	if (!o->types && !(o->types = calloc(ITEM_TYPES, sizeof(*o->types))))
		return -ENOMEM;
	char *copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	o->types[o->n_types++] = copy;
	return 0;
}

static void type_used(struct outflow *o, unsigned number)
{
	o->last_type = number;
	o->last_name = o->types[number - 1];
}

/* The item that would have told its number will not be sent: the next one with it has to. */
static void type_forget(struct outflow *o, const struct item *it)
{
	if (!it->name || it->type == ITEM_UNNUMBERED)
		return;
	free(o->types[--o->n_types]);
	o->last_type = 0;
	o->last_name = "";
}

int outflow_type(struct outflow *o, const char *name, struct item *it)
{
	if (!name || !*name)
		return 0;
	unsigned number = type_number(o, name);
	if (number) {
		it->type = (uint16_t)number;
		type_used(o, number);
		return 0;
	}
	size_t length = strlen(name);
	if (length > ITEM_TYPE_MAX)
		return -EINVAL;
	it->name = name;
	it->name_length = (uint8_t)length;
	if (o->n_types == ITEM_TYPES || o->spells_types) {
		it->type = ITEM_UNNUMBERED;
		return 0;
	}
	if (type_add(o, name) < 0)
		return -ENOMEM;
	it->type = (uint16_t)o->n_types;
	type_used(o, o->n_types);
	return 0;
}

/* ---- appending --------------------------------------------------------------------------------------------------- */

static void frame_close(struct outflow *o)
{
	struct outflow_block *b = o->open;
	struct frame f = { .kind = FRAME_DATA, .sequence = o->open_first };
	uint8_t *head = b->bytes + o->open_offset;
	f.flags = head[2];
	f.length = b->used - o->open_offset - FRAME_HEAD;
	frame_write_head(head, &f);
	o->open = NULL;
	o->join_end = 0;
}

static void frame_open(struct outflow *o, struct outflow_block *b)
{
	o->open = b;
	o->open_offset = b->used;
	o->open_first = o->next;
	b->bytes[b->used + 2] = 0; /* flags */
	b->used += FRAME_HEAD;
	o->written += FRAME_HEAD;
}

static struct outflow_block *block_add(struct outflow *o, size_t item)
{
	struct outflow_block *b = pool_take(o->pool, item > SMALL_ITEM ? LARGE : SMALL);
	if (!b)
		return NULL;
	b->used = 0;
	b->last = o->next - 1;
	b->position = o->written;
	b->counted = !TAILQ_EMPTY(&o->blocks);
	o->pool->held += b->counted ? b->size : 0;
	TAILQ_INSERT_TAIL(&o->blocks, b, next);
	return b;
}

int outflow_reserve(struct outflow *o, size_t bytes)
{
	size_t blocks = bytes / ITEM_BODY_MAX + 2; /* as if every item took a block of its own */
	while (o->pool->n_large < blocks) {
		struct outflow_block *b = block_new(LARGE);
		if (!b)
			return -ENOMEM;
		pool_keep(o->pool, b);
	}
	return 0;
}

/* What is left of `most` behind `done`. */
static uint64_t left_of(uint64_t most, uint64_t done)
{
	return most > done ? most - done : 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * How far items may join the open frame unseen: to its usual length, to the end of the block, to the window's end, and
 * short of the next mark. Acknowledgements only make more room, so it holds until the frame is closed. Where items are
 * counted each is taken for the least that one can be.
 */
static void allow_joining(struct outflow *o)
{
	const struct outflow_block *b = o->open;
	uint64_t n = left_of(FRAME_USUAL + FRAME_HEAD, b->used - o->open_offset);
	n = least(n, b->size - b->used);
	n = least(n, left_of(o->window, o->written - o->freed));
	n = least(n, left_of(o->mark, o->written - o->marked_position + 1));
	n = least(n, left_of(MARK_ITEMS, b->last - o->marked + 1) * (ITEM_HEAD + 8));
	n = least(n, left_of(OUTFLOW_MESSAGES, outflow_unacknowledged(o)) * (ITEM_HEAD + 8));
	o->join_end = o->written + n;
}

/* The block that takes an item of this size, with a frame open in it. */
static struct outflow_block *block_for(struct outflow *o, size_t item)
{
	struct outflow_block *b = TAILQ_LAST(&o->blocks, outflow_blocks);
	if (o->open && b->used - o->open_offset - FRAME_HEAD + item > FRAME_USUAL)
		frame_close(o);
	if (!b || b->size - b->used < item + (o->open ? 0 : FRAME_HEAD)) {
		if (o->open)
			frame_close(o);
		b = block_add(o, item);
		if (!b)
			return NULL;
	}
	if (!o->open)
		frame_open(o, b);
	return b;
}

uint8_t *outflow_append(struct outflow *o, const struct item *it)
{
	size_t size = item_size(it->kind, item_extension_size(it), it->length);
	struct outflow_block *b = block_for(o, size);
	if (!b) {
		type_forget(o, it);
		return NULL;
	}
	if (!o->at) { /* all before was gathered */
		o->at = b;
		o->at_offset = o->open_offset;
	}
	uint8_t *body = item_write(b->bytes + b->used, it);
	b->used += (uint32_t)size;
	o->written += size;
	b->last = o->next++;
	if (o->written - o->marked_position >= o->mark || b->last - o->marked >= MARK_ITEMS)
		(void)outflow_mark(o);
	allow_joining(o);
	return body;
}

/* Its receiver is asked at once: until it answers we hold copies, and an end of a pipe would seem open. */
uint8_t *outflow_append_parcel(struct outflow *o, const struct item *it, struct parcel *p)
{
	if (o->open)
		frame_close(o);
	uint8_t *body = outflow_append(o, it);
	if (!body)
		return NULL;
	TAILQ_LAST(&o->blocks, outflow_blocks)->bytes[o->open_offset + FRAME_FLAGS_AT] |= FRAME_FDS;
	(void)outflow_mark(o);
	frame_close(o); /* nothing joins it */
	p->at = o->next - 1;
	STAILQ_INSERT_TAIL(&o->parcels, p, next);
	o->n_fds += p->n;
	o->with_fds++;
	return body;
}

int outflow_mark(struct outflow *o)
{
	if (!o->open)
		return 0;
	struct outflow_block *b = o->open;
	b->bytes[o->open_offset + 2] |= FRAME_ACK_NOW;
	o->marked = b->last;
	o->marked_position = o->written;
	return 1;
}

/* ---- transmitting ------------------------------------------------------------------------------------------------ */

static uint32_t frame_bytes(const uint8_t *head)
{
	uint32_t length;
	memcpy(&length, head + 4, sizeof(length));
	return (uint32_t)frame_size(le32toh(length));
}

void outflow_refuses(struct outflow *o, struct outflow_refusal *f, uint64_t item)
{
	f->item = item;
	f->said_by = o->next - 1;
	TAILQ_INSERT_TAIL(&o->refusals, f, entry);
}

uint64_t outflow_may_acknowledge(const struct outflow *o, uint64_t consumed, uint64_t last)
{
	const struct outflow_refusal *f;
	TAILQ_FOREACH (f, &o->refusals, entry)
		if (f->said_by > last)
			return f->item <= consumed ? f->item - 1 : consumed;
	return consumed;
}

static uint64_t frame_first(const uint8_t *head)
{
	uint64_t first;
	memcpy(&first, head + 32, sizeof(first));
	return le64toh(first);
}

/* Sequence of the last item of the frame that ends at `end`. */
static uint64_t frame_last(const struct outflow_block *b, uint32_t end)
{
	return end == b->used ? b->last : frame_first(b->bytes + end) - 1;
}

/* What a frame of this block that ends at `end` acknowledges. */
static uint64_t acknowledged_by(const struct outflow *o, const struct outflow_block *b, uint32_t end, uint64_t consumed)
{
	if (TAILQ_EMPTY(&o->refusals))
		return consumed;
	return outflow_may_acknowledge(o, consumed, frame_last(b, end));
}

static void head_complete(uint8_t *head, const struct outflow_route *r, uint64_t acknowledged)
{
	uint64_t source = 0, destination = htole64(r->destination), acknowledge = htole64(acknowledged);
	uint32_t stream = htole32(r->stream);
	memcpy(head + 8, &source, 8);
	memcpy(head + 16, &destination, 8);
	memcpy(head + 24, &stream, 4);
	memcpy(head + 40, &acknowledge, 8);
}

/* Frames of one block from `from` on, as far as `most` goes, but at least one; none with descriptors. Bytes. */
static uint32_t block_gather(const struct outflow *o, struct outflow_block *b, uint32_t from, size_t most,
			     const struct outflow_route *r)
{
	uint32_t to = from;
	while (to < b->used) {
		uint32_t n = frame_bytes(b->bytes + to);
		if ((to > from && to - from + n > most) || b->bytes[to + FRAME_FLAGS_AT] & FRAME_FDS)
			break;
		head_complete(b->bytes + to, r, acknowledged_by(o, b, to + n, r->acknowledge));
		to += n;
	}
	return to - from;
}

uint64_t outflow_cursor(const struct outflow *o)
{
	const struct outflow_block *b = o->at;
	if (!b || o->at_offset == b->used)
		return o->next;
	return b == o->open && o->at_offset == o->open_offset ? o->open_first : frame_first(b->bytes + o->at_offset);
}

/* The frame at the cursor, if it brings descriptors. */
static const uint8_t *frame_with_fds(const struct outflow *o)
{
	const uint8_t *head = o->at ? o->at->bytes + o->at_offset : NULL;
	return head && head[FRAME_FLAGS_AT] & FRAME_FDS ? head : NULL;
}

const struct parcel *outflow_parcel(const struct outflow *o)
{
	const struct parcel *p;
	const uint8_t *head = o->n_fds ? frame_with_fds(o) : NULL;
	if (!head)
		return NULL;
	uint64_t sequence = frame_first(head);
	STAILQ_FOREACH (p, &o->parcels, next)
		if (p->at == sequence)
			return p;
	return NULL;
}

/* What it refuses is not acknowledged before this was sent: to wait for the other side's acknowledgement could be for ever. */
static int leads_to_refusal(const struct outflow *o, const struct outflow_block *b, uint32_t offset)
{
	const struct outflow_refusal *f = TAILQ_LAST(&o->refusals, outflow_refusals);
	return f && offset < b->used && frame_first(b->bytes + offset) <= f->said_by;
}

/*
 * At most a window is under way at once; more than that only as one message that is longer than the window, or to say that
 * something was refused.
 */
static int may_be_under_way(const struct outflow *o, const struct outflow_block *b, uint32_t offset)
{
	return b->position + offset <= o->settled + o->window || leads_to_refusal(o, b, offset);
}

static int gather_one(struct outflow *o, const struct outflow_route *r, struct iovec *iov)
{
	uint8_t *head = o->at->bytes + o->at_offset;
	if (!may_be_under_way(o, o->at, o->at_offset))
		return 0;
	head_complete(head, r, outflow_may_acknowledge(o, r->acknowledge, frame_first(head)));
	*iov = (struct iovec){ head, frame_bytes(head) };
	return 1;
}

int outflow_gather(struct outflow *o, const struct outflow_route *r, struct iovec *iov, int n, size_t most)
{
	struct outflow_block *b = o->at;
	uint32_t from = o->at_offset;
	int pieces = 0;
	size_t total = 0;
	if (o->open)
		frame_close(o);
	if (frame_with_fds(o))
		return gather_one(o, r, iov);
	while (b && pieces < n && total < most && may_be_under_way(o, b, from)) {
		uint32_t bytes = block_gather(o, b, from, most - total, r);
		if (bytes) {
			iov[pieces].iov_base = b->bytes + from;
			iov[pieces++].iov_len = bytes;
			total += bytes;
		}
		if (from + bytes < b->used)
			break;
		b = TAILQ_NEXT(b, next);
		from = 0;
	}
	return pieces;
}

/* The cursor passes one frame, of which `bytes` were taken; the rest is shown. Bytes of the frame. */
static size_t pass_frame(struct outflow *o, size_t bytes, struct iovec *rest)
{
	struct outflow_block *b = o->at;
	uint32_t size = frame_bytes(b->bytes + o->at_offset), end = o->at_offset + size;
	uint64_t last = frame_last(b, end);
	if (last > o->reached)
		o->reached = last;
	if (bytes < size) {
		rest->iov_base = b->bytes + o->at_offset + bytes;
		rest->iov_len = size - bytes;
	}
	o->at_offset = end;
	if (end == b->used && TAILQ_NEXT(b, next)) {
		o->at = TAILQ_NEXT(b, next);
		o->at_offset = 0;
	} else if (end == b->used) {
		o->at = NULL;
	}
	return size;
}

void outflow_advance(struct outflow *o, size_t bytes, struct iovec *rest)
{
	rest->iov_len = 0;
	while (bytes > 0 && o->at) {
		size_t size = pass_frame(o, bytes, rest);
		bytes -= size < bytes ? size : bytes;
	}
}

/* ---- acknowledgement --------------------------------------------------------------------------------------------- */

static void free_parcels(struct outflow *o)
{
	while (o->n_fds && STAILQ_FIRST(&o->parcels)->at <= o->acked)
		parcel_free(outflow_take_parcel(o));
}

/* Sequence of the last item of the frame that ends at `end`, where the open one may begin. */
static uint64_t frame_last_or_open(const struct outflow *o, const struct outflow_block *b, uint32_t end)
{
	return o->open == b && end == o->open_offset ? o->open_first - 1 : frame_last(b, end);
}

/* Frames of the first block that were consumed are not under way any more, though their memory is not free yet; and if the
 * cursor was set back to one, it need not be sent again. */
static void settle(struct outflow *o)
{
	const struct outflow_block *b = TAILQ_FIRST(&o->blocks);
	uint32_t at = b && o->settled > b->position ? (uint32_t)(o->settled - b->position) : 0;
	if (o->settled < o->freed)
		o->settled = o->freed;
	while (b && at < b->used && !(o->open == b && at == o->open_offset)) {
		uint32_t end = at + frame_bytes(b->bytes + at);
		if (frame_last_or_open(o, b, end) > o->acked)
			break;
		at = end;
	}
	if (b)
		o->settled = b->position + at;
	if (b && o->at == b && o->at_offset < at)
		o->at_offset = at;
}

int outflow_acknowledge(struct outflow *o, uint64_t sequence)
{
	struct outflow_block *b;
	if (sequence <= o->acked)
		return 0;
	if (sequence > o->reached)
		return -EPROTO;
	o->acked = sequence;
	drop_refusals(o, sequence);
	if (o->n_fds)
		free_parcels(o);
	while ((b = TAILQ_FIRST(&o->blocks)) && b->last <= sequence) {
		TAILQ_REMOVE(&o->blocks, b, next);
		o->freed += b->used;
		if (o->at == b) { /* it was to be sent again, and need not */
			o->at = TAILQ_FIRST(&o->blocks);
			o->at_offset = 0;
		}
		pool_give(o->pool, b);
	}
	settle(o);
	return 1;
}

void outflow_rewind(struct outflow *o)
{
	struct outflow_block *b = TAILQ_FIRST(&o->blocks);
	uint32_t offset = 0;
	if (!b)
		return;
	if (o->open)
		frame_close(o);
	while (offset < b->used) {
		uint32_t end = offset + frame_bytes(b->bytes + offset);
		if (frame_last(b, end) > o->acked)
			break;
		offset = end;
	}
	o->at = offset < b->used ? b : NULL;
	o->at_offset = offset;
}

static int frame_each(struct outflow *o, uint8_t *head, int (*visit)(void *, const struct item *, const char *),
		      void *data)
{
	struct frame f;
	struct item it;
	int rc;
	if (frame_parse(head, frame_bytes(head), FRAME_MAX, &f) != 1)
		return -EPROTO;
	const uint8_t *at = f.body, *end = f.body + f.length;
	for (uint64_t sequence = f.sequence; (rc = item_next(&at, end, &it)) == 1; sequence++) {
		const char *type = it.type && it.type <= o->n_types ? o->types[it.type - 1] : NULL;
		if (sequence > o->acked && (rc = visit(data, &it, type)) != 0)
			return rc;
	}
	return rc;
}

int outflow_each(struct outflow *o, int (*visit)(void *, const struct item *, const char *), void *data)
{
	struct outflow_block *b;
	int rc;
	if (o->open)
		frame_close(o);
	TAILQ_FOREACH (b, &o->blocks, next)
		for (uint32_t at = 0; at < b->used; at += frame_bytes(b->bytes + at))
			if ((rc = frame_each(o, b->bytes + at, visit, data)) != 0)
				return rc;
	return 0;
}
