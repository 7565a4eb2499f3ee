/*
 * broker_hostile: what badly behaved clients get: a reason, and the end of their own connection. A bystander exchanges
 * messages with a friend through every test and must not notice.
 */
#include "error.h"
#include "guard.h"
#include "message.h"
#include "wire.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct wire_broker broker;
static struct wire bystander, companion;
static uint64_t said;

/* The two understand each other as always. */
static void assert_bystander(void)
{
	wire_data(&bystander, companion.id, ++said, "as always");
	wire_expect_data(&companion, bystander.id, "as always");
	wire_expect_silence(&bystander);
}

/* What a client hears that says these bytes first. */
static void assert_refused_at_once(const void *bytes, size_t n, const char *error)
{
	struct wire w;

	wire_connect(&w, broker.socket);
	wire_raw(&w, bytes, n);
	wire_expect_refused(&w, error);
	wire_close(&w);
}

/* What a client hears that said HELLO, and then this. */
static void assert_refused_later(const void *bytes, size_t n, const char *error)
{
	struct wire w;

	wire_open(&w, &broker, 4);
	wire_raw(&w, bytes, n);
	wire_expect_refused(&w, error);
	wire_close(&w);
}

static void test_garbage(void **state)
{
	uint8_t bytes[5000];
	const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

	(void)state;
	assert_refused_at_once(http, sizeof(http), "frame.magic");
	assert_refused_later(http, sizeof(http), "frame.magic");
	assert_refused_at_once("x", 1, "frame.magic");
	memset(bytes, 0xff, sizeof(bytes));
	assert_refused_later(bytes, sizeof(bytes), "frame.magic");
	srand(1);
	for (int i = 0; i < 50; i++) {
		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = (uint8_t)rand();
		bytes[0] = (uint8_t)(i & 1 ? 'Z' : 0);
		assert_refused_later(bytes, sizeof(bytes), "frame.magic");
	}
	assert_bystander();
}

/* Noise that begins like a frame: the reason may vary, the end is the same. */
static void test_noise_in_frames(void **state)
{
	uint8_t bytes[600];

	(void)state;
	srand(2);
	for (int i = 0; i < 300; i++) {
		struct wire w;
		struct frame f, head = { .kind = (uint8_t)(rand() % 64), .length = (uint32_t)(rand() % 500) };

		head.destination = rand() % 2 ? 0 : bystander.id + (uint64_t)(rand() % 5);
		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = (uint8_t)rand();
		frame_write_head(bytes, &head);
		if (rand() % 4 == 0)
			wire_connect(&w, broker.socket);
		else
			wire_open(&w, &broker, 4);
		wire_raw(&w, bytes, frame_size(head.length));
		shutdown(w.channel.out_fd, SHUT_WR);
		while (wire_next(&w, &f, 20000) == 1)
			;
		wire_close(&w);
	}
	/* Whatever of it reached the two was a routed frame or its sender's end, which are their business. */
	wire_close(&bystander);
	wire_close(&companion);
	wire_open(&bystander, &broker, 0);
	wire_open(&companion, &broker, 0);
	said = 0;
	assert_bystander();
}

static void write_head(uint8_t bytes[FRAME_HEAD], unsigned kind, uint32_t length)
{
	struct frame head = { .kind = (uint8_t)kind, .length = length };

	frame_write_head(bytes, &head);
}

static void test_kinds(void **state)
{
	uint8_t head[FRAME_HEAD];

	(void)state;
	write_head(head, 0x7f, 0);
	assert_refused_later(head, sizeof(head), "frame.kind");
	assert_refused_at_once(head, sizeof(head), "frame.kind");
	write_head(head, FRAME_DATA, 0);
	head[3] = 1;
	assert_refused_later(head, sizeof(head), "frame.kind");
	for (unsigned kind = FRAME_HELLO_OK; kind <= FRAME_BIRTH; kind++) {
		write_head(head, kind, 0);
		assert_refused_later(head, sizeof(head), "frame.kind");
	}
	for (unsigned kind = FRAME_DATA; kind <= FRAME_GOODBYE; kind++) {
		write_head(head, kind, 0);
		if (frame_is_routed(kind) || kind > FRAME_HELLO)
			assert_refused_at_once(head, sizeof(head), "hello.expected");
	}
	assert_bystander();
}

