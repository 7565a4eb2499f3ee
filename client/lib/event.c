/*
 * event: see event.h. All calls of a program's callbacks are in call(), so that what holds during a callback is said in
 * one place.
 */
#include "event.h"
#include "peer.h"
#include "pipe.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t member(int type)
{
	static const size_t offsets[] = {
		[BROOD_EVENT_SPAWN] = offsetof(struct brood_handlers, spawn),
		[BROOD_EVENT_READY] = offsetof(struct brood_handlers, ready),
		[BROOD_EVENT_MESSAGE] = offsetof(struct brood_handlers, message),
		[BROOD_EVENT_OUTPUT] = offsetof(struct brood_handlers, output),
		[BROOD_EVENT_DRAIN] = offsetof(struct brood_handlers, drain),
		[BROOD_EVENT_AWAY] = offsetof(struct brood_handlers, away),
		[BROOD_EVENT_BACK] = offsetof(struct brood_handlers, back),
		[BROOD_EVENT_ERROR] = offsetof(struct brood_handlers, error),
		[BROOD_EVENT_DISCONNECT] = offsetof(struct brood_handlers, disconnect),
		[BROOD_EVENT_EXIT] = offsetof(struct brood_handlers, exit),
		[BROOD_EVENT_CLOSE] = offsetof(struct brood_handlers, close),
		[BROOD_EVENT_JOIN] = offsetof(struct brood_handlers, join),
		[BROOD_EVENT_WAKE] = offsetof(struct brood_handlers, wake),
	};
	return offsets[type];
}

static brood_fn *handler(const struct brood_peer *table, int type)
{
	brood_fn *fn;
	memcpy(&fn, (const char *)&table->on + member(type), sizeof(fn));
	return fn ? fn : table->on.any;
}

static int call(struct brood *h, brood_fn *fn, const struct brood_event *e)
{
	h->in_callback = 1;
	int rc = fn(e);
	h->in_callback = 0;
	h->delivered++;
	return rc;
}

/* ---- queues ------------------------------------------------------------------------------------------------------ */

#define SPARE 16u

/* What a program has to hear it hears, also when there is no memory: there are some events in reserve. */
static int refill(struct brood *h)
{
	struct event_item *i;
	while (h->n_spare < SPARE && (i = calloc(1, sizeof(*i)))) {
		TAILQ_INSERT_TAIL(&h->spare, i, entry);
		h->n_spare++;
	}
	return h->n_spare == SPARE ? 0 : -ENOMEM;
}

int event_init(struct brood *h)
{
	TAILQ_INIT(&h->ready);
	TAILQ_INIT(&h->kept);
	TAILQ_INIT(&h->held);
	TAILQ_INIT(&h->spare);
	return refill(h);
}

/* If they are used up too, the handle has failed: it would have lied. */
static struct event_item *spare_item(struct brood *h)
{
	struct event_item *i = TAILQ_FIRST(&h->spare);
	if (i) {
		TAILQ_REMOVE(&h->spare, i, entry);
		h->n_spare--;
		*i = (struct event_item){ .letter = NULL };
		return i;
	}
	if (!h->failed)
		fault_set_code(&h->down, -ENOMEM, "memory", "an event was lost: out of memory");
	h->failed = h->lost = -ENOMEM;
	return NULL;
}

static struct event_item *item_new(struct brood_peer *p, int type, const struct fault *f)
{
	struct event_item *i = calloc(1, sizeof(*i));
	if (!i && !(i = spare_item(p->h)))
		return NULL;
	i->event = (struct brood_event){ .type = type, .handle = p->h, .peer = peer_ref(p) };
	if (f) {
		fault_copy(&i->fault, f);
		i->event.error = &i->fault.error;
	}
	if (type == BROOD_EVENT_EXIT)
		i->event.exit = &p->exit;
	if (type == BROOD_EVENT_DRAIN)
		i->event.fd = -1;
	return i;
}

static void item_free(struct event_item *i)
{
	struct brood_peer *p = i->event.peer;
	if (i->letter)
		letter_drop(i->letter);
	if (i->pipe) {
		pipe_taken(i->pipe); /* the item lies in the pipe, and may be used again at once */
	} else if (p->h->n_spare < SPARE) {
		TAILQ_INSERT_TAIL(&p->h->spare, i, entry);
		p->h->n_spare++;
	} else {
		free(i);
	}
	peer_unref(p);
}

/* From here on the program knows. */
static void told(const struct event_item *i)
{
	if (i->event.type == BROOD_EVENT_CLOSE)
		i->event.peer->told_closed = 1;
}

/* A chunk of a paused pipe; behind its paused messages, whatever has to do with them. */
static int must_wait(const struct event_item *i)
{
	if (i->pipe)
		return i->pipe->paused;
	return i->event.peer->paused && !i->done && i->event.type != BROOD_EVENT_DRAIN;
}

