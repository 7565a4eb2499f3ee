/*
 * detach: whoever starts a private broker waits until it can be connected to, or learns that it failed.
 *
 * Parent and child share a pipe. The child writes its status into it when it listens, and keeps stderr until then, so
 * that its complaints reach whoever started it. If the child dies before, the pipe just ends. This happens before
 * anything else is opened, so that nothing of the broker exists twice.
 */
#include "detach.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static void wait_and_exit(int fd)
{
	unsigned char status = 1;
	ssize_t n;

	do
		n = read(fd, &status, 1);
	while (n < 0 && errno == EINTR);
	_exit(n == 1 ? status : 1);
}

int detach_begin(void)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int error = -errno;

		close(ends[0]);
		close(ends[1]);
		return error;
	}
	if (pid > 0) {
		close(ends[1]);
		wait_and_exit(ends[0]);
	}
	close(ends[0]);
	setsid();
	return ends[1];
}

void detach_done(int fd, int status)
{
	unsigned char byte = (unsigned char)status;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* Where its files cannot be opened, the broker does as well with the ones it has. */
	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
		close(null);
	}
	(void)!chdir("/");
	(void)!write(fd, &byte, 1);
	close(fd);
}
