/*
 * broker_exits: what is remembered of those who ended, on whose word, for how long, and who has to forget first.
 */
#include "exits.h"
#include "test.h"
#include <stdio.h>
#include <string.h>

#define ID(n) ((uint64_t)100 << 32 | (n))

static struct limits limits;
static struct accounts accounts;
static struct registry registry;
static struct exits exits;

static void named(void *data, struct process *watcher, const struct name *name)
{
	(void)data;
	(void)watcher;
	(void)name;
}

static int begin(void **state)
{
	(void)state;
	limits = (struct limits)LIMITS_DEFAULT;
	limits.exits = 4;
	accounts_init(&accounts, &limits);
	registry_init(&registry, &accounts, named, NULL);
	exits_init(&exits, &limits);
	return 0;
}

static int end(void **state)
{
	(void)state;
	registry_deinit(&registry);
	exits_deinit(&exits);
	accounts_deinit(&accounts);
	return 0;
}

static struct process *add(uint64_t id, uint32_t uid, struct process *parent, const char *name)
{
	struct process *p = registry_add(&registry, id, uid);

	assert_non_null(p);
	p->pid = (uint32_t)id;
	p->since_ms = 50;
	registry_entitle(p, "program");
	registry_relate(p, parent);
	if (name)
		assert_int_equal(registry_name_take(&registry, p, name), 0);
	return p;
}

/* The broker sees its end. */
static void see(uint64_t id, uint32_t uid, Brood__Why why, uint64_t now)
{
	struct process *p = registry_find(&registry, id) ? registry_find(&registry, id) : add(id, uid, NULL, NULL);

	exits_see(&exits, p, why, NULL, NULL, now);
	registry_remove(&registry, p);
}

static Brood__Died killed(uint64_t id)
{
	Brood__Died died = BROOD__DIED__INIT;

	died.id = id;
	died.cause = BROOD__CAUSE__CAUSE_SIGNALED;
	died.signo = 9;
	died.ended_by = BROOD__ENDED_BY__BY_TIMEOUT;
	died.wall_ms = 30;
	died.text = (char *)"killed by signal 9";
	return died;
}

static Brood__Died exited(uint64_t id, int code)
{
	Brood__Died died = BROOD__DIED__INIT;

	died.id = id;
	died.cause = BROOD__CAUSE__CAUSE_EXITED;
	died.code = code;
	return died;
}

static void test_what_the_broker_sees(void **state)
{
	struct process *p = add(ID(2), 7, add(ID(1), 7, NULL, NULL), "resize");
	const struct ending *e;

	(void)state;
	assert_int_equal(registry_name_take(&registry, p, "resize.1"), 0);
	exits_see(&exits, p, BROOD__WHY__WHY_CLOSED, "limit.names", "it has too many", 1050);
	exits_see(&exits, p, BROOD__WHY__WHY_LOST, NULL, NULL, 1051); /* the first reason counts */
	registry_remove(&registry, p);
	e = exits_find(&exits, ID(2));
	assert_non_null(e);
	assert_string_equal(e->names, "resize.1 resize");
	assert_string_equal(e->title, "program");
	assert_string_equal(e->parent_title, "program");
	assert_string_equal(e->error, "limit.names");
	assert_string_equal(e->text, "it has too many");
	assert_int_equal(e->why, BROOD__WHY__WHY_CLOSED);
	assert_int_equal(e->cause, BROOD__CAUSE__CAUSE_UNKNOWN);
	assert_true(e->parent == ID(1) && e->pid == (uint32_t)ID(2) && e->user->uid == 7);
	assert_true(e->began_ms == 50 && e->ended_ms == 1050);
	assert_null(exits_find(&exits, ID(1)));
	assert_null(exits_find(&exits, 0));
}

/* Names that it gave up before it left are what it is asked for by. */
static void test_names_given_up(void **state)
{
	struct process *p = add(ID(1), 7, NULL, "resize");

	(void)state;
	registry_name_give_up(&registry, p, "");
	registry_name_give_up(&registry, p, "");
	see(ID(1), 7, BROOD__WHY__WHY_LEFT, 60);
	assert_string_equal(exits_find(&exits, ID(1))->names, "resize");
}

