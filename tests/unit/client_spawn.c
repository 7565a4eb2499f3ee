/*
 * Starting programs. The program that is started is this one: with a word behind its name it plays a part and reports
 * what it finds, its descriptors, signals, directory. After every test the same descriptors are open as before, and
 * there is no child, dead or alive.
 */
#include "test.h"

#include "spawn.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define REPORT_FD 20 /* where a started program reports */
#define NO_ENV ((const char *const[]){ NULL })
#define ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })

static char self[4096];
static int fds_before;

/* ---- the parts of the started program ---------------------------------------------------------------------------- */

static long inode_of(int fd)
{
	struct stat status;
	return fstat(fd, &status) < 0 ? -1 : (long)status.st_ino;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The open descriptors in ascending order; how many. */
static int open_fds(int *to, int most)
{
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;
	int n = 0;
	while (n < most && (entry = readdir(directory)))
		if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(directory))
			to[n++] = atoi(entry->d_name);
	closedir(directory);
	qsort(to, (size_t)n, sizeof *to, by_number);
	return n;
}

static void report_signals(void)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "re");
	while (fgets(line, sizeof line, status))
		if (strncmp(line, "SigBlk:", 7) == 0 || strncmp(line, "SigIgn:", 7) == 0)
			dprintf(REPORT_FD, "%s", line);
	fclose(status);
}

static int play_report(void)
{
	int fds[1024];
	int n = open_fds(fds, 1024);
	for (int i = 0; i < n; i++)
		dprintf(REPORT_FD, "%d=%ld ", fds[i], inode_of(fds[i]));
	dprintf(REPORT_FD, "\n");
	report_signals();
	char cwd[4096];
	dprintf(REPORT_FD, "cwd %s\n", getcwd(cwd, sizeof cwd));
	dprintf(REPORT_FD, "group %d session %d\n", getpgrp() == getpid(), getsid(0) == getpid());
	return 0;
}

static pid_t shot_at;
static atomic_int strange; /* calls of the handler in a process that is not its own */
static atomic_int shooting;

static void on_shot(int signo)
{
	(void)signo;
	if (getpid() != shot_at)
		strange++;
}

static void *shoot(void *data)
{
	while (shooting)
		kill(0, SIGUSR1);
	return data;
}

/*
 * Start programs in my group, at which another thread shoots all the time: each is hit somewhere between clone and
 * exec, or later. 2 if a handler of mine ran in one of them.
 */
static int play_target(void)
{
	pthread_t thread;
	struct sigaction action = { .sa_handler = on_shot, .sa_flags = SA_RESTART };
	shot_at = getpid();
	sigaction(SIGUSR1, &action, NULL);
	shooting = 1;
	if (pthread_create(&thread, NULL, shoot, NULL) != 0)
		return 1;
	struct spawn_plan plan = { .file = "/nonexistent", .argv = ARGV("x"), .env = NO_ENV };
	for (int i = 0; i < 2000; i++) {
		struct spawned kid;
		struct spawn_failure why;
		spawn_start(&plan, &kid, &why);
	}
	shooting = 0;
	pthread_join(thread, NULL);
	return strange ? 2 : 0;
}

static int play(char **argv)
{
	if (strcmp(argv[1], "report") == 0)
		return play_report();
	if (strcmp(argv[1], "exit") == 0)
		return atoi(argv[2]);
	if (strcmp(argv[1], "target") == 0)
		return play_target();
	char byte; /* "wait": until my standard input ends */
	while (read(0, &byte, 1) > 0)
		;
	return 3;
}

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

static int begin(void **state)
{
	int fds[1024];
	(void)state;
	fds_before = open_fds(fds, 1024);
	return 0;
}

static int end(void **state)
{
	int fds[1024];
	siginfo_t info;
	(void)state;
	int n = open_fds(fds, 1024), children = 0;
	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == 0 && info.si_pid)
		children++;
	close_range(3, ~0u, 0); /* a test that failed shall not take others along */
	assert_int_equal(n, fds_before);
	assert_int_equal(children, 0);
	assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOHANG), -1);
	return 0;
}

