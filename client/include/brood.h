/*
 * brood.h: child_process for C, the same on one host and across hosts.
 *
 * Model      A `brood` is one process as its broker sees it. Everything one can talk to is a `brood_peer`: a child,
 *            the parent, a name, the broker itself. Every event is a `brood_event`, every callback a `brood_fn`.
 * Results    0 or positive is success, negative is -errno. A call fails only for what is known at once (bad argument,
 *            no memory, full window, dead peer) and then nothing has happened and no callback follows. What is decided
 *            later, by a broker or a child, arrives as an event, or through brood_sync(). strerror(-rc) works.
 * Ownership  What a call hands out through `ret` is yours: release it. What an event shows is valid until the callback
 *            returns (or until the next brood_next()). Strings and structs passed in are copied. A failed call leaves
 *            `ret` untouched. Every release and brood_close() accept NULL.
 * Threads    One handle belongs to one thread at a time; handles are independent. brood_wake() and brood_stop() may be
 *            called from any thread and from signal handlers. The library starts no thread, installs no signal handler,
 *            never prints, never exits, reaps no process but its own. In a forked copy calls return -ECHILD.
 *            One exception to "no thread": while the host's name in a tls:// address is looked up, one waits for that.
 *            One exception to "no global state": exit(3) flushes open handles (see flush_ms); _exit(2) does not.
 * Callbacks  may call everything, closing their own handle included, except brood_process(), brood_next(), brood_run(),
 *            which return -EBUSY. Blocking calls work in callbacks: they move bytes and deliver no events meanwhile.
 *            Do not longjmp or throw out of a callback.
 * Time       Milliseconds. In arguments -1 is for ever, 0 at once. In option structs 0 is the default.
 * Growth     Structs you fill begin with `size`: write them with BROOD_SPAWN(...) and so on, or BROOD_INIT(s) first, as
 *            C++ must. Structs you read, and all enums, grow at the end: treat unknown values as "something else".
 */
#ifndef BROOD_H
#define BROOD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#define BROOD_VERSION_NUMBER 0x000100 /* 0xMMmmpp */
#define BROOD_API __attribute__((visibility("default")))
#define BROOD_CHECKED __attribute__((warn_unused_result))

