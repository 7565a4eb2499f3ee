/*
 * abroad: what children on another host have that others have not: what cannot go there, who may, what is carried between
 * the hosts, their nursery's death, the lease. All else is proved by the tests that other children have, run through a
 * nursery: ON_NURSERY. The other host is this one; what is between them is the broker.
 */
#include "flow.h"
#include "pattern.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANY "[program \"*\"]\nfree-args = yes\nfree-cwd = yes\nenv = *\n"
#define OUT BROOD_STDIO(BROOD_PIPE(1))
#define MIB ((size_t)1 << 20)

static int worker_begin(struct family *f, unsigned lease_ms, int policy)
{
	family_connect(f);
	family_start(f, KID("worker"), .lease_ms = lease_ms, .on_unreachable = policy);
	until(f->b, f->d.n[BROOD_EVENT_READY] == 1);
	return info_of(f->kid).pid;
}

/* Children that the nursery has, zombies included. */
static unsigned nursery_children(void)
{
	char path[64], line[4096] = "";
	unsigned n = 0;
	snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)flow_nursery, (long)flow_nursery);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_true(read(fd, line, sizeof line - 1) >= 0);
	close(fd);
	for (const char *at = line; *at; at++)
		n += *at == ' ';
	return n;
}

/* A nursery with this configuration instead of the one that starts any program. */
static void configured(void **state, const char *configuration)
{
	assert_int_equal(nursery_stop(SIGTERM), 0);
	nursery_start(*state, configuration);
}

/* ---- what cannot go there ---------------------------------------------------------------------------------------- */

static void stays_here(brood *b, const char *what, int code, const struct brood_spawn_options *o)
{
	assert_int_equal(brood_spawn(b, NULL, BROOD_ARGV("true"), o), code);
	if (!strstr(brood_last_error(b)->text, what))
		fail_msg("\"%s\" does not say \"%s\"", brood_last_error(b)->text, what);
	assert_string_equal(brood_last_error(b)->name, code == -EXDEV ? "spawn.abroad" : "argument");
	assert_true(*brood_last_error(b)->hint);
}

static void test_refused_at_once(void **state)
{
	const struct brood_ids ids = { 1, 1, NULL, 0 };
	struct family f = { 0 };
	struct brood_result *r;
	brood_peer *held;
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_spawn(f.b, &held, PLAIN("wait"),
				     BROOD_SPAWN_TO(NULL, .flags = BROOD_PLAIN, .stdio = BROOD_STDIO(BROOD_HELD(1)))),
			 0);
	stays_here(f.b, "stdio", -EXDEV, BROOD_SPAWN(.stdio = BROOD_STDIO(BROOD_MINE(0))));
	stays_here(f.b, "stdio", -EXDEV, BROOD_SPAWN(.stdio = BROOD_STDIO(BROOD_MINE(3))));
	stays_here(f.b, "stdio", -EXDEV, BROOD_SPAWN(.stdio = BROOD_STDIO(BROOD_FD(1, 2))));
	stays_here(f.b, "stdio", -EXDEV, BROOD_SPAWN(.stdio = BROOD_STDIO(BROOD_TTY(1))));
	stays_here(f.b, "stdio", -EXDEV, BROOD_SPAWN(.stdio = BROOD_STDIO(BROOD_HELD(1))));
	stays_here(f.b, "stdio", -EXDEV, BROOD_SPAWN(.stdio = BROOD_STDIO(BROOD_FROM(0, held, 1))));
	stays_here(f.b, "12", -EXDEV,
		   BROOD_SPAWN(.stdio = BROOD_STDIO(BROOD_PIPE(0), BROOD_PIPE(1), BROOD_PIPE(2), BROOD_PIPE(3),
						    BROOD_PIPE(4), BROOD_PIPE(5), BROOD_PIPE(6), BROOD_PIPE(7),
						    BROOD_PIPE(8), BROOD_PIPE(9), BROOD_PIPE(10), BROOD_PIPE(11),
						    BROOD_PIPE(12))));
	stays_here(f.b, "ids", -EXDEV, BROOD_SPAWN(.ids = &ids));
	stays_here(f.b, "host", -EINVAL, BROOD_SPAWN_TO("", .cwd = NULL));
	stays_here(f.b, "host", -EINVAL, BROOD_SPAWN_TO("/x", .cwd = NULL));
	stays_here(f.b, "host", -EINVAL, BROOD_SPAWN_TO("beta/", .cwd = NULL));
	stays_here(f.b, "host", -EINVAL, BROOD_SPAWN_TO("be ta", .cwd = NULL));
	stays_here(f.b, "policy", -EINVAL, BROOD_SPAWN(.on_unreachable = 7));
	stays_here(f.b, "without host", -EINVAL, BROOD_SPAWN_TO(NULL, .lease_ms = 1));
	assert_int_equal(brood_exec_sync(NULL, &r, BROOD_ARGV("true"), BROOD_SPAWN(.cwd = NULL)), -EINVAL);
	family_end(&f);
	assert_string_equal(f.me.order, "");
}

/* ---- who may ----------------------------------------------------------------------------------------------------- */

#define refused(name_, what, argv, ...)                                                                                \
	do {                                                                                                           \
		struct family f_ = { 0 };                                                                              \
		plain_begin(&f_, argv, __VA_ARGS__);                                                                   \
		family_closes(&f_);                                                                                    \
		assert_string_equal(f_.d.error, name_);                                                                \
		if (!strstr(f_.d.text, what))                                                                          \
			fail_msg("\"%s\" does not say \"%s\"", f_.d.text, what);                                       \
		assert_string_equal(f_.d.order, "!C");                                                                 \
		assert_int_equal(info_of(f_.kid).exit->cause, BROOD_START_FAILED);                                     \
		family_end(&f_);                                                                                       \
	} while (0)