static void test_lengths(void **state)
{
	const uint32_t lengths[] = { FRAME_BODY_MAX + 1, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff };
	uint8_t head[FRAME_HEAD];

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		write_head(head, FRAME_DATA, lengths[i]);
		assert_refused_later(head, sizeof(head), "frame.length");
	}
	for (unsigned kind = FRAME_ACK; kind <= FRAME_PROBE; kind++) {
		write_head(head, kind, 1);
		assert_refused_later(head, sizeof(head), "frame.length");
	}
	for (unsigned kind = FRAME_HELLO; kind <= FRAME_GOODBYE; kind++) {
		write_head(head, kind, FRAME_CONTROL_MAX + 1);
		assert_refused_later(head, sizeof(head), "frame.length");
	}
	write_head(head, FRAME_HELLO, FRAME_HELLO_MAX);
	assert_refused_at_once(head, sizeof(head), "frame.length");
	assert_bystander();
}

/* Half a frame, then the end: nothing was said. */
static void test_half_frames(void **state)
{
	uint8_t bytes[FRAME_HEAD + 64] = { 0 };
	struct frame head = { .kind = FRAME_DATA, .destination = companion.id, .length = 64, .sequence = 1 };

	(void)state;
	frame_write_head(bytes, &head);
	for (size_t n = 1; n < sizeof(bytes); n += 7) {
		struct wire w;

		wire_open(&w, &broker, 0);
		wire_raw(&w, bytes, n);
		wire_close(&w);
	}
	/* In many pieces it is a frame all the same. */
	for (size_t i = 0; i < 2 * sizeof(bytes); i++) {
		head.sequence = ++said;
		frame_write_head(bytes, &head);
		wire_raw(&bystander, bytes, i / 2);
		if (i % 2)
			usleep(1000);
		wire_raw(&bystander, bytes + i / 2, sizeof(bytes) - i / 2);
		assert_true(wire_expect(&companion, FRAME_DATA).sequence == said);
	}
	assert_bystander();
}

/* Send a control frame with this body: what comes back is its refusal. */
static void assert_body_refused(unsigned kind, const uint8_t *body, uint32_t n, const char *error)
{
	uint8_t *bytes = calloc(1, frame_size(n));

	assert_non_null(bytes);
	write_head(bytes, kind, n);
	memcpy(bytes + FRAME_HEAD, body, n);
	assert_refused_later(bytes, frame_size(n), error);
	free(bytes);
}

static void test_bodies_that_are_no_protobuf(void **state)
{
	/* A length beyond the end; a tag without value; field number 0; wire type 7; a varint without end. */
	const uint8_t broken[][12] = { { 0x0a, 0x50, 'x' },
				       { 0x08 },
				       { 0x02, 0x01, 'x' },
				       { 0x0f },
				       { 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
	const uint32_t lengths[] = { 3, 1, 3, 1, 12 };

	(void)state;
	for (unsigned kind = FRAME_HELLO; kind <= FRAME_GOODBYE; kind++)
		for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++)
			assert_body_refused(kind, broken[i], lengths[i], "control.malformed");
	assert_bystander();
}

/* Strings that are no text, where a string is expected: field 1 of REGISTER, UNREGISTER and WATCH, 3 of HELLO, ... */
static void test_strings_that_are_no_text(void **state)
{
	const unsigned kinds[] = { FRAME_REGISTER, FRAME_UNREGISTER, FRAME_WATCH,
				   FRAME_HELLO,    FRAME_ADOPT,      FRAME_GOODBYE };
	const uint8_t fields[] = { 1, 1, 1, 3, 4, 3 };

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		const uint8_t nul[] = { (uint8_t)(fields[i] << 3 | 2), 3, 'a', 0, 'b' };
		const uint8_t latin[] = { (uint8_t)(fields[i] << 3 | 2), 3, 'a', 0xe4, 'b' };

		assert_body_refused(kinds[i], nul, sizeof(nul), "control.malformed");
		assert_body_refused(kinds[i], latin, sizeof(latin), "control.malformed");
	}
	assert_bystander();
}

/* Processor time of the broker so far, in milliseconds. */
static long broker_cpu_ms(void)
{
	char path[64], text[1024], *at;
	unsigned long user = 0, system = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)broker.pid);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	at = strrchr(text, ')');
	assert_int_equal(sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
	return (long)((user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK));
}

/*
 * The largest bodies that are legal protobuf and try to cost more than their length: thousands of unknown fields, of
 * groups inside each other, of the same field again and again. They may be accepted or refused, but soon.
 */
