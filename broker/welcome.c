/*
 * welcome: who is this, and may it be who it says?
 *
 * Three ways in. A connection that shows nothing gets a new id, but for one that says again what it was not answered; over
 * Unix the kernel says whose it is, over TLS the client's certificate may, over TCP, or TLS without one, the cookie says it
 * is the broker's own user, over FIFOs the directory does. A ticket proves an id: a child that was not adopted, or a process
 * that resumes; the newest connection with a valid ticket wins. An adopted channel needs no HELLO at all: its parent said
 * everything, and may say it only of ids we gave it and of its own user.
 *
 * A ticket proves its user, and that its writer had the key of a block of ids. The surprising rule: which process was
 * given that block is not written in it, so the parent it names, and what is known of the id, are asked whether they
 * agree.
 */
#include "welcome.h"
#include "body.h"
#include "note.h"
#include "principal.h"
#include "proxy.h"
#include "text.h"
#include "users.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUESTS_MOST 4096u /* bytes; a HELLO is not longer */

struct claim { /* what a HELLO says and shows */
	struct session *session;
	const Brood__Hello *hello;
	uint32_t uid; /* proven */
	struct process *parent;
	struct process *again; /* said the same HELLO before, and did not get its answer; NULL: nobody */
	struct ticket ticket;  /* id 0: none was shown */
};

#define DENY(s, ...) (session_refuse((s), "hello.denied", __VA_ARGS__), 0)

/*
 * Whose a connection is by itself, as the kernel or a certificate says. 1: *uid. 0: nobody says. -1: it was refused. A
 * certificate may be of use for TLS only if it names a user here, so that nobody believes to be one and is another.
 */
static int proven(const struct welcome *w, struct session *s, uint32_t *uid)
{
	char principal[2 * TLS_USER_MOST], why[224] = "the certificate names no user, or more than one, as brood:USER";
	int r;

	*uid = s->uid;
	if (!transport_is_net((enum process_transport)s->transport))
		return 1;
	r = tls_peer(&s->channel, principal, sizeof(principal));
	if (r == 1)
		r = principal_uid(principal, w->node, uid, why, sizeof(why)) == 0 ? 1 : -1;
	if (r < 0)
		session_refuse(s, "tls.user", "%s", why);
	return r < 0 ? -1 : r;
}

/*
 * The answer.
 */

static uint32_t ids_wanted(const Brood__Hello *hello)
{
	return hello->ids < BLOCK_MOST ? hello->ids : BLOCK_MOST;
}

/*
 * Who resumes shows its ticket again. A spawned child gets one of its parent's block, so that it stays known as such.
 * 0: its block or the block's owner is not known, so it has to keep the ticket it has.
 */
static int mint(struct welcome *w, const struct process *p, const struct claim *claim, uint8_t ret[TICKET_SIZE])
{
	const struct process *parent = p->parent, *keeper = estate_of(p)->keeper, *owner = keeper ? keeper : parent;
	struct ticket t = { .id = p->id, .parent = parent ? parent->id : 0, .uid = p->uid };
	int spawned = p->spawned && parent;

	if (spawned)
		t.first = registry_block_of(owner, p->id);
	if (spawned && t.first == 0)
		t.first = claim->ticket.first;
	if (spawned && (t.first == 0 || owner->state == PROCESS_AWAITED || owner->proxy))
		return 0;
	identity_mint(w->identity, spawned ? owner->uid : p->uid, &t, ret);
	return 1;
}

/* Where it, and its children, find us again. Under what name somebody came by TLS only they know. */
static const char *address_for(const struct welcome *w, const struct process *p)
{
	if (p->transport == TRANSPORT_TLS)
		return "";
	if (p->transport == TRANSPORT_TCP)
		return w->tcp_address;
	return p->transport == TRANSPORT_FIFO ? w->fifo_address : w->unix_address;
}

