/*
 * The life line: when a process ends, however it ends, the kernel ends what it started.
 *
 * Three generations take part, all of them this program. The test forks a parent; the parent starts children with a
 * line and ends in some way, or is killed; the children have made themselves hard to kill in some way before that. The
 * test is the subreaper, so whoever survives becomes its child, is seen by waitpid(), and is cleaned up.
 *
 * What the line does not cover is tested too, as such, so that the documentation stays true.
 */
#include "../unit/test.h"

#include "spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WITHIN_MS 1000 /* nobody may be left after this */
#define READY_FD 3     /* the child's: a byte or end of file says that the test may begin */
#define NOBODY 65534

static char self[4096];

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the children ------------------------------------------------------------------------------------------------ */

/* Nothing but SIGKILL ends it. */
static void live_on(void)
{
	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_IGN);
	for (;;)
		pause();
}

static void say_ready(void)
{
	if (write(READY_FD, ".", 1) != 1)
		_exit(1);
}

static void play_sleeper(void)
{
	say_ready();
}

static void play_stopped(void)
{
	say_ready();
	raise(SIGSTOP);
}

static void play_closer(void)
{
	close_range(0, ~0u, 0); /* the end of file says it is ready */
}

static void play_other_user(void)
{
	if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		_exit(1);
	say_ready();
}

/* Children and grandchildren, in the group, of whom the first generation has ended. */
static void play_family(void)
{
	for (int i = 0; i < 3; i++)
		if (fork() == 0) {
			if (fork() != 0)
				_exit(0);
			live_on();
		}
	for (int i = 0; i < 3; i++)
		wait(NULL);
	say_ready();
}

/* One descendant that left the group. */
static void play_leaver(void)
{
	if (fork() == 0) {
		setsid();
		say_ready();
		live_on();
	}
}

static const struct part {
	const char *name;
	void (*play)(void);
} parts[] = {
	{ "sleeper", play_sleeper },       { "stopped", play_stopped }, { "closer", play_closer },
	{ "other-user", play_other_user }, { "family", play_family },   { "leaver", play_leaver },
};

static int play(const char *name)
{
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (strcmp(name, parts[i].name) == 0) {
			parts[i].play();
			live_on();
		}
	return 1;
}

/* ---- the parent -------------------------------------------------------------------------------------------------- */

enum how { WAITS, EXITS, ABORTS, EXECS };

struct scene {
	const char *child; /* its part */
	int ready_fd;      /* for the children */
	int go_fd;         /* end of file: end yourself */
	enum how how;      /* ... in this way */
	int children;      /* 0: one */
	int detached;      /* own session, no line */
	int from_thread;   /* that has ended when the parent ends */
	int without_proc;  /* nothing can be reopened */
	int few_fds;       /* no number is free when all children run */
};

static struct life_line line;

static void start_child(const struct scene *scene)
{
	const struct spawn_fd fds[] = { { 0, 0 }, { 1, 1 }, { 2, 2 }, { READY_FD, scene->ready_fd } };
	const struct spawn_plan plan = {
		.file = self,
		.argv = (const char *const[]){ "child", scene->child, NULL },
		.env = (const char *const[]){ NULL },
		.fds = fds,
		.n_fds = 4,
		.own_group = !scene->detached,
		.own_session = scene->detached,
		.line = scene->detached ? NULL : &line,
	};
	struct spawned kid;
	struct spawn_failure why;
	if (spawn_start(&plan, &kid, &why) < 0) {
		fprintf(stderr, "cannot start %s: %s: %s\n", scene->child, why.stage, strerror(-why.code));
		_exit(1);
	}
}

static void *start_children(void *data)
{
	const struct scene *scene = data;
	for (int i = 0; i < (scene->children ? scene->children : 1); i++)
		start_child(scene);
	return NULL;
}

static void limit(__rlimit_resource_t resource, rlim_t most)
{
	setrlimit(resource, &(struct rlimit){ .rlim_cur = most, .rlim_max = most });
}

