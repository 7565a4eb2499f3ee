/*
 * spawn: `brood spawn`, a program that outlives this command, as a process that others find.
 *
 * It is a child of this command for the moment that it takes to start it and to see that it has its name; then it is
 * nobody's. Its output is not ours, or `$(brood spawn ... 2>&1)` would wait for its end.
 */
#include "address.h"
#include "duration.h"
#include "environment.h"
#include "output.h"
#include "session.h"
#include "who.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FLUSH_MS 1000
#define PLACE_TEXT 160                             /* node, slash, and address or name */
#define NODE(host) (int)strcspn(host, "/"), (host) /* without its nursery, for "%.*s" */

static const char help[] =
	"Example:\n"
	"  brood spawn --name resize -- ./resize\n"
	"  address=$(brood spawn --name job --output job.log -- ./job --all)\n"
	"\n"
	"Usage: brood spawn [OPTIONS] -- PROGRAM [ARGUMENTS]\n"
	"\n"
	"Start a program in a session of its own, with a channel to the broker, print its\n"
	"address, and leave it running. It ends by itself, by `brood kill`, or, if it speaks\n"
	"brood, has no name and does not say BROOD_OUTLIVE, with this command.\n"
	"\n"
	"  -H, --host NODE   start it on this host, by its nursery: beta, or beta/NURSERY\n"
	"  --name NAME       register it under NAME, or do not start it if NAME is taken\n"
	"  --ready TIME      wait until it says that it is ready, and end it if it does not: 250ms,\n"
	"                    1.5s, 2m\n"
	"  --output FILE     append what it writes to FILE (default: /dev/null)\n"
	"  --cwd DIRECTORY   start it there\n"
	"  --env NAME=VALUE  add to its environment; may be repeated\n"
	"  --unset NAME      remove from its environment; may be repeated\n"
	"  --json            print {\"address\", \"name\", \"pid\"}\n"
	"\n"
	"Exit status: 0 it runs, 1 it does not (the reason is on stderr), 2 wrong arguments.\n";

struct spawn {
	struct brood_spawn_options how;
	struct environment env;
	const char *output;
	char **argv;
	brood_peer *child;
	int started, ready, over;
};

/* ---- what happens to the child ----------------------------------------------------------------------------------- */

static int started(const brood_event *ev)
{
	((struct spawn *)ev->data)->started = 1;
	return 0;
}

static int ready(const brood_event *ev)
{
	((struct spawn *)ev->data)->ready = 1;
	return 0;
}

static int failed(const brood_event *ev)
{
	session_explain("spawn", ev->error);
	return 0;
}

static int ended(const brood_event *ev)
{
	const struct spawn *s = ev->data;
	fprintf(stderr, "brood spawn: %s: %s\n", s->argv[0], ev->exit->text);
	return 0;
}

static int closed(const brood_event *ev)
{
	((struct spawn *)ev->data)->over = 1;
	return 0;
}

/* ---- its name ---------------------------------------------------------------------------------------------------- */

/* 1 if somebody has it, who is named on stderr. */
static int is_taken(brood *b, const char *name)
{
	char label[WHO_TEXT];
	struct who who;
	if (!name || who_ask(b, name, 1, 0, &who) < 0)
		return 0;
	int taken = who.known->living && who_has_name(who.known->living, name);
	if (taken)
		fprintf(stderr, "brood spawn: the name %s is held by %s\n", name, who_living(who.known->living, label));
	who_deinit(&who);
	return taken;
}

/*
 * What others call it. The address of a child on another node is an alias, which means it to this broker's processes: the same
 * counter, but not the same epoch. Its own is known there, where it is found by its name or else by its pid.
 */
struct found {
	char address[PLACE_TEXT];
	int has_name;
};

