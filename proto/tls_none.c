/*
 * tls_none: what stands in for tls.c and tls_context.c where OpenSSL is not wanted (-DBROOD_TLS=OFF). Nothing can be
 * secured, and says so.
 */
#include "resolve.h"
#include "tls.h"
#include <errno.h>
#include <stdio.h>

static void blame(struct tls_fault *why)
{
	snprintf(why->name, sizeof(why->name), "tls.unavailable");
	snprintf(why->text, sizeof(why->text), "this brood was built without TLS (BROOD_TLS=OFF)");
}

struct tls_context *tls_server(const struct tls_files *files, enum tls_clients clients, struct tls_fault *why)
{
	(void)files;
	(void)clients;
	blame(why);
	return NULL;
}

struct tls_context *tls_client(const struct tls_files *files, struct tls_fault *why)
{
	(void)files;
	blame(why);
	return NULL;
}

int tls_reload(struct tls_context *c, const struct tls_files *files, enum tls_clients clients, struct tls_fault *why)
{
	(void)c;
	(void)files;
	(void)clients;
	blame(why);
	return -EINVAL;
}

void tls_context_free(struct tls_context *c)
{
	(void)c;
}

int tls_accept(struct tls_context *context, struct channel *c)
{
	(void)context;
	(void)c;
	return -EOPNOTSUPP;
}

int tls_connect(struct tls_context *context, struct channel *c, const char *host)
{
	(void)context;
	(void)c;
	(void)host;
	return -EOPNOTSUPP;
}

int tls_is_up(const struct channel *c)
{
	(void)c;
	return 0;
}

const struct tls_fault *tls_failure(const struct channel *c)
{
	(void)c;
	return NULL;
}

int tls_peer(const struct channel *c, char *user, size_t n)
{
	(void)c;
	(void)user;
	(void)n;
	return 0;
}

int tls_is_for(const struct channel *c, const char *node)
{
	(void)c;
	(void)node;
	return 0;
}

int64_t tls_expires(const struct channel *c)
{
	(void)c;
	return INT64_MAX;
}

int tls_check_again(const struct channel *c, struct tls_fault *why)
{
	(void)c;
	(void)why;
	return 0;
}

/* Only addresses of TLS have names. */

int resolve_begin(struct resolve **ret, const struct address *address)
{
	(void)ret;
	(void)address;
	return -EOPNOTSUPP;
}

int resolve_fd(const struct resolve *r)
{
	(void)r;
	return -1;
}

int resolve_answer(const struct resolve *r, struct address *to)
{
	(void)r;
	(void)to;
	return -EOPNOTSUPP;
}

void resolve_free(struct resolve *r)
{
	(void)r;
}
