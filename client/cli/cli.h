/*
 * cli: what all commands of the `brood` program share: the options every one of them has, and the exit codes.
 */
#ifndef CLI_H
#define CLI_H

#include <getopt.h>

/* Exit codes of all commands but `run` and `worker`, which pass their program's code on (see ending.h). */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1, /* the broker, a peer or a test said no; stderr has the reason */
	CLI_USAGE = 2   /* wrong arguments; nothing was tried */
};

#define CLI_GO_ON (-1) /* no exit code: the command goes on */

struct cli {
	const char *address; /* of the broker; NULL: as every brood program finds it */
	int json;
};

/* The options that every command has, for its getopt_long() table. */
/* clang-format off */
#define CLI_OPTIONS                                           \
	{ "help", no_argument, NULL, 'h' },                   \
	{ "json", no_argument, NULL, 'j' },                   \
	{ "address", required_argument, NULL, 'a' }
/* clang-format on */
#define CLI_OPTIONS_END                                                                                                \
	{                                                                                                              \
		NULL, 0, NULL, 0                                                                                       \
	}

/*
 * Take one of CLI_OPTIONS, or refuse what getopt_long() did not know. CLI_GO_ON, or the exit code with which to leave:
 * after --help, which prints `help`, or after a mistake.
 */
int cli_option(struct cli *, int option, const char *help);

/* Say what is wrong with the arguments and where to read on. CLI_USAGE. */
int cli_usage(const char *command, const char *what);

/* `text` as a whole number from `least` to `most`; -1 if it is none. */
long cli_number(const char *text, long least, long most);

/* The commands. argv[0] is the command's name; the result is the exit code. */
int cli_ps(struct cli *, int argc, char **argv);
int cli_nodes(struct cli *, int argc, char **argv);
int cli_why(struct cli *, int argc, char **argv);
int cli_kill(struct cli *, int argc, char **argv);
int cli_check(struct cli *, int argc, char **argv);
int cli_spawn(struct cli *, int argc, char **argv);
int cli_status(struct cli *, int argc, char **argv);
int cli_run(struct cli *, int argc, char **argv);
int cli_worker(struct cli *, int argc, char **argv);
int cli_pipe(struct cli *, int argc, char **argv);
int cli_send(struct cli *, int argc, char **argv);
int cli_request(struct cli *, int argc, char **argv);
int cli_conform(struct cli *, int argc, char **argv);
int cli_bench(struct cli *, int argc, char **argv);
int cli_cert(struct cli *, int argc, char **argv);

#endif
