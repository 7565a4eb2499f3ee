/*
 * exits: see exits.h.
 *
 * What the broker sees and what the parent says come in either order, and the parent may add its child's last words later.
 * So there is one record per id, made by whoever is first and completed by the other. The surprising rule: a record that
 * was made on the word of somebody who turns out not to be the parent is thrown away.
 */
#include "exits.h"
#include "text.h"
#include <stdlib.h>
#include <string.h>

void exits_init(struct exits *x, const struct limits *limits)
{
	*x = (struct exits){ .limits = limits };
}

/*
 * Whose they are.
 */

static struct exits_user *user_open(struct exits *x, uint32_t uid)
{
	struct exits_user *u;

	LIST_FOREACH (u, &x->users, entry)
		if (u->uid == uid)
			return u;
	u = calloc(1, sizeof(*u));
	if (!u)
		return NULL;
	u->uid = uid;
	TAILQ_INIT(&u->peaceful);
	TAILQ_INIT(&u->others);
	LIST_INSERT_HEAD(&x->users, u, entry);
	return u;
}

static void user_close(struct exits_user *u)
{
	if (u->n > 0)
		return;
	LIST_REMOVE(u, entry);
	free(u);
}

static struct ending_list *list_of(const struct ending *e)
{
	return e->in_peace ? &e->user->peaceful : &e->user->others;
}

static void forget(struct exits *x, struct ending *e)
{
	struct exits_user *u = e->user;

	(void)table_remove(&x->by_id, e->id);
	TAILQ_REMOVE(list_of(e), e, entry);
	u->n--;
	user_close(u);
	free(e->names);
	free(e->stage);
	free(e->text);
	free(e->tail);
	free(e);
}

void exits_deinit(struct exits *x)
{
	struct exits_user *u;

	while ((u = LIST_FIRST(&x->users)))
		forget(x, TAILQ_FIRST(u->n > 0 && !TAILQ_EMPTY(&u->peaceful) ? &u->peaceful : &u->others));
	table_deinit(&x->by_id);
}

/* Of the user who has most. */
static void forget_one(struct exits *x)
{
	struct exits_user *u, *most = LIST_FIRST(&x->users);

	LIST_FOREACH (u, &x->users, entry)
		if (u->n > most->n)
			most = u;
	forget(x, TAILQ_FIRST(TAILQ_EMPTY(&most->peaceful) ? &most->others : &most->peaceful));
}

static void make_room(struct exits *x)
{
	while (x->by_id.count > 0 && x->by_id.count >= x->limits->exits)
		forget_one(x);
}

/*
 * Records.
 */

static int is_in_peace(const struct ending *e)
{
	switch (e->cause) {
	case BROOD__CAUSE__CAUSE_UNKNOWN:
		return e->why == BROOD__WHY__WHY_LEFT;
	case BROOD__CAUSE__CAUSE_EXITED:
		return e->code == 0;
	default:
		return e->ended_by == BROOD__ENDED_BY__BY_KILL;
	}
}

/* Behind those that ended before it, wherever it belongs by now. */
static void file(struct ending *e)
{
	struct ending *before;
	struct ending_list *list;

	if (e->in_peace == is_in_peace(e))
		return;
	TAILQ_REMOVE(list_of(e), e, entry);
	e->in_peace = !e->in_peace;
	list = list_of(e);
	before = TAILQ_LAST(list, ending_list);
	while (before && before->serial > e->serial)
		before = TAILQ_PREV(before, ending_list, entry);
	if (before)
		TAILQ_INSERT_AFTER(list, before, e, entry);
	else
		TAILQ_INSERT_HEAD(list, e, entry);
}

static struct ending *record(struct exits *x, uint64_t id, uint32_t uid, uint64_t now_ms)
{
	struct ending *e;

	make_room(x);
	e = x->limits->exits > 0 && id != 0 ? calloc(1, sizeof(*e)) : NULL;
	if (!e)
		return NULL;
	e->id = id;
	e->user = user_open(x, uid);
	if (!e->user || table_put(&x->by_id, id, e) < 0) {
		if (e->user)
			user_close(e->user);
		free(e);
		return NULL;
	}
	e->user->n++;
	e->serial = ++x->serial;
	e->began_ms = e->ended_ms = now_ms;
	TAILQ_INSERT_TAIL(&e->user->others, e, entry);
	return e;
}

