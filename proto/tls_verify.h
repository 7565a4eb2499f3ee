/*
 * tls_verify: whether a certificate will do, whom it names, and how to say why not. For tls.c and tls_context.c only.
 */
#ifndef BROOD_TLS_VERIFY_H
#define BROOD_TLS_VERIFY_H

#include "tls.h"
#include <openssl/ssl.h>

/* Fill *why. -EINVAL. */
__attribute__((format(printf, 3, 4))) int tls_blame(struct tls_fault *why, const char *name, const char *format, ...);
/* What OpenSSL complained of last. */
const char *tls_last_error(void);

/* What is wrong with a certificate; zeros: nothing. */
struct tls_verdict {
	int error;     /* X509_V_ERR_*, of the certificate with this subject */
	char *subject; /* to be freed, may be NULL */
};

/* A callback of OpenSSL's: keeps the first verdict, in the connection's application data, which is a struct tls_verdict. */
int tls_remember(int ok, X509_STORE_CTX *);
/* -EKEYREJECTED. whose: "the client's" */
int tls_blame_verdict(struct tls_fault *why, const char *whose, const struct tls_verdict *);

/* Let the server's certificate be only for this host, a name or a number. 0 or -ENOMEM. */
int tls_expect(SSL *, const char *host);

/* The smallest certificate, in DER, that stands for those that were shed. */
struct tls_blank {
	uint8_t *der; /* to be freed by OPENSSL_free() */
	int size;
};

int tls_blank_make(struct tls_blank *); /* 0 or -ENOMEM */

/* What is kept of a client's certificates; zeros: it showed none. */
struct tls_papers {
	uint8_t *der; /* its certificate and those it sent with it, to look at them again; to be freed */
	size_t size;
	int64_t until;   /* when the first of them expires, in seconds since 1970 */
	int user_result; /* of tls_peer() */
	char user[TLS_USER_MOST];
};

/* Keep what is needed of the certificates that this end of a server was shown, and shed the rest. 0 or -ENOMEM. */
int tls_papers_take(struct tls_papers *, SSL *, const struct tls_blank *);
/* 1 if the client's own, the first of them, is for this name. There are some. */
int tls_papers_name(const struct tls_papers *, const char *name);
/* Would they do today? There are some. 0, or negative with the reason. */
int tls_papers_check(const struct tls_papers *, SSL_CTX *, struct tls_fault *why);

#endif
