/*
 * hostile: a broker that lies, and children that do. The library says clearly what it cannot read and ends that
 * connection, or that one relation; everything else it ignores. It never crashes, hangs, or tells what did not happen.
 *
 * The false broker is this program itself: the library's handle and the other end of its socket take turns. So it can
 * also see when the handle writes.
 */
#include "brood.pb-c.h"
#include "flow.h"
#include "raw.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EPOCH (1ull << 32)
#define ME (EPOCH | 1)
#define GOOD (EPOCH | 2) /* "1.2", who sends what it should */
#define BAD (EPOCH | 3)  /* "1.3" */

struct stage {
	char path[96];
	int listener, fd;
	brood *b;
	brood_peer *good_peer, *bad_peer;
	struct diary me, good, bad;
	uint64_t good_next, bad_next; /* sequence numbers of what they send */
	struct raw_frame in;
};

static void say_hello_ok(const struct stage *s)
{
	uint8_t key[32] = { 1 }, ticket[64] = { 2 };
	Brood__HelloOk ok = BROOD__HELLO_OK__INIT;
	ok.id = ME;
	ok.node = "false";
	ok.ticket = (ProtobufCBinaryData){ sizeof ticket, ticket };
	ok.first_id = EPOCH | 100;
	ok.ids = 64;
	ok.ids_key = (ProtobufCBinaryData){ sizeof key, key };
	assert_int_equal(raw_send_pb(s->fd, FRAME_HELLO_OK, &ok.base), 0);
}

/* A handle whose HELLO has been read and not answered. */
static struct stage *stage_before_hello(const struct fixture *x)
{
	char address[112];
	struct stage *s = calloc(1, sizeof *s);
	assert_non_null(s);
	s->good_next = s->bad_next = 1;
	snprintf(s->path, sizeof s->path, "%s/false", x->directory);
	snprintf(address, sizeof address, "unix:%s", s->path);
	assert_true((s->listener = raw_listen(s->path)) >= 0);
	assert_int_equal(brood_connect(&s->b, address,
				       BROOD_OPTIONS(.on = diary_table, .data = &s->me, .flush_ms = 50,
						     .flags = BROOD_NO_RECONNECT)),
			 0);
	assert_int_equal(brood_find(s->b, &s->good_peer, "1.2", BROOD_FIND(.on = diary_table, .data = &s->good)), 0);
	assert_int_equal(brood_find(s->b, &s->bad_peer, "1.3", BROOD_FIND(.on = diary_table, .data = &s->bad)), 0);
	assert_true((s->fd = raw_accept(s->listener, PATIENCE_MS)) >= 0);
	until_polled(s->b, is_readable(s->fd));
	assert_int_equal(raw_receive(s->fd, &s->in, PATIENCE_MS), 1);
	assert_int_equal(s->in.head.kind, FRAME_HELLO);
	return s;
}

static struct stage *stage_begin(const struct fixture *x)
{
	struct stage *s = stage_before_hello(x);
	say_hello_ok(s);
	until(s->b, s->me.n[BROOD_EVENT_READY] == 1);
	return s;
}

static void stage_end(struct stage *s)
{
	close(s->fd);
	brood_close(s->b);
	close(s->listener);
	unlink(s->path);
	free(s);
}

/* An item from somebody; its body is `text`. */
static void from(struct stage *s, uint64_t source, uint64_t sequence, struct item it, const char *text)
{
	it.length = (uint32_t)strlen(text);
	if (it.total == 0)
		it.total = it.length;
	assert_int_equal(raw_send_item(s->fd, source, ME, sequence, &it, text), 0);
}

static void bad_says(struct stage *s, struct item it, const char *text)
{
	from(s, BAD, s->bad_next++, it, text);
}

/* The connection works, both ways, for somebody who did nothing wrong. */
static void check_alive(struct stage *s)
{
	unsigned before = diary_messages(&s->good);
	from(s, GOOD, s->good_next++, (struct item){ .kind = ITEM_MESSAGE }, "good");
	until(s->b, diary_messages(&s->good) == before + 1);
	assert_string_equal(s->good.body, "good");
	assert_int_equal(brood_send(s->good_peer, BROOD_TEXT("thanks")), 0);
	do
		assert_int_equal(raw_receive_kind(s->fd, FRAME_DATA, &s->in, PATIENCE_MS), 1);
	while (s->in.head.destination != GOOD);
	assert_string_equal(s->me.order, "R");
}

