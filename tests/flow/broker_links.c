/*
 * broker_links: what a broker says to another one, frame by frame, and what it takes of one. The broker is alpha; the test is
 * beta, honest or not, and alpha's clients.
 */
#include "guard.h"
#include "message.h"
#include "raw.h"
#include "wire.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define BEATS_MOST 200    /* 20 s */
#define EPOCH 0x65000000u /* of beta's run */
#define THERE(n) ((uint64_t)EPOCH << 32 | (n))
#define BOOT "0123456789abcdef"

static struct wire_broker broker;
static char file[112];
static const char *flags[] = { "--node", "alpha", "--config", file, "--log-level", "debug", NULL };

static void configure(const char *path, const char *text)
{
	FILE *to = fopen(path, "w");

	assert_non_null(to);
	assert_true(fputs(text, to) >= 0);
	assert_int_equal(fclose(to), 0);
	assert_int_equal(chmod(path, 0600), 0);
}

static int begin(void **state)
{
	(void)state;
	wire_broker_init(&broker);
	snprintf(file, sizeof(file), "%s/conf", broker.dir);
	configure(file, "[links]\nbeat = 100ms\n[peer \"beta\"]\n[peer \"gamma\"]\n");
	wire_broker_start(&broker, flags);
	return 0;
}

static int end(void **state)
{
	(void)state;
	wire_broker_deinit(&broker);
	return 0;
}

/*
 * Being beta.
 */

/* The next frame that is no BEAT, and no ASK unless that is meant, is of this kind. */
static struct frame expect(struct wire *w, enum frame_kind kind)
{
	struct frame f;
	int r, beats = 0;

	while ((r = wire_next(w, &f, PATIENCE_MS)) == 1 && beats++ < BEATS_MOST &&
	       (f.kind == FRAME_BEAT || (f.kind == FRAME_ASK && kind != FRAME_ASK)))
		;
	if (r != 1)
		fail_msg("%s expected, but %s", frame_kind_name(kind), r == 0 ? "the end came" : "nothing came");
	if (f.kind != kind)
		fail_msg("%s expected, but %s came", frame_kind_name(kind), frame_kind_name(f.kind));
	return f;
}

static void *expect_body(struct wire *w, enum frame_kind kind, const ProtobufCMessageDescriptor *type,
			 struct frame *head)
{
	struct frame f = expect(w, kind);
	ProtobufCMessage *body;

	assert_int_equal(guard_unpack(type, f.body, f.length, 1, &body), 0);
	if (head)
		*head = f;
	return body;
}

static void expect_gone(struct wire *w, uint64_t id, uint64_t to, Brood__Why why)
{
	struct frame head;
	Brood__Gone *gone = expect_body(w, FRAME_GONE, &brood__gone__descriptor, &head);

	assert_true(gone->id == id);
	assert_true(head.destination == to);
	assert_int_equal(gone->why, why);
	guard_free(&gone->base);
}

/* GOODBYE for this reason, and the end. */
static void expect_refused(struct wire *w, const char *error)
{
	Brood__Goodbye *goodbye = expect_body(w, FRAME_GOODBYE, &brood__goodbye__descriptor, NULL);
	struct frame f;

	assert_string_equal(goodbye->error, error);
	guard_free(&goodbye->base);
	assert_int_equal(wire_next(w, &f, PATIENCE_MS), 0);
	wire_close(w);
}

static void expect_nothing_but_beats(struct wire *w)
{
	struct frame f;

	for (int beats = 0; beats < 3; beats++) {
		assert_int_equal(wire_next(w, &f, PATIENCE_MS), 1);
		assert_int_equal(f.kind, FRAME_BEAT);
	}
}

static Brood__Link link_of(char *node)
{
	Brood__Link link = BROOD__LINK__INIT;

	link.node = node;
	link.first_version = link.last_version = 1;
	link.boot = (ProtobufCBinaryData){ 16, (uint8_t *)(uintptr_t)BOOT };
	link.beat_ms = 60000;
	link.epoch = EPOCH;
	link.pid = 7;
	return link;
}

static void dial_as(struct wire *w, const struct wire_broker *to, const Brood__Link *link)
{
	wire_connect(w, to->socket);
	wire_say(w, FRAME_LINK, &link->base, -1);
}

