/*
 * tls: see tls.h. The one place where the transport meets OpenSSL.
 *
 * OpenSSL never touches the descriptor. It reads from and writes to two areas of the context, and this file moves them:
 * one recv() of many records, one send() of up to four. So a write of many small frames becomes records of 16 KiB, and a
 * helping of them costs one system call, as it does without TLS.
 *
 * The surprising rule makes loops simple: a recv() takes no more than what the caller's pieces can hold when it is
 * decrypted (a record is always longer than what is in it), and all of it is decrypted at once. So nothing decrypted ever
 * waits in OpenSSL while the descriptor looks empty. Only the end may come behind data in the same recv(): it is
 * remembered, and the receiving half is shut down, which keeps the descriptor readable until somebody asks.
 *
 * What the socket did not take is kept here, encrypted, at most OUT_MOST bytes: records cannot be taken back. Those bytes
 * count as written.
 *
 * An end without close_notify is a cut, as anybody on the way can make one.
 */
#include "tls.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define IN_ROOM SLAB_HELPING
#define IN_FIRST 16384u                            /* taken at once of an unknown peer */
#define IN_RESERVE (TLS_RECORD + 1024u)            /* a record may be half here already */
#define FLIGHT (4u * TLS_RECORD)                   /* plain bytes that are encrypted before they are sent */
#define OUT_ROOM (FLIGHT + 4u * 256u + TLS_RECORD) /* with what goes around them, and answers of OpenSSL's own */
#define OUT_MOST (2u * OUT_ROOM)
#define TRIES 4 /* recv() calls that gave no whole record, before the loop has its turn */
#define FILE_MOST (1024u * 1024u)
#define URI "brood:"

struct tls_context {
	SSL_CTX *ssl;
	BIO_METHOD *bio;
	uint8_t *blank; /* the smallest certificate, in DER */
	int blank_size;
	int server;
	enum tls_clients clients;
	const uint8_t *in, *in_end; /* of in_area: not yet taken by OpenSSL */
	size_t out;                 /* bytes in out_area, to be sent at the end of the call */
	uint8_t in_area[IN_ROOM], out_area[OUT_ROOM], record[TLS_RECORD];
};

struct tls {
	SSL *ssl;
	struct tls_context *context;
	int fd;
	int end;            /* what read() says from now on: 0 or negative; 1: it goes on */
	unsigned handshake; /* bytes of the peer so far */
	uint8_t up, said_end;
	int verify_error; /* X509_V_ERR_*, of the certificate with this subject */
	char *verify_subject;
	uint8_t *papers; /* of a client, to look at them again: its certificate and those it sent with it, in DER */
	size_t papers_size;
	int user_result; /* of tls_peer() */
	char user[TLS_USER_MOST];
	uint8_t *kept; /* encrypted bytes that the socket did not take */
	size_t kept_at, kept_end;
	struct tls_fault *fault;
	char host[]; /* of the server, for a client */
};

/*
 * The end of OpenSSL, which a program that uses it by itself may have brought about at exit(3) before its last words of
 * brood are said. Then nothing of OpenSSL may be touched any more, not even to free it.
 */

static atomic_int over;

static void note_end(void)
{
	over = 1;
}

