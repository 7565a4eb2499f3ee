/*
 * endings: how a child ends is known exactly, told once and in order, and nothing of it is left: also when the parent,
 * or the broker with it, is killed.
 */
#include "flow.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Let a child run to its end. */
static void whole_life(struct family *f, const char *const *argv)
{
	family_begin(f, argv);
	until(f->b, f->d.n[BROOD_EVENT_CLOSE] == 1);
	assert_true(process_is_dead(info_of(f->kid).pid));
	assert_int_equal(info_of(f->kid).state, BROOD_IS_CLOSED);
	assert_int_equal(info_of(f->kid).connected, 0);
}

/* ---- by itself --------------------------------------------------------------------------------------------------- */

static void test_order_of_events(void **state)
{
	struct family f = { 0 };
	(void)state;
	whole_life(&f, KID("burst", "3", "100"));
	assert_string_equal(f.d.order, "SRmDEC");
	assert_int_equal(diary_messages(&f.d), 3);
	assert_int_equal(f.d.exit.cause, BROOD_EXITED);
	assert_int_equal(f.d.exit.code, 0);
	assert_int_equal(f.d.exit.signo, 0);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_ITSELF);
	assert_int_equal(info_of(f.kid).killed, 0);
	assert_ptr_equal(strstr(f.d.exit_text, "missing"), NULL);
	family_end(&f);
}

static void test_exit_code(void **state)
{
	struct family f = { 0 };
	(void)state;
	whole_life(&f, KID("exit", "42"));
	assert_string_equal(f.d.order, "SRDEC");
	assert_int_equal(f.d.exit.code, 42);
	assert_int_equal(info_of(f.kid).exit->code, 42);
	family_end(&f);
}

static void test_signal(void **state)
{
	struct family f = { 0 };
	(void)state;
	whole_life(&f, KID("signal", "9"));
	assert_string_equal(f.d.order, "SRDEC");
	assert_int_equal(f.d.exit.cause, BROOD_SIGNALED);
	assert_int_equal(f.d.exit.code, -1);
	assert_int_equal(f.d.exit.signo, SIGKILL);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_ITSELF);
	assert_string_equal(f.d.exit_text, "killed by signal 9 (Killed)");
	family_end(&f);
}

/* It has a channel and never looks at it. */
static void test_never_connects(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("quit", "3"));
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("x")), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "S!DEC");
	assert_int_equal(f.d.exit.code, 3);
	assert_string_equal(f.d.error, "undelivered"); /* never silently lost */
	family_end(&f);
}

/* exit(0) with all of it still under way: everything arrives, and only then the end. */
static void test_burst_and_exit(void **state)
{
	struct family f = { 0 };
	(void)state;
	whole_life(&f, KID("burst", "50", "1000000"));
	assert_string_equal(f.d.order, "SRmDEC");
	assert_int_equal(diary_messages(&f.d), 50);
	assert_int_equal(f.d.bytes, 50000000);
	assert_int_equal(f.d.wrong, 0);
	assert_int_equal(f.d.exit.code, 0);
	family_end(&f);
}

/* _exit(2) right behind its last message: what it wrote still comes before its end, every time. */
static void test_vanish(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		struct family f = { 0 };
		whole_life(&f, KID("vanish", "100", "100"));
		assert_string_equal(f.d.order, "SRmDEC");
		assert_int_equal(diary_messages(&f.d), 100);
		assert_int_equal(f.d.wrong, 0);
		assert_ptr_equal(strstr(f.d.exit_text, "missing"), NULL);
		family_end(&f);
	}
}

/* ---- start failed ------------------------------------------------------------------------------------------------ */

static void start_fails(struct family *f, const char *const *argv, const char *cwd, const char *stage, int code)
{
	char name[32];
	snprintf(name, sizeof name, "spawn.%s", stage);
	family_connect(f);
	assert_int_equal(brood_spawn(f->b, &f->kid, argv, BROOD_SPAWN(.cwd = cwd, .on = diary_table, .data = &f->d)),
			 0);
	until(f->b, f->d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f->d.order, "!C");
	assert_string_equal(f->d.error, name);
	assert_int_equal(f->d.code, code);
	assert_non_null(strstr(f->d.text, strerror(-code)));
	struct brood_peer_info i = info_of(f->kid);
	assert_int_equal(i.exit->cause, BROOD_START_FAILED);
	assert_int_equal(i.exit->code, code);
	assert_string_equal(i.exit->stage, stage);
	assert_int_equal(i.pid, 0);
	assert_int_equal(brood_send(f->kid, BROOD_TEXT("x")), -ESRCH);
	assert_int_equal(brood_kill(f->kid, SIGTERM, 0), -ESRCH);
	family_end(f);
}

static void test_exec_fails(void **state)
{
	struct family f = { 0 }, g = { 0 }, h = { 0 };
	(void)state;
	start_fails(&f, BROOD_ARGV("/nowhere/at/all"), NULL, "exec", -ENOENT);
	start_fails(&g, BROOD_ARGV("no-such-program-in-path"), NULL, "exec", -ENOENT);
	start_fails(&h, BROOD_ARGV("/etc/passwd"), NULL, "exec", -EACCES);
}