static void say_link(struct wire *w, const Brood__Link *link)
{
	dial_as(w, &broker, link);
}

/* A link that is up. */
static void be(struct wire *w, char *node)
{
	Brood__Link link = link_of(node), *answer;

	say_link(w, &link);
	answer = wire_expect_body(w, FRAME_LINK, &brood__link__descriptor);
	assert_string_equal(answer->node, "alpha");
	assert_int_equal(answer->beat_ms, 100);
	assert_int_equal(answer->boot.len, 16);
	guard_free(&answer->base);
}

static void say_about(struct wire *w, uint64_t id, char *user, uint64_t parent)
{
	Brood__About about = BROOD__ABOUT__INIT;
	char title[] = "program";

	about.id = id;
	about.user = user;
	about.pid = 99;
	about.title = title;
	about.parent = parent;
	wire_say(w, FRAME_ABOUT, &about.base, -1);
}

/* A frame of a process there. */
static void send_from(struct wire *w, uint64_t from, uint64_t to, const char *text)
{
	struct item it = { .kind = ITEM_MESSAGE, .length = (uint32_t)strlen(text) };
	_Alignas(8) uint8_t body[256];
	struct frame head = { .kind = FRAME_DATA, .source = from, .destination = to, .sequence = 1 };

	head.length = (uint32_t)item_size(it.kind, 0, it.length);
	memcpy(item_write(body, &it), text, it.length);
	wire_send(w, &head, body, -1);
}

static void say(struct wire *w, enum frame_kind kind, unsigned kind_flags, uint64_t source, uint64_t destination)
{
	struct frame head = {
		.kind = (uint8_t)kind, .flags = (uint8_t)kind_flags, .source = source, .destination = destination
	};

	wire_send(w, &head, NULL, -1);
}

static void say_body(struct wire *w, enum frame_kind kind, uint64_t source, uint64_t destination,
		     const ProtobufCMessage *body)
{
	struct frame head = { .kind = (uint8_t)kind,
			      .length = (uint32_t)protobuf_c_message_get_packed_size(body),
			      .source = source,
			      .destination = destination };
	uint8_t bytes[512];

	protobuf_c_message_pack(body, bytes);
	wire_send(w, &head, bytes, -1);
}

static void say_gone(struct wire *w, uint64_t id, uint64_t to, Brood__Why why)
{
	Brood__Gone gone = BROOD__GONE__INIT;

	gone.id = id;
	gone.why = why;
	say_body(w, FRAME_GONE, 0, to, &gone.base);
}

/* A client of alpha's. */
static void open_client(struct wire *w, int open, char *abroad)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	char title[] = "client";

	wire_connect(w, broker.socket);
	hello.level = 1;
	hello.title = title;
	hello.open = open;
	hello.abroad = abroad;
	wire_hello(w, &hello);
}

/* What a process there is called here: as it came in a first message. */
static uint64_t alias_in(struct wire *client, const char *text)
{
	struct frame f = wire_expect(client, FRAME_DATA);
	const uint8_t *at = f.body;
	struct item it;

	assert_int_equal(item_next(&at, f.body + f.length, &it), 1);
	assert_string_equal((const char *)it.body, text);
	assert_true(f.source >> 32 > 0 && f.source >> 32 < EPOCH_LEAST);
	return f.source;
}

/* The broker has taken all that this client said. */
static void was_heard(struct wire *client)
{
	Brood__Watch watch = BROOD__WATCH__INIT;

	watch.name = "nobody";
	wire_say(client, FRAME_WATCH, &watch.base, -1);
	wire_expect(client, FRAME_NAME);
}

static void expect_about(struct wire *w, uint64_t id)
{
	Brood__About *about = expect_body(w, FRAME_ABOUT, &brood__about__descriptor, NULL);

	assert_true(about->id == id);
	assert_true(strlen(about->user) > 0);
	guard_free(&about->base);
}

/*
 * Greeting.
 */

static void refused(Brood__Link *link, const char *error)
{
	struct wire w;

	say_link(&w, link);
	expect_refused(&w, error);
}

