/*
 * obituary: see obituary.h.
 *
 * DIED must go as soon as the child is reaped, because EXIT waits for its answer. What the child wrote last to its standard
 * error may be read only then, and of a child that said goodbye nobody asks: so there can be a second one.
 */
#include "obituary.h"
#include "birth.h"
#include "brood.pb-c.h"
#include "link.h"
#include "pump.h"
#include "utf8.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static Brood__Cause cause_of(const struct brood_exit *x)
{
	switch (x->cause) {
	case BROOD_EXITED:
		return BROOD__CAUSE__CAUSE_EXITED;
	case BROOD_SIGNALED:
		return BROOD__CAUSE__CAUSE_SIGNALED;
	case BROOD_START_FAILED:
		return BROOD__CAUSE__CAUSE_FAILED;
	default:
		return BROOD__CAUSE__CAUSE_STOLEN;
	}
}

/* In the program's language, or with its arguments, it need not be what goes over the wire. */
static char *as_text(const char *text)
{
	int is_text = text && utf8_is_text((const uint8_t *)text, strlen(text));
	return (char *)(uintptr_t)(is_text ? text : "");
}

static void put_exit(Brood__Died *m, const struct brood_exit *x)
{
	m->cause = cause_of(x);
	m->code = x->code;
	m->signo = (uint32_t)x->signo;
	m->core = x->core;
	m->ended_by = (Brood__EndedBy)x->ended_by; /* the same numbers */
	m->wall_ms = x->wall_ms;
	m->user_us = x->user_us;
	m->system_us = x->system_us;
	m->max_rss_kib = x->max_rss_kib;
	m->stage = as_text(x->stage);
	m->text = as_text(x->text);
}

static struct tail *tail_of(struct child *c)
{
	struct pipe *p = stdio_pipe(&c->stdio, STDERR_FILENO);
	return p && p->keeps_tail ? &p->tail : NULL;
}

void obituary_send(struct child *c)
{
	struct brood_peer *p = c->peer;
	Brood__Died died = BROOD__DIED__INIT;
	uint8_t bytes[TAIL_MOST];
	struct tail *tail = tail_of(c);
	put_exit(&died, &p->exit);
	died.id = birth_id(c);
	died.pid = (uint32_t)p->pid;
	died.title = (char *)(uintptr_t)plan_title(c->plan);
	died.name = as_text(c->plan->name);
	died.tail = (ProtobufCBinaryData){ tail ? tail_copy(tail, bytes) : 0, bytes };
	pump_control(p->h, FRAME_DIED, &died.base, -1);
	c->mourned = 1;
}

void obituary_complete(struct child *c)
{
	const struct tail *tail = tail_of(c);
	if (!c->channel || c->errand || !birth_id(c) || !link_is_up(c->peer->h))
		return; /* of a child on another host its keeper tells */
	if (!c->mourned || (tail && tail->fresh))
		obituary_send(c);
}

/*
 * A broker that stood still may lose DIED with the connection, when the child is closed and forgotten here. For it the child
 * would be away for as long as I live, and whoever writes to it would wait as long.
 */
#define UNBURIED_MOST 1024u /* of more it is left to the end of this process */

struct unburied {
	LIST_ENTRY(unburied) entry;
	uint64_t id;
};

static void bury(struct brood *h, struct unburied *u)
{
	LIST_REMOVE(u, entry);
	h->n_unburied--;
	free(u);
}

void obituary_owe(struct child *c)
{
	struct brood *h = c->peer->h;
	struct unburied *u = h->n_unburied < UNBURIED_MOST && birth_id(c) ? malloc(sizeof(*u)) : NULL;
	if (!u)
		return;
	u->id = birth_id(c);
	LIST_INSERT_HEAD(&h->unburied, u, entry);
	h->n_unburied++;
}

void obituary_settle(struct brood *h, uint64_t id)
{
	struct unburied *u, *next;
	for (u = LIST_FIRST(&h->unburied); u; u = next) {
		next = LIST_NEXT(u, entry);
		if (id == 0 || u->id == id)
			bury(h, u);
	}
}

void obituary_repeat(struct brood *h)
{
	struct unburied *u;
	LIST_FOREACH (u, &h->unburied, entry) {
		Brood__Died died = BROOD__DIED__INIT;
		died.id = u->id;
		pump_control(h, FRAME_DIED, &died.base, -1);
	}
}
