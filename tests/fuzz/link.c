/*
 * The broker as another one sees it. The input is a script like that of session.c; here two of the four strangers are
 * other brokers, one of the broker's own user and one who has no right to be, and the other two are clients who talk to
 * processes of linked nodes, or let these talk to them. After every script two honest processes, who have to do with no other
 * node, must be served as ever, and must have heard of nobody there. What else must hold is in world.h.
 */
#include "brood.pb-c.h"
#include "script.h"
#include "target.h"
#include "virtual.h"
#include "world.h"
#include <stdio.h>
#include <string.h>

#define STEPS_MOST 100
#define BROKER 3 /* the stranger who is of the broker's user */
#define EPOCH_THERE 0x65000000u

static _Alignas(8) uint8_t frame[FRAME_MAX + 8];

struct step {
	struct world *world;
	struct script *script;
	struct peer *peer;
};

static void say(const struct step *s, size_t size)
{
	world_send(s->peer, frame, size, NULL, 0);
}

/* Somebody there, as that node calls it: four processes of two runs, and what is none. */
static uint64_t somebody_there(const struct step *s)
{
	uint8_t byte = script_byte(s->script);

	if (byte < 200)
		return (uint64_t)(EPOCH_THERE + (byte >> 4 & 1u)) << 32 | (1 + byte % 4);
	return byte < 230 ? (uint64_t)EPOCH_THERE << 32 : script_number(s->script) << (byte % 33);
}

/* Somebody here: the peers, the broker, one of an earlier run, nobody. */
static uint64_t somebody_here(const struct step *s)
{
	uint8_t byte = script_byte(s->script), which = byte % 16;

	if (which < 12)
		return s->world->peers[which % WORLD_PEERS].id;
	if (which == 12)
		return s->world->broker.links.inquiries.self;
	if (which == 13)
		return (uint64_t)(WORLD_FIRST_EPOCH - 1) << 32 | byte / 16;
	return which == 14 ? (uint64_t)(1 + byte / 128) << 32 | (byte / 16 % 8) : script_number(s->script);
}

/* As it is called here: by a number that was given, or may be. */
static uint64_t somebody_abroad(const struct step *s)
{
	uint8_t byte = script_byte(s->script);

	return (uint64_t)(1 + byte % 3) << 32 | (byte / 16 % 6);
}

/* With addresses in its head, which control frames of clients do not have. */
static void say_body(const struct step *s, unsigned kind, uint64_t source, uint64_t destination,
		     const ProtobufCMessage *m)
{
	size_t size = script_control(frame, kind, m);

	frame_set_source(frame, source);
	frame_set_destination(frame, destination);
	say(s, size);
}

/* ---- a broker ---------------------------------------------------------------------------------------------------- */

static void link_up(const struct step *s)
{
	static const char *const names[] = { "beta", "beta", "beta", "gamma", "here", "delta", "", "beta" };
	Brood__Link m = BROOD__LINK__INIT;
	uint8_t how = script_byte(s->script);

	if (s->peer->in_fd < 0 || how & 8)
		world_hang_up(s->peer);
	if (s->peer->in_fd < 0)
		world_connect(s->peer, TRANSPORT_UNIX);
	s->peer->links = 1;
	m.node = (char *)(uintptr_t)names[how % 8];
	m.first_version = 1;
	m.last_version = how & 128 ? (uint32_t)script_number(s->script) : 1;
	m.boot = (ProtobufCBinaryData){ how & 16 ? script_byte(s->script) % 17u : 16,
					(uint8_t *)(uintptr_t)(how & 32 ? "another boot .. " : "0123456789abcdef") };
	m.beat_ms = how & 64 ? (uint32_t)script_number(s->script) : 60000;
	m.epoch = EPOCH_THERE + (how >> 4 & 1u);
	m.pid = how >> 4 & 1u;
	say(s, script_control(frame, FRAME_LINK, &m.base));
}

