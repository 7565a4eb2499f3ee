/*
 * wire: a broker of one's own in a new directory, and clients that speak raw frames to it, for tests of the wire
 * itself. The program is $BROOD_BROKER. Every call that cannot do what it says fails the test.
 */
#ifndef BROOD_WIRE_H
#define BROOD_WIRE_H

#include "address.h"
#include "brood.pb-c.h"
#include "channel.h"
#include "knock.h"
#include "test.h"
#include "ticket.h"
#include <sys/types.h>

struct wire_broker {
	pid_t pid; /* 0: not running */
	char dir[64];
	char socket[96]; /* "unix:DIR/sock" */
};

/* Make the directory. */
void wire_broker_init(struct wire_broker *);
/* Run it, with more flags (NULL-ended, or NULL), until it can be connected to. */
void wire_broker_start(struct wire_broker *, const char *const *flags);
/* Signal it and wait. Its exit code, or minus the signal. */
int wire_broker_stop(struct wire_broker *, int signo);
/* Run broodd in the same directory to its end. Its exit code; what it wrote to stderr. */
int wire_broker_try(struct wire_broker *, const char *const *flags, char *text, size_t n);
/* SIGTERM, which must lead to exit code 0, and remove the directory. */
void wire_broker_deinit(struct wire_broker *);

struct wire { /* a client */
	struct slab slab;
	struct channel channel;
	struct knock knock; /* FIFOs: until the broker answers */
	uint64_t id, parent;
	uint64_t first_id; /* block of ids */
	uint32_t ids;
	uint8_t ids_key[TICKET_KEY];
	uint8_t ticket[TICKET_SIZE];
};

/* Connect, and say nothing yet. */
void wire_connect(struct wire *, const char *address);
/* Use this end of a socketpair; these ends of two pipes. */
void wire_take(struct wire *, int fd);
void wire_take_pair(struct wire *, int in_fd, int out_fd);
/* Close without a goodbye. Twice is fine. */
void wire_close(struct wire *);

/* Connect and HELLO, level 1, with this many ids; the answer is in the struct. */
void wire_open(struct wire *, const struct wire_broker *, uint32_t ids);
/* HELLO, and take the answer. */
void wire_hello(struct wire *, const Brood__Hello *);
/* GOODBYE{LEAVING}, then close. */
void wire_leave(struct wire *);

/* Send a frame, however long that takes; fd is passed along, or -1. */
void wire_send(struct wire *, const struct frame *head, const void *body, int fd);
void wire_say(struct wire *, enum frame_kind, const ProtobufCMessage *body, int fd);
/* A DATA frame on stream 0 with one message item of this text. */
void wire_data(struct wire *, uint64_t to, uint64_t sequence, const char *text);
/* Bytes as they are. */
void wire_raw(struct wire *, const void *, size_t);

/* The next frame, valid until the next call: 1. 0: the connection has ended. -ETIMEDOUT. */
int wire_next(struct wire *, struct frame *ret, int ms);
/* The next frame is of this kind. */
struct frame wire_expect(struct wire *, enum frame_kind);
/* Likewise with its body, to be freed with guard_free(). */
void *wire_expect_body(struct wire *, enum frame_kind, const ProtobufCMessageDescriptor *);
/* The next frame is DATA from there with that text in its one item. */
void wire_expect_data(struct wire *, uint64_t from, const char *text);
/* The next frame is GONE. */
void wire_expect_gone(struct wire *, uint64_t id, Brood__Why);
/* The next frames are GOODBYE{REFUSED} for this reason, and the end. */
void wire_expect_refused(struct wire *, const char *error);
/* Nothing comes for a while. */
void wire_expect_silence(struct wire *);

#endif
