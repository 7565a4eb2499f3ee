/*
 * main: the `brood` command line. A table of commands; everything else is in the file that has the command's name.
 *
 * Options before the command hold for every command (`brood --address tcp://127.0.0.1:7433 ps`), and may also be given
 * behind it.
 */
#include "cli.h"
#include <brood.h>
#include <stdio.h>
#include <string.h>

static const char help[] = "Example:\n"
			   "  brood ps                          who is here, as a tree\n"
			   "  brood request resize 'photo.jpg'  ask a process by its name\n"
			   "\n"
			   "Usage: brood [--address ADDRESS] COMMAND [OPTIONS]\n"
			   "\n";

static const char more[] =
	"\n"
	"`brood COMMAND --help` tells more about one. Every command takes --json and --address.\n"
	"\n"
	"ADDRESS is unix:/path, fifo:/directory, tcp://127.0.0.1:port or tls://host:port. Without it: the\n"
	"channel given by the parent, $BROOD_ADDRESS, the system's broker if /run/brood exists, else this\n"
	"user's private broker.\n"
	"\n"
	"Exit status: 0 done, 1 failed (the reason is on stderr), 2 wrong arguments.\n"
	"`brood run` and `brood worker` end as their program does.\n";

static const struct command {
	const char *name;
	int (*run)(struct cli *, int argc, char **argv);
	const char *summary;
} commands[] = {
	{ "ps", cli_ps, "list the processes that the broker knows" },
	{ "status", cli_status, "tell how the broker is" },
	{ "nodes", cli_nodes, "list the nodes that the broker is linked with" },
	{ "why", cli_why, "tell how a process ended" },
	{ "kill", cli_kill, "send a signal to a process" },
	{ "check", cli_check, "tell whether a program could be started here, step by step" },
	{ "spawn", cli_spawn, "start a program that outlives this command" },
	{ "run", cli_run, "run a program that ends when this one does" },
	{ "worker", cli_worker, "make any filter a process that answers requests" },
	{ "pipe", cli_pipe, "messages as lines in named pipes, for shell scripts" },
	{ "send", cli_send, "send a message to a process" },
	{ "request", cli_request, "ask a process and print its answer" },
	{ "cert", cli_cert, "make keys and certificates for tls://" },
	{ "conform", cli_conform, "test a client written in another language" },
	{ "bench", cli_bench, "measure speed, beside a plain relay" },
};

#define N_COMMANDS (sizeof commands / sizeof *commands)

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int print_help(void)
{
	fputs(help, stdout);
	for (size_t i = 0; i < N_COMMANDS; i++)
		printf("  %-8s %s\n", commands[i].name, commands[i].summary);
	fputs(more, stdout);
	return CLI_OK;
}

static int print_version(void)
{
	unsigned v = brood_version();
	printf("brood %u.%u.%u\n", v >> 16, v >> 8 & 0xff, v & 0xff);
	return CLI_OK;
}

static int unknown(const char *name)
{
	fprintf(stderr, "brood: there is no command \"%s\"\nTry `brood help`.\n", name);
	return CLI_USAGE;
}

/* `brood help COMMAND` is `brood COMMAND --help`. */
static int help_for(struct cli *cli, const char *name)
{
	char *argv[] = { (char *)name, (char *)"--help", NULL };
	const struct command *command = find(name);
	if (!command)
		return unknown(name);
	optind = 0;
	return command->run(cli, 2, argv);
}

/* Its complaints about options are getopt_long()'s, which begin with argv[0]. */
static int run(const struct command *command, struct cli *cli, int argc, char **argv)
{
	static char name[32];
	snprintf(name, sizeof name, "brood %s", command->name);
	argv[0] = name;
	optind = 0; /* the command reads its own options from the beginning */
	return command->run(cli, argc, argv);
}

static int dispatch(struct cli *cli, int argc, char **argv)
{
	const struct command *command = find(argv[0]);
	if (command)
		return run(command, cli, argc, argv);
	if (strcmp(argv[0], "help") == 0)
		return argc > 1 ? help_for(cli, argv[1]) : print_help();
	return unknown(argv[0]);
}

static int read_options_and_dispatch(int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS, { "version", no_argument, NULL, 'V' }, CLI_OPTIONS_END };
	struct cli cli = { 0 };
	int c;
	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (c == 'h')
			return print_help();
		if (c == 'V')
			return print_version();
		int rc = cli_option(&cli, c, "");
		if (rc != CLI_GO_ON)
			return rc;
	}
	if (optind < argc)
		return dispatch(&cli, argc - optind, argv + optind);
	print_help();
	return CLI_USAGE;
}

/* What was not written, because a disk is full, say, was not done. */
int main(int argc, char **argv)
{
	int status = read_options_and_dispatch(argc, argv);
	int failed = fflush(stdout) == EOF || ferror(stdout);
	if (failed)
		fputs("brood: cannot write the result\n", stderr);
	return failed && status == CLI_OK ? CLI_FAILED : status;
}
