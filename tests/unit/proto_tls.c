/*
 * TLS under a channel, over a socketpair: which certificates pass (a table of good and bad ones, made here), frames both
 * ways through small and large writes, and how a connection ends. Both ends live in this process and take turns.
 */
#include "test.h"

#include "channel.h"
#include "mint.h"
#include "tls.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/brood-tls.XXXXXX";
static struct slab slab;

/* ---- authorities and files --------------------------------------------------------------------------------------- */

enum authority {
	ROOT,
	OTHER,   /* nobody trusts it */
	MIDDLE,  /* by ROOT */
	NO_CA,   /* by ROOT, but no CA */
	SILENT,  /* by ROOT, says nothing of being a CA */
	NARROW,  /* by ROOT, may sign no other CA */
	DEEP,    /* by NARROW */
	FENCED,  /* by ROOT, for names below good.example only */
	OLD,     /* by ROOT, has expired */
	FEEBLE,  /* by ROOT, with a short key */
	NO_SIGN, /* by ROOT, its key may not sign certificates */
	STOUT,   /* by ROOT, with an RSA key, which can sign by MD5 */
	AUTHORITIES
};

static struct minted authorities[AUTHORITIES], good_server, good_client;

static const char *path(const char *name)
{
	static char paths[32][128];
	static unsigned next;
	char *to = paths[next++ % 32];

	snprintf(to, sizeof paths[0], "%s/%s", directory, name);
	return to;
}

static void write_one(const char *name, const struct minted *m)
{
	mint_write(path(name), &m, 1);
}

static void make_authorities(void)
{
	const struct minted *a = authorities;

	mint(&authorities[ROOT], &(struct recipe){ .cn = "root", .ca = MINT_CA });
	mint(&authorities[OTHER], &(struct recipe){ .cn = "other", .ca = MINT_CA });
	mint(&authorities[MIDDLE], &(struct recipe){ .issuer = &a[ROOT], .cn = "middle", .ca = MINT_CA });
	mint(&authorities[NO_CA], &(struct recipe){ .issuer = &a[ROOT], .cn = "no ca" });
	mint(&authorities[SILENT], &(struct recipe){ .issuer = &a[ROOT], .cn = "silent", .ca = MINT_SAYS_NOTHING });
	mint(&authorities[NARROW],
	     &(struct recipe){ .issuer = &a[ROOT], .cn = "narrow", .ca = MINT_CA, .path_length = 1 });
	mint(&authorities[DEEP], &(struct recipe){ .issuer = &a[NARROW], .cn = "deep", .ca = MINT_CA });
	mint(&authorities[FENCED], &(struct recipe){ .issuer = &a[ROOT],
						     .cn = "fenced",
						     .ca = MINT_CA,
						     .constraints = "critical,permitted;DNS:good.example" });
	mint(&authorities[OLD],
	     &(struct recipe){ .issuer = &a[ROOT], .cn = "old", .ca = MINT_CA, .from = -7200, .until = -3600 });
	mint(&authorities[FEEBLE],
	     &(struct recipe){ .issuer = &a[ROOT], .cn = "feeble", .ca = MINT_CA, .key = MINT_RSA_1024 });
	mint(&authorities[NO_SIGN],
	     &(struct recipe){
		     .issuer = &a[ROOT], .cn = "no sign", .ca = MINT_CA, .key_usage = "critical,digitalSignature" });
	mint(&authorities[STOUT],
	     &(struct recipe){ .issuer = &a[ROOT], .cn = "stout", .ca = MINT_CA, .key = MINT_RSA_2048 });
}

static int set_up_all(void **state)
{
	(void)state;
	if (!mkdtemp(directory) || slab_init(&slab, 4 * SLAB_HELPING) < 0)
		return -1;
	make_authorities();
	mint(&good_server, &(struct recipe){ .issuer = &authorities[ROOT],
					     .cn = "good",
					     .san = "DNS:good.example,IP:127.0.0.1,IP:::1",
					     .usage = "serverAuth" });
	mint(&good_client, &(struct recipe){ .issuer = &authorities[ROOT],
					     .cn = "client",
					     .san = "URI:brood:alice@beta",
					     .usage = "clientAuth" });
	write_one("ca", &authorities[ROOT]);
	write_one("other-ca", &authorities[OTHER]);
	write_one("good", &good_server);
	mint_write_key(path("good.key"), &good_server);
	write_one("client", &good_client);
	mint_write_key(path("client.key"), &good_client);
	return 0;
}

static int tear_down_all(void **state)
{
	static const char *const names[] = { "ca",         "other-ca", "good",    "good.key", "client",
					     "client.key", "bad",      "bad.key", "crl" };

	(void)state;
	for (size_t i = 0; i < AUTHORITIES; i++)
		minted_free(&authorities[i]);
	minted_free(&good_server);
	minted_free(&good_client);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unlink(path(names[i]));
	slab_deinit(&slab);
	return rmdir(directory);
}

/* ---- a connection ------------------------------------------------------------------------------------------------ */

struct pair {
	struct tls_context *server_context, *client_context;
	struct channel server, client;
	ssize_t server_says, client_says; /* what reading gave last, if not a wait */
	unsigned frames;                  /* that came to the server */
	uint64_t next;
};