/* The parent's life. */
static void live(struct scene *scene)
{
	char byte;
	pthread_t thread;
	limit(RLIMIT_CORE, 0);
	if (life_line_init(&line) < 0)
		_exit(1);
	if (scene->without_proc)
		line.read_fd = 9999;
	if (scene->few_fds) /* two for each child, one of them for its pidfd */
		limit(RLIMIT_NOFILE, (rlim_t)(line.write_fd + 1 + 2 * scene->children));
	if (!scene->from_thread)
		start_children(scene);
	else if (pthread_create(&thread, NULL, start_children, scene) != 0 || pthread_join(thread, NULL) != 0)
		_exit(1);
	close(scene->ready_fd);
	while (read(scene->go_fd, &byte, 1) > 0)
		;
	if (scene->how == EXITS)
		exit(0);
	if (scene->how == ABORTS)
		abort();
	if (scene->how == EXECS)
		execl("/bin/true", "true", NULL);
	for (;;)
		pause();
}

/* ---- the test ---------------------------------------------------------------------------------------------------- */

/* Reap until no descendant is left or the time is over: how many milliseconds it took, or -1. */
static long none_left(long within_ms)
{
	long begin = now_ms();
	for (;;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);
		if (pid < 0 && errno == ECHILD)
			return now_ms() - begin;
		if (pid == 0 && now_ms() - begin > within_ms)
			return -1;
		if (pid == 0)
			sleep_ms(1);
	}
}

/* Kill and reap whoever is left, generation by generation; how many there were. */
static int clean_up(void)
{
	int n = 0;
	siginfo_t info;
	for (;;) {
		char path[64];
		pid_t pid = 0;
		snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
		FILE *children = fopen(path, "re");
		int found = children && fscanf(children, "%d", &pid) == 1;
		if (children)
			fclose(children);
		if (!found)
			return n;
		kill(pid, SIGKILL);
		waitid(P_PID, (id_t)pid, &info, WEXITED);
		n++;
	}
}

static int end(void **state)
{
	(void)state;
	clean_up();
	return 0;
}

/* A byte from each child, or the end of file, which needs all of them. */
static void await_ready(int fd, int children)
{
	char byte;
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	for (int i = 0; i < children; i++) {
		assert_int_equal(poll(&ready, 1, 10000), 1);
		if (read(fd, &byte, 1) == 0)
			return;
	}
}

/* Play the scene up to the parent's end, which is reaped. */
static void perform(struct scene scene)
{
	int ready[2], go[2], status;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	scene.ready_fd = ready[1];
	scene.go_fd = go[0];
	pid_t parent = fork();
	assert_true(parent >= 0);
	if (parent == 0) {
		close(ready[0]);
		close(go[1]);
		live(&scene);
	}
	close(ready[1]);
	close(go[0]);
	await_ready(ready[0], scene.children ? scene.children : 1);
	if (strcmp(scene.child, "stopped") == 0)
		sleep_ms(50);                                   /* from its word to its stop */
	assert_int_equal(waitpid(parent, &status, WNOHANG), 0); /* it lives, so it did start them */
	if (scene.how == WAITS)
		kill(parent, SIGKILL);
	close(go[1]);
	assert_int_equal(waitpid(parent, &status, 0), parent);
	assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : 0,
			 scene.how == WAITS ? SIGKILL : (scene.how == ABORTS ? SIGABRT : 0));
	close(ready[0]);
}

static void expect_none_left(struct scene scene)
{
	perform(scene);
	long took = none_left(WITHIN_MS);
	if (took < 0)
		fail_msg("%d survived", clean_up());
	print_message("gone after %ld ms\n", took);
}

static void expect_survivors(struct scene scene, int survivors)
{
	perform(scene);
	assert_int_equal(none_left(300), -1);
	assert_int_equal(clean_up(), survivors);
}

#define ALL_END(name, ...)                                                                                             \
	static void name(void **state)                                                                                 \
	{                                                                                                              \
		(void)state;                                                                                           \
		expect_none_left((struct scene){ __VA_ARGS__ });                                                       \
	}

ALL_END(a_sleeper_ends, .child = "sleeper")
ALL_END(a_stopped_child_ends, .child = "stopped")
ALL_END(a_child_that_closed_every_descriptor_ends, .child = "closer")
ALL_END(a_child_whose_creating_thread_ended_ends, .child = "sleeper", .from_thread = 1)
ALL_END(grandchildren_in_the_group_end, .child = "family")
ALL_END(children_of_a_parent_that_exits_end, .child = "sleeper", .how = EXITS)
ALL_END(children_of_a_parent_that_aborts_end, .child = "sleeper", .how = ABORTS)
ALL_END(children_of_a_parent_that_becomes_another_program_end, .child = "closer", .how = EXECS)
ALL_END(many_that_closed_every_descriptor_end, .child = "closer", .children = 40)
ALL_END(many_end_when_descriptors_are_scarce, .child = "closer", .children = 12, .few_fds = 1)
ALL_END(children_end_without_proc, .child = "sleeper", .children = 3, .without_proc = 1)
ALL_END(closers_end_without_proc, .child = "closer", .children = 3, .without_proc = 1)