static void about(const struct step *s)
{
	static const char *const users[] = { "alice", "bob", "", "alice@beta" };
	Brood__About m = BROOD__ABOUT__INIT;
	uint8_t how = script_byte(s->script);

	m.id = somebody_there(s);
	m.user = (char *)(uintptr_t)users[how % 16 < 12 ? how % 2 : how % 4];
	m.title = (char *)(uintptr_t) "a title that is longer than the broker keeps it";
	m.parent = how & 16 ? somebody_here(s) : 0;
	say(s, script_control(frame, FRAME_ABOUT, &m.base));
}

static void data_there(const struct step *s)
{
	struct frame head = { .source = somebody_there(s),
			      .destination = somebody_here(s),
			      .acknowledge = script_number(s->script) };
	unsigned n_fds;
	size_t size = script_data(s->script, frame, &head, &s->peer->next, &n_fds);

	say(s, size);
}

static void bare_there(const struct step *s)
{
	static const uint8_t kinds[] = { FRAME_ACK, FRAME_RESET, FRAME_PROBE, FRAME_HOLD,
					 FRAME_GO,  FRAME_ASK,   FRAME_BEAT,  FRAME_HOLD };
	uint8_t byte = script_byte(s->script);
	struct frame head = { .kind = byte < 240 ? kinds[byte % 8] : byte,
			      .flags = byte / 8 % 8,
			      .source = somebody_there(s),
			      .destination = somebody_here(s),
			      .sequence = script_number(s->script) };

	say(s, script_bare(frame, &head));
}

static void gone(const struct step *s)
{
	Brood__Gone m = BROOD__GONE__INIT;
	uint8_t byte = script_byte(s->script);

	m.id = somebody_there(s);
	m.why = (Brood__Why)(byte % 10);
	say_body(s, FRAME_GONE, 0, byte & 128 ? somebody_here(s) : 0, &m.base);
}

static void watch_here(const struct step *s)
{
	Brood__Watch m = BROOD__WATCH__INIT;
	char id[ID_TEXT];
	uint8_t byte = script_byte(s->script);

	m.name = (char *)(uintptr_t)(byte & 64 ? "@broker" : script_name(s->script));
	if (byte & 32)
		m.name = id_format(somebody_here(s), id);
	m.stop = byte % 4 == 3;
	say_body(s, FRAME_WATCH, somebody_there(s), 0, &m.base);
}

static void name_there(const struct step *s)
{
	Brood__Name m = BROOD__NAME__INIT;

	m.name = (char *)(uintptr_t)script_name(s->script);
	m.id = script_byte(s->script) % 4 ? somebody_there(s) : 0;
	m.user = (char *)(uintptr_t)(script_byte(s->script) % 4 ? "alice" : "no user");
	say_body(s, FRAME_NAME, 0, somebody_here(s), &m.base);
}

static void goodbye(const struct step *s)
{
	Brood__Goodbye m = BROOD__GOODBYE__INIT;

	s->peer->excused = 1;
	m.parting = (Brood__Parting)(script_byte(s->script) % 4);
	say(s, script_control(frame, FRAME_GOODBYE, &m.base));
}

static void raw(const struct step *s)
{
	const uint8_t *bytes;
	size_t n = script_bytes(s->script, &bytes);

	world_send(s->peer, bytes, n, NULL, 0);
}

/* ---- a client ---------------------------------------------------------------------------------------------------- */

static void hello(const struct step *s)
{
	static const char *const lists[] = { "", "alice@beta", "bob@beta alice@gamma", "no list" };
	Brood__Hello m = BROOD__HELLO__INIT;
	uint8_t how = script_byte(s->script), ticket[TICKET_SIZE];

	if (s->peer->in_fd < 0)
		world_connect(s->peer, TRANSPORT_UNIX);
	m.level = how & 1;
	m.open = how >> 1 & 1;
	m.abroad = (char *)(uintptr_t)lists[how >> 2 & 3];
	m.ids = how & 16 ? 2 : 0;
	if (how & 32 && s->peer->ticket.ticket.id) {
		identity_mint(&s->world->broker.identity, s->peer->ticket.owner, &s->peer->ticket.ticket, ticket);
		m.ticket = (ProtobufCBinaryData){ TICKET_SIZE, ticket };
	}
	say(s, script_control(frame, FRAME_HELLO, &m.base));
}

