/*
 * broker_router: routing without sockets. A fake sink writes down what it got, as words: "data<-1", "HOLD(2)", ...
 */
#include "guard.h"
#include "message.h"
#include "router.h"
#include "test.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPOCH 0x5000000u
#define ID(n) ((uint64_t)EPOCH << 32 | (n))
#define OLD(n) ((uint64_t)(EPOCH - 1) << 32 | (n))
#define OWNER 500u

struct fake {
	struct sink sink;
	struct edge *edge; /* of the latest frame */
	const uint8_t *bytes;
	char got[512];
};

static const struct limits limits = LIMITS_DEFAULT;

struct bench {
	struct accounts accounts;
	struct registry registry;
	struct router router;
	struct policy policy; /* once allow() made one */
	unsigned denied;      /* how often that was told */
	struct fake fakes[8];
	struct process *p[8]; /* 0 to 3 of uid 1000, 4 of 1001, 5 of the owner, 6 of root */
};

static void fake_put(struct sink *sink, struct edge *edge, const uint8_t *bytes, size_t n)
{
	struct fake *fake = (struct fake *)sink;
	size_t used = strlen(fake->got);
	struct frame f;

	assert_int_equal(frame_parse((uint8_t *)(uintptr_t)bytes, n, FRAME_MAX, &f), 1);
	assert_int_equal(edge != NULL, frame_is_routed(f.kind));
	fake->edge = edge;
	fake->bytes = bytes;
	if (edge) {
		snprintf(fake->got + used, sizeof(fake->got) - used, "data<-%d ", (int)(uint32_t)f.source);
	} else if (f.kind == FRAME_GONE) {
		Brood__Gone *gone;

		assert_int_equal(
			guard_unpack(&brood__gone__descriptor, f.body, f.length, 1, (ProtobufCMessage **)&gone), 0);
		snprintf(fake->got + used, sizeof(fake->got) - used, "GONE(%d,%d) ", (int)(uint32_t)gone->id,
			 gone->why);
		guard_free(&gone->base);
	} else {
		snprintf(fake->got + used, sizeof(fake->got) - used, "%s(%d%s) ", frame_kind_name(f.kind),
			 (int)(uint32_t)f.source, f.flags & FRAME_AWAY ? ",away" : "");
	}
}

#define assert_got(b, i, text)                                                                                         \
	do {                                                                                                           \
		assert_string_equal((b)->fakes[i].got, text);                                                          \
		(b)->fakes[i].got[0] = '\0';                                                                           \
	} while (0)

static void named(void *data, struct process *watcher, const struct name *name)
{
	(void)data;
	(void)watcher;
	(void)name;
}

static int begin(void **state)
{
	static const uint32_t users[] = { 1000, 1000, 1000, 1000, 1001, OWNER, 0 };
	struct bench *b = calloc(1, sizeof(*b));

	accounts_init(&b->accounts, &limits);
	registry_init(&b->registry, &b->accounts, named, NULL);
	router_init(&b->router, &b->registry, OWNER, EPOCH, 1);
	for (unsigned i = 0; i < 7; i++) {
		b->fakes[i].sink.put = fake_put;
		b->p[i] = registry_add(&b->registry, ID(i + 1), users[i]);
		router_attach(&b->router, b->p[i], &b->fakes[i].sink);
	}
	*state = b;
	return 0;
}

static int end(void **state)
{
	struct bench *b = *state;

	router_deinit(&b->router);
	registry_deinit(&b->registry);
	policy_free(&b->policy);
	assert_int_equal(b->accounts.memory, 0);
	assert_int_equal(b->accounts.by_uid.count, 0); /* nobody holds on to one */
	accounts_deinit(&b->accounts);
	free(b);
	return 0;
}

/* Route a frame with `items` small messages from one of ours. */
static int route(struct bench *b, unsigned from, uint64_t to, uint64_t sequence, unsigned items)
{
	static _Alignas(8) uint8_t bytes[FRAME_MAX];
	struct item it = { .kind = ITEM_MESSAGE };
	struct frame f = { .kind = FRAME_DATA, .destination = to, .sequence = sequence, .source = 0xbad };
	uint8_t *at = bytes + FRAME_HEAD;

	for (; items > 0; items--) {
		item_write(at, &it);
		at += item_size(it.kind, 0, 0);
	}
	f.length = (uint32_t)(at - bytes - FRAME_HEAD);
	frame_write_head(bytes, &f);
	assert_int_equal(frame_parse(bytes, sizeof(bytes), FRAME_MAX, &f), 1);
	return router_route(&b->router, b->p[from], &f);
}

