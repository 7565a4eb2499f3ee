/*
 * raw_tls: TLS over a connected socket, for the floor of `brood bench`: what OpenSSL and the kernel need, and no more.
 *
 * The server's certificate and key are those of BROOD_TLS_CERT and BROOD_TLS_KEY, the client's trust is BROOD_TLS_CA.
 */
#ifndef RAW_TLS_H
#define RAW_TLS_H

#include <stddef.h>
#include <sys/types.h>

struct raw_tls;         /* a connection */
struct raw_tls_context; /* of its server, which must outlive it */

/* NULL after a message to stderr. */
struct raw_tls_context *raw_tls_server(void);

/* Take over a socket as the server's or the client's end, also on errors. 0 or negative errno. */
int raw_tls_accept(struct raw_tls_context *, int fd, struct raw_tls **ret);
int raw_tls_dial(int fd, struct raw_tls **ret);
/* And close the socket. */
void raw_tls_free(struct raw_tls *);
/* I write nothing more. */
void raw_tls_end(struct raw_tls *);

/* Without waiting, as read() and write(). For take at least a quarter of SLAB_HELPING. */
ssize_t raw_tls_take(struct raw_tls *, void *bytes, size_t n);
ssize_t raw_tls_give(struct raw_tls *, const void *bytes, size_t n);
/* Send what was given and has not left: 0, -EAGAIN, or what broke. */
int raw_tls_flush(struct raw_tls *);
/* Is it of use to wait until the socket is writable, with `more` bytes to give or without? */
int raw_tls_wants_room(const struct raw_tls *, int more);

/* With waiting: all of it, 0 or negative errno; what is there, at most n: bytes, 0 at the end, or negative errno. */
int raw_tls_write(struct raw_tls *, const void *bytes, size_t n);
long raw_tls_some(struct raw_tls *, void *bytes, size_t n);

#endif