static void pair_contexts(struct pair *p, const struct tls_files *server, enum tls_clients clients,
			  const struct tls_files *client)
{
	struct tls_fault why = { "", "" };

	memset(p, 0, sizeof *p);
	p->server_context = tls_server(server, clients, &why);
	p->client_context = tls_client(client, &why);
	if (!p->server_context || !p->client_context)
		fail_msg("%s: %s", why.name, why.text);
}

static void pair_connect_over(struct pair *p, int type, const char *host)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	channel_init(&p->server, fds[0], fds[0], &slab);
	channel_init(&p->client, fds[1], fds[1], &slab);
	assert_int_equal(tls_accept(p->server_context, &p->server), 0);
	assert_int_equal(tls_connect(p->client_context, &p->client, host), 0);
}

static void pair_connect(struct pair *p, const char *host)
{
	pair_connect_over(p, SOCK_STREAM, host);
}

static void pair_end(struct pair *p)
{
	channel_deinit(&p->client);
	channel_deinit(&p->server);
	tls_context_free(p->client_context);
	tls_context_free(p->server_context);
}

static struct pair *pair_good_over(struct pair *p, int type)
{
	pair_contexts(p, &(struct tls_files){ path("ca"), path("good"), path("good.key"), NULL }, TLS_CLIENTS_OPTIONAL,
		      &(struct tls_files){ .ca = path("ca") });
	pair_connect_over(p, type, "good.example");
	return p;
}

static struct pair *pair_good(struct pair *p)
{
	return pair_good_over(p, SOCK_STREAM);
}

static void send_hello(struct channel *c, uint64_t sequence, const void *body, uint32_t n)
{
	struct frame f = { .kind = FRAME_DATA, .length = n, .sequence = sequence };

	assert_int_equal(channel_send(c, &f, body, -1), 0);
}

/* One helping, and the frames in it: numbered, with a body of one letter. */
static ssize_t take(struct pair *p, struct channel *c)
{
	struct frame f;
	ssize_t got;

	slab_reset(&slab);
	got = channel_read(c);
	while (got > 0 && channel_next(c, &f) == 1) {
		assert_int_equal(f.sequence, p->next++);
		for (uint32_t i = 0; i < f.length; i++)
			assert_int_equal(f.body[i], (uint8_t)f.sequence);
		p->frames++;
	}
	return got;
}

/* Both ends have their turn until nothing moves any more. What the client sends is taken at the server. */
static void turns(struct pair *p)
{
	int idle = 0;

	while (idle < 3) {
		ssize_t a = p->client_says ? -EAGAIN : channel_read(&p->client), b;

		if (channel_wants_write(&p->client))
			(void)channel_drain(&p->client, NULL);
		b = p->server_says ? -EAGAIN : take(p, &p->server);
		if (channel_wants_write(&p->server))
			(void)channel_drain(&p->server, NULL);
		if (a <= 0 && a != -EAGAIN)
			p->client_says = a ? a : 1;
		if (b <= 0 && b != -EAGAIN)
			p->server_says = b ? b : 1;
		idle = a == -EAGAIN && b == -EAGAIN && !channel_wants_write(&p->client) ? idle + 1 : 0;
	}
}

static const char *name_of(const struct channel *c)
{
	const struct tls_fault *f = tls_failure(c);

	return f ? f->name : "";
}

/* ---- certificates ------------------------------------------------------------------------------------------------ */

struct row {
	const char *label;
	const char *host;       /* dialed; NULL: the client's certificate is the one to judge */
	const char *fault;      /* NULL: it passes */
	enum authority issuer;  /* AUTHORITIES: itself */
	enum authority sent[3]; /* with it, up to the first ROOT */
	struct recipe recipe;
	int revoked;     /* listed in a list of ROOT's */
	int empty_list;  /* there is such a list, without it */
	long list_until; /* of that list */
	enum authority list_of;
};

#define SERVER "serverAuth"
#define CLIENT "clientAuth"
#define NAMED(...) .recipe = { .cn = "x", .usage = SERVER, __VA_ARGS__ }
#define USER(...) .recipe = { .cn = "x", .usage = CLIENT, __VA_ARGS__ }
#define GOOD .san = "DNS:good.example"
#define WHO .san = "URI:brood:alice"

