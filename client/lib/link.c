/*
 * link: see link.h. States, in order: IDLE, the dialer's up to GREETING, UP, LEAVING, DOWN.
 *
 * The first frame in an inherited channel is BIRTH, which says who I am. In any other it is my HELLO, and HELLO_OK says it.
 *
 * A connection that ends is dialed again, with a ticket that gets the same id again (`resuming`): the broker may have been
 * killed, replaced, or unreachable for a while. That lasts until it answers, or reconnect_ms are over. It also covers a
 * channel whose other end never reached the broker.
 *
 * A handshake that fails for a reason of TLS ends the link at once: trying again would not help.
 */
#include "link.h"
#include "brood.pb-c.h"
#include "dialer.h"
#include "guard.h"
#include "landing.h"
#include "place.h"
#include "pump.h"
#include "remote.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHILD_IDS 64 /* ids asked for at once */

static char *copy_or_null(const char *text)
{
	return text ? strdup(text) : NULL;
}

static void channel_ready(struct source *s, unsigned events);
static void outlet_ready(struct source *s, unsigned events);
static void greet(struct brood *);
static void ended(struct brood *, int code);

static const struct dialer_up dialer_up = { .connected = greet, .ended = ended, .failed = link_fail };

void link_init(struct brood *h, const char *address, const struct brood_options *o, const struct link_up *up)
{
	struct link *l = &h->link;
	l->up = up;
	l->source = (struct source){ .ready = channel_ready, .fd = -1 };
	l->outlet = (struct source){ .ready = outlet_ready, .fd = -1 };
	l->next_id = 1;
	l->channel.in_fd = l->channel.out_fd = -1;
	l->token_file = copy_or_null(o->token_file ? o->token_file : getenv("BROOD_TOKEN_FILE"));
	l->parent_name = copy_or_null(o->parent);
	dialer_init(h, address, o, &dialer_up);
}

void link_deinit(struct brood *h)
{
	dialer_deinit(h);
	free(h->link.token_file);
	free(h->link.parent_name);
	free(h->abroad);
	h->abroad = NULL;
}

void link_need(struct brood *h)
{
	if (h->link.state == LINK_IDLE)
		dialer_begin(h);
}

int link_passes_fds(struct brood *h)
{
	link_need(h); /* which decides for an address */
	return h->link.channel.slab ? h->link.channel.takes_fds : h->dialer.address_kind == ADDRESS_UNIX;
}

void link_fail(struct brood *h, const struct fault *f)
{
	struct link *l = &h->link;
	if (l->state == LINK_DOWN)
		return;
	l->state = LINK_DOWN;
	dialer_hang_up(h);
	l->up->down(h, f);
}

static void fail(struct brood *h, const char *name, const char *what, int code)
{
	struct fault f;
	dialer_fault(h, &f, name, what, code);
	link_fail(h, &f);
}

/* ---- greeting ---------------------------------------------------------------------------------------------------- */

/* A broker in the same one can see when this process ends, and others there know whom its number means. */
static uint64_t pid_space(void)
{
	struct stat s;
	return stat("/proc/self/ns/pid", &s) == 0 ? s.st_ino : 0;
}

/* For TLS it must have been named: another host's broker is not shown this host's secret. */
static int shows_cookie(const struct brood *h)
{
	const struct dialer *d = &h->dialer;
	const struct link *l = &h->link;
	return !l->ticket_size && (d->address_kind == ADDRESS_TCP || (d->address_kind == ADDRESS_TLS && l->token_file));
}

