/*
 * run: `brood run -- PROGRAM`, a program that cannot be orphaned: it dies with this command, however this command dies.
 *
 * The program is an ordinary child: its input and output are ours. What it is told by signal passes through: SIGINT,
 * SIGTERM and SIGHUP sent to us are sent to it, and we go on until it ends. The one surprise is a terminal: there the
 * child stays in our process group, so the kernel has already sent it what the keyboard caused, and only what another
 * process sent us is passed on.
 *
 * Signals are collected by a handler that does nothing but note them and wake the handle; hence the two static
 * variables.
 */
#include "output.h"
#include "session.h"
#include <errno.h>
#include <signal.h>
#include <unistd.h>

static const char help[] = "Example:\n"
			   "  brood run -- make test          (make and all it starts end when this does)\n"
			   "  brood run --channel -- ./worker (it may talk to the broker)\n"
			   "\n"
			   "Usage: brood run [--channel] [--name NAME] -- PROGRAM [ARGUMENTS]\n"
			   "\n"
			   "Run a program with our input and output and end as it does. If this command is killed,\n"
			   "even with SIGKILL, the kernel kills the program. SIGINT, SIGTERM and SIGHUP are passed\n"
			   "on to it. No broker is needed unless --channel is given.\n"
			   "\n"
			   "  --channel    give it a channel: it is a brood child, in `brood ps` and for others\n"
			   "  --name NAME  register it under NAME (implies --channel)\n"
			   "  --json       when it has ended, print how on stderr\n"
			   "\n"
			   "Exit status: the program's own; 128+N if signal N ended it; 125 if brood failed,\n"
			   "126 if the program cannot be executed, 127 if it does not exist, 2 wrong arguments.\n";

enum run_exit { RUN_FAILED = 125, RUN_CANNOT_EXECUTE = 126, RUN_NOT_FOUND = 127, RUN_SIGNAL = 128 };

struct run {
	const char *name;
	int channel, json;
	char **argv;
	int status; /* what we exit with */
};

static const int passed[] = { SIGINT, SIGTERM, SIGHUP };
#define N_PASSED (sizeof passed / sizeof *passed)

static volatile sig_atomic_t pending[N_PASSED];
static brood *volatile to_wake;

static void note_signal(int signo, siginfo_t *info, void *context)
{
	(void)context;
	int from_keyboard = info->si_code == SI_KERNEL && isatty(STDIN_FILENO);
	for (size_t i = 0; i < N_PASSED; i++)
		if (passed[i] == signo && !from_keyboard)
			pending[i] = 1;
	if (to_wake)
		brood_wake(to_wake);
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_sigaction = note_signal, .sa_flags = SA_SIGINFO | SA_RESTART };
	for (size_t i = 0; i < N_PASSED; i++)
		sigaction(passed[i], &action, NULL);
}

static int pass_on(const brood_event *ev)
{
	for (size_t i = 0; i < N_PASSED; i++) {
		if (!pending[i])
			continue;
		pending[i] = 0;
		brood_kill(*(brood_peer **)ev->data, passed[i], 0);
	}
	return 0;
}

static void print_exit(const struct brood_exit *x)
{
	output_json_to(stderr,
		       json_pack("{s:i, s:i, s:b, s:I, s:I, s:I, s:I}", "code", x->code, "signal", x->signo, "core",
				 x->core, "wall_ms", (json_int_t)x->wall_ms, "user_us", (json_int_t)x->user_us,
				 "system_us", (json_int_t)x->system_us, "max_rss_kib", (json_int_t)x->max_rss_kib));
}

static int ended(const brood_event *ev)
{
	struct run *run = ev->data;
	const struct brood_exit *x = ev->exit;
	if (x->cause == BROOD_EXITED)
		run->status = x->code;
	else if (x->cause == BROOD_SIGNALED)
		run->status = RUN_SIGNAL + x->signo;
	else
		fprintf(stderr, "brood run: %s\n", x->text);
	if (run->json)
		print_exit(x);
	return 0;
}

static int failed(const brood_event *ev)
{
	struct run *run = ev->data;
	int code = ev->error->code;
	session_explain("run", ev->error);
	if (code == -ENOENT)
		run->status = RUN_NOT_FOUND;
	else if (code == -EACCES || code == -ENOEXEC || code == -EISDIR)
		run->status = RUN_CANNOT_EXECUTE;
	return 0;
}

static int closed(const brood_event *ev)
{
	return brood_stop(ev->handle);
}

static int run_program(const struct cli *cli, struct run *run)
{
	brood *b;
	brood_peer *child = NULL;
	int rc = brood_connect(&b, cli->address, BROOD_OPTIONS(.on = BROOD_ON(.wake = pass_on), .data = &child));
	if (rc < 0) {
		fprintf(stderr, "brood run: %s\n", strerror(-rc));
		return RUN_FAILED;
	}
	rc = brood_spawn(b, &child, (const char *const *)run->argv,
			 BROOD_SPAWN(.flags = run->channel ? 0 : BROOD_PLAIN, .name = run->name, .data = run,
				     .stdio = BROOD_STDIO(BROOD_MINE(0), BROOD_MINE(1), BROOD_MINE(2)),
				     .on = BROOD_ON(.exit = ended, .error = failed, .close = closed)));
	if (rc == 0) {
		to_wake = b;
		brood_wake(b); /* for a signal that came before */
		rc = brood_run(b);
		to_wake = NULL;
	}
	if (rc < 0)
		session_explain("run", brood_last_error(b));
	brood_close(b);
	return run->status;
}

int cli_run(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS,
						 { "channel", no_argument, NULL, 'c' },
						 { "name", required_argument, NULL, 'n' },
						 CLI_OPTIONS_END };
	struct run run = { .status = RUN_FAILED };
	int c, rc;
	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (c == 'c')
			run.channel = 1;
		else if (c == 'n')
			run.name = optarg;
		else if ((rc = cli_option(cli, c, help)) != CLI_GO_ON)
			return rc;
	}
	if (optind == argc)
		return cli_usage("run", "it needs a program to run");
	run.channel |= run.name != NULL;
	run.json = cli->json;
	run.argv = argv + optind;
	catch_signals();
	return run_program(cli, &run);
}
