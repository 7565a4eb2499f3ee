/*
 * conform: `brood conform -- CLIENT`, tests a client of the wire that is written in another language.
 *
 * The client is started with a broker of ours in BROOD_ADDRESS and a name as its last argument. It registers the name
 * and sends everything back: messages as messages, requests as replies, with the same type and body; at a message of
 * type "conform.stop" it says goodbye and exits with 0. proto/README.md has the whole agreement.
 *
 * Then it is started again with an understudy of ours in BROOD_ADDRESS, which plays the broker; and for level 1 once more,
 * with a tap.
 */
#include "conform.h"
#include "cli.h"
#include "output.h"
#include "script.h"
#include <errno.h>
#include <stdio.h>

static const char help[] =
	"Example:\n"
	"  brood conform -- python3 client.py\n"
	"\n"
	"Usage: brood conform [--level 0|1] [--only TEXT] -- CLIENT [ARGUMENTS]\n"
	"\n"
	"Test a client of brood's wire that is written in another language. The client is\n"
	"started with BROOD_ADDRESS set to a broker of its own and with a name as its last\n"
	"argument. It has to register that name, send every message and every request's body\n"
	"back with the same type, and exit with 0 at a message of type conform.stop. The wire,\n"
	"and what is checked, is described in proto/README.md.\n"
	"\n"
	"  --level 0|1     the level of the wire. 1: also that it comes back when its connection or\n"
	"                  the broker was lost, without losing or doubling anything. Default: 0\n"
	"  --resume-only   only how a client of level 1 comes back\n"
	"  --only TEXT     only checks that have TEXT in their name, and what they rest on\n"
	"  --json          one object per check, one per line\n"
	"\n"
	"Exit status: 0 all checks passed, 1 some failed, 2 wrong arguments.\n";

#define QUIET_MS 1000
#define RETURN_MS 20000 /* patience with a client that has to come back */

static const struct check *const scripted[] = { conform_wire, conform_fds, conform_anew, conform_anew_level1,
						conform_end };

struct conform {
	struct trial trial;
	int level, skip, json, failures;
	const char *only; /* checks with this in their names, or NULL */
	int argc;         /* the client */
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

static int is_named(const struct conform *c, const struct check *check)
{
	return !c->only || strstr(check->name, c->only);
}

static int has_wanted(const struct conform *c, const struct check *list)
{
	while (list->name && !is_named(c, list))
		list++;
	return list->name != NULL;
}

/* In a list that has one that is. */
static int is_wanted(const struct conform *c, const struct check *check)
{
	return check->flags & CHECK_BASIS || is_named(c, check) ||
	       (check->flags & CHECK_LEADS && is_named(c, check + 1));
}

static int run_level0(struct conform *c)
{
	if (!has_wanted(c, conform_level0))
		return 0;
	int rc = trial_start(&c->trial, c->argc, c->argv, c->trial.bed.address);
	for (const struct check *check = conform_level0; rc == 0 && check->name; check++)
		if (is_wanted(c, check) && !run_check(c, check))
			settle(&c->trial);
	return rc;
}

/* A client that does not even come fails all of them. */
static int run_scripted(struct conform *c, const struct check *check, int comes)
{
	for (int any = has_wanted(c, check); any && check->name; check++) {
		if (!is_wanted(c, check))
			continue;
		comes = comes && (check->flags & CHECK_LEFT || script_begin(&c->trial) == 0);
		if (comes)
			run_check(c, check);
		else
			report(c, check->name, 0);
	}
	return comes;
}

static int run_script(struct conform *c)
{
	int rc = script_open(&c->trial, c->argc, c->argv), comes = rc == 0;
	for (size_t i = 0; rc == 0 && i < sizeof scripted / sizeof *scripted; i++)
		if (scripted[i] != conform_anew_level1 || c->level == 1)
			comes = run_scripted(c, scripted[i], comes);
	script_close(&c->trial);
	return rc;
}

/* Whoever did not come back once does not get further, so the first failure is the last. */
static int run_level1(struct conform *c)
{
	char path[TESTBED_PATH], address[TESTBED_PATH + 8];
	struct trial *t = &c->trial;
	if (!has_wanted(c, conform_level1))
		return 0;
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
		if (is_wanted(c, check) && !run_check(c, check))
			break;
	return rc;
}

static int conform(struct conform *c)
{
	int rc = trial_init(&c->trial);
	if (rc == 0 && !c->skip)
		rc = run_level0(c);
	if (rc == 0 && !c->skip)
		rc = run_script(c);
	if (rc == 0 && c->level == 1)
		rc = run_level1(c);
	trial_deinit(&c->trial);
	return rc;
}

static int finds_any(const struct conform *c)
{
	int any = !c->skip && has_wanted(c, conform_level0);
	for (size_t i = 0; !c->skip && i < sizeof scripted / sizeof *scripted; i++)
		any |= (scripted[i] != conform_anew_level1 || c->level == 1) && has_wanted(c, scripted[i]);
	return any || (c->level == 1 && has_wanted(c, conform_level1));
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
						 { "only", required_argument, NULL, 'o' },
						 CLI_OPTIONS_END };
	struct conform c = { 0 };
	int o, rc;
	while ((o = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (o == 'l' && take_level(&c, optarg) < 0)
			return cli_usage("conform", "--level wants 0 or 1");
		if (o == 's')
			c.skip = 1;
		else if (o == 'o')
			c.only = optarg;
		else if (o != 'l' && (rc = cli_option(cli, o, help)) != CLI_GO_ON)
			return rc;
	}
	if (optind == argc)
		return cli_usage("conform", "it needs a client to test");
	if (c.skip && c.level == 0)
		return cli_usage("conform", "--resume-only wants --level 1");
	if (!finds_any(&c))
		return cli_usage("conform", "no check has the text of --only in its name");
	c.json = cli->json;
	c.argc = argc - optind;
	c.argv = argv + optind;
	rc = conform(&c);
	return rc < 0 || c.failures ? CLI_FAILED : CLI_OK;
}
