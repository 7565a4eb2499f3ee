/*
 * handle: what a `brood` and its peers are made of. Only data: the modules that work on it are, from the bottom up,
 *
 *   outflow inflow tombstone timer spawn autostart place fault   know nothing of a handle
 *   remote, out  a process as I talk to it          pump, dialer, link  my connection to the broker
 *   letter       one received message               peer     what programs hold: their life
 *   confirm      who hears that a message arrived   watch    streams that stand still
 *   pipe, stdio  a child's descriptors              event    what programs are told, in order
 *   request      my open questions                  parting  how a relation ends
 *   names        finding and taking names           lines    a child's lines for the broker's log
 *   relay, errand          a program on another host, and its descriptors
 *   birth, verdict, obituary, child  a program I started   exec  ... with collected output
 *   inbound      what came in: frames to items to events
 *   loop         a turn, and all that waits         send, brood, departure   the public calls, and exit(3)
 */
#ifndef BROOD_HANDLE_H
#define BROOD_HANDLE_H

#include "address.h"
#include "channel.h"
#include "fault.h"
#include "inflow.h"
#include "knock.h"
#include "outflow.h"
#include "spawn.h"
#include "ticket.h"
#include "timer.h"
#include "tls_load.h"
#include "tombstone.h"
#include <brood.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#define HASH_NONFATAL_OOM 1 /* what could not be added has no hh.tbl */
#include <uthash.h>

/* Something the handle's epoll watches. */
struct source {
	void (*ready)(struct source *, unsigned events);
	int fd;
	unsigned watched, wanted; /* events it is watched for, and shall be */
	LIST_ENTRY(source) entry; /* of those where the two differ: the kernel had no memory */
};

TAILQ_HEAD(event_list, event_item);

/* ---- the other side ---------------------------------------------------------------------------------------------- */

enum remote_hold { REMOTE_OPEN, REMOTE_BUSY, REMOTE_AWAY, REMOTE_UNBORN /* its broker does not know it yet */ };

/*
 * A process I talk to, on stream 0. Counted: one reference while it can be reached by id, one per peer, one per message
 * not yet released, one per open request.
 */
struct remote {
	struct brood *h;
	uint64_t id;
	unsigned refs;
	int resolved;           /* id is known and the remote is in the table; until then what is sent waits in `out` */
	uint8_t mine, its;      /* generation of the stream to it, and from it ... */
	unsigned its_known : 1; /* ... of which there was a frame */
	unsigned forgotten : 1; /* what it sends is of a stream that was given up: it has to begin anew ... */
	uint64_t consumed;      /* ... and so much of that was consumed */
	enum remote_hold hold;
	struct outflow out;
	struct inflow in;
	TAILQ_ENTRY(remote) dirty_entry;
	int dirty;      /* in the list of those with something to transmit */
	int probe;      /* ask for an acknowledgement of everything */
	uint64_t asked; /* everything before this was asked for, and is answered when it is consumed */
	unsigned fin_sent : 1, fin_received : 1; /* one side said that it sends no more */
	unsigned ended : 1;                      /* no frame goes or comes any more ... */
	const char *ended_as;                    /* ... and the error's name, if there was one; else NULL */
	struct event_list confirms;              /* to be told when their items were consumed, by sequence */
	int want_drain;                          /* -EAGAIN was said */
	uint64_t seen_acked, seen_at;            /* watch: how far it was, and when that was new */
	uint64_t gap_next, gap_at; /* watch: from where on items were missing, and when that was new (handle_awake()) */
	uint64_t untaken, untaken_at; /* the item for which there was no memory, and since when (handle_awake()) */
	uint64_t sent, received;      /* messages */
	struct brood_peer *peer;      /* gets its events; NULL: none (any more) */
	LIST_HEAD(, request) requests;
	UT_hash_handle hh;
};
TAILQ_HEAD(remote_list, remote);

enum peer_kind { PEER_SELF, PEER_BROKER, PEER_PARENT, PEER_CHILD, PEER_JOINED, PEER_NAME, PEER_PROCESS };

struct letter;

