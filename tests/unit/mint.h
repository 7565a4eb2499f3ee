/*
 * mint: certificates for tests, good and bad ones, as a recipe says. OpenSSL's own tools refuse to make half of these.
 */
#ifndef MINT_H
#define MINT_H

#include <openssl/x509.h>

enum mint_key { MINT_EC, MINT_RSA_1024, MINT_RSA_2048 };
enum mint_ca { MINT_NO_CA, MINT_CA, MINT_SAYS_NOTHING /* no basic constraints */ };

struct minted {
	X509 *certificate;
	EVP_PKEY *key;
};

/* Everything that is 0 or NULL is left out, but for the times: valid from an hour ago, for a day. */
struct recipe {
	const struct minted *issuer; /* NULL: itself */
	const char *cn;
	const char *san;   /* "DNS:a,IP:127.0.0.1,URI:brood:me" */
	const char *usage; /* "serverAuth", "clientAuth" */
	const char *constraints;
	const char *hidden; /* one more name, of hidden_length bytes, which may hold zeros: DNS, or a URI */
	size_t hidden_length;
	int hidden_uri;
	enum mint_key key;
	const char *hash; /* NULL: SHA256 */
	enum mint_ca ca;
	int path_length;  /* of a CA, plus one; 0: without limit */
	long from, until; /* seconds from now */
	int mystery;      /* a critical extension that nobody knows */
	const char *key_usage;
};

void mint(struct minted *, const struct recipe *);
void minted_free(struct minted *);

/* Write PEM files; the key with mode 0600. n certificates, one behind the other. */
void mint_write(const char *path, const struct minted *const *certificates, size_t n);
void mint_write_key(const char *path, const struct minted *);
/* A list of what the issuer has revoked, one of which is `revoked` (or none: NULL), current until then. */
void mint_write_crl(const char *path, const struct minted *issuer, const struct minted *revoked, long until);

#endif
