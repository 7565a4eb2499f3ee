/* Timers: fired in order and once, whatever a callback does to the others, and against a slow model. */
#include "test.h"

#include "timer.h"
#include <stdlib.h>
#include <string.h>

#define MANY 200

struct owner {
	struct timer timer;
	struct timers *timers;
	struct owner *other; /* what the callback acts upon */
	uint64_t again;      /* rearm for this, 0: do not */
	unsigned fired;
};

static uint64_t last_due; /* of the timer fired last: the order is checked by all callbacks */

static void note(struct timer *timer)
{
	struct owner *owner = (struct owner *)timer;
	assert_int_equal(timer->slot, 0);
	assert_true(timer->due >= last_due);
	last_due = timer->due;
	owner->fired++;
}

static void note_and_cancel_other(struct timer *timer)
{
	note(timer);
	timer_cancel(((struct owner *)timer)->timers, &((struct owner *)timer)->other->timer);
}

static void note_and_arm_again(struct timer *timer)
{
	struct owner *owner = (struct owner *)timer;
	note(timer);
	assert_int_equal(timer_arm(owner->timers, timer, owner->again), 0);
}

static void note_and_free_owner(struct timer *timer)
{
	note(timer);
	free(timer);
}

static void note_and_end_all(struct timer *timer)
{
	note(timer);
	timers_deinit(((struct owner *)timer)->timers);
}

static int begin(void **state)
{
	static struct timers timers;
	timers_init(&timers);
	last_due = 0;
	*state = &timers;
	return 0;
}

static int end(void **state)
{
	timers_deinit(*state);
	timers_deinit(*state);
	return 0;
}

static void nothing_is_due_without_timers(void **state)
{
	assert_true(timers_next(*state) == UINT64_MAX);
	assert_int_equal(timers_run(*state, UINT64_MAX), 0);
}

static void one_fires_once_and_not_early(void **state)
{
	struct owner one = { .timer.fire = note };
	assert_int_equal(timer_arm(*state, &one.timer, 100), 0);
	assert_int_equal(timers_next(*state), 100);
	assert_int_equal(timers_run(*state, 99), 0);
	assert_int_equal(timers_run(*state, 100), 1);
	assert_int_equal(timers_run(*state, 1000), 0);
	assert_int_equal(one.fired, 1);
	assert_true(timers_next(*state) == UINT64_MAX);
}

static void arming_again_moves_it(void **state)
{
	struct owner one = { .timer.fire = note }, two = { .timer.fire = note };
	timer_arm(*state, &one.timer, 100);
	timer_arm(*state, &two.timer, 50);
	timer_arm(*state, &two.timer, 150);
	assert_int_equal(timers_next(*state), 100);
	timer_arm(*state, &two.timer, 10);
	assert_int_equal(timers_next(*state), 10);
	assert_int_equal(timers_run(*state, 120), 2);
}

static void cancelled_ones_do_not_fire(void **state)
{
	struct owner one = { .timer.fire = note }, two = { .timer.fire = note };
	timer_cancel(*state, &one.timer);
	timer_arm(*state, &one.timer, 1);
	timer_arm(*state, &two.timer, 2);
	timer_cancel(*state, &one.timer);
	timer_cancel(*state, &one.timer);
	assert_int_equal(timers_run(*state, 5), 1);
	assert_int_equal(one.fired, 0);
}

static void callbacks_cancel_others(void **state)
{
	struct owner two = { .timer.fire = note };
	struct owner one = { .timer.fire = note_and_cancel_other, .timers = *state, .other = &two };
	timer_arm(*state, &two.timer, 2);
	timer_arm(*state, &one.timer, 1);
	assert_int_equal(timers_run(*state, 5), 1);
	assert_int_equal(two.fired, 0);
}

static void a_run_ends_although_a_timer_wants_now(void **state)
{
	struct owner eager = { .timer.fire = note_and_arm_again, .timers = *state, .again = 3 };
	struct owner late = { .timer.fire = note };
	timer_arm(*state, &eager.timer, 1);
	timer_arm(*state, &late.timer, 4);
	assert_int_equal(timers_run(*state, 4), 2);
	assert_int_equal(timers_next(*state), 5);
	assert_int_equal(timers_run(*state, 5), 1);
	assert_int_equal(eager.fired, 2);
	timer_cancel(*state, &eager.timer);
	timer_arm(*state, &late.timer, 2); /* outside of a run the past is the past */
	assert_int_equal(timers_next(*state), 2);
	timer_cancel(*state, &late.timer); /* it ends with this function, the heap does not */
}

