/*
 * router: forwards frames without looking into them.
 *
 * A frame costs one comparison (is it the edge of the frame before?), its source is stamped where it lies, and the
 * destination's sink gets a reference to it. Only bytes that a socket did not take are charged to an edge, and to the
 * sender's user. An edge whose charge is above its share is *held*: the sender hears HOLD once, what it still sends is
 * dropped, and when the charge is below half of the share it hears GO and goes back to its first unacknowledged item. So
 * dropping loses nothing, and a slow receiver costs bounded memory and nobody else's time.
 *
 * A share is the smaller of two: the destination's queue divided by those who fill it, and a part of what the sender's user
 * may still have waiting. Either shrinks long before anything is full, so that who comes later still finds room. Where
 * that is not enough (very many edges have something waiting) an edge is held although nothing of its own waits; then
 * it goes on when its destination's queue has become shorter, which is the one moment at which a list of edges is walked.
 *
 * What a dead process sent is never held, because nobody could send it again. The surprising rule: an edge outlives its
 * sender while its bytes wait, and no edge is freed before router_sweep() at the end of the turn, because sinks keep
 * pointers to edges until then.
 */
#include "router.h"
#include "message.h"
#include "note.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AWAITED_UID UINT32_MAX /* nobody's; the true one is known when it is back */
#define PORT_MEMORY FRAME_MAX  /* what waits for a process takes up more than its bytes: buffers are not full */

void router_init(struct router *r, struct registry *registry, uint32_t owner, uint32_t first_epoch, int grace)
{
	memset(r, 0, sizeof(*r));
	r->registry = registry;
	r->accounts = registry->accounts;
	r->limits = r->accounts->limits;
	r->owner = owner;
	r->first_epoch = first_epoch;
	r->grace = grace;
	SLIST_INIT(&r->doomed);
}

void router_begin(struct router *r)
{
	r->helping++;
}

/*
 * Ports and edges.
 */

static struct port *port_new(struct router *r, struct process *p)
{
	struct port *port = calloc(1, sizeof(*port));

	if (port)
		port->account = account_open(r->accounts, p->uid);
	if (!port || !port->account) {
		free(port);
		return NULL;
	}
	port->process = p;
	port->router = r;
	port->shared = p->sink && p->sink->forget ? p->sink : NULL;
	LIST_INIT(&port->in);
	return port;
}

static struct port *port_get(struct router *r, struct process *p)
{
	if (!p->port)
		p->port = port_new(r, p);
	return p->port;
}

static struct edge *edge_new(struct port *from, struct port *to)
{
	struct edge *e = calloc(1, sizeof(*e));

	if (!e || table_put(&from->out, to->process->id, e) < 0) {
		free(e);
		return NULL;
	}
	e->source = from;
	e->destination = to;
	e->account = account_hold(from->account);
	e->id = to->process->id;
	LIST_INSERT_HEAD(&to->in, e, of_destination);
	return e;
}

/* To be freed by the next sweep, unless bytes still wait. */
static void edge_doom(struct router *r, struct edge *e)
{
	if (!e->doomed)
		SLIST_INSERT_HEAD(&r->doomed, e, of_doomed);
	e->doomed = 1;
}

static void edge_leave_source(struct edge *e)
{
	if (!e->source)
		return;
	table_remove(&e->source->out, e->id);
	if (e->source->last == e)
		e->source->last = NULL;
	e->source = NULL;
}

/* `full` counts the edges to a destination that are held because of it. */
static void set_held(struct edge *e, unsigned held)
{
	e->destination->full -= (e->held & HELD_FULL) != 0;
	e->destination->full += (held & HELD_FULL) != 0;
	e->held = (uint8_t)held;
}

/* n bytes of it wait no longer. */
static void discharge(struct edge *e, size_t n)
{
	struct port *to = e->destination;

	to->loaded -= n > 0 && e->queued == n; /* that was the last of this edge */
	to->queued -= n;
	to->router->queued -= n;
	e->queued -= n;
	account_uncharge(e->account, n);
	if (n > 0 && to->queued == 0)
		account_uncharge(to->account, PORT_MEMORY);
}

