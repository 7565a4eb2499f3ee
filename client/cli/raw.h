/*
 * raw: plain blocking sockets for the floor that `brood bench` measures beside brood.
 *
 * A place is a path in the bench's own directory: a Unix socket, or a file that holds the number of a loopback TCP
 * port.
 */
#ifndef RAW_H
#define RAW_H

#include <stddef.h>
#include <stdint.h>

/* A listening socket at `place`; as a Unix socket, or with `tcp` on a free port of 127.0.0.1. Or negative errno. */
int raw_listen(const char *place, int tcp);

/* Give a connected socket what brood gives its own: large buffers for Unix, no delay for TCP. */
void raw_tune(int fd);

/* Connect, waiting up to 5 s for the place to appear. A descriptor or negative errno. */
int raw_dial(const char *place);

/* Write all of it. 0 or negative errno. */
int raw_write(int fd, const void *bytes, size_t n);

/* Read exactly n bytes, with `poll_first` by waiting in poll() before each read. 1, 0 at the end, or negative errno. */
int raw_read(int fd, void *bytes, size_t n, int poll_first);

/* Read what is there, at most n: bytes, 0 at the end, or negative errno. */
long raw_some(int fd, void *bytes, size_t n, int poll_first);

/*
 * A message of the floor begins with its own length, a u64. How many of these n bytes, which begin with a message, are
 * whole messages?
 */
size_t raw_whole(const void *bytes, size_t n);

#endif
