/*
 * broker_policy: several users at a broker that was told who may do what, and told otherwise while it runs.
 */
#include "guard.h"
#include "users.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* "ANN" and so on in what is configured stand for these. */
#define ANNS "64321"
#define BOBS "64322"
#define CARLS "64323"

/* The next frame is REGISTERED for this name, with this error. */
static void expect_registered(struct wire *w, const char *name, const char *error)
{
	Brood__Registered *answer = wire_expect_body(w, FRAME_REGISTERED, &brood__registered__descriptor);

	assert_string_equal(answer->name, name);
	assert_string_equal(answer->error, error);
	assert_true(error[0] == '\0' || (answer->code < 0 && answer->text[0]));
	guard_free(&answer->base);
}

static void refuse_ticket(const struct wire *w, uid_t uid, const char *error)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	struct wire again;

	hello.ticket = (ProtobufCBinaryData){ TICKET_SIZE, (uint8_t *)(uintptr_t)w->ticket };
	users_connect_as(&again, uid);
	wire_say(&again, FRAME_HELLO, &hello.base, -1);
	wire_expect_refused(&again, error);
	wire_close(&again);
}

static void refuse_hello(uid_t uid, const char *parent, const char *error)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	struct wire w;

	hello.parent = (char *)(uintptr_t)parent;
	users_connect_as(&w, uid);
	wire_say(&w, FRAME_HELLO, &hello.base, -1);
	wire_expect_refused(&w, error);
	wire_close(&w);
}

/* UNREGISTER; "" is all. */
static void give_up(struct wire *w, const char *name)
{
	Brood__Register body = BROOD__REGISTER__INIT;

	body.name = (char *)(uintptr_t)name;
	wire_say(w, FRAME_UNREGISTER, &body.base, -1);
}

/* An empty turn around: all that was said before has been looked at, and nothing came of it. */
static void expect_nothing(struct wire *w)
{
	users_take_name(w, "nothing-came", "");
	give_up(w, "");
}

static void deny(struct wire *from, const struct wire *to, Brood__Why why)
{
	wire_data(from, to->id, 1, "may I?");
	wire_expect_gone(from, to->id, why);
}

/* sequence: of the first to the second. */
static void allow(struct wire *from, struct wire *to, uint64_t sequence)
{
	wire_data(from, to->id, sequence, "may I?");
	wire_expect_data(to, from->id, "may I?");
}

static void test_who_may_connect(void **state)
{
	struct wire ann, lost, root;

	(void)state;
	AS_ROOT_ONLY();
	users_start_with("[policy]\nconnect = " ANNS "\n");
	users_open_as(&ann, ANN, 0);
	users_open_as(&lost, ANN, 0);
	users_open_as(&root, 0, 0); /* though it is not named */
	refuse_hello(BOB, "", "policy.connect");
	assert_int_equal(users_logged(" session.refused ", "policy.connect"), 1);
	allow(&root, &ann, 1);
	wire_close(&lost);     /* and could come back */
	allow(&root, &ann, 2); /* behind which the broker has seen that it did */
	users_reload("[policy]\nconnect = " BOBS "\n", 1);
	wire_expect_refused(&ann, "policy.connect");
	wire_expect_gone(&root, ann.id, BROOD__WHY__WHY_CLOSED);
	wire_close(&ann);
	refuse_ticket(&lost, ANN, "policy.connect");
	users_open_as(&ann, BOB, 0);
	wire_leave(&ann);
	wire_leave(&root);
}

