/*
 * requests: every request ends in exactly one reply or error, whatever becomes of the one who was asked.
 */
#include "flow.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY 10000

static int64_t request(struct family *f, const char *type, int timeout_ms, struct diary *d)
{
	int64_t id = brood_request(f->kid, BROOD_MSG(type, type, strlen(type)), timeout_ms, diary_write, d);
	assert_true(id > 0);
	return id;
}

/* The request ends: once, with this error ("" for a reply). */
static void ends_with(struct family *f, struct diary *d, const char *error, int code)
{
	until(f->b, d->n[BROOD_EVENT_REPLY] == 1);
	assert_string_equal(d->error, error);
	assert_int_equal(d->code, code);
	assert_string_equal(d->order, "");
}

static void one_request(const char *behaviour, const char *type, const char *error, int code)
{
	struct family f = { 0 };
	struct diary d = { 0 };
	family_begin(&f, KID(behaviour));
	request(&f, type, PATIENCE_MS, &d);
	ends_with(&f, &d, error, code);
	if (code == 0)
		assert_string_equal(d.body, type);
	family_end(&f);
	assert_int_equal(d.n[BROOD_EVENT_REPLY], 1);
}

static void test_reply(void **state)
{
	(void)state;
	one_request("worker", "echo", "", 0);
}

static void test_reply_error(void **state)
{
	(void)state;
	one_request("worker", "error", "request.failed", -EPERM);
}

static void test_handler_error(void **state)
{
	(void)state;
	one_request("worker", "errno", "request.failed", -EDOM);
}

static void test_unanswered(void **state)
{
	(void)state;
	one_request("worker", "forget", "unanswered", -ENOMSG);
}

static void test_unhandled(void **state)
{
	(void)state;
	one_request("deaf", "echo", "unhandled", -ENOSYS);
}

static void test_error_text(void **state)
{
	struct family f = { 0 };
	struct diary d = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	request(&f, "error", -1, &d);
	ends_with(&f, &d, "request.failed", -EPERM);
	assert_string_equal(d.text, "not today");
	family_end(&f);
}

static void test_bad_arguments(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(brood_request(f.kid, BROOD_TEXT("x"), 0, diary_write, &f.d), -EINVAL);
	assert_int_equal(brood_request(f.kid, BROOD_TEXT("x"), -2, diary_write, &f.d), -EINVAL);
	assert_int_equal(brood_request(f.kid, BROOD_TEXT("x"), 1, NULL, &f.d), -EINVAL);
	assert_true(brood_cancel(f.b, 12345) < 0);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	family_end(&f);
}

/* Large both ways, with fill and trace. */
static void fill(void *to, size_t length, const void *with)
{
	memset(to, *(const char *)with, length);
}

static void test_large(void **state)
{
	struct family f = { 0 };
	brood_msg *m;
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(
		brood_call(f.kid, BROOD_MSG("echo", "x", 5000000, .fill = fill, .trace = "tr"), PATIENCE_MS, &m), 0);
	assert_int_equal(m->length, 5000000);
	assert_int_equal(m->text[0], 'x');
	assert_int_equal(m->text[4999999], 'x');
	assert_string_equal(m->trace, "tr");
	assert_string_equal(m->type, "echo");
	assert_ptr_equal(m->from, f.kid);
	brood_msg_release(m);
	family_end(&f);
}

/* ---- answered later ---------------------------------------------------------------------------------------------- */

static struct {
	unsigned order[MANY], n;
} answers;

static int note_answer(const brood_event *e)
{
	assert_non_null(e->msg);
	answers.order[answers.n++] = (unsigned)strtoul(e->msg->text, NULL, 10);
	return 0;
}

static void ask_to_keep(struct family *f, unsigned n)
{
	char text[16];
	answers.n = 0;
	for (unsigned i = 0; i < n; i++) {
		snprintf(text, sizeof text, "%u", i);
		assert_true(brood_request(f->kid, BROOD_MSG("keep", text, strlen(text), .flags = BROOD_BLOCK), -1,
					  note_answer, NULL) > 0);
	}
}

