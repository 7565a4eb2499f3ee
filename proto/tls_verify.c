/*
 * tls_verify: see tls_verify.h.
 */
#include "tls_verify.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define URI "brood:"

/*
 * Faults.
 */

int tls_blame(struct tls_fault *why, const char *name, const char *format, ...)
{
	va_list args;

	snprintf(why->name, sizeof(why->name), "%s", name);
	va_start(args, format);
	(void)vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return -EINVAL;
}

const char *tls_last_error(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	return text ? text : "no reason given";
}

/*
 * Verdicts.
 */

/* Names of error.c for what can be wrong with a certificate. */
static const struct {
	int error;
	const char *name, *text;
} verdicts[] = {
	{ X509_V_ERR_CERT_HAS_EXPIRED, "tls.expired", "has expired" },
	{ X509_V_ERR_CERT_NOT_YET_VALID, "tls.early", "is not valid yet" },
	{ X509_V_ERR_CERT_REVOKED, "tls.revoked", "is revoked" },
	{ X509_V_ERR_HOSTNAME_MISMATCH, "tls.name", "is not for the name that was dialed" },
	{ X509_V_ERR_IP_ADDRESS_MISMATCH, "tls.name", "is not for the address that was dialed" },
	{ X509_V_ERR_INVALID_PURPOSE, "tls.usage", "may not be used for this end of a connection" },
	{ X509_V_ERR_CA_KEY_TOO_SMALL, "tls.weak", "was signed with a key that is too short" },
	{ X509_V_ERR_EE_KEY_TOO_SMALL, "tls.weak", "has a key that is too short" },
	{ X509_V_ERR_CA_MD_TOO_WEAK, "tls.weak", "has a signature by a broken hash function" },
	{ X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, "tls.issuer", "is by an issuer that is not known here" },
	{ X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "tls.issuer", "is by an issuer that is not known here" },
	{ X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, "tls.issuer", "is by an issuer that is not known here" },
	{ X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "tls.issuer", "is signed by itself only" },
	{ X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "tls.issuer", "ends in a CA that is not trusted here" },
	{ X509_V_ERR_CERT_SIGNATURE_FAILURE, "tls.issuer", "is not signed by the issuer that it names" },
	{ X509_V_ERR_UNABLE_TO_GET_CRL, "tls.crl", "cannot be looked up: there is no revocation list of its issuer" },
	{ X509_V_ERR_CRL_HAS_EXPIRED, "tls.crl", "cannot be looked up: the revocation list of its issuer has expired" },
	{ X509_V_ERR_CRL_NOT_YET_VALID, "tls.crl", "cannot be looked up: the revocation list is not valid yet" },
	{ X509_V_ERR_CRL_SIGNATURE_FAILURE, "tls.crl", "cannot be looked up: the revocation list is not its issuer's" },
};

int tls_blame_verdict(struct tls_fault *why, const char *whose, const struct tls_verdict *verdict)
{
	size_t i, n = sizeof(verdicts) / sizeof(*verdicts);

	for (i = 0; i < n && verdicts[i].error != verdict->error; i++)
		;
	tls_blame(why, i < n ? verdicts[i].name : "tls.certificate", "%s certificate (%s) %s", whose,
		  verdict->subject && *verdict->subject ? verdict->subject : "without a subject",
		  i < n ? verdicts[i].text : X509_verify_cert_error_string(verdict->error));
	return -EKEYREJECTED;
}

/* "CN=a, O=b", to be freed. NULL without memory. */
static char *subject_of(const X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL, *bytes;
	long n;

	if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0,
				      XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB) >= 0) {
		n = BIO_get_mem_data(bio, &bytes);
		text = strndup(bytes, n < 100 ? (size_t)n : 100);
	}
	BIO_free(bio);
	return text;
}

int tls_remember(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_verdict *verdict = ssl ? SSL_get_app_data(ssl) : NULL;
	const X509 *certificate = X509_STORE_CTX_get_current_cert(store);

	if (ok || !verdict || verdict->error)
		return ok;
	verdict->error = X509_STORE_CTX_get_error(store);
	verdict->subject = certificate ? subject_of(certificate) : NULL;
	return ok;
}

/*
 * Names.
 */

static int is_number(const char *host)
{
	struct in6_addr a;

	return inet_pton(AF_INET, host, &a) == 1 || inet_pton(AF_INET6, host, &a) == 1;
}

static int expect_name(SSL *ssl, const char *name)
{
	return X509_VERIFY_PARAM_set1_host(SSL_get0_param(ssl), name, 0) && SSL_set_tlsext_host_name(ssl, name);
}

/* A dot at the end of a name says that it is whole, and is not part of it. */
int tls_expect(SSL *ssl, const char *host)
{
	size_t n = strlen(host);
	char *whole;
	int ok;

	if (is_number(host))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) ? 0 : -ENOMEM;
	whole = strndup(host, n > 1 && host[n - 1] == '.' ? n - 1 : n);
	ok = whole && expect_name(ssl, whole);
	free(whole);
	return ok ? 0 : -ENOMEM;
}

/* "brood:user" or "brood:user@node", without anything hidden behind a zero. */
static int take_uri(const ASN1_IA5STRING *uri, char *user, size_t n)
{
	const char *text = (const char *)ASN1_STRING_get0_data(uri);
	size_t length = (size_t)ASN1_STRING_length(uri), prefix = strlen(URI);

	if (length <= prefix || strncmp(text, URI, prefix) != 0)
		return 0;
	if (strnlen(text, length) != length || length - prefix >= n)
		return -EINVAL;
	memcpy(user, text + prefix, length - prefix);
	user[length - prefix] = '\0';
	return 1;
}