#define wrote(expected, argv, ...)                                                                                     \
	do {                                                                                                           \
		struct family f_ = { 0 };                                                                              \
		plain_begin(&f_, argv, .stdio = OUT, __VA_ARGS__);                                                     \
		family_closes(&f_);                                                                                    \
		assert_string_equal(f_.d.text, "");                                                                    \
		assert_string_equal(f_.d.output[1].text, expected);                                                    \
		family_end(&f_);                                                                                       \
	} while (0)

static void test_nothing_is_allowed(void **state)
{
	configured(state, "[nursery]\nmax = 5\n");
	refused("spawn.unknown", "true", BROOD_ARGV("true"), .cwd = NULL);
}

static void test_programs(void **state)
{
	static const char *const one[] = { "COLOUR=red", NULL }, *const other[] = { "LD_PRELOAD=x", NULL };
	configured(state,
		   "[program \"hello\"]\npath = /bin/echo\nargs = hello fixed\n"
		   "[program \"say\"]\npath = /bin/echo\nargs = hello\nfree-args = yes\n"
		   "[program \"/bin/pwd\"]\ncwd = /usr\n"
		   "[program \"colour\"]\npath = /bin/sh\nfree-args = yes\nenv = COLOUR SHAPE\nlimits = nofile=77\n"
		   "[program \"theirs\"]\npath = /bin/echo\nfor = nobody-at-all *@elsewhere nobody-at-all@elsewhere\n"
		   "[program \"everybody's\"]\npath = /bin/echo\nargs = yes\nfor = *\n");
	wrote("hello fixed\n", BROOD_ARGV("hello"), .cwd = NULL);
	wrote("hello you\n", BROOD_ARGV("say", "you"), .cwd = NULL);
	wrote("/usr\n", BROOD_ARGV("/bin/pwd"), .cwd = NULL);
	wrote("/usr\n", BROOD_ARGV("called so"), .file = "/bin/pwd");
	wrote("red 77\n", BROOD_ARGV("colour", "-c", "echo $COLOUR $(ulimit -n)"), .env_add = one);
	wrote("70\n", BROOD_ARGV("colour", "-c", "ulimit -n"), .limits = BROOD_LIMITS({ RLIMIT_NOFILE, 70 }));
	wrote("77\n", BROOD_ARGV("colour", "-c", "ulimit -n"), .limits = BROOD_LIMITS({ RLIMIT_NOFILE, 80 }));
	wrote("yes\n", BROOD_ARGV("everybody's"), .cwd = NULL);
	refused("spawn.denied", "free-args", BROOD_ARGV("hello", "you"), .cwd = NULL);
	refused("spawn.denied", "free-cwd", BROOD_ARGV("hello"), .cwd = "/usr");
	refused("spawn.denied", "LD_PRELOAD", BROOD_ARGV("colour"), .env_add = other);
	refused("spawn.denied", "replaced", BROOD_ARGV("colour"), .env = one);
	refused("spawn.denied", "may not start theirs", BROOD_ARGV("theirs"), .cwd = NULL);
	refused("spawn.unknown", "/bin/echo", BROOD_ARGV("/bin/echo"), .cwd = NULL);
	refused("spawn.unknown", "*", BROOD_ARGV("*"), .cwd = NULL);
}

static void test_how_many(void **state)
{
	struct family f = { 0 }, g = { 0 };
	configured(state, "[nursery]\nmax = 2\n[program \"one\"]\npath = /bin/cat\nmax = 1\n[program \"/bin/cat\"]\n"
			  "[program \"/bin/echo\"]\n");
	plain_begin(&f, BROOD_ARGV("one"), .stdio = BROOD_STDIO(BROOD_PIPE(0)));
	until(f.b, f.d.n[BROOD_EVENT_SPAWN] == 1);
	refused("spawn.limit", "one runs 1 time already", BROOD_ARGV("one"), .cwd = NULL);
	plain_begin(&g, BROOD_ARGV("/bin/cat"), .stdio = BROOD_STDIO(BROOD_PIPE(0)));
	until(g.b, g.d.n[BROOD_EVENT_SPAWN] == 1);
	refused("spawn.limit", "2 programs run already", BROOD_ARGV("/bin/echo"), .cwd = NULL);
	assert_int_equal(brood_end(f.kid, 0), 0);
	family_closes(&f);
	family_end(&f);
	assert_int_equal(brood_end(g.kid, 0), 0);
	family_closes(&g);
	family_end(&g);
	wrote("\n", BROOD_ARGV("/bin/echo"), .cwd = NULL);
}

/* The environment is the nursery's, and what is added. */
static void test_environment(void **state)
{
	(void)state;
	setenv("BROOD_TEST_MINE", "here", 1);
	wrote("-[1]", PLAIN("env", "BROOD_TEST_MINE", "A"), .env_add = ((const char *const[]){ "A=1", NULL }));
	wrote("A=2\n", BROOD_ARGV("/usr/bin/env"), .env = ((const char *const[]){ "A=2", "B=1", NULL }),
	      .env_add = ((const char *const[]){ "B", NULL }));
	wrote("-[/]", PLAIN("env", "HOME", "PWD"), .env_add = ((const char *const[]){ "HOME", "PWD=/", NULL }));
	unsetenv("BROOD_TEST_MINE");
}

/* What several entries of one name come to is the same here and there: for the environment, and for limits. */
static void test_entries_of_one_name(void **state)
{
	const char *const there = flow_host, *const places[] = { NULL, there };
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		flow_host = places[i];
		wrote("A=1\nC=3\nA=4\nB=5\nD=6\nD=7\n", BROOD_ARGV("/usr/bin/env"),
		      .env = ((const char *const[]){ "A=1", "B=2", "C=3", "A=4", NULL }),
		      .env_add = ((const char *const[]){ "B=5", "D=6", "D", "D=7", NULL }));
		wrote("40\n", BROOD_ARGV("/bin/sh", "-c", "ulimit -n"),
		      .limits = BROOD_LIMITS({ RLIMIT_NOFILE, 50 }, { RLIMIT_NOFILE, 40 }));
	}
	flow_host = there;
}

