/*
 * inquiry: who asks for what across nodes, and what is answered here.
 *
 * Names belong to a user, but who asks from another node is none of ours. It finds names that their holders made open; if
 * several users have an open one of the same text, that of the user who is called like the asker's, else root's or the
 * broker's own user's, else that of the lowest uid. An id is found by whom it would listen to.
 */
#include "inquiry.h"
#include "node.h"
#include "note.h"
#include "text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct topic {
	UT_hash_handle hh;
	struct inquiry_list asked;
	char name[NAME_MAX_LENGTH + 1];
};

/*
 * What is so.
 */

/* The better of two holders for somebody called `user`. */
static struct name *better(const struct inquiries *q, struct name *a, struct name *b, const char *user)
{
	int like_a, like_b, high_a, high_b;

	if (!a)
		return b;
	like_a = strcmp(users_text(q->users, a->uid), user) == 0;
	like_b = strcmp(users_text(q->users, b->uid), user) == 0;
	if (like_a != like_b)
		return like_a ? a : b;
	high_a = router_is_almighty(q->router, a->uid);
	high_b = router_is_almighty(q->router, b->uid);
	if (high_a != high_b)
		return high_a ? a : b;
	return a->uid < b->uid ? a : b;
}

static struct process *open_holder(const struct inquiries *q, const struct process *watcher, const char *text)
{
	struct name *name, *best = NULL;
	char user[USERS_TEXT];

	snprintf(user, sizeof(user), "%s", users_text(q->users, watcher->uid));
	user[strcspn(user, "@")] = '\0';
	LIST_FOREACH (name, &q->registry->open, of_open)
		if (strcmp(name->text, text) == 0)
			best = better(q, best, name, user);
	return best ? best->holder : NULL;
}

static struct process *holder_of(const struct inquiries *q, const struct process *watcher, const char *text)
{
	struct process *p;
	uint64_t id;

	if (id_parse(text, &id) == 0) {
		p = registry_find(q->registry, id);
		return p && !p->proxy && p->state != PROCESS_AWAITED && router_may(q->router, watcher, p) ? p : NULL;
	}
	p = watcher->proxy ? open_holder(q, watcher, text) : NULL;
	return p ? p : registry_name_holder(q->registry, watcher->uid, text);
}

/*
 * Telling.
 */

void inquiry_answer(struct inquiry *i, const char *node, uint64_t id, const char *user)
{
	Brood__Name told = BROOD__NAME__INIT;
	char name[FAR_NAME_MAX_LENGTH + 1];

	i->told = id;
	snprintf(name, sizeof(name), "%s/%s", node, i->name);
	told.name = name;
	told.id = id;
	told.user = (char *)(uintptr_t)user;
	if (id && user[0]) /* without memory it is told again with the next answer */
		(void)users_list_add(&i->watcher->estate->abroad, user, ABROAD_LIST_MOST);
	note_put(i->watcher->sink, FRAME_NAME, &told.base);
}

static const char *why_down(const struct node *node, char *to, size_t n)
{
	char address[256];

	if (node->error[0])
		return node->error;
	if (node->url.kind == 0)
		return "it has not connected, and no url is set for it here";
	snprintf(to, n, "%.150s: no answer yet", address_text(&node->url, address, sizeof(address)));
	return to;
}

void inquiry_unreachable(const struct inquiry *i)
{
	Brood__Name told = BROOD__NAME__INIT;
	char name[FAR_NAME_MAX_LENGTH + 1], text[NODE_ERROR], cut[NODE_ERROR];

	if (i->told)
		return; /* who knows of a holder hears that this one is away */
	snprintf(name, sizeof(name), "%s/%s", i->node->name, i->name);
	told.name = name;
	told.error = (char *)(uintptr_t) "host.unreachable";
	told.text = text_cut(cut, sizeof(cut), why_down(i->node, text, sizeof(text)));
	note_put(i->watcher->sink, FRAME_NAME, &told.base);
}

void inquiries_unreachable(const struct node *node)
{
	const struct inquiry *i;

	LIST_FOREACH (i, &node->inquiries, of_place)
		inquiry_unreachable(i);
}

/* To another node's broker, which puts our name in front. */
static void answer_foreigner(const struct inquiries *q, const struct inquiry *i, uint64_t id, const struct process *p)
{
	Brood__Name told = BROOD__NAME__INIT;

	told.name = (char *)(uintptr_t)i->name;
	told.id = id;
	told.user = (char *)(uintptr_t)(p ? users_text(q->users, p->uid) : "");
	note_put(i->watcher->sink, FRAME_NAME, &told.base);
}

