/*
 * guard: makes hostile protobuf bytes harmless before protobuf-c sees them.
 *
 * Two fences stand one behind the other. The scan walks the bytes once, beside the descriptor, and refuses what makes
 * protobuf-c slow (a singular sub-message sent twice is merged by copying, over and over) or deep. The arena then gives
 * out memory until the budget is used up, which protobuf-c takes as out of memory and unwinds cleanly.
 *
 * The surprising rule: nothing is freed singly. A message's memory is a few blocks, the first of which begins with the
 * message itself, because that is what protobuf-c asks for first; so guard_free() finds the arena from the message
 * alone.
 */
#include "guard.h"
#include "utf8.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The scan.
 */

#define SEEN_BITS 256 /* fields of a message type that need no memory to be remembered */

struct seen { /* the singular sub-messages that a message has had, by index of the field */
	uint64_t bits[SEEN_BITS / 64];
	uint64_t *more; /* for types with more fields, allocated when it is needed */
};

struct scan {
	const ProtobufCMessageDescriptor *type;
	const uint8_t *at, *end;
	int depth, strict;
	struct seen seen;
};

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static int read_varint(struct scan *s, uint64_t *ret)
{
	unsigned shift;

	*ret = 0;
	for (shift = 0; shift < 70 && s->at < s->end; shift += 7) {
		uint8_t byte = *s->at++;

		*ret |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
		if (!(byte & 0x80))
			return 0;
	}
	return -EBADMSG;
}

static int skip(struct scan *s, uint64_t n)
{
	if (n > (size_t)(s->end - s->at))
		return -EBADMSG;
	s->at += n;
	return 0;
}

static uint64_t *seen_word(struct scan *s, size_t field)
{
	if (s->type->n_fields <= SEEN_BITS)
		return &s->seen.bits[field / 64];
	if (!s->seen.more)
		s->seen.more = calloc((s->type->n_fields + 63) / 64, sizeof(*s->seen.more));
	return s->seen.more ? &s->seen.more[field / 64] : NULL;
}

static int mark_singular(struct scan *s, const ProtobufCFieldDescriptor *field)
{
	size_t i = (size_t)(field - s->type->fields);
	uint64_t bit = (uint64_t)1 << (i % 64), *word;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return 0;
	word = seen_word(s, i);
	if (!word)
		return -ENOMEM;
	if (*word & bit)
		return -EMSGSIZE;
	*word |= bit;
	return 0;
}

static int scan_message(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n, int depth, int strict);

static int scan_bytes(struct scan *s, const ProtobufCFieldDescriptor *field)
{
	const uint8_t *from;
	uint64_t n;
	int r;

	if (read_varint(s, &n) < 0)
		return -EBADMSG;
	from = s->at;
	if (skip(s, n) < 0)
		return -EBADMSG;
	if (!field)
		return 0;
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return s->strict && !utf8_is_text(from, (size_t)n) ? -EBADMSG : 0;
	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return 0;
	r = mark_singular(s, field);
	return r < 0 ? r : scan_message(field->descriptor, from, (size_t)n, s->depth + 1, s->strict);
}

static int scan_field(struct scan *s)
{
	const ProtobufCFieldDescriptor *field;
	uint64_t tag, ignored;

	if (read_varint(s, &tag) < 0 || tag > UINT32_MAX || tag >> 3 == 0)
		return -EBADMSG;
	field = protobuf_c_message_descriptor_get_field(s->type, (unsigned)(tag >> 3));
	if (field && field->type == PROTOBUF_C_TYPE_MESSAGE && (tag & 7) != WIRE_BYTES)
		return -EBADMSG;
	switch (tag & 7) {
	case WIRE_VARINT:
		return read_varint(s, &ignored);
	case WIRE_64:
		return skip(s, 8);
	case WIRE_BYTES:
		return scan_bytes(s, field);
	case WIRE_32:
		return skip(s, 4);
	default:
		return -EBADMSG;
	}
}