/* More than any message holds is more than any program takes. */
static void test_too_many_arguments(void **state)
{
	static char long_one[MIB];
	const char *argv[67] = { "true" };
	(void)state;
	memset(long_one, 'x', sizeof long_one - 1);
	for (size_t i = 1; i < 66; i++)
		argv[i] = long_one;
	refused("spawn.exec", "Argument list too long", argv, .cwd = NULL);
}

static void test_no_such_host(void **state)
{
	char name[96];
	snprintf(name, sizeof name, "%s/other", flow_host);
	const char *here = flow_host;
	flow_host = "elsewhere";
	refused("host.unknown", "elsewhere", BROOD_ARGV("true"), .cwd = NULL);
	flow_host = name;
	refused("nursery.missing", "other", BROOD_ARGV("true"), .cwd = NULL);
	flow_host = here;
	assert_int_equal(nursery_stop(SIGTERM), 0);
	refused("nursery.missing", "no nursery", BROOD_ARGV("true"), .cwd = NULL);
	struct family f = { 0 }; /* the same from an execution */
	family_connect(&f);
	assert_int_equal(brood_exec_file(f.b, NULL, BROOD_ARGV("true"), BROOD_SPAWN(.cwd = NULL), diary_write, &f.d),
			 0);
	until(f.b, f.d.n[BROOD_EVENT_RESULT] == 1);
	assert_string_equal(f.d.error, "nursery.missing");
	family_end(&f);
	nursery_start(*state, ANY); /* it is found when it comes */
	wrote("x\n", BROOD_ARGV("echo", "x"), .cwd = NULL);
}

static void test_private_broker(void **state)
{
	((struct fixture *)*state)->orphans = 1; /* the broker itself, when it is idle */
	flow_host = "elsewhere.example";
	refused("host.private", "private", BROOD_ARGV("true"), .cwd = NULL);
	flow_host = NULL;
}

/* It does not answer in time: what was given up is not started later. */
static void test_too_late(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	kill(flow_nursery, SIGSTOP);
	until_polled(NULL, process_state(flow_nursery) == 'T');
	plain_begin(&f, PLAIN("wait"), .lease_ms = 100);
	family_closes(&f);
	assert_string_equal(f.d.error, "host.unreachable");
	assert_int_equal(f.d.code, -EHOSTUNREACH);
	plain_begin(&g, BROOD_ARGV("cat"), .stdio = BROOD_STDIO(BROOD_PIPE(0)));
	kill(flow_nursery, SIGCONT);
	until(g.b, g.d.n[BROOD_EVENT_SPAWN] == 1);
	assert_int_equal(nursery_children(), 1);
	assert_int_equal(brood_end(g.kid, 0), 0);
	family_closes(&g);
	family_end(&g);
	family_end(&f);
	until_polled(NULL, nursery_children() == 0);
}

/* Who does not know the number of a start is not its keeper. */
static void test_somebody_else(void **state)
{
	struct family f = { 0 };
	struct diary answer = { 0 };
	const unsigned char body[9] = { 0x09, 1, 2, 3, 4, 5, 6, 7, 8 };
	brood *other;
	brood_peer *victim;
	(void)state;
	kill(flow_nursery, SIGSTOP);
	until_polled(NULL, process_state(flow_nursery) == 'T');
	plain_begin(&f, BROOD_ARGV("sh", "-c", "exit 6"), .cwd = NULL);
	assert_int_equal(brood_sync(f.b, 100), -ETIMEDOUT);
	assert_int_equal(brood_connect(&other, NULL, NULL), 0);
	assert_int_equal(brood_find(other, &victim, info_of(brood_self(f.b)).address, NULL), 0);
	assert_true(brood_request(victim, BROOD_MSG("brood.nursery.Starting", body, sizeof body), -1, diary_write,
				  &answer) > 0);
	until_by(answer.n[BROOD_EVENT_REPLY] == 1, {
		assert_true(brood_process(f.b, 1) >= 0);
		assert_true(brood_process(other, 1) >= 0);
	});
	assert_int_equal(answer.code, -ECANCELED);
	brood_close(other);
	kill(flow_nursery, SIGCONT);
	family_closes(&f);
	assert_int_equal(f.d.exit.code, 6);
	family_end(&f);
}

/* Killed before it started: told at once, and nothing runs. */
static void test_cancelled(void **state)
{
	(void)state;
	for (int i = 0; i < 40; i++) {
		struct family f = { 0 };
		plain_begin(&f, PLAIN("wait"), .cwd = NULL);
		for (int turns = 0; turns < i / 4 && f.d.n[BROOD_EVENT_SPAWN] == 0; turns++)
			assert_true(brood_process(f.b, 1) >= 0);
		assert_int_equal(brood_kill(f.kid, SIGKILL, 0), 0);
		family_closes(&f);
		if (f.d.n[BROOD_EVENT_SPAWN])
			assert_string_equal(f.d.order, "SDEC");
		else
			assert_string_equal(f.d.error, "spawn.cancelled");
		family_end(&f);
	}
	until_polled(NULL, nursery_children() == 0);
}

