/*
 * router: forwards frames without looking into them.
 *
 * A frame costs one comparison (is it the edge of the frame before?), its source is stamped where it lies, and the
 * destination's sink gets a reference to it. Only bytes that a socket did not take are charged to an edge. An edge
 * whose charge is above its share is *held*: the sender hears HOLD once, what it still sends is dropped, and when
 * the charge is below half of the share it hears GO and goes back to its first unacknowledged item. So dropping loses
 * nothing, and a slow receiver costs bounded memory and nobody else's time.
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

void router_init(struct router *r, struct registry *registry, const struct limits *limits, uint32_t owner,
		 uint32_t first_epoch, int grace)
{
	memset(r, 0, sizeof(*r));
	r->registry = registry;
	r->limits = limits;
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

static struct port *port_get(struct router *r, struct process *p)
{
	if (!p->port) {
		p->port = calloc(1, sizeof(*p->port));
		if (!p->port)
			return NULL;
		p->port->process = p;
		p->port->router = r;
		LIST_INIT(&p->port->in);
	}
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

static void edge_leave_destination(struct edge *e)
{
	struct port *to = e->destination;

	if (!to)
		return;
	LIST_REMOVE(e, of_destination);
	to->loaded -= e->queued > 0;
	to->queued -= e->queued;
	to->router->queued -= e->queued;
	e->queued = 0;
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
		free(e);
	}
}

/*
 * Charges.
 */

static size_t edge_share(const struct edge *e)
{
	const struct port *to = e->destination;
	const struct limits *limits = to->router->limits;
	size_t share = limits->queue / (to->loaded ? to->loaded : 1);

	if (to->router->queued > limits->memory)
		return FRAME_MAX;
	if (share > limits->share)
		return limits->share;
	return share > limits->share_least ? share : limits->share_least;
}

void edge_charge(struct edge *e, size_t n)
{
	struct port *to = e ? e->destination : NULL;

	if (!to)
		return;
	to->loaded += e->queued == 0;
	e->queued += n;
	to->queued += n;
	to->router->queued += n;
}

static void edge_go(struct edge *e)
{
	e->held = 0;
	note_about(e->source->process->sink, FRAME_GO, 0, e->id);
}

void edge_uncharge(void *tag, size_t n)
{
	struct edge *e = tag;
	struct port *to = e ? e->destination : NULL;

	if (!to)
		return;
	e->queued -= n;
	to->queued -= n;
	to->router->queued -= n;
	to->loaded -= e->queued == 0;
	if (!e->source && e->queued == 0)
		edge_doom(to->router, e);
	else if (e->source && e->held == HELD_BUSY && e->queued < edge_share(e) / 2)
		edge_go(e);
}

/*
 * Who may, and who is there.
 */

static int is_almighty(const struct router *r, uint32_t uid)
{
	return uid == 0 || uid == r->owner;
}

int router_may_users(const struct router *r, uint32_t a, uint32_t b)
{
	return a == b || is_almighty(r, a) || is_almighty(r, b);
}

int router_may(const struct router *r, const struct process *a, const struct process *b)
{
	return router_may_users(r, a->uid, b->uid) || registry_related(a, b);
}

