/*
 * link: translates. On a link, ids are what they are at home: the source in the sender's node, the destination in the
 * receiver's. So each broker rewrites what is not its own: what goes out gets the destination's real id, what comes in the
 * source's alias. Both are eight bytes in place.
 *
 * A process speaks over a link only after ABOUT it was said on the same connection, so nothing has to be looked up or
 * asked when frames come. The surprising rule: nothing of a connection outlives it. When one ends all of that node are away,
 * when one begins each side tells and asks again, and streams go on as after any other absence.
 */
#include "link.h"
#include "body.h"
#include "clock.h"
#include "little.h"
#include "note.h"
#include "proxy.h"
#include "text.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ASK_MS 10000u           /* what is not answered is asked again */
#define ASK_MOST 4096u          /* in one go */
#define THIRSTY (1024u * 1024u) /* bytes of answers on their way, above which its processes may send no requests */
#define FRESH_MOST ABROAD_PER_NODE
#define BEAT_LEAST 50u
#define BEAT_MOST (3600u * 1000)

/*
 * What is decided without looking at anything.
 */

int link_new_one_stays(const char *own, const char *other, int old_is_dialed, int new_is_dialed, int same_run)
{
	if (!same_run || old_is_dialed == new_is_dialed)
		return 1; /* the other end began anew, and may know it before us */
	return new_is_dialed == (strcmp(own, other) < 0);
}

uint32_t link_version(uint32_t first, uint32_t last)
{
	uint32_t version = last < LINK_VERSION_LAST ? last : LINK_VERSION_LAST;

	return version >= first && version >= LINK_VERSION_FIRST ? version : 0;
}

unsigned link_back_off(unsigned ms)
{
	if (ms == 0)
		return LINK_BACK_OFF_MIN;
	return ms < LINK_BACK_OFF_MAX / 2 ? 2 * ms : LINK_BACK_OFF_MAX;
}

int link_is_dead(uint64_t silent_ms, uint32_t beat_ms)
{
	return silent_ms > (uint64_t)LINK_BEATS * beat_ms;
}

/*
 * Saying.
 */

struct node *node_find(const struct links *links, const char *name)
{
	struct node *node;

	LIST_FOREACH (node, &links->nodes, entry)
		if (strcmp(node->name, name) == 0)
			return node;
	return NULL;
}

/* A control frame with addresses. */
static void say(struct link *link, enum frame_kind kind, uint64_t source, uint64_t destination,
		const ProtobufCMessage *body)
{
	size_t length = body ? protobuf_c_message_get_packed_size(body) : 0, size = frame_size(length);
	struct frame head = {
		.kind = (uint8_t)kind, .length = (uint32_t)length, .source = source, .destination = destination
	};
	_Alignas(8) uint8_t bytes[NOTE_MOST];

	memset(bytes + size - 8, 0, 8);
	frame_write_head(bytes, &head);
	if (body)
		protobuf_c_message_pack(body, bytes + FRAME_HEAD);
	link->session->sink.put(&link->session->sink, NULL, bytes, size);
}

static void say_link(struct link *link)
{
	Brood__Link body = BROOD__LINK__INIT;
	struct links *links = link->links;
	uint8_t boot[BOOT_SIZE];
	uint32_t parting = abroad_parting(&links->abroad, link->node->name);

	/* Whom we gave up in between has to give us up, too: as if our host had been started anew. */
	memcpy(boot, links->boot, BOOT_SIZE);
	for (unsigned i = 0; i < 4; i++)
		boot[i] ^= (uint8_t)(parting >> 8 * i);
	body.node = (char *)(uintptr_t)links->node;
	body.first_version = LINK_VERSION_FIRST;
	body.last_version = LINK_VERSION_LAST;
	body.boot = (ProtobufCBinaryData){ sizeof(boot), boot };
	body.beat_ms = links->beat_ms;
	body.epoch = links->epoch;
	body.pid = (uint32_t)getpid();
	say(link, FRAME_LINK, 0, 0, &body.base);
}

