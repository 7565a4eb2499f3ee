/*
 * pipe: `brood pipe NAME --in PATH --out PATH`, messages for programs that can only write to files and read from them.
 *
 * One loop with three descriptors. What comes in is read only when it can be passed on: while NAME's window is full, or
 * (with --request) ROOM questions are open, writers to the FIFO wait as at any full pipe. What goes out is kept until the
 * reader has room for it.
 *
 * It ends when told to (what was written to the FIFO before that is still passed on), when NAME goes, or when the broker
 * does.
 */
#include "caught.h"
#include "ending.h"
#include "inlet.h"
#include "outlet.h"
#include "output.h"
#include "session.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define ROOM 16u     /* open requests */
#define FLUSH_MS 100 /* what has to arrive was waited for before */

static const char help[] =
	"Example:\n"
	"  brood worker upper -- sed -u 's/.*/\\U&/' &\n"
	"  brood pipe upper --request --in ask --out answers &\n"
	"  until [ -p answers ]; do sleep 0.1; done\n"
	"  echo hello >ask; head -n 1 answers        (prints HELLO)\n"
	"\n"
	"Usage: brood pipe NAME [--in PATH] [--out PATH] [--name ME] [--request] [--raw]\n"
	"       brood pipe --name ME --out PATH\n"
	"\n"
	"Make named pipes for NAME (a registered name, or an address as `brood ps` shows it): each\n"
	"line written to the one becomes a message to NAME, each message from NAME a line on the\n"
	"other. Scripts may open and close their ends as they like.\n"
	"\n"
	"  --in PATH     made here; a line has at most 65536 bytes and ends in a newline, else it\n"
	"                is dropped, with a message\n"
	"  --out PATH    made here; a message with a newline in it is refused\n"
	"  --name ME     take this name; everybody's messages come out\n"
	"  --request     lines are requests, and their replies come out, in order; one that fails is\n"
	"                an empty line, and its reason is on stderr\n"
	"  --raw         records, not lines: a length of 4 bytes, little-endian, and so many bytes\n"
	"  --type TYPE   name of the bodies' type (default: text)\n"
	"  --timeout MS  wait this long for NAME to appear, and for a reply (default: 10000)\n"
	"  --json        at the end, print {\"sent\", \"received\", \"dropped\", \"failed\"}\n"
	"\n"
	"A reader that is slow slows senders down, and NAME does writers. TERM, INT or HUP: pass on\n"
	"what was written, end. The same again: end at once. The pipes are removed.\n"
	"\n"
	"Exit status: 0 told to end, and all was passed on; 1 something was not, NAME or the broker is\n"
	"gone; 2 wrong arguments; 128+N ended at once by signal N.\n";

struct piper {
	const char *to, *name, *in_path, *out_path, *type;
	long timeout_ms;
	int raw, request;
	brood *b;
	brood_peer *peer; /* NULL: nobody to write to */
	struct inlet in;
	struct outlet out;
	const void *body; /* what NAME has no room for yet; NULL: nothing */
	size_t length;
	int full;               /* until DRAIN */
	int ending, gone, over; /* told to; NAME is gone; now */
	int status;             /* what we exit with */
	uint64_t deadline;      /* ending: then it is over */
	unsigned long sent, received, failed;
	unsigned long open; /* requests */
};

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void finish(struct piper *p, int status)
{
	p->over = 1;
	p->status = status;
}

static void fail(struct piper *p, const struct brood_error *error)
{
	p->failed++;
	session_explain("pipe", error);
}

static void lose(struct piper *p, const char *what)
{
	p->failed++;
	fprintf(stderr, "brood pipe: %s is lost: out of memory\n", what);
}

/* ---- out --------------------------------------------------------------------------------------------------------- */

