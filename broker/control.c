/*
 * control: the broker as a peer among peers.
 *
 * To a client, @broker is somebody at the other end of a stream: it accepts items in sequence, acknowledges them, and
 * answers requests with replies of its own sequence. But it keeps no log: an answer is put into the asker's connection
 * and forgotten. The state of a stream is an `endpoint`, made by the first frame; it begins wherever that frame does,
 * so that a client which outlived an earlier run of the broker is understood at once.
 *
 * Only requests of five types, one type of message, and nothing larger than one item: everything else is consumed, and
 * if it asks, answered with a failure.
 */
#include "control.h"
#include "clock.h"
#include "control.pb-c.h"
#include "error.h"
#include "guard.h"
#include "message.h"
#include "node.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef BROOD_VERSION
#define BROOD_VERSION "0.1.0"
#endif

#define PAGE_MOST 256u   /* processes in one Listing, which then fits one item */
#define NAMES_TEXT 256u  /* bytes for the names of one process */
#define ENDINGS_MOST 32u /* in one answer */

struct asked; /* a type of request */

struct endpoint {
	uint64_t next;                             /* sequence of the item to come */
	uint64_t out;                              /* sequence of my next item */
	const struct asked *types[ITEM_TYPES + 1]; /* by number; NULL: not known */
};

struct exchange { /* one frame's worth */
	const struct control *control;
	struct process *from;
	struct endpoint *endpoint;
	int replied; /* a reply carried the acknowledgement */
};

struct asked {
	const char *name, *reply; /* no reply: a message */
	const ProtobufCMessageDescriptor *descriptor;
	int (*answer)(struct exchange *, const struct item *, const struct asked *, const ProtobufCMessage *);
};

/*
 * Answering.
 */

static void put_head(struct exchange *x, unsigned kind, uint8_t *bytes, size_t length)
{
	struct frame head = { .kind = (uint8_t)kind,
			      .length = (uint32_t)length,
			      .destination = x->from->id,
			      .acknowledge = x->endpoint->next - 1 };

	if (kind == FRAME_DATA)
		head.sequence = x->endpoint->out++;
	frame_write_head(bytes, &head);
}

static void acknowledge(struct exchange *x)
{
	uint8_t bytes[FRAME_HEAD];

	put_head(x, FRAME_ACK, bytes, 0);
	x->from->sink->put(x->from->sink, NULL, bytes, sizeof(bytes));
}

static int reply(struct exchange *x, const struct item *asked, enum item_kind kind, const char *type,
		 const ProtobufCMessage *body)
{
	struct item it = { .kind = kind,
			   .type = ITEM_UNNUMBERED,
			   .correlation = asked->correlation,
			   .length = (uint32_t)protobuf_c_message_get_packed_size(body),
			   .name = type,
			   .name_length = (uint8_t)strlen(type) };
	size_t length = item_size(kind, item_extension_size(&it), it.length);
	uint8_t *bytes = calloc(1, frame_size(length));

	it.total = it.length;
	if (!bytes)
		return -ENOMEM;
	put_head(x, FRAME_DATA, bytes, length);
	protobuf_c_message_pack(body, item_write(bytes + FRAME_HEAD, &it));
	x->from->sink->put(x->from->sink, NULL, bytes, frame_size(length));
	x->replied = 1;
	free(bytes);
	return 0;
}

static int fail(struct exchange *x, const struct item *asked, const char *name, const char *text)
{
	Brood__Failure failure = BROOD__FAILURE__INIT;

	failure.code = error_reason(name)->code;
	failure.error = (char *)(uintptr_t)name;
	failure.text = (char *)(uintptr_t)text;
	return reply(x, asked, ITEM_FAILURE, "brood.Failure", &failure.base);
}

/*
 * GetStatus.
 */

