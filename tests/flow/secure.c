/*
 * secure: what is special about tls://. That everything else is as over any other transport, the other tests say, all of
 * which run over it too. Which certificates pass is in tests/unit/proto_tls.c.
 */
#include "flow.h"
#include "mint.h"
#include "papers.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- certificates and settings ----------------------------------------------------------------------------------- */

/* One more client; papers_path("client-NAME.crt"). Kept from an earlier test of this program. */
static void certify_client(const char *name)
{
	struct certify_order order = { CERTIFY_CLIENT, papers_directory(), name, 1 };
	struct tls_fault why;
	char base[PATH_MAX], file[96];
	snprintf(file, sizeof file, "client-%s.crt", name);
	if (access(papers_path(file), F_OK) != 0 && papers_api()->certify(&order, base, &why) < 0)
		fail_msg("%s", why.text);
}

static void show(const char *name)
{
	char file[96];
	snprintf(file, sizeof file, "client-%s.crt", name);
	setenv("BROOD_TLS_CERT", papers_path(file), 1);
	snprintf(file, sizeof file, "client-%s.key", name);
	setenv("BROOD_TLS_KEY", papers_path(file), 1);
}

static void show_nothing(void)
{
	unsetenv("BROOD_TLS_CERT");
	unsetenv("BROOD_TLS_KEY");
}

static void restart_with(struct fixture *x, const char *a, const char *b)
{
	assert_int_equal(fixture_stop(x, SIGTERM), 0);
	x->more[0] = a;
	x->more[1] = b;
	assert_int_equal(fixture_start(x), 0);
}

static char told[512]; /* the text of the error last expected */

/* Connect, and be told this; NULL: it works. */
static void expect(const char *address, const char *error)
{
	brood *b;
	assert_int_equal(brood_connect(&b, address, BROOD_OPTIONS(.reconnect_ms = 1)), 0);
	int rc = brood_sync(b, PATIENCE_MS);
	const struct brood_error *e = brood_last_error(b);
	if (error && (rc >= 0 || strcmp(e->name, error) != 0))
		fail_msg("expected %s, got %d %s: %s", error, rc, e->name, e->text);
	if (!error && rc != 0)
		fail_msg("%s: %s", e->name, e->text);
	if (error) {
		assert_true(strlen(e->text) > 20);
		assert_true(strlen(e->hint) > 10);
	}
	snprintf(told, sizeof told, "%s", e->text);
	brood_close(b);
}

static const char *address_of(const char *host, const char *as_in)
{
	static char text[320];
	snprintf(text, sizeof text, "tls://%s%s", host, strrchr(as_in, ':'));
	return text;
}

/* ---- who is let in ----------------------------------------------------------------------------------------------- */

static void test_who_is_let_in(void **state)
{
	struct fixture *x = *state;
	char name[64];
	expect(x->tls, NULL);
	expect(address_of("127.0.0.1", x->tls), NULL);
	expect(address_of("LOCALHOST.", x->tls), NULL);
	show_nothing();
	expect(x->tls, "hello.denied");
	assert_null(strstr(told, "cannot be read")); /* none was named */
	setenv("BROOD_TOKEN_FILE", "/nowhere/token", 1);
	expect(x->tls, "hello.denied");
	assert_non_null(strstr(told, "/nowhere/token cannot be read: No such file"));
	setenv("BROOD_TOKEN_FILE", x->token_file, 1);
	expect(x->tls, NULL);
	unsetenv("BROOD_TOKEN_FILE");
	certify_client("nobody-of-this-host");
	show("nobody-of-this-host");
	expect(x->tls, "tls.user");
	snprintf(name, sizeof name, "%u@elsewhere", (unsigned)geteuid());
	certify_client(name);
	show(name);
	expect(x->tls, "tls.user");
	restart_with(x, "--node", "elsewhere");
	expect(x->tls, NULL);
}

