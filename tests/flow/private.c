/*
 * private: the broker that nobody started: it comes when a program needs it, serves all programs of its user, and
 * leaves when it is idle. And what programs are told when there is none, or when it ends while they use it.
 *
 * A private broker is no child of its user's programs, but the test is a subreaper, so in the end it is the test's.
 */
#include "control.pb-c.h"
#include "flow.h"
#include "raw.h"
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAMS 20

/* ---- looking at it ----------------------------------------------------------------------------------------------- */

static const char *path_in(const char *directory, const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	return path;
}

static int has_socket(const struct fixture *x)
{
	return access(path_in(x->brood, "sock"), F_OK) == 0;
}

/* The beginning of a small file, or "". */
static const char *read_small(const char *path)
{
	static char text[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < n; i++) /* an environment */
		text[i] = text[i] ? text[i] : '\n';
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static pid_t lock_holder(const struct fixture *x)
{
	return (pid_t)atoi(read_small(path_in(x->brood, "lock")));
}

/* A living broodd that was told this test's directory. */
static int is_our_broker(const struct fixture *x, pid_t pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%ld/comm", (long)pid);
	if (process_is_dead(pid) || strcmp(read_small(path), "broodd\n") != 0)
		return 0;
	snprintf(path, sizeof path, "/proc/%ld/environ", (long)pid);
	return strstr(read_small(path), x->directory) != NULL;
}

static unsigned count_brokers(const struct fixture *x)
{
	unsigned n = 0;
	const struct dirent *e;
	DIR *proc = opendir("/proc");
	assert_non_null(proc);
	while ((e = readdir(proc)))
		n += isdigit((unsigned char)*e->d_name) && is_our_broker(x, (pid_t)atoi(e->d_name));
	closedir(proc);
	return n;
}

struct seen {
	pid_t pid;
	unsigned processes;
	int is_private;
};

/* What the broker says of itself. */
static struct seen see_broker(brood *b)
{
	brood_msg *m = ask_broker(b, "brood.control.GetStatus");
	Brood__Control__Status *s = brood__control__status__unpack(NULL, m->length, m->body);
	assert_non_null(s);
	struct seen seen = { (pid_t)s->pid, s->processes, s->private_ };
	brood__control__status__free_unpacked(s, NULL);
	brood_msg_release(m);
	return seen;
}

static void await_end(const struct fixture *x, pid_t broker)
{
	until_polled(NULL, process_is_dead(broker) && !has_socket(x));
}

/* ---- coming and leaving ------------------------------------------------------------------------------------------ */

/* Two generations, one after the other. */
static void test_comes_and_leaves(void **state)
{
	struct fixture *x = *state;
	pid_t last = 0;
	x->orphans = -1;
	for (int i = 0; i < 2; i++) {
		struct family f = { 0 };
		family_connect(&f);
		assert_int_equal(count_brokers(x), 0); /* nothing needs it so far */
		assert_int_equal(brood_spawn(f.b, &f.kid, KID("worker"), BROOD_SPAWN(.on = diary_table, .data = &f.d)),
				 0);
		assert_int_equal(ask_number(f.kid, "count"), 0);
		struct seen seen = see_broker(f.b);
		assert_true(seen.is_private);
		assert_int_equal(seen.processes, 2);
		assert_int_equal(seen.pid, lock_holder(x));
		assert_int_not_equal(seen.pid, last);
		for (uint64_t end = now_ms() + 300; now_ms() < end;) /* it is not idle as long as somebody is there */
			poll_once(f.b);
		assert_int_equal(see_broker(f.b).pid, seen.pid);
		last = seen.pid;
		family_end(&f);
		await_end(x, last);
		assert_int_equal(count_brokers(x), 0);
	}
}

/* Programs that start together find one broker, whoever of them started it. */
static void test_many_at_once(void **state)
{
	struct fixture *x = *state;
	struct family f = { 0 };
	pid_t pids[PROGRAMS];
	int outs[PROGRAMS];
	x->orphans = -1;
	for (int i = 0; i < PROGRAMS; i++) {
		char name[16];
		snprintf(name, sizeof name, "n%d", i);
		pids[i] = start_program(KID("server", name), &outs[i]);
	}
	for (int i = 0; i < PROGRAMS; i++) {
		long said;
		read_numbers(outs[i], &said, 1);
		assert_int_equal(said, pids[i]); /* else a negative errno */
		close(outs[i]);
	}
	family_connect(&f);
	struct seen seen = see_broker(f.b);
	assert_int_equal(seen.processes, PROGRAMS + 1);
	assert_int_equal(seen.pid, lock_holder(x));
	until_polled(f.b, count_brokers(x) == 1); /* those that came too late have left */
	for (int i = 0; i < PROGRAMS; i++) {
		kill(pids[i], SIGTERM);
		assert_int_equal(wait_program(pids[i]), SIGTERM);
	}
	family_end(&f);
	await_end(x, seen.pid);
}

/* Somebody always comes just when it leaves; nobody may be sent away. */
static void test_come_while_it_leaves(void **state)
{
	struct fixture *x = *state;
	pid_t last = 0;
	unsigned brokers = 0;
	x->orphans = -1;
	setenv("BROOD_IDLE_MS", "5", 1);
	for (int i = 0; i < 100; i++) {
		struct family f = { 0 };
		family_connect(&f);
		struct seen seen = see_broker(f.b);
		brokers += seen.pid != last;
		last = seen.pid;
		family_end(&f);
		for (int n = i % 10; n > 0; n--)
			nap();
	}
	assert_true(brokers > 1);
	await_end(x, last);
}

/* A program in the broker's place, that fails once. */
static void fails_once(const struct fixture *x, const char *broker)
{
	int fd = open(path_in(x->directory, "broodd"), O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	assert_true(dprintf(fd, "#!/bin/sh\ntest -e '%s/tried' && exec '%s' \"$@\"\n: >'%s/tried'\nexit 1\n",
			    x->directory, broker, x->directory) > 0);
	close(fd);
	setenv("BROOD_BROKER", path_in(x->directory, "broodd"), 1);
}

static int has_children(void)
{
	siginfo_t info;
	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void end_fails_once(const struct fixture *x, char *broker)
{
	assert_int_equal(unlink(path_in(x->directory, "tried")), 0);
	assert_int_equal(unlink(path_in(x->directory, "broodd")), 0);
	setenv("BROOD_BROKER", broker, 1);
	free(broker);
}

static void await_failure(const struct fixture *x, brood *b)
{
	until_polled(b, access(path_in(x->directory, "tried"), F_OK) == 0 && !has_children());
}

/* It could not start one, but another was coming, which left before it knew the program. Then it is tried once more. */
static void test_started_after_a_failure(void **state)
{
	struct fixture *x = *state;
	char *broker = strdup(getenv("BROOD_BROKER"));
	struct family f = { 0 };
	int fd = -1;
	x->orphans = -1;
	fails_once(x, broker);
	assert_int_equal(mkdir(x->brood, 0700), 0);
	int lock = open(path_in(x->brood, "lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(flock(lock, LOCK_EX), 0);
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "here"), 0);
	await_failure(x, f.b);
	for (uint64_t end = now_ms() + 100; now_ms() < end;) /* it waits for the other */
		poll_once(f.b);
	int listener = raw_listen(path_in(x->brood, "sock"));
	until_polled(f.b, (fd = raw_accept(listener, 0)) >= 0);
	assert_int_equal(unlink(path_in(x->brood, "sock")), 0);
	close(listener);
	close(lock);
	close(fd);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	pid_t pid = see_broker(f.b).pid;
	family_end(&f);
	await_end(x, pid);
	end_fails_once(x, broker);
}

/* There is another broker, and nothing else happens to us. */
static void ends_with_the_next(struct fixture *x, struct family *f)
{
	until(f->b, f->me.n[BROOD_EVENT_BACK] == 1);
	pid_t next = see_broker(f->b).pid;
	family_end(f);
	await_end(x, next);
}

/* Who lost one, and at first cannot start the next, tries again. */
static void test_back_after_a_failure(void **state)
{
	struct fixture *x = *state;
	char *broker = strdup(getenv("BROOD_BROKER"));
	struct family f = { 0 };
	x->orphans = -1;
	family_connect(&f);
	pid_t first = see_broker(f.b).pid;
	fails_once(x, broker);
	assert_int_equal(kill(first, SIGKILL), 0);
	until(f.b, f.me.n[BROOD_EVENT_AWAY] == 1);
	ends_with_the_next(x, &f);
	assert_int_equal(access(path_in(x->directory, "tried"), F_OK), 0);
	end_fails_once(x, broker);
}

/* The same where its program is missing for a while. */
static void test_back_when_it_is_installed(void **state)
{
	struct fixture *x = *state;
	char *broker = strdup(getenv("BROOD_BROKER"));
	struct family f = { 0 };
	x->orphans = -1;
	family_connect(&f);
	pid_t first = see_broker(f.b).pid;
	setenv("BROOD_BROKER", path_in(x->directory, "missing"), 1);
	assert_int_equal(kill(first, SIGKILL), 0);
	until(f.b, f.me.n[BROOD_EVENT_AWAY] == 1);
	for (uint64_t end = now_ms() + 100; now_ms() < end;)
		poll_once(f.b);
	setenv("BROOD_BROKER", broker, 1);
	free(broker);
	ends_with_the_next(x, &f);
}

/* ---- none -------------------------------------------------------------------------------------------------------- */

/* The connection fails with this error, which a child that should start is told too, before that and later. */
static void expect_failure(const char *address, unsigned flags, const char *error, struct family *f)
{
	assert_int_equal(
		brood_connect(&f->b, address, BROOD_OPTIONS(.on = diary_table, .data = &f->me, .flags = flags)), 0);
	assert_int_equal(brood_spawn(f->b, &f->kid, KID("worker"), BROOD_SPAWN(.on = diary_table, .data = &f->d)), 0);
	int rc = brood_run(f->b);
	assert_true(rc < 0);
	assert_int_equal(f->me.code, rc);
	assert_string_equal(f->me.order, "!");
	assert_string_equal(f->me.error, error);
	assert_string_equal(f->d.order, "!C");
	assert_string_equal(info_of(f->kid).exit->stage, "broker");
	struct diary late = { 0 };
	brood_peer *kid;
	assert_int_equal(brood_spawn(f->b, &kid, KID("worker"), BROOD_SPAWN(.on = diary_table, .data = &late)), 0);
	assert_int_equal(brood_wait(kid, PATIENCE_MS), 0);
	assert_string_equal(late.order, "!C");
	assert_string_equal(late.text, f->d.text);
	family_end(f);
}

static void test_no_autostart(void **state)
{
	const struct fixture *x = *state;
	struct family f = { 0 };
	expect_failure(NULL, BROOD_NO_AUTOSTART, "broker.absent", &f);
	assert_true(strlen(f.me.text) > 0);
	assert_int_equal(access(x->brood, F_OK), -1);
	assert_int_equal(count_brokers(x), 0);
}

/* An address that was given, and where nobody is, starts nothing either. */
static void test_nobody_at_the_address(void **state)
{
	const struct fixture *x = *state;
	struct family f = { 0 }, g = { 0 };
	expect_failure(x->address, 0, "broker.absent", &f);
	setenv("BROOD_ADDRESS", x->address, 1);
	expect_failure(NULL, 0, "broker.absent", &g);
	assert_non_null(strstr(g.me.text, x->address));
	assert_int_equal(count_brokers(x), 0);
}

static int never_called(const brood_event *e)
{
	fail_msg("event %d", e->type);
	return 0;
}

/* The program does not ask for errors: brood_run() ends all the same. (A wait without end is killed by the alarm.) */
static void test_nobody_listens_to_errors(void **state)
{
	const struct fixture *x = *state;
	brood *b;
	assert_int_equal(
		brood_connect(&b, x->address, BROOD_OPTIONS(.name = "deaf", .on = BROOD_ON(.message = never_called))),
		0);
	alarm(PATIENCE_MS / 1000);
	assert_int_equal(brood_run(b), -ENOENT);
	alarm(0);
	brood_close(b);
}

static void test_bad_address(void **state)
{
	static const char *const bad[] = { "nonsense", "unix:", "unix:not/absolute", "tcp://",
					   "tcp://127.0.0.1:99999" };
	const struct fixture *x = *state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct family f = { 0 };
		expect_failure(bad[i], 0, "address.invalid", &f);
		assert_int_equal(f.me.code, -EINVAL);
	}
	struct family f = { 0 };
	setenv("BROOD_ADDRESS", bad[0], 1);
	expect_failure(NULL, 0, "address.invalid", &f);
	assert_int_equal(count_brokers(x), 0);
}

/* Programs start this one, until it is put back. */
static char *change_broker(const char *program)
{
	char *before = strdup(getenv("BROOD_BROKER"));
	assert_non_null(before);
	setenv("BROOD_BROKER", program, 1);
	return before;
}

static void put_back_broker(char *before)
{
	setenv("BROOD_BROKER", before, 1);
	free(before);
}

/* Who cannot have one is told that it was tried, and how to find out why it failed; at once, as nobody else will come. */
static void test_broker_cannot_start(void **state)
{
	const struct fixture *x = *state;
	struct family f = { 0 };
	char *broker = change_broker("/bin/false");
	uint64_t begin = now_ms();
	expect_failure(NULL, 0, "broker.absent", &f);
	assert_in_range(now_ms() - begin, 0, BUSY_MS);
	put_back_broker(broker);
	assert_non_null(strstr(f.me.text, "broodd --private"));
	assert_non_null(strstr(f.me.text, x->address));
}

/* The same where its directory is open to others, who put in what blocks who opens it. */
static void test_directory_is_not_ours_alone(void **state)
{
	struct fixture *x = *state;
	struct family f = { 0 };
	x->orphans = -1;
	assert_int_equal(mkdir(x->brood, 0700), 0);
	assert_int_equal(chmod(x->brood, 0755), 0);
	assert_int_equal(mkfifo(path_in(x->brood, "lock"), 0666), 0);
	uint64_t begin = now_ms();
	alarm(PATIENCE_MS / 1000);
	expect_failure(NULL, 0, "broker.absent", &f);
	alarm(0);
	assert_in_range(now_ms() - begin, 0, BUSY_MS);
	assert_int_equal(unlink(path_in(x->brood, "lock")), 0);
}

/* What is to be started is named, where it cannot be. */
static void test_broker_is_missing(void **state)
{
	struct family f = { 0 };
	char *broker = change_broker("/no/such/broodd");
	(void)state;
	expect_failure(NULL, 0, "broker.absent", &f);
	put_back_broker(broker);
	assert_non_null(strstr(f.me.text, "/no/such/broodd"));
	assert_int_equal(f.me.code, -ENOENT);
}

/* What is started hangs, as on a disk that does not answer. brood_close() does not wait for that. */
static void test_broker_hangs(void **state)
{
	const struct fixture *x = *state;
	brood *b;
	int fd = open(path_in(x->directory, "broodd"), O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	assert_true(dprintf(fd, "#!/bin/sh\nexec sleep 30\n") > 0);
	close(fd);
	char *broker = change_broker(path_in(x->directory, "broodd"));
	assert_int_equal(brood_connect(&b, NULL, BROOD_OPTIONS(.flush_ms = 1)), 0);
	assert_int_equal(brood_register(b, "here"), 0);
	assert_int_equal(brood_sync(b, 10), -ETIMEDOUT);
	uint64_t begin = now_ms();
	(void)brood_close(b);
	assert_in_range(now_ms() - begin, 0, 1000 + BUSY_MS);
	assert_false(has_children());
	put_back_broker(broker);
	assert_int_equal(unlink(path_in(x->directory, "broodd")), 0);
}

static void test_no_room_for_an_address(void **state)
{
	struct family f = { 0 };
	char directory[200] = "/";
	(void)state;
	memset(directory + 1, 'x', sizeof directory - 2);
	directory[sizeof directory - 1] = '\0';
	setenv("XDG_RUNTIME_DIR", directory, 1);
	expect_failure(NULL, 0, "address.invalid", &f);
	assert_non_null(strstr(f.me.text, "XDG_RUNTIME_DIR"));
}

/* brood_sync() says what it waits for. */
static void test_sync_without_an_answer(void **state)
{
	const struct fixture *x = *state;
	struct family f = { 0 };
	assert_int_equal(mkdir(x->brood, 0700), 0);
	int listener = raw_listen(path_in(x->brood, "sock"));
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "name"), 0);
	assert_int_equal(brood_sync(f.b, 10), -ETIMEDOUT);
	assert_non_null(strstr(brood_last_error(f.b)->text, x->address));
	family_end(&f);
	close(listener);
	assert_int_equal(unlink(path_in(x->brood, "sock")), 0);
}

/* Something listens and says nothing. Whoever holds the lock is named, so that people know what to look at. */
static void test_nobody_answers(void **state)
{
	const struct fixture *x = *state;
	struct family f = { 0 };
	char pid[32];
	assert_int_equal(mkdir(x->brood, 0700), 0);
	int lock = open(path_in(x->brood, "lock"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(dprintf(lock, "%ld\n", (long)getpid()) > 0);
	close(lock);
	int listener = raw_listen(path_in(x->brood, "sock"));
	assert_true(listener >= 0);
	uint64_t begin = now_ms();
	expect_failure(NULL, 0, "broker.absent", &f);
	assert_in_range(now_ms() - begin, 4000, 20000);
	snprintf(pid, sizeof pid, "pid %ld", (long)getpid());
	assert_non_null(strstr(f.me.text, pid));
	assert_non_null(strstr(f.me.text, x->address));
	assert_int_equal(count_brokers(x), 0);
	close(listener);
	assert_int_equal(unlink(path_in(x->brood, "sock")), 0);
}

/* ---- its end under load ------------------------------------------------------------------------------------------ */

/* A child that writes down how many messages it got, all in order; 0 if one was missing or came twice. */
struct recorder {
	struct family f;
	const char *directory;
	char name[16];
	uint64_t accepted, reported;
	int refused;
};

/* ERROR "undelivered" begins with how many. */
static int add_reported(const brood_event *e)
{
	const struct diary *d = e->data;
	struct recorder *r = d->data;
	if (e->type == BROOD_EVENT_ERROR && strcmp(e->error->name, "undelivered") == 0)
		r->reported += strtoull(e->error->text, NULL, 10);
	return 0;
}

/* In the family's handle, which is connected. */
static void recorder_begin(struct recorder *r, const struct fixture *x, int number)
{
	r->directory = x->directory;
	snprintf(r->name, sizeof r->name, "count%d", number);
	r->f.d.also = add_reported;
	r->f.d.data = r;
	assert_int_equal(brood_spawn(r->f.b, &r->f.kid, KID("record", path_in(r->directory, r->name)),
				     BROOD_SPAWN(.on = diary_table, .data = &r->f.d)),
			 0);
}

static void send_some(struct recorder *r, int n)
{
	while (n-- > 0 && r->refused == 0) {
		int rc = numbered_send(r->f.kid, r->accepted, 200, 0);
		r->accepted += rc == 0;
		r->refused = rc == -EAGAIN ? 0 : rc;
		if (rc < 0)
			return;
	}
}

static uint64_t recorder_end(const struct recorder *r)
{
	uint64_t delivered = strtoull(read_small(path_in(r->directory, r->name)), NULL, 10);
	assert_int_equal(unlink(path_in(r->directory, r->name)), 0);
	return delivered;
}

static void expect_told(const struct diary *d)
{
	assert_int_equal(d->n[BROOD_EVENT_DISCONNECT], 1);
	assert_int_equal(d->n[BROOD_EVENT_EXIT], 1);
	assert_int_equal(d->exit.cause, BROOD_EXITED);
	assert_int_equal(d->n[BROOD_EVENT_CLOSE], 1);
}

#define MESSAGES 3000 /* the recorder writes to a file for each */
#define REQUESTS 100

/* A private broker that is killed is started again by those who use it, and nothing is lost. */
static void test_killed(void **state)
{
	struct fixture *x = *state;
	struct recorder r = { 0 };
	struct diary keeper = { 0 }, answers = { 0 };
	brood_peer *kid;
	x->orphans = -1;
	family_connect(&r.f);
	recorder_begin(&r, x, 0);
	assert_int_equal(brood_spawn(r.f.b, &kid, KID("worker"), BROOD_SPAWN(.on = diary_table, .data = &keeper)), 0);
	until(r.f.b, r.f.d.n[BROOD_EVENT_READY] == 1 && keeper.n[BROOD_EVENT_READY] == 1);
	pid_t broker = see_broker(r.f.b).pid;
	for (int i = 0; i < REQUESTS; i++) /* half of them are there and kept, the others are under way */
		assert_true(brood_request(kid, BROOD_MSG("keep", NULL, 0), -1, diary_write, &answers) > 0);
	assert_int_equal(ask_number(kid, "open"), REQUESTS);
	for (int i = 0; i < REQUESTS; i++)
		assert_true(brood_request(kid, BROOD_MSG("keep", NULL, 0), -1, diary_write, &answers) > 0);
	send_some(&r, MESSAGES);
	assert_int_equal(r.accepted, MESSAGES);
	until(r.f.b, info_of(r.f.kid).queued < MESSAGES);
	assert_int_equal(kill(broker, SIGKILL), 0);
	until(r.f.b, r.f.me.n[BROOD_EVENT_AWAY] == 1);
	until(r.f.b, r.f.me.n[BROOD_EVENT_BACK] == 1);
	pid_t next = see_broker(r.f.b).pid;
	assert_int_not_equal(next, broker);
	assert_int_equal(ask_number(kid, "open"), 2 * REQUESTS);
	assert_int_equal(answers.n[BROOD_EVENT_REPLY], 0);
	say(kid, "flush", "");
	until(r.f.b, answers.n[BROOD_EVENT_REPLY] == 2 * REQUESTS);
	assert_int_equal(answers.code, 0);
	assert_int_equal(brood_sync(r.f.b, PATIENCE_MS), 0);
	assert_int_equal(brood_disconnect(r.f.kid), 0);
	until(r.f.b, r.f.d.n[BROOD_EVENT_CLOSE] == 1);
	uint64_t delivered = recorder_end(&r);
	assert_int_equal(delivered, MESSAGES);
	assert_int_equal(r.reported, 0);
	family_end(&r.f);
	await_end(x, next);
}

#define SENDERS 4
#define WINDOW (128u * 1024u) /* what is under way must arrive within the broker's 5 s, on slow machines too */

static int has_left(struct fixture *x, int *status)
{
	if (x->broker && waitpid(x->broker, status, WNOHANG) == x->broker)
		x->broker = 0;
	return !x->broker;
}

/* All senders send as much as fits, and work, until the broker has left or this moment has come. */
static void send_until(struct recorder *all, uint64_t end, struct fixture *x, int *status)
{
	while (!has_left(x, status) && now_ms() < end) {
		for (int i = 0; i < SENDERS; i++) {
			send_some(&all[i], 100);
			assert_true(brood_process(all[i].f.b, 0) >= 0);
		}
	}
}

/* Asked to stop, it lets everybody finish: what was accepted is either delivered or reported, never both. */
static void test_terminated_under_load(void **state)
{
	struct fixture *x = *state;
	struct recorder all[SENDERS] = { 0 };
	int status = -1;
	for (int i = 0; i < SENDERS; i++) {
		struct family *f = &all[i].f;
		assert_int_equal(
			brood_connect(&f->b, NULL,
				      BROOD_OPTIONS(.on = diary_table, .data = &f->me, .window_bytes = WINDOW)),
			0);
		recorder_begin(&all[i], x, i);
		until(all[i].f.b, all[i].f.d.n[BROOD_EVENT_READY] == 1);
	}
	send_until(all, now_ms() + 300, x, &status);
	assert_int_not_equal(x->broker, 0);
	uint64_t begin = now_ms();
	assert_int_equal(kill(x->broker, SIGTERM), 0);
	send_until(all, begin + PATIENCE_MS, x, &status);
	assert_in_range(now_ms() - begin, 0, 5000 + BUSY_MS);
	assert_int_equal(status, 0);
	for (int i = 0; i < SENDERS; i++) {
		assert_true(brood_run(all[i].f.b) < 0);
		assert_true(all[i].refused < 0);
		expect_told(&all[i].f.d);
		uint64_t delivered = recorder_end(&all[i]);
		assert_true(all[i].accepted > 100);
		assert_true(delivered > 0);
		assert_int_equal(delivered + all[i].reported, all[i].accepted);
		family_end(&all[i].f);
	}
}

#define ALONE(test)                                                                                                    \
	{                                                                                                              \
#test, test, fixture_setup_empty, fixture_teardown, NULL                                               \
	}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ALONE(test_comes_and_leaves),
		ALONE(test_many_at_once),
		ALONE(test_come_while_it_leaves),
		ALONE(test_started_after_a_failure),
		ALONE(test_back_after_a_failure),
		ALONE(test_back_when_it_is_installed),
		ALONE(test_no_autostart),
		ALONE(test_nobody_at_the_address),
		ALONE(test_nobody_listens_to_errors),
		ALONE(test_bad_address),
		ALONE(test_broker_cannot_start),
		ALONE(test_directory_is_not_ours_alone),
		ALONE(test_broker_is_missing),
		ALONE(test_broker_hangs),
		ALONE(test_no_room_for_an_address),
		ALONE(test_sync_without_an_answer),
		ALONE(test_nobody_answers),
		ALONE(test_killed),
		ON_UNIX(test_terminated_under_load),
	};
	return RUN("private", tests);
}
