/*
 * lives: what ends with its parent, through the library and with what options and programs can change: user, session,
 * terminal, set-uid. life_line.c tests the mechanism itself. The parent is a forked copy of the test, killed by SIGKILL.
 */
#include "flow.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

/* The parent's life: become this user, start the child, tell its pid when it has said something, wait to be killed. */
static void live(int out, uid_t user, const char *const *argv, const struct brood_spawn_options *how)
{
	struct family f = { 0 };
	struct brood_spawn_options o = *how;
	char text[24];
	if (user && (setgid(user) < 0 || setuid(user) < 0))
		_exit(1);
	family_connect(&f);
	o.flags = BROOD_PLAIN;
	o.on = diary_table;
	o.data = &f.d;
	assert_int_equal(brood_spawn(f.b, &f.kid, argv, &o), 0);
	until(f.b, f.d.output[0].bytes + f.d.output[1].bytes > 0);
	int n = snprintf(text, sizeof text, "%ld\n", (long)info_of(f.kid).pid);
	if (write(out, text, (size_t)n) != n)
		_exit(1);
	while (brood_process(f.b, -1) >= 0)
		;
	_exit(1);
}

/* The child's pid when its parent has been killed. `look` sees both alive. */
static pid_t orphan(struct fixture *x, uid_t user, const char *const *argv, const struct brood_spawn_options *how,
		    void (*look)(pid_t))
{
	int ends[2];
	long pid;
	x->orphans = -1;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t parent = fork();
	if (parent == 0)
		live(ends[1], user, argv, how);
	close(ends[1]);
	read_numbers(ends[0], &pid, 1);
	close(ends[0]);
	assert_true(pid > 0);
	assert_false(process_is_dead((pid_t)pid));
	if (look)
		look((pid_t)pid);
	kill(parent, SIGKILL);
	(void)wait_program(parent);
	return (pid_t)pid;
}

static void expect_end(pid_t pid)
{
	uint64_t begin = now_ms();
	until_polled(NULL, process_is_dead(pid));
	assert_true(now_ms() - begin < 1000 + BUSY_MS);
}

/* A while after its parent's end, in which everybody who is covered would have died. */
static void expect_survivor(pid_t pid)
{
	for (int i = 0; i < 200; i++)
		nap();
	assert_false(process_is_dead(pid));
	kill(pid, SIGKILL);
}

#define OUT BROOD_STDIO(BROOD_PIPE(1))

static void test_another_user(void **state)
{
	const struct brood_ids ids = { NOBODY, NOBODY, NULL, 0 };
	skip_unless_others_can_run(PLAIN_PROGRAM);
	expect_end(orphan(*state, 0, PLAIN("stubborn"), BROOD_SPAWN(.stdio = OUT, .ids = &ids), NULL));
}

/* The hang-up that comes when the terminal is gone is not what ends it. */
static void test_a_session_with_a_terminal(void **state)
{
	const struct brood_stdio terminal[] = {
		BROOD_TTY(0), BROOD_TTY(1), BROOD_TTY(2), { -1, BROOD_STDIO_END, -1, NULL }
	};
	expect_end(orphan(*state, 0, BROOD_ARGV("sh", "-c", "trap '' HUP; exec \"$0\" stubborn", PLAIN_PROGRAM),
			  BROOD_SPAWN(.stdio = terminal), NULL));
}

static void stop(pid_t pid)
{
	kill(pid, SIGSTOP);
	until_polled(NULL, process_state(pid) == 'T');
}

static void test_a_stopped_one(void **state)
{
	expect_end(orphan(*state, 0, PLAIN("stubborn"), BROOD_SPAWN(.stdio = OUT), stop));
}

/* A program of root's with the set-uid bit, where somebody else can start it. */
static const char *make_set_uid(const struct fixture *x)
{
	static char path[96];
	snprintf(path, sizeof path, "%s/lock", x->directory); /* a name that the teardown accepts */
	assert_int_equal(chmod(x->directory, 0755), 0);
	assert_int_equal(brood_exec_sync(NULL, NULL, BROOD_ARGV("cp", PLAIN_PROGRAM, path), NULL), 0);
	assert_int_equal(chmod(path, 04755), 0);
	return path;
}

static int effective_uid = -1;

static void look_at_uid(pid_t pid)
{
	char path[64], line[256];
	snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, "Uid:", 4) == 0)
			(void)sscanf(line, "Uid: %*d %d", &effective_uid);
	if (f)
		fclose(f);
}

static void test_a_set_uid_program(void **state)
{
	if (geteuid() != 0)
		skip();
	const char *program = make_set_uid(*state);
	pid_t pid = orphan(*state, NOBODY, BROOD_ARGV(program, "stubborn"), BROOD_SPAWN(.stdio = OUT), look_at_uid);
	expect_end(pid);
	assert_int_equal(effective_uid, 0); /* it was */
}

/* One that has become root altogether, as sudo does, is beyond the reach of its parent's user. */
static void test_not_covered_who_became_root(void **state)
{
	if (geteuid() != 0)
		skip();
	const char *program = make_set_uid(*state);
	expect_survivor(orphan(*state, NOBODY, BROOD_ARGV(program, "root"), BROOD_SPAWN(.stdio = OUT), NULL));
}

/* The parent's last words: how long brood_close() took, with a child that it may not signal. */
static void close_beside(int out, const char *program)
{
	struct family f = { 0 };
	char text[48];
	if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		_exit(1);
	family_connect(&f);
	const struct brood_spawn_options *o =
		BROOD_SPAWN(.stdio = OUT, .flags = BROOD_PLAIN, .on = diary_table, .data = &f.d, .grace_ms = 300);
	assert_int_equal(brood_spawn(f.b, &f.kid, BROOD_ARGV(program, "root"), o), 0);
	until(f.b, f.d.output[0].bytes + f.d.output[1].bytes > 0);
	long pid = (long)info_of(f.kid).pid;
	uint64_t begin = now_ms();
	assert_int_equal(brood_close(f.b), 0);
	int n = snprintf(text, sizeof text, "%ld\n%ld\n", pid, (long)(now_ms() - begin));
	_exit(write(out, text, (size_t)n) != n);
}

/* Nor can brood_close() end it: it has its grace, and is left. */
static void test_closing_beside_who_became_root(void **state)
{
	struct fixture *x = *state;
	int ends[2];
	long said[2];
	if (geteuid() != 0)
		skip();
	const char *program = make_set_uid(x);
	x->orphans = -1;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t parent = fork();
	if (parent == 0)
		close_beside(ends[1], program);
	close(ends[1]);
	read_numbers(ends[0], said, 2);
	close(ends[0]);
	assert_int_equal(wait_program(parent), 0);
	assert_in_range(said[1], 299, 300 + BUSY_MS);
	expect_survivor((pid_t)said[0]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_UNIX(test_another_user),
		ON_UNIX(test_a_session_with_a_terminal),
		ON_UNIX(test_a_stopped_one),
		ON_UNIX(test_a_set_uid_program),
		ON_UNIX(test_not_covered_who_became_root),
		ON_UNIX(test_closing_beside_who_became_root),
	};
	return RUN("lives", tests);
}
