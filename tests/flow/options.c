/*
 * options: every member of brood_spawn_options, and every value that is refused at once.
 */
#include "flow.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define OUT BROOD_STDIO(BROOD_PIPE(1))
#define NOBODY 65534

/* Run a plain program: what it wrote. */
static const char *output_of(struct family *f)
{
	family_closes(f);
	return f->d.output[1].text;
}

#define expect_output(expected, argv, ...)                                                                             \
	do {                                                                                                           \
		struct family f_ = { 0 };                                                                              \
		plain_begin(&f_, argv, .stdio = OUT, __VA_ARGS__);                                                     \
		assert_string_equal(output_of(&f_), expected);                                                         \
		assert_int_equal(f_.d.exit.code, 0);                                                                   \
		family_end(&f_);                                                                                       \
	} while (0)

/* ---- environment, directory, program ------------------------------------------------------------------------------ */

static void test_environment(void **state)
{
	static const char *const env[] = { "A=1", "EMPTY=", "TWO=a=b", NULL };
	(void)state;
	setenv("BROOD_TEST_MINE", "here", 1);
	setenv("BROOD_TEST_EMPTY", "", 1);
	expect_output("[here][]-", PLAIN("env", "BROOD_TEST_MINE", "BROOD_TEST_EMPTY", "A"), .cwd = NULL);
	expect_output("-[1][][a=b]", PLAIN("env", "BROOD_TEST_MINE", "A", "EMPTY", "TWO"), .env = env);
	expect_output("-[2][x][]", PLAIN("env", "BROOD_TEST_MINE", "A", "BROOD_TEST_EMPTY", "B"),
		      .env_add = ((const char *const[]){ "BROOD_TEST_MINE", "A=2", "BROOD_TEST_EMPTY=x", "B=", NULL }));
	expect_output("-[3]", PLAIN("env", "EMPTY", "A"), .env = env,
		      .env_add = ((const char *const[]){ "EMPTY", "A=3", "NEVER", NULL }));
	expect_output("TWO=a=b\nA=3\n", BROOD_ARGV("/usr/bin/env"),
		      .env = ((const char *const[]){ "TWO=a=b", "OLD=1", "A=1", NULL }),
		      .env_add = ((const char *const[]){ "OLD", "NEVER", "A=3", NULL }));
	expect_output("--", PLAIN("env", "PATH", "HOME"), .env = ((const char *const[]){ NULL }));
	unsetenv("BROOD_TEST_MINE");
	unsetenv("BROOD_TEST_EMPTY");
}

/* The environment of a child without a channel names none. */
static void test_no_trace_in_the_environment(void **state)
{
	(void)state;
	setenv("BROOD_FD", "3:12345", 1);
	expect_output("-", PLAIN("env", "BROOD_FD"), .cwd = NULL);
	unsetenv("BROOD_FD");
}

static void test_directory_and_file(void **state)
{
	(void)state;
	expect_output("/usr\n", BROOD_ARGV("/bin/pwd"), .cwd = "/usr");
	expect_output("other name\n", BROOD_ARGV("other name", "-c", "echo $0"), .file = "/bin/sh");
	expect_output("no name\n", BROOD_ARGV("", "-c", "echo ${0:-no name}"), .file = "/bin/sh");
	expect_output("found\n", BROOD_ARGV("called", "found"), .file = "echo"); /* in PATH */
	expect_output("found\n", BROOD_ARGV("./echo", "found"), .cwd = "/bin");  /* relative to cwd */
}

/* PATH is the child's. */
static void test_path_of_the_child(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, BROOD_ARGV("echo", "x"), .env = ((const char *const[]){ "PATH=/nowhere", NULL }));
	family_closes(&f);
	assert_string_equal(f.d.order, "!C");
	assert_string_equal(f.d.error, "spawn.exec");
	family_end(&f);
}

/* ---- identity and limits ----------------------------------------------------------------------------------------- */

static void test_ids(void **state)
{
	const gid_t groups[] = { 7, 8 };
	const struct brood_ids none = { NOBODY, NOBODY, NULL, 0 }, some = { NOBODY, 5, groups, 2 };
	(void)state;
	skip_unless_others_can_run(PLAIN_PROGRAM);
	expect_output("65534 65534 65534 65534", PLAIN("identity"), .ids = &none);
	expect_output("65534 65534 65534 5 7 8", PLAIN("identity"), .ids = &some);
}

