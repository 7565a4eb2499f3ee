/*
 * crew: the processes of a run: the broker, which dies often, and the actors, which must not.
 */
#ifndef CHAOS_CREW_H
#define CHAOS_CREW_H

#include "stage.h"
#include <sys/types.h>

struct crew {
	char directory[64];
	char broker_unix[100], broker_tcp[64];
	char broker_tls[64]; /* "": it has no TLS */
	pid_t broker;        /* 0: not running */
	unsigned actors;
	pid_t *actor;     /* 0: has ended */
	unsigned crashed; /* actors that ended by a signal, or badly; ends of the broker that nobody asked for */
};

/* A directory of its own, and certificates if the broker shall have TLS. 0 or -1. */
int crew_init(struct crew *, int with_tls);
/* Kill who is left; remove the directory, unless it shall be kept to look at. */
void crew_deinit(struct crew *, int keep);

/* -1: could not. */
int crew_start_broker(struct crew *);
int crew_start_actors(struct crew *, unsigned n, int stage_fd);

/* Reap. The number of actors that still run. */
unsigned crew_look(struct crew *);

#endif