static void look(const struct spawn *s, uint64_t id, const Brood__Control__Process *p, struct found *ret)
{
	if (!p || (uint32_t)p->id != (uint32_t)id)
		return;
	ret->has_name = !s->how.name || who_has_name(p, s->how.name);
	if (id_is_foreign(id))
		snprintf(ret->address, sizeof ret->address, "%.*s/%s", NODE(s->how.host), p->address);
}

static void name_to_ask_for(const struct spawn *s, const struct brood_peer_info *info, uint64_t id, char to[PLACE_TEXT])
{
	if (!id_is_foreign(id))
		snprintf(to, PLACE_TEXT, "%s", info->address);
	else if (s->how.name)
		snprintf(to, PLACE_TEXT, "%.*s/%s", NODE(s->how.host), s->how.name);
	else
		snprintf(to, PLACE_TEXT, "%.*s/%d", NODE(s->how.host), (int)info->pid);
}

/* The broker heard of the child before it hears this question. */
static int find(brood *b, const struct spawn *s, const struct brood_peer_info *info, struct found *ret)
{
	char text[PLACE_TEXT];
	struct who who;
	uint64_t id = 0;
	(void)id_parse(info->address, &id);
	snprintf(ret->address, sizeof ret->address, "%s", info->address);
	ret->has_name = !s->how.name;
	if (!id_is_foreign(id) && !s->how.name)
		return 0;
	name_to_ask_for(s, info, id, text);
	if (who_ask(b, text, 1, 0, &who) < 0)
		return s->how.name ? -1 : 0; /* that it has ended by now is no failure */
	look(s, id, who.known->living, ret);
	who_deinit(&who);
	return 0;
}

static int has_its_name(brood *b, const struct spawn *s, const struct brood_peer_info *info, struct found *ret)
{
	if (find(b, s, info, ret) < 0) {
		session_explain("spawn", brood_last_error(b));
		return 0;
	}
	if (!ret->has_name)
		fprintf(stderr, "brood spawn: it could not get the name %s, and was ended\n", s->how.name);
	return ret->has_name;
}

/* ---- starting it ------------------------------------------------------------------------------------------------- */

static int open_output(struct spawn *s, struct brood_stdio stdio[4])
{
	static const struct brood_stdio usual[] = { BROOD_NUL(0), BROOD_NUL(1), BROOD_NUL(2), { -1, 0, -1, NULL } };
	memcpy(stdio, usual, sizeof usual);
	if (!s->output)
		return 0;
	int fd = open(s->output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0) {
		fprintf(stderr, "brood spawn: %s: %s\n", s->output, strerror(errno));
		return -1;
	}
	stdio[1] = (struct brood_stdio)BROOD_FD(1, fd);
	stdio[2] = (struct brood_stdio)BROOD_FD(2, fd);
	return fd;
}

static int start(brood *b, struct spawn *s)
{
	struct brood_stdio stdio[4];
	int fd = open_output(s, stdio);
	if (fd < 0)
		return -1;
	s->how.flags = BROOD_DETACHED;
	s->how.on = BROOD_ON(.spawn = started, .ready = ready, .error = failed, .exit = ended, .close = closed);
	s->how.data = s;
	s->how.stdio = stdio;
	s->how.env_add = s->env.entries;
	int rc = brood_spawn(b, &s->child, (const char *const *)s->argv, &s->how);
	if (fd > 0)
		close(fd); /* the child has a duplicate */
	return rc < 0 ? -1 : 0;
}

/* Until it runs, or is ready if that is asked for, or has ended. */
static int await(brood *b, const struct spawn *s)
{
	int rc = 0;
	while (rc >= 0 && !s->over && !(s->how.ready_ms ? s->ready : s->started))
		rc = brood_process(b, -1);
	return rc < 0 || s->over ? -1 : 0;
}

static int print(const struct cli *cli, const struct spawn *s, const char *address, pid_t pid)
{
	if (cli->json)
		return output_json(json_pack("{s:s, s:s, s:i}", "address", address, "name",
					     s->how.name ? s->how.name : "", "pid", (int)pid));
	return printf("%s\n", address) < 0 || fflush(stdout) == EOF ? -EIO : 0;
}

