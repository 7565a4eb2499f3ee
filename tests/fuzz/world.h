/*
 * world: a whole broker in this process, all its parts as broker.c joins them, and its peers at the other ends of their
 * connections. State files are in memory and always the same, and so is the time (virtual.h), so a run is like the next.
 *
 * Whatever happens, world_turn() wants: what the broker writes is frames; who is closed was told why; who waits to be read
 * takes no more memory than the limits say; nobody hears from those it must not hear from.
 */
#ifndef BROOD_FUZZ_WORLD_H
#define BROOD_FUZZ_WORLD_H

#include "broker.h"
#include "frame.h"

#define WORLD_STRANGERS 4u
#define WORLD_PEERS (WORLD_STRANGERS + 2) /* the last two are honest */
#define WORLD_HONEST 1000u                /* their user */
#define WORLD_OWNER 42u                   /* the broker's */
#define WORLD_FIRST_EPOCH 4000000001u

struct ticket_of { /* how to make one */
	struct ticket ticket;
	uint32_t owner; /* of its block */
};

struct peer {
	struct world *world;
	int in_fd, out_fd;       /* -1: no connection; nobody else's, and non-blocking */
	struct session *session; /* only to be compared */
	uint32_t uid;
	uint64_t id, first; /* as the broker sees it, and its first block; 0: none yet */
	struct ticket_of ticket;
	uint64_t next;  /* sequence of its next item, to whomever */
	int deaf;       /* does not read for now */
	int links;      /* it is another broker, or says so */
	int excused;    /* need not be told why it is closed */
	int told;       /* goodbye came, for whatever reason */
	uint64_t got;   /* honest: the last item taken from the other */
	int again;      /* honest: the broker said GO */
	uint8_t *bytes; /* read, not yet looked at, and how many */
	size_t n;
};

struct world {
	struct broker broker;
	struct config config;
	struct config_named nodes[2];
	struct home home;
	struct log log;
	struct peer peers[WORLD_PEERS];
	uint64_t serial; /* of the honest ones' messages */
};

struct world_kind {
	int unclean; /* the run before did not end in order: its processes may come back */
	int small;   /* limits that a script reaches */
	int linked;  /* with the nodes "beta" and "gamma" */
};

struct world *world_begin(struct world_kind);
/* Everybody leaves, time passes, and nothing may be left. */
void world_end(struct world *);

/* Connect a peer that is not. */
void world_connect(struct peer *, enum process_transport);
/* The end of a child's channel is its connection now. */
void world_inherit(struct peer *, int fd);
void world_hang_up(struct peer *);
/* As much as the broker takes at once. */
void world_send(struct peer *, const uint8_t *, size_t, const int *fds, unsigned n_fds);

/* Everybody who is ready has a turn, and all that is written is read. */
void world_turn(struct world *);
/* A message from one honest peer to the other has to come once. */
void world_serves(struct world *);
/* 0: it has left. */
int world_runs(const struct world *);

#endif
