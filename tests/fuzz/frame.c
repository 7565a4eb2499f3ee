/*
 * The head of a frame and the items in its body. Whatever is accepted lies within the bytes, and says the same when it
 * is written and read again.
 */
#include "frame.h"
#include "message.h"
#include "target.h"
#include <string.h>

static _Alignas(8) uint8_t bytes[FRAME_MAX], again[FRAME_BODY_MAX + 1024];

static int same_text(const char *a, uint8_t a_length, const char *b, uint8_t b_length)
{
	return !a == !b && a_length == b_length && (!a || memcmp(a, b, a_length) == 0);
}

static void write_and_read_again(const struct item *it)
{
	size_t size = item_size(it->kind, item_extension_size(it), it->length);
	const uint8_t *at = again;
	struct item back;

	must(size <= sizeof(again));
	memcpy(item_write(again, it), it->body, it->length);
	must(item_next(&at, again + size, &back) == 1);
	must(at == again + size);
	must(back.kind == it->kind && back.more == it->more && back.continued == it->continued);
	must(back.type == it->type && back.length == it->length && back.total == it->total);
	must(back.correlation == it->correlation && back.deadline == it->deadline && back.fds == it->fds);
	must(same_text(back.name, back.name_length, it->name, it->name_length));
	must(same_text(back.trace, back.trace_length, it->trace, it->trace_length));
	must(memcmp(back.body, it->body, it->length + 1) == 0);
}

static void read_items(const uint8_t *at, const uint8_t *end)
{
	struct item it;

	while (item_next(&at, end, &it) == 1) {
		must(it.body + it.length < at && at <= end);
		must(it.body[it.length] == 0);
		must((uintptr_t)it.body % 8 == 0);
		write_and_read_again(&it);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t head[FRAME_HEAD];
	struct frame f;

	if (n > sizeof(bytes))
		return 0;
	memcpy(bytes, data, n);
	/* As items alone, so that the fuzzer need not guess a head first; then as a frame. */
	read_items(bytes, bytes + n);
	if (frame_parse(bytes, n, FRAME_MAX, &f) != 1)
		return 0;
	must(f.size <= n && f.body + f.length <= bytes + n);
	frame_write_head(head, &f);
	must(memcmp(head, bytes, FRAME_HEAD) == 0);
	if (f.kind == FRAME_DATA)
		read_items(f.body, f.body + f.length);
	return 0;
}