static void say(struct bench *b, unsigned from, unsigned to)
{
	assert_int_equal(route(b, from, ID(to + 1), 1, 1), 0);
}

static void test_routes_in_place_and_stamps(void **state)
{
	struct bench *b = *state;
	struct frame f;

	say(b, 0, 1);
	assert_got(b, 1, "data<-1 ");
	assert_int_equal(frame_parse((uint8_t *)(uintptr_t)b->fakes[1].bytes, FRAME_MAX, FRAME_MAX, &f), 1);
	assert_true(f.source == ID(1));
	say(b, 1, 0);
	say(b, 0, 2);
	say(b, 0, 1);
	say(b, 0, 0);
	assert_got(b, 0, "data<-2 data<-1 ");
	assert_got(b, 1, "data<-1 ");
	assert_got(b, 2, "data<-1 ");
	assert_true(b->router.frames == 5);
}

static void test_users(void **state)
{
	struct bench *b = *state;

	say(b, 0, 4);
	assert_got(b, 0, "GONE(5,4) ");
	assert_got(b, 4, "");
	say(b, 4, 0);
	assert_got(b, 4, "GONE(1,4) ");
	for (unsigned mighty = 5; mighty < 7; mighty++) {
		say(b, 4, mighty);
		say(b, mighty, 4);
		assert_got(b, 4, mighty == 5 ? "data<-6 " : "data<-7 ");
		assert_got(b, mighty, "data<-5 ");
	}
	/* Parent and child may be of two users. */
	registry_relate(b->p[4], b->p[0]);
	say(b, 0, 4);
	say(b, 4, 0);
	assert_got(b, 0, "data<-5 ");
	assert_got(b, 4, "data<-1 ");
}

static struct edge *edge_between(struct bench *b, unsigned from, unsigned to)
{
	say(b, from, to);
	b->fakes[to].got[0] = '\0';
	return b->fakes[to].edge;
}

static void denied(void *data, const struct process *from, const struct process *to)
{
	struct bench *b = data;

	assert_false(router_may(&b->router, from, to));
	b->denied++;
}

/* From now on; user 1001 holds the name "shared" for those, NULL: for nobody. */
static void allow(struct bench *b, const char *send, const char *list, const char *users)
{
	struct config_named named = {
		.section = "name", .name = "shared", .owner = "1001", .users = (char *)(uintptr_t)users
	};
	struct config config = { .policy = { .send = (char *)(uintptr_t)send, .list = (char *)(uintptr_t)list },
				 .named = &named,
				 .n_named = users != NULL };
	char why[256];

	policy_free(&b->policy);
	assert_int_equal(policy_make(&b->policy, &config, OWNER, why, sizeof(why)), 0);
	b->registry.policy = &b->policy;
	b->router.denied = denied;
	b->router.denied_data = b;
}

static const char *alice_at_beta(void *data, uint32_t uid)
{
	(void)data;
	return uid == USERS_FOREIGN ? "alice@beta" : NULL;
}

static void test_policy_is_one_way_but_for_answers(void **state)
{
	struct bench *b = *state;

	allow(b, "1000 > 1001", NULL, NULL);
	say(b, 4, 0);
	assert_got(b, 4, "GONE(1,4) ");
	assert_int_equal(b->denied, 1);
	say(b, 0, 4);
	assert_got(b, 4, "data<-1 ");
	say(b, 4, 0);
	assert_got(b, 0, "data<-5 ");
	say(b, 4, 1); /* who did not write to it */
	assert_got(b, 4, "GONE(2,4) ");
	assert_got(b, 1, "");
}

static void test_denied_is_for_who_may_see(void **state)
{
	struct bench *b = *state;

	allow(b, NULL, "1000 > 1001", NULL);
	say(b, 0, 4);
	assert_got(b, 0, "GONE(5,6) ");
	say(b, 4, 0);
	assert_got(b, 4, "GONE(1,4) ");
	assert_int_equal(b->denied, 2);
	route(b, 0, ID(99), 1, 1); /* nobody: as before, and nobody was denied anything */
	assert_got(b, 0, "GONE(99,4) ");
	assert_int_equal(b->denied, 2);
}

