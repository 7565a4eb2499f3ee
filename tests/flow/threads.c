/*
 * threads: handles in programs with several threads, and in programs where signals rain. Each thread has its own handle
 * and sees what happens to it, and nothing else; the only calls across threads are brood_stop() and brood_wake().
 *
 * Threads return the number of things that were wrong: cmocka's assertions jump, which only the main thread can do. Run
 * this under ThreadSanitizer too (cmake --preset tsan).
 */
#include "flow.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void start_thread(pthread_t *thread, void *(*run)(void *), void *data)
{
	assert_int_equal(pthread_create(thread, NULL, run, data), 0);
}

static uintptr_t join(pthread_t thread)
{
	void *wrong;
	assert_int_equal(pthread_join(thread, &wrong), 0);
	return (uintptr_t)wrong;
}

/* ---- children at the same time ----------------------------------------------------------------------------------- */

#define THREADS 4
#define KIDS 50

struct nursery {
	int first; /* exit code of its first child; the others count up */
	pthread_barrier_t *begin;
	brood *b;
	struct diary d[KIDS];
	unsigned closed;
};

static int count_closed(const brood_event *e)
{
	struct nursery *n = ((struct diary *)e->data)->data;
	n->closed += e->type == BROOD_EVENT_CLOSE;
	return 0;
}

static int spawn_kid(struct nursery *n, int i)
{
	char code[16];
	snprintf(code, sizeof code, "%d", n->first + i);
	n->d[i].also = count_closed;
	n->d[i].data = n;
	return brood_spawn(n->b, NULL, KID("quit", code), BROOD_SPAWN(.on = diary_table, .data = &n->d[i])) < 0;
}

static uintptr_t check_kid(const struct diary *d, int code)
{
	int ok = strcmp(d->order, "SDEC") == 0 && d->exit.cause == BROOD_EXITED && d->exit.code == code;
	if (!ok)
		fprintf(stderr, "expected code %d: %s, %s %s\n", code, d->order, d->exit_text, d->text);
	return !ok;
}

static void *raise_kids(void *data)
{
	struct nursery *n = data;
	uintptr_t wrong = 0;
	uint64_t end = now_ms() + 3 * PATIENCE_MS; /* they are many */
	pthread_barrier_wait(n->begin);
	if (brood_connect(&n->b, NULL, NULL) < 0)
		return (void *)1;
	for (int i = 0; i < KIDS; i++)
		wrong += (uintptr_t)spawn_kid(n, i);
	while (n->closed < KIDS && now_ms() < end)
		wrong += brood_process(n->b, 1000) < 0;
	for (int i = 0; i < KIDS; i++)
		wrong += check_kid(&n->d[i], n->first + i);
	brood_close(n->b);
	return (void *)wrong;
}

static void test_each_sees_its_own_children(void **state)
{
	static struct nursery nurseries[THREADS];
	pthread_barrier_t begin;
	pthread_t threads[THREADS];
	(void)state;
	memset(nurseries, 0, sizeof nurseries);
	pthread_barrier_init(&begin, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		nurseries[i].first = i * KIDS;
		nurseries[i].begin = &begin;
		start_thread(&threads[i], raise_kids, &nurseries[i]);
	}
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(join(threads[i]), 0);
	pthread_barrier_destroy(&begin);
}

/* ---- from one thread to the next --------------------------------------------------------------------------------- */

static void *use_and_pass_on(void *data)
{
	struct family *f = data;
	brood_msg *m;
	if (brood_call(f->kid, BROOD_MSG("echo", "x", 1), PATIENCE_MS, &m) < 0)
		return (void *)1;
	brood_msg_release(m);
	return NULL;
}

/* One thread at a time; who made it does not matter, nor who closes it. */
static void test_a_handle_moves(void **state)
{
	struct family f = { 0 };
	pthread_t thread;
	(void)state;
	family_begin(&f, KID("worker"));
	for (int i = 0; i < 3; i++) {
		start_thread(&thread, use_and_pass_on, &f);
		assert_int_equal(join(thread), 0);
		assert_int_equal(use_and_pass_on(&f) != NULL, 0);
	}
	family_end(&f);
}

/* ---- wake and stop ----------------------------------------------------------------------------------------------- */

#define WAKES 200

static struct {
	brood *b;
	unsigned written; /* plain: brood_wake() must order it */
	unsigned seen, wakes;
} mail;

