/*
 * hosts: see hosts.h. The forwarder is a process of its own, so that it goes on while the test waits.
 */
#include "hosts.h"
#include "free_port.h"
#include "papers.h"
#include "test.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define STEP_MS 2

static const char *const names[HOSTS_MOST] = { "alpha", "beta", "gamma" };
static const char *const state_files[] = { "lock", "epoch", "key", "cookie", "abroad", "tls", NULL };

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

#ifdef BROOD_TLS
/* A certificate for its name, once per program, and the lines that show it. */
static void certify_host(struct host *one)
{
	char base[PATH_MAX], name[64];
	struct tls_fault why;
	assert_int_equal(papers_make(), 0);
	snprintf(name, sizeof name, "node-%s.crt", one->name);
	if (access(papers_path(name), R_OK) < 0) {
		struct certify_order order = { CERTIFY_NODE, papers_directory(), one->name, 2 };
		assert_int_equal(papers_api()->certify(&order, base, &why), 0);
	}
	host_show(one, one->name);
}

void host_show(struct host *one, const char *whose)
{
	char crt[64], key[64];
	snprintf(crt, sizeof crt, "node-%s.crt", whose);
	snprintf(key, sizeof key, "node-%s.key", whose);
	snprintf(one->papers, sizeof one->papers, "tls-cert = %s\ntls-key = %s\ntls-ca = %s\ntls-crl = %s\n",
		 papers_path(crt), papers_path(key), papers_path("ca.crt"), papers_path("ca.crl"));
}
#endif

/* ---- one broker -------------------------------------------------------------------------------------------------- */

void host_configure(struct hosts *h, unsigned i)
{
	struct host *one = &h->all[i];
	FILE *file = fopen(one->config, "we");
	assert_non_null(file);
	fprintf(file, "[broker]\n");
	if (strncmp(one->url, "tls:", 4) == 0)
		fprintf(file, "listen = tls://127.0.0.1:%s\n", strrchr(one->url, ':') + 1);
	fprintf(file, "%s%s\n", one->papers, one->more);
	for (unsigned k = 0; k < h->n; k++) {
		if (!(one->knows & 1u << k))
			continue;
		fprintf(file, "[peer \"%s\"]\n", h->all[k].name);
		if (h->all[k].url[0])
			fprintf(file, "url = %s\n", h->all[k].url);
	}
	assert_int_equal(fclose(file), 0);
	chmod(one->config, 0600);
}

static int listens(const struct host *one)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;
	snprintf(a.sun_path, sizeof a.sun_path, "%s", one->address + strlen("unix:"));
	rc = connect(fd, (struct sockaddr *)&a, sizeof a);
	close(fd);
	return rc == 0;
}

void host_start(struct hosts *h, unsigned i)
{
	struct host *one = &h->all[i];
	host_configure(h, i);
	one->pid = fork();
	assert_true(one->pid >= 0);
	if (one->pid == 0) {
		prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0L, 0L, 0L);
		dup2(one->log_fd, 1);
		dup2(one->log_fd, 2);
		execl(getenv("BROOD_BROKER"), "broodd", "--config", one->config, "--dir", one->brood, "--node",
		      one->name, "--log-level", "debug", (char *)NULL);
		_exit(127);
	}
	for (int waited = 0; !listens(one); waited += STEP_MS) {
		if (waitpid(one->pid, NULL, WNOHANG) != 0 || waited > PATIENCE_MS) {
			(void)host_said(h, i, NULL);
			fail_msg("broker %s did not start", one->name);
		}
		pause_ms(STEP_MS);
	}
}

void hosts_start(struct hosts *h)
{
	for (unsigned i = 0; i < h->n; i++)
		host_start(h, i);
}