/* The cookie of this host is not shown to whatever broker is at the address: it must be named. */
static void test_cookie_is_not_given_away(void **state)
{
	struct fixture *x = *state;
	show_nothing();
	assert_int_equal(access(x->token_file, R_OK), 0); /* where a TCP client looks by itself */
	expect(x->tls, "hello.denied");
}

static void test_certificate_required(void **state)
{
	struct fixture *x = *state;
	restart_with(x, "--tls-client", "required");
	expect(x->tls, NULL);
	show_nothing();
	setenv("BROOD_TOKEN_FILE", x->token_file, 1);
	expect(x->tls, "tls.missing");
}

static void test_no_certificate_wanted(void **state)
{
	struct fixture *x = *state;
	restart_with(x, "--tls-client", "none");
	expect(x->tls, "hello.denied"); /* it is not asked for */
	setenv("BROOD_TOKEN_FILE", x->token_file, 1);
	expect(x->tls, NULL);
}

static void test_token_file(void **state)
{
	struct fixture *x = *state;
	char path[128], secret[66];
	snprintf(path, sizeof path, "%s/secret", papers_directory());
	memset(secret, 'x', 64);
	secret[64] = '\n';
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, secret, 65), 65);
	close(fd);
	restart_with(x, "--token-file", path);
	show_nothing();
	setenv("BROOD_TOKEN_FILE", path, 1);
	expect(x->tls, NULL);
}

/* ---- what goes wrong, in words ----------------------------------------------------------------------------------- */

static void test_settings_that_cannot_be(void **state)
{
	const struct fixture *x = *state;
	char open_key[128];
	snprintf(open_key, sizeof open_key, "%s", papers_client(".key"));
	unsetenv("BROOD_TLS_CA");
	expect(x->tls, "tls.settings");
	setenv("BROOD_TLS_CA", "/nowhere/ca.crt", 1);
	expect(x->tls, "tls.file");
	setenv("BROOD_TLS_CA", papers_path("ca.crt"), 1);
	unsetenv("BROOD_TLS_KEY");
	expect(x->tls, "tls.settings");
	setenv("BROOD_TLS_KEY", papers_path("server-localhost.key"), 1);
	expect(x->tls, "tls.mismatch");
	setenv("BROOD_TLS_KEY", open_key, 1);
	assert_int_equal(chmod(open_key, 0644), 0);
	expect(x->tls, "tls.key");
	assert_int_equal(chmod(open_key, 0600), 0);
	expect(x->tls, NULL);
}

static void test_wrong_server(void **state)
{
	const struct fixture *x = *state;
	struct tls_fault why;
	char other[128];
	snprintf(other, sizeof other, "%s/other", papers_directory());
	assert_int_equal(papers_api()->make_ca(other, 1, &why), 0);
	snprintf(other, sizeof other, "%s/other/ca.crt", papers_directory());
	setenv("BROOD_TLS_CA", other, 1);
	expect(x->tls, "tls.issuer");
}

/* Its name, if it leads to where the broker listens. */
static int this_host(char *name, size_t n)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	const struct sockaddr_in *in;
	struct addrinfo *found;
	memset(name, 0, n);
	if (gethostname(name, n - 1) < 0 || getaddrinfo(name, NULL, &hints, &found) != 0)
		return 0;
	in = (const struct sockaddr_in *)(const void *)found->ai_addr;
	int r = found->ai_family == AF_INET && in->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
	freeaddrinfo(found);
	return r;
}