static void say_gone(struct link *link, uint64_t id, uint64_t to, Brood__Why why)
{
	Brood__Gone gone = BROOD__GONE__INIT;

	gone.id = id;
	gone.why = why;
	say(link, FRAME_GONE, 0, to, &gone.base);
}

#define REFUSE(link, name, ...) (session_refuse((link)->session, (name), __VA_ARGS__), -EPROTO)

/* For what the other end must know, or we: when it comes again, all of it is told anew. */
static void no_memory(struct link *link)
{
	(void)REFUSE(link, "broker.full", "the broker has no memory left");
}

static void say_about(struct link *link, const struct process *p)
{
	Brood__About about = BROOD__ABOUT__INIT;
	const struct process *parent = p->parent;

	about.id = p->id;
	about.user = (char *)(uintptr_t)users_text(&link->links->users, p->uid);
	about.pid = p->pid;
	about.title = (char *)(uintptr_t)p->title;
	if (parent && parent->proxy && parent->proxy->node == link->node)
		about.parent = parent->proxy->real;
	say(link, FRAME_ABOUT, 0, 0, &about.base);
}

int link_announce(struct link *link, const struct process *p)
{
	if (!table_get(&link->told, p->id) && table_put(&link->told, p->id, link) < 0) {
		no_memory(link);
		return -ENOMEM;
	}
	say_about(link, p);
	return 0;
}

static int announce_once(struct link *link, uint64_t id)
{
	const struct process *p;

	if (table_get(&link->told, id))
		return 0;
	p = registry_find(link->links->registry, id);
	return p ? link_announce(link, p) : -ESRCH;
}

void link_say_gone(struct link *link, const struct process *p, Brood__Why why)
{
	if (table_remove(&link->told, p->id))
		say_gone(link, p->id, 0, why);
}

static void say_watch(struct link *link, const struct inquiry *i, int stop)
{
	Brood__Watch body = BROOD__WATCH__INIT;

	body.name = (char *)(uintptr_t)i->name;
	body.stop = stop;
	if (announce_once(link, i->watcher->id) == 0)
		say(link, FRAME_WATCH, i->watcher->id, 0, &body.base);
}

static uint64_t broker_of(const struct link *link)
{
	return (uint64_t)link->epoch << 32;
}

static int alias_of(struct link *link, uint64_t real, uint64_t *ret);

void link_watch(struct link *link, struct inquiry *i)
{
	uint64_t id;

	if (strcmp(i->name, "@broker") != 0)
		say_watch(link, i, 0);
	else if (alias_of(link, broker_of(link), &id) == 0)
		inquiry_answer(i, link->node->name, id, "");
}

void link_unwatch(struct link *link, const struct inquiry *i)
{
	if (strcmp(i->name, "@broker") != 0)
		say_watch(link, i, 1);
}

/*
 * The sink of a proxy.
 */

/* Bytes that the router lets be changed, as it does itself. */
static uint8_t *ours(const uint8_t *bytes)
{
	return (uint8_t *)(uintptr_t)bytes;
}

/* A frame from a process, or from this broker, to one there. */
static void put_routed(struct link *link, const struct proxy *to, struct edge *edge, const uint8_t *bytes, size_t n)
{
	uint64_t source = get64(bytes + 8);

	if (source == FRAME_BROKER)
		frame_set_source(ours(bytes), link->links->inquiries.self);
	else if (announce_once(link, source) < 0)
		return; /* it has just gone, or the link is about to end */
	frame_set_destination(ours(bytes), to->real);
	link->session->sink.put(&link->session->sink, edge, bytes, n);
}

