/*
 * raw: plain blocking sockets, or pipes, or TLS, for the floor that `brood bench` measures beside brood.
 *
 * A place is a path in the bench's own directory: a Unix socket, a FIFO, or a file that holds the number of a loopback
 * TCP port, and behind it "tls" where that is spoken.
 */
#ifndef RAW_H
#define RAW_H

#include "raw_tls.h"
#include "testbed.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct raw {
	int in, out;         /* the same for sockets; -1: none */
	struct raw_tls *tls; /* NULL: without */
};

#define RAW_NONE ((struct raw){ -1, -1, NULL })

struct raw_listener {
	int fd; /* readable when somebody came */
	enum via via;
	struct raw_tls_context *tls;
};

/* Listen at `place`, for TCP and TLS on a free port of 127.0.0.1. 0 or negative errno. It lasts as long as the process. */
int raw_listen(struct raw_listener *, const char *place, enum via);

/* Who came to it: 0, or negative errno. */
int raw_accept(const struct raw_listener *, struct raw *);

/* Connect, waiting up to 5 s for the place to appear. 0 or negative errno. */
int raw_dial(const char *place, struct raw *);

void raw_close(struct raw *);
/* I write nothing more. */
void raw_end(struct raw *);

/* For a relay. What is there, or what there is room for, without waiting: as read() and write(); for take at least 64 KiB. */
ssize_t raw_take(const struct raw *, void *bytes, size_t n);
ssize_t raw_give(const struct raw *, const void *bytes, size_t n);
/* Send what was given and has not left: 0, -EAGAIN, or what broke. */
int raw_flush(const struct raw *);
/* Is it of use to wait until `out` is writable, with `more` bytes to give or without? */
int raw_wants_room(const struct raw *, int more);

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
