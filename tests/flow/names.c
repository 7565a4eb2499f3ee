/*
 * names: taking one, finding who has it, and what happens when it changes hands; processes that join a parent which did
 * not start them; what the broker tells about who is there.
 */
#include "control.pb-c.h"
#include "flow.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* A program of its own under a name. */
static pid_t start_server(const char *name)
{
	long pid;
	int out;
	(void)start_program(KID("server", name), &out);
	read_numbers(out, &pid, 1);
	close(out);
	assert_true(pid > 0);
	return (pid_t)pid;
}

static void end_program(pid_t pid, int signo)
{
	kill(pid, signo);
	assert_int_equal(wait_program(pid), signo);
}

static void find(struct family *f, const char *name, unsigned wait_ms)
{
	family_connect(f);
	assert_int_equal(
		brood_find(f->b, &f->kid, name, BROOD_FIND(.on = diary_table, .data = &f->d, .wait_ms = wait_ms)), 0);
}

/* Connected, so that it has an address. */
static void connect_now(struct family *f)
{
	assert_int_equal(
		brood_connect(&f->b, getenv("BROOD_ADDRESS"), BROOD_OPTIONS(.on = diary_table, .data = &f->me)), 0);
	assert_int_equal(brood_sync(f->b, PATIENCE_MS), 0);
}

#define until_both(f, g, condition) until_by(condition, (poll_once((f)->b), poll_once((g)->b)))

/* ---- taking names ------------------------------------------------------------------------------------------------ */

static void test_taken(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "resize"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	family_connect(&g);
	assert_int_equal(brood_register(g.b, "resize"), 0);
	assert_int_equal(brood_sync(g.b, PATIENCE_MS), -EADDRINUSE);
	assert_string_equal(brood_last_error(g.b)->name, "name.taken");
	assert_string_equal(g.me.order, "R!");
	assert_string_equal(g.me.error, "name.taken");
	assert_true(strlen(g.me.text) > 0);
	assert_int_equal(brood_register(f.b, "resize"), 0); /* mine already */
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(brood_unregister(f.b, "resize"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(brood_unregister(f.b, "resize"), -ENOENT);
	brood_peer *broker;
	assert_int_equal(brood_find(f.b, &broker, "@broker", NULL), 0);
	brood_msg *m;
	assert_int_equal(brood_call(broker, BROOD_MSG("brood.control.GetStatus", NULL, 0), -1, &m), 0); /* behind it */
	brood_msg_release(m);
	assert_int_equal(brood_register(g.b, "resize"), 0);
	assert_int_equal(brood_sync(g.b, PATIENCE_MS), 0);
	family_end(&f);
	family_end(&g);
}

static void test_taken_at_connect(void **state)
{
	struct family f = { 0 };
	brood *g;
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "resize"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(brood_connect(&g, NULL, BROOD_OPTIONS(.name = "resize")), 0);
	assert_int_equal(brood_sync(g, PATIENCE_MS), -EADDRINUSE);
	brood_close(g);
	assert_int_equal(brood_connect(&g, NULL, BROOD_OPTIONS(.name = "Not a name")), -EINVAL);
	family_end(&f);
}

static void test_invalid(void **state)
{
	static const char *const bad[] = {
		"",   "Resize",     "a b",     "-a",
		".a", "65f2a1b0.3", "@broker", "0123456789012345678901234567890123456789012345678901234567890123"
	};
	struct family f = { 0 };
	brood_peer *p;
	(void)state;
	family_connect(&f);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(brood_register(f.b, bad[i]), -EINVAL);
	assert_string_equal(brood_last_error(f.b)->name, "name.invalid");
	assert_int_equal(brood_register(f.b, NULL), -EINVAL);
	assert_int_equal(brood_find(f.b, &p, "", NULL), -EINVAL);
	assert_int_equal(brood_find(f.b, &p, "a/b/c", NULL), -EINVAL);
	assert_int_equal(brood_find(f.b, &p, "/a", NULL), -EINVAL);
	assert_int_equal(brood_find(f.b, &p, "A/a", NULL), -EINVAL);
	assert_int_equal(brood_find(f.b, &p, "a/", NULL), -EINVAL);
	assert_int_equal(brood_find(f.b, &p, NULL, NULL), -EINVAL);
	assert_int_equal(brood_register(f.b, bad[7] + 1), 0); /* 63 */
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	family_end(&f);
}

/* A child under a name is found by others. */
static void test_named_child(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_spawn(f.b, &f.kid, KID("worker"), BROOD_SPAWN(.name = "resize")), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	find(&g, "resize", PATIENCE_MS);
	assert_int_equal(ask_number(g.kid, "count"), 0);
	assert_string_equal(info_of(g.kid).name, "resize");
	assert_string_equal(info_of(g.kid).address, info_of(f.kid).address);
	assert_string_equal(info_of(f.kid).name, "resize");
	family_end(&g);
	family_end(&f);
}

/* ---- finding them ------------------------------------------------------------------------------------------------ */

static void test_find_waits(void **state)
{
	struct family f = { 0 };
	(void)state;
	find(&f, "later", PATIENCE_MS);
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(numbered_send(f.kid, i, 50, 0), 0);
	until(f.b, f.me.n[BROOD_EVENT_READY] == 1);
	pid_t server = start_server("later");
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(ask_number(f.kid, "count"), 100);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	assert_string_equal(f.d.order, "R");
	family_end(&f);
	end_program(server, SIGTERM);
}

static void test_find_does_not_wait(void **state)
{
	struct family f = { 0 };
	struct diary asked = { 0 };
	(void)state;
	find(&f, "nobody", 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(brood_send(f.kid, BROOD_TEXT("x")), 0);
	assert_true(brood_request(f.kid, BROOD_TEXT("x"), -1, diary_write, &asked) > 0);
	until(f.b, asked.n[BROOD_EVENT_REPLY] == 1 && f.d.n[BROOD_EVENT_ERROR] == 1);
	assert_string_equal(asked.error, "name.unknown");
	assert_string_equal(f.d.error, "undelivered");
	assert_int_equal(f.d.code, -ESRCH);
	assert_non_null(strstr(f.d.text, "3 messages to nobody"));
	assert_non_null(strstr(f.d.text, "not delivered"));
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("y")), 0); /* and again */
	until(f.b, f.d.n[BROOD_EVENT_ERROR] == 2);
	assert_string_equal(f.d.order, "!!"); /* the name stays, there is no CLOSE */
	family_end(&f);
}

static void test_find_waits_in_vain(void **state)
{
	struct family f = { 0 };
	(void)state;
	find(&f, "nobody", 100);
	uint64_t begin = now_ms();
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("x")), 0);
	until(f.b, f.d.n[BROOD_EVENT_ERROR] == 1);
	assert_in_range(now_ms() - begin, 99, 20000);
	assert_string_equal(f.d.error, "undelivered");
	family_end(&f);
}

