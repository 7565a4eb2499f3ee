/*
 * why: what parents tell the broker of their children's ends, and what it answers who asks.
 */
#include "control.pb-c.h"
#include "flow.h"
#include <brood/pb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Brood__Control__Endings endings;

/* Ask for one: by id if `address` has one, else whatever else is set. NULL: it is not known. */
static const endings *ask(brood *b, Brood__Control__Why why, const char *address, brood_msg **msg)
{
	brood_peer *broker;
	unsigned epoch, counter;
	if (!why.name)
		why.name = (char *)"";
	if (address) {
		assert_int_equal(sscanf(address, "%x.%u", &epoch, &counter), 2);
		why.id = (uint64_t)epoch << 32 | counter;
	}
	assert_int_equal(brood_find(b, &broker, "@broker", NULL), 0);
	int rc = brood_call_pb(broker, &why.base, PATIENCE_MS, msg);
	brood_release(broker);
	if (rc < 0) {
		assert_string_equal(brood_last_error(b)->name, "why.unknown");
		return NULL;
	}
	const endings *known = brood_msg_pb(*msg, &brood__control__endings__descriptor);
	assert_non_null(known);
	return known;
}

#define WHY(...) ((Brood__Control__Why){ PROTOBUF_C_MESSAGE_INIT(&brood__control__why__descriptor), __VA_ARGS__ })

/* The one that ended under this address, to be released by msg. */
static const Brood__Control__Ending *ended(brood *b, const char *address, brood_msg **msg)
{
	const endings *known = ask(b, WHY(.id = 0), address, msg);
	assert_non_null(known);
	assert_null(known->living);
	assert_int_equal(known->n_ending, 1);
	return known->ending[0];
}

static int tail_is(const Brood__Control__Ending *e, const char *text)
{
	return e->tail.len == strlen(text) && memcmp(e->tail.data, text, e->tail.len) == 0;
}

static void test_exit_code(void **state)
{
	struct family f = { 0 };
	brood_msg *msg;
	(void)state;
	family_connect(&f);
	family_start(&f, BROOD_ARGV("sh", "-c", "echo nothing; printf 'one\\ntwo' >&2; exit 3"), .name = "worker",
		     .stdio = BROOD_STDIO(BROOD_PIPE(1), BROOD_PIPE(2)));
	family_closes(&f);
	const Brood__Control__Ending *e = ended(f.b, info_of(f.kid).address, &msg);
	assert_string_equal(e->address, info_of(f.kid).address);
	assert_string_equal(e->name, "worker");
	assert_string_equal(e->title, "sh");
	assert_string_equal(e->why, "exited");
	assert_string_equal(e->cause, "exited");
	assert_string_equal(e->ended_by, "itself");
	assert_int_equal(e->code, 3);
	assert_int_equal(e->pid, info_of(f.kid).pid);
	assert_int_equal(e->uid, getuid());
	assert_true(e->max_rss_kib > 0 && e->wall_ms <= e->lived_ms + 1000);
	assert_string_equal(e->text, info_of(f.kid).exit->text);
	assert_string_equal(e->parent_address, info_of(brood_self(f.b)).address);
	assert_string_equal(e->parent_title, "flow_why");
	assert_true(tail_is(e, "one\ntwo"));
	brood_msg_release(msg);
	family_end(&f);
}

static void test_timeout_and_log(void **state)
{
	struct family f = { 0 };
	brood_msg *msg;
	(void)state;
	family_connect(&f);
	family_start(&f,
		     BROOD_ARGV("sh", "-c",
				"i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done >&2; exec sleep 100"),
		     .stdio = BROOD_STDIO(BROOD_LOG(2)), .timeout_ms = 500, .kill_signal = SIGKILL);
	family_closes(&f);
	const Brood__Control__Ending *e = ended(f.b, info_of(f.kid).address, &msg);
	assert_string_equal(e->cause, "signaled");
	assert_string_equal(e->ended_by, "timeout");
	assert_int_equal(e->signo, SIGKILL);
	assert_true(e->wall_ms >= 500);
	/* Whole lines, as many as there is room for; the load decides how many it wrote in time. */
	assert_in_range(e->tail.len, 2000, 2048);
	assert_memory_equal(e->tail.data, "line ", 5);
	assert_int_equal(e->tail.data[e->tail.len - 1], '\n');
	brood_msg_release(msg);
	family_end(&f);
}

/* It says goodbye, and exits with a code behind that. */
static void test_goodbye_and_code(void **state)
{
	struct family f = { 0 };
	brood_msg *msg;
	(void)state;
	family_begin(&f, KID("exit", "7"));
	family_closes(&f);
	const Brood__Control__Ending *e = ended(f.b, info_of(f.kid).address, &msg);
	assert_string_equal(e->cause, "exited");
	assert_int_equal(e->code, 7);
	assert_int_equal(e->tail.len, 0);
	brood_msg_release(msg);
	family_end(&f);
}

