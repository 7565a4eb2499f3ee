/*
 * message: reads and writes the items in the body of a DATA frame.
 *
 * An item is a small head, for calls 16 bytes more, an optional extension, the body, and 1 to 8 zero bytes. Reading
 * is one pass over bytes that a stranger wrote: every length is compared with what is left before it is used, and what
 * an item says twice or contradicts itself in is malformed, never repaired. The surprising rule: the padding is
 * checked too, because readers rely on a NUL behind every body.
 */
#include "message.h"
#include "little.h"
#include <errno.h>
#include <string.h>

/* Only the first of several fragments tells the length of the whole. */
static int tells_total(const struct item *it)
{
	return it->more && !it->continued;
}

size_t item_extension_size(const struct item *it)
{
	size_t n = 0;

	if (it->name)
		n += 2u + it->name_length;
	if (it->trace)
		n += 2u + it->trace_length;
	if (tells_total(it))
		n += 2u + sizeof(uint64_t);
	if (it->fds)
		n += 2u + sizeof(uint8_t);
	return (n + 7u) & ~(size_t)7u;
}

static uint8_t *put_entry(uint8_t *to, uint8_t tag, const void *bytes, uint8_t length)
{
	to[0] = tag;
	to[1] = length;
	memcpy(to + 2, bytes, length);
	return to + 2 + length;
}

static void write_extension(uint8_t *to, const struct item *it, size_t size)
{
	const uint8_t *end = to + size;

	if (it->name)
		to = put_entry(to, ITEM_TYPE, it->name, it->name_length);
	if (it->trace)
		to = put_entry(to, ITEM_TRACE, it->trace, it->trace_length);
	if (tells_total(it)) {
		uint8_t total[8];

		put64(total, it->total);
		to = put_entry(to, ITEM_TOTAL, total, sizeof(total));
	}
	if (it->fds)
		to = put_entry(to, ITEM_FDS, &it->fds, sizeof(it->fds));
	memset(to, 0, (size_t)(end - to));
}

uint8_t *item_write(uint8_t *to, const struct item *it)
{
	size_t extension = item_extension_size(it);
	uint8_t *last = to + item_size(it->kind, extension, it->length) - 8;
	uint64_t head = it->length | (uint64_t)it->type << 32;
	unsigned bits = it->kind | (it->more ? ITEM_MORE : 0) | (it->continued ? ITEM_CONTINUED : 0);

	put64(to, head | (uint64_t)bits << 48 | (uint64_t)(extension / 8) << 56);
	to += ITEM_HEAD;
	if (item_is_call(it->kind)) {
		put64(to, it->correlation);
		put64(to + 8, it->deadline);
		to += ITEM_CALL;
	}
	if (extension > 0)
		write_extension(to, it, extension);
	/* The body's last bytes will overwrite the first of these eight. */
	memset(last, 0, 8);
	return to + extension;
}

static int malformed(struct item *it, const char *wrong)
{
	it->wrong = wrong;
	return -EPROTO;
}

/* Text that lies in the extension: not empty, without NUL, and said once. */
static int take_text(struct item *it, const char **text, uint8_t *length, const uint8_t *bytes, uint8_t n)
{
	if (*text || n == 0 || memchr(bytes, 0, n))
		return malformed(it, "a tag with a text that is empty, has a NUL, or is there twice");
	*text = (const char *)bytes;
	*length = n;
	return 0;
}

static int take_total(struct item *it, const uint8_t *bytes, uint8_t n)
{
	if (n == sizeof(uint64_t) && it->total == 0)
		it->total = get64(bytes);
	else
		return malformed(it, "a tag 3 (total) that has not 8 bytes, or is there twice");
	if (it->total == 0 || it->total > MESSAGE_MAX)
		return malformed(it, "a total that is 0, or more than a message may have");
	return 0;
}

static int take_fds(struct item *it, const uint8_t *bytes, uint8_t n)
{
	if (n != sizeof(it->fds) || it->fds != 0 || bytes[0] == 0 || bytes[0] > ITEM_FDS_MAX)
		return malformed(it, "a tag 4 (fds) that is not one byte of 1 to 16, or is there twice");
	it->fds = bytes[0];
	return 0;
}

static int take_entry(struct item *it, uint8_t tag, const uint8_t *bytes, uint8_t n)
{
	switch (tag) {
	case ITEM_TYPE:
		return take_text(it, &it->name, &it->name_length, bytes, n);
	case ITEM_TRACE:
		return take_text(it, &it->trace, &it->trace_length, bytes, n);
	case ITEM_TOTAL:
		return take_total(it, bytes, n);
	case ITEM_FDS:
		return take_fds(it, bytes, n);
	default:
		return 0; /* a later version's */
	}
}

static int read_extension(struct item *it, const uint8_t *at, const uint8_t *end)
{
	int r;

	while (at < end && at[0] != 0) {
		if (end - at < 2 || end - at - 2 < at[1])
			return malformed(it, "a tag that ends behind its extension");
		r = take_entry(it, at[0], at + 2, at[1]);
		if (r < 0)
			return r;
		at += 2 + at[1];
	}
	return 0;
}