static void test_what_the_parent_says(void **state)
{
	struct process *parent = add(ID(1), 7, NULL, NULL), *child = add(ID(2), 7, parent, NULL);
	Brood__Died died = killed(ID(2));
	const struct ending *e;

	(void)state;
	exits_tell(&exits, parent, child, &died, 1, 100); /* it is reaped before its connection ends ... */
	see(ID(2), 7, BROOD__WHY__WHY_EXITED, 110);
	died.tail = (ProtobufCBinaryData){ 4, (uint8_t *)"oops" };
	exits_tell(&exits, parent, NULL, &died, 1, 120); /* ... and its last words come behind that */
	e = exits_find(&exits, ID(2));
	assert_int_equal(e->why, BROOD__WHY__WHY_EXITED);
	assert_int_equal(e->cause, BROOD__CAUSE__CAUSE_SIGNALED);
	assert_int_equal(e->ended_by, BROOD__ENDED_BY__BY_TIMEOUT);
	assert_int_equal(e->signo, 9);
	assert_string_equal(e->text, "killed by signal 9");
	assert_int_equal(e->tail_length, 4);
	assert_memory_equal(e->tail, "oops", 4);
	assert_true(e->ended_ms == 100 && e->wall_ms == 30);
	died.tail = (ProtobufCBinaryData){ 0, NULL }; /* said again after a reconnect: nothing is lost by that */
	exits_tell(&exits, parent, NULL, &died, 1, 130);
	assert_int_equal(e->tail_length, 4);
	died.cause = BROOD__CAUSE__CAUSE_UNKNOWN; /* a client that does not say how */
	exits_tell(&exits, parent, NULL, &died, 1, 140);
	assert_int_equal(e->cause, BROOD__CAUSE__CAUSE_SIGNALED);
}

static void test_who_is_believed(void **state)
{
	struct process *parent = add(ID(1), 7, NULL, NULL), *other = add(ID(5), 8, NULL, NULL);
	Brood__Died died = killed(ID(2));

	(void)state;
	add(ID(2), 7, parent, NULL);
	see(ID(2), 7, BROOD__WHY__WHY_LOST, 100);
	exits_tell(&exits, other, NULL, &died, 1, 110);
	assert_int_equal(exits_find(&exits, ID(2))->cause, BROOD__CAUSE__CAUSE_UNKNOWN);
	died.id = ID(3);
	exits_tell(&exits, other, NULL, &died, 0, 120); /* of an id that cannot have been its child's */
	assert_null(exits_find(&exits, ID(3)));
	died.title = (char *)"claimed";
	died.name = (char *)"its.name";
	exits_tell(&exits, other, NULL, &died, 1, 130); /* that could not be started, or lived before this broker */
	assert_string_equal(exits_find(&exits, ID(3))->title, "claimed");
	assert_string_equal(exits_find(&exits, ID(3))->names, "its.name");
	assert_int_equal(exits_find(&exits, ID(3))->user->uid, 8);
	add(ID(3), 7, parent, NULL); /* but it was somebody else's, who comes back */
	see(ID(3), 7, BROOD__WHY__WHY_LEFT, 140);
	assert_int_equal(exits_find(&exits, ID(3))->user->uid, 7);
	assert_int_equal(exits_find(&exits, ID(3))->cause, BROOD__CAUSE__CAUSE_UNKNOWN);
}