/* The handle has failed with this error; everybody was told, and calls say so. */
static void check_dead(struct stage *s, const char *error)
{
	brood_peer *p;
	until(s->b, s->me.n[BROOD_EVENT_ERROR] == 1);
	assert_string_equal(s->me.error, error);
	assert_true(strlen(s->me.text) > 0);
	until(s->b, s->good.n[BROOD_EVENT_CLOSE] == 1 && s->bad.n[BROOD_EVENT_CLOSE] == 1);
	assert_true(brood_send(s->good_peer, BROOD_TEXT("x")) < 0);
	assert_true(brood_sync(s->b, PATIENCE_MS) < 0);
	assert_int_equal(brood_find(s->b, &p, "@broker", NULL), 0);
	assert_true(brood_send(p, BROOD_TEXT("x")) < 0);
	assert_int_equal(s->me.n[BROOD_EVENT_ERROR], 1);
}

/* ---- what ends the connection ------------------------------------------------------------------------------------ */

static void send_head(struct stage *s, struct frame f, uint32_t length)
{
	uint8_t head[FRAME_HEAD];
	f.length = length;
	frame_write_head(head, &f);
	assert_int_equal(raw_write(s->fd, head, sizeof head), 0);
}

static void garbage(struct stage *s)
{
	static const uint8_t noise[4096] = { 7 };
	assert_int_equal(raw_write(s->fd, noise, sizeof noise), 0);
}

static void endless_data(struct stage *s)
{
	send_head(s, (struct frame){ .kind = FRAME_DATA, .source = GOOD, .destination = ME }, 0xfffffff8u);
}

static void long_control(struct stage *s)
{
	send_head(s, (struct frame){ .kind = FRAME_GONE }, FRAME_CONTROL_MAX + 1);
}

static void long_ack(struct stage *s)
{
	send_head(s, (struct frame){ .kind = FRAME_ACK, .source = GOOD, .destination = ME }, 8);
}

static void no_such_kind(struct stage *s)
{
	send_head(s, (struct frame){ .kind = 0x7f }, 0);
}

static void not_zero(struct stage *s)
{
	uint8_t head[FRAME_HEAD] = { FRAME_MAGIC, FRAME_ACK, 0, 1 };
	assert_int_equal(raw_write(s->fd, head, sizeof head), 0);
}

static void hang_up(struct stage *s)
{
	shutdown(s->fd, SHUT_RDWR);
}

static void half_a_frame(struct stage *s)
{
	send_head(s, (struct frame){ .kind = FRAME_DATA, .source = GOOD, .destination = ME, .sequence = 1 }, 1000);
	hang_up(s);
}

static void malformed_hello_ok(struct stage *s)
{
	assert_int_equal(raw_send(s->fd, &(struct frame){ .kind = FRAME_HELLO_OK }, "\x1a\x7fshort", 7), 0);
}

/* A string that is no text. */
static void binary_node(struct stage *s)
{
	assert_int_equal(raw_send(s->fd, &(struct frame){ .kind = FRAME_HELLO_OK }, "\x1a\x02\xff\x00", 4), 0);
}

static void malformed_goodbye(struct stage *s)
{
	assert_int_equal(raw_send(s->fd, &(struct frame){ .kind = FRAME_GOODBYE }, "\xff", 1), 0);
}

static void refuse(struct stage *s)
{
	Brood__Goodbye bye = BROOD__GOODBYE__INIT;
	bye.parting = BROOD__PARTING__PARTING_REFUSED;
	bye.code = -ESTALE;
	bye.error = "fenced";
	bye.text = "another connection took over";
	assert_int_equal(raw_send_pb(s->fd, FRAME_GOODBYE, &bye.base), 0);
}

static const struct {
	void (*act)(struct stage *);
	const char *error;
} fatal[] = {
	{ garbage, "broker.lost" },
	{ endless_data, "broker.lost" },
	{ long_control, "broker.lost" },
	{ long_ack, "broker.lost" },
	{ no_such_kind, "broker.lost" },
	{ not_zero, "broker.lost" },
	{ hang_up, "broker.lost" },
	{ half_a_frame, "broker.lost" },
	{ malformed_hello_ok, "control.malformed" },
	{ binary_node, "control.malformed" },
	{ malformed_goodbye, "control.malformed" },
	{ refuse, "fenced" },
};
#define N_FATAL (sizeof fatal / sizeof *fatal)

static void test_fatal(void **state)
{
	for (size_t i = 0; i < N_FATAL; i++) {
		struct stage *s = stage_begin(*state);
		check_alive(s);
		fatal[i].act(s);
		check_dead(s, fatal[i].error);
		assert_true(brood_run(s->b) < 0);
		stage_end(s);
	}
}

