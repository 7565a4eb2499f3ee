/*
 * broker_vigil: when the broker waits awake. Processes 0 to 3 talk by a router whose sinks swallow everything.
 */
#include "message.h"
#include "test.h"
#include "vigil.h"
#include <stdlib.h>

#define EPOCH 0x5000000u
#define ID(n) ((uint64_t)EPOCH << 32 | (n))

static const struct limits limits = LIMITS_DEFAULT;

struct bench {
	struct accounts accounts;
	struct registry registry;
	struct router router;
	struct vigil vigil;
	struct sink sink;
	struct process *p[4];
};

static void swallow(struct sink *sink, struct edge *edge, const uint8_t *bytes, size_t n)
{
	(void)sink;
	(void)edge;
	(void)bytes;
	(void)n;
}

static void named(void *data, struct process *watcher, const struct name *name)
{
	(void)data;
	(void)watcher;
	(void)name;
}

static int begin(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	accounts_init(&b->accounts, &limits);
	registry_init(&b->registry, &b->accounts, named, NULL);
	router_init(&b->router, &b->registry, 500, EPOCH, 1);
	b->vigil.router = &b->router;
	b->sink.put = swallow;
	for (unsigned i = 0; i < 4; i++) {
		b->p[i] = registry_add(&b->registry, ID(i + 1), 1000);
		router_attach(&b->router, b->p[i], &b->sink);
	}
	*state = b;
	return 0;
}

static int end(void **state)
{
	struct bench *b = *state;

	router_deinit(&b->router);
	registry_deinit(&b->registry);
	accounts_deinit(&b->accounts);
	free(b);
	return 0;
}

static void say(struct bench *b, unsigned from, unsigned to)
{
	_Alignas(8) uint8_t bytes[FRAME_HEAD];
	struct frame f = { .kind = FRAME_ACK, .destination = ID(to + 1) };

	frame_write_head(bytes, &f);
	assert_int_equal(frame_parse(bytes, sizeof(bytes), FRAME_MAX, &f), 1);
	assert_int_equal(router_route(&b->router, b->p[from], &f), 0);
}

/* A turn with this one frame. 1: its answer is looked for. */
static int turn(struct bench *b, unsigned from, unsigned to)
{
	say(b, from, to);
	router_sweep(&b->router);
	return vigil_begin(&b->vigil);
}

static void a_conversation_is_looked_at(void **state)
{
	struct bench *b = *state;

	assert_false(turn(b, 0, 1)); /* nobody knows yet */
	assert_false(turn(b, 1, 0));
	assert_true(turn(b, 0, 1)); /* it was answered at once the last time */
	assert_true(turn(b, 1, 0));
	assert_false(vigil_begin(&b->vigil)); /* a turn that forwards nothing is no question, ... */
	assert_true(turn(b, 0, 1));           /* ... and changes nothing */
}

/* As after an answer that was looked for in vain. */
static void an_empty_turn_is_none(void **state)
{
	struct bench *b = *state;

	assert_false(turn(b, 0, 1));
	assert_false(vigil_begin(&b->vigil));
	assert_false(turn(b, 1, 0));
	assert_true(turn(b, 0, 1));
}

static void who_is_not_answered_is_not_waited_for(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < 20; i++)
		assert_false(turn(b, 0, 1));
}

/* One of many, who answer in any order, as in a pool; and several frames in a turn. */
static void a_crowd_is_no_conversation(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < 20; i++) {
		assert_false(turn(b, 0, 1 + i % 3));
		assert_false(turn(b, 1 + (i + 2) % 3, 0));
	}
	for (unsigned i = 0; i < 20; i++) {
		say(b, 0, 1);
		assert_false(turn(b, 0, 1));
		say(b, 1, 0);
		assert_false(turn(b, 1, 0));
	}
}

/* Questions until it is looked for the answer again, every one answered by the next turn. */
static unsigned questions_unwatched(struct bench *b)
{
	unsigned n = 0;

	while (!turn(b, 0, 1)) {
		(void)turn(b, 1, 0);
		n++;
	}
	return n;
}

static void in_vain_is_tried_less_and_less(void **state)
{
	struct bench *b = *state;
	unsigned expected = 1;

	assert_int_equal(questions_unwatched(b), 1);
	for (unsigned i = 0; i < 12; i++) { /* it comes, but later */
		vigil_in_vain(&b->vigil);
		(void)turn(b, 1, 0);
		expected = expected < 1024 ? 2 * expected : 1024;
		assert_int_equal(questions_unwatched(b), expected - 1);
	}
	for (unsigned i = 0; i < 10; i++) { /* it comes at once again: soon all is forgiven */
		(void)turn(b, 1, 0);
		assert_true(turn(b, 0, 1));
	}
	vigil_in_vain(&b->vigil);
	(void)turn(b, 1, 0);
	assert_int_equal(questions_unwatched(b), 1);
}

static void each_direction_learns_for_itself(void **state)
{
	struct bench *b = *state;

	assert_int_equal(questions_unwatched(b), 1);
	for (unsigned i = 0; i < 100; i++) { /* it answers at once, and asks again after some thought */
		if (turn(b, 1, 0))
			vigil_in_vain(&b->vigil);
		assert_true(turn(b, 0, 1));
	}
}

static void who_is_gone_is_forgotten(void **state)
{
	struct bench *b = *state;

	(void)turn(b, 0, 1);
	(void)turn(b, 1, 0);
	say(b, 0, 1);
	router_end(&b->router, b->p[1], BROOD__WHY__WHY_EXITED, NULL);
	router_sweep(&b->router);
	assert_false(vigil_begin(&b->vigil));
	vigil_in_vain(&b->vigil); /* of nobody */
	(void)turn(b, 0, 2);
	(void)turn(b, 2, 0);
	assert_true(turn(b, 0, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_conversation_is_looked_at, begin, end),
		cmocka_unit_test_setup_teardown(an_empty_turn_is_none, begin, end),
		cmocka_unit_test_setup_teardown(who_is_not_answered_is_not_waited_for, begin, end),
		cmocka_unit_test_setup_teardown(a_crowd_is_no_conversation, begin, end),
		cmocka_unit_test_setup_teardown(in_vain_is_tried_less_and_less, begin, end),
		cmocka_unit_test_setup_teardown(each_direction_learns_for_itself, begin, end),
		cmocka_unit_test_setup_teardown(who_is_gone_is_forgotten, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
