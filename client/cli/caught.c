/*
 * caught: the handler and the list must be known to the kernel's caller alone, hence the static variables.
 */
#include "caught.h"
#include <signal.h>

enum { BY_PROCESS = 1, BY_KERNEL = 2 };

static const int *watched;
static volatile sig_atomic_t noted[NSIG];
static brood *volatile to_wake;

static void note(int signo, siginfo_t *info, void *context)
{
	(void)context;
	noted[signo] |= info->si_code == SI_KERNEL ? BY_KERNEL : BY_PROCESS;
	if (to_wake)
		brood_wake(to_wake);
}

static void install(int signo)
{
	struct sigaction action = { .sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART }, before;
	sigaction(signo, NULL, &before);
	if (before.sa_handler != SIG_IGN || signo == SIGCHLD)
		sigaction(signo, &action, NULL);
}

void caught_catch(const int *signals)
{
	watched = signals;
	for (; *signals; signals++)
		install(*signals);
}

void caught_wake(brood *b)
{
	to_wake = b;
	if (b)
		brood_wake(b); /* for what came before */
}

/* One bit at a time, so that a signal that comes meanwhile is not lost. */
static int take(int signo, int bit)
{
	if (!(noted[signo] & bit))
		return 0;
	sigset_t this, before;
	sigemptyset(&this);
	sigaddset(&this, signo);
	sigprocmask(SIG_BLOCK, &this, &before);
	noted[signo] &= ~bit;
	sigprocmask(SIG_SETMASK, &before, NULL);
	return 1;
}

struct caught caught_next(void)
{
	for (const int *signo = watched; *signo; signo++) {
		if (take(*signo, BY_KERNEL))
			return (struct caught){ *signo, 1 };
		if (take(*signo, BY_PROCESS))
			return (struct caught){ *signo, 0 };
	}
	return (struct caught){ 0 };
}

void caught_suffer(int signo)
{
	struct sigaction plain = { .sa_handler = SIG_DFL }, before;
	sigset_t this, mask;
	sigemptyset(&this);
	sigaddset(&this, signo);
	sigaction(signo, &plain, &before);
	sigprocmask(SIG_UNBLOCK, &this, &mask);
	raise(signo);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	sigaction(signo, &before, NULL);
}