static void say_hello(struct welcome *w, const struct claim *claim, struct process *p, uint64_t first, uint32_t n)
{
	Brood__HelloOk ok = BROOD__HELLO_OK__INIT;
	uint8_t ticket[TICKET_SIZE], key[TICKET_KEY];

	ok.id = p->id;
	ok.parent = p->parent ? p->parent->id : claim->ticket.parent;
	ok.node = (char *)(uintptr_t)w->node;
	ok.pid = w->pid;
	ok.address = (char *)(uintptr_t)address_for(w, p);
	if (p->level > 0 && mint(w, p, claim, ticket))
		ok.ticket = (ProtobufCBinaryData){ sizeof(ticket), ticket };
	if (n > 0) {
		identity_block_key(w->identity, p->uid, first, key);
		ok.ids_key = (ProtobufCBinaryData){ sizeof(key), key };
		ok.first_id = first;
		ok.ids = n;
	}
	note_put(p->sink, FRAME_HELLO_OK, &ok.base);
}

/* The id (if `own`) and the block it asked for, one behind the other. 0: refused. */
static uint64_t take_ids(struct welcome *w, struct session *s, uint32_t own, uint32_t wanted)
{
	uint64_t first = own + wanted > 0 ? identity_take(w->identity, own + wanted) : UINT64_MAX;

	if (first == 0)
		session_refuse(s, "broker.full", "the broker cannot write its epoch file to give out more ids");
	return first;
}

static void take_pid(struct welcome *w, struct process *p, const Brood__Hello *hello)
{
	p->pid = hello->pid;
	p->visible = hello->pid_space != 0 && hello->pid_space == w->pid_space;
}

/* Who of other nodes may write to it. It says so again each time, because we may be another broker. */
static void take_guests(struct process *p, const Brood__Hello *hello)
{
	const struct name *name;
	struct estate *e;

	p->open = hello->open != 0;
	LIST_FOREACH (name, &estate_of(p)->names, of_holder)
		p->open |= (uint8_t)name->open;
	if (hello->abroad[0] == '\0' || strlen(hello->abroad) > GUESTS_MOST)
		return;
	e = estate_get(p);
	if (!e)
		return; /* it is told again whom it found */
	free(e->abroad);
	e->abroad = strdup(hello->abroad); /* the same */
	estate_tidy(p);
}

static void answer(struct welcome *w, const struct claim *claim, struct process *p, uint64_t first)
{
	uint32_t n = ids_wanted(claim->hello);

	if (n > 0 && registry_grant(w->registry, p, first, n) < 0)
		n = 0;
	say_hello(w, claim, p, first, n);
}

/* A live session asks for more ids, or tells of itself what its parent could not know. */
static void hello_again(struct welcome *w, const struct claim *claim)
{
	const Brood__Hello *hello = claim->hello;
	struct process *p = claim->session->process;
	uint64_t first = take_ids(w, claim->session, 0, ids_wanted(hello));

	if (first == 0)
		return;
	if (hello->title[0])
		registry_entitle(p, hello->title);
	if (hello->pid)
		take_pid(w, p, hello);
	if (hello->level)
		p->level = 1;
	take_guests(p, hello);
	answer(w, claim, p, first);
}

/*
 * With a ticket.
 */

/* Made by this broker or an earlier run of it, for an id that is not of a block: all in it is true. */
static int is_brokers(const struct ticket *t)
{
	return t->first == 0;
}

/*
 * Who keeps a child for another may name as its parent whom its own user may write to. Of a process of another node that
 * node judges what its child may.
 */
static int may_be_parent(const struct welcome *w, uint32_t uid, const struct process *parent)
{
	return parent->proxy || router_may_users(w->router, POLICY_SEND, uid, parent->uid);
}

/* Whether the parent named in it agrees that this ticket is from a block of its own, or its keeper's. */
static int parent_agrees(const struct welcome *w, const struct claim *claim)
{
	const struct ticket *t = &claim->ticket;
	const struct process *parent = claim->parent, *known = registry_find(w->registry, t->id);

	if (is_brokers(t) || !parent || parent->state == PROCESS_AWAITED)
		return 1; /* nobody to ask; or not back yet, and asked then */
	if (registry_block_of(parent, t->id) || (known && estate_of(known)->keeper && known->parent == parent))
		return 1;
	/* blocks are not remembered across runs */
	return parent->uid == t->uid || parent->uid == 0 || parent->proxy;
}

