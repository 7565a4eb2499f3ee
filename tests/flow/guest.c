/*
 * guest: brood in a program that has a life of its own. Whatever belongs to the whole process (signals, threads, working
 * directory, environment, children, descriptors) is afterwards as it was, and meanwhile too. A program that takes the
 * status of all children is survived, and told so.
 *
 * The surprising rule: a status is taken either by the program or by the library, and often that is a race. Where a test
 * wants it stolen it waits until the program has it before it lets the library look.
 */
#include "flow.h"
#include <brood/event.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- what belongs to the process --------------------------------------------------------------------------------- */

#define KERNEL_ACTION 32 /* bytes: handler, flags, restorer, mask */
#define KERNEL_SET 8

struct process {
	unsigned char actions[_NSIG][KERNEL_ACTION], mask[KERNEL_SET];
	long threads, umask;
	char cwd[256];
	char **environ;
	size_t environ_size;
	char environ_text[65536];
	pid_t group, session;
	int flags[3]; /* of 0, 1, 2 */
};

/* As the kernel has it: the C library hides signals that it uses itself. */
static void look_at_signals(struct process *p)
{
	for (int signo = 1; signo < _NSIG; signo++)
		syscall(SYS_rt_sigaction, signo, NULL, p->actions[signo], KERNEL_SET);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, p->mask, KERNEL_SET);
}

static long count_threads(void)
{
	return process_status(getpid(), "Threads:");
}

static long read_umask(void)
{
	char line[256];
	long value = -1;
	FILE *f = fopen("/proc/self/status", "re");
	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, "Umask:", 6) == 0)
			value = strtol(line + 6, NULL, 8);
	if (f)
		fclose(f);
	return value;
}

static void look_at_environ(struct process *p)
{
	p->environ = environ;
	for (char **at = environ; *at && p->environ_size + strlen(*at) < sizeof p->environ_text; at++) {
		strcpy(p->environ_text + p->environ_size, *at);
		p->environ_size += strlen(*at) + 1;
	}
}

static void look(struct process *p)
{
	memset(p, 0, sizeof *p);
	look_at_signals(p);
	look_at_environ(p);
	p->threads = count_threads();
	p->umask = read_umask();
	assert_non_null(getcwd(p->cwd, sizeof p->cwd));
	p->group = getpgrp();
	p->session = getsid(0);
	for (int fd = 0; fd < 3; fd++)
		p->flags[fd] = fcntl(fd, F_GETFL);
}

static struct process before;

static void assert_unchanged(void)
{
	static struct process now;
	look(&now);
	for (int signo = 1; signo < _NSIG; signo++)
		if (memcmp(now.actions[signo], before.actions[signo], KERNEL_ACTION) != 0)
			fail_msg("the disposition of signal %d has changed", signo);
	assert_memory_equal(now.mask, before.mask, KERNEL_SET);
	assert_int_equal(now.threads, before.threads);
	assert_int_equal(now.umask, before.umask);
	assert_string_equal(now.cwd, before.cwd);
	assert_ptr_equal(now.environ, before.environ);
	assert_int_equal(now.environ_size, before.environ_size);
	assert_memory_equal(now.environ_text, before.environ_text, now.environ_size);
	assert_int_equal(now.group, before.group);
	assert_int_equal(now.session, before.session);
	assert_memory_equal(now.flags, before.flags, sizeof now.flags);
}

static volatile sig_atomic_t pipes; /* SIGPIPE that came */

static void count_pipe(int signo)
{
	pipes += signo == SIGPIPE;
}

static char home[256];
static mode_t home_umask;

/* Nothing is at its default, so that a "restored" default shows. */
static int settle_in(void)
{
	sigset_t some;
	sigemptyset(&some);
	sigaddset(&some, SIGUSR1);
	sigaddset(&some, SIGTERM);
	sigprocmask(SIG_BLOCK, &some, NULL);
	signal(SIGPIPE, count_pipe);
	signal(SIGCHLD, count_pipe);
	signal(SIGHUP, SIG_IGN);
	home_umask = umask(031);
	pipes = 0;
	return getcwd(home, sizeof home) ? chdir("/usr") : -1;
}