static void test_it_cannot_start(void **state)
{
	struct family f = { 0 };
	brood_msg *msg;
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	family_start(&f, BROOD_ARGV("/no/such/program"), .name = "missing");
	family_closes(&f);
	const endings *known = ask(f.b, WHY(.name = (char *)"missing"), NULL, &msg);
	assert_non_null(known);
	const Brood__Control__Ending *e = known->ending[0];
	assert_string_equal(e->why, "unseen");
	assert_string_equal(e->cause, "failed");
	assert_string_equal(e->stage, "exec");
	assert_int_equal(e->code, -ENOENT);
	assert_string_equal(e->title, "program");
	assert_string_equal(e->text, "cannot start /no/such/program: No such file or directory");
	brood_msg_release(msg);
	family_end(&f);
}

/* What is no text in a program's name spoils nothing. */
static void test_names_that_are_no_text(void **state)
{
	struct family f = { 0 };
	brood_msg *msg;
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	family_start(&f, BROOD_ARGV("/no/\xff\xfe"), .cwd = NULL);
	family_closes(&f);
	const Brood__Control__Ending *e = ended(f.b, info_of(f.kid).address, &msg);
	assert_string_equal(e->cause, "failed");
	assert_string_equal(e->text, "");
	assert_string_equal(e->title, "?");
	brood_msg_release(msg);
	family_end(&f);
}

/* One that is there, by id, name and pid; and those that had its name before, the newest first. */
static void test_who_lives(void **state)
{
	struct family f = { 0 }, g = { 0 };
	brood_msg *msg;
	(void)state;
	family_begin(&f, KID("exit", "1"));
	family_closes(&f);
	for (int code = 4; code < 7; code++) {
		char text[24];
		struct diary d = { 0 };
		brood_peer *kid;
		snprintf(text, sizeof text, "exit %d", code);
		assert_int_equal(brood_spawn(f.b, &kid, BROOD_ARGV("sh", "-c", text),
					     BROOD_SPAWN(.on = diary_table, .data = &d, .name = "again")),
				 0);
		until(f.b, d.n[BROOD_EVENT_CLOSE]);
	}
	g.b = f.b;
	family_start(&g, BROOD_ARGV("sleep", "100"), .name = "again");
	until(f.b, g.d.n[BROOD_EVENT_SPAWN]);
	const endings *known = ask(f.b, WHY(.name = (char *)"again", .most = 2), NULL, &msg);
	assert_non_null(known);
	assert_non_null(known->living);
	assert_string_equal(known->living->address, info_of(g.kid).address);
	assert_int_equal(known->n_ending, 2);
	assert_true(known->more);
	assert_int_equal(known->ending[0]->code, 6);
	assert_int_equal(known->ending[1]->code, 5);
	brood_msg_release(msg);
	known = ask(f.b, WHY(.pid = (uint32_t)info_of(g.kid).pid), NULL, &msg);
	assert_non_null(known);
	assert_non_null(known->living);
	assert_string_equal(known->living->address, info_of(g.kid).address);
	assert_true(known->living->pid_space != 0);
	brood_msg_release(msg);
	known = ask(f.b, WHY(.id = 0), info_of(g.kid).address, &msg);
	assert_non_null(known);
	assert_true(known->living && known->n_ending == 0);
	brood_msg_release(msg);
	known = ask(f.b, WHY(.most = 32), NULL, &msg); /* all, but for those that ended in peace */
	assert_non_null(known);
	assert_true(!known->living && known->n_ending == 4 && !known->more);
	brood_msg_release(msg);
	assert_null(ask(f.b, WHY(.name = (char *)"nobody"), NULL, &msg));
	assert_null(ask(f.b, WHY(.pid = 4000000), NULL, &msg));
	brood_kill(g.kid, SIGKILL, 0);
	until(f.b, g.d.n[BROOD_EVENT_CLOSE]);
	family_end(&f);
}

/* It ends while there is no broker; the next one is told. */
static void test_the_next_broker_is_told(void **state)
{
	struct family f = { 0 };
	struct fixture *x = *state;
	brood_msg *msg;
	family_begin(&f, BROOD_ARGV("sleep", "100"));
	until(f.b, f.d.n[BROOD_EVENT_SPAWN]);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	kill_broker_hard(x);
	until(f.b, f.me.n[BROOD_EVENT_AWAY]);
	kill(info_of(f.kid).pid, SIGKILL);
	assert_int_equal(fixture_start(x), 0);
	family_closes(&f);
	const Brood__Control__Ending *e = ended(f.b, info_of(f.kid).address, &msg);
	assert_string_equal(e->cause, "signaled");
	assert_string_equal(e->title, "sleep");
	assert_int_equal(e->signo, SIGKILL);
	brood_msg_release(msg);
	family_end(&f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_ALL(test_exit_code),
		ON_ALL(test_timeout_and_log),
		ON_ALL(test_goodbye_and_code),
		ON_ALL(test_it_cannot_start),
		ON_UNIX(test_names_that_are_no_text),
		ON_ALL(test_who_lives),
		ON_ALL(test_the_next_broker_is_told),
	};
	return RUN("why", tests);
}
