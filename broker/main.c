/*
 * main: broodd from flags to exit code.
 *
 * In order: flags, for a private broker the background, the directory, its lock, confinement, the broker, the loop. Exit codes: 0 it
 * ran and ended as asked (for whoever starts a private one: it listens, or another one does already), 1 it could not
 * start, 2 the configuration is wrong.
 */
#include "broker.h"
#include "confine.h"
#include "detach.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
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
	if (start->config.confine && confine(why, sizeof(why)) < 0)
		return complain(why, 1);
	log_say(&start->log, LOG_START, FIELD_TEXT("version", BROOD_VERSION),
		FIELD_TEXT("confined", start->config.confine ? "yes" : "no"));
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

	umask(077);
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

static void say_wrong(void *data, const char *line)
{
	(void)data;
	complain(line, 2);
}

static void say_fine(const struct config *config)
{
	for (unsigned i = 0; i < config->n_files; i++)
		printf("%s: fine\n", config->texts[i]);
	if (config->n_files == 0)
		puts("no configuration file, all is default, environment or flags: fine");
}

/* What is asked for instead of running. */
static int say(const struct config *config, enum config_result what)
{
	if (what == CONFIG_HELP)
		config_help(stdout);
	else if (what == CONFIG_VERSION)
		puts("broodd " BROOD_VERSION);
	else if (what == CONFIG_PRINT)
		config_print(config, stdout);
	else
		say_fine(config);
	return fflush(stdout) != 0;
}

/*
 * Whoever starts us may leave some of the first three descriptors closed. The lock, or a client, would get such a number, and
 * then our log. It is opened the wrong way round, so that what is written there still fails.
 */
static int fill_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC) < 0)
			return -errno;
	return 0;
}

int main(int argc, char **argv)
{
	static struct start start = { .home = { .fd = -1, .lock_fd = -1 }, .detach_fd = -1 };
	int status = 2, r = fill_standard();

	if (r < 0) {
		fprintf(stderr, "broodd: cannot open /dev/null, in place of a closed descriptor: %s\n", strerror(-r));
		return 1;
	}
	r = config_parse(&start.config, argc, argv, say_wrong, NULL);
	if (r == CONFIG_RUN)
		status = begin(&start);
	else if (r >= 0)
		status = say(&start.config, (enum config_result)r);
	config_deinit(&start.config);
	return status;
}
