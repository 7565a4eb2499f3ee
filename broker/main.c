/*
 * main: broodd from flags to exit code.
 *
 * In order: flags, for a private broker the background, the directory, its lock, the broker, the loop. Exit codes: 0 it
 * ran and ended as asked (for whoever starts a private one: it listens, or another one does already), 1 it could not
 * start, 2 the command line is wrong.
 */
#include "broker.h"
#include "detach.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef BROOD_VERSION
#define BROOD_VERSION "0.1.0"
#endif

#define LOG_FILE_MOST (1024u * 1024u)

struct start {
	struct config config;
	struct home home;
	struct log log;
	struct broker broker;
	int detach_fd; /* -1: in the foreground */
};

static int complain(const char *why, int status)
{
	fprintf(stderr, "broodd: %s\n", why);
	return status;
}

/* 0. 1: another broker has the lock, and status says what that means for us. Else -1. */
static int lock_home(struct start *start, int *status)
{
	char why[PATH_MAX + 256];
	pid_t holder = 0;
	int r;

	*status = 1;
	if (home_open(&start->home, start->config.dir, why, sizeof(why)) < 0) {
		complain(why, 1);
		return -1;
	}
	r = home_lock(&start->home, &holder);
	if (r == 0)
		return 0;
	if (r != -EWOULDBLOCK)
		snprintf(why, sizeof(why), "directory %s: its lock cannot be taken: %s; choose another with --dir",
			 start->config.dir, strerror(-r));
	else
		snprintf(why, sizeof(why), "already running in %s, pid %d; connect to it, or choose another --dir",
			 start->config.dir, (int)holder);
	if (r == -EWOULDBLOCK && start->config.private)
		*status = 0; /* whoever wanted a private broker has one */
	else
		complain(why, 1);
	return 1;
}

/* A private broker's log is a file: whoever started it wants to see its own output, and failures, only. */
static void open_log(struct start *start)
{
	int fd = -1;

	log_init(&start->log, STDERR_FILENO, start->config.level);
	if (start->config.private)
		fd = openat(start->home.fd, "log", O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		log_move(&start->log, fd, LOG_FILE_MOST);
}

/* From here on nobody watches stderr. */
static void to_background(struct start *start)
{
	signal(SIGHUP, SIG_IGN);
	if (start->log.fd != STDERR_FILENO)
		(void)dup2(start->log.fd, STDERR_FILENO);
	detach_done(start->detach_fd, 0);
	start->detach_fd = -1;
}

static int run(struct start *start)
{
	char why[PATH_MAX + 256];
	int status;

	if (lock_home(start, &status) != 0)
		return status;
	open_log(start);
	log_say(&start->log, LOG_START, FIELD_TEXT("version", BROOD_VERSION));
	if (broker_init(&start->broker, &start->config, &start->home, &start->log, why, sizeof(why)) < 0) {
		broker_deinit(&start->broker);
		return complain(why, 1);
	}
	if (start->detach_fd >= 0)
		to_background(start);
	broker_run(&start->broker);
	broker_deinit(&start->broker);
	return 0;
}

static int begin(struct start *start)
{
	int status;

	if (start->config.private) {
		start->detach_fd = detach_begin();
		if (start->detach_fd < 0) {
			fprintf(stderr, "broodd: cannot go to the background: %s\n", strerror(-start->detach_fd));
			return 1;
		}
	}
	status = run(start);
	home_close(&start->home);
	if (start->detach_fd >= 0)
		detach_done(start->detach_fd, status);
	return status;
}

int main(int argc, char **argv)
{
	static struct start start = { .home = { .fd = -1, .lock_fd = -1 }, .detach_fd = -1 };
	char why[512];
	int r = config_parse(&start.config, argc, argv, why, sizeof(why));

	if (r < 0)
		return complain(why, 2);
	if (r == CONFIG_HELP)
		return fputs(config_help(), stdout) < 0;
	if (r == CONFIG_VERSION)
		return puts("broodd " BROOD_VERSION) < 0;
	return begin(&start);
}
