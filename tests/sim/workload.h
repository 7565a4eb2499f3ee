/*
 * workload: the programs that run in the simulation: "app", which is started by the simulator, and "worker", which apps
 * spawn. They do at random what programs do, and tell the ledger.
 */
#ifndef SIM_WORKLOAD_H
#define SIM_WORKLOAD_H

enum phase { PHASE_BUSY, PHASE_DRAIN, PHASE_END };

struct workload {
	enum phase phase;
	unsigned roles;                                             /* there are apps p0 ..., on each node in turn */
	int spawns, closes, passes_fds, disconnects, pauses, large; /* which of these happen in this run */
	int full;                                                   /* the broker may have no room */
	int ops;                                                    /* of one program */
};

extern struct workload workload;

/* Looks for messages in what was written, and tells the ledger. */
void workload_sees_data(const unsigned char *body, unsigned long n);

int app_main(int argc, char **argv);
int worker_main(int argc, char **argv);

#endif