/* What the router or the desk tells one there; its own broker would not understand the rest. */
static void put(struct sink *sink, struct edge *edge, const uint8_t *bytes, size_t n)
{
	struct proxy *to = proxy_of(sink);
	struct link *link = to->node->link;
	unsigned kind = bytes[1];

	if (!link)
		return;
	if (frame_is_routed(kind)) {
		put_routed(link, to, edge, bytes, n);
		return;
	}
	if (kind != FRAME_HOLD && kind != FRAME_GO && kind != FRAME_GONE && kind != FRAME_NAME)
		return;
	frame_set_destination(ours(bytes), to->real);
	link->session->sink.put(&link->session->sink, edge, bytes, n);
}

struct process *link_process(struct node *node, uint64_t real)
{
	struct proxy *proxy = proxy_get(node, real, put);

	return proxy ? proxy->process : NULL;
}

/*
 * Whom frames are of, and for.
 */

static int refuse_id(struct link *link, const char *what, uint64_t id)
{
	char text[ID_TEXT];

	return REFUSE(link, "link.source", "%s %s, which is not an id of node %s that was told about", what,
		      id_format(id, text), link->node->name);
}

/* 1 if this can be an id of the other node, whose epoch is noted then. A node may not fill our table with epochs that it makes up. */
static int is_its_own(struct link *link, uint64_t real)
{
	uint32_t epoch = (uint32_t)(real >> 32);

	struct abroad *abroad = &link->links->abroad;

	if (epoch < EPOCH_LEAST || epoch > EPOCH_MOST)
		return 0;
	return abroad_known(abroad, link->node->name, epoch) ||
	       (link->fresh++ < FRESH_MOST && abroad_number(abroad, link->node->name, epoch));
}

/* 0; -EPROTO, and the link is closed. */
static int alias_of(struct link *link, uint64_t real, uint64_t *ret)
{
	uint32_t number;

	if (!is_its_own(link, real))
		return refuse_id(link, "it names", real);
	number = abroad_known(&link->links->abroad, link->node->name, (uint32_t)(real >> 32));
	*ret = (uint64_t)number << 32 | (uint32_t)real;
	return 0;
}

static struct process *find_speaker(struct link *link, uint64_t real)
{
	uint32_t uid = (uint32_t)(uintptr_t)table_get(&link->speakers, real);
	int is_broker = real == broker_of(link);
	struct process *p;

	if (!uid && !is_broker) {
		(void)refuse_id(link, "a frame is from", real);
		return NULL;
	}
	if (!is_its_own(link, real))
		return NULL; /* it has too many runs: as if nobody were there */
	p = link_process(link->node, real);
	if (!p) {
		if (!proxies_are_full(link->node)) /* nor if there are too many */
			no_memory(link);
		return NULL;
	}
	if (p->uid != uid && !is_broker) {
		p->uid = uid; /* it was told about before, and nobody had to do with it then */
		p->proxy->confirmed = 1;
		router_know(link->links->router, p);
	}
	return p;
}

/* NULL: the link was refused, or the frame must be dropped. */
static struct process *speaker(struct link *link, uint64_t real)
{
	if (link->last && link->last_real == real)
		return link->last;
	link->last = find_speaker(link, real);
	link->last_real = real;
	return link->last;
}

/* One of ours, or NULL. */
static struct process *process_here(const struct link *link, uint64_t id)
{
	struct process *p = registry_find(link->links->registry, id);

	return p && !p->proxy ? p : NULL;
}

int link_may(const struct links *links, const struct process *from, const struct process *to)
{
	if (registry_related(from, to) || to->open)
		return 1;
	if (id_is_foreign(from->id) && (uint32_t)from->id == 0)
		return to->port && table_get(&to->port->out, from->id); /* counter 0 is a broker, which answers */
	return user_is_foreign(from->uid) &&
	       users_listed(estate_of(to)->abroad, users_text((struct users *)(uintptr_t)&links->users, from->uid));
}

/*
 * Frames between processes.
 */

