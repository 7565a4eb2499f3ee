/*
 * parting: see parting.h.
 *
 * A report says what is known: items that never left this process were not delivered; of the others the outcome is
 * unknown.
 */
#include "parting.h"
#include "confirm.h"
#include "event.h"
#include "peer.h"
#include "remote.h"
#include "request.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* What the library itself says to one of its own is no message of the program's. */
static int is_inside(const struct remote *r)
{
	return r->peer && r->peer->inside;
}

static int count_message(void *counter, const struct item *it, const char *type)
{
	(void)type;
	*(uint64_t *)counter += it->kind == ITEM_MESSAGE && !it->more;
	return 0;
}

static void report_messages(struct remote *r, const struct fault *why)
{
	uint64_t lost = 0, unsent = outflow_unsent(&r->out), told = confirm_fail_all(r, why);
	struct fault f;
	if (!r->peer || is_inside(r))
		return;
	(void)outflow_each(&r->out, count_message, &lost);
	lost -= told; /* one by one */
	if (lost == 0)
		return;
	fault_set_code(&f, why->error.code, "undelivered", "%" PRIu64 " message%s to %s: %s; %s", lost,
		       lost == 1 ? "" : "s", peer_label(r->peer), why->error.text,
		       unsent >= lost ? "not delivered" : "some may have arrived");
	event_post(r->h, r->peer, BROOD_EVENT_ERROR, &f);
}

static int count_said(void *counter, const struct item *it, const char *type)
{
	(void)type;
	*(uint64_t *)counter += (it->kind == ITEM_MESSAGE || it->kind == ITEM_REPLY) && !it->more;
	return 0;
}

uint64_t parting_count(struct brood *h)
{
	struct brood_peer *p;
	struct remote *r;
	uint64_t n = 0;
	for (r = h->by_id; r; r = r->hh.next)
		if (!is_inside(r))
			(void)outflow_each(&r->out, count_said, &n);
	TAILQ_FOREACH (p, &h->peers, entry)
		if (p->remote && !p->remote->resolved)
			(void)outflow_each(&p->remote->out, count_said, &n);
	return n;
}

void parting_report(struct remote *r, const struct fault *f)
{
	request_fail_all(r, f);
	confirm_arrived(r);
	if (outflow_unacknowledged(&r->out) == 0)
		return;
	report_messages(r, f);
	outflow_deinit(&r->out);
	outflow_init(&r->out, &r->h->pool, r->h->window);
}

void parting_disconnect(struct brood_peer *p, const struct fault *why)
{
	if (p->disconnected)
		return;
	p->disconnected = 1;
	p->ready = 0;
	event_post(p->h, p, BROOD_EVENT_DISCONNECT, why);
}

void parting_close(struct brood_peer *p)
{
	if (p->closed)
		return;
	p->closed = 1;
	event_post(p->h, p, BROOD_EVENT_CLOSE, NULL);
	peer_retire(p);
}

/* A process that joined has an exit too, of which nothing is known. */
static void joined_exit(struct brood_peer *p, const struct fault *f)
{
	snprintf(p->exit_text, sizeof(p->exit_text), "%s", f->error.text);
	p->exit = (struct brood_exit){ .cause = BROOD_GONE, .code = -1, .stage = "", .text = p->exit_text };
	p->has_exit = 1;
	p->h->counting--;
	event_post(p->h, p, BROOD_EVENT_EXIT, NULL);
}

/* A name outlives its holder: it waits for the next one. */
static void name_free_again(struct brood_peer *p)
{
	struct remote *fresh = remote_new(p->h);
	p->absent = 1;
	p->away = 0;
	if (!fresh) {
		parting_close(p);
		return;
	}
	peer_turn_to(p, fresh);
	remote_unref(fresh);
}

static void nobody_waits(struct remote *r)
{
	struct inflow_hold *hold;
	TAILQ_FOREACH (hold, &r->in.holds, next)
		((struct letter *)(void *)((char *)hold - offsetof(struct letter, hold)))->msg.wants_reply = 0;
}

/* Its last peer was given back, but what it was sent before is reported all the same, to the handle's table. */
static void find_somebody_to_tell(struct remote *r)
{
	if (!r->peer && outflow_unacknowledged(&r->out) > 0)
		(void)peer_new(r->h, PEER_PROCESS, r);
}

void parting_gone(struct remote *r, const struct fault *f)
{
	if (r->ended)
		return;
	find_somebody_to_tell(r);
	struct brood_peer *p = r->peer ? peer_ref(r->peer) : NULL;
	remote_ref(r);
	parting_report(r, f);
	nobody_waits(r);
	r->ended_as = f->error.name;
	remote_end(r);
	if (p && p->kind == PEER_BROKER && !p->owned) { /* the program never asked for it */
		p->disconnected = p->closed = 1;
		peer_retire(p);
	} else if (p && p->remote == r) {
		parting_disconnect(p, f);
		if (p->kind == PEER_JOINED)
			joined_exit(p, f);
		if (p->kind == PEER_NAME &&
		    !p->retired) /* one that was given back would not be asked any more who has it */
			name_free_again(p);
		else if (p->kind != PEER_CHILD) /* of which its exit decides */
			parting_close(p);
	}
	if (p && p->inside)
		p->inside->gone(p);
	if (p)
		peer_unref(p);
	remote_unref(r);
}
