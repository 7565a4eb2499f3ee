/*
 * broker_users: several users at one broker. They cannot see, name, write to, or exhaust each other, nor be each other. As
 * root, who can connect as anybody.
 */
#include "control.pb-c.h"
#include "guard.h"
#include "message.h"
#include "wire.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANN 64321u
#define BOB 64322u

struct setup {
	struct wire_broker broker;
	char directory[32], path[48];
	struct wire_broker door; /* the same, where everybody may come */
};

static struct setup setup;

static int begin(void **state)
{
	(void)state;
	if (geteuid() != 0)
		return 0;
	wire_broker_init(&setup.broker);
	strcpy(setup.directory, "/tmp/users-XXXXXX");
	if (!mkdtemp(setup.directory))
		return -1;
	snprintf(setup.path, sizeof(setup.path), "%s/sock", setup.directory);
	snprintf(setup.door.socket, sizeof(setup.door.socket), "unix:%s", setup.path);
	return chmod(setup.directory, 0711);
}

static int end(void **state)
{
	(void)state;
	if (geteuid() != 0)
		return 0;
	wire_broker_deinit(&setup.broker);
	return rmdir(setup.directory);
}

static void start(const char *flag, const char *value)
{
	wire_broker_start(&setup.broker, (const char *[]){ "--listen", setup.door.socket, flag, value, NULL });
	assert_int_equal(chmod(setup.path, 0666), 0);
}

#define AS_ROOT_ONLY()                                                                                                 \
	do {                                                                                                           \
		if (geteuid() != 0) {                                                                                  \
			print_message("skipped: only root can be several users\n");                                    \
			skip();                                                                                        \
		}                                                                                                      \
	} while (0)

static void connect_as(struct wire *w, uid_t uid)
{
	assert_int_equal(seteuid(uid), 0);
	wire_connect(w, setup.door.socket);
	assert_int_equal(seteuid(0), 0);
}

static void open_as(struct wire *w, uid_t uid, uint32_t ids)
{
	assert_int_equal(seteuid(uid), 0);
	wire_open(w, &setup.door, ids);
	assert_int_equal(seteuid(0), 0);
}

static void take_name(struct wire *w, const char *name, const char *error)
{
	Brood__Register body = BROOD__REGISTER__INIT;
	Brood__Registered *answer;

	body.name = (char *)(uintptr_t)name;
	wire_say(w, FRAME_REGISTER, &body.base, -1);
	answer = wire_expect_body(w, FRAME_REGISTERED, &brood__registered__descriptor);
	assert_string_equal(answer->error, error);
	guard_free(&answer->base);
}

/* Who has this name, as far as this one is told; 0: nobody. */
static uint64_t find_name(struct wire *w, const char *name)
{
	Brood__Watch body = BROOD__WATCH__INIT;
	Brood__Name *answer;
	uint64_t id;

	body.name = (char *)(uintptr_t)name;
	wire_say(w, FRAME_WATCH, &body.base, -1);
	answer = wire_expect_body(w, FRAME_NAME, &brood__name__descriptor);
	id = answer->id;
	guard_free(&answer->base);
	return id;
}

static size_t list(struct wire *w, uint64_t *first)
{
	Brood__Control__List body = BROOD__CONTROL__LIST__INIT;
	struct item it = {
		.kind = ITEM_REQUEST, .correlation = 1, .name = "brood.control.List", .type = ITEM_UNNUMBERED
	};
	struct frame head = { .kind = FRAME_DATA, .destination = FRAME_BROKER, .sequence = 1 }, f;
	_Alignas(8) uint8_t bytes[256];
	const uint8_t *at;
	ProtobufCMessage *answer;
	size_t n;

	it.name_length = (uint8_t)strlen(it.name);
	it.length = (uint32_t)protobuf_c_message_get_packed_size(&body.base);
	it.total = it.length;
	head.length = (uint32_t)item_size(it.kind, item_extension_size(&it), it.length);
	protobuf_c_message_pack(&body.base, item_write(bytes, &it));
	wire_send(w, &head, bytes, -1);
	f = wire_expect(w, FRAME_DATA);
	at = f.body;
	assert_int_equal(item_next(&at, f.body + f.length, &it), 1);
	assert_int_equal(guard_unpack(&brood__control__listing__descriptor, it.body, it.length, 1, &answer), 0);
	n = ((Brood__Control__Listing *)answer)->n_process;
	*first = n ? ((Brood__Control__Listing *)answer)->process[0]->id : 0;
	guard_free(answer);
	return n;
}

