/*
 * peer: see peer.h.
 */
#include "peer.h"
#include "address.h"
#include "child.h"
#include "remote.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct brood_peer *peer_new(struct brood *h, enum peer_kind kind, struct remote *r)
{
	struct brood_peer *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->h = h;
	p->kind = kind;
	p->refs = 1;
	if (r)
		peer_turn_to(p, r);
	TAILQ_INSERT_TAIL(&h->peers, p, entry);
	return p;
}

static void let_go(struct brood_peer *p)
{
	if (p->remote && p->remote->peer == p)
		p->remote->peer = NULL;
	remote_unref(p->remote);
	p->remote = NULL;
}

/* A name that changed its holder still gets the reports about the old one. */
static void forget_reports(struct brood_peer *p)
{
	struct remote *r;
	for (r = p->h->by_id; p->kind == PEER_NAME && r; r = r->hh.next)
		if (r->peer == p)
			r->peer = NULL;
}

void peer_free(struct brood_peer *p)
{
	forget_reports(p);
	timer_release(&p->h->timers, &p->waiting);
	let_go(p);
	TAILQ_REMOVE(&p->h->peers, p, entry);
	if (p->child)
		p->child->free(p->child);
	free(p->name);
	free(p->unreachable);
	free(p);
}

void peer_own(struct brood_peer *p)
{
	if (p->owned++ == 0)
		peer_ref(p);
}

void peer_retire(struct brood_peer *p)
{
	if (p->retired)
		return;
	p->retired = 1;
	peer_unref(p);
}

void peer_turn_to(struct brood_peer *p, struct remote *r)
{
	remote_ref(r);
	let_go(p);
	p->remote = r;
	r->peer = p;
}

int peer_set_table(struct brood_peer *p, const struct brood_handlers *on, void *data)
{
	if (on && on->size < offsetof(struct brood_handlers, spawn))
		return -EINVAL;
	p->h->stirred = 1;
	p->data = data;
	p->has_on = on != NULL;
	memset(&p->on, 0, sizeof(p->on));
	if (on)
		memcpy(&p->on, on, on->size < sizeof(p->on) ? on->size : sizeof(p->on));
	return 0;
}

const char *peer_label(struct brood_peer *p)
{
	if (p->remote && p->remote->resolved && p->remote->id && !*p->address)
		id_format(p->remote->id, p->address);
	if (p->name)
		return p->name;
	if (p->kind == PEER_SELF)
		return "this process";
	if (p->kind == PEER_BROKER)
		return "@broker";
	if (*p->address)
		return p->address;
	if (p->child && p->child->plan)
		return plan_title(p->child->plan);
	return p->kind == PEER_PARENT ? "the parent" : "a child";
}

const char *peer_silence(const struct brood_peer *p, char *to, size_t n)
{
	to[0] = '\0';
	if (p->unreachable)
		snprintf(to, n, "%.*s cannot be reached: %s", (int)strcspn(p->name, "/"), p->name, p->unreachable);
	else if (p->remote && p->remote->hold == REMOTE_AWAY)
		snprintf(to, n, "it is away at the moment");
	return to;
}