/* With a channel: it is another user, and found by its parent all the same. */
static void test_ids_and_a_channel(void **state)
{
	const struct brood_ids ids = { NOBODY, NOBODY, NULL, 0 };
	struct family f = { 0 };
	(void)state;
	skip_unless_others_can_run(KID_PROGRAM);
	family_connect(&f);
	family_start(&f, KID("worker"), .ids = &ids);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	assert_int_equal(process_status(info_of(f.kid).pid, "Uid:"), NOBODY);
	say(f.kid, "exit", "0");
	family_closes(&f);
	family_end(&f);
}

/* Another user cannot enter the directory with the FIFOs: told at once, and not by a child that fails. */
static void test_ids_and_no_way_to_the_broker(void **state)
{
	const struct brood_ids ids = { NOBODY, NOBODY, NULL, 0 };
	struct family f = { 0 };
	(void)state;
	skip_unless_others_can_run(KID_PROGRAM);
	family_connect(&f);
	family_start(&f, KID("worker"), .ids = &ids);
	family_closes(&f);
	assert_string_equal(f.d.error, "spawn.ids");
	assert_int_equal(f.d.code, -EXDEV);
	assert_int_equal(f.d.n[BROOD_EVENT_SPAWN], 0);
	family_end(&f);
}

/* In a process that may not: an error of its own stage. */
static int refused_ids(void)
{
	const struct brood_ids ids = { 1, 1, NULL, 0 };
	struct family f = { 0 };
	if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		return 77;
	family_connect(&f);
	family_start(&f, BROOD_ARGV("/bin/true"), .flags = BROOD_PLAIN, .ids = &ids);
	family_closes(&f);
	int wrong = strcmp(f.d.error, "spawn.ids") != 0 || f.d.code != -EPERM;
	family_end(&f);
	return wrong;
}

static void test_ids_without_the_right(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	pid_t pid = fork();
	if (pid == 0)
		_exit(refused_ids());
	assert_int_equal(wait_program(pid), 0);
}

static void test_limits(void **state)
{
	struct family f = { 0 };
	(void)state;
	expect_output("123 123 0 0", PLAIN("limits"),
		      .limits = BROOD_LIMITS({ RLIMIT_NOFILE, 123 }, { RLIMIT_CORE, 0 }));
	plain_begin(&f, BROOD_ARGV("sh", "-c", "while :; do :; done"), .limits = BROOD_LIMITS({ RLIMIT_CPU, 1 }));
	for (uint64_t end = now_ms() + 3 * PATIENCE_MS; !f.d.n[BROOD_EVENT_CLOSE] && now_ms() < end;)
		(void)brood_process(f.b, 1000); /* others want to compute, too */
	family_closes(&f);
	assert_int_equal(f.d.exit.cause, BROOD_SIGNALED);
	assert_true(f.d.exit.user_us + f.d.exit.system_us > 100000); /* the kernel counts it by samples */
	family_end(&f);
}

/* ---- times ------------------------------------------------------------------------------------------------------- */

static void test_ready_ms(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	family_connect(&f);
	family_start(&f, KID("not-ready"), .ready_ms = 150);
	family_closes(&f);
	assert_string_equal(f.d.order, "SDEC");
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_UNREADY);
	assert_non_null(strstr(f.d.exit_text, "not ready within 150 ms"));
	family_end(&f);
	family_connect(&g);
	family_start(&g, KID("worker"), .ready_ms = 10000);
	until(g.b, g.d.n[BROOD_EVENT_READY] == 1);
	say(g.kid, "exit", "0");
	family_closes(&g);
	assert_int_equal(g.d.exit.ended_by, BROOD_BY_ITSELF);
	family_end(&g);
}

static void test_text_of_a_timeout(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, BROOD_ARGV("sleep", "1000"), .timeout_ms = 60);
	family_closes(&f);
	assert_string_equal(f.d.exit_text, "killed by signal 15 (Terminated) after its timeout of 60 ms");
	assert_in_range(f.d.exit.wall_ms, 59, 20000);
	family_end(&f);
}

/* ---- detached, unref --------------------------------------------------------------------------------------------- */

static void test_unref(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, PLAIN("wait"), .cwd = NULL);
	family_end(&f);
	struct family g = { 0 };
	assert_int_equal(brood_connect(&g.b, NULL, NULL), 0);
	assert_int_equal(brood_spawn(g.b, &g.kid, PLAIN("wait"),
				     BROOD_SPAWN(.flags = BROOD_PLAIN | BROOD_UNREF, .on = diary_table, .data = &g.d)),
			 0);
	assert_int_equal(brood_run(g.b), 0); /* returns although it lives */
	assert_int_equal(g.d.n[BROOD_EVENT_EXIT], 0);
	family_end(&g);
}

