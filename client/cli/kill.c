/*
 * kill: `brood kill`, a signal for processes that are named as brood names them.
 *
 * The broker sends no signals: it may not, and its word alone would not be enough, because a process can end between its
 * answer and our signal. So it is asked, the process is held (see target), and it is asked once more whether that one still
 * lives. What runs where that cannot be done from here, on another host or in a container, is signalled by the nursery that
 * started it.
 */
#include "nursery.pb-c.h"
#include "output.h"
#include "signame.h"
#include "target.h"
#include "who.h"
#include <brood/pb.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE_MS 10000

static const char help[] =
	"Example:\n"
	"  brood kill resize                 (TERM for the process that has this name)\n"
	"  brood kill -s HUP 65f2a1b0.7      (by address, as `brood ps` shows it)\n"
	"  brood kill -s KILL --tree resize  (with all in its process group)\n"
	"\n"
	"Usage: brood kill [-s SIGNAL] [--tree] [--nursery NAME] NAME|ADDRESS|PID ...\n"
	"\n"
	"Send a signal to processes that run on this host, and that you may signal, and to those\n"
	"that the nursery of another (beta/65f2a1b0.7) started for you. A pid that belongs to\n"
	"another process by now is not hit.\n"
	"\n"
	"  -s SIGNAL  by name or number (default: TERM)\n"
	"  --tree     also all other processes of its process group: what a child of brood starts\n"
	"             is in there, unless it made a group or session of its own\n"
	"  --nursery NAME\n"
	"             the nursery that started it, there (default: nursery)\n"
	"  --json     print [{\"process\", \"address\", \"pid\", \"signal\", \"error\"}], error \"\": it was\n"
	"             sent\n"
	"\n"
	"Exit status: 0 all were sent, 1 some were not (the reasons are on stderr), 2 wrong\n"
	"arguments.\n";

struct order {
	int signo, tree;
	const char *nursery;
	json_t *report; /* NULL: none is wanted */
};

struct attempt { /* one process */
	const char *text;
	char label[WHO_TEXT], address[32], why[400];
	uint32_t pid;
};

static int is_same(const Brood__Control__Process *p, const Brood__Control__Process *again)
{
	return again && again->id == p->id && again->pid == p->pid;
}

/* Is it, now that it is held, still the one? */
static int lives_on(brood *b, const char *text, const Brood__Control__Process *p)
{
	struct who again;
	if (who_ask(b, text, 1, 0, &again) < 0)
		return 0;
	int same = is_same(p, again.known->living);
	who_deinit(&again);
	return same;
}

static const char *reason(int rc)
{
	if (rc == -ENOTSUP)
		return "it leads no process group; leave --tree out to signal it alone";
	if (rc == -EPERM)
		return "you may not signal processes of its user";
	return rc == -ESRCH ? "it has just ended" : strerror(-rc);
}

/* Where it runs, who started it there can: it is the nursery's child. */
static int ask_nursery(brood *b, const Brood__Control__Process *p, const struct order *order, const char *text)
{
	Brood__Nursery__Signal ask = BROOD__NURSERY__SIGNAL__INIT;
	const char *slash = strchr(text, '/');
	brood_peer *nursery = NULL;
	brood_msg *answer = NULL;
	char name[160];
	snprintf(name, sizeof name, "%.*s%s", slash ? (int)(slash + 1 - text) : 0, text, order->nursery);
	ask.id = p->id;
	ask.signo = (uint32_t)order->signo;
	ask.tree = order->tree;
	int rc = brood_find(b, &nursery, name, NULL);
	if (rc == 0)
		rc = brood_call_pb(nursery, &ask.base, PATIENCE_MS, &answer);
	brood_release(nursery);
	brood_msg_release(answer);
	return rc;
}

static int signal_there(brood *b, const Brood__Control__Process *p, const struct order *order, struct attempt *a)
{
	int rc = ask_nursery(b, p, order, a->text);
	const char *error = brood_last_error(b)->text;
	size_t n = strlen(a->why);
	if (rc == 0)
		a->why[0] = '\0';
	else
		snprintf(a->why + n, sizeof a->why - n, " (or by the nursery that started it; but %s)", error);
	return rc;
}

