/*
 * why: `brood why`, how a process ended, as far as the broker saw it or its parent said it.
 */
#include "output.h"
#include "signame.h"
#include "who.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

static const char help[] = "Example:\n"
			   "  brood why resize                  (how the last process of that name ended)\n"
			   "  brood why 65f2a1b0.7              (by address, as `brood ps` shows it)\n"
			   "  brood why -n 5 resize             (the last five, if it is started again and again)\n"
			   "  brood why                         (who ended lately, and not in peace)\n"
			   "\n"
			   "Usage: brood why [-n NUMBER] [--all] [NAME|ADDRESS|PID]\n"
			   "\n"
			   "Tell how a process of this broker ended, or that it lives: by itself, by a signal, by\n"
			   "its parent, by a time-out, for lack of memory, by the broker; what it used, and what\n"
			   "it wrote last to its standard error, if that went through its parent or to the\n"
			   "broker's log. The broker remembers the last 1024 that ended, unless it is told\n"
			   "otherwise (limits.exits), and forgets them when it ends itself.\n"
			   "\n"
			   "  -n NUMBER  at most so many, the newest first (default: 1; without a process: 20)\n"
			   "  --all      without a process: those too that said goodbye, exited with 0, or were\n"
			   "             ended by their parent as it wished\n"
			   "  --json     print {\"living\": ... or null, \"endings\": [...]}\n"
			   "\n"
			   "Exit status: 0 told, 1 not known here (the reason is on stderr), 2 wrong arguments.\n";

typedef Brood__Control__Ending ending;

/* ---- in words ---------------------------------------------------------------------------------------------------- */

static int is(const char *word, const char *other)
{
	return strcmp(word, other) == 0;
}

static const char *signal_name(uint32_t signo, char to[24])
{
	const char *name = signo < NSIG ? sigabbrev_np((int)signo) : NULL;
	if (name)
		snprintf(to, 24, "SIG%s", name);
	else
		snprintf(to, 24, "signal %u", signo);
	return to;
}

/* What happened, as the rest of a sentence that begins with its name. */
static const char *what_happened(const ending *e, char *to, size_t n)
{
	char name[24];
	if (is(e->cause, "exited"))
		snprintf(to, n, "exited with code %d", e->code);
	else if (is(e->cause, "signaled"))
		snprintf(to, n, "was killed by %s", signal_name(e->signo, name));
	else if (is(e->cause, "failed"))
		snprintf(to, n, "could not be started");
	else if (is(e->why, "left") || is(e->why, "closed"))
		snprintf(to, n, "%s", is(e->why, "left") ? "left" : "was disconnected by the broker");
	else
		snprintf(to, n, "%s", is(e->why, "lost") ? "was lost" : "ended");
	return to;
}

static int is_fault(uint32_t signo)
{
	return signo == SIGSEGV || signo == SIGBUS || signo == SIGILL || signo == SIGFPE || signo == SIGABRT ||
	       signo == SIGSYS || signo == SIGTRAP;
}

static const char *whose_signal(const ending *e)
{
	if (e->core)
		return is_fault(e->signo) ? "a fault of its own; core dumped"
					  : "the signal was not its parent's; core dumped";
	return is_fault(e->signo) ? "a fault of its own" : "the signal was not its parent's";
}

/* Of whom nobody but the broker said anything. */
static const char *what_was_seen(const ending *e)
{
	if (is(e->why, "closed"))
		return e->error;
	if (is(e->why, "left"))
		return "it said goodbye";
	if (is(e->why, "lost"))
		return e->parent ? "its connection ended without a goodbye"
				 : "its connection ended without a goodbye, and no parent saw how it ended";
	return "its parent did not say how";
}