static void watch_for_end(void)
{
	static atomic_flag watching = ATOMIC_FLAG_INIT;

	/* If we are the first, it will not clean up at all: nobody knows whether we are the last. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
	if (!atomic_flag_test_and_set(&watching))
		OPENSSL_atexit(note_end);
}

/*
 * Faults.
 */

__attribute__((format(printf, 3, 4))) static int blame(struct tls_fault *why, const char *name, const char *format, ...)
{
	va_list args;

	snprintf(why->name, sizeof(why->name), "%s", name);
	va_start(args, format);
	(void)vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return -EINVAL;
}

static const char *last_error(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	return text ? text : "no reason given";
}

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

static int blame_verdict(struct tls_fault *why, const char *whose, const char *subject, int error)
{
	size_t i, n = sizeof(verdicts) / sizeof(*verdicts);

	for (i = 0; i < n && verdicts[i].error != error; i++)
		;
	blame(why, i < n ? verdicts[i].name : "tls.certificate", "%s certificate (%s) %s", whose,
	      subject && *subject ? subject : "without a subject",
	      i < n ? verdicts[i].text : X509_verify_cert_error_string(error));
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

/*
 * Files. They are read here and not by OpenSSL, whose descriptors could get into a program that another thread starts.
 */

static int no_password(char *to, int size, int writing, void *data)
{
	(void)to;
	(void)size;
	(void)writing;
	(void)data;
	return -1; /* and nobody is asked at a terminal */
}

/* As for ssh; but a key that root owns may be lent to a group. */
static int is_private(const struct stat *st, const char *path, struct tls_fault *why)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return blame(why, "tls.key", "the key %s belongs to another user (uid %u)", path, (unsigned)st->st_uid);
	if (st->st_mode & (st->st_uid == 0 ? 037 : 077))
		return blame(why, "tls.key", "the key %s may be read or changed by others (mode %03o)", path,
			     (unsigned)st->st_mode & 0777);
	return 0;
}

struct text { /* a file's */
	BIO *bio;
	size_t n;
	char bytes[FILE_MOST];
};

static void text_free(struct text *t)
{
	if (!t)
		return;
	BIO_free(t->bio);
	explicit_bzero(t->bytes, t->n);
	free(t);
}

static struct text *fill(int fd)
{
	struct text *t = malloc(sizeof(*t));
	ssize_t got = 1;

	if (!t)
		return NULL;
	for (t->n = 0; got > 0 && t->n<FILE_MOST; t->n += got> 0 ? (size_t)got : 0)
		got = read(fd, t->bytes + t->n, FILE_MOST - t->n);
	t->bio = BIO_new_mem_buf(t->bytes, (int)t->n);
	if (got == 0 && t->bio)
		return t;
	text_free(t);
	return NULL;
}

static struct text *read_text(const char *what, const char *path, int is_key, struct tls_fault *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct text *t = NULL;
	struct stat st;

	if (fd < 0) {
		blame(why, "tls.file", "the %s %s cannot be read: %s", what, path, strerror(errno));
		return NULL;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		blame(why, "tls.file", "the %s %s is not a plain file", what, path);
	else if ((!is_key || is_private(&st, path, why) == 0) && !(t = fill(fd)))
		blame(why, "tls.file", "the %s %s cannot be read, or is longer than %u KiB", what, path,
		      FILE_MOST >> 10);
	close(fd);
	return t;
}

static int load_key(SSL_CTX *ssl, const char *path, struct tls_fault *why)
{
	struct text *text = read_text("key", path, 1, why);
	EVP_PKEY *key = text ? PEM_read_bio_PrivateKey(text->bio, NULL, no_password, NULL) : NULL;
	int ok = key && SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;

	if (text && !key)
		blame(why, "tls.file", "%s holds no key in PEM without a password", path);
	else if (text && !ok)
		blame(why, "tls.mismatch", "the key %s is not that of the certificate: %s", path, last_error());
	EVP_PKEY_free(key);
	text_free(text);
	return ok ? 0 : -EINVAL;
}

/* The first certificate is ours, those behind it lead to a CA. */
static int use_chain(SSL_CTX *ssl, BIO *bio)
{
	X509 *certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL);
	int ok = certificate && SSL_CTX_use_certificate(ssl, certificate) == 1;

	X509_free(certificate);
	while (ok && (certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
		ok = SSL_CTX_add0_chain_cert(ssl, certificate) == 1;
		if (!ok)
			X509_free(certificate);
	}
	return ok;
}

static int load_certificate(SSL_CTX *ssl, const char *path, struct tls_fault *why)
{
	struct text *text = read_text("certificate", path, 0, why);
	int r = text ? 0 : -EINVAL;

	if (text && !use_chain(ssl, text->bio))
		r = blame(why, "tls.file", "%s holds no certificate that can be used: %s", path, last_error());
	else if (text && X509_cmp_current_time(X509_get0_notAfter(SSL_CTX_get0_certificate(ssl))) < 0)
		r = blame(why, "tls.expired", "the certificate %s has expired", path);
	text_free(text);
	return r;
}

static int load_identity(SSL_CTX *ssl, const struct tls_files *files, struct tls_fault *why)
{
	if (!files->certificate && !files->key)
		return 0;
	if (!files->certificate || !files->key)
		return blame(why, "tls.settings", "there is a %s, but no %s", files->key ? "key" : "certificate",
			     files->key ? "certificate" : "key");
	return load_certificate(ssl, files->certificate, why) < 0 ? -EINVAL : load_key(ssl, files->key, why);
}

static int add_authority(X509_STORE *store, BIO *bio)
{
	X509 *certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL);
	int ok = certificate && X509_STORE_add_cert(store, certificate) == 1;

	X509_free(certificate);
	return ok;
}

static int add_list(X509_STORE *store, BIO *bio)
{
	X509_CRL *crl = PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL);
	int ok = crl && X509_STORE_add_crl(store, crl) == 1;

	X509_CRL_free(crl);
	return ok;
}