struct brood_peer {
	TAILQ_ENTRY(brood_peer) entry;
	struct brood *h;
	enum peer_kind kind;
	unsigned refs;         /* the program's handle, events under way, being alive */
	int owned;             /* times the program got it and has not released it */
	int retired;           /* not alive any more */
	struct remote *remote; /* NULL: self, and plain children */
	struct brood_handlers on;
	int has_on;
	void *data;
	char *name;
	char address[32];
	pid_t pid;
	int ready, away, disconnected, closed;
	int told_closed; /* CLOSE was not only posted but told */
	struct child *child;
	struct timer waiting; /* NAME: how long messages wait for a holder */
	unsigned wait_ms;
	int absent;             /* NAME: the broker said that nobody holds it ... */
	const char *why_absent; /* ... and why, if that is because of its node; else NULL */
	char *unreachable; /* NAME: why its node cannot be reached just now, as far as the broker said so; else NULL */
	int quiet;         /* its events go to a table of its own or to nobody */
	int paused;        /* its messages, and what comes behind them, wait in the handle's list: PAUSED_... */
	const struct peer_inside *inside; /* it is the library's own; NULL: the program's */
	struct errand *errand;            /* ... whose keeper it is; NULL: nobody's any more */
	struct brood_exit exit;
	int has_exit;
	char exit_text[256];
};
TAILQ_HEAD(peer_list, brood_peer);

#define PAUSED_BY_PROGRAM 1
#define PAUSED_UNTIL_SPAWN 2 /* it runs on another host, and says something before its keeper says that it started */

struct peer_inside {                                          /* who gets what one says to the library itself */
	int (*message)(struct brood_peer *, struct letter *); /* the letter is the callee's. -ENOMEM: it comes again */
	void (*away)(struct brood_peer *, int away);
	void (*gone)(struct brood_peer *);
};

/* ---- what came in ------------------------------------------------------------------------------------------------ */

struct letter {
	struct brood_msg msg; /* first: what programs see */
	struct brood *h;
	struct remote *remote;    /* counted while it stays */
	LIST_ENTRY(letter) entry; /* of those that stay */
	struct inflow_hold hold;
	uint64_t correlation, deadline;
	int stays;             /* outlives its handler: kept by the program or queued */
	int kept;              /* times brood_msg_keep() was called; it stays then */
	int showing;           /* its handler runs, or brood_next() shows it */
	int owns;              /* it stays, or something below is not NULL: letter_drop() has work */
	void *body;            /* malloc, or NULL: it lies in the slab */
	struct parcel *parcel; /* descriptors that came with it, or NULL */
	char *type, *trace;
	struct unpacked *unpacked; /* by brood_msg_pb() */
};

struct event_item {
	TAILQ_ENTRY(event_item) entry;
	struct brood_event event;
	struct fault fault;
	brood_fn *done;    /* REPLY, RESULT, CONFIRM: whom to call */
	uint64_t sequence; /* CONFIRM: of the item that it is about */
	struct letter *letter;
	struct pipe *pipe; /* OUTPUT: whose chunk it is, and in which this item lies */
};
/* Where reading stands: items of one frame. Part of the handle, so that a blocking call inside a callback goes on
 * there. */
struct cursor {
	struct remote *remote; /* counted; NULL: no frame open */
	const uint8_t *at, *end;
	uint64_t sequence;
	uint64_t now; /* as handle_now(), when it was asked first; 0: not yet */
	int ack_now;
	int landed;            /* its one item's body is where it belongs: landing.h */
	struct parcel *parcel; /* came with the frame, and no item has taken it yet; or NULL */
};

/* ---- open questions ---------------------------------------------------------------------------------------------- */

struct request {
	LIST_ENTRY(request) entry; /* of its remote */
	struct brood *h;
	struct remote *remote;   /* counted; NULL: slot is free */
	struct brood_peer *peer; /* counted */
	uint64_t due;            /* its deadline, 0: none ... */
	/* ... and what watches it, which rings then or earlier: most requests are answered, so it stays armed for the next
	 * one in this slot, and is set anew when it rings too early. */
	struct timer deadline;
	brood_fn *done;
	void *data;
	struct call *call; /* brood_call() waits for it; then there is no done */
	uint32_t slot, generation;
	uint32_t next_free;
};

struct call { /* a blocking request */
	int finished;
	struct letter *letter; /* the answer, or NULL and ... */
	struct fault fault;
	void (*told)(struct call *); /* called when it has finished; NULL: somebody waits */
};

struct requests {
	struct request **slots;
	uint32_t n, size, free; /* slots made, allocated; first free slot + 1, 0: none */
	uint32_t open;
};

