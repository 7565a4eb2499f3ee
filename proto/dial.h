/*
 * dial: sockets to and of a broker, non-blocking and close-on-exec throughout.
 */
#ifndef BROOD_DIAL_H
#define BROOD_DIAL_H

#include "address.h"

/*
 * Ask the system's resolver for a host's name (TLS): the one thing here that waits. Of several addresses the first is taken.
 * 0, -EHOSTUNREACH: there is none, or another negative errno.
 */
int dial_look_up(struct address *);

/*
 * Begin to connect; a name is looked up first.
 * A descriptor; *pending is 1 if it becomes writable when connected (then ask dial_result()).
 * -EAGAIN: the listener's queue is full, try again later. Else negative errno.
 */
int dial(const struct address *, int *pending);
/* 0 when connected, or the negative errno of the attempt. */
int dial_result(int fd);

/* Bind and listen. Unix sockets are bound under a temporary name and renamed over `path`, mode 0600. */
int dial_listen(const struct address *, int backlog);

/* What a connection needs (either side): TCP_NODELAY, keepalive, TCP_USER_TIMEOUT for TCP and TLS; larger buffers for Unix
 * sockets and pipes. */
void dial_tune(int fd, enum address_kind);

#endif