static void test_fatal_before_hello(void **state)
{
	for (size_t i = 0; i < N_FATAL; i++) {
		struct stage *s = stage_before_hello(*state);
		fatal[i].act(s);
		check_dead(s, fatal[i].error);
		assert_int_equal(s->me.n[BROOD_EVENT_READY], 0);
		stage_end(s);
	}
}

/* A request and messages under way when it happens: each is told. */
static void test_fatal_with_work_under_way(void **state)
{
	struct stage *s = stage_begin(*state);
	struct diary asked = { 0 };
	assert_true(brood_request(s->good_peer, BROOD_TEXT("?"), -1, diary_write, &asked) > 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(brood_send(s->good_peer, BROOD_TEXT("x")), 0);
	garbage(s);
	check_dead(s, "broker.lost");
	assert_int_equal(asked.n[BROOD_EVENT_REPLY], 1);
	assert_string_equal(asked.error, "broker.lost");
	assert_string_equal(s->good.error, "undelivered");
	assert_non_null(strstr(s->good.text, "3 messages"));
	stage_end(s);
}

/* A child that was to be started, one that runs: it goes on, and its end is told without a broker. */
static void test_fatal_with_children(void **state)
{
	struct stage *s = stage_begin(*state);
	struct diary runs = { 0 }, planned = { 0 };
	brood_peer *kid;
	assert_int_equal(brood_spawn(s->b, &kid, KID("silent"), BROOD_SPAWN(.on = diary_table, .data = &runs)), 0);
	until(s->b, runs.n[BROOD_EVENT_SPAWN] == 1);
	garbage(s);
	check_dead(s, "broker.lost");
	assert_false(process_is_dead(info_of(kid).pid));
	assert_int_equal(brood_spawn(s->b, NULL, KID("silent"), BROOD_SPAWN(.on = diary_table, .data = &planned)), 0);
	until(s->b, planned.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(planned.order, "!C");
	assert_string_equal(planned.error, "spawn.broker");
	assert_int_equal(brood_kill(kid, 0, 0), 0);
	until(s->b, runs.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(runs.order, "SDEC");
	assert_int_equal(runs.exit.signo, SIGTERM);
	stage_end(s);
}

/* ---- what a policy takes ----------------------------------------------------------------------------------------- */

static void say_registered(const struct stage *s, const char *name, int code, const char *error)
{
	Brood__Registered m = BROOD__REGISTERED__INIT;
	m.name = (char *)(uintptr_t)name;
	m.code = code;
	m.error = (char *)(uintptr_t)error;
	m.text = "no";
	assert_int_equal(raw_send_pb(s->fd, FRAME_REGISTERED, &m.base), 0);
}

/* A broker that gave something may take it back at any time. */
static void test_denied(void **state)
{
	struct stage *s = stage_begin(*state);
	Brood__Gone gone = BROOD__GONE__INIT;
	struct diary asked = { 0 };
	assert_int_equal(brood_register(s->b, "mine"), 0);
	say_registered(s, "mine", 0, "");
	until(s->b, brood_sync(s->b, 0) == 0);
	assert_true(brood_request(s->bad_peer, BROOD_TEXT("x"), -1, diary_write, &asked) > 0);
	gone.id = BAD;
	gone.why = BROOD__WHY__WHY_DENIED;
	assert_int_equal(raw_send_pb(s->fd, FRAME_GONE, &gone.base), 0);
	until(s->b, s->bad.n[BROOD_EVENT_DISCONNECT] == 1);
	assert_string_equal(s->bad.why, "peer.denied");
	assert_string_equal(asked.error, "peer.denied");
	assert_int_equal(asked.code, -EACCES);
	say_registered(s, "mine", -EACCES, "name.denied");
	until(s->b, s->me.n[BROOD_EVENT_ERROR] == 1);
	assert_string_equal(s->me.error, "name.denied");
	assert_int_equal(s->me.code, -EACCES);
	assert_int_equal(brood_unregister(s->b, "mine"), -ENOENT);
	stage_end(s);
}

/* ---- what is ignored --------------------------------------------------------------------------------------------- */

/* Bodies that cannot be read, of frames that one can do without. */
static void test_unreadable_news(void **state)
{
	static const unsigned kinds[] = { FRAME_GONE, FRAME_END, FRAME_NAME, FRAME_REGISTERED, FRAME_JOINED };
	struct stage *s = stage_begin(*state);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const struct frame f = { .kind = (uint8_t)kinds[i] };
		assert_int_equal(raw_send(s->fd, &f, NULL, 0), 0); /* all zero */
		assert_int_equal(raw_send(s->fd, &f, "\x09", 1), 0);
		assert_int_equal(raw_send(s->fd, &f, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12), 0);
		assert_int_equal(raw_send(s->fd, &f, "\x0a\x02\xc0\x80", 4), 0);
	}
	check_alive(s);
	stage_end(s);
}

/* As many fields as a body holds, all doubled: read in no time, or not at all. */
static void test_bombs(void **state)
{
	static const unsigned kinds[] = { FRAME_GONE, FRAME_REGISTERED, FRAME_JOINED, FRAME_NAME };
	static uint8_t doubled[FRAME_CONTROL_MAX - 6], unknown[FRAME_CONTROL_MAX - 6];
	struct stage *s = stage_begin(*state);
	for (size_t i = 0; i + 3 <= sizeof doubled; i += 3) {
		memcpy(doubled + i, "\x0a\x01x", 3);
		memcpy(unknown + i, "\x7a\x01x", 3);
	}
	clock_t begin = clock(); /* of the processor: others may use it, too */
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const struct frame f = { .kind = (uint8_t)kinds[i] };
		assert_int_equal(raw_send(s->fd, &f, doubled, sizeof doubled), 0);
		check_alive(s);
		assert_int_equal(raw_send(s->fd, &f, unknown, sizeof unknown), 0);
		check_alive(s);
	}
	assert_true(clock() - begin < 2 * CLOCKS_PER_SEC);
	stage_end(s);
}

/* News of those whom nobody knows, or who are ourselves. */
static void news_of(struct stage *s, uint64_t id)
{
	Brood__Gone gone = BROOD__GONE__INIT;
	Brood__End end = BROOD__END__INIT;
	gone.id = end.id = id;
	gone.why = (Brood__Why)99;
	assert_int_equal(raw_send_pb(s->fd, FRAME_GONE, &gone.base), 0);
	assert_int_equal(raw_send_pb(s->fd, FRAME_END, &end.base), 0);
	assert_int_equal(raw_send(s->fd, &(struct frame){ .kind = FRAME_HOLD, .source = id }, NULL, 0), 0);
	assert_int_equal(
		raw_send(s->fd, &(struct frame){ .kind = FRAME_HOLD, .source = id, .flags = FRAME_AWAY }, NULL, 0), 0);
	assert_int_equal(raw_send(s->fd, &(struct frame){ .kind = FRAME_GO, .source = id }, NULL, 0), 0);
}

static void test_news_of_strangers(void **state)
{
	struct stage *s = stage_begin(*state);
	Brood__Name name = BROOD__NAME__INIT;
	Brood__Registered registered = BROOD__REGISTERED__INIT;
	name.name = registered.name = "nobody";
	name.id = BAD;
	registered.code = -1;
	news_of(s, EPOCH | 999);
	news_of(s, ME);
	news_of(s, UINT64_MAX);
	assert_int_equal(raw_send_pb(s->fd, FRAME_NAME, &name.base), 0);
	assert_int_equal(raw_send_pb(s->fd, FRAME_REGISTERED, &registered.base), 0);
	for (unsigned kind = FRAME_HELLO; kind < FRAME_GOODBYE; kind++) /* what only clients say */
		assert_int_equal(raw_send(s->fd, &(struct frame){ .kind = (uint8_t)kind }, NULL, 0), 0);
	Brood__Birth birth = BROOD__BIRTH__INIT;
	birth.id = EPOCH | 5;
	birth.node = birth.address = "x";
	assert_int_equal(raw_send_pb(s->fd, FRAME_BIRTH, &birth.base), 0);
	check_alive(s);
	assert_string_equal(s->bad.order, "");
	stage_end(s);
}

static void test_out_of_order(void **state)
{
	struct stage *s = stage_begin(*state);
	const struct item message = { .kind = ITEM_MESSAGE };
	from(s, BAD, 5, message, "5");
	from(s, BAD, UINT64_MAX, message, "last");
	from(s, BAD, 1, message, "1");
	from(s, BAD, 1, message, "1 again");
	from(s, BAD, 3, message, "3");
	from(s, BAD, 2, message, "2");
	from(s, BAD, 2, message, "2 again");
	from(s, BAD, 3, message, "3");
	check_alive(s);
	assert_int_equal(diary_messages(&s->bad), 3);
	assert_string_equal(s->bad.body, "3");
	stage_end(s);
}

/* Old items are acknowledged again, if that is asked for: the first answer may have been lost. */
static void test_old_items_are_acknowledged(void **state)
{
	struct stage *s = stage_begin(*state);
	for (int i = 0; i < 2; i++) {
		from(s, BAD, 1, (struct item){ .kind = ITEM_MESSAGE }, "1");
		assert_int_equal(
			raw_send(
				s->fd,
				&(struct frame){ .kind = FRAME_PROBE, .source = BAD, .destination = ME, .sequence = 2 },
				NULL, 0),
			0);
		until_polled(s->b, is_readable(s->fd));
		assert_int_equal(raw_receive(s->fd, &s->in, PATIENCE_MS), 1);
		assert_int_equal(s->in.head.kind, FRAME_ACK);
		assert_int_equal(s->in.head.destination, BAD);
		assert_int_equal(s->in.head.acknowledge, 1);
	}
	assert_int_equal(diary_messages(&s->bad), 1);
	check_alive(s);
	stage_end(s);
}

/* Acknowledgements of what was never sent, and old ones, change nothing: the message stays unacknowledged. */
static void test_acknowledgements(void **state)
{
	struct stage *s = stage_begin(*state);
	const uint64_t numbers[] = { 2, 1000, UINT64_MAX, 0 };
	assert_int_equal(brood_send(s->bad_peer, BROOD_TEXT("x")), 0);
	for (int i = 0; i < 4; i++) {
		const struct frame f = {
			.kind = FRAME_ACK, .source = BAD, .destination = ME, .acknowledge = numbers[i]
		};
		assert_int_equal(raw_send(s->fd, &f, NULL, 0), 0);
	}
	check_alive(s);
	assert_int_equal(info_of(s->bad_peer).queued, 1);
	const struct frame honest = { .kind = FRAME_ACK, .source = BAD, .destination = ME, .acknowledge = 1 };
	assert_int_equal(raw_send(s->fd, &honest, NULL, 0), 0);
	assert_int_equal(raw_send(s->fd, &honest, NULL, 0), 0);
	check_alive(s);
	assert_int_equal(info_of(s->bad_peer).queued, 0);
	stage_end(s);
}

/* An answer counts only if it comes from the one who was asked. */
static void test_answers_of_others(void **state)
{
	struct stage *s = stage_begin(*state);
	struct diary asked = { 0 };
	int64_t id = brood_request(s->good_peer, BROOD_TEXT("?"), -1, diary_write, &asked);
	assert_true(id > 0);
	const struct item answer = { .kind = ITEM_REPLY, .correlation = (uint64_t)id };
	bad_says(s, answer, "forged");
	bad_says(s, (struct item){ .kind = ITEM_FAILURE, .correlation = (uint64_t)id }, "");
	bad_says(s, (struct item){ .kind = ITEM_CANCEL, .correlation = (uint64_t)id }, "");
	bad_says(s, (struct item){ .kind = ITEM_REPLY, .correlation = 0 }, "?");
	bad_says(s, (struct item){ .kind = ITEM_REPLY, .correlation = UINT64_MAX }, "?");
	check_alive(s);
	assert_int_equal(asked.n[BROOD_EVENT_REPLY], 0);
	from(s, GOOD, s->good_next++, answer, "true");
	from(s, GOOD, s->good_next++, answer, "true again");
	check_alive(s);
	assert_int_equal(asked.n[BROOD_EVENT_REPLY], 1);
	assert_string_equal(asked.body, "true");
	stage_end(s);
}

/* An error that cannot be read is still an error. */
static void test_unreadable_failure(void **state)
{
	struct stage *s = stage_begin(*state);
	struct diary asked = { 0 };
	int64_t id = brood_request(s->good_peer, BROOD_TEXT("?"), -1, diary_write, &asked);
	from(s, GOOD, s->good_next++, (struct item){ .kind = ITEM_FAILURE, .correlation = (uint64_t)id },
	     "\xff\xff\xff");
	until(s->b, asked.n[BROOD_EVENT_REPLY] == 1);
	assert_true(asked.code < 0);
	check_alive(s);
	stage_end(s);
}

/* From nobody, from ourselves, on streams that are not in use. */
static void test_strange_sources(void **state)
{
	struct stage *s = stage_begin(*state);
	from(s, FRAME_BROKER, 1, (struct item){ .kind = ITEM_MESSAGE }, "from the broker");
	from(s, ME, 1, (struct item){ .kind = ITEM_MESSAGE }, "from myself");
	const struct frame other = { .kind = FRAME_DATA, .source = BAD, .destination = ME, .stream = 7, .sequence = 1 };
	assert_int_equal(raw_send(s->fd, &other, "\x01\x00\x00\x00\x00\x00\x01\x00x\x00\x00\x00\x00\x00\x00", 16), 0);
	from(s, GOOD, s->good_next++, (struct item){ .kind = ITEM_MESSAGE }, "good");
	until(s->b, diary_messages(&s->good) == 1);
	assert_int_equal(diary_messages(&s->bad), 0);
	stage_end(s);
}

static void test_goodbye_twice(void **state)
{
	struct stage *s = stage_begin(*state);
	Brood__Goodbye bye = BROOD__GOODBYE__INIT;
	bye.parting = BROOD__PARTING__PARTING_STOPPING;
	for (int i = 0; i < 3; i++)
		assert_int_equal(raw_send_pb(s->fd, FRAME_GOODBYE, &bye.base), 0);
	until_polled(s->b, is_readable(s->fd));
	assert_int_equal(raw_receive_kind(s->fd, FRAME_GOODBYE, &s->in, PATIENCE_MS), 1);
	hang_up(s);
	check_dead(s, "broker.stopping");
	stage_end(s);
}

/* Everybody is my child, again and again. */
static void test_joiners(void **state)
{
	struct stage *s = stage_begin(*state);
	Brood__Joined joined = BROOD__JOINED__INIT;
	const uint64_t ids[] = { EPOCH | 50, EPOCH | 50, ME, 0, BAD, BAD };
	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
		joined.id = ids[i];
		assert_int_equal(raw_send_pb(s->fd, FRAME_JOINED, &joined.base), 0);
	}
	from(s, GOOD, s->good_next++, (struct item){ .kind = ITEM_MESSAGE }, "good");
	until(s->b, diary_messages(&s->good) == 1);
	assert_int_equal(s->me.n[BROOD_EVENT_JOIN], 1); /* 1.50 */
	assert_int_equal(s->bad.n[BROOD_EVENT_JOIN], 1);
	garbage(s);
	until(s->b, s->me.n[BROOD_EVENT_ERROR] == 1 && s->good.n[BROOD_EVENT_CLOSE] == 1);
	assert_true(brood_run(s->b) < 0); /* which ends: nobody counts twice */
	stage_end(s);
}