/* One of another node: lines that name it, and answers; root here is nobody special there. */
static void test_policy_for_other_nodes(void **state)
{
	struct bench *b = *state;

	b->p[4]->uid = USERS_FOREIGN;
	b->p[4]->proxy = (struct proxy *)(void *)b; /* not looked into */
	allow(b, "*@beta > 1000, 1000 > *", "* > *", NULL);
	for (unsigned i = 0; i < 7; i += 6) { /* a user's, root's: neither that it is there nor that it is not */
		say(b, 4, i);
		assert_got(b, 4, i == 0 ? "GONE(1,4) " : "GONE(7,4) ");
	}
	b->policy.abroad = alice_at_beta;
	say(b, 4, 1);
	assert_got(b, 1, "data<-5 ");
	say(b, 6, 4);
	say(b, 4, 6);
	say(b, 4, 5);
	assert_got(b, 6, "data<-5 ");
	assert_got(b, 4, "data<-7 GONE(6,4) ");
	/* What is taken back, and what is not. */
	allow(b, NULL, NULL, NULL);
	b->policy.abroad = alice_at_beta;
	router_review(&b->router);
	assert_got(b, 4, "GONE(2,4) ");
	say(b, 4, 6);
	assert_got(b, 6, "data<-5 ");
	b->p[4]->proxy = NULL;
	b->p[4]->uid = 1001;
}

static void test_holders_of_shared_names(void **state)
{
	struct bench *b = *state;

	allow(b, NULL, NULL, "1000");
	say(b, 0, 4);
	assert_got(b, 0, "GONE(5,4) ");
	assert_int_equal(registry_name_take(&b->registry, b->p[4], "other"), 0);
	router_begin(&b->router);
	say(b, 0, 4);
	assert_got(b, 0, "GONE(5,4) ");
	assert_int_equal(registry_name_take(&b->registry, b->p[4], "shared"), 0);
	say(b, 0, 4);
	say(b, 2, 4); /* who is not answered */
	say(b, 4, 0);
	assert_got(b, 4, "data<-1 data<-3 ");
	assert_got(b, 0, "data<-5 ");
	/* Without it nobody begins, and who has begun goes on, also when the policy is looked at again. */
	registry_name_drop(&b->registry, b->p[4], "shared");
	router_review(&b->router);
	say(b, 1, 4);
	assert_got(b, 1, "GONE(5,4) ");
	say(b, 0, 4);
	say(b, 4, 0);
	assert_got(b, 4, "data<-1 ");
	assert_got(b, 0, "data<-5 ");
	/* A connection that was cut changes nothing of that. */
	router_detach(&b->router, b->p[4]);
	say(b, 0, 4);
	assert_got(b, 0, "HOLD(5,away) ");
	assert_got(b, 2, "HOLD(5,away) ");
	router_attach(&b->router, b->p[4], &b->fakes[4].sink);
	assert_got(b, 0, "GO(5) ");
	assert_got(b, 2, "GO(5) ");
	allow(b, NULL, NULL, NULL);
	router_review(&b->router);
	assert_got(b, 0, "GONE(5,4) ");
	assert_got(b, 2, "GONE(5,4) ");
	assert_got(b, 4, "GONE(1,4) ");
}

/* The edge of a rule that is no more ends, but not before what waits of it is out. */
static void test_policy_is_taken_back(void **state)
{
	struct bench *b = *state;
	struct edge *e;

	allow(b, "1000 > 1001", NULL, NULL);
	e = edge_between(b, 0, 4);
	say(b, 4, 0);
	say(b, 1, 0); /* of one user: not affected */
	assert_got(b, 0, "data<-5 data<-2 ");
	edge_charge(e, limits.share + 1);
	say(b, 0, 4);
	assert_got(b, 0, "HOLD(5) ");
	router_review(&b->router);
	assert_got(b, 0, "");
	assert_got(b, 4, "");
	allow(b, NULL, "1000 > *", NULL);
	router_review(&b->router);
	assert_got(b, 0, "GONE(5,6) ");
	assert_got(b, 4, "GONE(1,4) ");
	router_sweep(&b->router);
	say(b, 0, 4);
	assert_got(b, 0, "GONE(5,6) ");
	assert_true(b->p[4]->port->queued == limits.share + 1);
	/* Allowed anew meanwhile, it is another edge. */
	allow(b, "1000 > 1001", NULL, NULL);
	say(b, 0, 4);
	assert_got(b, 4, "data<-1 ");
	assert_true(b->fakes[4].edge != e);
	edge_uncharge(e, limits.share + 1);
	assert_got(b, 0, ""); /* no GO for what is no more */
	router_sweep(&b->router);
	assert_true(b->p[4]->port->queued == 0);
	say(b, 0, 4);
	assert_got(b, 4, "data<-1 ");
}

