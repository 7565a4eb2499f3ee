/*
 * tap: between a client and its broker. It forwards bytes, understands nothing of them, counts connections, and cuts them.
 * Descriptors do not get through.
 */
#ifndef TAP_H
#define TAP_H

#include <stdint.h>

struct tap;

enum tap_cut {
	TAP_BOTH,   /* both ends at once */
	TAP_CLIENT, /* the client's end; the broker's stays open for a while, and what it writes is lost */
	TAP_BROKER, /* the other way round */
	TAP_CUTS
};

/* Listen at `path` and connect to `broker`, both paths of Unix sockets, for who connects. NULL with errno. */
struct tap *tap_open(const char *path, const char *broker);
void tap_close(struct tap *);

/* Readable when a turn has something to do; a turn every few ms is needed anyway. */
int tap_fd(const struct tap *);
void tap_turn(struct tap *);

/* Cut the connection that is there, or the next one, after so many bytes more; the one after it, if `then`, after so many. */
void tap_cut(struct tap *, uint64_t bytes, enum tap_cut, uint64_t then);

/* Cut the next connection, both ends, as soon as the broker says something on it; that is lost. */
void tap_cut_answer(struct tap *);

/* Times that somebody connected, also when no broker was there; times that a connection was cut. */
unsigned tap_attempts(const struct tap *);
unsigned tap_cuts(const struct tap *);

#endif
