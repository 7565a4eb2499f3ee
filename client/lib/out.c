/*
 * out: see out.h. The struct may be shorter (an older program) or longer (a newer one) than ours; what it lacks is 0.
 */
#include "out.h"
#include <errno.h>
#include <string.h>

static int set_trace(struct item *it, const char *trace)
{
	size_t n = trace ? strlen(trace) : 0;
	if (n > ITEM_TRACE_MAX)
		return -EINVAL;
	it->trace = n ? trace : NULL;
	it->trace_length = (uint8_t)n;
	return 0;
}

int out_read(const struct brood_out *from, struct body *body, struct item *it, unsigned *flags)
{
	struct brood_out copy = { 0 };
	const struct brood_out *o = from;
	if (!o || o->size < offsetof(struct brood_out, fill))
		return -EINVAL;
	if (o->size < sizeof(copy)) {
		memcpy(&copy, from, from->size);
		o = &copy;
	}
	if (o->length > MESSAGE_MAX)
		return -EMSGSIZE;
	if ((o->length && !o->body) || o->flags & ~(BROOD_MORE | BROOD_BLOCK))
		return -EINVAL;
	if (o->n_fds > ITEM_FDS_MAX || (o->n_fds && !o->fds))
		return -EINVAL;
	*body = (struct body){ o->type, o->body, o->length, o->fill, o->fds, o->n_fds, o->confirm, o->confirm_data };
	if (flags)
		*flags = o->flags;
	return o->trace ? set_trace(it, o->trace) : 0;
}
