/*
 * probe: see probe.h. A child stops itself for its tracer (this process) and then executes the program; the kernel stops it
 * again when the program is in place and nothing of it has run. If this process is killed meanwhile, so is the child.
 */
#include "probe.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STATUS_TRACE = 10, STATUS_EXEC }; /* what the child could not do */

static void fail(int fd, int status)
{
	int code = errno;
	_exit(write(fd, &code, sizeof code) == (ssize_t)sizeof code ? status : EXIT_FAILURE);
}

static void be_child(int fd, const char *path, char **argv)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		fail(fd, STATUS_TRACE);
	raise(SIGSTOP);
	execv(path, argv);
	fail(fd, STATUS_EXEC);
}

/* To its next stop or its end; its status. */
static int await(pid_t pid)
{
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int is_at_exec(int status)
{
	return WIFSTOPPED(status) && status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8);
}

/* Let it execute the program. The status with which it stops again or ends. */
static int let_go(pid_t pid)
{
	int status = await(pid);
	if (!WIFSTOPPED(status))
		return status;
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC) < 0 ||
	    ptrace(PTRACE_CONT, pid, NULL, NULL) < 0) {
		kill(pid, SIGKILL);
		return await(pid);
	}
	return await(pid);
}

static struct probe verdict(int status, int fd)
{
	int code = 0;
	if (is_at_exec(status))
		return (struct probe){ "exec", 0 };
	if (!WIFEXITED(status) || read(fd, &code, sizeof code) != (ssize_t)sizeof code)
		return (struct probe){ "trace", -EIO };
	return (struct probe){ WEXITSTATUS(status) == STATUS_EXEC ? "exec" : "trace", -code };
}

struct probe probe_exec(const char *path, char **argv)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return (struct probe){ "fork", -errno };
	pid_t pid = fork();
	if (pid == 0)
		be_child(fds[1], path, argv);
	int code = -errno, status = pid > 0 ? let_go(pid) : 0;
	close(fds[1]);
	struct probe result = pid > 0 ? verdict(status, fds[0]) : (struct probe){ "fork", code };
	close(fds[0]);
	if (pid > 0 && WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		(void)await(pid);
	}
	return result;
}
