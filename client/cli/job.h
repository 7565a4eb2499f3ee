/*
 * job: a child and this command as one job of my shell: when a terminal stops the child, we stop too, so that the shell
 * sees it; when the shell continues us, the child goes on.
 */
#ifndef JOB_H
#define JOB_H

#include <brood.h>

struct job {
	brood_peer *child;
	pid_t pid;
	int shares_group; /* the child is in our process group: what a terminal sends to us it gets itself */
	int tty;          /* our controlling terminal, or -1 */
	int gave;         /* the child's group is the terminal's foreground group in our place */
};

/* A child that runs. */
void job_init(struct job *, brood_peer *child, int shares_group);
/* Take the terminal back. */
void job_deinit(struct job *);

/* After SIGCHLD: has it stopped? */
void job_look(struct job *);
/* After SIGCONT. */
void job_continue(struct job *);

#endif