static void test_holder_changes(void **state)
{
	struct family f = { 0 };
	(void)state;
	pid_t first = start_server("work");
	find(&f, "work", PATIENCE_MS);
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(numbered_send(f.kid, 0, 10, 0), 0);
	assert_int_equal(ask_number(f.kid, "count"), 1);
	end_program(first, SIGKILL);
	until(f.b, f.d.n[BROOD_EVENT_DISCONNECT] == 1);
	assert_int_equal(info_of(f.kid).connected, 0);
	for (uint64_t i = 0; i < 5; i++) /* these wait for the next one */
		assert_int_equal(numbered_send(f.kid, i, 10, 0), 0);
	pid_t second = start_server("work");
	until(f.b, f.d.n[BROOD_EVENT_READY] == 2);
	assert_int_equal(ask_number(f.kid, "count"), 5);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	assert_string_equal(f.d.order, "RDR");
	family_end(&f);
	end_program(second, SIGTERM);
}

/* What the old holder may not have handled comes back; it is not given to the next one. */
static void test_holder_dies_with_messages(void **state)
{
	struct family f = { 0 };
	struct diary asked = { 0 };
	(void)state;
	pid_t first = start_server("work");
	find(&f, "work", PATIENCE_MS);
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	kill(first, SIGSTOP);
	until_polled(f.b, process_state(first) == 'T');
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(numbered_send(f.kid, i, 10, 0), 0);
	assert_true(brood_request(f.kid, BROOD_MSG("keep", NULL, 0), -1, diary_write, &asked) > 0);
	end_program(first, SIGKILL);
	until(f.b, f.d.n[BROOD_EVENT_DISCONNECT] == 1 && f.d.n[BROOD_EVENT_ERROR] == 1);
	assert_string_equal(f.d.error, "undelivered");
	assert_non_null(strstr(f.d.text, "10 messages"));
	assert_int_equal(asked.n[BROOD_EVENT_REPLY], 1);
	pid_t second = start_server("work");
	assert_int_equal(ask_number(f.kid, "count"), 0);
	family_end(&f);
	end_program(second, SIGTERM);
}

