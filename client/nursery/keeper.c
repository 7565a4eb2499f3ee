/*
 * keeper: see keeper.h. Nothing here waits.
 *
 * It keeps until its parent has consumed its last word, or is gone. A parent that cannot be reached has its lease; then the
 * program is ended, and that is told when the parent is back.
 *
 * The library's own code for children starts the program, so that everything is as for a child of this host: what is
 * different is who gets the chunks of its pipes (sink), and whose child it is to the broker (child_kept).
 */
#include "keeper.h"
#include "address.h"
#include "child.h"
#include "handle.h"
#include "letter.h"
#include "link.h"
#include "loop.h"
#include "names.h"
#include "peer.h"
#include "pipe.h"
#include "pump.h"
#include "remote.h"
#include <brood/pb.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CREDIT ((size_t)256 * 1024) /* nursery.proto */

struct piece { /* of its input, that it does not take yet */
	STAILQ_ENTRY(piece) entry;
	brood_msg *msg; /* kept */
	const Brood__Nursery__Input *input;
};
STAILQ_HEAD(piece_list, piece);

struct strand { /* one of its descriptors */
	struct keeper *keeper;
	struct pipe *pipe;
	size_t credit; /* of bytes that may go to the parent */
	int withheld;  /* the pipe's chunk waits for credit */
	size_t untold; /* bytes of input that the pipe has, and the parent does not know */
	struct piece_list pieces;
};

struct keeper {
	brood *h;
	brood_peer *parent, *child; /* child: NULL until it was tried to start it */
	brood_msg *asked;           /* the request, kept; NULL: answered */
	struct order *order;
	uint64_t number;
	struct child_kept kept;
	char user[POLICY_USER]; /* for whom, "user@node" */
	struct strand *strands;
	size_t n_strands;
	struct timer lease;
	int ended; /* and its end is to be said, behind what waits for credit */
	int spawned, parent_gone, said_done, stopped, over;
};

/* ---- words to the parent ----------------------------------------------------------------------------------------- */

static void pack(void *to, size_t length, const void *message)
{
	(void)length;
	protobuf_c_message_pack(message, to);
}

/* What is said is bounded by credit, so it need not look at the window. */
static void say(struct keeper *k, const ProtobufCMessage *m)
{
	struct remote *r = k->parent->remote;
	struct body b = {
		.type = m->descriptor->name, .bytes = m, .length = protobuf_c_message_get_packed_size(m), .fill = pack
	};
	if (k->parent_gone || r->ended)
		return;
	if (remote_put(r, &(struct item){ .kind = ITEM_MESSAGE }, &b) < 0)
		k->over = 1; /* no memory: the parent hears that its keeper is gone */
	pump_kick(k->h);
}

static int last_word_taken(const brood_event *e)
{
	((struct keeper *)e->data)->over = 1;
	return 0;
}

/* The last word. */
static void say_done(struct keeper *k)
{
	const Brood__Nursery__Done m = BROOD__NURSERY__DONE__INIT;
	struct brood_out out = brood_pb(&m.base);
	out.confirm = last_word_taken;
	out.confirm_data = k;
	if (k->said_done)
		return;
	k->said_done = 1;
	if (k->parent_gone || brood_send(k->parent, &out) < 0)
		k->over = 1;
}

static void say_started(struct keeper *k)
{
	Brood__Nursery__Started m = BROOD__NURSERY__STARTED__INIT;
	m.pid = (uint32_t)k->child->pid;
	k->spawned = 1;
	say(k, &m.base);
}

/* "cannot start PROGRAM: " is for the parent to say. */
static const char *without_prefix(const struct child *c, const char *text)
{
	char program[FAULT_PATH];
	size_t n = strlen("cannot start : ") + strlen(fault_path(c->plan->file, program));
	return strlen(text) > n ? text + n : text;
}

static void say_failed(struct keeper *k)
{
	Brood__Nursery__Failed m = BROOD__NURSERY__FAILED__INIT;
	const struct brood_exit *x = &k->child->exit;
	const char *why = without_prefix(k->child->child, x->text), *file = k->order->file;
	int is_hidden = strcmp(x->stage, "exec") == 0 && strcmp(file, k->order->argv[0]) != 0;
	char text[PATH_MAX + 512];
	/* Who asked by the section's name does not know the path, which is what has to be checked. */
	snprintf(text, sizeof(text), "%s%s%s%s%s", is_hidden ? file : "", is_hidden ? " on " : "",
		 is_hidden ? k->h->link.node : "", is_hidden ? ": " : "", why);
	m.stage = (char *)(uintptr_t)x->stage;
	m.code = x->code;
	m.text = text;
	say(k, &m.base);
}

