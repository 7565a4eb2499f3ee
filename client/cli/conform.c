/*
 * conform: `brood conform -- CLIENT`, tests a client of the wire that is written in another language.
 *
 * The client is started with a broker of ours in BROOD_ADDRESS and a name as its last argument. It registers the name
 * and sends everything back: messages as messages, requests as replies, with the same type and body; at a message of
 * type "conform.stop" it says goodbye and exits with 0. proto/README.md has the whole agreement.
 *
 * For level 1 the client is started again, with a tap of ours in BROOD_ADDRESS.
 */
#include "conform.h"
#include "cli.h"
#include "output.h"
#include <errno.h>
#include <stdio.h>

static const char help[] =
	"Example:\n"
	"  brood conform -- python3 client.py\n"
	"\n"
	"Usage: brood conform [--level 0|1] -- CLIENT [ARGUMENTS]\n"
	"\n"
	"Test a client of brood's wire that is written in another language. The client is\n"
	"started with BROOD_ADDRESS set to a broker of its own and with a name as its last\n"
	"argument. It has to register that name, send every message and every request's body\n"
	"back with the same type, and exit with 0 at a message of type conform.stop. The wire,\n"
	"and what is checked, is described in proto/README.md.\n"
	"\n"
	"  --level 0|1     the level of the wire. 1: also that it comes back when its connection or\n"
	"                  the broker was lost, without losing or doubling anything. Default: 0\n"
	"  --resume-only   only what level 1 adds\n"
	"  --json          one object per check, one per line\n"
	"\n"
	"Exit status: 0 all checks passed, 1 some failed, 2 wrong arguments.\n";

#define QUIET_MS 1000
#define RETURN_MS 20000 /* patience with a client that has to come back */

struct conform {
	struct trial trial;
	int level, skip, json, failures;
	int argc; /* the client */
	char **argv;
};

static void report(struct conform *c, const char *name, int ok)
{
	c->failures += !ok;
	if (c->json)
		output_json(json_pack("{s:s, s:b, s:s}", "check", name, "ok", ok, "reason", c->trial.reason));
	else if (ok)
		printf("ok    %s\n", name);
	else
		printf("FAIL  %s: %s\n", name, c->trial.reason);
	fflush(stdout);
}

/* A check that failed may have left messages under way; they shall not fail the next one as well. */
static void settle(struct trial *t)
{
	while (!t->exited && trial_take(t, QUIET_MS) > 0)
		;
}

static int run_check(struct conform *c, const struct check *check)
{
	c->trial.reason[0] = '\0';
	int ok = check->run(&c->trial) == 0;
	report(c, check->name, ok);
	return ok;
}

static int run_level0(struct conform *c)
{
	int rc = trial_start(&c->trial, c->argc, c->argv, c->trial.bed.address);
	for (const struct check *check = conform_level0; rc == 0 && check->name; check++)
		if (!run_check(c, check))
			settle(&c->trial);
	return rc;
}

/* Whoever did not come back once does not get further, so the first failure is the last. */
static int run_level1(struct conform *c)
{
	char path[TESTBED_PATH], address[TESTBED_PATH + 8];
	struct trial *t = &c->trial;
	testbed_path(&t->bed, "relay", path);
	snprintf(address, sizeof address, "unix:%s", path);
	t->tap = tap_open(path, t->bed.address + strlen("unix:"));
	if (!t->tap) {
		fprintf(stderr, "brood conform: cannot listen at %s: %s\n", path, strerror(errno));
		return -errno;
	}
	t->patience_ms = RETURN_MS;
	int rc = trial_start(t, c->argc, c->argv, address);
	for (const struct check *check = conform_level1; rc == 0 && check->name; check++)
		if (!run_check(c, check))
			break;
	return rc;
}

static int conform(struct conform *c)
{
	int rc = trial_init(&c->trial);
	if (rc == 0 && !c->skip)
		rc = run_level0(c);
	if (rc == 0 && c->level == 1)
		rc = run_level1(c);
	trial_deinit(&c->trial);
	return rc;
}

static int take_level(struct conform *c, const char *text)
{
	if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
		return -1;
	c->level = text[0] - '0';
	return 0;
}

int cli_conform(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS,
						 { "level", required_argument, NULL, 'l' },
						 { "resume-only", no_argument, NULL, 's' },
						 CLI_OPTIONS_END };
	struct conform c = { 0 };
	int o, rc;
	while ((o = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (o == 'l' && take_level(&c, optarg) < 0)
			return cli_usage("conform", "--level wants 0 or 1");
		if (o == 's')
			c.skip = 1;
		else if (o != 'l' && (rc = cli_option(cli, o, help)) != CLI_GO_ON)
			return rc;
	}
	if (optind == argc)
		return cli_usage("conform", "it needs a client to test");
	if (c.skip && c.level == 0)
		return cli_usage("conform", "--resume-only wants --level 1");
	c.json = cli->json;
	c.argc = argc - optind;
	c.argv = argv + optind;
	rc = conform(&c);
	return rc < 0 || c.failures ? CLI_FAILED : CLI_OK;
}
