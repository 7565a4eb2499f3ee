/*
 * watch: see watch.h.
 */
#include "watch.h"
#include "link.h"
#include "pump.h"
#include "remote.h"

#define LOOK_MS 10000u
#define RETRY_MS 1000u

/* 1 if it has to be looked at again, 2 if soon. */
static int look_at(struct remote *r, uint64_t now)
{
	if (r->gap_at && r->gap_next != r->in.next)
		r->gap_at = 0;
	int again = r->gap_at ? 2 : 1;
	if (!outflow_unacknowledged(&r->out))
		return r->gap_at ? 2 : 0;
	if (r->hold == REMOTE_UNBORN)
		return again;
	if (r->hold) {
		pump_retry(r->h, r);
		return 2;
	}
	if (r->seen_acked != r->out.acked || !r->seen_at) {
		r->seen_acked = r->out.acked;
		r->seen_at = now;
	} else if (now - r->seen_at >= LOOK_MS) {
		r->seen_at = now;
		r->asked = 0; /* whether or not that was asked before */
		remote_ask(r);
	}
	return again;
}

static void look(struct timer *t)
{
	struct brood *h = (struct brood *)(void *)((char *)t - offsetof(struct brood, watch));
	uint64_t now = handle_now();
	struct remote *r;
	int again = 0;
	(void)handle_awake(h); /* for who misses something */
	for (r = h->by_id; r; r = r->hh.next) {
		int rc = look_at(r, now);
		again = rc > again ? rc : again;
	}
	if (again)
		(void)timer_arm(&h->timers, &h->watch, now + (again == 2 ? RETRY_MS : LOOK_MS));
	pump_kick(h);
}

void watch_init(struct brood *h)
{
	h->watch.fire = look;
}

void watch_soon(struct brood *h)
{
	uint64_t due = handle_now() + RETRY_MS;
	if (!h->watch.slot || h->watch.due > due)
		(void)timer_arm(&h->timers, &h->watch, due);
}

int watch_gap(struct remote *r, uint64_t sequence)
{
	uint64_t now;
	if (sequence <= r->in.next) {
		r->gap_at = 0;
		return 0;
	}
	now = handle_awake(r->h);
	if (!r->gap_at || r->gap_next != r->in.next) { /* it may be on its way: a GO to its sender, then the items */
		r->gap_at = now;
		r->gap_next = r->in.next;
		watch_soon(r->h);
	}
	return now - r->gap_at >= LOOK_MS;
}