static int scan_message(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n, int depth, int strict)
{
	struct scan s = { .type = type, .at = bytes, .end = bytes + n, .depth = depth, .strict = strict };
	int r = depth <= GUARD_DEPTH ? 0 : -EMSGSIZE;

	while (r == 0 && s.at < s.end)
		r = scan_field(&s);
	free(s.seen.more);
	return r;
}

int guard_scan(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n)
{
	return scan_message(type, bytes, n, 1, 0);
}

/*
 * The arena.
 */

#define BLOCK_LEAST 512u
#define BLOCK_MOST (64u * 1024u)

struct block {
	struct block *next;
	_Alignas(16) uint8_t bytes[];
};

struct arena {
	size_t budget;
	int exhausted, failed; /* why the last allocation gave NULL: the budget, or the machine */
	uint8_t *at, *end;     /* free bytes of the current block */
	size_t next_block;
	struct block *blocks;
	_Alignas(16) uint8_t first[];
};

static void *arena_block(struct arena *a, size_t size)
{
	struct block *b = malloc(sizeof(*b) + size);

	if (!b) {
		a->failed = 1;
		return NULL;
	}
	b->next = a->blocks;
	a->blocks = b;
	return b->bytes;
}

/* What does not fit the current block begins a new one; what is large gets a block of its own. */
static void *arena_grow(struct arena *a, size_t size)
{
	uint8_t *bytes;

	if (size > a->next_block / 4)
		return arena_block(a, size);
	bytes = arena_block(a, a->next_block);
	if (!bytes)
		return NULL;
	a->at = bytes + size;
	a->end = bytes + a->next_block;
	if (a->next_block < BLOCK_MOST)
		a->next_block *= 2;
	return bytes;
}

static void *arena_alloc(void *allocator_data, size_t size)
{
	struct arena *a = allocator_data;
	void *bytes = a->at;

	if (size > a->budget) {
		a->exhausted = 1;
		return NULL;
	}
	size = (size + 7u) & ~(size_t)7u;
	a->budget -= size < a->budget ? size : a->budget;
	if (size > (size_t)(a->end - a->at))
		return arena_grow(a, size);
	a->at += size;
	return bytes;
}

static void arena_ignore_free(void *allocator_data, void *bytes)
{
	(void)allocator_data;
	(void)bytes;
}

static struct arena *arena_new(size_t first, size_t budget)
{
	struct arena *a = malloc(sizeof(*a) + first);

	if (!a)
		return NULL;
	*a = (struct arena){ .budget = budget, .next_block = BLOCK_LEAST * 2 };
	a->at = a->first;
	a->end = a->first + first;
	return a;
}

static void arena_free(struct arena *a)
{
	struct block *b;

	while ((b = a->blocks)) {
		a->blocks = b->next;
		free(b);
	}
	free(a);
}

static int unpack_failure(const struct arena *a)
{
	if (a->failed)
		return -ENOMEM;
	return a->exhausted ? -EMSGSIZE : -EBADMSG;
}

int guard_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n, int strict,
		 ProtobufCMessage **ret)
{
	ProtobufCAllocator allocator = { .alloc = arena_alloc, .free = arena_ignore_free };
	struct arena *a;
	ProtobufCMessage *message;
	int r = scan_message(type, bytes, n, 1, strict);

	if (r < 0)
		return r;
	a = arena_new(((type->sizeof_message + 15u) & ~(size_t)15u) + BLOCK_LEAST, GUARD_BUDGET(n));
	if (!a)
		return -ENOMEM;
	allocator.allocator_data = a;
	message = protobuf_c_message_unpack(type, &allocator, n, bytes);
	if (!message) {
		r = unpack_failure(a);
		arena_free(a);
		return r;
	}
	assert((uint8_t *)message == a->first);
	*ret = message;
	return 0;
}

void guard_free(ProtobufCMessage *message)
{
	if (message)
		arena_free((struct arena *)(void *)((uint8_t *)message - offsetof(struct arena, first)));
}
