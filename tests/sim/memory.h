/*
 * memory: malloc() of the simulated processes. Each has an arena of its own at a fixed address, so that addresses are
 * the same in every run of a seed, that the memory of a process can vanish with it, and that what it forgot to free is
 * seen. The simulator itself uses host_alloc().
 */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include <stddef.h>

#define ARENAS 48

struct memory_use {
	size_t blocks, bytes, most; /* live now; most bytes at any time */
};

/* Zeroed, from the real malloc. */
void *host_alloc(size_t n);
void *host_grow(void *, size_t n);
void host_free(void *);

/* From now on malloc() takes from this arena; -1: the real one. */
void memory_enter(int arena);
/* All of it is gone. */
void memory_reset(int arena);
struct memory_use memory_use(int arena);
/* Print the sizes of what is live, for the trace. */
void memory_show(int arena);

#endif
