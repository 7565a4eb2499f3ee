/*
 * trial: see trial.h. We read by brood_next() and have no callbacks for messages, because that is how one stops reading:
 * what is not taken stays in the client's window, which is what the window check is about.
 */
#include "trial.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define TAP_MS 20    /* as long as a tap may wait for its turn */
#define TAP_TURNS 16 /* and as many events */

int64_t trial_now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int trial_fail(struct trial *t, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	if (!t->reason[0]) /* the first reason is the interesting one */
		vsnprintf(t->reason, sizeof t->reason, format, args);
	va_end(args);
	return -1;
}

/* ---- what comes back --------------------------------------------------------------------------------------------- */

/* Body number i of an exchange: its number, as far as it fits, and bytes that depend on number and place. */
const void *trial_body(struct trial *t, uint64_t i)
{
	size_t edge = t->length < 4096 ? t->length : 4096;
	for (size_t k = 0; k < edge; k++)
		t->body[k] = (unsigned char)(i * 31 + k * 7 + 1);
	for (size_t k = edge; k < t->length; k += 1021)
		t->body[k] = (unsigned char)(i + k);
	memcpy(t->body, &i, t->length < sizeof i ? t->length : sizeof i);
	return t->body;
}

const char *trial_plain_type(uint64_t i)
{
	(void)i;
	return "conform.message";
}

static void wrong_body(struct trial *t, uint64_t i, const brood_msg *msg)
{
	uint64_t number = UINT64_MAX;
	memcpy(&number, msg->body, t->length < sizeof number ? t->length : sizeof number);
	if (number < t->sent && number != i && memcmp(msg->body, trial_body(t, number), t->length) == 0)
		trial_fail(t, "number %llu came back instead of %llu", (unsigned long long)number,
			   (unsigned long long)i);
	else
		trial_fail(t, "number %llu came back with another body", (unsigned long long)i);
}

void trial_compare(struct trial *t, uint64_t i, const brood_msg *msg)
{
	const char *type = t->type(i);
	if (strcmp(msg->type, type) != 0)
		trial_fail(t, "number %llu came back with type \"%.40s\" instead of \"%.40s\"", (unsigned long long)i,
			   msg->type, type);
	else if (msg->length != t->length)
		trial_fail(t, "number %llu came back with %zu bytes instead of %zu", (unsigned long long)i, msg->length,
			   t->length);
	else if (memcmp(msg->body, trial_body(t, i), t->length) != 0)
		wrong_body(t, i, msg);
}

static void take_message(struct trial *t, const brood_msg *msg)
{
	if (msg->wants_reply || t->received >= t->sent) {
		trial_fail(t, "something came that was not sent: type \"%.40s\", %zu bytes", msg->type, msg->length);
		return;
	}
	trial_compare(t, t->received, msg);
	t->received++;
}

static void take_child_event(struct trial *t, const brood_event *ev)
{
	if (ev->type == BROOD_EVENT_EXIT) {
		t->exited = 1;
		t->code = ev->exit->cause == BROOD_EXITED ? ev->exit->code : 128 + ev->exit->signo;
	} else if (ev->type == BROOD_EVENT_ERROR) {
		t->exited = t->left = 1;
		t->code = 127;
		trial_fail(t, "%s", ev->error->text);
	}
}

static void take_peer_event(struct trial *t, const brood_event *ev)
{
	switch (ev->type) {
	case BROOD_EVENT_READY:
		t->ready = 1;
		break;
	case BROOD_EVENT_MESSAGE:
		take_message(t, ev->msg);
		break;
	case BROOD_EVENT_DISCONNECT:
		t->left = 1;
		break;
	case BROOD_EVENT_ERROR:
		t->left = 1;
		trial_fail(t, "%s", ev->error->text);
		break;
	default:
		break;
	}
}

static void take_event(struct trial *t, const brood_event *ev)
{
	if (ev->peer == t->child)
		take_child_event(t, ev);
	else if (ev->peer == t->peer)
		take_peer_event(t, ev);
}

/* Sleep until something is to be done here or at the tap. */
static void wait_for_both(struct trial *t, int timeout_ms)
{
	struct pollfd fds[] = { { brood_fd(t->b), POLLIN, 0 }, { tap_fd(t->tap), POLLIN, 0 } };
	(void)poll(fds, 2, timeout_ms < TAP_MS ? timeout_ms : TAP_MS);
	tap_turn(t->tap);
}

static int next_event(struct trial *t, const brood_event **ev, int timeout_ms)
{
	if (!t->tap)
		return brood_next(t->b, ev, timeout_ms);
	int64_t end = trial_now_ms() + timeout_ms;
	int rc;
	if (t->turns++ % TAP_TURNS == 0)
		tap_turn(t->tap); /* also while one event follows the other */
	while ((rc = brood_next(t->b, ev, 0)) == 0 && trial_now_ms() < end)
		wait_for_both(t, (int)(end - trial_now_ms()));
	return rc;
}

