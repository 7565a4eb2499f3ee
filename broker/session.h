/*
 * session: a connection. What all of them share is here, too, as they work in it; what is done with all is in sessions.h.
 *
 * NEW → LIVE → CLOSING. A new session may only say HELLO, and soon. A live one has a process. A closing one is deaf and
 * is freed at the end of the turn, so every function here may be called from everywhere, for the session at work too.
 * Another broker says LINK instead, and its session is a LINK then, which has no process and brings frames of many.
 */
#ifndef BROOD_SESSION_H
#define BROOD_SESSION_H

#include "account.h"
#include "channel.h"
#include "error.h"
#include "log.h"
#include "outbox.h"
#include "registry.h"
#include "router.h"
#include "sink.h"
#include "tls.h"
#include <event2/event.h>
#include <event2/event_struct.h>

enum session_state { SESSION_NEW, SESSION_LIVE, SESSION_LINK, SESSION_CLOSING };

struct link; /* what a connection to another broker is besides */

struct session {
	struct sink sink; /* first: a sink is its session */
	struct channel channel;
	struct event readable;
	struct event *writable; /* made when first needed */
	struct sessions *all;
	struct process
		*process;   /* LIVE: whose connection this is. NULL again once somebody else has taken care of it */
	struct link *link;  /* NULL: a client's, as far as is known */
	struct outbox *out; /* while it is dirty */
	TAILQ_ENTRY(session) of_state;
	STAILQ_ENTRY(session) of_dirty;
	struct waiter waiter;    /* to be served */
	struct account *account; /* of its user; ACCOUNT_NOBODY's while that is not known */
	uint32_t notes;          /* bytes of the broker's own that wait in the channel, as counted in the account */
	uint32_t since_ms;       /* when it came; the lower half of the clock, which is enough for its order */
	uint64_t serial;         /* those that came later have higher ones; 0: a child's channel */
	uint32_t uid;            /* whom the kernel says it is */
	uint8_t state;           /* enum session_state */
	uint8_t transport;       /* enum process_transport */
	uint8_t writing;         /* waits for room in its socket */
	uint8_t ready;           /* READY_...: what it will be served for */
	uint8_t muted;           /* READY_...: of which the event is off, because it waits for that already */
	uint8_t held;            /* was told to send no requests for now */
	uint8_t exhausting;      /* will be read to its end, then closed */
	uint8_t heard;           /* LINK: bytes came; whoever looks puts it back */
	uint8_t refused;         /* closed by us for a reason */
	uint8_t counts;          /* as a session in the account, ... */
	uint8_t greets;          /* ... and as one that has not said HELLO */
};

TAILQ_HEAD(session_list, session);

/* What those above do when a session has something for them. */
struct session_ops {
	/* A frame for the broker that is not routed. */
	void (*control)(void *data, struct session *, const struct frame *);
	/* A routed frame whose destination is the broker. */
	void (*request)(void *data, struct session *, const struct frame *);
	/* A live session of this process was refused, and closes next. */
	void (*refused)(void *data, const struct process *, const struct error_reason *, const char *text);
	/* A live session is closing: see to its process. Called once. */
	void (*ended)(void *data, struct session *);
	/* A frame of another broker, also the LINK that says it is one. */
	void (*link)(void *data, struct session *, const struct frame *);
	/* A session that has a link is closing: see to that. Called once. `why`: as said to the other end, or "". */
	void (*parted)(void *data, struct session *, const char *why);
};

struct sessions { /* all, and what they work with */
	struct event_base *base;
	struct log *log;
	struct router *router;
	const struct limits *limits;
	const struct session_ops *ops;
	void *data;
	struct slab slab;
	struct outbox_pool outboxes;
	struct session_list fresh, live, links, exhausting, closing;
	STAILQ_HEAD(, session) dirty;
	struct schedule schedule; /* those that are ready */
	uint64_t work;            /* done so far: bytes, and what counts as such */
	struct parcel *parcel;    /* came with the frame that is being routed, for the session it is put into */
	unsigned fds_kept;        /* descriptors that wait in channels */
	struct event hello_timer;
	int64_t expires;  /* no certificate of a live session before that, in seconds since 1970 */
	uint64_t serial;  /* of the one that came last */
	unsigned n;       /* of all states, ... */
	unsigned n_links; /* ... and of these with other brokers */
	int leaving;      /* goodbye was said: an adopted child that comes now hears it, too */
	Brood__Parting parting;
	uint64_t refused;
};

/* Of the process at the other end, for the caller to close. -ESRCH: it has ended. -ENOENT: it cannot be seen from here. */
int session_pidfd(const struct session *);
/*
 * Takes over a connected, non-blocking descriptor (twice the same, but for FIFOs), also when it fails. NULL: -ENOMEM or no
 * room in epoll.
 */
struct session *session_new(struct sessions *, int in_fd, int out_fd, enum process_transport, uint32_t uid);
/* Put TLS under a session that was just made. Without memory it is closed. */
void session_secure(struct session *, struct tls_context *);
/* 1 if this user may connect. 0: it may not, and this session was refused. */
int session_permit(struct session *, const struct policy *, uint32_t uid);
/* It came through a listener: count it. It is refused if there are too many, or they come too fast. */
void session_admit(struct session *);
/* It turned out to be this user's. 1: it counts as such. 0: there are too many, and it was refused. */
int session_charge(struct session *, uint32_t uid);
/* The session that is this sink. */
struct session *session_of(struct sink *);
/* It is this process's connection now. */
void session_live(struct session *, struct process *);
/* It is a connection to another broker, and this says what it is besides. The other end's frames are taken if it `may`. */
void session_link(struct session *, struct link *);
void session_link_up(struct session *);
/* The edge ends while the session goes on: what waits of it becomes nobody's. */
void session_forget(struct session *, struct edge *);
/* Bytes of the broker's own, and nobody's, that wait in it. */
size_t session_notes(const struct session *);
/* Say why, as text for people under a name of error.c, and close. */
void session_refuse(struct session *, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
void session_close(struct session *);
/* Read at the end of the turn what is still in its socket, route it, then close. */
void session_exhaust(struct session *);

/*
 * For the turn. One that is closing may only be flushed and freed.
 */

/* Do what it waited for in the schedule, once. The slab must have room for a helping. */
void session_serve(struct session *);
/* Read a helping, for which the slab must have room. Above 0: so many bytes. 0: nothing there now. -1: the end, or it was refused. */
ssize_t session_read(struct session *);
/* Write what it got in this turn; it is dirty. */
void session_flush(struct session *);
/* Tell it that the broker is going. */
void session_say_leaving(struct session *);
/* Close it if its certificate has expired at this time, in seconds since 1970, and would not pass any more. */
void session_review(struct session *, int64_t now);
void session_free(struct session *);

#endif