/* Others that are just being started there do not notice. */
static void test_cancelled_among_others(void **state)
{
	struct family f = { 0 };
	struct diary others[10] = { 0 };
	(void)state;
	family_connect(&f);
	for (int i = 0; i < 10; i++) {
		brood_peer *cancelled;
		assert_int_equal(brood_spawn(f.b, &cancelled, PLAIN("wait"), BROOD_SPAWN(.flags = BROOD_PLAIN)), 0);
		assert_int_equal(brood_spawn(f.b, NULL, BROOD_ARGV("true"),
					     BROOD_SPAWN(.on = diary_table, .data = &others[i], .flags = BROOD_PLAIN)),
				 0);
		for (int turns = 0; turns < i / 2; turns++)
			assert_true(brood_process(f.b, 1) >= 0);
		assert_int_equal(brood_kill(cancelled, SIGKILL, 0), 0);
		brood_release(cancelled);
	}
	for (int i = 0; i < 10; i++) {
		until(f.b, others[i].n[BROOD_EVENT_CLOSE] == 1);
		assert_string_equal(others[i].order, "SDEC");
	}
	family_end(&f);
	until_polled(NULL, nursery_children() == 0);
}

/* ---- what is known of it ----------------------------------------------------------------------------------------- */

static void test_info(void **state)
{
	struct family f = { 0 };
	brood_peer *named;
	struct diary d = { 0 };
	char name[96];
	(void)state;
	snprintf(name, sizeof name, "%s/nursery", flow_host);
	family_connect(&f);
	assert_int_equal(brood_spawn(f.b, &f.kid, KID("worker"),
				     BROOD_SPAWN_TO(name, .name = "far", .on = diary_table, .data = &f.d)),
			 0);
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	struct brood_peer_info i = info_of(f.kid);
	assert_string_equal(i.node, flow_host);
	assert_string_equal(i.name, "far");
	assert_int_equal(process_state(i.pid) != 0, 1);
	assert_int_equal(nursery_children(), 1);
	snprintf(name, sizeof name, "%s/far", flow_host); /* found by the name that its node gives it */
	assert_int_equal(brood_find(f.b, &named, name, BROOD_FIND(.on = diary_table, .data = &d)), 0);
	until(f.b, d.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(ask_number(named, "count"), 0);
	assert_int_equal(brood_kill(f.kid, 0, 0), 0);
	family_closes(&f);
	assert_int_equal(f.d.exit.signo, SIGTERM);
	assert_true(f.d.exit.max_rss_kib > 0);
	family_end(&f);
}

/* ---- what is carried --------------------------------------------------------------------------------------------- */

/* Mine is where 1 and 2 of this process are: a pipe that is read slowly, and a file. Nothing is lost. */
static void test_mine(void **state)
{
	struct family f = { 0 }, g = { 0 };
	uint8_t bytes[4096];
	uint64_t n = 0, sum = 0;
	int ends[2], keep = dup(1);
	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	(void)fflush(stdout);
	dup2(ends[1], 1);
	plain_begin(&f, PLAIN("pattern", "1", "1000000"), .cwd = NULL);
	until(f.b, f.d.n[BROOD_EVENT_SPAWN] == 1);
	dup2(keep, 1);
	close(ends[1]);
	while (n < 1000000) {
		ssize_t got = read(ends[0], bytes, sizeof bytes);
		if (got > 0) {
			sum = pattern_add(sum, bytes, (size_t)got);
			n += (uint64_t)got;
		}
		if (n < 800000)
			assert_int_equal(f.d.n[BROOD_EVENT_EXIT], 0); /* it waits for who reads */
		assert_true(brood_process(f.b, got > 0 ? 0 : 5) >= 0);
	}
	assert_true(sum == pattern_sum(1000000));
	family_closes(&f);
	assert_string_equal(f.d.order, "SDEC");
	family_end(&f);
	int file = memfd_create("out", MFD_CLOEXEC);
	dup2(file, 1);
	plain_begin(&g, PLAIN("pattern", "1", "300000"), .cwd = NULL);
	family_closes(&g);
	dup2(keep, 1);
	assert_int_equal(lseek(file, 0, SEEK_END), 300000);
	family_end(&g);
	close(file);
	close(keep);
	close(ends[0]);
}

static int check_complete(const brood_event *e)
{
	if (e->type == BROOD_EVENT_EXIT)
		assert_int_equal(((const struct diary *)e->data)->output[1].bytes, 400000);
	return 0;
}

/* More than fits the pipes between: all of it comes before EXIT. */
static void test_output_before_exit(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		struct family f = { .d.also = check_complete };
		plain_begin(&f, PLAIN("pattern", "1", "400000"), .stdio = OUT);
		family_closes(&f);
		assert_int_equal(f.d.output[1].bytes, 400000);
		family_end(&f);
	}
}

/* A descriptor that nobody reads holds up no other, nor the end. */
static void test_one_is_paused(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, BROOD_ARGV("sh", "-c", "head -c 60000 /dev/zero; head -c 2000000 /dev/zero >&2; exit 5"),
		    .stdio = BROOD_STDIO(BROOD_PIPE(1), BROOD_PIPE(2)));
	assert_int_equal(brood_pause(f.kid, 1, 1), 0);
	until(f.b, f.d.n[BROOD_EVENT_EXIT] == 1);
	assert_int_equal(f.d.exit.code, 5);
	assert_int_equal(f.d.output[1].bytes, 0);
	assert_int_equal(f.d.output[2].bytes, 2000000);
	assert_int_equal(f.d.n[BROOD_EVENT_CLOSE], 0);
	assert_int_equal(brood_pause(f.kid, 1, 0), 0);
	family_closes(&f);
	assert_int_equal(f.d.output[1].bytes, 60000);
	family_end(&f);
}

/* Its keeper leaves when all is said, while this process still hands on what was written. That nobody hears any more how
 * much of it was taken does not concern the program. */
