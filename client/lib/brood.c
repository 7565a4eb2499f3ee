/*
 * brood: the handle's birth and end, and the questions a program asks about itself and its peers.
 */
#include "child.h"
#include "confirm.h"
#include "departure.h"
#include "event.h"
#include "inbound.h"
#include "letter.h"
#include "link.h"
#include "loop.h"
#include "names.h"
#include "obituary.h"
#include "peer.h"
#include "pump.h"
#include "remote.h"
#include "request.h"
#include "watch.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_MS 5000u
#define WINDOW (4u * 1024u * 1024u)
#define WINDOW_MIN 4096u
#define HELD (64u * 1024u * 1024u) /* for all receivers of a handle */

/* ---- birth ------------------------------------------------------------------------------------------------------- */

static int read_options(const struct brood_options *from, struct brood_options *o)
{
	memset(o, 0, sizeof(*o));
	if (!from)
		return 0;
	if (from->size < sizeof(size_t))
		return -EINVAL;
	memcpy(o, from, from->size < sizeof(*o) ? from->size : sizeof(*o));
	return o->flags & ~(BROOD_NO_AUTOSTART | BROOD_NOT_READY | BROOD_OUTLIVE | BROOD_NO_RECONNECT) ? -EINVAL : 0;
}

/* One that the handle keeps for its whole life, also when it has closed. */
static struct brood_peer *peer_with_remote(struct brood *h, enum peer_kind kind)
{
	struct remote *r = remote_new(h);
	struct brood_peer *p = r ? peer_new(h, kind, r) : NULL;
	remote_unref(r);
	return p ? peer_ref(p) : NULL;
}

static int make_relations(struct brood *h, const struct brood_options *o)
{
	h->self = peer_new(h, PEER_SELF, NULL);
	h->broker = peer_with_remote(h, PEER_BROKER);
	if (!h->self || !h->broker)
		return -ENOMEM;
	if (remote_resolve(h->broker->remote, FRAME_BROKER) < 0)
		return -ENOMEM;
	h->broker->remote->out.spells_types = 1; /* the next broker would not know the numbers */
	if (h->dialer.inherited || o->parent) {
		h->parent = peer_with_remote(h, PEER_PARENT);
		if (!h->parent)
			return -ENOMEM;
		/* Now, so that no message can come before it. */
		if (!(h->flags & BROOD_NOT_READY) && remote_signal(h->parent->remote, ITEM_READY, 0) < 0)
			return -ENOMEM;
	}
	return peer_set_table(h->self, o->on, o->data);
}

static void init_members(struct brood *h, const struct brood_options *o)
{
	h->epoll_fd = h->wake_fd = h->timer_fd = -1;
	h->line = (struct life_line){ .read_fd = -1, .write_fd = -1 };
	h->flags = o->flags;
	h->flush_ms = o->flush_ms ? o->flush_ms : FLUSH_MS;
	h->window = !o->window_bytes ? WINDOW : o->window_bytes < WINDOW_MIN ? WINDOW_MIN : o->window_bytes;
	TAILQ_INIT(&h->dirty);
	TAILQ_INIT(&h->peers);
	LIST_INIT(&h->names);
	LIST_INIT(&h->children);
	LIST_INIT(&h->unburied);
	LIST_INIT(&h->letters);
	timers_init(&h->timers);
	outflow_pool_init(&h->pool, h->window > HELD ? h->window : HELD);
	fault_clear(&h->last);
	fault_clear(&h->first);
}

static void destroy(struct brood *h);
static int end(struct brood *h);

static int make(struct brood **ret, const char *address, const struct brood_options *o)
{
	struct brood *h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	init_members(h, o);
	h->end = end;
	h->push = pump_run;
	watch_init(h);
	link_init(h, address, o, &inbound_link_up);
	int rc = event_init(h);
	if (rc == 0)
		rc = timer_promise(&h->timers, &h->watch);
	if (rc == 0)
		rc = timer_promise(&h->timers, &h->dialer.timer);
	if (rc == 0)
		rc = loop_init(h);
	if (rc < 0 || (rc = make_relations(h, o)) < 0 || (o->name && (rc = brood_register(h, o->name)) < 0)) {
		destroy(h);
		return rc;
	}
	departure_add(h);
	*ret = h;
	return 0;
}

