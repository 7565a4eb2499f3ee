/*
 * worker: `brood worker NAME -- FILTER`, any program that turns lines into lines as a process that answers requests.
 *
 * A line has no number, so order is all there is: the filter's next line answers the oldest question that it was given.
 * Whatever could shift that (a body of two lines, a filter that ended) is refused or ends those questions; it never
 * answers one with the line of another.
 *
 * The worker ends when told to, and nothing is in hand; or when its filter has ended too often.
 */
#include "address.h"
#include "caught.h"
#include "ending.h"
#include "filter.h"
#include "output.h"
#include "queue.h"
#include "session.h"
#include <errno.h>
#include <signal.h>
#include <time.h>

#define PATIENCE_MS 1000      /* with a filter that reads or writes no more, but does not end */
#define END_PATIENCE_MS 5000  /* ... that was told that no more lines come */
#define BACK_OFF_MS 100       /* before the first restart; then twice as long each time ... */
#define BACK_OFF_MOST_MS 5000 /* ... up to this */
#define MINUTE_MS 60000
#define RESTARTS_MOST 1000
#define ROOM 16
#define ROOM_MOST 100000

static const char help[] =
	"Example:\n"
	"  brood worker upper -- sed -u 's/.*/\\U&/'\n"
	"  brood request upper hello                 (prints HELLO)\n"
	"\n"
	"Usage: brood worker NAME [--room N] [--restart N] [--no-reply] -- FILTER [ARGUMENTS]\n"
	"\n"
	"Start FILTER once and take NAME. The body of each message becomes a line on FILTER's\n"
	"input; each line that it writes answers the oldest open request, so it must write exactly\n"
	"one for each, at once: many programs gather their output unless told otherwise (sed -u,\n"
	"grep --line-buffered, gawk with fflush(), stdbuf -oL). A body is text of at most 65536\n"
	"bytes without a newline, else it is refused; a line of FILTER has at most 1 MiB.\n"
	"\n"
	"  --room N     most lines that FILTER has not answered yet (default: 16); more requests\n"
	"               wait, in order, and fill their senders' windows\n"
	"  --restart N  when FILTER ends, start it again, at most N times a minute, after a pause\n"
	"               of 100 ms that doubles; open requests end in an error either way\n"
	"  --no-reply   FILTER writes no line for messages that are no requests\n"
	"  --json       at the end, print {\"answered\", \"messages\", \"refused\", \"restarts\", \"status\"}\n"
	"\n"
	"TERM, INT or HUP: give up NAME, finish what is in hand, end. The same again: end at once.\n"
	"\n"
	"Exit status: 0 told to end and all was finished; FILTER's own if it ended first; 128+N if\n"
	"signal N ended it, or this command at once; 125 if brood failed; 126 if FILTER cannot be\n"
	"executed, 127 if it does not exist; 2 wrong arguments.\n";

struct worker {
	const char *name;
	const char *const *argv;
	unsigned room;
	int no_reply;
	long restarts_most; /* a minute */
	brood *b;
	struct filter filter;
	struct queue queue;
	int named;                         /* the name was asked for */
	int ending, over;                  /* told to end; done */
	int status;                        /* what we exit with */
	uint64_t alarm;                    /* when to act, see look_at_clock(); 0: not */
	uint64_t back_off;                 /* before the next restart */
	uint64_t restarted[RESTARTS_MOST]; /* when; a ring */
	unsigned long restarts, answered, messages, refused, unasked;
};

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- lines to the filter ----------------------------------------------------------------------------------------- */

static void end_filter_if_done(struct worker *w)
{
	if (!w->ending || !queue_is_empty(&w->queue) || w->over)
		return;
	if (!w->filter.peer) {
		w->over = 1;
		return;
	}
	filter_end(&w->filter);
	if (!w->alarm)
		w->alarm = now_ms() + END_PATIENCE_MS;
}

/* Give the filter what it has room for. */
static void feed(struct worker *w)
{
	struct task *t;
	while (w->filter.running && w->queue.n_given < w->room && (t = queue_next(&w->queue))) {
		int rc = filter_write(&w->filter, t->msg->body, t->msg->length);
		if (rc == 0 && (t->is_question || !w->no_reply)) {
			queue_give(&w->queue);
		} else if (rc == 0) {
			w->messages++;
			queue_skip(&w->queue);
		} else {
			if (rc != -EAGAIN && !w->alarm)
				w->alarm = now_ms() + PATIENCE_MS;
			break;
		}
	}
	(void)queue_next(&w->queue); /* those that nobody waits for any more */
	end_filter_if_done(w);
}

static void filter_moved(void *data)
{
	struct worker *w = data;
	if (w->filter.useless && !w->alarm)
		w->alarm = now_ms() + PATIENCE_MS;
	feed(w);
}

static void took_line(void *data, const char *line, size_t n)
{
	struct worker *w = data;
	struct task *t = TAILQ_FIRST(&w->queue.given);
	int is_question = t && t->is_question;
	if (queue_answer(&w->queue, line, n)) {
		w->answered += is_question != 0;
		w->messages += !is_question;
	} else if (w->unasked++ == 0) {
		fprintf(stderr, "brood worker: the filter wrote a line that nobody asked for; it is ignored\n");
	}
	feed(w);
}