static int settle_out(void)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	umask(home_umask);
	return chdir(home);
}

static int settled_on_unix(void **state)
{
	return on_unix(state) < 0 ? -1 : settle_in();
}

static int settled_on_tcp(void **state)
{
	return on_tcp(state) < 0 ? -1 : settle_in();
}

static int settled_without(void **state)
{
	return fixture_setup_empty(state) < 0 ? -1 : settle_in();
}

static int settled_teardown(void **state)
{
	int rc = settle_out();
	return fixture_teardown(state) < 0 ? -1 : rc;
}

static int look_again(const brood_event *e)
{
	(void)e;
	assert_unchanged();
	return 0;
}

/* A life with all there is: a child with options, one that cannot start, messages, a question, a name, an exit. */
static void live(void)
{
	struct family f = { .me.also = look_again, .d.also = look_again };
	struct diary failed = { 0 };
	family_connect(&f);
	assert_unchanged();
	assert_int_equal(
		brood_spawn(f.b, &f.kid, KID("worker"),
			    BROOD_SPAWN(.on = diary_table, .data = &f.d, .cwd = "/", .env_add = BROOD_ARGV("A=b"),
					.stdio = BROOD_STDIO(BROOD_MINE(0), BROOD_MINE(1), BROOD_MINE(2)))),
		0);
	assert_int_equal(
		brood_spawn(f.b, NULL, BROOD_ARGV("/nowhere/at/all"), BROOD_SPAWN(.on = diary_table, .data = &failed)),
		0);
	assert_unchanged();
	say(f.kid, "stream", "100 1000");
	(void)brood_fd(f.b);
	assert_int_equal(ask_number(f.kid, "count"), 1);
	assert_unchanged();
	until(f.b, diary_messages(&f.d) == 100 && failed.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(brood_register(f.b, "guest"), 0);
	(void)brood_sync(f.b, PATIENCE_MS); /* says that one could not start */
	assert_int_equal(brood_kill(f.kid, SIGKILL, BROOD_TREE), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.order, "SRmDEC");
	assert_string_equal(failed.order, "!C");
	family_end(&f);
}

static void test_process_is_as_it_was(void **state)
{
	(void)state;
	look(&before);
	live();
	assert_unchanged();
	assert_int_equal(pipes, 0);
}

static void test_process_is_as_it_was_with_autostart(void **state)
{
	((struct fixture *)*state)->orphans = -1; /* the broker leaves by itself */
	test_process_is_as_it_was(state);
}

/* A broker that dies, and a child that dies unread: where others get SIGPIPE. */
static void test_no_sigpipe(void **state)
{
	struct family f = { .flags = BROOD_NO_RECONNECT };
	(void)state;
	look(&before);
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	kill_broker_hard(*state);
	for (int i = 0; i < 100; i++)
		if (brood_send(f.kid, BROOD_TEXT("x")) == -ENOTCONN)
			break;
	until(f.b, f.me.n[BROOD_EVENT_ERROR] >= 1);
	assert_unchanged();
	family_end(&f);
	assert_unchanged();
	assert_int_equal(pipes, 0);
}

/* ---- the host's own children ------------------------------------------------------------------------------------- */

#define OWN 20

/* Every third dies of a signal, the others exit. */
static pid_t fork_own(int i)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	usleep((useconds_t)i * 500);
	if (i % 3 == 0)
		raise(SIGKILL);
	_exit(100 + i);
}

static int has_status(pid_t pid, int i)
{
	int status;
	if (waitpid(pid, &status, 0) != pid)
		return 0;
	return i % 3 == 0 ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
			  : WIFEXITED(status) && WEXITSTATUS(status) == 100 + i;
}