static void edge_leave_destination(struct edge *e)
{
	if (!e->destination)
		return;
	LIST_REMOVE(e, of_destination);
	if (e->queued > 0 && e->destination->shared)
		e->destination->shared->forget(e->destination->shared, e);
	discharge(e, e->queued);
	set_held(e, 0);
	e->destination = NULL;
}

static void edge_end(struct router *r, struct edge *e)
{
	edge_leave_source(e);
	edge_leave_destination(e);
	edge_doom(r, e);
}

void router_sweep(struct router *r)
{
	struct edge *e;

	while ((e = SLIST_FIRST(&r->doomed))) {
		SLIST_REMOVE_HEAD(&r->doomed, of_doomed);
		e->doomed = 0;
		if (e->queued > 0)
			continue; /* edge_uncharge() will doom it again */
		edge_leave_destination(e);
		account_release(e->account);
		if (r->latest == e)
			r->latest = NULL;
		free(e);
	}
}

/*
 * Charges.
 */

#define SHARE_LEAST FRAME_MAX /* one frame may wait, whatever else does */
#define ROOM_PART 8u          /* of what a user may still have waiting, this part may be on one edge */

static size_t edge_share(const struct edge *e)
{
	const struct port *to = e->destination;
	const struct limits *limits = to->router->limits;
	size_t share = limits->queue / (to->loaded ? to->loaded : 1), room = account_room(e->account) / ROOM_PART;

	if (share < limits->share_least)
		share = limits->share_least;
	if (share > limits->share)
		share = limits->share;
	if (share > room)
		share = room;
	return share > SHARE_LEAST ? share : SHARE_LEAST;
}

/* Nothing more may wait for it, whosesoever it is. */
static int port_is_full(const struct port *to)
{
	return to->queued > 2 * to->router->limits->queue ||
	       (to->queued > FRAME_MAX && accounts_are_full(to->router->accounts));
}

/* Well below that. */
static int port_has_room(const struct port *to)
{
	return to->queued <= to->router->limits->queue / 2 * 3 &&
	       (to->queued <= FRAME_MAX / 2 || !accounts_are_full(to->router->accounts));
}

void edge_charge(struct edge *e, size_t n)
{
	struct port *to = e ? e->destination : NULL;

	if (!to || n == 0)
		return;
	if (to->queued == 0)
		account_charge(to->account, PORT_MEMORY);
	to->loaded += e->queued == 0;
	to->queued += n;
	to->router->queued += n;
	e->queued += n;
	account_charge(e->account, n);
}

static void edge_go(struct edge *e)
{
	set_held(e, 0);
	note_about(e->source->process->sink, FRAME_GO, 0, e->id);
}

static int edge_has_room(const struct edge *e)
{
	return e->queued < edge_share(e) / 2;
}

/* Those that were held because it was full. Some may have to wait for themselves. */
static void port_go(struct port *to)
{
	struct edge *e;

	LIST_FOREACH (e, &to->in, of_destination) {
		if (!(e->held & HELD_FULL))
			continue;
		set_held(e, (e->held & ~HELD_FULL) | HELD_BUSY);
		if (e->source && e->held == HELD_BUSY && edge_has_room(e))
			edge_go(e);
	}
}

void edge_uncharge(void *tag, size_t n)
{
	struct edge *e = tag;
	struct port *to = e ? e->destination : NULL;

	if (!to)
		return;
	discharge(e, n);
	if (!e->source && e->queued == 0)
		edge_doom(to->router, e);
	else if (e->source && e->held == HELD_BUSY && edge_has_room(e))
		edge_go(e);
	if (to->full > 0 && port_has_room(to))
		port_go(to);
}

struct edge *edge_alive(struct edge *e)
{
	return e && e->destination ? e : NULL;
}

/*
 * Who may, and who is there.
 */

int router_is_almighty(const struct router *r, uint32_t uid)
{
	return uid == 0 || uid == r->owner;
}

int router_may_users(const struct router *r, enum policy_verb verb, uint32_t a, uint32_t b)
{
	int of_this_host = a < USERS_FOREIGN && b < USERS_FOREIGN; /* root's is not root everywhere */

	return (of_this_host && (router_is_almighty(r, a) || router_is_almighty(r, b))) ||
	       policy_may(r->registry->policy, verb, a, b);
}

