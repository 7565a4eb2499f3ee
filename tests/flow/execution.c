/*
 * execution: programs run to their end, with what they wrote: brood_exec_file(), brood_exec_shell(), brood_exec_sync().
 */
#include "flow.h"
#include "pattern.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

/* Start one: its result goes to the diary. */
#define execute(f, argv, ...)                                                                                          \
	(family_connect(f),                                                                                            \
	 assert_int_equal(brood_exec_file((f)->b, &(f)->kid, argv, BROOD_SPAWN(__VA_ARGS__), diary_write, &(f)->d),    \
			  0))

static void finish(struct family *f, const char *error, int code)
{
	until(f->b, f->d.n[BROOD_EVENT_RESULT] == 1);
	assert_string_equal(f->d.error, error);
	assert_int_equal(f->d.code, code);
	assert_string_equal(f->d.order, "x"); /* nothing else is told */
	assert_int_equal(brood_process(f->b, 0), 0);
}

static void done(struct family *f, const char *error, int code)
{
	finish(f, error, code);
	family_end(f);
	assert_int_equal(f->d.n[BROOD_EVENT_RESULT], 1);
}

/* ---- how they end ------------------------------------------------------------------------------------------------ */

static void test_success(void **state)
{
	struct family f = { 0 };
	(void)state;
	execute(&f, BROOD_ARGV("sh", "-c", "printf out; printf err >&2"), .cwd = NULL);
	done(&f, "", 0);
	assert_int_equal(f.d.failed, 0);
	assert_string_equal(f.d.out, "out");
	assert_string_equal(f.d.err, "err");
	assert_int_equal(f.d.exit.cause, BROOD_EXITED);
	assert_int_equal(f.d.exit.code, 0);
}

/* Output of a failed one is returned too. */
static void test_codes_and_signals(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	execute(&f, BROOD_ARGV("sh", "-c", "echo why >&2; exit 23"), .cwd = NULL);
	done(&f, "exec.code", -EREMOTEIO);
	assert_int_equal(f.d.exit.code, 23);
	assert_int_equal(f.d.exit.signo, 0);
	assert_string_equal(f.d.err, "why\n");
	execute(&g, BROOD_ARGV("sh", "-c", "kill -9 $$"), .cwd = NULL);
	done(&g, "exec.signal", -EREMOTEIO);
	assert_int_equal(g.d.exit.code, -1);
	assert_int_equal(g.d.exit.signo, SIGKILL);
}

static void test_cannot_start(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	execute(&f, BROOD_ARGV("/nowhere/at/all", "argument"), .cwd = NULL);
	done(&f, "spawn.exec", -ENOENT);
	assert_non_null(strstr(f.d.text, "/nowhere/at/all"));
	assert_int_equal(f.d.exit.cause, BROOD_START_FAILED);
	assert_string_equal(f.d.stage, "exec");
	execute(&g, BROOD_ARGV("true"), .cwd = "/nowhere");
	done(&g, "spawn.cwd", -ENOENT);
}

/* The reason's own hint, as the ERROR of a spawn has it. */
static void test_hint_of_a_start_in_vain(void **state)
{
	struct family f = { 0 };
	static char argument[256 * 1024];
	(void)state;
	memset(argument, 'x', sizeof argument - 1);
	family_connect(&f);
	assert_int_equal(brood_exec_sync(f.b, NULL, BROOD_ARGV("true", argument), NULL), -E2BIG);
	assert_non_null(strstr(brood_last_error(f.b)->hint, "pass less"));
	family_end(&f);
}