static void test_unregister(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "one"), 0);
	assert_int_equal(brood_register(f.b, "two"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	find(&g, "two", 0);
	until(g.b, g.d.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(brood_unregister(f.b, NULL), 0);
	until(g.b, g.d.n[BROOD_EVENT_DISCONNECT] == 1);
	assert_int_equal(brood_register(f.b, "two"), 0);
	until(g.b, g.d.n[BROOD_EVENT_READY] == 2);
	assert_string_equal(g.d.order, "RDR");
	family_end(&g);
	family_end(&f);
}

/* What the holder says when it is none any more does not come from the name, and its address is not the name's. */
static void test_former_holder_speaks(void **state)
{
	struct family f = { 0 }, g = { 0 };
	brood_peer *former;
	(void)state;
	connect_now(&f);
	connect_now(&g);
	assert_int_equal(brood_register(f.b, "one"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(brood_find(g.b, &g.kid, "one", BROOD_FIND(.on = diary_table, .data = &g.d)), 0);
	until(g.b, g.d.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(brood_find(f.b, &f.kid, info_of(brood_self(g.b)).address, NULL), 0);
	assert_int_equal(brood_unregister(f.b, NULL), 0);
	until_both(&f, &g, g.d.n[BROOD_EVENT_DISCONNECT] == 1);
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("late")), 0);
	until_both(&f, &g, g.me.n[BROOD_EVENT_MESSAGE] + g.d.n[BROOD_EVENT_MESSAGE] == 1);
	assert_string_equal(g.d.order, "RD");
	assert_string_equal(g.me.order, "Rm");
	assert_int_equal(brood_find(g.b, &former, info_of(brood_self(f.b)).address, NULL), 0);
	assert_ptr_equal(former, g.me.peer);
	assert_ptr_not_equal(former, g.kid);
	family_end(&g);
	family_end(&f);
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static int greet(const brood_event *e)
{
	if (e->type == BROOD_EVENT_MESSAGE && e->msg->wants_reply)
		return brood_reply(e->msg, BROOD_TEXT("hello"));
	return 0;
}

/* Two handles of one process are two processes to the broker; a stranger can be answered. */
static void test_find_by_address(void **state)
{
	struct family f = { .me.also = greet }, g = { 0 };
	struct diary asked = { 0 };
	(void)state;
	connect_now(&f);
	find(&g, info_of(brood_self(f.b)).address, 0);
	assert_int_equal(brood_send(g.kid, BROOD_TEXT("first")), 0);
	assert_true(brood_request(g.kid, BROOD_TEXT("second"), -1, diary_write, &asked) > 0);
	until_both(&f, &g, asked.n[BROOD_EVENT_REPLY] == 1);
	assert_string_equal(asked.body, "hello");
	assert_string_equal(f.me.order, "Rm");
	assert_string_equal(info_of(f.me.peer).address, info_of(brood_self(g.b)).address);
	family_end(&g);
	until(f.b, f.me.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.me.order, "RmDC");
	family_end(&f);
}

static void test_unknown_address(void **state)
{
	struct family f = { 0 };
	(void)state;
	find(&f, "1.5", 0);
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("x")), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "!DC");
	assert_string_equal(f.d.error, "undelivered");
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("x")), -ESRCH);
	family_end(&f);
}

/* ---- joining ----------------------------------------------------------------------------------------------------- */

static pid_t start_joiner(const char *parent, int *out)
{
	return start_program(KID("joiner", parent), out);
}

