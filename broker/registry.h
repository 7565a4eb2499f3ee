/*
 * registry: who is there. Processes by id, parents and children, names and who watches them. Pure: no sockets, no
 * clock, no messages; a change of a watched name is told through a function given at creation.
 *
 * Names belong to a user: "resize" of uid 1000 and "resize" of uid 1001 are two names. Of a name that the policy lets users
 * share there is its owner's only, which is what those say and watch who may use it.
 */
#ifndef BROOD_REGISTRY_H
#define BROOD_REGISTRY_H

#include "account.h"
#include "address.h"
#include "departed.h"
#include "estate.h"
#include "policy.h"
#include "sink.h"
#include "table.h"
#include <stdint.h>
#include <sys/queue.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct port;  /* the router's part of a process */
struct proxy; /* of a process of another node */

enum process_state {
	PROCESS_LIVE,   /* has a sink */
	PROCESS_LOST,   /* its connection ended without a goodbye; its parent vouches for it, or it is absent */
	PROCESS_AWAITED /* of an earlier run of this broker, not back yet; only the id is known */
};

enum process_transport {
	TRANSPORT_UNIX,
	TRANSPORT_TCP,
	TRANSPORT_TLS,
	TRANSPORT_CHILD,
	TRANSPORT_FIFO,
	TRANSPORT_LINK /* of another node */
};

/* The kernel does not say who is at the other end, and passes no descriptors. */
static inline int transport_is_net(enum process_transport t)
{
	return t == TRANSPORT_TCP || t == TRANSPORT_TLS;
}

#define TITLE_SIZE 24u /* with its NUL; longer titles are cut */

LIST_HEAD(process_list, process);

struct process {
	uint64_t id;
	struct sink *sink;      /* its session while it is live, else NULL */
	struct port *port;      /* NULL until a message was routed */
	struct process *parent; /* NULL: none, or gone */
	struct process_list children;
	LIST_ENTRY(process) sibling;
	struct estate *estate; /* NULL: it has nothing besides; see there */
	struct proxy *proxy;   /* NULL: it is of this node */
	uint64_t since_ms;     /* when it came */
	uint64_t nonce;        /* of its HELLO, until it shows its ticket; 0: none */
	uint32_t uid, pid;
	uint32_t told;      /* the last death it was told of: see router */
	uint32_t orphan_of; /* the user of another node whose process was its parent to the end; 0: none */
	uint8_t state;      /* enum process_state */
	uint8_t transport;  /* enum process_transport */
	uint8_t level;      /* 1: it can resume */
	uint8_t spawned;    /* its parent, or its keeper, will tell how it ended; else it only joined */
	uint8_t visible;    /* its pid means it here, as far as it says so itself */
	uint8_t open;       /* all of other nodes may write to it */
	uint8_t thirsty;    /* of another node: was told to send the broker no requests for now */
	uint8_t dying;      /* its parent said that it died: whatever it sent is taken, whatever the limits */
	char title[TITLE_SIZE];
};

struct name {
	struct process *holder; /* NULL: only watched */
	LIST_ENTRY(name) of_holder;
	struct watch_list watches;
	UT_hash_handle hh;
	LIST_ENTRY(name) of_open;
	int open;     /* processes of other nodes find it */
	uint32_t uid; /* uid and text, one behind the other, are the key */
	char text[NAME_MAX_LENGTH + 1];
};

/* A name got another holder, or lost it: name->holder is the new state. */
typedef void registry_named_fn(void *data, struct process *watcher, const struct name *);
/* The same, whoever watches it. */
typedef void registry_changed_fn(void *data, const char *name);

struct registry {
	struct table processes;
	struct table greeted;      /* by the nonces of their HELLO */
	uint32_t n_foreign;        /* of these are of other nodes */
	struct accounts *accounts; /* their limits, and how many names each user has */
	const struct policy *policy;
	struct departed departed; /* those that were, and are gone for good */
	struct name *names;       /* held or watched */
	struct name_list open;    /* held, and for other nodes, too */
	registry_named_fn *named;
	void *data;
	registry_changed_fn *changed; /* NULL: nobody asks; set by who does, with its data */
	void *changed_data;
	int settling; /* holders may yet come back: that a name has none is not told */
};

void registry_init(struct registry *, struct accounts *, registry_named_fn *, void *data);
/* Frees every process, too. */
void registry_deinit(struct registry *);

/* A process with a new id, without title, parent or sink. NULL without memory. */
struct process *registry_add(struct registry *, uint64_t id, uint32_t uid);
/* Its names become free, its children orphans. port, endpoint, absence and inquiries must be gone. */
void registry_remove(struct registry *, struct process *);
struct process *registry_find(const struct registry *, uint64_t id);
/*
 * Its HELLO had this nonce, so that one that says the same is the same process, which did not get its answer; 0: forget it.
 * Without memory, or if another has it, nothing is remembered.
 */
void registry_greet(struct registry *, struct process *, uint64_t nonce);
/* This user's process whose HELLO had the nonce. NULL: none. */
struct process *registry_greeted(const struct registry *, uint64_t nonce, uint32_t uid);
/* For people: longer ones are cut. */
void registry_entitle(struct process *, const char *title);

/* Make `child` a child of `parent`; either may have been related before. parent NULL: an orphan. */
void registry_relate(struct process *child, struct process *parent);
/* `keeper` started it for its parent; NULL: nobody did, which cannot fail. 0; -ENOMEM: nothing changed. */
int registry_keep(struct process *child, struct process *keeper);
/* 1 if one is the other's parent. */
int registry_related(const struct process *, const struct process *);

/*
 * 0. -EINVAL: not a name. -EACCES: its user may not. -EADDRINUSE: another holds it. -ENOSPC: it holds too many. -EDQUOT: its
 * user does. -ENOMEM.
 */
int registry_name_take(struct registry *, struct process *, const char *name);
/* A name that it holds, and the process itself, are for other nodes, too. */
void registry_name_open(struct registry *, struct process *, const char *name);
/* Names it does not hold are ignored; "" is all it holds. */
void registry_name_drop(struct registry *, struct process *, const char *name);
/* The same, at its own wish: it is remembered which names it had. */
void registry_name_give_up(struct registry *, struct process *, const char *name);
/* Whom this user means by the name. NULL: nobody. */
struct process *registry_name_holder(const struct registry *, uint32_t uid, const char *name);
/* A name that the process holds though its user may not, as the policy is now; valid until it drops it. NULL: there is none. */
const char *registry_name_lost(const struct registry *, const struct process *);
/* 1 if the process holds a name that this user shares. */
int registry_offers(const struct registry *, const struct process *, uint32_t uid);
/* Names of a process, separated by blanks, as many as fit. Returns to. */
char *registry_names(const struct process *, char *to, size_t n);

/* The state is told at once and after every change. Twice is once. -EINVAL, -ENOSPC, -ENOMEM as above. */
int registry_watch(struct registry *, struct process *, const char *name);
/* Who is not back by now has lost its names: tell who watches those that nobody holds. */
void registry_settle(struct registry *);
void registry_unwatch(struct registry *, struct process *, const char *name);
/* The policy has changed: whoever means another name by what it watches now is told who holds that. */
void registry_review(struct registry *);

/* Remember that these ids are the process's to give away. -ENOMEM. */
int registry_grant(const struct registry *, struct process *, uint64_t first, uint32_t n);
/* First id of the block from which it may give this id to a child; 0: it may not. */
uint64_t registry_block_of(const struct process *, uint64_t id);

#endif