static const struct row rows[] = {
	{ "a name", "good.example", NULL, NAMED(GOOD) },
	{ "an RSA key", "good.example", NULL, NAMED(GOOD, .key = MINT_RSA_2048) },
	{ "upper case dialed", "GOOD.Example", NULL, NAMED(GOOD) },
	{ "upper case certified", "good.example", NULL, NAMED(.san = "DNS:GOOD.EXAMPLE") },
	{ "trailing dot dialed", "good.example.", NULL, NAMED(GOOD) },
	{ "the second of two names", "good.example", NULL, NAMED(.san = "DNS:bad.example,DNS:good.example") },
	{ "no common name", "good.example", NULL, .recipe = { .san = "critical,DNS:good.example", .usage = SERVER } },
	{ "no usage said", "good.example", NULL, .recipe = { .cn = "x", GOOD } },
	{ "both usages", "good.example", NULL, .recipe = { .cn = "x", GOOD, .usage = "serverAuth,clientAuth" } },
	{ "an address", "127.0.0.1", NULL, NAMED(.san = "IP:127.0.0.1") },
	{ "an IPv6 address", "::1", NULL, NAMED(.san = "IP:::1") },
	{ "an A-label", "xn--bcher-kva.example", NULL, NAMED(.san = "DNS:xn--bcher-kva.example") },
	{ "through a middle CA", "good.example", NULL, MIDDLE, { MIDDLE }, NAMED(GOOD) },
	{ "through a narrow CA", "good.example", NULL, NARROW, { NARROW }, NAMED(GOOD) },
	{ "within name constraints",
	  "www.good.example",
	  NULL,
	  FENCED,
	  { FENCED },
	  NAMED(.san = "DNS:www.good.example") },
	{ "not revoked", "good.example", NULL, NAMED(GOOD), .empty_list = 1 },

	{ "another name", "good.example", "tls.name", NAMED(.san = "DNS:bad.example") },
	{ "a longer name", "good.example", "tls.name", NAMED(.san = "DNS:www.good.example") },
	{ "a shorter name", "www.good.example", "tls.name", NAMED(GOOD) },
	{ "common name only", "good.example", "tls.name", .recipe = { .cn = "good.example", .usage = SERVER } },
	{ "common name beside another", "good.example", "tls.name",
	  .recipe = { .cn = "good.example", .usage = SERVER, .san = "DNS:bad.example" } },
	{ "common name beside an address", "good.example", "tls.name",
	  .recipe = { .cn = "good.example", .usage = SERVER, .san = "IP:127.0.0.1" } },
	{ "a name in an e-mail", "good.example", "tls.name", NAMED(.san = "email:good.example@good.example") },
	{ "wildcard", "www.good.example", "tls.name", NAMED(.san = "DNS:*.good.example") },
	{ "wildcard in a label", "www.good.example", "tls.name", NAMED(.san = "DNS:w*.good.example") },
	{ "wildcard for all", "good.example", "tls.name", NAMED(.san = "DNS:*") },
	{ "trailing dot certified", "good.example", "tls.name", NAMED(.san = "DNS:good.example.") },
	{ "zero in the name", "good.example", "tls.name", NAMED(.hidden = "good.example\0.evil", .hidden_length = 18) },
	{ "zero at its end", "good.example", "tls.name", NAMED(.hidden = "good.example\0", .hidden_length = 13) },
	{ "empty name", "good.example", "tls.name", NAMED(.hidden = "", .hidden_length = 0) },
	{ "another address", "127.0.0.1", "tls.name", NAMED(.san = "IP:127.0.0.2") },
	{ "address as a name", "127.0.0.1", "tls.name", NAMED(.san = "DNS:127.0.0.1") },
	{ "another A-label", "xn--bcher-kva.example", "tls.name", NAMED(.san = "DNS:bucher.example") },
	{ "wrong CA", "good.example", "tls.issuer", OTHER, .recipe = { .cn = "x", .usage = SERVER, GOOD } },
	{ "wrong CA, sent along", "good.example", "tls.issuer", OTHER, { OTHER }, NAMED(GOOD) },
	{ "self-signed", "good.example", "tls.issuer", AUTHORITIES, .recipe = { .cn = "x", .usage = SERVER, GOOD } },
	{ "middle CA missing", "good.example", "tls.issuer", MIDDLE, .recipe = { .cn = "x", .usage = SERVER, GOOD } },
	{ "expired", "good.example", "tls.expired", NAMED(GOOD, .from = -7200, .until = -3600) },
	{ "not valid yet", "good.example", "tls.early", NAMED(GOOD, .from = 3600, .until = 7200) },
	{ "middle CA expired", "good.example", "tls.expired", OLD, { OLD }, NAMED(GOOD) },
	{ "for clients", "good.example", "tls.usage", .recipe = { .cn = "x", .usage = CLIENT, GOOD } },
	{ "for signing code", "good.example", "tls.usage", .recipe = { .cn = "x", .usage = "codeSigning", GOOD } },
	{ "short key", "good.example", "tls.weak", NAMED(GOOD, .key = MINT_RSA_1024) },
	{ "CA with a short key", "good.example", "tls.weak", FEEBLE, { FEEBLE }, NAMED(GOOD) },
	{ "SHA-1", "good.example", "tls.weak", NAMED(GOOD, .hash = "SHA1") },
	{ "MD5", "good.example", "tls.weak", STOUT, { STOUT }, NAMED(GOOD, .hash = "MD5") },
	{ "issuer is no CA", "good.example", "tls.certificate", NO_CA, { NO_CA }, NAMED(GOOD) },
	{ "issuer says nothing", "good.example", "tls.certificate", SILENT, { SILENT }, NAMED(GOOD) },
	{ "issuer may not sign", "good.example", "tls.certificate", NO_SIGN, { NO_SIGN }, NAMED(GOOD) },
	{ "path too long", "good.example", "tls.certificate", DEEP, { DEEP, NARROW }, NAMED(GOOD) },
	{ "outside name constraints",
	  "bad.example",
	  "tls.certificate",
	  FENCED,
	  { FENCED },
	  NAMED(.san = "DNS:bad.example") },
	{ "critical mystery", "good.example", "tls.certificate", NAMED(GOOD, .mystery = 1) },
	{ "revoked", "good.example", "tls.revoked", NAMED(GOOD), .revoked = 1 },
	{ "list expired", "good.example", "tls.crl", NAMED(GOOD), .empty_list = 1, .list_until = -60 },
	{ "no list of its issuer", "good.example", "tls.crl", MIDDLE, { MIDDLE }, NAMED(GOOD), .empty_list = 1 },

	{ "no list of its CA's issuer",
	  "good.example",
	  "tls.crl",
	  MIDDLE,
	  { MIDDLE },
	  NAMED(GOOD),
	  .empty_list = 1,
	  .list_of = MIDDLE },

	{ "a client", NULL, NULL, USER(WHO) },
	{ "a client through a middle CA", NULL, NULL, MIDDLE, { MIDDLE }, USER(WHO) },
	{ "a client, not revoked", NULL, NULL, USER(WHO), .empty_list = 1 },
	{ "a client of the wrong CA", NULL, "tls.issuer", OTHER, .recipe = { .cn = "x", .usage = CLIENT, WHO } },
	{ "a self-signed client", NULL, "tls.issuer", AUTHORITIES, .recipe = { .cn = "x", .usage = CLIENT, WHO } },
	{ "a server as client", NULL, "tls.usage", .recipe = { .cn = "x", .usage = SERVER, WHO } },
	{ "a client not valid yet", NULL, "tls.early", USER(WHO, .from = 3600, .until = 7200) },
	{ "a client with a short key", NULL, "tls.weak", USER(WHO, .key = MINT_RSA_1024) },
	{ "a client, revoked", NULL, "tls.revoked", USER(WHO), .revoked = 1 },
	{ "a client, by no CA", NULL, "tls.certificate", NO_CA, { NO_CA }, USER(WHO) },
};

