/*
 * broker_users: several users at one broker. They cannot see, name, write to, or exhaust each other, nor be each other. As
 * root, who can connect as anybody.
 */
#include "guard.h"
#include "users.h"
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void start(const char *flag, const char *value)
{
	users_start((const char *[]){ flag, value, NULL });
}

static void test_they_do_not_see_each_other(void **state)
{
	struct wire ann, bob, root;
	uint64_t first;

	(void)state;
	AS_ROOT_ONLY();
	start(NULL, NULL);
	users_open_as(&ann, ANN, 0);
	users_open_as(&bob, BOB, 0);
	users_open_as(&root, 0, 0);
	/* An id that exists and one that does not are the same to who may not know. */
	wire_data(&bob, ann.id, 1, "hello");
	wire_expect_gone(&bob, ann.id, BROOD__WHY__WHY_NOBODY);
	wire_data(&bob, ann.id + 1000, 1, "hello");
	wire_expect_gone(&bob, ann.id + 1000, BROOD__WHY__WHY_NOBODY);
	wire_expect_silence(&ann);
	assert_int_equal(users_list(&bob, 1, &first), 2); /* himself, and root */
	assert_true(first == bob.id);
	assert_int_equal(users_list(&root, 1, &first), 3);
	assert_true(first == ann.id);
	/* Root may, and is answered. */
	wire_data(&root, ann.id, 1, "it is me");
	wire_expect_data(&ann, root.id, "it is me");
	wire_data(&ann, root.id, 1, "yes?");
	wire_expect_data(&root, ann.id, "yes?");
	wire_leave(&ann);
	wire_leave(&bob);
	wire_leave(&root);
}

static void test_names_are_each_users_own(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	struct wire ann, bob, orphan;

	(void)state;
	AS_ROOT_ONLY();
	start(NULL, NULL);
	users_open_as(&ann, ANN, 0);
	users_open_as(&bob, BOB, 0);
	users_take_name(&bob, "resize", ""); /* Ann's programs look for one of this name */
	users_take_name(&ann, "resize", "");
	assert_true(users_find_name(&ann, "resize") == ann.id);
	assert_true(users_find_name(&bob, "resize") == bob.id);
	/* Nor is he found as a parent. */
	users_take_name(&bob, "only-bobs", "");
	assert_true(users_find_name(&ann, "only-bobs") == 0);
	users_connect_as(&orphan, ANN);
	hello.parent = (char *)(uintptr_t) "only-bobs";
	wire_say(&orphan, FRAME_HELLO, &hello.base, -1);
	wire_expect_refused(&orphan, "parent.unknown");
	wire_close(&orphan);
	wire_leave(&ann);
	wire_leave(&bob);
}

static void test_a_stolen_ticket(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	struct wire ann, friend, thief;

	(void)state;
	AS_ROOT_ONLY();
	start(NULL, NULL);
	users_open_as(&ann, ANN, 0);
	users_open_as(&friend, ANN, 0);
	hello.ticket = (ProtobufCBinaryData){ TICKET_SIZE, ann.ticket };
	for (uid_t uid = BOB;; uid = 0) { /* not even root is somebody else */
		users_connect_as(&thief, uid);
		wire_say(&thief, FRAME_HELLO, &hello.base, -1);
		wire_expect_refused(&thief, "hello.denied");
		wire_close(&thief);
		if (uid == 0)
			break;
	}
	wire_data(&friend, ann.id, 1, "still you?");
	wire_expect_data(&ann, friend.id, "still you?");
	/* Said after its process has left it is of no use to its own user either. */
	wire_leave(&ann);
	users_connect_as(&thief, ANN);
	wire_say(&thief, FRAME_HELLO, &hello.base, -1);
	wire_expect_refused(&thief, "hello.denied");
	wire_close(&thief);
	wire_leave(&friend);
}

static void test_the_child_of_another(void **state)
{
	Brood__Adopt adopt = BROOD__ADOPT__INIT;
	Brood__Died died = BROOD__DIED__INIT;
	struct wire ann, bob;

	(void)state;
	AS_ROOT_ONLY();
	start(NULL, NULL);
	users_open_as(&ann, ANN, 1);
	users_open_as(&bob, BOB, 1);
	adopt.id = bob.first_id;
	adopt.uid = ANN; /* a child of Ann's, says Bob, which he could speak through */
	wire_say(&bob, FRAME_ADOPT, &adopt.base, -1);
	wire_expect_refused(&bob, "adopt.denied");
	wire_close(&bob);
	/* And no end of hers is his to tell. */
	adopt.id = ann.first_id;
	wire_say(&ann, FRAME_ADOPT, &adopt.base, -1);
	users_take_name(&ann, "mother", ""); /* so it was adopted */
	users_open_as(&bob, BOB, 0);
	died.id = ann.first_id;
	wire_say(&bob, FRAME_DIED, &died.base, -1);
	wire_expect_refused(&bob, "died.denied");
	wire_close(&bob);
	users_open_as(&bob, BOB, 0);
	died.id = ann.id; /* nobody's child: he hears that it is over, and she does not notice */
	wire_say(&bob, FRAME_DIED, &died.base, -1);
	wire_expect(&bob, FRAME_END);
	users_take_name(&ann, "still-here", "");
	wire_leave(&bob);
	died.id = ann.first_id;
	wire_say(&ann, FRAME_DIED, &died.base, -1);
	wire_expect(&ann, FRAME_END);
	wire_leave(&ann);
}

/* One user at its limits is no other user's concern. */
static void test_limits_are_each_users_own(void **state)
{
	struct wire bobs[4], ann;

	(void)state;
	AS_ROOT_ONLY();
	start("--limits.sessions-per-user", "3");
	for (int i = 0; i < 3; i++)
		users_open_as(&bobs[i], BOB, 0);
	users_connect_as(&bobs[3], BOB);
	wire_expect_refused(&bobs[3], "limit.sessions");
	wire_close(&bobs[3]);
	users_open_as(&ann, ANN, 0);
	wire_leave(&ann);
	for (int i = 0; i < 3; i++)
		wire_leave(&bobs[i]);
}

static void test_silent_ones_keep_nobody_out(void **state)
{
	struct wire bobs[4], ann;

	(void)state;
	AS_ROOT_ONLY();
	start("--limits.greetings-per-user", "3");
	for (int i = 0; i < 3; i++)
		users_connect_as(&bobs[i], BOB);
	users_connect_as(&bobs[3], BOB);
	wire_expect_refused(&bobs[3], "limit.greetings");
	users_open_as(&ann, ANN, 0);
	wire_leave(&ann);
	for (int i = 0; i < 4; i++)
		wire_close(&bobs[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_they_do_not_see_each_other, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_names_are_each_users_own, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_a_stolen_ticket, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_the_child_of_another, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_limits_are_each_users_own, users_begin, users_end),
		cmocka_unit_test_setup_teardown(test_silent_ones_keep_nobody_out, users_begin, users_end),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
