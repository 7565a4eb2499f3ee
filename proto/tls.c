/*
 * tls: see tls.h. Connections; contexts are in tls_context.c, certificates in tls_verify.c.
 *
 * OpenSSL never touches the descriptor. It reads from and writes to two areas of the context, and this file moves them:
 * one recv() of many records, one send() of up to four and a rest. So a write of many small frames becomes records of
 * 16 KiB, and a helping of them costs one system call, as it does without TLS.
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
#include "tls_context.h"
#include "tls_verify.h"
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define IN_FIRST 16384u                 /* taken at once of an unknown peer */
#define IN_RESERVE (TLS_RECORD + 1024u) /* a record may be half here already */
#define OUT_MOST (2u * TLS_OUT_ROOM)
#define TRIES 4 /* recv() calls that gave no whole record, before the loop has its turn */

/* A connection. */
struct tls {
	SSL *ssl;
	struct tls_context *context;
	int fd;
	int end;            /* what read() says from now on: 0 or negative; 1: it goes on */
	unsigned handshake; /* bytes of the peer so far */
	uint8_t up, said_end;
	struct tls_verdict verdict;
	struct tls_papers papers; /* of a client */
	uint8_t *kept;            /* encrypted bytes that the socket did not take */
	size_t kept_at, kept_end;
	struct tls_fault *fault;
};

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

/*
 * Failing.
 */

/* Alerts are what the other end thinks of us. */
static int blame_alert(struct tls_fault *why, int reason)
{
	int alert = reason - SSL_AD_REASON_OFFSET;

	if (alert == SSL_AD_CERTIFICATE_REQUIRED)
		tls_blame(why, "tls.missing", "the other end wants a certificate, and there was none to show");
	else if (alert == SSL_AD_CERTIFICATE_EXPIRED || alert == SSL_AD_CERTIFICATE_REVOKED ||
		 alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_BAD_CERTIFICATE ||
		 alert == SSL_AD_UNSUPPORTED_CERTIFICATE || alert == SSL_AD_CERTIFICATE_UNKNOWN)
		tls_blame(why, "tls.refused", "the other end refused our certificate: %s",
			  SSL_alert_desc_string_long(alert));
	else
		tls_blame(why, "tls.handshake", "the other end broke off: %s", SSL_alert_desc_string_long(alert));
	return -EPROTO;
}

static int blame_openssl(struct tls *t, struct tls_fault *why)
{
	int reason = ERR_GET_REASON(ERR_peek_error());

	if (t->verdict.error)
		return tls_blame_verdict(why, t->context->server ? "the client's" : "the server's", &t->verdict);
	if (ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
		return blame_alert(why, reason);
	if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		tls_blame(why, "tls.missing", "the client showed no certificate");
	else if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
		 reason == SSL_R_HTTPS_PROXY_REQUEST)
		tls_blame(why, "tls.handshake", "what came is not TLS: the other end speaks something else");
	else
		tls_blame(why, "tls.handshake", "%s failed: %s", t->up ? "the connection" : "the handshake",
			  tls_last_error());
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
		tls_blame(t->fault, "tls.cut", "the connection ended during the handshake");
	return finish(t, error);
}

/* An error that somebody else left would be taken for ours. To clear an empty queue costs as much as to look ten times. */
static void forget_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

