/*
 * check: `brood check`, whether a program could be started here, step by step.
 *
 * Each step says what it saw. The last word has the kernel: the program is really executed, and ended before it has done
 * anything. If that is not possible the steps before it decide.
 */
#include "control.pb-c.h"
#include "nursery.pb-c.h"
#include "output.h"
#include "probe.h"
#include "program.h"
#include "session.h"
#include <brood/pb.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATIENCE_MS 10000

static const char help[] =
	"Example:\n"
	"  brood check -- ./worker           (found? executable? would the kernel start it?)\n"
	"  brood check --plain -- make       (a program that knows nothing of brood)\n"
	"  brood check -H beta -- resize     (would the nursery of that host start it for me?)\n"
	"\n"
	"Usage: brood check [-H HOST] [--cwd DIRECTORY] [--plain] -- PROGRAM [ARGUMENTS]\n"
	"\n"
	"Tell step by step whether a program could be started here, as a child of brood: the\n"
	"directory, where it is found, whether we may execute it, what runs it (the loader, a\n"
	"script's interpreter), the limits, the broker. It is really executed, and ended before\n"
	"its first instruction, so that nothing of it runs.\n"
	"\n"
	"  -H, --host NODE  on this host, by its nursery: beta, or beta/NURSERY: may we, with these\n"
	"                   arguments, and is it there; nothing is executed\n"
	"  --cwd DIRECTORY  as if it were started there\n"
	"  --plain          it needs no broker\n"
	"  --json           print {\"program\", \"path\", \"ok\", \"steps\": [{\"step\", \"ok\", \"text\"}]},\n"
	"                   where ok is null if that could not be known\n"
	"\n"
	"Exit status: 0 it could, 1 it could not, 2 wrong arguments.\n";

enum answer { NO, YES, UNKNOWN };

struct step {
	const char *name;
	enum answer answer;
	char text[PROGRAM_TEXT];
};

struct check {
	const char *host; /* NULL: this one */
	const char *cwd;  /* NULL: here */
	int plain;
	char **argv;
	struct program_file program;
	struct step steps[8];
	size_t n;
};

__attribute__((format(printf, 4, 5))) static int add(struct check *c, const char *name, enum answer answer,
						     const char *format, ...)
{
	struct step *step = &c->steps[c->n++];
	va_list args;
	step->name = name;
	step->answer = answer;
	va_start(args, format);
	vsnprintf(step->text, sizeof step->text, format, args);
	va_end(args);
	return answer != NO;
}

static int add_program(struct check *c, const char *name, int answer)
{
	return add(c, name, answer < 0 ? UNKNOWN : answer ? YES : NO, "%s", c->program.text);
}

/* ---- the steps: 1 to go on --------------------------------------------------------------------------------------- */

static int check_directory(struct check *c)
{
	char here[PATH_MAX];
	if (c->cwd && chdir(c->cwd) < 0) /* what comes next is looked at from there */
		return add(c, "directory", NO, "%s: %s", c->cwd, strerror(errno));
	if (!getcwd(here, sizeof here))
		return add(c, "directory", NO, "the one that we are in: %s", strerror(errno));
	return add(c, "directory", YES, "%s", here);
}

static int check_exec(struct check *c)
{
	struct probe result = probe_exec(c->program.path, c->argv);
	if (result.code == 0)
		return add(c, "exec", YES, "the kernel would start it");
	if (strcmp(result.stage, "trace") == 0)
		return add(c, "exec", UNKNOWN, "it was not tried: tracing is not allowed here");
	return add(c, "exec", NO, "%s: %s", result.stage, strerror(-result.code));
}

