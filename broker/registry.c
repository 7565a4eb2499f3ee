/*
 * registry: processes, their families, and their names.
 *
 * A process is one record from the moment it gets an id until it is gone for good, whatever happens to its connection
 * meanwhile. A name is one record as long as somebody holds or watches it; a watch ties a process to a name and lies in
 * the lists of both, so either can go first. The surprising rule: a removed process leaves orphans, not dangling
 * parents, so `parent` may be followed whenever it is not NULL.
 */
#include "registry.h"
#include "text.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct watch {
	struct process *watcher;
	struct name *name;
	LIST_ENTRY(watch) of_watcher;
	LIST_ENTRY(watch) of_name;
};

void registry_init(struct registry *r, struct accounts *accounts, registry_named_fn *named, void *data)
{
	*r = (struct registry){ .accounts = accounts, .policy = &policy_default, .named = named, .data = data };
}

void registry_deinit(struct registry *r)
{
	struct process *p;
	uint32_t at;

	/* Removal moves places about, so one walk may miss some. */
	while (r->processes.count > 0)
		for (at = 0; (p = table_next(&r->processes, &at));)
			registry_remove(r, p);
	table_deinit(&r->processes);
	table_deinit(&r->greeted);
	departed_deinit(&r->departed);
}

/*
 * Processes.
 */

struct process *registry_add(struct registry *r, uint64_t id, uint32_t uid)
{
	struct process *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->id = id;
	p->uid = uid;
	if (table_put(&r->processes, id, p) < 0) {
		free(p);
		return NULL;
	}
	return p;
}

void registry_entitle(struct process *p, const char *title)
{
	text_cut(p->title, sizeof(p->title), title);
}

struct process *registry_find(const struct registry *r, uint64_t id)
{
	return id ? table_get(&r->processes, id) : NULL;
}

void registry_greet(struct registry *r, struct process *p, uint64_t nonce)
{
	if (p->nonce)
		table_remove(&r->greeted, p->nonce);
	p->nonce = nonce && !table_get(&r->greeted, nonce) && table_put(&r->greeted, nonce, p) == 0 ? nonce : 0;
}

struct process *registry_greeted(const struct registry *r, uint64_t nonce, uint32_t uid)
{
	struct process *p = nonce ? table_get(&r->greeted, nonce) : NULL;

	return p && p->uid == uid ? p : NULL;
}

static void watch_free(struct registry *, struct watch *);

void registry_remove(struct registry *r, struct process *p)
{
	struct process *child;

	assert(!p->port);
	registry_name_drop(r, p, "");
	while (!LIST_EMPTY(&estate_of(p)->watches))
		watch_free(r, LIST_FIRST(&estate_of(p)->watches));
	while ((child = LIST_FIRST(&p->children))) {
		child->orphan_of = id_is_foreign(p->id) ? p->uid : 0;
		registry_relate(child, NULL);
	}
	while (!LIST_EMPTY(&estate_of(p)->kept))
		(void)registry_keep(LIST_FIRST(&estate_of(p)->kept)->process, NULL);
	registry_relate(p, NULL);
	(void)registry_keep(p, NULL);
	table_remove(&r->processes, p->id);
	registry_greet(r, p, 0);
	estate_free(p);
	free(p);
}

/*
 * Families.
 */

void registry_relate(struct process *child, struct process *parent)
{
	if (child->parent)
		LIST_REMOVE(child, sibling);
	child->parent = parent;
	if (parent)
		LIST_INSERT_HEAD(&parent->children, child, sibling);
}

/* Both get an estate if they have none. 0, or -ENOMEM. */
static int endow(struct process *child, struct process *keeper)
{
	if (estate_get(child) && estate_get(keeper))
		return 0;
	estate_tidy(child);
	return -ENOMEM;
}

int registry_keep(struct process *child, struct process *keeper)
{
	struct process *before = estate_of(child)->keeper;

	if (keeper == before)
		return 0;
	if (keeper && endow(child, keeper) < 0)
		return -ENOMEM;
	if (before)
		LIST_REMOVE(child->estate, of_keeper);
	child->estate->keeper = keeper;
	if (keeper)
		LIST_INSERT_HEAD(&keeper->estate->kept, child->estate, of_keeper);
	estate_tidy(child);
	if (before)
		estate_tidy(before);
	return 0;
}

int registry_related(const struct process *a, const struct process *b)
{
	return a->parent == b || b->parent == a;
}

int registry_grant(const struct registry *r, struct process *p, uint64_t first, uint32_t n)
{
	struct estate *e = estate_get(p);
	struct block *more;

	if (!e)
		return -ENOMEM;
	if (e->n_blocks >= r->accounts->limits->id_blocks_per_process)
		memmove(e->blocks, e->blocks + 1, --e->n_blocks * sizeof(*e->blocks));
	more = realloc(e->blocks, (e->n_blocks + 1u) * sizeof(*more));
	if (!more) {
		estate_tidy(p);
		return -ENOMEM;
	}
	e->blocks = more;
	e->blocks[e->n_blocks++] = (struct block){ first, n };
	return 0;
}

