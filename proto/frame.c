/*
 * frame: reads and writes the 48-byte head that begins every frame.
 *
 * A frame is never copied to be understood: frame_parse() decodes the head into a struct and points at the bytes. What
 * it must decide is only whether the bytes are a frame at all and how long it is; the kind decides how long a body may
 * be, from a table. The surprising rule: a wrong first byte is told as soon as that one byte is there, so that a peer
 * which speaks another protocol is refused before it has sent a whole head.
 */
#include "frame.h"
#include "little.h"
#include <errno.h>
#include <string.h>

static const struct kind {
	const char *name;
	uint32_t most; /* longest body */
} kinds[] = {
	[FRAME_DATA] = { "DATA", FRAME_BODY_MAX },
	[FRAME_ACK] = { "ACK", 0 },
	[FRAME_RESET] = { "RESET", 0 },
	[FRAME_PROBE] = { "PROBE", 0 },
	[FRAME_HELLO] = { "HELLO", FRAME_CONTROL_MAX },
	[FRAME_ADOPT] = { "ADOPT", FRAME_CONTROL_MAX },
	[FRAME_REGISTER] = { "REGISTER", FRAME_CONTROL_MAX },
	[FRAME_UNREGISTER] = { "UNREGISTER", FRAME_CONTROL_MAX },
	[FRAME_WATCH] = { "WATCH", FRAME_CONTROL_MAX },
	[FRAME_DIED] = { "DIED", FRAME_CONTROL_MAX },
	[FRAME_GOODBYE] = { "GOODBYE", FRAME_CONTROL_MAX },
	[FRAME_HELLO_OK] = { "HELLO_OK", FRAME_CONTROL_MAX },
	[FRAME_HOLD] = { "HOLD", 0 },
	[FRAME_GO] = { "GO", 0 },
	[FRAME_GONE] = { "GONE", FRAME_CONTROL_MAX },
	[FRAME_END] = { "END", FRAME_CONTROL_MAX },
	[FRAME_NAME] = { "NAME", FRAME_CONTROL_MAX },
	[FRAME_REGISTERED] = { "REGISTERED", FRAME_CONTROL_MAX },
	[FRAME_JOINED] = { "JOINED", FRAME_CONTROL_MAX },
	[FRAME_BIRTH] = { "BIRTH", FRAME_CONTROL_MAX },
	[FRAME_LINK] = { "LINK", FRAME_CONTROL_MAX },
	[FRAME_ABOUT] = { "ABOUT", FRAME_CONTROL_MAX },
	[FRAME_ASK] = { "ASK", 0 },
	[FRAME_BEAT] = { "BEAT", 0 },
};

static const struct kind *kind_of(unsigned kind)
{
	if (kind >= sizeof(kinds) / sizeof(*kinds) || !kinds[kind].name)
		return NULL;
	return &kinds[kind];
}

static void decode_head(uint8_t *bytes, struct frame *ret)
{
	ret->kind = bytes[1];
	ret->flags = bytes[2];
	ret->length = get32(bytes + 4);
	ret->source = get64(bytes + 8);
	ret->destination = get64(bytes + 16);
	ret->stream = get32(bytes + 24);
	ret->source_node = get16(bytes + 28);
	ret->destination_node = get16(bytes + 30);
	ret->sequence = get64(bytes + 32);
	ret->acknowledge = get64(bytes + 40);
	ret->bytes = bytes;
	ret->body = bytes + FRAME_HEAD;
	ret->size = frame_size(ret->length);
	ret->elsewhere = 0;
}

int frame_parse(uint8_t *bytes, size_t n, size_t most, struct frame *ret)
{
	const struct kind *kind;

	ret->size = 0;
	if (n > 0 && bytes[0] != FRAME_MAGIC)
		return -EPROTO;
	if (n < FRAME_HEAD)
		return 0;
	kind = kind_of(bytes[1]);
	if (!kind || bytes[3] != 0)
		return -EPROTO;
	decode_head(bytes, ret);
	if (ret->length > kind->most || ret->size > most)
		return -EMSGSIZE;
	return n >= ret->size;
}

void frame_write_head(uint8_t *bytes, const struct frame *f)
{
	bytes[0] = FRAME_MAGIC;
	bytes[1] = f->kind;
	bytes[2] = f->flags;
	bytes[3] = 0;
	put32(bytes + 4, f->length);
	put64(bytes + 8, f->source);
	put64(bytes + 16, f->destination);
	put32(bytes + 24, f->stream);
	put16(bytes + 28, f->source_node);
	put16(bytes + 30, f->destination_node);
	put64(bytes + 32, f->sequence);
	put64(bytes + 40, f->acknowledge);
}

void frame_set_source(uint8_t *bytes, uint64_t source)
{
	put64(bytes + 8, source);
}

void frame_set_destination(uint8_t *bytes, uint64_t destination)
{
	put64(bytes + 16, destination);
}

const char *frame_kind_name(unsigned kind)
{
	const struct kind *k = kind_of(kind);

	return k ? k->name : "?";
}
