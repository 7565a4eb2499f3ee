/*
 * inbound: see inbound.h. The way of a message: inbound_frame() finds the sender and opens the cursor on the frame's
 * items; step() takes them one by one, exactly in sequence, and gives each to its handler in take_item(). Most messages
 * need less than that: run_messages() takes them first, and leaves whatever is unusual to step().
 *
 * The cursor belongs to the handle, not to a stack frame: a callback that makes a blocking call reads on from where its
 * own message stood, and order holds.
 */
#include "inbound.h"
#include "address.h"
#include "brood.pb-c.h"
#include "child.h"
#include "confirm.h"
#include "errand.h"
#include "event.h"
#include "guard.h"
#include "letter.h"
#include "lines.h"
#include "names.h"
#include "obituary.h"
#include "parting.h"
#include "peer.h"
#include "pump.h"
#include "remote.h"
#include "request.h"
#include "watch.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PART 16 /* items after which is written what was sent meanwhile; then twice as many each time */

/* ---- items ------------------------------------------------------------------------------------------------------- */

/* As of the first request of the frame: the clock is read once for all requests in it. */
static int time_left(struct brood *h, uint64_t deadline)
{
	struct cursor *c = &h->cursor;
	if (!deadline)
		return -1;
	if (!c->now)
		c->now = handle_now();
	return deadline > c->now ? (int)(deadline - c->now) : 0;
}

static int copy_trace(struct letter *m, const char *trace, size_t n)
{
	if (!n)
		return 0;
	if (!(m->trace = strndup(trace, n)))
		return -ENOMEM;
	m->msg.trace = m->trace;
	m->owns = 1;
	return 0;
}

/* What came with the open frame is the caller's now. */
static struct parcel *take_parcel(struct brood *h)
{
	struct parcel *p = h->cursor.parcel;
	h->cursor.parcel = NULL;
	return p;
}

/* The letter of an item that came whole. */
static struct letter *letter_of_item(struct remote *r, const struct item *it, const char *type, uint64_t sequence)
{
	struct letter *m = letter_take(r->h, r, sequence);
	if (!m)
		return NULL;
	m->msg.type = type;
	m->msg.body = it->body;
	m->msg.length = it->length;
	m->parcel = it->fds ? take_parcel(r->h) : NULL;
	m->owns = m->parcel != NULL;
	if (copy_trace(m, it->trace, it->trace_length) == 0)
		return m;
	letter_drop(m);
	return NULL;
}

/* The letter of a message whose last fragment just came; its body is on the heap already. */
static struct letter *letter_of_assembly(struct remote *r, uint64_t sequence)
{
	struct inflow_assembly *a = &r->in.assembly;
	struct letter *m = letter_take(r->h, r, sequence);
	if (!m)
		return NULL;
	m->msg.type = a->type;
	m->msg.length = a->have;
	m->owns = 1;
	if (a->trace)
		m->msg.trace = m->trace = a->trace;
	a->trace = NULL;
	m->parcel = a->parcel;
	a->parcel = NULL;
	m->body = inflow_assembly_take(&r->in);
	m->msg.body = m->body;
	return m;
}

static int deliver_message(struct remote *r, struct letter *m, const struct item *it)
{
	if (r->peer->inside)
		return r->peer->inside->message(r->peer, m);
	if (it->kind == ITEM_REQUEST && errand_is_starting(m)) {
		errand_starting(r, m);
		return 0;
	}
	/* Its asker has given up already, and knows. */
	int late = it->kind == ITEM_REQUEST && it->deadline && time_left(r->h, it->deadline) == 0;
	if (late || r->fin_received) { /* who said FIN says no more: nothing comes behind DISCONNECT */
		letter_drop(m);
		r->received++;
		return 0;
	}
	int rc = event_message(r->h, r->peer, m);
	r->received += rc == 0;
	return rc;
}

static void deliver_failure(struct remote *r, struct letter *m, const struct item *it)
{
	ProtobufCMessage *failure;
	struct fault f;
	int rc = guard_unpack(&brood__failure__descriptor, m->msg.body, m->msg.length, 1, &failure);
	if (rc < 0) {
		fault_set_code(&f, -EBADMSG, "request.failed", "an error that cannot be read");
	} else {
		const Brood__Failure *p = (const Brood__Failure *)failure;
		fault_set_code(&f, p->code < 0 ? p->code : -EREMOTEIO, p->error, "%s", p->text);
		guard_free(failure);
	}
	letter_drop(m);
	(void)request_answer(r->h, r, it->correlation, NULL, &f);
}