/* Answers are nobody's bytes. If many wait, this one is told to wait, too. */
static void take_request(struct link *link, struct process *from, const struct frame *f)
{
	int r;

	if (session_notes(link->session) > THIRSTY || from->thirsty) {
		if (!from->thirsty)
			note_about(from->sink, FRAME_HOLD, 0, link->links->inquiries.self);
		from->thirsty = 1;
		return;
	}
	r = control_request(link->links->control, from, f);
	if (r == -EBADMSG)
		(void)REFUSE(link, "control.malformed", "a message to the broker is not made of items");
	else if (r < 0)
		no_memory(link);
}

static void take_routed(struct link *link, const struct frame *f)
{
	struct links *links = link->links;
	struct process *from = speaker(link, f->source);
	int r;

	if (!from) {
		say_gone(link, f->destination, f->source, BROOD__WHY__WHY_NOBODY);
		return;
	}
	if (f->destination >> 32 < EPOCH_LEAST) {
		(void)REFUSE(link, "link.transit", "a frame is for a process that is not of this node");
		return;
	}
	f->bytes[FRAME_FLAGS_AT] &= (uint8_t)~FRAME_FDS; /* none pass */
	if (f->destination == links->inquiries.self) {
		take_request(link, from, f);
		return;
	}
	r = (uint32_t)f->destination ? router_route(links->router, from, f) : -ESRCH;
	if (r == -ENOMEM)
		no_memory(link);
	else if (r < 0) /* it writes to too many; or to an earlier run of this broker */
		say_gone(link, f->destination, f->source, BROOD__WHY__WHY_NOBODY);
}

/* HOLD, GO: one there tells one of ours. */
static void take_hold(struct link *link, const struct frame *f)
{
	struct proxy *about = proxy_find(link->node, f->source);
	struct process *told = process_here(link, f->destination);

	if (!about)
		return;
	if (f->destination == link->links->inquiries.self)
		control_forget(about->process); /* what it was answered is lost: we begin where it says next */
	else if (told && f->kind == FRAME_HOLD)
		router_hold(link->links->router, told, about->process, (f->flags & FRAME_AWAY) != 0);
	else if (told)
		router_go(told, about->process);
}

/*
 * Control frames.
 */

/* To one of ours, about what it wrote; else it is for all, about an end. */
static int is_for_one(const Brood__Gone *gone, const struct frame *f)
{
	return f->destination != 0 && (gone->why == BROOD__WHY__WHY_NOBODY || gone->why == BROOD__WHY__WHY_DENIED);
}

static void gone(struct link *link, const struct frame *f, const Brood__Gone *body)
{
	struct proxy *proxy = proxy_find(link->node, body->id);
	struct process *told = process_here(link, f->destination);
	int known = body->why > BROOD__WHY__WHY_UNKNOWN && body->why <= BROOD__WHY__WHY_RESTARTED;

	if (is_for_one(body, f)) {
		if (proxy && told)
			router_part(link->links->router, told, proxy->process, body->why);
		return;
	}
	(void)table_remove(&link->speakers, body->id);
	if (proxy)
		proxy_end(proxy, known ? body->why : BROOD__WHY__WHY_UNKNOWN);
}

static void take_gone(struct link *link, const struct frame *f)
{
	Brood__Gone *body = body_unpack(link->session, &brood__gone__descriptor, f);

	if (!body)
		return;
	gone(link, f, body);
	guard_free(&body->base);
}

/* A child of somebody here, if that one has to do with its node, or may have and is not back yet. */
static struct process *parent_here(struct link *link, uint64_t id)
{
	struct links *links = link->links;
	struct process *p = id >> 32 >= EPOCH_LEAST ? router_find(links->router, id) : NULL;

	if (!p || p->proxy)
		return NULL;
	return p->state == PROCESS_AWAITED || users_node_listed(estate_of(p)->abroad, link->node->name) ? p : NULL;
}