/*
 * Reading.
 */

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
		r = t->context->server ? tls_papers_take(&t->papers, t->ssl, &t->context->blank) : 0;
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
		tls_blame(t->fault, name, "%s",
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
		got = recv(t->fd, c->in_area, most < TLS_IN_ROOM ? most : TLS_IN_ROOM, MSG_DONTWAIT);
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

/* In the area, or in the rest of a record that was larger than its piece. To ask OpenSSL itself costs as much as a record. */
static int is_more(const struct tls *t)
{
	return t->context->in < t->context->in_end || SSL_pending(t->ssl) > 0;
}

/* Decrypt all that is in the area. Bytes. */
static size_t decrypt(struct tls *t, struct iovec *iov, int n)
{
	size_t sum = 0, at = 0, got;

	if (shake(t) != 1)
		return 0;
	forget_errors();
	while (n > 0 && is_more(t)) {
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
	if (n == 0 && is_more(t))
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

	tls_context_clear(t->context);
	r = tls_context_is_over() ? -EPIPE : shake(t); /* a client begins, also if it only reads */
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

/* Records of `most` bytes, or of what there is, encrypted into the area. Bytes, or negative. */
static ssize_t encrypt(struct tls *t, struct cursor *c, size_t most)
{
	size_t sum = 0, n, done;
	const uint8_t *bytes;

	forget_errors();
	while (sum < most && (bytes = gather(c, t->context->record, &n))) {
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
	size_t left = room_of(iov, n);
	ssize_t sum = 0, some = 1;
	int r;

	tls_context_clear(t->context);
	r = tls_context_is_over() ? -EPIPE : shake(t);
	(void)p; /* never one: takes_fds is 0 */
	if (tls_context_is_over() || flush(t) < 0 || t->end < 0)
		return t->end < 0 ? t->end : -EPIPE;
	if (r != 1 || t->kept)
		return -EAGAIN;
	while (some > 0 && !t->kept) {
		some = encrypt(t, &cursor, left < TLS_FLIGHT + TLS_RECORD ? left : TLS_FLIGHT);
		r = flush(t);
		if (some < 0 || r < 0)
			return some < 0 ? some : r;
		sum += some;
		left -= (size_t)some;
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

	return t->kept || (t->up && c->backlog);
}

static void secure_end(struct channel *c)
{
	struct tls *t = c->state;

	if (tls_context_is_over() || !t->up || t->said_end || t->end < 0 || t->kept)
		return;
	t->said_end = 1;
	tls_context_clear(t->context);
	ERR_clear_error();
	(void)SSL_shutdown(t->ssl);
	ERR_clear_error();
	(void)flush(t);
}

static void secure_free(struct channel *c)
{
	struct tls *t = c->state;

	if (!tls_context_is_over())
		SSL_free(t->ssl);
	free(t->verdict.subject);
	free(t->papers.der);
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

static struct tls *tls_new(struct tls_context *context, int fd)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (!t || !(t->ssl = tls_context_connection(context))) {
		free(t);
		return NULL;
	}
	t->context = context;
	t->fd = fd;
	t->end = 1;
	SSL_set_app_data(t->ssl, &t->verdict);
	return t;
}

int tls_accept(struct tls_context *context, struct channel *c)
{
	struct tls *t = tls_new(context, c->in_fd);

	if (!t)
		return -ENOMEM;
	SSL_set_accept_state(t->ssl);
	channel_secure(c, &secure_ops, t);
	return 0;
}

int tls_connect(struct tls_context *context, struct channel *c, const char *host)
{
	struct tls *t = tls_new(context, c->in_fd);

	if (!t)
		return -ENOMEM;
	SSL_set_connect_state(t->ssl);
	channel_secure(c, &secure_ops, t);
	return tls_expect(t->ssl, host);
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

	if (!t || !t->papers.der)
		return 0;
	snprintf(user, n, "%s", t->papers.user);
	return t->papers.user_result;
}

int tls_is_for(const struct channel *c, const char *node)
{
	const struct tls *t = tls_of(c);

	return t && t->papers.der && tls_papers_name(&t->papers, node);
}

int64_t tls_expires(const struct channel *c)
{
	const struct tls *t = tls_of(c);

	return t && t->papers.der ? t->papers.until : INT64_MAX;
}

int tls_check_again(const struct channel *c, struct tls_fault *why)
{
	const struct tls *t = tls_of(c);

	if (!t || !t->up)
		return 0;
	if (t->papers.der)
		return tls_papers_check(&t->papers, t->context->ssl, why);
	if (t->context->clients != TLS_CLIENTS_REQUIRED)
		return 0;
	tls_blame(why, "tls.missing", "the client showed no certificate, and now one is required");
	return -EKEYREJECTED;
}