/* ---- the filter's life ------------------------------------------------------------------------------------------- */

static void finish(struct worker *w, int status)
{
	w->status = status;
	w->over = 1;
}

static void filter_started(void *data)
{
	struct worker *w = data;
	w->unasked = 0;
	if (w->named) {
		feed(w);
		return;
	}
	w->named = 1;
	if (brood_register(w->b, w->name) < 0) {
		session_explain("worker", brood_last_error(w->b));
		finish(w, ENDING_FAILED);
	}
}

/* The N-th last restart was more than a minute ago. */
static int may_restart(const struct worker *w, uint64_t now)
{
	if (w->restarts_most == 0)
		return 0;
	if (w->restarts < (unsigned long)w->restarts_most)
		return 1;
	return now - w->restarted[(w->restarts - (unsigned long)w->restarts_most) % RESTARTS_MOST] >= MINUTE_MS;
}

static void plan_restart(struct worker *w, uint64_t now)
{
	uint64_t last = w->restarts ? w->restarted[(w->restarts - 1) % RESTARTS_MOST] : 0;
	if (!last || now - last > 2 * BACK_OFF_MOST_MS) /* it was well since */
		w->back_off = BACK_OFF_MS;
	w->alarm = now + w->back_off;
	w->back_off = w->back_off * 2 < BACK_OFF_MOST_MS ? w->back_off * 2 : BACK_OFF_MOST_MS;
}

static void restart(struct worker *w)
{
	w->restarted[w->restarts++ % RESTARTS_MOST] = now_ms();
	if (filter_start(&w->filter, w->b, w->argv) < 0) {
		session_explain("worker", brood_last_error(w->b));
		finish(w, ENDING_FAILED);
	}
}

/* Those that wait too, if there will be no other filter. */
static void fail_tasks(struct worker *w, const char *why, int is_last)
{
	char text[400];
	snprintf(text, sizeof text, "the filter of %s, %s, %s", w->name, w->argv[0], why);
	unsigned plain = queue_fail_given(&w->queue, -EREMOTEIO, text);
	if (is_last)
		plain += queue_fail_waiting(&w->queue, -EREMOTEIO, text);
	fprintf(stderr, "brood worker: %s\n", text);
	if (plain)
		fprintf(stderr, "  %u messages may be lost with it\n", plain);
}