static void about(struct link *link, const Brood__About *body)
{
	struct process *parent = body->parent ? parent_here(link, body->parent) : NULL;
	uint32_t uid = users_foreign(&link->links->users, body->user, link->node->name);
	struct proxy *proxy;

	if ((uint32_t)body->id == 0 || !is_its_own(link, body->id)) {
		(void)refuse_id(link, "it tells about", body->id);
		return;
	}
	if (!uid) {
		(void)REFUSE(link, "link.user", "the user of a process of node %s is no name, or there are too many",
			     link->node->name);
		return;
	}
	(void)table_remove(&link->speakers, body->id);
	if (link->speakers.count >= PROXIES_MOST) {
		(void)REFUSE(link, "link.limit", "node %s told about %u processes, the most allowed", link->node->name,
			     PROXIES_MOST);
		return;
	}
	if (table_put(&link->speakers, body->id, (void *)(uintptr_t)uid) < 0) {
		no_memory(link);
		return;
	}
	if (parent && !link_process(link->node, body->id) && !proxies_are_full(link->node))
		no_memory(link);
	proxy = proxy_find(link->node, body->id);
	if (proxy)
		proxy_know(proxy, uid, body->pid, body->title, parent);
}

static void take_about(struct link *link, const struct frame *f)
{
	Brood__About *body = body_unpack(link->session, &brood__about__descriptor, f);

	if (!body)
		return;
	about(link, body);
	guard_free(&body->base);
}

static void take_ask(struct link *link, const struct frame *f)
{
	struct links *links = link->links;
	const struct process *p = process_here(link, f->destination);

	if (p && p->state != PROCESS_AWAITED) {
		(void)link_announce(link, p);
		return;
	}
	if (p || router_awaits(links->router, f->destination) || f->destination == links->inquiries.self)
		return; /* it may come back; then it is asked again */
	say_gone(link, f->destination, 0, BROOD__WHY__WHY_NOBODY);
}

static void watch(struct link *link, struct process *watcher, const Brood__Watch *body)
{
	struct node *node = link->node;
	struct inquiry *i = inquiry_find(watcher, NULL, body->name);
	Brood__Name nobody = BROOD__NAME__INIT;
	uint64_t id;
	int valid = name_is_valid(body->name) || id_parse(body->name, &id) == 0 || strcmp(body->name, "@broker") == 0;
	char echo[NAME_MAX_LENGTH + 1];

	if (body->stop) {
		if (i)
			inquiry_end(&link->links->inquiries, i);
		return;
	}
	if (valid && (i || node->n_inquiries < INQUIRIES_MOST) &&
	    inquiry_begin(&link->links->inquiries, watcher, NULL, NULL, body->name, &i) == 0)
		return;
	nobody.name = text_cut(echo, sizeof(echo), body->name); /* as if nobody had it */
	note_put(watcher->sink, FRAME_NAME, &nobody.base);
}

static void take_watch(struct link *link, const struct frame *f)
{
	struct process *watcher = speaker(link, f->source);
	Brood__Watch *body = watcher ? body_unpack(link->session, &brood__watch__descriptor, f) : NULL;

	if (!body)
		return;
	watch(link, watcher, body);
	guard_free(&body->base);
}

static void name(struct link *link, const struct process *watcher, const Brood__Name *body)
{
	struct inquiry *i = inquiry_find(watcher, link->node, body->name);
	char user[USERS_TEXT] = "";
	uint64_t id = 0;

	if (!i || (body->id && alias_of(link, body->id, &id) < 0))
		return;
	if (users_is_name(body->user))
		snprintf(user, sizeof(user), "%s@%s", body->user, link->node->name);
	inquiry_answer(i, link->node->name, id, user);
}

static void take_name(struct link *link, const struct frame *f)
{
	const struct process *watcher = process_here(link, f->destination);
	Brood__Name *body = body_unpack(link->session, &brood__name__descriptor, f);

	if (!body)
		return;
	if (watcher)
		name(link, watcher, body);
	guard_free(&body->base);
}