static void test_its_keeper_leaves_first(void **state)
{
	struct family f = { 0 };
	uint8_t bytes[65536];
	int ends[2], keep = dup(1);
	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	(void)fflush(stdout);
	dup2(ends[1], 1);
	plain_begin(&f, BROOD_ARGV("head", "-c", "200000", "/dev/zero"), .cwd = NULL);
	until(f.b, f.d.n[BROOD_EVENT_SPAWN] == 1);
	dup2(keep, 1);
	close(ends[1]);
	until_polled(NULL, nursery_children() == 0);
	usleep(50000);
	assert_true(brood_process(f.b, 0) >= 0); /* its last word is taken ... */
	usleep(100000);                          /* ... and it goes, which is not heard yet */
	for (ssize_t left = 200000, got; left > 0; left -= got > 0 ? got : 0) {
		got = read(ends[0], bytes, sizeof bytes);
		assert_true(brood_process(f.b, got > 0 ? 0 : 5) >= 0);
	}
	family_closes(&f);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(f.me.n[BROOD_EVENT_ERROR] + f.d.n[BROOD_EVENT_ERROR], 0);
	family_end(&f);
	close(keep);
	close(ends[0]);
}

/* Nor does it count as a message of the program's that was not consumed. */
static void test_closed_while_its_nursery_stands_still(void **state)
{
	brood *b;
	brood_peer *kid;
	struct diary d = { 0 };
	(void)state;
	assert_int_equal(brood_connect(&b, NULL, BROOD_OPTIONS(.flush_ms = 100)), 0);
	assert_int_equal(brood_spawn(b, &kid, PLAIN("pattern", "1", "50000000"),
				     BROOD_SPAWN(.on = diary_table, .data = &d, .flags = BROOD_PLAIN, .stdio = OUT)),
			 0);
	until(b, d.output[1].bytes > 0);
	kill(flow_nursery, SIGSTOP);
	for (uint64_t end = now_ms() + 200; now_ms() < end;) /* all that is under way is taken */
		assert_true(brood_process(b, 10) >= 0);
	assert_int_equal(brood_close(b), 0);
	kill(flow_nursery, SIGCONT);
	until_polled(NULL, nursery_children() == 0);
}

/* A child that nobody listens to is slowed; the nursery and this process hold a bounded part of what it writes. */
static void test_flood(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, BROOD_ARGV("sh", "-c", "exec head -c 300000000 /dev/zero"), .stdio = OUT);
	until(f.b, f.d.n[BROOD_EVENT_SPAWN] == 1);
	pid_t pid = info_of(f.kid).pid;
	int sleeping = 0;
	until_polled(NULL, (sleeping = process_state(pid) == 'S' ? sleeping + 1 : 0) == 50);
	assert_true(process_status(flow_nursery, "VmRSS:") < 60000 + MEMORY_SLACK_KIB);
	assert_int_equal(brood_kill(f.kid, SIGKILL, 0), 0);
	family_closes(&f);
	assert_true(f.d.output[1].bytes < 2 * MIB);
	family_end(&f);
}

/* Bytes that it did not read are counted. */
static void test_input_that_nobody_reads(void **state)
{
	uint8_t *bytes = calloc(1, MIB);
	struct family f = { 0 }, g = { 0 };
	(void)state;
	plain_begin(&f, BROOD_ARGV("sh", "-c", "exec <&-; echo closed; exec sleep 1000"),
		    .stdio = BROOD_STDIO(BROOD_PIPE(0), BROOD_PIPE(1)));
	until(f.b, f.d.output[1].bytes > 0);
	assert_int_equal(brood_write(f.kid, 0, "three", 5), 0);
	until(f.b, f.d.n[BROOD_EVENT_ERROR] == 1);
	assert_string_equal(f.d.error, "input.closed");
	assert_non_null(strstr(f.d.text, " 5 bytes"));
	assert_int_equal(brood_write(f.kid, 0, "x", 1), -EPIPE);
	family_end(&f);
	plain_begin(&g, BROOD_ARGV("sh", "-c", "exit 3"), .stdio = BROOD_STDIO(BROOD_PIPE(0)));
	assert_int_equal(brood_write(g.kid, 0, bytes, MIB), 0);
	family_closes(&g);
	assert_int_equal(g.d.n[BROOD_EVENT_ERROR], 1);
	assert_string_equal(g.d.error, "input.closed");
	assert_int_equal(g.d.exit.code, 3);
	family_end(&g);
	free(bytes);
}

/* ---- who dies ---------------------------------------------------------------------------------------------------- */

/* As whoever starts it may have left it. */
static void test_nursery_ignores_its_children(void **state)
{
	assert_int_equal(nursery_stop(SIGTERM), 0);
	signal(SIGCHLD, SIG_IGN);
	nursery_start(*state, ANY);
	signal(SIGCHLD, SIG_DFL);
	struct family f = { 0 };
	plain_begin(&f, BROOD_ARGV("sh", "-c", "exit 3"), .cwd = NULL);
	family_closes(&f);
	assert_int_equal(info_of(f.kid).exit->cause, BROOD_EXITED);
	assert_int_equal(info_of(f.kid).exit->code, 3);
	family_end(&f);
}

/* Whatever of it finds no descriptor: it is told at once, and the next one starts. */
static void test_nursery_has_no_descriptors(void **state)
{
	struct rlimit before, few;
	(void)state;
	assert_int_equal(prlimit(flow_nursery, RLIMIT_NOFILE, NULL, &before), 0);
	few = before;
	for (few.rlim_cur = 3; few.rlim_cur < 24; few.rlim_cur++) {
		struct family f = { 0 };
		assert_int_equal(prlimit(flow_nursery, RLIMIT_NOFILE, &few, NULL), 0);
		plain_begin(&f, BROOD_ARGV("true"), .cwd = NULL);
		family_closes(&f);
		family_end(&f);
	}
	assert_int_equal(prlimit(flow_nursery, RLIMIT_NOFILE, &before, NULL), 0);
	wrote("x\n", BROOD_ARGV("echo", "x"), .cwd = NULL);
}