static void say_hello(struct brood *h, unsigned ids)
{
	const struct dialer *d = &h->dialer;
	struct link *l = &h->link;
	uint8_t cookie[256];
	Brood__Hello hello = BROOD__HELLO__INIT;
	hello.pid = (uint32_t)getpid();
	hello.title = program_invocation_short_name;
	hello.ids = ids;
	if (d->address_kind != ADDRESS_TLS || d->loopback)
		hello.pid_space = pid_space();
	hello.level = !(h->flags & BROOD_NO_RECONNECT);
	hello.open = h->open;
	if (h->abroad)
		hello.abroad = h->abroad;
	if (l->parent_name && !l->id)
		hello.parent = l->parent_name;
	if (hello.level && !l->id && (l->nonce || getrandom(&l->nonce, sizeof(l->nonce), 0) == sizeof(l->nonce)))
		hello.nonce = l->nonce;
	if (l->ticket_size)
		hello.ticket = (ProtobufCBinaryData){ l->ticket_size, l->ticket };
	else if (shows_cookie(h))
		hello.cookie = (ProtobufCBinaryData){ place_cookie(l->token_file, cookie, sizeof(cookie)), cookie };
	l->asked_ids = 1;
	pump_control(h, FRAME_HELLO, &hello.base, -1);
}

static void greet(struct brood *h)
{
	if (!h->dialer.inherited)
		say_hello(h, CHILD_IDS);
}

/* ---- ids for children -------------------------------------------------------------------------------------------- */

int link_need_ids(struct brood *h)
{
	struct link *l = &h->link;
	uint64_t left = l->last_id + 1 - l->next_id;
	if (left < CHILD_IDS / 2 && !l->asked_ids && link_is_up(h))
		say_hello(h, CHILD_IDS);
	return l->next_id <= l->last_id;
}

