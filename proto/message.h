/*
 * message: what a DATA frame carries, one or more *items* back to back. Item i of a frame has the sequence number
 * frame.sequence + i on its stream, so a run of small messages shares one routed head.
 *
 *   0 u32 length of the body     6 u8 kind and fragment bits     8 [u64 correlation, u64 deadline]  REQUEST, REPLY,
 * FAILURE, CANCEL 4 u16 type number            7 u8 extension, in units of 8     [extension]  [body]  1 to 8 zero bytes
 *
 * The extension is a list of {u8 tag, u8 length, bytes}, ended by a zero tag or its end. A body is 8-aligned and always
 * followed by at least one NUL. A message above ITEM_BODY_MAX is a run of items: all but the last have ITEM_MORE, all
 * but the first ITEM_CONTINUED; only the first carries the extension, with ITEM_TOTAL in it.
 */
#ifndef BROOD_MESSAGE_H
#define BROOD_MESSAGE_H

#include "little.h"
#include <stddef.h>
#include <stdint.h>

#define ITEM_HEAD 8u
#define ITEM_CALL 16u                      /* correlation and deadline */
#define ITEM_BODY_MAX (128u * 1024u - 64u) /* longest body of one item, the fragment size: two fit a frame */
#define MESSAGE_MAX (64u * 1024u * 1024u)
#define ITEM_TYPE_MAX 255u
#define ITEM_TRACE_MAX 255u
#define ITEM_EXTENSION_MAX 2040u
#define ITEM_FDS_MAX 16u

enum item_kind {
	ITEM_MESSAGE = 1,
	ITEM_REQUEST = 2,
	ITEM_REPLY = 3,
	ITEM_FAILURE = 4, /* a reply that is an error; body is brood.Failure */
	ITEM_CANCEL = 5,  /* nobody waits for this request's reply any more */
	ITEM_READY = 6,   /* I am ready; no body */
	ITEM_FIN = 7,     /* my last item; no body */
	ITEM_REFUSED =
		8 /* I do not take your item `correlation`, because of what came with it; body is brood.Failure */
};
#define ITEM_KIND 0x3fu
#define ITEM_MORE 0x40u
#define ITEM_CONTINUED 0x80u

enum item_tag { ITEM_TYPE = 1, ITEM_TRACE = 2, ITEM_TOTAL = 3, ITEM_FDS = 4 };

/* Type numbers 1 to ITEM_TYPES are bound by the first item that has both number and ITEM_TYPE; 0 is "untyped",
 * ITEM_UNNUMBERED means the name is in the extension of this item only. */
#define ITEM_TYPES 64u
#define ITEM_UNNUMBERED 0xffffu

struct item {
	unsigned kind; /* enum item_kind, without the fragment bits */
	int more, continued;
	uint16_t type;        /* number */
	uint32_t length;      /* of the body */
	uint64_t correlation; /* REQUEST, REPLY, FAILURE, CANCEL; REFUSED: sequence of the refused item */
	uint64_t deadline;    /* REQUEST: CLOCK_BOOTTIME in ms, 0: none */
	const char *name;     /* ITEM_TYPE as it lies in the extension, not NUL-ended; NULL if absent */
	const char *trace;    /* likewise */
	uint8_t name_length, trace_length;
	uint8_t fds;    /* ITEM_FDS: descriptors that came with the frame; MESSAGE, REQUEST, REPLY */
	uint64_t total; /* ITEM_TOTAL, or length */
	const uint8_t *body;
	const char *wrong; /* if it is malformed: what it has, for people */
};

static inline int item_is_call(unsigned kind)
{
	return (kind >= ITEM_REQUEST && kind <= ITEM_CANCEL) || kind == ITEM_REFUSED;
}

/* Bytes that an item with this kind, extension and body takes in a frame; a multiple of 8. */
static inline size_t item_size(unsigned kind, size_t extension, size_t length)
{
	return ITEM_HEAD + (item_is_call(kind) ? ITEM_CALL : 0) + extension + ((length + 8u) & ~(size_t)7u);
}

/* Bytes of extension that name, trace, total and fds of `it` need; a multiple of 8. 0 if there is nothing to say. */
size_t item_extension_size(const struct item *it);

/*
 * Write head, extension and padding of `it` to `to` (8-aligned, item_size() bytes) and return where its body of
 * it->length bytes goes: the caller fills it.
 */
uint8_t *item_write(uint8_t *to, const struct item *it);

struct item_plain { /* a whole message, request or reply without extension */
	uint64_t head;
	unsigned kind, type;
	uint32_t length;
	uint64_t correlation, deadline;
	const uint8_t *body;
};

/*
 * The short way of the usual case: decode the item at `at`, with `left` bytes before the end, if it is a sound
 * item_plain. Its size, or 0: it is something else, or malformed, and item_next() tells. Nothing but size and padding
 * is to be checked.
 */
static inline size_t item_plain(const uint8_t *at, size_t left, struct item_plain *ret)
{
	if (left < ITEM_HEAD + 8)
		return 0;
	uint64_t head = get64(at), bits = head >> 48;
	if (bits < ITEM_MESSAGE || bits > ITEM_REPLY)
		return 0;
	unsigned kind = (unsigned)bits, type = (unsigned)(head >> 32) & 0xffffu;
	uint32_t length = (uint32_t)head;
	size_t size = item_size(kind, 0, length);
	if (length > ITEM_BODY_MAX || size > left || type > ITEM_TYPES ||
	    get64(at + size - 8) >> (8 * (length & 7u)) != 0)
		return 0;
	*ret = (struct item_plain){
		.head = head, .kind = kind, .type = type, .length = length, .body = at + ITEM_HEAD
	};
	if (kind != ITEM_MESSAGE) {
		ret->correlation = get64(at + ITEM_HEAD);
		ret->deadline = get64(at + ITEM_HEAD + 8);
		ret->body += ITEM_CALL;
	}
	return size;
}

/*
 * 1 if the item at `at` is again a plain message with this head, and this size, as item_plain() said: most come in rows of
 * one type and length. Where the next one begins is then known before this one was read, so the processor need not wait.
 */
static inline int item_is_again(const uint8_t *at, size_t left, uint64_t head, size_t size)
{
	return left >= size && get64(at) == head && get64(at + size - 8) >> (8 * (head & 7u)) == 0;
}

/*
 * Decode what stands before the body of an item of `size` bytes in all, of which the first n are there. 1: *ret is filled,
 * though its body may not be there yet, and nobody has looked behind it. 0: that is not all there, or not well-formed.
 */
int item_begin(const uint8_t *from, size_t n, size_t size, struct item *ret);

/* Decode the item at *at, before end; *at moves behind it. 1: *ret is filled. 0: none left. -EPROTO: malformed, and
 * ret->wrong says how. */
int item_next(const uint8_t **at, const uint8_t *end, struct item *ret);

#endif
