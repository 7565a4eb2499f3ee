/*
 * send: the public calls that send. Each checks what is known at once, appends to the receiver's outflow, and pushes it
 * out unless more is gathered: by BROOD_MORE, or by a turn that ends with one write for all.
 */
#include "child.h"
#include "confirm.h"
#include "errand.h"
#include "letter.h"
#include "link.h"
#include "loop.h"
#include "names.h"
#include "out.h"
#include "peer.h"
#include "pump.h"
#include "remote.h"
#include "request.h"
#include <errno.h>
#include <string.h>

#define GATHER_MAX (128u * 1024u) /* bytes that gather before they are pushed out all the same */
#define EASY (2048u * 1024u)      /* bytes under way that still lie in the processors' caches ... */
#define EASIER (1536u * 1024u)    /* ... below which a sender that may block goes on: soon, so that nobody sleeps ... */
#define EASE_MS 2                 /* ... and for which it waits no longer than this */

/* For the failure just set: what to do next, where the usual words for its name do not fit. */
static int with_hint(struct brood *h, const char *hint)
{
	h->last.error.hint = hint;
	return h->last.error.code;
}

/* What is known by now may be told by an event only later. */
static int is_disconnected(struct brood_peer *p)
{
	const struct child *c = p->child;
	const struct remote *r = p->remote;
	struct brood *h = p->h;
	if (c && c->failed_as) {
		(void)handle_fail(h, -ENOTCONN, c->failed_as, "%s", p->exit.text);
		return with_hint(h, c->failed_hint);
	}
	if (r->fin_sent && !r->fin_received && !r->ended) {
		(void)handle_fail(h, -ENOTCONN, "peer.left", "this process disconnected from %s", peer_label(p));
		return with_hint(h, "send before brood_disconnect()");
	}
	return handle_fail(h, -ENOTCONN, r->ended_as ? r->ended_as : "peer.left", "%s is disconnected%s%s",
			   peer_label(p), p->has_exit ? ": " : "", p->has_exit ? p->exit.text : "");
}

static int why_not(struct brood_peer *p)
{
	struct brood *h = p->h;
	if (h->generation != handle_generation)
		return -ECHILD;
	if (h->over)
		return -ESHUTDOWN;
	if (h->failed) {
		fault_copy(&h->last, &h->down);
		return -ENOTCONN;
	}
	if (p->told_closed)
		return handle_fail(h, -ESRCH, "peer.unknown", "%s is closed", peer_label(p));
	if (h->stopping)
		return handle_fail(h, -ENOTCONN, "broker.stopping", "the broker is stopping");
	if (p->kind == PEER_SELF) {
		(void)handle_fail(h, -ENOTCONN, "peer.plain", "this process cannot send to itself");
		return with_hint(h, "call what should be done");
	}
	if (!p->remote)
		return handle_fail(h, -ENOTCONN, "peer.plain", "%s has no channel", peer_label(p));
	return is_disconnected(p);
}

static inline int may_send(const struct brood_peer *p)
{
	const struct remote *r = p->remote;
	const struct brood *h = p->h;
	return r && !r->fin_sent && !r->fin_received && !r->ended && !(p->closed | h->failed | h->stopping | h->over) &&
	       h->generation == handle_generation;
}

struct room {
	struct brood_peer *peer;
	size_t cost, n_fds;
};

static int fits(const struct room *room)
{
	const struct outflow *out = &room->peer->remote->out;
	return outflow_has_room(out, room->cost) && (!room->n_fds || outflow_has_room_for_fds(out, room->n_fds));
}

/* A long message waits for the acknowledgement of everything, and that includes what was sent since it was asked for. */
static int has_room(void *data)
{
	const struct room *room = data;
	if (!may_send(room->peer) || fits(room))
		return 1;
	remote_ask(room->peer->remote);
	return 0;
}

static int wait_for_room(struct brood_peer *p, struct room *room)
{
	link_need(p->h);
	pump_run(p->h);
	(void)loop_wait(p->h, -1, has_room, room);
	return may_send(p) ? 0 : why_not(p);
}

/* Room for this body, now or (blocking) later. */
static int find_room(struct brood_peer *p, const struct body *b, unsigned flags)
{
	struct room room = { p, remote_cost(b->length), b->n_fds };
	if (fits(&room))
		return 0;
	remote_ask(p->remote); /* a message longer than the window waits for the last acknowledgement too */
	if (flags & BROOD_BLOCK)
		return wait_for_room(p, &room);
	p->remote->want_drain = 1;
	return handle_fail(p->h, -EAGAIN, "window", "%s has not yet consumed what was sent before", peer_label(p));
}

