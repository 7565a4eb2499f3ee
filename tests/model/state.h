/*
 * state: one stream from a sending library S to a receiving library R through a broker B, as few bytes as decide what
 * can happen next. Everything is a byte, so that states are compared and hashed as they lie.
 */
#ifndef MODEL_STATE_H
#define MODEL_STATE_H

#include <stdint.h>

#define MESSAGES_MOST 3 /* that S has to say */
#define WINDOW 2        /* of them may be unacknowledged */
#define STREAMS 2       /* stream numbers: the second is used after a RESET */
#define PIPE 4          /* frames that a connection or the broker's queue can hold, one way */

enum { S, R, PROCESSES };
enum life { LIVES, REFUSED, DEAD };

/*
 * A frame in a byte. DATA{stream, number}; ACK{stream, consumed}; RESET{stream, next, consumed}. HOLD, GO and GONE are always about the other process.
 */
enum { NO_FRAME, PROBE, HOLD, GO, GONE, DATA = 0x10, ACK = 0x20, RESET = 0x40 };

/* A process, and what the broker has for it. */
struct process {
	uint8_t life;
	uint8_t library; /* the library believes that it is connected ... */
	uint8_t broker;  /* and the broker does; they need not be of one mind */
	uint8_t hold;    /* the library was told to hold */
	uint8_t known;   /* the broker has a session for it, connected or parked */
	uint8_t ended;   /* this broker told, or would tell, that it is gone */
	uint8_t edge;    /* it sent something to the other */
	uint8_t held;    /* the broker drops what it sends */
	uint8_t up[PIPE], down[PIPE];
};

/* A stream as R knows it. */
struct inflow {
	uint8_t next; /* 0: nothing is known */
	uint8_t consumed;
	uint8_t closed;   /* kept only to answer a sender that returns */
	uint8_t owes_ack; /* to be told when the connection allows */
	uint8_t owes_reset;
	uint8_t answered; /* RESET was said; it may have been dropped */
};

struct state {
	struct process p[PROCESSES];
	uint8_t grace; /* the broker waits for those that it does not know yet */
	/* S: messages are numbered from 1, [unacked, submitted) are kept, `next` is sent next */
	uint8_t unacked, next, submitted;
	uint8_t stream, base; /* its number, and which message is its first */
	uint8_t over;         /* S heard that R is gone */
	uint8_t probe;        /* it has nothing to say, but has to speak to R */
	/* R */
	struct inflow in[STREAMS];
	uint8_t heard_gone; /* R heard that S is gone */
	uint8_t second;     /* which message is the first of the second stream */
	/* what became of messages: bit m. An observer's notes; no rule reads them. */
	uint8_t taken, consumed, acked, unknown, undelivered;
	uint8_t expired; /* somebody was away too long, so a loss may be reported */
	uint8_t evicted; /* R forgot more than it should, so something may come twice */
	/* faults that may still happen */
	uint8_t kills, cuts, expiries, deaths, evictions, retries, crowds;
	uint8_t messages; /* that S has to say */
};

#endif