int host_stop(struct hosts *h, unsigned i, int signo)
{
	struct host *one = &h->all[i];
	int status;
	kill(one->pid, signo);
	kill(one->pid, SIGCONT);
	for (int waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
		if (waitpid(one->pid, &status, WNOHANG) == one->pid) {
			one->pid = 0;
			if (signo == SIGKILL)
				unlink(one->address + strlen("unix:"));
			return status;
		}
		pause_ms(STEP_MS);
	}
	fail_msg("broker %s did not stop", one->name);
	return -1;
}

/* NULL: show it. */
unsigned host_said(const struct hosts *h, unsigned i, const char *text)
{
	static char bytes[4 << 20];
	ssize_t n = pread(h->all[i].log_fd, bytes, sizeof bytes - 1, 0);
	unsigned times = 0;
	bytes[n > 0 ? n : 0] = '\0';
	if (!text) {
		fprintf(stderr, "---- %s\n%s", h->all[i].name, bytes);
		return 0;
	}
	for (const char *at = bytes; (at = strstr(at, text)); at += strlen(text))
		times++;
	return times;
}

/* ---- the forwarder ----------------------------------------------------------------------------------------------- */

#define PAIRS 64

static volatile sig_atomic_t cut;

static void on_cut(int signo)
{
	(void)signo;
	cut = 1;
}

static int copy(int from, int to)
{
	char bytes[16384];
	ssize_t n = read(from, bytes, sizeof bytes), done = 0, put;
	for (; n > done; done += put) {
		put = write(to, bytes + done, (size_t)(n - done));
		if (put <= 0)
			return 0;
	}
	return n > 0;
}

struct both {
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_in in;
	} at;
	socklen_t n;
};

static struct both place_of(const char *url)
{
	struct both b = { 0 };
	if (strncmp(url, "unix:", 5) == 0) {
		b.at.un.sun_family = AF_UNIX;
		snprintf(b.at.un.sun_path, sizeof b.at.un.sun_path, "%s", url + 5);
		b.n = sizeof b.at.un;
		return b;
	}
	b.at.in.sin_family = AF_INET;
	b.at.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	b.at.in.sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
	b.n = sizeof b.at.in;
	return b;
}

