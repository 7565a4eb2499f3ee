/*
 * certify: see certify.h.
 *
 * Each certificate says exactly what it is for: a server's names and nothing for clients, a client's user and nothing for
 * servers. A node is both. The authority may sign no other authority. Everything is valid from five minutes ago, because
 * clocks differ. The list is current as long as the authority is: it says who is revoked, and not how fresh the news are.
 */
#include "certify.h"
#include "address.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACK_S (-300)
#define SERIAL_BITS 127
#define NAMES_MOST 1024u

struct pair {
	X509 *certificate;
	EVP_PKEY *key;
};

__attribute__((format(printf, 3, 4))) static int blame(struct tls_fault *why, const char *name, const char *format, ...)
{
	va_list args;

	ERR_clear_error();
	snprintf(why->name, sizeof(why->name), "%s", name);
	va_start(args, format);
	(void)vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return -EINVAL;
}

static void pair_free(struct pair *p)
{
	X509_free(p->certificate);
	EVP_PKEY_free(p->key);
	*p = (struct pair){ NULL, NULL };
}

static int path_in(const char *directory, const char *name, char to[PATH_MAX], struct tls_fault *why)
{
	int n = snprintf(to, PATH_MAX, "%s/%s", directory, name);

	return n < PATH_MAX ? 0 : blame(why, "argument", "the path %.80s... is too long", directory);
}

/*
 * Files.
 */

static FILE *create(const char *path, mode_t mode, struct tls_fault *why)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	if (f)
		return f;
	if (errno == EEXIST)
		blame(why, "argument",
		      "%s is there already, and nothing is overwritten; remove it, or give another name", path);
	else
		blame(why, "tls.write", "%s cannot be made: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return NULL;
}

/* What was written counts when it is on disk; else it goes. */
static int finish(FILE *f, const char *path, int written, struct tls_fault *why)
{
	int ok = written && fflush(f) == 0 && fsync(fileno(f)) == 0;

	ok &= fclose(f) == 0;
	if (ok)
		return 0;
	blame(why, "tls.write", "%s cannot be written: %s", path, strerror(errno));
	unlink(path);
	return -EINVAL;
}

static int write_key(const char *path, EVP_PKEY *key, struct tls_fault *why)
{
	FILE *f = create(path, 0600, why);

	return f ? finish(f, path, PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), why) : -EINVAL;
}

static int write_certificate(const char *path, const X509 *certificate, struct tls_fault *why)
{
	FILE *f = create(path, 0644, why);

	return f ? finish(f, path, PEM_write_X509(f, certificate), why) : -EINVAL;
}

static int write_pair(const char *directory, const char *name, const struct pair *p, char base[PATH_MAX],
		      struct tls_fault *why)
{
	char key[PATH_MAX + 8], certificate[PATH_MAX + 8];

	if (path_in(directory, name, base, why) < 0)
		return -EINVAL;
	snprintf(key, sizeof(key), "%s.key", base);
	snprintf(certificate, sizeof(certificate), "%s.crt", base);
	if (write_key(key, p->key, why) < 0)
		return -EINVAL;
	if (write_certificate(certificate, p->certificate, why) == 0)
		return 0;
	unlink(key);
	return -EINVAL;
}

static X509 *read_certificate(const char *path, struct tls_fault *why)
{
	FILE *f = fopen(path, "re");
	X509 *certificate = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

	if (!f)
		blame(why, "tls.file", "%s cannot be read: %s", path, strerror(errno));
	else if (!certificate)
		blame(why, "tls.file", "%s holds no certificate in PEM", path);
	if (f)
		fclose(f);
	return certificate;
}

static EVP_PKEY *read_key(const char *path, struct tls_fault *why)
{
	FILE *f = fopen(path, "re");
	EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;

	if (!f)
		blame(why, "tls.file", "%s cannot be read: %s", path, strerror(errno));
	else if (!key)
		blame(why, "tls.file", "%s holds no key in PEM", path);
	if (f)
		fclose(f);
	return key;
}