static int points_at_the_broker(const brood_event *e)
{
	if (e->type == BROOD_EVENT_ERROR)
		assert_non_null(strstr(e->error->hint, "LimitNOFILE="));
	return 0;
}

/* The lowest number that is free in this process. */
static rlim_t first_free(pid_t pid)
{
	char path[64];
	rlim_t n = 0;
	do
		snprintf(path, sizeof path, "/proc/%ld/fd/%lu", (long)pid, (unsigned long)n++);
	while (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
	return n - 1;
}

/* The nursery connects anew for each child. That the broker has no room is said, and whose limit that is. */
static void test_broker_has_no_descriptors(void **state)
{
	pid_t broker = ((struct fixture *)*state)->broker;
	struct rlimit before, few;
	const char *there = flow_host;
	struct family f = { 0 }, g = { .d.also = points_at_the_broker }, i = { .d.also = points_at_the_broker };
	family_connect(&f);
	assert_int_equal(brood_register(f.b, "here"), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(prlimit(broker, RLIMIT_NOFILE, NULL, &before), 0);
	few = before;
	few.rlim_cur = first_free(broker);
	assert_int_equal(prlimit(broker, RLIMIT_NOFILE, &few, NULL), 0);
	family_start(&f, BROOD_ARGV("true"), .flags = BROOD_PLAIN, .cwd = NULL);
	family_closes(&f);
	assert_string_equal(f.d.error, "spawn.broker");
	assert_non_null(strstr(f.d.text, "the broker has no descriptor left"));
	assert_non_null(strstr(f.d.text, "LimitNOFILE="));
	plain_begin(&g, BROOD_ARGV("true"), .cwd = NULL); /* nor does it let in who asks */
	family_closes(&g);
	assert_string_equal(g.d.error, "broker.full");
	flow_host = NULL;
	family_connect(&i);
	family_start(&i, KID("worker"), .cwd = NULL);
	flow_host = there;
	family_closes(&i);
	assert_string_equal(i.d.error, "spawn.broker");
	assert_int_equal(prlimit(broker, RLIMIT_NOFILE, &before, NULL), 0);
	family_end(&i);
	family_end(&g);
	family_end(&f);
}

static void test_nursery_is_killed(void **state)
{
	struct family f = { 0 }, g = { 0 };
	((struct fixture *)*state)->orphans = -1;
	pid_t pid = worker_begin(&f, 0, 0);
	say(f.kid, "stream", "20 1000");
	plain_begin(&g, PLAIN("wait"), .cwd = NULL);
	until(g.b, g.d.n[BROOD_EVENT_SPAWN] == 1);
	until(f.b, diary_messages(&f.d) == 20);
	assert_int_equal(nursery_stop(SIGKILL), SIGKILL);
	until_polled(NULL, process_is_dead(pid) && process_is_dead(info_of(g.kid).pid));
	family_closes(&f);
	assert_string_equal(f.d.order, "SRmDEC");
	assert_int_equal(f.d.exit.cause, BROOD_NODE_RESTARTED);
	assert_int_equal(f.d.exit.code, -1);
	assert_non_null(strstr(f.d.exit_text, "nursery"));
	assert_int_equal(brood_kill(f.kid, SIGKILL, 0), -ESRCH);
	family_closes(&g);
	assert_int_equal(g.d.exit.cause, BROOD_NODE_RESTARTED);
	family_end(&f);
	family_end(&g);
}

static void test_nursery_is_terminated(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	(void)worker_begin(&f, 0, 0);
	family_connect(&g);
	family_start(&g, KID("stubborn", "worker"), .grace_ms = 50);
	until(g.b, g.d.n[BROOD_EVENT_READY] == 1);
	kill(flow_nursery, SIGTERM);
	family_closes(&f);
	assert_int_equal(f.d.exit.signo, SIGTERM);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_HOST);
	assert_non_null(strstr(f.d.exit_text, "its nursery was stopped"));
	family_closes(&g);
	assert_int_equal(g.d.exit.signo, SIGKILL);
	assert_int_equal(g.d.exit.ended_by, BROOD_BY_HOST);
	family_end(&f);
	family_end(&g);
}

/* Its configuration is read again; what is wrong with it leaves it as it was. */
static void test_nursery_is_reloaded(void **state)
{
	const struct fixture *x = *state;
	char path[96];
	snprintf(path, sizeof path, "%s/nursery.conf", x->directory);
	configured(state, "[program \"one\"]\npath = /bin/echo\n");
	refused("spawn.unknown", "two", BROOD_ARGV("two"), .cwd = NULL);
	FILE *f = fopen(path, "we");
	assert_true(f && fputs("[program \"two\"]\npath = /bin/echo\n", f) >= 0 && fclose(f) == 0);
	kill(flow_nursery, SIGHUP);
	wrote("\n", BROOD_ARGV("two"), .cwd = NULL);
	refused("spawn.unknown", "one", BROOD_ARGV("one"), .cwd = NULL);
	f = fopen(path, "we");
	assert_true(f && fputs("[program \"three\"]\n", f) >= 0 && fclose(f) == 0);
	kill(flow_nursery, SIGHUP);
	wrote("\n", BROOD_ARGV("two"), .cwd = NULL);
	assert_int_equal(WEXITSTATUS(wait_program(start_program(BROOD_ARGV(NURSERY_PROGRAM, "-t", "-c", path), NULL))),
			 2);
	assert_int_equal(unlink(path), 0);
}

/* Whoever read its complaints is gone. */
static void test_nobody_reads_complaints(void **state)
{
	int ends[2], before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	assert_int_equal(nursery_stop(SIGTERM), 0);
	assert_true(before >= 0 && pipe2(ends, O_CLOEXEC) == 0);
	close(ends[0]);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	nursery_start(*state, ANY);
	dup2(before, STDERR_FILENO);
	close(before);
	kill(flow_nursery, SIGHUP); /* its file is not there any more */
	wrote("x\n", BROOD_ARGV("echo", "x"), .cwd = NULL);
}

/* Two nurseries of one name: the second says so and ends. */
static void test_name_is_taken(void **state)
{
	char path[96];
	snprintf(path, sizeof path, "%s/nursery.conf", ((struct fixture *)*state)->directory);
	FILE *f = fopen(path, "we");
	assert_true(f && fclose(f) == 0);
	assert_int_equal(WEXITSTATUS(wait_program(start_program(BROOD_ARGV(NURSERY_PROGRAM, "-c", path), NULL))), 1);
	assert_int_equal(unlink(path), 0);
}

/* A detached child goes on without its parent, and is reaped by who started it. */
static void test_detached(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	family_connect(&f);
	family_start(&f, PLAIN("wait"), .flags = BROOD_PLAIN | BROOD_DETACHED);
	until(f.b, f.d.n[BROOD_EVENT_SPAWN] == 1);
	assert_int_equal(brood_kill(f.kid, SIGTERM, BROOD_TREE), 0);
	family_closes(&f);
	assert_int_equal(f.d.exit.signo, SIGTERM);
	family_end(&f);
	family_connect(&g);
	family_start(&g, PLAIN("wait"), .flags = BROOD_PLAIN | BROOD_DETACHED);
	until(g.b, g.d.n[BROOD_EVENT_SPAWN] == 1);
	pid_t pid = info_of(g.kid).pid;
	family_end(&g);
	for (int i = 0; i < 100; i++)
		nap();
	assert_false(process_is_dead(pid));
	kill(pid, SIGKILL);
	until_polled(NULL, process_state(pid) == 0 && nursery_children() == 0);
}

/* ---- who cannot be reached ---------------------------------------------------------------------------------------- */

/* Broker and connections are made anew, and this handle does nothing meanwhile: it is away. */
static void go_away(struct fixture *x)
{
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	assert_int_equal(fixture_start(x), 0);
}

static void test_parent_is_away_too_long(void **state)
{
	struct family f = { 0 };
	pid_t pid = worker_begin(&f, 300, BROOD_UNREACHABLE_KILL);
	go_away(*state);
	until_polled(NULL, process_is_dead(pid));
	family_closes(&f);
	assert_int_equal(f.d.exit.signo, SIGTERM);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_ORPHANED);
	assert_non_null(strstr(f.d.exit_text, "300 ms"));
	family_end(&f);
}

