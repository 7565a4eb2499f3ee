/*
 * embed_epoll: a daemon with an epoll loop, signals as a descriptor (signalfd), and a process of its own that it started
 * by posix_spawn() and waits for by waitpid(). It gains a child of brood's without a change to any of that.
 *
 *   embed-epoll [SECONDS]
 *
 * SECONDS is how long its own process lives; with it the daemon ends. SIGTERM and SIGINT end all of it earlier.
 *
 * Two things to take from here. waitpid() is asked for the process by its pid: waitpid(-1) would also take the status of
 * brood's child, whose exit would then say BROOD_STOLEN. And the signals that the daemon blocks are its own affair:
 * children of brood start with none blocked and all at their defaults. For its own, posix_spawn() must be told.
 */
#include <brood.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct daemon {
	brood *b;
	brood_peer *child;
	int epoll_fd, signal_fd;
	pid_t own; /* 0: ended */
	int child_closed, leaving;
};

/* ---- its own process --------------------------------------------------------------------------------------------- */

static int start_own(struct daemon *d, const char *seconds)
{
	extern char **environ;
	char *argv[] = { "sleep", (char *)(uintptr_t)seconds, NULL };
	posix_spawnattr_t attributes;
	sigset_t none;
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	int rc = posix_spawnp(&d->own, argv[0], NULL, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	return rc;
}

static void leave(struct daemon *d, const char *why)
{
	if (d->leaving++)
		return;
	printf("leaving: %s\n", why);
	(void)brood_disconnect(d->child); /* it ends when its parent says goodbye */
	if (d->own)
		kill(d->own, SIGTERM);
}

static void reap_own(struct daemon *d)
{
	int status;
	if (!d->own || waitpid(d->own, &status, WNOHANG) != d->own)
		return; /* SIGCHLD was about a child of brood's */
	d->own = 0;
	if (WIFEXITED(status))
		printf("my process exited with code %d\n", WEXITSTATUS(status));
	else
		printf("my process was killed by signal %d\n", WTERMSIG(status));
	leave(d, "my process has ended");
}

static void read_signals(struct daemon *d)
{
	struct signalfd_siginfo info;
	while (read(d->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
		if (info.ssi_signo == SIGCHLD)
			reap_own(d);
		else
			leave(d, "a signal");
}

/* ---- brood's child ----------------------------------------------------------------------------------------------- */

static int replied(const brood_event *ev)
{
	printf("%s\n", ev->msg ? ev->msg->text : ev->error->text);
	fflush(stdout);
	return 0;
}

static int gone(const brood_event *ev)
{
	printf("brood's child %s\n", ev->exit->text);
	return 0;
}

static int closed(const brood_event *ev)
{
	struct daemon *d = ev->data;
	d->child_closed = 1;
	leave(d, "brood's child has ended");
	return 0;
}

static int start_child(struct daemon *d)
{
	const struct brood_spawn_options *options =
		BROOD_SPAWN(.on = BROOD_ON(.exit = gone, .close = closed), .data = d);
	if (brood_spawn(d->b, &d->child, BROOD_ARGV("./hello-child"), options) < 0)
		return -1;
	return brood_request(d->child, BROOD_TEXT("at work"), 5000, replied, d) < 0 ? -1 : 0;
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static int watch(struct daemon *d, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
	return epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

static int open_descriptors(struct daemon *d)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -1;
	d->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (d->signal_fd < 0 || d->epoll_fd < 0)
		return -1;
	return watch(d, d->signal_fd) < 0 || watch(d, brood_fd(d->b)) < 0 ? -1 : 0;
}

static int loop(struct daemon *d)
{
	struct epoll_event e;
	while (d->own || !d->child_closed) {
		if (epoll_wait(d->epoll_fd, &e, 1, -1) < 0)
			return 1;
		if (e.data.fd == d->signal_fd)
			read_signals(d);
		else if (brood_process(d->b, 0) < 0)
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct daemon d = { 0 };
	if (brood_connect(&d.b, NULL, NULL) < 0)
		return 1;
	int rc = open_descriptors(&d) < 0 || start_own(&d, argc > 1 ? argv[1] : "0.1") || start_child(&d) < 0 ||
		 loop(&d);
	brood_close(d.b);
	return rc;
}
