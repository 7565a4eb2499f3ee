/*
 * raw: plain blocking sockets, or pipes, for the floor that `brood bench` measures beside brood.
 *
 * A place is a path in the bench's own directory: a Unix socket, a FIFO, or a file that holds the number of a loopback
 * TCP port.
 */
#ifndef RAW_H
#define RAW_H

#include "testbed.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct raw {
	int in, out; /* the same for sockets; -1: none */
};

/* A listening descriptor at `place`, for TCP on a free port of 127.0.0.1. Or negative errno. */
int raw_listen(const char *place, enum via);

/* Who came to it: 0, or negative errno. */
int raw_accept(int listener, enum via, struct raw *);

/* Connect, waiting up to 5 s for the place to appear. 0 or negative errno. */
int raw_dial(const char *place, struct raw *);

void raw_close(struct raw *);
/* I write nothing more. */
void raw_end(struct raw *);

/* What is there, or what there is room for, without waiting: as read() and write(). */
ssize_t raw_take(const struct raw *, void *bytes, size_t n);
ssize_t raw_give(const struct raw *, const void *bytes, size_t n);

/* Write all of it. 0 or negative errno. */
int raw_write(const struct raw *, const void *bytes, size_t n);

/* Read exactly n bytes, with `poll_first` by waiting in poll() before each read. 1, 0 at the end, or negative errno. */
int raw_read(const struct raw *, void *bytes, size_t n, int poll_first);

/* Read what is there, at most n: bytes, 0 at the end, or negative errno. */
long raw_some(const struct raw *, void *bytes, size_t n, int poll_first);

/*
 * A message of the floor begins with its own length, a u64. How many of these n bytes, which begin with a message, are
 * whole messages?
 */
size_t raw_whole(const void *bytes, size_t n);

#endif
