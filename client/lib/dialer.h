/*
 * dialer: the way to my broker, from where it is to a channel that leads there: the one I was born with, or else it knocks,
 * resolves, connects, opens TLS, starts a private broker if need be, and tries again, for as long as it has patience.
 */
#ifndef BROOD_DIALER_H
#define BROOD_DIALER_H

#include "handle.h"

/* Who is told what comes of it; given at creation. */
struct dialer_up {
	void (*connected)(struct brood *);                    /* GREETING: there is a channel; nothing was said on it */
	void (*ended)(struct brood *, int code);              /* nobody will come to my FIFOs, which are that channel */
	void (*failed)(struct brood *, const struct fault *); /* for good */
};

/* Decide where the broker is, without contacting it. Never fails: a bad address is told by failed() later. */
void dialer_init(struct brood *, const char *address, const struct brood_options *, const struct dialer_up *);
void dialer_deinit(struct brood *);

/* Dial for the first time, or take the channel that I was born with. */
void dialer_begin(struct brood *);
/* CONNECTING: the socket has an event. */
void dialer_socket_ready(struct brood *);
/* Bytes came from the broker, so somebody is there. */
void dialer_heard(struct brood *);
/* The broker knows me: nobody is waited for, and nothing tried again. */
void dialer_rest(struct brood *);

/* Close the channel, or what was to become one, and dial no more. Fine if there is none. */
void dialer_hang_up(struct brood *);
/* Hang up, to be connected again: by dialer_again(), for as long as the program said, and not through my parent. */
void dialer_resume(struct brood *);
/* Dial again, at once or after a wait that doubles from one time to the next, with jitter. */
void dialer_again(struct brood *, int at_once);
/* Hang up on one who was about to leave, and soon dial the next one, who may have to be started. */
void dialer_redial(struct brood *);
/* 1 until that has gone on for too long. */
int dialer_is_patient(struct brood *);

/* Fill *f: `what` at the broker's address, and the negative errno, or 0. */
void dialer_fault(const struct brood *, struct fault *f, const char *name, const char *what, int code);

#endif
