/*
 * broker_why: how the broker remembers ends, frame by frame: what it saw itself, whom it believes, and whom it tells.
 */
#include "control.pb-c.h"
#include "guard.h"
#include "message.h"
#include "wire.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANN 64321u
#define BOB 64322u

static struct wire_broker broker, door; /* the same broker, where everybody may come */
static char directory[32], path[48];

static int begin(void **state)
{
	(void)state;
	wire_broker_init(&broker);
	strcpy(directory, "/tmp/why-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/sock", directory);
	snprintf(door.socket, sizeof(door.socket), "unix:%s", path);
	if (chmod(directory, 0711) < 0)
		return -1;
	wire_broker_start(&broker, (const char *[]){ "--listen", door.socket, "--limits.watches-per-process", "1",
						     "--limits.exits", "8", NULL });
	return chmod(path, 0666);
}

static int end(void **state)
{
	(void)state;
	wire_broker_deinit(&broker);
	return rmdir(directory);
}

static void open_as(struct wire *w, uid_t uid, uint32_t ids)
{
	assert_int_equal(seteuid(uid), 0);
	wire_open(w, &door, ids);
	assert_int_equal(seteuid(0), 0);
}

/* The answer to Why{id}, to be freed with guard_free(); NULL: it is not known, as far as this one is told. */
static Brood__Control__Endings *ask(struct wire *w, uint64_t sequence, uint64_t id)
{
	Brood__Control__Why body = BROOD__CONTROL__WHY__INIT;
	struct item it = {
		.kind = ITEM_REQUEST, .correlation = 1, .name = "brood.control.Why", .type = ITEM_UNNUMBERED
	};
	struct frame head = { .kind = FRAME_DATA, .destination = FRAME_BROKER, .sequence = sequence }, f;
	_Alignas(8) uint8_t bytes[256];
	const uint8_t *at;
	ProtobufCMessage *answer;
	int failed;

	body.id = id;
	it.name_length = (uint8_t)strlen(it.name);
	it.length = (uint32_t)protobuf_c_message_get_packed_size(&body.base);
	it.total = it.length;
	head.length = (uint32_t)item_size(it.kind, item_extension_size(&it), it.length);
	protobuf_c_message_pack(&body.base, item_write(bytes, &it));
	wire_send(w, &head, bytes, -1);
	f = wire_expect(w, FRAME_DATA);
	at = f.body;
	assert_int_equal(item_next(&at, f.body + f.length, &it), 1);
	failed = it.kind == ITEM_FAILURE;
	assert_int_equal(guard_unpack(failed ? &brood__failure__descriptor : &brood__control__endings__descriptor,
				      it.body, it.length, 1, &answer),
			 0);
	if (!failed)
		return (Brood__Control__Endings *)answer;
	assert_string_equal(((Brood__Failure *)answer)->error, "why.unknown");
	assert_int_equal(((Brood__Failure *)answer)->code, -ESRCH);
	assert_non_null(strstr(((Brood__Failure *)answer)->text, "the last 8 that ended"));
	guard_free(answer);
	return NULL;
}

/* A child of this parent, number n of its block, that is not there yet. */
static void adopt(struct wire *parent, unsigned n)
{
	Brood__Adopt body = BROOD__ADOPT__INIT;

	body.id = parent->first_id + n;
	body.uid = geteuid();
	body.pid = 4711;
	body.title = (char *)"child";
	wire_say(parent, FRAME_ADOPT, &body.base, -1);
}

static void say_died(struct wire *w, uint64_t id, uint32_t signo)
{
	Brood__Died body = BROOD__DIED__INIT;

	body.id = id;
	body.cause = signo ? BROOD__CAUSE__CAUSE_SIGNALED : BROOD__CAUSE__CAUSE_UNKNOWN;
	body.signo = signo;
	body.text = (char *)"told";
	body.tail = (ProtobufCBinaryData){ 6, (uint8_t *)"secret" };
	wire_say(w, FRAME_DIED, &body.base, -1);
}

