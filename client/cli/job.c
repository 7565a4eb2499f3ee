/*
 * job: see job.h.
 *
 * A child whose input is not the terminal has a process group of its own, which is in the background as far as the
 * terminal is concerned. When it asks the terminal all the same (for a password, as a pager), the kernel stops it; then
 * it gets the terminal if it is ours to give. Only then: in `brood run a | less` the terminal is for less.
 *
 * What others stopped by SIGSTOP just stands still: no terminal did that, so no shell would continue us.
 */
#include "job.h"
#include "caught.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

void job_init(struct job *j, brood_peer *child, int shares_group)
{
	struct brood_peer_info info;
	BROOD_INIT(info);
	*j = (struct job){ .child = child, .shares_group = shares_group };
	if (brood_info(child, &info) == 0)
		j->pid = info.pid;
	j->tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/* From a group in the background too, which SIGTTOU would stop. */
static int set_foreground(const struct job *j, pid_t group)
{
	sigset_t stop, before;
	sigemptyset(&stop);
	sigaddset(&stop, SIGTTOU);
	sigprocmask(SIG_BLOCK, &stop, &before);
	int rc = tcsetpgrp(j->tty, group);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return rc == 0;
}

static int give_terminal(struct job *j)
{
	j->gave = !j->shares_group && j->tty >= 0 && tcgetpgrp(j->tty) == getpgrp() && set_foreground(j, j->pid);
	return j->gave;
}

void job_deinit(struct job *j)
{
	if (j->tty < 0)
		return;
	if (j->gave && tcgetpgrp(j->tty) == j->pid) /* else somebody has it meanwhile */
		set_foreground(j, getpgrp());
	close(j->tty);
	j->tty = -1;
}

static void stopped_by(struct job *j, int signo)
{
	int wants_terminal = signo == SIGTTIN || signo == SIGTTOU;
	if (wants_terminal && give_terminal(j))
		brood_kill(j->child, SIGCONT, BROOD_TREE);
	else if (wants_terminal || signo == SIGTSTP)
		caught_suffer(signo); /* nothing happens if no shell could continue us */
}

/* Takes no exit status: that is for the library. */
void job_look(struct job *j)
{
	siginfo_t info = { 0 };
	if (j->pid && waitid(P_PID, (id_t)j->pid, &info, WSTOPPED | WNOHANG) == 0 && info.si_pid == j->pid)
		stopped_by(j, info.si_status);
}

void job_continue(struct job *j)
{
	if (j->gave)
		(void)give_terminal(j);
	brood_kill(j->child, SIGCONT, BROOD_TREE);
}
