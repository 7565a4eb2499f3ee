/*
 * broker_life: who is told when processes are lost, come back and end, and whose children are whose.
 */
#include "guard.h"
#include "life.h"
#include "no_memory.h"
#include "test.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EPOCH 0x5000000u
#define ID(n) ((uint64_t)EPOCH << 32 | (n))
#define OLD(n) ((uint64_t)(EPOCH - 1) << 32 | (n))

struct ear { /* a sink that remembers the kinds it got */
	struct sink sink;
	char got[256];
};

static struct bench {
	struct accounts accounts;
	struct registry registry;
	struct router router;
	struct log log;
	struct life life;
	struct absences absences;
	struct exits exits;
	struct event_base *base;
	struct ear ears[4];
} bench;

static void hear(struct sink *sink, struct edge *edge, const uint8_t *bytes, size_t n)
{
	struct ear *ear = (struct ear *)sink;
	size_t used = strlen(ear->got);
	struct frame f;

	(void)edge;
	assert_int_equal(frame_parse((uint8_t *)(uintptr_t)bytes, n, FRAME_MAX, &f), 1);
	if (f.kind == FRAME_GONE) {
		Brood__Gone *gone;

		assert_int_equal(
			guard_unpack(&brood__gone__descriptor, f.body, f.length, 1, (ProtobufCMessage **)&gone), 0);
		snprintf(ear->got + used, sizeof(ear->got) - used, "GONE(%d,%d) ", (int)(uint32_t)gone->id, gone->why);
		guard_free(&gone->base);
	} else {
		snprintf(ear->got + used, sizeof(ear->got) - used, "%s ", frame_kind_name(f.kind));
	}
}

#define assert_heard(i, text)                                                                                          \
	do {                                                                                                           \
		assert_string_equal(bench.ears[i].got, text);                                                          \
		bench.ears[i].got[0] = '\0';                                                                           \
	} while (0)

static void named(void *data, struct process *watcher, const struct name *name)
{
	(void)data;
	(void)name;
	watcher->sink->put(watcher->sink, NULL, (uint8_t[FRAME_HEAD]){ FRAME_MAGIC, FRAME_NAME }, FRAME_HEAD);
}

static const struct limits limits = LIMITS_DEFAULT;

static int begin(void **state)
{
	(void)state;
	memset(&bench, 0, sizeof(bench));
	accounts_init(&bench.accounts, &limits);
	registry_init(&bench.registry, &bench.accounts, named, NULL);
	router_init(&bench.router, &bench.registry, 500, EPOCH, 1);
	log_init(&bench.log, STDERR_FILENO, LOG_ERROR);
	bench.base = event_base_new();
	absences_init(&bench.absences, bench.base, &limits, 1000, &bench.router.grace, life_over, &bench.life);
	bench.life = (struct life){ &bench.registry, &bench.router, &bench.log, &bench.absences, &bench.exits };
	exits_init(&bench.exits, &limits);
	for (int i = 0; i < 4; i++)
		bench.ears[i].sink.put = hear;
	return 0;
}

static int end(void **state)
{
	(void)state;
	absences_deinit(&bench.absences);
	event_base_free(bench.base);
	router_deinit(&bench.router);
	registry_deinit(&bench.registry);
	exits_deinit(&bench.exits);
	accounts_deinit(&bench.accounts);
	return 0;
}

static struct process *live(uint64_t id, uint32_t uid, unsigned ear)
{
	return life_begin(&bench.life, id, uid, "", TRANSPORT_UNIX, NULL, &bench.ears[ear].sink);
}

static struct process *spawned(uint64_t id, uint32_t uid, unsigned ear, struct process *parent)
{
	struct process *p = live(id, uid, ear);

	registry_relate(p, parent);
	p->spawned = 1;
	return p;
}

/* Who is kept is known as such from the beginning, or not at all. */
static void test_a_keeper_from_the_beginning(void **state)
{
	struct process *keeper = live(ID(1), 1000, 0), *child = NULL;
	int i;

	(void)state;
	for (i = 1; !child; i++) {
		calloc_fails = i;
		child = life_begin(&bench.life, ID(2), 1000, "", TRANSPORT_CHILD, keeper, &bench.ears[1].sink);
		assert_ptr_equal(registry_find(&bench.registry, ID(2)), child);
		assert_true(child || !keeper->estate);
	}
	calloc_fails = 0;
	assert_true(i > 4); /* the child, and two estates */
	assert_ptr_equal(estate_of(child)->keeper, keeper);
	life_disconnect(&bench.life, child, -ENOENT);
	assert_int_equal(child->state, PROCESS_LOST);
	assert_ptr_equal(estate_of(life_expect(&bench.life, ID(3), 1000, "", keeper))->keeper, keeper);
	life_end(&bench.life, keeper, BROOD__WHY__WHY_LEFT, NULL);
	assert_null(registry_find(&bench.registry, ID(2)));
	assert_null(registry_find(&bench.registry, ID(3)));
}

