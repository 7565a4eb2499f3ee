/*
 * conform: `brood conform -- CLIENT`, tests a client of the wire that is written in another language.
 *
 * The client is started with a broker of ours in BROOD_ADDRESS and a name as its last argument. It registers the name
 * and sends everything back: messages as messages, requests as replies, with the same type and body; at a message of
 * type "conform.stop" it says goodbye and exits with 0. proto/README.md has the whole agreement.
 *
 * The checks run one after the other over the same connection; a client that has left fails those that remain. We read
 * by brood_next() and have no callbacks for messages, because that is how one stops reading: what is not taken stays in
 * the client's window, which is what the window check is about.
 */
#include "cli.h"
#include "control.pb-c.h"
#include "output.h"
#include "session.h"
#include "testbed.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char help[] = "Example:\n"
			   "  brood conform -- python3 client.py\n"
			   "\n"
			   "Usage: brood conform [--level 0] -- CLIENT [ARGUMENTS]\n"
			   "\n"
			   "Test a client of brood's wire that is written in another language. The client is\n"
			   "started with BROOD_ADDRESS set to a broker of its own and with a name as its last\n"
			   "argument. It has to register that name, send every message and every request's body\n"
			   "back with the same type, and exit with 0 at a message of type conform.stop. The wire,\n"
			   "and what is checked, is described in proto/README.md.\n"
			   "\n"
			   "  --level 0   the level of the wire; 0 is the only one so far\n"
			   "  --json      one object per check, one per line\n"
			   "\n"
			   "Exit status: 0 all checks passed, 1 some failed, 2 wrong arguments.\n";

#define PATIENCE_MS 5000
#define QUIET_MS 1000
#define WINDOW (4u * 1024 * 1024)  /* bytes that a client may have under way to one receiver */
#define WINDOW_SLACK (256u * 1024) /* for heads, acknowledgements, and what the broker says itself */
#define LONGEST (1024u * 1024)

struct conform {
	struct testbed bed;
	brood *b;
	brood_peer *child; /* the client as a process */
	brood_peer *peer;  /* and by its name */
	int ready, left, politely, exited, code;
	char reason[256]; /* why the check under way failed; "" while it has not */
	unsigned char *body;
	int json, failures;
	/* the exchange under way: */
	size_t length;
	uint64_t sent, received, failed;
	const char *(*type)(uint64_t i);
};

static int fail(struct conform *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct conform *c, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	if (!c->reason[0]) /* the first reason is the interesting one */
		vsnprintf(c->reason, sizeof c->reason, format, args);
	va_end(args);
	return -1;
}

/* ---- what comes back --------------------------------------------------------------------------------------------- */

/* Body number i of an exchange: its number, as far as it fits, and bytes that depend on number and place. */
static const void *make_body(struct conform *c, uint64_t i)
{
	size_t edge = c->length < 4096 ? c->length : 4096;
	for (size_t k = 0; k < edge; k++)
		c->body[k] = (unsigned char)(i * 31 + k * 7 + 1);
	for (size_t k = edge; k < c->length; k += 1021)
		c->body[k] = (unsigned char)(i + k);
	memcpy(c->body, &i, c->length < sizeof i ? c->length : sizeof i);
	return c->body;
}

static const char *plain_type(uint64_t i)
{
	(void)i;
	return "conform.message";
}

static void wrong_body(struct conform *c, uint64_t i, const brood_msg *msg)
{
	uint64_t number = UINT64_MAX;
	memcpy(&number, msg->body, c->length < sizeof number ? c->length : sizeof number);
	if (number < c->sent && number != i && memcmp(msg->body, make_body(c, number), c->length) == 0)
		fail(c, "number %llu came back instead of %llu", (unsigned long long)number, (unsigned long long)i);
	else
		fail(c, "number %llu came back with another body", (unsigned long long)i);
}

static void compare(struct conform *c, uint64_t i, const brood_msg *msg)
{
	const char *type = c->type(i);
	if (strcmp(msg->type, type) != 0)
		fail(c, "number %llu came back with type \"%.40s\" instead of \"%.40s\"", (unsigned long long)i,
		     msg->type, type);
	else if (msg->length != c->length)
		fail(c, "number %llu came back with %zu bytes instead of %zu", (unsigned long long)i, msg->length,
		     c->length);
	else if (memcmp(msg->body, make_body(c, i), c->length) != 0)
		wrong_body(c, i, msg);
}

