/*
 * run: `brood run -- PROGRAM`, a program that cannot be orphaned: it dies with this command, however this command dies.
 *
 * The program is an ordinary child: its input and output are ours, or with --tty a terminal of its own. What we are told
 * by signal passes through, and we go on until it ends. The one surprise is a terminal: when that is our input the child
 * stays in our process group, so the kernel has already sent it what the keyboard caused, and only what another process
 * sent us is passed on.
 */
#include "address.h"
#include "caught.h"
#include "console.h"
#include "duration.h"
#include "ending.h"
#include "environment.h"
#include "herd.h"
#include "job.h"
#include "output.h"
#include "session.h"
#include "signame.h"
#include "terminal.h"
#include <errno.h>
#include <signal.h>
#include <unistd.h>

static const char help[] =
	"Example:\n"
	"  brood run -- make test            (make and all it starts end when this does)\n"
	"  brood run --timeout 5m -- ./job   (ended after five minutes, with status 124)\n"
	"  brood run -t -- top               (with a terminal of its own)\n"
	"  brood run --channel -- ./worker   (it may talk to the broker)\n"
	"  brood run -H beta,gamma -- uptime (on other hosts)\n"
	"\n"
	"Usage: brood run [OPTIONS] -- PROGRAM [ARGUMENTS]\n"
	"\n"
	"Run a program with our input and output and end as it does. If this command is killed,\n"
	"even with SIGKILL, the kernel kills the program. INT, TERM, HUP, QUIT, USR1, USR2 and\n"
	"WINCH are passed on to it; ^Z stops both, fg continues both. No broker is needed unless\n"
	"--channel is given.\n"
	"\n"
	"  -t, --tty          give it a terminal of its own, joined with our input and output\n"
	"  --timeout TIME     end it after TIME: 250 or 250ms, 1.5s, 2m, 1h, 1d\n"
	"  --signal NAME      ... by this signal (default: TERM)\n"
	"  --kill-after TIME  ... and this long after it by SIGKILL (default: 2s). If given, a\n"
	"                     TERM that is passed on is followed by SIGKILL too\n"
	"  --cwd DIRECTORY    start it there\n"
	"  --env NAME=VALUE   add to its environment; may be repeated\n"
	"  --unset NAME       remove from its environment; may be repeated\n"
	"  --channel          give it a channel: it is a brood child, in `brood ps` and for others\n"
	"  --name NAME        register it under NAME, if nobody has that (implies --channel)\n"
	"  --detach           start it in a session of its own, without input, print its pid, and\n"
	"                     leave it running\n"
	"  -H, --host NODES   run it on these hosts, by their nurseries: beta, beta/NURSERY, or several\n"
	"                     with commas between; our input goes to all of them\n"
	"  --label            ... and let each line of output begin with its host\n"
	"  --json             when it has ended, print how on stderr\n"
	"\n"
	"A time-out and SIGKILL reach all that the program started, except where our input is a\n"
	"terminal: there they reach the program only.\n"
	"\n"
	"Exit status: the program's own, of several hosts the highest; 128+N if signal N ended it; 124 after "
	"--timeout; 125 if\n"
	"brood failed or the arguments are wrong; 126 if the program cannot be executed, 127 if it\n"
	"does not exist.\n";

struct run {
	struct brood_spawn_options how;
	int tty, detach, json, kill_after;
	struct environment env;
	char **argv;
	char *hosts; /* NULL: here */
	int label;
	brood_peer *child;
	struct job job;
	struct console console;
	int started, over;
	int status; /* what we exit with */
};

/* SIGCONT behind SIGTSTP: if both came, going on is the later wish as far as anybody can know. */
static const int caught[] = {
	SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT, SIGCHLD, 0
};

/* ---- signals ----------------------------------------------------------------------------------------------------- */

static void resize(const struct run *run)
{
	unsigned rows, columns;
	terminal_size(&rows, &columns);
	brood_tty_size(run->child, rows, columns);
}

