/*
 * workload: see workload.h. What a program remembers lies on its stack, and is gone with it.
 */
#include "workload.h"
#include "file.h"
#include "ledger.h"
#include "memory.h"
#include "nodes.h"
#include "process.h"
#include <brood.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PEERS_MOST 40
#define KEPT_MOST 24
#define ASKED_MOST 64
#define HEAD 16u /* of a body: magic, entry, length */
#define MAGIC 0x62726f6fu
#define BODY_MOST (1u << 20)
#define FAREWELL SECOND /* so long brood_close() seeks a connection on which to say goodbye */

/* What other nodes may find is internal yet. */
extern int names_register_open(struct brood *, const char *name);

struct workload workload;

struct known {            /* a peer */
	brood_peer *peer; /* NULL: free */
	int target;
	int owned, is_name, is_child;
	int borrowed; /* the parent, or one that joined: known until CLOSE without being owned */
	int spawned, ready, disconnected, exited, closed, away, paused;
	int untold; /* it was just found, and an AWAY or BACK of before may still come */
	uint64_t resume_at;
	int pid;
};

struct kept {
	brood_msg *msg;
	unsigned entry;
	uint64_t until;
};

struct asked {
	int64_t id;
	unsigned entry;
};

struct app {
	brood *h;
	int actor, role, over, ops;
	uint64_t *chance;
	struct known peers[PEERS_MOST];
	struct kept kept[KEPT_MOST];
	struct asked asked[ASKED_MOST];
	unsigned children;
	size_t large_left;  /* bytes of long messages that it may still send */
	uint64_t inherited; /* descriptors that were there before: the life line */
};

static unsigned below(const struct app *a, unsigned n)
{
	return (unsigned)chance_below(a->chance, n);
}

/* ---- peers ------------------------------------------------------------------------------------------------------- */

static struct known *known_of(struct app *a, const brood_peer *p)
{
	for (int i = 0; i < PEERS_MOST; i++)
		if (a->peers[i].peer == p)
			return &a->peers[i];
	return NULL;
}

static struct known *know(struct app *a, brood_peer *p, int to)
{
	struct known *k = known_of(a, p);
	if (k || !(k = known_of(a, NULL)))
		return k;
	struct brood_peer_info i;
	BROOD_INIT(i);
	(void)brood_info(p, &i);
	*k = (struct known){
		.peer = p,
		.target = target_new(a->actor, to),
	};
	k->away = i.state == BROOD_IS_AWAY;
	k->untold = 1;
	return k;
}

static int actor_of(brood_peer *p)
{
	struct brood_peer_info i;
	BROOD_INIT(i);
	return brood_info(p, &i) == 0 ? actor_by_address(current->node, i.address) : -1;
}

/* It is whoever has the name now, also if it was found by the address of one who had. */
static int follows_name(brood_peer *p)
{
	struct brood_peer_info i;
	BROOD_INIT(i);
	return brood_info(p, &i) == 0 && i.name[0];
}

/* ---- bodies ------------------------------------------------------------------------------------------------------ */

static uint8_t pattern(unsigned entry, size_t i)
{
	return (uint8_t)(entry * 31 + i * 7 + (i >> 8));
}

static void fill_body(void *to, size_t n, const void *data)
{
	unsigned entry = *(const unsigned *)data;
	uint8_t *bytes = to;
	size_t i = 0;
	if (n >= HEAD) {
		uint32_t head[4] = { MAGIC, entry, (uint32_t)n, 0 };
		memcpy(bytes, head, sizeof(head));
		i = HEAD;
	}
	for (; i < n; i++)
		bytes[i] = pattern(entry, i);
}