static void queue(struct brood *h, struct event_item *i)
{
	if (h->foreign && !h->gather)
		handle_poke(h);
	if (must_wait(i) && i->event.type == BROOD_EVENT_SPAWN) {
		TAILQ_INSERT_HEAD(&h->held, i, entry); /* of one on another host something else may wait already */
	} else if (must_wait(i)) {
		TAILQ_INSERT_TAIL(&h->held, i, entry);
	} else if (i->event.peer->quiet && !i->event.peer->has_on && !i->done) {
		told(i);
		item_free(i);
	} else if (i->done || event_table(i->event.peer))
		TAILQ_INSERT_TAIL(&h->ready, i, entry);
	else
		TAILQ_INSERT_TAIL(&h->kept, i, entry);
}

/* 0, or -ENOMEM and the letter is still the caller's. */
static int queue_letter(struct brood *h, struct brood_peer *p, struct letter *m, int type, brood_fn *done, void *data)
{
	struct event_item *i = letter_stay(m) < 0 ? NULL : item_new(p, type, NULL);
	if (!i)
		return -ENOMEM;
	i->letter = m;
	i->done = done;
	i->event.data = data;
	i->event.msg = &m->msg;
	queue(h, i);
	return 0;
}

void event_post(struct brood *h, struct brood_peer *p, int type, const struct fault *f)
{
	struct event_item *i = item_new(p, type, f);
	if (type == BROOD_EVENT_ERROR && f)
		handle_note(h, f);
	if (i)
		queue(h, i);
}

struct event_item *event_prepare(struct brood_peer *p, int type, brood_fn *done, void *data)
{
	struct event_item *i = item_new(p, type, NULL);
	if (!i)
		return NULL;
	i->done = done;
	i->event.data = data;
	return i;
}

void event_tell(struct event_item *i, const struct fault *f)
{
	if (f) {
		fault_copy(&i->fault, f);
		i->event.error = &i->fault.error;
		handle_note(i->event.handle, f);
	}
	queue(i->event.handle, i);
}

void event_discard(struct event_item *i)
{
	item_free(i);
}

void event_drain(struct brood_peer *p, int fd)
{
	struct event_item *i = item_new(p, BROOD_EVENT_DRAIN, NULL);
	if (!i)
		return;
	i->event.fd = fd;
	queue(p->h, i);
}

void event_output(struct pipe *from)
{
	struct brood_peer *p = from->peer;
	struct event_item *i = &from->item;
	*i = (struct event_item){ .pipe = from };
	i->event = (struct brood_event){ .type = BROOD_EVENT_OUTPUT, .handle = p->h, .peer = peer_ref(p) };
	i->event.fd = from->target;
	i->event.bytes = from->buffer ? (const void *)from->buffer : "";
	i->event.length = from->have;
	queue(p->h, i);
}

void event_result(struct brood_peer *p, brood_fn *done, void *data, const struct brood_result *result,
		  const struct fault *f)
{
	struct event_item *i = item_new(p, BROOD_EVENT_RESULT, f);
	if (!i)
		return;
	i->done = done;
	i->event.data = data;
	i->event.result = result;
	queue(p->h, i);
}

/* Its events that are in the wrong queue now go to the right one, in their order. */
static void sort_again(struct brood_peer *p, struct event_list *from)
{
	struct event_item *i, *next;
	int held = from == &p->h->held;
	for (i = TAILQ_FIRST(from); i; i = next) {
		next = TAILQ_NEXT(i, entry);
		if (i->event.peer != p || must_wait(i) == held)
			continue;
		TAILQ_REMOVE(from, i, entry);
		queue(p->h, i);
	}
}

