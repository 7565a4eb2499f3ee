/*
 * letter: see letter.h. A received message holds back its sender's window until letter_drop(); every path ends there.
 */
#include "letter.h"
#include "brood.pb-c.h"
#include "error.h"
#include "link.h"
#include "out.h"
#include "pump.h"
#include "remote.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct letter blank(struct brood *h)
{
	return (struct letter){ .h = h, .msg.trace = "" };
}

struct letter *letter_take(struct brood *h, struct remote *r, uint64_t sequence)
{
	if (!h->current && (h->current = malloc(sizeof(*h->current))))
		*h->current = blank(h);
	return letter_take_spare(h, r, sequence);
}

static int copy_body(struct letter *m)
{
	if (m->body)
		return 0; /* fragments were put together on the heap */
	char *copy = malloc(m->msg.length + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, m->msg.body, m->msg.length);
	copy[m->msg.length] = '\0';
	m->body = copy;
	m->msg.body = m->msg.text = copy;
	return 0;
}

int letter_stay(struct letter *m)
{
	if (m->stays)
		return 0;
	char *type = strdup(m->msg.type); /* an unnumbered name lasts only until the next one */
	if (!type || copy_body(m) < 0) {
		free(type);
		return -ENOMEM;
	}
	m->type = type;
	m->msg.type = type;
	m->stays = m->owns = 1;
	inflow_hold(&m->remote->in, &m->hold, m->hold.sequence);
	inflow_finish(&m->remote->in, m->hold.sequence);
	LIST_INSERT_HEAD(&m->h->letters, m, entry);
	remote_ref(m->remote);
	return 0;
}

static void release_unpacked(struct letter *m)
{
	struct unpacked *u;
	while ((u = m->unpacked)) {
		m->unpacked = u->next;
		u->release(u->message);
		free(u);
	}
}

static void drop_stayed(struct letter *m)
{
	struct remote *r = m->remote;
	inflow_release(&r->in, &m->hold);
	if (inflow_owes(&r->in))
		remote_touch(r);
	free(m->type);
	LIST_REMOVE(m, entry);
	remote_unref(r);
}