static void say_exit(struct keeper *k)
{
	Brood__Nursery__Exit m = BROOD__NURSERY__EXIT__INIT;
	const struct brood_exit *x = &k->child->exit;
	const struct child *c = k->child->child;
	m.cause = (uint32_t)x->cause;
	m.code = x->code;
	m.signo = x->signo;
	m.core = x->core;
	m.ended_by = x->ended_by == BROOD_BY_KILL ? BROOD_BY_ITSELF : (uint32_t)x->ended_by;
	m.last = c->last;
	m.missing = c->missing;
	m.wall_ms = x->wall_ms;
	m.user_us = x->user_us;
	m.system_us = x->system_us;
	m.max_rss_kib = x->max_rss_kib;
	say(k, &m.base);
}

static void say_closed(struct keeper *k, int fd)
{
	Brood__Nursery__Closed m = BROOD__NURSERY__CLOSED__INIT;
	m.fd = (uint32_t)fd;
	say(k, &m.base);
}

static void say_taken(struct keeper *k, int fd, size_t n)
{
	Brood__Nursery__Taken m = BROOD__NURSERY__TAKEN__INIT;
	m.fd = (uint32_t)fd;
	m.bytes = (uint32_t)n;
	say(k, &m.base);
}

static void say_output(struct keeper *k, const struct pipe *p)
{
	Brood__Nursery__Output m = BROOD__NURSERY__OUTPUT__INIT;
	m.fd = (uint32_t)p->target;
	m.bytes = (ProtobufCBinaryData){ p->have, p->buffer };
	m.end = p->have == 0;
	say(k, &m.base);
}

/* ---- its descriptors --------------------------------------------------------------------------------------------- */

static struct strand *strand_of(struct keeper *k, int fd)
{
	for (size_t i = 0; i < k->n_strands; i++)
		if (k->strands[i].pipe->target == fd)
			return &k->strands[i];
	return NULL;
}

/* What the child itself wrote comes before its end, but what the parent has paused. */
static void check_exit(struct keeper *k)
{
	for (size_t i = 0; i < k->n_strands; i++)
		if (k->strands[i].withheld && !k->strands[i].pipe->paused)
			return;
	if (k->ended)
		say_exit(k);
	k->ended = 0;
}

/* To a parent that is gone everything may go. */
static void send_chunk(struct strand *s)
{
	struct pipe *p = s->pipe;
	s->withheld = !s->keeper->parent_gone && p->have > s->credit;
	if (s->withheld)
		return;
	say_output(s->keeper, p);
	s->credit -= p->have < s->credit ? p->have : s->credit;
	pipe_taken(p);
	check_exit(s->keeper);
}

static void chunk(struct pipe *p)
{
	struct strand *s = strand_of(p->peer->child->data, p->target);
	send_chunk(s);
}

static void drop_piece(struct strand *s)
{
	struct piece *piece = STAILQ_FIRST(&s->pieces);
	STAILQ_REMOVE_HEAD(&s->pieces, entry);
	brood_msg_release(piece->msg);
	free(piece);
}

/* As much as it takes now. */
static void feed(struct strand *s)
{
	const struct piece *piece;
	while ((piece = STAILQ_FIRST(&s->pieces))) {
		size_t n = piece->input->bytes.len;
		int rc = pipe_write(s->pipe, piece->input->bytes.data, n);
		if (rc == -EAGAIN)
			return;
		if (rc == 0 && piece->input->end)
			(void)pipe_end(s->pipe);
		if (rc < 0)
			say_closed(s->keeper, s->pipe->target); /* the parent knows what was not taken */
		else
			s->untold += n;
		drop_piece(s);
	}
}

/* Taken is what the program can read, not what waits here. */
static void tell_taken(struct strand *s)
{
	size_t n = s->untold;
	if (n == 0 || s->pipe->at != s->pipe->end)
		return;
	s->untold = 0;
	say_taken(s->keeper, s->pipe->target, n);
}

static void drained(struct pipe *p)
{
	struct strand *s = strand_of(p->peer->child->data, p->target);
	feed(s);
}

static void broken(struct pipe *p, size_t left)
{
	(void)left;
	say_closed(p->peer->child->data, p->target);
}

static void moved(struct pipe *p)
{
	struct keeper *k = p->peer->child->data;
	struct strand *s = k ? strand_of(k, p->target) : NULL;
	if (s && p->writes)
		tell_taken(s);
	child_moved(p->peer->child);
}