int brood_connect(brood **ret, const char *address, const struct brood_options *options)
{
	struct brood_options o;
	int rc = ret ? read_options(options, &o) : -EINVAL;
	if (rc < 0 || (rc = make(ret, address, &o)) < 0)
		return rc;
	if ((*ret)->parent || o.name)
		link_need(*ret);
	return 0;
}

/* An address keeps it from the inherited channel, which is another handle's; nothing ever contacts it. */
int handle_new_bare(struct brood **ret)
{
	const struct brood_options o = { .size = sizeof(o), .flags = BROOD_NO_AUTOSTART };
	return make(ret, "unix:/none", &o);
}

/* ---- end --------------------------------------------------------------------------------------------------------- */

static void free_peers(struct brood *h)
{
	struct brood_peer *p;
	while ((p = TAILQ_FIRST(&h->peers))) {
		p->refs = 1;
		peer_unref(p);
	}
}

static void free_letters(struct brood *h)
{
	while (!LIST_EMPTY(&h->letters))
		letter_drop(LIST_FIRST(&h->letters));
}

static void fail_open(struct brood *h, const struct fault *f)
{
	struct brood_peer *p;
	struct remote *r;
	TAILQ_FOREACH (p, &h->peers, entry) {
		if (!p->remote)
			continue;
		request_fail_all(p->remote, f);
		(void)confirm_fail_all(p->remote, f);
	}
	for (r = h->by_id; r; r = r->hh.next) {
		request_fail_all(r, f);
		(void)confirm_fail_all(r, f);
	}
}

static void end_remotes(struct brood *h)
{
	struct remote *r, *next;
	HASH_ITER (hh, h->by_id, r, next)
		remote_end(r);
}

/*
 * Answers, confirmations and results are told exactly once: the last moment for that is now. Calls are refused meanwhile, so
 * nobody asks anew.
 */
static void tell_promised(struct brood *h)
{
	struct fault f;
	departure_remove(h); /* an exit(3) in a callback has nothing left to flush */
	h->over = 1;
	fault_set(&f, "cancelled", "the handle was closed");
	child_abandon_all(h);
	fail_open(h, &f);
	(void)handle_fail(h, -ESHUTDOWN, "cancelled", "the handle is being closed: it can do nothing more");
	event_tell_promised(h);
}

static void destroy(struct brood *h)
{
	departure_remove(h);
	h->closing = 1; /* no callback any more */
	child_abandon_all(h);
	if (h->cursor.remote)
		remote_unref(h->cursor.remote);
	h->cursor.remote = NULL;
	parcel_free(h->cursor.parcel);
	h->cursor.parcel = NULL;
	end_remotes(h);
	event_free_all(h);
	free_letters(h);
	names_free(h);
	obituary_settle(h, 0);
	free_peers(h);
	link_deinit(h);
	requests_deinit(h);
	outflow_pool_deinit(&h->pool);
	tombstones_deinit(&h->tombstones);
	life_line_deinit(&h->line);
	timers_deinit(&h->timers);
	loop_deinit(h);
	while (h->n_pinned)
		free(h->pinned[--h->n_pinned]);
	free(h->pinned);
	free(h->current);
	free(h);
}

static int no_child_left(void *handle)
{
	return child_count(handle) == 0;
}

static int none_abroad(void *handle)
{
	return child_count_abroad(handle) == 0;
}

/* While they can be told to end, and tell that they did. Else their keepers see that I am gone. */
static void end_abroad(struct brood *h)
{
	if (child_count_abroad(h) == 0)
		return;
	(void)loop_settle(h, (int)h->flush_ms);
	if (child_kill_abroad(h) > 0)
		(void)loop_wait(h, (int)h->flush_ms, none_abroad, h);
}

static int end(struct brood *h)
{
	end_abroad(h);
	uint64_t n = loop_flush(h, (int)h->flush_ms);
	if (child_kill_all(h) > 0) /* this ends: every child has its grace, then SIGKILL, or is given up */
		(void)loop_wait(h, -1, no_child_left, h);
	tell_promised(h);
	if (h->generation != handle_generation)
		return 0; /* a callback forked, and this is the copy */
	destroy(h);
	return n < INT_MAX ? (int)n : INT_MAX;
}

