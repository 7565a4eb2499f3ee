/*
 * confirm: see confirm.h.
 */
#include "confirm.h"
#include "event.h"
#include "remote.h"

struct event_item *confirm_new(struct brood_peer *p, brood_fn *fn, void *data)
{
	return event_prepare(p, BROOD_EVENT_CONFIRM, fn, data);
}

void confirm_drop(struct event_item *i)
{
	event_discard(i);
}

void confirm_attach(struct event_item *i)
{
	struct remote *r = i->event.peer->remote;
	i->sequence = r->out.next - 1;
	TAILQ_INSERT_TAIL(&r->confirms, i, entry);
	r->h->confirming++;
	if (!outflow_mark(&r->out))
		remote_ask(r);
}

static void tell(struct remote *r, struct event_item *i, const struct fault *f)
{
	TAILQ_REMOVE(&r->confirms, i, entry);
	r->h->confirming--;
	event_tell(i, f);
}

void confirm_arrived(struct remote *r)
{
	struct event_item *i;
	while ((i = TAILQ_FIRST(&r->confirms)) && i->sequence <= r->out.acked)
		tell(r, i, NULL);
}

int confirm_refused(struct remote *r, uint64_t sequence, const struct fault *f)
{
	struct event_item *i;
	TAILQ_FOREACH (i, &r->confirms, entry) {
		if (i->sequence != sequence)
			continue;
		tell(r, i, f);
		return 1;
	}
	return 0;
}

uint64_t confirm_fail_all(struct remote *r, const struct fault *why)
{
	struct event_item *i;
	struct fault f;
	uint64_t n = 0;
	confirm_arrived(r);
	while ((i = TAILQ_FIRST(&r->confirms))) {
		fault_set_code(&f, why->error.code, "undelivered", "%s; %s", why->error.text,
			       i->sequence > r->out.reached ? "not delivered" : "it may have arrived");
		tell(r, i, &f);
		n++;
	}
	return n;
}

void confirm_move(struct remote *from, struct remote *to, uint64_t first)
{
	struct event_item *i;
	while ((i = TAILQ_FIRST(&from->confirms))) {
		TAILQ_REMOVE(&from->confirms, i, entry);
		i->sequence += first - 1;
		TAILQ_INSERT_TAIL(&to->confirms, i, entry);
		remote_ask(to);
	}
}