uint64_t link_take_id(struct brood *h, uint64_t parent, uint8_t ticket[TICKET_SIZE])
{
	struct link *l = &h->link;
	struct ticket t = { .id = l->next_id++, .parent = parent, .first = l->first_id, .uid = (uint32_t)getuid() };
	ticket_mint(l->ids_key, &t, ticket);
	return t.id;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void keep_text(char *to, size_t n, const char *text)
{
	snprintf(to, n, "%s", text);
}

static void came_up(struct brood *h)
{
	if (h->link.state == LINK_LEAVING)
		return;
	int resumed = h->dialer.resuming;
	dialer_rest(h);
	h->link.state = LINK_UP;
	if (resumed)
		h->link.up->back(h);
	else
		h->link.up->up(h);
}

static void take_ticket(struct link *l, const ProtobufCBinaryData *t)
{
	if (t->len != TICKET_SIZE)
		return;
	memcpy(l->ticket, t->data, TICKET_SIZE);
	l->ticket_size = TICKET_SIZE;
}

static void take_birth(struct brood *h, const ProtobufCMessage *m)
{
	const Brood__Birth *birth = (const Brood__Birth *)m;
	struct link *l = &h->link;
	if (l->state != LINK_GREETING || !h->dialer.inherited)
		return;
	l->id = birth->id;
	l->parent = birth->parent;
	keep_text(l->node, sizeof(l->node), birth->node);
	keep_text(h->dialer.address, sizeof(h->dialer.address), birth->address);
	take_ticket(l, &birth->ticket);
	l->last_id = 0;
	if (*birth->name)
		l->up->named(h, birth->name);
	came_up(h);
}

static void take_hello_ok(struct brood *h, const ProtobufCMessage *m)
{
	const Brood__HelloOk *ok = (const Brood__HelloOk *)m;
	struct link *l = &h->link;
	l->asked_ids = 0;
	if (h->dialer.resuming && ok->id != l->id) {
		fail(h, "broker.lost", "the broker does not know this process any more", 0);
		return;
	}
	l->id = ok->id;
	l->parent = ok->parent;
	keep_text(l->node, sizeof(l->node), ok->node);
	take_ticket(l, &ok->ticket);
	if (ok->ids && ok->ids_key.len == TICKET_KEY) {
		l->first_id = l->next_id = ok->first_id;
		l->last_id = ok->first_id + ok->ids - 1;
		memcpy(l->ids_key, ok->ids_key.data, TICKET_KEY);
	}
	came_up(h);
}

/*
 * The broker has my id in its care, and would know me again. But for who accepts and then closes, each time, the patience
 * ends as for who does not accept.
 */
static int may_come_back(struct brood *h)
{
	const struct link *l = &h->link;
	int too_late = h->dialer.resuming && !dialer_is_patient(h);
	return l->id && l->ticket_size && *h->dialer.address && !h->stopping && !too_late &&
	       !(h->flags & BROOD_NO_RECONNECT);
}

/* It ended before it knew me: it was about to leave, or died. Another may come, or be started. */
static int may_greet_again(struct brood *h)
{
	return h->link.state == LINK_GREETING && !h->dialer.inherited && dialer_is_patient(h) &&
	       (h->dialer.autostart || !(h->flags & BROOD_NO_RECONNECT));
}

/* The connection is lost, not the relation: dial until the broker is there again. */
static void get_back(struct brood *h)
{
	struct link *l = &h->link;
	/* My parent could not pass it on: nothing broke, so nobody else comes now. */
	int unheard = h->dialer.inherited && !l->heard;
	int was_up = l->state == LINK_UP && !unheard;
	dialer_resume(h);
	l->asked_ids = 0;
	l->next_id = 1; /* a broker that was restarted does not know which ids were mine to give */
	l->last_id = 0;
	if (was_up)
		l->up->away(h);
	if (l->state != LINK_DOWN)
		dialer_again(h, unheard);
}

/* It may be otherwise the next time: there is room then, or I am not stopped in the middle of my HELLO. */
static int is_about_this_try(struct brood *h, const char *error)
{
	if (strcmp(error, "hello.timeout") == 0)
		return h->dialer.resuming || may_greet_again(h);
	return h->dialer.resuming && (strcmp(error, "broker.full") == 0 || strncmp(error, "limit.", 6) == 0);
}

static void take_goodbye(struct brood *h, const ProtobufCMessage *m)
{
	const Brood__Goodbye *bye = (const Brood__Goodbye *)m;
	char why[256] = "";
	struct fault f;
	if (bye->parting == BROOD__PARTING__PARTING_RESTARTING && may_come_back(h)) {
		get_back(h);
		return;
	}
	if (bye->parting != BROOD__PARTING__PARTING_REFUSED) {
		if (!may_greet_again(h)) /* of one that never knew me nothing has to be finished */
			h->link.up->stopping(h);
		return;
	}
	if (is_about_this_try(h, bye->error))
		return; /* it closes the connection */
	/* What the broker cannot know. */
	if (strcmp(bye->error, "hello.denied") == 0 && shows_cookie(h))
		place_cookie_fault(h->link.token_file, why, sizeof(why));
	fault_set_code(&f, bye->code < 0 ? bye->code : -EACCES, bye->error, "%s%s%s", bye->text, *why ? "; " : "", why);
	link_fail(h, &f);
}

static void take(struct brood *h, const struct frame *f, const ProtobufCMessageDescriptor *type,
		 void (*handler)(struct brood *, const ProtobufCMessage *))
{
	ProtobufCMessage *m;
	int rc = guard_unpack(type, f->body, f->length, 1, &m);
	if (rc == -ENOMEM) {
		pump_spoil(h);
		return;
	}
	if (rc < 0) {
		fail(h, "control.malformed", "the broker sent something that cannot be read", 0);
		return;
	}
	handler(h, m);
	guard_free(m);
}

static void take_frame(struct brood *h, const struct frame *f)
{
	switch (f->kind) {
	case FRAME_BIRTH:
		take(h, f, &brood__birth__descriptor, take_birth);
		break;
	case FRAME_HELLO_OK:
		take(h, f, &brood__hello_ok__descriptor, take_hello_ok);
		break;
	case FRAME_GOODBYE:
		take(h, f, &brood__goodbye__descriptor, take_goodbye);
		break;
	default:
		h->link.heard = 1;
		h->link.up->frame(h, f);
		break;
	}
}

int link_next(struct brood *h)
{
	struct frame f;
	if (h->link.source.fd < 0 || !h->link.channel.slab || h->link.spoiled)
		return 0;
	int rc = channel_next(&h->link.channel, &f);
	if (rc == -ENOMEM)
		pump_spoil(h);
	else if (rc < 0)
		fail(h, "broker.lost", "the broker sent something that is not a frame", rc);
	else if (rc == 1)
		take_frame(h, &f);
	return rc == 1;
}

/* The reason is TLS, and it will be the same the next time. A cut is no such reason, until the patience ends. */
static int tls_failed(struct brood *h)
{
	const struct dialer *d = &h->dialer;
	const struct tls_fault *seen = d->tls ? d->tls_api->failure(&h->link.channel) : NULL;
	struct fault f;
	if (!seen || (strcmp(seen->name, "tls.cut") == 0 && (d->resuming || may_greet_again(h))))
		return 0;
	fault_set(&f, seen->name, "%s: %s", d->address, seen->text);
	link_fail(h, &f);
	return 1;
}

/* The connection ended. */
static void ended(struct brood *h, int code)
{
	struct link *l = &h->link;
	if (tls_failed(h))
		return;
	if (l->state == LINK_LEAVING && h->stopping) {
		fail(h, "broker.stopping", "the broker has stopped", 0);
		return;
	}
	if (l->state == LINK_LEAVING) {
		dialer_hang_up(h);
		l->state = LINK_DOWN;
		return;
	}
	if (may_come_back(h)) {
		get_back(h);
		return;
	}
	if (may_greet_again(h)) {
		dialer_redial(h);
		return;
	}
	fail(h, "broker.lost", "the connection to the broker ended", code);
}

void link_renew(struct brood *h)
{
	if (h->link.spoiled)
		ended(h, -ENOMEM);
}

int link_read(struct brood *h)
{
	struct link *l = &h->link;
	if (l->source.fd < 0 || l->state < LINK_GREETING || l->spoiled)
		return 0;
	l->readable = 0;
	ssize_t n = channel_read_to(&l->channel, landing_place, h);
	if (h->dialer.tls)
		pump_interest(h); /* a handshake may have ended, and HELLO waits */
	if (n > 0) {
		dialer_heard(h);
		return 1;
	}
	if (n == 0 || (n != -EAGAIN && n != -ENOBUFS && n != -EINTR))
		ended(h, (int)n);
	return 0;
}

static void has_room(struct brood *h)
{
	h->link.full = 0;
	if (channel_drain(&h->link.channel, NULL) == 0)
		pump_interest(h);
}

static void channel_ready(struct source *s, unsigned events)
{
	struct brood *h = (struct brood *)(void *)((char *)s - offsetof(struct brood, link.source));
	if (h->link.state == LINK_CONNECTING) {
		dialer_socket_ready(h);
		return;
	}
	if (events & ~(unsigned)EPOLLOUT)
		h->link.readable = 1;
	if (events & EPOLLOUT)
		has_room(h);
}

/* Also when nobody reads there any more: then writing fails, and the end of what comes ends the link. */
static void outlet_ready(struct source *s, unsigned events)
{
	struct brood *h = (struct brood *)(void *)((char *)s - offsetof(struct brood, link.outlet));
	if (events & EPOLLERR)
		pump_unwatch(h);
	has_room(h);
}

/* Whoever does not hear that a message was consumed must report it. */
static void acknowledge_all(struct brood *h)
{
	struct remote *r;
	for (r = h->by_id; r; r = r->hh.next) {
		uint64_t consumed = inflow_consumed(&r->in);
		if (consumed > r->in.told)
			inflow_ask(&r->in, consumed);
		remote_touch(r);
	}
}

int link_may_be_known(const struct brood *h)
{
	enum link_state s = h->link.state;
	return s > LINK_IDLE && s < LINK_UP && h->dialer.greeted && !h->dialer.deserted;
}

void link_leave(struct brood *h)
{
	Brood__Goodbye bye = BROOD__GOODBYE__INIT;
	if (h->link.state != LINK_UP && h->link.state != LINK_GREETING)
		return;
	acknowledge_all(h);
	h->link.full = 0; /* the last chance, so try */
	pump_run(h);
	bye.parting = BROOD__PARTING__PARTING_LEAVING;
	pump_control(h, FRAME_GOODBYE, &bye.base, -1);
	h->link.state = LINK_LEAVING;
}