/* A send that fails says why, also where the event that tells it is still to come. */
static void says(struct family *f, const char *name, const char *what, const char *hint)
{
	assert_int_equal(brood_send(f->kid, BROOD_TEXT("x")), -ENOTCONN);
	const struct brood_error *e = brood_last_error(f->b);
	assert_string_equal(e->name, name);
	if (!strstr(e->text, what) || !strstr(e->hint, hint))
		fail_msg("\"%s\" (%s) does not say \"%s\" (%s)", e->text, e->hint, what, hint);
}

static int send_at_disconnect(const brood_event *e)
{
	if (e->type == BROOD_EVENT_DISCONNECT)
		says(((struct diary *)e->data)->data, "peer.exited", "is disconnected: killed by signal 9",
		     "exit status");
	return 0;
}

static void test_text_of_a_send_in_vain(void **state)
{
	struct family f = { .d.also = send_at_disconnect, .d.data = &f }, g = { 0 }, h = { 0 };
	(void)state;
	family_begin(&f, KID("signal", "9"));
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "SRDEC");
	family_end(&f);

	family_begin(&g, KID("worker"));
	assert_int_equal(brood_request(g.kid, BROOD_TEXT("x"), 0, diary_write, NULL), -EINVAL);
	assert_non_null(strstr(brood_last_error(g.b)->text, "timeout_ms"));
	assert_int_equal(brood_disconnect(g.kid), 0);
	says(&g, "peer.left", "this process disconnected from", "before brood_disconnect()");
	until(g.b, g.d.n[BROOD_EVENT_CLOSE] == 1);
	family_end(&g);

	family_connect(&h);
	assert_int_equal(brood_register(h.b, "connected"), 0);
	assert_int_equal(brood_sync(h.b, PATIENCE_MS), 0); /* what follows is tried at once */
	family_start(&h, BROOD_ARGV("/nowhere/at/all"), .flags = 0);
	says(&h, "spawn.exec", "cannot start /nowhere/at/all: No such file", "check the path");
	assert_int_equal(brood_send(brood_self(h.b), BROOD_TEXT("x")), -ENOTCONN);
	assert_non_null(strstr(brood_last_error(h.b)->text, "to itself"));
	until(h.b, h.d.n[BROOD_EVENT_CLOSE] == 1);
	family_end(&h);
}

static void test_cwd_fails(void **state)
{
	struct family f = { 0 };
	(void)state;
	start_fails(&f, KID("worker"), "/nowhere/at/all", "cwd", -ENOENT);
}

/* Whatever the path is: no second line in anybody's log, and why it failed is never cut off. */
static void test_texts_of_failed_starts(void **state)
{
	struct family f = { 0 }, g = { 0 }, h = { 0 };
	char path[1000];
	(void)state;
	memset(path, 'x', sizeof path);
	path[sizeof path - 1] = '\0';
	for (int i = 0; i < (int)sizeof path - 1; i += 100)
		path[i] = '/';
	start_fails(&f, BROOD_ARGV(path), NULL, "exec", -ENOENT);
	start_fails(&g, KID("worker"), path, "cwd", -ENOENT);
	start_fails(&h, BROOD_ARGV("/no\nwhere\033[1m"), NULL, "exec", -ENOENT);
	assert_non_null(strstr(h.d.text, "/no?where?[1m"));
}

static void is_not_executed(const char *const *argv, const char *file, int code, const char *hint)
{
	struct family f = { 0 };
	family_connect(&f);
	family_start(&f, argv, .file = file);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), code);
	const struct brood_error *e = brood_last_error(f.b);
	assert_string_equal(e->name, "spawn.exec");
	assert_non_null(strstr(e->text, file));
	assert_non_null(strstr(e->hint, hint));
	family_end(&f);
}

/* What was to be executed, whatever it is called, and what to do next. */
static void test_why_it_is_not_executed(void **state)
{
	const struct fixture *x = *state;
	static char path[96], argument[256 * 1024];
	is_not_executed(BROOD_ARGV("called"), "/nowhere/at/all", -ENOENT, "check the path");
	is_not_executed(BROOD_ARGV("called"), "/etc/passwd", -EACCES, "permissions");
	memset(argument, 'x', sizeof argument - 1);
	is_not_executed(BROOD_ARGV("called", argument), "/bin/true", -E2BIG, "pass less");
	snprintf(path, sizeof path, "%s/lock", x->directory); /* a name that the teardown accepts */
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	is_not_executed(BROOD_ARGV("called"), path, -ETXTBSY, "closed");
	close(fd);
	is_not_executed(BROOD_ARGV("called"), path, -ENOEXEC, "#!");
}

static void test_failed_start_and_sync(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, BROOD_ARGV("/nowhere/at/all"));
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), -ENOENT);
	assert_string_equal(brood_last_error(f.b)->name, "spawn.exec");
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0); /* told once */
	family_end(&f);
}

/* What was sent before the start failed comes back as an error. */
static void test_failed_start_reports_messages(void **state)
{
	struct family f = { 0 };
	struct diary asked = { 0 };
	(void)state;
	family_begin(&f, BROOD_ARGV("/nowhere/at/all"));
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("one")), 0);
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("two")), 0);
	assert_true(brood_request(f.kid, BROOD_TEXT("three"), -1, diary_write, &asked) > 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "!!C");
	assert_int_equal(asked.n[BROOD_EVENT_REPLY], 1);
	assert_int_equal(asked.code, -ENOENT);
	family_end(&f);
}

