/*
 * node: what is kept of another node, whether there is a connection to it or not; and what all that work on links share.
 * Only data: proxy, link and links work on it.
 */
#ifndef BROOD_NODE_H
#define BROOD_NODE_H

#include "abroad.h"
#include "control.h"
#include "inquiry.h"
#include "life.h"
#include "resolve.h"
#include "session.h"
#include <event2/event_struct.h>

#define NODES_MOST 64u
#define PROXIES_MOST 65536u   /* of one node; also processes that its broker may have told us of */
#define INQUIRIES_MOST 65536u /* names of ours that one node's processes may watch */
#define NODE_ERROR 200u
#define BOOT_SIZE 16u

/* A process of another node that somebody here has to do with. */
struct proxy {
	struct sink sink; /* first: what is put into it goes over the node's link */
	struct process *process;
	struct node *node;
	uint64_t real;     /* its id there */
	uint64_t asked_ms; /* when we asked whether it is there */
	int confirmed;     /* its node told us of it since the link is up */
	LIST_ENTRY(proxy) of_node;
};
LIST_HEAD(proxy_list, proxy);

/* One connection to another broker. */
struct link {
	struct links *links;
	struct session *session;
	struct node *node;     /* NULL: it has not said which */
	int dialed;            /* by us */
	int up;                /* frames of processes pass */
	int doubled;           /* the other end has another connection with us, or makes one */
	uint64_t heard_ms;     /* when it was seen last that something came */
	uint32_t beat_ms;      /* it promised to say something as often */
	uint32_t epoch, pid;   /* of its broker's run */
	uint32_t fresh;        /* epochs of it that were unknown before */
	struct table told;     /* ids of ours that it was told about */
	struct table speakers; /* ids of its own that it told us about, with their users */
	uint64_t last_real;    /* who spoke last ... */
	struct process *last;  /* ... and that is; or NULL */
	SLIST_ENTRY(link) of_ended;
};
SLIST_HEAD(link_list, link);

enum node_state { NODE_DOWN, NODE_CONNECTING, NODE_UP };

struct node {
	struct links *links;
	LIST_ENTRY(node) entry;
	char name[NAME_MAX_LENGTH + 1];
	struct address url; /* kind 0: it is not dialed */
	int listed;         /* in the configuration that is being taken */
	/* the connection */
	struct link *link;   /* which is up, or NULL */
	struct link *dialed; /* ours that is not up yet, or NULL */
	struct event connecting;
	int connecting_fd; /* -1: none */
	struct event resolving;
	struct resolve *resolve; /* NULL: no name is being looked up */
	unsigned back_off_ms;
	uint64_t dial_ms;       /* when to dial next */
	uint64_t since_ms;      /* of the state */
	char error[NODE_ERROR]; /* of the last failure; "" */
	/* the node */
	uint32_t epoch; /* of its broker's run */
	struct proxy_list proxies;
	uint32_t n_proxies;
	int swept;                     /* lately: all these are of use */
	uint32_t n_inquiries;          /* of its processes, here */
	struct inquiry_list inquiries; /* of ours, there */
};
LIST_HEAD(node_list, node);

struct links {
	struct event_base *base;
	struct sessions *sessions;
	struct registry *registry;
	struct router *router;
	struct life *life;
	const struct control *control;
	struct log *log;
	struct users users;
	struct abroad abroad;
	struct inquiries inquiries;
	const char *node; /* this one's name */
	uint32_t owner;   /* the broker's user, to whose account the connections go */
	uint32_t epoch;   /* of this run */
	uint32_t beat_ms;
	uint8_t boot[BOOT_SIZE];
	struct tls_context *tls; /* NULL: no certificate */
	struct node_list nodes;
	struct link_list ended; /* to be freed when nothing works on them any more */
	struct event timer;     /* a timerfd: see broker.c */
	int timer_fd;           /* -1: none */
	uint64_t beat_due_ms, sweep_due_ms;
	uint64_t armed_ms; /* what the timer waits for; UINT64_MAX: nothing */
	uint32_t chance;   /* for jitter */
	int closing;
};

#endif