static void write_chain(const struct row *row, const struct minted *bad)
{
	const struct minted *chain[4] = { bad };
	size_t n = 1;

	for (; n < 4 && row->sent[n - 1] != ROOT; n++)
		chain[n] = &authorities[row->sent[n - 1]];
	mint_write(path("bad"), chain, n);
	mint_write_key(path("bad.key"), bad);
}

/* What the row's files make of a connection; the fault that is seen at the end that judges. */
static void judge(const struct row *row, char fault[24])
{
	const char *crl = row->revoked || row->empty_list ? path("crl") : NULL;
	struct tls_files good = { path("ca"), path("good"), path("good.key"), row->host ? NULL : crl };
	struct tls_files bad = { path("ca"), path("bad"), path("bad.key"), row->host ? crl : NULL };
	struct tls_files trust = { .ca = path("ca"), .crl = row->host ? crl : NULL };
	struct pair p;

	pair_contexts(&p, row->host ? &bad : &good, row->host ? TLS_CLIENTS_NONE : TLS_CLIENTS_REQUIRED,
		      row->host ? &trust : &bad);
	pair_connect(&p, row->host ? row->host : "127.0.0.1");
	send_hello(&p.client, 0, NULL, 0);
	turns(&p);
	snprintf(fault, 24, "%s", name_of(row->host ? &p.client : &p.server));
	if (!row->fault)
		assert_int_equal(p.frames, 1);
	else
		assert_int_equal(p.frames, 0); /* not a byte before the judgement */
	pair_end(&p);
}

/* A server does not start with these, so they need an own word. */
static int is_refused_at_once(const struct row *row)
{
	struct tls_fault why;
	struct tls_files files = { NULL, path("bad"), path("bad.key"), NULL };
	struct tls_context *c = tls_server(&files, TLS_CLIENTS_NONE, &why);

	if (c) {
		tls_context_free(c);
		return 0;
	}
	if (!row->fault || (strcmp(row->fault, "tls.weak") != 0 && strcmp(row->fault, why.name) != 0))
		fail_msg("\"%s\" cannot be loaded: %s: %s", row->label, why.name, why.text);
	return 1;
}

static unsigned try_row(const struct row *row)
{
	struct recipe recipe = row->recipe;
	struct minted bad;
	char fault[24] = "";
	unsigned wrong;

	recipe.issuer = row->issuer == AUTHORITIES ? NULL : &authorities[row->issuer];
	mint(&bad, &recipe);
	write_chain(row, &bad);
	if (row->revoked || row->empty_list)
		mint_write_crl(path("crl"), &authorities[row->list_of], row->revoked ? &bad : NULL,
			       row->list_until ? row->list_until : 3600);
	if (is_refused_at_once(row)) {
		minted_free(&bad);
		return 0;
	}
	judge(row, fault);
	wrong = strcmp(fault, row->fault ? row->fault : "") != 0;
	if (wrong)
		print_error("\"%s\": expected %s, got %s\n", row->label, row->fault ? row->fault : "to pass", fault);
	minted_free(&bad);
	return wrong;
}

