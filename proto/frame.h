/*
 * frame: the unit of routing. A fixed head of 48 bytes, little-endian, then a body that ends on a multiple of 8.
 *
 *   0 u8  magic and version 0xB1    8 u64 source         32 u64 sequence of the first item
 *   1 u8  kind                     16 u64 destination    40 u64 acknowledge
 *   2 u8  flags                    24 u32 stream
 *   3 u8  zero                     28 u16 source node, 30 u16 destination node (0: this one)
 *   4 u32 body length, without the 0 to 7 zero bytes that pad it
 *
 * A frame is parsed where it lies: `struct frame` holds the decoded head and points at the bytes. The whole wire is
 * specified in README.md.
 */
#ifndef BROOD_FRAME_H
#define BROOD_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_MAGIC 0xB1u
#define FRAME_HEAD 48u
#define FRAME_BODY_MAX (256u * 1024u)
#define FRAME_MAX (FRAME_HEAD + FRAME_BODY_MAX)
#define FRAME_CONTROL_MAX (64u * 1024u) /* longest control body */
#define FRAME_HELLO_MAX 4096u           /* longest frame before a HELLO was accepted */

enum frame_kind {
	/* routed from source to destination; bodies are never looked into */
	FRAME_DATA = 0x01,
	FRAME_ACK = 0x02,   /* no body: acknowledge is the news */
	FRAME_RESET = 0x03, /* no body: I do not read this stream on; sequence is what I would have taken next */
	FRAME_PROBE = 0x04, /* no body: acknowledge what you consumed, now */
	/* client to broker */
	FRAME_HELLO = 0x10,
	FRAME_ADOPT = 0x11,
	FRAME_REGISTER = 0x12,
	FRAME_UNREGISTER = 0x13,
	FRAME_WATCH = 0x14,
	FRAME_DIED = 0x15,
	FRAME_GOODBYE = 0x16, /* both ways */
	/* broker to client */
	FRAME_HELLO_OK = 0x20,
	FRAME_HOLD = 0x22, /* no body: source is whom to stop sending to */
	FRAME_GO = 0x23,   /* no body: source is whom to send to again, from the first unacknowledged item */
	FRAME_GONE = 0x24,
	FRAME_END = 0x25,
	FRAME_NAME = 0x26,
	FRAME_REGISTERED = 0x27,
	FRAME_JOINED = 0x28,
	/* parent to child, first in an inherited channel */
	FRAME_BIRTH = 0x30,
	/* broker to broker, over a link between two nodes */
	FRAME_LINK = 0x40,
	FRAME_ABOUT = 0x41,
	FRAME_ASK = 0x42, /* no body: is destination still there? */
	FRAME_BEAT = 0x43 /* no body: I live */
};

#define FRAME_ACK_NOW 0x01u /* DATA: acknowledge as soon as these items are consumed */
#define FRAME_FDS 0x04u     /* DATA: descriptors come with the first byte; its first item says how many */
#define FRAME_AWAY 0x02u    /* HOLD: unreachable for now; without it: busy */

#define FRAME_FLAGS_AT 2u /* offset of the flags */

/*
 * A head's `stream`: the channel (0: what programs send each other), and of both directions how often they began anew,
 * modulo 16: `mine` of what the frame brings, `yours` of what it acknowledges.
 */
#define STREAM_CHANNEL 0x00ffffffu

static inline uint32_t stream_make(unsigned mine, unsigned yours)
{
	return (uint32_t)mine << 28 | (uint32_t)yours << 24;
}

static inline unsigned stream_mine(uint32_t stream)
{
	return stream >> 28;
}

static inline unsigned stream_yours(uint32_t stream)
{
	return stream >> 24 & 15;
}

/* 1 if generation a came after b. */
static inline int stream_is_newer(unsigned a, unsigned b)
{
	return a != b && ((a - b) & 15) < 8;
}

#define FRAME_BROKER 0u /* destination: the broker itself. Source: myself, the broker fills it in */

struct frame {
	uint8_t kind, flags;
	uint16_t source_node, destination_node;
	uint32_t length; /* of the body, without padding */
	uint32_t stream;
	uint64_t source, destination;
	uint64_t sequence, acknowledge;
	uint8_t *bytes; /* the whole frame: head, body, padding */
	uint8_t *body;
	size_t size;   /* of all that */
	int elsewhere; /* channel_read_to() put bytes of its body where it was told, instead */
};

/* Size on the wire of a frame with a body of `length` bytes. */
static inline size_t frame_size(size_t length)
{
	return FRAME_HEAD + ((length + 7u) & ~(size_t)7u);
}

/* 1 if the kind travels from process to process. */
static inline int frame_is_routed(unsigned kind)
{
	return kind >= FRAME_DATA && kind <= FRAME_PROBE;
}

/*
 * Decode the frame that begins at `bytes` (8-aligned). 1: *ret is filled, ret->size bytes belong to it, all of them
 * present. 0: more bytes are needed; if the head is there, ret->size is how many in all, else 0.
 * -EPROTO: not a frame. -EMSGSIZE: body longer than this kind may have, or the frame longer than `most`.
 */
int frame_parse(uint8_t *bytes, size_t n, size_t most, struct frame *ret);

/* Write the head of `f` (kind, flags, length, addresses, stream, sequence, acknowledge) to `bytes`. */
void frame_write_head(uint8_t *bytes, const struct frame *f);

/* Overwrite single members of a head in place. */
void frame_set_source(uint8_t *bytes, uint64_t source);
void frame_set_destination(uint8_t *bytes, uint64_t destination);

/* Name of a kind for logs, "?" if unknown. */
const char *frame_kind_name(unsigned kind);

#endif