static void deliver_reply(struct remote *r, struct letter *m, uint64_t correlation)
{
	if (request_answer(r->h, r, correlation, m, NULL) < 0)
		letter_drop(m); /* an answer after its deadline */
}

/* What it sends cannot be read, so nothing behind it can be: the relation ends, and both sides hear why. */
static void broken(struct remote *r, uint64_t sequence, const char *wrong)
{
	struct fault f;
	fault_set(&f, "peer.protocol", "%s sent something that cannot be read: item %" PRIu64 " has %s",
		  peer_label(r->peer), sequence, wrong);
	pump_reset(r->h, r, 0);
	event_post(r->h, r->peer, BROOD_EVENT_ERROR, &f);
	remote_remember(r);
	parting_gone(r, &f);
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

/* Why this letter's descriptors are not all there. 0: they are. */
static int are_missing(const struct brood *h, const struct letter *m, unsigned said, struct fault *why)
{
	const struct parcel *p = m->parcel;
	if (p && !p->lost && p->n == said)
		return 0;
	if (id_is_foreign(m->remote->id))
		fault_set(why, "fd.transport", "descriptors came with it, and none go from host to host");
	else if (p && p->lost)
		fault_set(why, "fd.lost", "its receiver has no descriptor free (limit of open files)");
	else if (!h->link.channel.takes_fds)
		fault_set(why, "fd.transport", "descriptors came with it, and its receiver is not on a Unix socket");
	else
		fault_set(why, "fd.lost", "its descriptors were lost on the way: too many wait or are under way");
	return 1;
}

/* Without its descriptors it is not what was sent: whoever waits for it hears so, the program never sees it. */
static int refuse(struct remote *r, struct letter *m, const struct item *it, const struct fault *why)
{
	if (it->kind != ITEM_REPLY)
		return letter_refuse(m, why);
	letter_drop(m);
	(void)request_answer(r->h, r, it->correlation, NULL, why);
	return 0;
}

/* The receiver of what I sent did not take it. */
static void take_refused(struct remote *r, const struct item *it, uint64_t sequence)
{
	ProtobufCMessage *failure;
	struct fault f;
	if (r->mine && it->correlation > r->out.reached)
		return; /* of a stream that was reported as a whole */
	if (r->out.refused == r->out.with_fds || it->correlation == 0 || it->correlation > r->out.reached) {
		broken(r, sequence, "kind REFUSED, for an item that brought no descriptors");
		return;
	}
	r->out.refused++;
	if (guard_unpack(&brood__failure__descriptor, it->body, it->length, 1, &failure) < 0) {
		fault_set(&f, "undelivered", "1 message to %s: it was refused; not delivered", peer_label(r->peer));
	} else {
		const Brood__Failure *p = (const Brood__Failure *)failure;
		fault_set_code(&f, p->code < 0 ? p->code : -EREMOTEIO, "undelivered",
			       "1 message to %s: %s; not delivered", peer_label(r->peer), p->text);
		guard_free(failure);
	}
	if (!confirm_refused(r, it->correlation, &f))
		event_post(r->h, r->peer, BROOD_EVENT_ERROR, &f);
}

/* ---- items that are messages ------------------------------------------------------------------------------------- */

/* 0; -ENOMEM: it was not taken, and the letter is dropped. */
static int deliver(struct remote *r, struct letter *m, const struct item *it)
{
	struct fault why;
	m->correlation = it->correlation;
	m->deadline = it->deadline;
	m->msg.text = m->msg.body;
	m->msg.from = r->peer;
	m->msg.wants_reply = it->kind == ITEM_REQUEST;
	m->msg.timeout_ms = it->kind == ITEM_REQUEST ? time_left(r->h, it->deadline) : -1;
	m->msg.n_fds = it->fds;
	if (it->fds && are_missing(r->h, m, it->fds, &why))
		return refuse(r, m, it, &why);
	if (it->kind == ITEM_MESSAGE || it->kind == ITEM_REQUEST)
		return deliver_message(r, m, it);
	if (it->kind == ITEM_FAILURE)
		deliver_failure(r, m, it);
	else
		deliver_reply(r, m, it->correlation);
	return 0;
}

/* What it sends is not read on: it reports the rest as not delivered, and begins anew. Answers may have been among that. */
static void give_up_stream(struct remote *r, const struct fault *why)
{
	request_fail_all(r, why);
	event_post(r->h, r->peer, BROOD_EVENT_ERROR, why);
	r->consumed = inflow_consumed(&r->in);
	r->forgotten = 1;
	pump_reset(r->h, r, r->in.next);
}

/* There is no memory for it, and nobody waits any longer. */
static void lose_message(struct remote *r, uint64_t sequence)
{
	struct fault f;
	r->in.next = sequence;
	fault_set_code(&f, -ENOMEM, "memory", "a message from %s was lost: out of memory", peer_label(r->peer));
	give_up_stream(r, &f);
}

/* The last fragment came. The others were consumed as they came, so when the whole is lost there is no way back. */
static int take_assembled(struct remote *r, uint32_t last, uint64_t sequence)
{
	struct item first = r->in.assembly.first;
	struct letter *m = letter_of_assembly(r, sequence);
	if (!m) {
		r->in.assembly.have -= last;
		return -ENOMEM;
	}
	if (deliver(r, m, &first) < 0)
		lose_message(r, sequence);
	return 0;
}

static int take_fragment(struct remote *r, const struct item *it, const char *type, uint64_t sequence)
{
	int rc = inflow_assemble(&r->in, it, type, r->h->cursor.landed);
	if (rc < 0)
		return rc;
	if (it->fds)
		r->in.assembly.parcel = take_parcel(r->h);
	return rc == 1 ? take_assembled(r, it->length, sequence) : 0;
}

static int take_message(struct remote *r, const struct item *it, uint64_t sequence)
{
	const char *type = "";
	int rc = it->continued ? 0 : inflow_type(&r->in, it, &type);
	if (rc < 0)
		return rc;
	if (it->more || it->continued)
		return take_fragment(r, it, type, sequence);
	struct letter *m = letter_of_item(r, it, type, sequence);
	return m ? deliver(r, m, it) : -ENOMEM;
}

static void take_ready(struct remote *r)
{
	struct brood_peer *p = r->peer;
	if (p->ready || p->kind == PEER_NAME)
		return;
	p->ready = 1;
	child_ready(p);
	event_post(r->h, p, BROOD_EVENT_READY, NULL);
}

/* The other side sends no more; neither do we, once it has what we sent. */
static int take_fin(struct remote *r)
{
	if (!r->fin_sent && remote_signal(r, ITEM_FIN, 0) < 0)
		return -ENOMEM;
	r->fin_sent = r->fin_received = 1;
	parting_disconnect(r->peer, NULL);
	return 0;
}

/* 0; -EPROTO; -ENOMEM: it was not taken. */
static int take_item(struct remote *r, const struct item *it, uint64_t sequence)
{
	switch (it->kind) {
	case ITEM_READY:
		take_ready(r);
		break;
	case ITEM_FIN:
		return take_fin(r);
	case ITEM_CANCEL:
		letter_cancel(r, it->correlation);
		break;
	case ITEM_REFUSED:
		take_refused(r, it, sequence);
		break;
	default:
		return take_message(r, it, sequence);
	}
	return 0;
}

/* ---- the cursor -------------------------------------------------------------------------------------------------- */

static void cursor_close(struct brood *h)
{
	struct remote *r = h->cursor.remote;
	h->cursor.remote = NULL;
	if (h->cursor.parcel)
		parcel_free(take_parcel(h));
	if (h->cursor.ack_now)
		inflow_ask(&r->in, h->cursor.sequence - 1);
	if (inflow_owes(&r->in))
		remote_touch(r);
	if (r->peer && r->peer->child)
		child_arrived(r->peer->child);
	confirm_arrived(r); /* now that it is known which of them it refused */
	remote_unref(r);
}

/*
 * A run: whole messages, requests and replies without extension, of types that are known, next in sequence, for a
 * handler that may be called at once. It ends at the first that is anything else; nothing has happened to that one. A
 * callback may change everything, so all that the run relies on is looked at anew for each item, but for what is the
 * same whenever a callback has returned (that this turn calls callbacks, and that none is under way: event_may_call()),
 * and for what changes seldom enough that the change itself says so (h->stirred).
 */
struct run {
	struct brood *h;
	struct remote *remote;
	struct brood_peer *peer;
	brood_fn *fn;  /* takes messages; NULL: nobody does */
	void *data;    /* of its table */
	uint64_t head; /* of the plain message before, and its size; SIZE_MAX: it was something else ... */
	size_t size;
	struct letter *letter; /* ... and what it came in */
};

static inline brood_fn *message_handler(const struct brood_peer *table)
{
	if (!table)
		return NULL;
	return table->on.message ? table->on.message : table->on.any;
}

static inline int run_goes_on(const struct run *run)
{
	const struct brood *h = run->h;
	const struct remote *r = run->remote;
	return !h->stirred && !r->ended && r->peer == run->peer && !event_interrupted(h) && TAILQ_EMPTY(&h->ready);
}

/* Give it to its handler, or to the request that it answers. */
static inline void run_letter(const struct run *run, struct brood_event *e, struct letter *m, unsigned kind)
{
	struct remote *r = run->remote;
	if (kind == ITEM_REPLY) {
		deliver_reply(r, m, m->correlation);
		return;
	}
	r->received++;
	e->data = run->data;
	e->msg = &m->msg;
	event_call_message(run->h, run->fn, e, m);
}

static inline void run_past(const struct run *run, size_t size)
{
	run->h->cursor.at += size;
	run->h->cursor.sequence++;
	run->remote->in.next++;
}

/* Another message like the one before, in the same letter: but for where it is, all of it was said. */
static inline int run_again(const struct run *run, struct brood_event *e)
{
	struct brood *h = run->h;
	const uint8_t *at = h->cursor.at;
	struct letter *m = h->current;
	if (!item_is_again(at, (size_t)(h->cursor.end - at), run->head, run->size) || m != run->letter ||
	    !m->msg.type) /* blank: the program did more with it than look at it */
		return 0;
	(void)letter_take_spare(h, run->remote, h->cursor.sequence);
	run_past(run, run->size);
	m->msg.body = m->msg.text = (const char *)at + ITEM_HEAD;
	run_letter(run, e, m, ITEM_MESSAGE);
	return 1;
}

static inline int run_one(struct run *run, struct brood_event *e)
{
	struct brood *h = run->h;
	struct cursor *c = &h->cursor;
	struct item_plain it;
	struct letter *m;
	size_t size = item_plain(c->at, (size_t)(c->end - c->at), &it);
	const char *type = size ? inflow_bound_type(&run->remote->in, it.type) : NULL;
	int left = type && it.kind == ITEM_REQUEST ? time_left(h, it.deadline) : -1;
	if (!type || left == 0 || (it.kind != ITEM_REPLY && !run->fn) ||
	    !(m = letter_take_spare(h, run->remote, c->sequence)))
		return 0;
	run->head = it.head;
	run->size = it.kind == ITEM_MESSAGE ? size : SIZE_MAX;
	run->letter = m;
	run_past(run, size);
	m->correlation = it.correlation;
	m->deadline = it.deadline;
	m->msg.type = type;
	m->msg.body = m->msg.text = (const char *)it.body;
	m->msg.length = it.length;
	m->msg.from = run->peer;
	m->msg.wants_reply = it.kind == ITEM_REQUEST;
	m->msg.timeout_ms = left;
	run_letter(run, e, m, it.kind);
	return 1;
}

/* How many there were. */
static unsigned run_messages(struct brood *h)
{
	struct remote *r = h->cursor.remote;
	unsigned n = 0;
	if (!peer_of(r) || r->peer->inside || r->peer->paused || r->fin_received || !event_may_call(h) ||
	    h->cursor.sequence != r->in.next)
		return 0;
	const struct brood_peer *table = event_table(r->peer);
	struct run run = { .h = h,
			   .remote = r,
			   .peer = r->peer,
			   .fn = message_handler(table),
			   .data = table ? table->data : NULL,
			   .size = SIZE_MAX };
	h->stirred = 0;
	struct brood_event e = { .type = BROOD_EVENT_MESSAGE, .handle = h, .peer = r->peer };
	while (run_goes_on(&run) && (run_again(&run, &e) || run_one(&run, &e)))
		n++;
	return n;
}

/* There was no memory for it, or what it landed in is gone. Its sender sends it again to whoever comes back, so that is what
 * we do, for as long as for a broker that is lost. What a keeper says has its end to tell. */
static void not_taken(struct remote *r, uint64_t sequence)
{
	uint64_t now = handle_awake(r->h);
	if (r->untaken != sequence) {
		r->untaken = sequence;
		r->untaken_at = now;
	}
	if (now - r->untaken_at >= r->h->dialer.reconnect_ms && !r->peer->inside) {
		lose_message(r, sequence);
		return;
	}
	r->in.next = sequence;
	r->h->cursor.at = r->h->cursor.end;
	pump_spoil(r->h);
}

/* The last that had to do with it may have been given back by the item before; who sends is somebody all the same. */
static int has_peer(struct remote *r)
{
	if (peer_of(r) || peer_new(r->h, PEER_PROCESS, r))
		return 1;
	pump_spoil(r->h);
	return 0;
}

/* What is wrong with an item that is sound by itself, and does not fit to those before it. */
static const char *unfit(const struct item *it)
{
	if (it->continued)
		return "CONTINUED, and there is no such message, or its lengths are not its total";
	return it->name ? "another name for its type number" : "a type number that no item has named";
}

/* One item of the open frame. */
static void step(struct brood *h)
{
	struct cursor *c = &h->cursor;
	struct remote *r = c->remote;
	struct item it;
	int rc = r->ended || !has_peer(r) ? 0 : item_next(&c->at, c->end, &it);
	if (rc < 0)
		broken(r, c->sequence, it.wrong);
	if (rc != 1) {
		cursor_close(h);
		return;
	}
	uint64_t sequence = c->sequence++;
	if (sequence != r->in.next)
		return; /* older: seen; newer: the sender will come back to it */
	r->in.next++;
	rc = take_item(r, &it, sequence);
	if (rc == -EPROTO)
		broken(r, sequence, unfit(&it));
	else if (rc < 0)
		not_taken(r, sequence);
}

static void cursor_open(struct brood *h, struct remote *r, const struct frame *f)
{
	h->cursor = (struct cursor){ .remote = remote_ref(r),
				     .at = f->body,
				     .end = f->body + f->length,
				     .sequence = f->sequence,
				     .ack_now = f->flags & FRAME_ACK_NOW,
				     .landed = f->elsewhere,
				     .parcel = f->flags & FRAME_FDS ? channel_take_parcel(&h->link.channel) : NULL };
}

int inbound_run(struct brood *h)
{
	unsigned n = 0, part = PART;
	h->stirred = 1; /* for a run further up, in whose callback we are */
	for (;;) {
		while (h->cursor.remote) {
			if (!h->blocking && event_interrupted(h))
				return 1;
			unsigned taken = run_messages(h);
			if (!taken)
				step(h);
			n += taken ? taken : 1;
		}
		if (!h->blocking && event_interrupted(h))
			return 1;
		if (n >= part) { /* those who are asked begin meanwhile: else all would wait for each other in turn */
			pump_run(h);
			n = 0;
			part *= 2;
		}
		if (!link_next(h))
			return 0;
	}
}

/* ---- routed frames ----------------------------------------------------------------------------------------------- */

/* NULL: there is no memory for somebody new, who has to come again. */
static struct remote *sender(struct brood *h, uint64_t id)
{
	struct remote *r = remote_find(h, id);
	if (r && peer_of(r))
		return r;
	struct brood_peer *p = r ? peer_new(h, PEER_PROCESS, r) : names_stranger(h, id);
	if (!p)
		pump_spoil(h);
	return p ? p->remote : NULL;
}

static void acknowledged(struct remote *r, uint64_t sequence)
{
	if (outflow_acknowledge(&r->out, sequence) != 1)
		return;
	remote_touch(r);
	if (r->h->lines_wait && r->id == FRAME_BROKER)
		lines_go_on(r->h);
	if (r->want_drain && outflow_has_recovered(&r->out)) {
		r->want_drain = 0;
		event_post(r->h, r->peer, BROOD_EVENT_DRAIN, NULL);
	}
}

static void came_back(struct brood_peer *p)
{
	if (p->child && p->child->host_away)
		return; /* its keeper will say */
	p->away = 0;
	event_post(p->h, p, BROOD_EVENT_BACK, NULL);
	if (p->inside)
		p->inside->away(p, 0);
}

/*
 * 1 if the frame is of the stream that is read. A newer one takes its place. One that was given up is not read on: what
 * came before is over for my program, so its sender reports the rest, and begins anew.
 */
static int is_of_its_stream(struct remote *r, const struct frame *f)
{
	unsigned its = stream_mine(f->stream);
	if (!r->its_known) {
		r->its_known = 1;
		r->its = its & 15;
	}
	if (stream_is_newer(its, r->its))
		remote_begin_in(r, its);
	if (its == r->its && r->forgotten && (f->kind == FRAME_DATA || f->kind == FRAME_PROBE))
		pump_reset(r->h, r, r->in.next);
	return its == r->its && !r->forgotten;
}

/* My stream to it is over. */
static void take_reset(struct remote *r, uint64_t next)
{
	struct fault why;
	if (next == 0) {
		fault_set(&why, "peer.protocol", "it cannot read what was sent to it");
		parting_gone(r, &why);
		return;
	}
	fault_set(&why, "peer.forgot", "it had given this process up before that came back");
	parting_report(r, &why);
	remote_begin_out(r);
}

/* What is missing will not come any more. This must not happen, and if it does nobody shall wait for ever. */
static void tell_gap(struct remote *r, uint64_t sent)
{
	struct fault f;
	fault_set(&f, "stream.gap", "%" PRIu64 " items from %s are missing, from number %" PRIu64 " on",
		  sent - r->in.next, peer_label(r->peer), r->in.next);
	give_up_stream(r, &f);
}

static void routed(struct brood *h, const struct frame *f)
{
	struct remote *r = f->stream & STREAM_CHANNEL ? NULL : sender(h, f->source);
	if (!r)
		return;
	if (r->peer->away)
		came_back(r->peer);
	int current = is_of_its_stream(r, f), mine = stream_yours(f->stream) == r->mine;
	if (mine)
		acknowledged(r, f->acknowledge);
	if (f->kind != FRAME_DATA || !current)
		confirm_arrived(r);
	if (h->link.state == LINK_LEAVING)
		return; /* nobody would hear that it came, and its sender reports it */
	if (f->kind == FRAME_DATA && current) {
		cursor_open(h, r, f);
	} else if (f->kind == FRAME_RESET && mine) {
		take_reset(r, f->sequence);
	} else if (f->kind == FRAME_PROBE && current) {
		inflow_probe(&r->in, f->sequence);
		remote_touch(r);
		if (watch_gap(r, f->sequence))
			tell_gap(r, f->sequence);
	}
}

/* ---- control frames ---------------------------------------------------------------------------------------------- */

/* A child that connects by its ticket is not away before it came the first time, and nobody is who parted with me. */
static int may_be_away(const struct brood_peer *p)
{
	return !p->disconnected && (p->kind != PEER_CHILD || p->ready);
}

static void on_hold(struct brood *h, const struct frame *f)
{
	struct remote *r = remote_find(h, f->source);
	if (!r)
		return;
	r->hold = f->flags & FRAME_AWAY ? REMOTE_AWAY : REMOTE_BUSY;
	watch_soon(h);
	if (r->hold == REMOTE_AWAY)
		r->gap_at = 0; /* what is missing may have been lost with its connection, and it will be told so */
	struct brood_peer *p = peer_of(r);
	if (r->hold == REMOTE_AWAY && p && !p->away && may_be_away(p)) {
		p->away = 1;
		event_post(h, p, BROOD_EVENT_AWAY, NULL);
		if (p->inside)
			p->inside->away(p, 1);
	}
}

/* Send again from the first item that was not consumed; what we consumed may not have been heard either. */
static void begin_again(struct remote *r)
{
	if (r->hold != REMOTE_UNBORN)
		r->hold = REMOTE_OPEN;
	if (r->forgotten)
		pump_reset(r->h, r, r->in.next); /* that may not have been heard */
	r->asked = 0;
	r->gap_at = 0;
	outflow_rewind(&r->out);
	inflow_ask(&r->in, inflow_consumed(&r->in));
	remote_touch(r);
	remote_ask(r); /* if it was asked before, that was not heard either */
}

static void on_go(struct brood *h, const struct frame *f)
{
	struct remote *r = remote_find(h, f->source);
	if (!r)
		return;
	begin_again(r);
	if (peer_of(r) && r->peer->away)
		came_back(r->peer);
}

static void gone_words(unsigned why, struct fault *f)
{
	switch (why) {
	case BROOD__WHY__WHY_LEFT:
		fault_set(f, "peer.left", "it left");
		break;
	case BROOD__WHY__WHY_EXITED:
		fault_set(f, "peer.exited", "it exited");
		break;
	case BROOD__WHY__WHY_NOBODY:
		fault_set(f, "peer.unknown", "there is no such process");
		break;
	case BROOD__WHY__WHY_DENIED:
		fault_set(f, "peer.denied",
			  "it is there, and the broker does not let this user's processes write to it");
		break;
	case BROOD__WHY__WHY_CLOSED:
		fault_set(f, "peer.closed", "the broker closed its connection for a reason");
		break;
	case BROOD__WHY__WHY_RESTARTED:
		fault_set(f, "peer.restarted", "its host was restarted, and it ended with it");
		break;
	default:
		fault_set(f, "peer.lost", "its connection ended without a goodbye");
		break;
	}
}

static void on_gone(struct brood *h, const ProtobufCMessage *body)
{
	const Brood__Gone *m = (const Brood__Gone *)body;
	struct remote *r = remote_find(h, m->id);
	struct fault f;
	if (!r)
		return;
	struct brood_peer *p = r->peer ? peer_ref(r->peer) : NULL;
	gone_words((unsigned)m->why, &f);
	if (m->why != BROOD__WHY__WHY_LEFT && m->why != BROOD__WHY__WHY_EXITED)
		remote_remember(r); /* nobody saw it end */
	parting_gone(r, &f);
	if (p) {
		child_left(p);
		peer_unref(p);
	}
}

static void on_end(struct brood *h, const ProtobufCMessage *body)
{
	const Brood__End *m = (const Brood__End *)body;
	struct remote *r = remote_find(h, m->id);
	obituary_settle(h, m->id);
	if (r)
		child_end(r, m->last);
	else
		child_end_kept(h, m->id, m->last);
}

static void on_name(struct brood *h, const ProtobufCMessage *body)
{
	names_holder(h, (const Brood__Name *)body);
}

static void on_registered(struct brood *h, const ProtobufCMessage *body)
{
	names_registered(h, (const Brood__Registered *)body);
}

/* The peer that a joiner becomes; NULL if it is somebody else to me already. */
static struct brood_peer *joiner(struct brood *h, uint64_t id)
{
	struct remote *r = id == FRAME_BROKER || id == h->link.id ? NULL : sender(h, id);
	if (!r || !r->peer)
		return NULL;
	if (r->peer->kind == PEER_NAME)
		return peer_new(h, PEER_JOINED, r); /* the nearer relation gets the events */
	return r->peer->kind == PEER_PROCESS ? r->peer : NULL;
}

static void on_joined(struct brood *h, const ProtobufCMessage *body)
{
	const Brood__Joined *m = (const Brood__Joined *)body;
	if (*m->address && errand_joined(h, m->address, m->id))
		return;
	struct brood_peer *p = joiner(h, m->id);
	if (!p)
		return;
	p->kind = PEER_JOINED;
	p->pid = (pid_t)m->pid;
	h->counting++;
	event_post(h, p, BROOD_EVENT_JOIN, NULL);
}

static void control(struct brood *h, const struct frame *f, const ProtobufCMessageDescriptor *type,
		    void (*handler)(struct brood *, const ProtobufCMessage *))
{
	ProtobufCMessage *m;
	int rc = guard_unpack(type, f->body, f->length, 1, &m);
	if (rc == -ENOMEM)
		pump_spoil(h); /* whoever comes back is told again */
	if (rc < 0)
		return; /* from a newer broker, perhaps: nothing that this library could act on */
	handler(h, m);
	guard_free(m);
}

static void inbound_frame(struct brood *h, const struct frame *f)
{
	switch (f->kind) {
	case FRAME_DATA:
	case FRAME_ACK:
	case FRAME_PROBE:
	case FRAME_RESET:
		routed(h, f);
		break;
	case FRAME_HOLD:
		on_hold(h, f);
		break;
	case FRAME_GO:
		on_go(h, f);
		break;
	case FRAME_GONE:
		control(h, f, &brood__gone__descriptor, on_gone);
		break;
	case FRAME_END:
		control(h, f, &brood__end__descriptor, on_end);
		break;
	case FRAME_NAME:
		control(h, f, &brood__name__descriptor, on_name);
		break;
	case FRAME_REGISTERED:
		control(h, f, &brood__registered__descriptor, on_registered);
		break;
	case FRAME_JOINED:
		control(h, f, &brood__joined__descriptor, on_joined);
		break;
	default:
		break;
	}
}

/* ---- the link ---------------------------------------------------------------------------------------------------- */

static void meet_parent(struct brood *h)
{
	struct brood_peer *p = h->parent;
	if (!p || !h->link.parent || p->remote->resolved)
		return;
	if (names_turn_to(p, h->link.parent) < 0) {
		struct fault f;
		fault_set_code(&f, -ENOMEM, "memory", "out of memory for the relation with the parent");
		link_fail(h, &f);
	}
}

static void meet_broker(struct brood *h)
{
	if (h->self->ready)
		return;
	id_format(h->link.id, h->self->address);
	h->self->ready = 1;
	event_post(h, h->self, BROOD_EVENT_READY, NULL);
}

static void on_up(struct brood *h)
{
	if (!h->known) {
		h->known = 1;
		meet_broker(h);
		names_announce(h);
	}
	meet_parent(h);
	child_start_planned(h);
}

/* What @broker was asked is forgotten there with the connection. */
static void forget_questions(struct brood *h)
{
	struct fault f;
	fault_set(&f, "broker.lost", "the connection to the broker was lost before it answered");
	request_fail_all(h->broker->remote, &f);
}

static void on_away(struct brood *h)
{
	event_post(h, h->self, BROOD_EVENT_AWAY, NULL);
	h->told_away = 1;
	forget_questions(h);
}

/*
 * The broker may be another one, that knows nothing: say everything again. A process that has ended meanwhile is found
 * out by a probe, which is answered for it; the broker then also tells us when one that is not back yet never comes.
 */
static void on_back(struct brood *h)
{
	struct remote *r;
	h->known = 1;
	meet_broker(h);
	names_announce(h);
	meet_parent(h);
	child_announce(h);
	for (r = h->by_id; r; r = r->hh.next) {
		begin_again(r);
		r->probe = r->id != FRAME_BROKER;
		remote_touch(r);
	}
	if (h->told_away)
		event_post(h, h->self, BROOD_EVENT_BACK, NULL);
	h->told_away = 0;
	child_ask_again(h);
	child_start_planned(h);
}

static void on_stopping(struct brood *h)
{
	h->stopping = 1; /* the loop finishes what is under way, then leaves */
}

/* No peer of mine is one of them now: former holders of names, and who was given back. */
static void others_gone(struct brood *h, const struct fault *f)
{
	struct remote *r, *next;
	HASH_ITER (hh, h->by_id, r, next)
		parting_gone(r, f);
}

static void names_lost(struct brood *h)
{
	struct brood_peer *p, *next;
	for (p = TAILQ_FIRST(&h->peers); p; p = next) {
		next = TAILQ_NEXT(p, entry);
		if (p->kind == PEER_NAME && !p->closed)
			parting_close(p);
	}
}

static void on_down(struct brood *h, const struct fault *f)
{
	struct brood_peer *p, *next;
	h->failed = f->error.code;
	fault_copy(&h->down, f);
	names_free(h);
	event_post(h, h->self, BROOD_EVENT_ERROR, f);
	for (p = TAILQ_FIRST(&h->peers); p; p = next) {
		next = TAILQ_NEXT(p, entry);
		if (p->remote && !p->remote->ended && !(p->child && p->child->state == CHILD_PLANNED))
			parting_gone(p->remote, f);
	}
	others_gone(h, f);
	names_lost(h);
	child_no_broker(h, f);
	lines_go_on(h);
}

const struct link_up inbound_link_up = {
	.up = on_up,
	.named = names_given,
	.away = on_away,
	.back = on_back,
	.frame = inbound_frame,
	.stopping = on_stopping,
	.down = on_down,
};
