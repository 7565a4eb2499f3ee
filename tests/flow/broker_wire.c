/*
 * broker_wire: what well-behaved clients and the broker say to each other.
 *
 * One broker serves all tests of this program, one behind the other, so each also shows that the one before left
 * nothing behind that matters. Clients of these tests run as one user.
 */
#include "control.pb-c.h"
#include "guard.h"
#include "message.h"
#include "wire.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct wire_broker broker;

/*
 * HELLO.
 */

static void test_hello_gives_id_ticket_and_block(void **state)
{
	const uint8_t none[TICKET_SIZE] = { 0 };
	struct wire a, b;

	(void)state;
	wire_open(&a, &broker, 10);
	wire_open(&b, &broker, 0);
	assert_true(a.id >> 32 > 0 && (uint32_t)a.id > 0);
	assert_true(a.parent == 0);
	assert_int_equal(a.ids, 10);
	assert_true(a.first_id > a.id);
	assert_memory_not_equal(a.ticket, none, TICKET_SIZE);
	assert_true(b.id >= a.first_id + 10);
	assert_int_equal(b.ids, 0);
	wire_leave(&a);
	wire_leave(&b);
}

static void test_hello_again_gives_more_ids(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	struct wire a;
	uint64_t id, first;

	(void)state;
	wire_open(&a, &broker, 3);
	id = a.id;
	first = a.first_id;
	hello.ids = 1000000;
	wire_hello(&a, &hello);
	assert_true(a.id == id);
	assert_true(a.first_id >= first + 3);
	assert_int_equal(a.ids, 4096);
	wire_leave(&a);
}

static void test_level_0_gets_no_ticket(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	const uint8_t none[TICKET_SIZE] = { 0 };
	struct wire a;

	(void)state;
	wire_connect(&a, broker.socket);
	wire_hello(&a, &hello);
	assert_memory_equal(a.ticket, none, TICKET_SIZE);
	wire_leave(&a);
}

/*
 * Data.
 */

static void test_data_travels_both_ways_in_order(void **state)
{
	char text[24];
	struct wire a, b;

	(void)state;
	wire_open(&a, &broker, 0);
	wire_open(&b, &broker, 0);
	for (uint64_t i = 1; i <= 100; i++) {
		snprintf(text, sizeof(text), "there %d", (int)i);
		wire_data(&a, b.id, i, text);
	}
	for (int i = 1; i <= 100; i++) {
		snprintf(text, sizeof(text), "there %d", i);
		wire_expect_data(&b, a.id, text);
	}
	wire_data(&b, a.id, 1, "back");
	wire_expect_data(&a, b.id, "back");
	wire_leave(&a);
	wire_expect_gone(&b, a.id, BROOD__WHY__WHY_LEFT);
	wire_leave(&b);
}

/* What the broker must not touch arrives as it was sent; the source is the broker's, whatever was written there. */
static void test_heads_are_forwarded_as_they_are(void **state)
{
	struct frame head = { .kind = FRAME_DATA,
			      .flags = FRAME_ACK_NOW,
			      .source = 0xdead,
			      .source_node = 7,
			      .stream = 9,
			      .sequence = 77,
			      .acknowledge = 5,
			      .length = 13 };
	struct wire a, b;
	struct frame f;

	(void)state;
	wire_open(&a, &broker, 0);
	wire_open(&b, &broker, 0);
	head.destination = b.id;
	wire_send(&a, &head, "no item at all", -1);
	f = wire_expect(&b, FRAME_DATA);
	assert_true(f.source == a.id);
	assert_int_equal(f.source_node, 0);
	assert_true(f.destination == b.id);
	assert_int_equal(f.flags, FRAME_ACK_NOW);
	assert_int_equal(f.stream, 9);
	assert_true(f.sequence == 77 && f.acknowledge == 5);
	assert_memory_equal(f.body, "no item at al", 13);
	for (unsigned kind = FRAME_ACK; kind <= FRAME_PROBE; kind++) {
		struct frame bare = { .kind = (uint8_t)kind, .destination = b.id, .acknowledge = kind };

		wire_send(&a, &bare, NULL, -1);
		f = wire_expect(&b, kind);
		assert_true(f.acknowledge == kind && f.source == a.id);
	}
	wire_leave(&a);
	wire_leave(&b);
}

static void test_nobody(void **state)
{
	struct frame far = { .kind = FRAME_ACK, .destination_node = 3 };
	struct wire a, b;

	(void)state;
	wire_open(&a, &broker, 5);
	wire_open(&b, &broker, 0);
	wire_data(&a, a.first_id, 1, "not born");
	wire_expect_gone(&a, a.first_id, BROOD__WHY__WHY_NOBODY);
	wire_data(&a, 17, 1, "not an id");
	wire_expect_gone(&a, 17, BROOD__WHY__WHY_NOBODY);
	wire_data(&a, b.id, 1, "here");
	far.destination = b.id;
	wire_send(&a, &far, NULL, -1);
	wire_expect_gone(&a, b.id, BROOD__WHY__WHY_NOBODY);
	wire_expect_data(&b, a.id, "here");
	wire_expect_silence(&b);
	/* It can be asked again. */
	wire_data(&a, a.first_id, 1, "still not born");
	wire_expect_gone(&a, a.first_id, BROOD__WHY__WHY_NOBODY);
	wire_leave(&a);
	wire_leave(&b);
}