/* The child keeps all and answers the newest first. */
static void keep_and_flush(unsigned n)
{
	struct family f = { 0 };
	family_begin(&f, KID("worker"));
	ask_to_keep(&f, n);
	assert_int_equal(ask_number(f.kid, "open"), n);
	assert_int_equal(answers.n, 0);
	say(f.kid, "flush", "");
	until(f.b, answers.n == n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(answers.order[i], n - 1 - i);
	assert_int_equal(ask_number(f.kid, "open"), 0);
	family_end(&f);
}

static void test_kept_requests(void **state)
{
	(void)state;
	keep_and_flush(100);
}

static void test_10000_outstanding(void **state)
{
	(void)state;
	keep_and_flush(MANY);
}

/* Released without an answer. */
static void test_kept_and_forgotten(void **state)
{
	struct family f = { 0 };
	struct diary d = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	request(&f, "keep", -1, &d);
	say(f.kid, "release", "");
	ends_with(&f, &d, "unanswered", -ENOMSG);
	family_end(&f);
}

/* ---- given up ---------------------------------------------------------------------------------------------------- */

/* The asker has given up: nobody waits at the other side any more, and its answer is no answer. */
static void late_answer_is_ignored(struct family *f, const struct diary *d)
{
	assert_int_equal(ask_number(f->kid, "open"), 0);
	say(f->kid, "flush", "");
	assert_int_equal(ask_number(f->kid, "count"), 1);
	assert_int_equal(brood_process(f->b, 0), 0);
	assert_int_equal(d->n[BROOD_EVENT_REPLY], 1);
}

static void test_deadline(void **state)
{
	struct family f = { 0 };
	struct diary d = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	uint64_t begin = now_ms();
	request(&f, "keep", 50, &d);
	ends_with(&f, &d, "deadline", -ETIMEDOUT);
	assert_in_range(now_ms() - begin, 49, 20000);
	late_answer_is_ignored(&f, &d);
	family_end(&f);
}

static void is_answered(struct family *f, int timeout_ms)
{
	struct diary d = { 0 };
	request(f, "echo", timeout_ms, &d);
	until(f->b, d.n[BROOD_EVENT_REPLY] == 1);
}

static void is_not_answered(struct family *f, int timeout_ms)
{
	struct diary d = { 0 };
	uint64_t begin = now_ms();
	request(f, "keep", timeout_ms, &d);
	ends_with(f, &d, "deadline", -ETIMEDOUT);
	assert_in_range(now_ms() - begin, (uint64_t)timeout_ms - 1, (uint64_t)timeout_ms + BUSY_MS);
}

/* Requests that follow each other have a place in common, but not their deadlines. */
static void test_deadlines_in_turn(void **state)
{
	struct family f = { 0 };
	struct diary d = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	is_answered(&f, PATIENCE_MS);
	is_not_answered(&f, 50);
	is_answered(&f, 200);
	is_not_answered(&f, 500);
	is_answered(&f, 200);
	is_not_answered(&f, 1000); /* one that is kept by a coarser clock */
	int64_t id = request(&f, "keep", -1, &d);
	for (uint64_t end = now_ms() + 300; now_ms() < end;)
		assert_int_equal(brood_process(f.b, 50), 0);
	assert_int_equal(brood_cancel(f.b, id), 0);
	ends_with(&f, &d, "cancelled", -ECANCELED);
	family_end(&f);
}

static void test_cancel(void **state)
{
	struct family f = { 0 };
	struct diary d = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	int64_t id = request(&f, "keep", -1, &d);
	assert_int_equal(ask_number(f.kid, "open"), 1);
	assert_int_equal(brood_cancel(f.b, id), 0);
	ends_with(&f, &d, "cancelled", -ECANCELED);
	assert_true(brood_cancel(f.b, id) < 0);
	late_answer_is_ignored(&f, &d);
	family_end(&f);
}

static void test_cancel_after_the_answer(void **state)
{
	struct family f = { 0 };
	struct diary d = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	int64_t id = request(&f, "echo", -1, &d);
	ends_with(&f, &d, "", 0);
	assert_true(brood_cancel(f.b, id) < 0);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	assert_int_equal(d.n[BROOD_EVENT_REPLY], 1);
	family_end(&f);
}

/* Until then nobody knows whether a child's host is this one, whose clock its deadlines are by. */
static void connected(struct family *f)
{
	family_connect(f);
	brood_msg_release(ask_broker(f->b, "brood.control.GetStatus"));
}

/* What the receiver sees of the deadline. */
static void test_time_left(void **state)
{
	struct family f = { 0 };
	brood_msg *m;
	(void)state;
	connected(&f);
	family_start(&f, KID("worker"), .cwd = NULL);
	assert_in_range(ask_number(f.kid, "time"), 1, PATIENCE_MS);
	assert_int_equal(brood_call(f.kid, BROOD_MSG("time", NULL, 0), -1, &m), 0);
	assert_string_equal(m->text, "-1");
	brood_msg_release(m);
	family_end(&f);
}

/* A request whose deadline passes before the child listens is not begun. */
static void test_deadline_before_listening(void **state)
{
	struct family f = { 0 };
	struct diary d = { 0 };
	(void)state;
	connected(&f);
	family_start(&f, KID("late", "worker"), .cwd = NULL);
	request(&f, "keep", 30, &d);
	ends_with(&f, &d, "deadline", -ETIMEDOUT);
	until(f.b, info_of(f.kid).pid > 0); /* it starts when the broker has answered */
	pid_t pid = info_of(f.kid).pid;
	until_polled(f.b, process_state(pid) == 'T');
	kill(pid, SIGCONT);
	say(f.kid, "flush", "");
	assert_int_equal(ask_number(f.kid, "count"), 1);
	assert_int_equal(d.n[BROOD_EVENT_REPLY], 1);
	family_end(&f);
}

/* ---- the other side ends ----------------------------------------------------------------------------------------- */

/* When EXIT comes, everybody who asked has been told. */
static int check_told(const brood_event *e)
{
	const struct diary *answered = ((struct diary *)e->data)->data;
	if (e->type == BROOD_EVENT_EXIT)
		assert_int_equal(answered->n[BROOD_EVENT_REPLY], 5);
	return 0;
}

static void test_peer_exits(void **state)
{
	struct diary d = { 0 }, last = { 0 };
	struct family f = { .d.also = check_told, .d.data = &d };
	(void)state;
	family_begin(&f, KID("worker"));
	for (int i = 0; i < 5; i++)
		request(&f, "keep", PATIENCE_MS, &d);
	assert_true(brood_request(f.kid, BROOD_MSG("exit", "7", 1), -1, diary_write, &last) > 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(d.n[BROOD_EVENT_REPLY], 5);
	assert_true(strcmp(d.error, "peer.exited") == 0 || strcmp(d.error, "peer.left") == 0);
	assert_int_equal(last.n[BROOD_EVENT_REPLY], 1);
	assert_int_equal(f.d.exit.code, 7);
	assert_string_equal(f.d.order, "SRDEC");
	assert_int_equal(brood_request(f.kid, BROOD_TEXT("x"), -1, diary_write, &d), -ESRCH);
	family_end(&f);
}

static void test_peer_is_killed(void **state)
{
	struct diary d = { 0 };
	struct family f = { .d.also = check_told, .d.data = &d };
	(void)state;
	family_begin(&f, KID("worker"));
	for (int i = 0; i < 5; i++)
		request(&f, "keep", PATIENCE_MS, &d);
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(brood_kill(f.kid, SIGKILL, 0), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(d.n[BROOD_EVENT_REPLY], 5);
	assert_string_equal(d.error, "peer.exited");
	family_end(&f);
}

static void test_close_with_open_requests(void **state)
{
	struct family f = { 0 };
	struct diary d = { 0 };
	(void)state;
	assert_int_equal(brood_connect(&f.b, NULL, BROOD_OPTIONS(.flush_ms = 50)),
			 0); /* what is kept is never received */
	assert_int_equal(brood_spawn(f.b, &f.kid, KID("worker"), NULL), 0);
	request(&f, "keep", -1, &d);
	assert_int_equal(ask_number(f.kid, "open"), 1);
	family_end(&f); /* which ends the one who was asked */
	assert_int_equal(d.n[BROOD_EVENT_REPLY], 1);
	assert_string_equal(d.error, "cancelled");
}

/* In a last callback the handle does nothing more. */
static int call_again(const brood_event *e)
{
	struct diary *d = e->data;
	brood_peer *p;
	assert_int_equal(brood_request(e->peer, BROOD_TEXT("again?"), -1, call_again, d), -ESHUTDOWN);
	assert_int_equal(brood_send(e->peer, BROOD_TEXT("again?")), -ESHUTDOWN);
	assert_int_equal(brood_spawn(e->handle, &p, KID("worker"), NULL), -ESHUTDOWN);
	assert_int_equal(brood_process(e->handle, 0), -ESHUTDOWN);
	assert_int_equal(brood_close(e->handle), 0);
	brood_release(e->peer);
	assert_null(e->msg);
	return diary_write(e);
}

static void test_close_tells_who_waits(void **state)
{
	struct family f = { 0 };
	struct fixture *x = *state;
	struct diary kept = { 0 }, answered = { 0 };
	brood_peer *kid;
	brood *b;
	brood_msg *m;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(brood_connect(&b, x->address, BROOD_OPTIONS(.flush_ms = 50)), 0);
	assert_int_equal(brood_find(b, &kid, info_of(f.kid).address, NULL), 0);
	/* The answer is here, and nobody was told yet. */
	assert_true(brood_request(kid, BROOD_MSG("echo", "x", 1), -1, diary_write, &answered) > 0);
	assert_int_equal(brood_call(kid, BROOD_MSG("echo", "y", 1), PATIENCE_MS, &m), 0);
	brood_msg_release(m);
	assert_int_equal(answered.n[BROOD_EVENT_REPLY], 0);
	for (int i = 0; i < 3; i++)
		assert_true(brood_request(kid, BROOD_MSG("keep", "x", 1), -1, call_again, &kept) > 0);
	assert_int_equal(brood_close(b), 0); /* messages and answers; requests tell themselves */
	assert_int_equal(answered.n[BROOD_EVENT_REPLY], 1);
	assert_string_equal(answered.error, "");
	assert_string_equal(answered.body, "x");
	assert_int_equal(kept.n[BROOD_EVENT_REPLY], 3);
	assert_string_equal(kept.error, "cancelled");
	assert_int_equal(kept.code, -ECANCELED);
	family_end(&f);
}

static pid_t forked = -1;

static int fork_once(const brood_event *e)
{
	if (forked < 0)
		forked = fork();
	return diary_write(e);
}

/* The others are called in the original only, and the copy has no part in its end. */
static void test_a_fork_while_it_closes(void **state)
{
	struct family f = { 0 };
	struct fixture *x = *state;
	struct diary d = { 0 };
	brood_peer *kid;
	brood *b;
	int status;
	forked = -1;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(brood_connect(&b, x->address, BROOD_OPTIONS(.flush_ms = 50)), 0);
	assert_int_equal(brood_find(b, &kid, info_of(f.kid).address, NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_true(brood_request(kid, BROOD_MSG("keep", "x", 1), -1, fork_once, &d) > 0);
	(void)brood_close(b);
	if (forked == 0)
		_exit((int)d.n[BROOD_EVENT_REPLY]);
	assert_int_equal(waitpid(forked, &status, 0), forked);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	assert_int_equal(d.n[BROOD_EVENT_REPLY], 3);
	family_end(&f);
}

/* A callback in which a program closes is not its last: those that are owed come when it has returned. */
static int close_here(const brood_event *e)
{
	struct diary *d = e->data;
	if (e->type == BROOD_EVENT_REPLY && d->n[BROOD_EVENT_REPLY] == 0) {
		assert_int_equal(brood_close(e->handle), 0);
		assert_int_equal(diary_write(e), 0);
		assert_int_equal(d->n[BROOD_EVENT_REPLY], 1);
		return 0;
	}
	return diary_write(e);
}

static void test_close_in_a_callback_tells_who_waits(void **state)
{
	struct family f = { 0 };
	struct fixture *x = *state;
	struct diary d = { 0 };
	brood_peer *kid;
	brood *b;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(brood_connect(&b, x->address, BROOD_OPTIONS(.flush_ms = 50)), 0);
	assert_int_equal(brood_find(b, &kid, info_of(f.kid).address, NULL), 0);
	assert_true(brood_request(kid, BROOD_MSG("keep", "x", 1), -1, close_here, &d) > 0);
	assert_true(brood_request(kid, BROOD_MSG("echo", "x", 1), -1, close_here, &d) > 0);
	assert_int_equal(brood_run(b), 0);
	assert_int_equal(d.n[BROOD_EVENT_REPLY], 2);
	assert_string_equal(d.error, "cancelled");
	family_end(&f);
}

/* ---- the child asks its parent ----------------------------------------------------------------------------------- */

static int answer_yes(const brood_event *e)
{
	if (e->type != BROOD_EVENT_MESSAGE || !e->msg->wants_reply)
		return 0;
	if (strcmp(e->msg->type, "question") == 0)
		return brood_reply(e->msg, BROOD_TEXT("yes"));
	return strcmp(e->msg->type, "errno") == 0 ? -EDOM : 0;
}

static int exit_code_of(const char *question, struct family f)
{
	family_begin(&f, KID("ask", question));
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	int code = f.d.exit.code;
	family_end(&f);
	return code;
}

static void test_child_asks(void **state)
{
	(void)state;
	assert_int_equal(exit_code_of("question", (struct family){ .d.also = answer_yes }), 0);
	assert_int_equal(exit_code_of("errno", (struct family){ .d.also = answer_yes }), EDOM);
	assert_int_equal(exit_code_of("other", (struct family){ .d.also = answer_yes }), ENOMSG);
}

/* A peer whose events nobody takes keeps the request for brood_next(). */
static void test_request_in_brood_next(void **state)
{
	struct family f = { 0 };
	const brood_event *e;
	int answered = 0;
	(void)state;
	assert_int_equal(brood_connect(&f.b, NULL, NULL), 0);
	assert_int_equal(brood_spawn(f.b, &f.kid, KID("ask", "question"), NULL), 0);
	do {
		assert_int_equal(brood_next(f.b, &e, PATIENCE_MS), 1);
		if (e->type == BROOD_EVENT_MESSAGE) {
			assert_int_equal(e->msg->wants_reply, 1);
			answered += brood_reply(e->msg, BROOD_TEXT("yes")) == 0;
		}
	} while (e->type != BROOD_EVENT_EXIT);
	assert_int_equal(answered, 1);
	assert_int_equal(e->exit->code, 0);
	family_end(&f);
}

/* A kept request whose asker went: nobody waits any more, and answering is no error. */
static brood_msg *kept;

static int keep_it(const brood_event *e)
{
	if (e->type == BROOD_EVENT_MESSAGE)
		kept = brood_msg_keep(e->msg);
	return 0;
}

static void test_asker_goes(void **state)
{
	struct family f = { .d.also = keep_it };
	(void)state;
	kept = NULL;
	family_begin(&f, KID("ask", "question"));
	until(f.b, kept != NULL);
	assert_int_equal(kept->wants_reply, 1);
	assert_int_equal(brood_kill(f.kid, SIGKILL, 0), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(kept->wants_reply, 0);
	assert_int_equal(brood_reply(kept, BROOD_TEXT("yes")), 0);
	assert_string_equal(kept->type, "question");
	brood_msg_release(kept);
	family_end(&f);
}

static int answer_twice(const brood_event *e)
{
	if (e->type == BROOD_EVENT_MESSAGE && e->msg->wants_reply) {
		assert_int_equal(brood_reply(e->msg, BROOD_TEXT("yes")), 0);
		assert_int_equal(e->msg->wants_reply, 0);
		assert_int_equal(brood_reply(e->msg, BROOD_TEXT("no")), 0);
		assert_int_equal(brood_reply_error(e->msg, -EIO, NULL), 0);
	}
	return 0;
}

/* Only the first answer counts. */
static void test_two_answers(void **state)
{
	(void)state;
	assert_int_equal(exit_code_of("question", (struct family){ .d.also = answer_twice }), 0);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static void test_call(void **state)
{
	struct family f = { 0 };
	brood_msg *m = NULL;
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(brood_call(f.kid, BROOD_MSG("echo", "hello", 5), PATIENCE_MS, &m), 0); /* not connected yet */
	assert_string_equal(m->text, "hello");
	brood_msg_release(m);
	m = NULL;
	assert_int_equal(brood_call(f.kid, BROOD_MSG("errno", NULL, 0), PATIENCE_MS, &m), -EDOM);
	assert_string_equal(brood_last_error(f.b)->name, "request.failed");
	assert_int_equal(brood_call(f.kid, BROOD_MSG("keep", NULL, 0), 20, &m), -ETIMEDOUT);
	assert_int_equal(brood_call(f.kid, BROOD_MSG("_exit", "0", 1), -1, &m), -ESRCH);
	assert_string_equal(brood_last_error(f.b)->name, "peer.exited");
	assert_null(m);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "SRDEC");
	family_end(&f);
}

/* Events wait during a call and come afterwards, in order. */
static void test_events_wait_during_a_call(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	say(f.kid, "stream", "1000 100");
	assert_int_equal(ask_number(f.kid, "count"), 1); /* answered behind the 1000 */
	assert_int_equal(info_of(f.kid).received, 1000);
	assert_string_equal(f.d.order, "");
	until(f.b, diary_messages(&f.d) == 1000);
	assert_int_equal(f.d.wrong, 0);
	assert_string_equal(f.d.order, "SRm");
	family_end(&f);
}

static int depth;

/* Every 110th message asks the child something, which makes it send more messages meanwhile. */
static int call_inside(const brood_event *e)
{
	if (e->type != BROOD_EVENT_MESSAGE)
		return 0;
	assert_int_equal(depth, 0);
	depth++;
	uint64_t number = numbered_read(e->msg);
	if (number % 110 == 0) {
		assert_true(ask_number(e->peer, "count") >= 1);
		assert_int_equal(numbered_read(e->msg), number); /* still there */
		assert_int_equal(brood_process(e->handle, 0), -EBUSY);
	}
	depth--;
	return 0;
}

static void test_call_inside_a_callback(void **state)
{
	struct family f = { .d.also = call_inside };
	(void)state;
	family_begin(&f, KID("worker"));
	for (int i = 0; i < 100; i++)
		say(f.kid, "stream",
		    "100 200"); /* all of them together less than the window: the child must not block */
	until(f.b, diary_messages(&f.d) == 10000);
	assert_int_equal(f.d.wrong, 0);
	assert_string_equal(f.d.order, "SRm");
	family_end(&f);
}

static int call_the_dead(const brood_event *e)
{
	brood_msg *m;
	if (e->type == BROOD_EVENT_MESSAGE && diary_messages(e->data) == 1)
		assert_int_equal(brood_call(e->peer, BROOD_MSG("_exit", "3", 1), -1, &m), -ESRCH);
	return 0;
}

/* The child dies while a callback waits for its answer: what it had sent before still comes first. */
static void test_peer_dies_during_a_call(void **state)
{
	struct family f = { .d.also = call_the_dead };
	(void)state;
	family_begin(&f, KID("worker"));
	say(f.kid, "stream", "50 1000");
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(diary_messages(&f.d), 50);
	assert_int_equal(f.d.wrong, 0);
	assert_string_equal(f.d.order, "SRmDEC");
	assert_int_equal(f.d.exit.code, 3);
	family_end(&f);
}

/*
 * Parent and child ask each other. The child's handler waits in brood_call() and handles nothing meanwhile, so the
 * parent's question to it may not wait without an end.
 */
static int answer_and_ask_in_vain(const brood_event *e)
{
	brood_msg *m;
	if (e->type != BROOD_EVENT_MESSAGE || strcmp(e->msg->type, "question") != 0)
		return 0;
	assert_int_equal(brood_call(e->peer, BROOD_MSG("open", NULL, 0), 100, &m), -ETIMEDOUT);
	return brood_reply(e->msg, BROOD_TEXT("yes"));
}

static void test_each_other(void **state)
{
	struct family f = { .d.also = answer_and_ask_in_vain };
	(void)state;
	family_begin(&f, KID("worker"));
	say(f.kid, "ask", "?");
	until(f.b, diary_messages(&f.d) == 2);
	assert_string_equal(f.d.type, "answer");
	assert_string_equal(f.d.body, "yes");
	f.d.also = NULL;
	assert_int_equal(ask_number(f.kid, "open"), 0);
	family_end(&f);
}

/* A reply's handler may ask again. */
static int ask_again(const brood_event *e)
{
	struct diary *d = e->data;
	if (d->n[BROOD_EVENT_REPLY] < 500)
		assert_true(brood_request(e->peer, BROOD_MSG("echo", "x", 1), -1, diary_write, d) > 0);
	return 0;
}

static void test_chain(void **state)
{
	struct family f = { 0 };
	struct diary d = { .also = ask_again };
	(void)state;
	family_begin(&f, KID("worker"));
	request(&f, "echo", -1, &d);
	until(f.b, d.n[BROOD_EVENT_REPLY] == 500);
	assert_int_equal(d.code, 0);
	family_end(&f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_ALL(test_reply),
		ON_HOSTS(test_reply_error),
		ON_HOSTS(test_handler_error),
		ON_HOSTS(test_unanswered),
		ON_HOSTS(test_unhandled),
		ON_HOSTS(test_error_text),
		ON_HOSTS(test_bad_arguments),
		ON_ALL(test_large),
		ON_HOSTS(test_kept_requests),
		ON_ALL(test_10000_outstanding),
		ON_HOSTS(test_kept_and_forgotten),
		ON_ALL(test_deadline),
		ON_ALL(test_deadlines_in_turn),
		ON_HOSTS(test_cancel),
		ON_HOSTS(test_cancel_after_the_answer),
		ON_HOSTS(test_time_left),
		ON_ALL(test_deadline_before_listening),
		ON_ALL(test_peer_exits),
		ON_ALL(test_peer_is_killed),
		ON_HOSTS(test_close_with_open_requests),
		ON_UNIX(test_close_tells_who_waits),
		ON_UNIX(test_a_fork_while_it_closes),
		ON_UNIX(test_close_in_a_callback_tells_who_waits),
		ON_ALL(test_child_asks),
		ON_HOSTS(test_request_in_brood_next),
		ON_ALL(test_asker_goes),
		ON_HOSTS(test_two_answers),
		ON_ALL(test_call),
		ON_HOSTS(test_events_wait_during_a_call),
		ON_ALL(test_call_inside_a_callback),
		ON_ALL(test_peer_dies_during_a_call),
		ON_HOSTS(test_each_other),
		ON_HOSTS(test_chain),
	};
	return RUN("requests", tests);
}