/* Reap and forget. The exit code, or the negative number of the signal. */
static int finish(struct spawned *kid)
{
	siginfo_t info;
	assert_int_equal(waitid(P_PIDFD, (id_t)kid->pidfd, &info, WEXITED), 0);
	assert_int_equal(info.si_pid, kid->pid);
	close(kid->pidfd);
	if (kid->line_fd >= 0)
		close(kid->line_fd);
	return info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
}

static void expect_failure(const struct spawn_plan *plan, const char *stage, int code)
{
	struct spawned kid = { .pid = 77 };
	struct spawn_failure why = { 0 };
	assert_int_equal(spawn_start(plan, &kid, &why), code);
	assert_int_equal(why.code, code);
	assert_string_equal(why.stage, stage);
	assert_int_equal(kid.pid, 77);
}

static void expect_exit(const struct spawn_plan *plan, int code)
{
	struct spawned kid;
	struct spawn_failure why;
	assert_int_equal(spawn_start(plan, &kid, &why), 0);
	assert_int_equal(finish(&kid), code);
}

static char *read_all(int fd)
{
	static char text[16384];
	size_t n = 0;
	ssize_t got;
	while ((got = read(fd, text + n, sizeof text - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	return text;
}

/* Start this program with the plan's descriptors and its report's; what it says, valid until the next call, or NULL. */
static char *report(struct spawn_plan plan, long *report_inode)
{
	struct spawn_fd fds[16];
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	*report_inode = inode_of(ends[1]);
	if (plan.n_fds)
		memcpy(fds, plan.fds, plan.n_fds * sizeof *fds);
	fds[plan.n_fds++] = (struct spawn_fd){ REPORT_FD, ends[1] };
	plan.fds = fds;
	plan.file = self;
	plan.argv = ARGV("spawned", "report");
	plan.env = plan.env ? plan.env : (const char *const *)environ;
	struct spawned kid;
	struct spawn_failure why;
	int rc = spawn_start(&plan, &kid, &why);
	close(ends[1]);
	char *text = rc < 0 ? NULL : read_all(ends[0]);
	close(ends[0]);
	return rc < 0 || finish(&kid) != 0 ? NULL : text;
}

static void expect_line(const char *text, const char *line)
{
	if (!text || !strstr(text, line))
		fail_msg("expected \"%s\" in:\n%s", line, text ? text : "(nothing was started)");
}

/* The started program has the plan's descriptors, with the right files behind them, and no others. */
static void expect_fds(const struct spawn_fd *fds, size_t n_fds, struct life_line *line)
{
	char expected[1024] = "";
	size_t length = 0;
	long inodes[16], report_inode;
	for (size_t i = 0; i < n_fds; i++) /* before, as they may be crosswise */
		inodes[i] = inode_of(fds[i].source);
	struct spawn_plan plan = { .fds = fds, .n_fds = n_fds, .line = line };
	char *text = report(plan, &report_inode);
	for (int target = 0; target < REPORT_FD; target++)
		for (size_t i = 0; i < n_fds; i++)
			if (fds[i].target == target)
				length += (size_t)snprintf(expected + length, sizeof expected - length, "%d=%ld ",
							   target, inodes[i]);
	length += (size_t)snprintf(expected + length, sizeof expected - length, "%d=%ld ", REPORT_FD, report_inode);
	if (line)
		snprintf(expected + length, sizeof expected - length, "%d=%ld ", REPORT_FD + 1,
			 inode_of(line->read_fd));
	assert_non_null(text);
	text[strcspn(text, "\n")] = '\0';
	assert_string_equal(text, expected);
}

/* A file of its own at the given number. */
static int file_at(int fd)
{
	int made = memfd_create("source", MFD_CLOEXEC);
	assert_true(made >= 0);
	if (made != fd) {
		assert_int_equal(dup3(made, fd, O_CLOEXEC), fd);
		close(made);
	}
	return fd;
}

/* Lower the limit of descriptors; the old one. */
static rlim_t limit_fds(rlim_t limit)
{
	struct rlimit limits;
	getrlimit(RLIMIT_NOFILE, &limits);
	rlim_t old = limits.rlim_cur;
	limits.rlim_cur = limit;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limits), 0);
	return old;
}

/* The lowest number that is free, with none free below it. */
static int first_free(void)
{
	int fd = dup(0);
	assert_true(fd >= 0);
	close(fd);
	return fd;
}

/* ---- success and failure ----------------------------------------------------------------------------------------- */

static struct spawn_plan plain(const char *file, const char *const *argv)
{
	return (struct spawn_plan){ .file = file, .argv = argv, .env = (const char *const *)environ };
}

static void a_program_runs_with_its_arguments(void **state)
{
	struct spawn_plan plan = plain(self, ARGV("x", "exit", "42"));
	(void)state;
	expect_exit(&plan, 42);
	plan.own_group = 1;
	expect_exit(&plan, 42);
}

static void what_cannot_be_executed_says_why(void **state)
{
	char file[] = "/tmp/brood-spawn-XXXXXX", long_name[300] = { 0 };
	int fd = mkostemp(file, O_CLOEXEC);
	struct spawn_plan plan = plain("/nonexistent/program", ARGV("x"));
	(void)state;
	plan.env = ARGV("PATH=/bin:/usr/bin"); /* mine may have folders that I may not search */
	expect_failure(&plan, "exec", -ENOENT);
	plan.file = "";
	expect_failure(&plan, "exec", -ENOENT);
	plan.file = "no-such-program-anywhere";
	expect_failure(&plan, "exec", -ENOENT);
	plan.file = memset(long_name, 'x', sizeof long_name - 1);
	expect_failure(&plan, "exec", -ENAMETOOLONG);
	plan.file = "/etc";
	expect_failure(&plan, "exec", -EACCES);
	plan.file = file;
	expect_failure(&plan, "exec", -EACCES); /* no permission bit for anybody, so neither for root */
	assert_int_equal(fchmod(fd, 0755), 0);
	assert_int_equal(write(fd, "exit 0\n", 7), 7);
	expect_failure(&plan, "exec", -ETXTBSY);
	close(fd);
	expect_failure(&plan, "exec", -ENOEXEC);
	unlink(file);
}

static void a_missing_directory_is_told_as_such(void **state)
{
	struct spawn_plan plan = plain(self, ARGV("x", "exit", "0"));
	(void)state;
	plan.cwd = "/nonexistent";
	expect_failure(&plan, "cwd", -ENOENT);
	plan.cwd = self;
	expect_failure(&plan, "cwd", -ENOTDIR);
}

static void bad_descriptors_are_told_as_such(void **state)
{
	struct spawn_plan plan = plain(self, ARGV("x", "exit", "0"));
	(void)state;
	plan.fds = (const struct spawn_fd[]){ { 0, 0 }, { 1, 999 } };
	plan.n_fds = 2;
	expect_failure(&plan, "stdio", -EBADF);
	plan.fds = (const struct spawn_fd[]){ { 999, 999 }, { 1, 1 } };
	expect_failure(&plan, "stdio", -EBADF);
	plan.fds = (const struct spawn_fd[]){ { 999, 1 }, { 1, 999 } };
	expect_failure(&plan, "stdio", -EBADF);
	plan.fds = (const struct spawn_fd[]){ { -1, 0 }, { 1, 1 } };
	expect_failure(&plan, "stdio", -EBADF);
	plan.fds = (const struct spawn_fd[]){ { 0, -1 }, { 1, 1 } };
	expect_failure(&plan, "stdio", -EBADF);
	plan.fds = (const struct spawn_fd[]){ { 0x7fffffff, 0 }, { 1, 1 } };
	expect_failure(&plan, "stdio", -EBADF);
	plan.fds = (const struct spawn_fd[]){ { 1, 1 }, { 1, 0 } };
	expect_failure(&plan, "stdio", -EINVAL);
}

static void without_free_descriptors_nothing_starts_and_nothing_leaks(void **state)
{
	struct life_line line;
	struct spawn_plan plan = plain(self, ARGV("x", "exit", "0"));
	(void)state;
	assert_int_equal(life_line_init(&line), 0);
	int free_fd = first_free();
	rlim_t old = limit_fds((rlim_t)free_fd);
	expect_failure(&plan, "fork", -EMFILE); /* no number for the pidfd */
	plan.line = &line;
	expect_failure(&plan, "line", -EMFILE);
	limit_fds((rlim_t)free_fd + 1);
	expect_failure(&plan, "fork", -EMFILE); /* it was for the line */
	plan.line = NULL;
	expect_exit(&plan, 0);
	plan.fds = (const struct spawn_fd[]){ { 0, 1 }, { 1, 0 } };
	plan.n_fds = 2;
	expect_failure(&plan, "stdio", -EMFILE); /* one number to change places, and two that want to */
	limit_fds((rlim_t)old);
	expect_exit(&plan, 0);
	life_line_deinit(&line);
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

static void descriptors_change_places(void **state)
{
	(void)state;
	for (int fd = 5; fd < 9; fd++)
		file_at(fd);
	expect_fds((const struct spawn_fd[]){ { 5, 6 }, { 6, 5 } }, 2, NULL);
	expect_fds((const struct spawn_fd[]){ { 8, 7 }, { 7, 8 } }, 2, NULL);
	expect_fds((const struct spawn_fd[]){ { 5, 6 }, { 6, 7 }, { 7, 5 } }, 3, NULL);
	expect_fds((const struct spawn_fd[]){ { 0, 5 }, { 5, 0 }, { 6, 5 }, { 7, 5 }, { 8, 8 } }, 5, NULL);
	for (int fd = 5; fd < 9; fd++)
		close(fd);
}

static void standard_input_and_output_change_places(void **state)
{
	int saved[2] = { fcntl(0, F_DUPFD_CLOEXEC, 30), fcntl(1, F_DUPFD_CLOEXEC, 30) };
	(void)state;
	file_at(0);
	file_at(1);
	long in = inode_of(0), out = inode_of(1), report_inode;
	struct spawn_fd fds[] = { { 0, 1 }, { 1, 0 } };
	char expected[100], *text = report((struct spawn_plan){ .fds = fds, .n_fds = 2 }, &report_inode);
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], i);
		close(saved[i]);
	}
	snprintf(expected, sizeof expected, "0=%ld 1=%ld 20=%ld \n", out, in, report_inode);
	expect_line(text, expected);
}