/* f's handle has the diary of everybody without a table, so of those who join too. */
static void joined(struct family *f, const char *parent)
{
	int out;
	long answer;
	pid_t pid = start_joiner(parent, &out);
	until(f->b, f->me.n[BROOD_EVENT_JOIN] == 1 && f->me.n[BROOD_EVENT_READY] == 2);
	until_polled(f->b, is_readable(out)); /* its brood_sync() is done when we have consumed its first item */
	read_numbers(out, &answer, 1);
	close(out);
	assert_int_equal(answer, pid);
	f->kid = f->me.peer;
	assert_int_equal(info_of(f->kid).pid, pid);
	say(f->kid, "stream", "20 100");
	until(f->b, diary_messages(&f->me) == 20);
	assert_int_equal(ask_number(f->kid, "count"), 1);
	assert_int_equal(brood_kill(f->kid, SIGTERM, 0), -EPERM); /* not mine to signal */
	end_program(pid, SIGKILL);
	until(f->b, f->me.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f->me.order, "RJRmDEC");
	assert_int_equal(f->me.exit.cause, BROOD_GONE);
	assert_int_equal(f->me.exit.code, -1);
}

static void test_join_by_name(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "boss"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	joined(&f, "boss");
	family_end(&f);
}

static void test_join_by_address(void **state)
{
	struct family f = { 0 };
	(void)state;
	connect_now(&f);
	joined(&f, info_of(brood_self(f.b)).address);
	family_end(&f);
}

static void test_join_nobody(void **state)
{
	int out;
	long answer;
	(void)state;
	pid_t pid = start_joiner("nobody", &out);
	read_numbers(out, &answer, 1);
	close(out);
	assert_int_equal(answer, -ESRCH);
	assert_int_equal(WEXITSTATUS(wait_program(pid)), ESRCH);
}

static int refuse(const brood_event *e)
{
	if (e->type == BROOD_EVENT_JOIN)
		assert_int_equal(brood_disconnect(e->peer), 0);
	return 0;
}

