/*
 * brood-nursery: starts programs for parents on other hosts. This file has its flags and signals.
 */
#include "address.h"
#include "nursery.h"
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define WAKE_MS 500 /* while it stops: parents that do not come have their time */

struct flags {
	struct nursery_options nursery;
	const char *config;
	int test;
};

static const char usage[] =
	"usage: brood-nursery [--config FILE] [--name NAME] [--address ADDRESS] [-t]\n"
	"\n"
	"  -c, --config FILE      what may be started, and for whom; default ~/.config/brood/nursery.conf,\n"
	"                         else /etc/brood/nursery.conf\n"
	"  -n, --name NAME        be NODE/NAME to others; default: nursery\n"
	"  -a, --address ADDRESS  of the broker; default: as every program finds it\n"
	"  -t, --test             read the configuration, say what is wrong with it, and end\n"
	"  -h, --help\n"
	"  -V, --version\n";

static void complain(const char *text)
{
	fprintf(stderr, "brood-nursery: %s\n", text);
}

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct flags *f)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
						 { "name", required_argument, NULL, 'n' },
						 { "address", required_argument, NULL, 'a' },
						 { "test", no_argument, NULL, 't' },
						 { "help", no_argument, NULL, 'h' },
						 { "version", no_argument, NULL, 'V' },
						 { NULL, 0, NULL, 0 } };
	int c;
	while ((c = getopt_long(argc, argv, "c:n:a:thV", options, NULL)) >= 0) {
		if (c == 'c')
			f->config = optarg;
		else if (c == 'n')
			f->nursery.name = optarg;
		else if (c == 'a')
			f->nursery.address = optarg;
		else if (c == 't')
			f->test = 1;
		else if (c == 'h')
			return fputs(usage, stdout) < 0;
		else if (c == 'V')
			return puts("brood-nursery " BROOD_VERSION) < 0;
		else
			return 2;
	}
	if (optind < argc)
		fprintf(stderr, "brood-nursery: \"%s\" is not expected; see --help\n", argv[optind]);
	else if (!name_is_valid(f->nursery.name))
		fprintf(stderr, "brood-nursery: --name: \"%s\" is not a name; use 1 to 63 of a-z 0-9 . _ -\n",
			f->nursery.name);
	else
		return -1;
	return 2;
}

static void reload(struct nursery *n, const struct flags *f)
{
	struct settings *fresh;
	char used[512];
	if (settings_read(f->config, &fresh, complain, used, sizeof(used)) == 0)
		nursery_reload(n, fresh);
	else
		complain("the configuration was not changed");
}

static void take_signal(struct nursery *n, const struct flags *f, int fd)
{
	struct signalfd_siginfo info;
	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo == SIGHUP)
			reload(n, f);
		else
			nursery_stop(n);
}

static int run(struct nursery *n, const struct flags *f, int signal_fd)
{
	int rc = 0;
	while (rc == 0) {
		struct pollfd fds[2] = { { .fd = nursery_fd(n), .events = POLLIN },
					 { .fd = signal_fd, .events = POLLIN } };
		if (poll(fds, 2, WAKE_MS) < 0 && errno != EINTR)
			return -errno;
		take_signal(n, f, signal_fd);
		rc = nursery_turn(n);
	}
	return rc;
}

/* Programs begin with the signals as we found them: what is blocked here is unblocked by the library in its children. */
static int open_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN); /* whoever read what we complain of may be gone */
	signal(SIGCHLD, SIG_DFL); /* ignored, as we may have found it, it would take the programs' statuses */
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static int start(const struct flags *f, struct settings *settings)
{
	struct nursery *n;
	int fd = open_signals(), rc = fd < 0 ? fd : nursery_new(&f->nursery, settings, &n);
	if (rc < 0) {
		fprintf(stderr, "brood-nursery: cannot start: %s\n", strerror(-rc));
		settings_free(settings);
		return 1;
	}
	rc = run(n, f, fd);
	if (rc < 0)
		fprintf(stderr, "brood-nursery: %s\n", *nursery_why(n) ? nursery_why(n) : strerror(-rc));
	nursery_free(n);
	close(fd);
	return rc < 0;
}

int main(int argc, char **argv)
{
	struct flags f = { .nursery = { .name = "nursery" } };
	struct settings *settings;
	char used[512] = "";
	int rc = parse(argc, argv, &f);
	if (rc >= 0)
		return rc;
	if (settings_read(f.config, &settings, complain, used, sizeof(used)) < 0)
		return 2;
	if (f.test)
		printf("%s: fine\n", *used ? used : "no configuration file, so nothing may be started");
	if (!f.test && !*used)
		complain("there is no configuration file, so nothing may be started; see brood-nursery(8)");
	if (!f.test)
		return start(&f, settings);
	settings_free(settings);
	return fflush(stdout) != 0;
}