static void test_bad_arguments(void **state)
{
	struct family f = { 0 };
	const char *none[] = { NULL };
	struct brood_spawn_options o = { 0 };
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_spawn(f.b, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(brood_spawn(f.b, NULL, none, NULL), -EINVAL);
	assert_int_equal(brood_spawn(f.b, NULL, BROOD_ARGV(""), NULL), -EINVAL);
	assert_int_equal(brood_spawn(f.b, NULL, KID("worker"), &o), -EINVAL);
	assert_int_equal(brood_spawn(f.b, NULL, KID("worker"), BROOD_SPAWN(.flags = 1u << 30)), -EINVAL);
	assert_int_equal(brood_spawn(f.b, NULL, KID("worker"), BROOD_SPAWN(.cwd = "")), -EINVAL);
	assert_int_equal(brood_spawn(f.b, NULL, KID("worker"), BROOD_SPAWN(.kill_signal = 1000)), -EINVAL);
	assert_int_equal(brood_spawn(NULL, NULL, KID("worker"), NULL), -EINVAL);
	family_end(&f);
	assert_string_equal(f.me.order, "");
}

/* The call's result, and that brood_last_error() speaks of this call and not of the one before. */
#define FAILS_ALONE(b, code_, call)                                                                                    \
	do {                                                                                                           \
		assert_int_equal(brood_register(b, "Not a name"), -EINVAL);                                            \
		assert_int_equal(call, code_);                                                                         \
		assert_int_equal(brood_last_error(b)->code, code_);                                                    \
		assert_string_not_equal(brood_last_error(b)->name, "name.invalid");                                    \
		assert_string_not_equal(brood_last_error(b)->text, "");                                                \
	} while (0)

static int fail_in_callback(const brood_event *ev)
{
	struct diary *d = ev->data;
	const brood_event *next;
	FAILS_ALONE(ev->handle, -EBUSY, brood_process(ev->handle, 0));
	FAILS_ALONE(ev->handle, -EBUSY, brood_next(ev->handle, &next, 0));
	FAILS_ALONE(ev->handle, -EBUSY, brood_run(ev->handle));
	FAILS_ALONE(ev->handle, -ENOENT, brood_msg_take_fd(ev->msg, 0));
	FAILS_ALONE(ev->handle, -EINVAL, brood_reply_error(ev->msg, EPERM, "positive"));
	FAILS_ALONE(ev->handle, -EINVAL, brood_reply(ev->msg, &(struct brood_out){ 0 }));
	d->n[ev->type]++;
	return 0;
}

static int fail_at_the_end(const brood_event *ev)
{
	struct diary *d = ev->data;
	assert_int_equal(brood_register(ev->handle, "Not a name"), -ESHUTDOWN);
	assert_int_equal(brood_last_error(ev->handle)->code, -ESHUTDOWN);
	d->n[ev->type]++;
	return 0;
}

static void test_last_error_is_of_the_last_call(void **state)
{
	struct family f = { 0 };
	struct diary d = { 0 };
	struct brood_peer_info info = { 0 };
	struct brood_find_options unsized = { 0 };
	brood_peer *p;
	(void)state;
	family_begin(&f, KID("echo"));
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	FAILS_ALONE(f.b, -EINVAL, brood_kill(f.kid, 1000, 0));
	FAILS_ALONE(f.b, -EINVAL, brood_kill(f.kid, 0, ~0u));
	FAILS_ALONE(f.b, -ETIMEDOUT, brood_wait(f.kid, 0));
	FAILS_ALONE(f.b, -ENOENT, brood_cancel(f.b, 1));
	FAILS_ALONE(f.b, -ESRCH, brood_reaped(f.b, getpid(), 0));
	FAILS_ALONE(f.b, -EINVAL, brood_info(f.kid, &info));
	FAILS_ALONE(f.b, -EINVAL, brood_find(f.b, &p, "name", &unsized));
	FAILS_ALONE(f.b, -EINVAL, brood_find(f.b, &p, NULL, NULL));
	FAILS_ALONE(f.b, -EINVAL, brood_send(f.kid, NULL));
	FAILS_ALONE(f.b, -EINVAL, (int)brood_request(f.kid, BROOD_TEXT("x"), 1, NULL, NULL));
	FAILS_ALONE(f.b, -EINVAL, brood_call(f.kid, BROOD_TEXT("x"), 1, NULL));
	FAILS_ALONE(f.b, -EINVAL, brood_exec_file(f.b, NULL, KID("worker"), NULL, NULL, NULL));
	FAILS_ALONE(f.b, -EINVAL, brood_next(f.b, NULL, 0));
	assert_int_equal(brood_on(f.kid, BROOD_ON(.message = fail_in_callback), &d), 0);
	say(f.kid, "text", "and back");
	until(f.b, d.n[BROOD_EVENT_MESSAGE] == 1);
	assert_int_equal(brood_kill(f.kid, SIGKILL, 0), 0);
	assert_int_equal(brood_wait(f.kid, PATIENCE_MS), 0);
	FAILS_ALONE(f.b, -ESRCH, brood_kill(f.kid, SIGTERM, 0));
	assert_int_equal(brood_exec_file(f.b, NULL, KID("silent"), NULL, fail_at_the_end, &d), 0);
	family_end(&f);
	assert_int_equal(d.n[BROOD_EVENT_RESULT], 1);
}

/* "Nothing has happened": the table that is there stays. */
static void test_a_bad_table_changes_nothing(void **state)
{
	struct family f = { 0 };
	struct brood_handlers unsized = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	FAILS_ALONE(f.b, -EINVAL, brood_on(f.kid, &unsized, NULL));
	say(f.kid, "exit", "0");
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	family_end(&f);
}

/* ---- disconnect -------------------------------------------------------------------------------------------------- */

static void test_child_disconnects(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("disconnect"));
	until(f.b, f.d.n[BROOD_EVENT_DISCONNECT] == 1);
	assert_string_equal(f.d.order, "SRmD");
	assert_int_equal(diary_messages(&f.d), 3);
	assert_int_equal(info_of(f.kid).connected, 0);
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("x")), -ENOTCONN);
	assert_int_equal(brood_disconnect(f.kid), -ENOTCONN);
	assert_false(process_is_dead(info_of(f.kid).pid)); /* the process lives on */
	assert_int_equal(brood_kill(f.kid, SIGTERM, 0), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "SRmDEC");
	assert_int_equal(f.d.exit.signo, SIGTERM);
	family_end(&f);
}

