/*
 * loops: the handle in every loop: its own, brood_next(), poll(), libevent; stopped and woken from anywhere, closed in
 * every kind of callback, and copied by fork().
 */
#include "flow.h"
#include <brood/event.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- without callbacks ------------------------------------------------------------------------------------------- */

static void test_pull(void **state)
{
	struct family f = { 0 };
	struct diary d = { 0 };
	const brood_event *e = NULL;
	(void)state;
	assert_int_equal(brood_connect(&f.b, NULL, NULL), 0);
	assert_int_equal(brood_spawn(f.b, &f.kid, KID("burst", "100", "50"), BROOD_SPAWN(.data = &d)), 0);
	do {
		assert_int_equal(brood_next(f.b, &e, PATIENCE_MS), 1);
		assert_ptr_equal(e->handle, f.b);
		if (e->peer == f.kid)
			diary_write(e);
	} while (e->type != BROOD_EVENT_CLOSE);
	assert_string_equal(d.order, "SRmDEC");
	assert_int_equal(diary_messages(&d), 100);
	assert_int_equal(d.wrong, 0);
	assert_int_equal(brood_next(f.b, &e, 0), 0);
	family_end(&f);
}

static void test_pull_waits_as_long_as_told(void **state)
{
	struct family f = { 0 };
	const brood_event *e;
	(void)state;
	assert_int_equal(brood_connect(&f.b, NULL, NULL), 0);
	uint64_t begin = now_ms();
	assert_int_equal(brood_next(f.b, &e, 60), 0);
	assert_in_range(now_ms() - begin, 59, 20000);
	begin = now_ms();
	assert_int_equal(brood_process(f.b, 60), 0);
	assert_in_range(now_ms() - begin, 59, 20000);
	assert_int_equal(brood_next(f.b, NULL, 0), -EINVAL);
	family_end(&f);
}

/* ---- somebody else's loop ---------------------------------------------------------------------------------------- */

/* Sleeps in poll() without an end; only the handle's descriptor may wake it. */
static void poll_until(struct family *f, const unsigned *counter, unsigned n)
{
	struct pollfd p = { .fd = brood_fd(f->b), .events = POLLIN };
	while (*counter < n) {
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		assert_true(brood_process(f->b, 0) >= 0);
	}
}

static void test_poll(void **state)
{
	struct family f = { 0 };
	struct diary asked = { 0 }, late = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	int fd = brood_fd(f.b);
	poll_until(&f, &f.d.n[BROOD_EVENT_READY], 1);
	assert_true(brood_request(f.kid, BROOD_MSG("echo", "x", 1), -1, diary_write, &asked) > 0);
	poll_until(&f, &asked.n[BROOD_EVENT_REPLY], 1);
	uint64_t begin = now_ms();
	assert_true(brood_request(f.kid, BROOD_MSG("keep", NULL, 0), 80, diary_write, &late) > 0);
	poll_until(&f, &late.n[BROOD_EVENT_REPLY], 1); /* its deadline wakes the loop */
	assert_string_equal(late.error, "deadline");
	assert_in_range(now_ms() - begin, 79, 20000);
	say(f.kid, "stream", "1000 1000");
	poll_until(&f, &f.d.n[BROOD_EVENT_MESSAGE], 1000);
	assert_int_equal(brood_kill(f.kid, 0, 0), 0);
	poll_until(&f, &f.d.n[BROOD_EVENT_CLOSE], 1);
	assert_int_equal(brood_fd(f.b), fd);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	for (int i = 0; i < (flow_nursery ? 5 : 0) && poll(&p, 1, 200) == 1; i++)
		assert_true(brood_process(f.b, 0) >= 0); /* the keeper's goodbye */
	assert_int_equal(brood_process(f.b, 0), 0);
	assert_int_equal(poll(&p, 1, 20), 0); /* and nothing wakes it for nothing */
	family_end(&f);
}

/* Events that a blocking call has left over wake the loop too. */
static void test_poll_after_a_call(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	(void)brood_fd(f.b);
	say(f.kid, "stream", "10 100");
	assert_int_equal(ask_number(f.kid, "count"), 1);
	assert_int_equal(diary_messages(&f.d), 0);
	poll_until(&f, &f.d.n[BROOD_EVENT_MESSAGE], 10);
	family_end(&f);
}

