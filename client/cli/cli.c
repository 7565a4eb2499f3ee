/*
 * cli: the options that every command has, read in one place so that they mean the same everywhere.
 */
#include "cli.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int cli_option(struct cli *cli, int option, const char *help)
{
	switch (option) {
	case 'h':
		fputs(help, stdout);
		return CLI_OK;
	case 'j':
		cli->json = 1;
		return CLI_GO_ON;
	case 'a':
		cli->address = optarg;
		return CLI_GO_ON;
	default: /* getopt_long() has said what it did not like */
		return CLI_USAGE;
	}
}

int cli_usage(const char *command, const char *what)
{
	fprintf(stderr, "brood %s: %s\nTry `brood %s --help`.\n", command, what, command);
	return CLI_USAGE;
}

long cli_number(const char *text, long least, long most)
{
	char *end;
	errno = 0;
	long n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < least || n > most)
		return -1;
	return n;
}