static void test_parent_disconnects(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("tally", "1000"));
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(numbered_send(f.kid, i, 100, 0), 0);
	assert_int_equal(brood_disconnect(f.kid), 0);
	assert_int_equal(brood_disconnect(f.kid), -ENOTCONN);
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("x")), -ENOTCONN);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "SRDEC");
	assert_int_equal(f.d.exit.code, 0); /* it got all that was sent before */
	family_end(&f);
}

/* At the third message: messages that come later are not told. */
static int disconnect_at_third(const brood_event *e)
{
	if (e->type == BROOD_EVENT_MESSAGE && diary_messages(e->data) == 3) {
		assert_int_equal(brood_disconnect(e->peer), 0);
		assert_int_equal(brood_disconnect(e->peer), -ENOTCONN);
	}
	return 0;
}

static void test_disconnect_in_a_handler(void **state)
{
	struct family f = { .d.also = disconnect_at_third };
	(void)state;
	family_begin(&f, KID("worker"));
	say(f.kid, "stream", "10 100");
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "SRmDEC");
	assert_int_equal(f.d.exit.code, 0); /* its parent was gone, so it ended */
	family_end(&f);
}

static int disconnect_at_end(const brood_event *e)
{
	if (e->type == BROOD_EVENT_DISCONNECT)
		assert_int_equal(brood_disconnect(e->peer), -ENOTCONN);
	if (e->type == BROOD_EVENT_CLOSE)
		assert_int_equal(brood_disconnect(e->peer), -ESRCH);
	return 0;
}

static void test_disconnect_too_late(void **state)
{
	struct family f = { .d.also = disconnect_at_end };
	(void)state;
	whole_life(&f, KID("exit", "0"));
	family_end(&f);
}

static void test_both_disconnect(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	say(f.kid, "disconnect", "");
	assert_int_equal(brood_disconnect(f.kid), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "SRDEC");
	family_end(&f);
}

/* ---- kill -------------------------------------------------------------------------------------------------------- */

static void begin_with(struct family *f, const char *const *argv, struct brood_spawn_options *o)
{
	o->size = sizeof *o;
	o->on = diary_table;
	o->data = &f->d;
	family_connect(f);
	assert_int_equal(brood_spawn(f->b, &f->kid, argv, o), 0);
	until(f->b, f->d.n[BROOD_EVENT_READY] == 1 || (o->flags & BROOD_PLAIN && f->d.n[BROOD_EVENT_SPAWN] == 1));
}

static void killed_by(struct family *f, int signo, int ended_by)
{
	until(f->b, f->d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f->d.order, "SRDEC");
	assert_int_equal(f->d.exit.cause, BROOD_SIGNALED);
	assert_int_equal(f->d.exit.signo, signo);
	assert_int_equal(f->d.exit.ended_by, ended_by);
	assert_int_equal(info_of(f->kid).killed, 1);
	assert_int_equal(brood_kill(f->kid, SIGTERM, 0), -ESRCH);
	family_end(f);
}

static void test_kill(void **state)
{
	struct family f = { 0 };
	(void)state;
	begin_with(&f, KID("worker"), &(struct brood_spawn_options){ 0 });
	assert_int_equal(brood_kill(f.kid, SIGTERM, 1u << 20), -EINVAL);
	assert_int_equal(brood_kill(f.kid, 1000, 0), -EINVAL);
	assert_int_equal(brood_kill(f.kid, -1, 0), -EINVAL);
	assert_int_equal(brood_kill(brood_self(f.b), SIGTERM, 0), -EPERM);
	assert_int_equal(brood_kill(f.kid, 0, 0), 0);
	killed_by(&f, SIGTERM, BROOD_BY_KILL);
}

