/*
 * resume: the broker is killed, replaced, or away for a while. Everybody comes back to the next one under the same
 * address, with names, family and open questions, and every message arrives once and in order.
 */
#include "brood.pb-c.h"
#include "flow.h"
#include "raw.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* The next broker over the dead one's state, as a service manager would start it. */
static void restart_broker(struct fixture *x)
{
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	assert_int_equal(fixture_start(x), 0);
}

static void until_back(struct family *f, unsigned times)
{
	until(f->b, f->me.n[BROOD_EVENT_BACK] == times);
	assert_int_equal(f->me.n[BROOD_EVENT_AWAY], times);
	assert_int_equal(f->me.n[BROOD_EVENT_ERROR], 0);
}

static void begin_worker(struct family *f)
{
	family_begin(f, KID("worker"));
	until(f->b, f->d.n[BROOD_EVENT_READY] == 1);
}

/* As many as fit at once. */
static uint64_t send_as_fits(struct family *f, uint64_t next, uint64_t most)
{
	while (next < most) {
		int rc = numbered_send(f->kid, next, 300, 0);
		if (rc == -EAGAIN)
			break;
		assert_int_equal(rc, 0);
		next++;
	}
	return next;
}

#define KILLS 8
#define MANY 60000u

/* Numbered messages flow all the time, to the child and from it. */
static void test_killed_again_and_again(void **state)
{
	struct family f = { 0 };
	uint64_t sent = 0;
	char text[32];
	begin_worker(&f);
	snprintf(text, sizeof text, "%u 300", MANY);
	say(f.kid, "stream", text);
	for (unsigned i = 0; i < KILLS; i++) {
		uint64_t goal = MANY / KILLS * (i + 1);
		while (sent < goal) {
			sent = send_as_fits(&f, sent, goal);
			assert_true(brood_process(f.b, 1) >= 0);
		}
		restart_broker(*state);
		until_back(&f, i + 1);
	}
	until(f.b, diary_messages(&f.d) == MANY);
	assert_int_equal(f.d.wrong, 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	assert_int_equal(f.d.n[BROOD_EVENT_DISCONNECT], 0);
	family_end(&f);
	assert_string_equal(f.d.error, "");
}

/* Said while nobody is there: it waits, and so do those who ask. */
static void test_said_while_away(void **state)
{
	struct fixture *x = *state;
	struct family f = { 0 };
	struct diary answers = { 0 };
	brood_peer *late;
	struct diary newcomer = { 0 };
	begin_worker(&f);
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	until(f.b, f.me.n[BROOD_EVENT_AWAY] == 1);
	assert_true(brood_request(f.kid, BROOD_MSG("echo", "x", 1), -1, diary_write, &answers) > 0);
	assert_int_equal(brood_send(f.kid, BROOD_MSG("numbered", "", 0)), 0);
	assert_int_equal(
		brood_spawn(f.b, &late, KID("burst", "3", "100"), BROOD_SPAWN(.on = diary_table, .data = &newcomer)),
		0);
	assert_int_equal(brood_sync(f.b, 50), -ETIMEDOUT);
	assert_int_equal(fixture_start(x), 0);
	until_back(&f, 1);
	until(f.b, answers.n[BROOD_EVENT_REPLY] == 1 && newcomer.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(answers.body, "x");
	assert_string_equal(newcomer.order, "SRmDEC");
	assert_int_equal(newcomer.exit.code, 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	family_end(&f);
}

static void test_requests_survive(void **state)
{
	struct family f = { 0 };
	struct diary answers = { 0 };
	begin_worker(&f);
	for (int i = 0; i < 50; i++)
		assert_true(brood_request(f.kid, BROOD_MSG("keep", NULL, 0), -1, diary_write, &answers) > 0);
	assert_int_equal(ask_number(f.kid, "open"), 50);
	restart_broker(*state);
	assert_int_equal(ask_number(f.kid, "open"), 50);
	say(f.kid, "flush", "");
	until(f.b, answers.n[BROOD_EVENT_REPLY] == 50);
	assert_int_equal(answers.code, 0);
	family_end(&f);
}

/* A deadline passes also while nobody can answer. */
static void test_deadline_while_away(void **state)
{
	struct fixture *x = *state;
	struct family f = { 0 };
	struct diary answers = { 0 };
	begin_worker(&f);
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	until(f.b, f.me.n[BROOD_EVENT_AWAY] == 1);
	assert_true(brood_request(f.kid, BROOD_MSG("keep", NULL, 0), 50, diary_write, &answers) > 0);
	until(f.b, answers.n[BROOD_EVENT_REPLY] == 1);
	assert_string_equal(answers.error, "deadline");
	assert_int_equal(fixture_start(x), 0);
	until_back(&f, 1);
	family_end(&f);
}

/* Its exit is never invented, and never waits for the broker longer than it must. */
static void test_exit_while_away(void **state)
{
	struct fixture *x = *state;
	struct family f = { 0 };
	begin_worker(&f);
	pid_t pid = info_of(f.kid).pid;
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	until(f.b, f.me.n[BROOD_EVENT_AWAY] == 1);
	kill(pid, SIGKILL);
	until_by(process_is_dead(pid), assert_true(brood_process(f.b, 1) >= 0));
	assert_int_equal(f.d.n[BROOD_EVENT_EXIT], 0);
	assert_int_equal(fixture_start(x), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "SRDEC");
	assert_int_equal(f.d.exit.signo, SIGKILL);
	assert_non_null(strstr(f.d.exit_text, "missing"));
	family_end(&f);
}

static void test_exit_without_broker(void **state)
{
	struct fixture *x = *state;
	struct family f = { 0 };
	begin_worker(&f);
	pid_t pid = info_of(f.kid).pid;
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	until(f.b, f.me.n[BROOD_EVENT_AWAY] == 1);
	uint64_t begin = now_ms();
	kill(pid, SIGKILL);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_in_range(now_ms() - begin, 4000, 20000);
	assert_int_equal(f.d.exit.signo, SIGKILL);
	assert_int_equal(fixture_start(x), 0); /* for the teardown */
	family_end(&f);
}

/* exit(0) of a child while the broker is being replaced: its flush waits for it. */
static void test_flush_over_a_restart(void **state)
{
	struct family f = { 0 };
	family_begin(&f, KID("burst", "50", "1000000"));
	until(f.b, diary_messages(&f.d) >= 3);
	restart_broker(*state);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(diary_messages(&f.d), 50);
	assert_int_equal(f.d.wrong, 0);
	assert_int_equal(f.d.exit.code, 0);
	family_end(&f);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Whoever finds a name does not hear that its holder was without a broker. */
static void test_names_come_back(void **state)
{
	struct family f = { 0 };
	brood *other;
	brood_peer *server;
	struct diary found = { 0 }, me = { 0 };
	family_connect(&f);
	assert_int_equal(
		brood_spawn(f.b, &f.kid, KID("worker"), BROOD_SPAWN(.name = "given", .on = diary_table, .data = &f.d)),
		0);
	assert_int_equal(brood_register(f.b, "taken"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(brood_connect(&other, NULL, BROOD_OPTIONS(.on = diary_table, .data = &me)), 0);
	assert_int_equal(brood_find(other, &server, "given", BROOD_FIND(.on = diary_table, .data = &found)), 0);
	assert_int_equal(ask_number(server, "count"), 0);
	restart_broker(*state);
	until_back(&f, 1);
	until(other, me.n[BROOD_EVENT_BACK] == 1);
	assert_int_equal(ask_number(server, "count"), 0);
	assert_int_equal(found.n[BROOD_EVENT_DISCONNECT], 0);
	/* A newcomer cannot get between a name and its holder. */
	assert_int_equal(brood_register(other, "taken"), 0);
	assert_int_equal(brood_sync(other, PATIENCE_MS), -EADDRINUSE);
	assert_int_equal(f.me.n[BROOD_EVENT_ERROR], 0);
	brood_close(other);
	family_end(&f);
}

/* A newcomer that is faster than the holder waits for it. */
static void test_newcomers_wait(void **state)
{
	struct fixture *x = *state;
	struct family f = { 0 };
	brood *other;
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "taken"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	restart_broker(x);
	assert_int_equal(brood_connect(&other, NULL, BROOD_OPTIONS(.name = "taken")), 0);
	assert_int_equal(brood_sync(other, 500), -ETIMEDOUT); /* the holder, which nobody processes, is not back */
	until_back(&f, 1);
	assert_int_equal(brood_sync(other, PATIENCE_MS), -EADDRINUSE);
	assert_int_equal(f.me.n[BROOD_EVENT_ERROR], 0);
	brood_close(other);
	family_end(&f);
}

/* ---- strangers and foreign children ------------------------------------------------------------------------------ */

static void test_joined_stay_joined(void **state)
{
	struct family f = { 0 };
	brood_msg *m;
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "root"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	pid_t pid = start_program(KID("joiner", "root"), NULL);
	until(f.b, f.me.n[BROOD_EVENT_JOIN] == 1);
	brood_peer *kid = f.me.peer;
	assert_true(brood_call(kid, BROOD_TEXT("are you there?"), PATIENCE_MS, &m) < 0); /* and knows who it is */
	restart_broker(*state);
	until_back(&f, 1);
	assert_true(brood_call(kid, BROOD_TEXT("are you back?"), PATIENCE_MS, &m) < 0);
	assert_string_equal(brood_last_error(f.b)->name, "unanswered"); /* by its handler, which knows no such thing */
	kill(pid, SIGKILL);
	until(f.b, f.me.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(f.me.n[BROOD_EVENT_JOIN], 1);
	assert_int_equal(f.me.exit.cause, BROOD_GONE);
	wait_program(pid);
	family_end(&f);
}

/* ---- the end of patience ----------------------------------------------------------------------------------------- */

static void test_gives_up(void **state)
{
	struct fixture *x = *state;
	struct diary me = { 0 };
	brood *b;
	assert_int_equal(brood_connect(&b, NULL, BROOD_OPTIONS(.on = diary_table, .data = &me, .reconnect_ms = 100)),
			 0);
	assert_int_equal(brood_register(b, "here"), 0);
	assert_int_equal(brood_sync(b, PATIENCE_MS), 0);
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	assert_true(brood_run(b) < 0);
	assert_string_equal(me.error, "broker.lost");
	assert_int_equal(me.n[BROOD_EVENT_AWAY], 1);
	assert_int_equal(me.n[BROOD_EVENT_BACK], 0);
	brood_close(b);
	assert_int_equal(fixture_start(x), 0);
}

static void test_does_not_want_to(void **state)
{
	struct fixture *x = *state;
	struct family f = { .flags = BROOD_NO_RECONNECT };
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "here"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	assert_true(brood_run(f.b) < 0);
	assert_string_equal(f.me.error, "broker.lost");
	assert_int_equal(f.me.n[BROOD_EVENT_AWAY], 0);
	family_end(&f);
	assert_int_equal(fixture_start(x), 0);
}

/* SIGUSR2: the next one takes over, and nobody notices but by AWAY and BACK. */
static void test_replaced(void **state)
{
	struct fixture *x = *state;
	struct family f = { 0 };
	begin_worker(&f);
	assert_int_equal(fixture_stop(x, SIGUSR2), 0);
	assert_int_equal(fixture_start(x), 0);
	until_back(&f, 1);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	assert_int_equal(f.d.n[BROOD_EVENT_DISCONNECT], 0);
	family_end(&f);
}

/* A broker that leaves while it is greeted has not been mine: the next one is, and nothing is about to stop. */
static void test_replaced_while_greeting(void **state)
{
	struct fixture *x = *state;
	char path[96], address[104];
	Brood__Goodbye bye = BROOD__GOODBYE__INIT;
	struct raw_frame f;
	brood *b;
	snprintf(path, sizeof path, "%s/leaving", x->directory);
	snprintf(address, sizeof address, "unix:%s", path);
	int listener = raw_listen(path);
	assert_int_equal(brood_connect(&b, address, BROOD_OPTIONS(.name = "here")), 0);
	int fd = raw_accept(listener, PATIENCE_MS);
	assert_int_equal(raw_receive_kind(fd, FRAME_HELLO, &f, PATIENCE_MS), 1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(x->address + strlen("unix:"), path), 0);
	bye.parting = BROOD__PARTING__PARTING_RESTARTING;
	assert_int_equal(raw_send_pb(fd, FRAME_GOODBYE, &bye.base), 0);
	close(fd);
	close(listener);
	assert_int_equal(brood_sync(b, PATIENCE_MS), 0);
	assert_int_equal(brood_register(b, "there"), 0);
	assert_int_equal(brood_sync(b, PATIENCE_MS), 0);
	brood_msg_release(ask_broker(b, "brood.control.List"));
	brood_close(b);
	assert_int_equal(unlink(path), 0);
}

/* ---- a broker that does not answer ------------------------------------------------------------------------------- */

#define FALSE_EPOCH ((uint64_t)0x70000000 << 32)

/* The next frame of this kind, while the handle works. */
static void false_hears(brood *b, int fd, unsigned kind, struct raw_frame *f)
{
	do {
		until_polled(b, poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) == 1);
		assert_int_equal(raw_receive(fd, f, PATIENCE_MS), 1);
		assert_true(f->head.kind == kind || f->head.kind != FRAME_DIED);
	} while (f->head.kind != kind);
}

static void false_welcomes(int fd)
{
	uint8_t key[32] = { 1 }, ticket[64] = { 2 };
	Brood__HelloOk ok = BROOD__HELLO_OK__INIT;
	ok.id = FALSE_EPOCH | 1;
	ok.node = "false";
	ok.address = "unix:/nowhere/sock"; /* for children: itself it comes back to where it connected */
	ok.ticket = (ProtobufCBinaryData){ sizeof ticket, ticket };
	ok.first_id = FALSE_EPOCH | 100;
	ok.ids = 64;
	ok.ids_key = (ProtobufCBinaryData){ sizeof key, key };
	assert_int_equal(raw_send_pb(fd, FRAME_HELLO_OK, &ok.base), 0);
}

/* The handle connects, and is let in. */
static int false_greets(brood *b, int listener, struct raw_frame *f)
{
	int fd = -1;
	until_polled(b, (fd = raw_accept(listener, 0)) >= 0);
	false_hears(b, fd, FRAME_HELLO, f);
	false_welcomes(fd);
	return fd;
}

/* What a broker may have lost with a connection is said until it is answered, though the child is closed long since. */
static void test_died_is_said_again(void **state)
{
	const struct fixture *x = *state;
	static struct raw_frame f;
	Brood__End end = BROOD__END__INIT;
	char path[96], address[104];
	struct diary d = { 0 };
	brood_peer *kid;
	brood *b;
	snprintf(path, sizeof path, "%s/silent", x->directory);
	snprintf(address, sizeof address, "unix:%s", path);
	int listener = raw_listen(path);
	assert_int_equal(brood_connect(&b, address, BROOD_OPTIONS(.flush_ms = 50)), 0);
	assert_int_equal(brood_spawn(b, &kid, KID("silent"), BROOD_SPAWN(.on = diary_table, .data = &d)), 0);
	int fd = false_greets(b, listener, &f);
	false_hears(b, fd, FRAME_ADOPT, &f);
	until(b, d.n[BROOD_EVENT_SPAWN] == 1);
	assert_int_equal(brood_kill(kid, SIGKILL, 0), 0);
	false_hears(b, fd, FRAME_DIED, &f);
	until(b, d.n[BROOD_EVENT_CLOSE] == 1);
	for (int i = 0; i < 2; i++) {
		close(fd);
		fd = false_greets(b, listener, &f);
		false_hears(b, fd, FRAME_DIED, &f);
	}
	end.id = FALSE_EPOCH | 100;
	assert_int_equal(raw_send_pb(fd, FRAME_END, &end.base), 0);
	until_polled(b, brood_sync(b, 0) == 0);
	close(fd);
	fd = false_greets(b, listener, &f);
	assert_int_equal(brood_register(b, "here"), 0);
	false_hears(b, fd, FRAME_REGISTER, &f); /* and nothing of it before or behind that */
	while (brood_process(b, 50) >= 0 && poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 50) == 1) {
		assert_int_equal(raw_receive(fd, &f, PATIENCE_MS), 1);
		assert_int_not_equal(f.head.kind, FRAME_DIED);
	}
	close(fd);
	close(listener);
	brood_close(b);
	assert_int_equal(unlink(path), 0);
}

/* A stranger who is let in, and stays. */
static int take_the_place(const struct fixture *x)
{
	static struct raw_frame f;
	Brood__Hello hello = BROOD__HELLO__INIT;
	for (uint64_t end = now_ms() + PATIENCE_MS; now_ms() < end; nap()) {
		int fd = raw_connect(x->address + strlen("unix:"));
		assert_true(fd >= 0);
		if (raw_send_pb(fd, FRAME_HELLO, &hello.base) == 0 && raw_receive(fd, &f, PATIENCE_MS) == 1 &&
		    f.head.kind == FRAME_HELLO_OK)
			return fd;
		close(fd);
	}
	return -1;
}

static int was_said(const struct fixture *x, const char *words)
{
	static char log[65536];
	ssize_t n = pread(x->log_fd, log, sizeof log - 1, 0);
	log[n > 0 ? n : 0] = '\0';
	return strstr(log, words) != NULL;
}

/* The connection of the only handle that this process has. */
static int connection(void)
{
	struct sockaddr_un peer;
	for (int fd = 3; fd < 256; fd++) {
		socklen_t n = sizeof peer;
		if (getpeername(fd, (struct sockaddr *)&peer, &n) == 0 && peer.sun_family == AF_UNIX && n > 2 &&
		    peer.sun_path[0] == '/')
			return fd;
	}
	return -1;
}

/* Who closes while it is on its way back says goodbye all the same: its name is free, and nobody waits for it. */
static void test_closed_on_the_way_back(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "here"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(shutdown(connection(), SHUT_RDWR), 0);
	until(f.b, f.me.n[BROOD_EVENT_AWAY] == 1);
	assert_int_equal(f.me.n[BROOD_EVENT_BACK], 0);
	assert_int_equal(brood_close(f.b), 0);
	family_connect(&g);
	assert_int_equal(brood_register(g.b, "here"), 0);
	assert_int_equal(brood_sync(g.b, PATIENCE_MS), 0);
	family_end(&g);
}

/* So does who closes before it was answered. */
static void test_closed_while_greeting(void **state)
{
	struct fixture *x = *state;
	struct family f = { 0 };
	struct diary d = { 0 };
	brood *b;
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "here"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	kill(x->broker, SIGSTOP);
	assert_int_equal(brood_connect(&b, x->address,
				       BROOD_OPTIONS(.on = diary_table, .data = &d, .parent = "here", .flush_ms = 100)),
			 0);
	assert_int_equal(brood_register(b, "there"), 0); /* so it connects */
	brood_close(b);
	kill(x->broker, SIGCONT);
	until(f.b, f.me.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(f.me.n[BROOD_EVENT_JOIN], 1);
	family_end(&f);
}

/* Who was there before and meets a limit comes again; only a stranger is told for good. */
static void test_a_limit_on_the_way_back(void **state)
{
	struct fixture *x = *state;
	struct family f = { 0 };
	brood *stranger;
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "here"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	setenv("BROODD_LIMITS_SESSIONS_PER_USER", "1", 1);
	assert_int_equal(fixture_start(x), 0);
	unsetenv("BROODD_LIMITS_SESSIONS_PER_USER");
	int fd = take_the_place(x);
	assert_true(fd >= 0);
	assert_int_equal(brood_connect(&stranger, x->address, NULL), 0);
	assert_int_equal(brood_sync(stranger, PATIENCE_MS), -EDQUOT);
	brood_close(stranger);
	assert_int_equal(f.me.n[BROOD_EVENT_AWAY], 0);
	until_polled(f.b, f.me.n[BROOD_EVENT_AWAY] == 1);
	assert_true(was_said(x, "error=limit.sessions"));
	for (int i = 0; i < 20; i++)
		assert_int_equal(brood_process(f.b, 20), 0);
	close(fd);
	until_back(&f, 1);
	family_end(&f);
}

/* ---- asleep ------------------------------------------------------------------------------------------------------ */

static int64_t slept_ms;

static const struct timespec *stopped; /* NULL: the clock goes */

/* What the library asks for periods of time; the tests themselves ask another clock. */
__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *ret)
{
	int rc = (int)syscall(SYS_clock_gettime, id, ret);
	if (id == CLOCK_BOOTTIME && stopped)
		*ret = *stopped;
	if (id == CLOCK_BOOTTIME)
		ret->tv_sec += slept_ms / 1000;
	return rc;
}

/* The machine was suspended, or this process stopped. Then it works for a moment. */
static int sleep_and_wake(brood *b, int ms)
{
	slept_ms += ms;
	for (int i = 0; i < 5; i++) {
		int rc = brood_process(b, 0);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* A broker that is none, and somebody who wants to know the error of a handle that goes there. */
struct false_broker {
	char path[96], address[104];
	int listener, fd;
	brood *b;
	struct raw_frame f;
};

static void false_listens(struct false_broker *x, const struct fixture *fixture)
{
	snprintf(x->path, sizeof x->path, "%s/silent", fixture->directory);
	snprintf(x->address, sizeof x->address, "unix:%s", x->path);
	x->listener = raw_listen(x->path);
}

static void false_begin_for(struct false_broker *x, const struct fixture *fixture, unsigned reconnect_ms)
{
	false_listens(x, fixture);
	assert_int_equal(brood_connect(&x->b, x->address, BROOD_OPTIONS(.flush_ms = 50, .reconnect_ms = reconnect_ms)),
			 0);
	assert_int_equal(brood_sync(x->b, 0), -EAGAIN);
}

static void false_begin(struct false_broker *x, const struct fixture *fixture)
{
	false_begin_for(x, fixture, 0);
}

static void false_end(struct false_broker *x)
{
	close(x->fd);
	close(x->listener);
	brood_close(x->b);
	assert_int_equal(unlink(x->path), 0);
	slept_ms = 0;
}

static void false_accepts(struct false_broker *x)
{
	until_polled(x->b, (x->fd = raw_accept(x->listener, 0)) >= 0);
	false_hears(x->b, x->fd, FRAME_HELLO, &x->f);
}

/* Time asleep was not time to answer: who is there when it wakes up, or comes, is greeted. */
static void test_asleep_while_greeting(void **state)
{
	static struct false_broker x;
	false_begin(&x, *state);
	false_accepts(&x);
	assert_int_equal(sleep_and_wake(x.b, 60000), 0);
	close(x.fd);
	false_accepts(&x);
	assert_int_equal(sleep_and_wake(x.b, 60000), 0);
	close(x.fd);
	x.fd = false_greets(x.b, x.listener, &x.f);
	assert_int_equal(brood_sync(x.b, PATIENCE_MS), 0);
	false_end(&x);
}

/* Nor is it for who came back to a broker and waits for its answer. */
static void test_asleep_on_the_way_back(void **state)
{
	static struct false_broker x;
	false_begin(&x, *state);
	x.fd = false_greets(x.b, x.listener, &x.f);
	assert_int_equal(brood_sync(x.b, PATIENCE_MS), 0);
	close(x.fd);
	false_accepts(&x);
	assert_int_equal(sleep_and_wake(x.b, 600000), 0);
	close(x.fd);
	x.fd = false_greets(x.b, x.listener, &x.f);
	assert_int_equal(brood_register(x.b, "here"), 0);
	false_hears(x.b, x.fd, FRAME_REGISTER, &x.f);
	false_end(&x);
}

/* But who looks now and then only does not wait for ever. */
static void test_patience_ends_asleep_or_not(void **state)
{
	static struct false_broker x;
	int naps = 0;
	false_begin(&x, *state);
	false_accepts(&x);
	for (; brood_sync(x.b, 0) == -EAGAIN; naps++)
		assert_int_equal(sleep_and_wake(x.b, 60000), 0);
	assert_in_range(naps, 3, 12);
	assert_string_equal(brood_last_error(x.b)->name, "broker.absent");
	false_end(&x);
}

/* Each loss is met with the whole patience, though those before took all of it together. */
static void test_patience_begins_anew(void **state)
{
	static struct false_broker x;
	false_begin_for(&x, *state, 20000);
	x.fd = false_greets(x.b, x.listener, &x.f);
	assert_int_equal(brood_sync(x.b, PATIENCE_MS), 0);
	for (int i = 0; i < 8; i++) {
		close(x.fd);
		false_accepts(&x);
		for (int naps = 0; naps < 3; naps++) /* it waits for an answer, and looks each time */
			assert_int_equal(sleep_and_wake(x.b, 1000), 0);
		false_welcomes(x.fd);
		assert_int_equal(brood_sync(x.b, PATIENCE_MS), 0);
	}
	false_end(&x);
}

/* It was stopped between connecting and HELLO, and the broker heard nothing of it for too long. */
static void test_hello_came_too_late(void **state)
{
	static struct false_broker x;
	Brood__Goodbye bye = BROOD__GOODBYE__INIT;
	bye.parting = BROOD__PARTING__PARTING_REFUSED;
	bye.code = -ETIMEDOUT;
	bye.error = "hello.timeout";
	bye.text = "no HELLO";
	false_begin(&x, *state);
	false_accepts(&x);
	assert_int_equal(raw_send_pb(x.fd, FRAME_GOODBYE, &bye.base), 0);
	close(x.fd);
	x.fd = false_greets(x.b, x.listener, &x.f);
	assert_int_equal(brood_sync(x.b, PATIENCE_MS), 0);
	close(x.fd);
	false_accepts(&x);
	assert_int_equal(raw_send_pb(x.fd, FRAME_GOODBYE, &bye.base), 0);
	close(x.fd);
	x.fd = false_greets(x.b, x.listener, &x.f);
	false_end(&x);
}

static int counts(const brood_event *e)
{
	int *n = e->data;
	n[e->type == BROOD_EVENT_ERROR] += e->type == BROOD_EVENT_MESSAGE || strcmp(e->error->name, "stream.gap") == 0;
	return 0;
}

/* Somebody asks, and has sent all before the third item. What another one says behind that tells when it was heard. */
static void false_probes(struct false_broker *x, const int *told, uint64_t n)
{
	const struct frame probe = { .kind = FRAME_PROBE, .source = FALSE_EPOCH | 7, .sequence = 3 };
	const struct item it = { .kind = ITEM_MESSAGE };
	assert_int_equal(raw_send(x->fd, &probe, NULL, 0), 0);
	assert_int_equal(raw_send_item(x->fd, FALSE_EPOCH | 8, FALSE_EPOCH | 1, n, &it, ""), 0);
	until_polled(x->b, told[0] == (int)n);
}

/* What is missing before and after it slept may be on its way; what is after ten seconds of its own is not. */
static void test_nothing_is_missing_because_of_sleep(void **state)
{
	static struct false_broker x;
	const struct brood_handlers on = { .size = sizeof on, .message = counts, .error = counts };
	int told[2] = { 0, 0 };
	struct diary answer = { 0 };
	brood_peer *silent;
	char id[24];
	false_begin(&x, *state);
	assert_int_equal(brood_on(brood_self(x.b), &on, told), 0);
	x.fd = false_greets(x.b, x.listener, &x.f);
	assert_int_equal(brood_sync(x.b, PATIENCE_MS), 0);
	snprintf(id, sizeof id, "%08x.7", (unsigned)(FALSE_EPOCH >> 32));
	assert_int_equal(brood_find(x.b, &silent, id, NULL), 0);
	assert_true(brood_request(silent, BROOD_TEXT("?"), -1, diary_write, &answer) > 0);
	false_probes(&x, told, 1);
	assert_int_equal(sleep_and_wake(x.b, 60000), 0);
	false_probes(&x, told, 2);
	assert_int_equal(told[1], 0);
	for (int i = 0; i < 12; i++)
		assert_int_equal(sleep_and_wake(x.b, 1000), 0);
	assert_int_equal(told[1], 0);
	assert_int_equal(answer.n[BROOD_EVENT_REPLY], 0);
	false_probes(&x, told, 3);
	assert_int_equal(told[1], 1);
	until(x.b, answer.n[BROOD_EVENT_REPLY] == 1); /* it may have been among what is missing */
	assert_string_equal(answer.error, "stream.gap");
	brood_release(silent);
	false_end(&x);
}

/* ---- a channel that leads nowhere --------------------------------------------------------------------------------- */

/* As a parent says it, that then closes the other end: no broker got it. */
static void false_birth(const struct false_broker *x)
{
	Brood__Birth birth = BROOD__BIRTH__INIT;
	uint8_t ticket[64] = { 2 };
	char text[48];
	struct stat s;
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(fstat(ends[1], &s), 0);
	snprintf(text, sizeof text, "%d:%llu", ends[1], (unsigned long long)s.st_ino);
	setenv("BROOD_FD", text, 1);
	birth.id = FALSE_EPOCH | 1;
	birth.parent = FALSE_EPOCH | 2;
	birth.node = "false";
	birth.address = (char *)(uintptr_t)x->address;
	birth.ticket = (ProtobufCBinaryData){ sizeof ticket, ticket };
	assert_int_equal(raw_send_pb(ends[0], FRAME_BIRTH, &birth.base), 0);
	close(ends[0]);
}

/* Nothing was lost, so it does not wait before it connects, and is not told AWAY: every start over TCP is one of these.
 * While its clock stands no wait of its ends. Later it comes back to where it was sent. */
static void test_born_without_a_way(void **state)
{
	static struct false_broker x;
	struct timespec now;
	struct diary d = { 0 };
	false_listens(&x, *state);
	false_birth(&x);
	assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &now), 0);
	stopped = &now;
	assert_int_equal(brood_connect(&x.b, NULL, BROOD_OPTIONS(.on = diary_table, .data = &d, .flush_ms = 50)), 0);
	unsetenv("BROOD_FD");
	assert_int_equal(brood_sync(x.b, 0), -EAGAIN);
	for (int i = 0; i < 20; i++)
		assert_true(brood_process(x.b, 0) >= 0);
	x.fd = raw_accept(x.listener, 0);
	stopped = NULL;
	assert_true(x.fd >= 0);
	false_hears(x.b, x.fd, FRAME_HELLO, &x.f);
	false_welcomes(x.fd);
	false_hears(x.b, x.fd, FRAME_DATA, &x.f); /* READY, to its parent */
	assert_int_equal(d.n[BROOD_EVENT_AWAY], 0);
	close(x.fd);
	x.fd = false_greets(x.b, x.listener, &x.f);
	until(x.b, d.n[BROOD_EVENT_BACK] == 1);
	assert_int_equal(d.n[BROOD_EVENT_AWAY], 1);
	false_end(&x);
}

/* ---- a broker that says what it likes --------------------------------------------------------------------------- */

static void false_names(struct false_broker *x, uint64_t holder)
{
	Brood__Name m = BROOD__NAME__INIT;
	m.name = "one";
	m.id = holder;
	assert_int_equal(raw_send_pb(x->fd, FRAME_NAME, &m.base), 0);
}

static void false_says(struct false_broker *x, unsigned kind, uint64_t of)
{
	const struct frame f = { .kind = (uint8_t)kind, .flags = FRAME_AWAY * (kind == FRAME_HOLD), .source = of };
	assert_int_equal(raw_send(x->fd, &f, NULL, 0), 0);
}

static int writes_state(const brood_event *e)
{
	char *order = e->data;
	const char *letter = e->type == BROOD_EVENT_READY        ? "R"
			     : e->type == BROOD_EVENT_AWAY       ? "a"
			     : e->type == BROOD_EVENT_BACK       ? "b"
			     : e->type == BROOD_EVENT_DISCONNECT ? "D"
								 : "?";
	strcat(order, letter);
	return 0;
}

/* Whether who had a name before is away is not said of the name; who has it now may have been away before it had. Who
 * parted is not away. */
static void test_who_is_away(void **state)
{
	static struct false_broker x;
	const uint64_t a = FALSE_EPOCH | 7, b = FALSE_EPOCH | 8;
	const struct item fin = { .kind = ITEM_FIN };
	const struct brood_handlers on = { .size = sizeof on, .any = writes_state };
	char order[64] = "";
	brood_peer *one;
	false_begin(&x, *state);
	x.fd = false_greets(x.b, x.listener, &x.f);
	assert_int_equal(brood_find(x.b, &one, "one", BROOD_FIND(.on = &on, .data = order)), 0);
	false_names(&x, a);
	false_says(&x, FRAME_HOLD, a);
	until(x.b, strcmp(order, "Ra") == 0);
	false_names(&x, b);
	until(x.b, strcmp(order, "RaDR") == 0);
	assert_int_equal(info_of(one).state, BROOD_IS_READY);
	false_says(&x, FRAME_GO, a);
	false_says(&x, FRAME_HOLD, a);
	false_says(&x, FRAME_HOLD, b);
	false_says(&x, FRAME_GO, b);
	until(x.b, strlen(order) == 6);
	assert_string_equal(order, "RaDRab");
	false_names(&x, a);
	until(x.b, strcmp(order, "RaDRabDRa") == 0);
	false_says(&x, FRAME_GO, a);
	until(x.b, strcmp(order, "RaDRabDRab") == 0);
	assert_int_equal(raw_send_item(x.fd, a, FALSE_EPOCH | 1, 1, &fin, ""), 0);
	until(x.b, strcmp(order, "RaDRabDRabD") == 0);
	false_says(&x, FRAME_HOLD, a);
	false_names(&x, b);
	until(x.b, strlen(order) > 11);
	assert_string_equal(order, "RaDRabDRabDR");
	false_end(&x);
}

static int answers_at_length(const brood_event *e)
{
	static const char long_text[40000];
	for (int i = 0; i < 3; i++)
		assert_int_equal(brood_send(e->msg->from, BROOD_MSG("long", long_text, sizeof long_text)), 0);
	return 0;
}

static int has_refused(const struct raw_frame *f)
{
	const uint8_t *at = f->head.body, *end = at + f->head.length;
	struct item it;
	while (item_next(&at, end, &it) == 1)
		if (it.kind == ITEM_REFUSED)
			return 1;
	return 0;
}

/* A refused message is acknowledged with the word that it was refused, not by what is sent before: whoever lost the
 * connection in between would take it for consumed. */
static void test_refused_is_said_first(void **state)
{
	static struct false_broker x;
	const struct brood_handlers on = { .size = sizeof on, .message = answers_at_length };
	const struct item plain = { .kind = ITEM_MESSAGE }, without_its_fd = { .kind = ITEM_MESSAGE, .fds = 1 };
	int refused = 0;
	false_begin(&x, *state);
	assert_int_equal(brood_on(brood_self(x.b), &on, NULL), 0);
	x.fd = false_greets(x.b, x.listener, &x.f);
	assert_int_equal(brood_sync(x.b, PATIENCE_MS), 0);
	assert_int_equal(raw_send_item(x.fd, FALSE_EPOCH | 7, FALSE_EPOCH | 1, 1, &plain, ""), 0);
	assert_int_equal(raw_send_item(x.fd, FALSE_EPOCH | 7, FALSE_EPOCH | 1, 2, &without_its_fd, ""), 0);
	for (int frames = 0; !refused; frames++) {
		false_hears(x.b, x.fd, FRAME_DATA, &x.f);
		refused = has_refused(&x.f);
		assert_int_equal(x.f.head.acknowledge, refused ? 2 : 1);
		assert_true(refused ? frames > 0 : frames < 3);
	}
	false_end(&x);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they map more than there is */
static rlim_t mapped(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	assert_true(f && fscanf(f, "%lu", &pages) == 1);
	fclose(f);
	return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* Each connection brings it again, so each waits longer than the one before. When there is memory it is there. */
static void test_no_memory_for_a_message(void **state)
{
	struct family f = { 0 };
	struct rlimit before, little;
	(void)state;
	family_begin(&f, KID("burst", "1", "30000000"));
	until(f.b, f.me.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	little = (struct rlimit){ mapped() + ((rlim_t)20 << 20), before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
	uint64_t end = now_ms() + 2000;
	until(f.b, f.me.n[BROOD_EVENT_AWAY] > 3);
	until_polled(f.b, now_ms() >= end);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_in_range(f.me.n[BROOD_EVENT_AWAY], 4, 16);
	until(f.b, f.d.n[BROOD_EVENT_MESSAGE] == 1);
	assert_int_equal(f.me.n[BROOD_EVENT_ERROR], 0);
	family_end(&f);
}

/* If there never is, both sides hear of it. */
static void test_never_memory_for_a_message(void **state)
{
	struct family f = { 0 };
	struct rlimit before, little;
	(void)state;
	assert_int_equal(
		brood_connect(&f.b, NULL, BROOD_OPTIONS(.on = diary_table, .data = &f.me, .reconnect_ms = 1000)), 0);
	family_start(&f, KID("burst", "1", "30000000"), .cwd = NULL);
	until(f.b, f.me.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	little = (struct rlimit){ mapped() + ((rlim_t)20 << 20), before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
	family_closes(&f);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_string_equal(f.d.order, "SR!DEC");
	assert_string_equal(f.d.error, "memory");
	assert_int_equal(f.me.n[BROOD_EVENT_ERROR], 0);
	family_end(&f);
}
#endif

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_ALL(test_killed_again_and_again),
		ON_ALL(test_said_while_away),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		ON_UNIX(test_no_memory_for_a_message),
		ON_UNIX(test_never_memory_for_a_message),
#endif
		ON_ALL(test_requests_survive),
		ON_UNIX(test_deadline_while_away),
		ON_ALL(test_exit_while_away),
		ON_UNIX(test_exit_without_broker),
		ON_ALL(test_flush_over_a_restart),
		ON_ALL(test_names_come_back),
		ON_UNIX(test_newcomers_wait),
		ON_ALL(test_joined_stay_joined),
		ON_UNIX(test_gives_up),
		ON_UNIX(test_does_not_want_to),
		ON_ALL(test_replaced),
		ON_UNIX(test_replaced_while_greeting),
		ON_UNIX(test_died_is_said_again),
		ON_UNIX(test_closed_on_the_way_back),
		ON_UNIX(test_closed_while_greeting),
		ON_UNIX(test_a_limit_on_the_way_back),
		ON_UNIX(test_asleep_while_greeting),
		ON_UNIX(test_asleep_on_the_way_back),
		ON_UNIX(test_patience_ends_asleep_or_not),
		ON_UNIX(test_patience_begins_anew),
		ON_UNIX(test_hello_came_too_late),
		ON_UNIX(test_nothing_is_missing_because_of_sleep),
		ON_UNIX(test_born_without_a_way),
		ON_UNIX(test_who_is_away),
		ON_UNIX(test_refused_is_said_first),
	};
	return RUN("resume", tests);
}