static int read_ca(const char *directory, struct pair *ret, struct tls_fault *why)
{
	char certificate[PATH_MAX], key[PATH_MAX];

	*ret = (struct pair){ NULL, NULL };
	if (path_in(directory, "ca.crt", certificate, why) < 0 || path_in(directory, "ca.key", key, why) < 0)
		return -EINVAL;
	if (access(certificate, F_OK) < 0 && errno == ENOENT)
		return blame(why, "argument", "no authority in %s, as there is no ca.crt; brood cert ca makes one",
			     directory);
	ret->certificate = read_certificate(certificate, why);
	ret->key = ret->certificate ? read_key(key, why) : NULL;
	if (ret->key && X509_check_private_key(ret->certificate, ret->key) != 1)
		blame(why, "tls.mismatch", "%s is not the key of %s", key, certificate);
	else if (ret->key)
		return 0;
	pair_free(ret);
	return -EINVAL;
}

/*
 * Certificates.
 */

static int extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *e;
	int ok;

	X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	ok = e && X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
	return ok;
}

static int set_serial(X509 *x)
{
	BIGNUM *number = BN_new();
	int ok = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
		 BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x));

	BN_free(number);
	return ok;
}

static int set_name(X509 *x, const char *cn)
{
	X509_NAME *name = X509_get_subject_name(x);

	return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
}

/* Key and certificate without extensions, for `days`. */
static int begin(struct pair *p, const char *cn, unsigned days)
{
	p->key = EVP_EC_gen("P-256");
	p->certificate = X509_new();
	return p->key && p->certificate && X509_set_version(p->certificate, X509_VERSION_3) &&
	       set_serial(p->certificate) && set_name(p->certificate, cn) &&
	       X509_gmtime_adj(X509_getm_notBefore(p->certificate), BACK_S) &&
	       X509_time_adj_ex(X509_getm_notAfter(p->certificate), (int)days, 0, NULL) &&
	       X509_set_pubkey(p->certificate, p->key);
}

static int sign(X509 *x, const struct pair *issuer)
{
	return X509_set_issuer_name(x, X509_get_subject_name(issuer->certificate)) &&
	       X509_sign(x, issuer->key, EVP_sha256());
}