static void test_greetings(void **state)
{
	Brood__Link link = link_of("beta");
	Brood__About about = BROOD__ABOUT__INIT;
	struct wire w;

	(void)state;
	link.node = "delta";
	refused(&link, "link.unknown");
	link.node = "";
	refused(&link, "link.unknown");
	link.node = "alpha";
	refused(&link, "link.name");
	link = link_of("beta");
	link.first_version = link.last_version = 2;
	refused(&link, "link.version");
	link.first_version = link.last_version = 0;
	refused(&link, "link.version");
	link = link_of("beta");
	link.boot.len = 15;
	refused(&link, "control.malformed");
	link = link_of("beta");
	link.epoch = EPOCH_LEAST - 1;
	refused(&link, "control.malformed");
	link.epoch = (uint64_t)1 << 32;
	refused(&link, "control.malformed");
	link = link_of("beta");
	link.beat_ms = 0;
	refused(&link, "control.malformed");
	wire_connect(&w, broker.socket);
	wire_say(&w, FRAME_ABOUT, &about.base, -1);
	expect_refused(&w, "hello.expected");
	link = link_of("beta");
	link.last_version = 9; /* it speaks more than we */
	say_link(&w, &link);
	expect(&w, FRAME_LINK);
	expect_nothing_but_beats(&w);
	wire_close(&w);
}

/* Clients are no brokers, and a broker is no client. */
static void test_kinds(void **state)
{
	static const uint8_t kinds[] = { FRAME_LINK, FRAME_ABOUT, FRAME_ASK, FRAME_BEAT };
	static const uint8_t others[] = { FRAME_HELLO,    FRAME_ADOPT, FRAME_REGISTER,   FRAME_DIED, FRAME_END,
					  FRAME_HELLO_OK, FRAME_BIRTH, FRAME_REGISTERED, FRAME_LINK };
	struct wire w;

	(void)state;
	for (size_t i = 0; i < sizeof(kinds); i++) {
		open_client(&w, 0, "");
		say(&w, kinds[i], 0, 0, 0);
		expect_refused(&w, "frame.kind");
	}
	for (size_t i = 0; i < sizeof(others); i++) {
		be(&w, "beta");
		say(&w, others[i], 0, 0, 0);
		expect_refused(&w, "frame.kind");
	}
}

/* Of two the newer one stays; the older one hears why. */
static void test_two_connections(void **state)
{
	struct wire first, second;

	(void)state;
	be(&first, "beta");
	be(&second, "beta");
	expect_refused(&first, "link.double");
	expect_nothing_but_beats(&second);
	wire_close(&second);
}

/* Where alpha finds the other one, which is us. */
static int listen_as(const struct wire_broker *alpha, const char *name)
{
	char path[112];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", alpha->dir, name);
	fd = raw_listen(path);
	assert_true(fd >= 0);
	return fd;
}

