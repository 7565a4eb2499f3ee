/*
 * trust: whether what answers at a Unix socket may be taken for a broker: it would read all that I say, and could say
 * anything in the name of others.
 */
#ifndef BROOD_TRUST_H
#define BROOD_TRUST_H

#include <stddef.h>

/*
 * 0: the socket's directory, and whoever made it listen, belong to root, to the user "brood" (the system's broker), or to
 * me. Else -EPERM or another negative errno, with what and why in `why`.
 */
int trust_socket(const char *path, int fd, char *why, size_t n);

#endif