/* Write, wake, and wait until it was seen in the event. */
static void *write_and_wake(void *data)
{
	uint64_t end = now_ms() + PATIENCE_MS;
	(void)data;
	for (unsigned i = 1; i <= WAKES; i++) {
		mail.written = i;
		brood_wake(mail.b);
		while (__atomic_load_n(&mail.seen, __ATOMIC_ACQUIRE) < i)
			if (now_ms() > end)
				return (void *)1;
	}
	brood_stop(mail.b);
	return NULL;
}

static int read_mail(const brood_event *e)
{
	(void)e;
	mail.wakes++;
	__atomic_store_n(&mail.seen, mail.written, __ATOMIC_RELEASE);
	return 0;
}

/* What was written before brood_wake() is seen in the event, each time; brood_stop() ends the loop in the end. */
static void test_wake_orders(void **state)
{
	pthread_t thread;
	(void)state;
	memset(&mail, 0, sizeof mail);
	assert_int_equal(brood_connect(&mail.b, NULL, BROOD_OPTIONS(.on = BROOD_ON(.wake = read_mail), .name = "mail")),
			 0);
	start_thread(&thread, write_and_wake, NULL);
	assert_int_equal(brood_run(mail.b), 0);
	assert_int_equal(join(thread), 0);
	assert_int_equal(mail.seen, WAKES);
	assert_int_equal(mail.wakes, WAKES);
	brood_close(mail.b);
}

static int busy; /* threads that still shout */

static void *shout(void *b)
{
	for (int i = 0; i < 2000; i++)
		brood_wake(b);
	__atomic_sub_fetch(&busy, 1, __ATOMIC_RELEASE);
	brood_wake(b);
	return NULL;
}

/* While messages come and go, three others wake without a pause: nothing is lost on either side. */
static void test_wake_under_load(void **state)
{
	struct family f = { 0 };
	pthread_t threads[3];
	(void)state;
	busy = 3;
	family_begin(&f, KID("worker"));
	say(f.kid, "stream", "2000 100");
	for (int i = 0; i < 3; i++)
		start_thread(&threads[i], shout, f.b);
	until(f.b, diary_messages(&f.d) == 2000 && __atomic_load_n(&busy, __ATOMIC_ACQUIRE) == 0);
	for (int i = 0; i < 3; i++)
		(void)join(threads[i]);
	assert_int_equal(f.d.wrong, 0);
	assert_true(f.me.n[BROOD_EVENT_WAKE] > 0);
	family_end(&f);
}

/* ---- fork() beside other threads --------------------------------------------------------------------------------- */

static int enough; /* atomic */

static void *connect_and_close(void *data)
{
	uintptr_t wrong = 0;
	(void)data;
	while (!__atomic_load_n(&enough, __ATOMIC_ACQUIRE)) {
		brood *b;
		brood_peer *kid;
		if (brood_connect(&b, NULL, NULL) < 0)
			return (void *)1;
		wrong += brood_spawn(b, &kid, KID("quit", "3"), BROOD_SPAWN(.flags = BROOD_PLAIN)) < 0 ||
			 brood_wait(kid, PATIENCE_MS) < 0;
		brood_close(b);
	}
	return (void *)wrong;
}

/* The host's own fork() never meets a lock of ours that another thread held, and gets its own child back. */
static void test_fork_beside(void **state)
{
	pthread_t threads[2];
	(void)state;
	enough = 0;
	for (int i = 0; i < 2; i++)
		start_thread(&threads[i], connect_and_close, NULL);
	int wrong = 0;
	for (int i = 0; i < 100; i++) {
		int status;
		pid_t pid = fork();
		if (pid == 0)
			_exit(i);
		wrong += waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != i;
	}
	__atomic_store_n(&enough, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < 2; i++)
		wrong += (int)join(threads[i]);
	assert_int_equal(wrong, 0);
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

static unsigned alarms; /* atomic */
static pthread_t target;
static int quiet; /* atomic */

static void count_alarm(int signo)
{
	(void)signo;
	__atomic_add_fetch(&alarms, 1, __ATOMIC_RELAXED);
}

static void *rain(void *data)
{
	(void)data;
	while (!__atomic_load_n(&quiet, __ATOMIC_ACQUIRE)) {
		pthread_kill(target, SIGALRM);
		usleep(200);
	}
	return NULL;
}

/* Every millisecond by a timer, and more often by a thread; no SA_RESTART, so that every call that waits is cut short. */
static pthread_t begin_storm(void)
{
	struct sigaction a = { .sa_handler = count_alarm };
	struct itimerval every_ms = { { 0, 1000 }, { 0, 1000 } };
	pthread_t thread;
	alarms = 0;
	quiet = 0;
	target = pthread_self();
	assert_int_equal(sigaction(SIGALRM, &a, NULL), 0);
	start_thread(&thread, rain, NULL);
	assert_int_equal(setitimer(ITIMER_REAL, &every_ms, NULL), 0);
	return thread;
}

static void end_storm(pthread_t thread)
{
	assert_int_equal(setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL), 0);
	__atomic_store_n(&quiet, 1, __ATOMIC_RELEASE);
	(void)join(thread);
	signal(SIGALRM, SIG_DFL);
	assert_true(alarms > 20);
}