static void test_closed_for_a_reason(void **state)
{
	Brood__Watch body = BROOD__WATCH__INIT;
	Brood__Control__Endings *known;
	struct wire bad, w;

	(void)state;
	wire_open(&bad, &broker, 0);
	wire_open(&w, &broker, 0);
	body.name = (char *)"one";
	wire_say(&bad, FRAME_WATCH, &body.base, -1);
	(void)wire_expect(&bad, FRAME_NAME);
	body.name = (char *)"two";
	wire_say(&bad, FRAME_WATCH, &body.base, -1);
	wire_expect_refused(&bad, "limit.watches");
	known = ask(&w, 1, bad.id);
	assert_non_null(known);
	assert_string_equal(known->ending[0]->why, "closed");
	assert_string_equal(known->ending[0]->error, "limit.watches");
	assert_string_equal(known->ending[0]->cause, "");
	assert_non_null(strstr(known->ending[0]->text, "limits.watches-per-process = 1"));
	assert_int_equal(known->kept, 8);
	guard_free(&known->base);
	wire_close(&bad);
	assert_null(ask(&w, 2, w.id + 1000));
	known = ask(&w, 3, w.id);
	assert_true(known && known->living && known->living->id == w.id && known->n_ending == 0);
	guard_free(&known->base);
	wire_leave(&w);
}

static void test_who_is_believed(void **state)
{
	Brood__Control__Endings *known;
	struct wire parent, other;

	(void)state;
	wire_open(&parent, &broker, 8);
	wire_open(&other, &broker, 0);
	adopt(&parent, 0);
	/* Not its child, and none of its block: nothing is remembered, and of one that lives it is a mistake. */
	say_died(&other, parent.first_id + 1, SIGSEGV);
	(void)wire_expect(&other, FRAME_END);
	assert_null(ask(&parent, 1, parent.first_id + 1));
	say_died(&other, parent.first_id, SIGSEGV);
	wire_expect_refused(&other, "died.denied");
	say_died(&parent, parent.first_id, 0); /* as who does not say how */
	(void)wire_expect(&parent, FRAME_END);
	known = ask(&parent, 2, parent.first_id);
	assert_non_null(known);
	assert_string_equal(known->ending[0]->why, "exited");
	assert_string_equal(known->ending[0]->cause, "");
	assert_string_equal(known->ending[0]->title, "child");
	assert_int_equal(known->ending[0]->pid, 4711);
	guard_free(&known->base);
	say_died(&parent, parent.first_id, SIGSEGV); /* and then says it */
	(void)wire_expect(&parent, FRAME_END);
	known = ask(&parent, 3, parent.first_id);
	assert_non_null(known);
	assert_string_equal(known->ending[0]->cause, "signaled");
	assert_int_equal(known->ending[0]->signo, SIGSEGV);
	guard_free(&known->base);
	say_died(&parent, parent.first_id + 2, SIGBUS); /* of its block, but never seen: it could not be started */
	(void)wire_expect(&parent, FRAME_END);
	known = ask(&parent, 4, parent.first_id + 2);
	assert_non_null(known);
	assert_string_equal(known->ending[0]->why, "unseen");
	guard_free(&known->base);
	wire_close(&other);
	wire_leave(&parent);
}

/* As with the living: who may not see a process is told the same as if it had never been. Of root's only the end is seen. */
static void test_who_is_told(void **state)
{
	Brood__Control__Endings *known;
	struct wire ann, bob, root;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: only root can be several users\n");
		skip();
	}
	open_as(&ann, ANN, 8);
	open_as(&bob, BOB, 0);
	wire_open(&root, &broker, 8);
	say_died(&ann, ann.first_id, SIGKILL);
	(void)wire_expect(&ann, FRAME_END);
	assert_null(ask(&bob, 1, ann.first_id));
	known = ask(&ann, 1, ann.first_id);
	assert_true(known && known->ending[0]->tail.len == 6);
	guard_free(&known->base);
	known = ask(&root, 1, ann.first_id);
	assert_true(known && known->ending[0]->tail.len == 6);
	guard_free(&known->base);
	say_died(&root, root.first_id, SIGKILL);
	(void)wire_expect(&root, FRAME_END);
	known = ask(&bob, 2, root.first_id);
	assert_true(known && known->ending[0]->tail.len == 0 && known->ending[0]->signo == SIGKILL);
	assert_string_equal(known->ending[0]->text, "");
	guard_free(&known->base);
	wire_leave(&ann);
	wire_leave(&bob);
	wire_leave(&root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_closed_for_a_reason, begin, end),
		cmocka_unit_test_setup_teardown(test_who_is_believed, begin, end),
		cmocka_unit_test_setup_teardown(test_who_is_told, begin, end),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
