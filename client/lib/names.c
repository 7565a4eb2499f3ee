/*
 * names: see names.h. A peer found by name has a remote without id until the broker names a holder; what is sent
 * meanwhile waits in that remote's outflow and moves on with it. If the holder is a process already known, what waited
 * is appended to what that process is sent, so order per receiver holds.
 */
#include "names.h"
#include "address.h"
#include "confirm.h"
#include "error.h"
#include "event.h"
#include "link.h"
#include "parting.h"
#include "peer.h"
#include "pump.h"
#include "remote.h"
#include "request.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUESTS_MOST 2048u /* bytes of users of other nodes in a HELLO */

/* ---- taking names ------------------------------------------------------------------------------------------------ */

static struct registered_name *name_find(struct brood *h, const char *name)
{
	struct registered_name *n;
	LIST_FOREACH (n, &h->names, entry)
		if (strcmp(n->name, name) == 0)
			return n;
	return NULL;
}

static void name_drop(struct registered_name *n)
{
	LIST_REMOVE(n, entry);
	free(n);
}

void names_free(struct brood *h)
{
	while (!LIST_EMPTY(&h->names))
		name_drop(LIST_FIRST(&h->names));
	h->open = 0;
}

static void say_register(struct brood *h, struct registered_name *n)
{
	Brood__Register m = BROOD__REGISTER__INIT;
	m.name = n->name;
	m.open = h->open;
	pump_control(h, FRAME_REGISTER, &m.base, -1);
}

static struct registered_name *name_add(struct brood *h, const char *name)
{
	struct registered_name *n = malloc(sizeof(*n) + strlen(name) + 1);
	if (!n)
		return NULL;
	n->confirmed = n->given = 0;
	strcpy(n->name, name);
	LIST_INSERT_HEAD(&h->names, n, entry);
	return n;
}

void names_given(struct brood *h, const char *name)
{
	struct registered_name *n = name_find(h, name) ? NULL : name_add(h, name);
	if (n)
		n->confirmed = n->given = 1; /* a refusal is told all the same */
}

int brood_register(brood *h, const char *name)
{
	int rc = handle_check(h);
	if (rc < 0)
		return rc;
	if (!name || !name_is_valid(name))
		return handle_fail(h, -EINVAL, "name.invalid", "\"%s\" is not a name", name ? name : "");
	if (name_find(h, name))
		return 0;
	struct registered_name *n = name_add(h, name);
	if (!n)
		return handle_fail(h, -ENOMEM, "memory", "cannot register %s", name);
	link_need(h);
	if (link_is_up(h))
		say_register(h, n);
	return 0;
}

int names_register_open(struct brood *h, const char *name)
{
	h->open = 1;
	return brood_register(h, name);
}

static void say_unregister(struct brood *h, const char *name)
{
	Brood__Register m = BROOD__REGISTER__INIT;
	m.name = (char *)(uintptr_t)name;
	if (link_is_up(h))
		pump_control(h, FRAME_UNREGISTER, &m.base, -1);
}

int brood_unregister(brood *h, const char *name)
{
	int rc = handle_check(h);
	if (rc < 0)
		return rc;
	struct registered_name *n = name ? name_find(h, name) : NULL;
	if (name && !n)
		return handle_fail(h, -ENOENT, "name.unknown", "%s is not registered by this process", name);
	say_unregister(h, name ? name : "");
	if (n)
		name_drop(n);
	else
		names_free(h);
	return 0;
}

int names_taken(const struct brood *h)
{
	const struct registered_name *n;
	LIST_FOREACH (n, &h->names, entry)
		if (!n->given)
			return 1;
	return 0;
}

int names_pending(const struct brood *h)
{
	const struct registered_name *n;
	LIST_FOREACH (n, &h->names, entry)
		if (!n->confirmed)
			return 1;
	return 0;
}

void names_registered(struct brood *h, const Brood__Registered *m)
{
	struct registered_name *n = name_find(h, m->name);
	struct fault f;
	if (!n)
		return;
	if (m->code == 0) {
		n->confirmed = 1;
		return;
	}
	name_drop(n);
	fault_set_code(&f, m->code, m->error, "%s", m->text);
	event_post(h, h->self, BROOD_EVENT_ERROR, &f);
}