/* Children of another user than their parent, which is root's, are of that user here, too. */
static void test_children_of_root(void **state)
{
	Brood__Adopt adopt = BROOD__ADOPT__INIT;
	struct wire root, child;
	int pair[2];

	(void)state;
	AS_ROOT_ONLY();
	users_start_with("[policy]\nconnect = " ANNS "\nregister = " CARLS "\n");
	users_open_as(&root, 0, 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		adopt.id = root.first_id + i;
		adopt.uid = i == 0 ? CARL : ANN;
		adopt.name = (char *)(uintptr_t) "given";
		wire_say(&root, FRAME_ADOPT, &adopt.base, pair[0]);
		close(pair[0]);
		wire_take(&child, pair[1]);
		if (i == 0)
			wire_expect_refused(&child, "policy.connect");
		else
			expect_registered(&child, "given", "name.denied");
		wire_close(&child);
	}
	wire_close(&root);
}

/* Without its section it is as if there were no policy. */
static void test_who_may_take_names(void **state)
{
	struct wire ann, bob, friend;

	(void)state;
	AS_ROOT_ONLY();
	users_start_with("[policy]\nregister = " ANNS "\n");
	users_open_as(&ann, ANN, 0);
	users_open_as(&friend, ANN, 0);
	users_open_as(&bob, BOB, 0);
	users_take_name(&ann, "x", "");
	users_take_name(&bob, "x", "name.denied");
	assert_int_equal(users_logged(" name.refused ", "policy.register"), 1);
	assert_true(users_find_name(&friend, "x") == ann.id);
	users_reload("[policy]\nregister = " BOBS "\n", 1);
	expect_registered(&ann, "x", "name.denied");
	assert_true(users_told_name(&friend, "x") == 0);
	users_take_name(&ann, "x", "name.denied");
	users_take_name(&bob, "x", "");
	users_reload("", 1);
	users_take_name(&ann, "x", "");
	assert_true(users_told_name(&friend, "x") == ann.id);
	wire_leave(&ann);
	wire_leave(&friend);
	wire_leave(&bob);
}

static void test_who_may_write(void **state)
{
	struct wire ann, bob, other_bob, carl;
	uint64_t first;

	(void)state;
	AS_ROOT_ONLY();
	users_start_with("[policy]\nsend = " ANNS " > " BOBS "\n");
	users_open_as(&ann, ANN, 0);
	users_open_as(&bob, BOB, 0);
	users_open_as(&other_bob, BOB, 0);
	users_open_as(&carl, CARL, 0);
	assert_int_equal(users_list(&ann, 1, &first), 3);
	assert_int_equal(users_list(&bob, 1, &first), 2);
	assert_true(first == bob.id);
	deny(&bob, &ann, BROOD__WHY__WHY_NOBODY);
	allow(&ann, &bob, 1);
	allow(&bob, &ann, 1);                           /* he answers */
	deny(&other_bob, &ann, BROOD__WHY__WHY_NOBODY); /* who was not asked */
	deny(&carl, &bob, BROOD__WHY__WHY_NOBODY);
	assert_int_equal(users_logged(" send.refused ", "uid=" CARLS), 1);
	assert_int_equal(users_logged(" send.refused ", "uid=" BOBS), 2);
	/* A line that does not concern them changes nothing. */
	users_reload("[policy]\nsend = " ANNS " > " BOBS "\nlist = " CARLS " > 0\n", 1);
	allow(&bob, &ann, 2);
	allow(&ann, &bob, 2);
	users_reload("", 1);
	wire_expect_gone(&ann, bob.id, BROOD__WHY__WHY_NOBODY);
	wire_expect_gone(&bob, ann.id, BROOD__WHY__WHY_NOBODY);
	deny(&ann, &bob, BROOD__WHY__WHY_NOBODY);
	deny(&bob, &ann, BROOD__WHY__WHY_NOBODY);
	users_reload("[policy]\nsend = " CARLS " > *\n", 1);
	deny(&ann, &bob, BROOD__WHY__WHY_NOBODY);
	allow(&carl, &bob, 1);
	allow(&carl, &ann, 1);
	wire_leave(&ann);
	wire_leave(&bob);
	wire_leave(&other_bob);
	wire_leave(&carl);
}

