/*
 * text: strings of others, cut to size without cutting a UTF-8 character in two.
 */
#ifndef BROOD_TEXT_H
#define BROOD_TEXT_H

#include <stddef.h>
#include <string.h>

/* Copy at most n - 1 bytes of valid UTF-8 and a NUL. Returns to. */
static inline char *text_cut(char *to, size_t n, const char *from)
{
	size_t length = strnlen(from, n - 1);

	while (length > 0 && ((unsigned char)from[length] & 0xc0) == 0x80)
		length--;
	memcpy(to, from, length);
	to[length] = '\0';
	return to;
}

#endif
