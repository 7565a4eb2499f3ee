/*
 * testbed: temporary directories with a broker in each.
 *
 * The broker is a plain child of a handle that needs no broker itself, so it ends with this program, however this
 * program ends. In an orderly end it is told to stop first, and then the directory goes. Measuring takes long enough
 * for people to interrupt it, so a signal handler removes the directories too; it knows them by the one static
 * variable here.
 */
#include "testbed.h"
#include "tls_load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define STEP_MS 5
#define SERVER "server-127.0.0.1" /* what files of its certificate are called */

#define BEDS 2 /* at once */

static char to_remove[BEDS][sizeof((struct testbed *)NULL)->directory]; /* "": none */

static const char *const vias[] = {
	[VIA_UNIX] = "unix", [VIA_FIFO] = "fifo", [VIA_TCP] = "tcp", [VIA_TLS] = "tls", [VIA_LINK] = "link"
};

const char *via_name(enum via via)
{
	return vias[via];
}

int via_parse(const char *name)
{
	for (size_t i = 0; i < sizeof vias / sizeof *vias; i++)
		if (strcmp(name, vias[i]) == 0)
			return (int)i;
	return -1;
}

char *testbed_path(const struct testbed *t, const char *name, char to[TESTBED_PATH])
{
	snprintf(to, TESTBED_PATH, "%s/%s", t->directory, name);
	return to;
}

int testbed_program(char to[TESTBED_PROGRAM], const char *variable, const char *name)
{
	const char *wish = getenv(variable);
	if (wish && wish[0]) {
		snprintf(to, TESTBED_PROGRAM, "%s", wish);
		return 0;
	}
	ssize_t n = readlink("/proc/self/exe", to, TESTBED_PROGRAM - 1);
	if (n < 0)
		return -errno;
	to[n] = '\0';
	char *slash = strrchr(to, '/');
	if (!slash || slash + 1 + strlen(name) + 1 > to + TESTBED_PROGRAM)
		return -ENAMETOOLONG;
	strcpy(slash + 1, name);
	return 0;
}

unsigned testbed_free_port(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof in;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&in, size) < 0 || getsockname(fd, (struct sockaddr *)&in, &size) < 0)
		in.sin_port = 0;
	if (fd >= 0)
		close(fd);
	return ntohs(in.sin_port);
}

/* Everything that a broker or a bench puts there. Safe in a signal handler. */
static void remove_directory(const char *path)
{
	static const char *const names[] = {
		"sock",          "cookie",      "epoch",          "fifo",           "key",
		"lock",          "log",         "relay",          "understudy",     "floor",
		"tcp",           "tls",         "ca.crt",         "ca.key",         "ca.crl",
		SERVER ".crt",   SERVER ".key", "node-alpha.crt", "node-alpha.key", "node-beta.crt",
		"node-beta.key", "broker.conf", "nursery.conf",   "abroad",         "wire",
	};
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unlinkat(fd, names[i], 0);
	rmdir(path);
	close(fd);
}

static void remove_and_die(int signo)
{
	for (size_t i = 0; i < BEDS; i++)
		if (to_remove[i][0])
			remove_directory(to_remove[i]);
	raise(signo); /* which has its default action again */
}

static void remove_at_signal(const struct testbed *t)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = remove_and_die, .sa_flags = (int)SA_RESETHAND };
	for (size_t i = 0; i < BEDS; i++)
		if (to_remove[i][0] == '\0') {
			memcpy(to_remove[i], t->directory, sizeof to_remove[i]);
			break;
		}
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &action, NULL);
}

static int make_directory(struct testbed *t)
{
	const char *parent = getenv("TMPDIR");
	int n = snprintf(t->directory, sizeof t->directory, "%s/brood.XXXXXX", parent && parent[0] ? parent : "/tmp");
	if (n >= (int)sizeof t->directory || !mkdtemp(t->directory)) {
		t->directory[0] = '\0';
		return n >= (int)sizeof t->directory ? -ENAMETOOLONG : -errno;
	}
	remove_at_signal(t);
	snprintf(t->address, sizeof t->address, "unix:%s/sock", t->directory);
	testbed_path(t, "cookie", t->token);
	testbed_path(t, SERVER ".crt", t->certificate);
	testbed_path(t, SERVER ".key", t->key);
	if (t->via == VIA_FIFO)
		snprintf(t->also, sizeof t->also, "fifo:%s", t->directory);
	if (t->via == VIA_TCP || t->via == VIA_TLS)
		snprintf(t->also, sizeof t->also, "%s://127.0.0.1:%u", vias[t->via], testbed_free_port());
	return 0;
}

