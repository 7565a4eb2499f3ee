/*
 * quiet: writing to a pipe without SIGPIPE. Pipes know no MSG_NOSIGNAL, and the signal's handler is the program's.
 */
#ifndef BROOD_QUIET_H
#define BROOD_QUIET_H

#include <sys/types.h>
#include <sys/uio.h>

/* As writev(), begun again when interrupted: bytes, or negative errno; -EPIPE without the signal. */
ssize_t quiet_writev(int fd, const struct iovec *, int n);

#endif
