/*
 * spawn: a checklist that reports its own failure.
 *
 * The parent prepares everything that needs memory: the paths to try, the order in which descriptors move. Then it
 * blocks all signals and clones. The child runs the checklist on a stack of its own in the parent's memory, while the
 * parent's thread sleeps, until it execs (the parent wakes, nothing noted) or notes the failed step and its errno in
 * the job and ends.
 *
 * The surprising rule: the child's functions share every byte with a living process, of which only one thread sleeps.
 * So they call syscall() and nothing else, neither the C library, whose locks others may hold, nor anything that a
 * sanitizer intercepts; and no handler of the parent may run in the child, which is why signals are blocked before
 * clone and their dispositions reset before the mask is cleared.
 *
 * One limit: valgrind gives such a child a copy of the memory. There a failed start looks like a program that exited
 * with 127.
 */
#include "spawn.h"
#include "lookup.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * In the caller's stack rather than in a mapping of its own, whose system calls and page faults were a tenth of the
 * time from start to exit of a small program. The child's depth is fixed (five small calls, no arrays): one KiB would
 * do.
 */
#define CHILD_STACK_SIZE (16 * 1024)
#define SIGNAL_SET_SIZE (_NSIG / 8) /* as the kernel counts */

struct move {
	int target, source;
	int lift; /* the source is also another move's target: take it out of the way first */
};

struct job {
	const struct spawn_plan *plan;
	const char **paths; /* to be tried in turn */
	struct move *moves; /* by target; the last one is the life line's, if there is a line */
	size_t n_moves;
	int above;         /* the first number above all targets */
	int line_fd;       /* -1: no line */
	const char *stage; /* the step that failed, or NULL */
	int code;          /* its errno, positive */
};

/* ---- the child: raw system calls only ---------------------------------------------------------------------------- */

#if defined(__has_attribute)
#if __has_attribute(disable_sanitizer_instrumentation)
#define UNWATCHED __attribute__((disable_sanitizer_instrumentation))
#endif
#endif
#ifndef UNWATCHED
#define UNWATCHED
#endif

/*
 * ThreadSanitizer takes every clone() for a fork and prepares its state for a copy, which a child in the same memory is
 * not. The C library's second name for it goes past that.
 */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1 /* as gcc says it */
#endif
#endif
#ifdef __SANITIZE_THREAD__
int __clone(int (*)(void *), void *stack, int flags, void *data, ...);
#define clone __clone
#endif

/* Sanitizers keep books on memory and calls; what the child does is none of the parent's. */
#define IN_CHILD UNWATCHED __attribute__((no_sanitize("address"), no_sanitize("thread"), no_sanitize("undefined")))

/*
 * Handlers would not survive exec, but could run before it once the mask is cleared; "ignored" would survive. Setting
 * all costs half of asking about each first, and as much as reading the list of those in question from /proc.
 */
IN_CHILD static int reset_signals(struct job *job)
{
	static const unsigned long all_default[8]; /* the kernel's struct sigaction: SIG_DFL, no flags */
	(void)job;
	for (int signo = 1; signo < _NSIG; signo++)
		if (signo != SIGKILL && signo != SIGSTOP)
			syscall(SYS_rt_sigaction, signo, all_default, NULL, SIGNAL_SET_SIZE);
	return 0;
}

IN_CHILD static int enter_group(struct job *job)
{
	if (job->plan->own_session)
		return (int)syscall(SYS_setsid) < 0 ? -1 : 0;
	return job->plan->own_group ? (int)syscall(SYS_setpgid, 0, 0) : 0;
}

IN_CHILD static int arm_line(struct job *job)
{
	if (job->line_fd < 0)
		return 0;
	long owner = syscall(SYS_getpid);
	if (job->plan->own_session || job->plan->own_group)
		owner = -owner;
	if (syscall(SYS_fcntl, job->line_fd, F_SETSIG, SIGKILL) < 0)
		return -1;
	if (syscall(SYS_fcntl, job->line_fd, F_SETOWN, owner) < 0)
		return -1;
	return (int)syscall(SYS_fcntl, job->line_fd, F_SETFL, O_ASYNC);
}

IN_CHILD static int move_one(const struct move *move)
{
	if (move->source == move->target)
		return (int)syscall(SYS_fcntl, move->source, F_SETFD, 0);
	return syscall(SYS_dup3, move->source, move->target, 0) < 0 ? -1 : 0;
}

