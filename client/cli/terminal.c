/*
 * terminal: exit handlers and signal handlers have to find the settings, so they are static.
 */
#include "terminal.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios original;
static volatile sig_atomic_t known, raw;

void terminal_restore(void)
{
	if (!raw)
		return;
	raw = 0;
	/* A group in the background would be stopped for it, and by its nature nobody would continue it. */
	sigset_t stop, before;
	sigemptyset(&stop);
	sigaddset(&stop, SIGTTOU);
	sigprocmask(SIG_BLOCK, &stop, &before);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &original);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static void restore_and_die(int signo)
{
	terminal_restore();
	raise(signo); /* which has its default action again */
}

/* All that end a process and that `run` does not catch for other reasons. */
static void restore_at_end(void)
{
	static const int deadly[] = { SIGSEGV, SIGBUS,  SIGILL,    SIGFPE,  SIGABRT, SIGSYS,  SIGTRAP,
				      SIGPIPE, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGXFSZ, SIGIO };
	struct sigaction action = { .sa_handler = restore_and_die, .sa_flags = (int)SA_RESETHAND }, before;
	for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) {
		sigaction(deadly[i], NULL, &before);
		if (before.sa_handler == SIG_DFL)
			sigaction(deadly[i], &action, NULL);
	}
	atexit(terminal_restore);
}

void terminal_raw(void)
{
	struct termios mode;
	if (!isatty(STDIN_FILENO) || (!known && tcgetattr(STDIN_FILENO, &original) < 0))
		return;
	if (!known)
		restore_at_end();
	known = raw = 1;
	mode = original;
	cfmakeraw(&mode);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &mode);
}

void terminal_size(unsigned *rows, unsigned *columns)
{
	struct winsize size = { 0 };
	for (int fd = 0; fd < 3; fd++)
		if (ioctl(fd, TIOCGWINSZ, &size) == 0)
			break;
	*rows = size.ws_row;
	*columns = size.ws_col;
}