static void keep_text(char **to, const char *text, size_t room)
{
	char cut[EXITS_TEXT > EXITS_NAMES ? EXITS_TEXT : EXITS_NAMES], *copy;

	if (!text || !*text)
		return;
	copy = strdup(text_cut(cut, room, text));
	if (!copy)
		return;
	free(*to);
	*to = copy;
}

static void keep_tail(struct ending *e, const ProtobufCBinaryData *tail)
{
	size_t n = tail->len < EXITS_TAIL ? tail->len : EXITS_TAIL;
	char *copy = n > 0 ? malloc(n) : NULL;

	if (!copy)
		return;
	memcpy(copy, tail->data + (tail->len - n), n);
	free(e->tail);
	e->tail = copy;
	e->tail_length = n;
}

static struct ending *record_of(struct exits *x, const struct process *p, uint64_t now_ms)
{
	const uint64_t parent = p->parent ? p->parent->id : 0;
	const struct estate *estate = estate_of(p);
	struct ending *e = table_get(&x->by_id, p->id);
	char names[EXITS_NAMES];

	if (e && (e->user->uid != p->uid || (parent && e->parent != parent))) {
		forget(x, e);
		e = NULL;
	}
	if (e)
		return e;
	e = record(x, p->id, p->uid, now_ms);
	if (!e)
		return NULL;
	e->began_ms = p->since_ms;
	e->parent = parent;
	e->parent_uid = p->parent ? p->parent->uid : 0;
	e->teller = estate->keeper ? estate->keeper->id : parent;
	e->pid = p->pid;
	text_cut(e->title, sizeof(e->title), p->title);
	text_cut(e->parent_title, sizeof(e->parent_title), p->parent ? p->parent->title : "");
	keep_text(&e->names, estate->n_names > 0 ? registry_names(p, names, sizeof(names)) : estate->had,
		  sizeof(names));
	return e;
}

void exits_see(struct exits *x, const struct process *p, Brood__Why why, const char *error, const char *text,
	       uint64_t now_ms)
{
	struct ending *e = record_of(x, p, now_ms);

	if (!e || e->why != BROOD__WHY__WHY_UNKNOWN)
		return;
	e->why = why;
	e->error = error;
	if (error)
		keep_text(&e->text, text, EXITS_TEXT);
	file(e);
}

/*
 * What parents say.
 */

static void take_cause(struct ending *e, const Brood__Died *died)
{
	e->cause = died->cause;
	e->ended_by = died->ended_by;
	e->code = died->code;
	e->signo = died->signo;
	e->core = died->core;
	e->wall_ms = died->wall_ms;
	e->user_us = died->user_us;
	e->system_us = died->system_us;
	e->max_rss_kib = died->max_rss_kib;
	keep_text(&e->stage, died->stage, EXITS_TEXT);
	if (!e->error) /* the broker's own reason says more */
		keep_text(&e->text, died->text, EXITS_TEXT);
}

/* Nothing is known of it but what the parent says. */
static struct ending *record_unknown(struct exits *x, const struct process *teller, const Brood__Died *died,
				     uint64_t now_ms)
{
	struct ending *e = record(x, died->id, teller->uid, now_ms);

	if (!e)
		return NULL;
	e->parent = e->teller = teller->id;
	e->parent_uid = teller->uid;
	e->pid = died->pid;
	text_cut(e->title, sizeof(e->title), died->title);
	text_cut(e->parent_title, sizeof(e->parent_title), teller->title);
	keep_text(&e->names, died->name, EXITS_NAMES);
	return e;
}

void exits_tell(struct exits *x, const struct process *teller, const struct process *child, const Brood__Died *died,
		int may, uint64_t now_ms)
{
	struct ending *e = table_get(&x->by_id, died->id);

	if (died->cause == BROOD__CAUSE__CAUSE_UNKNOWN || (!child && e && e->teller != teller->id))
		return;
	if (child)
		e = record_of(x, child, now_ms);
	else if (!e && may)
		e = record_unknown(x, teller, died, now_ms);
	if (!e)
		return;
	take_cause(e, died);
	keep_tail(e, &died->tail);
	file(e);
}

/*
 * Who asks.
 */

const struct ending *exits_find(const struct exits *x, uint64_t id)
{
	return id ? table_get(&x->by_id, id) : NULL;
}

const struct ending *exits_next(const struct exits *x, uint32_t *at)
{
	return table_next(&x->by_id, at);
}