int router_may(const struct router *r, const struct process *a, const struct process *b)
{
	if (b->proxy)
		return 1; /* its own node judges */
	if (a->proxy && r->abroad && r->abroad->may(r->abroad_data, a, b))
		return 1;
	if (a->proxy)
		return policy_may(r->registry->policy, POLICY_SEND, a->uid, b->uid) ||
		       registry_offers(r->registry, b, a->uid);
	return router_may_users(r, POLICY_SEND, a->uid, b->uid) || registry_related(a, b) ||
	       registry_offers(r->registry, b, a->uid);
}

int router_may_see(const struct router *r, const struct process *a, const struct process *b)
{
	if (a->proxy) /* nobody there is root here */
		return router_may(r, a, b) || policy_may(r->registry->policy, POLICY_LIST, a->uid, b->uid);
	return router_may(r, a, b) || router_may_users(r, POLICY_LIST, a->uid, b->uid);
}

/* The first wrote to the second, which may answer it. */
static int wrote_to(const struct process *a, const struct process *b)
{
	return a->port && table_get(&a->port->out, b->id);
}

/*
 * Whether they could have begun to talk, in either direction, as the policy is: who once was the holder of a name need not be
 * it now.
 */
static int may_have_met(const struct router *r, const struct process *a, const struct process *b)
{
	const struct policy *policy = r->registry->policy;

	return router_may(r, a, b) || policy_may(policy, POLICY_SEND, b->uid, a->uid) ||
	       policy_share_any(policy, a->uid, b->uid) || policy_share_any(policy, b->uid, a->uid);
}

/* Of an earlier run, and it could come back: what it was doing then is not known. */
static int is_survivor(const struct router *r, const struct process *p)
{
	return r->grace && p->id >> 32 < r->first_epoch;
}

static int may_write(const struct router *r, const struct process *from, const struct process *to)
{
	return router_may(r, from, to) || wrote_to(to, from) ||
	       (is_survivor(r, from) && is_survivor(r, to) && may_have_met(r, from, to));
}

int router_awaits(const struct router *r, uint64_t id)
{
	uint32_t epoch = (uint32_t)(id >> 32);

	return r->grace && epoch >= EPOCH_LEAST && epoch < r->first_epoch &&
	       !departed_has(&r->registry->departed, id, 0);
}

struct process *router_await(struct router *r, uint64_t id)
{
	struct process *p = r->n_awaited < r->limits->awaited ? registry_add(r->registry, id, AWAITED_UID) : NULL;

	if (!p)
		return NULL;
	p->state = PROCESS_AWAITED;
	r->n_awaited++;
	return p;
}

struct process *router_find(struct router *r, uint64_t id)
{
	struct process *p = registry_find(r->registry, id);

	if (!p && router_awaits(r, id))
		p = router_await(r, id);
	if (!p && r->abroad && id_is_foreign(id))
		p = r->abroad->find(r->abroad_data, id);
	return p;
}

/* That it may not write to one that it cannot see either would tell it that this one is there. */
static Brood__Why why_not(const struct router *r, const struct process *from, const struct process *to)
{
	return router_may_see(r, from, to) ? BROOD__WHY__WHY_DENIED : BROOD__WHY__WHY_NOBODY;
}

/* NULL: nobody, as far as this sender is concerned, or *why says otherwise. */
static struct process *destination_of(struct router *r, const struct process *from, const struct frame *f,
				      Brood__Why *why)
{
	struct process *to = f->destination_node == 0 ? router_find(r, f->destination) : NULL;

	*why = BROOD__WHY__WHY_NOBODY;
	if (to && to->proxy && from->proxy)
		return NULL; /* from node to node without us */
	if (!to || to->state == PROCESS_AWAITED || may_write(r, from, to))
		return to;
	*why = why_not(r, from, to);
	return NULL;
}