/* One or more of what `add` takes. */
static int load_all(X509_STORE *store, int (*add)(X509_STORE *, BIO *), const char *what, const char *path,
		    struct tls_fault *why)
{
	struct text *text = read_text(what, path, 0, why);
	int n = 0;

	while (text && add(store, text->bio))
		n++;
	if (text && n == 0)
		blame(why, "tls.file", "%s holds no %s in PEM", path, what);
	text_free(text);
	return n > 0 ? 0 : -EINVAL;
}

static int load_trust(SSL_CTX *ssl, const struct tls_files *files, struct tls_fault *why)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ssl);

	if (!files->ca)
		return files->crl ? blame(why, "tls.settings", "there is a revocation list, but no CA") : 0;
	if (load_all(store, add_authority, "certificate of a CA", files->ca, why) < 0)
		return -EINVAL;
	if (!files->crl)
		return 0;
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return load_all(store, add_list, "revocation list", files->crl, why);
}

/*
 * Contexts.
 */

static int remember_verdict(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *t = ssl ? SSL_get_app_data(ssl) : NULL;
	const X509 *certificate = X509_STORE_CTX_get_current_cert(store);

	if (ok || !t || t->verify_error)
		return ok;
	t->verify_error = X509_STORE_CTX_get_error(store);
	t->verify_subject = certificate ? subject_of(certificate) : NULL;
	return ok;
}

static int verify_mode(int server, enum tls_clients clients)
{
	if (!server || clients == TLS_CLIENTS_REQUIRED)
		return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	return clients == TLS_CLIENTS_OPTIONAL ? SSL_VERIFY_PEER : SSL_VERIFY_NONE;
}

/*
 * TLS 1.3 and nothing before it; keys and hashes of 112 bits of strength or more. No tickets: a client that never read
 * them would reset the connection by leaving. No session is resumed, so each handshake checks the certificates.
 */
static void set_rules(SSL_CTX *ssl, int server, enum tls_clients clients)
{
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ssl);

	SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION);
	SSL_CTX_set_security_level(ssl, 2);
	SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_num_tickets(ssl, 0);
	SSL_CTX_set_max_early_data(ssl, 0);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(ssl, verify_mode(server, clients), remember_verdict);
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS);
	SSL_CTX_set_default_passwd_cb(ssl, no_password);
}

static SSL_CTX *make_ssl(int server, const struct tls_files *files, enum tls_clients clients, struct tls_fault *why)
{
	SSL_CTX *ssl;

	ERR_clear_error();
	ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	if (!ssl) {
		blame(why, "memory", "OpenSSL gives no context: %s", last_error());
		return NULL;
	}
	set_rules(ssl, server, clients);
	if (load_identity(ssl, files, why) < 0 || load_trust(ssl, files, why) < 0) {
		SSL_CTX_free(ssl);
		ssl = NULL;
	}
	ERR_clear_error(); /* the end of a file of certificates is one */
	return ssl;
}

static BIO_METHOD *make_bio(void);

/* It names nobody, and a connection that is up never looks at it. */
static int make_blank(struct tls_context *c)
{
	X509 *x = X509_new();
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	c->blank = NULL;
	c->blank_size = x && key && X509_gmtime_adj(X509_getm_notBefore(x), 0) &&
					X509_gmtime_adj(X509_getm_notAfter(x), 0) && X509_set_pubkey(x, key) &&
					X509_sign(x, key, NULL)
				? i2d_X509(x, &c->blank)
				: -1;
	EVP_PKEY_free(key);
	X509_free(x);
	return c->blank_size > 0;
}

static struct tls_context *make_context(int server, const struct tls_files *files, enum tls_clients clients,
					struct tls_fault *why)
{
	struct tls_context *c = malloc(sizeof(*c));