static void test_bombs(void **state)
{
	static uint8_t body[FRAME_CONTROL_MAX];
	const struct {
		uint8_t unit[4];
		size_t n;
	} units[] = { { { 0xf8, 0x01, 0x00 }, 3 },       /* unknown varint */
		      { { 0xfa, 0x01, 0x00 }, 3 },       /* unknown bytes */
		      { { 0x0a, 0x00 }, 2 },             /* field 1, empty, again and again */
		      { { 0x1a, 0x01, 'x' }, 3 },        /* field 3 likewise */
		      { { 0x0b }, 1 },                   /* groups inside each other */
		      { { 0x0a, 0xfe, 0xff, 0x03 }, 4 }, /* fields inside fields, that are too long */
		      { { 0x08, 0x01 }, 2 } };
	long before = broker_cpu_ms();

	(void)state;
	for (unsigned kind = FRAME_HELLO; kind <= FRAME_GOODBYE; kind++)
		for (size_t u = 0; u < sizeof(units) / sizeof(*units); u++) {
			struct frame f, head = { .kind = (uint8_t)kind, .length = FRAME_CONTROL_MAX };
			struct wire w;

			for (size_t i = 0; i + units[u].n <= sizeof(body); i += units[u].n)
				memcpy(body + i, units[u].unit, units[u].n);
			wire_open(&w, &broker, 0);
			wire_send(&w, &head, body, -1);
			shutdown(w.channel.out_fd, SHUT_WR);
			while (wire_next(&w, &f, 20000) == 1)
				;
			wire_close(&w);
		}
	assert_in_range(broker_cpu_ms() - before, 0, 5000);
	assert_bystander();
}

/* Descriptors that nobody asked for. */
static void test_stray_descriptors(void **state)
{
	struct frame head = { .kind = FRAME_ACK, .destination = companion.id };
	struct wire w;

	(void)state;
	wire_open(&w, &broker, 0);
	wire_send(&w, &head, NULL, dup(STDERR_FILENO));
	wire_expect_refused(&w, "frame.kind");
	wire_close(&w);
	assert_bystander();
}

/* Items that are none, in a message to the broker itself. */
static void test_messages_to_the_broker_that_are_none(void **state)
{
	struct frame head = { .kind = FRAME_DATA, .length = 24, .sequence = 1 };
	struct wire w;

	(void)state;
	wire_open(&w, &broker, 0);
	wire_send(&w, &head, "what is this, after all?", -1);
	wire_expect_refused(&w, "control.malformed");
	wire_close(&w);
	assert_bystander();
}

static void test_too_many_watches(void **state)
{
	Brood__Watch body = BROOD__WATCH__INIT;
	char name[16];
	struct wire w;

	(void)state;
	wire_open(&w, &broker, 0);
	body.name = name;
	for (int i = 0; i < 4096; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		wire_say(&w, FRAME_WATCH, &body.base, -1);
		wire_expect(&w, FRAME_NAME);
	}
	snprintf(name, sizeof(name), "one-more");
	wire_say(&w, FRAME_WATCH, &body.base, -1);
	wire_expect_refused(&w, "limit.watches");
	wire_close(&w);
	assert_bystander();
}

/* Answers that nobody reads are bounded. */
static void test_answers_that_nobody_reads(void **state)
{
	Brood__Watch body = BROOD__WATCH__INIT;
	char name[] = "nobody-holds-this";
	struct frame head = { .kind = FRAME_WATCH };
	uint8_t packed[64];
	struct wire w;
	int i, r = 0;

	(void)state;
	wire_open(&w, &broker, 0);
	body.name = name;
	head.length = (uint32_t)brood__watch__pack(&body, packed);
	for (i = 0; i < 400000 && r == 0; i++) {
		r = channel_send(&w.channel, &head, packed, -1);
		while (r == 0 && channel_wants_write(&w.channel)) {
			usleep(100);
			r = channel_drain(&w.channel, NULL);
		}
	}
	assert_in_range(i, 1000, 399999);
	wire_close(&w);
	assert_bystander();
}