static void the_same_number_is_kept_open(void **state)
{
	(void)state;
	file_at(6); /* close-on-exec */
	expect_fds((const struct spawn_fd[]){ { 6, 6 } }, 1, NULL);
	expect_fds((const struct spawn_fd[]){ { 6, 6 }, { 0, 6 }, { 2, 6 } }, 3, NULL);
	close(6);
}

static void nothing_else_is_open(void **state)
{
	int open_ones[] = { 5, 19, 21, 22, 63, 64, 250 };
	(void)state;
	for (size_t i = 0; i < 7; i++)
		assert_int_equal(dup2(0, open_ones[i]), open_ones[i]);
	expect_fds(NULL, 0, NULL);
	expect_fds((const struct spawn_fd[]){ { 0, 0 }, { 1, 1 }, { 2, 2 }, { 7, 250 } }, 4, NULL);
	for (size_t i = 0; i < 7; i++)
		close(open_ones[i]);
}

static void the_line_lies_above_all(void **state)
{
	struct life_line line;
	(void)state;
	assert_int_equal(life_line_init(&line), 0);
	expect_fds((const struct spawn_fd[]){ { 0, 0 }, { 1, 1 } }, 2, &line);
	int next = first_free(); /* the number that my copy of the line will have is also wanted in the child */
	expect_fds((const struct spawn_fd[]){ { next, 1 }, { next + 1, 0 }, { next + 2, 2 } }, 3, &line);
	life_line_deinit(&line);
}