static void note_refusal(struct node *node, const Brood__Goodbye *body)
{
	char error[33], text[141];

	snprintf(node->error, NODE_ERROR, "the other end says %s: %s", text_cut(error, sizeof(error), body->error),
		 text_cut(text, sizeof(text), body->text));
}

static void take_goodbye(struct link *link, const struct frame *f)
{
	Brood__Goodbye *body = body_unpack(link->session, &brood__goodbye__descriptor, f);

	if (!body)
		return;
	if (body->parting == BROOD__PARTING__PARTING_REFUSED) {
		link->doubled = strcmp(body->error, "link.double") == 0;
		if (link->node && !link->doubled)
			note_refusal(link->node, body);
		session_close(link->session);
	}
	guard_free(&body->base);
}

static void take_beat(struct link *link, const struct frame *f)
{
	(void)link;
	(void)f;
}

typedef void taker_fn(struct link *, const struct frame *);

static taker_fn *const takers[] = {
	[FRAME_DATA] = take_routed,  [FRAME_ACK] = take_routed,  [FRAME_RESET] = take_routed,
	[FRAME_PROBE] = take_routed, [FRAME_WATCH] = take_watch, [FRAME_GOODBYE] = take_goodbye,
	[FRAME_HOLD] = take_hold,    [FRAME_GO] = take_hold,     [FRAME_GONE] = take_gone,
	[FRAME_NAME] = take_name,    [FRAME_ABOUT] = take_about, [FRAME_ASK] = take_ask,
	[FRAME_BEAT] = take_beat,
};

/*
 * Coming and going.
 */

/* Each side asks for those of the other that it has to do with, and tells of those that the other has to know. */
static void tell_all(struct link *link)
{
	struct node *node = link->node;
	const struct proxy *proxy;
	const struct process *child;
	struct inquiry *i;

	LIST_FOREACH (proxy, &node->proxies, of_node)
		LIST_FOREACH (child, &proxy->process->children, sibling)
			(void)announce_once(link, child->id);
	LIST_FOREACH (i, &node->inquiries, of_place)
		link_watch(link, i);
}

static void attach_all(struct node *node)
{
	struct proxy *proxy;

	LIST_FOREACH (proxy, &node->proxies, of_node)
		proxy_attach(proxy);
}

/*
 * Its host was started anew, or it gave us up, so nobody of it is there any more for those who knew him here. Who comes back
 * to this broker later must not find him either: the ids that he knows stand for nobody from now on.
 */
static void compare_boot(struct node *node, const uint8_t *boot)
{
	uint32_t hash = 2166136261u; /* FNV-1a: all of it counts */
	uint8_t mark[4];

	for (unsigned i = 0; i < BOOT_SIZE; i++)
		hash = (hash ^ boot[i]) * 16777619u;
	put32(mark, hash);
	if (!abroad_boot(&node->links->abroad, node->name, mark))
		proxies_end(node, BROOD__WHY__WHY_RESTARTED);
}

static void up(struct link *link, const uint8_t *boot)
{
	struct node *node = link->node;

	if (node->dialed == link)
		node->dialed = NULL;
	compare_boot(node, boot);
	session_link_up(link->session);
	link->up = 1;
	link->heard_ms = node->since_ms = clock_ms();
	node->link = link;
	node->epoch = link->epoch;
	node->back_off_ms = 0;
	node->error[0] = '\0';
	log_say(link->links->log, LOG_LINK_UP, FIELD_TEXT("node", node->name),
		FIELD_TEXT("dialed", link->dialed ? "here" : "there"), FIELD_NUMBER("pid", link->pid));
	attach_all(node);
	tell_all(link);
	link_beat(link, node->since_ms);
}

/* Whether the other end is who it says: over a Unix socket a broker of the same user, or root's; over TLS by its name. */
static int is_proven(const struct link *link, const char *name)
{
	const struct session *s = link->session;

	if (link->dialed)
		return 1; /* looked at before */
	if (s->transport == TRANSPORT_UNIX)
		return s->uid == 0 || s->uid == link->links->owner;
	return s->transport == TRANSPORT_TLS && tls_is_for(&s->channel, name);
}