	watch_for_end();
	if (!c) {
		blame(why, "memory", "out of memory for TLS");
		return NULL;
	}
	c->server = server;
	c->clients = clients;
	c->out = 0;
	c->in = c->in_end = c->in_area;
	c->bio = make_bio();
	c->ssl = NULL;
	if (!make_blank(c) || !c->bio)
		blame(why, "memory", "out of memory for TLS");
	else
		c->ssl = make_ssl(server, files, clients, why);
	if (c->ssl)
		return c;
	tls_context_free(c);
	return NULL;
}

static int check_server(const struct tls_files *files, enum tls_clients clients, struct tls_fault *why)
{
	if (!files->certificate)
		return blame(why, "tls.settings", "a server needs a certificate and its key");
	if (clients != TLS_CLIENTS_NONE && !files->ca)
		return blame(why, "tls.settings", "certificates of clients are to be checked, but no CA is given");
	return 0;
}

struct tls_context *tls_server(const struct tls_files *files, enum tls_clients clients, struct tls_fault *why)
{
	return check_server(files, clients, why) < 0 ? NULL : make_context(1, files, clients, why);
}

struct tls_context *tls_client(const struct tls_files *files, struct tls_fault *why)
{
	if (files->ca)
		return make_context(0, files, TLS_CLIENTS_NONE, why);
	blame(why, "tls.settings", "no CA is given, so no broker can be trusted");
	return NULL;
}

int tls_reload(struct tls_context *c, const struct tls_files *files, enum tls_clients clients, struct tls_fault *why)
{
	SSL_CTX *ssl = check_server(files, clients, why) < 0 ? NULL : make_ssl(1, files, clients, why);

	if (!ssl)
		return -EINVAL;
	SSL_CTX_free(c->ssl); /* connections have it until they end */
	c->ssl = ssl;
	c->clients = clients;
	return 0;
}

void tls_context_free(struct tls_context *c)
{
	if (!c || over)
		return;
	SSL_CTX_free(c->ssl);
	BIO_meth_free(c->bio);
	OPENSSL_free(c->blank);
	explicit_bzero(c->record, sizeof(c->record));
	free(c);
}

/*
 * Between OpenSSL and the areas.
 */

static int area_read(BIO *bio, char *to, size_t n, size_t *got)
{
	struct tls_context *c = ((struct tls *)BIO_get_data(bio))->context;
	size_t there = (size_t)(c->in_end - c->in);

	BIO_clear_retry_flags(bio);
	*got = n < there ? n : there;
	if (*got == 0) {
		BIO_set_retry_read(bio);
		return 0;
	}
	memcpy(to, c->in, *got);
	c->in += *got;
	return 1;
}

static int area_write(BIO *bio, const char *from, size_t n, size_t *taken)
{
	struct tls_context *c = ((struct tls *)BIO_get_data(bio))->context;

	BIO_clear_retry_flags(bio);
	if (n > OUT_ROOM - c->out)
		return 0; /* somebody wants answers without end */
	memcpy(c->out_area + c->out, from, n);
	c->out += n;
	*taken = n;
	return 1;
}

static long area_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *make_bio(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "brood");

	if (!m)
		return NULL;
	BIO_meth_set_read_ex(m, area_read);
	BIO_meth_set_write_ex(m, area_write);
	BIO_meth_set_ctrl(m, area_control);
	return m;
}

/*
 * Between the areas and the socket.
 */