static int refused(struct brood_peer *p, int code)
{
	const char *name = code == -ENOMEM ? "memory" : code == -EMFILE ? "fd.limit" : "argument";
	return handle_fail(p->h, code, name, "cannot send to %s: %s", peer_label(p), strerror(-code));
}

/* Whether this peer can be reached by descriptors, as far as this end knows. */
static int may_pass_fds(struct brood_peer *p)
{
	if (p->kind == PEER_BROKER)
		return refused(p, -EINVAL);
	if (p->remote && id_is_foreign(p->remote->id))
		return handle_fail(p->h, -EXDEV, "fd.transport", "cannot pass descriptors to %s: it is on another host",
				   peer_label(p));
	return link_passes_fds(p->h)
		       ? 0
		       : handle_fail(p->h, -EXDEV, "fd.transport",
				     "cannot pass descriptors to %s: this connection is not a Unix socket",
				     peer_label(p));
}

static int is_easy(void *peer)
{
	const struct brood_peer *p = peer;
	const struct outflow *out = &p->remote->out;
	return !may_send(p) || out->written - out->freed <= EASIER;
}

/*
 * What is far ahead of its receiver falls out of the caches of three processes, and costs half as much again. So who may
 * block is kept near, for a moment: a receiver that stands still must not make the window smaller than it is.
 */
static void ease(struct brood_peer *p)
{
	const struct outflow *out = &p->remote->out;
	if (out->written - out->freed > EASY && p->h->link.state == LINK_UP)
		(void)loop_wait(p->h, EASE_MS, is_easy, p);
}

/* More comes before this is to be written. */
static inline int is_gathered(const struct brood *h, unsigned flags)
{
	return h->gather || flags & BROOD_MORE;
}

static inline void push(struct brood_peer *p, unsigned flags)
{
	struct brood *h = p->h;
	if (h->link.state == LINK_IDLE)
		link_need(h);
	if (p->absent)
		names_wait(p);
	int much = outflow_pending(&p->remote->out) >= GATHER_MAX;
	if (much || !is_gathered(h, flags))
		pump_run(h);
	if (much && flags & BROOD_BLOCK)
		ease(p);
	if (h->foreign)
		loop_timer_changed(h);
}

static int accept_item(struct brood_peer *p, struct item *it, const struct body *b)
{
	struct event_item *confirm = NULL;
	if (b->confirm && !(confirm = confirm_new(p, b->confirm, b->confirm_data)))
		return refused(p, -ENOMEM);
	int rc = remote_put(p->remote, it, b);
	if (rc < 0) {
		if (confirm)
			confirm_drop(confirm);
		return refused(p, rc);
	}
	if (confirm)
		confirm_attach(confirm);
	p->remote->sent++;
	return 0;
}

static int send_item(struct brood_peer *p, const struct brood_out *out, struct item *it, unsigned *flags)
{
	struct body b;
	int rc = out_read(out, &b, it, flags);
	if (rc < 0)
		return refused(p, rc);
	if (!may_send(p))
		return why_not(p);
	if (b.confirm && it->kind != ITEM_MESSAGE)
		return refused(p, -EINVAL); /* its answer says more */
	if (b.n_fds && (rc = may_pass_fds(p)) < 0)
		return rc;
	rc = find_room(p, &b, *flags);
	if (rc < 0)
		return rc;
	return accept_item(p, it, &b);
}

/* The usual case in one go, if may_send(). 1 if that was it, else nothing has happened. */
static inline __attribute__((always_inline)) int send_short(struct brood_peer *p, const struct brood_out *out,
							    struct item it)
{
	if (!out_join(out, p->remote, it))
		return 0;
	p->remote->sent++;
	return 1;
}

