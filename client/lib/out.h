/*
 * out: a program's struct brood_out, checked and taken apart.
 */
#ifndef BROOD_OUT_H
#define BROOD_OUT_H

#include "remote.h"
#include <string.h>

/* Fill body and the item's trace; flags may be NULL. 0, -EINVAL, -EMSGSIZE. */
int out_read(const struct brood_out *, struct body *, struct item *, unsigned *flags);

#define OUT_SHORT (16u * 1024u) /* bodies that share blocks */

/*
 * The short way of out_read() and remote_put() for most of what is sent: a short body, typed as the one before, that
 * joins the open frame. `it` has kind, correlation, deadline. 1 if that was it; 0 if not, and nothing has happened. It and
 * what it calls are always inlined: optimising at link time does not do it by itself, and 64 bytes cost a fifth more then.
 */
static inline __attribute__((always_inline)) int out_join(const struct brood_out *out, struct remote *r, struct item it)
{
	if (out->size != sizeof(*out) || out->length > OUT_SHORT || out->trace || out->n_fds || out->confirm ||
	    out->flags & ~(BROOD_MORE | BROOD_BLOCK) || (!out->body && out->length))
		return 0;
	int type = outflow_same_type(&r->out, out->type);
	if (type < 0)
		return 0;
	it.type = (uint16_t)type;
	it.length = (uint32_t)out->length;
	uint8_t *to = outflow_join(&r->out, &it);
	if (!to)
		return 0;
	if (out->fill)
		out->fill(to, out->length, out->body);
	else if (out->length)
		memcpy(to, out->body, out->length);
	if (!r->dirty)
		remote_touch(r);
	return 1;
}

#endif
