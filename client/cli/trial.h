/*
 * trial: a client under test, the broker it is tested with, and the exchange that shows what it does: messages that have
 * to come back in order, each once.
 */
#ifndef TRIAL_H
#define TRIAL_H

#include "tap.h"
#include "testbed.h"
#include <brood.h>
#include <stddef.h>
#include <stdint.h>

#define TRIAL_LONGEST (1024u * 1024)

struct script;

struct trial {
	struct testbed bed;
	struct script *script; /* of the broker that we play ourselves, or NULL */
	struct tap *tap;       /* between the client and the broker, or NULL */
	brood *b;
	brood_peer *child; /* the client as a process */
	brood_peer *peer;  /* and by its name */
	char name[40];
	int clients; /* started so far */
	int ready, left, politely, exited, code;
	int patience_ms;  /* with a client that does nothing */
	char reason[512]; /* why the check under way failed; "" while it has not */
	unsigned turns;
	unsigned char *body;
	/* the exchange under way: */
	size_t length;
	uint64_t sent, received;
	const char *(*type)(uint64_t i);
	/* questions beside it: */
	uint64_t asked, answered;
	int found; /* the client wrote to somebody whose name it watches */
};

/* Start a broker. 0, or a negative errno after a message to stderr. In any case trial_deinit() ends and frees all. */
int trial_init(struct trial *);
void trial_deinit(struct trial *);

/* Start another client with this address in its environment and a new name. 0, or as above. */
int trial_start(struct trial *, int argc, char **argv, const char *address);
/* The same for a client that is not looked for: it does not come to the trial's own broker. */
int trial_start_elsewhere(struct trial *, int argc, char **argv, const char *address);

int64_t trial_now_ms(void);

/* Note why the check failed; the first reason counts. Returns -1. */
int trial_fail(struct trial *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same, of a client that is not there any more. */
int trial_left(struct trial *);

/*
 * Take one event, or several replies, and serve the tap meanwhile. 1; 0 when none came in time; negative if our own
 * connection failed.
 */
int trial_take(struct trial *, int timeout_ms);

/* Take events until *done or somebody leaves. 0, or -1 with the reason noted. */
int trial_await(struct trial *, const int *done, const char *what);

/* An exchange of n messages is begun with their length and types; send_more sends until the window is full; finish goes
 * on until all came back. 0, or -1 with the reason noted. */
void trial_begin(struct trial *, size_t length, const char *(*type)(uint64_t i));
int trial_send_more(struct trial *, uint64_t n);
/* Send until n were sent, and go on until so many came back. 0, or -1 with the reason. */
int trial_advance(struct trial *, uint64_t n, uint64_t until);
int trial_finish(struct trial *, uint64_t n);

/* All of it, with messages of one type. */
int trial_exchange(struct trial *, uint64_t n, size_t length);
const char *trial_plain_type(uint64_t i);

/* Body number i of the exchange, valid until the next; and whether this is message i as it was sent. */
const void *trial_body(struct trial *, uint64_t i);
void trial_compare(struct trial *, uint64_t i, const brood_msg *);

#endif