/* It has dialed us, and waits for our answer. */
static void accept_from(struct wire *w, int fd)
{
	wire_take(w, accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
	expect(w, FRAME_LINK);
}

/* Both dial at once: the one that stays is the only one that ever is, so nobody is there, gone and back. */
static void test_both_dial(void **state)
{
	Brood__Link greater = link_of("beta"), lesser = link_of("aaron");
	struct wire_broker alpha;
	struct wire its, ours;
	char conf[112], text[512];
	const char *its_flags[] = { "--node", "alpha", "--config", conf, NULL };
	int beta, aaron;

	(void)state;
	wire_broker_init(&alpha);
	beta = listen_as(&alpha, "beta");
	aaron = listen_as(&alpha, "aaron");
	snprintf(conf, sizeof(conf), "%s/conf", alpha.dir);
	snprintf(text, sizeof(text), "[peer \"beta\"]\nurl = unix:%s/beta\n[peer \"aaron\"]\nurl = unix:%s/aaron\n",
		 alpha.dir, alpha.dir);
	configure(conf, text);
	wire_broker_start(&alpha, its_flags);
	accept_from(&its, beta);
	dial_as(&ours, &alpha, &greater);
	expect_refused(&ours, "link.double");
	wire_say(&its, FRAME_LINK, &greater.base, -1);
	expect_nothing_but_beats(&its);
	wire_close(&its);
	accept_from(&its, aaron);
	dial_as(&ours, &alpha, &lesser);
	expect(&ours, FRAME_LINK);
	expect_nothing_but_beats(&ours);
	wire_say(&its, FRAME_LINK, &lesser.base, -1);
	expect_refused(&its, "link.double");
	wire_close(&ours);
	close(beta);
	close(aaron);
	wire_broker_deinit(&alpha);
}

static void test_silence(void **state)
{
	Brood__Link link = link_of("beta");
	struct wire w;

	(void)state;
	link.beat_ms = 50;
	say_link(&w, &link);
	expect(&w, FRAME_LINK);
	expect_refused(&w, "link.silent");
}

/*
 * Frames.
 */

static void test_translation(void **state)
{
	struct wire beta, r;
	uint64_t s;

	(void)state;
	open_client(&r, 1, "");
	be(&beta, "beta");
	say_about(&beta, THERE(5), "bob", 0);
	send_from(&beta, THERE(5), r.id, "hello");
	s = alias_in(&r, "hello");
	assert_int_equal((uint32_t)s, 5);
	wire_data(&r, s, 1, "answer");
	expect_about(&beta, r.id); /* before the first frame of a process */
	{
		struct frame f = expect(&beta, FRAME_DATA);

		assert_true(f.source == r.id);
		assert_true(f.destination == THERE(5));
	}
	wire_data(&r, s, 2, "more"); /* and only then */
	expect(&beta, FRAME_DATA);
	wire_leave(&r);
	expect_gone(&beta, r.id, THERE(5), BROOD__WHY__WHY_LEFT);
	expect_gone(&beta, r.id, 0, BROOD__WHY__WHY_LEFT);
	wire_close(&beta);
}

static void test_who_may(void **state)
{
	struct wire beta, shut, guarded;

	(void)state;
	open_client(&shut, 0, "");
	open_client(&guarded, 0, "eve@beta bob@beta bob@gamma");
	be(&beta, "beta");
	say_about(&beta, THERE(5), "bob", 0);
	say_about(&beta, THERE(6), "carl", 0);
	send_from(&beta, THERE(5), shut.id, "may I?");
	expect_gone(&beta, shut.id, THERE(5), BROOD__WHY__WHY_NOBODY);
	send_from(&beta, THERE(6), guarded.id, "may I?");
	expect_gone(&beta, guarded.id, THERE(6), BROOD__WHY__WHY_NOBODY);
	send_from(&beta, THERE(5), guarded.id, "I may");
	(void)alias_in(&guarded, "I may");
	wire_expect_silence(&shut);
	send_from(&beta, THERE(5), ((uint64_t)EPOCH + 9) << 32 | 1, "anybody?"); /* an id that never was */
	expect_gone(&beta, ((uint64_t)EPOCH + 9) << 32 | 1, THERE(5), BROOD__WHY__WHY_NOBODY);
	wire_leave(&shut);
	wire_leave(&guarded);
	wire_close(&beta);
}

static void test_sources(void **state)
{
	struct wire beta, gamma, r;
	uint64_t s;

	(void)state;
	open_client(&r, 1, "");
	be(&gamma, "gamma");
	say_about(&gamma, THERE(7), "greg", 0);
	send_from(&gamma, THERE(7), r.id, "gamma's");
	s = alias_in(&r, "gamma's");
	be(&beta, "beta");
	send_from(&beta, THERE(5), r.id, "who?");
	expect_refused(&beta, "link.source");
	be(&beta, "beta");
	say_about(&beta, 3, "bob", 0); /* no id of a process */
	expect_refused(&beta, "link.source");
	be(&beta, "beta");
	say_about(&beta, THERE(0), "bob", 0); /* the broker itself */
	expect_refused(&beta, "link.source");
	be(&beta, "beta");
	say_about(&beta, THERE(5), "bob smith", 0);
	expect_refused(&beta, "link.user");
	be(&beta, "beta");
	say_about(&beta, THERE(7), "bob", 0); /* the same number on another node is somebody else */
	send_from(&beta, THERE(7), r.id, "beta's");
	assert_true(alias_in(&r, "beta's") != s);
	send_from(&beta, THERE(7), s, "through you");
	expect_refused(&beta, "link.transit");
	wire_data(&r, s, 1, "still there?");
	expect_about(&gamma, r.id);
	expect(&gamma, FRAME_DATA);
	wire_close(&gamma);
	wire_leave(&r);
}

/* It may make up epochs, but not as many as it likes. */
static void test_made_up_epochs(void **state)
{
	struct wire beta;

	(void)state;
	be(&beta, "beta");
	for (uint32_t i = 0; i < 70; i++)
		say_about(&beta, (uint64_t)(EPOCH + i) << 32 | 1, "bob", 0);
	expect_refused(&beta, "link.source");
}

static void test_hold_go_gone(void **state)
{
	struct wire beta, r;
	struct frame f;
	uint64_t s;

	(void)state;
	open_client(&r, 1, "");
	be(&beta, "beta");
	say_about(&beta, THERE(5), "bob", 0);
	send_from(&beta, THERE(5), r.id, "hello");
	s = alias_in(&r, "hello");
	wire_data(&r, s, 1, "one");
	expect_about(&beta, r.id);
	expect(&beta, FRAME_DATA);
	say(&beta, FRAME_HOLD, FRAME_AWAY, THERE(5), r.id);
	f = wire_expect(&r, FRAME_HOLD);
	assert_true(f.source == s);
	assert_int_equal(f.flags, FRAME_AWAY);
	wire_data(&r, s, 2, "into the void"); /* dropped here already */
	was_heard(&r);
	say(&beta, FRAME_GO, 0, THERE(5), r.id);
	f = wire_expect(&r, FRAME_GO);
	assert_true(f.source == s);
	wire_data(&r, s, 2, "two");
	f = expect(&beta, FRAME_DATA);
	assert_int_equal(f.sequence, 2);
	say_gone(&beta, THERE(5), r.id, BROOD__WHY__WHY_NOBODY); /* for this one only */
	wire_expect_gone(&r, s, BROOD__WHY__WHY_NOBODY);
	send_from(&beta, THERE(5), r.id, "and yet");
	(void)alias_in(&r, "and yet");
	wire_data(&r, s, 3, "three");
	expect(&beta, FRAME_DATA);
	say_gone(&beta, THERE(5), 0, BROOD__WHY__WHY_LOST); /* for everybody */
	wire_expect_gone(&r, s, BROOD__WHY__WHY_LOST);
	send_from(&beta, THERE(5), r.id, "I am dead");
	expect_refused(&beta, "link.source");
	wire_leave(&r);
}

static void test_ask(void **state)
{
	struct wire beta, r;

	(void)state;
	open_client(&r, 0, "");
	be(&beta, "beta");
	say(&beta, FRAME_ASK, 0, 0, r.id);
	expect_about(&beta, r.id);
	say(&beta, FRAME_ASK, 0, 0, r.id + 1000);
	expect_gone(&beta, r.id + 1000, 0, BROOD__WHY__WHY_NOBODY);
	say(&beta, FRAME_ASK, 0, 0, 17);
	expect_gone(&beta, 17, 0, BROOD__WHY__WHY_NOBODY);
	wire_close(&beta);
	wire_leave(&r);
}

/* A link that comes back asks for everybody, and those who were written to go on. */
static void test_cut_and_back(void **state)
{
	struct wire beta, r;
	struct frame f;
	uint64_t s;

	(void)state;
	open_client(&r, 1, "");
	be(&beta, "beta");
	say_about(&beta, THERE(5), "bob", 0);
	send_from(&beta, THERE(5), r.id, "hello");
	s = alias_in(&r, "hello");
	wire_data(&r, s, 1, "one");
	expect_about(&beta, r.id);
	expect(&beta, FRAME_DATA);
	wire_close(&beta);
	f = wire_expect(&r, FRAME_HOLD);
	assert_true(f.source == s);
	assert_int_equal(f.flags, FRAME_AWAY);
	be(&beta, "beta");
	f = wire_expect(&r, FRAME_GO);
	assert_true(f.source == s);
	f = expect(&beta, FRAME_ASK);
	assert_true(f.destination == THERE(5));
	say_gone(&beta, THERE(5), 0, BROOD__WHY__WHY_NOBODY);
	wire_expect_gone(&r, s, BROOD__WHY__WHY_NOBODY);
	wire_close(&beta);
	wire_leave(&r);
}

/* Then nobody of there is left, and nobody needs to be asked. */
static void test_host_was_restarted(void **state)
{
	Brood__Link link = link_of("beta");
	struct wire beta, r;
	uint64_t s;

	(void)state;
	open_client(&r, 1, "");
	be(&beta, "beta");
	say_about(&beta, THERE(5), "bob", 0);
	send_from(&beta, THERE(5), r.id, "hello");
	s = alias_in(&r, "hello");
	wire_data(&r, s, 1, "one");
	expect_about(&beta, r.id);
	expect(&beta, FRAME_DATA);
	wire_close(&beta);
	wire_expect(&r, FRAME_HOLD);
	link.boot.data = (uint8_t *)(uintptr_t) "another boot, so";
	link.epoch++;
	say_link(&beta, &link);
	wire_expect_gone(&r, s, BROOD__WHY__WHY_RESTARTED);
	expect(&beta, FRAME_LINK);
	expect_nothing_but_beats(&beta);
	wire_close(&beta);
	wire_leave(&r);
}

/* What a node's processes are called here outlives the broker. */
static void test_aliases_stay(void **state)
{
	struct wire beta, r;
	uint64_t s, again;

	(void)state;
	open_client(&r, 1, "");
	be(&beta, "beta");
	say_about(&beta, THERE(5), "bob", 0);
	send_from(&beta, THERE(5), r.id, "hello");
	s = alias_in(&r, "hello");
	assert_int_equal(wire_broker_stop(&broker, SIGKILL), -SIGKILL);
	wire_close(&beta);
	wire_close(&r);
	wire_broker_start(&broker, flags);
	open_client(&r, 1, "");
	be(&beta, "beta");
	wire_data(&r, s, 1, "by its old id");
	expect_about(&beta, r.id);
	assert_true(expect(&beta, FRAME_DATA).destination == THERE(5));
	say_about(&beta, THERE(5), "bob", 0);
	send_from(&beta, THERE(5), r.id, "hello");
	again = alias_in(&r, "hello");
	assert_true(again == s);
	wire_close(&beta);
	wire_leave(&r);
}

/*
 * Names and families.
 */

static void test_watching_here(void **state)
{
	Brood__Register reg = BROOD__REGISTER__INIT;
	Brood__Watch watch = BROOD__WATCH__INIT;
	struct wire beta, r;
	struct frame head;
	Brood__Name *name;

	(void)state;
	be(&beta, "beta");
	say_about(&beta, THERE(5), "bob", 0);
	watch.name = "resize";
	say_body(&beta, FRAME_WATCH, THERE(5), 0, &watch.base);
	name = expect_body(&beta, FRAME_NAME, &brood__name__descriptor, &head);
	assert_true(name->id == 0);
	assert_true(head.destination == THERE(5));
	guard_free(&name->base);
	open_client(&r, 0, "");
	reg.name = "resize";
	wire_say(&r, FRAME_REGISTER, &reg.base, -1); /* it is not for other nodes */
	wire_expect(&r, FRAME_REGISTERED);
	expect_nothing_but_beats(&beta);
	reg.open = 1;
	wire_say(&r, FRAME_REGISTER, &reg.base, -1);
	wire_expect(&r, FRAME_REGISTERED);
	name = expect_body(&beta, FRAME_NAME, &brood__name__descriptor, NULL);
	assert_string_equal(name->name, "resize");
	assert_true(name->id == r.id);
	assert_true(strlen(name->user) > 0);
	guard_free(&name->base);
	send_from(&beta, THERE(5), r.id, "hello");
	(void)alias_in(&r, "hello");
	wire_say(&r, FRAME_UNREGISTER, &reg.base, -1);
	name = expect_body(&beta, FRAME_NAME, &brood__name__descriptor, NULL);
	assert_true(name->id == 0);
	guard_free(&name->base);
	wire_leave(&r);
	wire_close(&beta);
}

static void test_watching_there(void **state)
{
	Brood__Name answer = BROOD__NAME__INIT, *name;
	Brood__Watch watch = BROOD__WATCH__INIT, *asked;
	struct wire beta, r, other;
	struct frame head;
	uint64_t s;

	(void)state;
	open_client(&r, 0, "");
	watch.name = "beta/resize";
	wire_say(&r, FRAME_WATCH, &watch.base, -1); /* there is no link yet: that is told, and no answer */
	name = wire_expect_body(&r, FRAME_NAME, &brood__name__descriptor);
	assert_true(name->id == 0);
	assert_string_equal(name->name, "beta/resize");
	assert_string_equal(name->error, "host.unreachable");
	assert_string_equal(name->text, "it has not connected, and no url is set for it here");
	guard_free(&name->base);
	wire_expect_silence(&r);
	be(&beta, "beta");
	expect_about(&beta, r.id);
	asked = expect_body(&beta, FRAME_WATCH, &brood__watch__descriptor, &head);
	assert_string_equal(asked->name, "resize");
	assert_true(head.source == r.id);
	guard_free(&asked->base);
	answer.name = "resize";
	answer.id = THERE(5);
	answer.user = "bob";
	say_body(&beta, FRAME_NAME, 0, r.id, &answer.base);
	name = wire_expect_body(&r, FRAME_NAME, &brood__name__descriptor);
	assert_string_equal(name->name, "beta/resize");
	assert_string_equal(name->user, "bob@beta");
	s = name->id;
	guard_free(&name->base);
	wire_data(&r, s, 1, "hello");
	assert_true(expect(&beta, FRAME_DATA).destination == THERE(5));
	say_about(&beta, THERE(6), "bob", 0); /* whose user was found may write */
	send_from(&beta, THERE(6), r.id, "a colleague");
	(void)alias_in(&r, "a colleague");
	open_client(&other, 0, "");
	answer.name = "resize";
	say_body(&beta, FRAME_NAME, 0, other.id, &answer.base); /* it did not ask */
	wire_expect_silence(&other);
	watch.name = "delta/resize";
	wire_say(&r, FRAME_WATCH, &watch.base, -1);
	name = wire_expect_body(&r, FRAME_NAME, &brood__name__descriptor);
	assert_true(name->id == 0);
	assert_string_equal(name->error, "host.unknown");
	guard_free(&name->base);
	wire_close(
		&beta); /* who knows a holder hears that it is away, and only of names that nobody holds that it is open who does */
	wire_expect(&r, FRAME_HOLD);
	watch.name = "beta/other";
	wire_say(&r, FRAME_WATCH, &watch.base, -1);
	name = wire_expect_body(&r, FRAME_NAME, &brood__name__descriptor);
	assert_string_equal(name->name, "beta/other");
	assert_string_equal(name->error, "host.unreachable");
	guard_free(&name->base);
	wire_leave(&other);
	wire_leave(&r);
}

/* Somebody's child only if that one has to do with its node. */
static void test_children(void **state)
{
	struct wire beta, parent, stranger;
	Brood__Joined *joined;

	(void)state;
	open_client(&parent, 0, "bob@beta");
	open_client(&stranger, 0, "bob@gamma");
	be(&beta, "beta");
	say_about(&beta, THERE(5), "carl", parent.id);
	joined = wire_expect_body(&parent, FRAME_JOINED, &brood__joined__descriptor);
	assert_string_equal(joined->address, "beta/65000000.5");
	assert_int_equal(joined->pid, 99);
	assert_true(joined->id >> 32 < EPOCH_LEAST);
	send_from(&beta, THERE(5), parent.id, "mother");
	assert_true(alias_in(&parent, "mother") == joined->id);
	{
		Brood__Hello hello = BROOD__HELLO__INIT; /* what it was told may have been lost with its connection */
		uint8_t ticket[TICKET_SIZE];
		Brood__Joined *again;

		memcpy(ticket, parent.ticket, TICKET_SIZE);
		hello.level = 1;
		hello.abroad = "bob@beta";
		hello.ticket = (ProtobufCBinaryData){ TICKET_SIZE, ticket };
		wire_close(&parent);
		wire_connect(&parent, broker.socket);
		wire_hello(&parent, &hello);
		again = wire_expect_body(&parent, FRAME_JOINED, &brood__joined__descriptor);
		assert_true(again->id == joined->id);
		assert_string_equal(again->address, "beta/65000000.5");
		guard_free(&again->base);
		expect(&beta, FRAME_HOLD);
		expect(&beta, FRAME_GO);
	}
	say_gone(&beta, THERE(5), 0, BROOD__WHY__WHY_EXITED);
	wire_expect_gone(&parent, joined->id, BROOD__WHY__WHY_EXITED);
	guard_free(&joined->base);
	say_about(&beta, THERE(6), "carl", stranger.id);
	send_from(&beta, THERE(6), stranger.id, "mother");
	expect_gone(&beta, stranger.id, THERE(6), BROOD__WHY__WHY_NOBODY);
	wire_expect_silence(&stranger);
	wire_close(&beta);
	wire_leave(&parent);
	wire_leave(&stranger);
}

/*
 * Harm.
 */

/* Whatever comes over a link ends that link, if anything; alpha's clients do not notice. */
static void test_noise(void **state)
{
	struct wire beta, a, b;
	uint8_t bytes[600];
	unsigned dice = 4711;

	(void)state;
	open_client(&a, 1, "");
	open_client(&b, 1, "");
	for (int round = 0; round < 300; round++) {
		static const uint8_t kinds[] = { FRAME_DATA,  FRAME_ACK,   FRAME_RESET, FRAME_PROBE,
						 FRAME_WATCH, FRAME_HOLD,  FRAME_GO,    FRAME_GONE,
						 FRAME_NAME,  FRAME_ABOUT, FRAME_ASK,   FRAME_BEAT };
		const uint64_t ids[] = { 0, 3, THERE(5), THERE(0), a.id, a.id + 77, UINT64_MAX, (uint64_t)1 << 32 | 5 };

		be(&beta, "beta");
		say_about(&beta, THERE(5), "bob", 0);
		for (int i = 0; i < 5; i++) {
			struct frame head = { 0 };

			dice = dice * 1103515245u + 12345u;
			head.kind = kinds[(dice >> 16) % sizeof(kinds)];
			head.flags = (uint8_t)(dice >> 8);
			head.source = ids[(dice >> 20) % 8];
			head.destination = ids[(dice >> 24) % 8];
			head.sequence = dice >> 4;
			head.acknowledge = dice;
			head.length = head.kind == FRAME_ACK || head.kind == FRAME_RESET || head.kind == FRAME_PROBE ||
						      head.kind == FRAME_HOLD || head.kind == FRAME_GO ||
						      head.kind == FRAME_ASK || head.kind == FRAME_BEAT
					      ? 0
					      : (dice >> 12) % 300;
			memset(bytes, 0, sizeof(bytes));
			frame_write_head(bytes, &head);
			for (unsigned k = 0; k < head.length; k++)
				bytes[FRAME_HEAD + k] = (uint8_t)((dice = dice * 1103515245u + 12345u) >> 16);
			wire_raw(&beta, bytes, frame_size(head.length));
		}
		wire_close(&beta);
	}
	wire_data(&b, a.id, 1, "all is well");
	for (;;) {
		struct frame f;

		assert_int_equal(wire_next(&a, &f, PATIENCE_MS), 1);
		if (f.kind == FRAME_DATA && f.source == b.id)
			break;
	}
	wire_leave(&a);
	wire_leave(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_greetings),
		TEST(test_kinds),
		TEST(test_two_connections),
		TEST(test_both_dial),
		TEST(test_silence),
		TEST(test_translation),
		TEST(test_who_may),
		TEST(test_sources),
		TEST(test_made_up_epochs),
		TEST(test_hold_go_gone),
		TEST(test_ask),
		TEST(test_cut_and_back),
		TEST(test_host_was_restarted),
		TEST(test_aliases_stay),
		TEST(test_watching_here),
		TEST(test_watching_there),
		TEST(test_children),
		TEST(test_noise),
	};

	cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
	return cmocka_run_group_tests_name("broker_links", tests, NULL, NULL);
}