static void test_large_frames(void **state)
{
	static uint8_t body[FRAME_BODY_MAX];
	struct frame head = { .kind = FRAME_DATA, .length = FRAME_BODY_MAX };
	struct wire a, b;
	struct frame f;

	(void)state;
	wire_open(&a, &broker, 0);
	wire_open(&b, &broker, 0);
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (uint8_t)(i * 7 + i / 251);
	head.destination = b.id;
	for (uint64_t i = 1; i <= 4; i++) {
		head.sequence = i;
		wire_send(&a, &head, body, -1);
		f = wire_expect(&b, FRAME_DATA);
		assert_true(f.sequence == i);
		assert_memory_equal(f.body, body, sizeof(body));
	}
	wire_leave(&a);
	wire_leave(&b);
}

/*
 * HOLD and GO.
 */

#define CHUNK (128u * 1024u)

static void send_chunk(struct wire *from, uint64_t to, uint64_t sequence)
{
	static const uint8_t body[CHUNK];
	struct frame head = { .kind = FRAME_DATA, .length = CHUNK, .destination = to, .sequence = sequence };

	wire_send(from, &head, body, -1);
}

/* Send until the broker says HOLD. The last sequence sent. */
static uint64_t send_until_held(struct wire *from, uint64_t to)
{
	uint64_t sequence = 0;
	struct frame f;

	while (wire_next(from, &f, 0) == -ETIMEDOUT && sequence < 1000)
		send_chunk(from, to, ++sequence);
	assert_int_equal(f.kind, FRAME_HOLD);
	assert_true(f.source == to);
	assert_int_equal(f.flags, 0);
	return sequence;
}

/* Take chunks until nothing more comes: how many came, without a gap. */
static uint64_t take_chunks(struct wire *to, uint64_t next)
{
	struct frame f;

	while (wire_next(to, &f, 300) == 1) {
		assert_int_equal(f.kind, FRAME_DATA);
		assert_true(f.sequence == next);
		next++;
	}
	return next - 1;
}

static void test_hold_and_go(void **state)
{
	struct wire sender, stopped, other;
	uint64_t sent, taken;
	struct frame f;

	(void)state;
	wire_open(&sender, &broker, 0);
	wire_open(&stopped, &broker, 0);
	wire_open(&other, &broker, 0);
	sent = send_until_held(&sender, stopped.id);
	/* 8 MiB wait in the broker; the rest is in sockets, and at most a turn's worth above. */
	assert_in_range(sent * CHUNK, 8u << 20, 16u << 20);
	/* Held, frames are dropped silently; others are not concerned. */
	send_chunk(&sender, stopped.id, sent + 1);
	wire_data(&sender, other.id, 1, "third party");
	wire_expect_data(&other, sender.id, "third party");
	wire_expect_silence(&sender);
	taken = take_chunks(&stopped, 1);
	assert_in_range(taken, 1, sent);
	f = wire_expect(&sender, FRAME_GO);
	assert_true(f.source == stopped.id);
	/* It goes back to the first that was not taken. */
	for (uint64_t i = taken + 1; i <= sent + 1; i++)
		send_chunk(&sender, stopped.id, i);
	assert_true(take_chunks(&stopped, taken + 1) == sent + 1);
	wire_expect_silence(&sender);
	wire_leave(&sender);
	wire_leave(&stopped);
	wire_leave(&other);
}

/* The last words of a sender that left stay in the queue of a slow receiver. */
static void test_queue_outlives_its_sender(void **state)
{
	struct wire sender, slow;
	struct frame f;
	uint64_t next = 1, id;

	(void)state;
	wire_open(&sender, &broker, 0);
	wire_open(&slow, &broker, 0);
	id = sender.id;
	for (uint64_t i = 1; i <= 30; i++)
		send_chunk(&sender, slow.id, i);
	wire_leave(&sender);
	while (next <= 30) {
		f = wire_expect(&slow, FRAME_DATA);
		assert_true(f.sequence == next++);
	}
	wire_expect_gone(&slow, id, BROOD__WHY__WHY_LEFT);
	wire_leave(&slow);
}

/*
 * Names.
 */

static void register_name(struct wire *w, const char *name)
{
	Brood__Register body = BROOD__REGISTER__INIT;

	body.name = (char *)(uintptr_t)name;
	wire_say(w, FRAME_REGISTER, &body.base, -1);
}

static void expect_registered(struct wire *w, const char *name, const char *error)
{
	Brood__Registered *body = wire_expect_body(w, FRAME_REGISTERED, &brood__registered__descriptor);

	assert_string_equal(body->name, name);
	assert_string_equal(body->error, error);
	assert_int_equal(body->code < 0, error[0] != '\0');
	assert_int_equal(body->text[0] != '\0', error[0] != '\0');
	guard_free(&body->base);
}

