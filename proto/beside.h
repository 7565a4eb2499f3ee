/*
 * beside: files that were built or installed together with this code.
 */
#ifndef BROOD_BESIDE_H
#define BROOD_BESIDE_H

#include <stddef.h>

/*
 * `relative`, which begins with "/", as seen from the folder of the shared library or program that contains this code. 0
 * if it is there and `mode` (as of access(2)) is permitted. -EPERM: we run with more rights than whoever started us, who
 * may have chosen where we are. Else another negative errno.
 */
int beside_find(const char *relative, int mode, char *to, size_t n);

#endif