void letter_drop(struct letter *m)
{
	struct remote *r = m->remote;
	if (m->owns) {
		release_unpacked(m);
		free(m->body);
		free(m->trace);
		parcel_free(m->parcel);
	}
	if (m->stays)
		drop_stayed(m);
	else
		inflow_finish(&r->in, m->hold.sequence);
	if (m->h->current) {
		free(m);
		return;
	}
	*m = blank(m->h); /* for the next one */
	m->h->current = m;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static int answer(struct letter *m, struct item *it, const struct body *b)
{
	if (!m->msg.wants_reply || m->remote->ended)
		return 0;
	it->correlation = m->correlation;
	int rc = remote_put(m->remote, it, b);
	if (rc == 0)
		m->msg.wants_reply = 0;
	return rc;
}

/* The usual case in one go. 1 if that was it, else nothing has happened. */
static int answer_short(struct letter *m, const struct brood_out *out)
{
	struct item it = { .kind = ITEM_REPLY, .correlation = m->correlation };
	if (!m->msg.wants_reply || m->remote->ended || !out_join(out, m->remote, it))
		return 0;
	m->msg.wants_reply = 0;
	return 1;
}

static void pack_failure(void *to, size_t length, const void *failure)
{
	(void)length;
	protobuf_c_message_pack(failure, to);
}

static Brood__Failure failure_of(int code, const char *name, const char *text)
{
	Brood__Failure failure = BROOD__FAILURE__INIT;
	failure.code = code;
	failure.error = (char *)(uintptr_t)name;
	failure.text = (char *)(uintptr_t)text;
	return failure;
}

static struct body body_of(const Brood__Failure *failure)
{
	size_t length = protobuf_c_message_get_packed_size(&failure->base);
	return (struct body){ .bytes = failure, .length = length, .fill = pack_failure };
}

static int answer_failure(struct letter *m, int code, const char *name, const char *text)
{
	Brood__Failure failure = failure_of(code, name, text);
	struct body b = body_of(&failure);
	return answer(m, &(struct item){ .kind = ITEM_FAILURE }, &b);
}

static int say_refused(struct letter *m, const struct body *why)
{
	struct item it = { .kind = ITEM_REFUSED, .correlation = m->hold.sequence };
	struct outflow_refusal *f = malloc(sizeof(*f));
	int rc = f ? remote_put(m->remote, &it, why) : -ENOMEM;
	if (rc == 0)
		outflow_refuses(&m->remote->out, f, it.correlation);
	else
		free(f);
	return rc;
}

int letter_fail(struct letter *m, const struct fault *why)
{
	int rc = answer_failure(m, why->error.code, why->error.name, why->error.text);
	letter_drop(m);
	return rc;
}

int letter_refuse(struct letter *m, const struct fault *why)
{
	Brood__Failure failure = failure_of(why->error.code, why->error.name, why->error.text);
	struct body b = body_of(&failure);
	if (m->msg.wants_reply)
		return letter_fail(m, why);
	int rc = say_refused(m, &b);
	letter_drop(m);
	return rc;
}

void letter_settle(struct letter *m, int rc, const char *unanswered)
{
	if (m->msg.wants_reply && rc < 0)
		(void)answer_failure(m, rc, "request.failed", strerror(-rc));
	else if (m->msg.wants_reply && !m->kept)
		(void)answer_failure(m, error_reason(unanswered)->code, unanswered,
				     strcmp(unanswered, "unhandled") == 0 ? "nobody handles messages there"
									  : "its handler returned without an answer");
	if (!m->kept)
		letter_drop(m);
}

void letter_cancel(struct remote *r, uint64_t correlation)
{
	struct inflow_hold *hold;
	TAILQ_FOREACH (hold, &r->in.holds, next) {
		struct letter *m = (struct letter *)(void *)((char *)hold - offsetof(struct letter, hold));
		if (m->correlation == correlation)
			m->msg.wants_reply = 0;
	}
}

static struct letter *letter_of(brood_msg *m)
{
	return (struct letter *)(void *)m;
}

brood_msg *brood_msg_keep(brood_msg *msg)
{
	struct letter *m = letter_of(msg);
	if (!msg || handle_check(m->h) < 0 || letter_stay(m) < 0)
		return NULL;
	m->kept++;
	return msg;
}

void brood_msg_release(brood_msg *msg)
{
	struct letter *m = letter_of(msg);
	if (!msg || m->kept == 0 || handle_check(m->h) < 0) /* a copy must not answer "unanswered" */
		return;
	struct brood *h = m->h;
	if (--m->kept == 0 && !m->showing)
		letter_settle(m, 0, "unanswered");
	pump_kick(h);
}

static int finish_answer(struct letter *m, int rc)
{
	struct brood *h = m->h;
	if (rc < 0)
		return handle_fail(h, rc,
				   rc == -EMFILE  ? "fd.limit"
				   : rc == -EBADF ? "argument"
						  : "memory",
				   "cannot answer: %s", strerror(-rc));
	pump_kick(h);
	return 0;
}

int brood_reply(brood_msg *msg, const struct brood_out *out)
{
	struct letter *m = letter_of(msg);
	struct body b;
	int rc = handle_check(msg ? m->h : NULL);
	if (rc == 0 && out && answer_short(m, out))
		return finish_answer(m, 0);
	struct item it = { .kind = ITEM_REPLY };
	if (rc < 0)
		return rc;
	if ((rc = out_read(out, &b, &it, NULL)) < 0)
		return handle_fail(m->h, rc, "argument", "cannot answer: %s", strerror(-rc));
	if (b.confirm)
		return handle_fail(m->h, -EINVAL, "argument", "cannot answer: only brood_send() confirms");
	if (b.n_fds && !link_passes_fds(m->h))
		return handle_fail(m->h, -EXDEV, "fd.transport",
				   "cannot answer with descriptors: this connection is not a Unix socket");
	return finish_answer(m, answer(m, &it, &b));
}

int brood_msg_take_fd(brood_msg *msg, unsigned index)
{
	struct letter *m = letter_of(msg);
	int rc = handle_check(msg ? m->h : NULL);
	if (rc < 0 && rc != -ESHUTDOWN) /* the last answers may have some, too */
		return rc;
	rc = m->parcel ? parcel_take(m->parcel, index) : -ENOENT;
	return rc >= 0 ? rc
		       : handle_fail(m->h, rc, "argument",
				     "no descriptor %u came with this message, or it was taken already", index);
}

int brood_reply_error(brood_msg *msg, int code, const char *text)
{
	struct letter *m = letter_of(msg);
	int rc = handle_check(msg ? m->h : NULL);
	if (rc < 0)
		return rc;
	if (code >= 0)
		return handle_fail(m->h, -EINVAL, "argument", "cannot answer: an error's code is a negative errno");
	return finish_answer(m, answer_failure(m, code, "request.failed", text ? text : strerror(-code)));
}