static void test_kill_signal(void **state)
{
	struct family f = { 0 };
	(void)state;
	begin_with(&f, KID("worker"), &(struct brood_spawn_options){ .kill_signal = SIGINT });
	assert_int_equal(brood_kill(f.kid, 0, 0), 0);
	killed_by(&f, SIGINT, BROOD_BY_KILL);
}

/* EXIT has not been told yet, but the process is dead: there is nobody to signal. */
static int kill_at_exit(const brood_event *e)
{
	if (e->type == BROOD_EVENT_DISCONNECT || e->type == BROOD_EVENT_EXIT)
		assert_int_equal(brood_kill(e->peer, SIGKILL, BROOD_TREE), -ESRCH);
	return 0;
}

static void test_kill_too_late(void **state)
{
	struct family f = { .d.also = kill_at_exit };
	(void)state;
	whole_life(&f, KID("quit", "0"));
	assert_int_equal(brood_kill(f.kid, SIGKILL, 0), -ESRCH);
	family_end(&f);
}

static void test_kill_during_the_start(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker")); /* not connected yet */
	assert_int_equal(brood_kill(f.kid, 0, 0), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "!C");
	assert_string_equal(f.d.error, "spawn.cancelled");
	family_end(&f);
}

static void test_then_kill(void **state)
{
	struct family f = { 0 };
	(void)state;
	begin_with(&f, KID("stubborn", "worker"), &(struct brood_spawn_options){ .grace_ms = 50 });
	assert_int_equal(brood_kill(f.kid, 0, BROOD_THEN_KILL), 0);
	killed_by(&f, SIGKILL, BROOD_BY_KILL);
}

/* Without THEN_KILL a stubborn child goes on. */
static void test_only_term(void **state)
{
	struct family f = { 0 };
	(void)state;
	begin_with(&f, KID("stubborn", "worker"), &(struct brood_spawn_options){ .grace_ms = 1 });
	assert_int_equal(brood_kill(f.kid, 0, 0), 0);
	for (int i = 0; i < 20; i++)
		poll_once(f.b);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	assert_int_equal(brood_kill(f.kid, SIGKILL, 0), 0);
	killed_by(&f, SIGKILL, BROOD_BY_KILL);
}

/* It was signalled, and not made to end: it goes on as it was, and ends as it likes. */
static void test_harmless_signals(void **state)
{
	static const int signals[] = { SIGSTOP, SIGCONT, SIGWINCH, SIGURG, SIGCHLD, SIGTSTP, SIGCONT };
	struct family f = { 0 };
	(void)state;
	begin_with(&f, KID("worker"), &(struct brood_spawn_options){ 0 });
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		assert_int_equal(brood_kill(f.kid, signals[i], 0), 0);
	assert_int_equal(info_of(f.kid).killed, 1);
	assert_int_equal(info_of(f.kid).state, BROOD_IS_READY);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	say(f.kid, "_exit", "");
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(f.d.exit.cause, BROOD_EXITED);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_ITSELF);
	assert_null(strstr(f.d.exit_text, "by its parent"));
	assert_int_equal(info_of(f.kid).killed, 1);
	family_end(&f);
}

/* It survived what it was sent; its time is what ended it. */
static void test_timeout_after_a_signal(void **state)
{
	struct family f = { 0 };
	(void)state;
	begin_with(&f, KID("stubborn", "worker"), &(struct brood_spawn_options){ .timeout_ms = 500, .grace_ms = 50 });
	assert_int_equal(brood_kill(f.kid, SIGTERM, 0), 0);
	killed_by(&f, SIGKILL, BROOD_BY_TIMEOUT);
}

static void test_timeout(void **state)
{
	struct family f = { 0 };
	(void)state;
	uint64_t begin = now_ms();
	begin_with(&f, KID("worker"), &(struct brood_spawn_options){ .timeout_ms = 300 });
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_in_range(now_ms() - begin, 299, 20000);
	assert_non_null(strstr(f.d.exit_text, "after its timeout of 300 ms"));
	killed_by(&f, SIGTERM, BROOD_BY_TIMEOUT);
}

static void test_timeout_of_a_stubborn_child(void **state)
{
	struct family f = { 0 };
	(void)state;
	begin_with(&f, KID("stubborn", "worker"), &(struct brood_spawn_options){ .timeout_ms = 300, .grace_ms = 50 });
	killed_by(&f, SIGKILL, BROOD_BY_TIMEOUT);
}

static void test_kill_tree(void **state)
{
	struct family f = { 0 };
	((struct fixture *)*state)->orphans = 2;
	begin_with(&f, KID("worker"), &(struct brood_spawn_options){ 0 });
	pid_t one = (pid_t)ask_number(f.kid, "fork"), two = (pid_t)ask_number(f.kid, "fork");
	assert_int_equal(ask_number(f.kid, "group"), (uint64_t)info_of(f.kid).pid);
	assert_int_equal(brood_kill(f.kid, 0, BROOD_TREE), 0);
	until_polled(f.b, process_is_dead(one) && process_is_dead(two));
	killed_by(&f, SIGTERM, BROOD_BY_KILL);
}

/*
 * Without TREE its descendants are spared, and one that has the channel open too delays nothing. They end with the
 * handle, whose life line they are on.
 */