static void data_here(const struct step *s)
{
	struct frame head = { .destination = script_byte(s->script) % 4 ? somebody_abroad(s) : somebody_here(s),
			      .acknowledge = script_number(s->script) };
	unsigned n_fds;
	size_t size = script_data(s->script, frame, &head, &s->peer->next, &n_fds);

	say(s, size);
}

static void register_name(const struct step *s)
{
	Brood__Register m = BROOD__REGISTER__INIT;
	uint8_t how = script_byte(s->script);

	m.name = (char *)(uintptr_t)script_name(s->script);
	m.open = how & 1;
	say(s, script_control(frame, how & 6 ? FRAME_REGISTER : FRAME_UNREGISTER, &m.base));
}

static void watch_there(const struct step *s)
{
	static const char *const nodes[] = { "beta", "gamma", "here", "delta" };
	Brood__Watch m = BROOD__WATCH__INIT;
	uint8_t how = script_byte(s->script);
	char name[256];

	snprintf(name, sizeof(name), "%s/%s", nodes[how % 4], how & 64 ? "@broker" : script_name(s->script));
	m.name = name;
	m.stop = how >> 2 == 3;
	say(s, script_control(frame, FRAME_WATCH, &m.base));
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

static void hang_up(const struct step *s)
{
	world_hang_up(s->peer);
}

static void listen_or_not(const struct step *s)
{
	s->peer->deaf = !s->peer->deaf;
	s->peer->excused = 1;
}

static void pass_time(const struct step *s)
{
	static const uint32_t ms[] = { 1, 10, 100, 1001, 3001, 5001, 30000, 120001 };
	struct links *links = &s->world->broker.links;
	struct node *node;

	virtual_pass(ms[script_byte(s->script) % 8]);
	LIST_FOREACH (node, &links->nodes, entry)
		if (node->link)
			link_beat(node->link, node->link->heard_ms);
}

/* The configuration changes: a node more, or less. */
static void configure(const struct step *s)
{
	s->world->config.n_named = script_byte(s->script) % 3;
	links_configure(&s->world->broker.links, &s->world->config);
}

static void (*const broker_steps[])(const struct step *) = {
	link_up,    about,   data_there, about,   bare_there, data_there, gone,          watch_here,
	name_there, goodbye, raw,        hang_up, link_up,    pass_time,  listen_or_not, configure,
};

static void (*const client_steps[])(const struct step *) = {
	hello,     data_here, watch_there, register_name, data_here, hang_up,   data_here, watch_there,
	data_here, hello,     pass_time,   register_name, data_here, data_here, raw,       listen_or_not,
};

/* The broker has a turn after a step, unless the step says that others come before. */
static void do_step(struct world *w, struct script *script)
{
	uint8_t byte = script_byte(script), who = byte / 16 % 4;
	struct step s = { w, script, &w->peers[who] };

	/* One in eight of what brokers do is done by one who is none. */
	if (who == BROKER || (who == 2 && byte >= 192))
		broker_steps[byte % 16](&s);
	else
		client_steps[byte % 16](&s);
	if (byte < 128)
		world_turn(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct script script = { bytes, bytes + n };
	uint8_t kind = script_byte(&script);
	struct world *w = world_begin((struct world_kind){ .unclean = kind & 1, .small = kind >> 1 & 1, .linked = 1 });

	for (int i = 0; i < STEPS_MOST && script.at < script.end && world_runs(w); i++)
		do_step(w, &script);
	world_turn(w);
	world_serves(w);
	world_end(w);
	return 0;
}