/* ---- what ends one relation -------------------------------------------------------------------------------------- */

static void broken_item(struct stage *s)
{
	static const uint8_t item[16] = { 0xf0, 0xff, 0xff, 0x7f, 0, 0, ITEM_MESSAGE, 0 };
	const struct frame f = { .kind = FRAME_DATA, .source = BAD, .destination = ME, .sequence = 1 };
	assert_int_equal(raw_send(s->fd, &f, item, sizeof item), 0);
}

static void no_such_item(struct stage *s)
{
	static const uint8_t item[16] = { 1, 0, 0, 0, 0, 0, 0x3e, 0, 'x' };
	const struct frame f = { .kind = FRAME_DATA, .source = BAD, .destination = ME, .sequence = 1 };
	assert_int_equal(raw_send(s->fd, &f, item, sizeof item), 0);
}

static void cut_extension(struct stage *s)
{
	static const uint8_t item[16] = { 0, 0, 0, 0, 0, 0, ITEM_MESSAGE, 200, ITEM_TYPE, 255 };
	const struct frame f = { .kind = FRAME_DATA, .source = BAD, .destination = ME, .sequence = 1 };
	assert_int_equal(raw_send(s->fd, &f, item, sizeof item), 0);
}

static void unbound_type(struct stage *s)
{
	bad_says(s, (struct item){ .kind = ITEM_MESSAGE, .type = 9 }, "x");
}