/* ---- the connection ---------------------------------------------------------------------------------------------- */

enum link_state {
	LINK_IDLE,       /* nobody needed it yet */
	LINK_DIALING,    /* connecting, or waiting to try again */
	LINK_RESOLVING,  /* TLS: a host's name is looked up */
	LINK_CONNECTING, /* connect() is under way */
	LINK_GREETING,   /* HELLO sent, or BIRTH awaited */
	LINK_UP,
	LINK_LEAVING, /* GOODBYE said */
	LINK_DOWN     /* for good */
};

struct dialer {            /* how I get to the broker */
	char address[128]; /* of the broker, as text */
	enum address_kind address_kind;
	int loopback;
	char host[ADDRESS_HOST]; /* TLS: who must be there */
	int inherited;           /* the channel came from my parent */
	int given;               /* the program itself said where the broker is */
	int autostart;           /* a private broker is started where nobody is ... */
	int started;             /* ... and was, but not found there already; not again in this attempt */
	int start_failed;        /* that could not be, or its first process said so */
	struct source starter;   /* pidfd of the private broker's first process */
	struct source knocker;   /* FIFOs: the rendezvous, until the broker has come */
	struct knock knock;
	const struct tls_api *tls_api; /* loaded at the first tls:// */
	struct tls_context *tls;       /* NULL: not needed so far */
	struct source resolver;        /* RESOLVING: when that is done */
	struct resolve *resolving;
	struct timer timer;    /* next try, or patience with a silent broker */
	uint64_t answer_by;    /* CONNECTING, GREETING: when this connection is given up, as of handle_awake() */
	uint64_t give_up;      /* when trying ends; the same */
	int greeted;           /* there was somebody at the address before, so that others may come there ... */
	int deserted;          /* ... and the last time nobody was */
	int resuming;          /* there was a connection, and there shall be one again ... */
	unsigned back_off;     /* ... tried again after so many ms */
	unsigned reconnect_ms; /* how long that goes on */
	const struct dialer_up *up;
};

struct link {                 /* what is said there */
	struct source source; /* what the broker writes comes here; the dialer's until there is a channel */
	struct source outlet; /* where I write, if that is another descriptor; watched while it is full */
	enum link_state state;
	struct channel channel;
	struct slab slab;
	int slab_made;
	char *token_file, *parent_name;
	uint8_t ticket[TICKET_SIZE];
	size_t ticket_size;
	uint64_t nonce;      /* said with HELLO until I have an id: a broker that heard me before knows me by it */
	uint64_t id, parent; /* mine */
	char node[64];
	uint64_t next_id, last_id; /* ids for my children; next > last: none left */
	uint64_t first_id;
	uint8_t ids_key[TICKET_KEY];
	int asked_ids;
	int readable; /* there is something to read */
	int heard;    /* a frame came behind BIRTH, so the channel reaches a broker */
	int spoiled;  /* it has to be made anew */
	int full;     /* the socket took less than it was offered: nothing is offered until it has room */
	int enlarged; /* the pipe was, as it had been full once */
	const struct link_up *up;
};

struct registered_name {
	LIST_ENTRY(registered_name) entry;
	int confirmed;
	int given; /* my parent took it for me */
	char name[];
};

/* ---- me ---------------------------------------------------------------------------------------------------------- */

