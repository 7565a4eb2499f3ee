/*
 * router: from which process to which, and whether there is room. Pure: frames and charges come in, bytes go to sinks.
 *
 * An *edge* is what the broker keeps of a sender and a destination: how many bytes wait there, and whether the sender
 * was told to wait. It is made by the first frame and ends with either end.
 */
#ifndef BROOD_ROUTER_H
#define BROOD_ROUTER_H

#include "account.h"
#include "brood.pb-c.h"
#include "frame.h"
#include "registry.h"

struct edge {
	struct port *source;      /* NULL: it is gone, its last bytes still wait */
	struct port *destination; /* NULL: gone */
	struct account *account;  /* of the sender's user */
	uint64_t id;              /* the destination's */
	size_t queued;
	uint64_t last; /* on stream 0: the latest sequence of an item seen */
	uint8_t held;  /* HELD_... */
	uint8_t doomed;
	uint8_t missed;   /* of vigil: how often an answer to what travels here was waited for in vain ... */
	uint16_t answers; /* ... and how many came at once since */
	LIST_ENTRY(edge) of_destination;
	SLIST_ENTRY(edge) of_doomed;
};
LIST_HEAD(edge_list, edge);
SLIST_HEAD(doomed_list, edge);

#define HELD_BUSY 0x1u /* more than its share waits */
#define HELD_AWAY 0x2u
#define HELD_FULL 0x4u        /* more waits for the destination, or in the broker, than may at all */
#define HELD_THERE 0x8u       /* the destination's node says busy, ... */
#define HELD_AWAY_THERE 0x10u /* ... or away */

struct port { /* what the router keeps of a process that sent or was sent something */
	struct process *process;
	struct router *router;
	struct sink *shared;     /* its sink, if that is one that others use, too */
	struct account *account; /* of its user */
	struct edge *last;       /* the edge of the latest frame */
	struct table out;        /* edges by destination id */
	struct edge_list in;
	size_t queued;   /* bytes that wait for this process ... */
	uint32_t loaded; /* ... and on how many edges */
	uint32_t full;   /* edges to it with HELD_FULL */
	uint32_t nobody_helping;
	uint64_t nobody; /* in that helping it was told that nobody has this id */
	uint64_t frames_in, frames_out, bytes_in, bytes_out;
};

/* The first tried to write to the second, and may not. */
typedef void router_denied_fn(void *data, const struct process *, const struct process *);
/* What the router asks of those who know other nodes. All may be NULL: there are none. */
struct abroad_ops {
	/* The process of another node that this id stands for, made if nobody had to do with it. NULL: there is none. */
	struct process *(*find)(void *data, uint64_t id);
	/* One of this node became a child of one of another. */
	void (*born)(void *data, const struct process *);
	/* One that was known by id only is back, and says who may write to it. */
	void (*returned)(void *data, struct process *);
	/* It is gone for good, and everybody here was told. */
	void (*gone)(void *data, struct process *, Brood__Why);
	/* 1 if one of another node may write to one of this. */
	int (*may)(void *data, const struct process *from, const struct process *to);
};

struct router {
	struct registry *registry;
	const struct abroad_ops *abroad; /* NULL: there are no other nodes */
	void *abroad_data;
	struct accounts *accounts; /* the registry's, and their limits */
	const struct limits *limits;
	uint32_t owner;       /* user whose processes may talk to everybody; root's may, too */
	uint32_t first_epoch; /* ids below are of earlier runs */
	int grace;            /* processes of earlier runs may still come back */
	uint32_t n_awaited;
	uint32_t helping, death; /* the numbers of the helping and of the death that are under way */
	struct doomed_list doomed;
	struct edge *latest;      /* of the frame that was forwarded last; NULL: it is gone */
	router_denied_fn *denied; /* NULL: nobody asks; set by who does, with its data */
	void *denied_data;
	uint64_t frames, bytes, holds;
	size_t queued; /* bytes that wait */
};

void router_init(struct router *, struct registry *, uint32_t owner, uint32_t first_epoch, int grace);
/* Frees all edges and ports; the processes stay. */
void router_deinit(struct router *);

/* A new helping of frames begins. */
void router_begin(struct router *);
/*
 * Forward a routed frame to its destination (not the broker), or tell the sender why not. 0. -ENOMEM.
 * -ENOBUFS: it writes to more destinations than we keep count of.
 */
int router_route(struct router *, struct process *from, const struct frame *);

/*
 * The process with this id: here, of an earlier run, or of another node; of these two a record is made if there is none yet.
 * NULL: nobody.
 */
struct process *router_find(struct router *, uint64_t id);
/* Its parent was set: if that is of another node, it is told there. */
void router_born(struct router *, const struct process *);
/* It was awaited, and is back: children of other nodes that it knows nothing of are not its own. */
void router_returned(struct router *, struct process *);
/* Its node tells one of ours to stop sending to it, because it is busy or away; to go on; that it will get nothing of it. */
void router_hold(struct router *, struct process *from, struct process *to, int away);
void router_go(struct process *from, struct process *to);
void router_part(struct router *, struct process *from, struct process *to, Brood__Why);
/* Its user is known now, and changed p->uid. */
void router_know(struct router *, struct process *);
/* 1 if no edge leads from or to it. */
int router_is_idle(const struct process *);

/* n bytes that a sink got with this edge have to wait; have left. The tag is an edge, or NULL for notes. */
void edge_charge(struct edge *, size_t n);
void edge_uncharge(void *tag, size_t n);
/* The edge, or NULL if its destination is gone, so that nobody's bytes wait. */
struct edge *edge_alive(struct edge *);

/* The process is live with this sink: those who were told to wait because it was away go on. */
void router_attach(struct router *, struct process *, struct sink *);
/* It is lost, and with its sink what waited there, but it may come back: its senders are told to wait. */
void router_detach(struct router *, struct process *);
/* It is gone for good: everybody who has to do with it is told, except one (or NULL). The record itself stays. */
void router_end(struct router *, struct process *, Brood__Why why, struct process *except);
/* Free what ended. Call it when no sink holds bytes of this turn any more. */
void router_sweep(struct router *);

/* A process of an earlier run, expected back. NULL without memory, or if there are too many. */
struct process *router_await(struct router *, uint64_t id);
/* 1 if the id is of an earlier run and the time of grace has not passed. */
int router_awaits(const struct router *, uint64_t id);

/* The policy has changed: who may not write to whom it wrote to is told that it is gone, and nothing more is forwarded. */
void router_review(struct router *);

/* 1 for root and the broker's own user. */
int router_is_almighty(const struct router *, uint32_t uid);
/* 1 if processes of the first user may do this to those of the second, related or not. */
int router_may_users(const struct router *, enum policy_verb, uint32_t, uint32_t);
/* 1 if the first may write to the second, without having been written to. */
int router_may(const struct router *, const struct process *, const struct process *);
/* 1 if it may also know that the second is there. */
int router_may_see(const struct router *, const struct process *, const struct process *);
/* Highest sequence on stream 0 known to have been sent to this id; 0: none. */
uint64_t router_last(const struct process *, uint64_t to);

#endif
