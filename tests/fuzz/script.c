/* script: see script.h. */
#include "script.h"
#include "message.h"
#include <string.h>

uint8_t script_byte(struct script *s)
{
	return s->at < s->end ? *s->at++ : 0;
}

size_t script_bytes(struct script *s, const uint8_t **ret)
{
	size_t n = script_byte(s), left = (size_t)(s->end - s->at);

	n = n < left ? n : left;
	*ret = s->at;
	s->at += n;
	return n;
}

uint64_t script_number(struct script *s)
{
	static const uint64_t edges[] = {
		/* the library's first requests */
		((uint64_t)1 << 32) + 1,
		((uint64_t)1 << 32) + 2,
		((uint64_t)2 << 32) + 1,
		/* limits */
		255,
		256,
		4095,
		4096,
		65535,
		65536,
		UINT32_MAX - 1,
		UINT32_MAX,
		(uint64_t)UINT32_MAX + 1,
		UINT64_MAX,
	};
	uint8_t byte = script_byte(s);
	const size_t n = sizeof(edges) / sizeof(*edges);

	return byte < 256 - n ? byte : edges[byte - (256 - n)];
}

const char *script_name(struct script *s)
{
	static const char *const names[] = { "a", "b", "c", "honest", "", "-a", "65f2a1b0.3", "Ä" };

	return names[script_byte(s) % (sizeof(names) / sizeof(*names))];
}

/* The body is there. */
static size_t finish(uint8_t *to, struct frame *head, size_t length)
{
	head->length = (uint32_t)length;
	frame_write_head(to, head);
	memset(to + FRAME_HEAD + length, 0, frame_size(length) - FRAME_HEAD - length);
	return frame_size(length);
}

size_t script_control(uint8_t *to, unsigned kind, const ProtobufCMessage *m)
{
	struct frame head = { .kind = (uint8_t)kind };

	return finish(to, &head, protobuf_c_message_pack(m, to + FRAME_HEAD));
}

size_t script_bare(uint8_t *to, const struct frame *head)
{
	struct frame copy = *head;

	return finish(to, &copy, 0);
}

static void name_type(struct script *s, struct item *it)
{
	static const char *const names[] = {
		"brood.control.List", "brood.control.GetStatus", "brood.control.Line", "shop.Order", "a",
		"brood.control.Why",
	};

	it->name = names[script_byte(s) % (sizeof(names) / sizeof(*names))];
	it->name_length = (uint8_t)strlen(it->name);
}

/* Long ones repeat the script's bytes; for the rules it does not matter what they say. */
static void fill(struct script *s, uint8_t *to, size_t length)
{
	const uint8_t *some;
	size_t n = length ? script_bytes(s, &some) : 0;

	memset(to, 'x', length);
	if (n > 0)
		memcpy(to, some, n < length ? n : length);
}

static uint32_t item_length(struct script *s)
{
	static const uint32_t lengths[] = { 4000, 20000, 60000, ITEM_BODY_MAX };
	uint8_t byte = script_byte(s);

	return byte < 252 ? byte / 4 : lengths[byte - 252];
}

/* Behind *used bytes of items; 0: there is no room. */
static int put_item(struct script *s, uint8_t *body, size_t *used, unsigned fds)
{
	uint8_t kind = script_byte(s), more = script_byte(s), type = script_byte(s);
	struct item it = { .kind = kind % 9, .more = more & 1, .continued = more >> 1 & 1, .type = type % 66 };
	size_t size;

	if (more & 4)
		name_type(s, &it);
	it.type = type % 66 == 65 ? ITEM_UNNUMBERED : it.type;
	it.length = item_length(s);
	it.fds = (uint8_t)fds;
	it.total = more & 8 ? script_number(s) * 64 : it.length;
	it.correlation = item_is_call(it.kind) ? script_number(s) : 0;
	if (more & 16) {
		it.trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
		it.trace_length = (uint8_t)strlen(it.trace);
	}
	size = item_size(it.kind, item_extension_size(&it), it.length);
	if (size > FRAME_BODY_MAX - *used)
		return 0;
	fill(s, item_write(body + *used, &it), it.length);
	*used += size;
	return 1;
}

size_t script_data(struct script *s, uint8_t *to, struct frame *head, uint64_t *next, unsigned *n_fds)
{
	uint8_t how = script_byte(s);
	unsigned items = 1 + (how & 3u), fds = how & 4 ? 1 + (how >> 3 & 1u) * 2 : 0;
	size_t used = 0;

	head->kind = FRAME_DATA;
	head->flags = (uint8_t)((how & 16 ? FRAME_ACK_NOW : 0) | (fds ? FRAME_FDS : 0));
	/* Mostly the right one; what is old or has a gap before it is rare. */
	head->sequence = how & 32 ? script_number(s) : *next;
	items = fds ? 1 : items;
	while (items-- > 0 && put_item(s, to + FRAME_HEAD, &used, how & 64 ? fds + 1 : fds))
		*next += head->sequence == *next || !(how & 32);
	*n_fds = fds;
	return finish(to, head, used);
}