static void test_parent_is_away_and_back(void **state)
{
	struct family f = { 0 }, g = { 0 };
	pid_t pid = worker_begin(&f, 60000, BROOD_UNREACHABLE_KILL);
	pid_t kept = worker_begin(&g, 1, BROOD_UNREACHABLE_KEEP);
	go_away(*state);
	for (int i = 0; i < 700; i++)
		nap();
	until(f.b, f.me.n[BROOD_EVENT_BACK] == 1);
	until(g.b, g.me.n[BROOD_EVENT_BACK] == 1);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	assert_int_equal(ask_number(g.kid, "count"), 0);
	assert_false(process_is_dead(pid) || process_is_dead(kept));
	say(f.kid, "exit", "4");
	family_closes(&f);
	assert_int_equal(f.d.exit.code, 4);
	family_end(&f);
	family_end(&g);
	until_polled(NULL, process_is_dead(kept));
}

/* The nursery is: AWAY, and BACK if it returns; else the end, when there is no more hope. */
static void test_nursery_is_away(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)worker_begin(&f, 0, 0);
	family_connect(&g);
	family_start(&g, KID("worker"), .on_unreachable = BROOD_UNREACHABLE_KEEP, .give_up_ms = 1500);
	until(g.b, g.d.n[BROOD_EVENT_READY] == 1);
	pid_t pid = info_of(g.kid).pid;
	kill(flow_nursery, SIGSTOP);
	until_polled(NULL, process_state(flow_nursery) == 'T');
	go_away(*state);
	until_by(f.d.n[BROOD_EVENT_AWAY] >= 1 && g.d.n[BROOD_EVENT_AWAY] >= 1, {
		assert_true(brood_process(f.b, 5) >= 0);
		assert_true(brood_process(g.b, 5) >= 0);
	});
	assert_int_equal(info_of(f.kid).state, BROOD_IS_AWAY);
	family_closes(&g);
	assert_int_equal(g.d.exit.cause, BROOD_UNREACHABLE);
	assert_non_null(strstr(g.d.exit_text, "presumed killed"));
	kill(flow_nursery, SIGCONT);
	until(f.b, f.d.n[BROOD_EVENT_BACK] >= 1);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	until_polled(g.b, process_is_dead(pid)); /* what was taken for lost is ended when it is back */
	assert_int_equal(f.d.n[BROOD_EVENT_CLOSE], 0);
	family_end(&f);
	family_end(&g);
	until_polled(NULL, nursery_children() == 0);
}

/* The parent's own process, killed together with the broker: the lease of its children ends them. */
static void test_parent_and_broker_are_killed(void **state)
{
	struct fixture *x = *state;
	long pids[2];
	int out;
	x->orphans = -1;
	setenv("FLOW_LEASE", "300", 1);
	pid_t parent = start_program(KID("parent", "cp", "run"), &out);
	read_numbers(out, pids, 2);
	assert_false(process_is_dead((pid_t)pids[0]) || process_is_dead((pid_t)pids[1]));
	kill(parent, SIGKILL);
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	(void)wait_program(parent);
	until_polled(NULL, process_is_dead((pid_t)pids[0]) && process_is_dead((pid_t)pids[1]));
	until_polled(NULL, nursery_children() == 0);
	assert_int_equal(fixture_start(x), 0);
	unsetenv("FLOW_LEASE");
	close(out);
}

