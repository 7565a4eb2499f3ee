/*
 * inspect: whether what was ordered could be started, looked at without starting anything.
 */
#ifndef NURSERY_INSPECT_H
#define NURSERY_INSPECT_H

#include "policy.h"

/* Answers the request with Checked, or with an error without memory. */
void inspect_answer(brood_msg *, const struct order *);

#endif