/* 1 if the id may be this claim's. */
static int id_is_free_or_its_own(struct claim *claim, const struct process *p)
{
	struct session *s = claim->session;

	if (!p || p->state == PROCESS_AWAITED)
		return 1;
	if (p->uid != claim->ticket.uid)
		return DENY(s, "the ticket's id belongs to another user");
	if (p->dying)
		return DENY(s, "its parent said that it died");
	return 1;
}

/*
 * Of nobody here. It may be of an earlier run, while those are awaited, or a child that was never heard of; else it was
 * told to others as gone, and that is final.
 */
static int was_given_up(const struct welcome *w, const struct ticket *t)
{
	if (departed_has(&w->registry->departed, t->id, t->parent))
		return 1;
	if (registry_find(w->registry, t->id) || router_awaits(w->router, t->id))
		return 0;
	return is_brokers(t) || t->id >> 32 < w->router->first_epoch;
}

static int check_ticket(struct welcome *w, struct claim *claim)
{
	const Brood__Hello *hello = claim->hello;
	struct ticket *t = &claim->ticket;
	struct session *s = claim->session;
	uint32_t uid;
	int known;

	if (!identity_check(w->identity, hello->ticket.data, hello->ticket.len, t))
		return DENY(s, "the ticket is not genuine");
	known = proven(w, s, &uid);
	if (known < 0)
		return 0;
	/* Root's certificate serves its children of other users, who have no own. */
	if (known && t->uid != uid && (uid != 0 || s->transport == TRANSPORT_UNIX))
		return DENY(s, "the ticket is of uid %u, the connection of uid %u", t->uid, uid);
	/* How long the block is is not written in it; what is not given yet will be somebody else's. */
	if ((!is_brokers(t) && t->id - t->first >= BLOCK_MOST) || t->id >> 32 == 0 || t->parent == t->id ||
	    identity_is_ahead(w->identity, t->id))
		return DENY(s, "the ticket is for an id that is not of its block");
	claim->parent = router_find(w->router, t->parent);
	if (!parent_agrees(w, claim))
		return DENY(s, "the parent that the ticket names gave no such id");
	if (was_given_up(w, t))
		return DENY(s, "the process is gone: it ended, or was away too long and was given up");
	claim->uid = t->uid;
	return id_is_free_or_its_own(claim, registry_find(w->registry, t->id));
}

/*
 * The newest connection wins: the one that came last, which need not be the one whose HELLO was read last. What the older one
 * had not read yet is sent again by those who sent it. 1; 0, and this session was refused.
 */
static int fence(struct welcome *w, struct process *p, struct session *s)
{
	struct session *old;
	int is_newest;

	if (p->state != PROCESS_LIVE)
		return 1;
	old = session_of(p->sink);
	is_newest = old->serial < s->serial;
	log_say(w->log, LOG_SESSION_FENCED, FIELD_ID("id", p->id));
	if (is_newest) {
		old->process = NULL;
		router_detach(w->router, p);
	}
	session_refuse(is_newest ? old : s, "fenced", "a newer connection has this id");
	return is_newest;
}

static void tell_orphan(struct process *p, uint64_t parent)
{
	Brood__Gone gone = BROOD__GONE__INIT;

	gone.id = parent;
	gone.why = BROOD__WHY__WHY_NOBODY;
	note_put(p->sink, FRAME_GONE, &gone.base);
}

/* The process of this ticket, attached to the session. NULL without memory, or if the session was refused. */
static struct process *resume(struct welcome *w, const struct claim *claim)
{
	struct session *s = claim->session;
	struct process *p = registry_find(w->registry, claim->ticket.id);

	if (!p)
		return life_begin(w->life, claim->ticket.id, claim->uid, claim->hello->title, s->transport, NULL,
				  &s->sink);
	if (!fence(w, p, s))
		return NULL;
	registry_entitle(p, claim->hello->title);
	take_guests(p, claim->hello); /* before those who wait are looked at again, as its parent may */
	registry_relate(p, claim->parent);
	life_return(w->life, p, claim->uid, s->transport, &s->sink);
	return p;
}

