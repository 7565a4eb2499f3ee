/*
 * conform_level0: what every client of the wire has to do. The checks run one after the other over the same connection; a
 * client that has left fails those that remain.
 */
#include "conform.h"
#include "control.pb-c.h"
#include "session.h"
#include <stdio.h>

#define PATIENCE_MS 5000
#define WINDOW (4u * 1024 * 1024)  /* bytes that a client may have under way to one receiver */
#define WINDOW_SLACK (256u * 1024) /* for heads, acknowledgements, and what the broker says itself */

static int check_register(struct trial *t)
{
	return trial_await(t, &t->ready, "the name was not registered");
}

static int check_echo(struct trial *t)
{
	return trial_exchange(t, 1, 5);
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

static int check_types(struct trial *t)
{
	trial_begin(t, 8, many_types);
	return trial_finish(t, 100);
}

static int check_short(struct trial *t)
{
	for (size_t length = 0; length <= 9; length++)
		if (trial_exchange(t, 3, length) < 0)
			return -1;
	return 0;
}

static int check_64k(struct trial *t)
{
	return trial_exchange(t, 4, 64 * 1024);
}

static int check_fragments(struct trial *t)
{
	return trial_exchange(t, 3, TRIAL_LONGEST);
}

static int check_order(struct trial *t)
{
	return trial_exchange(t, 100000, 16);
}

static int answered(const brood_event *ev)
{
	struct trial *t = ev->data;
	uint64_t i;
	t->received++;
	if (!ev->msg)
		return trial_fail(t, "a request ended with: %s", ev->error->text);
	if (ev->msg->length != t->length) {
		return trial_fail(t, "a reply has %zu bytes instead of %zu", ev->msg->length, t->length);
	}
	memcpy(&i, ev->msg->body, sizeof i);
	trial_compare(t, i, ev->msg);
	return 0;
}

static int ask(struct trial *t, uint64_t n)
{
	trial_begin(t, 24, trial_plain_type);
	for (; t->sent < n; t->sent++) {
		int64_t id = brood_request(t->peer, BROOD_MSG(t->type(t->sent), trial_body(t, t->sent), t->length),
					   PATIENCE_MS, answered, t);
		if (id < 0)
			return trial_fail(t, "cannot ask: %s", brood_last_error(t->b)->text);
	}
	while (t->received < t->sent)
		if (t->left || t->exited || trial_take(t, PATIENCE_MS / 10) < 0)
			return trial_left(t);
	return t->reason[0] ? -1 : 0;
}

static int check_request(struct trial *t)
{
	return ask(t, 1);
}

static int check_requests(struct trial *t)
{
	return ask(t, 1000);
}

/* Bytes that the broker has sent to us so far, by its own count. */
static int64_t bytes_to_us(struct trial *t)
{
	Brood__Control__List request = BROOD__CONTROL__LIST__INIT;
	struct brood_peer_info me;
	brood_msg *msg = NULL;
	const void *answer;
	int64_t bytes = -1;
	BROOD_INIT(me);
	if (brood_info(brood_self(t->b), &me) < 0 ||
	    session_ask_broker(t->b, "conform", &request.base, &brood__control__listing__descriptor, &msg, &answer) < 0)
		return trial_fail(t, "the broker does not tell what it sent");
	const Brood__Control__Listing *list = answer;
	for (size_t i = 0; i < list->n_process; i++)
		if (strcmp(list->process[i]->address, me.address) == 0)
			bytes = (int64_t)list->process[i]->bytes_out;
	brood_msg_release(msg);
	return bytes < 0 ? trial_fail(t, "the broker does not know us") : bytes;
}

/* Move bytes, send up to n messages, and take none, until nothing moves any more. */
static int64_t hold_out(struct trial *t, uint64_t n)
{
	int64_t before = -1, now = 0;
	for (int still = 0; still < 5 && now >= 0;) {
		if (trial_send_more(t, n) < 0 || brood_process(t->b, 100) < 0)
			return -1;
		now = bytes_to_us(t);
		/* each question about the count moves a little itself */
		still = now - before < 8192 ? still + 1 : 0;
		before = now;
	}
	return now;
}

static int check_window(struct trial *t)
{
	const uint64_t n = 3 * WINDOW / (16 * 1024);
	int64_t before = bytes_to_us(t);
	trial_begin(t, 16 * 1024, trial_plain_type);
	int64_t after = before < 0 ? -1 : hold_out(t, n);
	if (after < 0)
		return trial_fail(t, "it could not be measured");
	if (after - before > WINDOW + WINDOW_SLACK)
		return trial_fail(t, "it sent %lld bytes to a receiver that took none; the window is %u",
				  (long long)(after - before), WINDOW);
	return trial_finish(t, n);
}

static int note_parting(const brood_event *ev)
{
	struct trial *t = ev->data;
	t->received++;
	t->politely = ev->error && strcmp(ev->error->name, "peer.left") == 0;
	if (ev->msg)
		return trial_fail(t, "it went on answering after conform.stop");
	return 0;
}

/* How it left is told by what becomes of a request that it cannot have answered. */
static int check_goodbye(struct trial *t)
{
	trial_begin(t, 0, trial_plain_type);
	int rc = brood_send(t->peer, BROOD_MSG("conform.stop", NULL, 0, .flags = BROOD_MORE));
	int64_t id =
		rc < 0 ? rc : brood_request(t->peer, BROOD_MSG("conform.after", NULL, 0), PATIENCE_MS, note_parting, t);
	if (id < 0)
		return trial_fail(t, "cannot send conform.stop: %s", brood_last_error(t->b)->text);
	while ((!t->left || !t->received) && !t->reason[0])
		if (trial_take(t, PATIENCE_MS) <= 0)
			return trial_fail(t, "it did not leave");
	if (!t->politely)
		return trial_fail(t, "its connection ended without a goodbye");
	return t->reason[0] ? -1 : 0;
}

static int check_exit(struct trial *t)
{
	while (!t->exited)
		if (trial_take(t, PATIENCE_MS) <= 0)
			return trial_fail(t, "it did not exit");
	return t->code == 0 ? 0 : trial_fail(t, "it ended with %d", t->code);
}

const struct check conform_level0[] = {
	{ "registers its name", check_register, CHECK_BASIS },
	{ "sends a message back", check_echo, 0 },
	{ "100 types: untyped, long, more than there are numbers", check_types, 0 },
	{ "bodies of 0 to 9 bytes", check_short, 0 },
	{ "bodies of 64 KiB", check_64k, 0 },
	{ "bodies of 1 MiB, in fragments", check_fragments, 0 },
	{ "100,000 messages in order, beyond a window", check_order, 0 },
	{ "answers a request", check_request, 0 },
	{ "answers 1,000 outstanding requests", check_requests, 0 },
	{ "keeps within the window of a receiver that takes nothing", check_window, 0 },
	{ "says goodbye", check_goodbye, CHECK_LEADS },
	{ "exits with 0", check_exit, 0 },
	{ NULL, NULL, 0 },
};
