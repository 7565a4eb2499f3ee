/*
 * virtual: time that passes as the target says, the same in each run.
 */
#ifndef BROOD_FUZZ_VIRTUAL_H
#define BROOD_FUZZ_VIRTUAL_H

#include <stdint.h>

/* A new run. */
void virtual_begin(void);
void virtual_pass(uint64_t ms);
/* From now on so much passes by itself whenever somebody asks for the time; for calls that wait. */
void virtual_flow(uint64_t ms);

#endif