static void tell_joined(const struct process *p, struct process *parent)
{
	Brood__Joined joined = BROOD__JOINED__INIT;

	joined.id = p->id;
	joined.pid = p->pid;
	joined.title = (char *)(uintptr_t)p->title;
	note_put(parent->sink, FRAME_JOINED, &joined.base);
}

/* What was said of joining may have been lost with a connection, its own or its parent's. */
static void tell_joined_again(struct process *p)
{
	struct process *child;

	if (!p->spawned && p->parent)
		tell_joined(p, p->parent);
	LIST_FOREACH (child, &p->children, sibling)
		if (child->proxy)
			proxy_tell_joined(child->proxy, p);
		else if (!child->spawned && child->state != PROCESS_AWAITED)
			tell_joined(child, p);
}

static void hello_with_ticket(struct welcome *w, struct claim *claim)
{
	struct session *s = claim->session;
	int genuine = check_ticket(w, claim) && session_permit(s, w->registry->policy, claim->uid) &&
		      session_charge(s, claim->uid);
	uint64_t first = genuine ? take_ids(w, s, 0, ids_wanted(claim->hello)) : 0;
	struct process *p = first ? resume(w, claim) : NULL;

	if (!p) {
		/* If it was refused already, for another reason, this says nothing. */
		session_refuse(s, "broker.full", "the broker has no memory left");
		return;
	}
	session_live(s, p);
	registry_greet(w->registry, p, 0); /* it has its ticket */
	p->level = 1;
	take_pid(w, p, claim->hello);
	take_guests(p, claim->hello);
	p->spawned = !is_brokers(&claim->ticket);
	registry_relate(p, claim->parent);
	router_born(w->router, p);
	answer(w, claim, p, first);
	tell_joined_again(p);
	if (claim->ticket.parent && !claim->parent)
		tell_orphan(p, claim->ticket.parent);
}

/*
 * Without a ticket.
 */

/* NULL: the session was refused. That it is there is only for who may see it. */
static struct process *find_parent(struct welcome *w, const struct claim *claim)
{
	const char *text = claim->hello->parent;
	char name[80];
	struct process *p;
	uint64_t id;

	if (id_parse(text, &id) == 0)
		p = registry_find(w->registry, id);
	else
		p = registry_name_holder(w->registry, claim->uid, text);
	text_cut(name, sizeof(name), text);
	if (p && (p->proxy || p->state != PROCESS_LIVE))
		p = NULL;
	if (p && router_may_users(w->router, POLICY_PARENT, claim->uid, p->uid))
		return p;
	if (p && router_may_users(w->router, POLICY_LIST, claim->uid, p->uid))
		session_refuse(claim->session, "parent.denied",
			       "processes of user %" PRIu32 " may not become children of \"%s\", of user %" PRIu32
			       " (policy.parent)",
			       claim->uid, name, p->uid);
	else
		session_refuse(claim->session, "parent.unknown", "there is no process \"%s\" to become a child of",
			       name);
	return NULL;
}

static void join(struct process *p, struct process *parent)
{
	registry_relate(p, parent);
	tell_joined(p, parent);
}

static int holds_cookie(struct welcome *w, const struct claim *claim)
{
	return identity_is_cookie(w->identity, claim->hello->cookie.data, claim->hello->cookie.len);
}

/* 1, with uid and parent. 0: the session was refused. */
static int check_stranger(struct welcome *w, struct claim *claim)
{
	struct session *s = claim->session;
	int known;

	known = proven(w, s, &claim->uid);
	if (known < 0)
		return 0;
	if (!known && !holds_cookie(w, claim))
		return DENY(s, "without a certificate a HELLO needs the cookie of this broker, or a ticket");
	if (!known)
		claim->uid = w->router->owner;
	if (!session_permit(s, w->registry->policy, claim->uid) || !session_charge(s, claim->uid))
		return 0;
	claim->again = registry_greeted(w->registry, claim->hello->nonce, claim->uid);
	if (claim->hello->parent[0] == '\0' || (claim->again && claim->again->parent))
		return 1;
	claim->parent = find_parent(w, claim);
	return claim->parent != NULL;
}

