/*
 * actors: the processes of bench_isolation: innocents, and those who burden the broker. Each is this program
 * again, with another main(), and ends with its parent, whatever happens; what they count and measure is on a board in
 * shared memory.
 */
#ifndef ACTORS_H
#define ACTORS_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#define PAIRS 2              /* of innocents that send one way */
#define SAMPLES (1u << 18)   /* round trips kept of one round */
#define MESSAGE_SIZE 1024    /* of innocents */
#define FLOOD_SIZE 16384     /* of flooders that use the library */
#define CROWD_PER_PROCESS 25 /* handles in one process of a crowd */

enum phase { PHASE_REST, PHASE_THROUGHPUT, PHASE_LATENCY, PHASE_POLITE };

struct board {
	_Atomic int phase;                /* what the innocents do */
	_Atomic unsigned ready;           /* actors that are set */
	_Atomic uint64_t received[PAIRS]; /* messages of one-way pairs */
	_Atomic uint64_t flooded;         /* bytes that crowds received */
	_Atomic unsigned samples;
	uint32_t us[SAMPLES]; /* round trips */
};

struct actor {
	const char *address; /* of the broker */
	struct board *board; /* set by the actor itself */
	uid_t user;          /* to become; 0: stay */
	unsigned first;      /* number of the first of the handles or connections, which makes their names different */
	unsigned n;
	unsigned slow_us; /* a crowd's receivers: how long they take for each message */
};

enum act {
	/* Innocents, `first` being the pair's number. They register or find their names themselves. */
	ACT_RECEIVER,
	ACT_SENDER,
	ACT_ANSWERER,
	ACT_ASKER,
	/* `n` handles in one process that receive under names, or that send to these without end. */
	ACT_CROWD_RECEIVER,
	ACT_CROWD_SENDER,
	/*
	 * `n` connections without the library that send to each other as fast as their sockets take it, whatever the broker
	 * says, and read what comes.
	 */
	ACT_FLOOD
};

/* The board, made by the first to ask; or NULL. */
struct board *actor_board(void);
/* The process, or -1. */
pid_t actor_start(enum act, const struct actor *);
/* main() of an actor: the program was started by actor_start() if its first argument is ACTOR_ARGUMENT. */
#define ACTOR_ARGUMENT "--act"
int actor_main(char **argv);

#endif