/* What was going on in an earlier run is not known: among those of it who may talk at all either may go on. */
static void test_policy_after_a_crash(void **state)
{
	struct bench *b = *state;
	struct process *old[3];

	allow(b, "1000 > 1001", NULL, NULL);
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t users[] = { 1000, 1001, 1002 };

		old[i] = registry_add(&b->registry, OLD(i + 1), users[i]);
	}
	router_attach(&b->router, old[1], &b->fakes[7].sink);
	b->fakes[7].sink.put = fake_put;
	b->p[7] = old[1];
	registry_remove(&b->registry, old[0]);
	assert_int_equal(route(b, 7, OLD(1), 1, 1), 0);
	assert_got(b, 7, "HOLD(1,away) ");
	old[0] = registry_find(&b->registry, OLD(1));
	assert_int_equal(old[0]->state, PROCESS_AWAITED);
	old[0]->uid = 1000;
	router_attach(&b->router, old[0], &b->fakes[3].sink);
	assert_got(b, 7, "GO(1) ");
	assert_int_equal(route(b, 7, OLD(1), 1, 1), 0);
	assert_got(b, 3, "data<-2 ");
	assert_int_equal(route(b, 7, OLD(3), 1, 1), 0); /* whom no rule names */
	assert_got(b, 7, "GONE(3,4) ");
	assert_int_equal(route(b, 7, ID(1), 1, 1), 0); /* who is new */
	assert_got(b, 7, "GONE(1,4) ");
	assert_int_equal(route(b, 4, OLD(1), 1, 1), 0); /* new itself */
	assert_got(b, 4, "GONE(1,4) ");
	b->router.grace = 0;
	router_end(&b->router, old[0], BROOD__WHY__WHY_LEFT, NULL);
	registry_remove(&b->registry, old[0]);
	old[0] = registry_add(&b->registry, OLD(4), 1000);
	assert_got(b, 7, "GONE(1,1) ");
	assert_int_equal(route(b, 7, OLD(4), 1, 1), 0);
	assert_got(b, 7, "GONE(4,4) ");
}

static void test_nobody_is_told_once_per_helping(void **state)
{
	struct bench *b = *state;

	router_begin(&b->router);
	for (int i = 0; i < 3; i++)
		route(b, 0, ID(99), 1, 1);
	assert_got(b, 0, "GONE(99,4) ");
	router_begin(&b->router);
	route(b, 0, ID(99), 1, 1);
	assert_got(b, 0, "GONE(99,4) ");
	route(b, 0, (uint64_t)(EPOCH + 1) << 32 | 1, 1, 1); /* of the future */
	assert_got(b, 0, "GONE(1,4) ");
}

static void test_hold_and_go(void **state)
{
	struct bench *b = *state;
	struct edge *e = edge_between(b, 0, 1);

	edge_charge(e, limits.share);
	say(b, 0, 1);
	assert_got(b, 1, "data<-1 "); /* at the limit is not above it */
	edge_charge(e, 1);
	say(b, 0, 1);
	assert_got(b, 0, "HOLD(2) ");
	say(b, 0, 1);
	assert_got(b, 0, ""); /* once */
	assert_got(b, 1, "");
	say(b, 2, 1); /* others are not concerned */
	say(b, 0, 2);
	assert_got(b, 1, "data<-3 ");
	assert_got(b, 2, "data<-1 ");
	edge_uncharge(e, limits.share / 2 + 1);
	assert_got(b, 0, ""); /* at half is not below it */
	edge_uncharge(e, 1);
	assert_got(b, 0, "GO(2) ");
	edge_uncharge(e, limits.share / 2 - 1);
	assert_got(b, 0, "");
	say(b, 0, 1);
	assert_got(b, 1, "data<-1 ");
	assert_true(b->router.holds == 1 && b->router.queued == 0);
	edge_uncharge(NULL, 5); /* notes are nobody's */
}

