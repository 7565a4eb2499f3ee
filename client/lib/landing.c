/*
 * landing: see landing.h. What may land is the next item of the stream that is read, alone in its frame: as long messages
 * travel. All else, and whatever is unusual about it, comes the usual way.
 *
 * Nothing is promised here about the frame: only when it is whole is it looked at for good, like any other. If what it
 * landed in is gone by then, it was not taken, and its sender sends it again.
 */
#include "landing.h"
#include "remote.h"
#include <string.h>

static struct remote *reader_of(struct brood *h, const struct frame *f)
{
	struct remote *r = f->kind == FRAME_DATA && !(f->stream & STREAM_CHANNEL) ? remote_find(h, f->source) : NULL;
	return r && !r->ended && !r->forgotten && r->its_known && stream_mine(f->stream) == r->its ? r : NULL;
}

uint8_t *landing_place(void *handle, const struct frame *f, size_t have, int again, size_t *n)
{
	struct item it;
	struct remote *r = have > FRAME_HEAD ? reader_of(handle, f) : NULL;
	if (!r || !item_begin(f->body, have - FRAME_HEAD, f->length, &it))
		return NULL;
	size_t here = have - (size_t)(it.body - f->bytes);
	if (here >= it.length || (!again && it.length - here < SLAB_LEAST))
		return NULL;
	uint8_t *body = inflow_land(&r->in, &it, f->sequence, again);
	if (!body)
		return NULL;
	if (!again)
		memcpy(body, it.body, here);
	*n = it.length - here;
	return body + here;
}