/* Both have children that come and go at the same time; each gets the status of its own, and of no other. */
static void test_two_families(void **state)
{
	static struct diary d[OWN];
	struct family f = { 0 };
	pid_t own[OWN];
	(void)state;
	memset(d, 0, sizeof d);
	family_connect(&f);
	for (int i = 0; i < OWN; i++) {
		char code[16];
		snprintf(code, sizeof code, "%d", i);
		assert_int_equal(
			brood_spawn(f.b, NULL, KID("quit", code), BROOD_SPAWN(.on = diary_table, .data = &d[i])), 0);
		own[i] = fork_own(i);
	}
	assert_int_equal(brood_run(f.b), 0);
	for (int i = 0; i < OWN; i++) {
		assert_string_equal(d[i].order, "SDEC");
		assert_int_equal(d[i].exit.cause, BROOD_EXITED);
		assert_int_equal(d[i].exit.code, i);
		assert_true(has_status(own[i], i));
	}
	family_end(&f);
}

/* A child of the host that is dead and not yet waited for stays so, through brood_close() too. */
static void test_a_zombie_stays(void **state)
{
	struct family f = { 0 };
	(void)state;
	pid_t own = fork_own(1);
	until_polled(NULL, process_state(own) == 'Z');
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	family_end(&f);
	assert_int_equal(process_state(own), 'Z');
	assert_true(has_status(own, 1));
}

/* ---- a host that takes every status ------------------------------------------------------------------------------ */

static volatile sig_atomic_t last_taken;

static void take_all(int signo)
{
	int saved = errno;
	pid_t pid;
	(void)signo;
	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		last_taken = pid;
	errno = saved;
}

static void by_handler(void)
{
	assert_int_equal(sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = take_all }, NULL), 0);
}

static void by_ignoring(void)
{
	assert_int_equal(sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL), 0);
}

static void by_nocldwait(void)
{
	struct sigaction a = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT };
	assert_int_equal(sigaction(SIGCHLD, &a, NULL), 0);
}

static void (*const thieves[])(void) = { by_handler, by_ignoring, by_nocldwait };
#define N_THIEVES (sizeof thieves / sizeof *thieves)

/* The fixture waits for its broker as everybody does. */
static int honest_teardown(void **state)
{
	signal(SIGCHLD, SIG_DFL);
	return fixture_teardown(state);
}

static void assert_stolen(const struct diary *d)
{
	assert_int_equal(d->exit.cause, BROOD_STOLEN);
	assert_int_equal(d->exit.code, -1);
	assert_int_equal(d->exit.signo, 0);
	assert_non_null(strstr(d->exit_text, "this program took its status"));
	assert_int_equal(d->n[BROOD_EVENT_CLOSE], 1);
}

/* Gone without a trace: somebody has its status. */
static int is_taken(pid_t pid)
{
	return process_state(pid) == 0;
}

/* Its messages came, what came before its end is told, and the end is told for what it is. */
static void be_robbed(void)
{
	struct family f = { 0 };
	family_begin(&f, KID("worker"));
	say(f.kid, "stream", "100 1000");
	assert_int_equal(ask_number(f.kid, "count"), 1); /* they are out, and wait here for their turn */
	pid_t pid = info_of(f.kid).pid;
	say(f.kid, "_exit", "5");
	until_polled(NULL, is_taken(pid));
	assert_true(brood_kill(f.kid, 0, 0) < 0); /* never somebody else who has the number now */
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(diary_messages(&f.d), 100);
	assert_int_equal(f.d.wrong, 0);
	assert_int_equal(f.d.order[strlen(f.d.order) - 1], 'C');
	assert_stolen(&f.d);
	assert_int_equal(info_of(f.kid).exit->cause, BROOD_STOLEN);
	family_end(&f);
}