/* ---- 200, and a broker that is killed again and again ------------------------------------------------------------- */

#define MANY 200
#define AT_ONCE 12

struct many {
	brood *b;
	unsigned started, ended, wrong;
	struct one {
		struct many *all;
		unsigned number, spawns, exits, messages, errors;
		int missing;
	} each[MANY];
};

static int note(const brood_event *e)
{
	struct one *o = e->data;
	o->spawns += e->type == BROOD_EVENT_SPAWN;
	o->exits += e->type == BROOD_EVENT_EXIT;
	o->errors += e->type == BROOD_EVENT_ERROR;
	if (e->type == BROOD_EVENT_ERROR)
		print_error("%u: %s: %s\n", o->number, e->error->name, e->error->text);
	o->messages += e->type == BROOD_EVENT_MESSAGE;
	if (e->type == BROOD_EVENT_EXIT) {
		o->all->wrong += e->exit->cause != BROOD_EXITED || e->exit->code != (int)(o->number % 2 ? 0 : 7);
		o->missing = strstr(e->exit->text, "missing") != NULL;
	}
	if (e->type == BROOD_EVENT_CLOSE)
		o->all->ended++;
	return 0;
}

/* Every other one has a channel and says three things; the others leave a line in a file. */
static void start_one(struct many *m, const char *file)
{
	struct one *o = &m->each[m->started];
	o->all = m;
	o->number = m->started++;
	const char *const *argv = o->number % 2 ? KID("burst", "3", "100")
						: BROOD_ARGV("sh", "-c", "echo x >> \"$1\"; exit 7", "sh", file);
	assert_int_equal(brood_spawn(m->b, NULL, argv,
				     BROOD_SPAWN(.on = BROOD_ON(.any = note), .data = o,
						 .flags = o->number % 2 ? 0 : BROOD_PLAIN)),
			 0);
}

static void test_many_and_a_broker_that_dies(void **state)
{
	static struct many m;
	struct fixture *x = *state;
	char file[96];
	struct diary me = { 0 };
	unsigned kills = 0, turns = 0, missing = 0;
	memset(&m, 0, sizeof m);
	snprintf(file, sizeof file, "%s/lines", x->directory);
	assert_int_equal(brood_connect(&m.b, NULL, BROOD_OPTIONS(.on = diary_table, .data = &me)), 0);
	uint64_t end = now_ms() + 90000;
	while (m.ended < MANY && now_ms() < end) {
		while (m.started < MANY && m.started - m.ended < AT_ONCE)
			start_one(&m, file);
		assert_true(brood_process(m.b, 10) >= 0);
		if (m.ended > (kills + 1) * 15 && kills < 12 && ++turns % 3 == 0) {
			go_away(x);
			kills++;
		}
	}
	assert_int_equal(m.ended, MANY);
	assert_int_equal(m.wrong, 0);
	assert_true(kills >= 8);
	for (unsigned i = 0; i < MANY; i++) {
		const struct one *o = &m.each[i];
		missing += (unsigned)o->missing;
		if (o->spawns != 1 || o->exits != 1 || o->errors || (i % 2 && o->messages != 3 && !o->missing))
			fail_msg("%u: %u spawns, %u exits, %u errors, %u messages", i, o->spawns, o->exits, o->errors,
				 o->messages);
	}
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	assert_int_equal(lseek(fd, 0, SEEK_END), 2 * (MANY / 2)); /* each ran once */
	close(fd);
	assert_int_equal(unlink(file), 0);
	print_message("%u kills, %u exits with messages that may be missing\n", kills, missing);
	brood_close(m.b);
	until_polled(NULL, nursery_children() == 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_NURSERY(test_refused_at_once),
		ON_NURSERY(test_nothing_is_allowed),
		ON_NURSERY(test_programs),
		ON_NURSERY(test_how_many),
		ON_NURSERY(test_environment),
		ON_NURSERY(test_entries_of_one_name),
		ON_NURSERY(test_too_many_arguments),
		ON_NURSERY(test_no_such_host),
		cmocka_unit_test_setup_teardown(test_private_broker, fixture_setup_empty, fixture_teardown),
		ON_NURSERY(test_too_late),
		ON_NURSERY(test_somebody_else),
		ON_NURSERY(test_cancelled),
		ON_NURSERY(test_cancelled_among_others),
		ON_NURSERY(test_info),
		ON_NURSERY(test_mine),
		ON_NURSERY(test_output_before_exit),
		ON_NURSERY(test_one_is_paused),
		ON_NURSERY(test_its_keeper_leaves_first),
		ON_NURSERY(test_closed_while_its_nursery_stands_still),
		ON_NURSERY(test_flood),
		ON_NURSERY(test_input_that_nobody_reads),
		ON_NURSERY(test_nursery_ignores_its_children),
		ON_NURSERY(test_nursery_has_no_descriptors),
		ON_NURSERY(test_broker_has_no_descriptors),
		ON_NURSERY(test_nursery_is_killed),
		ON_NURSERY(test_nursery_is_terminated),
		ON_NURSERY(test_nursery_is_reloaded),
		ON_NURSERY(test_nobody_reads_complaints),
		ON_NURSERY(test_name_is_taken),
		ON_NURSERY(test_detached),
		ON_NURSERY(test_parent_is_away_too_long),
		ON_NURSERY(test_parent_is_away_and_back),
		ON_NURSERY(test_nursery_is_away),
		ON_NURSERY(test_parent_and_broker_are_killed),
		ON_NURSERY(test_many_and_a_broker_that_dies),
	};
	return RUN("abroad", tests);
}