/* A dying process releases its highest descriptor first: that must be the write end, down to the last free number. */
static void the_write_end_stays_above_all_readers(void **state)
{
	struct life_line line;
	int fds[32], n = 0, highest = 0;
	(void)state;
	rlim_t old = limit_fds(32);
	assert_int_equal(life_line_init(&line), 0);
	while (n < 32 && (fds[n] = life_line_reader(&line)) >= 0) {
		highest = fds[n] > highest ? fds[n] : highest;
		assert_true(line.write_fd > highest);
		assert_int_equal(fcntl(fds[n++], F_GETFD), FD_CLOEXEC);
	}
	assert_int_equal(fcntl(line.write_fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(dup(0), -1); /* not one was wasted */
	assert_int_equal(fds[n], -EMFILE);
	close(fds[0]);
	assert_true(life_line_reader(&line) >= 0);
	limit_fds(old);
	while (n-- > 0)
		close(fds[n]);
	life_line_deinit(&line);
	life_line_deinit(&line);
}

/* Without /proc: a pipe for each reader, kept as long as it is read. */
static void readers_without_proc_have_pipes_of_their_own(void **state)
{
	struct life_line line;
	(void)state;
	assert_int_equal(life_line_init(&line), 0);
	int read_fd = line.read_fd;
	line.read_fd = 9999; /* what is not in /proc/self/fd cannot be opened there */
	int first = life_line_reader(&line), second = life_line_reader(&line);
	assert_true(first >= 0 && second >= 0);
	assert_int_equal(line.n_lone, 2);
	assert_true(line.lone[0] > first && line.lone[1] > second);
	assert_int_not_equal(inode_of(first), inode_of(second));
	close(first);
	first = life_line_reader(&line);
	assert_int_equal(line.n_lone, 2);
	line.read_fd = read_fd;
	life_line_deinit(&line);
	struct pollfd ended = { .fd = second };
	assert_int_equal(poll(&ended, 1, 0), 1); /* hung up */
	close(first);
	close(second);
}

/* From here on this thread has no close_range(), like a program in an old sandbox. */
static int refuse_close_range(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = filter };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return -1;
	return syscall(SYS_close_range, 1000000, 1000000, 0) < 0 && errno == ENOSYS ? 0 : -1;
}

static void *report_without_close_range(void *data)
{
	long report_inode;
	if (refuse_close_range() < 0)
		return NULL;
	*(char **)data = report((struct spawn_plan){ .n_fds = 0 }, &report_inode);
	return data;
}

static void nothing_else_is_open_without_close_range(void **state)
{
	pthread_t thread;
	void *worked;
	char *text = NULL;
	(void)state;
	rlim_t old = limit_fds(512);
	assert_int_equal(dup2(0, 5), 5);
	assert_int_equal(dup2(0, 511), 511);
	assert_int_equal(pthread_create(&thread, NULL, report_without_close_range, &text), 0);
	pthread_join(thread, &worked);
	close(5);
	close(511);
	limit_fds(old);
	if (!worked)
		skip(); /* no seccomp here */
	assert_non_null(text);
	assert_memory_equal(text, "20=", 3);
	assert_string_equal(strchr(text, ' ') + 1, strchr(text, '\n')); /* nothing behind it */
}

/* ---- signals, directory, groups ---------------------------------------------------------------------------------- */

static void signals_are_as_new(void **state)
{
	int ignored[] = { SIGPIPE, SIGUSR1, SIGHUP, SIGRTMIN, SIGRTMAX };
	sigset_t blocked, before, after;
	long report_inode;
	(void)state;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGRTMIN + 3);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	for (size_t i = 0; i < 5; i++)
		signal(ignored[i], SIG_IGN);
	char *text = report((struct spawn_plan){ .n_fds = 0 }, &report_inode);
	for (size_t i = 0; i < 5; i++)
		assert_ptr_equal(signal(ignored[i], SIG_DFL), SIG_IGN);
	sigprocmask(SIG_SETMASK, &before, &after);
	assert_true(sigismember(&after, SIGTERM) && sigismember(&after, SIGRTMIN + 3));
	assert_false(sigismember(&after, SIGINT));
	expect_line(text, "SigBlk:\t0000000000000000\n");
	expect_line(text, "SigIgn:\t0000000000000000\n");
}