static void type_above_all(struct stage *s)
{
	bad_says(s, (struct item){ .kind = ITEM_MESSAGE, .type = ITEM_TYPES + 1, .name = "T", .name_length = 1 }, "x");
}

static void type_changes(struct stage *s)
{
	bad_says(s, (struct item){ .kind = ITEM_MESSAGE, .type = 1, .name = "one", .name_length = 3 }, "x");
	bad_says(s, (struct item){ .kind = ITEM_MESSAGE, .type = 1, .name = "two", .name_length = 3 }, "x");
}

static void endless_message(struct stage *s)
{
	bad_says(s, (struct item){ .kind = ITEM_MESSAGE, .more = 1, .total = (uint64_t)MESSAGE_MAX + 1 }, "x");
}

static void more_than_said(struct stage *s)
{
	bad_says(s, (struct item){ .kind = ITEM_MESSAGE, .more = 1, .total = 10 }, "12345678");
	bad_says(s, (struct item){ .kind = ITEM_MESSAGE, .continued = 1, .more = 1 }, "12345678");
}

static void less_than_said(struct stage *s)
{
	bad_says(s, (struct item){ .kind = ITEM_MESSAGE, .more = 1, .total = 100 }, "12345678");
	bad_says(s, (struct item){ .kind = ITEM_MESSAGE, .continued = 1 }, "12345678");
}