static void tell_gone(struct process *to, uint64_t id, Brood__Why why)
{
	Brood__Gone gone = BROOD__GONE__INIT;

	gone.id = id;
	gone.why = why;
	note_put(to->sink, FRAME_GONE, &gone.base);
}

/* Once per helping is enough: what the sender does after hearing it comes in a later one. */
static void tell_nobody(struct router *r, struct process *from, uint64_t id, Brood__Why why)
{
	const struct process *to = registry_find(r->registry, id);
	struct port *port = from->port;

	if (port->nobody == id && port->nobody_helping == r->helping)
		return;
	port->nobody = id;
	port->nobody_helping = r->helping;
	if (to && r->denied && !may_write(r, from, to))
		r->denied(r->denied_data, from, to);
	tell_gone(from, id, why);
}

/*
 * Routing.
 */

/* The edge that this frame travels on, made if there is none. 0, with NULL and *why if there may be none; -ENOMEM, -ENOBUFS. */
static int edge_of(struct router *r, struct process *from, const struct frame *f, struct edge **ret, Brood__Why *why)
{
	struct port *port = port_get(r, from);
	struct process *to;

	*ret = port ? table_get(&port->out, f->destination) : NULL;
	if (*ret)
		return 0;
	to = destination_of(r, from, f, why);
	if (!port || (to && !port_get(r, to)))
		return -ENOMEM;
	if (!to)
		return 0;
	if (port->out.count >= r->limits->destinations)
		return -ENOBUFS;
	*ret = edge_new(port, to->port);
	return *ret ? 0 : -ENOMEM;
}

/* Tell the sender to wait, unless it knows. "Busy" and "away" are two things to know, each with reasons here and there. */
static void edge_hold(struct router *r, struct edge *e, unsigned why)
{
	int away = (why & (HELD_AWAY | HELD_AWAY_THERE)) != 0;
	unsigned knows = e->held & (away ? HELD_AWAY | HELD_AWAY_THERE : HELD_BUSY | HELD_FULL | HELD_THERE);

	set_held(e, e->held | why);
	if (knows)
		return;
	r->holds++;
	note_about(e->source->process->sink, FRAME_HOLD, away ? FRAME_AWAY : 0, e->id);
}

/* 1 if there is a reason to drop the frame. */
static int edge_is_shut(struct router *r, struct edge *e, const struct process *from)
{
	if (!e->destination->process->sink) {
		edge_hold(r, e, HELD_AWAY);
		return 1;
	}
	/* Last words cannot be said again. Of those from another node, who may be many at once, not without bound. */
	if (from->dying && !(from->proxy && e->destination->queued > r->limits->notes))
		return 0;
	if (port_is_full(e->destination))
		edge_hold(r, e, HELD_FULL);
	else if (e->queued > edge_share(e))
		edge_hold(r, e, HELD_BUSY);
	return e->held != 0;
}

/* What is dropped is counted item by item, so that a parent can learn that something its child said is missing. */
static void remember_dropped(struct edge *e, const struct frame *f)
{
	const uint8_t *at = f->body;
	uint64_t last = f->sequence;
	struct item it;

	if (f->kind != FRAME_DATA || f->stream & STREAM_CHANNEL)
		return;
	while (item_next(&at, f->body + f->length, &it) == 1)
		last++;
	if (last > f->sequence && last - 1 > e->last)
		e->last = last - 1;
}

static void forward(struct router *r, struct edge *e, const struct frame *f)
{
	struct port *to = e->destination;

	r->frames++;
	r->bytes += f->size;
	r->latest = e;
	to->frames_out++;
	to->bytes_out += f->size;
	to->process->sink->put(to->process->sink, e, f->bytes, f->size);
}

static void stamp(const struct frame *f, uint64_t source)
{
	frame_set_source(f->bytes, source);
	if (f->source_node != 0)
		memset(f->bytes + 28, 0, 2); /* no process speaks for another host */
}