/* Whose doing it was; "" if nothing is to be said about that. */
static const char *whose_doing(const ending *e)
{
	static const char *const table[][2] = {
		{ "kill", "its parent ended it" },
		{ "timeout", "its time was up, so its parent ended it" },
		{ "output", "it wrote more than it may, so its parent ended it" },
		{ "unready", "it was not ready in time, so its parent ended it" },
		{ "memory", "the kernel ended it: out of memory" },
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (is(e->ended_by, table[i][0]))
			return table[i][1];
	if (is(e->cause, "signaled"))
		return whose_signal(e);
	if (is(e->cause, "stolen"))
		return "its parent's program took the status elsewhere";
	return is(e->cause, "") ? what_was_seen(e) : "";
}

/* ---- for people -------------------------------------------------------------------------------------------------- */

static void print_usage(const ending *e)
{
	char lived[OUTPUT_SHORT], memory[OUTPUT_SHORT];
	int measured = is(e->cause, "exited") || is(e->cause, "signaled");
	if (is(e->cause, "failed"))
		return;
	printf("  lived       %s", output_age(measured ? e->wall_ms : e->lived_ms, lived));
	if (measured && e->max_rss_kib)
		printf("; %.2f s of CPU for itself, %.2f s in the kernel; at most %s of memory",
		       (double)e->user_us / 1e6, (double)e->system_us / 1e6,
		       output_bytes(e->max_rss_kib * 1024, memory));
	putchar('\n');
}

/* One line each, whatever is in it. */
static void print_tail(const ending *e)
{
	const char *at = (const char *)e->tail.data, *end = at + e->tail.len;
	char line[2100], safe[2100];
	if (!e->tail.len)
		return;
	puts("  last words  on its standard error:");
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t n = (size_t)((newline ? newline : end) - at);
		snprintf(line, sizeof line, "%.*s", (int)n, at);
		output_safe(line, safe, sizeof safe);
		printf("    %s\n", safe);
		at += n + 1;
	}
}

static void print_label(const char *what, const char *text)
{
	char safe[600];
	output_safe(text, safe, sizeof safe);
	if (*safe)
		printf("  %-11s %s\n", what, safe);
}

static void print_ending(const ending *e)
{
	char who[WHO_TEXT], what[160], age[OUTPUT_SHORT], text[160];
	const char *doing = whose_doing(e);
	printf("%s %s %s ago%s%s\n", who_ended(e, who), what_happened(e, what, sizeof what), output_age(e->ago_ms, age),
	       *doing ? ": " : "", doing);
	print_label("names", strchr(e->name, ' ') ? e->name : "");
	snprintf(text, sizeof text, "%s, of user %u", e->title, e->uid);
	print_label("program", text);
	snprintf(text, sizeof text, "%s%s%s%s", e->parent_title, *e->parent_title ? " (" : "", e->parent_address,
		 *e->parent_title ? ")" : "");
	print_label("parent", text);
	print_usage(e);
	print_label(is(e->why, "closed") ? "the broker" : "its parent", e->text);
	print_tail(e);
}

static void print_living(const Brood__Control__Process *p)
{
	char who[WHO_TEXT], age[OUTPUT_SHORT];
	printf("%s has not ended: it is %s, here for %s\n", who_living(p, who), p->state, output_age(p->since_ms, age));
}

static void print_row(const ending *e)
{
	char name[64], title[32], what[160], age[OUTPUT_SHORT];
	const char *doing = whose_doing(e);
	output_safe(*e->name ? e->name : "-", name, sizeof name);
	output_safe(*e->title ? e->title : "-", title, sizeof title);
	printf("%8s %-20s %-16s %8u  %-16s %s%s%s\n", output_age(e->ago_ms, age), e->address, name, e->pid, title,
	       what_happened(e, what, sizeof what), *doing ? ": " : "", doing);
}

static void print_table(const Brood__Control__Endings *all)
{
	printf("%8s %-20s %-16s %8s  %-16s %s\n", "AGO", "ADDRESS", "NAME", "PID", "PROGRAM", "HOW");
	for (size_t i = 0; i < all->n_ending; i++)
		print_row(all->ending[i]);
}