static const struct pipe_sink sink = { chunk, drained, broken, moved };
static const struct child_kind kept_kind = { PLAN_SPAWN, &sink, NULL, NULL, NULL };

static void make_strands(struct keeper *k)
{
	struct stdio *set = &k->child->child->stdio;
	k->n_strands = set->n_pipes;
	for (size_t i = 0; i < set->n_pipes; i++) {
		k->strands[i] = (struct strand){ .keeper = k, .pipe = &set->pipes[i], .credit = CREDIT };
		STAILQ_INIT(&k->strands[i].pieces);
	}
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

static int on_child(const brood_event *e)
{
	struct keeper *k = e->data;
	switch (e->type) {
	case BROOD_EVENT_SPAWN:
		say_started(k);
		break;
	case BROOD_EVENT_EXIT:
		k->ended = 1;
		check_exit(k);
		break;
	case BROOD_EVENT_CLOSE:
		if (!k->spawned)
			say_failed(k);
		if (k->ended)
			say_exit(k);
		k->ended = 0;
		say_done(k);
		break;
	default:
		break;
	}
	return 0;
}

static int spawn(struct keeper *k)
{
	static const struct brood_handlers on = { .size = sizeof(on), .any = on_child };
	struct order *o = k->order;
	size_t n = 0;
	while (o->stdio[n].kind != BROOD_STDIO_END)
		n++;
	k->strands = calloc(n + 3, sizeof(*k->strands));
	o->options.on = &on;
	o->options.data = k;
	int rc = !k->strands ? -ENOMEM
			     : child_spawn(k->h, &kept_kind, k, k->kept.id ? &k->kept : NULL, o->argv, &o->options,
					   &k->child);
	if (rc < 0)
		return rc;
	make_strands(k);
	return 0;
}

/* It could not even be tried. */
static void say_refused(struct keeper *k, int code)
{
	Brood__Nursery__Failed m = BROOD__NURSERY__FAILED__INIT;
	m.stage = (char *)(uintptr_t) "stdio";
	m.code = code;
	m.text = (char *)(uintptr_t)brood_last_error(k->h)->text;
	say(k, &m.base);
	say_done(k);
}

static void orphan(struct keeper *k)
{
	struct child *c = k->child ? k->child->child : NULL;
	if (c && c->state == CHILD_RUNNING && !(c->plan->flags & BROOD_DETACHED))
		child_terminate(c, BROOD_BY_ORPHANED);
}

static void lease_over(struct timer *t)
{
	orphan((struct keeper *)(void *)((char *)t - offsetof(struct keeper, lease)));
}

/* ---- words of the parent ----------------------------------------------------------------------------------------- */

static void on_input(struct keeper *k, brood_msg *msg)
{
	const Brood__Nursery__Input *m = brood_msg_pb(msg, &brood__nursery__input__descriptor);
	struct strand *s = m ? strand_of(k, (int)m->fd) : NULL;
	struct piece *piece = s ? malloc(sizeof(*piece)) : NULL;
	if (!piece || !brood_msg_keep(msg)) {
		free(piece);
		k->over = s != NULL; /* no memory: what it reads must not have a gap */
		return;
	}
	*piece = (struct piece){ .msg = msg, .input = m };
	STAILQ_INSERT_TAIL(&s->pieces, piece, entry);
	feed(s);
	tell_taken(s);
}

static void on_kill(struct keeper *k, brood_msg *msg)
{
	const Brood__Nursery__Kill *m = brood_msg_pb(msg, &brood__nursery__kill__descriptor);
	if (m && k->child)
		(void)brood_kill(k->child, (int)m->signo, m->flags & (BROOD_TREE | BROOD_THEN_KILL));
}

static void on_closed(struct keeper *k, brood_msg *msg)
{
	const Brood__Nursery__Closed *m = brood_msg_pb(msg, &brood__nursery__closed__descriptor);
	struct strand *s = m ? strand_of(k, (int)m->fd) : NULL;
	if (s)
		pipe_stop_reading(s->pipe);
}

static void on_pause(struct keeper *k, brood_msg *msg)
{
	const Brood__Nursery__Pause *m = brood_msg_pb(msg, &brood__nursery__pause__descriptor);
	struct strand *s = m ? strand_of(k, (int)m->fd) : NULL;
	if (s)
		pipe_pause(s->pipe, m->on);
	check_exit(k);
}

static void on_taken(struct keeper *k, brood_msg *msg)
{
	const Brood__Nursery__Taken *m = brood_msg_pb(msg, &brood__nursery__taken__descriptor);
	struct strand *s = m ? strand_of(k, (int)m->fd) : NULL;
	if (!s)
		return;
	s->credit = m->bytes > CREDIT - s->credit ? CREDIT : s->credit + m->bytes;
	if (s->withheld)
		send_chunk(s);
}

static void on_message(struct keeper *k, brood_msg *msg)
{
	static const struct {
		const ProtobufCMessageDescriptor *type;
		void (*take)(struct keeper *, brood_msg *);
	} words[] = { { &brood__nursery__input__descriptor, on_input },
		      { &brood__nursery__taken__descriptor, on_taken },
		      { &brood__nursery__closed__descriptor, on_closed },
		      { &brood__nursery__kill__descriptor, on_kill },
		      { &brood__nursery__pause__descriptor, on_pause } };
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (strcmp(msg->type, words[i].type->name) != 0)
			continue;
		if (!brood_msg_pb(msg, words[i].type) && errno == ENOMEM)
			k->over = 1; /* what it was told must not have a gap */
		else
			words[i].take(k, msg);
	}
}

