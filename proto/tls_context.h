/*
 * tls_context: own certificate, trust and rules, and the room in which connections meet OpenSSL. For tls.c only; who makes
 * contexts includes tls.h.
 */
#ifndef BROOD_TLS_CONTEXT_H
#define BROOD_TLS_CONTEXT_H

#include "slab.h"
#include "tls_verify.h"

#define TLS_IN_ROOM SLAB_HELPING
#define TLS_FLIGHT (4u * TLS_RECORD) /* plain bytes that are encrypted before they are sent; a short rest goes along */
#define TLS_OUT_ROOM                                                                                                   \
	(TLS_FLIGHT + 6u * 256u + 2u * TLS_RECORD) /* with what goes around them, and answers of OpenSSL's own */

struct tls_context {
	SSL_CTX *ssl;
	BIO_METHOD *bio;
	struct tls_blank blank;
	int server;
	enum tls_clients clients;
	const uint8_t *in, *in_end; /* of in_area: not yet taken by OpenSSL */
	size_t out;                 /* bytes in out_area, to be sent at the end of the call */
	uint8_t in_area[TLS_IN_ROOM], out_area[TLS_OUT_ROOM], record[TLS_RECORD];
};

/* A connection whose bytes come from the area, and go there. NULL without memory. */
SSL *tls_context_connection(struct tls_context *);
/* At the beginning of every call: what an earlier one left, which failed, is of another connection. */
void tls_context_clear(struct tls_context *);
/* OpenSSL has come to its end, and must not be touched. */
int tls_context_is_over(void);

#endif
