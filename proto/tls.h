/*
 * tls: TLS 1.3 under a channel. Whoever uses a secured channel does not notice, but for a handshake that may fail.
 *
 * This header knows no type of OpenSSL: of the transport only tls.c, tls_context.c and tls_verify.c do. The broker links
 * them; the library finds them in a file of its own (`struct tls_api`), which it loads for the first tls:// address,
 * because libssl makes the start of every program that needs it three times as long.
 *
 * Trust is a directory of one's own making: a CA file, and nothing of what the system trusts. Names are taken from the
 * subject alternative names only.
 */
#ifndef BROOD_TLS_H
#define BROOD_TLS_H

#include "channel.h"

#define TLS_RECORD 16384u         /* most bytes of one record */
#define TLS_HANDSHAKE_MOST 65536u /* most bytes of a peer before it is known */
#define TLS_USER_MOST 64u         /* longest name of a user or node in a certificate */

/* What went wrong: a name of error.c, and what and why as text. */
struct tls_fault {
	char name[24];
	char text[232];
};

/* Paths; NULL: none. The key must be readable by its owner only. */
struct tls_files {
	const char *ca, *certificate, *key, *crl;
};

/* What a server wants of its clients. A certificate that is shown is always checked. */
enum tls_clients { TLS_CLIENTS_NONE, TLS_CLIENTS_OPTIONAL, TLS_CLIENTS_REQUIRED };

/* Certificates, trust, and room to work in; for channels of one thread, all of which must end before it. */
struct tls_context;

/* NULL after a failure, which is in *why then. A server needs certificate and key, a client the CA. */
struct tls_context *tls_server(const struct tls_files *, enum tls_clients, struct tls_fault *why);
struct tls_context *tls_client(const struct tls_files *, struct tls_fault *why);
/* Read the files anew, for connections to come. `clients` is a server's. 0; or -EINVAL, and everything is as before. */
int tls_reload(struct tls_context *, const struct tls_files *, enum tls_clients, struct tls_fault *why);
/* NULL is fine. */
void tls_context_free(struct tls_context *);

/* Secure a channel of a stream socket as the server's end. 0 or -ENOMEM. */
int tls_accept(struct tls_context *, struct channel *);
/* As the client's end. host: a name or a number, which must be in the server's certificate. */
int tls_connect(struct tls_context *, struct channel *, const char *host);

/* The handshake is over and the other end is who it should be. */
int tls_is_up(const struct channel *);
/* Why reading or writing failed, if TLS is the reason; else NULL. */
const struct tls_fault *tls_failure(const struct channel *);

/*
 * Whom a client's certificate names: "user" or "user@node". 1. 0: it showed none. -EINVAL: it names no user, or more than
 * one.
 */
int tls_peer(const struct channel *, char *user, size_t n);
/* 1 if the client's certificate, which was checked, is for this node. */
int tls_is_for(const struct channel *, const char *node);
/* When the first of a client's certificates expires, in seconds since 1970. INT64_MAX: it showed none. */
int64_t tls_expires(const struct channel *);
/* Would the other end be let in today? 0; or -EKEYREJECTED with the reason, after a reload of the context or some time. */
int tls_check_again(const struct channel *, struct tls_fault *why);

#endif