static void test_share_shrinks_with_the_number_of_senders(void **state)
{
	struct bench *b = *state;
	struct edge *e = edge_between(b, 0, 1),
		    *others[] = { edge_between(b, 2, 1), edge_between(b, 3, 1), edge_between(b, 5, 1),
				  edge_between(b, 6, 1), edge_between(b, 1, 1) };

	edge_charge(e, 6u << 20);
	say(b, 0, 1);
	assert_got(b, 1, "data<-1 ");
	for (unsigned i = 0; i < 5; i++)
		edge_charge(others[i], 1);
	say(b, 0, 1); /* 32 MiB / 6 */
	assert_got(b, 0, "HOLD(2) ");
	for (unsigned i = 0; i < 5; i++)
		edge_uncharge(others[i], 1);
	edge_uncharge(e, 2u << 20);
	assert_got(b, 0, "");
	edge_uncharge(e, 1);
	assert_got(b, 0, "GO(2) ");
}

/* A user may have as much waiting as is free: what is on one edge is the less the more there is on the others. */
static void test_users_room(void **state)
{
	struct bench *b = *state;
	struct edge *e = edge_between(b, 0, 1), *huge = edge_between(b, 2, 3), *theirs = edge_between(b, 4, 5);

	edge_charge(huge, limits.memory / 2 - (16u << 20)); /* 32 MiB of room, an eighth of it for each */
	edge_charge(e, 4u << 20);
	say(b, 0, 1);
	assert_got(b, 0, "HOLD(2) ");   /* its own bytes count as well, twice */
	edge_uncharge(huge, 16u << 20); /* now an eighth is 7 MiB */
	edge_uncharge(e, 1);
	assert_got(b, 0, "");
	edge_uncharge(e, 1u << 20);
	assert_got(b, 0, "GO(2) ");
	/* Another user's edge has what is free for that one. */
	edge_charge(huge, 16u << 20);
	edge_charge(theirs, 8u << 20);
	say(b, 4, 5);
	assert_got(b, 5, "data<-5 ");
	edge_charge(theirs, 1);
	say(b, 4, 5);
	assert_got(b, 4, "HOLD(6) ");
	edge_uncharge(theirs, (8u << 20) + 1);
	edge_uncharge(huge, limits.memory / 2 - (16u << 20));
	edge_uncharge(e, (3u << 20) - 1);
}

/* Whatever the others do, one frame may wait. */
static void test_a_frame_each(void **state)
{
	struct bench *b = *state;
	struct edge *e = edge_between(b, 0, 1), *huge = edge_between(b, 2, 3);

	edge_charge(huge, limits.memory / 2);
	edge_charge(e, FRAME_MAX);
	say(b, 0, 1);
	assert_got(b, 1, "data<-1 ");
	edge_charge(e, 1);
	say(b, 0, 1);
	assert_got(b, 0, "HOLD(2) ");
	edge_uncharge(e, FRAME_MAX / 2 + 1);
	assert_got(b, 0, "");
	edge_uncharge(e, 1);
	assert_got(b, 0, "GO(2) ");
}

/*
 * When the queue of a destination is twice what it should be, all are held, also those of whom nothing waits, and go on when
 * there is room again.
 */
static void test_a_full_destination(void **state)
{
	struct bench *b = *state;
	struct edge *e = edge_between(b, 0, 1), *other = edge_between(b, 2, 1);

	(void)e;
	edge_charge(other, 2 * limits.queue);
	say(b, 0, 1);
	assert_got(b, 1, "data<-1 ");
	edge_charge(other, 1);
	say(b, 0, 1);
	say(b, 0, 1);
	say(b, 2, 1);
	assert_got(b, 1, "");
	assert_got(b, 0, "HOLD(2) ");
	assert_got(b, 2, "HOLD(2) ");
	assert_int_equal(b->p[1]->port->full, 2);
	say(b, 0, 3); /* to others */
	assert_got(b, 3, "data<-1 ");
	edge_uncharge(other, limits.queue / 2);
	assert_got(b, 0, "");
	edge_uncharge(other, 1);
	assert_got(b, 0, "GO(2) ");
	assert_got(b, 2, ""); /* it has to wait for its own */
	assert_int_equal(b->p[1]->port->full, 0);
	say(b, 0, 1);
	assert_got(b, 1, "data<-1 ");
	edge_uncharge(other, 3 * (limits.queue / 2));
	assert_got(b, 2, "GO(2) ");
}