void event_paused(struct brood_peer *p)
{
	p->h->stirred = 1;
	sort_again(p, &p->h->ready);
	sort_again(p, &p->h->kept);
	sort_again(p, &p->h->held);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static void settle(struct letter *m, int rc, const char *unanswered)
{
	m->showing = 0;
	if (!letter_is_done(m))
		letter_settle(m, rc, unanswered);
}

static void call_message(struct brood *h, const struct brood_peer *table, struct brood_event *e, struct letter *m)
{
	brood_fn *fn = handler(table, BROOD_EVENT_MESSAGE);
	if (!fn) {
		letter_settle(m, 0, "unhandled");
		return;
	}
	e->data = table->data;
	m->showing = 1;
	int rc = call(h, fn, e);
	settle(m, rc, "unanswered");
}

int event_message(struct brood *h, struct brood_peer *p, struct letter *m)
{
	const struct brood_peer *table = event_table(p);
	if (!table || p->paused || !event_may_call(h)) {
		int rc = queue_letter(h, p, m, BROOD_EVENT_MESSAGE, NULL, NULL);
		if (rc < 0)
			letter_drop(m);
		return rc;
	}
	struct brood_event e = { .type = BROOD_EVENT_MESSAGE, .handle = h, .peer = p, .msg = &m->msg };
	call_message(h, table, &e, m);
	return 0;
}

static void call_reply(struct brood *h, brood_fn *done, const struct brood_event *e, struct letter *m)
{
	if (m)
		m->showing = 1;
	(void)call(h, done, e);
	if (m)
		settle(m, 0, "unanswered");
}

static void queue_failure(struct brood_peer *p, brood_fn *done, void *data, const struct fault *f)
{
	struct event_item *i = event_prepare(p, BROOD_EVENT_REPLY, done, data);
	if (!i)
		return;
	fault_copy(&i->fault, f);
	i->event.error = &i->fault.error;
	queue(p->h, i);
}

void event_reply(struct brood *h, struct brood_peer *p, brood_fn *done, void *data, struct letter *m,
		 const struct fault *f)
{
	if (m && event_may_call(h)) {
		struct brood_event *e = &h->reply;
		e->type = BROOD_EVENT_REPLY;
		e->handle = h;
		e->data = data;
		e->peer = p;
		e->msg = &m->msg;
		call_reply(h, done, e, m);
	} else if (!m) {
		queue_failure(p, done, data, f);
	} else if (queue_letter(h, p, m, BROOD_EVENT_REPLY, done, data) < 0) {
		struct fault memory;
		fault_set_code(&memory, -ENOMEM, "memory", "the answer was lost: out of memory");
		letter_drop(m);
		queue_failure(p, done, data, &memory);
	}
}

/* ---- dispatch ---------------------------------------------------------------------------------------------------- */

static void call_item(struct brood *h, struct event_item *i)
{
	const struct brood_peer *table = event_table(i->event.peer);
	struct letter *m = i->letter;
	told(i);
	i->letter = NULL; /* settled by the calls below */
	if (i->done) {
		call_reply(h, i->done, &i->event, m);
	} else if (m && table) {
		call_message(h, table, &i->event, m);
	} else if (m) {
		letter_settle(m, 0, "unhandled");
	} else if (table && handler(table, i->event.type)) {
		i->event.data = table->data;
		(void)call(h, handler(table, i->event.type), &i->event);
	}
}

void event_dispatch(struct brood *h)
{
	struct event_item *i;
	while (!event_interrupted(h) && (i = TAILQ_FIRST(&h->ready))) {
		TAILQ_REMOVE(&h->ready, i, entry);
		call_item(h, i);
		item_free(i);
	}
}

int event_is_owed(const struct brood_peer *p)
{
	const struct event_item *i;
	TAILQ_FOREACH (i, &p->h->ready, entry)
		if (i->event.peer == p)
			return 1;
	return 0;
}

void event_tell_promised(struct brood *h)
{
	struct event_item *i;
	while (h->generation == handle_generation && (i = TAILQ_FIRST(&h->ready))) {
		TAILQ_REMOVE(&h->ready, i, entry);
		if (i->done)
			call_item(h, i);
		item_free(i);
	}
}

static void unshow(struct brood *h)
{
	struct event_item *i = h->shown;
	h->shown = NULL;
	if (!i)
		return;
	if (i->letter) {
		settle(i->letter, 0, "unanswered");
		i->letter = NULL;
	}
	item_free(i);
}

const struct brood_event *event_show(struct brood *h)
{
	unshow(h);
	struct event_item *i = TAILQ_FIRST(&h->kept);
	if (!i)
		return NULL;
	TAILQ_REMOVE(&h->kept, i, entry);
	h->shown = i;
	told(i);
	i->event.data = i->event.peer->data;
	if (i->letter)
		i->letter->showing = 1;
	return &i->event;
}

static void move(struct event_list *from, struct event_list *to, int have_table)
{
	struct event_item *i, *next;
	for (i = TAILQ_FIRST(from); i; i = next) {
		const struct brood_peer *p = i->event.peer;
		next = TAILQ_NEXT(i, entry);
		if (i->done || p->quiet || (event_table(p) != NULL) != have_table)
			continue;
		TAILQ_REMOVE(from, i, entry);
		TAILQ_INSERT_TAIL(to, i, entry);
	}
}

void event_table_changed(struct brood *h)
{
	move(&h->kept, &h->ready, 1);
	move(&h->ready, &h->kept, 0);
}

static void free_list(struct event_list *list)
{
	struct event_item *i;
	while ((i = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, i, entry);
		item_free(i);
	}
}

void event_free_all(struct brood *h)
{
	unshow(h);
	free_list(&h->ready);
	free_list(&h->kept);
	free_list(&h->held);
	while (h->n_spare) {
		struct event_item *i = TAILQ_FIRST(&h->spare);
		TAILQ_REMOVE(&h->spare, i, entry);
		h->n_spare--;
		free(i);
	}
}
