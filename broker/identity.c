/*
 * identity: ids that are never reused, and secrets that survive a restart.
 *
 * An id is an epoch and a counter. The epoch is the time of the start in seconds, or one more than the last if the
 * clock does not say more, so it strictly grows, and no id comes twice even if clocks go back. It is on disk before the
 * first id of it is given. The surprising rule: a run that ends with everybody gone marks its epoch "clean", so that
 * the next run need not wait for processes that will not come back.
 */
#include "identity.h"
#include "address.h"
#include "little.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define TICKET_UID_AT 24 /* in its bytes */

/* Only what is no secret of ours is to be removed: without room or descriptors it is not the file that is wrong. */
static int fail(int error, const struct home *home, const char *name, char *why, size_t n)
{
	const char *what = strerror(-error), *next = "put that right";

	if (error == -EBADMSG) {
		what = "it does not hold what a broker writes there";
		next = "remove it";
	} else if (error == -ELOOP) {
		what = "it is a symbolic link";
		next = "remove it";
	} else if (error == -EPERM) {
		what = "it is not a plain file that only we may read";
		next = "change that with chown and chmod 600";
	}
	snprintf(why, n, "file %s/%s: %s; %s, or choose another directory with --dir", home->path, name, what, next);
	return error;
}

static int write_epoch(const struct identity *id, const char *mark)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%" PRIu32 "%s\n", id->epoch, mark);

	return home_write(id->home, "epoch", text, (size_t)n);
}

/* 0 and *last (0: there was none), or negative errno. */
static int read_epoch(struct identity *id, uint32_t *last)
{
	char text[32] = "", *end;
	ssize_t got = home_read(id->home, "epoch", text, sizeof(text) - 1);
	unsigned long long value = strtoull(text, &end, 10);

	*last = 0;
	if (got == -ENOENT)
		return 0;
	if (got < 0)
		return (int)got;
	if (end == text || value == 0 || value >= UINT32_MAX)
		return -EBADMSG;
	*last = (uint32_t)value;
	id->unclean = strcmp(end, " clean\n") != 0;
	return 0;
}

static int open_epoch(struct identity *id, uint32_t now)
{
	uint32_t last;
	int r = read_epoch(id, &last);

	if (r < 0)
		return r;
	id->epoch = now > last ? now : last + 1;
	if (id->epoch < EPOCH_LEAST)
		id->epoch = EPOCH_LEAST; /* those below stand for epochs of other nodes */
	id->first_epoch = id->epoch;
	id->counter = 1;
	return write_epoch(id, "");
}

/* Read a secret of n bytes, or make one with `make`. */
static int open_secret(const struct home *home, const char *name, void *bytes, size_t n,
		       int (*make)(void *bytes, size_t n))
{
	uint8_t more[COOKIE_TEXT + 2];
	ssize_t got = home_read(home, name, more, n + 1);
	int r;

	if (got == (ssize_t)n)
		memcpy(bytes, more, n);
	explicit_bzero(more, sizeof(more));
	if (got == (ssize_t)n)
		return 0;
	if (got != -ENOENT)
		return got < 0 ? (int)got : -EBADMSG;
	r = make(bytes, n);
	return r < 0 ? r : home_write(home, name, bytes, n);
}

static int make_key(void *bytes, size_t n)
{
	return getrandom(bytes, n, 0) == (ssize_t)n ? 0 : -EIO;
}

static int make_cookie(void *text, size_t n)
{
	uint8_t secret[COOKIE_TEXT / 2];
	size_t i;

	if (make_key(secret, sizeof(secret)) < 0)
		return -EIO;
	for (i = 0; i < sizeof(secret); i++)
		snprintf((char *)text + 2 * i, 3, "%02x", secret[i]);
	((char *)text)[n - 1] = '\n';
	explicit_bzero(secret, sizeof(secret));
	return 0;
}

int identity_open(struct identity *id, const struct home *home, uint32_t now, char *why, size_t n)
{
	int r;

	*id = (struct identity){ .home = home };
	(void)mlock(id, sizeof(*id)); /* out of swap; where the limit does not allow it, as any memory */
	r = open_epoch(id, now);
	if (r < 0)
		return fail(r, home, "epoch", why, n);
	r = open_secret(home, "key", id->key, sizeof(id->key), make_key);
	return r < 0 ? fail(r, home, "key", why, n) : 0;
}

