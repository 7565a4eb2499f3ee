/*
 * fixture: see fixture.h. One function per thing that is made, and the teardown takes them apart in reverse.
 *
 * The surprising rule: the broker gets no life line of ours; should the test itself be killed, PR_SET_PDEATHSIG ends
 * the broker (it changes no credentials, and the thread that started it is the test's only one).
 */
#include "fixture.h"
#include "free_port.h"
#include "papers.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
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

#define STEP_MS 5
#define START_MS 5000
#define STOP_MS 10000

/* The broker's own state, which outlives it. */
static const char *const state_files[] = { "lock", "epoch", "key", "cookie", "log", NULL };

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static void show_log(const struct fixture *f)
{
	char bytes[4096];
	ssize_t n;
	lseek(f->log_fd, 0, SEEK_SET);
	while ((n = read(f->log_fd, bytes, sizeof bytes)) > 0)
		fwrite(bytes, 1, (size_t)n, stderr);
}

static int complain(const struct fixture *f, const char *what)
{
	fprintf(stderr, "fixture: %s; the broker's log:\n", what);
	show_log(f);
	return -1;
}

static int listens(const struct fixture *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof a.sun_path, "%s", f->address + strlen("unix:"));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc = connect(fd, (struct sockaddr *)&a, sizeof a);
	close(fd);
	return rc == 0;
}

static void exec_broker(const struct fixture *f)
{
	const char *program = getenv("BROOD_BROKER");
	const char *argv[32] = { "broodd", "--dir", f->brood };
	char away[16], numeric[48];
	int n = 3;
	if (f->tcp[0] || f->tls[0] || f->fifo[0]) {
		snprintf(numeric, sizeof numeric, "tls://127.0.0.1%s", f->tls[0] ? strrchr(f->tls, ':') : "");
		argv[n++] = "--listen";
		argv[n++] = f->tls[0] ? numeric : f->tcp[0] ? f->tcp : f->fifo;
	}
	if (f->away_ms) {
		snprintf(away, sizeof away, "%u", f->away_ms);
		argv[n++] = "--away-ms";
		argv[n++] = away;
	}
	if (f->tls[0])
		papers_arguments(argv + n);
	while (argv[n])
		n++;
	for (size_t i = 0; f->more[i]; i++)
		argv[n++] = f->more[i];
	prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0L, 0L, 0L);
	dup2(f->log_fd, 1);
	dup2(f->log_fd, 2);
	if (program)
		execv(program, (char *const *)argv);
	perror(program ? program : "fixture: BROOD_BROKER is not set");
	_exit(127);
}

int fixture_start(struct fixture *f)
{
	f->broker = fork();
	if (f->broker < 0)
		return -1;
	if (f->broker == 0)
		exec_broker(f);
	for (int waited = 0; waited < START_MS; waited += STEP_MS) {
		if (waitpid(f->broker, NULL, WNOHANG) != 0) {
			f->broker = 0;
			return complain(f, "the broker did not start");
		}
		if (listens(f))
			return 0;
		pause_ms(STEP_MS);
	}
	return complain(f, "the broker does not listen");
}

int fixture_stop(struct fixture *f, int signo)
{
	int status;
	kill(f->broker, signo);
	for (int waited = 0; waited < STOP_MS; waited += STEP_MS) {
		if (waitpid(f->broker, &status, WNOHANG) == f->broker) {
			f->broker = 0;
			return status;
		}
		pause_ms(STEP_MS);
	}
	kill(f->broker, SIGKILL);
	waitpid(f->broker, NULL, 0);
	f->broker = 0;
	return complain(f, "the broker did not stop");
}

static struct fixture *fixture_new(void)
{
	struct fixture *f = calloc(1, sizeof *f);
	if (!f)
		return NULL;
	leftovers_begin(&f->before);
	f->log_fd = memfd_create("broodd.log", MFD_CLOEXEC);
	snprintf(f->directory, sizeof f->directory, "/tmp/brood-test.XXXXXX");
	if (f->log_fd < 0 || !mkdtemp(f->directory)) {
		perror("fixture");
		free(f);
		return NULL;
	}
	snprintf(f->brood, sizeof f->brood, "%s/brood", f->directory);
	snprintf(f->address, sizeof f->address, "unix:%s/sock", f->brood);
	snprintf(f->token_file, sizeof f->token_file, "%s/cookie", f->brood);
	setenv("XDG_RUNTIME_DIR", f->directory, 1);
	unsetenv("BROOD_FD");
	return f;
}

int fixture_setup_empty(void **state)
{
	struct fixture *f = fixture_new();
	if (!f)
		return -1;
	unsetenv("BROOD_ADDRESS");
	setenv("BROOD_IDLE_MS", "100", 1);
	*state = f;
	return 0;
}

enum also { NOTHING, FIFO, TCP, TLS };

static int setup(void **state, enum also also)
{
	struct fixture *f = fixture_new();
	if (!f)
		return -1;
	if (also == FIFO)
		snprintf(f->fifo, sizeof f->fifo, "fifo:%s", f->brood);
	if (also == TCP)
		snprintf(f->tcp, sizeof f->tcp, "tcp://127.0.0.1:%u", free_port());
	if (also == TLS)
		snprintf(f->tls, sizeof f->tls, "tls://localhost:%u", free_port());
	setenv("BROOD_ADDRESS", f->address, 1);
	*state = f;
	if (mkdir(f->brood, 0700) == 0 && fixture_start(f) == 0)
		return 0;
	fixture_teardown(state);
	return -1;
}

int fixture_setup(void **state)
{
	return setup(state, NOTHING);
}

int fixture_setup_tcp(void **state)
{
	return setup(state, TCP);
}

int fixture_setup_fifo(void **state)
{
	return setup(state, FIFO);
}

int fixture_setup_tls(void **state)
{
	return papers_make() < 0 ? -1 : setup(state, TLS);
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	unsigned wrong = 0;
	if (f->broker) {
		int status = fixture_stop(f, SIGTERM);
		if (status > 0)
			complain(f, "the broker ended badly");
		wrong += status != 0;
	}
	wrong += leftovers_processes(5000, f->orphans);
	close(f->log_fd);
	wrong += leftovers_fds(&f->before);
	wrong += leftovers_files(f->directory, state_files);
	free(f);
	*state = NULL;
	return wrong ? -1 : 0;
}