/*
 * A process that its parent may have heard of, and others by its name, whose HELLO_OK was lost with its connection: without a
 * ticket it could not come back as who it is.
 */
static struct process *greet_again(struct welcome *w, const struct claim *claim)
{
	struct session *s = claim->session;
	struct process *p = claim->again;

	if (!fence(w, p, s))
		return NULL;
	life_return(w->life, p, claim->uid, s->transport, &s->sink);
	return p;
}

static struct process *greet_first(struct welcome *w, const struct claim *claim, uint64_t id)
{
	const Brood__Hello *hello = claim->hello;
	struct session *s = claim->session;
	struct process *p = life_begin(w->life, id, claim->uid, hello->title, s->transport, NULL, &s->sink);

	if (p && hello->level > 0)
		registry_greet(w->registry, p, hello->nonce);
	return p;
}

static void hello_of_stranger(struct welcome *w, struct claim *claim)
{
	const Brood__Hello *hello = claim->hello;
	struct session *s = claim->session;
	int may = check_stranger(w, claim);
	uint32_t own = claim->again ? 0 : 1;
	uint64_t id = may ? take_ids(w, s, own, ids_wanted(hello)) : 0;
	struct process *p;

	if (id == 0)
		return;
	p = claim->again ? greet_again(w, claim) : greet_first(w, claim, id);
	if (!p) {
		session_refuse(s, "broker.full", "the broker has no memory left");
		return;
	}
	session_live(s, p);
	p->level = hello->level > 0;
	take_pid(w, p, hello);
	take_guests(p, hello);
	if (claim->parent)
		join(p, claim->parent);
	answer(w, claim, p, id + own);
	if (claim->again)
		tell_joined_again(p);
}

void welcome_hello(struct welcome *w, struct session *s, const struct frame *f)
{
	Brood__Hello *hello = body_unpack(s, &brood__hello__descriptor, f);
	struct claim claim = { .session = s, .hello = hello };

	if (!hello)
		return;
	if (s->state == SESSION_LIVE)
		hello_again(w, &claim);
	else if (hello->ticket.len > 0)
		hello_with_ticket(w, &claim);
	else
		hello_of_stranger(w, &claim);
	guard_free(&hello->base);
}

/*
 * Adoption.
 */

static int is_channel(int fd)
{
	int domain = 0, type = 0;
	socklen_t n = sizeof(int), m = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &m) == 0 && type == SOCK_STREAM;
}

/* For whom it is: the one who says so, or the process it keeps it for. NULL: that is gone. */
static struct process *parent_of(struct welcome *w, const struct session *s, const Brood__Adopt *adopt)
{
	return adopt->parent ? router_find(w->router, adopt->parent) : s->process;
}

/* 1: the session's process may adopt this. 0: it was refused. */
static int may_adopt(struct welcome *w, struct session *s, const Brood__Adopt *adopt, const struct process *family,
		     int fd)
{
	const struct process *known = registry_find(w->registry, adopt->id), *parent = s->process;
	const struct process *keeper = known ? estate_of(known)->keeper : NULL;
	const char *text = NULL;

	if (!registry_block_of(parent, adopt->id))
		text = "the child's id is not from a block of its parent";
	else if (known && (keeper ? keeper : known->parent) != parent)
		text = "the child's id is in use";
	else if (family && family->state != PROCESS_AWAITED && !may_be_parent(w, parent->uid, family))
		text = "the child is said to be of a process that may not be written to";
	else if (adopt->uid != parent->uid && parent->uid != 0)
		text = "the child is said to be of another user";
	else if (fd >= 0 && !is_channel(fd))
		text = "what came with it is not a Unix stream socket";
	if (text)
		session_refuse(s, "adopt.denied", "%s", text);
	return !text;
}

/* fd is used up. Without it, or room for it, the child will come by itself, with its ticket. */
static struct process *child_begin(struct welcome *w, struct session *s, const Brood__Adopt *adopt, int fd)
{
	struct process *p = NULL, *keeper = adopt->parent ? s->process : NULL;
	struct session *channel = NULL;