static void test_wrong_name(void **state)
{
	char host[256];
	const struct fixture *x = *state;
	expect(address_of("ip6-localhost.invalid", x->tls), "broker.absent");
	struct certify_order order = { CERTIFY_SERVER, papers_directory(), "broker.example", 1 };
	struct tls_fault why;
	char base[PATH_MAX];
	assert_int_equal(papers_api()->certify(&order, base, &why), 0);
	struct fixture *broker = *state;
	assert_int_equal(fixture_stop(broker, SIGTERM), 0);
	broker->more[0] = "--tls-cert";
	broker->more[1] = papers_path("server-broker.example.crt");
	broker->more[2] = "--tls-key";
	broker->more[3] = papers_path("server-broker.example.key");
	assert_int_equal(fixture_start(broker), 0);
	expect(x->tls, "tls.name");
	expect(address_of("127.0.0.1", x->tls), "tls.name");
	if (this_host(host, sizeof host))
		expect(address_of(host, x->tls), "tls.name");
}

static void test_plain_client_at_a_tls_port(void **state)
{
	const struct fixture *x = *state;
	char text[64];
	snprintf(text, sizeof text, "tcp://127.0.0.1%s", strrchr(x->tls, ':'));
	expect(text, "tls.plain");
}

static void test_tls_client_at_a_plain_port(void **state)
{
	const struct fixture *x = *state;
	assert_int_equal(papers_make(), 0);
	papers_show();
	expect(address_of("127.0.0.1", x->tcp), "tls.handshake");
}

/* Without the file that has OpenSSL in it. */
static void test_unavailable(void **state)
{
	const struct fixture *x = *state;
	char copy[160], command[2048];
	snprintf(copy, sizeof copy, "%s/libbrood.so.0", papers_directory());
	snprintf(command, sizeof command,
		 "cp '%s' '%s' && LD_LIBRARY_PATH='%s' '%s' --address '%s' status >/dev/null 2>'%s/said'; "
		 "grep -q 'TLS cannot be loaded: .*/libbrood-tls.so.0: cannot open' '%s/said' && "
		 "grep -q 'install libssl3' '%s/said'",
		 LIBRARY, copy, papers_directory(), CLI_PROGRAM, x->tls, papers_directory(), papers_directory(),
		 papers_directory());
	assert_int_equal(system(command), 0);
}

/* ---- strangers --------------------------------------------------------------------------------------------------- */

static int dial_raw(const struct fixture *x)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	in.sin_port = htons((uint16_t)atoi(strrchr(x->tls, ':') + 1));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
	return fd;
}

static int has_ended(int fd)
{
	char bytes[256];
	return recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) == 0;
}

/* A byte now and then does not move the deadline of 5 s from the connection on. */
static void test_slow_handshake_is_cut(void **state)
{
	const struct fixture *x = *state;
	static const char hello[] = { 22, 3, 1, 2, 0, 1, 0, 1, (char)0xfc, 3, 3 };
	int fd = dial_raw(x), ended = 0;
	uint64_t start = now_ms();
	size_t sent = 0;
	while (!(ended = has_ended(fd)) && now_ms() - start < PATIENCE_MS) {
		assert_int_equal(send(fd, sent < sizeof hello ? hello + sent : "", 1, MSG_NOSIGNAL), 1);
		sent++;
		usleep(100000);
	}
	assert_true(ended);
	assert_in_range(now_ms() - start, 4500, 15000);
	close(fd);
}

static void test_garbage(void **state)
{
	const struct fixture *x = *state;
	char noise[4096];
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (char)(i * 7919 >> 3);
	int fd = dial_raw(x);
	assert_int_equal(send(fd, noise, sizeof noise, MSG_NOSIGNAL), sizeof noise);
	until_polled(NULL, has_ended(fd) || errno == ECONNRESET);
	close(fd);
	expect(x->tls, NULL);
}

static int listen_raw(char *address, size_t n)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof in;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, length), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &length), 0);
	snprintf(address, n, "tls://127.0.0.1:%u", ntohs(in.sin_port));
	return fd;
}

/* 1: somebody came, and was cut with its first words unread or read, so by a reset or by an end. */
static int cut_one(brood *b, int listener, int read_first)
{
	char bytes[4096];
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return 0;
	until_polled(b, recv(fd, bytes, sizeof bytes, MSG_DONTWAIT | (read_first ? 0 : MSG_PEEK)) > 0);
	close(fd);
	return 1;
}