/* In the ways that end a program's wait for its children: none hangs. */
static void be_robbed_in_a_hurry(void)
{
	struct family f = { 0 };
	brood_peer *plain;
	struct diary d = { 0 }, failed = { 0 };
	family_begin(&f, KID("exit", "7"));
	assert_int_equal(brood_spawn(f.b, &plain, KID("quit", "7"),
				     BROOD_SPAWN(.flags = BROOD_PLAIN, .on = diary_table, .data = &d)),
			 0);
	assert_int_equal(
		brood_spawn(f.b, NULL, BROOD_ARGV("/nowhere/at/all"), BROOD_SPAWN(.on = diary_table, .data = &failed)),
		0);
	assert_int_equal(brood_wait(plain, PATIENCE_MS), 0);
	assert_int_equal(brood_run(f.b), 0);
	assert_string_equal(failed.order, "!C"); /* a failed start is not known by its status */
	assert_string_equal(failed.error, "spawn.exec");
	assert_string_equal(f.d.order, "SRDEC");
	assert_true(f.d.exit.cause == BROOD_STOLEN || f.d.exit.code == 7); /* who is first, is */
	assert_true(d.exit.cause == BROOD_STOLEN || d.exit.code == 7);
	assert_int_equal(brood_spawn(f.b, NULL, KID("stubborn", "worker"), BROOD_SPAWN(.grace_ms = 50)), 0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS) == -ETIMEDOUT, 0);
	family_end(&f); /* SIGTERM, SIGKILL, and it sees that it is gone */
}

static void test_stolen(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_THIEVES; i++) {
		thieves[i]();
		be_robbed();
		be_robbed_in_a_hurry();
	}
}

/* The private broker is nobody's child that matters. */
static void test_stolen_with_autostart(void **state)
{
	((struct fixture *)*state)->orphans = -1;
	by_ignoring();
	be_robbed();
}

/*
 * A signal by number would hit whoever has it next. The kernel finds the group of a stolen child by identity (Linux 6.9)
 * or not at all.
 */
static void test_kill_after_theft(void **state)
{
	struct family f = { 0 };
	(void)state;
	by_ignoring();
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	uint64_t member = ask_number(f.kid, "fork"); /* keeps the group alive */
	pid_t pid = info_of(f.kid).pid;
	((struct fixture *)*state)->orphans = -1;
	say(f.kid, "_exit", "0");
	until_polled(NULL, is_taken(pid));
	int rc = brood_kill(f.kid, SIGKILL, BROOD_TREE);
	if (rc != 0) {
		assert_int_equal(rc, -ESRCH);
		nap();
		assert_false(process_is_dead((pid_t)member));
		kill((pid_t)member, SIGKILL);
	}
	until_polled(NULL, process_is_dead((pid_t)member));
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	family_end(&f);
}

/* A host with a thread that does nothing but wait. */
static void *wait_for_all(void *data)
{
	(void)data;
	for (;;)
		if (waitpid(-1, NULL, 0) < 0)
			usleep(100);
	return NULL;
}

static void test_stolen_by_a_thread(void **state)
{
	pthread_t thread;
	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, wait_for_all, NULL), 0);
	be_robbed();
	be_robbed_in_a_hurry();
	pthread_cancel(thread);
	pthread_join(thread, NULL);
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

/* What a program that the host starts itself finds open. */
static void list_inherited(char *to, size_t n)
{
	int out;
	size_t have = 0;
	ssize_t got;
	pid_t pid = start_program(BROOD_ARGV("/bin/ls", "-x", "/proc/self/fd"), &out);
	while (have < n - 1 && (got = read(out, to + have, n - 1 - have)) > 0)
		have += (size_t)got;
	to[have] = '\0';
	close(out);
	assert_int_equal(wait_program(pid), 0);
}

/* Descriptors above 2 that exec would pass on. */
static unsigned count_inheritable(void)
{
	unsigned n = 0;
	for (int fd = 3; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);
		n += flags >= 0 && !(flags & FD_CLOEXEC);
	}
	return n;
}