/* An authority, and a certificate for the broker and for the relay beside it. */
static int make_certificates(const struct testbed *t)
{
	struct certify_order order = { CERTIFY_SERVER, t->directory, "127.0.0.1", 2 };
	struct tls_fault why;
	char base[PATH_MAX], path[TESTBED_PATH];
	const struct tls_api *tls = tls_load(&why);
	if (!tls || tls->make_ca(t->directory, 2, &why) < 0 || tls->certify(&order, base, &why) < 0) {
		fprintf(stderr, "brood: %s\n", why.text);
		return -EOPNOTSUPP;
	}
	setenv("BROOD_TLS_CA", testbed_path(t, "ca.crt", path), 1);
	unsetenv("BROOD_TLS_CERT");
	unsetenv("BROOD_TLS_KEY");
	unsetenv("BROOD_TLS_CRL");
	return 0;
}

static int spawn_broker(struct testbed *t)
{
	const char *listen = t->also[0] ? "--listen" : t->config[0] ? "--config" : NULL; /* NULL ends the list */
	const char *where = t->also[0] ? t->also : t->config;
	const char *flag = t->via == VIA_TLS ? "--tls-cert" : NULL;
	const char *const *argv = BROOD_ARGV(t->broker, "--dir", t->directory, "--log-level", "error", listen, where,
					     flag, t->certificate, "--tls-key", t->key);
	return brood_spawn(t->keeper, &t->process, argv, BROOD_SPAWN(.flags = BROOD_PLAIN));
}

static int why_it_ended(const struct testbed *t)
{
	struct brood_peer_info info;
	BROOD_INIT(info);
	if (brood_info(t->process, &info) == 0 && info.exit)
		fprintf(stderr, "brood: %s: %s\n", t->broker, info.exit->text);
	return -ECHILD;
}

/* Its socket appears when it listens. */
static int await_broker(struct testbed *t)
{
	char path[TESTBED_PATH];
	struct stat st;
	testbed_path(t, "sock", path);
	for (int waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
		if (stat(path, &st) == 0)
			return 0;
		if (brood_wait(t->process, STEP_MS) == 0)
			return why_it_ended(t);
	}
	return -ETIMEDOUT;
}

int testbed_start(struct testbed *t)
{
	int rc = spawn_broker(t);
	if (rc == 0)
		rc = await_broker(t);
	if (rc < 0 && rc != -ECHILD) /* of which more was said already */
		fprintf(stderr, "brood: cannot start a broker, %s: %s\n", t->broker, strerror(-rc));
	return rc;
}

int testbed_signal(struct testbed *t, int signo)
{
	return brood_kill(t->process, signo, 0);
}

int testbed_await_end(struct testbed *t, int timeout_ms)
{
	char path[TESTBED_PATH];
	struct brood_peer_info info;
	BROOD_INIT(info);
	int rc = brood_wait(t->process, timeout_ms);
	if (rc < 0)
		return rc;
	rc = brood_info(t->process, &info);
	if (rc == 0 && info.exit->code != 0 && info.exit->signo != SIGKILL)
		rc = why_it_ended(t);
	brood_release(t->process);
	t->process = NULL;
	unlink(testbed_path(t, "sock", path)); /* by its being there one knows that the next one listens */
	return rc;
}

int testbed_prepare(struct testbed *t, enum via via)
{
	*t = (struct testbed){ .via = via };
	int rc = testbed_program(t->broker, "BROOD_BROKER", "broodd");
	if (rc == 0)
		rc = make_directory(t);
	if (rc == 0 && (via == VIA_TLS || via == VIA_LINK))
		rc = make_certificates(t);
	if (rc == 0)
		rc = brood_connect(&t->keeper, NULL, BROOD_OPTIONS(.flags = BROOD_NO_AUTOSTART));
	if (rc < 0)
		fprintf(stderr, "brood: cannot start a broker, %s: %s\n", t->broker, strerror(-rc));
	return rc;
}

int testbed_init(struct testbed *t, enum via via)
{
	int rc = testbed_prepare(t, via);
	return rc == 0 ? testbed_start(t) : rc;
}

void testbed_deinit(struct testbed *t)
{
	brood_close(t->keeper);
	if (t->directory[0])
		remove_directory(t->directory);
	for (size_t i = 0; i < BEDS; i++)
		if (strcmp(to_remove[i], t->directory) == 0)
			to_remove[i][0] = '\0';
	*t = (struct testbed){ 0 };
}
