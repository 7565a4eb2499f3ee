/*
 * utf8: checks text that a stranger sent, one character at a time: a first byte tells how many follow, and with the
 * second the range is known. What has a shorter form, is a surrogate, or lies above U+10FFFF is not text.
 */
#include "utf8.h"

/* Length of the character that begins here with n bytes left, or 0. */
static size_t character(const uint8_t *s, size_t n)
{
	uint32_t value = s[0];
	size_t i, length;

	if (value < 0x80)
		return value != 0;
	if (value < 0xc2 || value > 0xf4)
		return 0;
	length = value < 0xe0 ? 2 : value < 0xf0 ? 3 : 4;
	if (n < length)
		return 0;
	value &= 0x7fu >> length;
	for (i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (s[i] & 0x3fu);
	}
	if (length == 3 && (value < 0x800 || (value >= 0xd800 && value <= 0xdfff)))
		return 0;
	return length == 4 && (value < 0x10000 || value > 0x10ffff) ? 0 : length;
}

int utf8_is_text(const uint8_t *s, size_t n)
{
	while (n > 0) {
		size_t length = character(s, n);

		if (length == 0)
			return 0;
		s += length;
		n -= length;
	}
	return 1;
}