/* A number that needs a name has one, a number that cannot have one has none. */
static int check_type(struct item *it)
{
	if (it->type == 0 && it->name)
		return malformed(it, "type 0 with a name");
	if (it->type == ITEM_UNNUMBERED && !it->name)
		return malformed(it, "type 65535 without a name");
	if (it->type > ITEM_TYPES && it->type != ITEM_UNNUMBERED)
		return malformed(it, "a type number that is neither 0 to 64 nor 65535");
	return 0;
}

static int check_kind(struct item *it)
{
	int fragment = it->more || it->continued;

	switch (it->kind) {
	case ITEM_MESSAGE:
	case ITEM_REQUEST:
	case ITEM_REPLY:
	case ITEM_FAILURE:
		break;
	case ITEM_REFUSED:
		if (fragment)
			return malformed(it, "a fragment of kind REFUSED");
		break;
	case ITEM_CANCEL:
	case ITEM_READY:
	case ITEM_FIN:
		if (fragment || it->length > 0)
			return malformed(it, "a body, or fragments, of a kind that has none");
		break;
	default:
		return malformed(it, "a kind that is not 1 to 8");
	}
	return it->length <= ITEM_BODY_MAX
		       ? 0
		       : malformed(it, "a body of more than 131008 bytes; longer ones need fragments");
}

/* Whole messages and first fragments are named and sized by themselves; later fragments say nothing but their bytes. */
static int check_extension(struct item *it, size_t extension)
{
	if (it->continued)
		return extension == 0 ? 0 : malformed(it, "an extension of a fragment that is not the first");
	if (it->fds && it->kind > ITEM_REPLY)
		return malformed(it,
				 "descriptors with a kind that has none"); /* only what a program gets brings some */
	if (tells_total(it) && it->total <= it->length)
		return malformed(it,
				 "a first fragment whose total (tag 3) is missing, or not more than its own length");
	if (it->total == 0)
		it->total = it->length;
	if (!tells_total(it) && it->total != it->length)
		return malformed(it, "a total that is not its length, and no MORE");
	return check_type(it);
}

static void decode_head(const uint8_t *from, struct item *ret)
{
	unsigned bits = from[6];

	ret->length = get32(from);
	ret->type = get16(from + 4);
	ret->kind = bits & ITEM_KIND;
	ret->more = (bits & ITEM_MORE) != 0;
	ret->continued = (bits & ITEM_CONTINUED) != 0;
	ret->correlation = ret->deadline = ret->total = 0;
	ret->name = ret->trace = NULL;
	ret->name_length = ret->trace_length = ret->fds = 0;
	ret->wrong = NULL;
}

/* Most items are of this kind. */
static int next_plain(const uint8_t **at, size_t left, struct item *ret)
{
	struct item_plain plain;
	size_t size = item_plain(*at, left, &plain);

	if (!size)
		return 0;
	*ret = (struct item){ .kind = plain.kind,
			      .type = (uint16_t)plain.type,
			      .length = plain.length,
			      .correlation = plain.correlation,
			      .deadline = plain.deadline,
			      .total = plain.length,
			      .body = plain.body };
	*at += size;
	return 1;
}

/* What is between the head and the body. */
static int decode_rest(const uint8_t *from, size_t extension, struct item *ret)
{
	if (item_is_call(ret->kind)) {
		ret->correlation = get64(from);
		ret->deadline = get64(from + 8);
		from += ITEM_CALL;
	}
	ret->body = from + extension;
	if (extension > 0 && read_extension(ret, from, ret->body) < 0)
		return -EPROTO;
	return check_extension(ret, extension) < 0 ? -EPROTO : 1;
}

int item_begin(const uint8_t *from, size_t n, size_t size, struct item *ret)
{
	size_t extension;

	if (n < ITEM_HEAD)
		return 0;
	decode_head(from, ret);
	extension = from[7] * (size_t)8;
	if (check_kind(ret) < 0 || item_size(ret->kind, extension, ret->length) != size)
		return 0;
	if (n < ITEM_HEAD + (item_is_call(ret->kind) ? ITEM_CALL : 0) + extension)
		return 0;
	return decode_rest(from + ITEM_HEAD, extension, ret) == 1;
}

int item_next(const uint8_t **at, const uint8_t *end, struct item *ret)
{
	const uint8_t *from = *at;
	size_t left = (size_t)(end - from), extension, size;

	if (left == 0)
		return 0;
	if (left < ITEM_HEAD + 8)
		return malformed(ret, "less than 16 bytes");
	if (next_plain(at, left, ret))
		return 1;
	decode_head(from, ret);
	if (check_kind(ret) < 0)
		return -EPROTO;
	extension = from[7] * (size_t)8;
	size = item_size(ret->kind, extension, ret->length);
	if (size > left)
		return malformed(ret, "a length that goes beyond its frame's body");
	/* The last eight bytes end in the padding, which begins at the body's length modulo 8. */
	if (get64(from + size - 8) >> (8 * (ret->length & 7u)) != 0)
		return malformed(ret, "not 1 to 8 zeros behind its body");
	*at = from + size;
	return decode_rest(from + ITEM_HEAD, extension, ret);
}
