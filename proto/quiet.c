/*
 * quiet: hold SIGPIPE back in this thread, write, and eat the signal if this write raised it.
 *
 * One that was pending before is the program's own: only a signal that the program holds back itself can be, so in the
 * usual case nobody has to be asked.
 */
#include "quiet.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

static int is_pending(int signo)
{
	sigset_t pending;

	sigpending(&pending);
	return sigismember(&pending, signo);
}

ssize_t quiet_writev(int fd, const struct iovec *iov, int n)
{
	const struct timespec now = { 0, 0 };
	sigset_t sigpipe, old;
	int was_pending;
	ssize_t sent;

	sigemptyset(&sigpipe);
	sigaddset(&sigpipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &sigpipe, &old);
	was_pending = sigismember(&old, SIGPIPE) && is_pending(SIGPIPE);
	do
		sent = writev(fd, iov, n);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		sent = -errno;
	if (sent == -EPIPE && !was_pending)
		sigtimedwait(&sigpipe, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return sent;
}
