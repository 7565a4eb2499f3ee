/*
 * note: packs control bodies into frames, on the stack: what the broker says is short, because titles and names are cut
 * or refused when they come in. A sink copies a note, so nothing outlives the call.
 */
#include "note.h"
#include <assert.h>
#include <string.h>

void note_put(struct sink *sink, enum frame_kind kind, const ProtobufCMessage *body)
{
	size_t length = protobuf_c_message_get_packed_size(body), size = frame_size(length);
	struct frame head = { .kind = (uint8_t)kind, .length = (uint32_t)length };
	_Alignas(8) uint8_t bytes[NOTE_MOST];

	if (!sink)
		return;
	assert(size <= sizeof(bytes));
	memset(bytes + size - 8, 0, 8); /* the padding is in there */
	frame_write_head(bytes, &head);
	protobuf_c_message_pack(body, bytes + FRAME_HEAD);
	sink->put(sink, NULL, bytes, size);
}

void note_about(struct sink *sink, enum frame_kind kind, unsigned flags, uint64_t about)
{
	struct frame head = { .kind = (uint8_t)kind, .flags = (uint8_t)flags, .source = about };
	uint8_t bytes[FRAME_HEAD];

	if (!sink)
		return;
	frame_write_head(bytes, &head);
	sink->put(sink, NULL, bytes, sizeof(bytes));
}