static void test_refuse_a_joiner(void **state)
{
	struct family f = { .me.also = refuse };
	int out;
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "boss"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	pid_t pid = start_joiner("boss", &out);
	until(f.b, f.me.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(f.me.exit.cause, BROOD_GONE);
	assert_int_equal(f.me.n[BROOD_EVENT_MESSAGE], 0);
	assert_int_equal(wait_program(pid), 0); /* it had no parent any more */
	close(out);
	family_end(&f);
}

/* A joiner whose parent goes is told, and ends. */
static void test_parent_of_a_joiner_goes(void **state)
{
	struct family f = { 0 };
	int out;
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "boss"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	pid_t pid = start_joiner("boss", &out);
	until(f.b, f.me.n[BROOD_EVENT_JOIN] == 1);
	family_end(&f);
	assert_int_equal(wait_program(pid), 0);
	close(out);
}

/* ---- the broker -------------------------------------------------------------------------------------------------- */

static const Brood__Control__Process *process_with_pid(const Brood__Control__Listing *l, pid_t pid)
{
	for (size_t i = 0; i < l->n_process; i++)
		if (l->process[i]->pid == (uint32_t)pid)
			return l->process[i];
	return NULL;
}

static void test_list(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(brood_register(f.b, "resize"), 0);
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	brood_msg *m = ask_broker(f.b, "brood.control.List");
	assert_string_equal(m->type, "brood.control.Listing");
	Brood__Control__Listing *l = brood__control__listing__unpack(NULL, m->length, m->body);
	assert_non_null(l);
	const Brood__Control__Process *me = process_with_pid(l, getpid());
	const Brood__Control__Process *kid = process_with_pid(l, info_of(f.kid).pid);
	assert_non_null(me);
	assert_non_null(kid);
	assert_string_equal(me->address, info_of(brood_self(f.b)).address);
	assert_string_equal(me->name, "resize");
	assert_string_equal(me->state, "live");
	assert_string_equal(kid->address, info_of(f.kid).address);
	assert_int_equal(kid->parent, me->id);
	assert_int_equal(kid->uid, getuid());
	brood__control__listing__free_unpacked(l, NULL);
	brood_msg_release(m);
	family_end(&f);
}

static void test_status(void **state)
{
	const struct fixture *x = *state;
	struct family f = { 0 };
	family_connect(&f);
	brood_msg *m = ask_broker(f.b, "brood.control.GetStatus");
	assert_string_equal(m->type, "brood.control.Status");
	Brood__Control__Status *s = brood__control__status__unpack(NULL, m->length, m->body);
	assert_non_null(s);
	assert_int_equal(s->pid, x->broker);
	assert_int_equal(s->processes, flow_nursery ? 2 : 1);
	brood__control__status__free_unpacked(s, NULL);
	brood_msg_release(m);
	family_end(&f);
}

static void test_unknown_request_to_the_broker(void **state)
{
	struct family f = { 0 };
	brood_peer *broker;
	brood_msg *m;
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_find(f.b, &broker, "@broker", NULL), 0);
	assert_int_equal(brood_call(broker, BROOD_TEXT("make tea"), PATIENCE_MS, &m), -EOPNOTSUPP);
	assert_string_equal(brood_last_error(f.b)->name, "control.unknown");
	assert_int_equal(brood_send(broker, BROOD_TEXT("just a message")), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(brood_disconnect(broker), -ENOTCONN);
	assert_int_equal(brood_kill(broker, SIGTERM, 0), -EPERM);
	brood_msg_release(ask_broker(f.b, "brood.control.GetStatus"));
	family_end(&f);
}

/* ---- given back -------------------------------------------------------------------------------------------------- */

static int is_there(brood *b, pid_t pid)
{
	brood_msg *m = ask_broker(b, "brood.control.List");
	Brood__Control__Listing *l = brood__control__listing__unpack(NULL, m->length, m->body);
	assert_non_null(l);
	int there = process_with_pid(l, pid) != NULL;
	brood__control__listing__free_unpacked(l, NULL);
	brood_msg_release(m);
	return there;
}

static int thank(const brood_event *e)
{
	*(int *)e->data = brood_send(e->peer, BROOD_TEXT("thanks"));
	return 0;
}

/*
 * A name was given back while something that its holder said waits to be told, and the holder is gone by then: nobody
 * would look for the next one, so what is sent to it now is refused.
 */
static void test_given_back_and_gone(void **state)
{
	struct family f = { 0 };
	int thanked = 1;
	(void)state;
	pid_t server = start_server("work");
	find(&f, "work", PATIENCE_MS);
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	assert_true(brood_request(f.kid, BROOD_MSG("count", NULL, 0), -1, thank, &thanked) > 0);
	(void)ask_number(f.kid, "count"); /* so the answer before has come, too */
	brood_release(f.kid);
	end_program(server, SIGKILL);
	until_by(!is_there(f.b, server), nap()); /* waiting for an answer tells nothing else */
	assert_int_equal(thanked, 1);
	until(f.b, thanked != 1);
	assert_int_equal(thanked, -ENOTCONN);
	family_end(&f);
}

/* A parent that found its own child by name still hears of its end as its parent. */
static void test_own_child_by_name(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		struct family f = { 0 };
		brood_peer *by_name;
		struct diary found = { 0 };
		family_begin(&f, KID("named", "mine"));
		assert_int_equal(brood_find(f.b, &by_name, "mine", BROOD_FIND(.on = diary_table, .data = &found)), 0);
		until(f.b, found.n[BROOD_EVENT_READY] == 1);
		assert_int_equal(ask_number(by_name, "count"), 0);
		say(f.kid, "exit", "0");
		until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
		assert_ptr_equal(strstr(f.d.exit_text, "missing"), NULL);
		family_end(&f);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_ALL(test_taken),
		ON_UNIX(test_taken_at_connect),
		ON_UNIX(test_invalid),
		ON_ALL(test_named_child),
		ON_ALL(test_find_waits),
		ON_UNIX(test_find_does_not_wait),
		ON_UNIX(test_find_waits_in_vain),
		ON_ALL(test_holder_changes),
		ON_ALL(test_holder_dies_with_messages),
		ON_UNIX(test_unregister),
		ON_UNIX(test_former_holder_speaks),
		ON_ALL(test_find_by_address),
		ON_UNIX(test_unknown_address),
		ON_ALL(test_join_by_name),
		ON_UNIX(test_join_by_address),
		ON_UNIX(test_join_nobody),
		ON_UNIX(test_refuse_a_joiner),
		ON_UNIX(test_parent_of_a_joiner_goes),
		ON_ALL(test_list),
		ON_UNIX(test_status),
		ON_UNIX(test_unknown_request_to_the_broker),
		ON_ALL(test_own_child_by_name),
		ON_UNIX(test_given_back_and_gone),
	};
	return RUN("names", tests);
}