static void test_kill_one(void **state)
{
	struct family f = { 0 };
	((struct fixture *)*state)->orphans = 1;
	begin_with(&f, KID("worker"), &(struct brood_spawn_options){ 0 });
	pid_t grandchild = (pid_t)ask_number(f.kid, "fork");
	assert_int_equal(brood_kill(f.kid, 0, 0), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(f.d.exit.signo, SIGTERM);
	assert_false(process_is_dead(grandchild));
	family_end(&f);
	until_polled(NULL, process_is_dead(grandchild));
}

/* ---- without a channel ------------------------------------------------------------------------------------------- */

static void test_plain(void **state)
{
	struct family f = { 0 };
	(void)state;
	setenv("BROOD_ADDRESS", "unix:/nowhere/sock", 1); /* no broker is needed */
	family_connect(&f);
	const struct brood_spawn_options *plain = BROOD_SPAWN(.flags = BROOD_PLAIN, .on = diary_table, .data = &f.d);
	assert_int_equal(brood_spawn(f.b, &f.kid, BROOD_ARGV("sh", "-c", "exit 7"), plain), 0);
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("x")), -ENOTCONN);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(f.d.exit.code, 7);
	assert_int_equal(f.d.n[BROOD_EVENT_SPAWN] + f.d.n[BROOD_EVENT_EXIT], 2);
	assert_int_equal(f.d.n[BROOD_EVENT_READY], 0);
	family_end(&f);
	assert_string_equal(f.me.order, "");
}

static void test_plain_is_killed_with_the_handle(void **state)
{
	struct family f = { 0 };
	(void)state;
	begin_with(&f, KID("silent"), &(struct brood_spawn_options){ .flags = BROOD_PLAIN });
	pid_t pid = info_of(f.kid).pid;
	family_end(&f);
	assert_int_equal(process_state(pid), 0); /* reaped, too */
}

static void test_plain_fails(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_connect(&f);
	const struct brood_spawn_options *plain = BROOD_SPAWN(.flags = BROOD_PLAIN, .on = diary_table, .data = &f.d);
	assert_int_equal(brood_spawn(f.b, &f.kid, BROOD_ARGV("/nowhere/at/all"), plain), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "!C");
	family_end(&f);
}

/* ---- the handle ends --------------------------------------------------------------------------------------------- */

static void test_close_ends_children(void **state)
{
	struct family f = { 0 };
	brood_peer *stubborn;
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(brood_spawn(f.b, &stubborn, KID("stubborn", "worker"), BROOD_SPAWN(.grace_ms = 50)), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	until_polled(f.b, info_of(stubborn).state == BROOD_IS_READY);
	pid_t one = info_of(f.kid).pid, two = info_of(stubborn).pid;
	family_end(&f);
	assert_int_equal(process_state(one), 0);
	assert_int_equal(process_state(two), 0);
}

/* All that was sent is received before the child is ended. */
static void test_close_flushes(void **state)
{
	struct family f = { 0 };
	char path[96], line[32] = "";
	const struct fixture *x = *state;
	snprintf(path, sizeof path, "%s/lock", x->directory); /* a name that the teardown accepts */
	family_begin(&f, BROOD_ARGV(KID_PROGRAM, "record", path));
	for (uint64_t i = 0; i < 500; i++)
		assert_int_equal(numbered_send(f.kid, i, 5000, 0), 0);
	family_end(&f);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, line, sizeof line - 1) > 0);
	close(fd);
	assert_int_equal(strtoull(line, NULL, 10), 500);
}

static void test_wait(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(brood_wait(f.kid, 30), -ETIMEDOUT);
	say(f.kid, "exit", "4");
	assert_int_equal(brood_wait(f.kid, PATIENCE_MS), 0);
	assert_int_equal(info_of(f.kid).exit->code, 4);
	assert_int_equal(brood_wait(f.kid, 0), 0);
	family_end(&f);
}

/* Also of what ended before it was called: whoever is called uses `data`, which may go when it returns. */
static void test_wait_tells_all(void **state)
{
	struct family f = { 0 };
	brood_msg *answer;
	(void)state;
	family_connect(&f);
	family_start(&f, BROOD_ARGV("/nowhere"), .flags = BROOD_PLAIN);
	assert_int_equal(brood_wait(f.kid, PATIENCE_MS), 0);
	assert_string_equal(f.d.order, "!C");
	f.d = (struct diary){ 0 };
	family_start(&f, KID("quit", "3"), .cwd = NULL);
	assert_true(brood_call(f.kid, BROOD_TEXT("x"), PATIENCE_MS, &answer) < 0); /* tells nothing meanwhile */
	assert_int_equal(brood_wait(f.kid, PATIENCE_MS), 0);
	assert_string_equal(f.d.order, "SDEC");
	family_end(&f);
}

/* As waitpid(2) with WNOHANG. */
static void test_wait_and_sync_with_0(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	until_by(brood_sync(f.b, 0) == 0, nap());
	assert_int_equal(f.d.n[BROOD_EVENT_SPAWN], 1);
	assert_int_equal(brood_wait(f.kid, 0), -ETIMEDOUT);
	say(f.kid, "exit", "4");
	until_by(brood_wait(f.kid, 0) == 0, nap());
	assert_int_equal(f.d.n[BROOD_EVENT_CLOSE], 1);
	family_end(&f);
}