/* It will hear nothing any more, and nobody else wants to. */
static void parent_gone(struct keeper *k)
{
	struct child *c = k->child ? k->child->child : NULL;
	if (k->parent_gone)
		return;
	k->parent_gone = 1;
	timer_cancel(&k->h->timers, &k->lease);
	orphan(k);
	for (size_t i = 0; i < k->n_strands; i++)
		if (k->strands[i].withheld)
			send_chunk(&k->strands[i]);
	if (!c || c->state == CHILD_DONE)
		k->over = 1; /* else it stays until that has ended, which it may have to reap */
}

static void parent_away(struct keeper *k)
{
	if (k->parent_gone || k->lease.slot || !k->order->lease_ms)
		return;
	(void)timer_arm(&k->h->timers, &k->lease, handle_now() + k->order->lease_ms);
}

static int on_parent(const brood_event *e)
{
	struct keeper *k = e->data;
	switch (e->type) {
	case BROOD_EVENT_MESSAGE:
		on_message(k, e->msg);
		break;
	case BROOD_EVENT_AWAY:
		parent_away(k);
		break;
	case BROOD_EVENT_BACK:
		timer_cancel(&k->h->timers, &k->lease);
		break;
	case BROOD_EVENT_DISCONNECT:
	case BROOD_EVENT_CLOSE:
		parent_gone(k);
		break;
	default:
		break;
	}
	return 0;
}

/* ---- leave to start ---------------------------------------------------------------------------------------------- */

static void answer(struct keeper *k)
{
	const Brood__Nursery__Accepted m = BROOD__NURSERY__ACCEPTED__INIT;
	(void)brood_reply_pb(k->asked, &m.base);
	brood_msg_release(k->asked);
	k->asked = NULL;
}

static int on_leave(const brood_event *e)
{
	struct keeper *k = e->data;
	int rc = e->error ? e->error->code : 0;
	if (k->h->over)
		return 0; /* told by brood_close(): too late to begin */
	if (rc == 0) {
		answer(k);
		rc = spawn(k);
		if (rc < 0)
			say_refused(k, rc);
	} else {
		k->over = 1; /* it does not want it any more */
	}
	return 0;
}

static void ask_leave(struct keeper *k)
{
	Brood__Nursery__Starting m = BROOD__NURSERY__STARTING__INIT;
	if (!(k->order->options.flags & BROOD_PLAIN)) {
		k->kept.parent = k->parent->remote->id;
		k->kept.id = link_take_id(k->h, k->kept.parent, k->kept.ticket);
	}
	m.number = k->number;
	m.child = k->kept.id;
	if (brood_request_pb(k->parent, &m.base, -1, on_leave, k) < 0)
		k->over = 1;
}