int router_awaits(const struct router *r, uint64_t id)
{
	uint32_t epoch = (uint32_t)(id >> 32);

	return r->grace && epoch > 0 && epoch < r->first_epoch && !departed_has(&r->registry->departed, id, 0);
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

/* NULL: nobody, as far as this sender is concerned. */
static struct process *destination_of(struct router *r, const struct process *from, const struct frame *f)
{
	struct process *to = registry_find(r->registry, f->destination);

	if (f->destination_node != 0)
		return NULL; /* no links to other hosts */
	if (!to && router_awaits(r, f->destination))
		to = router_await(r, f->destination);
	return to && (to->state == PROCESS_AWAITED || router_may(r, from, to)) ? to : NULL;
}

static void tell_gone(struct process *to, uint64_t id, Brood__Why why)
{
	Brood__Gone gone = BROOD__GONE__INIT;

	gone.id = id;
	gone.why = why;
	note_put(to->sink, FRAME_GONE, &gone.base);
}

/* Once per helping is enough: what the sender does after hearing it comes in a later one. */
static void tell_nobody(struct router *r, struct process *from, uint64_t id)
{
	struct port *port = from->port;

	if (port->nobody == id && port->nobody_helping == r->helping)
		return;
	port->nobody = id;
	port->nobody_helping = r->helping;
	tell_gone(from, id, BROOD__WHY__WHY_NOBODY);
}

/*
 * Routing.
 */

/* The edge that this frame travels on, made if there is none. 0, with NULL if nobody is there; -ENOMEM, -ENOBUFS. */
static int edge_of(struct router *r, struct process *from, const struct frame *f, struct edge **ret)
{
	struct port *port = port_get(r, from);
	struct process *to;

	*ret = port ? table_get(&port->out, f->destination) : NULL;
	if (*ret)
		return 0;
	to = destination_of(r, from, f);
	if (!port || (to && !port_get(r, to)))
		return -ENOMEM;
	if (!to)
		return 0;
	if (port->out.count >= r->limits->destinations)
		return -ENOBUFS;
	*ret = edge_new(port, to->port);
	return *ret ? 0 : -ENOMEM;
}

/* Tell the sender to wait, unless it knows. */
static void edge_hold(struct router *r, struct edge *e, unsigned why)
{
	if (e->held & why)
		return;
	e->held |= (uint8_t)why;
	r->holds++;
	note_about(e->source->process->sink, FRAME_HOLD, why == HELD_AWAY ? FRAME_AWAY : 0, e->id);
}

/* 1 if there is a reason to drop the frame. */
static int edge_is_shut(struct router *r, struct edge *e, const struct process *from)
{
	if (!e->destination->process->sink)
		edge_hold(r, e, HELD_AWAY);
	else if (!from->dying && e->queued > edge_share(e))
		edge_hold(r, e, HELD_BUSY);
	if (!e->destination->process->sink)
		return 1;
	return e->held != 0 && !from->dying;
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
	int error;

	if (!e || e->id != f->destination || f->destination_node != 0) {
		error = edge_of(r, from, f, &e);
		if (error < 0)
			return error;
		if (!e || f->destination_node != 0) {
			tell_nobody(r, from, f->destination);
			return 0;
		}
		from->port->last = e;
	}
	stamp(f, from->id);
	from->port->frames_in++;
	from->port->bytes_in += f->size;
	if ((e->queued > FRAME_MAX || e->held || !e->destination->process->sink) && edge_is_shut(r, e, from)) {
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

/* Its user was not known when this edge was made. */
static void edge_recheck(struct router *r, struct edge *e)
{
	struct process *from = e->source->process;

	if (router_may(r, from, e->destination->process)) {
		edge_go(e);
		return;
	}
	tell_gone(from, e->id, BROOD__WHY__WHY_NOBODY);
	edge_end(r, e);
}

void router_attach(struct router *r, struct process *p, struct sink *sink)
{
	struct edge *e, *next;
	uint32_t at = 0;

	r->n_awaited -= p->state == PROCESS_AWAITED;
	p->state = PROCESS_LIVE;
	p->sink = sink;
	for (e = p->port ? LIST_FIRST(&p->port->in) : NULL; e; e = next) {
		next = LIST_NEXT(e, of_destination);
		if (e->source && e->held)
			edge_recheck(r, e);
	}
	/* It begins again with all its destinations: whoever has to be held hears it again. */
	while (p->port && (e = table_next(&p->port->out, &at)))
		e->held = 0;
}

static void edge_detach(struct router *r, struct edge *e)
{
	struct port *to = e->destination;

	if (!e->source) {
		edge_end(r, e);
		return;
	}
	to->router->queued -= e->queued;
	e->queued = 0;
	edge_hold(r, e, HELD_AWAY);
}

void router_detach(struct router *r, struct process *p)
{
	struct edge *e, *next;

	p->state = PROCESS_LOST;
	p->sink = NULL;
	for (e = p->port ? LIST_FIRST(&p->port->in) : NULL; e; e = next) {
		next = LIST_NEXT(e, of_destination);
		edge_detach(r, e);
	}
	if (p->port)
		p->port->queued = p->port->loaded = 0;
}

struct ending {
	struct router *router;
	uint64_t id;
	Brood__Why why;
};

static void end_tell(const struct ending *ending, struct process *to)
{
	if (!to || to->told == ending->router->death)
		return;
	to->told = ending->router->death;
	tell_gone(to, ending->id, ending->why);
}

static void port_end(const struct ending *ending, struct port *port)
{
	struct edge *e;
	uint32_t at = 0;

	while ((e = LIST_FIRST(&port->in))) {
		end_tell(ending, e->source ? e->source->process : NULL);
		edge_end(ending->router, e);
	}
	while ((e = table_next(&port->out, &at))) {
		end_tell(ending, e->destination->process);
		e->source = NULL;
		edge_doom(ending->router, e);
	}
	table_deinit(&port->out);
	free(port);
}

void router_end(struct router *r, struct process *p, Brood__Why why, struct process *except)
{
	struct ending ending = { r, p->id, why };
	struct process *child;

	p->told = ++r->death;
	if (except)
		except->told = r->death;
	end_tell(&ending, p->parent);
	LIST_FOREACH (child, &p->children, sibling)
		end_tell(&ending, child);
	if (p->port)
		port_end(&ending, p->port);
	p->port = NULL;
	r->n_awaited -= p->state == PROCESS_AWAITED;
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