static void forward(int listener, const struct both *to)
{
	struct pollfd fds[1 + 2 * PAIRS] = { { listener, POLLIN, 0 } };
	unsigned n = 0;
	for (;;) {
		int ready = poll(fds, 1 + 2 * n, -1);
		if (cut || (ready > 0 && fds[0].revents && n == PAIRS)) {
			cut = 0;
			for (unsigned k = 1; k <= 2 * n; k++)
				close(fds[k].fd);
			n = 0;
			continue;
		}
		if (ready <= 0)
			continue;
		for (unsigned k = 1; k <= 2 * n; k++) {
			if (!fds[k].revents || fds[k].fd < 0)
				continue;
			unsigned other = k % 2 ? k + 1 : k - 1;
			if (copy(fds[k].fd, fds[other].fd))
				continue;
			close(fds[k].fd);
			close(fds[other].fd);
			fds[k].fd = fds[other].fd = -1;
		}
		unsigned kept = 0;
		for (unsigned k = 0; k < n; k++)
			if (fds[1 + 2 * k].fd >= 0) {
				fds[1 + 2 * kept] = fds[1 + 2 * k];
				fds[2 + 2 * kept++] = fds[2 + 2 * k];
			}
		n = kept;
		if (!(fds[0].revents & POLLIN))
			continue;
		int in = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		int out = socket(to->at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (in >= 0 && connect(out, &to->at.any, to->n) == 0) {
			fds[1 + 2 * n] = (struct pollfd){ in, POLLIN, 0 };
			fds[2 + 2 * n++] = (struct pollfd){ out, POLLIN, 0 };
		} else {
			close(in);
			close(out);
		}
	}
}

void hosts_forward(struct hosts *h)
{
	struct host *to = &h->all[BETA];
	struct both there = place_of(to->url), here;
	char url[112];
	int listener, one = 1;
	if (strncmp(to->url, "tls:", 4) == 0)
		snprintf(url, sizeof url, "tls://localhost:%u", free_port());
	else
		snprintf(url, sizeof url, "unix:%s/forward", h->directory);
	here = place_of(url);
	listener = socket(here.at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	assert_int_equal(bind(listener, &here.at.any, here.n), 0);
	assert_int_equal(listen(listener, 16), 0);
	h->forwarder = fork();
	assert_true(h->forwarder >= 0);
	if (h->forwarder == 0) {
		prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0L, 0L, 0L);
		struct sigaction a = { .sa_handler = on_cut };
		sigaction(SIGUSR1, &a, NULL);
		signal(SIGPIPE, SIG_IGN);
		forward(listener, &there);
	}
	close(listener);
	/* Beta goes on listening where it did; alpha is told another place. */
	snprintf(h->all[ALPHA].more + strlen(h->all[ALPHA].more),
		 sizeof h->all[ALPHA].more - strlen(h->all[ALPHA].more), "[peer \"beta\"]\nurl = %s\n", url);
	h->all[ALPHA].knows &= ~(1u << BETA);
	h->all[BETA].knows &= ~(1u << ALPHA);
	snprintf(h->all[BETA].more + strlen(h->all[BETA].more), sizeof h->all[BETA].more - strlen(h->all[BETA].more),
		 "[peer \"alpha\"]\n");
}

void hosts_cut(const struct hosts *h)
{
	kill(h->forwarder, SIGUSR1);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

void hosts_begin(struct hosts *h, unsigned n, int tls)
{
	*h = (struct hosts){ .n = n };
	leftovers_begin(&h->before);
	snprintf(h->directory, sizeof h->directory, "/tmp/brood-test.XXXXXX");
	assert_non_null(mkdtemp(h->directory));
	for (unsigned i = 0; i < n; i++) {
		struct host *one = &h->all[i];
		snprintf(one->name, sizeof one->name, "%s", names[i]);
		snprintf(one->brood, sizeof one->brood, "%s/%s", h->directory, names[i]);
		snprintf(one->address, sizeof one->address, "unix:%s/sock", one->brood);
		snprintf(one->config, sizeof one->config, "%s/%s.conf", h->directory, names[i]);
		snprintf(one->more, sizeof one->more, "[links]\nbeat = 200ms\n");
#ifdef BROOD_TLS
		if (tls)
			certify_host(one);
#endif
		if (tls)
			snprintf(one->url, sizeof one->url, "tls://localhost:%u", free_port());
		else
			snprintf(one->url, sizeof one->url, "%s", one->address);
		one->knows = ((1u << n) - 1) & ~(1u << i);
		one->log_fd = memfd_create("broodd.log", MFD_CLOEXEC);
		assert_true(one->log_fd >= 0);
		assert_int_equal(mkdir(one->brood, 0700), 0);
	}
}

void hosts_end(struct hosts *h)
{
	unsigned wrong = 0;
	for (unsigned i = 0; getenv("SHOW_LOGS") && i < h->n; i++)
		(void)host_said(h, i, NULL);
	for (unsigned i = 0; i < h->n; i++)
		if (h->all[i].pid && host_stop(h, i, SIGTERM) != 0) {
			(void)host_said(h, i, NULL);
			wrong++;
		}
	if (h->forwarder) {
		kill(h->forwarder, SIGKILL);
		waitpid(h->forwarder, NULL, 0);
	}
	for (unsigned i = 0; i < h->n; i++) {
		close(h->all[i].log_fd);
		unlink(h->all[i].config);
	}
	char forward_path[96];
	snprintf(forward_path, sizeof forward_path, "%s/forward", h->directory);
	unlink(forward_path);
	wrong += leftovers_processes(5000, 0);
	wrong += leftovers_fds(&h->before);
	wrong += leftovers_files(h->directory, state_files);
	assert_int_equal(wrong, 0);
}