/* What a process is, its connection cannot take back: said again without a level, it still outlives its connection. */
static void test_a_level_is_not_lowered(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	uint8_t ticket[TICKET_SIZE];
	struct wire w;

	(void)state;
	wire_open(&w, &broker, 0);
	wire_hello(&w, &hello);
	wire_data(&bystander, w.id, 1, "hello");
	wire_expect_data(&w, bystander.id, "hello");
	wire_close(&w);
	assert_int_equal(wire_expect(&bystander, FRAME_HOLD).source, w.id); /* not GONE */
	hello.level = 1;
	memcpy(ticket, w.ticket, sizeof(ticket));
	hello.ticket = (ProtobufCBinaryData){ TICKET_SIZE, ticket };
	wire_connect(&w, broker.socket);
	wire_hello(&w, &hello);
	wire_expect(&bystander, FRAME_GO);
	wire_leave(&w);
	wire_expect_gone(&bystander, w.id, BROOD__WHY__WHY_LEFT);
	assert_bystander();
}

/* The next version's first byte. */
static void test_another_version(void **state)
{
	uint8_t head[FRAME_HEAD];

	(void)state;
	write_head(head, FRAME_HELLO, 0);
	for (unsigned version = 0; version < 256; version++) {
		if (version == head[0])
			continue;
		uint8_t other[FRAME_HEAD];

		memcpy(other, head, sizeof(other));
		other[0] = (uint8_t)version;
		assert_refused_at_once(other, sizeof(other), "frame.magic");
	}
	assert_bystander();
}

static void test_hello_timeout(void **state)
{
	struct timespec begin, now;
	struct wire silent, slow;
	uint8_t head[FRAME_HEAD];
	long ms;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	wire_connect(&silent, broker.socket);
	wire_connect(&slow, broker.socket);
	write_head(head, FRAME_HELLO, 0);
	for (int i = 0; i < 40; i++) {
		wire_raw(&slow, head + i, 1); /* a byte now and then does not help */
		usleep(100000);
	}
	wire_expect_refused(&silent, "hello.timeout");
	wire_expect_refused(&slow, "hello.timeout");
	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000;
	assert_in_range(ms, 4900, 20000);
	wire_close(&silent);
	wire_close(&slow);
	assert_bystander();
}

/* No descriptor left: newcomers are told, those who are there go on, and later there is room again. */
static void test_no_descriptors_left(void **state)
{
	enum { MANY = 64 };
	const struct rlimit few = { 40, 40 };
	struct rlimit before;
	struct wire_broker small;
	struct wire all[MANY];
	struct frame f;
	int n, refused = 0;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	wire_broker_init(&small);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ few.rlim_cur, before.rlim_max }), 0);
	wire_broker_start(&small, NULL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	/* The broker raised its soft limit; so take it back from outside. */
	assert_int_equal(prlimit(small.pid, RLIMIT_NOFILE, &few, NULL), 0);
	for (n = 0; n < MANY && !refused; n++) {
		Brood__Hello hello = BROOD__HELLO__INIT;

		wire_connect(&all[n], small.socket);
		wire_say(&all[n], FRAME_HELLO, &hello.base, -1);
		assert_int_equal(wire_next(&all[n], &f, 20000), 1);
		refused = f.kind == FRAME_GOODBYE;
	}
	assert_true(refused);
	assert_in_range(n, 10, 40);
	{
		Brood__Goodbye *goodbye;

		assert_int_equal(
			guard_unpack(&brood__goodbye__descriptor, f.body, f.length, 1, (ProtobufCMessage **)&goodbye),
			0);
		assert_string_equal(goodbye->error, "broker.full");
		guard_free(&goodbye->base);
	}
	while (n > 0)
		wire_close(&all[--n]);
	usleep(500000); /* it looks again soon */
	wire_open(&all[0], &small, 0);
	wire_leave(&all[0]);
	wire_broker_deinit(&small);
	assert_bystander();
}

static int begin(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	wire_broker_init(&broker);
	wire_broker_start(&broker, (const char *[]){ "--log-level", "debug", NULL });
	wire_open(&bystander, &broker, 0);
	wire_open(&companion, &broker, 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	wire_leave(&bystander);
	wire_leave(&companion);
	wire_broker_deinit(&broker);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_noise_in_frames),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_half_frames),
		cmocka_unit_test(test_bodies_that_are_no_protobuf),
		cmocka_unit_test(test_strings_that_are_no_text),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_stray_descriptors),
		cmocka_unit_test(test_messages_to_the_broker_that_are_none),
		cmocka_unit_test(test_too_many_watches),
		cmocka_unit_test(test_answers_that_nobody_reads),
		cmocka_unit_test(test_a_level_is_not_lowered),
		cmocka_unit_test(test_another_version),
		cmocka_unit_test(test_hello_timeout),
		cmocka_unit_test(test_no_descriptors_left),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