static void no_handler_of_mine_runs_in_the_child(void **state)
{
	struct spawn_plan plan = plain(self, ARGV("x", "target"));
	(void)state;
	plan.own_group = 1;
	expect_exit(&plan, 0);
}

static void the_directory_is_the_one_asked_for(void **state)
{
	long report_inode;
	char expected[5000], mine[4096];
	(void)state;
	expect_line(report((struct spawn_plan){ .cwd = "/usr" }, &report_inode), "\ncwd /usr\n");
	snprintf(expected, sizeof expected, "\ncwd %s\n", getcwd(mine, sizeof mine));
	expect_line(report((struct spawn_plan){ .cwd = NULL }, &report_inode), expected);
}

static void group_and_session_are_those_asked_for(void **state)
{
	long report_inode;
	(void)state;
	expect_line(report((struct spawn_plan){ .cwd = NULL }, &report_inode), "group 0 session 0\n");
	expect_line(report((struct spawn_plan){ .own_group = 1 }, &report_inode), "group 1 session 0\n");
	expect_line(report((struct spawn_plan){ .own_session = 1 }, &report_inode), "group 1 session 1\n");
	expect_line(report((struct spawn_plan){ .own_session = 1, .own_group = 1 }, &report_inode),
		    "group 1 session 1\n");
}