/* ---- finding others ---------------------------------------------------------------------------------------------- */

static void say_watch(struct brood_peer *p, int stop)
{
	Brood__Watch m = BROOD__WATCH__INIT;
	m.name = p->name;
	m.stop = stop;
	pump_control(p->h, FRAME_WATCH, &m.base, -1);
}

/* The broker cannot ask its node: no answer, and what waits goes on waiting. Only the words are better if that is in vain. */
static void note_unreachable(struct brood_peer *p, const char *why)
{
	free(p->unreachable);
	p->unreachable = why ? strdup(why) : NULL;
}

void names_announce(struct brood *h)
{
	struct registered_name *n;
	struct brood_peer *p;
	LIST_FOREACH (n, &h->names, entry)
		say_register(h, n);
	TAILQ_FOREACH (p, &h->peers, entry)
		if (p->kind == PEER_NAME && !p->closed && !p->retired) {
			note_unreachable(p, NULL); /* said by another broker, perhaps */
			say_watch(p, 0);
		}
}

static void make_ready(struct brood_peer *p)
{
	timer_cancel(&p->h->timers, &p->waiting);
	p->ready = 1;
	p->disconnected = 0;
	p->absent = 0;
	event_post(p->h, p, BROOD_EVENT_READY, NULL);
}

/* Nothing may follow what was said last, though it is asked for under another name. */
static void report_if_parted(struct remote *waiting, const struct remote *known)
{
	struct fault f;
	if (!known->fin_sent && !known->fin_received)
		return;
	fault_set(&f, "peer.left", "it is disconnected");
	parting_report(waiting, &f);
}

/* The holder is a process that was known before under its address, or talked to me. */
static void join_known(struct brood_peer *p, struct remote *known)
{
	struct remote *waiting = p->remote;
	struct brood_peer *before = known->peer;
	uint64_t first = known->out.next;
	report_if_parted(waiting, known);
	request_move(waiting, known);
	if (remote_move(waiting, known) < 0) {
		struct fault f;
		fault_set_code(&f, -ENOMEM, "undelivered", "messages to %s were lost: out of memory", p->name);
		event_post(p->h, p, BROOD_EVENT_ERROR, &f);
	}
	confirm_move(waiting, known, first);
	known->fin_sent |= waiting->fin_sent;
	peer_turn_to(p, known);
	if (before && before->kind == PEER_PROCESS && !before->owned)
		peer_retire(before);
	else if (before && p->kind == PEER_NAME)
		known->peer = before; /* the nearer relation keeps the events */
}

/* There is no memory to talk to it: as if nobody held the name. */
static void holder_lost(struct brood_peer *p)
{
	struct fault f;
	fault_set_code(&f, -ENOMEM, "memory", "out of memory for a relation with the holder of %s", p->name);
	p->absent = 1;
	event_post(p->h, p, BROOD_EVENT_ERROR, &f);
	parting_report(p->remote, &f);
}

int names_join(struct brood_peer *p, uint64_t id)
{
	struct remote *known = remote_find(p->h, id);
	if (known)
		join_known(p, known);
	else if (remote_resolve(p->remote, id) < 0)
		return -ENOMEM;
	return 0;
}

/* It was known, and was away before this one turned to it. */
static void tell_if_away(struct brood_peer *p)
{
	if (p->away || peer_of(p->remote) != p || p->remote->hold != REMOTE_AWAY)
		return;
	p->away = 1;
	event_post(p->h, p, BROOD_EVENT_AWAY, NULL);
}

int names_turn_to(struct brood_peer *p, uint64_t id)
{
	if (names_join(p, id) < 0)
		return -ENOMEM;
	make_ready(p);
	tell_if_away(p);
	return 0;
}

/* The name has no holder, or another one: what was sent to the old one stays with it. */
static int leave_holder(struct brood_peer *p)
{
	struct remote *fresh = remote_new(p->h);
	if (!fresh)
		return -ENOMEM;
	struct fault why;
	fault_set(&why, "name.lost", "%s has another holder, or none", p->name);
	parting_disconnect(p, &why);
	p->away = 0;
	struct remote *old = p->remote;
	remote_ref(old);
	peer_turn_to(p, fresh);
	if (!old->peer)        /* a nearer relation, its parent's, keeps the events */
		old->peer = p; /* for reports about what is still under way */
	remote_unref(old);
	remote_unref(fresh);
	return 0;
}