/* A broker that is just being replaced, as over any other transport. */
static void test_cut_of_the_first_handshake(void **state)
{
	struct diary me = { 0 };
	char address[64];
	brood *b;
	int listener = listen_raw(address, sizeof address), n = 0;
	(void)state;
	assert_int_equal(brood_connect(&b, address, BROOD_OPTIONS(.on = diary_table, .data = &me, .name = "somebody")),
			 0);
	until_polled(b, (n += cut_one(b, listener, n % 2)) == 4);
	assert_int_equal(me.n[BROOD_EVENT_ERROR], 0);
	close(listener);
	brood_close(b);
}

/* ---- reload ------------------------------------------------------------------------------------------------------ */

static int log_has(const struct fixture *x, const char *text)
{
	static char log[65536];
	ssize_t n = pread(x->log_fd, log, sizeof log - 1, 0);
	log[n < 0 ? 0 : n] = '\0';
	return strstr(log, text) != NULL;
}

static void test_reload(void **state)
{
	struct fixture *x = *state;
	struct family good = { 0 }, bad = { 0 };
	struct tls_fault why;
	char name[32], file[160];
	snprintf(name, sizeof name, "%u@reload", (unsigned)geteuid());
	certify_client(name);
	restart_with(x, "--node", "reload");
	family_begin(&good, KID("worker"));
	until(good.b, good.d.n[BROOD_EVENT_READY] == 1);
	show(name);
	assert_int_equal(brood_connect(&bad.b, x->tls, BROOD_OPTIONS(.on = diary_table, .data = &bad.me)), 0);
	assert_int_equal(brood_sync(bad.b, PATIENCE_MS), 0);

	/* Nothing changed: nobody notices. */
	kill(x->broker, SIGHUP);
	until_polled(NULL, log_has(x, "reload.done"));
	assert_int_equal(brood_sync(bad.b, PATIENCE_MS), 0);

	/* A mistake: the old ones stay, and a line says why. */
	snprintf(file, sizeof file, "%s", papers_path("server-localhost.key"));
	assert_int_equal(chmod(file, 0666), 0);
	kill(x->broker, SIGHUP);
	until_polled(NULL, log_has(x, "reload.failed"));
	assert_int_equal(chmod(file, 0600), 0);
	expect(x->tls, NULL);

	snprintf(file, sizeof file, "%s/client-%s.crt", papers_directory(), name);
	assert_int_equal(papers_api()->revoke(papers_directory(), file, &why), 0);
	kill(x->broker, SIGHUP);
	until(bad.b, bad.me.n[BROOD_EVENT_ERROR] == 1);
	assert_string_equal(bad.me.error, "tls.revoked");
	expect(x->tls, "tls.refused");
	papers_show();
	assert_int_equal(ask_number(good.kid, "count"), 0); /* went on all the time */
	assert_int_equal(good.me.n[BROOD_EVENT_AWAY], 0);
	brood_close(bad.b);
	family_end(&good);
}

static FILE *open_paper(const char *name)
{
	FILE *f = fopen(papers_path(name), "re");
	assert_non_null(f);
	return f;
}

/* A client's certificate of this user, of the same authority, for so many seconds; shown from now on. */
static void show_brief(long seconds)
{
	FILE *certificate = open_paper("ca.crt"), *key = open_paper("ca.key");
	struct minted ca = { PEM_read_X509(certificate, NULL, NULL, NULL), PEM_read_PrivateKey(key, NULL, NULL, NULL) };
	struct minted brief;
	const struct minted *const all[] = { &brief };
	char san[48];
	fclose(certificate);
	fclose(key);
	assert_true(ca.certificate && ca.key);
	snprintf(san, sizeof san, "URI:brood:%u", (unsigned)geteuid());
	mint(&brief,
	     &(struct recipe){ .issuer = &ca, .cn = "brief", .san = san, .usage = "clientAuth", .until = seconds });
	mint_write(papers_path("client-brief.crt"), all, 1);
	mint_write_key(papers_path("client-brief.key"), &brief);
	minted_free(&brief);
	minted_free(&ca);
	show("brief");
}

