/*
 * no_memory: for tests that refuse allocations of the code under test; they are linked with -Wl,--wrap=calloc.
 */
#ifndef BROOD_NO_MEMORY_H
#define BROOD_NO_MEMORY_H

extern int calloc_fails; /* so many from now; the last of them has no memory. 0: none */

#endif
