/*
 * out: a program's struct brood_out, checked and taken apart.
 */
#ifndef BROOD_OUT_H
#define BROOD_OUT_H

#include "remote.h"

/* Fill body and the item's trace; flags may be NULL. 0, -EINVAL, -EMSGSIZE. */
int out_read(const struct brood_out *, struct body *, struct item *, unsigned *flags);

#endif