static void live_in_storm(void)
{
	struct family f = { 0 };
	struct diary late = { 0 };
	const brood_event *e;
	brood *other;
	family_begin(&f, KID("worker"));
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	for (uint64_t i = 0; i < 500; i++)
		assert_int_equal(numbered_send(f.kid, i, 20000, BROOD_BLOCK), 0);
	assert_int_equal(ask_number(f.kid, "count"), 500);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	say(f.kid, "stream", "500 20000");
	until(f.b, diary_messages(&f.d) == 500);
	assert_int_equal(f.d.wrong, 0);
	uint64_t since = now_ms();
	assert_true(brood_request(f.kid, BROOD_MSG("keep", NULL, 0), 50, diary_write, &late) > 0);
	until(f.b, late.n[BROOD_EVENT_REPLY] == 1);
	assert_string_equal(late.error, "deadline");
	assert_in_range(now_ms() - since, 49, 20000);
	say(f.kid, "release", "");
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(brood_kill(f.kid, 0, 0), 0);
	assert_int_equal(brood_wait(f.kid, PATIENCE_MS), 0);
	assert_string_equal(f.d.order, "SRmDEC");
	family_end(&f);
	assert_int_equal(brood_connect(&other, NULL, NULL), 0);
	since = now_ms();
	assert_int_equal(brood_next(other, &e, 50), 0); /* waits as long as told */
	assert_in_range(now_ms() - since, 49, 20000);
	brood_close(other);
}

static void test_signals(void **state)
{
	(void)state;
	pthread_t thread = begin_storm();
	live_in_storm();
	end_storm(thread);
}

/* The private broker starts in the middle of it. */
static void test_autostart_under_signals(void **state)
{
	((struct fixture *)*state)->orphans = -1; /* the broker leaves by itself */
	test_signals(state);
}

/* Starts too: programs that exist and programs that do not. */
static void test_starts_under_signals(void **state)
{
	struct family f = { 0 };
	static struct nursery n;
	(void)state;
	memset(&n, 0, sizeof n);
	family_connect(&f);
	n.b = f.b;
	n.first = 1;
	pthread_t thread = begin_storm();
	for (int i = 0; i < KIDS; i++)
		assert_int_equal(spawn_kid(&n, i), 0);
	assert_int_equal(
		brood_spawn(f.b, &f.kid, BROOD_ARGV("/nowhere/at/all"), BROOD_SPAWN(.on = diary_table, .data = &f.d)),
		0);
	until(f.b, n.closed == KIDS && f.d.n[BROOD_EVENT_CLOSE] == 1);
	for (int i = 0; i < KIDS; i++)
		assert_int_equal(check_kid(&n.d[i], n.first + i), 0);
	assert_string_equal(f.d.order, "!C");
	assert_int_equal(f.d.code, -ENOENT);
	family_end(&f);
	end_storm(thread);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_ALL(test_each_sees_its_own_children),
		ON_ALL(test_a_handle_moves),
		ON_ALL(test_wake_orders),
		ON_UNIX(test_wake_under_load),
		ON_UNIX(test_fork_beside),
		ON_ALL(test_signals),
		ON_ALL(test_starts_under_signals),
		cmocka_unit_test_setup_teardown(test_autostart_under_signals, fixture_setup_empty, fixture_teardown),
	};
	return RUN("threads", tests);
}