struct brood {
	LIST_ENTRY(brood) entry;      /* of all handles of this process */
	unsigned generation;          /* of forks; a copy refuses */
	pthread_t thread;             /* that made it */
	int listed;                   /* in the list that exit(3) flushes */
	int flushed;                  /* by exit(3) */
	int (*end)(struct brood *);   /* what brood_close() does, when a callback asked for it */
	void (*push)(struct brood *); /* pump_run(), for what is below it */
	int epoll_fd, wake_fd, timer_fd;
	uint64_t timer_due;        /* what timer_fd is set to; UINT64_MAX: nothing */
	uint64_t awake, looked_at; /* handle_awake(), as of so much of handle_now() */
	uint64_t tick, tick_ends;  /* of the kernel's clock: the one that was seen last, and when it is surely over */
	int foreign;               /* somebody else's loop waits for epoll_fd */
	struct timers timers;
	struct timer watch;  /* of streams that stand still */
	struct timer sooner; /* sources that are not watched yet are tried again */
	LIST_HEAD(, source) unwatched;
	struct source wake_source, timer_source;
	atomic_int stop, wake; /* asked by brood_stop(), brood_wake(): any thread, signal handlers */
	int running;           /* brood_run() is under way: stop counts */
	int dispatching;       /* a turn that calls callbacks is under way */
	int in_callback, blocking;
	struct brood_event reply; /* for the callback of an answer that is told at once; what it does not say is 0 */
	int stirred; /* a table, a pause or the cursor changed: what run_messages() found out does not hold any more */
	int closing, gather;
	int over; /* brood_close() tells what is still to be told: calls are refused */
	unsigned delivered;
	struct dialer dialer;
	struct link link;
	struct cursor cursor;
	struct letter *current; /* memory for the next message, or NULL while a handler sees it */
	void **pinned;          /* old slab memory that callbacks further up still see */
	unsigned n_pinned;
	struct remote *by_id, *last_remote;
	struct remote_list dirty;
	struct tombstones tombstones;
	struct outflow_pool pool;
	struct peer_list peers;
	struct brood_peer *self, *parent, *broker;
	struct event_list ready, kept; /* waiting for their callback; for brood_next() */
	struct event_list held;        /* of what is paused */
	struct event_item *shown;      /* what brood_next() showed last */
	struct event_list spare;       /* for when there is no memory ... */
	unsigned n_spare;              /* ... so many */
	struct requests requests;
	LIST_HEAD(, registered_name) names;
	int open;     /* my names are for processes of other nodes, too, which may write to me */
	char *abroad; /* who of other nodes may anyway, "user@node" separated by blanks; or NULL */
	LIST_HEAD(, child) children;
	LIST_HEAD(, unburied) unburied; /* the broker has not said END of them, though it had time */
	unsigned n_unburied;
	LIST_HEAD(, errand) errands;
	struct life_line line;
	int lines_wait;        /* the broker takes no more lines for its log */
	uint64_t memory_kills; /* in my cgroup, as far as they are explained; once ... */
	int memory_watched;    /* ... they were counted */
	unsigned flags, flush_ms;
	size_t window;
	unsigned counting;           /* children that keep brood_run() running */
	unsigned confirming;         /* messages whose sender is still to be told */
	LIST_HEAD(, letter) letters; /* that outlive their handler */
	int known;                   /* the broker has said who I am, and heard of my names */
	int told_away;               /* AWAY was posted, and no BACK since */
	int stopping;                /* the broker ends: finish, then leave */
	int failed;                  /* negative errno: no broker any more */
	int lost;                    /* negative errno: an event was lost */
	struct fault down;           /* why it failed */
	struct fault last, first;    /* of the last call; the first since brood_sync() */
};

/* How often this process is a forked copy; differs from the handle's in a copy. */
extern unsigned handle_generation;

/* What every public call asks first: 0, -EINVAL without a handle, -ECHILD in a forked copy, -ESHUTDOWN in its last callbacks. */
int handle_check(const struct brood *);

/* A handle for one plain child, that never has a broker. For brood_close(). */
int handle_new_bare(struct brood **ret);

/* Milliseconds of CLOCK_BOOTTIME. */
uint64_t handle_now(void);

/*
 * As handle_now(), or up to HANDLE_TICK_MS later, at a fifth of the price: for what happens with every message. The kernel's
 * clock ticks 100 to 1000 times a second.
 */
#define HANDLE_TICK_MS 10u
uint64_t handle_now_at_most(struct brood *);

/*
 * Milliseconds that this handle saw pass, for patience with others: while the machine slept, or this process was stopped,
 * nobody could answer it. From one look to the next HANDLE_AWAKE_MS count at most, so who waits looks more often than that.
 */
#define HANDLE_AWAKE_MS 1000u
uint64_t handle_awake(struct brood *);

/*
 * Watch a source for these events instead of those before; 0: not any more, as it must be before its descriptor is closed.
 * If the kernel has no memory for it, that is tried again until it has.
 */
void handle_watch(struct brood *, struct source *, unsigned events);
void handle_watch_again(struct timer *); /* what h->sooner does */

/* Make the handle's descriptor readable; safe in signal handlers and from other threads. */
void handle_poke(const struct brood *);

/* Note a failed call for brood_last_error(), and return its code. */
int handle_fail(struct brood *, int code, const char *name, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Note an asynchronous failure for brood_sync(). */
void handle_note(struct brood *, const struct fault *);

#endif