static void a_child_that_became_another_user_ends(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	expect_none_left((struct scene){ .child = "other-user" });
}

/* The parent is killed at any moment of a start, also between clone and exec. */
static void a_parent_killed_while_starting_leaves_nobody(void **state)
{
	(void)state;
	for (int i = 0; i < 60; i++) {
		int ready[2];
		assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
		pid_t parent = fork();
		if (parent == 0)
			live(&(struct scene){
				.child = "sleeper", .ready_fd = ready[1], .go_fd = ready[0], .children = 400 });
		char byte;
		close(ready[1]);
		assert_int_equal(read(ready[0], &byte, 1), 1);
		nanosleep(&(struct timespec){ .tv_nsec = i * 17000 }, NULL);
		kill(parent, SIGKILL);
		close(ready[0]);
		if (none_left(WITHIN_MS) < 0)
			fail_msg("%d survived in round %d", clean_up(), i);
	}
}

/* A child that has neither group nor session of its own ends alone: the rest of that group is not ours. */
static void in_my_own_group_only_the_child_ends(void **state)
{
	int status;
	struct spawned kid;
	struct spawn_failure why;
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	const struct spawn_fd fds[] = { { READY_FD, null_fd } };
	const struct spawn_plan plan = { .file = self,
					 .argv = (const char *const[]){ "child", "sleeper", NULL },
					 .env = (const char *const[]){ NULL },
					 .fds = fds,
					 .n_fds = 1,
					 .line = &line };
	(void)state;
	assert_int_equal(life_line_init(&line), 0);
	assert_int_equal(spawn_start(&plan, &kid, &why), 0);
	assert_int_equal(getpgid(kid.pid), getpgrp());
	life_line_deinit(&line); /* I am still here to see it */
	struct pollfd ended = { .fd = kid.pidfd, .events = POLLIN };
	assert_int_equal(poll(&ended, 1, WITHIN_MS), 1);
	assert_int_equal(waitpid(kid.pid, &status, 0), kid.pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(kid.line_fd);
	close(kid.pidfd);
	close(null_fd);
}

static void not_covered_who_left_the_group(void **state)
{
	(void)state;
	expect_survivors((struct scene){ .child = "leaver" }, 1);
}

static void not_covered_who_is_detached(void **state)
{
	(void)state;
	expect_survivors((struct scene){ .child = "sleeper", .detached = 1 }, 1);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return play(argv[1]);
	close_range(3, ~0u, 0); /* the tests count */
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	if (length < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_sleeper_ends, end),
		cmocka_unit_test_teardown(a_stopped_child_ends, end),
		cmocka_unit_test_teardown(a_child_that_closed_every_descriptor_ends, end),
		cmocka_unit_test_teardown(a_child_whose_creating_thread_ended_ends, end),
		cmocka_unit_test_teardown(grandchildren_in_the_group_end, end),
		cmocka_unit_test_teardown(children_of_a_parent_that_exits_end, end),
		cmocka_unit_test_teardown(children_of_a_parent_that_aborts_end, end),
		cmocka_unit_test_teardown(children_of_a_parent_that_becomes_another_program_end, end),
		cmocka_unit_test_teardown(many_that_closed_every_descriptor_end, end),
		cmocka_unit_test_teardown(many_end_when_descriptors_are_scarce, end),
		cmocka_unit_test_teardown(children_end_without_proc, end),
		cmocka_unit_test_teardown(closers_end_without_proc, end),
		cmocka_unit_test_teardown(a_child_that_became_another_user_ends, end),
		cmocka_unit_test_teardown(a_parent_killed_while_starting_leaves_nobody, end),
		cmocka_unit_test_teardown(in_my_own_group_only_the_child_ends, end),
		cmocka_unit_test_teardown(not_covered_who_left_the_group, end),
		cmocka_unit_test_teardown(not_covered_who_is_detached, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