/* ---- PATH -------------------------------------------------------------------------------------------------------- */

static char folder[40];

static void write_file(const char *name, const char *text, mode_t mode)
{
	char path[100];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

/* plain/tool has no permission, text/tool no #!, good/tool is this program. */
static int make_folder(void **state)
{
	char path[100];
	strcpy(folder, "/tmp/brood-path-XXXXXX");
	assert_non_null(mkdtemp(folder));
	for (const char *const *name = ARGV("plain", "text", "good"); *name; name++) {
		snprintf(path, sizeof path, "%s/%s", folder, *name);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	write_file("plain/tool", "", 0644);
	write_file("text/tool", "exit 0\n", 0755);
	snprintf(path, sizeof path, "%s/good/tool", folder);
	assert_int_equal(symlink(self, path), 0);
	return begin(state);
}

static int remove_folder(void **state)
{
	char path[100];
	for (const char *const *name = ARGV("plain/tool", "text/tool", "good/tool", "plain", "text", "good", ".");
	     *name; name++) {
		snprintf(path, sizeof path, "%s/%s", folder, *name);
		remove(path);
	}
	rmdir(folder);
	return end(state);
}

/* Look for `tool` in these folders, names relative to ours: 0 if it ran, else the failure. */
static int run_tool(const char *path)
{
	char entry[1000] = "PATH=", *at = entry + 5;
	while (*path) {
		size_t length = strcspn(path, ":");
		at += sprintf(at, "%s/%.*s", folder, (int)length, path);
		path += length;
		if (*path)
			*at++ = *path++;
	}
	const struct spawn_plan plan = { .file = "tool", .argv = ARGV("tool", "exit", "0"), .env = ARGV(entry) };
	struct spawned kid;
	struct spawn_failure why;
	int rc = spawn_start(&plan, &kid, &why);
	if (rc == 0)
		return finish(&kid);
	assert_string_equal(why.stage, "exec");
	return rc;
}

static void path_is_searched_as_execvp_does(void **state)
{
	(void)state;
	assert_int_equal(run_tool("good"), 0);
	assert_int_equal(run_tool("missing:good"), 0);
	assert_int_equal(run_tool("plain:good"), 0);
	assert_int_equal(run_tool("plain/tool:good"), 0); /* not a directory */
	assert_int_equal(run_tool("missing"), -ENOENT);
	assert_int_equal(run_tool("plain"), -EACCES);
	assert_int_equal(run_tool("plain:missing"), -EACCES);
	assert_int_equal(run_tool("text:good"), -ENOEXEC); /* found; no shell helps, and no search goes on */
}

static void path_is_that_of_the_given_environment(void **state)
{
	char path[100];
	struct spawn_plan plan = { .file = "tool", .argv = ARGV("tool", "exit", "0"), .env = NO_ENV };
	(void)state;
	char *mine = strdup(getenv("PATH") ? getenv("PATH") : "/bin");
	snprintf(path, sizeof path, "%s/good", folder);
	setenv("PATH", path, 1);
	expect_failure(&plan, "exec", -ENOENT);
	plan.env = (const char *const *)environ;
	expect_exit(&plan, 0);
	setenv("PATH", mine, 1);
	free(mine);
	plan.file = "true"; /* without any PATH: /bin, /usr/bin */
	plan.env = NO_ENV;
	expect_exit(&plan, 0);
}

static void names_are_relative_to_the_new_directory(void **state)
{
	char path[100];
	struct spawn_plan plan = {
		.file = "good/tool", .argv = ARGV("tool", "exit", "0"), .env = ARGV("PATH="), .cwd = folder
	};
	(void)state;
	expect_exit(&plan, 0);
	snprintf(path, sizeof path, "%s/good", folder);
	plan.cwd = path;
	expect_failure(&plan, "exec", -ENOENT);
	plan.file = "tool"; /* an empty PATH is the current directory */
	expect_exit(&plan, 0);
}

/* ---- the caller -------------------------------------------------------------------------------------------------- */

static void *start_in_thread(void *data)
{
	struct spawn_fd fds[] = { { 0, *(int *)data } };
	struct spawn_plan plan = plain(self, ARGV("x", "wait"));
	static struct spawned kid;
	struct spawn_failure why;
	plan.fds = fds;
	plan.n_fds = 1;
	return spawn_start(&plan, &kid, &why) < 0 ? NULL : &kid;
}

static void a_child_outlives_the_thread_that_started_it(void **state)
{
	pthread_t thread;
	void *kid;
	int ends[2];
	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&thread, NULL, start_in_thread, ends), 0);
	pthread_join(thread, &kid);
	assert_non_null(kid);
	struct pollfd ended = { .fd = ((struct spawned *)kid)->pidfd, .events = POLLIN };
	assert_int_equal(poll(&ended, 1, 50), 0);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(finish(kid), 3);
}