static const char *limit_text(int resource, char to[OUTPUT_SHORT])
{
	struct rlimit limit;
	if (getrlimit((__rlimit_resource_t)resource, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return "any number of";
	snprintf(to, OUTPUT_SHORT, "%llu", (unsigned long long)limit.rlim_cur);
	return to;
}

/* A number in a file of our cgroup, or -1: there is none. */
static long long cgroup_number(const char *name)
{
	char line[PATH_MAX], path[PATH_MAX + 64];
	long long n = -1;
	FILE *file = fopen("/proc/self/cgroup", "re");
	path[0] = '\0';
	while (file && fgets(line, sizeof line, file))
		if (strncmp(line, "0::", 3) == 0)
			snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/%s", (int)strcspn(line + 3, "\n"), line + 3,
				 name);
	if (file)
		fclose(file);
	file = *path ? fopen(path, "re") : NULL;
	if (!file)
		return -1;
	if (fscanf(file, "%lld", &n) != 1)
		n = -1; /* "max" */
	fclose(file);
	return n;
}

static int check_limits(struct check *c)
{
	char files[OUTPUT_SHORT], processes[OUTPUT_SHORT], used[OUTPUT_SHORT], most[OUTPUT_SHORT], memory[80] = "";
	long long pids = cgroup_number("pids.current"), pids_most = cgroup_number("pids.max");
	long long bytes = cgroup_number("memory.current"), bytes_most = cgroup_number("memory.max");
	if (pids_most >= 0 && pids >= pids_most)
		return add(c, "limits", NO, "its cgroup has %lld processes, the most allowed (TasksMax=)", pids);
	if (bytes_most >= 0)
		snprintf(memory, sizeof memory, "; its cgroup uses %s of %s of memory",
			 output_bytes((uint64_t)bytes, used), output_bytes((uint64_t)bytes_most, most));
	return add(c, "limits", YES, "%s open files, %s processes of this user%s", limit_text(RLIMIT_NOFILE, files),
		   limit_text(RLIMIT_NPROC, processes), memory);
}

static int check_version(struct check *c, const Brood__Control__Status *s)
{
	unsigned v = brood_version();
	char mine[32];
	snprintf(mine, sizeof mine, "%u.%u.%u", v >> 16, v >> 8 & 0xff, v & 0xff);
	if (strcmp(mine, s->version) == 0)
		return add(c, "broker", YES, "broodd %s, pid %u, of node %s", s->version, s->pid, s->node);
	return add(c, "broker", YES, "broodd %s, pid %u, of node %s (this is brood %s)", s->version, s->pid, s->node,
		   mine);
}

/* No broker was named, and none is there: a program that needs one starts it. */
static int would_be_started(const struct cli *cli, const struct brood_error *e)
{
	return !cli->address && !getenv("BROOD_ADDRESS") && !getenv("BROOD_FD") && access("/run/brood", F_OK) < 0 &&
	       strcmp(e->name, "broker.absent") == 0;
}

static int ask_broker(const struct cli *cli, struct check *c, brood *b)
{
	Brood__Control__GetStatus ask = BROOD__CONTROL__GET_STATUS__INIT;
	brood_msg *msg = NULL;
	const void *status;
	if (session_call_broker(b, "", &ask.base, &brood__control__status__descriptor, &msg, &status) == 0) {
		int ok = check_version(c, status);
		brood_msg_release(msg);
		return ok;
	}
	const struct brood_error *e = brood_last_error(b);
	if (would_be_started(cli, e))
		return add(c, "broker", UNKNOWN, "none runs; a private one is started when it is needed");
	return add(c, "broker", NO, "%s%s%s", e->text, *e->hint ? "; " : "", e->hint);
}

static int check_broker(const struct cli *cli, struct check *c)
{
	brood *b;
	if (session_open(cli, &b) < 0)
		return add(c, "broker", NO, "no connection can be made");
	int ok = ask_broker(cli, c, b);
	brood_close(b);
	return ok;
}

static int check_program(struct check *c)
{
	if (!add_program(c, "found", program_found(&c->program, c->argv[0], getenv("PATH"))))
		return 0;
	if (!add_program(c, "allowed", program_allowed(&c->program)))
		return 0;
	return add_program(c, "format", program_understood(&c->program)) & check_exec(c);
}

static int check_all(const struct cli *cli, struct check *c)
{
	int ok = check_directory(c) && check_program(c);
	ok &= check_limits(c);
	if (!c->plain)
		ok &= check_broker(cli, c);
	return ok;
}

/* ---- on another host --------------------------------------------------------------------------------------------- */

static int add_refusal(struct check *c, const struct brood_error *e)
{
	if (strcmp(e->name, "name.unknown") == 0)
		return add(c, "nursery", NO, "no nursery runs on %s under that name; start one there: brood-nursery",
			   c->host);
	return add(c, strncmp(e->name, "broker.", 7) == 0 ? "broker" : "nursery", NO, "%s%s%s", e->text,
		   *e->hint ? "; " : "", e->hint);
}

static int add_answers(struct check *c, const Brood__Nursery__Checked *m)
{
	int ok = add(c, "nursery", YES, "the one on %s may start it for us", c->host);
	snprintf(c->program.path, sizeof c->program.path, "%.*s", (int)m->path.len, (const char *)m->path.data);
	for (size_t i = 0; i < m->n_step && c->n < sizeof c->steps / sizeof *c->steps; i++) {
		static char names[8][24]; /* they live as long as the steps */
		const Brood__Nursery__Step *s = m->step[i];
		snprintf(names[c->n], sizeof *names, "%s", s->name);
		ok &= add(c, names[c->n],
			  s->answer < 0 ? UNKNOWN
			  : s->answer   ? YES
					: NO,
			  "%.*s", (int)s->text.len, (const char *)s->text.data);
	}
	return ok;
}

/* What `brood run --host` would ask for, but for the descriptors. */
static int ask_nursery(struct check *c, brood *b, brood_msg **answer)
{
	Brood__Nursery__Spawn ask = BROOD__NURSERY__SPAWN__INIT;
	char name[160];
	brood_peer *nursery = NULL;
	for (char **arg = c->argv; *arg; arg++)
		ask.n_argv++;
	ask.argv = calloc(ask.n_argv, sizeof *ask.argv);
	for (size_t i = 0; ask.argv && i < ask.n_argv; i++)
		ask.argv[i] = (ProtobufCBinaryData){ strlen(c->argv[i]), (uint8_t *)c->argv[i] };
	if (c->cwd)
		ask.cwd = (ProtobufCBinaryData){ strlen(c->cwd), (uint8_t *)(uintptr_t)c->cwd };
	ask.plain = c->plain;
	ask.only_check = 1;
	snprintf(name, sizeof name, "%s%s", c->host, strchr(c->host, '/') ? "" : "/nursery");
	int rc = ask.argv ? brood_find(b, &nursery, name, NULL) : -ENOMEM;
	if (rc == 0)
		rc = brood_call_pb(nursery, &ask.base, PATIENCE_MS, answer);
	brood_release(nursery);
	free(ask.argv);
	return rc;
}

static int check_on_host(const struct cli *cli, struct check *c)
{
	brood_msg *answer = NULL;
	brood *b;
	if (session_open(cli, &b) < 0)
		return add(c, "broker", NO, "no connection can be made");
	int ok = ask_nursery(c, b, &answer) == 0;
	const Brood__Nursery__Checked *m = ok ? brood_msg_pb(answer, &brood__nursery__checked__descriptor) : NULL;
	if (!ok)
		ok = add_refusal(c, brood_last_error(b));
	else
		ok = m ? add_answers(c, m)
		       : add(c, "nursery", NO, "its answer is not understood; is it of an older version?");
	brood_msg_release(answer);
	brood_close(b);
	return ok;
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

static void print(const struct check *c, int ok)
{
	static const char *const words[] = { [NO] = "no", [YES] = "yes", [UNKNOWN] = "-" };
	char safe[PROGRAM_TEXT];
	for (size_t i = 0; i < c->n; i++) {
		output_safe(c->steps[i].text, safe, sizeof safe);
		printf("%-4s %-10s %s\n", words[c->steps[i].answer], c->steps[i].name, safe);
	}
	output_safe(c->argv[0], safe, sizeof safe);
	printf("%s %s be started %s%s\n", safe, ok ? "could" : "could not", c->host ? "on " : "here",
	       c->host ? c->host : "");
}

static json_t *step_as_json(const struct step *s)
{
	json_t *ok = s->answer == UNKNOWN ? json_null() : json_boolean(s->answer == YES);
	return json_pack("{s:s, s:o, s:o}", "step", s->name, "ok", ok, "text",
			 output_json_bytes(s->text, strlen(s->text)));
}

static int print_json(const struct check *c, int ok)
{
	json_t *steps = json_array();
	for (size_t i = 0; i < c->n; i++)
		if (json_array_append_new(steps, step_as_json(&c->steps[i])) < 0) {
			json_decref(steps);
			return output_json(NULL);
		}
	return output_json(
		json_pack("{s:o, s:o, s:b, s:o}", "program", output_json_bytes(c->argv[0], strlen(c->argv[0])), "path",
			  output_json_bytes(c->program.path, strlen(c->program.path)), "ok", ok, "steps", steps));
}

int cli_check(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS,
						 { "cwd", required_argument, NULL, 'C' },
						 { "plain", no_argument, NULL, 'p' },
						 { "host", required_argument, NULL, 'H' },
						 CLI_OPTIONS_END };
	static struct check check;
	int c, rc;
	while ((c = getopt_long(argc, argv, "+H:", options, NULL)) != -1) {
		if (c == 'C')
			check.cwd = optarg;
		else if (c == 'p')
			check.plain = 1;
		else if (c == 'H')
			check.host = optarg;
		else if ((rc = cli_option(cli, c, help)) != CLI_GO_ON)
			return rc;
	}
	if (optind == argc)
		return cli_usage("check", "it needs a program");
	if (check.host && !*check.host)
		return cli_usage("check", "--host wants a node, such as beta");
	check.argv = argv + optind;
	int ok = check.host ? check_on_host(cli, &check) : check_all(cli, &check);
	rc = cli->json ? print_json(&check, ok) : 0;
	if (!cli->json)
		print(&check, ok);
	return ok && rc >= 0 ? CLI_OK : CLI_FAILED;
}