/* What is new. That something changed which it may not see is nothing new. */
static void tell(const struct inquiries *q, struct inquiry *i)
{
	const struct process *p = holder_of(q, i->watcher, i->name);
	int is_broker = strcmp(i->name, "@broker") == 0;
	uint64_t id = p ? p->id : 0;

	if ((!p && !is_broker && q->registry->settling) || (i->answered && i->told == id))
		return;
	i->answered = 1;
	i->told = id;
	if (!i->watcher->proxy)
		inquiry_answer(i, q->node, id, "");
	else
		answer_foreigner(q, i, is_broker ? q->self : id, p);
}

static void topic_tell(const struct inquiries *q, const struct topic *topic)
{
	struct inquiry *i;

	LIST_FOREACH (i, &topic->asked, of_place)
		tell(q, i);
}

void inquiries_changed(void *data, const char *name)
{
	struct inquiries *q = data;
	struct topic *topic;

	HASH_FIND_STR(q->topics, name, topic);
	if (topic)
		topic_tell(q, topic);
}

void inquiries_settle(struct inquiries *q)
{
	const struct topic *topic;

	for (topic = q->topics; topic; topic = topic->hh.next)
		topic_tell(q, topic);
}

/*
 * Beginning and ending.
 */

static struct topic *topic_get(struct inquiries *q, const char *name)
{
	struct topic *topic;

	HASH_FIND_STR(q->topics, name, topic);
	if (topic)
		return topic;
	topic = calloc(1, sizeof(*topic));
	if (!topic)
		return NULL;
	strcpy(topic->name, name);
	HASH_ADD_STR(q->topics, name, topic);
	if (topic->hh.tbl)
		return topic;
	free(topic);
	return NULL;
}

static void topic_free_if_unused(struct inquiries *q, struct topic *topic)
{
	if (!topic || !LIST_EMPTY(&topic->asked))
		return;
	HASH_DELETE(hh, q->topics, topic);
	free(topic);
}

struct inquiry *inquiry_find(const struct process *watcher, const struct node *node, const char *name)
{
	struct inquiry *i;

	LIST_FOREACH (i, &estate_of(watcher)->asks, of_watcher)
		if (i->node == node && strcmp(i->name, name) == 0)
			return i;
	return NULL;
}

static struct inquiry *make(struct inquiries *q, struct process *watcher, struct node *node, struct inquiry_list *place,
			    const char *name)
{
	struct inquiry *i = calloc(1, sizeof(*i));

	if (!i)
		return NULL;
	i->topic = node ? NULL : topic_get(q, name);
	if ((!node && !i->topic) || !estate_get(watcher)) {
		topic_free_if_unused(q, i->topic);
		free(i);
		return NULL;
	}
	i->watcher = watcher;
	i->node = node;
	strcpy(i->name, name);
	LIST_INSERT_HEAD(&watcher->estate->asks, i, of_watcher);
	LIST_INSERT_HEAD(node ? place : &i->topic->asked, i, of_place);
	watcher->estate->n_watches++;
	if (watcher->proxy)
		watcher->proxy->node->n_inquiries++;
	return i;
}

int inquiry_begin(struct inquiries *q, struct process *watcher, struct node *node, struct inquiry_list *place,
		  const char *name, struct inquiry **ret)
{
	struct inquiry *i = inquiry_find(watcher, node, name);

	if (!i && estate_of(watcher)->n_watches >= q->registry->accounts->limits->watches_per_process)
		return -ENOSPC;
	if (!i)
		i = make(q, watcher, node, place, name);
	if (!i)
		return -ENOMEM;
	i->answered = 0;
	if (!node)
		tell(q, i);
	*ret = i;
	return 0;
}

void inquiry_end(struct inquiries *q, struct inquiry *i)
{
	LIST_REMOVE(i, of_watcher);
	LIST_REMOVE(i, of_place);
	topic_free_if_unused(q, i->topic);
	i->watcher->estate->n_watches--;
	estate_tidy(i->watcher);
	if (i->watcher->proxy)
		i->watcher->proxy->node->n_inquiries--;
	free(i);
}

void inquiries_end_of(struct inquiries *q, struct process *watcher)
{
	while (!LIST_EMPTY(&estate_of(watcher)->asks))
		inquiry_end(q, LIST_FIRST(&estate_of(watcher)->asks));
}