static uint64_t resident_kib(void)
{
	unsigned long size, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return 0;
	if (fscanf(file, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	fclose(file);
	return resident * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
}

static int answer_status(struct exchange *x, const struct item *it, const struct asked *asked,
			 const ProtobufCMessage *body)
{
	const struct control *c = x->control;
	Brood__Control__Status status = BROOD__CONTROL__STATUS__INIT;
	char version[] = BROOD_VERSION;

	(void)body;
	status.node = (char *)(uintptr_t)c->node;
	status.version = version;
	status.pid = (uint32_t)getpid();
	status.up_ms = clock_ms() - c->started_ms;
	status.processes = c->registry->processes.count - c->router->n_awaited - c->registry->n_foreign;
	status.frames = c->router->frames;
	status.bytes = c->router->bytes;
	status.queued = c->router->queued;
	status.holds = c->router->holds;
	status.refused = *c->refused;
	status.rss_kib = resident_kib();
	status.private_ = c->private;
	return reply(x, it, ITEM_REPLY, asked->reply, &status.base);
}

/*
 * List.
 */

struct entry { /* of a Listing, with its texts */
	Brood__Control__Process message;
	char address[ID_TEXT], names[NAMES_TEXT], parent[NAME_MAX_LENGTH + 1 + ID_TEXT];
};

static const char *const transports[] = {
	[TRANSPORT_UNIX] = "unix",   [TRANSPORT_TCP] = "tcp",   [TRANSPORT_TLS] = "tls",
	[TRANSPORT_CHILD] = "child", [TRANSPORT_FIFO] = "fifo", [TRANSPORT_LINK] = "link",
};

/* Where its number means it, as it says itself, or its parent does. */
static uint64_t pid_space_of(const struct control *c, const struct process *p)
{
	return p->pid != 0 && p->visible ? c->pid_space : 0;
}

static void parent_fill(struct entry *entry, const struct process *parent)
{
	char id[ID_TEXT];

	entry->message.parent = parent->id;
	if (!parent->proxy)
		return;
	snprintf(entry->parent, sizeof(entry->parent), "%s/%s", parent->proxy->node->name,
		 id_format(parent->proxy->real, id));
	entry->message.parent_address = entry->parent;
}

static void entry_fill(const struct control *c, struct entry *entry, struct process *p, uint64_t now)
{
	Brood__Control__Process *m = &entry->message;
	const struct port *port = p->port;

	brood__control__process__init(m);
	m->id = p->id;
	m->address = id_format(p->id, entry->address);
	m->name = registry_names(p, entry->names, sizeof(entry->names));
	if (p->parent)
		parent_fill(entry, p->parent);
	m->pid = p->pid;
	m->uid = p->uid;
	m->title = p->title;
	m->transport = (char *)(uintptr_t)transports[p->transport];
	m->state = (char *)(uintptr_t)(p->state == PROCESS_LIVE ? "live" : "lost");
	m->since_ms = now - p->since_ms;
	m->pid_space = pid_space_of(c, p);
	m->boot = c->boot;
	m->came_ms = clock_since_boot(p->since_ms);
	if (!port)
		return;
	m->frames_in = port->frames_in;
	m->frames_out = port->frames_out;
	m->bytes_in = port->bytes_in;
	m->bytes_out = port->bytes_out;
	m->queued = port->queued;
}

static int by_id(const void *a, const void *b)
{
	const struct process *const *p = a, *const *q = b;

	return ((*p)->id > (*q)->id) - ((*p)->id < (*q)->id);
}

/*
 * Those of other nodes are asked about there. Who asks from there sees what is open, and the children of its user, also those
 * that outlive their parent: nobody else there could end them.
 */
static int may_see(const struct exchange *x, const struct process *p)
{
	uint32_t user = p->parent ? p->parent->uid : p->orphan_of;

	if (p->proxy)
		return 0;
	if (x->from->proxy)
		return p->open || (user != 0 && user == x->from->uid) ||
		       policy_may(x->control->registry->policy, POLICY_LIST, x->from->uid, p->uid);
	return router_may_see(x->control->router, x->from, p);
}

/* Those whom the asker may see, behind `after`, in order. Their number; the array has room for all processes. */
static size_t find_visible(struct exchange *x, uint64_t after, struct process **found)
{
	struct process *p;
	uint32_t at = 0;
	size_t n = 0;

	while ((p = table_next(&x->control->registry->processes, &at)))
		if (p->id > after && p->state != PROCESS_AWAITED && may_see(x, p))
			found[n++] = p;
	qsort(found, n, sizeof(*found), by_id);
	return n;
}

static int reply_listing(struct exchange *x, const struct item *it, const char *type, struct process **found, size_t n,
			 int more)
{
	Brood__Control__Listing listing = BROOD__CONTROL__LISTING__INIT;
	Brood__Control__Process *messages[PAGE_MOST];
	struct entry *entries = calloc(n + 1, sizeof(*entries));
	uint64_t now = clock_ms();
	int r = -ENOMEM;
	size_t i;

	for (i = 0; entries && i < n; i++) {
		entry_fill(x->control, &entries[i], found[i], now);
		messages[i] = &entries[i].message;
	}
	listing.process = messages;
	listing.n_process = n;
	listing.more = more;
	if (entries)
		r = reply(x, it, ITEM_REPLY, type, &listing.base);
	free(entries);
	return r;
}

static int answer_list(struct exchange *x, const struct item *it, const struct asked *asked,
		       const ProtobufCMessage *body)
{
	const Brood__Control__List *list = (const Brood__Control__List *)body;
	size_t most = list->most > 0 && list->most < PAGE_MOST ? list->most : PAGE_MOST, n;
	struct process **found = calloc(x->control->registry->processes.count, sizeof(struct process *));
	int r;

	if (!found)
		return -ENOMEM;
	n = find_visible(x, list->after, found);
	r = reply_listing(x, it, asked->reply, found, n < most ? n : most, n > most);
	free(found);
	return r;
}

/*
 * ListNodes.
 */

#define URL_TEXT 160u

struct node_entry { /* of Nodes, with its text */
	Brood__Control__Node message;
	char url[URL_TEXT];
};

static const char *state_of(const struct node *node)
{
	if (node->link)
		return "up";
	return node->dialed || node->connecting_fd >= 0 || node->resolve ? "connecting" : "down";
}

static void node_fill(struct node_entry *entry, const struct node *node, uint64_t now)
{
	Brood__Control__Node *m = &entry->message;

	m->name = (char *)(uintptr_t)node->name;
	m->url = node->url.kind ? address_text(&node->url, entry->url, sizeof(entry->url)) : entry->url;
	m->state = (char *)(uintptr_t)state_of(node);
	m->since_ms = now - node->since_ms;
	m->error = (char *)(uintptr_t)node->error;
	m->processes = node->n_proxies;
}

static int node_by_name(const void *a, const void *b)
{
	const Brood__Control__Node *const *p = a, *const *q = b;

	return strcmp((*p)->name, (*q)->name);
}

/* Who asks from another node learns of this one only. */
static unsigned fill_nodes(const struct exchange *x, struct node_entry *entries, Brood__Control__Node **messages)
{
	const struct control *c = x->control;
	const struct node *node = c->links && !x->from->proxy ? LIST_FIRST(&c->links->nodes) : NULL;
	uint64_t now = clock_ms();
	unsigned n = 0;

	brood__control__node__init(&entries[n].message);
	entries[n].message.name = (char *)(uintptr_t)c->node;
	entries[n].message.state = (char *)(uintptr_t) "here";
	entries[n].message.since_ms = now - c->started_ms;
	entries[n].message.processes = c->registry->processes.count - c->router->n_awaited - c->registry->n_foreign;
	messages[n] = &entries[n].message;
	n++;
	for (; node && n <= NODES_MOST; node = LIST_NEXT(node, entry)) {
		if (!node->listed)
			continue;
		brood__control__node__init(&entries[n].message);
		node_fill(&entries[n], node, now);
		messages[n] = &entries[n].message;
		n++;
	}
	qsort(messages, n, sizeof(*messages), node_by_name);
	return n;
}

static int answer_nodes(struct exchange *x, const struct item *it, const struct asked *asked,
			const ProtobufCMessage *body)
{
	Brood__Control__Nodes nodes = BROOD__CONTROL__NODES__INIT;
	struct node_entry *entries = calloc(NODES_MOST + 1, sizeof(*entries));
	Brood__Control__Node *messages[NODES_MOST + 1];
	int r;

	(void)body;
	if (!entries)
		return -ENOMEM;
	nodes.n_node = fill_nodes(x, entries, messages);
	nodes.node = messages;
	r = reply(x, it, ITEM_REPLY, asked->reply, &nodes.base);
	free(entries);
	return r;
}

/*
 * Who.
 */

static int answer_who(struct exchange *x, const struct item *it, const struct asked *asked,
		      const ProtobufCMessage *body)
{
	const Brood__Control__Who *who = (const Brood__Control__Who *)body;
	struct process *p = id_is_foreign(who->id) ? router_find(x->control->router, who->id)
						   : registry_find(x->control->registry, who->id);
	Brood__Control__Identity identity = BROOD__CONTROL__IDENTITY__INIT;
	char address[ID_TEXT], user[USERS_TEXT], *at;

	if (p ? p->state == PROCESS_AWAITED : router_awaits(x->control->router, who->id))
		return fail(x, it, "peer.away", "it was not back yet since the broker was restarted");
	if (p && p->proxy && !user_is_foreign(p->uid))
		return fail(x, it, "peer.away", "its node has not said yet whose it is");
	if (!p || !router_may(x->control->router, x->from, p))
		return fail(x, it, "peer.unknown", "there is no such process");
	snprintf(user, sizeof(user), "%s", users_text(x->control->users, p->uid));
	at = p->proxy ? strchr(user, '@') : NULL; /* "alice@beta" */
	if (at)
		*at = '\0';
	identity.id = p->id;
	identity.user = user;
	identity.node = at ? at + 1 : (char *)(uintptr_t)x->control->node;
	identity.uid = p->uid;
	identity.title = p->title;
	identity.address = id_format(p->id, address);
	return reply(x, it, ITEM_REPLY, asked->reply, &identity.base);
}

/*
 * Why.
 */

static const char *const whys[] = {
	[BROOD__WHY__WHY_UNKNOWN] = "unseen", [BROOD__WHY__WHY_LEFT] = "left",     [BROOD__WHY__WHY_EXITED] = "exited",
	[BROOD__WHY__WHY_LOST] = "lost",      [BROOD__WHY__WHY_CLOSED] = "closed",
};
static const char *const causes[] = {
	[BROOD__CAUSE__CAUSE_UNKNOWN] = "",          [BROOD__CAUSE__CAUSE_EXITED] = "exited",
	[BROOD__CAUSE__CAUSE_SIGNALED] = "signaled", [BROOD__CAUSE__CAUSE_STOLEN] = "stolen",
	[BROOD__CAUSE__CAUSE_FAILED] = "failed",
};
static const char *const enders[] = {
	[BROOD__ENDED_BY__BY_ITSELF] = "itself",   [BROOD__ENDED_BY__BY_KILL] = "kill",
	[BROOD__ENDED_BY__BY_TIMEOUT] = "timeout", [BROOD__ENDED_BY__BY_OUTPUT] = "output",
	[BROOD__ENDED_BY__BY_UNREADY] = "unready", [BROOD__ENDED_BY__BY_MEMORY] = "memory",
};

#define WORD(words, i) word(words, sizeof(words) / sizeof(*(words)), (unsigned)(i))

/* Of a table; a newer client may say what is not in it. */
static char *word(const char *const *words, size_t n, unsigned i)
{
	return (char *)(uintptr_t)(i < n && words[i] ? words[i] : "other");
}

static char *text_of(const char *text)
{
	return (char *)(uintptr_t)(text ? text : "");
}

struct ended { /* of Endings, with its texts */
	Brood__Control__Ending message;
	char address[ID_TEXT], parent[ID_TEXT];
};

/* Its parent's user has what it wrote anyway. */
static int is_its_parents(const struct exchange *x, const struct ending *e)
{
	return e->parent != 0 && (e->parent == x->from->id || e->parent_uid == x->from->uid);
}

static void ended_fill(const struct exchange *x, struct ended *entry, const struct ending *e, uint64_t now)
{
	Brood__Control__Ending *m = &entry->message;
	const struct process *p = x->from;

	brood__control__ending__init(m);
	m->id = e->id;
	m->address = id_format(e->id, entry->address);
	m->name = text_of(e->names);
	m->title = text_of(e->title);
	m->parent = e->parent;
	m->parent_address = e->parent ? id_format(e->parent, entry->parent) : text_of("");
	m->parent_title = text_of(e->parent_title);
	m->pid = e->pid;
	m->uid = e->user->uid;
	m->ago_ms = now - e->ended_ms;
	m->lived_ms = e->ended_ms - e->began_ms;
	m->why = WORD(whys, e->why);
	m->error = text_of(e->error);
	m->cause = WORD(causes, e->cause);
	m->code = e->code;
	m->signo = e->signo;
	m->core = e->core;
	m->ended_by = WORD(enders, e->ended_by);
	m->wall_ms = e->wall_ms;
	m->user_us = e->user_us;
	m->system_us = e->system_us;
	m->max_rss_kib = e->max_rss_kib;
	m->stage = text_of(e->stage);
	if (p->uid != e->user->uid && !is_its_parents(x, e) && !router_is_almighty(x->control->router, p->uid))
		return; /* what it said itself is nobody else's */
	m->text = text_of(e->text);
	m->tail = (ProtobufCBinaryData){ e->tail_length, (uint8_t *)e->tail };
}

/* 1 if this word is among the names. */
static int has_name(const char *names, const char *name)
{
	size_t n = strlen(name);
	const char *at;

	for (at = names; at; at = strchr(at, ' ') ? strchr(at, ' ') + 1 : NULL)
		if (strncmp(at, name, n) == 0 && (at[n] == '\0' || at[n] == ' '))
			return 1;
	return 0;
}

static int is_meant(const Brood__Control__Why *why, const struct ending *e)
{
	if (why->id)
		return e->id == why->id;
	if (why->name[0])
		return e->names && has_name(e->names, why->name);
	return why->pid ? e->pid == why->pid : why->all || !e->in_peace;
}

/* As may_see() has it for those who live. */
static int may_know(const struct exchange *x, const struct ending *e)
{
	const struct router *router = x->control->router;
	const uint32_t uid = x->from->uid;

	if (x->from->proxy)
		return is_its_parents(x, e) || policy_may(x->control->registry->policy, POLICY_LIST, uid, e->user->uid);
	return is_its_parents(x, e) || router_may_users(router, POLICY_SEND, uid, e->user->uid) ||
	       router_may_users(router, POLICY_LIST, uid, e->user->uid);
}

static int newest_first(const void *a, const void *b)
{
	const struct ending *const *p = a, *const *q = b;

	return ((*p)->serial < (*q)->serial) - ((*p)->serial > (*q)->serial);
}

/* Those that are meant, and that the asker may know of, the newest first. The array has room for all. */
static size_t find_ended(const struct exchange *x, const Brood__Control__Why *why, const struct ending **found)
{
	const struct ending *e;
	uint32_t at = 0;
	size_t n = 0;

	while ((e = exits_next(x->control->exits, &at)))
		if (is_meant(why, e) && may_know(x, e))
			found[n++] = e;
	qsort(found, n, sizeof(*found), newest_first);
	return n;
}

static int is_called(const struct process *p, const char *name)
{
	const struct name *its;

	LIST_FOREACH (its, &estate_of(p)->names, of_holder)
		if (strcmp(its->text, name) == 0)
			return 1;
	return 0;
}

/* Of this name, or else this number, the newest that the asker may see. */
static struct process *find_newest(const struct exchange *x, const char *name, uint32_t pid)
{
	struct process *p, *newest = NULL;
	uint32_t at = 0;

	while ((p = table_next(&x->control->registry->processes, &at)))
		if ((name ? is_called(p, name) : p->pid == pid) && p->state != PROCESS_AWAITED && may_see(x, p) &&
		    (!newest || p->id > newest->id))
			newest = p;
	return newest;
}

/*
 * A user finds its own names and those that are shared with it. Those of a child that it has here, though it is of another node,
 * are of the user who started it for that one.
 */
static struct process *find_named(const struct exchange *x, const char *name)
{
	struct process *p = registry_name_holder(x->control->registry, x->from->uid, name);

	return !p && x->from->proxy ? find_newest(x, name, 0) : p;
}

/* Who is meant and lives, or NULL. */
static struct process *find_living(const struct exchange *x, const Brood__Control__Why *why)
{
	const struct registry *registry = x->control->registry;
	struct process *p = NULL;

	if (why->id)
		p = registry_find(registry, why->id);
	else if (why->name[0])
		p = find_named(x, why->name);
	else if (why->pid)
		p = find_newest(x, NULL, why->pid);
	return p && p->state != PROCESS_AWAITED && may_see(x, p) ? p : NULL;
}

static int fail_why(struct exchange *x, const struct item *it)
{
	char text[128];

	snprintf(text, sizeof(text), "no such process is known here; the broker remembers the last %u that ended",
		 (unsigned)x->control->exits->limits->exits);
	return fail(x, it, "why.unknown", text);
}

static int reply_endings(struct exchange *x, const struct item *it, const char *type, const struct ending **found,
			 size_t n, struct process *living, int more)
{
	Brood__Control__Endings endings = BROOD__CONTROL__ENDINGS__INIT;
	Brood__Control__Ending *messages[ENDINGS_MOST];
	struct ended *entries = calloc(n + 1, sizeof(*entries));
	const uint64_t now = clock_ms();
	struct entry alive;
	int r;

	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		ended_fill(x, &entries[i], found[i], now);
		messages[i] = &entries[i].message;
	}
	endings.ending = messages;
	endings.n_ending = n;
	endings.more = more;
	endings.kept = x->control->exits->limits->exits;
	if (living) {
		entry_fill(x->control, &alive, living, now);
		endings.living = &alive.message;
	}
	r = reply(x, it, ITEM_REPLY, type, &endings.base);
	free(entries);
	return r;
}

static int answer_why(struct exchange *x, const struct item *it, const struct asked *asked,
		      const ProtobufCMessage *body)
{
	const Brood__Control__Why *why = (const Brood__Control__Why *)body;
	size_t most = why->most == 0 ? 1 : why->most < ENDINGS_MOST ? why->most : ENDINGS_MOST, n;
	const struct ending **found = calloc(x->control->exits->by_id.count + 1u, sizeof(*found));
	struct process *living = find_living(x, why);
	int r, asks_for_one = why->id || why->name[0] || why->pid;

	if (!found)
		return -ENOMEM;
	n = find_ended(x, why, found);
	if (n == 0 && !living && asks_for_one)
		r = fail_why(x, it);
	else
		r = reply_endings(x, it, asked->reply, found, n < most ? n : most, living, n > most);
	free(found);
	return r;
}

/*
 * Line.
 */

static int take_line(struct exchange *x, const struct item *it, const struct asked *asked, const ProtobufCMessage *body)
{
	const Brood__Control__Line *line = (const Brood__Control__Line *)body;
	char text[2048];
	size_t n = line->text.len < sizeof(text) - 1 ? line->text.len : sizeof(text) - 1;

	(void)it;
	(void)asked;
	if (n)
		memcpy(text, line->text.data, n);
	text[n] = '\0';
	log_say(x->control->log, LOG_CHILD_LINE, FIELD_ID("parent", x->from->id), FIELD_NUMBER("pid", line->pid),
		FIELD_TEXT("title", line->title), FIELD_NUMBER("fd", line->fd), FIELD_TEXT("text", text));
	return 0;
}

/*
 * Items.
 */

static const struct asked requests[] = {
	{ "brood.control.List", "brood.control.Listing", &brood__control__list__descriptor, answer_list },
	{ "brood.control.GetStatus", "brood.control.Status", &brood__control__get_status__descriptor, answer_status },
	{ "brood.control.Who", "brood.control.Identity", &brood__control__who__descriptor, answer_who },
	{ "brood.control.ListNodes", "brood.control.Nodes", &brood__control__list_nodes__descriptor, answer_nodes },
	{ "brood.control.Why", "brood.control.Endings", &brood__control__why__descriptor, answer_why },
	{ "brood.control.Line", NULL, &brood__control__line__descriptor, take_line },
};

static const struct asked *asked_by_name(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++)
		if (strlen(requests[i].name) == length && memcmp(requests[i].name, name, length) == 0)
			return &requests[i];
	return NULL;
}