/* The number of the message; what is wrong with it is told. */
static unsigned read_body(const brood_msg *m)
{
	const uint8_t *bytes = m->body;
	uint32_t head[4] = { 0 };
	size_t i = 0;
	if (m->length >= HEAD) {
		memcpy(head, bytes, sizeof(head));
		i = HEAD;
		if (head[0] != MAGIC || head[2] != m->length)
			broken("a message of %zu bytes begins with %x", m->length, head[0]);
	} else if (m->type[0] == 'g') {
		head[1] = (uint32_t)strtoul(m->type + 1, NULL, 10);
	} else {
		broken("a message came that says nothing");
	}
	for (size_t step = m->length > 4096 ? 97 : 1; i < m->length; i += step)
		if (bytes[i] != pattern(head[1], i)) {
			broken("byte %zu of message %u is wrong", i, head[1]);
			break;
		}
	return head[1];
}

/* Bodies begin where eight bytes do. */
void workload_sees_data(const unsigned char *body, unsigned long n)
{
	uint32_t head[4];
	for (size_t i = 0; i + HEAD <= n; i += 8) {
		memcpy(head, body + i, sizeof(head));
		if (head[0] == MAGIC && head[3] == 0 && head[2] >= HEAD && head[2] <= n - i)
			entry_written(head[1]);
	}
}

static size_t by_chance(const struct app *a)
{
	switch (below(a, 32)) {
	case 0:
		return 0;
	case 1:
		return below(a, 20000);
	case 2:
		return workload.large ? below(a, 300000) : below(a, 5000);
	case 3:
		return workload.large && below(a, 3) == 0 ? below(a, BODY_MOST + 1) : 1;
	default:
		return below(a, 200);
	}
}