/* The child has a terminal of its own, which goes on: it is we who leave ours for a while. */
static void suspend_console(const struct run *run)
{
	terminal_restore();
	caught_suffer(SIGTSTP);
	terminal_raw();
	resize(run);
}

static void pass_on(const struct run *run, const struct caught *c)
{
	unsigned flags = c->from_kernel ? BROOD_TREE : 0; /* as a terminal does it */
	if (c->from_kernel && run->job.shares_group)
		return;
	if (c->signo == SIGTERM && run->kill_after)
		flags |= BROOD_THEN_KILL;
	brood_kill(run->child, c->signo, flags);
}

static void handle_with_console(struct run *run, const struct caught *c)
{
	if (c->signo == SIGTSTP)
		suspend_console(run);
	else if (c->signo == SIGWINCH)
		resize(run);
	else if (c->signo == SIGCONT)
		terminal_raw(); /* whoever stopped us by SIGSTOP; the shell has changed it meanwhile */
	else if (c->signo != SIGCHLD)
		pass_on(run, c);
}

/* One that waits for its broker: brood_kill() would give it up, whatever the signal. */
static int is_about_the_start(int signo)
{
	return signo == SIGINT || signo == SIGTERM || signo == SIGHUP || signo == SIGQUIT;
}

static void handle(struct run *run, const struct caught *c)
{
	if (!run->started && !is_about_the_start(c->signo))
		return;
	if (run->tty)
		handle_with_console(run, c);
	else if (c->signo == SIGCHLD)
		job_look(&run->job);
	else if (c->signo == SIGCONT)
		job_continue(&run->job);
	else
		pass_on(run, c);
}

static int woken(const brood_event *ev)
{
	struct run *run = ev->data;
	struct caught c;
	while (run->child && (c = caught_next()).signo)
		handle(run, &c);
	return 0;
}

/* ---- what happens to the child ----------------------------------------------------------------------------------- */

static int started(const brood_event *ev)
{
	struct run *run = ev->data;
	struct brood_peer_info info;
	run->started = 1;
	job_init(&run->job, run->child, !run->tty && !run->detach && isatty(STDIN_FILENO));
	BROOD_INIT(info);
	if (!run->detach || brood_info(ev->peer, &info) < 0)
		return 0;
	run->status = CLI_OK;
	run->over = 1;
	if (run->json)
		return output_json(json_pack("{s:i}", "pid", (int)info.pid));
	printf("%d\n", (int)info.pid);
	return 0;
}

static int ended(const brood_event *ev)
{
	struct run *run = ev->data;
	const struct brood_exit *x = ev->exit;
	int is_news = x->ended_by == BROOD_BY_TIMEOUT || x->ended_by == BROOD_BY_MEMORY;
	run->status = ending_status(x);
	if (is_news)
		terminal_restore();
	if (run->json)
		output_json_to(stderr, ending_json(x, run->status));
	else if (is_news || (x->cause != BROOD_EXITED && x->cause != BROOD_SIGNALED))
		fprintf(stderr, "brood run: %s: %s\n", run->argv[0], x->text);
	return 0;
}

/* That it reads no more is its own business. */
static int failed(const brood_event *ev)
{
	struct run *run = ev->data;
	if (run->started && strcmp(ev->error->name, "input.closed") == 0)
		return 0;
	terminal_restore();
	session_explain("run", ev->error);
	if (run->started)
		return 0;
	run->status = ending_of_error(ev->error);
	if (run->json)
		output_json_to(stderr, ending_error_json(ev->error, run->status));
	return 0;
}

static int output(const brood_event *ev)
{
	struct run *run = ev->data;
	console_output(&run->console, ev->bytes, ev->length);
	return 0;
}

static int drained(const brood_event *ev)
{
	struct run *run = ev->data;
	if (ev->fd == CONSOLE_FD)
		console_drained(&run->console);
	return 0;
}