static void watch(struct wire *w, const char *name, int stop)
{
	Brood__Watch body = BROOD__WATCH__INIT;

	body.name = (char *)(uintptr_t)name;
	body.stop = stop;
	wire_say(w, FRAME_WATCH, &body.base, -1);
}

static void expect_name(struct wire *w, const char *name, uint64_t id)
{
	Brood__Name *body = wire_expect_body(w, FRAME_NAME, &brood__name__descriptor);

	assert_string_equal(body->name, name);
	assert_true(body->id == id);
	guard_free(&body->base);
}

static void test_names(void **state)
{
	Brood__Register all = BROOD__REGISTER__INIT;
	struct wire holder, other, watcher;

	(void)state;
	wire_open(&holder, &broker, 0);
	wire_open(&other, &broker, 0);
	wire_open(&watcher, &broker, 0);
	watch(&watcher, "resize", 0);
	expect_name(&watcher, "resize", 0);
	register_name(&holder, "resize");
	expect_registered(&holder, "resize", "");
	expect_name(&watcher, "resize", holder.id);
	register_name(&holder, "resize");
	expect_registered(&holder, "resize", "");
	register_name(&other, "resize");
	expect_registered(&other, "resize", "name.taken");
	register_name(&other, "No Name");
	expect_registered(&other, "No Name", "name.invalid");
	wire_expect_silence(&watcher);
	wire_say(&holder, FRAME_UNREGISTER, &all.base, -1);
	expect_name(&watcher, "resize", 0);
	register_name(&other, "resize");
	expect_registered(&other, "resize", "");
	expect_name(&watcher, "resize", other.id);
	wire_leave(&other);
	expect_name(&watcher, "resize", 0);
	watch(&watcher, "resize", 1);
	register_name(&holder, "resize");
	expect_registered(&holder, "resize", "");
	wire_expect_silence(&watcher);
	watch(&watcher, "Not A Name", 0);
	expect_name(&watcher, "Not A Name", 0);
	wire_leave(&holder);
	wire_leave(&watcher);
}

/*
 * Families.
 */

/* Adopt a child with the id `first_id + n`; *child is its end of the channel. */
static void adopt(struct wire *parent, unsigned n, struct wire *child)
{
	Brood__Adopt body = BROOD__ADOPT__INIT;
	char title[] = "child";
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	body.id = parent->first_id + n;
	body.uid = geteuid();
	body.pid = 4711;
	body.title = title;
	wire_say(parent, FRAME_ADOPT, &body.base, ends[0]);
	wire_take(child, ends[1]);
	child->id = body.id;
}

static void say_died(struct wire *parent, uint64_t id)
{
	Brood__Died died = BROOD__DIED__INIT;

	died.id = id;
	wire_say(parent, FRAME_DIED, &died.base, -1);
}

static void expect_end(struct wire *parent, uint64_t id, uint64_t last)
{
	Brood__End *end = wire_expect_body(parent, FRAME_END, &brood__end__descriptor);

	assert_true(end->id == id);
	assert_true(end->last == last);
	guard_free(&end->base);
}

static void test_adopted_child_needs_no_hello(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	struct wire parent, child;

	(void)state;
	wire_open(&parent, &broker, 2);
	adopt(&parent, 1, &child);
	wire_data(&child, parent.id, 1, "first words");
	wire_expect_data(&parent, child.id, "first words");
	wire_data(&parent, child.id, 1, "welcome");
	wire_expect_data(&child, parent.id, "welcome");
	/* But it may say it, for ids of its own. */
	hello.ids = 4;
	wire_hello(&child, &hello);
	assert_true(child.id == parent.first_id + 1);
	assert_true(child.parent == parent.id);
	assert_int_equal(child.ids, 4);
	wire_leave(&child);
	wire_expect_gone(&parent, child.id, BROOD__WHY__WHY_LEFT);
	say_died(&parent, child.id);
	expect_end(&parent, child.id, 0);
	wire_leave(&parent);
}

/* exit never overtakes the last message: what is in the dead child's socket comes before END. */
static void test_end_comes_behind_the_last_words(void **state)
{
	struct wire parent, child, friend;
	uint64_t id;

	(void)state;
	wire_open(&parent, &broker, 1);
	wire_open(&friend, &broker, 0);
	adopt(&parent, 0, &child);
	id = child.id;
	wire_data(&child, friend.id, 1, "hello friend");
	wire_expect_data(&friend, id, "hello friend");
	for (uint64_t i = 1; i <= 500; i++)
		wire_data(&child, parent.id, i, "word");
	wire_close(&child);
	say_died(&parent, id);
	for (int i = 1; i <= 500; i++)
		wire_expect_data(&parent, id, "word");
	expect_end(&parent, id, 500);
	wire_expect_silence(&parent);
	wire_expect_gone(&friend, id, BROOD__WHY__WHY_EXITED);
	wire_data(&parent, id, 1, "too late");
	wire_expect_gone(&parent, id, BROOD__WHY__WHY_NOBODY);
	wire_leave(&friend);
	wire_leave(&parent);
}

