/*
 * numbered: messages that tell whether one was lost, doubled or overtaken. The body begins with a number; every byte
 * behind it follows from the number.
 */
#ifndef NUMBERED_H
#define NUMBERED_H

#include <brood.h>
#include <stdint.h>
#include <string.h>

#define NUMBERED_MIN sizeof(uint64_t)

static inline void numbered_fill(void *to, size_t length, const void *number)
{
	uint64_t n;
	memcpy(&n, number, sizeof(n));
	memcpy(to, number, sizeof(n));
	memset((uint8_t *)to + sizeof(n), (int)(n * 37 & 0xff), length - sizeof(n));
}

/* length: at least NUMBERED_MIN. Result of brood_send(). */
static inline int numbered_send(brood_peer *to, uint64_t number, size_t length, unsigned flags)
{
	return brood_send(to, BROOD_MSG("numbered", &number, length, .fill = numbered_fill, .flags = flags));
}

/* The message's number, or UINT64_MAX if it is not as it was sent. */
static inline uint64_t numbered_read(const brood_msg *m)
{
	const uint8_t *rest = (const uint8_t *)m->body + NUMBERED_MIN;
	uint64_t n;
	if (m->length < NUMBERED_MIN)
		return UINT64_MAX;
	memcpy(&n, m->body, sizeof(n));
	size_t length = m->length - NUMBERED_MIN;
	if (length == 0)
		return n;
	return *rest == (uint8_t)(n * 37) && memcmp(rest, rest + 1, length - 1) == 0 ? n : UINT64_MAX;
}

#endif