int brood_send(brood_peer *p, const struct brood_out *out)
{
	struct item it;
	unsigned flags;
	if (!p)
		return -EINVAL;
	if (!out)
		return refused(p, -EINVAL);
	if (may_send(p) && send_short(p, out, (struct item){ .kind = ITEM_MESSAGE })) {
		if (p->absent ||
		    !is_gathered(p->h, out->flags)) /* all else was done for the one that opened the frame */
			push(p, out->flags);
		return 0;
	}
	it = (struct item){ .kind = ITEM_MESSAGE };
	int rc = send_item(p, out, &it, &flags);
	if (rc == 0)
		push(p, flags);
	return rc;
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

/*
 * What the receiver is told. On another node clocks say something else, so it is not told there; whether it is another node
 * is not always known yet, but a name says so, or that it was to be started there.
 */
static uint64_t deadline_for(const struct brood_peer *p, uint64_t due)
{
	int early = p->child && p->child->errand && !p->remote->resolved && !errand_is_here(p->child->errand);
	int far = (p->name && strchr(p->name, '/')) || (p->remote && id_is_foreign(p->remote->id));
	return early || far ? 0 : due;
}

#define FINE_MS 1000 /* shorter times are kept to the millisecond */

/* When an answer is due, which is never early; and as its receiver is told, which is never late. 0: no matter when. */
struct due {
	uint64_t here, told;
};

static struct due due_in(struct brood *h, int timeout_ms)
{
	uint64_t ms = (uint64_t)timeout_ms, due;
	if (timeout_ms < 0)
		return (struct due){ 0, 0 };
	if (timeout_ms < FINE_MS) {
		due = handle_now() + ms;
		return (struct due){ due, due };
	}
	due = handle_now_at_most(h) + ms;
	return (struct due){ due, due - HANDLE_TICK_MS };
}

static int64_t ask(struct brood_peer *p, const struct brood_out *out, int timeout_ms, brood_fn *done, void *data,
		   struct call *call)
{
	unsigned flags;
	if (timeout_ms == 0 || timeout_ms < -1)
		return handle_fail(p->h, -EINVAL, "argument", "cannot ask %s: timeout_ms is neither above 0 nor -1",
				   peer_label(p));
	if (!may_send(p))
		return why_not(p);
	struct due due = due_in(p->h, timeout_ms);
	int64_t id = request_open(p, due.here, done, data, call);
	if (id < 0)
		return refused(p, (int)id);
	const struct item question = { .kind = ITEM_REQUEST,
				       .correlation = (uint64_t)id,
				       .deadline = deadline_for(p, due.told) };
	if (out && send_short(p, out, question)) {
		push(p, out->flags);
		return id;
	}
	struct item it = question;
	int rc = send_item(p, out, &it, &flags);
	if (rc < 0) {
		request_forget(p->h, id);
		return rc;
	}
	push(p, flags);
	return id;
}

int64_t brood_request(brood_peer *p, const struct brood_out *out, int timeout_ms, brood_fn *done, void *data)
{
	if (!p)
		return -EINVAL;
	if (!done)
		return handle_fail(p->h, -EINVAL, "argument", "cannot ask %s: no callback for the answer",
				   peer_label(p));
	return ask(p, out, timeout_ms, done, data, NULL);
}

int brood_cancel(brood *h, int64_t request)
{
	struct fault f;
	int rc = handle_check(h);
	if (rc < 0)
		return rc;
	fault_set(&f, "cancelled", "the request was cancelled");
	rc = request_cancel(h, request, &f);
	pump_kick(h);
	return rc < 0 ? handle_fail(h, rc, "argument", "no such request is open: it was answered or cancelled") : 0;
}

static int call_finished(void *data)
{
	return ((struct call *)data)->finished;
}

int brood_call(brood_peer *p, const struct brood_out *out, int timeout_ms, brood_msg **ret)
{
	struct call call = { 0 };
	if (!p)
		return -EINVAL;
	if (!ret)
		return handle_fail(p->h, -EINVAL, "argument", "cannot ask %s: nowhere to put the answer",
				   peer_label(p));
	int64_t id = ask(p, out, timeout_ms, NULL, NULL, &call);
	if (id < 0)
		return (int)id;
	(void)loop_wait(p->h, -1, call_finished, &call);
	if (!call.letter) {
		fault_copy(&p->h->last, &call.fault);
		return call.fault.error.code;
	}
	call.letter->kept = 1;
	*ret = &call.letter->msg;
	return 0;
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

int brood_disconnect(brood_peer *p)
{
	if (!p)
		return -EINVAL;
	if (!may_send(p) || p->kind == PEER_BROKER)
		return why_not(p);
	int rc = remote_signal(p->remote, ITEM_FIN, 0);
	if (rc < 0)
		return refused(p, rc);
	p->remote->fin_sent = 1;
	push(p, 0);
	return 0;
}

int brood_ready(brood *h)
{
	int rc = handle_check(h);
	if (rc < 0)
		return rc;
	int waits = h->flags & BROOD_NOT_READY;
	h->flags &= ~BROOD_NOT_READY;
	if (!waits || !h->parent || h->parent->remote->ended)
		return 0;
	rc = remote_signal(h->parent->remote, ITEM_READY, 0);
	pump_kick(h);
	return rc < 0 ? handle_fail(h, rc, "memory", "cannot tell the parent: %s", strerror(-rc)) : 0;
}
