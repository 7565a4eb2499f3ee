/*
 * crew: see crew.h. Everybody dies with the director (PR_SET_PDEATHSIG), however it ends.
 */
#include "crew.h"
#include "free_port.h"
#include "papers.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int crew_init(struct crew *c, int with_tls)
{
	memset(c, 0, sizeof(*c));
	snprintf(c->directory, sizeof(c->directory), "/tmp/brood-chaos.XXXXXX");
	if (!mkdtemp(c->directory)) {
		perror("chaos: mkdtemp");
		return -1;
	}
	snprintf(c->broker_unix, sizeof(c->broker_unix), "%s/sock", c->directory);
	snprintf(c->broker_tcp, sizeof(c->broker_tcp), "tcp://127.0.0.1:%u", free_port());
	if (!with_tls)
		return 0;
	snprintf(c->broker_tls, sizeof(c->broker_tls), "tls://127.0.0.1:%u", free_port());
	return papers_make();
}

static void exec_broker(const struct crew *c)
{
	const char *program = getenv("BROOD_BROKER"), *level = getenv("CHAOS_LOG");
	const char *argv[32] = {
		"broodd", "--dir",       c->directory,           "--listen", c->broker_tcp, "--listen",
		"fifo:",  "--log-level", level ? level : "warn",
	};
	char log[128];
	prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0L, 0L, 0L);
	snprintf(log, sizeof(log), "%s/broker.log", c->directory);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	if (*c->broker_tls) {
		argv[9] = "--listen";
		argv[10] = c->broker_tls;
		papers_arguments(argv + 11);
	}
	if (program)
		execv(program, (char *const *)argv);
	perror(program ? program : "chaos: BROOD_BROKER is not set");
	_exit(127);
}

int crew_start_broker(struct crew *c)
{
	c->broker = fork();
	if (c->broker == 0)
		exec_broker(c);
	return c->broker < 0 ? -1 : 0;
}

static void exec_actor(unsigned number, int stage_fd)
{
	char role[16], fd[16];
	prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0L, 0L, 0L);
	snprintf(role, sizeof(role), "%u", number);
	snprintf(fd, sizeof(fd), "%d", stage_fd);
	execl("/proc/self/exe", "chaos", "--actor", role, "--stage", fd, (char *)NULL);
	perror("chaos: /proc/self/exe");
	_exit(127);
}

int crew_start_actors(struct crew *c, unsigned n, int stage_fd)
{
	c->actor = calloc(n, sizeof(*c->actor));
	for (; c->actor && c->actors < n; c->actors++) {
		pid_t pid = fork();
		if (pid == 0)
			exec_actor(c->actors, stage_fd);
		if (pid < 0)
			return -1;
		c->actor[c->actors] = pid;
	}
	return c->actor ? 0 : -1;
}

static void look_at(struct crew *c, pid_t *pid, const char *who, unsigned number)
{
	int status;
	if (!*pid || waitpid(*pid, &status, WNOHANG) != *pid)
		return;
	*pid = 0;
	if (status == 0 || (pid == &c->broker && WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR2))
		return; /* a broker that was asked to be replaced before it was up */
	c->crashed++;
	fprintf(stderr, "chaos: %s %u ended: %s %d\n", who, number, WIFSIGNALED(status) ? "signal" : "status",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

unsigned crew_look(struct crew *c)
{
	unsigned running = 0;
	look_at(c, &c->broker, "broker", 0);
	for (unsigned i = 0; i < c->actors; i++) {
		look_at(c, &c->actor[i], "actor", i);
		running += c->actor[i] != 0;
	}
	return running;
}

static void end(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void remove_directory(const char *path)
{
	static const char *const names[] = { "tcp", "sock",       "cookie", "epoch", "key", "lock",
					     "log", "broker.log", "proxy",  "fifo",  "tls" };
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlinkat(fd, names[i], 0);
	close(fd);
	if (rmdir(path) < 0)
		fprintf(stderr, "chaos: something is left in %s\n", path);
}

void crew_deinit(struct crew *c, int keep)
{
	for (unsigned i = 0; i < c->actors; i++)
		end(c->actor[i]);
	end(c->broker);
	free(c->actor);
	if (keep)
		fprintf(stderr, "chaos: kept %s\n", c->directory);
	else
		remove_directory(c->directory);
}