static void take_message(struct conform *c, const brood_msg *msg)
{
	if (msg->wants_reply || c->received >= c->sent) {
		fail(c, "something came that was not sent: type \"%.40s\", %zu bytes", msg->type, msg->length);
		return;
	}
	compare(c, c->received, msg);
	c->received++;
}

static void take_child_event(struct conform *c, const brood_event *ev)
{
	if (ev->type == BROOD_EVENT_EXIT) {
		c->exited = 1;
		c->code = ev->exit->cause == BROOD_EXITED ? ev->exit->code : 128 + ev->exit->signo;
	} else if (ev->type == BROOD_EVENT_ERROR) {
		c->exited = c->left = 1;
		c->code = 127;
		fail(c, "%s", ev->error->text);
	}
}

static void take_peer_event(struct conform *c, const brood_event *ev)
{
	switch (ev->type) {
	case BROOD_EVENT_READY:
		c->ready = 1;
		break;
	case BROOD_EVENT_MESSAGE:
		take_message(c, ev->msg);
		break;
	case BROOD_EVENT_DISCONNECT:
		c->left = 1;
		break;
	case BROOD_EVENT_ERROR:
		c->left = 1;
		fail(c, "%s", ev->error->text);
		break;
	default:
		break;
	}
}

/* Take one event, or several replies. 1; 0 when none came in time; negative if our own connection failed. */
static int take(struct conform *c, int timeout_ms)
{
	const brood_event *ev;
	int rc = brood_next(c->b, &ev, timeout_ms);
	if (rc < 0)
		fail(c, "the broker: %s", brood_last_error(c->b)->text);
	if (rc <= 0)
		return rc;
	if (ev->peer == c->child)
		take_child_event(c, ev);
	else if (ev->peer == c->peer)
		take_peer_event(c, ev);
	return 1;
}

