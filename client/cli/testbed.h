/*
 * testbed: brokers of our own in directories of our own, for `conform` and `bench`. Nobody else's broker is touched.
 */
#ifndef TESTBED_H
#define TESTBED_H

#include <brood.h>

#define TESTBED_PATH 108 /* room for a Unix socket's path */
#define TESTBED_PROGRAM 4096

enum via { VIA_UNIX, VIA_FIFO, VIA_TCP, VIA_TLS, VIA_LINK };
/* "unix", "fifo", "tcp", "tls", "link". And back, or -1. */
const char *via_name(enum via);
int via_parse(const char *name);

struct testbed {
	char directory[64];
	char broker[TESTBED_PROGRAM];   /* the program: $BROOD_BROKER, or broodd beside this program */
	char address[TESTBED_PATH];     /* "unix:..." */
	enum via via;                   /* how else it is reached; with VIA_LINK not by programs, see bench_link.h */
	char also[TESTBED_PATH];        /* "fifo:...", "tcp://127.0.0.1:port", "tls://127.0.0.1:port"; else "" */
	char config[TESTBED_PATH];      /* its configuration, or "" */
	char token[TESTBED_PATH];       /* the cookie file, for TCP and TLS */
	char certificate[TESTBED_PATH]; /* the broker's, for TLS */
	char key[TESTBED_PATH];         /* its key */
	brood *keeper;                  /* starts plain programs; speaks to no broker */
	brood_peer *process;            /* the broker's, of keeper */
};

/*
 * Start the broker, on a Unix socket and what else is asked for. 0: its socket is there. Else negative errno after a
 * message to stderr. In any case testbed_deinit() ends it, and whatever else keeper started, and removes the directory.
 * For VIA_TLS it has certificates of its own, and $BROOD_TLS_CA of this process names their authority.
 */
int testbed_init(struct testbed *, enum via);
/* The same without starting it: for VIA_TLS and VIA_LINK there are certificates. */
int testbed_prepare(struct testbed *, enum via);
void testbed_deinit(struct testbed *);

/*
 * Send the broker a signal; wait until it has ended: 0, or -ETIMEDOUT. Both: another negative errno if that cannot be;
 * -ECHILD, after a message to stderr, if it crashed. One that leaves in order waits for its clients to read its goodbye,
 * so they must be able to.
 */
int testbed_signal(struct testbed *, int signo);
int testbed_await_end(struct testbed *, int timeout_ms);

/* And start the next one, in the same directory. 0, or a negative errno after a message to stderr. */
int testbed_start(struct testbed *);

/* The path of a program: that of the environment variable, or of this name in the directory of this one. 0 or negative errno. */
int testbed_program(char to[TESTBED_PROGRAM], const char *variable, const char *name);

/* A port that is free now; should somebody else be quicker, who wants it says so. */
unsigned testbed_free_port(void);

/* A path in the directory. Returns `to`. */
char *testbed_path(const struct testbed *, const char *name, char to[TESTBED_PATH]);

#endif