	if (fd >= 0) {
		channel = session_new(s->all, fd, fd, TRANSPORT_CHILD, adopt->uid);
	} else if (fd != -ENOENT) { /* a parent over TCP or FIFOs cannot pass one */
		log_say(w->log, LOG_ADOPT_FAILED, FIELD_ID("id", adopt->id), FIELD_TEXT("text", strerror(-fd)));
	}
	if (channel &&
	    (!session_permit(channel, w->registry->policy, adopt->uid) || !session_charge(channel, adopt->uid)))
		channel = NULL; /* it hears why, and its ticket is not worth more */
	if (channel)
		p = life_begin(w->life, adopt->id, adopt->uid, adopt->title, TRANSPORT_CHILD, keeper, &channel->sink);
	if (p)
		session_live(channel, p);
	else if (channel)
		session_close(channel);
	return p ? p : life_expect(w->life, adopt->id, adopt->uid, adopt->title, keeper);
}

static void name_child(struct welcome *w, struct process *p, const char *name)
{
	Brood__Registered registered = BROOD__REGISTERED__INIT;
	const char *error = "name.taken";
	char text[] = "the name that the parent gave could not be taken";
	int r = name[0] ? registry_name_take(w->registry, p, name) : 0;

	if (r == 0)
		return;
	if (r == -EINVAL)
		error = "name.invalid";
	if (r == -EACCES)
		error = "name.denied";
	if (r == -ENOSPC || r == -EDQUOT)
		error = "limit.names";
	registered.name = (char *)(uintptr_t)(r == -EINVAL ? "" : name);
	registered.code = r;
	registered.error = (char *)(uintptr_t)error;
	registered.text = text;
	note_put(p->sink, FRAME_REGISTERED, &registered.base);
}

/*
 * Said again, of a child that is gone meanwhile; or to a broker that does not remember its parent's blocks, and waits for
 * the child anyway.
 */
static int is_old_news(const struct welcome *w, const struct process *parent, const Brood__Adopt *adopt)
{
	uint32_t epoch = (uint32_t)(adopt->id >> 32);

	return departed_has(&w->registry->departed, adopt->id, parent->id) ||
	       (epoch > 0 && epoch < w->router->first_epoch);
}

/*
 * A keeper says again, to a broker that was restarted, what it keeps: a child that is back, or is waited for. Only of its
 * own user, because blocks are not remembered.
 */
static void keep_again(struct welcome *w, struct session *s, const Brood__Adopt *adopt)
{
	struct process *p = registry_find(w->registry, adopt->id);

	if (!p && router_awaits(w->router, adopt->id))
		p = router_await(w->router, adopt->id);
	if (p && !estate_of(p)->keeper && adopt->parent && p != s->process &&
	    (p->state == PROCESS_AWAITED || p->uid == s->process->uid) && registry_keep(p, s->process) < 0)
		session_refuse(s, "broker.full", "the broker has no memory left");
}

static void adopt_child(struct welcome *w, struct session *s, const Brood__Adopt *adopt)
{
	int fd = channel_take_fd(&s->channel), again = is_old_news(w, s->process, adopt);
	struct process *p = NULL, *parent = again ? NULL : parent_of(w, s, adopt);

	if (again)
		keep_again(w, s, adopt);
	if (again || !may_adopt(w, s, adopt, parent, fd) || registry_find(w->registry, adopt->id)) {
		/* Refused, or said twice. */
		if (fd >= 0)
			close(fd);
		return;
	}
	p = child_begin(w, s, adopt, fd);
	if (!p) {
		session_refuse(s, "broker.full", "the broker has no memory left");
		return;
	}
	p->pid = adopt->pid;
	p->visible = s->process->visible;
	p->level = 1;
	p->spawned = 1;
	registry_relate(p, parent);
	router_born(w->router, p);
	name_child(w, p, adopt->name);
}

void welcome_adopt(struct welcome *w, struct session *s, const struct frame *f)
{
	Brood__Adopt *adopt = body_unpack(s, &brood__adopt__descriptor, f);

	if (!adopt)
		return;
	adopt_child(w, s, adopt);
	guard_free(&adopt->base);
}