static int closed(const brood_event *ev)
{
	struct run *run = ev->data;
	run->over = 1;
	return 0;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static int spawn(brood *b, struct run *run)
{
	static const struct brood_stdio mine[] = { BROOD_MINE(0), BROOD_MINE(1), BROOD_MINE(2), { -1, 0, -1, NULL } };
	static const struct brood_stdio tty[] = { BROOD_TTY(0), BROOD_TTY(1), BROOD_TTY(2), { -1, 0, -1, NULL } };
	static const struct brood_stdio deaf[] = { BROOD_NUL(0), BROOD_MINE(1), BROOD_MINE(2), { -1, 0, -1, NULL } };
	struct brood_spawn_options *how = &run->how;
	how->on = BROOD_ON(.spawn = started, .exit = ended, .error = failed, .close = closed, .output = output,
			   .drain = drained);
	how->data = run;
	how->stdio = run->detach ? deaf : run->tty ? tty : mine;
	how->env_add = run->env.entries;
	if (run->tty)
		terminal_size(&how->tty_rows, &how->tty_columns);
	return brood_spawn(b, &run->child, (const char *const *)run->argv, how);
}

static void broken_output(struct run *run)
{
	if (!run->console.broken)
		return;
	terminal_restore();
	fprintf(stderr, "brood run: cannot write: %s\n", strerror(-run->console.broken));
	run->status = ENDING_FAILED;
	run->over = 1; /* the child ends with the handle */
}

/* Until the child has closed. 0, or the negative errno that made the handle fail. */
static int loop(brood *b, struct run *run)
{
	int rc = 0;
	while (rc >= 0 && !run->over) {
		if (run->tty)
			console_wait(&run->console, b);
		rc = brood_process(b, run->tty ? 0 : -1);
		broken_output(run);
	}
	return rc;
}

static int run_child(brood *b, struct run *run)
{
	int rc = spawn(b, run);
	if (rc < 0)
		return rc;
	if (run->tty) {
		console_init(&run->console, run->child);
		terminal_raw();
	}
	if (!run->detach) /* else it is not ours to steer */
		caught_wake(b);
	rc = loop(b, run);
	caught_wake(NULL);
	console_flush(&run->console);
	terminal_restore();
	job_deinit(&run->job);
	return rc;
}

static int run_program(const struct cli *cli, struct run *run)
{
	brood *b;
	int rc = brood_connect(&b, cli->address, BROOD_OPTIONS(.on = BROOD_ON(.wake = woken), .data = run));
	if (rc < 0) {
		fprintf(stderr, "brood run: %s\n", strerror(-rc));
		return ENDING_FAILED;
	}
	rc = run_child(b, run);
	if (rc < 0)
		session_explain("run", brood_last_error(b));
	brood_close(b);
	return run->status;
}

/* ---- arguments --------------------------------------------------------------------------------------------------- */

static const char *set_time(unsigned *ms, const char *text, const char *otherwise)
{
	long value = duration_ms(text);
	*ms = value < 0 ? 0 : (unsigned)value;
	return value < 0 ? otherwise : NULL;
}

/* Take an option of `run` alone. NULL, or what is wrong. */
static const char *take(struct run *run, int option, char *value)
{
	struct brood_spawn_options *how = &run->how;
	switch (option) {
	case 't':
		run->tty = 1;
		return NULL;
	case 'T':
		return set_time(&how->timeout_ms, value, "--timeout wants a time from 1ms to 24d, such as 1.5s");
	case 'k':
		run->kill_after = 1;
		return set_time(&how->grace_ms, value, "--kill-after wants a time from 1ms to 24d, such as 1.5s");
	case 's':
		how->kill_signal = signame_number(value);
		return how->kill_signal ? NULL : "--signal wants a signal by name or number, such as INT";
	case 'C':
		how->cwd = value;
		return *value ? NULL : "--cwd wants a directory";
	case 'e':
		return environment_set(&run->env, value) ? NULL : "--env wants NAME=VALUE";
	case 'u':
		return environment_unset(&run->env, value) ? NULL : "--unset wants the name of a variable";
	case 'd':
		run->detach = 1;
		return NULL;
	case 'H':
		run->hosts = value;
		return herd_check(value);
	case 'l':
		run->label = 1;
		return NULL;
	case 'n':
		how->name = value;
		how->flags &= ~BROOD_PLAIN;
		return name_is_valid(value) ? NULL : "--name wants 1 to 63 of a-z 0-9 . _ -";
	default:
		how->flags &= ~BROOD_PLAIN;
		return NULL;
	}
}

static const struct option options[] = { CLI_OPTIONS,
					 { "tty", no_argument, NULL, 't' },
					 { "timeout", required_argument, NULL, 'T' },
					 { "kill-after", required_argument, NULL, 'k' },
					 { "signal", required_argument, NULL, 's' },
					 { "cwd", required_argument, NULL, 'C' },
					 { "env", required_argument, NULL, 'e' },
					 { "unset", required_argument, NULL, 'u' },
					 { "channel", no_argument, NULL, 'c' },
					 { "name", required_argument, NULL, 'n' },
					 { "detach", no_argument, NULL, 'd' },
					 { "host", required_argument, NULL, 'H' },
					 { "label", no_argument, NULL, 'l' },
					 CLI_OPTIONS_END };

/* CLI_GO_ON, or the status with which to leave. */
static int read_options(struct cli *cli, struct run *run, int argc, char **argv)
{
	int c, rc;
	while ((c = getopt_long(argc, argv, "+tH:", options, NULL)) != -1) {
		int is_common = strchr("hja?", c) != NULL;
		const char *wrong = is_common ? NULL : take(run, c, optarg);
		if (is_common && (rc = cli_option(cli, c, help)) != CLI_GO_ON)
			return rc;
		if (wrong)
			return cli_usage("run", wrong);
	}
	if (run->detach && (run->tty || run->how.timeout_ms))
		return cli_usage("run", "--detach leaves the program alone: not with --tty or --timeout");
	if (run->hosts && (run->tty || run->detach))
		return cli_usage("run", "--host knows neither terminals nor --detach; see brood spawn");
	if (run->label && !run->hosts)
		return cli_usage("run", "--label is for --host");
	if (optind == argc)
		return cli_usage("run", "it needs a program to run");
	run->json = cli->json;
	run->argv = argv + optind;
	return CLI_GO_ON;
}

static int run_on_hosts(const struct cli *cli, const struct run *run)
{
	struct herd_options herd = { .how = run->how,
				     .hosts = run->hosts,
				     .label = run->label,
				     .json = run->json,
				     .kill_after = run->kill_after,
				     .argv = run->argv };
	herd.how.env_add = run->env.entries;
	return herd_run(cli->address, &herd);
}

static int run_here(const struct cli *cli, struct run *run)
{
	run->how.flags |= run->detach ? BROOD_DETACHED : 0;
	caught_catch(caught);
	return run_program(cli, run);
}

int cli_run(struct cli *cli, int argc, char **argv)
{
	static struct run run = { .status = ENDING_FAILED };
	BROOD_INIT(run.how);
	run.how.flags = BROOD_PLAIN;
	run.job.tty = -1;
	int rc = environment_init(&run.env, argc) < 0 ? CLI_USAGE : read_options(cli, &run, argc, argv);
	if (rc == CLI_USAGE)
		rc = ENDING_FAILED; /* 2 would be the program's */
	if (rc == CLI_GO_ON)
		rc = run.hosts ? run_on_hosts(cli, &run) : run_here(cli, &run);
	environment_deinit(&run.env);
	return rc;
}