static double start_and_finish(int times)
{
	struct timespec from, to;
	const struct spawn_plan plan = plain(self, ARGV("x", "exit", "0"));
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < times; i++)
		expect_exit(&plan, 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	return (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
}

static void touch(char *memory, size_t size)
{
	for (size_t at = 0; at < size; at += 4096)
		memory[at]++;
}

/*
 * A caller of 1 GiB. What is asserted is not the time but its reason: the caller's memory was shared, not copied, so
 * its pages are still writable without a page fault.
 */
static void a_large_caller_pays_nothing(void **state)
{
	size_t size = (size_t)1 << 30;
	struct rusage before, after;
	(void)state;
	double small = start_and_finish(20);
	char *large = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (large == MAP_FAILED)
		skip();
	touch(large, size);
	double big = start_and_finish(20);
	getrusage(RUSAGE_SELF, &before);
	touch(large, size);
	getrusage(RUSAGE_SELF, &after);
	munmap(large, size);
	print_message("start to exit: %.2f ms each, with 1 GiB more %.2f ms\n", small / 20, big / 20);
	assert_true(after.ru_minflt - before.ru_minflt < 64);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		_exit(play(argv));
	close_range(3, ~0u, 0); /* the tests choose numbers */
	if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
		return 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_program_runs_with_its_arguments, begin, end),
		cmocka_unit_test_setup_teardown(what_cannot_be_executed_says_why, begin, end),
		cmocka_unit_test_setup_teardown(a_missing_directory_is_told_as_such, begin, end),
		cmocka_unit_test_setup_teardown(bad_descriptors_are_told_as_such, begin, end),
		cmocka_unit_test_setup_teardown(without_free_descriptors_nothing_starts_and_nothing_leaks, begin, end),
		cmocka_unit_test_setup_teardown(descriptors_change_places, begin, end),
		cmocka_unit_test_setup_teardown(standard_input_and_output_change_places, begin, end),
		cmocka_unit_test_setup_teardown(the_same_number_is_kept_open, begin, end),
		cmocka_unit_test_setup_teardown(nothing_else_is_open, begin, end),
		cmocka_unit_test_setup_teardown(the_line_lies_above_all, begin, end),
		cmocka_unit_test_setup_teardown(the_write_end_stays_above_all_readers, begin, end),
		cmocka_unit_test_setup_teardown(readers_without_proc_have_pipes_of_their_own, begin, end),
		cmocka_unit_test_setup_teardown(nothing_else_is_open_without_close_range, begin, end),
		cmocka_unit_test_setup_teardown(signals_are_as_new, begin, end),
		cmocka_unit_test_setup_teardown(no_handler_of_mine_runs_in_the_child, begin, end),
		cmocka_unit_test_setup_teardown(the_directory_is_the_one_asked_for, begin, end),
		cmocka_unit_test_setup_teardown(group_and_session_are_those_asked_for, begin, end),
		cmocka_unit_test_setup_teardown(path_is_searched_as_execvp_does, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(path_is_that_of_the_given_environment, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(names_are_relative_to_the_new_directory, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(a_child_outlives_the_thread_that_started_it, begin, end),
		cmocka_unit_test_setup_teardown(a_large_caller_pays_nothing, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
