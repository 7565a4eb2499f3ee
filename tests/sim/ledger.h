/*
 * ledger: what was promised. Every handle is an actor, everybody whom it addresses a target, every message an entry; the
 * ledger is told of all that programs do and hear, and says which promise broke.
 */
#ifndef SIM_LEDGER_H
#define SIM_LEDGER_H

#include "world.h"

#define ACTORS_MOST 192
#define TARGETS_MOST 4096

enum actor_state { ACTOR_ALIVE, ACTOR_CLOSING, ACTOR_CLOSED };

struct actor { /* one handle */
	int pid, node;
	char address[32]; /* on its node */
	enum actor_state state;
	int ready, failed;
	int open;             /* processes of other nodes may write to it */
	int heard;            /* something of it has arrived, so its address may be known */
	int parent;           /* actor that spawned it, or -1 */
	uint64_t close_began; /* and how long it took, when it is closed */
	uint64_t close_took;
	unsigned flush_ms;
	unsigned missing;  /* messages that were accepted and have not arrived */
	unsigned reported; /* ... that came back */
	unsigned open_requests;
	int sent_fds, estranged; /* it sent descriptors; it disconnected somebody */
};

struct entry { /* one message */
	int target;
	unsigned index; /* in its target */
	size_t length;
	int accepted, refused, written;
	int is_request, ended, cancelled, fds;
	uint64_t deadline; /* of booted(); NEVER: none */
	int deliveries, receiver;
};

struct ledger {
	struct actor actors[ACTORS_MOST];
	int n_actors;
	int cut; /* connections break in this run: what was written may be lost with its writer */
	int parted; /* a node was taken out of a configuration, so those who are on different ones may be told to be gone */
	int silent;  /* a broker was stopped, so who connects may find nobody who answers */
	int excused; /* somebody was away so long that he may have been given up */
	int unheard; /* the broker may not have heard a goodbye, and wait for who lives on with another handle */
};

extern struct ledger ledger;

void ledger_reset(void);

int actor_new(int pid, int parent);
/* As who is on `node` sees it; -1: nobody. */
int actor_by_address(int node, const char *address);
/* Its process is gone, or it said goodbye. */
int actor_is_over(int actor);

/* Whom `from` addresses: an actor, or -1: whoever has a name. */
int target_new(int from, int to);
void target_settle(int target, int to);
int target_from(int target);
int target_to(int target);

/* Before it is sent; the number goes with it. */
unsigned entry_new(int target, size_t length, uint64_t deadline, int is_request, int fds);
void entry_accepted(unsigned entry, int yes);
int entry_target(unsigned entry);
void entry_cancelled(unsigned entry);
/* The kernel has all of it. */
void entry_written(unsigned entry);
void entry_delivered(unsigned entry, int receiver, size_t length);
/* By whom it was sent; -1: nobody knows it. */
int entry_sender(unsigned entry);
/* The request ended with this error, or NULL and the answer to `answered`. */
void entry_ended(unsigned entry, const char *error, unsigned answered);
/* A report about messages to a target. */
void ledger_reported(int actor, int target, const char *text);

/* Whoever has this target was told to be gone: what was sent before may come later than what is sent to him from now on. */
void target_parted(int target);
/* A handle of this process was closed, or is being closed. */
int ledger_is_leaving(int pid);
/* Whether these two may be told of each other's end though both live. */
int ledger_are_parted(int a, int b);
/* A parent heard EXIT: it must have got all that its child had written. */
void ledger_exit_told(int child, int parent);

/* Everything of those who live has arrived or was reported. What is open yet is traced if `say`. */
int ledger_is_settled(int say);
/* At the very end. */
void ledger_close(void);

#endif
