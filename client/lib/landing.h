/*
 * landing: where the body of a long message's fragment goes when its frame was cut: at once to its place in the message,
 * so that what is long is copied once less.
 */
#ifndef BROOD_LANDING_H
#define BROOD_LANDING_H

#include "handle.h"

uint8_t *landing_place(void *handle, const struct frame *head, size_t have, int again,
		       size_t *n); /* channel_place_fn */

#endif