/* Long ones are few, or they would be all that there is time for. */
static size_t some_length(struct app *a)
{
	size_t n = by_chance(a);
	if (n > 20000 && n > a->large_left)
		return 5000;
	a->large_left -= n > 20000 ? n : 0;
	return n;
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

struct sending { /* an outgoing message, and what it needs while it is made */
	struct brood_out out;
	unsigned entry;
	char type[24];
	int fd;
};

static void compose(struct app *a, struct sending *s, int target, uint64_t deadline, int is_request)
{
	size_t n = some_length(a);
	int with_fd = workload.passes_fds && below(a, 20) == 0;
	s->fd = with_fd ? eventfd(0, EFD_CLOEXEC) : -1;
	s->entry = entry_new(target, n, deadline, is_request, s->fd >= 0);
	if (n < HEAD || below(a, 50) == 0)
		snprintf(s->type, sizeof(s->type), "g%u", s->entry);
	else
		snprintf(s->type, sizeof(s->type), "t%u", below(a, 5));
	BROOD_INIT(s->out);
	s->out.type = s->type;
	s->out.body = &s->entry;
	s->out.length = n;
	s->out.fill = fill_body;
	if (s->fd >= 0) {
		s->out.fds = &s->fd;
		s->out.n_fds = 1;
	}
}

static void sent(struct sending *s, long rc)
{
	trace(s->out.flags ? "send.flagged" : "send", s->entry, s->out.length, (uint64_t)rc);
	trace("send.to", (uint64_t)entry_target(s->entry), 0, 0);
	entry_accepted(s->entry, rc >= 0);
	if (s->fd >= 0)
		close(s->fd);
}

static void send_one(struct app *a, brood_peer *p, int target, unsigned flags)
{
	struct sending s;
	compose(a, &s, target, NEVER, 0);
	s.out.flags = flags;
	sent(&s, brood_send(p, &s.out));
}

static int on_reply(const brood_event *e)
{
	unsigned entry = (unsigned)(uintptr_t)e->data;
	entry_ended(entry, e->error ? e->error->name : NULL, e->error ? 0 : read_body(e->msg));
	return 0;
}

static void ask(struct app *a, struct known *k)
{
	struct sending s;
	int timeout_ms = below(a, 3) == 0 ? -1 : 1 + (int)below(a, below(a, 2) ? 50 : 8000);
	compose(a, &s, k->target, timeout_ms < 0 ? NEVER : booted() + (uint64_t)timeout_ms * MS - MS, 1);
	int64_t id = brood_request(k->peer, &s.out, timeout_ms, on_reply, (void *)(uintptr_t)s.entry);
	sent(&s, id);
	if (id > 0)
		a->asked[below(a, ASKED_MOST)] = (struct asked){ id, s.entry };
}

static void call(struct app *a, struct known *k)
{
	struct sending s;
	brood_msg *answer;
	int timeout_ms = 1 + (int)below(a, 2000);
	compose(a, &s, k->target, booted() + (uint64_t)timeout_ms * MS - MS, 1);
	uint64_t before = world.now;
	int rc = brood_call(k->peer, &s.out, timeout_ms, &answer);
	const char *name = rc < 0 ? brood_last_error(a->h)->name : NULL;
	int refused = rc < 0 && world.now == before; /* nothing was waited for */
	sent(&s, refused ? rc : 0);
	if (refused)
		return;
	entry_ended(s.entry, name, rc < 0 ? 0 : read_body(answer));
	if (rc == 0)
		brood_msg_release(answer);
}

static void cancel(struct app *a)
{
	struct asked *q = &a->asked[below(a, ASKED_MOST)];
	if (!q->id)
		return;
	entry_cancelled(q->entry);
	(void)brood_cancel(a->h, q->id);
	q->id = 0;
}

/* An answer carries the number of its question. */
static void answer(brood_msg *m, unsigned entry)
{
	struct brood_out out;
	char type[24];
	snprintf(type, sizeof(type), "g%u", entry);
	BROOD_INIT(out);
	out.type = type;
	out.body = &entry;
	out.length = entry % 7 == 0 ? 3000 : entry % 50;
	out.fill = fill_body;
	int rc = brood_reply(m, &out);
	trace("answers", entry, (uint64_t)rc, 0);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static void keep(struct app *a, brood_msg *m, unsigned entry)
{
	for (int i = 0; i < KEPT_MOST; i++) {
		if (a->kept[i].msg)
			continue;
		uint64_t until = world.now + (workload.phase == PHASE_BUSY ? below(a, 3000) : below(a, 10)) * MS;
		a->kept[i] = (struct kept){ brood_msg_keep(m), entry, until };
		trace("keeps", entry, until, 0);
		return;
	}
}

static int on_message(const brood_event *e)
{
	struct app *a = e->data;
	brood_msg *m = e->msg;
	unsigned entry = read_body(m);
	entry_delivered(entry, a->actor, m->length);
	struct known *k = known_of(a, e->peer);
	int from = follows_name(e->peer) ? -1 : actor_of(e->peer);
	if (from >= 0 && entry_sender(entry) >= 0 && from != entry_sender(entry))
		broken("message %u from actor %d seems to be from actor %d", entry, entry_sender(entry), from);
	if (k && (k->disconnected || k->closed))
		broken("a message of a peer that was disconnected");
	if (k && k->is_child && !k->spawned)
		broken("a message of a child before SPAWN");
	if (m->n_fds > 0 && below(a, 2)) {
		int fd = brood_msg_take_fd(m, 0);
		if (fd >= 0)
			close(fd);
	}
	if (below(a, 6) == 0)
		keep(a, m, entry);
	else if (m->wants_reply && below(a, 8))
		answer(m, entry);
	else if (m->wants_reply && below(a, 2))
		return -EPERM;
	if (workload.phase == PHASE_BUSY && a->ops > 0 && below(a, 12) == 0)
		send_one(a, e->peer, k ? k->target : target_new(a->actor, from), 0);
	if (workload.closes && workload.phase == PHASE_BUSY && below(a, 600) == 0)
		a->over = 1;
	return 0;
}

static int on_ready(const brood_event *e)
{
	struct app *a = e->data;
	if (e->peer == brood_self(a->h)) {
		struct brood_peer_info i;
		BROOD_INIT(i);
		(void)brood_info(e->peer, &i);
		snprintf(ledger.actors[a->actor].address, sizeof(ledger.actors[a->actor].address), "%s", i.address);
		ledger.actors[a->actor].ready = 1;
		trace_text("i.am", i.address);
		return 0;
	}
	struct known *k = known_of(a, e->peer);
	if (!k)
		return 0;
	if (k->is_child && !k->spawned)
		broken("READY of a child before SPAWN");
	if (k->closed)
		broken("READY after CLOSE");
	trace("ready", (uint64_t)k->target, 0, 0);
	k->ready = 1;
	k->disconnected = 0;
	return 0;
}

static int on_spawn(const brood_event *e)
{
	struct app *a = e->data;
	struct known *k = known_of(a, e->peer);
	struct brood_peer_info i;
	BROOD_INIT(i);
	(void)brood_info(e->peer, &i);
	if (k && (k->spawned || k->ready || k->disconnected))
		broken("SPAWN is not the first event of a child");
	if (k) {
		k->spawned = 1;
		k->pid = i.pid;
	}
	return 0;
}

static int on_away(const brood_event *e)
{
	struct app *a = e->data;
	struct known *k = known_of(a, e->peer);
	trace("away", k ? (uint64_t)k->target : 0, 0, 0);
	if (k && k->away && !k->untold)
		broken("AWAY twice");
	if (k && k->disconnected && !k->is_child)
		broken("AWAY behind DISCONNECT");
	if (k)
		k->untold = 0;
	if (k)
		k->away = 1;
	return 0;
}

static int on_back(const brood_event *e)
{
	struct app *a = e->data;
	struct known *k = known_of(a, e->peer);
	trace("back", k ? (uint64_t)k->target : 0, 0, 0);
	if (k && !k->away && !k->untold)
		broken("BACK without AWAY");
	if (k)
		k->away = 0;
	return 0;
}

/* Only what happened to it, or what it asked for, may make a handle fail. */
static void handle_error(struct app *a, const struct brood_error *error)
{
	struct actor *actor = &ledger.actors[a->actor];
	trace_text("handle.error", error->name);
	trace_text("handle.text", error->text);
	if (strncmp(error->name, "name.", 5) == 0)
		return;
	actor->failed = 1;
	a->over = 1;
	int silent = strstr(error->text, "does not answer") != NULL;
	if (strcmp(error->name, "parent.unknown") == 0)
		return;
	if (!actor->ready && strcmp(error->name, "broker.absent") == 0 && (ledger.silent || !silent))
		return;
	if (!actor->ready && strcmp(error->name, "broker.full") == 0 && workload.full)
		return;
	if (strcmp(error->name, "broker.stopping") == 0 && workload.phase == PHASE_END)
		return;
	if (!ledger.excused)
		broken("actor %d failed: %s: %s", a->actor, error->name, error->text);
}

static int on_error(const brood_event *e)
{
	struct app *a = e->data;
	if (e->peer == brood_self(a->h)) {
		handle_error(a, e->error);
		return 0;
	}
	struct known *k = known_of(a, e->peer);
	trace_text("error", e->error->text);
	if (strcmp(e->error->name, "undelivered") == 0)
		ledger_reported(a->actor, k ? k->target : -1, e->error->text);
	else if (strcmp(e->error->name, "name.unknown") == 0)
		ledger_reported(a->actor, -1, "0");
	else if (strcmp(e->error->name, "peer.protocol") == 0)
		broken("actor %d hears: %s", a->actor, e->error->text);
	return 0;
}

static int on_disconnect(const brood_event *e)
{
	struct app *a = e->data;
	struct known *k = known_of(a, e->peer);
	trace_text("disconnect", e->error ? e->error->text : "");
	if (!k)
		return 0;
	trace("disconnect.of", (uint64_t)k->target, (uint64_t)k->is_name, (uint64_t)k->paused);
	if (k->disconnected)
		broken("DISCONNECT twice");
	k->disconnected = 1;
	if (k->is_name) /* its next holder is another one */
		k->away = 0;
	target_parted(k->target);
	int to = target_to(k->target);
	if (e->error && !k->is_name && to >= 0 && !actor_is_over(to) && !ledger.excused &&
	    !ledger_are_parted(a->actor, to) && !ledger.actors[a->actor].failed && !ledger.actors[a->actor].estranged &&
	    !ledger.actors[to].estranged)
		broken("actor %d hears that actor %d is gone (%s), which lives", a->actor, to, e->error->text);
	return 0;
}

static int on_exit_event(const brood_event *e)
{
	struct app *a = e->data;
	struct known *k = known_of(a, e->peer);
	trace_text("exit", e->exit->text);
	if (!k)
		return 0;
	if (k->exited || k->closed || !k->disconnected)
		broken("EXIT is not between DISCONNECT and CLOSE");
	k->exited = 1;
	if (target_to(k->target) >= 0 && !strstr(e->exit->text, "may be missing"))
		ledger_exit_told(target_to(k->target), a->actor);
	const struct task *t = k->pid ? task_of(k->pid) : NULL;
	if (!t || e->exit->cause == BROOD_GONE)
		return 0;
	if (!t->ended)
		broken("EXIT of a child that lives");
	else if (t->signo ? e->exit->cause != BROOD_SIGNALED || e->exit->signo != t->signo
			  : e->exit->cause != BROOD_EXITED || e->exit->code != t->code)
		broken("EXIT says \"%s\", but it was signal %d, code %d", e->exit->text, t->signo, t->code);
	return 0;
}

static int on_close(const brood_event *e)
{
	struct app *a = e->data;
	struct known *k = known_of(a, e->peer);
	trace("close", k ? (uint64_t)k->target : 0, 0, 0);
	if (!k)
		return 0;
	if (k->closed)
		broken("CLOSE twice");
	if (k->is_child && k->spawned && !k->exited)
		broken("CLOSE of a child without EXIT");
	if (k->is_child)
		a->children--;
	k->closed = 1;
	if (!k->owned)
		k->peer = NULL;
	return 0;
}

static int on_join(const brood_event *e)
{
	struct app *a = e->data;
	struct known *k = know(a, e->peer, actor_of(e->peer));
	if (k)
		k->borrowed = 1;
	trace("joined", k ? (uint64_t)k->target : 0, 0, 0);
	return 0;
}

static const struct brood_handlers handlers = {
	.size = sizeof(handlers),
	.spawn = on_spawn,
	.ready = on_ready,
	.message = on_message,
	.away = on_away,
	.back = on_back,
	.error = on_error,
	.disconnect = on_disconnect,
	.exit = on_exit_event,
	.close = on_close,
	.join = on_join,
};

/* ---- doing something --------------------------------------------------------------------------------------------- */

static struct known *some_peer(struct app *a)
{
	struct known *k = &a->peers[below(a, PEERS_MOST)];
	for (int tries = 0; tries < PEERS_MOST && !k->peer; tries++)
		k = &a->peers[below(a, PEERS_MOST)];
	return k->peer ? k : NULL;
}

/* Who waits for others while these wait for him waits for ever: so only one may, and not for himself. */
static int may_block(const struct app *a)
{
	return a->role == 0;
}

/* By the name of one of the apps, or by an address that leads to another node. */
static void find_called(struct app *a, const char *name)
{
	brood_peer *p;
	trace_text("finds", name);
	struct brood_find_options o;
	BROOD_INIT(o);
	o.on = &handlers;
	o.data = a;
	o.wait_ms = below(a, 2) ? 0 : below(a, 5000);
	if (!known_of(a, NULL) || brood_find(a->h, &p, name, &o) < 0)
		return;
	struct known *k = know(a, p, -1);
	k->is_name = k->owned = 1;
	trace("found", (uint64_t)k->target, 0, 0);
}

static void find_name(struct app *a)
{
	char name[32];
	unsigned role = may_block(a) ? 1 + below(a, workload.roles - 1) : below(a, workload.roles);
	int node = (int)(role % nodes.n);
	if (node != current->node || (nodes.n > 1 && below(a, 8) == 0))
		snprintf(name, sizeof(name), "%s/p%u", node_name(node), role);
	else
		snprintf(name, sizeof(name), "p%u", role);
	find_called(a, name);
}

static void find_far(struct app *a, const struct actor *to)
{
	char name[64];
	snprintf(name, sizeof(name), "%s/%s", node_name(to->node), to->address);
	find_called(a, name);
}

/*
 * By address, as one was told it. Who is not open may be answered by those of other nodes whom it found with their node's
 * name; by alias it would not be, once the broker was started anew and does not know any more that it wrote there.
 */
static void find_address(struct app *a)
{
	int to = (int)below(a, (unsigned)ledger.n_actors);
	const struct actor *actor = &ledger.actors[to];
	char address[ADDRESS_TEXT];
	brood_peer *p;
	if (to == a->actor || !actor->heard || !known_of(a, NULL))
		return; /* nobody can have told */
	snprintf(address, sizeof(address), "%s", actor->address);
	if (actor->node != current->node && !actor->open)
		return; /* it would be denied */
	if (actor->node != current->node && (below(a, 2) || !ledger.actors[a->actor].open ||
					     !node_alias(current->node, actor->node, actor->address, address))) {
		find_far(a, actor);
		return;
	}
	if (brood_find(a->h, &p, address, NULL) < 0)
		return;
	struct known *k = known_of(a, p);
	if (!k)
		k = know(a, p, follows_name(p) ? -1 : to);
	k->is_name |= follows_name(p);
	if (k->owned) /* counted twice otherwise */
		brood_release(p);
	k->owned = 1;
	trace("found.actor", (uint64_t)k->target, (uint64_t)to, 0);
}

static void let_go(struct known *k)
{
	if (!k->owned || (k->is_child && !k->closed))
		return;
	trace("lets.go", (uint64_t)k->target, 0, 0);
	brood_peer *p = k->peer;
	if (k->paused)
		(void)brood_pause(p, -1, 0); /* nobody could do it later */
	k->paused = 0;
	k->owned = 0;
	if (k->closed || !k->borrowed)
		k->peer = NULL;
	brood_release(p);
}

static void spawn(struct app *a)
{
	char number[16];
	brood_peer *p;
	struct known *k = known_of(a, NULL);
	if (!k || a->children >= 3)
		return;
	int target = target_new(a->actor, -1);
	snprintf(number, sizeof(number), "%d", target);
	if (brood_spawn(a->h, &p, BROOD_ARGV(below(a, 30) ? "/bin/worker" : "/bin/nothing", number),
			BROOD_SPAWN(.stdio = BROOD_STDIO(BROOD_NUL(1), BROOD_NUL(2)))) < 0)
		return;
	*k = (struct known){ .peer = p, .target = target, .owned = 1, .is_child = 1 };
	trace("spawns", (uint64_t)target, 0, 0);
	a->children++;
}

static void pause_or_go_on(struct app *a, struct known *k)
{
	if (k->closed)
		return;
	k->paused = !k->paused;
	k->resume_at = world.now + below(a, 2000) * MS;
	(void)brood_pause(k->peer, -1, k->paused);
}

static void burst(struct app *a, struct known *k)
{
	unsigned n = 10 + below(a, 150);
	for (unsigned i = 0; i < n && k->peer; i++)
		send_one(a, k->peer, k->target, BROOD_MORE);
}

static void do_seldom(struct app *a)
{
	struct known *k = some_peer(a);
	switch (below(a, 9)) {
	case 0:
		if (workload.spawns)
			spawn(a);
		break;
	case 1:
		if (k && workload.disconnects && below(a, 3) == 0) {
			ledger.actors[a->actor].estranged = 1;
			(void)brood_disconnect(k->peer);
		}
		break;
	case 2:
		if (k)
			let_go(k);
		break;
	case 3:
		if (k && k->is_child && below(a, 3) == 0)
			(void)brood_kill(k->peer, below(a, 2) ? 0 : SIGKILL, 0);
		break;
	case 4:
		(void)brood_sync(a->h, (int)below(a, 500));
		break;
	case 5:
		if (k && !k->closed && !k->paused)
			call(a, k);
		break;
	case 6:
		if (k && workload.pauses)
			pause_or_go_on(a, k);
		break;
	case 7:
		if (k)
			burst(a, k);
		break;
	default:
		if (workload.closes && below(a, 6) == 0)
			a->over = 1;
		break;
	}
}

/* A worker ends in the middle of its work, of itself or because it crashes. */
static void end_worker(struct app *a)
{
	for (int i = 0; i < PEERS_MOST; i++)
		for (unsigned n = below(a, 6); a->peers[i].peer && a->peers[i].borrowed && n > 0; n--)
			send_one(a, a->peers[i].peer, a->peers[i].target, 0);
	if (below(a, 2))
		process_signal(current, SIGKILL);
	a->over = 1;
}

static void do_something(struct app *a)
{
	struct known *k = some_peer(a);
	unsigned what = below(a, 24);
	a->ops--;
	if (a->role < 0 && below(a, 60) == 0) {
		end_worker(a);
		return;
	}
	if (what == 0)
		do_seldom(a);
	else if (what == 1 || !k)
		find_name(a);
	else if (what == 2)
		find_address(a);
	else if (what == 3)
		cancel(a);
	else if (what < 9)
		ask(a, k);
	else if (what == 9 && may_block(a) && !k->paused)
		send_one(a, k->peer, k->target, BROOD_BLOCK);
	else
		send_one(a, k->peer, k->target, below(a, 4) ? 0 : BROOD_MORE);
}

/* What has to be done by now; when the next is due. */
static uint64_t keep_promises(struct app *a)
{
	uint64_t next = NEVER;
	for (int i = 0; i < KEPT_MOST; i++) {
		struct kept *k = &a->kept[i];
		if (!k->msg)
			continue;
		if (k->until > world.now) {
			next = k->until < next ? k->until : next;
			continue;
		}
		brood_msg *m = k->msg;
		k->msg = NULL;
		trace("gives.back", k->entry, (uint64_t)m->wants_reply, 0);
		if (m->wants_reply && below(a, 4))
			answer(m, k->entry);
		brood_msg_release(m);
	}
	for (int i = 0; i < PEERS_MOST; i++) {
		struct known *k = &a->peers[i];
		if (!k->peer || !k->paused)
			continue;
		if (k->resume_at <= world.now) {
			k->paused = 0;
			(void)brood_pause(k->peer, -1, 0);
		} else if (k->resume_at < next) {
			next = k->resume_at;
		}
	}
	return next;
}

/* Wait as one of two kinds of programs does. */
static void wait_for_work(struct app *a, uint64_t next)
{
	int ms = -1;
	if (next != NEVER)
		ms = next > world.now ? (int)((next - world.now) / MS) + 1 : 0;
	if (a->role % 3 == 2) { /* a loop of its own */
		struct pollfd p = { .fd = brood_fd(a->h), .events = POLLIN };
		(void)poll(&p, 1, ms);
		ms = 0;
	}
	(void)brood_process(a->h, ms);
}

static void turn(struct app *a)
{
	uint64_t next = keep_promises(a);
	if (workload.phase == PHASE_BUSY && a->ops > 0) {
		for (unsigned n = below(a, 4); n > 0 && a->ops > 0 && !a->over; n--)
			do_something(a);
		uint64_t pause = world.now + below(a, below(a, 10) ? 20 : 500) * MS;
		next = pause < next ? pause : next;
	}
	wait_for_work(a, next);
	for (int i = 0; i < PEERS_MOST; i++)
		a->peers[i].untold = 0;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static void nothing(int signo)
{
	(void)signo;
}

/* 1 if the process shall end without brood_close(), and its exit handlers do the rest. */
static int leave(struct app *a)
{
	struct actor *actor = &ledger.actors[a->actor];
	uint64_t began = world.now;
	actor->close_began = began;
	actor->state = ACTOR_CLOSING;
	trace("leaves", (uint64_t)a->actor, 0, 0);
	if (below(a, 6) == 0)
		return 1;
	brood_close(a->h);
	actor->close_took = world.now - began;
	actor->state = ACTOR_CLOSED;
	ledger.unheard |= actor->close_took >= FAREWELL;
	trace("left", (uint64_t)a->actor, actor->close_took, 0);
	struct memory_use use = memory_use(current->slot);
	if (use.blocks) {
		memory_show(current->slot);
		broken("after brood_close() %zu blocks of %zu bytes are left", use.blocks, use.bytes);
	}
	for (int fd = 3; fd < FDS_MOST; fd++)
		if (current->fds[fd].file && !(a->inherited & (uint64_t)1 << fd % 64))
			broken("after brood_close() descriptor %d is open, of kind %d", fd,
			       (int)current->fds[fd].file->kind);
	return 0;
}

static unsigned some_role_here(const struct app *a)
{
	unsigned role = below(a, workload.roles), node = (unsigned)current->node;
	role = role - role % nodes.n + node;
	return role < workload.roles ? role : node;
}

/* One handle's life. 1: the process ends. */
static int live(struct app *a, const char *address, int spawned_as)
{
	struct brood_options o;
	char name[16], parent[16];
	BROOD_INIT(o);
	o.on = &handlers;
	o.data = a;
	o.flags = BROOD_NO_AUTOSTART | BROOD_OUTLIVE;
	o.window_bytes = below(a, 3) ? 0 : 8192 + below(a, 100000);
	snprintf(name, sizeof(name), "p%d", a->role);
	snprintf(parent, sizeof(parent), "p%u", some_role_here(a));
	if (a->role >= 0 && nodes.n == 1)
		o.name = name;
	if (a->role > 0 && below(a, 6) == 0)
		o.parent = parent;
	a->actor = actor_new(current->task->pid, -1);
	ledger.actors[a->actor].flush_ms = 5000;
	a->over = 0;
	a->large_left = 2 * BODY_MOST;
	if (brood_connect(&a->h, address, &o) < 0)
		return 1;
	if (a->role >= 0 && nodes.n > 1 && names_register_open(a->h, name) == 0)
		ledger.actors[a->actor].open = 1;
	if (spawned_as >= 0)
		target_settle(spawned_as, a->actor);
	if (brood_parent(a->h))
		know(a, brood_parent(a->h), spawned_as >= 0 ? target_from(spawned_as) : -1)->borrowed = 1;
	while (!a->over && workload.phase != PHASE_END)
		turn(a);
	return leave(a);
}

static void see_inherited(struct app *a)
{
	a->inherited = 0;
	for (int fd = 0; fd < 64; fd++)
		if (current->fds[fd].file && current->fds[fd].file->kind == FILE_PIPE)
			a->inherited |= (uint64_t)1 << fd;
}

static int play(const char *address, int role, int spawned_as)
{
	struct app a = { .role = role, .ops = workload.ops, .chance = &current->chance };
	see_inherited(&a);
	signal(SIGUSR1, nothing);
	while (!live(&a, address, spawned_as) && workload.closes && workload.phase == PHASE_BUSY && spawned_as < 0) {
		int ops = a.ops;
		a = (struct app){ .role = role, .ops = ops, .chance = &current->chance };
	}
	return (int)below(&a, 4);
}

int app_main(int argc, char **argv)
{
	(void)argc;
	char address[64];
	snprintf(address, sizeof(address), "unix:%s/sock", node_directory(current->node));
	return play(address, atoi(argv[1]), -1);
}

int worker_main(int argc, char **argv)
{
	(void)argc;
	return play(NULL, -1, atoi(argv[1]));
}
