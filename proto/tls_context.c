/*
 * tls_context: see tls_context.h and the first part of tls.h.
 */
#include "tls_context.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MOST (1024u * 1024u)

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
		return tls_blame(why, "tls.key", "the key %s belongs to another user (uid %u)", path,
				 (unsigned)st->st_uid);
	if (st->st_mode & (st->st_uid == 0 ? 037 : 077))
		return tls_blame(why, "tls.key", "the key %s may be read or changed by others (mode %03o)", path,
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
		tls_blame(why, "tls.file", "the %s %s cannot be read: %s", what, path, strerror(errno));
		return NULL;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		tls_blame(why, "tls.file", "the %s %s is not a plain file", what, path);
	else if ((!is_key || is_private(&st, path, why) == 0) && !(t = fill(fd)))
		tls_blame(why, "tls.file", "the %s %s cannot be read, or is longer than %u KiB", what, path,
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
		tls_blame(why, "tls.file", "%s holds no key in PEM without a password", path);
	else if (text && !ok)
		tls_blame(why, "tls.mismatch", "the key %s is not that of the certificate: %s", path, tls_last_error());
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
		r = tls_blame(why, "tls.file", "%s holds no certificate that can be used: %s", path, tls_last_error());
	else if (text && X509_cmp_current_time(X509_get0_notAfter(SSL_CTX_get0_certificate(ssl))) < 0)
		r = tls_blame(why, "tls.expired", "the certificate %s has expired", path);
	text_free(text);
	return r;
}

static int load_identity(SSL_CTX *ssl, const struct tls_files *files, struct tls_fault *why)
{
	if (!files->certificate && !files->key)
		return 0;
	if (!files->certificate || !files->key)
		return tls_blame(why, "tls.settings", "there is a %s, but no %s", files->key ? "key" : "certificate",
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
		tls_blame(why, "tls.file", "%s holds no %s in PEM", path, what);
	text_free(text);
	return n > 0 ? 0 : -EINVAL;
}

static int load_trust(SSL_CTX *ssl, const struct tls_files *files, struct tls_fault *why)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ssl);

	if (!files->ca)
		return files->crl ? tls_blame(why, "tls.settings", "there is a revocation list, but no CA") : 0;
	if (load_all(store, add_authority, "certificate of a CA", files->ca, why) < 0)
		return -EINVAL;
	if (!files->crl)
		return 0;
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return load_all(store, add_list, "revocation list", files->crl, why);
}

/*
 * Between OpenSSL and the areas.
 */

static int area_read(BIO *bio, char *to, size_t n, size_t *got)
{
	struct tls_context *c = BIO_get_data(bio);
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
	struct tls_context *c = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (n > TLS_OUT_ROOM - c->out)
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
 * Contexts.
 */

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
	SSL_CTX_set_verify(ssl, verify_mode(server, clients), tls_remember);
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS);
	SSL_CTX_set_default_passwd_cb(ssl, no_password);
}

static SSL_CTX *make_ssl(int server, const struct tls_files *files, enum tls_clients clients, struct tls_fault *why)
{
	SSL_CTX *ssl;

	ERR_clear_error();
	ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	if (!ssl) {
		tls_blame(why, "memory", "OpenSSL gives no context: %s", tls_last_error());
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

static struct tls_context *make_context(int server, const struct tls_files *files, enum tls_clients clients,
					struct tls_fault *why)
{
	struct tls_context *c = malloc(sizeof(*c));

	watch_for_end();
	if (!c) {
		tls_blame(why, "memory", "out of memory for TLS");
		return NULL;
	}
	c->server = server;
	c->clients = clients;
	c->out = 0;
	c->in = c->in_end = c->in_area;
	c->bio = make_bio();
	c->ssl = NULL;
	if (tls_blank_make(&c->blank) < 0 || !c->bio)
		tls_blame(why, "memory", "out of memory for TLS");
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
		return tls_blame(why, "tls.settings", "a server needs a certificate and its key");
	if (clients != TLS_CLIENTS_NONE && !files->ca)
		return tls_blame(why, "tls.settings", "certificates of clients are to be checked, but no CA is given");
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
	tls_blame(why, "tls.settings", "no CA is given, so no broker can be trusted");
	return NULL;
}

int tls_reload(struct tls_context *c, const struct tls_files *files, enum tls_clients clients, struct tls_fault *why)
{
	int bad = c->server && check_server(files, clients, why) < 0;
	SSL_CTX *ssl = bad ? NULL : make_ssl(c->server, files, clients, why);

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
	OPENSSL_free(c->blank.der);
	explicit_bzero(c->record, sizeof(c->record));
	free(c);
}

int tls_context_is_over(void)
{
	return over;
}

void tls_context_clear(struct tls_context *c)
{
	c->in = c->in_end = c->in_area;
	c->out = 0;
}

SSL *tls_context_connection(struct tls_context *c)
{
	BIO *bio = BIO_new(c->bio);
	SSL *ssl = bio ? SSL_new(c->ssl) : NULL;

	if (!ssl) {
		BIO_free(bio);
		return NULL;
	}
	BIO_set_data(bio, c);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	return ssl;
}