/* Take events until *done or somebody leaves. 0, or -1 with the reason noted. */
static int await(struct conform *c, const int *done, const char *what)
{
	while (!*done && !c->reason[0] && !c->exited)
		if (take(c, PATIENCE_MS) == 0)
			return fail(c, "%s within %d s", what, PATIENCE_MS / 1000);
	if (!*done)
		return fail(c, "the client ended (%d) before that", c->code);
	return c->reason[0] ? -1 : 0;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static void begin(struct conform *c, size_t length, const char *(*type)(uint64_t))
{
	c->length = length;
	c->type = type;
	c->sent = c->received = c->failed = 0;
}

/* Send until n are sent or the window is full. */
static int send_more(struct conform *c, uint64_t n)
{
	while (c->sent < n) {
		unsigned flags = c->sent + 1 < n ? BROOD_MORE : 0;
		int rc = brood_send(c->peer,
				    BROOD_MSG(c->type(c->sent), make_body(c, c->sent), c->length, .flags = flags));
		if (rc == -EAGAIN)
			return 0;
		if (rc < 0)
			return fail(c, "cannot send: %s", brood_last_error(c->b)->text);
		c->sent++;
	}
	return 0;
}

/* Go on until n messages were sent and came back. */
static int finish(struct conform *c, uint64_t n)
{
	while (c->received < n && !c->reason[0]) {
		if (c->left || c->exited)
			return fail(c, "the client left");
		if (send_more(c, n) < 0)
			return -1;
		if (take(c, PATIENCE_MS) == 0)
			return fail(c, "%llu of %llu came back, then nothing for %d s", (unsigned long long)c->received,
				    (unsigned long long)n, PATIENCE_MS / 1000);
	}
	return c->reason[0] ? -1 : 0;
}

static int exchange(struct conform *c, uint64_t n, size_t length)
{
	begin(c, length, plain_type);
	return finish(c, n);
}

/* ---- the checks -------------------------------------------------------------------------------------------------- */

static int check_register(struct conform *c)
{
	return await(c, &c->ready, "the name was not registered");
}

static int check_echo(struct conform *c)
{
	return exchange(c, 1, 5);
}

/* More types than numbers for them, one without a name, one with the longest. */
static const char *many_types(uint64_t i)
{
	static char name[256];
	if (i == 0)
		return "";
	memset(name, 'x', 255);
	name[255] = '\0';
	if (i > 1)
		snprintf(name, sizeof name, "conform.Type%llu", (unsigned long long)i);
	return name;
}

static int check_types(struct conform *c)
{
	begin(c, 8, many_types);
	return finish(c, 100);
}

static int check_short(struct conform *c)
{
	for (size_t length = 0; length <= 9; length++)
		if (exchange(c, 3, length) < 0)
			return -1;
	return 0;
}

static int check_64k(struct conform *c)
{
	return exchange(c, 4, 64 * 1024);
}

static int check_fragments(struct conform *c)
{
	return exchange(c, 3, LONGEST);
}

static int check_order(struct conform *c)
{
	return exchange(c, 100000, 16);
}

static int answered(const brood_event *ev)
{
	struct conform *c = ev->data;
	uint64_t i;
	c->received++;
	if (!ev->msg)
		return fail(c, "a request ended with: %s", ev->error->text);
	if (ev->msg->length != c->length) {
		return fail(c, "a reply has %zu bytes instead of %zu", ev->msg->length, c->length);
	}
	memcpy(&i, ev->msg->body, sizeof i);
	compare(c, i, ev->msg);
	return 0;
}

static int ask(struct conform *c, uint64_t n)
{
	begin(c, 24, plain_type);
	for (; c->sent < n; c->sent++) {
		int64_t id = brood_request(c->peer, BROOD_MSG(c->type(c->sent), make_body(c, c->sent), c->length),
					   PATIENCE_MS, answered, c);
		if (id < 0)
			return fail(c, "cannot ask: %s", brood_last_error(c->b)->text);
	}
	while (c->received < c->sent)
		if (c->left || c->exited || take(c, PATIENCE_MS / 10) < 0)
			return fail(c, "the client left");
	return c->reason[0] ? -1 : 0;
}

static int check_request(struct conform *c)
{
	return ask(c, 1);
}

static int check_requests(struct conform *c)
{
	return ask(c, 1000);
}

/* Bytes that the broker has sent to us so far, by its own count. */
static int64_t bytes_to_us(struct conform *c)
{
	Brood__Control__List request = BROOD__CONTROL__LIST__INIT;
	struct brood_peer_info me;
	brood_msg *msg = NULL;
	const void *answer;
	int64_t bytes = -1;
	BROOD_INIT(me);
	if (brood_info(brood_self(c->b), &me) < 0 ||
	    session_ask_broker(c->b, "conform", &request.base, &brood__control__listing__descriptor, &msg, &answer) < 0)
		return fail(c, "the broker does not tell what it sent");
	const Brood__Control__Listing *list = answer;
	for (size_t i = 0; i < list->n_process; i++)
		if (strcmp(list->process[i]->address, me.address) == 0)
			bytes = (int64_t)list->process[i]->bytes_out;
	brood_msg_release(msg);
	return bytes < 0 ? fail(c, "the broker does not know us") : bytes;
}

/* Move bytes, send up to n messages, and take none, until nothing moves any more. */
static int64_t hold_out(struct conform *c, uint64_t n)
{
	int64_t before = -1, now = 0;
	for (int still = 0; still < 5 && now >= 0;) {
		if (send_more(c, n) < 0 || brood_process(c->b, 100) < 0)
			return -1;
		now = bytes_to_us(c);
		/* each question about the count moves a little itself */
		still = now - before < 8192 ? still + 1 : 0;
		before = now;
	}
	return now;
}

static int check_window(struct conform *c)
{
	const uint64_t n = 3 * WINDOW / (16 * 1024);
	int64_t before = bytes_to_us(c);
	begin(c, 16 * 1024, plain_type);
	int64_t after = before < 0 ? -1 : hold_out(c, n);
	if (after < 0)
		return fail(c, "it could not be measured");
	if (after - before > WINDOW + WINDOW_SLACK)
		return fail(c, "it sent %lld bytes to a receiver that took none; the window is %u",
			    (long long)(after - before), WINDOW);
	return finish(c, n);
}

static int note_parting(const brood_event *ev)
{
	struct conform *c = ev->data;
	c->received++;
	c->politely = ev->error && strcmp(ev->error->name, "peer.left") == 0;
	if (ev->msg)
		return fail(c, "it went on answering after conform.stop");
	return 0;
}

/* How it left is told by what becomes of a request that it cannot have answered. */
static int check_goodbye(struct conform *c)
{
	begin(c, 0, plain_type);
	int rc = brood_send(c->peer, BROOD_MSG("conform.stop", NULL, 0, .flags = BROOD_MORE));
	int64_t id =
		rc < 0 ? rc : brood_request(c->peer, BROOD_MSG("conform.after", NULL, 0), PATIENCE_MS, note_parting, c);
	if (id < 0)
		return fail(c, "cannot send conform.stop: %s", brood_last_error(c->b)->text);
	while ((!c->left || !c->received) && !c->reason[0])
		if (take(c, PATIENCE_MS) <= 0)
			return fail(c, "it did not leave");
	if (!c->politely)
		return fail(c, "its connection ended without a goodbye");
	return c->reason[0] ? -1 : 0;
}

static int check_exit(struct conform *c)
{
	while (!c->exited)
		if (take(c, PATIENCE_MS) <= 0)
			return fail(c, "it did not exit");
	return c->code == 0 ? 0 : fail(c, "it ended with %d", c->code);
}

static const struct check {
	const char *name;
	int (*run)(struct conform *);
} checks[] = {
	{ "registers its name", check_register },
	{ "sends a message back", check_echo },
	{ "100 types: untyped, long, more than there are numbers", check_types },
	{ "bodies of 0 to 9 bytes", check_short },
	{ "bodies of 64 KiB", check_64k },
	{ "bodies of 1 MiB, in fragments", check_fragments },
	{ "100,000 messages in order, beyond a window", check_order },
	{ "answers a request", check_request },
	{ "answers 1,000 outstanding requests", check_requests },
	{ "keeps within the window of a receiver that takes nothing", check_window },
	{ "says goodbye", check_goodbye },
	{ "exits with 0", check_exit },
};

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void report(struct conform *c, const char *name, int ok)
{
	c->failures += !ok;
	if (c->json)
		output_json(json_pack("{s:s, s:b, s:s}", "check", name, "ok", ok, "reason", c->reason));
	else if (ok)
		printf("ok    %s\n", name);
	else
		printf("FAIL  %s: %s\n", name, c->reason);
	fflush(stdout);
}

/* A check that failed may have left messages under way; they shall not fail the next one as well. */
static void settle(struct conform *c)
{
	while (!c->exited && take(c, QUIET_MS) > 0)
		;
}

static void run_checks(struct conform *c)
{
	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
		c->reason[0] = '\0';
		report(c, checks[i].name, checks[i].run(c) == 0);
		if (c->reason[0])
			settle(c);
	}
}