static char inherited_before[1024];
static unsigned inheritable_before;

static int look_at_descriptors(const brood_event *e)
{
	(void)e;
	assert_int_equal(count_inheritable(), inheritable_before);
	return 0;
}

static void test_descriptors(void **state)
{
	struct family f = { .me.also = look_at_descriptors, .d.also = look_at_descriptors };
	char inherited[1024];
	(void)state;
	list_inherited(inherited_before, sizeof inherited_before);
	inheritable_before = count_inheritable();
	unsigned open_before = count_fds();
	family_begin(&f, KID("worker"));
	(void)brood_fd(f.b);
	say(f.kid, "stream", "10 100");
	until(f.b, diary_messages(&f.d) == 10);
	assert_true(count_fds() > open_before); /* there is something to find */
	(void)look_at_descriptors(NULL);
	list_inherited(inherited, sizeof inherited);
	assert_string_equal(inherited, inherited_before);
	family_end(&f);
	assert_int_equal(count_fds(), open_before);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MOMENTS 100 /* copies of their memory are slow */
#else
#define MOMENTS 500
#endif

static int enough; /* atomic */

static void *spawn_without_end(void *data)
{
	uintptr_t wrong = 0;
	(void)data;
	while (!__atomic_load_n(&enough, __ATOMIC_ACQUIRE)) {
		brood *b;
		brood_peer *kid;
		if (brood_connect(&b, NULL, NULL) < 0)
			return (void *)1;
		wrong += brood_spawn(b, &kid, KID("exit", "0"), NULL) < 0 || brood_wait(kid, PATIENCE_MS) < 0;
		brood_close(b);
	}
	return (void *)wrong;
}

/*
 * Nor is there a moment in which one is open and not marked: a copy of each of many moments is looked at. Seen are gaps of
 * some 10 us; one between two adjacent system calls needs luck.
 */
static void test_descriptors_at_any_moment(void **state)
{
	pthread_t thread;
	void *wrong;
	(void)state;
	inheritable_before = count_inheritable();
	enough = 0;
	assert_int_equal(pthread_create(&thread, NULL, spawn_without_end, NULL), 0);
	for (int i = 0; i < MOMENTS; i++) {
		pid_t copy = fork();
		int status = -1;
		if (copy == 0)
			_exit(count_inheritable() != inheritable_before);
		assert_int_equal(waitpid(copy, &status, 0), copy);
		assert_int_equal(status, 0);
	}
	__atomic_store_n(&enough, 1, __ATOMIC_RELEASE);
	pthread_join(thread, &wrong);
	assert_null(wrong);
}

/* ---- loops ------------------------------------------------------------------------------------------------------- */

/* Each turns until the handle has heard n messages; nothing but the handle's descriptor wakes it. */
typedef void loop(struct family *, unsigned n);

static void process(struct family *f)
{
	assert_true(brood_process(f->b, 0) >= 0);
}

static void in_poll(struct family *f, unsigned n)
{
	struct pollfd p = { .fd = brood_fd(f->b), .events = POLLIN };
	while (diary_messages(&f->d) < n) {
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		process(f);
	}
}

static void in_select(struct family *f, unsigned n)
{
	while (diary_messages(&f->d) < n) {
		fd_set set;
		FD_ZERO(&set);
		FD_SET(brood_fd(f->b), &set);
		struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
		assert_int_equal(select(brood_fd(f->b) + 1, &set, NULL, NULL, &patience), 1);
		process(f);
	}
}

static int epoll_with(int fd)
{
	struct epoll_event e = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e), 0);
	return epoll;
}

static void wait_in(int epoll, struct family *f, unsigned n)
{
	struct epoll_event e;
	while (diary_messages(&f->d) < n) {
		assert_int_equal(epoll_wait(epoll, &e, 1, PATIENCE_MS), 1);
		process(f);
	}
}