/* What the item's type asks for. A number is bound by the first item that has number and name. */
static const struct asked *asked_by(struct endpoint *endpoint, const struct item *it)
{
	const struct asked *asked = it->name ? asked_by_name(it->name, it->name_length) : NULL;

	if (it->type == 0 || it->type > ITEM_TYPES)
		return asked;
	if (it->name)
		endpoint->types[it->type] = asked;
	return endpoint->types[it->type];
}

/* A message of a known type; if its body is not of that type, nobody waits to hear so. */
static int take(struct exchange *x, const struct item *it, const struct asked *asked)
{
	ProtobufCMessage *body;
	int r = guard_unpack(asked->descriptor, it->body, it->length, 1, &body);

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	r = asked->answer(x, it, asked, body);
	guard_free(body);
	return r;
}

static int answer(struct exchange *x, const struct item *it)
{
	const struct asked *asked = asked_by(x->endpoint, it);
	ProtobufCMessage *body;
	int r;

	if (it->kind == ITEM_MESSAGE && asked && !asked->reply && !it->more && !it->continued)
		return take(x, it, asked);
	if (it->kind != ITEM_REQUEST || it->continued)
		return 0;
	if (!asked || !asked->reply || it->more)
		return fail(x, it, "control.unknown",
			    "@broker answers List, GetStatus, Who, Why and ListNodes of brood.control");
	r = guard_unpack(asked->descriptor, it->body, it->length, 1, &body);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return fail(x, it, "control.malformed", "the request's body is not of its type");
	r = asked->answer(x, it, asked, body);
	guard_free(body);
	return r;
}