static int run(const struct cli *cli, brood *b, struct spawn *s)
{
	struct brood_peer_info info;
	struct found found;
	BROOD_INIT(info);
	if (!s->how.host && is_taken(b, s->how.name))
		return CLI_FAILED;
	if (start(b, s) < 0) {
		if (*brood_last_error(b)->text)
			session_explain("spawn", brood_last_error(b));
		return CLI_FAILED;
	}
	if (await(b, s) < 0 || brood_info(s->child, &info) < 0)
		return CLI_FAILED;
	if (has_its_name(b, s, &info, &found))
		return print(cli, s, found.address, info.pid) < 0 ? CLI_FAILED : CLI_OK;
	brood_kill(s->child, SIGKILL, BROOD_TREE);
	return CLI_FAILED;
}

static int connect_and_run(const struct cli *cli, struct spawn *s)
{
	brood *b;
	int rc = brood_connect(&b, cli->address, BROOD_OPTIONS(.flush_ms = FLUSH_MS));
	if (rc < 0) {
		fprintf(stderr, "brood spawn: %s\n", strerror(-rc));
		return CLI_FAILED;
	}
	rc = run(cli, b, s);
	brood_close(b);
	return rc;
}

/* ---- arguments --------------------------------------------------------------------------------------------------- */

/* NULL, or what is wrong. */
static const char *take(struct spawn *s, int option, const char *value)
{
	long ms;
	switch (option) {
	case 'H':
		s->how.host = value;
		return *value ? NULL : "--host wants a node, such as beta";
	case 'n':
		s->how.name = value;
		return name_is_valid(value) ? NULL : "--name wants 1 to 63 of a-z 0-9 . _ -";
	case 'o':
		s->output = value;
		return NULL;
	case 'C':
		s->how.cwd = value;
		return NULL;
	case 'e':
		return environment_set(&s->env, value) ? NULL : "--env wants NAME=VALUE";
	case 'u':
		return environment_unset(&s->env, value) ? NULL : "--unset wants a name";
	default:
		ms = duration_ms(value);
		s->how.ready_ms = ms < 0 ? 0 : (unsigned)ms;
		return ms < 0 ? "--ready wants a time from 1ms to 24d, such as 1.5s" : NULL;
	}
}

static int read_options(struct cli *cli, struct spawn *s, int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS,
						 { "host", required_argument, NULL, 'H' },
						 { "name", required_argument, NULL, 'n' },
						 { "ready", required_argument, NULL, 'r' },
						 { "output", required_argument, NULL, 'o' },
						 { "cwd", required_argument, NULL, 'C' },
						 { "env", required_argument, NULL, 'e' },
						 { "unset", required_argument, NULL, 'u' },
						 CLI_OPTIONS_END };
	int c, rc;
	while ((c = getopt_long(argc, argv, "+H:", options, NULL)) != -1) {
		int is_common = strchr("hja?", c) != NULL;
		const char *wrong = is_common ? NULL : take(s, c, optarg);
		if (is_common && (rc = cli_option(cli, c, help)) != CLI_GO_ON)
			return rc;
		if (wrong)
			return cli_usage("spawn", wrong);
	}
	if (s->how.host && s->output)
		return cli_usage("spawn", "--output is a file of this host: not with --host");
	if (optind == argc)
		return cli_usage("spawn", "it needs a program to start");
	s->argv = argv + optind;
	return CLI_GO_ON;
}

int cli_spawn(struct cli *cli, int argc, char **argv)
{
	struct spawn s = { .started = 0 };
	BROOD_INIT(s.how);
	int rc = environment_init(&s.env, argc) < 0 ? CLI_FAILED : read_options(cli, &s, argc, argv);
	if (rc == CLI_GO_ON)
		rc = connect_and_run(cli, &s);
	environment_deinit(&s.env);
	return rc;
}