/* When the whole broker is full, nothing may wait behind a frame that waits already, whosesoever it is. */
static void test_total(void **state)
{
	struct bench *b = *state;
	struct edge *e = edge_between(b, 0, 1), *huge = edge_between(b, 2, 3), *other = edge_between(b, 5, 1);

	edge_charge(huge, limits.memory + 1);
	edge_charge(other, FRAME_MAX);
	say(b, 0, 1);
	assert_got(b, 1, "data<-1 ");
	edge_charge(other, 1);
	say(b, 0, 1);
	assert_got(b, 0, "HOLD(2) ");
	edge_uncharge(other, FRAME_MAX / 2);
	assert_got(b, 0, "");
	edge_uncharge(other, 1);
	assert_got(b, 0, "GO(2) ");
	/* Or when the broker is not full any more. */
	edge_charge(other, FRAME_MAX);
	say(b, 0, 1);
	assert_got(b, 0, "HOLD(2) ");
	edge_uncharge(huge, limits.memory / 2);
	edge_uncharge(other, 1);
	assert_got(b, 0, "GO(2) ");
	(void)e;
}

/* Who was held because the destination was full and is then lost, or begins again, or ends, leaves no trace. */
static void test_full_and_gone(void **state)
{
	struct bench *b = *state;
	struct edge *other = edge_between(b, 2, 1);

	edge_charge(other, 2 * limits.queue + 1);
	say(b, 0, 1);
	say(b, 3, 1);
	say(b, 5, 1);
	assert_int_equal(b->p[1]->port->full, 3);
	router_detach(&b->router, b->p[0]);
	router_attach(&b->router, b->p[0], &b->fakes[0].sink);
	assert_int_equal(b->p[1]->port->full, 2);
	router_end(&b->router, b->p[3], BROOD__WHY__WHY_LEFT, NULL);
	router_sweep(&b->router);
	assert_int_equal(b->p[1]->port->full, 1);
	b->fakes[5].got[0] = '\0';
	router_detach(&b->router, b->p[1]);
	assert_got(b, 5, "HOLD(2,away) ");
	assert_int_equal(b->router.queued, 0);
	router_attach(&b->router, b->p[1], &b->fakes[1].sink);
	assert_got(b, 5, "GO(2) ");
	assert_int_equal(b->p[1]->port->full, 0);
}

/* What its node says. The HOLD may have come before there was this edge: GO counts all the same, and only for who wrote. */
static void test_the_other_node_says_go(void **state)
{
	struct bench *b = *state;

	say(b, 0, 1);
	router_hold(&b->router, b->p[0], b->p[1], 1);
	assert_got(b, 0, "HOLD(2,away) ");
	router_go(b->p[0], b->p[1]);
	assert_got(b, 0, "GO(2) ");
	router_go(b->p[0], b->p[1]);
	assert_got(b, 0, "GO(2) ");
	router_go(b->p[2], b->p[1]);
	assert_got(b, 2, "");
}

static void test_the_dead_are_never_held(void **state)
{
	struct bench *b = *state;
	struct edge *e = edge_between(b, 0, 1);

	edge_charge(e, limits.share + 1);
	b->p[0]->dying = 1;
	say(b, 0, 1);
	assert_got(b, 1, "data<-1 ");
	b->p[0]->dying = 0;
	say(b, 0, 1);
	assert_got(b, 0, "HOLD(2) ");
	b->p[0]->dying = 1;
	say(b, 0, 1);
	assert_got(b, 1, "data<-1 ");
	assert_got(b, 0, "");
}

static void test_lost_and_back(void **state)
{
	struct bench *b = *state;
	struct edge *e = edge_between(b, 0, 1);

	edge_charge(e, limits.share + 1);
	say(b, 0, 1);
	assert_got(b, 0, "HOLD(2) ");
	say(b, 1, 0);
	assert_got(b, 0, "data<-2 ");
	router_detach(&b->router, b->p[1]);
	assert_got(b, 0, "HOLD(2,away) ");
	assert_true(b->router.queued == 0);
	say(b, 0, 1);
	say(b, 2, 1);
	assert_got(b, 0, "");
	assert_got(b, 2, "HOLD(2,away) ");
	say(b, 2, 1);
	assert_got(b, 2, "");
	router_attach(&b->router, b->p[1], &b->fakes[1].sink);
	assert_got(b, 0, "GO(2) ");
	assert_got(b, 2, "GO(2) ");
	say(b, 0, 1);
	assert_got(b, 1, "data<-1 ");
}