/* Even if the broker hears of the death first: the last words are still in the dead child's socket. */
static void test_last_words_are_read_after_the_death(void **state)
{
	struct wire parent, child;
	int status;

	(void)state;
	wire_open(&parent, &broker, 1);
	adopt(&parent, 0, &child);
	wire_data(&child, parent.id, 1, "alive");
	wire_expect_data(&parent, child.id, "alive");
	wire_expect_silence(&parent); /* the broker sleeps */
	assert_int_equal(kill(broker.pid, SIGSTOP), 0);
	assert_int_equal(waitpid(broker.pid, &status, WUNTRACED), broker.pid);
	say_died(&parent, child.id);
	for (uint64_t i = 2; i <= 100; i++)
		wire_data(&child, parent.id, i, "word");
	assert_int_equal(kill(broker.pid, SIGCONT), 0);
	for (int i = 2; i <= 100; i++)
		wire_expect_data(&parent, child.id, "word");
	expect_end(&parent, child.id, 100);
	wire_close(&child);
	wire_leave(&parent);
}

static void test_end_of_those_who_are_not_there(void **state)
{
	struct wire parent, child, stranger;

	(void)state;
	wire_open(&parent, &broker, 3);
	wire_open(&stranger, &broker, 0);
	say_died(&parent, parent.first_id + 2);
	expect_end(&parent, parent.first_id + 2, 0);
	adopt(&parent, 0, &child);
	wire_data(&child, parent.id, 1, "here");
	wire_expect_data(&parent, child.id, "here");
	say_died(&stranger, child.id);
	wire_expect_refused(&stranger, "died.denied");
	wire_data(&child, parent.id, 2, "still here");
	wire_expect_data(&parent, child.id, "still here");
	wire_close(&stranger);
	wire_close(&child);
	say_died(&parent, child.id);
	expect_end(&parent, child.id, 2);
	wire_leave(&parent);
}

static void mint(const struct wire *parent, uint64_t id, uint8_t ticket[TICKET_SIZE])
{
	struct ticket t = { .id = id, .parent = parent->id, .first = parent->first_id, .uid = geteuid() };

	ticket_mint(parent->ids_key, &t, ticket);
}

/* Connect with a ticket; the answer is in *w. */
static void resume(struct wire *w, const uint8_t *shown)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	uint8_t ticket[TICKET_SIZE];

	memcpy(ticket, shown, TICKET_SIZE); /* it may be the client's own */
	wire_connect(w, broker.socket);
	hello.level = 1;
	hello.ticket = (ProtobufCBinaryData){ TICKET_SIZE, ticket };
	wire_hello(w, &hello);
}

static void expect_hold_away(struct wire *w, uint64_t id)
{
	struct frame f = wire_expect(w, FRAME_HOLD);

	assert_true(f.source == id);
	assert_int_equal(f.flags, FRAME_AWAY);
}

static void expect_go(struct wire *w, uint64_t id)
{
	struct frame f = wire_expect(w, FRAME_GO);

	assert_true(f.source == id);
}

static void test_lost_child_comes_back_with_its_ticket(void **state)
{
	uint8_t ticket[TICKET_SIZE];
	struct wire parent, child;

	(void)state;
	wire_open(&parent, &broker, 1);
	adopt(&parent, 0, &child);
	wire_data(&parent, child.id, 1, "one");
	wire_expect_data(&child, parent.id, "one");
	wire_close(&child);
	expect_hold_away(&parent, child.id);
	wire_data(&parent, child.id, 2, "dropped");
	wire_expect_silence(&parent);
	mint(&parent, parent.first_id, ticket);
	resume(&child, ticket);
	assert_true(child.id == parent.first_id);
	assert_true(child.parent == parent.id);
	expect_go(&parent, child.id);
	wire_data(&parent, child.id, 2, "two");
	wire_expect_data(&child, parent.id, "two");
	/* The ticket it got now serves as well as the one from its parent: it is still a spawned child. */
	wire_close(&child);
	expect_hold_away(&parent, parent.first_id);
	resume(&child, child.ticket);
	expect_go(&parent, child.id);
	wire_close(&child);
	expect_hold_away(&parent, child.id);
	say_died(&parent, child.id);
	expect_end(&parent, child.id, 0);
	wire_leave(&parent);
}

static void expect_not_back(struct wire *parent, uint64_t id)
{
	uint8_t ticket[TICKET_SIZE];
	Brood__Adopt body = BROOD__ADOPT__INIT;
	Brood__Hello hello = BROOD__HELLO__INIT;
	struct wire late;

	mint(parent, id, ticket);
	hello.ticket = (ProtobufCBinaryData){ sizeof(ticket), ticket };
	wire_connect(&late, broker.socket);
	wire_say(&late, FRAME_HELLO, &hello.base, -1);
	wire_expect_refused(&late, "hello.denied");
	wire_close(&late);
	body.id = id;
	body.uid = geteuid();
	wire_say(parent, FRAME_ADOPT, &body.base, -1);
	wire_data(parent, id, 1, "to nobody");
	wire_expect_gone(parent, id, BROOD__WHY__WHY_NOBODY);
}

