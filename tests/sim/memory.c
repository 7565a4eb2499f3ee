/*
 * memory: see memory.h. Blocks of a size class are reused last in, first out; what was freed is overwritten.
 */
#include "memory.h"
#include "world.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_SIZE ((uint64_t)1 << 30)
#define ARENAS_AT ((uint64_t)0x200000000000)
#define CLASSES 96
#define SMALL 1024u /* up to here a class for every 16 bytes, above one for every power of two */
#define LIVE 0x6c697665u
#define FREED 0x66726565u
#define RESET_ALL (1u << 20) /* above so much used the pages go back */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

struct block {
	size_t size;
	uint32_t class, state;
	/* the bytes; while it is free, the next free block of its class */
};

struct arena {
	uint8_t *base;
	size_t used;
	struct block *free[CLASSES];
	struct memory_use use;
};

static struct arena arenas[ARENAS];
static int entered = -1;

void *host_alloc(size_t n)
{
	void *p = __libc_calloc(1, n);
	if (!p)
		abort();
	return p;
}

void *host_grow(void *old, size_t n)
{
	void *p = __libc_realloc(old, n);
	if (!p)
		abort();
	return p;
}

void host_free(void *p)
{
	__libc_free(p);
}

static void give_up(const char *what)
{
	fprintf(stderr, "sim: seed %llu: %s\n", (unsigned long long)world.seed, what);
	abort();
}

void memory_enter(int arena)
{
	entered = arena;
	if (arena < 0 || arenas[arena].base)
		return;
	void *at = (void *)(uintptr_t)(ARENAS_AT + (uint64_t)arena * ARENA_SIZE);
	arenas[arena].base = mmap(at, ARENA_SIZE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (arenas[arena].base != at)
		give_up("no address space for an arena");
}

void memory_reset(int arena)
{
	struct arena *a = &arenas[arena];
	if (a->base && a->used > RESET_ALL)
		(void)madvise(a->base, a->used, MADV_DONTNEED);
	*a = (struct arena){ .base = a->base };
}

struct memory_use memory_use(int arena)
{
	return arenas[arena].use;
}

void memory_show(int arena)
{
	struct arena *a = &arenas[arena];
	for (size_t at = 0; at < a->used;) {
		struct block *b = (struct block *)(void *)(a->base + at);
		size_t whole = b->class <= SMALL / 16 ? b->class * 16u : (size_t)1 << (b->class - SMALL / 16 + 9);
		if (b->state == LIVE)
			trace("still.live", b->size, (uintptr_t)(b + 1), 0);
		at += sizeof(*b) + whole;
	}
}

/* Size class, and how many bytes its blocks have. */
static uint32_t class_of(size_t n, size_t *whole)
{
	if (n <= SMALL) {
		uint32_t class = (uint32_t)((n + 15) / 16);
		class += class == 0;
		*whole = class * 16u;
		return class;
	}
	uint32_t power = 64u - (uint32_t)__builtin_clzl(n - 1);
	*whole = (size_t)1 << power;
	return SMALL / 16 + power - 9; /* 2^11 is the first above */
}

static struct block *fresh(struct arena *a, size_t whole, uint32_t class)
{
	if (a->used + sizeof(struct block) + whole > ARENA_SIZE)
		return NULL;
	struct block *b = (struct block *)(void *)(a->base + a->used);
	a->used += sizeof(*b) + whole;
	b->class = class;
	return b;
}

static void *take(size_t n, int zero)
{
	struct arena *a = &arenas[entered];
	size_t whole;
	uint32_t class = class_of(n, &whole);
	struct block *b = a->free[class];
	if (b)
		memcpy(&a->free[class], b + 1, sizeof(void *));
	else if (!(b = fresh(a, whole, class)))
		give_up("an arena is full: a process took a gigabyte");
	b->size = n;
	b->state = LIVE;
	memset(b + 1, zero ? 0 : 0xa5, zero || n < 512 ? n : 512);
	a->use.blocks++;
	a->use.bytes += n;
	if (a->use.bytes > a->use.most)
		a->use.most = a->use.bytes;
	return b + 1;
}

static int is_simulated(const void *p)
{
	return (uintptr_t)p >= ARENAS_AT && (uintptr_t)p < ARENAS_AT + ARENAS * ARENA_SIZE;
}

static void give(void *p)
{
	struct block *b = (struct block *)p - 1;
	int arena = (int)(((uintptr_t)p - ARENAS_AT) / ARENA_SIZE);
	struct arena *a = &arenas[arena];
	if (arena != entered)
		give_up("a process frees another's memory");
	if (b->state != LIVE)
		give_up(b->state == FREED ? "memory is freed twice" : "something is freed that malloc() did not give");
	b->state = FREED;
	a->use.blocks--;
	a->use.bytes -= b->size;
	memset(p, 0xdd, b->size < 512 ? b->size : 512);
	memcpy(p, &a->free[b->class], sizeof(void *));
	a->free[b->class] = b;
}

/* ---- what everybody calls ---------------------------------------------------------------------------------------- */

void *malloc(size_t n)
{
	return entered < 0 ? __libc_malloc(n) : take(n, 0);
}

void *calloc(size_t n, size_t size)
{
	size_t all;
	if (entered < 0)
		return __libc_calloc(n, size);
	if (__builtin_mul_overflow(n, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return take(all, 1);
}

void free(void *p)
{
	if (!p)
		return;
	if (is_simulated(p))
		give(p);
	else
		__libc_free(p);
}

void *realloc(void *old, size_t n)
{
	if (entered < 0 || (old && !is_simulated(old)))
		return __libc_realloc(old, n);
	void *p = take(n, 0);
	if (!old)
		return p;
	size_t had = ((struct block *)old - 1)->size;
	memcpy(p, old, had < n ? had : n);
	give(old);
	return p;
}