/* A grace period and a life time end in a foreign loop as well. */
static void test_poll_and_timeout(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_connect(&f);
	(void)brood_fd(f.b);
	assert_int_equal(brood_spawn(f.b, &f.kid, KID("stubborn", "worker"),
				     BROOD_SPAWN(.on = diary_table, .data = &f.d, .timeout_ms = 200, .grace_ms = 50)),
			 0);
	poll_until(&f, &f.d.n[BROOD_EVENT_CLOSE], 1);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_TIMEOUT);
	family_end(&f);
}

static struct event *attached;
static struct event_base *base;

static int leave_libevent(const brood_event *e)
{
	if (e->type == BROOD_EVENT_CLOSE) {
		event_free(attached); /* as its documentation allows, inside a callback */
		brood_close(e->handle);
	}
	return 0;
}

static void test_libevent(void **state)
{
	struct family f = { .d.also = leave_libevent };
	struct diary late = { 0 };
	(void)state;
	base = event_base_new();
	family_begin(&f, KID("worker"));
	attached = brood_event_attach(f.b, base);
	assert_non_null(attached);
	say(f.kid, "stream", "500 100");
	assert_true(brood_request(f.kid, BROOD_MSG("keep", NULL, 0), 50, diary_write, &late) > 0);
	assert_true(brood_request(f.kid, BROOD_MSG("keep", NULL, 0), 100, diary_write, &late) > 0);
	while (late.n[BROOD_EVENT_REPLY] < 2 || diary_messages(&f.d) < 500)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	say(f.kid, "release", "");
	say(f.kid, "close", "");
	assert_int_equal(event_base_dispatch(base), 1); /* until no event is left: the handle took its own along */
	assert_string_equal(f.d.order, "SRmDEC");
	event_base_free(base);
}

/* What is sent outside a callback leaves at once: nobody needs to run a loop. */
static void test_sent_at_once(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	pid_t pid = info_of(f.kid).pid;
	say(f.kid, "_exit", "5");
	until_polled(NULL, process_is_dead(pid));
	family_end(&f);
}

/* ---- stop and wake ----------------------------------------------------------------------------------------------- */

static brood *signalled;

static void on_alarm(int signo)
{
	if (signo == SIGALRM)
		brood_stop(signalled);
	else
		brood_wake(signalled);
}

static void alarm_in_ms(int which, long ms)
{
	struct itimerval t = { .it_value.tv_usec = ms * 1000 };
	assert_int_equal(setitimer((__itimer_which_t)which, &t, NULL), 0);
}

static void test_stop_by_signal(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	signalled = f.b;
	signal(SIGALRM, on_alarm);
	for (int i = 0; i < 3; i++) {
		alarm_in_ms(ITIMER_REAL, 30);
		assert_int_equal(brood_run(f.b), 0);
	}
	signal(SIGALRM, SIG_DFL);
	assert_false(process_is_dead(info_of(f.kid).pid));
	family_end(&f);
}

static void *stop_from_thread(void *b)
{
	for (int i = 0; i < 30; i++)
		nap();
	brood_stop(b);
	return NULL;
}

static void test_stop_by_thread(void **state)
{
	struct family f = { 0 };
	pthread_t thread;
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(pthread_create(&thread, NULL, stop_from_thread, f.b), 0);
	assert_int_equal(brood_run(f.b), 0);
	pthread_join(thread, NULL);
	family_end(&f);
}

/* Stopped before it runs: it returns at once, and only once. */
static void test_stop_before(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("exit", "0"));
	assert_int_equal(brood_stop(f.b), 0);
	assert_int_equal(brood_run(f.b), 0);
	assert_int_equal(f.d.n[BROOD_EVENT_CLOSE], 0);
	assert_int_equal(brood_run(f.b), 0);
	assert_int_equal(f.d.n[BROOD_EVENT_CLOSE], 1);
	family_end(&f);
}

static void *wake_from_thread(void *b)
{
	for (int i = 0; i < 10; i++) {
		brood_wake(b);
		nap();
	}
	return NULL;
}