/* What counts is who came last, not whose HELLO was read last. */
static void test_an_older_connection_speaks_late(void **state)
{
	uint8_t ticket[TICKET_SIZE];
	Brood__Hello hello = BROOD__HELLO__INIT;
	struct wire parent, child, older, newer;

	(void)state;
	wire_open(&parent, &broker, 1);
	adopt(&parent, 0, &child);
	mint(&parent, child.id, ticket);
	wire_connect(&older, broker.socket);
	resume(&newer, ticket);
	wire_expect_refused(&child, "fenced");
	hello.level = 1;
	hello.ticket = (ProtobufCBinaryData){ TICKET_SIZE, ticket };
	wire_say(&older, FRAME_HELLO, &hello.base, -1);
	wire_expect_refused(&older, "fenced");
	wire_data(&newer, parent.id, 1, "still here");
	wire_expect_data(&parent, newer.id, "still here");
	wire_close(&older);
	wire_close(&child);
	wire_leave(&newer);
	wire_leave(&parent);
}

/* What they said before they died may come late, on a connection that was not accepted in time. */
static void test_the_dead_do_not_come_back(void **state)
{
	struct wire parent, child;

	(void)state;
	wire_open(&parent, &broker, 2);
	adopt(&parent, 0, &child);
	wire_data(&child, parent.id, 1, "last words");
	wire_expect_data(&parent, child.id, "last words");
	wire_leave(&child);
	wire_expect_gone(&parent, parent.first_id, BROOD__WHY__WHY_LEFT);
	expect_not_back(&parent, parent.first_id);
	/* The other one was started, and died before the broker had heard of it. */
	say_died(&parent, parent.first_id + 1);
	expect_end(&parent, parent.first_id + 1, 0);
	expect_not_back(&parent, parent.first_id + 1);
	wire_leave(&parent);
}

/* As a library says it that has no ticket yet: it becomes a child of the parent, or stays one. */
static void greet(struct wire *w, const struct wire *parent, uint64_t nonce)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	char address[32];

	wire_connect(w, broker.socket);
	hello.level = 1;
	hello.nonce = nonce;
	hello.parent = id_format(parent->id, address);
	wire_hello(w, &hello);
}

static void expect_joined(struct wire *parent, uint64_t id)
{
	Brood__Joined *joined = wire_expect_body(parent, FRAME_JOINED, &brood__joined__descriptor);

	assert_true(joined->id == id);
	guard_free(&joined->base);
}

/* Whose HELLO_OK is lost with its connection says the same HELLO again, and is the same process. */
static void test_the_same_hello_again(void **state)
{
	struct wire parent, first, again, other;

	(void)state;
	wire_open(&parent, &broker, 0);
	greet(&first, &parent, 4711);
	expect_joined(&parent, first.id);
	wire_data(&parent, first.id, 1, "one");
	wire_expect_data(&first, parent.id, "one");
	wire_close(&first);
	expect_hold_away(&parent, first.id);
	greet(&again, &parent, 4711);
	assert_true(again.id == first.id);
	assert_true(again.parent == parent.id);
	expect_go(&parent, first.id);
	expect_joined(&parent, first.id);
	/* The broker need not have seen the end of the connection before. */
	greet(&first, &parent, 4711);
	assert_true(first.id == again.id);
	wire_expect_refused(&again, "fenced");
	wire_close(&again);
	expect_hold_away(&parent, first.id);
	expect_go(&parent, first.id);
	expect_joined(&parent, first.id);
	/* Another number, and none, are others. */
	greet(&other, &parent, 4712);
	assert_true(other.id != first.id);
	expect_joined(&parent, other.id);
	wire_leave(&other);
	wire_expect_gone(&parent, other.id, BROOD__WHY__WHY_LEFT);
	wire_leave(&first);
	wire_expect_gone(&parent, first.id, BROOD__WHY__WHY_LEFT);
	wire_leave(&parent);
}

/* Who has shown its ticket has no need of it any more. */
static void test_a_hello_before_the_ticket(void **state)
{
	struct wire parent, first, again;

	(void)state;
	wire_open(&parent, &broker, 0);
	greet(&first, &parent, 4713);
	expect_joined(&parent, first.id);
	wire_close(&first);
	resume(&again, first.ticket);
	assert_true(again.id == first.id);
	expect_joined(&parent, first.id);
	greet(&first, &parent, 4713);
	assert_true(first.id != again.id);
	expect_joined(&parent, first.id);
	wire_leave(&first);
	wire_expect_gone(&parent, first.id, BROOD__WHY__WHY_LEFT);
	wire_leave(&again);
	wire_expect_gone(&parent, again.id, BROOD__WHY__WHY_LEFT);
	wire_leave(&parent);
}