/* Who comes back begins again: it hears HOLD anew from those that are still shut. */
static void test_resumed_sender_is_told_again(void **state)
{
	struct bench *b = *state;
	struct edge *e = edge_between(b, 0, 1);

	edge_charge(e, limits.share + 1);
	say(b, 0, 1);
	assert_got(b, 0, "HOLD(2) ");
	router_detach(&b->router, b->p[0]);
	router_attach(&b->router, b->p[0], &b->fakes[0].sink);
	say(b, 0, 1);
	assert_got(b, 0, "HOLD(2) ");
}

static void test_end_tells_everybody_once(void **state)
{
	struct bench *b = *state;

	registry_relate(b->p[1], b->p[0]); /* a child that never spoke */
	registry_relate(b->p[0], b->p[2]); /* a parent that did */
	say(b, 0, 3);
	say(b, 3, 0);
	say(b, 0, 2);
	say(b, 0, 0);
	b->fakes[0].got[0] = b->fakes[2].got[0] = b->fakes[3].got[0] = '\0';
	router_end(&b->router, b->p[0], BROOD__WHY__WHY_LEFT, NULL);
	router_sweep(&b->router);
	assert_got(b, 0, "");
	assert_got(b, 1, "GONE(1,1) ");
	assert_got(b, 2, "GONE(1,1) ");
	assert_got(b, 3, "GONE(1,1) ");
	assert_got(b, 4, "");
	registry_remove(&b->registry, b->p[0]);
	say(b, 3, 0);
	assert_got(b, 3, "GONE(1,4) ");
}

static void test_end_spares_the_exception(void **state)
{
	struct bench *b = *state;

	registry_relate(b->p[0], b->p[2]);
	say(b, 0, 2);
	say(b, 0, 3);
	router_end(&b->router, b->p[0], BROOD__WHY__WHY_EXITED, b->p[2]);
	assert_got(b, 2, "data<-1 ");
	assert_got(b, 3, "data<-1 GONE(1,2) ");
	registry_remove(&b->registry, b->p[0]);
}

/* An edge lives as long as its bytes wait or a sink may charge it, whoever ended. AddressSanitizer watches. */
static void test_edges_outlive_their_source(void **state)
{
	struct bench *b = *state;
	struct edge *waiting = edge_between(b, 0, 1), *fresh = edge_between(b, 0, 2);

	edge_charge(waiting, 1000);
	router_end(&b->router, b->p[0], BROOD__WHY__WHY_LEFT, NULL);
	registry_remove(&b->registry, b->p[0]);
	edge_charge(fresh, 500); /* the turn's flush found the socket full */
	router_sweep(&b->router);
	edge_uncharge(waiting, 400);
	router_sweep(&b->router);
	assert_int_equal(b->router.queued, 1100);
	edge_uncharge(waiting, 600);
	edge_uncharge(fresh, 500);
	assert_int_equal(b->router.queued, 0);
	assert_false(LIST_EMPTY(&b->p[1]->port->in));
	router_sweep(&b->router);
	assert_true(LIST_EMPTY(&b->p[1]->port->in));
	assert_true(LIST_EMPTY(&b->p[2]->port->in));
}

static void test_edges_end_with_their_destination(void **state)
{
	struct bench *b = *state;
	struct edge *e = edge_between(b, 0, 1), *orphan = edge_between(b, 2, 1);

	edge_charge(e, 1000);
	edge_charge(orphan, 1000);
	router_end(&b->router, b->p[2], BROOD__WHY__WHY_LEFT, NULL);
	router_end(&b->router, b->p[1], BROOD__WHY__WHY_LEFT, NULL);
	assert_int_equal(b->router.queued, 0);
	edge_charge(e, 5); /* of this turn: nothing any more */
	router_sweep(&b->router);
	assert_int_equal(b->p[0]->port->out.count, 0);
	registry_remove(&b->registry, b->p[1]);
	registry_remove(&b->registry, b->p[2]);
}

static void test_lost_destination_forgets_orphans(void **state)
{
	struct bench *b = *state;
	struct edge *orphan = edge_between(b, 0, 1);

	edge_charge(orphan, 1000);
	router_end(&b->router, b->p[0], BROOD__WHY__WHY_LEFT, NULL);
	registry_remove(&b->registry, b->p[0]);
	router_sweep(&b->router);
	router_detach(&b->router, b->p[1]);
	router_sweep(&b->router);
	assert_int_equal(b->router.queued, 0);
	assert_true(LIST_EMPTY(&b->p[1]->port->in));
}