/* Outlives the handle, and its parent can end it while it knows it. */
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
	assert_int_equal(getsid(pid), pid);
	family_end(&g);
	assert_false(process_is_dead(pid));
	kill(pid, SIGKILL);
	(void)wait_program(pid);
}

/* ---- refused at once --------------------------------------------------------------------------------------------- */

static unsigned refusals;

static void refused(brood *b, int rc, int expected, const char *what)
{
	refusals++;
	if (rc != expected || brood_last_error(b)->code != expected || !strstr(brood_last_error(b)->text, what))
		fail_msg("refusal %u: %d (%s) instead of %d (%s)", refusals, rc, brood_last_error(b)->text, expected,
			 what);
}

#define SPAWN(...) brood_spawn(f.b, NULL, BROOD_ARGV("true"), BROOD_SPAWN(__VA_ARGS__))
#define EXEC(...) brood_exec_file(f.b, NULL, BROOD_ARGV("true"), BROOD_SPAWN(__VA_ARGS__), diary_write, &f.d)
#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define REFUSED(what, call) refused(f.b, call, -EINVAL, what)

static void test_refused(void **state)
{
	struct family f = { 0 };
	gid_t groups[65] = { 0 };
	(void)state;
	family_connect(&f);
	REFUSED("argv", brood_spawn(f.b, NULL, NULL, NULL));
	REFUSED("argv", brood_spawn(f.b, NULL, (const char *const[]){ NULL }, NULL));
	REFUSED("argv", brood_spawn(f.b, NULL, LIST(""), NULL));
	REFUSED("size", brood_spawn(f.b, NULL, LIST("true"), &(struct brood_spawn_options){ 0 }));
	REFUSED("flags", SPAWN(.flags = 1u << 20));
	REFUSED("file: an empty name", SPAWN(.file = ""));
	REFUSED("cwd: an empty name", SPAWN(.cwd = ""));
	REFUSED("name: an empty name", SPAWN(.name = ""));
	REFUSED("name: use 1 to 63", SPAWN(.name = "a/b"));
	REFUSED("kill_signal", SPAWN(.kill_signal = -1));
	REFUSED("kill_signal", SPAWN(.kill_signal = NSIG));
	REFUSED("environment", SPAWN(.env = LIST("A=1", "NOVALUE")));
	REFUSED("environment", SPAWN(.env = LIST("=x")));
	REFUSED("environment", SPAWN(.env_add = LIST("=x")));
	REFUSED("environment", SPAWN(.env_add = LIST("")));
	REFUSED("descriptor number", SPAWN(.stdio = BROOD_STDIO(BROOD_NUL(-1))));
	REFUSED("descriptor number", SPAWN(.stdio = BROOD_STDIO(BROOD_NUL(65536))));
	REFUSED("unknown kind", SPAWN(.stdio = BROOD_STDIO({ 1, 99, -1, NULL })));
	REFUSED("same descriptor twice", SPAWN(.stdio = BROOD_STDIO(BROOD_NUL(1), BROOD_PIPE(1))));
	REFUSED("read by the child", SPAWN(.stdio = BROOD_STDIO(BROOD_LOG(0))));
	REFUSED("without a peer", SPAWN(.stdio = BROOD_STDIO(BROOD_FROM(0, NULL, 1))));
	REFUSED("holds no such pipe", SPAWN(.stdio = BROOD_STDIO(BROOD_FROM(0, brood_self(f.b), 1))));
	REFUSED("ids", SPAWN(.ids = &(struct brood_ids){ (uid_t)-1, 0, NULL, 0 }));
	REFUSED("ids", SPAWN(.ids = &(struct brood_ids){ 0, (gid_t)-1, NULL, 0 }));
	REFUSED("ids", SPAWN(.ids = &(struct brood_ids){ 0, 0, NULL, 1 }));
	REFUSED("ids", SPAWN(.ids = &(struct brood_ids){ 0, 0, groups, 65 }));
	REFUSED("limits", SPAWN(.limits = BROOD_LIMITS({ 99, 1 })));
	REFUSED("limits", SPAWN(.limits = BROOD_LIMITS({ -7, 1 })));
	REFUSED("max_output", SPAWN(.max_output = 1));
	REFUSED("input", SPAWN(.input = "x", .input_length = 1));
	REFUSED("plain", SPAWN(.flags = BROOD_PLAIN, .name = "x"));
	REFUSED("plain", SPAWN(.flags = BROOD_PLAIN, .ready_ms = 5));
	REFUSED("plain", EXEC(.name = "x"));
	REFUSED("detached", EXEC(.flags = BROOD_DETACHED));
	REFUSED("input_length", EXEC(.input_length = 1));
	REFUSED("something else of 0", EXEC(.input = "x", .input_length = 1, .stdio = BROOD_STDIO(BROOD_NUL(0))));
	assert_int_equal(brood_exec_file(f.b, NULL, BROOD_ARGV("true"), NULL, NULL, NULL), -EINVAL);
	REFUSED("table", SPAWN(.on = (&(struct brood_handlers){ 0 })));
	refused(f.b, SPAWN(.stdio = BROOD_STDIO(BROOD_FD(1, 987))), -EBADF, "not open");
	refused(f.b, SPAWN(.stdio = BROOD_STDIO(BROOD_PIPE(0), BROOD_HELD(5), BROOD_TTY(1), BROOD_FD(2, -1))), -EBADF,
		"not open");
	assert_int_equal(brood_process(f.b, 0), 0);
	assert_string_equal(f.d.order, ""); /* nothing was begun, and no callback follows */
	assert_string_equal(f.me.order, "");
	family_end(&f);
}