static void end_without_beginning(struct stage *s)
{
	bad_says(s, (struct item){ .kind = ITEM_MESSAGE, .continued = 1 }, "12345678");
}

static void kind_changes(struct stage *s)
{
	bad_says(s, (struct item){ .kind = ITEM_MESSAGE, .more = 1, .total = 16 }, "12345678");
	bad_says(s, (struct item){ .kind = ITEM_REPLY, .continued = 1 }, "12345678");
}

static void reset(struct stage *s)
{
	assert_int_equal(
		raw_send(s->fd, &(struct frame){ .kind = FRAME_RESET, .source = BAD, .destination = ME }, NULL, 0), 0);
}

/* I sent it nothing with descriptors; nor is this one of my items. */
static void refusal_of_nothing(struct stage *s)
{
	bad_says(s, (struct item){ .kind = ITEM_REFUSED, .correlation = 1 }, "");
}

static void descriptors_of_a_signal(struct stage *s)
{
	bad_says(s, (struct item){ .kind = ITEM_CANCEL, .correlation = 1, .fds = 1 }, "");
}

static const struct {
	void (*say)(struct stage *);
	const char *told; /* whoever writes a client has nothing else to go by */
} unreadable[] = {
	{ refusal_of_nothing, "item 1 has kind REFUSED, for an item that brought no descriptors" },
	{ descriptors_of_a_signal, "item 1 has descriptors with a kind that has none" },
	{ broken_item, "item 1 has a body of more than 131008 bytes" },
	{ no_such_item, "item 1 has a kind that is not 1 to 8" },
	{ cut_extension, "item 1 has a length that goes beyond its frame's body" },
	{ unbound_type, "item 1 has a type number that no item has named" },
	{ type_above_all, "item 1 has a type number that is neither 0 to 64 nor 65535" },
	{ type_changes, "item 2 has another name for its type number" },
	{ endless_message, "item 1 has a total that is 0, or more than a message may have" },
	{ more_than_said, "item 2 has CONTINUED, and there is no such message" },
	{ less_than_said, "item 2 has CONTINUED, and there is no such message" },
	{ end_without_beginning, "item 1 has CONTINUED, and there is no such message" },
	{ kind_changes, "item 2 has CONTINUED, and there is no such message" },
	{ reset, "" },
};