static int signal_living(brood *b, const Brood__Control__Process *p, const struct order *order, struct attempt *a)
{
	struct target target;
	int rc = target_hold(&target, p, a->why, sizeof a->why);
	if (rc == -EXDEV)
		return signal_there(b, p, order, a);
	if (rc < 0)
		return rc;
	rc = lives_on(b, a->text, p) ? target_signal(&target, order->signo, order->tree) : -ESRCH;
	target_release(&target);
	if (rc < 0)
		snprintf(a->why, sizeof a->why, "%s", reason(rc));
	return rc;
}

static int has_ended(struct attempt *a, const Brood__Control__Ending *e)
{
	char age[OUTPUT_SHORT];
	who_ended(e, a->label);
	snprintf(a->why, sizeof a->why, "it ended %s ago; see how with: brood why %s", output_age(e->ago_ms, age),
		 e->address);
	return -1;
}

static int signal_known(brood *b, const Brood__Control__Endings *known, const struct order *order, struct attempt *a)
{
	const Brood__Control__Process *p = known->living;
	if (!p)
		return has_ended(a, known->ending[0]);
	who_living(p, a->label);
	snprintf(a->address, sizeof a->address, "%s", p->address);
	a->pid = p->pid;
	return signal_living(b, p, order, a);
}

static int signal_one(brood *b, const struct order *order, struct attempt *a)
{
	struct who who;
	output_safe(a->text, a->label, sizeof a->label);
	if (who_ask(b, a->text, 1, 0, &who) < 0) {
		const struct brood_error *e = brood_last_error(b);
		snprintf(a->why, sizeof a->why, "%s", e->text);
		return -1;
	}
	int rc = signal_known(b, who.known, order, a);
	who_deinit(&who);
	return rc;
}

static int report(const struct order *order, const struct attempt *a)
{
	if (*a->why)
		fprintf(stderr, "brood kill: %s: %s\n", a->label, a->why);
	if (!order->report)
		return 0;
	return json_array_append_new(order->report,
				     json_pack("{s:o, s:s, s:i, s:i, s:s}", "process",
					       output_json_bytes(a->text, strlen(a->text)), "address", a->address,
					       "pid", (int)a->pid, "signal", order->signo, "error", a->why));
}

static int signal_all(brood *b, const struct cli *cli, struct order *order, char **peers)
{
	int status = CLI_OK, broken = 0;
	order->report = cli->json ? json_array() : NULL;
	for (; *peers; peers++) {
		struct attempt a = { .text = *peers };
		if (signal_one(b, order, &a) < 0)
			status = CLI_FAILED;
		broken |= report(order, &a);
	}
	if (!cli->json)
		return status;
	if (broken) {
		json_decref(order->report);
		order->report = NULL;
	}
	return output_json(order->report) < 0 ? CLI_FAILED : status;
}

int cli_kill(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS,
						 { "signal", required_argument, NULL, 's' },
						 { "tree", no_argument, NULL, 't' },
						 { "nursery", required_argument, NULL, 'n' },
						 CLI_OPTIONS_END };
	struct order order = { .signo = SIGTERM, .nursery = "nursery" };
	brood *b;
	int c, rc;
	while ((c = getopt_long(argc, argv, "s:", options, NULL)) != -1) {
		if (c == 's')
			order.signo = signame_number(optarg);
		else if (c == 't')
			order.tree = 1;
		else if (c == 'n')
			order.nursery = optarg;
		else if ((rc = cli_option(cli, c, help)) != CLI_GO_ON)
			return rc;
	}
	if (order.signo == 0)
		return cli_usage("kill", "-s wants a signal by name or number, such as TERM");
	if (optind == argc)
		return cli_usage("kill", "it takes at least one process");
	if (session_open(cli, &b) < 0)
		return CLI_FAILED;
	rc = signal_all(b, cli, &order, argv + optind);
	brood_close(b);
	return rc;
}
