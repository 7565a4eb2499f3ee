/*
 * trees: signals for a child and for all that it started: TERM, a grace, KILL; also where the child itself goes first.
 */
#include "flow.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUT BROOD_STDIO(BROOD_PIPE(1))

/* Start a leader with n descendants that ignore SIGTERM; their pids. */
static void begin_stubborn(struct family *f, unsigned grace_ms, pid_t pids[2])
{
	plain_begin(f, PLAIN("stubborn-family", "2"), .stdio = OUT, .grace_ms = grace_ms);
	until(f->b, f->d.output[1].bytes > 0);
	char *at = f->d.output[1].text;
	pids[0] = (pid_t)strtol(at, &at, 10);
	pids[1] = (pid_t)strtol(at, &at, 10);
}

/* The leader dies of SIGTERM and CLOSE comes at once; the others have their grace, and then SIGKILL. */
static void test_the_leader_goes_first(void **state)
{
	struct family f = { 0 };
	pid_t pids[2];
	((struct fixture *)*state)->orphans = 2;
	begin_stubborn(&f, 3000, pids);
	uint64_t begin = now_ms();
	assert_int_equal(brood_kill(f.kid, 0, BROOD_TREE | BROOD_THEN_KILL), 0);
	family_closes(&f);
	assert_true(now_ms() - begin < 2900);
	assert_int_equal(f.d.exit.signo, SIGTERM);
	assert_int_equal(brood_kill(f.kid, SIGKILL, BROOD_TREE), -ESRCH);
	assert_false(process_is_dead(pids[0]) || process_is_dead(pids[1]));
	brood_release(f.kid);
	until_by(process_is_dead(pids[0]) && process_is_dead(pids[1]),
		 (void)brood_process(f.b, left_ > 50 ? 50 : left_));
	assert_in_range(now_ms() - begin, 2990, 20000);
	family_end(&f);
}

/* The same because its time was over. */
static void test_timeout_of_a_tree(void **state)
{
	struct family f = { 0 };
	pid_t pids[2];
	((struct fixture *)*state)->orphans = 2;
	plain_begin(&f, PLAIN("stubborn-family", "2"), .stdio = OUT, .grace_ms = 50, .timeout_ms = 300);
	family_closes(&f);
	char *at = f.d.output[1].text;
	pids[0] = (pid_t)strtol(at, &at, 10);
	pids[1] = (pid_t)strtol(at, &at, 10);
	assert_true(pids[0] > 0 && pids[1] > 0);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_TIMEOUT);
	until_by(process_is_dead(pids[0]) && process_is_dead(pids[1]),
		 (void)brood_process(f.b, left_ > 20 ? 20 : left_));
	family_end(&f);
}

/* The handle ends meanwhile: nobody is left. */
static void test_close_with_a_tail(void **state)
{
	struct family f = { 0 };
	pid_t pids[2];
	((struct fixture *)*state)->orphans = 2;
	begin_stubborn(&f, 60000, pids);
	assert_int_equal(brood_kill(f.kid, 0, BROOD_TREE | BROOD_THEN_KILL), 0);
	family_closes(&f);
	assert_false(process_is_dead(pids[0]));
	uint64_t begin = now_ms();
	family_end(&f);
	until_polled(NULL, process_is_dead(pids[0]) && process_is_dead(pids[1]));
	assert_true(now_ms() - begin < 20000);
}

/* Without the end of the grace they live on, as SIGTERM is all that was asked for. */
static void test_term_for_a_tree(void **state)
{
	struct family f = { 0 };
	pid_t pids[2];
	((struct fixture *)*state)->orphans = 2;
	begin_stubborn(&f, 20, pids);
	assert_int_equal(brood_kill(f.kid, SIGTERM, BROOD_TREE), 0);
	family_closes(&f);
	for (int i = 0; i < 5; i++)
		assert_true(brood_process(f.b, 20) >= 0);
	assert_false(process_is_dead(pids[0]) || process_is_dead(pids[1]));
	family_end(&f); /* but not longer than the handle: the life line */
	until_polled(NULL, process_is_dead(pids[0]) && process_is_dead(pids[1]));
}

/* A child that was alone leaves nothing of its grace behind: no descriptor stays until it is over. */
static void test_no_tail_when_alone(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_connect(&f);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	unsigned before = 0;
	for (int i = 0; i < 3; i++) {
		unsigned closes = f.d.n[BROOD_EVENT_CLOSE];
		family_start(&f, PLAIN("wait"), .flags = BROOD_PLAIN, .grace_ms = 60000);
		until(f.b, f.d.n[BROOD_EVENT_SPAWN] == closes + 1);
		assert_int_equal(brood_kill(f.kid, 0, BROOD_TREE | BROOD_THEN_KILL), 0);
		until(f.b, f.d.n[BROOD_EVENT_CLOSE] == closes + 1);
		brood_release(f.kid);
		if (i == 0)
			before = count_fds();
	}
	assert_int_equal(count_fds(), before);
	family_end(&f);
}