/* Through the shell a missing program is a process, and its code is 127. */
static void test_shell(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	family_connect(&f);
	assert_int_equal(
		brood_exec_shell(f.b, &f.kid, "echo $((6*7)); no-such-program-at-all", NULL, diary_write, &f.d), 0);
	assert_true(info_of(f.kid).pid > 0);
	done(&f, "exec.code", -EREMOTEIO);
	assert_int_equal(f.d.exit.code, 127);
	assert_string_equal(f.d.out, "42\n");
	family_connect(&g); /* without its peer, and with a table that is not told */
	assert_int_equal(brood_exec_shell(g.b, NULL, "exit 0", NULL, diary_write, &g.d), 0);
	done(&g, "", 0);
	assert_string_equal(g.me.order, "");
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

/* At the limit all is well; one byte above it is cut off exactly there, and the program is ended. */
static void limit_at(const char *fd, size_t writes, size_t most, int too_much)
{
	struct brood_result *r;
	char text[24];
	snprintf(text, sizeof text, "%zu", writes);
	int rc = brood_exec_sync(NULL, &r, PLAIN("pattern", fd, text), BROOD_SPAWN(.max_output = most));
	assert_int_equal(rc, too_much ? -ENOBUFS : 0);
	const char *bytes = fd[0] == '1' ? r->out : r->err;
	size_t n = fd[0] == '1' ? r->out_length : r->err_length, expected = writes < most ? writes : most;
	assert_int_equal(n, expected);
	assert_true(pattern_add(0, (const uint8_t *)bytes, n) == pattern_sum(n));
	assert_int_equal(bytes[n], '\0');
	assert_int_equal(fd[0] == '1' ? r->err_length : r->out_length, 0);
	free(r);
}

static void test_max_output(void **state)
{
	static const size_t limits[] = { 1, 10, 4096, 65536, 65537, 200000 };
	(void)state;
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
		for (int fd = 1; fd <= 2; fd++) {
			limit_at(fd == 1 ? "1" : "2", limits[i] - 1, limits[i], 0);
			limit_at(fd == 1 ? "1" : "2", limits[i], limits[i], 0);
			limit_at(fd == 1 ? "1" : "2", limits[i] + 1, limits[i], 1);
		}
	limit_at("1", MIB, 0 + MIB, 0);
}

/* The default is 1 MiB, and a flood is ended with its tree. */
static void test_flood(void **state)
{
	struct family f = { 0 };
	(void)state;
	((struct fixture *)*state)->orphans = 1;
	execute(&f, BROOD_ARGV("sh", "-c", "\"$0\" flood 1 & wait", PLAIN_PROGRAM), .grace_ms = 100);
	done(&f, "exec.output", -ENOBUFS);
	assert_int_equal(f.d.out_length, MIB);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_OUTPUT);
}

/* Both at once, more than pipes hold. */
static void test_both_streams(void **state)
{
	struct brood_result *r;
	(void)state;
	assert_int_equal(
		brood_exec_sync(NULL, &r,
				BROOD_ARGV("sh", "-c", "\"$0\" pattern 2 700000 & \"$0\" pattern 1 900000; wait",
					   PLAIN_PROGRAM),
				NULL),
		0);
	((struct fixture *)*state)->orphans = 0;
	assert_int_equal(r->out_length, 900000);
	assert_int_equal(r->err_length, 700000);
	assert_true(pattern_add(0, (const uint8_t *)r->out, 900000) == pattern_sum(900000));
	assert_true(pattern_add(0, (const uint8_t *)r->err, 700000) == pattern_sum(700000));
	free(r);
}

/* ---- input ------------------------------------------------------------------------------------------------------- */

static void test_input(void **state)
{
	size_t n = 10 * MIB;
	uint8_t *input = malloc(n);
	struct brood_result *r;
	(void)state;
	pattern_fill(input, 0, n);
	assert_int_equal(brood_exec_sync(NULL, &r, BROOD_ARGV("cat"),
					 BROOD_SPAWN(.input = input, .input_length = n, .max_output = n)),
			 0);
	assert_int_equal(r->out_length, n);
	assert_memory_equal(r->out, input, n);
	free(r);
	assert_int_equal(brood_exec_sync(NULL, &r, BROOD_ARGV("true"), BROOD_SPAWN(.input = input, .input_length = n)),
			 0);
	free(r); /* it need not read it */
	assert_int_equal(brood_exec_sync(NULL, &r, BROOD_ARGV("cat"), BROOD_SPAWN(.input = "", .input_length = 0)), 0);
	assert_int_equal(r->out_length, 0);
	assert_string_equal(r->out, "");
	free(r);
	assert_int_equal(brood_exec_sync(NULL, &r, BROOD_ARGV("cat"), NULL), 0); /* /dev/null */
	assert_int_equal(r->out_length, 0);
	free(r);
	free(input);
}

/* ---- made to end ------------------------------------------------------------------------------------------------- */