/* Without memory to wait for it, its end is told at once. */
static void test_absent_without_memory(void **state)
{
	struct process *p;

	(void)state;
	for (unsigned i = 1; i <= 2; i++) { /* its estate, its absence */
		p = live(ID(i), 1000, 0);
		p->level = 1;
		calloc_fails = (int)i;
		life_disconnect(&bench.life, p, -ENOENT);
		calloc_fails = 0;
		assert_null(registry_find(&bench.registry, ID(i)));
	}
	p = live(ID(3), 1000, 0);
	p->level = 1;
	life_disconnect(&bench.life, p, -ENOENT);
	assert_int_equal(p->state, PROCESS_LOST);
	assert_non_null(estate_of(p)->absence);
	life_return(&bench.life, p, 1000, TRANSPORT_UNIX, &bench.ears[0].sink);
	assert_null(p->estate);
}

static void test_spawned_are_lost_others_gone(void **state)
{
	struct process *parent = live(ID(1), 1000, 0), *child = spawned(ID(2), 1000, 1, parent);
	struct process *joined = live(ID(3), 1000, 2);

	(void)state;
	registry_relate(joined, parent);
	life_disconnect(&bench.life, child, -ENOENT);
	assert_int_equal(child->state, PROCESS_LOST);
	assert_heard(0, "");
	life_disconnect(&bench.life, joined, -ENOENT);
	assert_null(registry_find(&bench.registry, ID(3)));
	assert_heard(0, "GONE(3,3) ");
	life_return(&bench.life, child, 1000, TRANSPORT_UNIX, &bench.ears[1].sink);
	assert_int_equal(child->state, PROCESS_LIVE);
}

/* Names are free before anybody hears of the end. */
static void test_names_go_first(void **state)
{
	struct process *watcher = live(ID(1), 1000, 0), *holder = live(ID(2), 1000, 1);

	(void)state;
	registry_relate(holder, watcher);
	assert_int_equal(registry_name_take(&bench.registry, holder, "resize"), 0);
	assert_int_equal(registry_watch(&bench.registry, watcher, "resize"), 0);
	assert_heard(0, "NAME ");
	life_end(&bench.life, holder, BROOD__WHY__WHY_LEFT, NULL);
	assert_heard(0, "NAME GONE(2,1) ");
}

/* As deep as families may be. */
static void test_lost_descendants_end_with_their_ancestor(void **state)
{
	struct process *first = live(ID(1), 1000, 0), *p = first;

	(void)state;
	for (uint32_t i = 2; i <= 200000; i++)
		p = spawned(ID(i), 1000, 1, p);
	/* From the youngest, so that each has a parent that vouches for it. */
	for (; p != first; p = p->parent)
		life_disconnect(&bench.life, p, -ENOENT);
	assert_int_equal(bench.registry.processes.count, 200000);
	life_disconnect(&bench.life, first, -ENOENT);
	assert_int_equal(bench.registry.processes.count, 0);
}

static void test_live_children_of_the_dead_go_on(void **state)
{
	struct process *parent = live(ID(1), 1000, 0), *child = spawned(ID(2), 1000, 1, parent);

	(void)state;
	life_end(&bench.life, parent, BROOD__WHY__WHY_LEFT, NULL);
	assert_heard(1, "GONE(1,1) ");
	assert_null(child->parent);
	assert_int_equal(child->state, PROCESS_LIVE);
	life_disconnect(&bench.life, child, -ENOENT); /* nobody vouches for it now */
	assert_null(registry_find(&bench.registry, ID(2)));
}

/* Its end was only told by its parent; now it is waited for like others. Whoever is gone is not awaited again. */
static void test_lost_children_may_survive_their_parent(void **state)
{
	struct process *parent = live(ID(1), 1000, 0), *child = spawned(ID(2), 1000, 1, parent);
	struct process *old = live(OLD(3), 1000, 2);

	(void)state;
	child->level = 1;
	life_disconnect(&bench.life, child, -ENOENT);
	assert_int_equal(bench.absences.n, 0);
	life_end(&bench.life, parent, BROOD__WHY__WHY_LEFT, NULL);
	assert_int_equal(child->state, PROCESS_LOST);
	assert_int_equal(bench.absences.n, 1);
	life_return(&bench.life, child, 1000, TRANSPORT_UNIX, &bench.ears[1].sink);
	assert_int_equal(child->state, PROCESS_LIVE);
	assert_true(router_awaits(&bench.router, OLD(3)));
	life_end(&bench.life, old, BROOD__WHY__WHY_LEFT, NULL);
	assert_false(router_awaits(&bench.router, OLD(3)));
	assert_true(departed_has(&bench.registry.departed, ID(1), 0));
}

