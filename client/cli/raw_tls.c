/*
 * raw_tls: reading and writing only seem to block: what is decrypted comes in helpings, and waits in a buffer until it
 * is taken. A relay, which has room for a helping, takes them as they come.
 */
#include "raw_tls.h"
#include "tls_load.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct raw_tls_context {
	const struct tls_api *api;
	struct tls_context *context;
};

struct raw_tls {
	const struct tls_api *api;
	struct slab unused; /* by a channel that carries no frames */
	struct channel channel;
	unsigned char *helping; /* decrypted; `at` to `end` is not taken yet */
	size_t at, end;
};

/* ---- coming and going -------------------------------------------------------------------------------------------- */

struct raw_tls_context *raw_tls_server(void)
{
	struct tls_files files = { .certificate = getenv("BROOD_TLS_CERT"), .key = getenv("BROOD_TLS_KEY") };
	struct tls_fault why = { .text = "no memory" };
	struct raw_tls_context *c = calloc(1, sizeof *c);
	if (c)
		c->api = tls_load(&why);
	if (c && c->api)
		c->context = c->api->server(&files, TLS_CLIENTS_NONE, &why);
	if (c && c->context)
		return c;
	fprintf(stderr, "brood bench: %s\n", why.text);
	free(c);
	return NULL;
}

static struct raw_tls *raw_tls_new(const struct tls_api *api, int fd)
{
	struct raw_tls *t = calloc(1, sizeof *t);
	if (!t) {
		close(fd);
		return NULL;
	}
	t->api = api;
	STAILQ_INIT(&t->unused.spare);
	STAILQ_INIT(&t->unused.retired);
	channel_init(&t->channel, fd, fd, &t->unused);
	return t;
}

int raw_tls_accept(struct raw_tls_context *c, int fd, struct raw_tls **ret)
{
	struct raw_tls *t = raw_tls_new(c->api, fd);
	int rc = t ? c->api->accept(c->context, &t->channel) : -ENOMEM;
	if (rc == 0)
		*ret = t;
	else
		raw_tls_free(t);
	return rc;
}

/* One for all, as in a broker; it lasts as long as the process. */
static int secure_client(struct raw_tls *t)
{
	static struct tls_context *context;
	struct tls_files files = { .ca = getenv("BROOD_TLS_CA") };
	struct tls_fault why;
	t->helping = malloc(SLAB_HELPING);
	if (!context)
		context = t->api->client(&files, &why);
	return t->helping && context ? t->api->connect(context, &t->channel, "127.0.0.1") : -EOPNOTSUPP;
}

int raw_tls_dial(int fd, struct raw_tls **ret)
{
	struct tls_fault why;
	struct raw_tls *t = raw_tls_new(tls_load(&why), fd);
	int rc = !t ? -ENOMEM : !t->api ? -EOPNOTSUPP : secure_client(t);
	if (rc == 0)
		*ret = t;
	else
		raw_tls_free(t);
	return rc;
}

void raw_tls_free(struct raw_tls *t)
{
	if (!t)
		return;
	channel_deinit(&t->channel);
	free(t->helping);
	free(t);
}

void raw_tls_end(struct raw_tls *t)
{
	channel_end(&t->channel);
}

/* ---- without waiting --------------------------------------------------------------------------------------------- */

ssize_t raw_tls_take(struct raw_tls *t, void *bytes, size_t n)
{
	struct iovec iov = { bytes, n };
	ssize_t got = t->channel.ops->read(&t->channel, &iov, 1);
	if (got >= 0)
		return got;
	errno = (int)-got;
	return -1;
}

ssize_t raw_tls_give(struct raw_tls *t, const void *bytes, size_t n)
{
	struct iovec iov = { (void *)(uintptr_t)bytes, n };
	ssize_t sent = channel_write(&t->channel, &iov, 1);
	if (sent > 0)
		return sent;
	errno = sent < 0 ? (int)-sent : EAGAIN;
	return -1;
}

int raw_tls_flush(struct raw_tls *t)
{
	int rc = channel_wants_write(&t->channel) ? channel_drain(&t->channel, NULL) : 0;
	return rc < 0 ? rc : channel_wants_write(&t->channel) ? -EAGAIN : 0;
}

/* Before the end of a handshake there is nothing to wait for but the other end. */
int raw_tls_wants_room(const struct raw_tls *t, int more)
{
	return channel_wants_write(&t->channel) || (more && t->api->is_up(&t->channel));
}

/* ---- with waiting ------------------------------------------------------------------------------------------------ */

static int wait_for(const struct raw_tls *t, short what)
{
	struct pollfd p = { .fd = t->channel.in_fd, .events = what };
	return poll(&p, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

/* One helping into the buffer, which is empty. Bytes, 0 at the end, -EAGAIN or another negative errno. */
static long take_helping(struct raw_tls *t)
{
	ssize_t n = raw_tls_take(t, t->helping, SLAB_HELPING);
	t->at = 0;
	t->end = n > 0 ? (size_t)n : 0;
	return n < 0 ? -errno : n;
}

/* For what the socket was full for, or the handshake still waits for. */
static int wait_to_give(struct raw_tls *t)
{
	if (raw_tls_wants_room(t, 1))
		return wait_for(t, POLLOUT);
	int rc = wait_for(t, POLLIN);
	long n = rc == 0 ? take_helping(t) : rc;
	return n == -EAGAIN || n > 0 ? 0 : n == 0 ? -ECONNRESET : (int)n;
}

static int give_all(struct raw_tls *t, const char *from, size_t n)
{
	int rc = 0;
	while (rc == 0 && n > 0) {
		ssize_t sent = raw_tls_give(t, from, n);
		if (sent < 0) {
			rc = errno == EAGAIN ? wait_to_give(t) : -errno;
			continue;
		}
		from += sent;
		n -= (size_t)sent;
	}
	return rc;
}

int raw_tls_write(struct raw_tls *t, const void *bytes, size_t n)
{
	int rc = give_all(t, bytes, n);
	while (rc == 0 && (rc = raw_tls_flush(t)) == -EAGAIN)
		rc = wait_for(t, POLLOUT);
	return rc;
}

long raw_tls_some(struct raw_tls *t, void *bytes, size_t n)
{
	while (t->at == t->end) {
		long got = take_helping(t);
		int rc = got == -EAGAIN ? wait_for(t, POLLIN) : 0;
		if (rc < 0)
			return rc;
		if (got <= 0 && got != -EAGAIN)
			return got;
	}
	if (n > t->end - t->at)
		n = t->end - t->at;
	memcpy(bytes, t->helping + t->at, n);
	t->at += n;
	return (long)n;
}