int router_route(struct router *r, struct process *from, const struct frame *f)
{
	struct edge *e = from->port ? from->port->last : NULL;
	Brood__Why why = BROOD__WHY__WHY_NOBODY;
	const struct port *to;
	int error;

	if (!e || e->id != f->destination || f->destination_node != 0) {
		error = edge_of(r, from, f, &e, &why);
		if (error < 0)
			return error;
		if (!e || f->destination_node != 0) {
			tell_nobody(r, from, f->destination, why);
			return 0;
		}
		from->port->last = e;
	}
	stamp(f, from->id);
	from->port->frames_in++;
	from->port->bytes_in += f->size;
	to = e->destination;
	if ((to->queued > FRAME_MAX || e->held || !to->process->sink) && edge_is_shut(r, e, from)) {
		remember_dropped(e, f);
		return 0;
	}
	if (f->kind == FRAME_DATA && !(f->stream & STREAM_CHANNEL) && f->sequence > e->last)
		e->last = f->sequence;
	forward(r, e, f);
	return 0;
}

uint64_t router_last(const struct process *from, uint64_t to)
{
	const struct edge *e = from->port && to ? table_get(&from->port->out, to) : NULL;

	return e ? e->last : 0;
}

/*
 * Coming and going.
 */

/* The destination is back. Its user was not known when this edge was made, so whether the sender may was not, either. */
static void edge_recheck(struct router *r, struct edge *e)
{
	struct process *from = e->source->process;

	if (may_write(r, from, e->destination->process)) {
		edge_go(e);
		return;
	}
	tell_gone(from, e->id, why_not(r, from, e->destination->process));
	edge_end(r, e);
}

/* Now its user is known. */
static void port_reaccount(struct router *r, struct port *port)
{
	struct account *account = account_open(r->accounts, port->process->uid);

	if (!account)
		return; /* what it sends counts as nobody's, which is bounded too */
	if (port->queued > 0) {
		account_uncharge(port->account, PORT_MEMORY);
		account_charge(account, PORT_MEMORY);
	}
	account_release(port->account);
	port->account = account;
}

void router_know(struct router *r, struct process *p)
{
	if (p->port && p->port->account->uid != p->uid)
		port_reaccount(r, p->port);
}

void router_attach(struct router *r, struct process *p, struct sink *sink)
{
	uint32_t awaited = p->state == PROCESS_AWAITED;
	struct edge *e, *next;
	uint32_t at = 0;

	router_know(r, p);
	r->n_awaited -= awaited;
	p->state = PROCESS_LIVE;
	p->sink = sink;
	if (p->port)
		p->port->shared = sink->forget ? sink : NULL;
	for (e = p->port ? LIST_FIRST(&p->port->in) : NULL; e; e = next) {
		next = LIST_NEXT(e, of_destination);
		if (e->source && e->held && awaited)
			edge_recheck(r, e);
		else if (e->source && e->held)
			edge_go(e);
	}
	/* It begins again with all its destinations: whoever has to be held hears it again. What other nodes say stays. */
	while (p->port && (e = table_next(&p->port->out, &at)))
		set_held(e, e->held & (HELD_THERE | HELD_AWAY_THERE));
}

/* What waits of it still gets there, and it is an edge until then. */
static void edge_cut(struct router *r, struct edge *e)
{
	struct process *from = e->source->process;

	tell_gone(from, e->id, why_not(r, from, e->destination->process));
	set_held(e, 0);
	edge_leave_source(e);
	edge_doom(r, e);
}

/* One of another node answers: that it was written to is for the one here to say, whom no line of ours stops. */
static int may_go_on(const struct router *r, const struct process *from, const struct process *to)
{
	return may_have_met(r, from, to) || (from->proxy && wrote_to(to, from));
}

/* An awaited process has no user yet by whom to judge those who wrote to it. */
static void port_review(struct router *r, struct port *port)
{
	struct edge *e, *next;

	for (e = port->process->state == PROCESS_AWAITED ? NULL : LIST_FIRST(&port->in); e; e = next) {
		next = LIST_NEXT(e, of_destination);
		if (e->source && !may_go_on(r, e->source->process, port->process))
			edge_cut(r, e);
	}
}

void router_review(struct router *r)
{
	struct process *p;
	uint32_t at = 0;

	while ((p = table_next(&r->registry->processes, &at)))
		if (p->port)
			port_review(r, p->port);
}