static void test_wake(void **state)
{
	struct family f = { 0 };
	pthread_t thread;
	(void)state;
	family_connect(&f);
	for (int i = 0; i < 10; i++)
		brood_wake(f.b);
	until(f.b, f.me.n[BROOD_EVENT_WAKE] == 1);
	assert_int_equal(brood_process(f.b, 10), 0); /* ten calls, one event */
	signalled = f.b;
	signal(SIGVTALRM, on_alarm);
	raise(SIGVTALRM);
	signal(SIGVTALRM, SIG_DFL);
	until(f.b, f.me.n[BROOD_EVENT_WAKE] == 2);
	assert_int_equal(pthread_create(&thread, NULL, wake_from_thread, f.b), 0);
	until(f.b, f.me.n[BROOD_EVENT_WAKE] >= 3);
	pthread_join(thread, NULL);
	family_end(&f);
}

/* ---- running out of things to do --------------------------------------------------------------------------------- */

static int unregister_soon(const brood_event *e)
{
	if (e->type == BROOD_EVENT_REPLY)
		assert_int_equal(brood_unregister(e->handle, NULL), 0);
	return 0;
}

static void test_run_ends(void **state)
{
	struct family f = { 0 };
	struct diary asked = { .also = unregister_soon };
	brood_peer *other;
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_run(f.b), 0); /* nothing at all */
	assert_int_equal(brood_spawn(f.b, &f.kid, KID("exit", "0"), BROOD_SPAWN(.on = diary_table, .data = &f.d)), 0);
	assert_int_equal(brood_run(f.b), 0); /* a child that counts */
	assert_string_equal(f.d.order, "SRDEC");
	assert_int_equal(brood_spawn(f.b, &other, KID("worker"), BROOD_SPAWN(.flags = BROOD_UNREF)), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(brood_run(f.b), 0); /* one that does not */
	assert_int_equal(brood_register(f.b, "resize"), 0);
	assert_true(brood_request(other, BROOD_MSG("keep", NULL, 0), 50, diary_write, &asked) > 0);
	assert_int_equal(brood_run(f.b), 0); /* an open request, and a name until its answer */
	assert_int_equal(asked.n[BROOD_EVENT_REPLY], 1);
	say(other, "release", "");
	family_end(&f);
}

/* ---- in callbacks ------------------------------------------------------------------------------------------------ */

static int try_to_run(const brood_event *e)
{
	const brood_event *next;
	assert_int_equal(brood_run(e->handle), -EBUSY);
	assert_int_equal(brood_process(e->handle, 0), -EBUSY);
	assert_int_equal(brood_next(e->handle, &next, 0), -EBUSY);
	return 0;
}

static void test_busy(void **state)
{
	struct family f = { .d.also = try_to_run };
	(void)state;
	family_begin(&f, KID("burst", "3", "10"));
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "SRmDEC");
	family_end(&f);
}

/* Blocking calls work in callbacks; what happens meanwhile is told afterwards. */
static int block(const brood_event *e)
{
	if (e->type == BROOD_EVENT_READY) {
		assert_int_equal(brood_sync(e->handle, PATIENCE_MS), 0);
		assert_int_equal(brood_send(e->peer, BROOD_MSG("exit", "6", 1)), 0);
		assert_int_equal(brood_wait(e->peer, PATIENCE_MS), 0);
		assert_int_equal(info_of(e->peer).exit->code, 6);
		assert_int_equal(((struct diary *)e->data)->n[BROOD_EVENT_CLOSE], 0);
	}
	return 0;
}

static void test_blocking_calls_in_a_callback(void **state)
{
	struct family f = { .d.also = block };
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order,
			    "SR!DEC"); /* exit(3) inside its handler: the last message counts as undelivered */
	assert_string_equal(f.d.error, "undelivered");
	family_end(&f);
}

/* Between two messages that came together a handler changes everything that their delivery relies on. */
static struct {
	uint64_t next; /* number of the message that is due */
	int second;    /* whose handler is due */
	brood_msg *kept;
	unsigned stops, replies;
} unruly;

static int take_first(const brood_event *e);
static int take_second(const brood_event *e);

