/*
 * herd: one program on several hosts, as one: input goes to all, output comes from all, so do signals and the end.
 */
#ifndef HERD_H
#define HERD_H

#include <brood.h>

struct herd_options {
	struct brood_spawn_options how; /* but for host, stdio and what is told */
	char *hosts;                    /* "beta,gamma"; is cut up */
	int label;                      /* each line begins with its host */
	int json;                       /* print how each ended on stderr */
	int kill_after;                 /* a TERM that is passed on is followed by SIGKILL */
	char **argv;
};

/* What is wrong with the list of hosts, or NULL. */
const char *herd_check(const char *hosts);

/* Run it, and wait for the last one. The status with which to exit: the highest of theirs. */
int herd_run(const char *address, struct herd_options *);

#endif