static int has_waiting(const struct brood_peer *p)
{
	return !p->remote->resolved && !p->remote->ended && outflow_unacknowledged(&p->remote->out) > 0;
}

struct brood_peer *names_unreached(struct brood *h)
{
	struct brood_peer *p;
	TAILQ_FOREACH (p, &h->peers, entry)
		if (p->unreachable && has_waiting(p))
			return p;
	return NULL;
}

/* Nobody has it any more, and nothing waits for a holder any more. */
static void let_go(struct brood_peer *p)
{
	if (!p->owned && !p->closed && !has_waiting(p))
		peer_retire(p);
}

void names_release(struct brood_peer *p)
{
	(void)peer_set_table(p, NULL, NULL); /* what is told from now on is told to the handle */
	let_go(p);
}

static void update_holder(struct brood_peer *p, uint64_t id, const char *why)
{
	note_unreachable(p, NULL);
	if (p->remote->resolved && p->remote->id == id && !p->remote->ended)
		return;
	if (p->remote->resolved && leave_holder(p) < 0)
		return;
	if (id) {
		if (names_turn_to(p, id) < 0)
			holder_lost(p);
		return;
	}
	p->absent = 1;
	p->why_absent = *why ? error_reason(why)->name : NULL;
	if (outflow_unacknowledged(&p->remote->out))
		names_wait(p);
}

static int is_listed(const char *list, const char *user)
{
	size_t n = strlen(user);
	for (; *list; list += strspn(list, " ")) {
		size_t length = strcspn(list, " ");
		if (length == n && memcmp(list, user, n) == 0)
			return 1;
		list += length;
	}
	return 0;
}

/* The broker has to hear so again whenever I come back. The oldest are forgotten, so that HELLO stays short. */
void names_admit(struct brood *h, const char *user)
{
	const char *old = h->abroad ? h->abroad : "";
	size_t n = strlen(user) + 2;
	if (n > GUESTS_MOST || is_listed(old, user))
		return;
	while (*old && strlen(old) + n > GUESTS_MOST)
		old += strcspn(old, " ") + (strchr(old, ' ') != NULL);
	char *fresh = malloc(strlen(old) + n);
	if (!fresh)
		return; /* the broker tells again when it is asked again */
	sprintf(fresh, "%s%s%s", old, *old ? " " : "", user);
	free(h->abroad);
	h->abroad = fresh;
}

void names_holder(struct brood *h, const Brood__Name *m)
{
	struct brood_peer *p, *next;
	if (m->id && m->user[0] && !strchr(m->user, ' '))
		names_admit(h, m->user);
	for (p = TAILQ_FIRST(&h->peers); p; p = next) {
		/* One that was given back stays with whom it found: what waited for the next holder would go with it. */
		int is_it = p->kind == PEER_NAME && !p->closed && !p->retired && strcmp(p->name, m->name) == 0;
		if (is_it && !m->id && strcmp(m->error, "host.unreachable") == 0)
			note_unreachable(p, m->text);
		else if (is_it)
			update_holder(p, m->id, m->error);
		next = TAILQ_NEXT(p, entry); /* now: the update may have ended others */
		if (is_it)
			let_go(p);
	}
}

/* Why nobody took what waited for a holder. */
static void explain_absence(const struct brood_peer *p, struct fault *f)
{
	const char *why = p->why_absent ? p->why_absent : "name.unknown";
	int node = (int)strcspn(p->name, "/");
	char silence[256];
	if (p->unreachable)
		fault_set(f, "host.unreachable", "%s", peer_silence(p, silence, sizeof(silence)));
	else if (strcmp(why, "host.unknown") == 0)
		fault_set(f, why, "this broker knows no host %.*s", node, p->name);
	else if (strcmp(why, "host.private") == 0)
		fault_set(f, why, "the broker is private, and has no link to %.*s or any other host", node, p->name);
	else
		fault_set(f, why, "nobody holds the name %s", p->name);
}

static void waited_enough(struct timer *t)
{
	struct brood_peer *p = (struct brood_peer *)(void *)((char *)t - offsetof(struct brood_peer, waiting));
	struct fault f;
	explain_absence(p, &f);
	parting_report(p->remote, &f);
	let_go(p);
}