static void filter_gone(void *data, const struct brood_exit *x, const struct brood_error *e)
{
	struct worker *w = data;
	uint64_t now = now_ms();
	w->alarm = 0;
	if (w->over)
		return;
	if (w->ending && queue_is_empty(&w->queue)) {
		int status = x && x->ended_by == BROOD_BY_ITSELF ? ending_status(x) : ENDING_FAILED;
		if (status == ENDING_FAILED)
			fprintf(stderr, "brood worker: %s: %s\n", w->argv[0], x ? x->text : e->text);
		finish(w, status);
		return;
	}
	int again = w->named && may_restart(w, now); /* one that never started is a mistake rather than bad luck */
	if (x)
		fail_tasks(w, x->text, !again);
	else
		session_explain("worker", e);
	if (again)
		plan_restart(w, now);
	else
		finish(w, x ? ending_status(x) : ending_of_error(e));
	end_filter_if_done(w);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* NULL, or why the filter must not get it. */
static const char *unfit(const brood_msg *msg)
{
	if (msg->length > FILTER_LINE_IN)
		return "a body for this worker has at most 65536 bytes";
	if (memchr(msg->body, '\n', msg->length))
		return "a body for this worker is one line, without a newline: send it with printf %s, not echo";
	return NULL;
}

static int refuse(struct worker *w, brood_msg *msg, int code, const char *why)
{
	w->refused++;
	if (msg->wants_reply)
		return brood_reply_error(msg, code, why);
	fprintf(stderr, "brood worker: a message was refused: %s\n", why);
	return 0;
}

static int message(const brood_event *ev)
{
	struct worker *w = ev->data;
	const char *why = unfit(ev->msg);
	if (why)
		return refuse(w, ev->msg, -EINVAL, why);
	if (w->ending)
		return refuse(w, ev->msg, -ESHUTDOWN, "this worker is ending");
	if (queue_add(&w->queue, ev->msg) < 0)
		return refuse(w, ev->msg, -ENOMEM, "out of memory");
	feed(w);
	return 0;
}

/* Of the handle: no broker, or not this name. Others are about people who went away. */
static int failed(const brood_event *ev)
{
	struct worker *w = ev->data;
	if (ev->peer != brood_self(ev->handle) || w->over)
		return 0;
	session_explain("worker", ev->error);
	finish(w, ENDING_FAILED);
	return 0;
}

/* ---- signals and time -------------------------------------------------------------------------------------------- */

static void told_to_end(struct worker *w, int signo)
{
	if (w->ending) {
		finish(w, ENDING_SIGNAL + signo);
		return;
	}
	w->ending = 1;
	(void)brood_unregister(w->b, NULL);
	end_filter_if_done(w);
}

static int woken(const brood_event *ev)
{
	struct worker *w = ev->data;
	struct caught c;
	while (!w->over && (c = caught_next()).signo)
		told_to_end(w, c.signo);
	return 0;
}

/* Without a filter it is time for the next one, else the one there is should be gone by now. */
static void look_at_clock(struct worker *w)
{
	if (!w->alarm || now_ms() < w->alarm || w->over)
		return;
	w->alarm = 0;
	if (w->filter.peer)
		filter_kill(&w->filter, 0);
	else
		restart(w);
}

static int time_left(const struct worker *w)
{
	uint64_t now = now_ms();
	return !w->alarm ? -1 : w->alarm > now ? (int)(w->alarm - now) : 0;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int report(const struct worker *w, const struct cli *cli)
{
	if (!cli->json)
		return 0;
	return output_json(json_pack("{s:I, s:I, s:I, s:I, s:i}", "answered", (json_int_t)w->answered, "messages",
				     (json_int_t)w->messages, "refused", (json_int_t)w->refused, "restarts",
				     (json_int_t)w->restarts, "status", w->status));
}

static void wind_up(struct worker *w)
{
	caught_wake(NULL);
	(void)queue_fail_given(&w->queue, -ESHUTDOWN, "this worker has ended");
	unsigned plain = queue_fail_waiting(&w->queue, -ESHUTDOWN, "this worker has ended");
	if (plain)
		fprintf(stderr, "brood worker: %u messages were not worked on\n", plain);
	filter_kill(&w->filter, 1);
	brood_close(w->b);
	filter_deinit(&w->filter);
}

static int work(const struct cli *cli, struct worker *w)
{
	int rc = brood_connect(
		&w->b, cli->address,
		BROOD_OPTIONS(.on = BROOD_ON(.message = message, .error = failed, .wake = woken), .data = w));
	if (rc < 0) {
		fprintf(stderr, "brood worker: %s\n", strerror(-rc));
		return ENDING_FAILED;
	}
	rc = filter_start(&w->filter, w->b, w->argv);
	caught_wake(w->b);
	while (rc >= 0 && !w->over) {
		rc = brood_process(w->b, time_left(w));
		look_at_clock(w);
	}
	if (rc < 0)
		session_explain("worker", brood_last_error(w->b));
	wind_up(w);
	return report(w, cli) < 0 ? ENDING_FAILED : w->status;
}

static const char *take(struct worker *w, int option, const char *value)
{
	long n;
	switch (option) {
	case 'r':
		n = cli_number(value, 1, ROOM_MOST);
		w->room = n > 0 ? (unsigned)n : 0;
		return n > 0 ? NULL : "--room wants a number from 1 to 100000";
	case 'R':
		w->restarts_most = cli_number(value, 0, RESTARTS_MOST);
		return w->restarts_most >= 0 ? NULL : "--restart wants a number from 0 to 1000";
	default:
		w->no_reply = 1;
		return NULL;
	}
}

static const struct option options[] = { CLI_OPTIONS,
					 { "room", required_argument, NULL, 'r' },
					 { "restart", required_argument, NULL, 'R' },
					 { "no-reply", no_argument, NULL, 'N' },
					 CLI_OPTIONS_END };

/* On both sides of NAME; "--" ends them. CLI_GO_ON, or the status with which to leave. */
static int read_options(struct cli *cli, struct worker *w, int argc, char **argv)
{
	int c, rc;
	while ((c = getopt_long(argc, argv, "-", options, NULL)) != -1) {
		if (c == 1 && w->name)
			break;
		if (c == 1) {
			w->name = optarg;
			continue;
		}
		int is_common = strchr("hja?", c) != NULL;
		const char *wrong = is_common ? NULL : take(w, c, optarg);
		if (is_common && (rc = cli_option(cli, c, help)) != CLI_GO_ON)
			return rc;
		if (wrong)
			return cli_usage("worker", wrong);
	}
	if (c == 1)
		optind--;
	if (!w->name || optind == argc)
		return cli_usage("worker", "it needs a name and a filter: brood worker NAME -- FILTER");
	if (!name_is_valid(w->name))
		return cli_usage("worker", "NAME is 1 to 63 of a-z 0-9 . _ - and begins with a letter, a digit or _");
	w->argv = (const char *const *)argv + optind;
	return CLI_GO_ON;
}

int cli_worker(struct cli *cli, int argc, char **argv)
{
	static const int caught[] = { SIGTERM, SIGINT, SIGHUP, 0 };
	static struct worker w = { .room = ROOM, .status = ENDING_FAILED, .back_off = BACK_OFF_MS };
	static const struct filter_owner owner = { &w, filter_started, took_line, filter_moved, filter_gone };
	int rc = read_options(cli, &w, argc, argv);
	if (rc != CLI_GO_ON)
		return rc;
	queue_init(&w.queue);
	filter_init(&w.filter, &owner);
	caught_catch(caught);
	signal(SIGPIPE, SIG_IGN); /* whoever read our complaints may be gone */
	signal(SIGCHLD, SIG_DFL); /* ignored, it would take the filter's status */
	return work(cli, &w);
}