static int find_user(const GENERAL_NAMES *names, char *user, size_t n)
{
	int found = 0, r;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_URI)
			continue;
		r = take_uri(name->d.uniformResourceIdentifier, user, n);
		if (r < 0 || found + r > 1)
			return -EINVAL;
		found += r;
	}
	return found ? 1 : -EINVAL;
}

static int read_user(const X509 *certificate, char *user, size_t n)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	int r = names ? find_user(names, user, n) : -EINVAL;

	GENERAL_NAMES_free(names);
	return r;
}

/*
 * Papers.
 */

/* It names nobody, and a connection that is up never looks at it. */
int tls_blank_make(struct tls_blank *blank)
{
	X509 *x = X509_new();
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	blank->der = NULL;
	blank->size = x && key && X509_gmtime_adj(X509_getm_notBefore(x), 0) &&
				      X509_gmtime_adj(X509_getm_notAfter(x), 0) && X509_set_pubkey(x, key) &&
				      X509_sign(x, key, NULL)
			      ? i2d_X509(x, &blank->der)
			      : -1;
	EVP_PKEY_free(key);
	X509_free(x);
	return blank->size > 0 ? 0 : -ENOMEM;
}

static int64_t end_of(const X509 *certificate)
{
	struct tm end;

	return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1 ? timegm(&end) : 0;
}

/* Append to the papers, and make the decoded certificate a blank one. */
static int shed(struct tls_papers *papers, X509 *certificate, const struct tls_blank *blank)
{
	const uint8_t *empty = blank->der;
	int64_t until = end_of(certificate);
	int n = i2d_X509(certificate, NULL);
	uint8_t *der = n > 0 ? realloc(papers->der, papers->size + (size_t)n) : NULL, *at;

	if (!der)
		return -ENOMEM;
	if (!papers->der || until < papers->until)
		papers->until = until;
	at = der + papers->size;
	papers->der = der;
	papers->size += (size_t)i2d_X509(certificate, &at);
	return d2i_X509(&certificate, &empty, blank->size) ? 0 : -ENOMEM;
}

/*
 * Of a client's certificates OpenSSL keeps 10 KiB as long as the connection lives. What is needed of them is the user, and
 * the few hundred bytes that came, to check them again after a reload.
 */
int tls_papers_take(struct tls_papers *papers, SSL *ssl, const struct tls_blank *blank)
{
	X509 *certificate = SSL_get0_peer_certificate(ssl);
	STACK_OF(X509) *chain = certificate ? SSL_get_peer_cert_chain(ssl) : NULL;
	int r;

	if (!certificate)
		return 0;
	papers->user_result = read_user(certificate, papers->user, sizeof(papers->user));
	r = shed(papers, certificate, blank);
	for (int i = 0; r == 0 && i < sk_X509_num(chain); i++)
		if (sk_X509_value(chain, i) != certificate)
			r = shed(papers, sk_X509_value(chain, i), blank);
	return r;
}

int tls_papers_name(const struct tls_papers *papers, const char *name)
{
	const uint8_t *at = papers->der;
	X509 *certificate = d2i_X509(NULL, &at, (long)papers->size);
	int is = certificate &&
		 X509_check_host(certificate, name, 0,
				 X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS, NULL) == 1;

	X509_free(certificate);
	ERR_clear_error();
	return is;
}

/* As they came. NULL without memory. */
static STACK_OF(X509) * decode(const struct tls_papers *papers)
{
	STACK_OF(X509) *all = sk_X509_new_null();
	const uint8_t *at = papers->der, *end = at + papers->size;
	X509 *certificate;

	while (all && at < end) {
		certificate = d2i_X509(NULL, &at, end - at);
		if (certificate && sk_X509_push(all, certificate) > 0)
			continue;
		X509_free(certificate);
		sk_X509_pop_free(all, X509_free);
		return NULL;
	}
	return all;
}

static int verify(STACK_OF(X509) * all, X509_STORE *trust, struct tls_fault *why)
{
	struct tls_verdict verdict = { X509_V_ERR_OUT_OF_MEM, NULL };
	X509_STORE_CTX *store = X509_STORE_CTX_new();
	X509 *certificate = sk_X509_value(all, 0);
	int r = 0;

	if (!store || X509_STORE_CTX_init(store, trust, certificate, all) != 1 ||
	    X509_STORE_CTX_set_default(store, "ssl_client") != 1 || X509_verify_cert(store) != 1) {
		if (store)
			verdict.error = X509_STORE_CTX_get_error(store);
		verdict.subject = certificate ? subject_of(certificate) : NULL;
		r = tls_blame_verdict(why, "the client's", &verdict);
	}
	free(verdict.subject);
	X509_STORE_CTX_free(store);
	return r;
}

int tls_papers_check(const struct tls_papers *papers, SSL_CTX *ssl, struct tls_fault *why)
{
	STACK_OF(X509) *all = decode(papers);
	int r = all ? verify(all, SSL_CTX_get_cert_store(ssl), why) : tls_blame(why, "memory", "out of memory for TLS");

	sk_X509_pop_free(all, X509_free);
	ERR_clear_error();
	return r;
}