void names_wait(struct brood_peer *p)
{
	if (p->kind != PEER_NAME || !p->absent || p->waiting.slot)
		return;
	p->waiting.fire = waited_enough;
	(void)timer_arm(&p->h->timers, &p->waiting, handle_now() + p->wait_ms);
}

struct brood_peer *names_stranger(struct brood *h, uint64_t id)
{
	struct remote *r = remote_new(h);
	struct brood_peer *p = r ? peer_new(h, PEER_PROCESS, r) : NULL;
	if (p && remote_resolve(r, id) < 0) {
		peer_retire(p);
		p = NULL;
	}
	remote_unref(r);
	return p;
}

/* The peer with this address, owned by the program from now on. */
static struct brood_peer *find_process(struct brood *h, uint64_t id)
{
	struct remote *r = remote_find(h, id);
	if (r && peer_of(r))
		return r->peer;
	if (!r)
		return names_stranger(h, id);
	struct brood_peer *p = peer_new(h, PEER_PROCESS, r);
	if (p)
		p->away = r->hold == REMOTE_AWAY;
	return p;
}

static struct brood_peer *find_name(struct brood *h, const char *name)
{
	struct remote *r = remote_new(h);
	struct brood_peer *p = r ? peer_new(h, PEER_NAME, r) : NULL;
	remote_unref(r);
	if (p && (!(p->name = strdup(name)) || timer_promise(&h->timers, &p->waiting) < 0)) {
		peer_unref(p);
		return NULL;
	}
	if (p && link_is_up(h))
		say_watch(p, 0);
	return p;
}

/* Behind the slash, if it is an address of my own node, or its broker's. */
static const char *without_my_node(const struct brood *h, const char *name)
{
	size_t n = strlen(h->link.node);
	uint64_t id;
	if (n == 0 || strncmp(name, h->link.node, n) != 0 || name[n] != '/')
		return name;
	return id_parse(name + n + 1, &id) == 0 || strcmp(name + n + 1, "@broker") == 0 ? name + n + 1 : name;
}

struct brood_peer *names_seek(struct brood *h, const char *name)
{
	struct brood_peer *p;
	TAILQ_FOREACH (p, &h->peers, entry)
		if (p->kind == PEER_NAME && p->quiet && !p->closed && strcmp(p->name, name) == 0)
			return p;
	p = find_name(h, name);
	if (!p)
		return NULL;
	p->quiet = 1;
	peer_own(p);
	return p;
}

static int look_up(struct brood *h, const char *name, struct brood_peer **ret)
{
	uint64_t id;
	name = without_my_node(h, name);
	if (strcmp(name, "@broker") == 0)
		*ret = h->broker;
	else if (id_parse(name, &id) == 0)
		*ret = find_process(h, id);
	else if (name_is_valid(name) || name_is_of_node(name))
		*ret = find_name(h, name);
	else
		return handle_fail(h, -EINVAL, "name.invalid", "\"%s\" is neither a name nor an address", name);
	return *ret ? 0 : handle_fail(h, -ENOMEM, "memory", "cannot find %s", name);
}

int brood_find(brood *h, brood_peer **ret, const char *name, const struct brood_find_options *options)
{
	struct brood_find_options o = { 0 };
	struct brood_peer *p;
	int rc = handle_check(h);
	if (rc < 0)
		return rc;
	if (!ret || !name)
		return handle_fail(h, -EINVAL, "argument", "cannot find: no name, or nowhere to put the peer");
	if (options && options->size < sizeof(size_t))
		return handle_fail(h, -EINVAL, "argument",
				   "the size of the options is not set: use BROOD_FIND() or BROOD_INIT()");
	if (options)
		memcpy(&o, options, options->size < sizeof(o) ? options->size : sizeof(o));
	rc = look_up(h, name, &p);
	if (rc < 0)
		return rc;
	if ((o.on || o.data) && (rc = peer_set_table(p, o.on, o.data)) < 0) {
		if (!p->owned && p->kind == PEER_NAME)
			peer_retire(p);
		return handle_fail(h, rc, "argument", UNSIZED_TABLE);
	}
	p->wait_ms = o.wait_ms;
	peer_own(p);
	link_need(h);
	*ret = p;
	return 0;
}