/* SIGTERM, and it tidies up within its grace: its own code, and why it ended. */
static void test_tidy(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, PLAIN("tidy", "7"), .stdio = OUT);
	until(f.b, f.d.output[1].bytes > 0);
	assert_int_equal(brood_kill(f.kid, 0, BROOD_TREE | BROOD_THEN_KILL), 0);
	family_closes(&f);
	assert_int_equal(f.d.exit.code, 7);
	assert_int_equal(f.d.exit.signo, 0);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_KILL);
	assert_string_equal(f.d.output[1].text, "ready tidy");
	assert_int_equal(info_of(f.kid).killed, 1);
	family_end(&f);
}

/* It stands still and is killed all the same. */
static void test_stopped(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, PLAIN("stopped"), .grace_ms = 50);
	until(f.b, f.d.n[BROOD_EVENT_SPAWN] == 1);
	until_polled(f.b, process_state(info_of(f.kid).pid) == 'T');
	assert_int_equal(f.d.n[BROOD_EVENT_EXIT], 0); /* a stop is no end */
	assert_int_equal(brood_kill(f.kid, 0, BROOD_TREE | BROOD_THEN_KILL), 0);
	family_closes(&f);
	assert_int_equal(f.d.exit.signo, SIGKILL);
	family_end(&f);
}

/* The program reaps everything and hands in what it got. */
static void test_reaped(void **state)
{
	static const int signals[] = { 0, SIGKILL };
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct family f = { 0 };
		int status;
		plain_begin(&f, BROOD_ARGV("sh", "-c", signals[i] ? "kill -9 $$" : "exit 42"), .stdio = OUT);
		pid_t pid = info_of(f.kid).pid;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(brood_reaped(f.b, pid, status), 0);
		family_closes(&f);
		assert_int_equal(f.d.exit.cause, signals[i] ? BROOD_SIGNALED : BROOD_EXITED);
		assert_int_equal(f.d.exit.code, signals[i] ? -1 : 42);
		assert_int_equal(f.d.exit.signo, signals[i]);
		assert_int_equal(brood_reaped(f.b, pid, status), -ESRCH);
		assert_int_equal(brood_reaped(f.b, 1, 0), -ESRCH);
		assert_int_equal(brood_reaped(NULL, pid, status), -EINVAL);
		family_end(&f);
	}
}

/* One line of a file as a number. */
static int write_text(const char *directory, const char *name, const char *text)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	FILE *f = fopen(path, "we");
	int rc = f && fputs(text, f) >= 0 ? 0 : -1;
	return f && fclose(f) == 0 ? rc : -1;
}

/* A memory cgroup below mine, version 1 or 2, with 64 MiB. 0 if that cannot be made here. */
static int make_cgroup(char *path, size_t size)
{
	char line[256];
	const char *limit = NULL;
	FILE *f = fopen("/proc/self/cgroup", "re");
	while (f && fgets(line, sizeof line, f)) {
		char *at = strchr(line, ':'), *where = at ? strchr(at + 1, ':') : NULL;
		line[strcspn(line, "\n")] = '\0';
		if (!where)
			continue;
		if (strncmp(at, ":memory:", 8) == 0) {
			snprintf(path, size, "/sys/fs/cgroup/memory%s/brood-test-%ld", where + 1, (long)getpid());
			limit = "memory.limit_in_bytes";
			break;
		}
		if (strncmp(line, "0::", 3) == 0) {
			snprintf(path, size, "/sys/fs/cgroup%s/brood-test-%ld", where + 1, (long)getpid());
			limit = "memory.max";
		}
	}
	if (f)
		fclose(f);
	if (!limit || mkdir(path, 0700) < 0)
		return 0;
	if (write_text(path, limit, "67108864") == 0)
		return 1;
	rmdir(path);
	return 0;
}

/*
 * In a copy of the test, which has moved into the cgroup: one child eats all memory there is, another is killed by
 * somebody else. 0: both were told apart.
 */
static int out_of_memory(void)
{
	struct family f = { 0 }, g = { 0 };
	family_connect(&f);
	family_start(&f, PLAIN("wait"), .flags = BROOD_PLAIN);
	until(f.b, f.d.n[BROOD_EVENT_SPAWN] == 1);
	kill(info_of(f.kid).pid, SIGKILL);
	family_closes(&f);
	g.b = f.b;
	family_start(&g, PLAIN("hog"), .flags = BROOD_PLAIN);
	family_closes(&g);
	brood_close(f.b);
	return f.d.exit.ended_by != BROOD_BY_ITSELF || g.d.exit.ended_by != BROOD_BY_MEMORY ||
	       g.d.exit.signo != SIGKILL || !strstr(g.d.exit_text, "out of memory");
}

static void test_out_of_memory(void **state)
{
	char path[400];
	(void)state;
	if (!make_cgroup(path, sizeof path)) {
		print_message("no memory cgroup can be made here\n");
		skip();
	}
	pid_t pid = fork();
	if (pid == 0)
		_exit(write_text(path, "cgroup.procs", "0") < 0 ? 77 : out_of_memory());
	int status = wait_program(pid);
	until_polled(NULL, rmdir(path) == 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_UNIX(test_the_leader_goes_first),
		ON_HOSTS(test_timeout_of_a_tree),
		ON_HOSTS(test_close_with_a_tail),
		ON_UNIX(test_term_for_a_tree),
		ON_HOSTS(test_no_tail_when_alone),
		ON_HOSTS(test_tidy),
		ON_HOSTS(test_stopped),
		ON_UNIX(test_reaped),
		ON_UNIX(test_out_of_memory),
	};
	return RUN("trees", tests);
}
