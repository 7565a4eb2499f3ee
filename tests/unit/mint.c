/*
 * mint: see mint.h. Whatever fails here is a mistake in a recipe, and ends the program.
 */
#include "mint.h"
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MUST(expression) ((expression) ? (void)0 : die(#expression, __LINE__))

static void die(const char *what, int line)
{
	fprintf(stderr, "mint.c:%d: %s\n", line, what);
	ERR_print_errors_fp(stderr);
	abort();
}

static EVP_PKEY *make_key(enum mint_key kind)
{
	EVP_PKEY *key = kind == MINT_EC ? EVP_EC_gen("P-256")
					: EVP_RSA_gen(kind == MINT_RSA_1024 ? (size_t)1024 : (size_t)2048);

	MUST(key);
	return key;
}

static void name_it(X509 *x, const char *cn)
{
	X509_NAME *name = X509_NAME_new();

	MUST(name);
	if (cn)
		MUST(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0));
	MUST(X509_set_subject_name(x, name));
	X509_NAME_free(name);
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *e;

	if (!value)
		return;
	X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	MUST(e && X509_add_ext(x, e, -1));
	X509_EXTENSION_free(e);
}

/* A name with zeros in it cannot be written as text. */
static void hide(X509 *x, const struct recipe *r)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();

	MUST(names && name && text && ASN1_STRING_set(text, r->hidden, (int)r->hidden_length));
	GENERAL_NAME_set0_value(name, r->hidden_uri ? GEN_URI : GEN_DNS, text);
	MUST(sk_GENERAL_NAME_push(names, name));
	MUST(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT));
	GENERAL_NAMES_free(names);
}

static void add_mystery(X509 *x)
{
	ASN1_OBJECT *what = OBJ_txt2obj("1.3.6.1.4.1.99999.1", 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *e;

	MUST(what && value && ASN1_OCTET_STRING_set(value, (const unsigned char *)"\x05", 2));
	e = X509_EXTENSION_create_by_OBJ(NULL, what, 1, value);
	MUST(e && X509_add_ext(x, e, -1));
	X509_EXTENSION_free(e);
	ASN1_OCTET_STRING_free(value);
	ASN1_OBJECT_free(what);
}

static void extend_all(X509 *x, X509 *issuer, const struct recipe *r)
{
	char text[48] = "critical,CA:TRUE";

	if (r->ca == MINT_CA && r->path_length)
		snprintf(text, sizeof text, "critical,CA:TRUE,pathlen:%d", r->path_length - 1);
	if (r->ca != MINT_SAYS_NOTHING)
		extend(x, issuer, NID_basic_constraints, r->ca == MINT_CA ? text : "critical,CA:FALSE");
	extend(x, issuer, NID_key_usage, r->key_usage);
	extend(x, issuer, NID_ext_key_usage, r->usage);
	extend(x, issuer, NID_name_constraints, r->constraints);
	extend(x, issuer, NID_subject_alt_name, r->san);
	if (r->hidden)
		hide(x, r);
	if (r->mystery)
		add_mystery(x);
}

void mint(struct minted *m, const struct recipe *r)
{
	static long serial = 1000;
	const EVP_MD *hash = EVP_get_digestbyname(r->hash ? r->hash : "SHA256");
	X509 *x = X509_new(), *issuer;

	m->key = make_key(r->key);
	m->certificate = x;
	issuer = r->issuer ? r->issuer->certificate : x;
	MUST(x && hash && X509_set_version(x, 2) && ASN1_INTEGER_set(X509_get_serialNumber(x), serial++));
	name_it(x, r->cn);
	MUST(X509_set_issuer_name(x, X509_get_subject_name(issuer)));
	MUST(X509_gmtime_adj(X509_getm_notBefore(x), r->from ? r->from : -3600));
	MUST(X509_gmtime_adj(X509_getm_notAfter(x), r->until ? r->until : 24 * 3600));
	MUST(X509_set_pubkey(x, m->key));
	extend_all(x, issuer, r);
	MUST(X509_sign(x, r->issuer ? r->issuer->key : m->key, hash));
}

void minted_free(struct minted *m)
{
	X509_free(m->certificate);
	EVP_PKEY_free(m->key);
	*m = (struct minted){ NULL, NULL };
}

static FILE *create(const char *path, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	MUST(f);
	return f;
}

void mint_write(const char *path, const struct minted *const *certificates, size_t n)
{
	FILE *f = create(path, 0644);

	for (size_t i = 0; i < n; i++)
		MUST(PEM_write_X509(f, certificates[i]->certificate));
	MUST(fclose(f) == 0);
}

void mint_write_key(const char *path, const struct minted *m)
{
	FILE *f = create(path, 0600);

	MUST(PEM_write_PrivateKey(f, m->key, NULL, NULL, 0, NULL, NULL));
	MUST(fclose(f) == 0);
}

static void enter(X509_CRL *crl, const X509 *certificate)
{
	X509_REVOKED *entry = X509_REVOKED_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, -60);

	MUST(entry && now &&
	     X509_REVOKED_set_serialNumber(entry, (ASN1_INTEGER *)(uintptr_t)X509_get0_serialNumber(certificate)));
	MUST(X509_REVOKED_set_revocationDate(entry, now) && X509_CRL_add0_revoked(crl, entry));
	ASN1_TIME_free(now);
}

void mint_write_crl(const char *path, const struct minted *issuer, const struct minted *revoked, long until)
{
	FILE *f = create(path, 0644);
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *from = X509_gmtime_adj(NULL, -3600 * 24), *to = X509_gmtime_adj(NULL, until);

	MUST(crl && from && to && X509_CRL_set_version(crl, 1));
	MUST(X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->certificate)));
	MUST(X509_CRL_set1_lastUpdate(crl, from) && X509_CRL_set1_nextUpdate(crl, to));
	if (revoked)
		enter(crl, revoked->certificate);
	MUST(X509_CRL_sort(crl) && X509_CRL_sign(crl, issuer->key, EVP_sha256()));
	MUST(PEM_write_X509_CRL(f, crl));
	MUST(fclose(f) == 0);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	X509_CRL_free(crl);
}