/* The sender's relation ends with an error, what it was sent is reported, and nobody else notices. */
static void test_unreadable_messages(void **state)
{
	for (size_t i = 0; i < sizeof unreadable / sizeof *unreadable; i++) {
		struct stage *s = stage_begin(*state);
		struct diary asked = { 0 };
		assert_true(brood_request(s->bad_peer, BROOD_TEXT("?"), -1, diary_write, &asked) > 0);
		unreadable[i].say(s);
		until(s->b, s->bad.n[BROOD_EVENT_CLOSE] == 1);
		assert_non_null(strstr(s->bad.text, unreadable[i].told));
		assert_int_equal(s->bad.n[BROOD_EVENT_DISCONNECT], 1);
		assert_string_equal(s->bad.why, "peer.protocol");
		assert_int_equal(asked.n[BROOD_EVENT_REPLY], 1);
		assert_string_equal(asked.error, "peer.protocol");
		assert_int_equal(brood_send(s->bad_peer, BROOD_TEXT("x")), -ESRCH);
		check_alive(s);
		stage_end(s);
	}
}

/* A long message announced takes no more memory than a message may. */
static void test_announced_messages(void **state)
{
	struct stage *s = stage_begin(*state);
	long before = process_status(getpid(), "VmRSS:");
	for (uint64_t i = 0; i < 50; i++)
		from(s, EPOCH | (1000 + i), 1, (struct item){ .kind = ITEM_MESSAGE, .more = 1, .total = MESSAGE_MAX },
		     "x");
	check_alive(s);
	assert_true(process_status(getpid(), "VmRSS:") - before < MEMORY_SLACK_KIB);
	stage_end(s);
}

