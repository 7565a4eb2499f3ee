/*
 * no_memory: see no_memory.h.
 */
#include "no_memory.h"
#include <stddef.h>

int calloc_fails;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
	if (calloc_fails > 0 && --calloc_fails == 0)
		return NULL;
	return __real_calloc(n, size);
}