static void test_newest_ticket_fences_the_older_session(void **state)
{
	uint8_t ticket[TICKET_SIZE];
	struct wire parent, child, newer;

	(void)state;
	wire_open(&parent, &broker, 1);
	adopt(&parent, 0, &child);
	wire_data(&parent, child.id, 1, "one");
	wire_expect_data(&child, parent.id, "one");
	mint(&parent, child.id, ticket);
	resume(&newer, ticket);
	wire_expect_refused(&child, "fenced");
	expect_hold_away(&parent, newer.id);
	expect_go(&parent, newer.id);
	wire_data(&parent, newer.id, 2, "two");
	wire_expect_data(&newer, parent.id, "two");
	wire_close(&child);
	wire_leave(&newer);
	wire_leave(&parent);
}

/* A descriptor that got lost is no failure: the child has a ticket. */
static void test_adoption_without_descriptor(void **state)
{
	Brood__Adopt body = BROOD__ADOPT__INIT;
	uint8_t ticket[TICKET_SIZE];
	struct wire parent, child;

	(void)state;
	wire_open(&parent, &broker, 1);
	body.id = parent.first_id;
	body.uid = geteuid();
	wire_say(&parent, FRAME_ADOPT, &body.base, -1);
	wire_data(&parent, body.id, 1, "dropped");
	expect_hold_away(&parent, body.id);
	mint(&parent, body.id, ticket);
	resume(&child, ticket);
	expect_go(&parent, child.id);
	wire_data(&parent, child.id, 1, "one");
	wire_expect_data(&child, parent.id, "one");
	wire_leave(&child);
	wire_leave(&parent);
}

static void test_adoption_is_denied(void **state)
{
	Brood__Adopt body = BROOD__ADOPT__INIT;
	struct wire a, b, child;

	(void)state;
	wire_open(&a, &broker, 1);
	wire_open(&b, &broker, 1);
	body.id = b.first_id;
	body.uid = geteuid();
	wire_say(&a, FRAME_ADOPT, &body.base, -1);
	wire_expect_refused(&a, "adopt.denied");
	wire_close(&a);
	/* What comes must be a channel. */
	wire_say(&b, FRAME_ADOPT, &body.base, dup(STDERR_FILENO));
	wire_expect_refused(&b, "adopt.denied");
	wire_close(&b);
	/* Twice is once. */
	wire_open(&a, &broker, 1);
	adopt(&a, 0, &child);
	body.id = a.first_id;
	wire_say(&a, FRAME_ADOPT, &body.base, -1);
	wire_data(&child, a.id, 1, "still the first");
	wire_expect_data(&a, child.id, "still the first");
	wire_close(&child);
	wire_close(&a);
}

static void test_forged_tickets_are_denied(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	uint8_t ticket[TICKET_SIZE];
	struct wire a, b, victim;

	(void)state;
	wire_open(&a, &broker, 4);
	wire_open(&victim, &broker, 0);
	hello.ticket = (ProtobufCBinaryData){ TICKET_SIZE, ticket };
	/* One bit wrong. */
	mint(&a, a.first_id, ticket);
	ticket[40] ^= 1;
	wire_connect(&b, broker.socket);
	wire_say(&b, FRAME_HELLO, &hello.base, -1);
	wire_expect_refused(&b, "hello.denied");
	wire_close(&b);
	/* Not from the block. */
	mint(&a, a.first_id + 5000, ticket);
	wire_connect(&b, broker.socket);
	wire_say(&b, FRAME_HELLO, &hello.base, -1);
	wire_expect_refused(&b, "hello.denied");
	wire_close(&b);
	/* For another user. */
	ticket_mint(a.ids_key,
		    &(struct ticket){ .id = a.first_id, .parent = a.id, .first = a.first_id, .uid = geteuid() + 1 },
		    ticket);
	wire_connect(&b, broker.socket);
	wire_say(&b, FRAME_HELLO, &hello.base, -1);
	wire_expect_refused(&b, "hello.denied");
	wire_close(&b);
	wire_expect_silence(&victim);
	wire_leave(&victim);
	wire_leave(&a);
}

static void test_lost_children_end_with_their_parent(void **state)
{
	struct wire parent, lost, live, friend;

	(void)state;
	wire_open(&parent, &broker, 2);
	wire_open(&friend, &broker, 0);
	adopt(&parent, 0, &lost);
	adopt(&parent, 1, &live);
	wire_data(&lost, friend.id, 1, "lost");
	wire_expect_data(&friend, lost.id, "lost");
	wire_data(&friend, lost.id, 1, "friend");
	wire_expect_data(&lost, friend.id, "friend");
	wire_close(&lost);
	expect_hold_away(&friend, lost.id);
	wire_leave(&parent);
	wire_expect_gone(&friend, lost.id, BROOD__WHY__WHY_LOST);
	wire_expect_gone(&live, parent.id, BROOD__WHY__WHY_LEFT);
	/* And goes on, without a parent. */
	wire_data(&live, friend.id, 1, "live");
	wire_expect_data(&friend, live.id, "live");
	wire_close(&live);
	wire_expect_gone(&friend, live.id, BROOD__WHY__WHY_LOST); /* its process does not run */
	wire_leave(&friend);
}