static int count_reply(const brood_event *e)
{
	assert_non_null(e->msg);
	unruly.replies++;
	return 0;
}

static void be_unruly(const brood_event *e)
{
	brood_msg *reply;
	switch (unruly.next % 7) {
	case 0:
		unruly.second = !unruly.second;
		assert_int_equal(brood_on(e->peer, BROOD_ON(.any = unruly.second ? take_second : take_first), NULL), 0);
		break;
	case 1:
		unruly.kept = brood_msg_keep(e->msg);
		break;
	case 2:
		assert_int_equal(numbered_read(unruly.kept), unruly.next - 1);
		brood_msg_release(unruly.kept);
		break;
	case 3: /* reads on, and queues */
		assert_int_equal(brood_call(e->peer, BROOD_MSG("echo", "x", 1), PATIENCE_MS, &reply), 0);
		brood_msg_release(reply);
		break;
	case 4:
		assert_int_equal(
			brood_on(brood_self(e->handle), unruly.second ? BROOD_ON(.any = count_reply) : NULL, NULL), 0);
		break;
	case 5:
		assert_true(brood_request(e->peer, BROOD_MSG("echo", "x", 1), -1, count_reply, NULL) > 0);
		break;
	default: /* the last one too */
		assert_int_equal(brood_stop(e->handle), 0);
		unruly.stops++;
		break;
	}
}

static int take(const brood_event *e, int second)
{
	if (e->type != BROOD_EVENT_MESSAGE)
		return 0;
	assert_int_equal(second, unruly.second);
	assert_int_equal(numbered_read(e->msg), unruly.next);
	be_unruly(e);
	unruly.next++;
	return 0;
}

static int take_first(const brood_event *e)
{
	return take(e, 0);
}

static int take_second(const brood_event *e)
{
	return take(e, 1);
}

static void test_unruly_handler(void **state)
{
	brood *b;
	brood_peer *kid;
	unsigned runs = 0;
	(void)state;
	memset(&unruly, 0, sizeof unruly);
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	assert_int_equal(brood_spawn(b, &kid, KID("worker"), BROOD_SPAWN(.on = BROOD_ON(.any = take_first))), 0);
	say(kid, "stream", "2100 16");
	for (; unruly.next < 2100 && runs < 10000; runs++)
		assert_int_equal(brood_run(b), 0);
	assert_int_equal(unruly.next, 2100);
	assert_int_equal(runs, unruly.stops); /* each ended its run, and nothing else did */
	until(b, unruly.replies == 300);
	brood_close(b);
}

/* ---- closing in every kind of callback --------------------------------------------------------------------------- */

static struct {
	int type; /* close at this event */
	int closed;
} closing;

static int close_here(const brood_event *e)
{
	if (closing.closed) { /* nothing comes any more but what is owed */
		assert_true(e->type == BROOD_EVENT_REPLY || e->type == BROOD_EVENT_CONFIRM ||
			    e->type == BROOD_EVENT_RESULT);
		return 0;
	}
	if (e->type != closing.type)
		return 0;
	closing.closed = 1;
	brood_close(e->handle);
	return 0;
}

/* Whatever the type, it comes: a child starts, streams, is asked, fills our window, and ends; another fails to start. */
static brood *eventful(void)
{
	brood *b;
	brood_peer *kid;
	const struct brood_handlers *on = BROOD_ON(.any = close_here);
	assert_int_equal(brood_connect(&b, NULL, BROOD_OPTIONS(.on = on, .window_bytes = 65536)), 0);
	assert_int_equal(brood_spawn(b, &kid, KID("worker"), NULL), 0);
	brood_wake(b);
	assert_int_equal(brood_send(kid, BROOD_MSG("stream", "20 1000", 7)), 0);
	assert_true(brood_request(kid, BROOD_MSG("echo", "x", 1), -1, close_here, NULL) > 0);
	int rc;
	do
		rc = numbered_send(kid, 0, 4096, 0);
	while (rc == 0);
	assert_int_equal(rc, -EAGAIN);
	if (closing.type == BROOD_EVENT_ERROR)
		assert_int_equal(brood_spawn(b, NULL, BROOD_ARGV("/nowhere/at/all"), NULL), 0);
	return b;
}