/* A child may name any process of an earlier run its parent. When that is back, it is seen whether it can be. */
static void test_awaited_parent_disowns_strangers(void **state)
{
	struct process *parent = router_await(&bench.router, OLD(1));
	struct process *own = spawned(OLD(2), 1000, 0, parent), *stranger = spawned(OLD(3), 1001, 1, parent);

	(void)state;
	life_return(&bench.life, parent, 1000, TRANSPORT_UNIX, &bench.ears[2].sink);
	assert_ptr_equal(own->parent, parent);
	assert_null(stranger->parent);
	assert_int_equal(parent->uid, 1000);
}

/* Who can come back is lost although nobody vouches for it: until it is back, or away too long. */
static void test_absent(void **state)
{
	struct process *a = live(ID(1), 1000, 0), *b = live(ID(2), 1000, 1);

	(void)state;
	registry_relate(b, a);
	b->level = 1;
	life_disconnect(&bench.life, b, -ENOENT);
	assert_int_equal(b->state, PROCESS_LOST);
	assert_int_equal(bench.absences.n, 1);
	life_return(&bench.life, b, 1000, TRANSPORT_UNIX, &bench.ears[1].sink);
	assert_int_equal(bench.absences.n, 0);
	bench.absences.most_ms = 1;
	bench.router.grace = 0;
	life_disconnect(&bench.life, b, -ENOENT);
	event_base_dispatch(bench.base); /* returns when no timer is left */
	assert_null(registry_find(&bench.registry, ID(2)));
	assert_heard(0, "GONE(2,3) ");
}

/* A pidfd tells a crash from a cut, at once or later. */
static void test_absent_and_dead(void **state)
{
	struct process *p;
	int pipes[2], pidfd;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	for (int later = 0; later < 2; later++) {
		p = live(ID(3), 1000, 2);
		p->level = 1;
		pid = fork();
		if (pid == 0) {
			close(pipes[1]);
			_exit(read(pipes[0], &pid, 1) == 1 ? 0 : 1);
		}
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (!later)
			kill(pid, SIGKILL);
		if (!later)
			assert_int_equal(poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 5000), 1);
		life_disconnect(&bench.life, p, pidfd);
		assert_int_equal(registry_find(&bench.registry, ID(3)) != NULL, later);
		if (later)
			kill(pid, SIGKILL);
		event_base_dispatch(bench.base);
		assert_null(registry_find(&bench.registry, ID(3)));
		waitpid(pid, NULL, 0);
	}
	close(pipes[0]);
	close(pipes[1]);
}

static void test_grace_ends(void **state)
{
	struct process *child = live(ID(2), 1000, 0), *parent = router_await(&bench.router, OLD(1));

	(void)state;
	registry_relate(child, parent);
	assert_non_null(router_await(&bench.router, OLD(7)));
	life_end_grace(&bench.life);
	assert_int_equal(bench.registry.processes.count, 1);
	assert_int_equal(bench.router.n_awaited, 0);
	assert_heard(0, "GONE(1,4) ");
	assert_false(router_awaits(&bench.router, OLD(1)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_keeper_from_the_beginning, begin, end),
		cmocka_unit_test_setup_teardown(test_absent_without_memory, begin, end),
		cmocka_unit_test_setup_teardown(test_spawned_are_lost_others_gone, begin, end),
		cmocka_unit_test_setup_teardown(test_names_go_first, begin, end),
		cmocka_unit_test_setup_teardown(test_lost_descendants_end_with_their_ancestor, begin, end),
		cmocka_unit_test_setup_teardown(test_live_children_of_the_dead_go_on, begin, end),
		cmocka_unit_test_setup_teardown(test_lost_children_may_survive_their_parent, begin, end),
		cmocka_unit_test_setup_teardown(test_awaited_parent_disowns_strangers, begin, end),
		cmocka_unit_test_setup_teardown(test_absent, begin, end),
		cmocka_unit_test_setup_teardown(test_absent_and_dead, begin, end),
		cmocka_unit_test_setup_teardown(test_grace_ends, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