static void a_callback_frees_its_owner(void **state)
{
	struct owner *owner = calloc(1, sizeof *owner);
	owner->timer.fire = note_and_free_owner;
	timer_arm(*state, &owner->timer, 1);
	assert_int_equal(timers_run(*state, 1), 1);
}

static void a_callback_ends_all(void **state)
{
	struct owner one = { .timer.fire = note_and_end_all, .timers = *state }, two = { .timer.fire = note };
	timer_arm(*state, &one.timer, 1);
	timer_arm(*state, &two.timer, 2);
	assert_int_equal(timers_run(*state, 5), 1);
	assert_int_equal(two.fired, 0);
	assert_int_equal(two.timer.slot, 0);
}

/* The earliest by looking at all of them. */
static uint64_t earliest(const struct owner *owners)
{
	uint64_t least = UINT64_MAX;
	for (unsigned i = 0; i < MANY; i++)
		if (owners[i].timer.slot && owners[i].timer.due < least)
			least = owners[i].timer.due;
	return least;
}

static void many_agree_with_a_slow_model(void **state)
{
	static struct owner owners[MANY];
	unsigned seed = 1, fired = 0;
	for (unsigned i = 0; i < MANY; i++)
		owners[i] = (struct owner){ .timer.fire = note };
	for (uint64_t now = 0; now < 20000; now++) {
		struct owner *owner = &owners[(unsigned)rand_r(&seed) % MANY];
		if (rand_r(&seed) % 4)
			assert_int_equal(timer_arm(*state, &owner->timer, now + (unsigned)rand_r(&seed) % 300), 0);
		else
			timer_cancel(*state, &owner->timer);
		assert_true(timers_next(*state) == earliest(owners));
		if (now % 7 == 0)
			fired += timers_run(*state, now);
		assert_true(now % 7 || earliest(owners) > now);
	}
	assert_true(fired > 1000);
}

/* Promised ones have room, however many others are armed. */
static void promised_ones_have_room(void **state)
{
	struct timers t;
	struct timer promised[10] = { 0 }, others[100] = { 0 };
	unsigned size;
	(void)state;
	timers_init(&t);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(timer_promise(&t, &promised[i]), 0);
		assert_int_equal(timer_promise(&t, &promised[i]), 0);
	}
	for (int i = 0; i < 100; i++)
		assert_int_equal(timer_arm(&t, &others[i], 50), 0);
	while (t.promised + t.others < t.size) /* up to the brim */
		assert_int_equal(timer_promise(&t, &(struct timer){ 0 }), 0);
	size = t.size;
	for (int i = 0; i < 10; i++)
		assert_int_equal(timer_arm(&t, &promised[i], (uint64_t)i), 0);
	assert_int_equal(t.size, size);
	timer_cancel(&t, &others[3]);
	timer_cancel(&t, &promised[3]);
	assert_int_equal(t.others, 99);
	assert_int_equal(timer_arm(&t, &promised[3], 3), 0);
	timer_release(&t, &promised[3]);
	assert_int_equal(promised[3].slot, 0);
	assert_int_equal(t.promised, size - 101);
	timers_deinit(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_due_without_timers, begin, end),
		cmocka_unit_test_setup_teardown(one_fires_once_and_not_early, begin, end),
		cmocka_unit_test_setup_teardown(arming_again_moves_it, begin, end),
		cmocka_unit_test_setup_teardown(cancelled_ones_do_not_fire, begin, end),
		cmocka_unit_test_setup_teardown(callbacks_cancel_others, begin, end),
		cmocka_unit_test_setup_teardown(a_run_ends_although_a_timer_wants_now, begin, end),
		cmocka_unit_test_setup_teardown(a_callback_frees_its_owner, begin, end),
		cmocka_unit_test_setup_teardown(a_callback_ends_all, begin, end),
		cmocka_unit_test_setup_teardown(many_agree_with_a_slow_model, begin, end),
		cmocka_unit_test(promised_ones_have_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