/* ---- out of descriptors ------------------------------------------------------------------------------------------ */

/* An event, wherever it happens; nothing is leaked, and later all is well again. */
static void test_out_of_descriptors(void **state)
{
	struct family f = { 0 };
	struct rlimit before;
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	family_start(&f, BROOD_ARGV("true"), .cwd = NULL); /* everything of the handle is open */
	family_closes(&f);
	brood_release(f.kid);
	int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(lowest);
	unsigned fds = count_fds();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	unsigned failed = 0;
	for (int room = 0; room < 20; room++) {
		struct diary d = { 0 };
		brood_peer *p;
		struct rlimit few = { (rlim_t)(lowest + room), before.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		int rc = brood_spawn(f.b, &p, BROOD_ARGV("true"),
				     BROOD_SPAWN(.on = diary_table, .data = &d,
						 .stdio = BROOD_STDIO(BROOD_PIPE(0), BROOD_PIPE(1), BROOD_PIPE(3))));
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		assert_int_equal(rc, 0);
		until(f.b, d.n[BROOD_EVENT_CLOSE] == 1);
		if (d.n[BROOD_EVENT_SPAWN] == 0) {
			assert_string_equal(d.order, "!C");
			assert_int_equal(d.code, -EMFILE);
			failed++;
		} else {
			assert_int_equal(d.exit.code, 0);
		}
		brood_release(p);
		assert_int_equal(count_fds(), fds);
	}
	assert_in_range(failed, 5, 19);
	family_end(&f);
}

/* The first connection meets the limit: that is what is told, and not that there is no broker. The next one has room. */
static void test_no_descriptor_to_connect(void **state)
{
	struct family f = { 0 }, again = { 0 };
	struct rlimit before, none;
	unsigned fds = count_fds();
	(void)state;
	family_connect(&f);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	family_start(&f, KID("worker"), .cwd = NULL);
	int rc = brood_sync(f.b, PATIENCE_MS);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(rc, -EMFILE);
	assert_non_null(strstr(brood_last_error(f.b)->hint, "ulimit -n"));
	family_closes(&f);
	assert_string_equal(f.d.error, "spawn.broker");
	assert_int_equal(f.d.code, -EMFILE);
	family_end(&f);
	assert_int_equal(count_fds(), fds);
	family_begin(&again, KID("worker"));
	assert_int_equal(ask_number(again.kid, "count"), 0);
	family_end(&again);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_UNIX(test_environment),
		ON_HOSTS(test_no_trace_in_the_environment),
		ON_HOSTS(test_directory_and_file),
		ON_HOSTS(test_path_of_the_child),
		ON_UNIX(test_ids),
		ON_UNIX(test_ids_and_a_channel),
		ON_NET(test_ids_and_a_channel),
		ON_FIFO(test_ids_and_no_way_to_the_broker),
		ON_UNIX(test_ids_without_the_right),
		ON_HOSTS(test_limits),
		ON_ALL(test_ready_ms),
		ON_HOSTS(test_text_of_a_timeout),
		ON_HOSTS(test_unref),
		ON_UNIX(test_detached),
		ON_UNIX(test_refused),
		ON_ALL(test_out_of_descriptors),
		ON_UNIX(test_no_descriptor_to_connect),
		ON_FIFO(test_no_descriptor_to_connect),
		ON_TCP(test_no_descriptor_to_connect),
	};
	return RUN("options", tests);
}