static void test_they_do_not_see_each_other(void **state)
{
	struct wire ann, bob, root;
	uint64_t first;

	(void)state;
	AS_ROOT_ONLY();
	start(NULL, NULL);
	open_as(&ann, ANN, 0);
	open_as(&bob, BOB, 0);
	open_as(&root, 0, 0);
	/* An id that exists and one that does not are the same to who may not know. */
	wire_data(&bob, ann.id, 1, "hello");
	wire_expect_gone(&bob, ann.id, BROOD__WHY__WHY_NOBODY);
	wire_data(&bob, ann.id + 1000, 1, "hello");
	wire_expect_gone(&bob, ann.id + 1000, BROOD__WHY__WHY_NOBODY);
	wire_expect_silence(&ann);
	assert_int_equal(list(&bob, &first), 2); /* himself, and root */
	assert_true(first == bob.id);
	assert_int_equal(list(&root, &first), 3);
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
	open_as(&ann, ANN, 0);
	open_as(&bob, BOB, 0);
	take_name(&bob, "resize", ""); /* Ann's programs look for one of this name */
	take_name(&ann, "resize", "");
	assert_true(find_name(&ann, "resize") == ann.id);
	assert_true(find_name(&bob, "resize") == bob.id);
	/* Nor is he found as a parent. */
	take_name(&bob, "only-bobs", "");
	assert_true(find_name(&ann, "only-bobs") == 0);
	connect_as(&orphan, ANN);
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
	open_as(&ann, ANN, 0);
	open_as(&friend, ANN, 0);
	hello.ticket = (ProtobufCBinaryData){ TICKET_SIZE, ann.ticket };
	for (uid_t uid = BOB;; uid = 0) { /* not even root is somebody else */
		connect_as(&thief, uid);
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
	connect_as(&thief, ANN);
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
	open_as(&ann, ANN, 1);
	open_as(&bob, BOB, 1);
	adopt.id = bob.first_id;
	adopt.uid = ANN; /* a child of Ann's, says Bob, which he could speak through */
	wire_say(&bob, FRAME_ADOPT, &adopt.base, -1);
	wire_expect_refused(&bob, "adopt.denied");
	wire_close(&bob);
	/* And no end of hers is his to tell. */
	adopt.id = ann.first_id;
	wire_say(&ann, FRAME_ADOPT, &adopt.base, -1);
	take_name(&ann, "mother", ""); /* so it was adopted */
	open_as(&bob, BOB, 0);
	died.id = ann.first_id;
	wire_say(&bob, FRAME_DIED, &died.base, -1);
	wire_expect_refused(&bob, "died.denied");
	wire_close(&bob);
	open_as(&bob, BOB, 0);
	died.id = ann.id; /* nobody's child: he hears that it is over, and she does not notice */
	wire_say(&bob, FRAME_DIED, &died.base, -1);
	wire_expect(&bob, FRAME_END);
	take_name(&ann, "still-here", "");
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
		open_as(&bobs[i], BOB, 0);
	connect_as(&bobs[3], BOB);
	wire_expect_refused(&bobs[3], "limit.sessions");
	wire_close(&bobs[3]);
	open_as(&ann, ANN, 0);
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
		connect_as(&bobs[i], BOB);
	connect_as(&bobs[3], BOB);
	wire_expect_refused(&bobs[3], "limit.greetings");
	open_as(&ann, ANN, 0);
	wire_leave(&ann);
	for (int i = 0; i < 4; i++)
		wire_close(&bobs[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_they_do_not_see_each_other, begin, end),
		cmocka_unit_test_setup_teardown(test_names_are_each_users_own, begin, end),
		cmocka_unit_test_setup_teardown(test_a_stolen_ticket, begin, end),
		cmocka_unit_test_setup_teardown(test_the_child_of_another, begin, end),
		cmocka_unit_test_setup_teardown(test_limits_are_each_users_own, begin, end),
		cmocka_unit_test_setup_teardown(test_silent_ones_keep_nobody_out, begin, end),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
