/*
 * The broker as a whole. The input is a script: the first byte says what kind of broker it is, then come steps, each of a
 * peer: it connects, says something (well-formed or not), hangs up, stops reading; or time passes, or the broker is told to go.
 * Four strangers of three users do that, one of whom is the broker's own; and after every script two honest
 * processes of a fourth one must be served as ever. What else must hold is in world.h.
 */
#include "brood.pb-c.h"
#include "script.h"
#include "target.h"
#include "virtual.h"
#include "world.h"
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STEPS_MOST 100

static _Alignas(8) uint8_t frame[FRAME_MAX + 8];

struct step {
	struct world *world;
	struct script *script;
	struct peer *peer;
};

/* Somebody: one who is there, a child to be, or nobody. */
static uint64_t somebody(const struct step *s)
{
	uint8_t byte = script_byte(s->script), which = byte % 16;
	const struct peer *p = s->peer;

	if (which < WORLD_PEERS)
		return s->world->peers[which].id;
	if (which < 12 && p->first)
		return p->first + byte / 16;
	if (which < 12)
		return FRAME_BROKER;
	if (which == 12)
		return (uint64_t)(WORLD_FIRST_EPOCH - 1) << 32 | byte / 16; /* of an earlier run */
	return which == 13 ? (uint64_t)WORLD_FIRST_EPOCH << 32 | script_number(s->script) : script_number(s->script);
}

static void say(const struct step *s, size_t size)
{
	world_send(s->peer, frame, size, NULL, 0);
}

static void raw(const struct step *s)
{
	const uint8_t *bytes;
	size_t n = script_bytes(s->script, &bytes);

	world_send(s->peer, bytes, n, NULL, 0);
}

static void connect_anew(const struct step *s)
{
	static const enum process_transport transports[] = { TRANSPORT_UNIX, TRANSPORT_UNIX, TRANSPORT_TCP,
							     TRANSPORT_FIFO };

	world_hang_up(s->peer);
	world_connect(s->peer, transports[script_byte(s->script) % 4]);
}

static void hang_up(const struct step *s)
{
	if (s->peer->in_fd >= 0 && script_byte(s->script) % 2) {
		shutdown(s->peer->out_fd, SHUT_WR);
		s->peer->excused = 1;
	} else {
		world_hang_up(s->peer);
	}
}

/* Genuine ones of oneself, of somebody else, of a child, of an earlier run; and such that are not. */
static size_t make_ticket(const struct step *s, uint8_t ret[TICKET_SIZE])
{
	uint8_t byte = script_byte(s->script);
	const struct peer *giver = &s->world->peers[byte / 8 % WORLD_STRANGERS];
	struct ticket_of t = s->peer->ticket;

	if (byte % 8 == 0)
		return 0;
	if (byte % 8 == 2)
		t = giver->ticket;
	else if (byte % 8 == 3 || byte % 8 == 4)
		t = (struct ticket_of){ { giver->first + script_byte(s->script), giver->id, giver->first, giver->uid },
					giver->uid };
	else if (byte % 8 == 5)
		t = (struct ticket_of){ { (uint64_t)(WORLD_FIRST_EPOCH - 1) << 32 | script_byte(s->script) % 4, 0, 0,
					  s->peer->uid },
					s->peer->uid };
	else if (byte % 8 == 6)
		t.ticket.parent = somebody(s);
	identity_mint(&s->world->broker.identity, t.owner, &t.ticket, ret);
	if (byte % 8 == 7)
		ret[script_byte(s->script) % TICKET_SIZE] ^= script_byte(s->script);
	return TICKET_SIZE;
}

static const char *parent_name(const struct step *s, char text[ID_TEXT])
{
	uint8_t byte = script_byte(s->script);

	if (byte % 4 == 0)
		return script_name(s->script);
	return byte % 4 == 1 ? id_format(somebody(s), text) : "";
}

static void hello(const struct step *s)
{
	Brood__Hello m = BROOD__HELLO__INIT;
	uint8_t ticket[TICKET_SIZE], how = script_byte(s->script);
	char parent[ID_TEXT];

	if (s->peer->in_fd < 0)
		world_connect(s->peer, TRANSPORT_UNIX);
	m.level = how & 1;
	m.ids = how & 2 ? (uint32_t)script_number(s->script) : 0;
	m.pid = how & 4 ? (uint32_t)getpid() : script_byte(s->script);
	m.pid_space = how & 8 ? s->world->broker.welcome.pid_space : 0;
	m.title = (char *)(uintptr_t)(how & 16 ? "a title that is longer than the broker keeps it" : "stranger");
	if (how & 32)
		m.cookie = (ProtobufCBinaryData){ COOKIE_TEXT, (uint8_t *)s->world->broker.identity.cookie };
	m.ticket = (ProtobufCBinaryData){ make_ticket(s, ticket), ticket };
	m.parent = (char *)(uintptr_t)parent_name(s, parent);
	say(s, script_control(frame, FRAME_HELLO, &m.base));
}