/* The system call is missing, or a sandbox older than it refuses it: one by one, up to the limit. */
IN_CHILD static void close_each(unsigned first, unsigned last)
{
	struct rlimit64 limit = { 0 };
	syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
	for (unsigned fd = first; fd <= last && fd < limit.rlim_cur; fd++)
		syscall(SYS_close, fd);
}

IN_CHILD static void close_between(unsigned first, unsigned last)
{
	if (first <= last && syscall(SYS_close_range, first, last, 0) < 0)
		close_each(first, last);
}

/* Not before the line is armed: what is closed here includes the child's copy of its write end. */
IN_CHILD static int move_fds(struct job *job)
{
	for (size_t i = 0; i < job->n_moves; i++) {
		struct move *move = &job->moves[i];
		if (move->lift)
			move->source = (int)syscall(SYS_fcntl, move->source, F_DUPFD_CLOEXEC, job->above);
		if (move->source < 0) {
			if (errno == EINVAL) /* so says the kernel of a number above the limit */
				errno = EMFILE;
			return -1;
		}
	}
	for (size_t i = 0; i < job->n_moves; i++)
		if (move_one(&job->moves[i]) < 0)
			return -1;
	unsigned from = 0;
	for (size_t i = 0; i < job->n_moves; i++) {
		unsigned target = (unsigned)job->moves[i].target;
		if (target > from)
			close_between(from, target - 1);
		from = target + 1;
	}
	close_between(from, UINT_MAX);
	return 0;
}

IN_CHILD static int enter_cwd(struct job *job)
{
	return job->plan->cwd ? (int)syscall(SYS_chdir, job->plan->cwd) : 0;
}

/* The failures after which the next path is tried, as execvp() does. */
IN_CHILD static int is_elsewhere(int code)
{
	return code == ENOENT || code == EACCES || code == ENOTDIR || code == ENAMETOOLONG || code == ENODEV ||
	       code == ESTALE || code == ETIMEDOUT;
}

/* Returns only if it failed. "Permission denied" anywhere says more than "no such file" at the end. */
IN_CHILD static int execute(struct job *job)
{
	static const unsigned long none_blocked[SIGNAL_SET_SIZE / sizeof(long)];
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, none_blocked, NULL, SIGNAL_SET_SIZE);
	int denied = 0;
	for (const char **path = job->paths; *path; path++) {
		syscall(SYS_execve, *path, job->plan->argv, job->plan->env);
		if (!is_elsewhere(errno))
			return -1;
		denied |= errno == EACCES;
	}
	if (denied)
		errno = EACCES;
	return -1;
}

/* In the session of its own that it leads by now. */
IN_CHILD static int take_terminal(struct job *job)
{
	return !job->plan->has_terminal ? 0 : (int)syscall(SYS_ioctl, job->plan->terminal, TIOCSCTTY, 0);
}

/* Before the ids, while they can still be raised; after the descriptors, whose number one of them bounds. */
IN_CHILD static int set_limits(struct job *job)
{
	for (const struct brood_limit *l = job->plan->limits; l && l->resource != -1; l++) {
		struct rlimit64 limit = { l->value, l->value };
		if (syscall(SYS_prlimit64, 0, l->resource, &limit, NULL) < 0)
			return -1;
	}
	return 0;
}

/* The raw calls change this process alone, not the threads of the parent. The uid last: with it goes the right. */
IN_CHILD static int take_ids(struct job *job)
{
	const struct brood_ids *ids = job->plan->ids;
	if (!ids)
		return 0;
	if (syscall(SYS_setgroups, ids->n_groups, ids->groups) < 0 || syscall(SYS_setgid, ids->gid) < 0)
		return -1;
	return syscall(SYS_setuid, ids->uid) < 0 ? -1 : 0;
}

static const struct {
	const char *stage;
	int (*run)(struct job *); /* 0, or -1 and errno */
} steps[] = {
	{ "fork", reset_signals }, { "group", enter_group },      { "line", arm_line },
	{ "stdio", move_fds },     { "terminal", take_terminal }, { "cwd", enter_cwd },
	{ "limits", set_limits },  { "ids", take_ids },           { "exec", execute },
};