static void test_foreign_child_joins(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	char address[ID_TEXT], unknown[] = "nobody", title[] = "a title that is much longer than is kept \xc3\xa4";
	struct wire parent, child;
	Brood__Joined *joined;

	(void)state;
	wire_open(&parent, &broker, 0);
	hello.parent = id_format(parent.id, address);
	hello.title = title;
	wire_connect(&child, broker.socket);
	wire_hello(&child, &hello);
	assert_true(child.parent == parent.id);
	joined = wire_expect_body(&parent, FRAME_JOINED, &brood__joined__descriptor);
	assert_true(joined->id == child.id);
	assert_true(strncmp(joined->title, title, strlen(joined->title)) == 0 && strlen(joined->title) > 10);
	guard_free(&joined->base);
	/* Its parent did not spawn it, so nobody vouches for it. */
	wire_close(&child);
	wire_expect_gone(&parent, child.id, BROOD__WHY__WHY_LOST);
	hello.parent = unknown;
	wire_connect(&child, broker.socket);
	wire_say(&child, FRAME_HELLO, &hello.base, -1);
	wire_expect_refused(&child, "parent.unknown");
	wire_close(&child);
	wire_leave(&parent);
}

static void test_connection_that_ends_without_goodbye(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	struct wire a, b;

	(void)state;
	wire_connect(&a, broker.socket);
	wire_hello(&a, &hello); /* level 0: gone when its connection is */
	wire_open(&b, &broker, 0);
	wire_data(&a, b.id, 1, "here");
	wire_expect_data(&b, a.id, "here");
	wire_close(&a);
	wire_expect_gone(&b, a.id, BROOD__WHY__WHY_LOST);
	wire_expect_silence(&b);
	wire_leave(&b);
}

/*
 * @broker.
 */

static void ask(struct wire *w, uint64_t sequence, const char *type, const ProtobufCMessage *body)
{
	struct item it = { .kind = ITEM_REQUEST, .correlation = 100 + sequence, .name = type, .type = ITEM_UNNUMBERED };
	struct frame head = { .kind = FRAME_DATA, .destination = FRAME_BROKER, .sequence = sequence };
	_Alignas(8) uint8_t bytes[1024];

	it.name_length = (uint8_t)strlen(type);
	it.length = (uint32_t)protobuf_c_message_get_packed_size(body);
	it.total = it.length;
	head.length = (uint32_t)item_size(it.kind, item_extension_size(&it), it.length);
	assert_true(head.length <= sizeof(bytes));
	protobuf_c_message_pack(body, item_write(bytes, &it));
	wire_send(w, &head, bytes, -1);
}

/* The answer to the request of this sequence, as an item; its body unpacked. */
static void *expect_answer(struct wire *w, uint64_t sequence, enum item_kind kind, const char *type,
			   const ProtobufCMessageDescriptor *descriptor)
{
	struct frame f = wire_expect(w, FRAME_DATA);
	const uint8_t *at = f.body;
	ProtobufCMessage *body;
	struct item it;

	assert_true(f.source == FRAME_BROKER && f.destination == w->id);
	assert_true(f.sequence == sequence && f.acknowledge == sequence);
	assert_int_equal(item_next(&at, f.body + f.length, &it), 1);
	assert_int_equal(it.kind, kind);
	assert_true(it.correlation == 100 + sequence);
	assert_int_equal(it.name_length, strlen(type));
	assert_memory_equal(it.name, type, it.name_length);
	assert_int_equal(guard_unpack(descriptor, it.body, it.length, 1, &body), 0);
	return body;
}