static void test_release(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("burst", "10", "10"));
	brood_release(f.kid); /* it goes on, with its events */
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "SRmDEC");
	assert_int_equal(diary_messages(&f.d), 10);
	brood_release(NULL);
	family_end(&f);
}

/* Somebody else in this program took the status. */
static void test_stolen_status(void **state)
{
	struct family f = { 0 };
	(void)state;
	begin_with(&f, KID("worker"), &(struct brood_spawn_options){ 0 });
	pid_t pid = info_of(f.kid).pid;
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "SRDEC");
	assert_int_equal(f.d.exit.cause, BROOD_STOLEN);
	assert_int_equal(f.d.exit.code, -1);
	assert_int_equal(f.d.exit.signo, 0);
	assert_non_null(strstr(f.d.exit_text, "took its status"));
	family_end(&f);
}

/* ---- the parent ends --------------------------------------------------------------------------------------------- */

#define KINDS "ccispd"
#define N_KINDS 6
#define DETACHED 5 /* the last one */

/* On another host those who ignore SIGTERM have their grace. */
static void all_dead_within_a_second(const long *pids, size_t n)
{
	const uint64_t most = (flow_host ? 2000 : 0) + 1000 + BUSY_MS;
	uint64_t begin = now_ms();
	for (size_t i = 0; i < n; i++)
		until_polled(NULL, process_is_dead((pid_t)pids[i]));
	assert_true(now_ms() - begin < most);
}

/* The parent ends in some way; with it all its children but the one that was detached. */
static void parent_ends(struct fixture *x, const char *how, int signo, int kill_broker)
{
	long pids[N_KINDS];
	int out;
	x->orphans = -1;
	pid_t parent = start_program(KID("parent", KINDS, how), &out);
	read_numbers(out, pids, N_KINDS);
	if (signo)
		kill(parent, signo);
	if (kill_broker)
		kill_broker_hard(x);
	(void)wait_program(parent);
	all_dead_within_a_second(pids, N_KINDS - 1);
	assert_false(process_is_dead((pid_t)pids[DETACHED]));
	kill((pid_t)pids[DETACHED], SIGKILL);
	close(out);
}

static void test_parent_is_killed(void **state)
{
	parent_ends(*state, "run", SIGKILL, 0);
}

static void test_parent_is_terminated(void **state)
{
	parent_ends(*state, "run", SIGTERM, 0);
}

static void test_parent_exits(void **state)
{
	parent_ends(*state, "exit", 0, 0);
}

static void test_parent_exits_hard(void **state)
{
	parent_ends(*state, "_exit", 0, 0);
}

static void test_parent_and_broker_are_killed(void **state)
{
	parent_ends(*state, "run", SIGKILL, 1);
}

