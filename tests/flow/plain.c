/*
 * plain: a program that knows nothing of brood, for what happens to descriptors, terminals, identity, limits and process
 * groups. Its first argument says what it does; the table at the end lists all.
 */
#include "pattern.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
/* As in child.c: the leak check at the end would leave an orphan if we were killed meanwhile. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

/* At once, whatever stdout is. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	fflush(stdout);
}

static void put(int fd, const void *bytes, size_t n)
{
	const char *at = bytes;
	while (n > 0) {
		ssize_t done = write(fd, at, n);
		if (done <= 0)
			_exit(90);
		at += done;
		n -= (size_t)done;
	}
}

static void stay(void)
{
	for (;;)
		pause();
}

/* "FD N": N bytes of the pattern, and gone. */
static int do_pattern(char **args)
{
	uint8_t bytes[4096];
	int fd = atoi(args[0]);
	uint64_t n = strtoull(args[1], NULL, 10);
	for (uint64_t at = 0; at < n; at += sizeof bytes) {
		size_t part = n - at < sizeof bytes ? (size_t)(n - at) : sizeof bytes;
		pattern_fill(bytes, at, part);
		put(fd, bytes, part);
	}
	_exit(0);
}

/* "N": N letters without a newline, at once gone. */
static int do_text(char **args)
{
	char bytes[1000];
	memset(bytes, 't', sizeof bytes);
	for (long n = atol(args[0]); n > 0; n -= (long)sizeof bytes)
		put(1, bytes, sizeof bytes);
	_exit(0);
}

/* "CODE": end with it, or by the signal -CODE. */
static int do_end(char **args)
{
	int code = atoi(args[0]);
	if (code < 0)
		raise(-code);
	return code;
}

/* "FD": how many bytes came, and their sum. */
static int do_sum(char **args)
{
	uint8_t bytes[65536];
	uint64_t n = 0, sum = 0;
	ssize_t got;
	while ((got = read(atoi(args[0]), bytes, sizeof bytes)) > 0) {
		sum = pattern_add(sum, bytes, (size_t)got);
		n += (uint64_t)got;
	}
	say("%llu %llu\n", (unsigned long long)n, (unsigned long long)sum);
	return 0;
}

/* "IN OUT": copy until the end. */
static int do_copy(char **args)
{
	char bytes[65536];
	ssize_t got;
	while ((got = read(atoi(args[0]), bytes, sizeof bytes)) > 0)
		put(atoi(args[1]), bytes, (size_t)got);
	return 0;
}

/* "FD": what is open, without its own directory: numbers, and what they are. */
static int do_fds(char **args)
{
	(void)args;
	for (int fd = 0; fd < 300; fd++) {
		char path[32], what[256];
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, what, sizeof what - 1);
		if (n < 0)
			continue;
		what[n] = '\0';
		what[strcspn(what, "[")] = '\0';
		say("%d=%s ", fd, what);
	}
	return 0;
}

static int do_identity(char **args)
{
	gid_t groups[64];
	uid_t real, effective, saved;
	(void)args;
	int n = getgroups(64, groups);
	if (getresuid(&real, &effective, &saved) < 0)
		return 91;
	say("%u %u %u %u", real, effective, saved, getegid());
	for (int i = 0; i < n; i++)
		say(" %u", groups[i]);
	return setuid(0) == 0; /* 0: it cannot come back */
}

static int do_limits(char **args)
{
	struct rlimit files, core;
	(void)args;
	getrlimit(RLIMIT_NOFILE, &files);
	getrlimit(RLIMIT_CORE, &core);
	say("%lu %lu %lu %lu", (unsigned long)files.rlim_cur, (unsigned long)files.rlim_max,
	    (unsigned long)core.rlim_cur, (unsigned long)core.rlim_max);
	return 0;
}

/* "FD": write for ever. */
static void flood(int fd)
{
	uint8_t bytes[4096];
	for (uint64_t at = 0;; at += sizeof bytes) {
		pattern_fill(bytes, at, sizeof bytes);
		put(fd, bytes, sizeof bytes);
	}
}

static int do_flood(char **args)
{
	flood(atoi(args[0]));
	return 0;
}

/* Somebody else floods stdout when this one has gone. */
static int do_leave_flood(char **args)
{
	(void)args;
	if (fork() == 0)
		flood(1);
	put(1, "mine", 4);
	_exit(0);
}

/* Somebody else has stdout open when this one has gone. */
static int do_leave_holder(char **args)
{
	(void)args;
	put(1, "mine", 4);
	if (fork() == 0)
		stay();
	_exit(0);
}