int brood_close(brood *h)
{
	if (!h)
		return 0;
	if (h->generation != handle_generation)
		return 0; /* a forked copy: the handle is its parent's */
	if (!h->in_callback && !h->blocking && !h->dispatching)
		return end(h);
	h->closing = 1;
	return 0;
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

unsigned brood_version(void)
{
	return BROOD_VERSION_NUMBER;
}

brood_peer *brood_self(brood *h)
{
	return h ? h->self : NULL;
}

brood_peer *brood_parent(brood *h)
{
	return h ? h->parent : NULL;
}

const struct brood_error *brood_last_error(brood *h)
{
	static const struct brood_error none = { -EINVAL, "argument", "no handle", "" };
	static const struct brood_error copied = { -ECHILD, "handle.copied",
						   "this handle belongs to the parent process",
						   "connect again in the copy" };
	if (!h)
		return &none;
	return h->generation != handle_generation ? &copied : &h->last.error;
}

int brood_on(brood_peer *p, const struct brood_handlers *on, void *data)
{
	int rc = handle_check(p ? p->h : NULL);
	if (rc < 0)
		return rc;
	rc = peer_set_table(p, on, data);
	if (rc < 0)
		return handle_fail(p->h, rc, "argument", UNSIZED_TABLE);
	event_table_changed(p->h);
	return 0;
}

void brood_release(brood_peer *p)
{
	if (!p || p->owned == 0 || handle_check(p->h) < 0)
		return;
	if (--p->owned > 0)
		return;
	if (p->kind == PEER_NAME)
		names_release(p);
	peer_unref(p);
}

static int state_of(const struct brood_peer *p)
{
	const struct child *c = p->child;
	if (p->closed)
		return BROOD_IS_CLOSED;
	if (p->has_exit)
		return BROOD_IS_EXITED;
	if (c && c->state == CHILD_PLANNED)
		return BROOD_STARTING;
	if (c && c->ended_by)
		return BROOD_ENDING;
	if (p->away)
		return BROOD_IS_AWAY;
	if (p->ready)
		return BROOD_IS_READY;
	return c ? BROOD_RUNNING : BROOD_STARTING;
}

static void fill_traffic(struct brood_peer_info *i, const struct remote *r)
{
	i->sent = r->sent;
	i->received = r->received;
	i->queued = outflow_unacknowledged(&r->out);
	i->queued_bytes = r->out.written - r->out.freed;
	i->connected = r->resolved && !r->ended && !r->fin_sent && !r->fin_received;
}

/* Of a child on another host, as its parent called that. */
static const char *node_of(struct brood_peer *p)
{
	return p->child && p->child->plan->host ? p->child->plan->host : p->h->link.node;
}

static void fill_info(struct brood_peer *p, struct brood_peer_info *i)
{
	(void)peer_label(p); /* makes the address, if there is one */
	i->state = state_of(p);
	i->killed = p->child && (p->child->signalled || p->child->ended_by);
	i->pid = p->pid;
	i->address = p->address;
	i->name = p->name ? p->name : "";
	i->node = node_of(p);
	i->argv = p->child ? p->child->plan->argv : NULL;
	i->exit = p->has_exit ? &p->exit : NULL;
	if (p->remote)
		fill_traffic(i, p->remote);
	i->connected = i->connected && !p->disconnected && !p->closed;
}

int brood_info(brood_peer *p, struct brood_peer_info *ret)
{
	struct brood_peer_info i = { 0 };
	int rc = handle_check(p ? p->h : NULL);
	if (rc < 0)
		return rc;
	if (!ret || ret->size < sizeof(size_t))
		return handle_fail(p->h, -EINVAL, "argument", "the size of the info is not set: use BROOD_INIT()");
	fill_info(p, &i);
	i.size = ret->size;
	memcpy(ret, &i, ret->size < sizeof(i) ? ret->size : sizeof(i));
	return 0;
}