static void test_timeout(void **state)
{
	struct family f = { 0 }, g = { 0 }, h = { 0 };
	((struct fixture *)*state)->orphans = -1;
	execute(&f, BROOD_ARGV("sh", "-c", "echo begun; sleep 1000"), .timeout_ms = 200, .kill_signal = SIGKILL);
	done(&f, "exec.timeout", -ETIMEDOUT);
	assert_string_equal(f.d.out, "begun\n");
	assert_int_equal(f.d.exit.signo, SIGKILL);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_TIMEOUT);
	execute(&g, PLAIN("tidy", "0"), .timeout_ms = 200); /* it ends well, but not in time */
	done(&g, "exec.timeout", -ETIMEDOUT);
	assert_string_equal(g.d.out, "ready tidy");
	execute(&h, BROOD_ARGV("echo", "quick"), .timeout_ms = 60000);
	done(&h, "", 0);
}

static void test_abort(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	execute(&f, PLAIN("wait"), .cwd = NULL);
	assert_int_equal(brood_kill(f.kid, 0, BROOD_TREE | BROOD_THEN_KILL), 0);
	finish(&f, "exec.killed", -ECANCELED);
	assert_int_equal(f.d.exit.signo, SIGTERM);
	assert_int_equal(brood_kill(f.kid, 0, 0), -ESRCH); /* nothing happens after the end */
	assert_int_equal(brood_process(f.b, 10), 0);
	family_end(&f);
	assert_int_equal(f.d.n[BROOD_EVENT_RESULT], 1);
	execute(&g, BROOD_ARGV("true"), .cwd = NULL);
	until(g.b, g.d.n[BROOD_EVENT_RESULT] == 1);
	assert_int_equal(brood_kill(g.kid, SIGKILL, 0), -ESRCH);
	family_end(&g);
	assert_int_equal(g.d.n[BROOD_EVENT_RESULT], 1);
}

/* Closing the handle kills it, and that is its result. */
static void test_close_while_it_runs(void **state)
{
	struct family f = { 0 };
	(void)state;
	execute(&f, PLAIN("wait"), .cwd = NULL);
	pid_t pid = info_of(f.kid).pid;
	family_end(&f);
	assert_int_equal(process_state(pid), 0);
	assert_int_equal(f.d.n[BROOD_EVENT_RESULT], 1);
	assert_string_equal(f.d.error, "exec.killed");
}

/* It has ended, and somebody else still holds its output. */
static void test_close_while_it_lingers(void **state)
{
	struct family f = { 0 };
	((struct fixture *)*state)->orphans = -1;
	execute(&f, BROOD_ARGV("sh", "-c", "printf out; sleep 1000 & exit 3"), .linger_ms = 1000000);
	until(f.b, info_of(f.kid).state == BROOD_IS_EXITED);
	assert_int_equal(f.d.n[BROOD_EVENT_RESULT], 0);
	family_end(&f);
	assert_int_equal(f.d.n[BROOD_EVENT_RESULT], 1);
	assert_string_equal(f.d.error, "exec.code");
	assert_string_equal(f.d.out, "out");
}

/* ---- the blocking one -------------------------------------------------------------------------------------------- */

static void sync_gives(const char *script, int expected)
{
	struct brood_result *r;
	assert_int_equal(brood_exec_sync(NULL, &r, BROOD_ARGV("sh", "-c", script), NULL), expected);
	free(r);
}

static void test_sync_codes(void **state)
{
	struct brood_result *r = NULL;
	(void)state;
	sync_gives("exit 0", 0);
	sync_gives("exit 255", 255);
	sync_gives("kill -9 $$", 128 + 9);
	sync_gives("kill -15 $$", 128 + 15);
	sync_gives("no-such-program", 127);
	assert_int_equal(brood_exec_sync(NULL, &r, BROOD_ARGV("/nowhere"), NULL), -ENOENT);
	assert_non_null(strstr(r->exit->text, "/nowhere"));
	assert_string_equal(r->exit->stage, "exec");
	assert_int_equal(r->exit->cause, BROOD_START_FAILED);
	assert_string_equal(r->out, "");
	free(r);
	assert_int_equal(brood_exec_sync(NULL, NULL, BROOD_ARGV("sh", "-c", "exit 5"), NULL), 5);
	assert_int_equal(brood_exec_sync(NULL, &r, BROOD_ARGV("sleep", "1000"), BROOD_SPAWN(.timeout_ms = 50)),
			 -ETIMEDOUT);
	assert_int_equal(r->exit->ended_by, BROOD_BY_TIMEOUT);
	free(r);
}