static void edge_detach(struct router *r, struct edge *e)
{
	if (!e->source) {
		edge_end(r, e);
		return;
	}
	discharge(e, e->queued);
	edge_hold(r, e, HELD_AWAY);
}

void router_detach(struct router *r, struct process *p)
{
	struct edge *e, *next;

	p->state = PROCESS_LOST;
	p->sink = NULL;
	if (p->port)
		p->port->shared = NULL; /* all that waits there is thrown away */
	for (e = p->port ? LIST_FIRST(&p->port->in) : NULL; e; e = next) {
		next = LIST_NEXT(e, of_destination);
		edge_detach(r, e);
	}
}

/*
 * What the destination's node says. It drops what comes meanwhile, as we do. Its HOLD may have come before the source was
 * back here, and is not said again: so its GO counts in any case.
 */

static struct edge *edge_between(const struct process *from, const struct process *to)
{
	return from->port ? table_get(&from->port->out, to->id) : NULL;
}

void router_hold(struct router *r, struct process *from, struct process *to, int away)
{
	struct edge *e = edge_between(from, to);

	if (e)
		edge_hold(r, e, away ? HELD_AWAY_THERE : HELD_THERE);
}

void router_go(struct process *from, struct process *to)
{
	struct edge *e = edge_between(from, to);

	if (!e)
		return;
	set_held(e, e->held & ~(HELD_THERE | HELD_AWAY_THERE));
	if (e->held == 0 || (e->held == HELD_BUSY && edge_has_room(e)))
		edge_go(e);
}

void router_part(struct router *r, struct process *from, struct process *to, Brood__Why why)
{
	struct edge *e = edge_between(from, to);

	if (!e)
		return; /* it did not write to it, or was told before */
	tell_gone(from, to->id, why);
	edge_end(r, e);
}

void router_born(struct router *r, const struct process *p)
{
	if (r->abroad && p->parent && p->parent->proxy)
		r->abroad->born(r->abroad_data, p);
}

void router_returned(struct router *r, struct process *p)
{
	if (r->abroad)
		r->abroad->returned(r->abroad_data, p);
}

int router_is_idle(const struct process *p)
{
	return !p->port || (p->port->out.count == 0 && LIST_EMPTY(&p->port->in));
}

/* What everybody is told who has to do with a process that ends, once each. */
struct farewell {
	struct router *router;
	uint64_t id;
	Brood__Why why;
};

static void end_tell(const struct farewell *farewell, struct process *to)
{
	if (!to || to->told == farewell->router->death)
		return;
	to->told = farewell->router->death;
	tell_gone(to, farewell->id, farewell->why);
}

static void port_end(const struct farewell *farewell, struct port *port)
{
	struct edge *e;
	uint32_t at = 0;

	while ((e = LIST_FIRST(&port->in))) {
		end_tell(farewell, e->source ? e->source->process : NULL);
		edge_end(farewell->router, e);
	}
	while ((e = table_next(&port->out, &at))) {
		end_tell(farewell, e->destination->process);
		e->source = NULL;
		edge_doom(farewell->router, e);
	}
	table_deinit(&port->out);
	account_release(port->account);
	free(port);
}

void router_end(struct router *r, struct process *p, Brood__Why why, struct process *except)
{
	struct farewell farewell = { r, p->id, why };
	struct process *child;

	p->told = ++r->death;
	if (except)
		except->told = r->death;
	end_tell(&farewell, p->parent);
	LIST_FOREACH (child, &p->children, sibling)
		end_tell(&farewell, child);
	if (p->port)
		port_end(&farewell, p->port);
	p->port = NULL;
	r->n_awaited -= p->state == PROCESS_AWAITED;
	if (r->abroad)
		r->abroad->gone(r->abroad_data, p, why);
}

void router_deinit(struct router *r)
{
	struct process *p;
	uint32_t at = 0;

	while (r->registry && (p = table_next(&r->registry->processes, &at)))
		p->sink = NULL;
	for (at = 0; r->registry && (p = table_next(&r->registry->processes, &at));)
		router_end(r, p, BROOD__WHY__WHY_UNKNOWN, NULL);
	router_sweep(r);
}