uint64_t registry_block_of(const struct process *p, uint64_t id)
{
	const struct estate *e = estate_of(p);

	for (unsigned i = e->n_blocks; i-- > 0;)
		if (id - e->blocks[i].first < e->blocks[i].n)
			return e->blocks[i].first;
	return 0;
}

/*
 * Names.
 */

static unsigned key_length(const char *text)
{
	return (unsigned)(sizeof(uint32_t) + strlen(text));
}

static struct name *name_find(const struct registry *r, uint32_t uid, const char *text)
{
	struct {
		uint32_t uid;
		char text[NAME_MAX_LENGTH + 1];
	} key = { .uid = uid };
	struct name *name;

	if (!name_is_valid(text))
		return NULL;
	strcpy(key.text, text);
	HASH_FIND(hh, r->names, &key, key_length(text), name);
	return name;
}

/* Whose name it is that this user says. */
static uint32_t scope_of(const struct registry *r, uint32_t uid, const char *text)
{
	const struct policy_name *shared = policy_shared(r->policy, text);

	return shared && policy_may_use(r->policy, shared, uid) ? shared->owner : uid;
}

static struct name *name_add(struct registry *r, uint32_t uid, const char *text)
{
	struct name *name = calloc(1, sizeof(*name));

	if (!name)
		return NULL;
	name->uid = uid;
	strcpy(name->text, text);
	HASH_ADD(hh, r->names, uid, key_length(text), name);
	if (!name->hh.tbl) {
		free(name);
		return NULL;
	}
	return name;
}

static void name_free_if_unused(struct registry *r, struct name *name)
{
	if (name->holder || !LIST_EMPTY(&name->watches))
		return;
	HASH_DELETE(hh, r->names, name);
	free(name);
}

/* The record of a valid name, made if there is none. 0, -EINVAL, -ENOMEM. */
static int name_get(struct registry *r, uint32_t uid, const char *text, struct name **ret)
{
	struct name *name = name_find(r, uid, text);

	if (!name_is_valid(text))
		return -EINVAL;
	if (!name)
		name = name_add(r, uid, text);
	*ret = name;
	return name ? 0 : -ENOMEM;
}

static void name_tell(struct registry *r, const struct name *name)
{
	struct watch *watch;

	LIST_FOREACH (watch, &name->watches, of_name)
		r->named(r->data, watch->watcher, name);
	if (r->changed)
		r->changed(r->changed_data, name->text);
}

int registry_name_take(struct registry *r, struct process *p, const char *text)
{
	struct name *name = name_find(r, p->uid, text);
	int error;

	if (!name_is_valid(text))
		return -EINVAL;
	if (!policy_may_hold(r->policy, p->uid, text))
		return -EACCES;
	if (name && name->holder)
		return name->holder == p ? 0 : -EADDRINUSE;
	if (estate_of(p)->n_names >= r->accounts->limits->names_per_process)
		return -ENOSPC;
	error = account_take(r->accounts, p->uid, ACCOUNT_NAMES);
	if (error < 0)
		return error;
	error = estate_get(p) ? name_get(r, p->uid, text, &name) : -ENOMEM;
	if (error < 0) {
		estate_tidy(p);
		account_give(r->accounts, p->uid, ACCOUNT_NAMES);
		return error;
	}
	name->holder = p;
	p->estate->n_names++;
	LIST_INSERT_HEAD(&p->estate->names, name, of_holder);
	name_tell(r, name);
	return 0;
}

void registry_name_open(struct registry *r, struct process *p, const char *text)
{
	struct name *name = name_find(r, p->uid, text);

	if (!name || name->holder != p)
		return;
	p->open = 1;
	if (name->open)
		return;
	name->open = 1;
	LIST_INSERT_HEAD(&r->open, name, of_open);
	if (r->changed)
		r->changed(r->changed_data, name->text);
}

/* Who has no open name any more is not open. */
static void name_shut(struct process *p, struct name *name)
{
	const struct name *other;

	if (!name->open)
		return;
	name->open = p->open = 0;
	LIST_REMOVE(name, of_open);
	LIST_FOREACH (other, &estate_of(p)->names, of_holder)
		p->open |= (uint8_t)other->open;
}

static void name_drop(struct registry *r, struct process *p, struct name *name)
{
	LIST_REMOVE(name, of_holder);
	name_shut(p, name);
	name->holder = NULL;
	p->estate->n_names--;
	estate_tidy(p);
	account_give(r->accounts, name->uid, ACCOUNT_NAMES);
	name_tell(r, name);
	name_free_if_unused(r, name);
}

void registry_name_drop(struct registry *r, struct process *p, const char *text)
{
	struct name *name = name_find(r, p->uid, text);

	if (name && name->holder == p)
		name_drop(r, p, name);
	while (text[0] == '\0' && !LIST_EMPTY(&estate_of(p)->names))
		name_drop(r, p, LIST_FIRST(&estate_of(p)->names));
}