/* One that this broker does not dial shows up with the wrong papers: else nobody here would hear more than that it is not there. */
static void note_denied(struct node *node)
{
	static const char text[] = "who connected as this node was refused: no certificate for that name, or another "
				   "user";

	if (node->link || node->url.kind || strcmp(node->error, text) == 0)
		return;
	strcpy(node->error, text);
	inquiries_unreachable(node);
}

static void deny(struct link *link, struct node *node)
{
	note_denied(node);
	(void)REFUSE(link, "link.denied",
		     "nothing proves that this is node %s: it has another user, or no certificate for that name",
		     node->name);
}

/* The node that may be at the other end, or NULL, and the link was refused. */
static struct node *node_of(struct link *link, const Brood__Link *body)
{
	const struct links *links = link->links;
	struct node *node = node_find(links, body->node);
	char name[NAME_MAX_LENGTH + 1];

	text_cut(name, sizeof(name), body->node);
	if (strcmp(name, links->node) == 0)
		(void)REFUSE(link, "link.name", "both ends are called %s", name);
	else if (link->node && link->node != node)
		(void)REFUSE(link, "link.name", "there is node %s, and %s was dialed", name, link->node->name);
	else if (!node || !node->listed || links->closing)
		(void)REFUSE(link, "link.unknown", "node \"%s\" is not in the configuration of node %s", name,
			     links->node);
	else if (!is_proven(link, name))
		deny(link, node);
	else if (!session_charge(link->session, links->owner))
		return NULL;
	else
		return node;
	return NULL;
}

static int is_sound(struct link *link, const Brood__Link *body)
{
	if (body->boot.len != BOOT_SIZE || body->epoch < EPOCH_LEAST || body->epoch > EPOCH_MOST ||
	    body->beat_ms < BEAT_LEAST || body->beat_ms > BEAT_MOST)
		(void)REFUSE(link, "control.malformed", "what LINK says of its node cannot be");
	else if (!link_version(body->first_version, body->last_version))
		(void)REFUSE(link, "link.version",
			     "the other end speaks versions %" PRIu32 " to %" PRIu32 " of links, this one %u to %u",
			     body->first_version, body->last_version, LINK_VERSION_FIRST, LINK_VERSION_LAST);
	else
		return 1;
	return 0;
}

/* Both ends dial, and ours will be the one that stays: to take theirs until then would be a node that is there, gone and back. */
static int ours_will_stay(const struct link *link)
{
	const struct node *node = link->node;

	return node->dialed && node->dialed != link && !link_new_one_stays(link->links->node, node->name, 1, 0, 1);
}

/* 1 if this one is to be the connection to its node; the one that was is closed then. */
static int is_the_one(struct link *link)
{
	struct link *old = link->node->link;

	if (!old && ours_will_stay(link)) {
		(void)REFUSE(link, "link.double", "another connection between these nodes is being made");
		return 0;
	}
	if (!old)
		return 1;
	if (!link_new_one_stays(link->links->node, link->node->name, old->dialed, link->dialed,
				old->epoch == link->epoch && old->pid == link->pid)) {
		(void)REFUSE(link, "link.double", "there is another connection between these nodes");
		return 0;
	}
	(void)REFUSE(old, "link.double", "there is a newer connection between these nodes");
	return 1;
}

static void greet(struct link *link, const Brood__Link *body)
{
	struct node *node = is_sound(link, body) ? node_of(link, body) : NULL;

	if (!node)
		return;
	link->node = node;
	link->epoch = (uint32_t)body->epoch;
	link->pid = body->pid;
	link->beat_ms = body->beat_ms;
	if (!is_the_one(link))
		return;
	if (!link->dialed)
		say_link(link);
	up(link, body->boot.data);
}