static int exit_when_drained(const brood_event *e)
{
	if (e->type == BROOD_EVENT_DRAIN)
		assert_int_equal(brood_send(e->peer, BROOD_MSG("exit", "0", 1)), 0);
	return close_here(e);
}

static void close_at(int type, int by_run)
{
	closing.type = type;
	closing.closed = 0;
	brood *b = eventful();
	if (type == BROOD_EVENT_DISCONNECT || type == BROOD_EVENT_EXIT || type == BROOD_EVENT_CLOSE)
		assert_int_equal(brood_on(brood_self(b), BROOD_ON(.any = exit_when_drained), NULL), 0);
	if (by_run)
		assert_int_equal(brood_run(b), 0);
	else
		until_by(closing.closed, assert_true(brood_process(b, left_) >= 0));
	assert_int_equal(closing.closed, 1);
}

static void test_close_in_a_callback(void **state)
{
	static const int types[] = { BROOD_EVENT_SPAWN, BROOD_EVENT_READY, BROOD_EVENT_MESSAGE,    BROOD_EVENT_REPLY,
				     BROOD_EVENT_DRAIN, BROOD_EVENT_ERROR, BROOD_EVENT_DISCONNECT, BROOD_EVENT_EXIT,
				     BROOD_EVENT_CLOSE, BROOD_EVENT_WAKE };
	(void)state;
	for (size_t i = 0; i < 2 * sizeof types / sizeof *types; i++)
		close_at(types[i / 2], i % 2);
}

static void test_close_at_join(void **state)
{
	brood *b;
	(void)state;
	closing.type = BROOD_EVENT_JOIN;
	closing.closed = 0;
	assert_int_equal(brood_connect(&b, NULL, BROOD_OPTIONS(.on = BROOD_ON(.any = close_here), .name = "boss")), 0);
	assert_int_equal(brood_sync(b, PATIENCE_MS), 0);
	int out;
	pid_t pid = start_program(KID("joiner", "boss"), &out);
	assert_int_equal(brood_run(b), 0);
	assert_int_equal(closing.closed, 1);
	(void)wait_program(pid);
	close(out);
}

static int close_then_call(const brood_event *e)
{
	if (e->type == BROOD_EVENT_READY) {
		brood_close(e->handle);
		assert_int_equal(brood_send(e->peer, BROOD_TEXT("last words")),
				 0); /* the work is done when we return */
		assert_true(info_of(e->peer).pid > 0);
	}
	return 0;
}

static void test_calls_after_close_in_a_callback(void **state)
{
	brood *b;
	(void)state;
	assert_int_equal(brood_connect(&b, NULL, BROOD_OPTIONS(.name = "x")), 0);
	assert_int_equal(brood_spawn(b, NULL, KID("worker"), BROOD_SPAWN(.on = BROOD_ON(.any = close_then_call))), 0);
	assert_int_equal(brood_run(b), 0);
	brood_close(NULL);
}

static void test_close_at_once(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("x")), 0);
	assert_true(brood_request(f.kid, BROOD_TEXT("x"), -1, diary_write, &f.d) > 0);
	family_end(&f);
	assert_string_equal(f.d.order, "");
	family_connect(&f);
	family_end(&f);
}

/* ---- brood_sync -------------------------------------------------------------------------------------------------- */