/* Without a broker of my own the parent cannot be reached either. */
static int on_me(const brood_event *e)
{
	struct keeper *k = e->data;
	if (e->type == BROOD_EVENT_READY)
		ask_leave(k);
	if (e->type == BROOD_EVENT_AWAY)
		parent_away(k);
	if (e->type == BROOD_EVENT_BACK && !k->parent->away)
		timer_cancel(&k->h->timers, &k->lease);
	if (e->type == BROOD_EVENT_ERROR && e->handle && k->h->failed)
		k->over = 1;
	return 0;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* The library waits for a free descriptor as for a broker that is away; who asked had better hear of it. */
static int check_descriptors(const struct keeper *k)
{
	int fd = k->h->link.state == LINK_DIALING ? fcntl(k->h->epoll_fd, F_DUPFD_CLOEXEC, 0) : -1;
	if (fd < 0)
		return k->h->link.state == LINK_DIALING ? -errno : 0;
	close(fd);
	return 0;
}

static int connect_to(struct keeper *k, uint64_t parent, const char *user, const char *address)
{
	static const struct brood_handlers me = { .size = sizeof(me),
						  .ready = on_me,
						  .error = on_me,
						  .away = on_me,
						  .back = on_me },
					   its = { .size = sizeof(its), .any = on_parent };
	char text[ID_TEXT];
	int rc = brood_connect(&k->h, address,
			       BROOD_OPTIONS(.on = &me, .data = k, .flags = BROOD_NO_AUTOSTART, .flush_ms = 1));
	if (rc < 0)
		return rc;
	names_admit(k->h, user); /* a broker that was restarted in between knows nobody who may write to me */
	k->lease.fire = lease_over;
	rc = timer_promise(&k->h->timers, &k->lease);
	if (rc < 0)
		return rc;
	k->h->dialer.greeted = 1; /* the nursery knows that there is a broker: it comes back */
	rc = brood_find(k->h, &k->parent, id_format(parent, text), BROOD_FIND(.on = &its, .data = k));
	return rc < 0 ? rc : check_descriptors(k);
}

struct keeper *keeper_new(brood_msg *asked, const Brood__Nursery__Spawn *m, struct order *order, const char *user,
			  const char *address)
{
	struct keeper *k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->number = m->number;
	snprintf(k->user, sizeof(k->user), "%s", user);
	if (connect_to(k, ((struct letter *)(void *)asked)->remote->id, user, address) < 0) {
		keeper_free(k);
		return NULL;
	}
	k->asked = asked;
	k->order = order;
	(void)brood_fd(k->h);
	handle_poke(k->h); /* something may have happened already */
	return k;
}

int keeper_fd(const struct keeper *k)
{
	return brood_fd(k->h);
}

/* Others of its process group may still have their grace. */
static int is_done(const struct keeper *k)
{
	return k->over && !(k->child && k->child->child->tail && !k->stopped && !k->parent_gone);
}

int keeper_turn(struct keeper *k)
{
	return brood_process(k->h, 0) < 0 || is_done(k);
}

void keeper_stop(struct keeper *k)
{
	struct child *c = k->child ? k->child->child : NULL;
	k->stopped = 1;
	if (!c || c->plan->flags & BROOD_DETACHED)
		k->over = 1;
	else if (c->state == CHILD_RUNNING)
		child_terminate(c, BROOD_BY_HOST);
	loop_timer_changed(k->h);
}

int keeper_is_of(const struct keeper *k, uint64_t id, const char *user)
{
	return id && k->kept.id == id && strcmp(k->user, user) == 0;
}

/* Not by brood_kill(): that would say that its parent ended it. Who was not reaped has its number. */
int keeper_signal(const struct keeper *k, int signo, int tree)
{
	const struct child *c = k->child ? k->child->child : NULL;
	if (!c || c->state != CHILD_RUNNING)
		return -ESRCH;
	if (tree && !c->own_group)
		return -ENOTSUP;
	return kill(tree ? -k->child->pid : k->child->pid, signo) < 0 ? -errno : 0;
}

const char *keeper_program(const struct keeper *k)
{
	return k->order->program;
}

/* Who asked is told, unless it does not want it any more. */
static void refuse(const struct keeper *k)
{
	struct fault why;
	if (k->h && k->h->failed)
		fault_set(&why, "spawn.broker", "the nursery has no broker for it: %s; %s", k->h->down.error.text,
			  k->h->down.error.hint);
	else
		fault_set(&why, "spawn.broker",
			  "the nursery was stopped, or had no memory, before it started the program");
	(void)letter_fail((struct letter *)(void *)k->asked, &why);
}

void keeper_give_back(struct keeper *k)
{
	k->asked = NULL;
	k->order = NULL;
}

void keeper_free(struct keeper *k)
{
	for (size_t i = 0; i < k->n_strands; i++)
		while (!STAILQ_EMPTY(&k->strands[i].pieces))
			drop_piece(&k->strands[i]);
	if (k->asked)
		refuse(k);
	if (k->h)
		timer_release(&k->h->timers, &k->lease);
	if (k->child)
		peer_unref(k->child);
	(void)brood_close(k->h);
	order_free(k->order);
	free(k->strands);
	free(k);
}