/* The client's own arguments, and the name. One block, to be freed. */
static const char **client_argv(int argc, char **argv, const char *name)
{
	const char **all = calloc((size_t)argc + 2, sizeof *all);
	for (int i = 0; all && i < argc; i++)
		all[i] = argv[i];
	if (all)
		all[argc] = name;
	return all;
}

/* Output of the client would stand between the checks; what it has to say it says on stderr. */
static int start_client(struct conform *c, int argc, char **argv)
{
	char name[40], variable[TESTBED_PATH + 16];
	snprintf(name, sizeof name, "conform-%d", (int)getpid());
	snprintf(variable, sizeof variable, "BROOD_ADDRESS=%s", c->bed.address);
	const char **client = client_argv(argc, argv, name);
	if (!client)
		return -ENOMEM;
	int rc = brood_connect(&c->b, c->bed.address, NULL);
	if (rc == 0)
		rc = brood_find(c->b, &c->peer, name, BROOD_FIND(.wait_ms = PATIENCE_MS));
	if (rc == 0)
		rc = brood_spawn(c->b, &c->child, client,
				 BROOD_SPAWN(.flags = BROOD_PLAIN, .env_add = BROOD_ARGV(variable),
					     .stdio = BROOD_STDIO(BROOD_NUL(1))));
	free(client);
	return rc;
}

static int conform(struct conform *c, int argc, char **argv)
{
	int rc = testbed_init(&c->bed, 0);
	if (rc < 0)
		return rc;
	rc = start_client(c, argc, argv);
	if (rc < 0) {
		fprintf(stderr, "brood conform: %s\n", c->b ? brood_last_error(c->b)->text : strerror(-rc));
		return rc;
	}
	run_checks(c);
	return 0;
}

int cli_conform(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS,
						 { "level", required_argument, NULL, 'l' },
						 CLI_OPTIONS_END };
	struct conform c = { 0 };
	int o, rc;
	while ((o = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (o == 'l' && strcmp(optarg, "0") != 0)
			return cli_usage("conform", "--level wants 0");
		if (o != 'l' && (rc = cli_option(cli, o, help)) != CLI_GO_ON)
			return rc;
	}
	if (optind == argc)
		return cli_usage("conform", "it needs a client to test");
	c.json = cli->json;
	c.body = calloc(1, LONGEST);
	rc = c.body ? conform(&c, argc - optind, argv + optind) : -ENOMEM;
	brood_close(c.b);
	testbed_deinit(&c.bed);
	free(c.body);
	return rc < 0 || c.failures ? CLI_FAILED : CLI_OK;
}
