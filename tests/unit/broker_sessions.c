/*
 * broker_sessions: when a session is written to, and what the turn waits for. Sessions on socket pairs, whose broker knows
 * no process: a HELLO is answered as each test says.
 */
#include "sessions.h"
#include "test.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define OWNER 500u
#define PIECES 4
#define PIECE 40000
#define CROWD 20 /* who say hello at once */

static const struct limits limits = LIMITS_DEFAULT;

struct bench {
	struct accounts accounts;
	struct registry registry;
	struct router router;
	struct log log;
	struct event_base *base;
	struct sessions sessions;
	struct session *said_hello;
	struct session *greeter; /* NULL, or who is told of each HELLO ... */
	int greeted, before;     /* ... at the other end; so much had come there before the last one */
};

static int readable(int fd)
{
	int n = -1;

	assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
	return n;
}

static void on_hello(void *data, struct session *s, const struct frame *f)
{
	struct bench *b = data;
	uint8_t head[FRAME_HEAD];

	assert_int_equal(f->kind, FRAME_HELLO);
	b->said_hello = s;
	if (!b->greeter)
		return;
	b->before = readable(b->greeted);
	frame_write_head(head, f);
	b->greeter->sink.put(&b->greeter->sink, NULL, head, sizeof(head));
}

static const struct session_ops ops = { .control = on_hello };

static int begin(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	log_init(&b->log, STDERR_FILENO, LOG_ERROR);
	accounts_init(&b->accounts, &limits);
	registry_init(&b->registry, &b->accounts, NULL, NULL);
	router_init(&b->router, &b->registry, OWNER, 1, 1);
	b->base = event_base_new();
	assert_int_equal(sessions_init(&b->sessions, b->base, &b->log, &b->router, &ops, b), 0);
	*state = b;
	return 0;
}

static int end(void **state)
{
	struct bench *b = *state;

	sessions_deinit(&b->sessions);
	event_base_free(b->base);
	router_deinit(&b->router);
	registry_deinit(&b->registry);
	accounts_deinit(&b->accounts);
	free(b);
	return 0;
}

/* A client: its end. */
static int connect_one(struct bench *b)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	assert_non_null(session_new(&b->sessions, ends[0], ends[0], TRANSPORT_UNIX, OWNER));
	return ends[1];
}

static void turn(struct bench *b)
{
	assert_int_equal(event_base_loop(b->base, EVLOOP_ONCE | EVLOOP_NONBLOCK), 0);
	sessions_turn(&b->sessions);
}

static int is_timed(struct bench *b)
{
	return event_pending(&b->sessions.hello_timer, EV_TIMEOUT, NULL) != 0;
}

/* Each wait that has an end costs a timer: there is one as long as somebody is new, and not until its time would be over. */
static void test_no_timer_without_need(void **state)
{
	struct bench *b = *state;
	int first = connect_one(b), second;

	turn(b);
	assert_true(is_timed(b));
	second = connect_one(b);
	close(first);
	turn(b);
	assert_int_equal(b->sessions.n, 1);
	assert_true(is_timed(b));
	close(second);
	turn(b);
	assert_int_equal(b->sessions.n, 0);
	assert_false(is_timed(b));
}

static void say_hello(int fd)
{
	const struct frame hello = { .kind = FRAME_HELLO };
	uint8_t head[FRAME_HEAD];

	frame_write_head(head, &hello);
	assert_int_equal(write(fd, head, sizeof(head)), sizeof(head));
}

/* Who is told much in a long turn hears of it before that ends; and yet it is few writes, so not all but the last. */
static void test_a_long_turn_writes_before_its_end(void **state)
{
	struct bench *b = *state;
	int fds[CROWD];

	b->greeted = connect_one(b);
	say_hello(b->greeted);
	turn(b);
	b->greeter = b->said_hello;
	for (int i = 0; i < CROWD; i++)
		fds[i] = connect_one(b);
	for (int i = 0; i < CROWD; i++)
		say_hello(fds[i]);
	turn(b);
	assert_true(b->before > 0 && b->before < (CROWD - 1) * (int)FRAME_HEAD);
	assert_int_equal(readable(b->greeted), CROWD * FRAME_HEAD);
	for (int i = 0; i < CROWD; i++)
		close(fds[i]);
	close(b->greeted);
	turn(b);
	assert_int_equal(b->sessions.n, 0);
}

/* Who reads again after a long time gets what waited in portions, a turn each, with others served in between. Pieces with
 * descriptors are written one by one. */
static void test_what_was_kept_goes_in_portions(void **state)
{
	static const uint8_t bytes[PIECE];
	struct bench *b = *state;
	const struct frame hello = { .kind = FRAME_HELLO };
	uint8_t head[FRAME_HEAD];
	int fd = connect_one(b);
	struct session *s;

	frame_write_head(head, &hello);
	say_hello(fd);
	turn(b);
	s = b->said_hello;
	assert_non_null(s);
	for (int i = 0; i < PIECES; i++)
		assert_int_equal(channel_keep(&s->channel, bytes, sizeof(bytes), NULL, dup(STDERR_FILENO)), 0);
	b->sessions.fds_kept += PIECES;
	s->sink.put(&s->sink, NULL, head, sizeof(head)); /* so it waits for room */
	turn(b);
	assert_int_equal(readable(fd), 0);
	turn(b);
	assert_int_equal(readable(fd), 2 * PIECE);
	turn(b);
	assert_int_equal(readable(fd), PIECES * PIECE);
	turn(b);
	assert_int_equal(readable(fd), PIECES * PIECE + (int)sizeof(head));
	assert_int_equal(b->sessions.fds_kept, 0);
	close(fd);
	turn(b);
	assert_int_equal(b->sessions.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_timer_without_need, begin, end),
		cmocka_unit_test_setup_teardown(test_a_long_turn_writes_before_its_end, begin, end),
		cmocka_unit_test_setup_teardown(test_what_was_kept_goes_in_portions, begin, end),
	};
	return cmocka_run_group_tests_name("broker_sessions", tests, NULL, NULL);
}