#ifdef __cplusplus
extern "C" {
#endif

typedef struct brood brood;             /* me */
typedef struct brood_peer brood_peer;   /* somebody, or something with a name */
typedef struct brood_msg brood_msg;     /* one received message */
typedef struct brood_event brood_event; /* something that happened */

/*
 * Every callback has this type; what was passed as `data` is event->data. The result matters for BROOD_EVENT_MESSAGE
 * only: a negative errno answers an open request with that error (so `return brood_reply(...)` is the idiom); 0 without
 * a reply and without brood_msg_keep() answers it with "unanswered". No request is ever left open by accident.
 */
typedef int brood_fn(const brood_event *event);

/* ---- what happens ------------------------------------------------------------------------------------------------ */

/*
 * For one child, in this order, each at most once unless marked *:
 *   SPAWN < READY < MESSAGE* OUTPUT* DRAIN* AWAY* BACK* < DISCONNECT < EXIT < OUTPUT* < CLOSE
 * ERROR may come anywhere before CLOSE. A program that could not be started gives ERROR, CLOSE and nothing else.
 * CLOSE comes exactly once, last, always. Messages and output are each in order, but not ordered with each other.
 * EXIT never overtakes a message, nor what the child itself wrote to a pipe that is not paused; what comes after it was
 * written by somebody who inherited the pipe. If the broker cannot say within a second (5 s while it is away) that all
 * messages have come, EXIT comes and its text says that messages may be missing. A process that joined (not spawned by brood) has no SPAWN, and its EXIT
 * has the cause BROOD_GONE.
 * Peers that are not children have READY, MESSAGE, DRAIN, AWAY, BACK, DISCONNECT, CLOSE. A name outlives its holder:
 * DISCONNECT when the holder goes, READY when the next one comes, CLOSE never.
 */
enum brood_event_type {
	BROOD_EVENT_SPAWN = 1,  /* exec succeeded; brood_info() has the pid */
	BROOD_EVENT_READY,      /* it connected, and called brood_ready() if it said it would */
	BROOD_EVENT_MESSAGE,    /* msg */
	BROOD_EVENT_OUTPUT,     /* fd, bytes, length: what the child wrote; length 0 is the end of that stream, once */
	BROOD_EVENT_DRAIN,      /* fd: its input, or -1 for messages, takes more after -EAGAIN */
	BROOD_EVENT_AWAY,       /* unreachable for now, fate unknown; nothing is lost yet */
	BROOD_EVENT_BACK,       /* reachable again, nothing was lost */
	BROOD_EVENT_ERROR,      /* error: could not start, name refused, limit hit, connection refused ... */
	BROOD_EVENT_DISCONNECT, /* no message will come or go any more; error: why, NULL if it was agreed on */
	BROOD_EVENT_EXIT,       /* exit */
	BROOD_EVENT_CLOSE,      /* the last event: exited, every message and all output delivered */
	BROOD_EVENT_JOIN,       /* on the handle: peer registered as my child; brood_disconnect() it to refuse */
	BROOD_EVENT_WAKE,       /* on the handle: brood_wake() was called, once or several times */
	BROOD_EVENT_REPLY,      /* to brood_request()'s callback: msg, or error */
	BROOD_EVENT_RESULT,     /* to brood_exec_file()'s callback: result; error is NULL if it exited with 0 */
	BROOD_EVENT_CONFIRM /* to brood_out.confirm: error is NULL if the message was consumed, else why it was not */
};

struct brood_error {
	int code;         /* negative errno */
	const char *name; /* stable, for programs: "spawn.exec", "deadline", "peer.exited", "name.taken" */
	const char *text; /* one line, what and why: "cannot start ./worker: No such file or directory" */
	const char *hint; /* one line, what to do next, or "" */
};

enum brood_cause {
	BROOD_EXITED = 1,     /* code */
	BROOD_SIGNALED,       /* signo, core */
	BROOD_START_FAILED,   /* stage, code is negative errno; there was no SPAWN and no EXIT event */
	BROOD_GONE,           /* not spawned by brood: it left or vanished; its status cannot be known */
	BROOD_STOLEN,         /* the program that spawned it took its status: waitpid(-1), or SIGCHLD ignored */
	BROOD_NODE_RESTARTED, /* remote: its nursery died, or its host was restarted, and it with them */
	BROOD_UNREACHABLE     /* remote: its host cannot be reached; it is presumed to have been ended there by now */
};

enum brood_ended_by { /* why it was made to end, if it was: the first reason, or the first that it could not survive */
		      BROOD_BY_ITSELF,
		      BROOD_BY_KILL,     /* brood_kill(), if its signal may end a program, or brood_close() here */
		      BROOD_BY_TIMEOUT,  /* timeout_ms */
		      BROOD_BY_OUTPUT,   /* max_output */
		      BROOD_BY_UNREADY,  /* ready_ms */
		      BROOD_BY_MEMORY,   /* the kernel, out of memory, as far as this process's cgroup tells */
		      BROOD_BY_ORPHANED, /* remote: its parent died, or was unreachable for longer than lease_ms */
		      BROOD_BY_HOST      /* remote: its nursery was stopped */
};

struct brood_exit {
	int cause;         /* enum brood_cause */
	int code;          /* exit code, -1 if there is none; exactly one of code and signo */
	int signo;         /* signal, 0 if there was none */
	int core;          /* 1 if core dumped */
	int ended_by;      /* enum brood_ended_by */
	const char *stage; /* START_FAILED: "broker", "fork", "group", "line", "stdio", "terminal", "cwd", "limits",
			      "ids", "exec", "cancelled"; remote also "host", "denied", "unknown", "limit"; else "" */
	const char *text;  /* for people: "killed by signal 9 (Killed) after its timeout of 30000 ms" */
	uint64_t wall_ms, user_us, system_us;
	uint64_t max_rss_kib; /* never less than who started it had then: the kernel counts that in, up to exec */
};

struct brood_result { /* of brood_exec_file() */
	const struct brood_exit *exit;
	const char *out,
		*err; /* what it wrote to 1 and 2: up to max_output bytes each, and a NUL that does not count */
	size_t out_length, err_length;
};

struct brood_msg {        /* read only */
	const char *type; /* as the sender said, "" if untyped */
	const void *body; /* aligned to 8; followed by a NUL that does not count */
	const char *text; /* the same pointer */
	size_t length;
	brood_peer *from;  /* valid as long as the message */
	int wants_reply;   /* a request; 0 again when nobody waits any more: answered, cancelled, peer gone */
	int timeout_ms;    /* left for the answer, -1 if for ever, or if who asks is on another host */
	const char *trace; /* W3C traceparent as sent, or "" */
	unsigned n_fds;    /* descriptors that came with it: brood_msg_take_fd() */
};

struct brood_event {
	int type;   /* enum brood_event_type */
	void *data; /* of the table or call that asked for it; of the peer in brood_next() */
	brood *handle;
	brood_peer *peer; /* whom it is about; brood_self() for the handle's own */
	brood_msg *msg;   /* members that the type does not mention are NULL or 0 */
	const struct brood_error *error;
	const struct brood_exit *exit;
	const struct brood_result *result;
	int fd;            /* OUTPUT, DRAIN: as the child calls it; DRAIN of messages: -1 */
	const void *bytes; /* OUTPUT; followed by a NUL that does not count */
	size_t length;
};

/*
 * Who is told. An event goes to the peer's table, else to the handle's table; members that are NULL are skipped, `any`
 * takes those that have no member of their own; a request that nobody takes is answered "unhandled". A peer with neither
 * table keeps its events for brood_next(): nothing is dropped, its senders' windows fill. Tables are copied; they hold
 * for events that come after the call.
 */
struct brood_handlers {
	size_t size;
	brood_fn *spawn, *ready, *message, *output, *drain, *away, *back, *error, *disconnect, *exit, *close;
	brood_fn *join, *wake, *any;
};

/* ---- the connection ---------------------------------------------------------------------------------------------- */

struct brood_options {
	size_t size;
	const struct brood_handlers *on; /* for the handle, and for every peer without a table of its own */
	void *data;
	unsigned flags;
	const char *name;      /* register under this name at once */
	const char *parent;    /* not spawned by brood: become a child of this address or name */
	unsigned flush_ms;     /* brood_close() and exit(3) wait this long for delivery; default 5,000 */
	unsigned reconnect_ms; /* try so long to get back to a broker that is lost, and to take a message for which
				  there is no memory; default 120,000 */
	size_t window_bytes;   /* most bytes in flight to one peer; default 4 MiB; one message always fits */
	const char *
		token_file; /* tcp, tls: the broker's cookie file; default $BROOD_TOKEN_FILE, else (tcp) beside this user's */
};

#define BROOD_NO_AUTOSTART (1u << 0) /* fail rather than start a private broker */
#define BROOD_NOT_READY (1u << 1)    /* I will call brood_ready() */
#define BROOD_NO_RECONNECT (1u << 3) /* the handle fails when its connection to the broker is lost */
#define BROOD_OUTLIVE (1u << 2)      /* brood_run() does not end with my parent, detached or not: DISCONNECT tells me */

/*
 * Make a handle. Never waits for the network: connecting goes on behind all other calls, which may be made at once.
 * Handle events: READY when connected, ERROR when that is hopeless, and calls that need the broker give -ENOTCONN from
 * then on. A connection that is lost, because the broker was killed, replaced, or could not be reached for a while, is
 * AWAY and comes BACK under the same address, with names, parent, children and all messages; what is sent meanwhile waits.
 * address: "unix:/path", "tcp://127.0.0.1:7433", "tls://host:7433", "fifo:/directory" (of a broker of this user), or NULL:
 * the channel that my parent gave me, else $BROOD_ADDRESS, else
 * the system's broker if /run/brood exists, else this user's private broker, which is started if it does not run and
 * leaves when idle. Only this last, unset case ever starts one. A handle without inherited channel contacts no broker
 * before something needs it; programs started with BROOD_PLAIN never do. For tls:// the environment has what is trusted
 * (BROOD_TLS_CA) and who I am (BROOD_TLS_CERT, BROOD_TLS_KEY); its host is looked up by the system, which waits.
 * -EINVAL (a struct's size, an unknown flag, not a name), -ENOMEM, -EMFILE; a bad address is an ERROR event, with text.
 * Since 0.1, as all below.
 */
BROOD_API BROOD_CHECKED int brood_connect(brood **ret, const char *address, const struct brood_options *);

/*
 * Flush for at most flush_ms (of which 1,000 ms at most for a connection on which to say goodbye, if that was just lost),
 * end every child that is not detached (its kill_signal, then SIGKILL after grace_ms) and reap it (but for one that this
 * process may not signal, such as a set-uid program that became root: after grace_ms it is left, for waitpid() if at all),
 * then tell the answers, confirmations and results that are still owed (-ECANCELED, where nothing better is known), then free
 * the handle, its peers and messages. These last callbacks are called by brood_close() itself; calls on the handle and its peers give
 * -ESHUTDOWN in them. From a callback of the same handle the work is done when the callback returns. 0, or above it: so
 * many messages and answers whose receivers had not consumed them in time, and may or may not get them (0 also from a
 * callback, where that is not known yet). exit(3) flushes too, and says it on stderr; it calls nobody back.
 */
BROOD_API int brood_close(brood *);

/*
 * Wait until all that was asked so far is settled: connected (if brood_connect() was given an address, or anything
 * needed the broker), names registered, programs started, messages consumed by their receivers. 0: all well. Else the
 * first failure since the last call, with its text in brood_last_error(). -ETIMEDOUT; with timeout 0, -EAGAIN while
 * anything is unsettled. This is what makes blocking programs simple.
 */
BROOD_API int brood_sync(brood *, int timeout_ms);

/* The last failure of a call on this handle: never NULL, valid until the next call on it. */
BROOD_API const struct brood_error *brood_last_error(brood *);

/*
 * Take a name ("resize"; [a-z0-9._-], 1 to 63). Refusals come as ERROR of the handle: "name.taken", "name.invalid".
 * -EINVAL: not a name. Unregister gives it up, as soon as the broker has heard; NULL gives up all names: the first
 * half of a graceful end.
 */
BROOD_API int brood_register(brood *, const char *name);
BROOD_API int brood_unregister(brood *, const char *name);

/* After BROOD_NOT_READY: now I am. Messages that came before were kept. */
BROOD_API int brood_ready(brood *);

/* Version of the library at run time, as BROOD_VERSION_NUMBER. */
BROOD_API unsigned brood_version(void);

/* ---- the loop: yours or ours ------------------------------------------------------------------------------------- */

/*
 * One descriptor for the handle's whole life, readable when brood_process() or brood_next() has something to do. Put it
 * in epoll, libevent, libuv, GLib, poll; only for reading, level-triggered. <brood/event.h> does it for libevent.
 * What is sent inside callbacks leaves together when the turn ends, of a long turn also before; what is sent outside leaves
 * at once (BROOD_MORE gathers). No call is ever needed to push bytes out.
 */
BROOD_API int brood_fd(const brood *);

/* Wait up to timeout_ms for work, do all there is, call callbacks. Number of events delivered, or negative. */
BROOD_API int brood_process(brood *, int timeout_ms);

/*
 * The same without callbacks: the next event of a peer without table. 1 and *ret, valid until the next call; 0 when
 * timeout_ms passed; negative if the handle failed for good. Callbacks that are set are still called.
 */
BROOD_API int brood_next(brood *, const brood_event **ret, int timeout_ms);

/*
 * Process until brood_stop(), or until nothing can happen any more: no child that counts, no open request, no name,
 * parent gone. 0, or the negative errno that made the handle fail. A child whose output nobody takes, because there is no
 * table for it, does not close, so it keeps this running: say NUL or MINE for what is not wanted.
 */
BROOD_API int brood_run(brood *);
BROOD_API int brood_stop(brood *); /* this or the next brood_run() returns; any thread, signal handlers; 0 */
BROOD_API int brood_wake(brood *); /* a WAKE event follows; any thread, signal handlers; 0 */

/* ---- peers ------------------------------------------------------------------------------------------------------- */

BROOD_API brood_peer *brood_self(brood *);   /* borrowed */
BROOD_API brood_peer *brood_parent(brood *); /* borrowed; NULL if I have none */

struct brood_find_options {
	size_t size;
	const struct brood_handlers *on;
	void *data;
	unsigned
		wait_ms; /* messages wait this long for the name to appear; default: they come back as errors at once */
};

/*
 * Address somebody: a name ("resize"), an address as brood_info() shows it (the way to reach a peer of another handle or
 * to keep a message's sender), or "@broker", who answers the requests of <brood/control.proto>: all that the command
 * line does. Never blocks. -EINVAL: neither name nor address.
 */
BROOD_API int brood_find(brood *, brood_peer **ret, const char *name, const struct brood_find_options *);

/* Replace a peer's table and data. NULL removes it. */
BROOD_API int brood_on(brood_peer *, const struct brood_handlers *, void *data);

enum brood_state {
	BROOD_STARTING = 1,
	BROOD_RUNNING,
	BROOD_IS_READY,
	BROOD_IS_AWAY,
	BROOD_ENDING,
	BROOD_IS_EXITED,
	BROOD_IS_CLOSED
};

struct brood_peer_info {
	size_t size;
	int state;           /* enum brood_state */
	int connected;       /* messages can be sent */
	int killed;          /* a signal was delivered by brood_kill() or timeout_ms */
	pid_t pid;           /* on its own host; 0 before SPAWN, kept after EXIT */
	const char *address; /* "65f2a1b0.3": unique for ever; strings live as long as the peer; "" while unknown */
	const char *name;    /* or "" */
	const char *node;    /* host it runs on, as its broker is called */
	const char *const *argv;
	const struct brood_exit *exit; /* NULL while it lives */
	uint64_t sent, received;       /* messages, so far */
	uint64_t queued, queued_bytes; /* messages and bytes accepted and not yet consumed by it */
};

/* Works on any peer at any time, after CLOSE too: the way to ask pid, connected, killed, exit code, arguments. */
BROOD_API int brood_info(brood_peer *, struct brood_peer_info *);

/*
 * Block until CLOSE: 0, with everything in brood_info(). -ETIMEDOUT; with timeout 0 it looks once. Its events are called,
 * before it returns (but not in a callback), or kept; -EDEADLK if it waits for somebody to take its output and nobody here
 * does: no table, a pipe that is paused, or a callback waits.
 */
BROOD_API int brood_wait(brood_peer *, int timeout_ms);

/* No more messages either way, once those sent are received. The process may live on. Again: -ENOTCONN. */
BROOD_API int brood_disconnect(brood_peer *);

/*
 * Give a peer back. A child goes on, with its events, until it closes; calls on a kept peer after CLOSE give -ESRCH and
 * are always safe. Peers never released are freed with the handle.
 */
BROOD_API void brood_release(brood_peer *);

/* ---- starting programs ------------------------------------------------------------------------------------------- */

enum brood_stdio_kind {
	BROOD_STDIO_END,
	BROOD_STDIO_NULL,
	BROOD_STDIO_MINE,
	BROOD_STDIO_PIPE,
	BROOD_STDIO_FD,
	BROOD_STDIO_LOG,
	BROOD_STDIO_TTY,
	BROOD_STDIO_HELD,
	BROOD_STDIO_PEER
};

struct brood_stdio { /* this one never grows */
	int fd;      /* in the child, any number, at most once */
	int kind;
	int other;        /* my descriptor (FD), or the peer's (PEER) */
	brood_peer *peer; /* PEER */
};

/*
 * A list of these, ended by BROOD_STDIO_END (BROOD_STDIO() does it); what is not listed is NUL (0) and MINE (1, 2), and
 * every other descriptor is closed in the child, but for its channel and its end of the life line, a pipe.
 *   NUL   /dev/null
 *   MINE  the same number here; /dev/null if that is closed
 *   PIPE  0: brood_write(). 1, 2: OUTPUT events. From 3 on: both, through a socket pair
 *   FD    a duplicate of mine, taken before brood_spawn() returns
 *   LOG   each line the child writes goes to the broker's log, with who wrote it
 *   TTY   a new terminal, one and the same for all that say so, and the child's controlling terminal: brood_write() and
 *         OUTPUT events, which bear the first number that said so
 *   HELD  a pipe for another child of this handle that is spawned later ...
 *   FROM  ... and says whose, and which of its descriptors. HELD(0) is what the child reads, any other what it writes.
 *         I never touch the bytes. An end that nobody took is closed with its child's CLOSE, or with the handle.
 */
#define BROOD_STDIO_(fd, kind, other, peer)                                                                            \
	{                                                                                                              \
		(fd), (kind), (other), (peer)                                                                          \
	}
#define BROOD_NUL(fd) BROOD_STDIO_(fd, BROOD_STDIO_NULL, -1, NULL)
#define BROOD_MINE(fd) BROOD_STDIO_(fd, BROOD_STDIO_MINE, -1, NULL)
#define BROOD_PIPE(fd) BROOD_STDIO_(fd, BROOD_STDIO_PIPE, -1, NULL)
#define BROOD_FD(fd, mine) BROOD_STDIO_(fd, BROOD_STDIO_FD, mine, NULL)
#define BROOD_LOG(fd) BROOD_STDIO_(fd, BROOD_STDIO_LOG, -1, NULL)
#define BROOD_TTY(fd) BROOD_STDIO_(fd, BROOD_STDIO_TTY, -1, NULL)
#define BROOD_HELD(fd) BROOD_STDIO_(fd, BROOD_STDIO_HELD, -1, NULL)
#define BROOD_FROM(fd, who, its) BROOD_STDIO_(fd, BROOD_STDIO_PEER, its, who)

struct brood_ids { /* needs the right to; all three are set, in the safe order: groups, gid, uid */
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* supplementary, n_groups of them; none: dropped */
	size_t n_groups;     /* up to 64 */
};

struct brood_limit {
	int resource;   /* RLIMIT_* of <sys/resource.h> */
	uint64_t value; /* soft and hard; RLIM_INFINITY */
};

enum brood_unreachable { BROOD_UNREACHABLE_KILL, BROOD_UNREACHABLE_KEEP };

/*
 * How to start a program; the same struct for spawn and exec. argv[0] is looked up in PATH (of the child's environment)
 * unless it has a slash; what is relative counts from cwd. No shell, ever. Invalid values and empty names: -EINVAL at once;
 * -EBADF for a descriptor of mine that is not open.
 */
struct brood_spawn_options {
	size_t size;
	const struct brood_handlers *on;
	void *data;
	unsigned flags;
	const char *file;           /* execute this instead of argv[0] */
	const char *const *env;     /* "K=V", NULL-ended; replaces. NULL: mine; on another host its nursery's */
	const char *const *env_add; /* added to that; "K" alone removes */
	const char *cwd;
	const char
		*name; /* register the child under it; if another has it, the child is told, by ERROR of its handle */
	const struct brood_stdio *stdio;
	const struct brood_ids *ids;      /* default: mine */
	const struct brood_limit *limits; /* ended by {-1, 0}: BROOD_LIMITS() does it; default: mine */
	unsigned timeout_ms; /* of life, then as brood_kill(p, 0, BROOD_TREE | BROOD_THEN_KILL); default: none */
	unsigned ready_ms;   /* to become READY, then the same; default: no limit. Needs a channel */
	unsigned grace_ms;   /* from the first signal to SIGKILL; default 2,000 */
	unsigned linger_ms;  /* from EXIT to CLOSE while others hold a pipe; default 1,000 */
	int kill_signal;     /* default SIGTERM */
	size_t max_output;   /* exec: most bytes of stdout and of stderr; default 1 MiB */
	const void *input;   /* exec: all of stdin; default: nothing, /dev/null */
	size_t input_length;
	unsigned tty_rows, tty_columns; /* size of its TTY from the start; default 0: unknown */
	const char *host;    /* start it there: "beta", or "beta/NAME" for a nursery of that name; default: here */
	int on_unreachable;  /* remote, when the two hosts lost each other for lease_ms: KILL it, or KEEP it running */
	unsigned lease_ms;   /* remote; default 30,000 */
	unsigned give_up_ms; /* remote, KEEP: when I take it for lost; default: never */
};

#define BROOD_PLAIN (1u << 0)    /* knows nothing of brood: no channel, no broker; implied by exec */
#define BROOD_DETACHED (1u << 1) /* outlives me (see BROOD_OUTLIVE), in a session of its own; implies UNREF */
#define BROOD_UNREF (1u << 2)    /* does not keep brood_run() running */

/*
 * Start a program with a channel that its brood_connect(…, NULL, …) finds, ready for messages at once: they wait in
 * order until it listens. If the handle is not connected yet, the program starts as soon as it is. Failures to start
 * (no such file, no descriptors, no broker) are events: ERROR, then CLOSE. ret may be NULL. The child dies with me unless
 * detached, however I die: the kernel sees to it (see brood_spawn(3), "The life line").
 * With `host` the nursery there (brood-nursery(8)) starts it, if its configuration allows: refusals are events too. All
 * other options mean the same, all events come in the same order. What cannot go there is refused at once, -EXDEV: stdio
 * other than NUL, PIPE, LOG and MINE of 1 and 2, more than 12 of them, ids. Its LOG is my broker's. AWAY and BACK tell of
 * its host, too. It is ended when I am gone, or unreachable for longer than lease_ms.
 */
BROOD_API BROOD_CHECKED int brood_spawn(brood *, brood_peer **ret, const char *const *argv,
					const struct brood_spawn_options *);

/*
 * Run a program to its end and collect what it writes; done is called exactly once, with a RESULT event. Of stdio, 1 and
 * 2 are collected and 0 is `input` unless they are listed; the other events go to the options' own table only. The
 * error, if any, is one of these: why it could not start; "exec.output" -ENOBUFS: over max_output, cut off exactly there,
 * killed with its tree; "exec.timeout" -ETIMEDOUT: killed with its tree; "exec.killed" -ECANCELED: by brood_kill() (so
 * that is how to abort it); "exec.code", "exec.signal" -EREMOTEIO: it ended by itself, but not with 0. What it wrote
 * until then is in the result.
 */
BROOD_API BROOD_CHECKED int brood_exec_file(brood *, brood_peer **ret, const char *const *argv,
					    const struct brood_spawn_options *, brood_fn *done, void *data);

/*
 * The same, blocking: 0 to 255 as a shell reports it (exit code, 128 + signal), or the error's code: -ENOENT and so on,
 * -ENOBUFS, -ETIMEDOUT. The handle may be NULL: no broker, any thread. *ret is set whenever a start was tried, failed
 * ones too, with the reason in (*ret)->exit->text; it is one block: free(3) it. ret may be NULL. -EINVAL for stdio that
 * needs somebody meanwhile: PIPE other than of 1 and 2, TTY, HELD; for LOG and `host` without a handle.
 */
BROOD_API BROOD_CHECKED int brood_exec_sync(brood *, struct brood_result **ret, const char *const *argv,
					    const struct brood_spawn_options *);

/*
 * Write to a PIPE or TTY of the child: all or nothing, in order; what the child does not take yet is kept. -EAGAIN when
 * 64 KiB are waiting already (a longer piece is taken when nothing waits), DRAIN with its fd follows; -EPIPE when nobody
 * reads there any more, or after its end; -EBADF: there is no such pipe; -ESRCH after CLOSE. NULL, 0 ends it after what
 * was written (a terminal gets its end-of-file character).
 */
BROOD_API BROOD_CHECKED int brood_write(brood_peer *, int fd, const void *, size_t);

/*
 * Stop (1) and start (0) reading output (fd), or messages (-1), of a peer: the other side feels it when its pipe or
 * window is full. DISCONNECT, EXIT and CLOSE wait behind paused messages, CLOSE also behind paused output. -EBADF: there
 * is no such pipe.
 */
BROOD_API int brood_pause(brood_peer *, int fd, int paused);

/* Tell the child's terminal its size (TIOCSWINSZ; a SIGWINCH follows). -ENOTTY: it has none. */
BROOD_API int brood_tty_size(brood_peer *, unsigned rows, unsigned columns);

/*
 * For programs that reap every child, also ours: hand in what waitpid(2) said. The EXIT event then tells it; without it
 * the cause is BROOD_STOLEN. Call it before the handle is processed again. -ESRCH: no child of this handle waits for it.
 */
BROOD_API int brood_reaped(brood *, pid_t pid, int status);

/*
 * Signal a process (0: its kill_signal), with BROOD_TREE everything in its process group, with BROOD_THEN_KILL also
 * SIGKILL after grace_ms. Also aborts a start under way. -ESRCH after EXIT; never hits a reused pid. -EPERM for a process
 * that this handle did not spawn.
 */
BROOD_API int brood_kill(brood_peer *, int signo, unsigned flags);
#define BROOD_TREE (1u << 0)
#define BROOD_THEN_KILL (1u << 1)

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* What to send. Write it with BROOD_MSG(type, body, length) and, in C, any of the rest: BROOD_MSG("Job", p, n, .flags = BROOD_MORE). */
struct brood_out {
	size_t size;
	const char *type; /* name of the body's type, "shop.Order"; up to 255 bytes; NULL is "" */
	const void *body;
	size_t length;
	void (*fill)(void *to, size_t length, const void *body); /* write the body in place instead of copying it */
	unsigned flags;
	const char *trace; /* W3C traceparent, up to 255 bytes, carried along */
	const int *fds;    /* descriptors to pass, duplicated at once; same host, else -EXDEV */
	size_t n_fds;      /* up to 16 */
	brood_fn *confirm; /* brood_send(): called exactly once with a CONFIRM event */
	void *confirm_data;
};

#define BROOD_MORE (1u << 0)  /* more follows at once: gather */
#define BROOD_BLOCK (1u << 1) /* wait for room instead of -EAGAIN */

/*
 * Exactly once and in order while both processes and their broker live. The window is the only limit: -EAGAIN, and DRAIN
 * follows. A message counts against it until the receiver's handler is done with it. -ENOTCONN after disconnect, or if the
 * program could not be started, -ESRCH after CLOSE, -EMSGSIZE above 64 MiB, -EINVAL for a type or trace that is too long.
 * What was accepted and cannot be delivered comes back as ERROR "undelivered" of the peer, with how many; one with
 * `confirm` comes back there instead.
 * CONFIRM comes when the receiver's handler is done with the message (or has released it, if it kept it), in the order of
 * sending, and keeps brood_run() running. Its error says "not delivered", or that it may have arrived.
 * Descriptors are duplicated at once, so yours may be closed; the duplicates are closed when the receiver is done with the
 * message. At most 128 are on their way to one receiver, then -EAGAIN. -EBADF, -EMFILE, -EINVAL above 16; -EXDEV if this
 * handle is not connected by a Unix socket. A message never arrives without its descriptors: if they get lost (the receiver
 * is connected by TCP, or has none free) it comes back, as ERROR "undelivered" that says why, or as the request's error.
 */
BROOD_API BROOD_CHECKED int brood_send(brood_peer *to, const struct brood_out *);

/*
 * Ask. done is called exactly once with a REPLY event: the answer, or an error ("deadline", "peer.exited", "unanswered",
 * "cancelled" ...), so `confirm` is not for requests: -EINVAL. timeout_ms is above 0 or -1. Returns an id (> 0) for
 * brood_cancel(), after which done is called with -ECANCELED, as it is by brood_close(). Else as brood_send().
 */
BROOD_API BROOD_CHECKED int64_t brood_request(brood_peer *to, const struct brood_out *, int timeout_ms, brood_fn *done,
					      void *data);
BROOD_API int brood_cancel(brood *, int64_t request);

/* Ask and wait. 0 and *ret (yours), or the error; other events wait meanwhile. -ETIMEDOUT, -ECONNRESET, ... */
BROOD_API BROOD_CHECKED int brood_call(brood_peer *to, const struct brood_out *, int timeout_ms, brood_msg **ret);

/* Answer, once, now or after brood_msg_keep(). Never -EAGAIN: answers have room. If nobody waits any more, 0. */
BROOD_API int brood_reply(brood_msg *, const struct brood_out *);
BROOD_API int brood_reply_error(brood_msg *, int code, const char *text); /* code: negative errno */

/* The descriptor, close-on-exec, now yours, or -ENOENT. Those not taken are closed with the message. */
BROOD_API int brood_msg_take_fd(brood_msg *, unsigned index);

/* Hold on to an event's message, returned for convenience; release it when done. Held messages fill the window. */
BROOD_API brood_msg *brood_msg_keep(brood_msg *);
BROOD_API void brood_msg_release(brood_msg *);

/* ---- writing it down --------------------------------------------------------------------------------------------- */

#define BROOD_INIT(s) (memset(&(s), 0, sizeof(s)), (void)((s).size = sizeof(s)))

#define BROOD_TEXT(s) BROOD_MSG("text", (s), strlen(s))

#ifndef __cplusplus
#define BROOD_ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define BROOD_STDIO(...) ((const struct brood_stdio[]){ __VA_ARGS__, { -1, BROOD_STDIO_END, -1, NULL } })
#define BROOD_LIMITS(...) ((const struct brood_limit[]){ __VA_ARGS__, { -1, 0 } })
#define BROOD_ON(...) (&(const struct brood_handlers){ .size = sizeof(struct brood_handlers), __VA_ARGS__ })
#define BROOD_OPTIONS(...) (&(const struct brood_options){ .size = sizeof(struct brood_options), __VA_ARGS__ })
#define BROOD_FIND(...) (&(const struct brood_find_options){ .size = sizeof(struct brood_find_options), __VA_ARGS__ })
#define BROOD_SPAWN(...)                                                                                               \
	(&(const struct brood_spawn_options){ .size = sizeof(struct brood_spawn_options), __VA_ARGS__ })
#define BROOD_MSG(t, b, ...)                                                                                           \
	(&(const struct brood_out){ .size = sizeof(struct brood_out), .type = (t), .body = (b), .length = __VA_ARGS__ })
#else
static inline struct brood_out brood_out_(const char *type, const void *body, size_t length)
{
	struct brood_out o;
	BROOD_INIT(o);
	o.type = type;
	o.body = body;
	o.length = length;
	return o;
}
#define BROOD_MSG(t, b, n) (&static_cast<const struct brood_out &>(brood_out_((t), (b), (n))))
#endif

/* After what was written, the end of the child's input. */
static inline int brood_end(brood_peer *peer, int fd)
{
	return brood_write(peer, fd, NULL, 0);
}

/*
 * Node's exec(): the only way to a shell, and it is here in the open. Never build `command` from data: pass data as
 * arguments, sh -c 'grep -- "$1" "$2"' sh "$pattern" "$file", by brood_exec_file().
 */
static inline int brood_exec_shell(brood *handle, brood_peer **ret, const char *command,
				   const struct brood_spawn_options *how, brood_fn *done, void *data)
{
	const char *argv[4];
	argv[0] = "/bin/sh";
	argv[1] = "-c";
	argv[2] = command;
	argv[3] = NULL;
	return brood_exec_file(handle, ret, argv, how, done, data);
}

#ifdef __cplusplus
}
#endif
#endif