/* What would wait for somebody who cannot come. */
static void test_sync_refuses(void **state)
{
	static const struct brood_stdio all[] = { BROOD_PIPE(0), BROOD_PIPE(3), BROOD_TTY(1), BROOD_HELD(1),
						  BROOD_LOG(2) };
	struct family f = { 0 };
	(void)state;
	family_connect(&f);
	for (int i = 0; i < 5; i++) {
		const struct brood_spawn_options *o = BROOD_SPAWN(.stdio = BROOD_STDIO(all[i]));
		assert_int_equal(brood_exec_sync(NULL, NULL, BROOD_ARGV("true"), o), -EINVAL);
		assert_int_equal(brood_exec_sync(f.b, NULL, BROOD_ARGV("true"), o), i == 4 ? 0 : -EINVAL);
	}
	assert_int_equal(brood_exec_sync(NULL, NULL, NULL, NULL), -EINVAL);
	family_end(&f);
}

/* From a callback, with its own handle: other events wait. */
static int execute_inside(const brood_event *e)
{
	struct diary *d = e->data;
	struct brood_result *r;
	if (e->type != BROOD_EVENT_MESSAGE)
		return 0;
	assert_int_equal(brood_exec_sync(e->handle, &r, BROOD_ARGV("sh", "-c", "echo inside; exit 3"), NULL), 3);
	assert_string_equal(r->out, "inside\n");
	d->drained += 1;
	free(r);
	return 0;
}

static void test_sync_in_a_callback(void **state)
{
	struct family f = { .d.also = execute_inside };
	(void)state;
	family_begin(&f, KID("burst", "10", "1000"));
	family_closes(&f);
	assert_int_equal(f.d.drained, 10);
	assert_string_equal(f.d.order, "SRmDEC");
	assert_int_equal(f.d.wrong, 0);
	family_end(&f);
}

/* Threads that have no handle. */
static void *execute_often(void *data)
{
	char script[64], expected[16];
	struct brood_result *r;
	long wrong = 0;
	for (int i = 0; i < 30; i++) {
		int n = (int)(intptr_t)data * 30 + i;
		snprintf(script, sizeof script, "echo %d; exit %d", n, n);
		snprintf(expected, sizeof expected, "%d\n", n);
		if (brood_exec_sync(NULL, &r, BROOD_ARGV("sh", "-c", script), NULL) != n)
			wrong++;
		else
			wrong += strcmp(r->out, expected) != 0;
		free(r);
	}
	return (void *)(intptr_t)wrong;
}

static void test_sync_in_threads(void **state)
{
	pthread_t threads[4];
	void *wrong;
	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, execute_often, (void *)(intptr_t)i), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_ptr_equal(wrong, NULL);
	}
}

/* Where SIGCHLD is ignored the kernel keeps no status: it ends, and says so. */
static void test_sync_and_stolen_status(void **state)
{
	struct brood_result *r;
	(void)state;
	signal(SIGCHLD, SIG_IGN);
	int rc = brood_exec_sync(NULL, &r, BROOD_ARGV("echo", "hello"), NULL);
	signal(SIGCHLD, SIG_DFL);
	assert_int_equal(rc, -ECHILD);
	assert_string_equal(r->out, "hello\n");
	assert_int_equal(r->exit->cause, BROOD_STOLEN);
	free(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_HOSTS(test_success),
		ON_HOSTS(test_codes_and_signals),
		ON_HOSTS(test_cannot_start),
		ON_UNIX(test_hint_of_a_start_in_vain),
		ON_HOSTS(test_shell),
		ON_UNIX(test_max_output),
		ON_HOSTS(test_flood),
		ON_HOSTS(test_both_streams),
		ON_UNIX(test_input),
		ON_HOSTS(test_timeout),
		ON_UNIX(test_abort),
		ON_HOSTS(test_close_while_it_runs),
		ON_UNIX(test_close_while_it_lingers),
		ON_UNIX(test_sync_codes),
		ON_HOSTS(test_sync_refuses),
		ON_ALL(test_sync_in_a_callback),
		ON_HOSTS(test_sync_in_threads),
		ON_HOSTS(test_sync_and_stolen_status),
	};
	return RUN("execution", tests);
}