/* A secret that somebody made for several brokers, or that clients find in a place of their own. */
static int read_cookie(struct identity *id, const char *path, char *why, size_t n)
{
	char line[COOKIE_TEXT + 2];
	ssize_t got = home_read(id->home, path, line, sizeof(line));

	if (got == COOKIE_TEXT + 1 && line[COOKIE_TEXT] == '\n')
		got--;
	if (got == COOKIE_TEXT) {
		memcpy(id->cookie, line, COOKIE_TEXT);
		return 0;
	}
	snprintf(why, n, "token file %s: %s", path,
		 got == -EPERM ? "it is not a plain file that only we may read; change that with chown and chmod 600"
		 : got < 0     ? "it cannot be read; check the path, or leave --token-file out"
			   : "it does not hold 64 characters; copy the cookie of a broker, or: openssl rand -hex 32");
	return got < 0 ? (int)got : -EBADMSG;
}

int identity_open_cookie(struct identity *id, const char *elsewhere, char *why, size_t n)
{
	char line[COOKIE_TEXT + 1];
	int r;

	if (elsewhere[0])
		return read_cookie(id, elsewhere, why, n);
	r = open_secret(id->home, "cookie", line, sizeof(line), make_cookie);

	if (r == 0)
		memcpy(id->cookie, line, COOKIE_TEXT);
	explicit_bzero(line, sizeof(line));
	return r < 0 ? fail(r, id->home, "cookie", why, n) : 0;
}

void identity_close(struct identity *id)
{
	if (id->home)
		(void)write_epoch(id, " clean"); /* if that fails, the next run waits a little in vain */
}

uint64_t identity_take(struct identity *id, uint32_t n)
{
	uint64_t first;

	if (id->counter > UINT32_MAX - n) {
		id->epoch++;
		if (write_epoch(id, "") < 0) {
			id->epoch--;
			return 0;
		}
		id->counter = 1;
	}
	first = (uint64_t)id->epoch << 32 | id->counter;
	id->counter += n;
	return first;
}

int identity_is_ahead(const struct identity *id, uint64_t number)
{
	return number >= ((uint64_t)id->epoch << 32 | id->counter);
}

/*
 * Each user has a key of its own, made from the broker's in the way of a block: no block begins with a number as small
 * as a uid.
 */
static void user_key(const struct identity *id, uint32_t uid, uint8_t ret[TICKET_KEY])
{
	ticket_block_key(id->key, uid, ret);
}

void identity_block_key(const struct identity *id, uint32_t uid, uint64_t first, uint8_t ret[TICKET_KEY])
{
	uint8_t key[TICKET_KEY];

	user_key(id, uid, key);
	ticket_block_key(key, first, ret);
	explicit_bzero(key, sizeof(key));
}

void identity_mint(const struct identity *id, uint32_t owner, const struct ticket *t, uint8_t ret[TICKET_SIZE])
{
	uint8_t key[TICKET_KEY];

	identity_block_key(id, owner, t->first, key);
	ticket_mint(key, t, ret);
	explicit_bzero(key, sizeof(key));
}

static int check_for(const struct identity *id, uint32_t owner, const uint8_t *bytes, struct ticket *ret)
{
	uint8_t key[TICKET_KEY];
	int genuine;

	user_key(id, owner, key);
	genuine = ticket_check(key, bytes, TICKET_SIZE, ret);
	explicit_bzero(key, sizeof(key));
	return genuine;
}

int identity_check(const struct identity *id, const uint8_t *bytes, size_t n, struct ticket *ret)
{
	if (n != TICKET_SIZE)
		return 0;
	/* Whose block it is from is not written in it: the user's it is for, or root's. */
	return check_for(id, get32(bytes + TICKET_UID_AT), bytes, ret) || check_for(id, 0, bytes, ret);
}

int identity_is_cookie(const struct identity *id, const uint8_t *bytes, size_t n)
{
	uint8_t difference = 0;

	if (n == COOKIE_TEXT + 1 && bytes[COOKIE_TEXT] == '\n')
		n--;
	if (n != COOKIE_TEXT || id->cookie[0] == '\0')
		return 0;
	for (size_t i = 0; i < n; i++)
		difference |= (uint8_t)(bytes[i] ^ (uint8_t)id->cookie[i]);
	return difference == 0;
}