static int message(const brood_event *ev)
{
	struct piper *p = ev->data;
	if (ev->msg->wants_reply)
		return brood_reply_error(ev->msg, -ENOSYS, "brood pipe answers no requests; brood worker does");
	if (!p->out.path)
		return 0;
	if (!outlet_takes(&p->out, ev->msg)) {
		p->failed++;
		fprintf(stderr, "brood pipe: a message has more than one line, and is dropped; --raw takes it\n");
		return 0;
	}
	brood_msg *kept = brood_msg_keep(ev->msg);
	struct line *l = kept ? outlet_reserve(&p->out, p) : NULL;
	if (!l) {
		brood_msg_release(kept);
		lose(p, "a message");
		return -ENOMEM;
	}
	outlet_fill(l, kept);
	p->received++;
	return 0;
}

static int answered(const brood_event *ev)
{
	struct line *l = ev->data;
	struct piper *p = l->data;
	brood_msg *kept = NULL;
	p->open--;
	if (ev->error && !p->over) {
		fail(p, ev->error);
	} else if (!ev->error && !outlet_takes(&p->out, ev->msg)) {
		fprintf(stderr, "brood pipe: a reply has more than one line; --raw takes it\n");
		p->failed++;
	} else if (!ev->error && !(kept = brood_msg_keep(ev->msg))) {
		lose(p, "a reply");
	}
	p->received += kept != NULL;
	outlet_fill(l, kept);
	return 0;
}

/* ---- in ---------------------------------------------------------------------------------------------------------- */

/* The reply has its place in the order from now on, also of a question that cannot be asked. */
static int ask(struct piper *p, const struct brood_out *question)
{
	struct line *l = outlet_reserve(&p->out, p);
	if (!l) {
		lose(p, "a request");
		finish(p, CLI_FAILED); /* the next reply would stand for its own */
		return -ENOMEM;
	}
	int64_t rc = brood_request(p->peer, question, (int)p->timeout_ms, answered, l);
	if (rc > 0)
		p->open++;
	else if (rc == -EAGAIN)
		outlet_unreserve(&p->out, l);
	else
		outlet_fill(l, NULL);
	return rc > 0 ? 0 : (int)rc;
}

/* What waits, or the next line. 1: go on, 0: nothing to do now. */
static int pass_one(struct piper *p)
{
	if (!p->body && inlet_next(&p->in, &p->body, &p->length) == 0)
		return 0;
	const struct brood_out *m = BROOD_MSG(p->type, p->body, p->length);
	int rc = p->request ? ask(p, m) : brood_send(p->peer, m);
	if (rc == -EAGAIN) {
		p->full = 1;
		return 0;
	}
	p->body = NULL;
	if (rc == 0)
		p->sent++;
	else if (!p->over)
		fail(p, brood_last_error(p->b));
	return 1;
}

static int may_pass(const struct piper *p)
{
	return p->in.path && !p->full && !p->gone && !p->over && (!p->request || p->out.n < ROOM);
}

/* As much as NAME takes of what is there. */
static void pass_on(struct piper *p, int readable)
{
	int rc = 0;
	while (rc == 0 && may_pass(p)) {
		while (may_pass(p) && pass_one(p))
			;
		if (!may_pass(p) || !(readable || p->in.more))
			break;
		readable = 0;
		rc = inlet_read(&p->in);
	}
	if (rc == 0)
		return;
	fprintf(stderr, "brood pipe: %s: %s\n", p->in.path, strerror(-rc));
	finish(p, CLI_FAILED);
}

/* ---- NAME and the broker ----------------------------------------------------------------------------------------- */

static int drained(const brood_event *ev)
{
	struct piper *p = ev->data;
	p->full = 0;
	return 0;
}

static int peer_failed(const brood_event *ev)
{
	struct piper *p = ev->data;
	if (!p->over)
		fail(p, ev->error);
	p->full = 0;
	p->gone = 1;
	return 0;
}

static int peer_gone(const brood_event *ev)
{
	struct piper *p = ev->data;
	if (p->over || p->gone)
		return 0;
	p->gone = 1;
	if (!p->ending)
		fprintf(stderr, "brood pipe: %s is gone%s%s\n", p->to, ev->error ? ": " : "",
			ev->error ? ev->error->text : "");
	return 0;
}