void registry_name_give_up(struct registry *r, struct process *p, const char *name)
{
	char names[256];
	char *had = estate_of(p)->n_names > 0 ? strdup(registry_names(p, names, sizeof(names))) : NULL;

	if (had) {
		free(p->estate->had);
		p->estate->had = had;
	}
	registry_name_drop(r, p, name);
}

struct process *registry_name_holder(const struct registry *r, uint32_t uid, const char *text)
{
	const struct name *name = name_find(r, scope_of(r, uid, text), text);

	return name ? name->holder : NULL;
}

const char *registry_name_lost(const struct registry *r, const struct process *p)
{
	const struct name *name;

	LIST_FOREACH (name, &estate_of(p)->names, of_holder)
		if (!policy_may_hold(r->policy, p->uid, name->text))
			return name->text;
	return NULL;
}

int registry_offers(const struct registry *r, const struct process *p, uint32_t uid)
{
	const struct policy_name *shared;
	const struct name *name;

	LIST_FOREACH (name, &estate_of(p)->names, of_holder) {
		shared = r->policy->shared ? policy_shared(r->policy, name->text) : NULL;
		if (shared && policy_may_use(r->policy, shared, uid))
			return 1;
	}
	return 0;
}

char *registry_names(const struct process *p, char *to, size_t n)
{
	const struct name *name;
	size_t used = 0;

	to[0] = '\0';
	LIST_FOREACH (name, &estate_of(p)->names, of_holder) {
		size_t length = strlen(name->text) + (used > 0);

		if (used + length >= n)
			break;
		snprintf(to + used, n - used, "%s%s", used > 0 ? " " : "", name->text);
		used += length;
	}
	return to;
}

/*
 * Watches.
 */

static struct watch *watch_find(const struct process *p, const struct name *name)
{
	struct watch *watch;

	LIST_FOREACH (watch, &estate_of(p)->watches, of_watcher)
		if (watch->name == name)
			return watch;
	return NULL;
}

static void watch_free(struct registry *r, struct watch *watch)
{
	LIST_REMOVE(watch, of_watcher);
	LIST_REMOVE(watch, of_name);
	watch->watcher->estate->n_watches--;
	estate_tidy(watch->watcher);
	name_free_if_unused(r, watch->name);
	free(watch);
}

static struct watch *watch_add(struct process *p, struct name *name)
{
	struct estate *e = estate_get(p);
	struct watch *watch = e ? calloc(1, sizeof(*watch)) : NULL;

	if (!watch) {
		estate_tidy(p);
		return NULL;
	}
	watch->watcher = p;
	watch->name = name;
	LIST_INSERT_HEAD(&e->watches, watch, of_watcher);
	LIST_INSERT_HEAD(&name->watches, watch, of_name);
	e->n_watches++;
	return watch;
}

int registry_watch(struct registry *r, struct process *p, const char *text)
{
	struct name *name;
	int error = name_get(r, scope_of(r, p->uid, text), text, &name);

	if (error < 0)
		return error;
	if (!watch_find(p, name)) {
		error = estate_of(p)->n_watches >= r->accounts->limits->watches_per_process ? -ENOSPC : 0;
		if (error == 0 && !watch_add(p, name))
			error = -ENOMEM;
	}
	if (error == 0 && (name->holder || !r->settling))
		r->named(r->data, p, name);
	else if (error < 0)
		name_free_if_unused(r, name);
	return error;
}

void registry_settle(struct registry *r)
{
	const struct name *name;

	r->settling = 0;
	for (name = r->names; name; name = name->hh.next)
		if (!name->holder)
			name_tell(r, name);
}

void registry_unwatch(struct registry *r, struct process *p, const char *text)
{
	struct name *name = name_find(r, scope_of(r, p->uid, text), text);
	struct watch *watch = name ? watch_find(p, name) : NULL;

	if (watch)
		watch_free(r, watch);
}

/* Without memory it is told that nobody has it, and hears no more. */
static void watch_again(struct registry *r, struct process *p, const char *text)
{
	struct name nobody = { .uid = p->uid };

	if (registry_watch(r, p, text) == 0)
		return;
	strcpy(nobody.text, text);
	r->named(r->data, p, &nobody);
}

static void review_watches(struct registry *r, struct process *p)
{
	struct watch *watch, *next;
	char text[NAME_MAX_LENGTH + 1];

	for (watch = LIST_FIRST(&estate_of(p)->watches); watch; watch = next) {
		next = LIST_NEXT(watch, of_watcher);
		if (watch->name->uid == scope_of(r, p->uid, watch->name->text))
			continue;
		strcpy(text, watch->name->text);
		watch_free(r, watch);
		watch_again(r, p, text); /* which puts it in front of those that are still to come */
	}
}

void registry_review(struct registry *r)
{
	struct process *p;
	uint32_t at = 0;

	while ((p = table_next(&r->processes, &at)))
		review_watches(r, p);
}