static void test_earlier_runs_are_awaited(void **state)
{
	struct bench *b = *state;
	struct process *p;

	route(b, 0, OLD(9), 1, 1);
	route(b, 4, OLD(9), 1, 1);
	route(b, 0, OLD(9), 2, 1);
	assert_got(b, 0, "HOLD(9,away) ");
	assert_got(b, 4, "HOLD(9,away) ");
	p = registry_find(&b->registry, OLD(9));
	assert_int_equal(p->state, PROCESS_AWAITED);
	assert_int_equal(b->router.n_awaited, 1);
	/* It is back, and now it is known whose it is. */
	p->uid = 1000;
	b->fakes[7].sink.put = fake_put;
	router_attach(&b->router, p, &b->fakes[7].sink);
	assert_int_equal(b->router.n_awaited, 0);
	assert_got(b, 0, "GO(9) ");
	assert_got(b, 4, "GONE(9,4) ");
	assert_int_equal(p->port->account->uid, 1000);
	route(b, 0, OLD(9), 1, 1);
	assert_got(b, 7, "data<-1 ");
	b->router.grace = 0;
	route(b, 0, OLD(10), 1, 1);
	assert_got(b, 0, "GONE(10,4) ");
	router_sweep(&b->router);
	p->sink = NULL;
}

static void test_last(void **state)
{
	struct bench *b = *state;

	assert_true(router_last(b->p[0], ID(2)) == 0);
	route(b, 0, ID(2), 5, 1);
	assert_true(router_last(b->p[0], ID(2)) == 5);
	route(b, 0, ID(2), 3, 1); /* said again */
	assert_true(router_last(b->p[0], ID(2)) == 5);
	edge_charge(b->fakes[1].edge, limits.share + 1);
	route(b, 0, ID(2), 6, 10); /* dropped, and counted item by item */
	assert_true(router_last(b->p[0], ID(2)) == 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_routes_in_place_and_stamps, begin, end),
		cmocka_unit_test_setup_teardown(test_users, begin, end),
		cmocka_unit_test_setup_teardown(test_policy_is_one_way_but_for_answers, begin, end),
		cmocka_unit_test_setup_teardown(test_denied_is_for_who_may_see, begin, end),
		cmocka_unit_test_setup_teardown(test_policy_for_other_nodes, begin, end),
		cmocka_unit_test_setup_teardown(test_holders_of_shared_names, begin, end),
		cmocka_unit_test_setup_teardown(test_policy_is_taken_back, begin, end),
		cmocka_unit_test_setup_teardown(test_policy_after_a_crash, begin, end),
		cmocka_unit_test_setup_teardown(test_nobody_is_told_once_per_helping, begin, end),
		cmocka_unit_test_setup_teardown(test_hold_and_go, begin, end),
		cmocka_unit_test_setup_teardown(test_share_shrinks_with_the_number_of_senders, begin, end),
		cmocka_unit_test_setup_teardown(test_users_room, begin, end),
		cmocka_unit_test_setup_teardown(test_a_frame_each, begin, end),
		cmocka_unit_test_setup_teardown(test_a_full_destination, begin, end),
		cmocka_unit_test_setup_teardown(test_total, begin, end),
		cmocka_unit_test_setup_teardown(test_full_and_gone, begin, end),
		cmocka_unit_test_setup_teardown(test_the_dead_are_never_held, begin, end),
		cmocka_unit_test_setup_teardown(test_lost_and_back, begin, end),
		cmocka_unit_test_setup_teardown(test_resumed_sender_is_told_again, begin, end),
		cmocka_unit_test_setup_teardown(test_end_tells_everybody_once, begin, end),
		cmocka_unit_test_setup_teardown(test_end_spares_the_exception, begin, end),
		cmocka_unit_test_setup_teardown(test_the_other_node_says_go, begin, end),
		cmocka_unit_test_setup_teardown(test_edges_outlive_their_source, begin, end),
		cmocka_unit_test_setup_teardown(test_edges_end_with_their_destination, begin, end),
		cmocka_unit_test_setup_teardown(test_lost_destination_forgets_orphans, begin, end),
		cmocka_unit_test_setup_teardown(test_earlier_runs_are_awaited, begin, end),
		cmocka_unit_test_setup_teardown(test_last, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