static int handle_failed(const brood_event *ev)
{
	struct piper *p = ev->data;
	if (ev->peer != brood_self(ev->handle) || p->over)
		return 0;
	session_explain("pipe", ev->error);
	finish(p, CLI_FAILED);
	return 0;
}

static int woken(const brood_event *ev)
{
	struct piper *p = ev->data;
	struct caught c;
	while (!p->over && (c = caught_next()).signo) {
		if (p->ending)
			finish(p, ENDING_SIGNAL + c.signo);
		p->ending = 1;
		p->deadline = now_ms() + (uint64_t)p->timeout_ms;
	}
	return 0;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* Nothing is left to be done, or to be waited for. */
static void see_whether_over(struct piper *p)
{
	if (p->over || !(p->ending || p->gone))
		return;
	int rest = p->open > 0 || (!p->gone && (p->body || p->in.more));
	if (p->ending && now_ms() >= p->deadline) {
		if (rest || outlet_waits(&p->out))
			p->failed++;
		finish(p, CLI_OK);
	} else if (!rest && !outlet_waits(&p->out)) {
		finish(p, p->ending ? CLI_OK : CLI_FAILED);
	}
}

static int time_left(const struct piper *p)
{
	uint64_t now = now_ms();
	if (!p->ending)
		return -1;
	return p->deadline > now ? (int)(p->deadline - now) : 0;
}

static void turn(struct piper *p)
{
	struct pollfd fds[3] = { { .fd = brood_fd(p->b), .events = POLLIN },
				 { .fd = may_pass(p) && !p->ending ? p->in.fd : -1, .events = POLLIN },
				 { .fd = outlet_waits(&p->out) ? p->out.fd : -1, .events = POLLOUT } };
	(void)poll(fds, 3, time_left(p));
	int rc = brood_process(p->b, 0);
	if (rc < 0) {
		session_explain("pipe", brood_last_error(p->b));
		finish(p, CLI_FAILED);
	}
	pass_on(p, fds[1].revents != 0 || p->ending);
	rc = outlet_write(&p->out);
	if (rc < 0) {
		fprintf(stderr, "brood pipe: %s: %s\n", p->out_path, strerror(-rc));
		finish(p, CLI_FAILED);
	}
	see_whether_over(p);
}

static int open_pipe(const char *path, int rc)
{
	if (rc == -EEXIST)
		fprintf(stderr, "brood pipe: %s exists already; choose another path, or remove it\n", path);
	else if (rc < 0)
		fprintf(stderr, "brood pipe: cannot make %s: %s\n", path, strerror(-rc));
	return rc;
}

static int open_pipes(struct piper *p)
{
	p->in.fd = p->out.fd = p->out.hold = -1;
	TAILQ_INIT(&p->out.lines);
	if (p->in_path && open_pipe(p->in_path, inlet_open(&p->in, p->in_path, p->raw)) < 0)
		return -1;
	if (p->out_path && open_pipe(p->out_path, outlet_open(&p->out, p->out_path, p->raw)) < 0)
		return -1;
	return 0;
}

static int connect_piper(const struct cli *cli, struct piper *p)
{
	const struct brood_handlers *own = BROOD_ON(.error = handle_failed, .wake = woken);
	const struct brood_handlers *all = BROOD_ON(.message = message, .error = handle_failed, .wake = woken);
	const struct brood_handlers *its = BROOD_ON(.message = message, .drain = drained, .error = peer_failed,
						    .disconnect = peer_gone, .close = peer_gone);
	int rc = brood_connect(
		&p->b, cli->address,
		BROOD_OPTIONS(.on = p->name ? all : own, .data = p, .name = p->name, .flush_ms = FLUSH_MS));
	if (rc == 0 && p->to)
		rc = brood_find(p->b, &p->peer, p->to,
				BROOD_FIND(.on = its, .data = p, .wait_ms = (unsigned)p->timeout_ms));
	if (rc < 0 && p->b)
		session_explain("pipe", brood_last_error(p->b));
	else if (rc < 0)
		fprintf(stderr, "brood pipe: %s\n", strerror(-rc));
	return rc;
}

static int report(const struct cli *cli, const struct piper *p)
{
	if (!cli->json)
		return 0;
	return output_json(json_pack("{s:I, s:I, s:I, s:I}", "sent", (json_int_t)p->sent, "received",
				     (json_int_t)p->received, "dropped", (json_int_t)p->in.dropped, "failed",
				     (json_int_t)p->failed));
}

static void remove_pipe(struct piper *p, const char *path, int rc)
{
	if (rc == 0)
		return;
	fprintf(stderr, "brood pipe: cannot remove %s: %s\n", path, strerror(-rc));
	p->failed++;
}

/* Of what was not passed on, people hear how much. */
static void wind_up(struct piper *p)
{
	unsigned long unread = p->out.n - p->open, unanswered;
	p->over = 1;
	caught_wake(NULL);
	remove_pipe(p, p->in_path, inlet_close(&p->in));
	if (p->status == CLI_OK && brood_sync(p->b, (int)p->timeout_ms) < 0)
		fail(p, brood_last_error(p->b));
	unanswered = p->open; /* before they are told that nobody will */
	brood_close(p->b);
	if (unread)
		fprintf(stderr, "brood pipe: %lu lines were not read\n", unread);
	if (unanswered)
		fprintf(stderr, "brood pipe: %lu requests were not answered\n", unanswered);
	remove_pipe(p, p->out_path, outlet_close(&p->out));
	if (p->status == CLI_OK && (p->failed || p->in.dropped || unread))
		p->status = CLI_FAILED;
}

static int play(const struct cli *cli, struct piper *p)
{
	static const int caught[] = { SIGTERM, SIGINT, SIGHUP, 0 };
	caught_catch(caught);
	signal(SIGPIPE, SIG_IGN); /* whoever read our complaints may be gone */
	p->status = CLI_FAILED;
	int rc = connect_piper(cli, p);
	if (rc == 0 && open_pipes(p) == 0) {
		caught_wake(p->b);
		while (!p->over)
			turn(p);
	}
	if (rc == 0)
		wind_up(p);
	else
		brood_close(p->b);
	return report(cli, p) < 0 ? CLI_FAILED : p->status;
}

static const char *wrong(const struct piper *p)
{
	if (p->timeout_ms < 0)
		return "--timeout wants milliseconds, at least 1";
	if (!p->to && (!p->name || p->in_path || !p->out_path))
		return "it needs a name, or --name and --out to hear everybody";
	if (!p->in_path && !p->out_path)
		return "it needs --in, --out, or both";
	if (p->request && (!p->in_path || !p->out_path))
		return "--request needs --in and --out";
	return NULL;
}

static int take(struct cli *cli, struct piper *p, int option, const char *value)
{
	switch (option) {
	case 'i':
		p->in_path = value;
		break;
	case 'o':
		p->out_path = value;
		break;
	case 'n':
		p->name = value;
		break;
	case 'r':
		p->raw = 1;
		break;
	case 'q':
		p->request = 1;
		break;
	case 't':
		p->type = value;
		break;
	case 'w':
		p->timeout_ms = cli_number(value, 1, 1 << 30);
		break;
	default:
		return cli_option(cli, option, help);
	}
	return CLI_GO_ON;
}

int cli_pipe(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS,
						 { "in", required_argument, NULL, 'i' },
						 { "out", required_argument, NULL, 'o' },
						 { "name", required_argument, NULL, 'n' },
						 { "raw", no_argument, NULL, 'r' },
						 { "request", no_argument, NULL, 'q' },
						 { "type", required_argument, NULL, 't' },
						 { "timeout", required_argument, NULL, 'w' },
						 CLI_OPTIONS_END };
	static struct piper p = { .type = "text", .timeout_ms = 10000 };
	int c, rc;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if ((rc = take(cli, &p, c, optarg)) != CLI_GO_ON)
			return rc;
	if (argc - optind > 1)
		return cli_usage("pipe", "it takes one name");
	p.to = argv[optind];
	const char *what = wrong(&p);
	return what ? cli_usage("pipe", what) : play(cli, &p);
}