/* The items from the one expected; older ones were answered before, newer ones come again in order. */
static int take_items(struct exchange *x, const struct frame *f)
{
	const uint8_t *at = f->body, *end = f->body + f->length;
	uint64_t sequence = f->sequence;
	struct item it;
	int r;

	while ((r = item_next(&at, end, &it)) == 1) {
		if (sequence++ != x->endpoint->next)
			continue;
		x->endpoint->next++;
		r = answer(x, &it);
		if (r < 0)
			return r;
	}
	return r == -EPROTO ? -EBADMSG : 0;
}

static struct endpoint *endpoint_get(struct process *p, const struct frame *f)
{
	struct estate *e = estate_get(p);

	if (!e || e->endpoint)
		return e ? e->endpoint : NULL;
	e->endpoint = calloc(1, sizeof(*e->endpoint));
	if (!e->endpoint) {
		estate_tidy(p);
		return NULL;
	}
	e->endpoint->next = f->kind == FRAME_DATA && f->sequence > 0 ? f->sequence : 1;
	e->endpoint->out = f->acknowledge + 1;
	return e->endpoint;
}

int control_request(const struct control *control, struct process *from, const struct frame *f)
{
	struct exchange x = { control, from, NULL, 0 };
	int r = 0;

	if (f->stream != 0 || (f->kind != FRAME_DATA && f->kind != FRAME_PROBE))
		return 0; /* nothing was ever sent there, and what was sent on stream 0 is not kept */
	x.endpoint = endpoint_get(from, f);
	if (!x.endpoint)
		return -ENOMEM;
	if (f->kind == FRAME_DATA)
		r = take_items(&x, f);
	if (r == 0 && !x.replied)
		acknowledge(&x);
	return r;
}

void control_forget(struct process *p)
{
	if (!p->estate)
		return;
	free(p->estate->endpoint);
	p->estate->endpoint = NULL;
	estate_tidy(p);
}