static int make_ca(struct pair *p, unsigned days)
{
	X509 *x;

	if (!begin(p, "brood CA", days))
		return 0;
	x = p->certificate;
	return extend(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	       extend(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	       extend(x, x, NID_subject_key_identifier, "hash") && sign(x, p);
}

static int make_other(struct pair *p, const struct pair *ca, const struct certify_order *o, const char *alternative)
{
	static const char *const usages[] = { [CERTIFY_SERVER] = "serverAuth",
					      [CERTIFY_NODE] = "serverAuth,clientAuth",
					      [CERTIFY_CLIENT] = "clientAuth" };
	X509 *x, *issuer = ca->certificate;
	char cn[65];

	snprintf(cn, sizeof(cn), "%.*s", (int)strcspn(o->names, ","), o->names);
	if (!begin(p, cn, o->days))
		return 0;
	x = p->certificate;
	return extend(x, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
	       extend(x, issuer, NID_key_usage, "critical,digitalSignature") &&
	       extend(x, issuer, NID_ext_key_usage, usages[o->role]) &&
	       extend(x, issuer, NID_subject_key_identifier, "hash") &&
	       extend(x, issuer, NID_authority_key_identifier, "keyid:always") &&
	       extend(x, issuer, NID_subject_alt_name, alternative) && sign(x, ca);
}

/*
 * Names.
 */

static int is_number(const char *text)
{
	struct in6_addr a;

	return inet_pton(AF_INET, text, &a) == 1 || inet_pton(AF_INET6, text, &a) == 1;
}

/* One of a server's: what address.c takes for a host behind tls://. */
static int is_host(const char *text)
{
	char address[300], why[512];
	struct address a;

	snprintf(address, sizeof(address), "tls://%s%s%s:1", strchr(text, ':') ? "[" : "", text,
		 strchr(text, ':') ? "]" : "");
	return address_parse(address, &a, why, sizeof(why)) == 0;
}

/* "DNS:a,IP:1.2.3.4" */
static int name_hosts(const char *names, char *to, size_t n, struct tls_fault *why)
{
	size_t used = 0;

	while (1) {
		char one[256];
		size_t length = strcspn(names, ",");

		snprintf(one, sizeof(one), "%.*s", (int)length, names);
		if (length >= sizeof(one) || !is_host(one))
			return blame(why, "argument",
				     "\"%s\" is neither a host's name nor an address; "
				     "give names separated by commas, as in broker.example,10.0.0.1",
				     one);
		used += (size_t)snprintf(to + used, n - used, "%s%s:%s", used ? "," : "", is_number(one) ? "IP" : "DNS",
					 one);
		if (used >= n)
			return blame(why, "argument", "the names are longer than %zu bytes in all; leave some out", n);
		if (names[length] == '\0')
			return 0;
		names += length + 1;
	}
}

static int is_user(const char *text, size_t n)
{
	return n > 0 && n < TLS_USER_MOST &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") >= n;
}

static int name_client(const char *name, char *to, size_t n, struct tls_fault *why)
{
	const char *at = strchr(name, '@');

	if (!is_user(name, at ? (size_t)(at - name) : strlen(name)) || (at && !name_is_valid(at + 1)))
		return blame(why, "argument",
			     "\"%s\" is neither a user nor user@node; give the name of a user of the "
			     "broker's host",
			     name);
	snprintf(to, n, "URI:brood:%s", name);
	return 0;
}

static int name_node(const char *name, char *to, size_t n, struct tls_fault *why)
{
	if (!name_is_valid(name) || !is_host(name))
		return blame(why, "argument", "\"%s\" is not a node's name; use letters, digits, dots and dashes",
			     name);
	snprintf(to, n, "DNS:%s", name);
	return 0;
}

/* The alternative names, and the name of the files. */
static int name_other(const struct certify_order *o, char *alternative, size_t n, char *file, size_t m,
		      struct tls_fault *why)
{
	static const char *const prefixes[] = {
		[CERTIFY_SERVER] = "server", [CERTIFY_NODE] = "node", [CERTIFY_CLIENT] = "client"
	};
	static int (*const makers[])(const char *, char *, size_t, struct tls_fault *) = {
		[CERTIFY_SERVER] = name_hosts, [CERTIFY_NODE] = name_node, [CERTIFY_CLIENT] = name_client
	};

	snprintf(file, m, "%s-%.*s", prefixes[o->role], (int)strcspn(o->names, ","), o->names);
	return makers[o->role](o->names, alternative, n, why);
}

/*
 * The list of the revoked.
 */

static int enter(X509_CRL *crl, const X509 *certificate)
{
	X509_REVOKED *entry = X509_REVOKED_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
	ASN1_INTEGER *serial = ASN1_INTEGER_dup(X509_get0_serialNumber(certificate));
	int ok = entry && now && serial && X509_REVOKED_set_serialNumber(entry, serial) &&
		 X509_REVOKED_set_revocationDate(entry, now) && X509_CRL_add0_revoked(crl, entry);

	if (!ok)
		X509_REVOKED_free(entry);
	ASN1_TIME_free(now);
	ASN1_INTEGER_free(serial);
	return ok;
}

static int set_number(X509_CRL *crl)
{
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
	long last = number ? ASN1_INTEGER_get(number) : 0;
	int ok;

	if (!number)
		number = ASN1_INTEGER_new();
	ok = number && ASN1_INTEGER_set(number, last + 1) &&
	     X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, X509V3_ADD_REPLACE);
	ASN1_INTEGER_free(number);
	return ok;
}

/* Dated now, and valid as long as the authority. */
static int sign_list(X509_CRL *crl, const struct pair *ca)
{
	ASN1_TIME *from = X509_gmtime_adj(NULL, BACK_S);
	int ok = from && X509_CRL_set_version(crl, X509_CRL_VERSION_2) && set_number(crl) &&
		 X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->certificate)) &&
		 X509_CRL_set1_lastUpdate(crl, from) &&
		 X509_CRL_set1_nextUpdate(crl, X509_get0_notAfter(ca->certificate)) && X509_CRL_sort(crl) &&
		 X509_CRL_sign(crl, ca->key, EVP_sha256());

	ASN1_TIME_free(from);
	return ok;
}

