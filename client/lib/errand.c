/*
 * errand: see errand.h. What a keeper says is taken where it comes in, not by callbacks, so that a blocking call of the
 * program gets on as well.
 *
 * The surprising rule: a child may say something before its keeper's word that it started is here, because the two are
 * two processes. So its messages wait until then (PAUSED_UNTIL_SPAWN).
 */
#include "errand.h"
#include "address.h"
#include "error.h"
#include "guard.h"
#include "link.h"
#include "names.h"
#include "nursery.pb-c.h"
#include "peer.h"
#include "pump.h"
#include "relay.h"
#include "remote.h"
#include "request.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define START_MS 1000u        /* a start has at least so long, however short the lease */
#define AFTER_LEASE_MS 10000u /* behind its lease it was ended there, for sure */

enum state { ASKED, GRANTED, STARTED, ENDED };

struct errand {
	LIST_ENTRY(errand) entry; /* of the handle */
	struct child *child;
	struct brood *h;
	const struct errand_up *up;
	enum state state;
	uint64_t number, far_child; /* its id there, until it is known what it is called here */
	struct call asked;          /* of the nursery */
	int64_t request;            /* 0: answered */
	struct brood_peer *nursery; /* that was asked; the handle's for good. NULL: not yet */
	struct brood_peer *keeper;  /* NULL: it has not spoken yet */
	struct timer patience;      /* for a start, and with a host that is away */
	struct brood_exit exit;
	uint64_t last;
	int missing, told, over;
	size_t n;
	struct relay relays[];
};

/* ---- words to the keeper ----------------------------------------------------------------------------------------- */

static void pack(void *to, size_t length, const void *message)
{
	(void)length;
	protobuf_c_message_pack(message, to);
}

static int put(struct remote *r, struct item *it, const ProtobufCMessage *m)
{
	struct body b = {
		.type = m->descriptor->name, .bytes = m, .length = protobuf_c_message_get_packed_size(m), .fill = pack
	};
	int rc = remote_put(r, it, &b);
	pump_kick(r->h);
	return rc;
}

/* Without memory the connection is made anew, and that is no help here: what the keeper does not hear it ends by its lease. */
static void tell(struct errand *e, const ProtobufCMessage *m)
{
	struct remote *r = e->keeper ? e->keeper->remote : NULL;
	if (r && !r->ended)
		(void)put(r, &(struct item){ .kind = ITEM_MESSAGE }, m);
}

void errand_kill(struct errand *e, int signo, unsigned flags)
{
	Brood__Nursery__Kill m = BROOD__NURSERY__KILL__INIT;
	m.signo = (uint32_t)signo;
	m.flags = flags;
	tell(e, &m.base);
}

static void check_exit(struct errand *);

static struct relay *relay_of(struct errand *e, uint32_t fd)
{
	for (size_t i = 0; i < e->n; i++)
		if (e->relays[i].target == (int)fd)
			return &e->relays[i];
	return NULL;
}