/* Its words are the pids of N descendants in its group that ignore SIGTERM; then it waits. */
static int do_stubborn_family(char **args)
{
	char words[256];
	size_t n = 0;
	int ready[2];
	if (pipe(ready) < 0)
		return 92;
	for (int i = 0; i < atoi(args[0]); i++) {
		pid_t pid = fork();
		if (pid == 0) {
			signal(SIGTERM, SIG_IGN);
			put(ready[1], ".", 1);
			close(1);
			stay();
		}
		char byte;
		if (read(ready[0], &byte, 1) != 1)
			return 93;
		n += (size_t)snprintf(words + n, sizeof words - n, "%ld ", (long)pid);
	}
	put(1, words, n);
	stay();
	return 0;
}

static int do_stubborn(char **args)
{
	(void)args;
	signal(SIGTERM, SIG_IGN);
	say("ready");
	stay();
	return 0;
}

/* From set-uid to root for good. */
static int do_root(char **args)
{
	return setgid(0) < 0 || setuid(0) < 0 ? 95 : do_stubborn(args);
}

/* "CODE": at SIGTERM, last words and this code. */
static volatile sig_atomic_t told;

static void note(int signo)
{
	told = signo;
}

static int do_tidy(char **args)
{
	sigset_t term, before;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &before);
	signal(SIGTERM, note);
	say("ready");
	while (!told)
		sigsuspend(&before);
	say(" tidy");
	return atoi(args[0]);
}

static int do_stopped(char **args)
{
	(void)args;
	raise(SIGSTOP);
	stay();
	return 0;
}

static int do_wait(char **args)
{
	(void)args;
	stay();
	return 0;
}

/* Its standard descriptors as a terminal; then its size whenever that changes. */
static int do_terminal(char **args)
{
	struct winsize size;
	sigset_t change, before;
	(void)args;
	sigemptyset(&change);
	sigaddset(&change, SIGWINCH);
	sigprocmask(SIG_BLOCK, &change, &before);
	signal(SIGWINCH, note);
	say("%d%d%d %d %d\n", isatty(0), isatty(1), isatty(2), getsid(0) == getpid(), tcgetpgrp(0) == getpgrp());
	do {
		told = 0;
		while (!told)
			sigsuspend(&before);
		if (ioctl(0, TIOCGWINSZ, &size) == 0)
			say("%ux%u\n", size.ws_row, size.ws_col);
	} while (told);
	return 0;
}

/* "NAME": the value in the environment, in brackets, or nothing. */
static int do_env(char **args)
{
	for (; *args; args++) {
		const char *value = getenv(*args);
		say(value ? "[%s]" : "-", value);
	}
	return 0;
}

/* Memory until there is no more. */
static int do_hog(char **args)
{
	(void)args;
	char *more;
	while ((more = malloc(1u << 20))) {
		memset(more, 1, 1u << 20);
	}
	return 94;
}

/* A daemon: its pid, and it is in a session of its own, with nothing open. */
static int do_daemon(char **args)
{
	(void)args;
	if (fork() == 0) {
		setsid();
		pid_t pid = fork();
		if (pid == 0) {
			for (int fd = 0; fd < 64; fd++)
				close(fd);
			stay();
		}
		say("%ld", (long)pid);
		_exit(0);
	}
	wait(NULL);
	return 0;
}

static const struct {
	const char *name;
	int (*be)(char **args);
	int n_args;
} behaviours[] = {
	{ "pattern", do_pattern, 2 },
	{ "text", do_text, 1 },
	{ "end", do_end, 1 },
	{ "sum", do_sum, 1 },
	{ "copy", do_copy, 2 },
	{ "fds", do_fds, 0 },
	{ "identity", do_identity, 0 },
	{ "limits", do_limits, 0 },
	{ "flood", do_flood, 1 },
	{ "leave-flood", do_leave_flood, 0 },
	{ "leave-holder", do_leave_holder, 0 },
	{ "stubborn-family", do_stubborn_family, 1 },
	{ "stubborn", do_stubborn, 0 },
	{ "root", do_root, 0 },
	{ "tidy", do_tidy, 1 },
	{ "stopped", do_stopped, 0 },
	{ "wait", do_wait, 0 },
	{ "terminal", do_terminal, 0 },
	{ "env", do_env, 1 },
	{ "hog", do_hog, 0 },
	{ "daemon", do_daemon, 0 },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof behaviours / sizeof *behaviours; i++)
		if (strcmp(behaviours[i].name, argv[1]) == 0 && argc - 2 >= behaviours[i].n_args)
			return behaviours[i].be(argv + 2);
	return 99;
}