static void print_all(const Brood__Control__Endings *all)
{
	if (all->living)
		print_living(all->living);
	for (size_t i = 0; i < all->n_ending; i++)
		print_ending(all->ending[i]);
}

/* ---- for programs ------------------------------------------------------------------------------------------------ */

static json_t *string(const char *text)
{
	return output_json_bytes(text, strlen(text));
}

static json_t *living_as_json(const Brood__Control__Process *p)
{
	if (!p)
		return json_null();
	return json_pack("{s:s, s:o, s:o, s:i, s:i, s:s, s:I}", "address", p->address, "name", string(p->name),
			 "program", string(p->title), "pid", (int)p->pid, "uid", (int)p->uid, "state", p->state,
			 "age_ms", (json_int_t)p->since_ms);
}

static json_t *ending_as_json(const ending *e)
{
	json_t *who = json_pack("{s:s, s:o, s:o, s:s, s:o, s:i, s:i, s:I, s:I}", "address", e->address, "name",
				string(e->name), "program", string(e->title), "parent", e->parent_address,
				"parent_program", string(e->parent_title), "pid", (int)e->pid, "uid", (int)e->uid,
				"ago_ms", (json_int_t)e->ago_ms, "known_ms", (json_int_t)e->lived_ms);
	json_t *how = json_pack("{s:s, s:s, s:s, s:i, s:i, s:b, s:s, s:s, s:s}", "why", e->why, "error", e->error,
				"cause", e->cause, "code", e->code, "signal", (int)e->signo, "core", e->core,
				"ended_by", e->ended_by, "stage", e->stage, "text", e->text);
	json_t *used = json_pack("{s:I, s:I, s:I, s:I, s:o}", "wall_ms", (json_int_t)e->wall_ms, "user_us",
				 (json_int_t)e->user_us, "system_us", (json_int_t)e->system_us, "max_rss_kib",
				 (json_int_t)e->max_rss_kib, "tail", output_json_bytes(e->tail.data, e->tail.len));
	int rc = who && how && used ? json_object_update(who, how) | json_object_update(who, used) : -1;
	json_decref(how);
	json_decref(used);
	if (rc == 0)
		return who;
	json_decref(who);
	return NULL;
}

static int print_json(const Brood__Control__Endings *all)
{
	json_t *endings = json_array();
	int rc = 0;
	for (size_t i = 0; i < all->n_ending && rc == 0; i++)
		rc = json_array_append_new(endings, ending_as_json(all->ending[i]));
	if (rc < 0) {
		json_decref(endings);
		return output_json(NULL);
	}
	return output_json(json_pack("{s:o, s:o}", "living", living_as_json(all->living), "endings", endings));
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int tell(const struct cli *cli, brood *b, const char *text, long most, int all)
{
	struct who who;
	int rc = who_ask(b, text, (unsigned)most, all, &who);
	if (rc < 0) {
		session_explain("why", brood_last_error(b));
		return CLI_FAILED;
	}
	if (cli->json)
		rc = print_json(who.known);
	else if (text)
		print_all(who.known);
	else
		print_table(who.known);
	who_deinit(&who);
	return rc < 0 ? CLI_FAILED : CLI_OK;
}

int cli_why(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS, { "all", no_argument, NULL, 'A' }, CLI_OPTIONS_END };
	long most = 0;
	brood *b;
	int c, rc, all = 0;
	while ((c = getopt_long(argc, argv, "n:", options, NULL)) != -1)
		if (c == 'n')
			most = cli_number(optarg, 1, 32);
		else if (c == 'A')
			all = 1;
		else if ((rc = cli_option(cli, c, help)) != CLI_GO_ON)
			return rc;
	if (most < 0)
		return cli_usage("why", "-n wants a number from 1 to 32");
	if (argc - optind > 1)
		return cli_usage("why", "it takes one process, or none");
	if (session_open(cli, &b) < 0)
		return CLI_FAILED;
	rc = tell(cli, b, argv[optind], most ? most : argv[optind] ? 1 : 20, all);
	brood_close(b);
	return rc;
}