static void test_long_ones_are_cut(void **state)
{
	struct process *parent = add(ID(1), 7, NULL, NULL);
	Brood__Died died = killed(ID(2));
	static uint8_t tail[EXITS_TAIL + 100];
	static char text[4000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	memset(tail, 'a', sizeof(tail));
	memset(tail + 100, 'b', EXITS_TAIL);
	died.text = died.stage = died.title = died.name = text;
	died.tail = (ProtobufCBinaryData){ sizeof(tail), tail };
	exits_tell(&exits, parent, NULL, &died, 1, 100);
	assert_int_equal(strlen(exits_find(&exits, ID(2))->text), EXITS_TEXT - 1);
	assert_int_equal(strlen(exits_find(&exits, ID(2))->names), EXITS_NAMES - 1);
	assert_int_equal(exits_find(&exits, ID(2))->tail_length, EXITS_TAIL);
	assert_int_equal(exits_find(&exits, ID(2))->tail[0], 'b');
}

static void test_peaceful_ones_go_first(void **state)
{
	struct process *parent = add(ID(90), 7, NULL, NULL);
	Brood__Died died = exited(ID(2), 0);

	(void)state;
	see(ID(1), 7, BROOD__WHY__WHY_LOST, 100);
	see(ID(2), 7, BROOD__WHY__WHY_LEFT, 101);
	see(ID(3), 7, BROOD__WHY__WHY_LEFT, 102);
	see(ID(4), 7, BROOD__WHY__WHY_LOST, 103);
	see(ID(5), 7, BROOD__WHY__WHY_LOST, 104);
	assert_null(exits_find(&exits, ID(2)));
	see(ID(6), 7, BROOD__WHY__WHY_LOST, 105);
	assert_null(exits_find(&exits, ID(3)));
	see(ID(7), 7, BROOD__WHY__WHY_LOST, 106); /* there is none left, so the oldest goes */
	assert_null(exits_find(&exits, ID(1)));
	assert_non_null(exits_find(&exits, ID(4)));
	/* What ended in peace as far as the broker saw did not, if its parent says otherwise. */
	add(ID(8), 7, parent, NULL);
	see(ID(8), 7, BROOD__WHY__WHY_LEFT, 107);
	assert_true(exits_find(&exits, ID(8))->in_peace);
	died = exited(ID(8), 3);
	exits_tell(&exits, parent, NULL, &died, 1, 108);
	assert_false(exits_find(&exits, ID(8))->in_peace);
	died.code = 0;
	exits_tell(&exits, parent, NULL, &died, 1, 109);
	assert_true(exits_find(&exits, ID(8))->in_peace);
	died = killed(ID(8));
	died.ended_by = BROOD__ENDED_BY__BY_KILL;
	exits_tell(&exits, parent, NULL, &died, 1, 110);
	assert_true(exits_find(&exits, ID(8))->in_peace); /* as its parent wished */
}

static void test_who_has_most_loses(void **state)
{
	(void)state;
	see(ID(1), 7, BROOD__WHY__WHY_LOST, 100);
	for (uint64_t i = 2; i < 50; i++)
		see(ID(i), 8, BROOD__WHY__WHY_LOST, 100 + i);
	assert_non_null(exits_find(&exits, ID(1)));
	assert_non_null(exits_find(&exits, ID(49)));
	assert_null(exits_find(&exits, ID(46)));
	assert_int_equal(exits.by_id.count, 4);
}

static void test_the_limit(void **state)
{
	uint32_t at = 0, n = 0;

	(void)state;
	for (uint64_t i = 1; i < 5; i++)
		see(ID(i), 8, BROOD__WHY__WHY_LEFT, i);
	limits.exits = 2; /* as a reload does it */
	see(ID(9), 8, BROOD__WHY__WHY_LEFT, 9);
	while (exits_next(&exits, &at))
		n++;
	assert_int_equal(n, 2);
	limits.exits = 0;
	see(ID(10), 8, BROOD__WHY__WHY_LEFT, 10);
	assert_null(exits_find(&exits, ID(10)));
	assert_int_equal(exits.by_id.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_the_broker_sees, begin, end),
		cmocka_unit_test_setup_teardown(test_names_given_up, begin, end),
		cmocka_unit_test_setup_teardown(test_what_the_parent_says, begin, end),
		cmocka_unit_test_setup_teardown(test_who_is_believed, begin, end),
		cmocka_unit_test_setup_teardown(test_long_ones_are_cut, begin, end),
		cmocka_unit_test_setup_teardown(test_peaceful_ones_go_first, begin, end),
		cmocka_unit_test_setup_teardown(test_who_has_most_loses, begin, end),
		cmocka_unit_test_setup_teardown(test_the_limit, begin, end),
	};

	return cmocka_run_group_tests_name("broker_exits", tests, NULL, NULL);
}
