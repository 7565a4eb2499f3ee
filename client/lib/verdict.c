/*
 * verdict: see verdict.h.
 *
 * That the kernel ended a child for lack of memory is nowhere in its status. It shows in the counter of this process's
 * cgroup, in which a local child runs too: a SIGKILL that nobody here sent, and a counter that has moved since the last
 * look, belong together.
 */
#include "verdict.h"
#include "peer.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- out of memory ----------------------------------------------------------------------------------------------- */

static int slurp(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* The file that counts them: of cgroup 2 ("0::/path"), else of the memory controller of version 1. */
static int counter_path(char *path, size_t size)
{
	char groups[4096], *save = NULL;
	int found = 0;
	if (!slurp("/proc/self/cgroup", groups, sizeof(groups)))
		return 0;
	for (char *line = strtok_r(groups, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *name = strchr(line, ':'), *where = name ? strchr(name + 1, ':') : NULL;
		if (!where)
			continue;
		if (strncmp(name, ":memory:", 8) == 0)
			return snprintf(path, size, "/sys/fs/cgroup/memory%s/memory.oom_control", where + 1) <
			       (int)size;
		if (strncmp(line, "0::", 3) == 0)
			found = snprintf(path, size, "/sys/fs/cgroup%s/memory.events", where + 1) < (int)size;
	}
	return found;
}

/* How many processes of my cgroup the kernel has ended so; 0 where that cannot be known. */
static uint64_t memory_kills(void)
{
	char path[512], text[1024];
	if (!counter_path(path, sizeof(path)) || !slurp(path, text, sizeof(text)))
		return 0;
	const char *at = strstr(text, "oom_kill ");
	return at ? strtoull(at + strlen("oom_kill "), NULL, 10) : 0;
}

void verdict_watch_memory(struct brood *h)
{
	if (!h->memory_watched)
		h->memory_kills = memory_kills();
	h->memory_watched = 1;
}

/* One child for each that was counted. */
static int was_out_of_memory(struct child *c)
{
	struct brood *h = c->peer->h;
	if (c->peer->exit.signo != SIGKILL || c->ended_by || memory_kills() <= h->memory_kills)
		return 0;
	h->memory_kills++;
	return 1;
}

/* ---- the status -------------------------------------------------------------------------------------------------- */

static void set_status(struct brood_exit *x, int exited, int value, int core)
{
	x->cause = exited ? BROOD_EXITED : BROOD_SIGNALED;
	x->code = exited ? value : -1;
	x->signo = exited ? 0 : value;
	x->core = core;
}

static void set_usage(struct brood_exit *x, const struct rusage *use)
{
	x->user_us = (uint64_t)use->ru_utime.tv_sec * 1000000u + (uint64_t)use->ru_utime.tv_usec;
	x->system_us = (uint64_t)use->ru_stime.tv_sec * 1000000u + (uint64_t)use->ru_stime.tv_usec;
	x->max_rss_kib = (uint64_t)use->ru_maxrss;
}

/* What the program that reaped it handed in. */
static void set_handed_in(struct brood_exit *x, int status)
{
	int exited = WIFEXITED(status);
	set_status(x, exited, exited ? WEXITSTATUS(status) : WTERMSIG(status), !exited && WCOREDUMP(status));
}

int verdict_is_in(const struct child *c)
{
	siginfo_t info;
	info.si_pid = 0;
	int rc = waitid(P_PIDFD, (id_t)c->pidfd.fd, &info, WEXITED | WNOHANG | WNOWAIT);
	return rc < 0 || info.si_pid != 0;
}

int verdict_take(struct child *c)
{
	struct brood_exit *x = &c->peer->exit;
	struct rusage use = { 0 };
	siginfo_t info;
	info.si_pid = 0;
	long rc = syscall(SYS_waitid, P_PIDFD, c->pidfd.fd, &info, WEXITED | WNOHANG, &use);
	if (rc == 0 && info.si_pid == 0)
		return 0;
	*x = (struct brood_exit){ .cause = BROOD_STOLEN, .code = -1, .stage = "" };
	if (rc == 0) {
		set_status(x, info.si_code == CLD_EXITED, info.si_status, info.si_code == CLD_DUMPED);
		set_usage(x, &use);
	} else if (c->has_status) {
		set_handed_in(x, c->status);
	}
	if (was_out_of_memory(c))
		c->ended_by = BROOD_BY_MEMORY;
	x->ended_by = c->ended_by;
	x->wall_ms = handle_now() - c->started;
	c->peer->has_exit = 1;
	return 1;
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

static void because(const struct child *c, char *text, size_t n)
{
	text[0] = '\0';
	switch (c->ended_by) {
	case BROOD_BY_TIMEOUT:
		snprintf(text, n, " after its timeout of %u ms", c->plan->timeout_ms);
		break;
	case BROOD_BY_UNREADY:
		snprintf(text, n, ", not ready within %u ms", c->plan->ready_ms);
		break;
	case BROOD_BY_OUTPUT:
		snprintf(text, n, ", it wrote more than %zu bytes", c->plan->max_output);
		break;
	case BROOD_BY_KILL:
		snprintf(text, n, ", ended by its parent");
		break;
	case BROOD_BY_MEMORY:
		snprintf(text, n, ", out of memory");
		break;
	case BROOD_BY_ORPHANED:
		snprintf(text, n, ", its parent was unreachable for more than %u ms", c->plan->lease_ms);
		break;
	case BROOD_BY_HOST:
		snprintf(text, n, ", its nursery was stopped");
		break;
	default:
		break;
	}
}

void verdict_describe(struct child *c)
{
	struct brood_peer *p = c->peer;
	struct brood_exit *x = &p->exit;
	char why[64];
	const char *missing = c->missing ? "; messages may be missing" : "";
	because(c, why, sizeof(why));
	if (x->cause == BROOD_EXITED)
		snprintf(p->exit_text, sizeof(p->exit_text), "exited with code %d%s%s", x->code, why, missing);
	else if (x->cause == BROOD_SIGNALED)
		snprintf(p->exit_text, sizeof(p->exit_text), "killed by signal %d (%s)%s%s%s", x->signo,
			 strsignal(x->signo), x->core ? ", core dumped" : "", why, missing);
	else if (x->cause == BROOD_NODE_RESTARTED)
		snprintf(p->exit_text, sizeof(p->exit_text), "ended with its nursery on %s, which died%s",
			 c->plan->host, missing);
	else if (x->cause == BROOD_UNREACHABLE)
		snprintf(p->exit_text, sizeof(p->exit_text), "%s is unreachable; presumed killed%s", c->plan->host,
			 missing);
	else
		snprintf(p->exit_text, sizeof(p->exit_text),
			 "ended; this program took its status (waitpid(-1), or SIGCHLD ignored)%s", missing);
	x->text = p->exit_text;
}