static void test_sync(void **state)
{
	struct family f = { 0 };
	const struct fixture *x = *state;
	kill(x->broker, SIGSTOP);
	family_begin(&f, KID("worker"));
	assert_int_equal(brood_sync(f.b, 0), -EAGAIN);
	kill(x->broker, SIGCONT);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_true(info_of(f.kid).pid > 0);
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(numbered_send(f.kid, i, 1000, 0), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(info_of(f.kid).queued, 0); /* all were consumed */
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	kill(info_of(f.kid).pid, SIGSTOP);
	until_polled(f.b, process_state(info_of(f.kid).pid) == 'T');
	assert_int_equal(numbered_send(f.kid, 1000, 100, 0), 0);
	assert_int_equal(brood_sync(f.b, 50), -ETIMEDOUT);
	assert_string_equal(brood_last_error(f.b)->name, "deadline");
	kill(info_of(f.kid).pid, SIGCONT);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	family_end(&f);
}

/* ---- fork -------------------------------------------------------------------------------------------------------- */

static void check_copy(struct family *f)
{
	const brood_event *e;
	brood_msg *m;
	brood_peer *p;
	int wrong = 0;
	wrong += brood_send(f->kid, BROOD_TEXT("x")) != -ECHILD;
	wrong += brood_call(f->kid, BROOD_TEXT("x"), 10, &m) != -ECHILD;
	wrong += brood_process(f->b, 0) != -ECHILD;
	wrong += brood_next(f->b, &e, 0) != -ECHILD;
	wrong += brood_run(f->b) != -ECHILD;
	wrong += brood_sync(f->b, 0) != -ECHILD;
	wrong += brood_spawn(f->b, NULL, KID("worker"), NULL) != -ECHILD;
	wrong += brood_kill(f->kid, SIGKILL, 0) != -ECHILD;
	wrong += brood_register(f->b, "name") != -ECHILD;
	wrong += brood_disconnect(f->kid) != -ECHILD;
	wrong += brood_wait(f->kid, 0) != -ECHILD;
	wrong += brood_stop(f->b) != -ECHILD;
	wrong += brood_find(f->b, &p, "name", NULL) != -ECHILD;
	brood_close(f->b);
	exit(wrong);
}

static void test_fork(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	say(f.kid, "x", "before");
	pid_t copy = fork();
	if (copy == 0)
		check_copy(&f);
	assert_int_equal(wait_program(copy), 0);
	say(f.kid, "x", "after");
	assert_int_equal(ask_number(f.kid, "count"), 2);
	assert_int_equal(brood_kill(f.kid, 0, 0), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "SRDEC");
	family_end(&f);
}

/* A copy that lives on does not keep the children of a dead parent alive. */
static void test_fork_and_life_line(void **state)
{
	((struct fixture *)*state)->orphans = -1;
	long pids[2];
	int out;
	pid_t parent = start_program(KID("parent", "pp", "fork"), &out);
	read_numbers(out, pids, 2);
	kill(parent, SIGKILL);
	(void)wait_program(parent);
	until_polled(NULL, process_is_dead((pid_t)pids[0]) && process_is_dead((pid_t)pids[1]));
	long copy;
	read_numbers(out, &copy, 1);
	assert_false(process_is_dead((pid_t)copy));
	kill((pid_t)copy, SIGKILL);
	close(out);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static void *a_life_of_its_own(void *data)
{
	struct family f = { 0 };
	(void)data;
	family_begin(&f, KID("burst", "500", "100"));
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	family_end(&f);
	return (void *)(uintptr_t)(strcmp(f.d.order, "SRmDEC") != 0 || diary_messages(&f.d) != 500);
}

/* Handles are independent: each thread may have its own. */
static void test_threads(void **state)
{
	pthread_t threads[4];
	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, a_life_of_its_own, NULL), 0);
	for (int i = 0; i < 4; i++) {
		void *wrong;
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_ALL(test_pull),
		ON_UNIX(test_pull_waits_as_long_as_told),
		ON_ALL(test_poll),
		ON_UNIX(test_poll_after_a_call),
		ON_UNIX(test_poll_and_timeout),
		ON_ALL(test_libevent),
		ON_ALL(test_sent_at_once),
		ON_UNIX(test_stop_by_signal),
		ON_UNIX(test_stop_by_thread),
		ON_UNIX(test_stop_before),
		ON_UNIX(test_wake),
		ON_UNIX(test_run_ends),
		ON_UNIX(test_busy),
		ON_UNIX(test_blocking_calls_in_a_callback),
		ON_UNIX(test_unruly_handler),
		ON_ALL(test_close_in_a_callback),
		ON_UNIX(test_close_at_join),
		ON_UNIX(test_calls_after_close_in_a_callback),
		ON_UNIX(test_close_at_once),
		ON_ALL(test_sync),
		ON_ALL(test_fork),
		ON_UNIX(test_fork_and_life_line),
		ON_UNIX(test_threads),
	};
	return RUN("loops", tests);
}