void errand_pause(struct errand *e, int fd, int paused)
{
	Brood__Nursery__Pause m = BROOD__NURSERY__PAUSE__INIT;
	m.fd = (uint32_t)fd;
	m.on = paused != 0;
	tell(e, &m.base);
	check_exit(e);
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

static void input(struct relay *r, const uint8_t *bytes, size_t n)
{
	Brood__Nursery__Input m = BROOD__NURSERY__INPUT__INIT;
	m.fd = (uint32_t)r->target;
	m.bytes = (ProtobufCBinaryData){ n, (uint8_t *)(uintptr_t)bytes };
	m.end = n == 0;
	tell(r->data, &m.base);
}

static void taken(struct relay *r, size_t n)
{
	Brood__Nursery__Taken m = BROOD__NURSERY__TAKEN__INIT;
	m.fd = (uint32_t)r->target;
	m.bytes = (uint32_t)n;
	tell(r->data, &m.base);
}

/* So that it learns what it would learn at home: SIGPIPE. */
static void broken(struct relay *r)
{
	Brood__Nursery__Closed m = BROOD__NURSERY__CLOSED__INIT;
	m.fd = (uint32_t)r->target;
	tell(r->data, &m.base);
}

static void moved(struct relay *r)
{
	check_exit(r->data);
}

static const struct relay_ops relay_ops = { input, taken, broken, moved };

/* What the child would have got is the relay's now. */
static void take_descriptor(struct errand *e, size_t i)
{
	const struct brood_stdio *s = &e->child->plan->fds[i];
	struct stdio_entry *entry = &e->child->stdio.entries[i];
	struct relay *r = &e->relays[e->n];
	if (s->kind == BROOD_STDIO_NULL)
		return;
	if (s->kind == BROOD_STDIO_MINE)
		relay_open_mine(r, e->h, s->fd, &relay_ops, e);
	else if (entry->source >= 0)
		relay_open(r, e->h, s->fd, entry->source, s->fd == 0 || (s->fd > 2 && s->kind == BROOD_STDIO_PIPE),
			   s->fd != 0, &relay_ops, e);
	else
		return;
	entry->source = -1;
	e->n++;
}

/* The program does not take it, and does not want to be waited for. */
static int is_paused(const struct errand *e, const struct relay *r)
{
	const struct pipe *p = stdio_pipe(&e->child->stdio, r->target);
	return p && p->paused;
}

static int is_settled(const struct errand *e)
{
	for (size_t i = 0; i < e->n; i++)
		if (!relay_is_empty(&e->relays[i]) && !is_paused(e, &e->relays[i]))
			return 0;
	return 1;
}

int errand_is_open(const struct errand *e)
{
	for (size_t i = 0; i < e->n; i++)
		if (relay_is_open(&e->relays[i]))
			return 1;
	return 0;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

/* What it wrote before it ended is in the pipes: now its end may be told. */
static void check_exit(struct errand *e)
{
	struct child *c = e->child;
	if (e->over || e->state != ENDED || (!e->told && !is_settled(e)))
		return;
	if (e->told) {
		e->up->moved(c);
		return;
	}
	e->told = 1;
	e->up->exited(c, &e->exit, e->last, e->missing);
}

/* What was not read is not lost silently. */
static void stop_input(struct errand *e, struct relay *r)
{
	size_t left = r->target == 1 || r->target == 2 ? 0 : relay_stop_reading(r);
	if (left && !e->over)
		e->up->left(e->child, r->target, left);
}

/* Nobody says anything about it any more. */
static void end_output(struct errand *e)
{
	for (size_t i = 0; i < e->n; i++) {
		stop_input(e, &e->relays[i]);
		relay_end(&e->relays[i]);
	}
}

static void fail(struct errand *e, const char *name, int code, const char *text)
{
	e->up->failed(e->child, error_reason(name)->name, code ? code : error_reason(name)->code, text);
}

/* How it ended will not be known. */
static void lose(struct errand *e, enum brood_cause cause)
{
	struct brood_peer *p = peer_ref(e->child->peer); /* its end may be told, and free all */
	if (e->state == STARTED) {
		e->state = ENDED;
		e->exit = (struct brood_exit){ .cause = (int)cause, .code = -1, .stage = "" };
		e->missing = 1;
	}
	if (e->state == ENDED) {
		check_exit(e);
		end_output(e);
	} else {
		fail(e, cause == BROOD_UNREACHABLE ? "host.lost" : "nursery.missing", 0,
		     "its host, or its nursery there, was lost before it started");
	}
	peer_unref(p);
}

static unsigned start_ms(const struct errand *e)
{
	return e->child->plan->lease_ms > START_MS ? e->child->plan->lease_ms : START_MS;
}

static void lost_patience(struct timer *t)
{
	struct errand *e = (struct errand *)(void *)((char *)t - offsetof(struct errand, patience));
	if (e->state == ASKED) {
		const char *why = e->nursery->unreachable;
		char text[400];
		snprintf(text, sizeof(text), "its nursery on %s did not answer within %u ms%s%s", e->child->plan->host,
			 start_ms(e), why ? ": " : "", why ? why : "");
		fail(e, "host.unreachable", 0, text);
	} else if (e->state != ENDED) {
		lose(e, BROOD_UNREACHABLE);
	}
}

static void keeper_gone(struct brood_peer *p)
{
	struct errand *e = p->errand;
	p->errand = NULL;
	if (!e)
		return;
	e->keeper = NULL;
	peer_unref(p);
	lose(e, e->h->failed ? BROOD_UNREACHABLE : BROOD_NODE_RESTARTED);
}

static void keeper_away(struct brood_peer *p, int away)
{
	struct errand *e = p->errand;
	const struct plan *plan = e ? e->child->plan : NULL;
	uint64_t ms = !plan ? 0 : plan->keep ? plan->give_up_ms : (uint64_t)plan->lease_ms + AFTER_LEASE_MS;
	if (!e || e->state == ENDED)
		return;
	timer_cancel(&e->h->timers, &e->patience);
	if (away && ms)
		(void)timer_arm(&e->h->timers, &e->patience, handle_now() + ms);
	if (e->state == STARTED)
		e->up->away(e->child, away);
}

/* ---- words of the keeper ----------------------------------------------------------------------------------------- */

static void on_started(struct errand *e, const ProtobufCMessage *body)
{
	if (e->state != GRANTED)
		return;
	e->state = STARTED;
	for (size_t i = 0; i < e->n; i++) {
		relay_credit(&e->relays[i], RELAY_CREDIT);
		if (is_paused(e, &e->relays[i]))
			errand_pause(e, e->relays[i].target, 1); /* nobody was there to hear it */
	}
	e->up->started(e->child, (pid_t)((const Brood__Nursery__Started *)body)->pid);
}

static void on_failed(struct errand *e, const ProtobufCMessage *body)
{
	const Brood__Nursery__Failed *m = (const Brood__Nursery__Failed *)body;
	char name[48];
	if (e->state != GRANTED)
		return;
	snprintf(name, sizeof(name), "spawn.%s", m->stage);
	fail(e, name, m->code < 0 ? m->code : 0, m->text);
}

static void on_output(struct errand *e, const ProtobufCMessage *body)
{
	const Brood__Nursery__Output *m = (const Brood__Nursery__Output *)body;
	struct relay *r = relay_of(e, m->fd);
	if (r)
		relay_put(r, m->bytes.data, m->bytes.len);
	if (r && m->end)
		relay_end(r);
}

static void on_closed(struct errand *e, const ProtobufCMessage *body)
{
	struct relay *r = relay_of(e, ((const Brood__Nursery__Closed *)body)->fd);
	if (r)
		stop_input(e, r);
}

static void on_taken(struct errand *e, const ProtobufCMessage *body)
{
	const Brood__Nursery__Taken *m = (const Brood__Nursery__Taken *)body;
	struct relay *r = relay_of(e, m->fd);
	if (r)
		relay_credit(r, m->bytes);
}

static void on_exited(struct errand *e, const ProtobufCMessage *body)
{
	const Brood__Nursery__Exit *m = (const Brood__Nursery__Exit *)body;
	if (e->state != STARTED)
		return;
	e->state = ENDED;
	timer_cancel(&e->h->timers, &e->patience);
	e->exit = (struct brood_exit){ .cause = (int)m->cause,
				       .code = m->code,
				       .signo = m->signo,
				       .core = m->core,
				       .ended_by = (int)m->ended_by,
				       .stage = "",
				       .wall_ms = m->wall_ms,
				       .user_us = m->user_us,
				       .system_us = m->system_us,
				       .max_rss_kib = m->max_rss_kib };
	e->last = m->last;
	e->missing = m->missing;
	check_exit(e);
}

static const struct word {
	const ProtobufCMessageDescriptor *type;
	void (*take)(struct errand *, const ProtobufCMessage *);
} words[] = {
	{ &brood__nursery__output__descriptor, on_output },   { &brood__nursery__taken__descriptor, on_taken },
	{ &brood__nursery__started__descriptor, on_started }, { &brood__nursery__failed__descriptor, on_failed },
	{ &brood__nursery__closed__descriptor, on_closed },   { &brood__nursery__exit__descriptor, on_exited },
};

/* 0, also if it is no word that is known; -ENOMEM: it was not taken. */
static int take_word(struct errand *e, const struct letter *m)
{
	struct brood_peer *child = peer_ref(e->child->peer); /* this may be its end */
	ProtobufCMessage *body;
	int rc = 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (strcmp(m->msg.type, words[i].type->name) != 0)
			continue;
		rc = guard_unpack(words[i].type, m->msg.body, m->msg.length, 1, &body);
		if (rc < 0)
			break;
		words[i].take(e, body);
		guard_free(body);
		break;
	}
	peer_unref(child);
	return rc == -ENOMEM ? rc : 0;
}

static int keeper_says(struct brood_peer *p, struct letter *m)
{
	int rc = p->errand ? take_word(p->errand, m) : 0;
	if (rc < 0) {
		letter_drop(m);
		return rc;
	}
	p->remote->received++;
	letter_settle(m, 0, "unhandled");
	return 0;
}

static const struct peer_inside keeper_inside = { keeper_says, keeper_away, keeper_gone };

/* ---- leave to start ---------------------------------------------------------------------------------------------- */

int errand_is_here(const struct errand *e)
{
	return strcmp(e->h->link.node, e->child->plan->host) == 0;
}

int errand_is_starting(const struct letter *m)
{
	return strcmp(m->msg.type, brood__nursery__starting__descriptor.name) == 0;
}

static struct errand *errand_find(struct brood *h, uint64_t number)
{
	struct errand *e;
	LIST_FOREACH (e, &h->errands, entry)
		if (e->number == number && e->state == ASKED)
			return e;
	return NULL;
}

/* Who sent this is its keeper from now on. -ENOMEM. */
static int take_keeper(struct errand *e, struct remote *r)
{
	struct brood_peer *p = r->peer;
	if (p->kind != PEER_PROCESS || p->owned)
		p = peer_new(e->h, PEER_PROCESS, r);
	if (!p)
		return -ENOMEM;
	p->quiet = 1;
	p->inside = &keeper_inside;
	p->errand = e;
	e->keeper = peer_ref(p);
	return 0;
}

/* It is known what the child will be called here; else the broker tells, when it was born there. */
static int meet_child(struct errand *e, uint64_t child)
{
	if (!e->child->peer->remote || !child)
		return e->child->peer->remote || child ? -EPROTO : 0;
	if (errand_is_here(e)) {
		int rc = names_join(e->child->peer, child);
		e->child->peer->remote->hold = REMOTE_UNBORN;
		return rc;
	}
	e->far_child = child;
	return 0;
}

static int grant(struct errand *e, struct remote *r, const struct letter *m, uint64_t child)
{
	Brood__Nursery__Go go = BROOD__NURSERY__GO__INIT;
	int rc = take_keeper(e, r);
	if (rc == 0)
		rc = meet_child(e, child);
	if (rc == 0)
		rc = put(r, &(struct item){ .kind = ITEM_REPLY, .correlation = m->correlation }, &go.base);
	return rc;
}

/* Whoever does not know the number was not sent by the nursery, or comes too late. */
void errand_starting(struct remote *r, struct letter *m)
{
	ProtobufCMessage *body = NULL;
	int rc = guard_unpack(&brood__nursery__starting__descriptor, m->msg.body, m->msg.length, 1, &body);
	const Brood__Nursery__Starting *s = (const Brood__Nursery__Starting *)body;
	struct errand *e = rc == 0 ? errand_find(r->h, s->number) : NULL;
	if (e && (rc = grant(e, r, m, s->child)) == 0) {
		m->msg.wants_reply = 0;
		e->state = GRANTED;
		timer_cancel(&e->h->timers, &e->patience);
	}
	letter_settle(m, e && rc < 0 ? rc : -ECANCELED, "unhandled");
	guard_free(body);
	if (e && rc < 0)
		fail(e, "spawn.broker", rc, "its keeper could not be met");
}

int errand_joined(struct brood *h, const char *address, uint64_t id)
{
	struct errand *e, *next;
	char text[ID_TEXT];
	const char *there = strchr(address, '/');
	for (e = LIST_FIRST(&h->errands); e && there; e = next) {
		const char *host = e->child->plan->host;
		size_t n = strlen(host);
		next = LIST_NEXT(e, entry);
		if (!e->far_child || n != (size_t)(there - address) || memcmp(address, host, n) != 0 ||
		    strcmp(id_format(e->far_child, text), there + 1) != 0)
			continue;
		if (!e->child->peer->remote->resolved)
			(void)names_join(e->child->peer, id);
		return 1;
	}
	return 0;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* In words of this program, what came from far as an error of a request. */
static void refused(struct errand *e, const struct fault *f)
{
	const char *name = f->error.name;
	const struct plan *p = e->child->plan;
	int missing = strcmp(name, "name.unknown") == 0 || strncmp(name, "peer.", 5) == 0;
	char text[sizeof(f->text) + 80];
	if (missing)
		snprintf(text, sizeof(text), "no nursery \"%s\" runs on %s", p->nursery, p->host);
	else
		snprintf(text, sizeof(text), "%s", f->text);
	fail(e, missing ? "nursery.missing" : name, missing ? 0 : f->error.code, text);
}

static void answered(struct call *call)
{
	struct errand *e = (struct errand *)(void *)((char *)call - offsetof(struct errand, asked));
	e->request = 0;
	if (call->letter)
		letter_drop(call->letter);
	else if (e->state == ASKED)
		refused(e, &call->fault);
}

static size_t count(const char **list)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	return n;
}

static size_t put_texts(const char **list, ProtobufCBinaryData *to)
{
	size_t n = count(list);
	for (size_t i = 0; i < n; i++)
		to[i] = (ProtobufCBinaryData){ strlen(list[i]), (uint8_t *)(uintptr_t)list[i] };
	return n;
}

static ProtobufCBinaryData text(const char *s)
{
	return (ProtobufCBinaryData){ s ? strlen(s) : 0, (uint8_t *)(uintptr_t)s };
}

struct lists { /* of a Spawn, in one block */
	Brood__Nursery__Stdio *stdio, **stdio_list;
	Brood__Nursery__Limit *limit, **limit_list;
	ProtobufCBinaryData *texts;
};

static size_t count_limits(const struct plan *p)
{
	size_t n = 0;
	while (p->limits && p->limits[n].resource != -1)
		n++;
	return n;
}

static void fill_lists(Brood__Nursery__Spawn *m, const struct plan *p, struct lists *l)
{
	m->n_argv = put_texts(p->argv, m->argv = l->texts);
	m->n_env = put_texts(p->env, m->env = m->argv + m->n_argv);
	m->n_env_add = put_texts(p->env_add, m->env_add = m->env + m->n_env);
	m->stdio = l->stdio_list;
	for (m->n_stdio = 0; m->n_stdio < p->n_fds; m->n_stdio++) {
		Brood__Nursery__Stdio *s = l->stdio_list[m->n_stdio] = &l->stdio[m->n_stdio];
		brood__nursery__stdio__init(s);
		s->fd = (uint32_t)p->fds[m->n_stdio].fd;
		s->kind = p->fds[m->n_stdio].kind == BROOD_STDIO_NULL ? BROOD__NURSERY__KIND__KIND_NUL
								      : BROOD__NURSERY__KIND__KIND_RELAY;
	}
	m->limit = l->limit_list;
	for (m->n_limit = 0; m->n_limit < count_limits(p); m->n_limit++) {
		Brood__Nursery__Limit *x = l->limit_list[m->n_limit] = &l->limit[m->n_limit];
		brood__nursery__limit__init(x);
		x->resource = (uint32_t)p->limits[m->n_limit].resource;
		x->value = p->limits[m->n_limit].value;
	}
}

static void fill_plan(Brood__Nursery__Spawn *m, const struct plan *p)
{
	m->file = text(p->file == p->argv[0] || strcmp(p->file, p->argv[0]) == 0 ? NULL : p->file);
	m->own_environment = p->env != NULL;
	m->cwd = text(p->cwd);
	m->name = (char *)(uintptr_t)(p->name ? p->name : "");
	m->plain = (p->flags & BROOD_PLAIN) != 0;
	m->detached = (p->flags & BROOD_DETACHED) != 0;
	m->timeout_ms = p->timeout_ms;
	m->grace_ms = p->grace_ms;
	m->linger_ms = p->linger_ms;
	m->lease_ms = p->lease_ms;
	m->keep = p->keep;
	m->kill_signal = (uint32_t)p->kill_signal;
}

/* -ENOMEM, -E2BIG, or what the stream says. */
static int ask(struct errand *e, struct brood_peer *nursery)
{
	const struct plan *p = e->child->plan;
	size_t n = count(p->argv) + count(p->env) + count(p->env_add), limits = count_limits(p);
	struct lists l = { calloc(p->n_fds, sizeof(*l.stdio)), calloc(p->n_fds, sizeof(*l.stdio_list)),
			   calloc(limits + 1, sizeof(*l.limit)), calloc(limits + 1, sizeof(*l.limit_list)),
			   calloc(n, sizeof(*l.texts)) };
	Brood__Nursery__Spawn m = BROOD__NURSERY__SPAWN__INIT;
	int rc = -ENOMEM;
	if (l.stdio && l.stdio_list && l.limit && l.limit_list && l.texts &&
	    (e->request = request_open(nursery, 0, NULL, NULL, &e->asked)) > 0) {
		fill_lists(&m, p, &l);
		fill_plan(&m, p);
		m.number = e->number;
		if (protobuf_c_message_get_packed_size(&m.base) > MESSAGE_MAX)
			rc = -E2BIG; /* as no kernel takes it either */
		else
			rc = put(nursery->remote,
				 &(struct item){ .kind = ITEM_REQUEST, .correlation = (uint64_t)e->request }, &m.base);
		if (rc < 0)
			request_forget(e->h, e->request);
	}
	if (rc < 0)
		e->request = 0;
	free(l.stdio);
	free(l.stdio_list);
	free(l.limit);
	free(l.limit_list);
	free(l.texts);
	return rc;
}

void errand_begin(struct errand *e)
{
	const struct plan *p = e->child->plan;
	char name[2 * NAME_MAX_LENGTH + 2];
	snprintf(name, sizeof(name), "%s/%s", p->host, p->nursery);
	struct brood_peer *nursery = names_seek(e->h, name);
	int rc = nursery ? 0 : -ENOMEM;
	if (rc == 0 && getrandom(&e->number, sizeof(e->number), 0) != (ssize_t)sizeof(e->number))
		rc = -EAGAIN;
	if (rc == 0)
		rc = ask(e, nursery);
	e->nursery = nursery;
	if (rc < 0) {
		fail(e, rc == -E2BIG ? "spawn.exec" : "spawn.broker", rc, strerror(-rc));
		return;
	}
	(void)timer_arm(&e->h->timers, &e->patience, handle_now() + start_ms(e));
	names_wait(nursery);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

struct errand *errand_new(struct child *c, const struct errand_up *up)
{
	struct errand *e = calloc(1, sizeof(*e) + c->plan->n_fds * sizeof(e->relays[0]));
	if (!e)
		return NULL;
	e->h = c->peer->h;
	if (timer_promise(&e->h->timers, &e->patience) < 0) {
		timer_release(&e->h->timers, &e->patience);
		free(e);
		return NULL;
	}
	e->child = c;
	e->up = up;
	e->asked.told = answered;
	e->patience.fire = lost_patience;
	LIST_INSERT_HEAD(&e->h->errands, e, entry);
	for (size_t i = 0; i < c->plan->n_fds; i++)
		take_descriptor(e, i);
	return e;
}

void errand_end(struct errand *e)
{
	struct fault f;
	if (e->over)
		return;
	for (size_t i = 0; i < e->n; i++)
		stop_input(e, &e->relays[i]);
	e->over = 1;
	int runs =
		e->state == GRANTED || e->state == STARTED || (e->exit.cause == BROOD_UNREACHABLE && e->state == ENDED);
	fault_set(&f, "cancelled", "it is not wanted any more");
	e->asked.told = NULL;
	if (e->request)
		(void)request_cancel(e->h, e->request, &f);
	if (runs && !(e->child->plan->flags & BROOD_DETACHED))
		errand_kill(e, SIGKILL, BROOD_TREE);
	if (e->keeper) {
		e->keeper->errand = NULL;
		peer_unref(e->keeper);
	}
	for (size_t i = 0; i < e->n; i++)
		relay_close(&e->relays[i]);
	timer_release(&e->h->timers, &e->patience);
	LIST_REMOVE(e, entry);
}

void errand_free(struct errand *e)
{
	if (!e)
		return;
	errand_end(e);
	free(e);
}
