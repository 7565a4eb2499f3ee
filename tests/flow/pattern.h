/*
 * pattern: bytes of which each follows from its place in the stream, and their checksum: lost, doubled and overtaken
 * bytes show.
 */
#ifndef PATTERN_H
#define PATTERN_H

#include <stddef.h>
#include <stdint.h>

static inline uint8_t pattern_at(uint64_t i)
{
	return (uint8_t)(i * 31 + i / 251);
}

static inline void pattern_fill(uint8_t *to, uint64_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = pattern_at(from + i);
}

/* As the diary and the program "sum" do it. */
static inline uint64_t pattern_add(uint64_t sum, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum = (sum ^ bytes[i]) * 1099511628211u;
	return sum;
}

static inline uint64_t pattern_sum(uint64_t n)
{
	uint64_t sum = 0;
	for (uint64_t i = 0; i < n; i++)
		sum = (sum ^ pattern_at(i)) * 1099511628211u;
	return sum;
}

#endif