/* A detached child with a channel can be reached when its parent is gone. */
static void test_detached_child_goes_on(void **state)
{
	struct fixture *x = *state;
	struct family f = { 0 };
	long pids[2];
	int out;
	x->orphans = -1;
	pid_t parent = start_program(KID("parent", "ca", "run"), &out);
	read_numbers(out, pids, 2);
	family_connect(&f);
	assert_int_equal(brood_find(f.b, &f.kid, "aloof", BROOD_FIND(.wait_ms = PATIENCE_MS)), 0);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	kill(parent, SIGKILL);
	(void)wait_program(parent);
	close(out);
	for (int i = 0; i < 10; i++)
		assert_int_equal(ask_number(f.kid, "count"), 0);
	say(f.kid, "close", "");
	until_polled(f.b, process_is_dead((pid_t)pids[1]));
	family_end(&f);
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

#define CHILDREN 500
#define AT_ONCE 16

struct many {
	brood *b;
	unsigned started, alive, random;
	struct one {
		struct many *m;
		brood_peer *peer;
		unsigned exits, closes;
		int code, signo; /* expected */
		int killed;
	} all[CHILDREN];
};

static unsigned draw(struct many *m, unsigned below)
{
	m->random = m->random * 1664525u + 1013904223u;
	return (m->random >> 8) % below;
}

static int check_exit(const brood_event *e)
{
	struct one *o = e->data;
	o->exits++;
	if (o->killed && e->exit->signo == SIGKILL) /* else it was faster */
		assert_int_equal(e->exit->ended_by, BROOD_BY_KILL);
	else if (o->signo)
		assert_int_equal(e->exit->signo, o->signo);
	else
		assert_int_equal(e->exit->code, o->code);
	return 0;
}

static void start_more(struct many *m);

static int check_close(const brood_event *e)
{
	struct one *o = e->data;
	assert_int_equal(++o->closes, 1);
	assert_int_equal(o->exits, 1);
	brood_release(o->peer);
	o->peer = NULL;
	o->m->alive--;
	start_more(o->m);
	return 0;
}

/* One that exits by itself, connected or not, or by a signal, or never: those are killed. */
static void start_one(struct many *m)
{
	struct one *o = &m->all[m->started++];
	char number[12];
	static const char *const behaviours[] = { "quit", "exit", "signal", "worker" };
	unsigned kind = draw(m, 4);
	*o = (struct one){ .m = m, .code = (int)draw(m, 100) };
	if (kind == 2)
		o->signo = (const int[]){ SIGTERM, SIGKILL, SIGINT }[draw(m, 3)];
	snprintf(number, sizeof number, "%d", o->signo ? o->signo : o->code);
	assert_int_equal(brood_spawn(m->b, &o->peer, KID(behaviours[kind], number),
				     BROOD_SPAWN(.on = BROOD_ON(.exit = check_exit, .close = check_close), .data = o,
						 .flags = kind == 0 ? BROOD_PLAIN : 0)),
			 0);
	m->alive++;
}

static void start_more(struct many *m)
{
	while (m->alive < AT_ONCE && m->started < CHILDREN)
		start_one(m);
}

/* The first that lives, from a random place on. */
static void kill_somebody(struct many *m)
{
	unsigned from = draw(m, m->started);
	for (unsigned i = 0; i < m->started; i++) {
		struct one *o = &m->all[(from + i) % m->started];
		if (o->peer && info_of(o->peer).pid && brood_kill(o->peer, SIGKILL, 0) == 0) {
			o->killed = 1;
			return;
		}
	}
}

static void run_many(struct many *m)
{
	m->started = 0;
	start_more(m);
	uint64_t end = now_ms() + 2 * PATIENCE_MS;
	while (m->alive > 0 && now_ms() < end) {
		assert_true(brood_process(m->b, (int)draw(m, 4)) >= 0);
		kill_somebody(m);
	}
	assert_int_equal(m->alive, 0);
	assert_int_equal(m->started, CHILDREN);
	for (unsigned i = 0; i < CHILDREN; i++)
		assert_int_equal(m->all[i].closes, 1);
}

static void test_many(void **state)
{
	struct fixture *x = *state;
	struct many *m = calloc(1, sizeof *m);
	m->random = 1;
	assert_int_equal(brood_connect(&m->b, NULL, NULL), 0);
	assert_int_equal(brood_sync(m->b, PATIENCE_MS), 0);
	run_many(m);
	unsigned fds = count_fds();
	long mine = process_status(getpid(), "VmRSS:"), brokers = process_status(x->broker, "VmRSS:");
	run_many(m);
	assert_true(count_fds() <= fds);
	assert_true(process_status(getpid(), "VmRSS:") - mine < MEMORY_SLACK_KIB);
	assert_true(process_status(x->broker, "VmRSS:") - brokers < MEMORY_SLACK_KIB);
	assert_int_equal(waitid(P_ALL, 0, &(siginfo_t){ 0 }, WEXITED | WNOHANG | WNOWAIT), 0); /* the broker is one */
	brood_close(m->b);
	free(m);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_ALL(test_order_of_events),
		ON_ALL(test_exit_code),
		ON_ALL(test_signal),
		ON_ALL(test_never_connects),
		ON_ALL(test_burst_and_exit),
		ON_HOSTS(test_vanish),
		ON_HOSTS(test_exec_fails),
		ON_UNIX(test_text_of_a_send_in_vain),
		ON_HOSTS(test_cwd_fails),
		ON_HOSTS(test_texts_of_failed_starts),
		ON_HOSTS(test_why_it_is_not_executed),
		ON_HOSTS(test_failed_start_and_sync),
		ON_HOSTS(test_failed_start_reports_messages),
		ON_HOSTS(test_bad_arguments),
		ON_UNIX(test_last_error_is_of_the_last_call),
		ON_UNIX(test_a_bad_table_changes_nothing),
		ON_ALL(test_child_disconnects),
		ON_ALL(test_parent_disconnects),
		ON_ALL(test_disconnect_in_a_handler),
		ON_HOSTS(test_disconnect_too_late),
		ON_ALL(test_both_disconnect),
		ON_ALL(test_kill),
		ON_HOSTS(test_kill_signal),
		ON_HOSTS(test_kill_too_late),
		ON_HOSTS(test_kill_during_the_start),
		ON_HOSTS(test_then_kill),
		ON_HOSTS(test_only_term),
		ON_HOSTS(test_harmless_signals),
		ON_HOSTS(test_timeout_after_a_signal),
		ON_HOSTS(test_timeout),
		ON_HOSTS(test_timeout_of_a_stubborn_child),
		ON_HOSTS(test_kill_tree),
		ON_ALL(test_kill_one),
		ON_UNIX(test_plain),
		ON_HOSTS(test_plain_is_killed_with_the_handle),
		ON_HOSTS(test_plain_fails),
		ON_ALL(test_close_ends_children),
		ON_ALL(test_close_flushes),
		ON_HOSTS(test_wait),
		ON_HOSTS(test_wait_tells_all),
		ON_HOSTS(test_wait_and_sync_with_0),
		ON_HOSTS(test_release),
		ON_ALL(test_stolen_status),
		ON_ALL(test_parent_is_killed),
		ON_HOSTS(test_parent_is_terminated),
		ON_HOSTS(test_parent_exits),
		ON_HOSTS(test_parent_exits_hard),
		ON_UNIX(test_parent_and_broker_are_killed),
		ON_ALL(test_detached_child_goes_on),
		ON_ALL(test_many),
	};
	return RUN("endings", tests);
}
