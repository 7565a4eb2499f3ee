/*
 * world: see world.h. The trace is hashed line by line, so that two runs can be compared without keeping either.
 */
#include "world.h"
#include "process.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct world world;

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

void world_begin(uint64_t seed, int tracing)
{
	memset(&world, 0, sizeof(world));
	world.seed = seed;
	world.chance = mix(seed + 0x9e3779b97f4a7c15u);
	world.tracing = tracing;
}

uint64_t chance_below(uint64_t *state, uint64_t n)
{
	*state += 0x9e3779b97f4a7c15u;
	return mix(*state) % n;
}

int chance_one_in(uint64_t *state, unsigned n)
{
	return n && chance_below(state, n) == 0;
}

uint64_t world_below(uint64_t n)
{
	return chance_below(&world.chance, n);
}

int world_one_in(unsigned n)
{
	return chance_one_in(&world.chance, n);
}

static void hash_bytes(const void *bytes, size_t n)
{
	const uint8_t *at = bytes;
	while (n--)
		world.hash = (world.hash ^ *at++) * 0x100000001b3u;
}

static void hash_numbers(uint64_t a, uint64_t b, uint64_t c)
{
	world.hash = mix(world.hash ^ a) + mix(world.now ^ b << 1) + mix(c + (uint64_t)process_number());
}

void trace(const char *what, uint64_t a, uint64_t b, uint64_t c)
{
	hash_bytes(what, strlen(what));
	hash_numbers(a, b, c);
	if (world.tracing)
		printf("%12.6f %-10s %-14s %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", (double)world.now / 1e6,
		       process_name(), what, a, b, c);
}

void trace_text(const char *what, const char *text)
{
	hash_bytes(what, strlen(what));
	hash_bytes(text, strlen(text));
	hash_numbers(0, 0, 0);
	if (world.tracing)
		printf("%12.6f %-10s %-14s %s\n", (double)world.now / 1e6, process_name(), what, text);
}

void broken(const char *format, ...)
{
	char text[sizeof(world.broken)];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	trace_text("BROKEN", text);
	if (!world.broken[0])
		strcpy(world.broken, text);
}