/* What its user was allowed when it said it arrives, though its receiver reads it after that has changed. */
static void test_what_waits_when_it_ends(void **state)
{
	static char text[3000];
	struct wire ann, bob;
	struct frame f;
	int held = 0;
	uint64_t sent = 0;

	(void)state;
	AS_ROOT_ONLY();
	users_start_with("[limits]\nqueue-per-sender = 256K\n[policy]\nsend = " ANNS " > " BOBS "\n");
	users_open_as(&ann, ANN, 0);
	users_open_as(&bob, BOB, 0);
	memset(text, 'x', sizeof(text) - 1);
	while (!held && sent < 5000) {
		wire_data(&ann, bob.id, ++sent, text);
		held = wire_next(&ann, &f, 0) == 1 && f.kind == FRAME_HOLD;
	}
	assert_true(held);
	users_reload("", 1);
	wire_expect_gone(&ann, bob.id, BROOD__WHY__WHY_NOBODY);
	wire_expect_data(&bob, ann.id, text);
	deny(&ann, &bob, BROOD__WHY__WHY_NOBODY);
	for (int i = 0; i < 64; i++)
		wire_expect_data(&bob, ann.id, text);
	wire_leave(&ann);
	wire_close(&bob);
}

static void test_denied_is_for_who_may_see(void **state)
{
	struct wire ann, bob, carl;
	uint64_t first;

	(void)state;
	AS_ROOT_ONLY();
	users_start_with("[policy]\nlist = " CARLS " > *\n");
	users_open_as(&ann, ANN, 0);
	users_open_as(&bob, BOB, 0);
	users_open_as(&carl, CARL, 0);
	assert_int_equal(users_list(&carl, 1, &first), 3);
	assert_int_equal(users_list(&bob, 1, &first), 1);
	deny(&carl, &ann, BROOD__WHY__WHY_DENIED);
	deny(&bob, &ann, BROOD__WHY__WHY_NOBODY);
	wire_data(&carl, ann.id + 1000, 1, "anybody?");
	wire_expect_gone(&carl, ann.id + 1000, BROOD__WHY__WHY_NOBODY);
	users_reload("[policy]\nlist = " BOBS " > " ANNS "\n", 1);
	deny(&carl, &ann, BROOD__WHY__WHY_NOBODY);
	deny(&bob, &ann, BROOD__WHY__WHY_DENIED);
	assert_int_equal(users_list(&carl, 2, &first), 1);
	expect_nothing(&ann);
	wire_leave(&ann);
	wire_leave(&bob);
	wire_leave(&carl);
}

static void test_who_may_be_whose_child(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	Brood__Joined *joined;
	struct wire ann, bob;
	char id[ID_TEXT];

	(void)state;
	AS_ROOT_ONLY();
	users_start_with("[policy]\nparent = " BOBS " > " ANNS "\nlist = " CARLS " > " ANNS "\n");
	users_open_as(&ann, ANN, 0);
	hello.parent = id_format(ann.id, id);
	users_connect_as(&bob, BOB);
	wire_hello(&bob, &hello);
	assert_true(bob.parent == ann.id);
	joined = wire_expect_body(&ann, FRAME_JOINED, &brood__joined__descriptor);
	assert_true(joined->id == bob.id);
	guard_free(&joined->base);
	allow(&bob, &ann, 1);
	allow(&ann, &bob, 1);
	refuse_hello(CARL, id, "parent.denied"); /* who sees her */
	assert_int_equal(users_logged(" session.refused ", "parent.denied"), 1);
	/* A relation is not taken back; new ones are not made. */
	users_reload("", 1);
	allow(&bob, &ann, 2);
	refuse_hello(BOB, id, "parent.unknown");
	refuse_hello(CARL, id, "parent.unknown");
	wire_leave(&bob);
	wire_expect_gone(&ann, bob.id, BROOD__WHY__WHY_LEFT);
	wire_leave(&ann);
}

