/*
 * tally: one pass over the bytes with one bit of memory, "are we in a word?". A word is counted when it opens, that is
 * at its first printable byte, so nothing is left to be done at the end.
 */
#include "tally.h"

enum kind { OTHER, PRINTABLE, SPACE };

static enum kind kind_of(unsigned char c)
{
	if (c == ' ' || (c >= '\t' && c <= '\r'))
		return SPACE;
	return c > ' ' && c < 0x7f ? PRINTABLE : OTHER;
}

void tally_init(struct tally *t)
{
	*t = (struct tally){ .unbroken = 1 };
}

void tally_add(struct tally *t, const unsigned char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		enum kind kind = kind_of(bytes[i]);
		t->lines += bytes[i] == '\n';
		if (kind == SPACE) {
			t->closes = t->unbroken = 0;
		} else if (kind == PRINTABLE && !t->closes) {
			t->words++;
			t->closes = 1;
			t->opens |= t->unbroken;
		}
	}
	t->bytes += n;
}

void tally_join(struct tally *t, const struct tally *next)
{
	t->lines += next->lines;
	t->words += next->words - (uint64_t)(t->closes && next->opens);
	t->bytes += next->bytes;
	t->opens |= t->unbroken && next->opens;
	t->closes = next->closes || (next->unbroken && t->closes);
	t->unbroken = t->unbroken && next->unbroken;
}