/* ---- children ---------------------------------------------------------------------------------------------------- */

/* One child lies, another one works: the work goes on, and the liar's end is told as always. */
static void with_hostile_child(const char *what, int harmless, const char *why)
{
	struct family f = { 0 };
	brood_peer *liar;
	struct diary d = { 0 };
	family_begin(&f, KID("worker"));
	assert_int_equal(ask_number(f.kid, "count"), 0);
	assert_int_equal(brood_spawn(f.b, &liar, KID("hostile", what), BROOD_SPAWN(.on = diary_table, .data = &d)), 0);
	assert_int_equal(brood_send(liar, BROOD_TEXT("hello")), 0);
	if (harmless)
		until(f.b, strcmp(d.body, "alive") == 0);
	else
		until(f.b, d.n[BROOD_EVENT_DISCONNECT] == 1);
	if (!harmless)
		assert_string_equal(d.why, why);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	assert_int_equal(brood_kill(liar, SIGKILL, 0), 0);
	until(f.b, d.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(d.n[BROOD_EVENT_EXIT], 1);
	assert_int_equal(d.exit.signo, SIGKILL);
	assert_string_equal(d.order + strlen(d.order) - 2, "EC");
	assert_int_equal(ask_number(f.kid, "count"), 0);
	assert_string_equal(f.me.order, "R");
	family_end(&f);
}

static void test_children_against_the_broker(void **state)
{
	static const char *const kinds[] = { "garbage",         "endless",   "no-such-kind",
					     "from-the-broker", "malformed", "adopt-my-parent" };
	(void)state;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		with_hostile_child(kinds[i], 0, "peer.closed");
}

static void test_children_against_their_parent(void **state)
{
	static const char *const kinds[] = { "broken-item", "unbound-type", "endless-message" };
	(void)state;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		with_hostile_child(kinds[i], 0, "peer.protocol");
}

static void test_harmless_children(void **state)
{
	static const char *const kinds[] = { "out-of-order", "acknowledge-the-future", "answers-to-nothing",
					     "to-nobody" };
	(void)state;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		with_hostile_child(kinds[i], 1, "");
}

/* ---- when it writes ---------------------------------------------------------------------------------------------- */

#define LONG 200 /* messages of one turn */

static struct stage *watched; /* whose good one is answered */

/* In a long turn the second finds that the answer to the first waits; the last finds that it has left. */
static int answer(const brood_event *e)
{
	if (!e->msg)
		return 0;
	unsigned n = diary_messages(&watched->good);
	if (n == 2 || n == LONG)
		assert_int_equal(is_readable(watched->fd), n == LONG);
	return brood_send(e->peer, BROOD_TEXT("yes"));
}

static void test_a_long_turn_writes_before_its_end(void **state)
{
	struct stage *s = watched = stage_begin(*state);
	s->good.also = answer;
	for (int i = 0; i < LONG; i++)
		from(s, GOOD, s->good_next++, (struct item){ .kind = ITEM_MESSAGE }, "?");
	assert_int_equal(brood_process(s->b, PATIENCE_MS), LONG);
	s->good.also = NULL;
	stage_end(s);
}

#define FALSE_BROKER(test) cmocka_unit_test_setup_teardown(test, fixture_setup_empty, fixture_teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FALSE_BROKER(test_fatal),
		FALSE_BROKER(test_fatal_before_hello),
		FALSE_BROKER(test_fatal_with_work_under_way),
		FALSE_BROKER(test_fatal_with_children),
		FALSE_BROKER(test_denied),
		FALSE_BROKER(test_a_long_turn_writes_before_its_end),
		FALSE_BROKER(test_unreadable_news),
		FALSE_BROKER(test_bombs),
		FALSE_BROKER(test_news_of_strangers),
		FALSE_BROKER(test_out_of_order),
		FALSE_BROKER(test_old_items_are_acknowledged),
		FALSE_BROKER(test_acknowledgements),
		FALSE_BROKER(test_answers_of_others),
		FALSE_BROKER(test_unreadable_failure),
		FALSE_BROKER(test_strange_sources),
		FALSE_BROKER(test_goodbye_twice),
		FALSE_BROKER(test_joiners),
		FALSE_BROKER(test_unreadable_messages),
		FALSE_BROKER(test_announced_messages),
		ON_UNIX(test_children_against_the_broker),
		ON_UNIX(test_children_against_their_parent),
		ON_UNIX(test_harmless_children),
	};
	return RUN("hostile", tests);
}