#define RESIZE(users) "[name \"resize\"]\nowner = " BOBS "\nusers = " users "\n"

static void test_a_shared_name(void **state)
{
	struct wire ann, other_ann, bob, carl, root;

	(void)state;
	AS_ROOT_ONLY();
	users_start_with(RESIZE(ANNS));
	users_open_as(&ann, ANN, 0);
	users_open_as(&other_ann, ANN, 0);
	users_open_as(&bob, BOB, 0);
	users_open_as(&carl, CARL, 0);
	users_open_as(&root, 0, 0);
	assert_true(users_find_name(&ann, "resize") == 0);
	users_take_name(&ann, "resize", "name.denied"); /* who would get what is meant for Bob's */
	users_take_name(&carl, "resize", "name.denied");
	users_take_name(&root, "resize", "name.denied");
	assert_int_equal(users_logged(" name.refused ", "uid=" CARLS), 1);
	deny(&ann, &bob, BROOD__WHY__WHY_NOBODY); /* he does not hold it yet */
	users_take_name(&bob, "resize", "");
	assert_true(users_told_name(&ann, "resize") == bob.id);
	assert_true(users_find_name(&carl, "resize") == 0);
	assert_true(users_find_name(&root, "resize") == bob.id);
	deny(&bob, &ann, BROOD__WHY__WHY_NOBODY);
	allow(&ann, &bob, 1);
	allow(&bob, &ann, 1);
	deny(&bob, &other_ann, BROOD__WHY__WHY_NOBODY);
	deny(&carl, &bob, BROOD__WHY__WHY_NOBODY);
	/* Who has begun to talk goes on when the name is somebody else's. */
	give_up(&bob, "resize");
	assert_true(users_told_name(&ann, "resize") == 0);
	assert_true(users_told_name(&root, "resize") == 0);
	deny(&other_ann, &bob, BROOD__WHY__WHY_NOBODY);
	allow(&ann, &bob, 2);
	users_reload(RESIZE(ANNS ", 4711"), 1);
	allow(&bob, &ann, 2);
	wire_leave(&ann);
	wire_leave(&other_ann);
	wire_leave(&bob);
	wire_leave(&carl);
	wire_leave(&root);
}

static void test_a_shared_name_is_reloaded(void **state)
{
	struct wire ann, bob, carl, watcher;

	(void)state;
	AS_ROOT_ONLY();
	users_start_with("");
	users_open_as(&ann, ANN, 0);
	users_open_as(&bob, BOB, 0);
	users_open_as(&carl, CARL, 0);
	users_open_as(&watcher, ANN, 0);
	users_take_name(&ann, "resize", ""); /* each has one */
	users_take_name(&bob, "resize", "");
	users_take_name(&carl, "resize", "");
	assert_true(users_find_name(&watcher, "resize") == ann.id);
	users_reload(RESIZE(ANNS), 1);
	expect_registered(&ann, "resize", "name.denied");
	expect_registered(&carl, "resize", "name.denied");
	assert_true(users_told_name(&watcher, "resize") == 0);      /* Ann's is lost, ... */
	assert_true(users_told_name(&watcher, "resize") == bob.id); /* ... and it means Bob's */
	allow(&watcher, &bob, 1);
	users_reload(RESIZE(CARLS), 1);
	assert_true(users_told_name(&watcher, "resize") == 0);
	wire_expect_gone(&watcher, bob.id, BROOD__WHY__WHY_NOBODY);
	expect_nothing(&bob); /* who never answered, and so heard nothing */
	users_take_name(&ann, "resize", "name.denied");
	users_reload("", 1);
	users_take_name(&ann, "resize", "");
	assert_true(users_told_name(&watcher, "resize") == ann.id);
	deny(&watcher, &bob, BROOD__WHY__WHY_NOBODY);
	wire_leave(&ann);
	wire_leave(&bob);
	wire_leave(&carl);
	wire_leave(&watcher);
}