/* On a slow machine it may have expired before the handshake. */
static void connect_briefly(struct family *f, const char *address)
{
	int rc = -1;
	for (long seconds = 3; rc < 0 && seconds < 100; seconds *= 2) {
		show_brief(seconds);
		brood_close(f->b);
		f->me = (struct diary){ 0 };
		assert_int_equal(brood_connect(&f->b, address, BROOD_OPTIONS(.on = diary_table, .data = &f->me)), 0);
		rc = brood_sync(f->b, PATIENCE_MS);
	}
	assert_int_equal(rc, 0);
}

static void test_expiry(void **state)
{
	const struct fixture *x = *state;
	struct family good = { 0 }, brief = { 0 };
	family_begin(&good, KID("worker"));
	until(good.b, good.d.n[BROOD_EVENT_READY] == 1);
	connect_briefly(&brief, x->tls);
	until(brief.b, brief.me.n[BROOD_EVENT_ERROR] == 1);
	assert_string_equal(brief.me.error, "tls.expired");
	expect(x->tls, "tls.expired"); /* as the library reads its own */
	papers_show();
	assert_int_equal(ask_number(good.kid, "count"), 0); /* went on all the time */
	assert_int_equal(good.me.n[BROOD_EVENT_AWAY], 0);
	brood_close(brief.b);
	family_end(&good);
}

/* ---- children ---------------------------------------------------------------------------------------------------- */

/* Its environment was made by hand, and still it trusts whom its parent trusts. */
static void test_child_with_an_environment_of_its_own(void **state)
{
	struct family f = { 0 };
	char broker[256];
	(void)state;
	snprintf(broker, sizeof broker, "MARK=1");
	family_connect(&f);
	family_start(&f, KID("worker"), .env = (const char *const[]){ broker, NULL });
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	family_end(&f);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

#define IDLE 400
#define IDLE_KIB 20

static void test_idle_connection_is_small(void **state)
{
	const struct fixture *x = *state;
	brood *all[IDLE];
	long before = 0, after;
	for (int i = 0; i < IDLE; i++) {
		assert_int_equal(brood_connect(&all[i], x->tls, NULL), 0);
		assert_int_equal(brood_sync(all[i], PATIENCE_MS), 0);
		if (i == IDLE / 4 - 1)
			before = process_status(x->broker, "VmRSS:");
	}
	after = process_status(x->broker, "VmRSS:");
	print_message("an idle TLS connection takes %ld bytes of the broker\n",
		      (after - before) * 1024 / (IDLE - IDLE / 4));
	for (int i = 0; i < IDLE; i++)
		brood_close(all[i]);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_in_range(after - before, 0, IDLE_KIB * (IDLE - IDLE / 4));
#endif
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_TLS(test_who_is_let_in),
		ON_TLS(test_cookie_is_not_given_away),
		ON_TLS(test_certificate_required),
		ON_TLS(test_no_certificate_wanted),
		ON_TLS(test_token_file),
		ON_TLS(test_settings_that_cannot_be),
		ON_TLS(test_wrong_server),
		ON_TLS(test_wrong_name),
		ON_TLS(test_plain_client_at_a_tls_port),
		ON_TCP(test_tls_client_at_a_plain_port),
		ON_TLS(test_unavailable),
		ON_TLS(test_slow_handshake_is_cut),
		ON_TLS(test_garbage),
		ON_TLS(test_cut_of_the_first_handshake),
		ON_TLS(test_reload),
		ON_TLS(test_expiry),
		ON_TLS(test_child_with_an_environment_of_its_own),
		ON_TLS(test_idle_connection_is_small),
	};
	return RUN("secure", tests);
}