static void take_link(struct link *link, const struct frame *f)
{
	Brood__Link *body = body_unpack(link->session, &brood__link__descriptor, f);

	if (!body)
		return;
	greet(link, body);
	guard_free(&body->base);
}

struct link *link_new(struct links *links, struct session *s, struct node *dialed)
{
	struct link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	link->links = links;
	link->session = s;
	link->node = dialed;
	link->dialed = dialed != NULL;
	session_link(s, link);
	if (!dialed)
		return link;
	dialed->dialed = link;
	say_link(link);
	return link;
}

void link_take(struct link *link, const struct frame *f)
{
	taker_fn *taker = f->kind < sizeof(takers) / sizeof(*takers) ? takers[f->kind] : NULL;

	if (!link->up && f->kind == FRAME_LINK)
		take_link(link, f);
	else if (!link->up && f->kind == FRAME_GOODBYE)
		take_goodbye(link, f);
	else if (!link->up)
		(void)REFUSE(link, "hello.expected", "the first frame was %s", frame_kind_name(f->kind));
	else if (taker)
		taker(link, f);
	else
		(void)REFUSE(link, "frame.kind", "brokers do not send %s", frame_kind_name(f->kind));
}

static void down(struct link *link)
{
	struct node *node = link->node;
	struct proxy *proxy;

	node->link = NULL;
	node->since_ms = clock_ms();
	LIST_FOREACH (proxy, &node->proxies, of_node)
		proxy_detach(proxy);
	log_say(link->links->log, LOG_LINK_DOWN, FIELD_TEXT("node", node->name), FIELD_TEXT("text", node->error));
}

/* What the other end said itself is better than what we made of it. */
static void note_error(struct node *node, const char *why)
{
	if (why[0])
		text_cut(node->error, NODE_ERROR, why);
	else if (node->error[0] == '\0')
		snprintf(node->error, NODE_ERROR, "the connection ended");
}

void link_end(struct link *link, const char *why)
{
	struct node *node = link->node;

	if (node && (node->link == link || node->dialed == link))
		note_error(node, why);
	if (node && node->link == link)
		down(link);
	if (node && node->dialed == link)
		node->dialed = NULL;
	SLIST_INSERT_HEAD(&link->links->ended, link, of_ended);
}

void link_free(struct link *link)
{
	table_deinit(&link->told);
	table_deinit(&link->speakers);
	free(link);
}

/*
 * Time.
 */

/* What the node has not said anything about since the link is up. */
static void ask(struct link *link, uint64_t now)
{
	struct proxy *proxy;
	unsigned n = 0;

	LIST_FOREACH (proxy, &link->node->proxies, of_node) {
		if (proxy->confirmed || proxy->process->dying || (proxy->asked_ms && now - proxy->asked_ms < ASK_MS))
			continue;
		if (n++ >= ASK_MOST || session_notes(link->session) > THIRSTY)
			return;
		proxy->asked_ms = now;
		say(link, FRAME_ASK, 0, proxy->real, NULL);
	}
}

static void quench(struct link *link)
{
	struct proxy *proxy;

	if (session_notes(link->session) > THIRSTY / 2)
		return;
	LIST_FOREACH (proxy, &link->node->proxies, of_node) {
		if (!proxy->process->thirsty)
			continue;
		proxy->process->thirsty = 0;
		note_about(&proxy->sink, FRAME_GO, 0, link->links->inquiries.self);
	}
}

void link_beat(struct link *link, uint64_t now)
{
	if (link->session->heard)
		link->heard_ms = now;
	link->session->heard = 0;
	if (link_is_dead(now - link->heard_ms, link->beat_ms)) {
		(void)REFUSE(link, "link.silent", "nothing came from node %s for %" PRIu64 " ms", link->node->name,
			     now - link->heard_ms);
		return;
	}
	say(link, FRAME_BEAT, 0, 0, NULL);
	ask(link, now);
	quench(link);
}
