/*
 * understudy: see understudy.h. What cannot be written stays with the channel; that a connection failed shows when it is read.
 */
#include "understudy.h"
#include "address.h"
#include "brood.pb-c.h"
#include "dial.h"
#include "guard.h"
#include "ticket.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MOST 1024 /* bytes of what it says itself */

int understudy_open(struct understudy *u, const char *address)
{
	struct address a;
	char why[200];
	memset(u, 0, sizeof *u);
	u->listener = -1;
	int rc = address_parse(address, &a, why, sizeof why);
	if (rc == 0)
		rc = slab_init(&u->slab, SLAB_HELPING);
	if (rc == 0)
		rc = u->listener = dial_listen(&a, 8);
	return rc < 0 ? rc : 0;
}

static void hang_up(struct understudy *u)
{
	if (u->there)
		channel_deinit(&u->channel);
	u->there = 0;
	u->ended = 1;
}

void understudy_close(struct understudy *u)
{
	hang_up(u);
	if (u->listener >= 0)
		close(u->listener);
	slab_deinit(&u->slab);
}

void understudy_clear(struct understudy *u)
{
	hang_up(u);
	u->registered = u->left = u->ended = u->cut = 0;
	u->level = 0;
	u->broke = NULL;
}

void understudy_cut(struct understudy *u)
{
	hang_up(u);
	u->registered = u->ended = 0;
	u->cut = 1;
}

/* ---- what it says ------------------------------------------------------------------------------------------------ */

void understudy_say(struct understudy *u, const struct frame *f, const void *body, int fd)
{
	if (u->there)
		(void)channel_send(&u->channel, f, body, fd);
	else if (fd >= 0)
		close(fd);
}

void understudy_write(struct understudy *u, const void *bytes, size_t n)
{
	if (u->there)
		(void)channel_keep(&u->channel, bytes, n, NULL, -1);
	if (u->there)
		(void)channel_drain(&u->channel, NULL);
}

static void answer(struct understudy *u, unsigned kind, const ProtobufCMessage *m)
{
	uint8_t body[BODY_MOST];
	struct frame f = { .kind = (uint8_t)kind, .destination = UNDERSTUDY_CLIENT };
	f.length = (uint32_t)protobuf_c_message_get_packed_size(m);
	if (f.length > sizeof body)
		return; /* a name of that length is no name */
	protobuf_c_message_pack(m, body);
	understudy_say(u, &f, body, -1);
}

void understudy_bury(struct understudy *u, uint64_t id, unsigned why)
{
	Brood__Gone m = BROOD__GONE__INIT;
	m.id = id;
	m.why = (Brood__Why)why;
	answer(u, FRAME_GONE, &m.base);
}

/* ---- what it is asked -------------------------------------------------------------------------------------------- */

static void take_hello(struct understudy *u, const ProtobufCMessage *m)
{
	static uint8_t ticket[TICKET_SIZE] = "worth nothing but here";
	const Brood__Hello *hello = (const Brood__Hello *)m;
	Brood__HelloOk ok = BROOD__HELLO_OK__INIT;
	if (u->cut && (hello->ticket.len != sizeof ticket || memcmp(hello->ticket.data, ticket, sizeof ticket) != 0))
		u->broke = "it came back without the ticket of its HELLO_OK";
	u->level = hello->level;
	ok.id = UNDERSTUDY_CLIENT;
	ok.node = "conform";
	ok.pid = (uint32_t)getpid();
	if (u->level == 1)
		ok.ticket = (ProtobufCBinaryData){ sizeof ticket, ticket };
	answer(u, FRAME_HELLO_OK, &ok.base);
}

static void take_register(struct understudy *u, const ProtobufCMessage *m)
{
	Brood__Registered done = BROOD__REGISTERED__INIT;
	done.name = ((const Brood__Register *)m)->name;
	answer(u, FRAME_REGISTERED, &done.base);
	u->registered = 1;
}

static void take_watch(struct understudy *u, const ProtobufCMessage *m)
{
	Brood__Name nobody = BROOD__NAME__INIT;
	nobody.name = ((const Brood__Watch *)m)->name;
	if (!((const Brood__Watch *)m)->stop)
		answer(u, FRAME_NAME, &nobody.base);
}

static void take_goodbye(struct understudy *u, const ProtobufCMessage *m)
{
	if (((const Brood__Goodbye *)m)->parting != BROOD__PARTING__PARTING_LEAVING)
		u->broke = "it said GOODBYE, and not PARTING_LEAVING";
	u->left = 1;
}

static const struct question {
	const ProtobufCMessageDescriptor *type;
	void (*take)(struct understudy *, const ProtobufCMessage *); /* NULL: it is all the same here */
} questions[] = {
	[FRAME_HELLO] = { &brood__hello__descriptor, take_hello },
	[FRAME_REGISTER] = { &brood__register__descriptor, take_register },
	[FRAME_UNREGISTER] = { &brood__register__descriptor, NULL },
	[FRAME_WATCH] = { &brood__watch__descriptor, take_watch },
	[FRAME_GOODBYE] = { &brood__goodbye__descriptor, take_goodbye },
};

static void take_control(struct understudy *u, const struct frame *f)
{
	const struct question *q = f->kind < sizeof questions / sizeof *questions ? &questions[f->kind] : NULL;
	ProtobufCMessage *m;
	if (!q || !q->type) {
		u->broke = "it sent a frame of a kind that is not for a broker, or of no use here";
	} else if (guard_unpack(q->type, f->body, f->length, 1, &m) < 0) {
		u->broke = "it sent a body of a control frame that is not its message";
	} else {
		if (q->take)
			q->take(u, m);
		guard_free(m);
	}
}

static void take(struct understudy *u, const struct frame *f)
{
	if (!frame_is_routed(f->kind))
		take_control(u, f);
	else if (f->destination != FRAME_BROKER)
		u->heard(u->data, f);
}

/* ---- the connection ---------------------------------------------------------------------------------------------- */

static void welcome(struct understudy *u)
{
	int fd = accept4(u->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	channel_init(&u->channel, fd, fd, &u->slab);
	u->there = 1;
	u->ended = 0;
}

static void read_frames(struct understudy *u)
{
	struct frame f;
	int rc = 0;
	ssize_t n = channel_read(&u->channel);
	while (n > 0 && !u->left && (rc = channel_next(&u->channel, &f)) == 1)
		take(u, &f);
	if (rc < 0)
		u->broke = rc == -EMSGSIZE ? "it sent a frame that is longer than its kind may be"
					   : "it sent something that is no frame";
	slab_reset(&u->slab);
	if (n == 0 || (n < 0 && n != -EAGAIN) || rc < 0 || u->left)
		hang_up(u);
}

void understudy_turn(struct understudy *u, int timeout_ms)
{
	struct pollfd p = { .fd = u->there ? u->channel.in_fd : u->listener, .events = POLLIN };
	if (u->there && channel_wants_write(&u->channel))
		p.events |= POLLOUT;
	if (poll(&p, 1, timeout_ms) <= 0)
		return;
	if (!u->there) {
		welcome(u);
		return;
	}
	if (p.revents & POLLOUT)
		(void)channel_drain(&u->channel, NULL);
	if (p.revents & (POLLIN | POLLHUP | POLLERR))
		read_frames(u);
}