IN_CHILD static int child_main(void *data)
{
	struct job *job = data;
	size_t i = 0;
	while (steps[i].run(job) == 0)
		i++; /* the last step does not return 0 */
	job->code = errno;
	job->stage = steps[i].stage;
	return 127;
}

/* ---- the parent -------------------------------------------------------------------------------------------------- */

static int by_target(const void *a, const void *b)
{
	const struct move *left = a, *right = b;
	return (left->target > right->target) - (left->target < right->target);
}

static int is_target(const struct job *job, int fd)
{
	struct move key = { .target = fd };
	return bsearch(&key, job->moves, job->n_moves, sizeof key, by_target) != NULL;
}

/* Sort the moves, add the line's above all others, and find the sources that another move would overwrite. */
static int plan_moves(struct job *job)
{
	const struct spawn_plan *plan = job->plan;
	job->moves = calloc(plan->n_fds + 1, sizeof *job->moves);
	if (!job->moves)
		return -ENOMEM;
	for (size_t i = 0; i < plan->n_fds; i++) {
		job->moves[i] = (struct move){ .target = plan->fds[i].target, .source = plan->fds[i].source };
		if (plan->fds[i].target < 0 || plan->fds[i].target > INT_MAX - 2 || plan->fds[i].source < 0)
			return -EBADF;
		if (plan->fds[i].target >= job->above)
			job->above = plan->fds[i].target + 1;
	}
	job->n_moves = plan->n_fds;
	qsort(job->moves, job->n_moves, sizeof *job->moves, by_target);
	for (size_t i = 1; i < job->n_moves; i++)
		if (job->moves[i].target == job->moves[i - 1].target)
			return -EINVAL;
	if (job->line_fd >= 0)
		job->moves[job->n_moves++] = (struct move){ .target = job->above++, .source = job->line_fd };
	for (size_t i = 0; i < job->n_moves; i++) {
		struct move *move = &job->moves[i];
		move->lift = move->source != move->target && is_target(job, move->source);
	}
	return 0;
}

static int fail(struct job *job, const char *stage, int code)
{
	job->stage = stage;
	job->code = -code;
	return code;
}

static int prepare(struct job *job)
{
	if (job->plan->line) {
		job->line_fd = life_line_reader(job->plan->line);
		if (job->line_fd < 0)
			return fail(job, "line", job->line_fd);
	}
	int rc = plan_moves(job);
	if (rc < 0)
		return fail(job, rc == -ENOMEM ? "fork" : "stdio", rc);
	job->paths = lookup_paths(job->plan->file, job->plan->env);
	return job->paths ? 0 : fail(job, "fork", -ENOMEM);
}

/* All signals, also those that the C library keeps for itself and its sigprocmask() would leave unblocked. */
static pid_t clone_blocked(struct job *job, int *pidfd)
{
	_Alignas(16) char stack[CHILD_STACK_SIZE];
	sigset_t all, old;
	memset(&all, 0xff, sizeof all);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, SIGNAL_SET_SIZE);
	pid_t pid = clone(child_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, job, pidfd);
	int code = -errno;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, SIGNAL_SET_SIZE);
	return pid < 0 ? fail(job, "fork", code) : pid;
}

/* The child never became the program. Whoever took its status before us, it is gone when this returns. */
static void reap(int pidfd)
{
	siginfo_t info;
	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
		;
	close(pidfd);
}

static int run(struct job *job, struct spawned *ret)
{
	int rc = prepare(job);
	if (rc < 0)
		return rc;
	int pidfd = -1;
	pid_t pid = clone_blocked(job, &pidfd);
	if (pid < 0)
		return pid;
	if (job->stage) {
		reap(pidfd);
		return -job->code;
	}
	*ret = (struct spawned){ .pid = pid, .pidfd = pidfd, .line_fd = job->line_fd };
	return 0;
}

int spawn_start(const struct spawn_plan *plan, struct spawned *ret, struct spawn_failure *why)
{
	struct job job = { .plan = plan, .above = 3, .line_fd = -1 };
	int rc = run(&job, ret);
	free(job.moves);
	free(job.paths);
	if (rc < 0) {
		*why = (struct spawn_failure){ .stage = job.stage, .code = rc };
		if (job.line_fd >= 0)
			close(job.line_fd);
	}
	return rc;
}