/* Written beside and renamed: a broker that reads it sees the old list or the new one. */
static int write_list(const char *directory, X509_CRL *crl, struct tls_fault *why)
{
	char path[PATH_MAX], beside[PATH_MAX];
	FILE *f;

	if (path_in(directory, "ca.crl", path, why) < 0 || path_in(directory, ".ca.crl", beside, why) < 0)
		return -EINVAL;
	unlink(beside);
	f = create(beside, 0644, why);
	if (!f || finish(f, beside, PEM_write_X509_CRL(f, crl), why) < 0)
		return -EINVAL;
	if (rename(beside, path) == 0)
		return 0;
	unlink(beside);
	return blame(why, "tls.write", "%s cannot be replaced: %s", path, strerror(errno));
}

static X509_CRL *read_list(const char *directory, struct tls_fault *why)
{
	char path[PATH_MAX];
	FILE *f = path_in(directory, "ca.crl", path, why) == 0 ? fopen(path, "re") : NULL;
	X509_CRL *crl = f ? PEM_read_X509_CRL(f, NULL, NULL, NULL) : NULL;

	if (!crl)
		blame(why, "tls.file", "%s cannot be read: %s", path, f ? "it is no list in PEM" : strerror(errno));
	if (f)
		fclose(f);
	return crl;
}

static int add_to_list(const char *directory, const struct pair *ca, const X509 *certificate, struct tls_fault *why)
{
	X509_CRL *crl = read_list(directory, why);
	X509_REVOKED *found;
	int r = crl ? 0 : -EINVAL;

	if (crl &&
	    X509_CRL_get0_by_serial(crl, &found, (ASN1_INTEGER *)(uintptr_t)X509_get0_serialNumber(certificate)) == 1)
		r = blame(why, "argument", "it is revoked already");
	else if (crl && (!enter(crl, certificate) || !sign_list(crl, ca)))
		r = blame(why, "memory", "the list cannot be made");
	if (r == 0)
		r = write_list(directory, crl, why);
	X509_CRL_free(crl);
	return r;
}

/*
 * The whole.
 */

static int check_days(unsigned days, struct tls_fault *why)
{
	return days >= 1 && days <= 36500 ? 0 : blame(why, "argument", "%u days cannot be; give 1 to 36500", days);
}

static int write_ca(const char *directory, const struct pair *ca, struct tls_fault *why)
{
	char base[PATH_MAX];
	X509_CRL *crl = X509_CRL_new();
	int r = write_pair(directory, "ca", ca, base, why);

	if (r == 0 && (!crl || !sign_list(crl, ca)))
		r = blame(why, "memory", "the list cannot be made");
	if (r == 0)
		r = write_list(directory, crl, why);
	X509_CRL_free(crl);
	return r;
}

int certify_ca(const char *directory, unsigned days, struct tls_fault *why)
{
	struct pair ca = { NULL, NULL };
	int r = check_days(days, why);

	if (r == 0 && mkdir(directory, 0700) < 0 && errno != EEXIST)
		r = blame(why, "tls.write", "directory %s cannot be made: %s", directory, strerror(errno));
	if (r == 0 && !make_ca(&ca, days))
		r = blame(why, "memory", "the certificate cannot be made");
	if (r == 0)
		r = write_ca(directory, &ca, why);
	pair_free(&ca);
	return r;
}

int certify(const struct certify_order *o, char base[PATH_MAX], struct tls_fault *why)
{
	char alternative[NAMES_MOST], file[300];
	struct pair ca = { NULL, NULL }, made = { NULL, NULL };
	int r = check_days(o->days, why);

	if (r == 0)
		r = name_other(o, alternative, sizeof(alternative), file, sizeof(file), why);
	if (r == 0)
		r = read_ca(o->directory, &ca, why);
	if (r == 0 && !make_other(&made, &ca, o, alternative))
		r = blame(why, "memory", "the certificate cannot be made");
	if (r == 0)
		r = write_pair(o->directory, file, &made, base, why);
	pair_free(&made);
	pair_free(&ca);
	return r;
}

