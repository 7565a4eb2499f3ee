/*
 * request: see request.h. A request's id is its slot and a generation, so a late answer to an old question never meets
 * a new one, and finding one is an array index.
 */
#include "request.h"
#include "event.h"
#include "letter.h"
#include "link.h"
#include "peer.h"
#include "remote.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int64_t id_of(const struct request *q)
{
	return (int64_t)((uint64_t)q->generation << 32 | (q->slot + 1));
}

static struct request *find(struct brood *h, uint64_t id)
{
	uint32_t slot = (uint32_t)id - 1;
	struct request *q = slot < h->requests.n ? h->requests.slots[slot] : NULL;
	return q && q->remote && (uint64_t)id_of(q) == id ? q : NULL;
}

static int grow(struct requests *rs)
{
	uint32_t size = rs->size ? rs->size * 2 : 16;
	struct request **slots = realloc(rs->slots, size * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	rs->slots = slots;
	rs->size = size;
	return 0;
}

static void deadline_passed(struct timer *t);

static struct request *slot_take(struct brood *h)
{
	struct requests *rs = &h->requests;
	if (rs->free) {
		struct request *q = rs->slots[rs->free - 1];
		rs->free = q->next_free;
		return q;
	}
	if (rs->n == rs->size && grow(rs) < 0)
		return NULL;
	struct request *q = calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	q->h = h;
	q->deadline.fire = deadline_passed;
	q->slot = rs->n;
	rs->slots[rs->n++] = q;
	return q;
}

void requests_deinit(struct brood *h)
{
	for (uint32_t i = 0; i < h->requests.n; i++) {
		timer_cancel(&h->timers, &h->requests.slots[i]->deadline);
		free(h->requests.slots[i]);
	}
	free(h->requests.slots);
	memset(&h->requests, 0, sizeof(h->requests));
}

/* That the timer rings no later than the deadline. 0, -ENOMEM. */
static int watch_deadline(struct request *q)
{
	if (!q->due || (q->deadline.slot && q->deadline.due <= q->due))
		return 0;
	return timer_arm(&q->h->timers, &q->deadline, q->due);
}

int64_t request_open(struct brood_peer *p, uint64_t due, brood_fn *done, void *data, struct call *call)
{
	struct brood *h = p->h;
	struct request *q = slot_take(h);
	if (!q)
		return -ENOMEM;
	q->generation = (q->generation + 1) & 0x7fffffff;
	q->peer = peer_ref(p);
	q->remote = remote_ref(p->remote);
	q->done = done;
	q->data = data;
	q->call = call;
	q->due = due;
	LIST_INSERT_HEAD(&q->remote->requests, q, entry);
	h->requests.open++;
	if (watch_deadline(q) < 0) {
		request_forget(h, id_of(q));
		return -ENOMEM;
	}
	return id_of(q);
}

/* The slot is free again; what the answer needs was taken out before. */
static void release(struct request *q)
{
	struct brood *h = q->h;
	LIST_REMOVE(q, entry);
	remote_unref(q->remote);
	q->remote = NULL;
	q->next_free = h->requests.free;
	h->requests.free = q->slot + 1;
	h->requests.open--;
}

void request_forget(struct brood *h, int64_t id)
{
	struct request *q = find(h, (uint64_t)id);
	struct brood_peer *p = q->peer;
	release(q);
	peer_unref(p);
}

static void finish(struct request *q, struct letter *m, const struct fault *f)
{
	struct brood *h = q->h;
	struct brood_peer *p = q->peer;
	struct call *call = q->call;
	brood_fn *done = q->done;
	void *data = q->data;
	release(q);
	if (call) {
		call->finished = 1;
		call->letter = m && letter_stay(m) == 0 ? m : NULL;
		if (f)
			fault_copy(&call->fault, f);
		else if (!call->letter)
			fault_set_code(&call->fault, -ENOMEM, "memory", "the answer was lost: out of memory");
		if (m && !call->letter)
			letter_drop(m);
		if (call->told)
			call->told(call);
	} else {
		event_reply(h, p, done, data, m, f);
	}
	peer_unref(p);
}

int request_answer(struct brood *h, struct remote *from, uint64_t correlation, struct letter *m, const struct fault *f)
{
	struct request *q = find(h, correlation);
	if (!q || q->remote != from)
		return -ENOENT;
	finish(q, m, f);
	return 0;
}

static void give_up(struct request *q, const struct fault *f)
{
	struct remote *r = q->remote;
	if (!r->ended && r->resolved)
		(void)remote_signal(r, ITEM_CANCEL, (uint64_t)id_of(q));
	finish(q, NULL, f);
}

static void deadline_passed(struct timer *t)
{
	struct request *q = (struct request *)(void *)((char *)t - offsetof(struct request, deadline));
	struct fault f;
	if (!q->remote || !q->due)
		return;
	if (q->due > t->due) {           /* it was another's deadline in this slot */
		(void)watch_deadline(q); /* the room that it had is free */
		return;
	}
	fault_set(&f, "deadline", "no answer from %s in time", peer_label(q->peer));
	give_up(q, &f);
}

int request_cancel(struct brood *h, int64_t id, const struct fault *f)
{
	struct request *q = find(h, (uint64_t)id);
	if (!q)
		return -ENOENT;
	give_up(q, f);
	return 0;
}

void request_fail_all(struct remote *r, const struct fault *f)
{
	struct request *q;
	while ((q = LIST_FIRST(&r->requests)))
		finish(q, NULL, f);
}

void request_move(struct remote *from, struct remote *to)
{
	struct request *q;
	while ((q = LIST_FIRST(&from->requests))) {
		LIST_REMOVE(q, entry);
		LIST_INSERT_HEAD(&to->requests, q, entry);
		remote_unref(q->remote);
		q->remote = remote_ref(to);
	}
}