/* What would be right without the line that is not does not count either. */
static void test_a_typo_widens_nothing(void **state)
{
	static const char *const wrong[] = {
		"[policy]\nsend = * > *\nlist = nobody-of-this-name > *\n",
		"[policy]\nsend = * > *\nlits = * > *\n",
		"[policy]\nsend = * > *\nconnect = " ANNS " " BOBS "\n",
		"[policy]\nsend = * > *, *\n",
		"[policy]\nsend = * > *\n[name \"resize\"]\nusers = *\n",
		"[policy]\nsend = * > *\n[name \"resize\"]\nowner = @root\nusers = *\n",
		"[policy]\nsend = * > *\n[name]\nowner = 0\n",
		"[policy]\nsend = * > * # everybody\n",
	};
	struct wire ann, bob;

	(void)state;
	AS_ROOT_ONLY();
	users_start_with("[policy]\nsend = " ANNS " > " BOBS "\n");
	users_open_as(&ann, ANN, 0);
	users_open_as(&bob, BOB, 0);
	allow(&ann, &bob, 1);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct wire carl;

		users_reload(wrong[i], 0);
		users_open_as(&carl, CARL, 0);
		deny(&carl, &ann, BROOD__WHY__WHY_NOBODY);
		allow(&ann, &bob, 2 + i);
		wire_leave(&carl);
	}
	wire_leave(&ann);
	wire_leave(&bob);
}

static void come_back(struct wire *w, uid_t uid)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	uint8_t ticket[TICKET_SIZE];
	uint64_t id = w->id;

	memcpy(ticket, w->ticket, sizeof(ticket));
	wire_close(w);
	hello.level = 1;
	hello.ticket = (ProtobufCBinaryData){ sizeof(ticket), ticket };
	users_connect_as(w, uid);
	wire_hello(w, &hello);
	assert_true(w->id == id);
}

/* The next broker does not know who wrote to whom: who was answering goes on, and strangers do not begin. */
static void test_after_a_crash(void **state)
{
	struct wire ann, bob, carl, new_bob;
	struct wire_broker *broker;

	(void)state;
	AS_ROOT_ONLY();
	broker = users_start_with(RESIZE(ANNS));
	users_open_as(&ann, ANN, 0);
	users_open_as(&bob, BOB, 0);
	users_open_as(&carl, CARL, 0);
	users_take_name(&bob, "resize", "");
	allow(&ann, &bob, 1);
	assert_int_equal(wire_broker_stop(broker, SIGKILL), -SIGKILL);
	users_start_with(RESIZE(ANNS));
	come_back(&bob, BOB);
	wire_data(&bob, ann.id, 1, "where was I?"); /* before she is back */
	wire_expect(&bob, FRAME_HOLD);
	come_back(&carl, CARL);
	wire_data(&carl, ann.id, 1, "where was I?");
	wire_expect(&carl, FRAME_HOLD);
	come_back(&ann, ANN);
	wire_expect(&bob, FRAME_GO);
	wire_expect_gone(&carl, ann.id, BROOD__WHY__WHY_NOBODY);
	allow(&bob, &ann, 1);
	allow(&ann, &bob, 2); /* though he has not taken his name again */
	users_open_as(&new_bob, BOB, 0);
	deny(&new_bob, &ann, BROOD__WHY__WHY_NOBODY);
	deny(&carl, &bob, BROOD__WHY__WHY_NOBODY);
	wire_leave(&ann);
	wire_leave(&bob);
	wire_leave(&carl);
	wire_leave(&new_bob);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_who_may_connect, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_children_of_root, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_who_may_take_names, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_who_may_write, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_what_waits_when_it_ends, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_denied_is_for_who_may_see, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_who_may_be_whose_child, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_a_shared_name, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_a_shared_name_is_reloaded, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_a_typo_widens_nothing, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_after_a_crash, users_begin, users_end),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