int trial_take(struct trial *t, int timeout_ms)
{
	const brood_event *ev;
	int rc = next_event(t, &ev, timeout_ms);
	if (rc < 0)
		trial_fail(t, "the broker: %s", brood_last_error(t->b)->text);
	if (rc > 0)
		take_event(t, ev);
	return rc < 0 ? rc : rc > 0;
}

int trial_await(struct trial *t, const int *done, const char *what)
{
	while (!*done && !t->reason[0] && !t->exited)
		if (trial_take(t, t->patience_ms) == 0)
			return trial_fail(t, "%s within %d s", what, t->patience_ms / 1000);
	if (!*done)
		return trial_fail(t, "the client ended (%d) before that", t->code);
	return t->reason[0] ? -1 : 0;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

void trial_begin(struct trial *t, size_t length, const char *(*type)(uint64_t))
{
	t->length = length;
	t->type = type;
	t->sent = t->received = 0;
}

int trial_send_more(struct trial *t, uint64_t n)
{
	while (t->sent < n) {
		unsigned flags = t->sent + 1 < n ? BROOD_MORE : 0;
		int rc = brood_send(t->peer,
				    BROOD_MSG(t->type(t->sent), trial_body(t, t->sent), t->length, .flags = flags));
		if (rc == -EAGAIN)
			return 0;
		if (rc < 0)
			return trial_fail(t, "cannot send: %s", brood_last_error(t->b)->text);
		t->sent++;
	}
	return 0;
}

int trial_left(struct trial *t)
{
	if (t->exited)
		return trial_fail(t, "the client has ended (%d)", t->code);
	return trial_fail(t, "the client left, or was given up for the reason above");
}

int trial_advance(struct trial *t, uint64_t n, uint64_t until)
{
	while (t->received < until && !t->reason[0]) {
		if (t->left || t->exited)
			return trial_left(t);
		if (trial_send_more(t, n) < 0)
			return -1;
		if (trial_take(t, t->patience_ms) == 0)
			return trial_fail(t, "%llu of %llu came back, then nothing for %d s",
					  (unsigned long long)t->received, (unsigned long long)n,
					  t->patience_ms / 1000);
	}
	return t->reason[0] ? -1 : 0;
}

int trial_finish(struct trial *t, uint64_t n)
{
	return trial_advance(t, n, n);
}

int trial_exchange(struct trial *t, uint64_t n, size_t length)
{
	trial_begin(t, length, trial_plain_type);
	return trial_finish(t, n);
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

int trial_init(struct trial *t)
{
	memset(t, 0, sizeof *t);
	t->patience_ms = PATIENCE_MS;
	t->body = calloc(1, TRIAL_LONGEST);
	return t->body ? testbed_init(&t->bed, VIA_UNIX) : -ENOMEM;
}

void trial_deinit(struct trial *t)
{
	brood_close(t->b);
	tap_close(t->tap);
	testbed_deinit(&t->bed);
	free(t->body);
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

static void forget_last_client(struct trial *t)
{
	t->ready = t->left = t->politely = t->exited = t->code = 0;
	t->reason[0] = '\0';
	brood_release(t->peer);
	brood_release(t->child);
	t->peer = t->child = NULL;
}

/* Output of the client would stand between the checks; what it has to say it says on stderr. */
static int start(struct trial *t, const char **argv, const char *variable, int comes)
{
	int rc = t->b ? 0 : brood_connect(&t->b, t->bed.address, NULL);
	if (rc == 0 && comes)
		rc = brood_find(t->b, &t->peer, t->name, BROOD_FIND(.wait_ms = (unsigned)t->patience_ms));
	if (rc == 0)
		rc = brood_spawn(t->b, &t->child, argv,
				 BROOD_SPAWN(.flags = BROOD_PLAIN, .env_add = BROOD_ARGV(variable),
					     .stdio = BROOD_STDIO(BROOD_NUL(1))));
	return rc;
}

static int start_client(struct trial *t, int argc, char **argv, const char *address, int comes)
{
	char variable[TESTBED_PATH + 32];
	forget_last_client(t);
	snprintf(t->name, sizeof t->name, "conform-%d.%d", (int)getpid(), ++t->clients);
	snprintf(variable, sizeof variable, "BROOD_ADDRESS=%s", address);
	const char **client = client_argv(argc, argv, t->name);
	int rc = client ? start(t, client, variable, comes) : -ENOMEM;
	free(client);
	if (rc < 0)
		fprintf(stderr, "brood conform: %s\n", t->b ? brood_last_error(t->b)->text : strerror(-rc));
	return rc;
}

int trial_start(struct trial *t, int argc, char **argv, const char *address)
{
	return start_client(t, argc, argv, address, 1);
}

int trial_start_elsewhere(struct trial *t, int argc, char **argv, const char *address)
{
	return start_client(t, argc, argv, address, 0);
}
