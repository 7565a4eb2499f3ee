/*
 * conform_fds: what a client does with a message that says to have descriptors, with them or without.
 */
#include "brood.pb-c.h"
#include "conform.h"
#include "guard.h"
#include "script.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static const char of_descriptors[] = "Descriptors";

/* The item is a Failure that says why. */
static int is_fd_failure(struct trial *t, const struct said *said)
{
	ProtobufCMessage *m;
	if (guard_unpack(&brood__failure__descriptor, (const uint8_t *)said->body, said->length, 1, &m) < 0)
		return script_wrong(t, of_descriptors, "the body of its refusal is no brood.Failure");
	const Brood__Failure *f = (const Brood__Failure *)m;
	int ok = strcmp(f->error, "fd.transport") == 0 || strcmp(f->error, "fd.lost") == 0;
	if (!ok || f->code >= 0)
		trial_fail(t,
			   "its refusal says code %d, error \"%.40s\" instead of a negative errno and \"fd.transport\" "
			   "(proto/README.md, \"%s\")",
			   f->code, f->error, of_descriptors);
	guard_free(m);
	return t->reason[0] ? -1 : 0;
}

/* Its next item to this one says that it does not take that. */
static int await_refusal(struct script *s, struct voice *v, unsigned kind, uint64_t correlation, const char *what)
{
	uint64_t i = v->seen + 1;
	if (script_await(s, &v->taken, i, what, of_descriptors) < 0)
		return -1;
	const struct said *said = &v->said[v->seen = i];
	if (said->kind == ITEM_MESSAGE || said->kind == ITEM_REPLY)
		return trial_fail(
			s->t,
			"it used a message that says to have descriptors (tag 4) and came without, instead of "
			"%s (proto/README.md, \"%s\")",
			kind == ITEM_REFUSED ? "saying REFUSED" : "answering FAILURE", of_descriptors);
	if (said->kind != kind || said->correlation != correlation)
		return trial_fail(
			s->t, "its refusal has kind %u, correlation %llu instead of %u, %llu (proto/README.md, \"%s\")",
			said->kind, (unsigned long long)said->correlation, kind, (unsigned long long)correlation,
			of_descriptors);
	return is_fd_failure(s->t, said);
}

static const char not_refused[] = "a message with tag 4, without its descriptors, was not refused";

static int go_on_behind_refusal(struct script *s, struct voice *v)
{
	if (script_exchange(s, v, "behind", "the message behind one that was refused was not answered",
			    of_descriptors) < 0)
		return -1;
	return script_await_ack(s, v, v->next - 1,
				"what was refused is consumed, and was not acknowledged with what is behind it",
				of_descriptors);
}

static int check_fd_message(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	if (script_exchange(s, v, "before", "a message was not answered", of_descriptors) < 0)
		return -1;
	v->withheld = v->next;
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE, .fds = 1 }, script_type, "with a descriptor");
	script_send(s, v);
	return await_refusal(s, v, ITEM_REFUSED, 2, not_refused) < 0 ? -1 : go_on_behind_refusal(s, v);
}

static int check_fd_request(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	script_draft(s, (struct item){ .kind = ITEM_REQUEST, .correlation = 4711, .fds = 2 }, script_type, "with two");
	script_send(s, v);
	return await_refusal(s, v, ITEM_FAILURE, 4711,
			     "a request with tag 4, without its descriptors, was not answered with FAILURE") < 0
		       ? -1
		       : go_on_behind_refusal(s, v);
}

/* REFUSED names the last item, whose sequence nobody but the receiver of the whole knows. */
static int check_fd_fragments(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE, .fds = 1, .more = 1, .total = 8 }, script_type, "frag");
	script_send(s, v);
	v->withheld = 2;
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE, .continued = 1 }, NULL, "ment");
	script_send(s, v);
	return await_refusal(s, v, ITEM_REFUSED, 2, not_refused) < 0 ? -1 : go_on_behind_refusal(s, v);
}

/* The one that we hold ends when no copy of the other is left. */
static int await_end_of(struct script *s, int reader)
{
	struct pollfd p = { .fd = reader, .events = POLLIN };
	int64_t end = trial_now_ms() + SCRIPT_PATIENCE_MS;
	while (poll(&p, 1, 0) == 0) {
		if (script_turn(s) < 0)
			return -1;
		if (trial_now_ms() > end)
			return script_wrong(
				s->t, of_descriptors,
				"it keeps a descriptor open that came with a message which it has acknowledged");
	}
	return 0;
}

static int check_fd_real(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	int ends[2];
	if (pipe(ends) < 0)
		return trial_fail(t, "there is no pipe to try it with: %s", strerror(errno));
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE, .fds = 1 }, script_type, "a descriptor");
	script_send_as(s, v, 1, FRAME_ACK_NOW | FRAME_FDS, ends[1]);
	int rc =
		script_await(s, &v->taken, 1, "a message that came with a descriptor was neither sent back nor refused",
			     of_descriptors);
	v->seen = 1;
	if (rc == 0 && v->said[1].kind == ITEM_REFUSED)
		rc = v->said[1].correlation == 1 ? is_fd_failure(t, &v->said[1])
						 : script_wrong(t, of_descriptors, "its refusal names another item");
	else if (rc == 0 && strcmp(v->said[1].body, "a descriptor") != 0)
		rc = script_wrong(t, of_descriptors, "a message that came with a descriptor came back as another one");
	if (rc == 0)
		rc = go_on_behind_refusal(s, v);
	if (rc == 0)
		rc = await_end_of(s, ends[0]);
	close(ends[0]);
	return rc;
}

const struct check conform_fds[] = {
	{ "refuses a message without its descriptors", check_fd_message, 0 },
	{ "refuses a request without its descriptors", check_fd_request, 0 },
	{ "refuses fragments without their descriptors", check_fd_fragments, 0 },
	{ "takes or refuses a descriptor, and closes it", check_fd_real, 0 },
	{ NULL, NULL, 0 },
};