static void test_broker_answers_requests(void **state)
{
	Brood__Control__GetStatus get = BROOD__CONTROL__GET_STATUS__INIT;
	Brood__Control__List list = BROOD__CONTROL__LIST__INIT;
	Brood__Control__Status *status;
	Brood__Control__Listing *listing;
	Brood__Failure *failure;
	struct wire a, b;

	(void)state;
	wire_broker_stop(&broker, SIGTERM); /* others tests' processes may come back, and count */
	wire_broker_start(&broker, NULL);
	wire_open(&a, &broker, 0);
	wire_open(&b, &broker, 0);
	register_name(&b, "bee");
	expect_registered(&b, "bee", "");
	ask(&a, 1, "brood.control.GetStatus", &get.base);
	status = expect_answer(&a, 1, ITEM_REPLY, "brood.control.Status", &brood__control__status__descriptor);
	assert_int_equal(status->pid, broker.pid);
	assert_int_equal(status->processes, 2);
	assert_true(status->rss_kib > 500);
	assert_true(strlen(status->node) > 0 && strlen(status->version) > 0);
	guard_free(&status->base);
	ask(&a, 2, "brood.control.List", &list.base);
	listing = expect_answer(&a, 2, ITEM_REPLY, "brood.control.Listing", &brood__control__listing__descriptor);
	assert_int_equal(listing->n_process, 2);
	assert_true(listing->process[0]->id == a.id && listing->process[1]->id == b.id);
	assert_string_equal(listing->process[0]->title, "wire");
	assert_string_equal(listing->process[0]->transport, "unix");
	assert_string_equal(listing->process[0]->state, "live");
	assert_int_equal(listing->process[0]->pid, getpid());
	assert_string_equal(listing->process[1]->name, "bee");
	assert_false(listing->more);
	guard_free(&listing->base);
	list.most = 1;
	ask(&a, 3, "brood.control.List", &list.base);
	listing = expect_answer(&a, 3, ITEM_REPLY, "brood.control.Listing", &brood__control__listing__descriptor);
	assert_int_equal(listing->n_process, 1);
	assert_true(listing->more);
	guard_free(&listing->base);
	list.after = a.id;
	ask(&a, 4, "brood.control.List", &list.base);
	listing = expect_answer(&a, 4, ITEM_REPLY, "brood.control.Listing", &brood__control__listing__descriptor);
	assert_true(listing->n_process == 1 && listing->process[0]->id == b.id && !listing->more);
	guard_free(&listing->base);
	ask(&a, 5, "brood.control.Destroy", &get.base);
	failure = expect_answer(&a, 5, ITEM_FAILURE, "brood.Failure", &brood__failure__descriptor);
	assert_string_equal(failure->error, "control.unknown");
	guard_free(&failure->base);
	/* Said again, it is not answered again, but acknowledged. */
	ask(&a, 5, "brood.control.Destroy", &get.base);
	assert_true(wire_expect(&a, FRAME_ACK).acknowledge == 5);
	/* One too early is not taken. */
	ask(&a, 7, "brood.control.GetStatus", &get.base);
	assert_true(wire_expect(&a, FRAME_ACK).acknowledge == 5);
	wire_leave(&a);
	wire_leave(&b);
}

/* Who asks and does not read the answers is told to wait, and goes on when he has read. */
static void test_requests_are_held(void **state)
{
	Brood__Control__GetStatus get = BROOD__CONTROL__GET_STATUS__INIT;
	uint64_t sent = 0, answered = 0;
	struct wire a;
	struct frame f = { 0 };

	(void)state;
	wire_open(&a, &broker, 0);
	while (sent < 60000)
		ask(&a, ++sent, "brood.control.GetStatus", &get.base);
	while (wire_next(&a, &f, 20000) == 1 && f.kind == FRAME_DATA)
		answered++;
	assert_int_equal(f.kind, FRAME_HOLD);
	assert_true(f.source == FRAME_BROKER);
	assert_in_range(answered, 1000, sent - 1);
	expect_go(&a, FRAME_BROKER);
	ask(&a, answered + 1, "brood.control.GetStatus", &get.base);
	/* What it had sent before it heard of the hold is too new now: acknowledged, not answered. */
	while (wire_next(&a, &f, 20000) == 1 && f.kind == FRAME_ACK)
		assert_true(f.acknowledge == answered);
	assert_int_equal(f.kind, FRAME_DATA);
	assert_true(f.sequence == answered + 1);
	wire_leave(&a);
}

static int begin(void **state)
{
	(void)state;
	wire_broker_init(&broker);
	wire_broker_start(&broker, (const char *[]){ "--node", "here", NULL });
	return 0;
}

static int end(void **state)
{
	(void)state;
	wire_broker_deinit(&broker);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello_gives_id_ticket_and_block),
		cmocka_unit_test(test_hello_again_gives_more_ids),
		cmocka_unit_test(test_level_0_gets_no_ticket),
		cmocka_unit_test(test_data_travels_both_ways_in_order),
		cmocka_unit_test(test_heads_are_forwarded_as_they_are),
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_large_frames),
		cmocka_unit_test(test_hold_and_go),
		cmocka_unit_test(test_queue_outlives_its_sender),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_adopted_child_needs_no_hello),
		cmocka_unit_test(test_end_comes_behind_the_last_words),
		cmocka_unit_test(test_last_words_are_read_after_the_death),
		cmocka_unit_test(test_end_of_those_who_are_not_there),
		cmocka_unit_test(test_lost_child_comes_back_with_its_ticket),
		cmocka_unit_test(test_the_dead_do_not_come_back),
		cmocka_unit_test(test_the_same_hello_again),
		cmocka_unit_test(test_a_hello_before_the_ticket),
		cmocka_unit_test(test_newest_ticket_fences_the_older_session),
		cmocka_unit_test(test_an_older_connection_speaks_late),
		cmocka_unit_test(test_adoption_without_descriptor),
		cmocka_unit_test(test_adoption_is_denied),
		cmocka_unit_test(test_forged_tickets_are_denied),
		cmocka_unit_test(test_lost_children_end_with_their_parent),
		cmocka_unit_test(test_foreign_child_joins),
		cmocka_unit_test(test_connection_that_ends_without_goodbye),
		cmocka_unit_test(test_broker_answers_requests),
		cmocka_unit_test(test_requests_are_held),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