/* A channel whose other end becomes a stranger's, something else, or nothing. */
static int make_channel(const struct step *s)
{
	uint8_t byte = script_byte(s->script);
	struct peer *child = &s->world->peers[byte / 4 % WORLD_STRANGERS];
	int fds[2];

	if (byte % 4 == 0)
		return -1;
	if (byte % 4 == 1)
		return open("/dev/null", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (byte & 16 ? 0 : SOCK_NONBLOCK), 0, fds) == 0);
	if (child == s->peer)
		close(fds[0]);
	else
		world_inherit(child, fds[0]);
	return fds[1];
}

static void adopt(const struct step *s)
{
	Brood__Adopt m = BROOD__ADOPT__INIT;
	int fd = make_channel(s);

	m.id = somebody(s);
	m.uid = script_byte(s->script) % 8 ? s->peer->uid : WORLD_HONEST;
	m.pid = (uint32_t)getpid();
	m.title = (char *)(uintptr_t) "child";
	m.name = (char *)(uintptr_t)script_name(s->script);
	world_send(s->peer, frame, script_control(frame, FRAME_ADOPT, &m.base), &fd, fd >= 0);
	if (fd >= 0)
		close(fd);
}

static void register_name(const struct step *s)
{
	Brood__Register m = BROOD__REGISTER__INIT;

	m.name = (char *)(uintptr_t)script_name(s->script);
	say(s, script_control(frame, script_byte(s->script) % 4 ? FRAME_REGISTER : FRAME_UNREGISTER, &m.base));
}

static void watch_name(const struct step *s)
{
	Brood__Watch m = BROOD__WATCH__INIT;

	m.name = (char *)(uintptr_t)script_name(s->script);
	m.stop = script_byte(s->script) % 4 == 3;
	say(s, script_control(frame, FRAME_WATCH, &m.base));
}

static void died(const struct step *s)
{
	Brood__Died m = BROOD__DIED__INIT;
	const uint8_t *tail;

	m.id = somebody(s);
	m.cause = script_byte(s->script) % 6;
	m.tail.len = script_bytes(s->script, &tail);
	m.tail.data = (uint8_t *)(uintptr_t)tail;
	for (unsigned i = 0; i < WORLD_STRANGERS; i++)
		s->world->peers[i].excused |= s->world->peers[i].id == m.id;
	say(s, script_control(frame, FRAME_DIED, &m.base));
}

static void goodbye(const struct step *s)
{
	Brood__Goodbye m = BROOD__GOODBYE__INIT;

	s->peer->excused = 1;
	m.parting = (Brood__Parting)(script_byte(s->script) % 4);
	say(s, script_control(frame, FRAME_GOODBYE, &m.base));
}

static void data(const struct step *s)
{
	struct frame head = { .destination = somebody(s), .acknowledge = script_number(s->script) };
	unsigned n_fds;
	size_t size = script_data(s->script, frame, &head, &s->peer->next, &n_fds);
	int fds[PARCEL_MOST] = { 0 };

	world_send(s->peer, frame, size, fds, n_fds);
}

static void bare(const struct step *s)
{
	uint8_t kind = script_byte(s->script);
	struct frame head = {
		.kind = kind < 128 ? FRAME_ACK + kind % 3 : kind,
		.destination = somebody(s),
		.source = kind & 1 ? s->world->peers[WORLD_STRANGERS].id : 0,
		.sequence = script_number(s->script),
		.acknowledge = script_number(s->script),
		.stream = (uint32_t)script_byte(s->script) << 24,
	};

	say(s, script_bare(frame, &head));
}

static void listen_or_not(const struct step *s)
{
	s->peer->deaf = !s->peer->deaf;
	s->peer->excused = 1;
}

static void pass_time(const struct step *s)
{
	static const uint32_t ms[] = { 1, 10, 100, 1001, 3001, 5001, 30000, 120001 };

	virtual_pass(ms[script_byte(s->script) % 8]);
}

static void signal_broker(const struct step *s)
{
	struct broker *b = &s->world->broker;

	event_active(script_byte(s->script) % 2 ? &b->terminate : &b->restart, EV_SIGNAL, 1);
}

static void (*const steps[])(const struct step *) = {
	hello, data, raw,   adopt,         connect_anew, register_name, watch_name, died,
	data,  bare, hello, listen_or_not, hang_up,      goodbye,       pass_time,  signal_broker,
};

/* The broker has a turn after a step, unless the step says that others come before. */
static void do_step(struct world *w, struct script *script)
{
	uint8_t byte = script_byte(script);
	struct step s = { w, script, &w->peers[byte / 16 % WORLD_STRANGERS] };

	steps[byte % 16](&s);
	if (byte < 128)
		world_turn(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct script script = { bytes, bytes + n };
	uint8_t kind = script_byte(&script);
	struct world *w = world_begin((struct world_kind){ .unclean = kind & 1, .small = kind >> 1 & 1 });

	for (int i = 0; i < STEPS_MOST && script.at < script.end && world_runs(w); i++)
		do_step(w, &script);
	world_turn(w);
	world_serves(w);
	world_end(w);
	return 0;
}