static void in_epoll(struct family *f, unsigned n)
{
	int epoll = epoll_with(brood_fd(f->b));
	wait_in(epoll, f, n);
	close(epoll);
}

/* The handle's set in a set in a set. */
static void in_nested_epoll(struct family *f, unsigned n)
{
	int inner = epoll_with(brood_fd(f->b)), outer = epoll_with(inner);
	wait_in(outer, f, n);
	close(outer);
	close(inner);
}

static void in_libevent(struct family *f, unsigned n)
{
	struct event_base *base = event_base_new();
	struct event *attached = brood_event_attach(f->b, base);
	assert_non_null(attached);
	while (diary_messages(&f->d) < n)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	event_free(attached);
	event_base_free(base);
}

static void in_own_loop(struct family *f, unsigned n)
{
	until(f->b, diary_messages(&f->d) >= n);
}

/* From one loop into the next, and back: nothing is lost on the way, and no loop is left with a trace of it. */
static void test_one_loop_after_the_other(void **state)
{
	static loop *const loops[] = {
		in_poll, in_epoll, in_own_loop, in_libevent, in_select, in_nested_epoll, in_poll
	};
	struct family f = { 0 };
	unsigned n = 0;
	(void)state;
	family_begin(&f, KID("worker"));
	for (size_t i = 0; i < 2 * sizeof loops / sizeof *loops; i++) {
		say(f.kid, "stream", "50 1000");
		loops[i / 2](&f, n += 50);
		assert_int_equal(diary_messages(&f.d), n);
	}
	assert_int_equal(f.d.wrong, 0);
	family_end(&f);
}

/* In two loops at once, as when one is being left while the other begins: both wake, one works, the other finds nothing. */
static void test_two_loops_at_once(void **state)
{
	struct family f = { 0 };
	struct epoll_event e;
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	int first = epoll_with(brood_fd(f.b)), second = epoll_with(brood_fd(f.b));
	say(f.kid, "stream", "1 100");
	assert_int_equal(ask_number(f.kid, "count"), 1); /* the message is here, and only the handle knows */
	assert_int_equal(epoll_wait(first, &e, 1, PATIENCE_MS), 1);
	assert_int_equal(epoll_wait(second, &e, 1, PATIENCE_MS), 1);
	wait_in(first, &f, 1);
	while (brood_process(f.b, 0) > 0 || epoll_wait(second, &e, 1, 0) == 1)
		nap(); /* acknowledgements are under way */
	assert_int_equal(epoll_wait(second, &e, 1, 20), 0);
	assert_int_equal(epoll_wait(first, &e, 1, 0), 0);
	close(first);
	close(second);
	family_end(&f);
}

#define WITH(test, setup, teardown)                                                                                    \
	{                                                                                                              \
#test " (" #setup ")", test, setup, teardown, NULL                                                     \
	}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH(test_process_is_as_it_was, settled_on_unix, settled_teardown),
		WITH(test_process_is_as_it_was, settled_on_tcp, settled_teardown),
		WITH(test_process_is_as_it_was_with_autostart, settled_without, settled_teardown),
		WITH(test_no_sigpipe, settled_on_unix, settled_teardown),
		ON_ALL(test_two_families),
		ON_UNIX(test_a_zombie_stays),
		WITH(test_stolen, on_unix, honest_teardown),
		WITH(test_stolen, on_tcp, honest_teardown),
		WITH(test_stolen_with_autostart, fixture_setup_empty, honest_teardown),
		WITH(test_kill_after_theft, on_unix, honest_teardown),
		WITH(test_stolen_by_a_thread, on_unix, honest_teardown),
		ON_ALL(test_descriptors),
		ON_ALL(test_descriptors_at_any_moment),
		ON_ALL(test_one_loop_after_the_other),
		ON_ALL(test_two_loops_at_once),
	};
	return RUN("guest", tests);
}