int certify_revoke(const char *directory, const char *path, struct tls_fault *why)
{
	struct pair ca = { NULL, NULL };
	X509 *certificate = read_certificate(path, why);
	int r = certificate ? read_ca(directory, &ca, why) : -EINVAL;

	if (r == 0 && X509_verify(certificate, ca.key) != 1)
		r = blame(why, "tls.issuer", "%s is not by the authority in %s", path, directory);
	if (r == 0 && X509_cmp(certificate, ca.certificate) == 0)
		r = blame(why, "argument",
			  "%s is the authority itself, without which no certificate counts; give one that it made",
			  path);
	if (r == 0)
		r = add_to_list(directory, &ca, certificate, why);
	pair_free(&ca);
	X509_free(certificate);
	return r;
}

/*
 * Showing.
 */

static void show_name(FILE *to, const char *label, const X509_NAME *name)
{
	fprintf(to, "%-9s", label);
	X509_NAME_print_ex_fp(to, name, 0, XN_FLAG_ONELINE);
	fputc('\n', to);
}

static void show_time(FILE *to, const char *label, const ASN1_TIME *time)
{
	struct tm tm;
	char text[32] = "?";

	if (ASN1_TIME_to_tm(time, &tm) == 1)
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
	fprintf(to, "%-9s%s\n", label, text);
}

static void show_serial(FILE *to, const ASN1_INTEGER *serial)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
	char *text = number ? BN_bn2hex(number) : NULL;

	fprintf(to, "%-9s%s\n", "serial", text ? text : "?");
	OPENSSL_free(text);
	BN_free(number);
}

static void show_extension(FILE *to, const char *label, const X509 *x, int nid)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int at = X509_get_ext_by_NID(x, nid, -1);
	char *bytes;
	long n;

	if (bio && at >= 0 && X509V3_EXT_print(bio, X509_get_ext(x, at), 0, 0)) {
		n = BIO_get_mem_data(bio, &bytes);
		fprintf(to, "%-9s%.*s\n", label, (int)n, bytes);
	}
	BIO_free(bio);
}

static void show_certificate(FILE *to, const X509 *x)
{
	fprintf(to, "certificate\n");
	show_name(to, "subject", X509_get_subject_name(x));
	show_extension(to, "names", x, NID_subject_alt_name);
	show_extension(to, "use", x, NID_ext_key_usage);
	show_name(to, "issuer", X509_get_issuer_name(x));
	show_serial(to, X509_get0_serialNumber(x));
	show_time(to, "from", X509_get0_notBefore(x));
	show_time(to, "until", X509_get0_notAfter(x));
	if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
		fprintf(to, "%-9sit has expired\n", "note");
}

static void show_list(FILE *to, X509_CRL *crl)
{
	STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(crl);

	fprintf(to, "revocation list\n");
	show_name(to, "issuer", X509_CRL_get_issuer(crl));
	show_time(to, "from", X509_CRL_get0_lastUpdate(crl));
	show_time(to, "until", X509_CRL_get0_nextUpdate(crl));
	fprintf(to, "%-9s%d\n", "revoked", all ? sk_X509_REVOKED_num(all) : 0);
	for (int i = 0; all && i < sk_X509_REVOKED_num(all); i++)
		show_serial(to, X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(all, i)));
}

int certify_show(const char *path, FILE *to, struct tls_fault *why)
{
	FILE *f = fopen(path, "re");
	X509 *x;
	X509_CRL *crl;
	int n = 0;

	if (!f)
		return blame(why, "tls.file", "%s cannot be read: %s", path, strerror(errno));
	for (; (x = PEM_read_X509(f, NULL, NULL, NULL)); n++) {
		show_certificate(to, x);
		X509_free(x);
	}
	rewind(f);
	for (; (crl = PEM_read_X509_CRL(f, NULL, NULL, NULL)); n++) {
		show_list(to, crl);
		X509_CRL_free(crl);
	}
	fclose(f);
	ERR_clear_error();
	return n > 0 ? 0 : blame(why, "tls.file", "%s holds neither a certificate nor a revocation list in PEM", path);
}