static ssize_t send_some(const struct tls *t, const uint8_t *bytes, size_t n)
{
	ssize_t sent;

	do
		sent = send(t->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return sent;
	return errno == EAGAIN ? 0 : -errno;
}

static int send_kept(struct tls *t)
{
	ssize_t sent;

	if (!t->kept)
		return 0;
	sent = send_some(t, t->kept + t->kept_at, t->kept_end - t->kept_at);
	if (sent < 0)
		return (int)sent;
	t->kept_at += (size_t)sent;
	if (t->kept_at == t->kept_end) {
		free(t->kept);
		t->kept = NULL;
		t->kept_at = t->kept_end = 0;
	}
	return 0;
}

static int keep(struct tls *t, const uint8_t *bytes, size_t n)
{
	size_t there = t->kept_end - t->kept_at;
	uint8_t *all = there + n <= OUT_MOST ? malloc(there + n) : NULL;

	if (!all)
		return there + n <= OUT_MOST ? -ENOMEM : -ENOBUFS;
	if (there > 0)
		memcpy(all, t->kept + t->kept_at, there);
	memcpy(all + there, bytes, n);
	free(t->kept);
	t->kept = all;
	t->kept_at = 0;
	t->kept_end = there + n;
	return 0;
}

/* At the end of every call: what OpenSSL wrote leaves the area, which the next connection needs. */
static int flush(struct tls *t)
{
	struct tls_context *c = t->context;
	size_t n = c->out;
	int r = send_kept(t);
	ssize_t sent = r == 0 && n > 0 && !t->kept ? send_some(t, c->out_area, n) : r;

	c->out = 0;
	if (sent < 0)
		return (int)sent;
	return (size_t)sent < n ? keep(t, c->out_area + sent, n - (size_t)sent) : 0;
}

/* At the beginning of every call: what an earlier one left, which failed, is of another connection. */
static void clear_areas(struct tls_context *c)
{
	c->in = c->in_end = c->in_area;
	c->out = 0;
}

/*
 * Failing.
 */

/* Alerts are what the other end thinks of us. */
static int blame_alert(struct tls_fault *why, int reason)
{
	int alert = reason - SSL_AD_REASON_OFFSET;

	if (alert == SSL_AD_CERTIFICATE_REQUIRED)
		blame(why, "tls.missing", "the other end wants a certificate, and there was none to show");
	else if (alert == SSL_AD_CERTIFICATE_EXPIRED || alert == SSL_AD_CERTIFICATE_REVOKED ||
		 alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_BAD_CERTIFICATE ||
		 alert == SSL_AD_UNSUPPORTED_CERTIFICATE || alert == SSL_AD_CERTIFICATE_UNKNOWN)
		blame(why, "tls.refused", "the other end refused our certificate: %s",
		      SSL_alert_desc_string_long(alert));
	else
		blame(why, "tls.handshake", "the other end broke off: %s", SSL_alert_desc_string_long(alert));
	return -EPROTO;
}

static int blame_openssl(struct tls *t, struct tls_fault *why)
{
	int reason = ERR_GET_REASON(ERR_peek_error());

	if (t->verify_error)
		return blame_verdict(why, t->context->server ? "the client's" : "the server's", t->verify_subject,
				     t->verify_error);
	if (ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
		return blame_alert(why, reason);
	if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		blame(why, "tls.missing", "the client showed no certificate");
	else if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
		 reason == SSL_R_HTTPS_PROXY_REQUEST)
		blame(why, "tls.handshake", "what came is not TLS: the other end speaks something else");
	else
		blame(why, "tls.handshake", "%s failed: %s", t->up ? "the connection" : "the handshake", last_error());
	return -EPROTO;
}

/* From now on reading says so, and the loop comes to read whatever the socket holds. */
static int finish(struct tls *t, int end)
{
	t->end = end;
	shutdown(t->fd, SHUT_RD);
	return end;
}

/* OpenSSL gave up; its alert for the other end is in the area. */
static int fail(struct tls *t)
{
	int r = -EPROTO;

	t->fault = calloc(1, sizeof(*t->fault));
	if (t->fault)
		r = blame_openssl(t, t->fault);
	ERR_clear_error();
	return finish(t, r);
}

/* The other end closed the socket in the middle. */
static int cut(struct tls *t, int error)
{
	if (!t->up && !t->fault && (t->fault = calloc(1, sizeof(*t->fault))))
		blame(t->fault, "tls.cut", "the connection ended during the handshake");
	return finish(t, error);
}

/*
 * Whom a certificate names.
 */

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
 * Reading.
 */

/* Append to the papers, and make the decoded certificate a blank one. */
static int shed_one(struct tls *t, X509 *certificate)
{
	const uint8_t *blank = t->context->blank;
	int n = i2d_X509(certificate, NULL);
	uint8_t *papers = n > 0 ? realloc(t->papers, t->papers_size + (size_t)n) : NULL, *at;

	if (!papers)
		return -ENOMEM;
	at = papers + t->papers_size;
	t->papers = papers;
	t->papers_size += (size_t)i2d_X509(certificate, &at);
	return d2i_X509(&certificate, &blank, t->context->blank_size) ? 0 : -ENOMEM;
}

/*
 * Of a client's certificates OpenSSL keeps 10 KiB as long as the connection lives. What is needed of them is the user, and
 * the few hundred bytes that came, to check them again after a reload.
 */
static int shed(struct tls *t)
{
	X509 *certificate = t->context->server ? SSL_get0_peer_certificate(t->ssl) : NULL;
	STACK_OF(X509) *chain = certificate ? SSL_get_peer_cert_chain(t->ssl) : NULL;
	int r;

	if (!certificate)
		return 0;
	t->user_result = read_user(certificate, t->user, sizeof(t->user));
	r = shed_one(t, certificate);
	for (int i = 0; r == 0 && i < sk_X509_num(chain); i++)
		if (sk_X509_value(chain, i) != certificate)
			r = shed_one(t, sk_X509_value(chain, i));
	return r;
}

/* 1: it is done. 0: more must come. Negative: it failed. */
static int shake(struct tls *t)
{
	int r;

	if (t->up)
		return 1; /* also when the other end says nothing more: it may still listen */
	if (t->end <= 0)
		return t->end < 0 ? t->end : -ECONNRESET;
	ERR_clear_error();
	r = SSL_do_handshake(t->ssl);
	if (r == 1) {
		t->up = 1;
		r = shed(t);
		return r < 0 ? finish(t, r) : 1;
	}
	if (SSL_get_error(t->ssl, r) != SSL_ERROR_WANT_READ)
		return fail(t);
	return 0;
}

/* Somebody who speaks frames without TLS, which is worth an answer that can be read. */
static int is_plain(const struct tls *t, const uint8_t *bytes)
{
	return t->context->server && t->handshake == 0 && bytes[0] == FRAME_MAGIC;
}

/* An unknown peer's bytes are few. */
static int count_handshake(struct tls *t, const uint8_t *bytes, size_t n)
{
	const char *name = is_plain(t, bytes)                      ? "tls.plain"
			   : t->handshake + n > TLS_HANDSHAKE_MOST ? "tls.handshake"
								   : NULL;

	t->handshake += (unsigned)n;
	if (!name)
		return 0;
	t->fault = calloc(1, sizeof(*t->fault));
	if (t->fault)
		blame(t->fault, name, "%s",
		      is_plain(t, bytes) || !strcmp(name, "tls.plain")
			      ? "the client does not use TLS, and this port does"
			      : "the handshake is too long");
	return finish(t, -EPROTO);
}

/* One recv(). Above 0: something came. */
static ssize_t receive(struct tls *t, size_t room)
{
	struct tls_context *c = t->context;
	size_t most = t->up ? room - IN_RESERVE : IN_FIRST;
	ssize_t got;
	int r;

	do
		got = recv(t->fd, c->in_area, most < IN_ROOM ? most : IN_ROOM, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (got <= 0)
		return cut(t, got < 0 ? -errno : -ECONNRESET);
	r = t->up ? 0 : count_handshake(t, c->in_area, (size_t)got);
	c->in = c->in_area;
	c->in_end = c->in + (r < 0 ? 0 : got);
	return r < 0 ? r : got;
}

/* Why OpenSSL has nothing more to give. */
static void ran_dry(struct tls *t)
{
	int error = SSL_get_error(t->ssl, 0);

	if (error == SSL_ERROR_ZERO_RETURN)
		finish(t, 0);
	else if (error != SSL_ERROR_WANT_READ)
		fail(t);
}

/* Decrypt all that is in the area. Bytes. */
static size_t decrypt(struct tls *t, struct iovec *iov, int n)
{
	size_t sum = 0, at = 0, got = 1;

	if (shake(t) != 1)
		return 0;
	ERR_clear_error();
	while (n > 0 && got > 0) {
		if (at == iov->iov_len) {
			iov++, n--, at = 0;
			continue;
		}
		if (SSL_read_ex(t->ssl, (uint8_t *)iov->iov_base + at, iov->iov_len - at, &got) != 1) {
			ran_dry(t);
			break;
		}
		at += got;
		sum += got;
	}
	/* Never seen: what is left would be forgotten, so it must not be left. */
	if (n == 0 && (t->context->in < t->context->in_end || SSL_pending(t->ssl) > 0))
		finish(t, -EPROTO);
	return sum;
}

static size_t room_of(const struct iovec *iov, int n)
{
	size_t sum = 0;

	while (n-- > 0)
		sum += iov[n].iov_len;
	return sum;
}

static ssize_t secure_read(struct channel *c, struct iovec *iov, int n)
{
	struct tls *t = c->state;
	size_t room = room_of(iov, n), sum = 0;
	ssize_t got = 1;
	int r;

	clear_areas(t->context);
	r = over ? -EPIPE : shake(t); /* a client begins, also if it only reads */
	if (r == 0)
		r = flush(t);
	if (r < 0 && t->end > 0)
		finish(t, r);
	for (int i = 0; i < TRIES && sum == 0 && t->end > 0 && got > 0; i++) {
		got = receive(t, room);
		if (got > 0)
			sum = decrypt(t, iov, n);
		r = flush(t);
		if (r < 0 && t->end > 0)
			finish(t, r);
	}
	if (sum > 0)
		return (ssize_t)sum;
	return t->end <= 0 ? t->end : -EAGAIN;
}

/*
 * Writing.
 */

struct cursor { /* in the pieces that are written */
	const struct iovec *iov;
	int n;
	size_t at;
};

static size_t piece_left(struct cursor *c)
{
	while (c->n > 0 && c->at == c->iov->iov_len) {
		c->iov++;
		c->n--;
		c->at = 0;
	}
	return c->n > 0 ? c->iov->iov_len - c->at : 0;
}

/* The next record's bytes: where they lie, or if they are in several pieces, copied together. */
static const uint8_t *gather(struct cursor *c, uint8_t *record, size_t *n)
{
	size_t left = piece_left(c), some;
	const uint8_t *bytes = left ? (const uint8_t *)c->iov->iov_base + c->at : NULL;

	*n = left < TLS_RECORD ? left : TLS_RECORD;
	if (left >= TLS_RECORD || c->n <= 1) {
		c->at += *n;
		return bytes;
	}
	for (*n = 0; *n < TLS_RECORD && (left = piece_left(c)) > 0; *n += some) {
		some = left < TLS_RECORD - *n ? left : TLS_RECORD - *n;
		memcpy(record + *n, (const uint8_t *)c->iov->iov_base + c->at, some);
		c->at += some;
	}
	return record;
}

/* Records of at most FLIGHT bytes, encrypted into the area. Bytes, or negative. */
static ssize_t encrypt(struct tls *t, struct cursor *c)
{
	size_t sum = 0, n, done;
	const uint8_t *bytes;

	ERR_clear_error();
	while (sum < FLIGHT && (bytes = gather(c, t->context->record, &n))) {
		if (SSL_write_ex(t->ssl, bytes, n, &done) != 1)
			return fail(t);
		sum += n;
	}
	return (ssize_t)sum;
}

static ssize_t secure_write(struct channel *c, struct iovec *iov, int n, const struct parcel *p)
{
	struct tls *t = c->state;
	struct cursor cursor = { iov, n, 0 };
	ssize_t sum = 0, some = 1;
	int r;

	clear_areas(t->context);
	r = over ? -EPIPE : shake(t);
	(void)p; /* never one: takes_fds is 0 */
	if (over || flush(t) < 0 || t->end < 0)
		return t->end < 0 ? t->end : -EPIPE;
	if (r != 1 || t->kept)
		return -EAGAIN;
	while (some > 0 && !t->kept) {
		some = encrypt(t, &cursor);
		r = flush(t);
		if (some < 0 || r < 0)
			return some < 0 ? some : r;
		sum += some;
	}
	return sum;
}

static int secure_flush(struct channel *c)
{
	return send_kept(c->state);
}

/* Before the handshake is done, what is kept can only wait for the other end. */
static int secure_wants_write(const struct channel *c)
{
	const struct tls *t = c->state;

	return t->kept || (t->up && c->kept_bytes > 0);
}

static void secure_end(struct channel *c)
{
	struct tls *t = c->state;

	if (over || !t->up || t->said_end || t->end < 0 || t->kept)
		return;
	t->said_end = 1;
	clear_areas(t->context);
	ERR_clear_error();
	(void)SSL_shutdown(t->ssl);
	ERR_clear_error();
	(void)flush(t);
}

static void secure_free(struct channel *c)
{
	struct tls *t = c->state;

	if (!over)
		SSL_free(t->ssl);
	free(t->verify_subject);
	free(t->papers);
	free(t->kept);
	free(t->fault);
	free(t);
}

static const struct channel_ops secure_ops = {
	.read = secure_read,
	.write = secure_write,
	.flush = secure_flush,
	.wants_write = secure_wants_write,
	.end = secure_end,
	.free = secure_free,
};

/*
 * Connections.
 */

static struct tls *tls_new(struct tls_context *context, int fd, const char *host)
{
	size_t n = strlen(host);
	struct tls *t = calloc(1, sizeof(*t) + n + 1);
	BIO *bio = t ? BIO_new(context->bio) : NULL;

	if (!bio || !(t->ssl = SSL_new(context->ssl))) {
		BIO_free(bio);
		free(t);
		return NULL;
	}
	t->context = context;
	t->fd = fd;
	t->end = 1;
	memcpy(t->host, host, n + 1);
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	SSL_set_app_data(t->ssl, t);
	return t;
}

int tls_accept(struct tls_context *context, struct channel *c)
{
	struct tls *t = tls_new(context, c->in_fd, "");

	if (!t)
		return -ENOMEM;
	SSL_set_accept_state(t->ssl);
	channel_secure(c, &secure_ops, t);
	return 0;
}

static int is_number(const char *host)
{
	struct in6_addr a;

	return inet_pton(AF_INET, host, &a) == 1 || inet_pton(AF_INET6, host, &a) == 1;
}

/* The name that must be in the certificate. A dot at its end says that it is whole, and is not part of it. */
static int expect(struct tls *t)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
	size_t n = strlen(t->host);

	if (is_number(t->host))
		return X509_VERIFY_PARAM_set1_ip_asc(param, t->host);
	if (n > 1 && t->host[n - 1] == '.')
		t->host[n - 1] = '\0';
	return X509_VERIFY_PARAM_set1_host(param, t->host, 0) && SSL_set_tlsext_host_name(t->ssl, t->host);
}

int tls_connect(struct tls_context *context, struct channel *c, const char *host)
{
	struct tls *t = tls_new(context, c->in_fd, host);

	if (!t)
		return -ENOMEM;
	SSL_set_connect_state(t->ssl);
	channel_secure(c, &secure_ops, t);
	return expect(t) ? 0 : -ENOMEM;
}

static const struct tls *tls_of(const struct channel *c)
{
	return c->ops == &secure_ops ? c->state : NULL;
}

int tls_is_up(const struct channel *c)
{
	const struct tls *t = tls_of(c);

	return t && t->up;
}

const struct tls_fault *tls_failure(const struct channel *c)
{
	const struct tls *t = tls_of(c);

	return t ? t->fault : NULL;
}

int tls_peer(const struct channel *c, char *user, size_t n)
{
	const struct tls *t = tls_of(c);

	if (!t || !t->papers)
		return 0;
	snprintf(user, n, "%s", t->user);
	return t->user_result;
}

/*
 * Looking again.
 */

/* As they came. NULL without memory. */
static STACK_OF(X509) * read_papers(const struct tls *t)
{
	STACK_OF(X509) *all = sk_X509_new_null();
	const uint8_t *at = t->papers, *end = at + t->papers_size;
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

static int verify_papers(const struct tls *t, STACK_OF(X509) * papers, struct tls_fault *why)
{
	X509_STORE_CTX *store = X509_STORE_CTX_new();
	X509 *certificate = sk_X509_value(papers, 0);
	char *subject = NULL;
	int r = 0, error = X509_V_ERR_OUT_OF_MEM;

	if (!store || X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(t->context->ssl), certificate, papers) != 1 ||
	    X509_STORE_CTX_set_default(store, "ssl_client") != 1 || X509_verify_cert(store) != 1) {
		if (store)
			error = X509_STORE_CTX_get_error(store);
		subject = certificate ? subject_of(certificate) : NULL;
		r = blame_verdict(why, "the client's", subject, error);
	}
	free(subject);
	X509_STORE_CTX_free(store);
	return r;
}

int tls_check_again(const struct channel *c, struct tls_fault *why)
{
	const struct tls *t = tls_of(c);
	STACK_OF(X509) * papers;
	int r;

	if (!t || !t->up || (!t->papers && t->context->clients != TLS_CLIENTS_REQUIRED))
		return 0;
	if (!t->papers) {
		blame(why, "tls.missing", "the client showed no certificate, and now one is required");
		return -EKEYREJECTED;
	}
	papers = read_papers(t);
	r = papers ? verify_papers(t, papers, why) : blame(why, "memory", "out of memory for TLS");
	sk_X509_pop_free(papers, X509_free);
	ERR_clear_error();
	return r;
}