static void test_only_the_good_pass(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		wrong += try_row(&rows[i]);
	assert_int_equal(wrong, 0);
}

static void test_no_certificate(void **state)
{
	struct pair p;

	(void)state;
	pair_contexts(&p, &(struct tls_files){ path("ca"), path("good"), path("good.key"), NULL }, TLS_CLIENTS_REQUIRED,
		      &(struct tls_files){ .ca = path("ca") });
	pair_connect(&p, "good.example");
	send_hello(&p.client, 0, NULL, 0);
	turns(&p);
	assert_string_equal(name_of(&p.server), "tls.missing");
	assert_string_equal(name_of(&p.client), "tls.missing");
	assert_int_equal(p.frames, 0);
	pair_end(&p);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void expect_refusal(const struct tls_files *files, const char *name)
{
	struct tls_fault why = { "", "" };

	assert_null(tls_server(files, files->ca ? TLS_CLIENTS_OPTIONAL : TLS_CLIENTS_NONE, &why));
	assert_string_equal(why.name, name);
	assert_true(strlen(why.text) > 20);
}

static void test_files_that_cannot_be(void **state)
{
	const char *good = path("good"), *key = path("good.key");

	(void)state;
	expect_refusal(&(struct tls_files){ NULL, good, path("client.key"), NULL }, "tls.mismatch");
	expect_refusal(&(struct tls_files){ NULL, good, path("absent"), NULL }, "tls.file");
	expect_refusal(&(struct tls_files){ NULL, path("absent"), key, NULL }, "tls.file");
	expect_refusal(&(struct tls_files){ NULL, key, key, NULL }, "tls.file");
	expect_refusal(&(struct tls_files){ NULL, good, good, NULL }, "tls.key");
	expect_refusal(&(struct tls_files){ path("absent"), good, key, NULL }, "tls.file");
	expect_refusal(&(struct tls_files){ key, good, key, NULL }, "tls.file");
	expect_refusal(&(struct tls_files){ path("ca"), good, key, good }, "tls.file");
	expect_refusal(&(struct tls_files){ NULL, good, NULL, NULL }, "tls.settings");
	expect_refusal(&(struct tls_files){ NULL, NULL, NULL, NULL }, "tls.settings");
	assert_int_equal(chmod(key, 0644), 0);
	expect_refusal(&(struct tls_files){ NULL, path("good"), path("good.key"), NULL }, "tls.key");
	assert_int_equal(chmod(path("good.key"), 0600), 0);
}

/* ---- who it is --------------------------------------------------------------------------------------------------- */

static int user_of_recipe(const struct recipe *recipe, char user[TLS_USER_MOST])
{
	struct minted m;
	struct pair p;
	int r;

	mint(&m, recipe);
	write_one("bad", &m);
	mint_write_key(path("bad.key"), &m);
	pair_contexts(&p, &(struct tls_files){ path("ca"), path("good"), path("good.key"), NULL }, TLS_CLIENTS_OPTIONAL,
		      &(struct tls_files){ path("ca"), path("bad"), path("bad.key"), NULL });
	pair_connect(&p, "good.example");
	send_hello(&p.client, 0, NULL, 0);
	turns(&p);
	assert_true(tls_is_up(&p.server));
	r = tls_peer(&p.server, user, TLS_USER_MOST);
	pair_end(&p);
	minted_free(&m);
	return r;
}

static int user_of(const char *san, char user[TLS_USER_MOST])
{
	return user_of_recipe(&(struct recipe){ .issuer = &authorities[ROOT], .san = san, .usage = CLIENT, .cn = "x" },
			      user);
}

static void test_users(void **state)
{
	char user[TLS_USER_MOST];
	struct pair p;

	(void)state;
	assert_int_equal(user_of("URI:brood:alice", user), 1);
	assert_string_equal(user, "alice");
	assert_int_equal(user_of("DNS:alice.example,URI:https://example/,URI:brood:alice@beta", user), 1);
	assert_string_equal(user, "alice@beta");
	assert_int_equal(user_of(NULL, user), -EINVAL);
	assert_int_equal(user_of("DNS:alice", user), -EINVAL);
	assert_int_equal(user_of("URI:brood:", user), -EINVAL);
	assert_int_equal(user_of("URI:brood:alice,URI:brood:root", user), -EINVAL);
	assert_int_equal(user_of("URI:brood:a23456789012345678901234567890123456789012345678901234567890123x", user),
			 -EINVAL);
	/* "brood:root", and something behind a zero that whoever certified it may have looked at. */
	assert_int_equal(user_of_recipe(&(struct recipe){ .issuer = &authorities[ROOT],
							  .cn = "x",
							  .usage = CLIENT,
							  .hidden = "brood:root\0.alice",
							  .hidden_length = 17,
							  .hidden_uri = 1 },
					user),
			 -EINVAL);
	pair_good(&p);
	send_hello(&p.client, 0, NULL, 0);
	turns(&p);
	assert_int_equal(tls_peer(&p.server, user, sizeof user), 0);
	assert_int_equal(tls_peer(&p.client, user, sizeof user), 0); /* servers are known by name */
	pair_end(&p);
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

#define SMALL 20000u

/* Many frames in one call, as an outbox writes them. */
static void write_small(struct channel *c, uint8_t *frames, struct iovec *iov)
{
	for (unsigned i = 0; i < SMALL; i++) {
		struct frame f = { .kind = FRAME_DATA, .length = 8, .sequence = i };

		frame_write_head(frames + i * 56, &f);
		memset(frames + i * 56 + FRAME_HEAD, (uint8_t)i, 8);
		iov[i] = (struct iovec){ frames + i * 56, 56 };
	}
	(void)c;
}

static void test_small_frames_are_gathered(void **state)
{
	static uint8_t frames[SMALL * 56];
	static struct iovec iov[SMALL];
	struct pair p;
	ssize_t sent;
	int before = 0, after = 0;

	(void)state;
	pair_good(&p);
	turns(&p);
	assert_true(tls_is_up(&p.client));
	write_small(&p.client, frames, iov);
	ioctl(p.server.in_fd, FIONREAD, &before);
	sent = channel_write(&p.client, iov, 512);
	ioctl(p.server.in_fd, FIONREAD, &after);
	assert_int_equal(sent, 512 * 56);
	/* Two records of what would otherwise be 512, each with 22 bytes around it. */
	assert_in_range(after - before, 512 * 56 + 2 * 22, 512 * 56 + 2 * 22 + 64);
	assert_int_equal(channel_keep(&p.client, frames + 512 * 56, (SMALL - 512) * 56, NULL, -1), 0);
	turns(&p);
	assert_int_equal(p.frames, SMALL);
	pair_end(&p);
}

/* What one call of send() takes is one packet here: flights of 64 KiB, and what is left behind the last goes along with it. */
static void test_a_short_rest_goes_along(void **state)
{
	static const struct {
		size_t bytes, first, packets;
	} sizes[] = {
		{ 65536, 65536, 1 }, { 65616, 65616, 1 }, { 81919, 81919, 1 }, { 81920, 65536, 2 }, { 131152, 65536, 2 }
	};
	static uint8_t bytes[131152], packet[2 * 65536];
	struct iovec iov = { bytes, 0 };
	struct pair p;
	int buffer = 1024 * 1024;

	(void)state;
	pair_good_over(&p, SOCK_SEQPACKET);
	turns(&p);
	(void)setsockopt(p.client.out_fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		ssize_t first;
		size_t packets = 1;

		iov.iov_len = sizes[i].bytes;
		assert_int_equal(channel_write(&p.client, &iov, 1), sizes[i].bytes);
		first = recv(p.server.in_fd, packet, sizeof packet, 0);
		assert_in_range(first, sizes[i].first + 4 * 22, sizes[i].first + 5 * 22);
		while (recv(p.server.in_fd, packet, sizeof packet, 0) > 0)
			packets++;
		assert_int_equal(packets, sizes[i].packets);
	}
	pair_end(&p);
}

/* As when the rest of a frame is read behind its beginning: OpenSSL has the second part, and the area is empty. */
static void test_a_record_in_two_pieces(void **state)
{
	static uint8_t bytes[16384], head[100], tail[70000];
	struct iovec out = { bytes, sizeof bytes }, in[2] = { { head, sizeof head }, { tail, sizeof tail } };
	struct pair p;

	(void)state;
	pair_good(&p);
	turns(&p);
	assert_int_equal(channel_write(&p.client, &out, 1), sizeof bytes);
	assert_int_equal(p.server.ops->read(&p.server, in, 2), sizeof bytes);
	pair_end(&p);
}

/* Frames of all sizes against a socket that takes little, both loops going by what they are told only. */
static void test_large_frames_and_full_sockets(void **state)
{
	static uint8_t body[FRAME_BODY_MAX];
	struct pair p;
	int small = 4096;

	(void)state;
	pair_good(&p);
	assert_int_equal(setsockopt(p.client.out_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
	for (uint64_t i = 0; i < 60; i++) {
		uint32_t n = i % 3 == 0 ? FRAME_BODY_MAX : (uint32_t)(i * 1117);

		memset(body, (uint8_t)i, n);
		send_hello(&p.client, i, body, n);
	}
	turns(&p);
	assert_int_equal(p.frames, 60);
	assert_false(channel_wants_write(&p.client));
	pair_end(&p);
}

/* Pieces about as small as a channel ever gives, and no multiple of a record: what was read is always handed out, and the socket holds the rest. */
static void test_nothing_waits_behind_the_socket(void **state)
{
	static uint8_t bytes[70000], body[FRAME_BODY_MAX];
	struct iovec iov = { bytes, sizeof bytes };
	struct pair p;
	size_t sum = 0, all = 4 * frame_size(sizeof body);
	ssize_t got = 1;
	int there;

	(void)state;
	pair_good(&p);
	turns(&p);
	for (uint64_t i = 0; i < 4; i++)
		send_hello(&p.client, i, body, sizeof body);
	while (sum < all) {
		ERR_raise(ERR_LIB_USER, 1); /* of somebody else in this thread */
		got = p.server.ops->read(&p.server, &iov, 1);
		assert_true(got > 0 || got == -EAGAIN);
		sum += got > 0 ? (size_t)got : 0;
		assert_int_equal(ioctl(p.server.in_fd, FIONREAD, &there), 0);
		if (there == 0)
			assert_int_equal(channel_drain(&p.client, NULL), 0);
	}
	assert_int_equal(sum, all);
	assert_int_equal(p.server.ops->read(&p.server, &iov, 1), -EAGAIN);
	pair_end(&p);
}

/* Before the handshake is done, writability says nothing: a loop that waited for it would spin. */
static void test_handshake_does_not_spin(void **state)
{
	struct pair p;

	(void)state;
	pair_good(&p);
	send_hello(&p.client, 0, NULL, 0);
	assert_true(channel_kept_bytes(&p.client) > 0);
	assert_false(channel_wants_write(&p.client));
	turns(&p);
	assert_int_equal(p.frames, 1);
	assert_int_equal(channel_kept_bytes(&p.client), 0);
	pair_end(&p);
}

/* Who only reads begins the handshake too. */
static void test_a_reader_begins(void **state)
{
	struct pair p;

	(void)state;
	pair_good(&p);
	turns(&p);
	assert_true(tls_is_up(&p.client));
	assert_true(tls_is_up(&p.server));
	send_hello(&p.client, 0, NULL, 0);
	turns(&p);
	assert_int_equal(p.frames, 1);
	pair_end(&p);
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

static void test_end_is_told(void **state)
{
	struct pair p;

	(void)state;
	pair_good(&p);
	send_hello(&p.client, 0, NULL, 0);
	turns(&p);
	send_hello(&p.client, 1, NULL, 0);
	channel_end(&p.client);
	/* Both come with one recv(): the frame first, the end when asked again, though the socket stays open. */
	assert_true(take(&p, &p.server) > 0);
	assert_int_equal(p.frames, 2);
	assert_int_equal(take(&p, &p.server), 0);
	pair_end(&p);
}

/* Whoever said its last word may still hear ours. */
static void test_end_of_one_half(void **state)
{
	struct pair p;

	(void)state;
	pair_good(&p);
	send_hello(&p.server, 0, NULL, 0);
	turns(&p);
	channel_end(&p.server);
	assert_int_equal(channel_read(&p.client), 0);
	send_hello(&p.client, 0, NULL, 0);
	assert_true(take(&p, &p.server) > 0);
	assert_int_equal(p.frames, 1);
	pair_end(&p);
}

static void test_end_keeps_the_loop_awake(void **state)
{
	struct pair p;
	char byte;

	(void)state;
	pair_good(&p);
	send_hello(&p.client, 0, NULL, 0);
	turns(&p);
	send_hello(&p.client, 1, NULL, 0);
	channel_end(&p.client);
	assert_true(take(&p, &p.server) > 0);
	assert_int_equal(recv(p.server.in_fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK), 0); /* readable, not empty */
	pair_end(&p);
}

static void test_cut_is_no_end(void **state)
{
	struct pair p;

	(void)state;
	pair_good(&p);
	send_hello(&p.client, 0, NULL, 0);
	turns(&p);
	shutdown(p.client.out_fd, SHUT_WR);
	assert_int_equal(take(&p, &p.server), -ECONNRESET);
	pair_end(&p);
}

static void test_changed_byte(void **state)
{
	struct pair p;
	char bytes[256];
	ssize_t n;

	(void)state;
	pair_good(&p);
	send_hello(&p.client, 0, NULL, 0);
	turns(&p);
	send_hello(&p.client, 1, NULL, 0);
	n = recv(p.server.in_fd, bytes, sizeof bytes, MSG_DONTWAIT);
	assert_true(n > 48);
	bytes[20] ^= 1;
	assert_int_equal(send(p.client.out_fd, bytes, (size_t)n, 0), n);
	assert_int_equal(take(&p, &p.server), -EPROTO);
	assert_int_equal(p.frames, 1);
	pair_end(&p);
}

static void say_bytes(struct pair *p, const void *bytes, size_t n)
{
	pair_good(p);
	assert_int_equal(send(p->client.out_fd, bytes, n, 0), (ssize_t)n);
	p->server_says = take(p, &p->server);
	assert_int_equal(p->server_says, -EPROTO);
}

static void test_garbage(void **state)
{
	static const uint8_t plain[FRAME_HEAD] = { FRAME_MAGIC };
	static const uint8_t old[72] = { 0x80, 70, 1, 3, 1 }; /* as long as it says it is */
	struct pair p;

	(void)state;
	say_bytes(&p, "GET / HTTP/1.1\r\n\r\n", 18);
	assert_string_equal(name_of(&p.server), "tls.handshake");
	pair_end(&p);
	say_bytes(&p, old, sizeof old);
	assert_string_equal(name_of(&p.server), "tls.handshake");
	pair_end(&p);
	say_bytes(&p, plain, sizeof plain);
	assert_string_equal(name_of(&p.server), "tls.plain");
	pair_end(&p);
}

/* What a connection left that failed is not the next one's, though they share a context. */
static void test_nothing_is_left_for_the_next(void **state)
{
	struct pair p;
	struct channel other;
	char noise[4096];
	int fds[2];

	(void)state;
	memset(noise, 'x', sizeof noise);
	pair_good(&p);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	channel_init(&other, fds[0], fds[0], &slab);
	assert_int_equal(tls_accept(p.server_context, &other), 0);
	assert_int_equal(send(fds[1], noise, sizeof noise, 0), (ssize_t)sizeof noise);
	assert_int_equal(channel_read(&other), -EPROTO);
	send_hello(&p.client, 0, NULL, 0);
	turns(&p);
	assert_int_equal(p.frames, 1);
	channel_deinit(&other);
	close(fds[1]);
	pair_end(&p);
}

/* A hello of half a record at a time, without end. */
static void test_endless_handshake(void **state)
{
	uint8_t bytes[TLS_RECORD + 5] = { 22, 3, 1, 0x40, 0, 1, 0x01, 0xf0, 0x00 };
	struct pair p;
	size_t sum = 0;

	(void)state;
	pair_good(&p);
	while (!p.server_says && sum < 16 * sizeof bytes) {
		assert_int_equal(send(p.client.out_fd, bytes, sizeof bytes, 0), (ssize_t)sizeof bytes);
		sum += sizeof bytes;
		turns(&p);
		bytes[5] = 0;
	}
	assert_int_equal(p.server_says, -EPROTO);
	assert_in_range(sum, 1, TLS_HANDSHAKE_MOST + 2 * sizeof bytes);
	pair_end(&p);
}

/* ---- again ------------------------------------------------------------------------------------------------------- */

static void test_reload(void **state)
{
	struct tls_fault why;
	struct tls_files files = { path("ca"), path("good"), path("good.key"), path("crl") };
	struct pair p;

	(void)state;
	mint_write_crl(files.crl, &authorities[ROOT], NULL, 3600);
	pair_contexts(&p, &files, TLS_CLIENTS_REQUIRED,
		      &(struct tls_files){ path("ca"), path("client"), path("client.key"), NULL });
	pair_connect(&p, "good.example");
	send_hello(&p.client, 0, NULL, 0);
	turns(&p);
	assert_int_equal(tls_check_again(&p.server, &why), 0);

	/* What cannot be loaded changes nothing. */
	files.key = path("absent");
	assert_int_equal(tls_reload(p.server_context, &files, TLS_CLIENTS_REQUIRED, &why), -EINVAL);
	assert_string_equal(why.name, "tls.file");
	assert_int_equal(tls_check_again(&p.server, &why), 0);

	files.key = path("good.key");
	mint_write_crl(files.crl, &authorities[ROOT], &good_client, 3600);
	assert_int_equal(tls_check_again(&p.server, &why), 0); /* not read yet */
	assert_int_equal(tls_reload(p.server_context, &files, TLS_CLIENTS_REQUIRED, &why), 0);
	assert_int_equal(tls_check_again(&p.server, &why), -EKEYREJECTED);
	assert_string_equal(why.name, "tls.revoked");
	/* The connection itself is untouched: whoever asked decides. */
	send_hello(&p.client, 1, NULL, 0);
	turns(&p);
	assert_int_equal(p.frames, 2);
	files.crl = NULL;
	files.ca = path("other-ca");
	assert_int_equal(tls_reload(p.server_context, &files, TLS_CLIENTS_REQUIRED, &why), 0);
	assert_int_equal(tls_check_again(&p.server, &why), -EKEYREJECTED);
	assert_string_equal(why.name, "tls.issuer");
	pair_end(&p);
}

static void test_reload_requires(void **state)
{
	struct tls_fault why;
	struct tls_files files = { path("ca"), path("good"), path("good.key"), NULL };
	struct pair p;

	(void)state;
	pair_good(&p);
	send_hello(&p.client, 0, NULL, 0);
	turns(&p);
	assert_int_equal(tls_reload(p.server_context, &files, TLS_CLIENTS_REQUIRED, &why), 0);
	assert_int_equal(tls_check_again(&p.server, &why), -EKEYREJECTED);
	assert_string_equal(why.name, "tls.missing");
	pair_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_the_good_pass),
		cmocka_unit_test(test_no_certificate),
		cmocka_unit_test(test_files_that_cannot_be),
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_small_frames_are_gathered),
		cmocka_unit_test(test_a_short_rest_goes_along),
		cmocka_unit_test(test_a_record_in_two_pieces),
		cmocka_unit_test(test_large_frames_and_full_sockets),
		cmocka_unit_test(test_nothing_waits_behind_the_socket),
		cmocka_unit_test(test_handshake_does_not_spin),
		cmocka_unit_test(test_a_reader_begins),
		cmocka_unit_test(test_end_is_told),
		cmocka_unit_test(test_end_of_one_half),
		cmocka_unit_test(test_end_keeps_the_loop_awake),
		cmocka_unit_test(test_cut_is_no_end),
		cmocka_unit_test(test_changed_byte),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_nothing_is_left_for_the_next),
		cmocka_unit_test(test_endless_handshake),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_reload_requires),
	};

	return cmocka_run_group_tests_name("proto_tls", tests, set_up_all, tear_down_all);
}
