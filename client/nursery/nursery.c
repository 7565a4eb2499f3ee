/*
 * nursery: see nursery.h. Who asks is what the broker says, not what the message says: each request waits until the broker
 * has told whose process its sender is.
 */
#include "nursery.h"
#include "address.h"
#include "inspect.h"
#include "keeper.h"
#include "letter.h"
#include "link.h"
#include "names.h"
#include <brood/pb.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define STOP_MS 10000u /* for parents to hear how their children ended */
#define AGAIN_MS 50u
#define EVENTS 32

struct member { /* a keeper */
	LIST_ENTRY(member) entry;
	struct keeper *keeper;
};

struct nursery {
	brood *h;
	struct settings *settings;
	LIST_HEAD(, member) members;
	LIST_HEAD(, question) questions;
	unsigned n;
	int epoll_fd;
	uint64_t stop_at; /* 0: goes on */
	char address[128];
	char why[256];
};

struct question { /* whose process is that? */
	LIST_ENTRY(question) entry;
	struct nursery *nursery;
	brood_msg *msg;     /* kept */
	struct timer again; /* the broker did not know yet */
	int asked;          /* the broker, which has not answered yet */
};

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void refuse(brood_msg *msg, const struct fault *why)
{
	(void)letter_fail((struct letter *)(void *)msg, why); /* and gives it back */
}

static int count(const struct nursery *n, const char *program)
{
	const struct member *m;
	int found = 0;
	LIST_FOREACH (m, &n->members, entry)
		found += strcmp(keeper_program(m->keeper), program) == 0;
	return found;
}

static int has_room(const struct nursery *n, const struct order *o, struct fault *why)
{
	const struct program *p = settings_program(n->settings, o->program);
	int most = p && p->most && (unsigned)count(n, o->program) >= p->most;
	if (n->stop_at)
		fault_set(why, "spawn.denied", "the nursery is about to end");
	else if (most)
		fault_set(why, "spawn.limit", "%.80s runs %u time%s already, the most allowed (max)", o->program,
			  p->most, p->most == 1 ? "" : "s");
	else if (n->n >= n->settings->most)
		fault_set(why, "spawn.limit", "%u program%s already, the most allowed ([nursery] max)", n->n,
			  n->n == 1 ? " runs" : "s run");
	else
		return 1;
	return 0;
}

/* The message and the order are the keeper's then. 0, -ENOMEM. */
static int employ(struct nursery *n, brood_msg *msg, const Brood__Control__Identity *who,
		  const Brood__Nursery__Spawn *spawn, struct order *o)
{
	struct member *m = calloc(1, sizeof(*m));
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = m };
	char user[POLICY_USER];
	if (!m || !(m->keeper = keeper_new(msg, spawn, o, policy_user(who, user), n->address))) {
		free(m);
		return -ENOMEM;
	}
	if (epoll_ctl(n->epoll_fd, EPOLL_CTL_ADD, keeper_fd(m->keeper), &e) < 0) {
		keeper_give_back(m->keeper);
		keeper_free(m->keeper);
		free(m);
		return -ENOMEM;
	}
	LIST_INSERT_HEAD(&n->members, m, entry);
	n->n++;
	return 0;
}

static void dismiss(struct nursery *n, struct member *m)
{
	LIST_REMOVE(m, entry);
	n->n--;
	(void)epoll_ctl(n->epoll_fd, EPOLL_CTL_DEL, keeper_fd(m->keeper), NULL);
	keeper_free(m->keeper);
	free(m);
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

static void judge(struct nursery *n, brood_msg *msg, const Brood__Control__Identity *who)
{
	const Brood__Nursery__Spawn *spawn = brood_msg_pb(msg, &brood__nursery__spawn__descriptor);
	struct order *o = NULL;
	struct fault why;
	if (!spawn) {
		fault_set(&why, "control.malformed", "what was asked for cannot be read");
		refuse(msg, &why);
	} else if (policy_judge(n->settings, who, spawn, n->h->link.node, &o, &why) < 0 || !has_room(n, o, &why)) {
		order_free(o);
		refuse(msg, &why);
	} else if (spawn->only_check) {
		inspect_answer(msg, o);
		brood_msg_release(msg);
		order_free(o);
	} else if (employ(n, msg, who, spawn, o) < 0) {
		order_free(o);
		fault_set(&why, "memory",
			  "the nursery has no memory or descriptors left; raise its limits there (ulimit -n, "
			  "LimitNOFILE=)");
		refuse(msg, &why);
	}
}

static int signal_one(const struct nursery *n, const Brood__Nursery__Signal *m, const char *user, struct fault *why)
{
	const struct member *one;
	char text[ID_TEXT];
	int rc = -ESRCH;
	if (m->signo == 0 || m->signo >= NSIG) {
		fault_set(why, "argument", "%u is no signal", m->signo);
		return -EINVAL;
	}
	LIST_FOREACH (one, &n->members, entry)
		if (keeper_is_of(one->keeper, m->id, user))
			rc = keeper_signal(one->keeper, (int)m->signo, m->tree);
	if (rc == -ESRCH)
		fault_set(why, "peer.unknown", "the nursery on %s runs no %s for %.100s", n->h->link.node,
			  id_format(m->id, text), user);
	else if (rc < 0)
		fault_set_code(why, rc, "kill.failed", "%s",
			       rc == -ENOTSUP ? "it leads no process group" : strerror(-rc));
	return rc;
}

/* As on one host, where who has the same user may signal: here, for whom it was started. */
static void take_signal(const struct nursery *n, brood_msg *msg, const Brood__Control__Identity *who)
{
	const Brood__Nursery__Signalled done = BROOD__NURSERY__SIGNALLED__INIT;
	const Brood__Nursery__Signal *m = brood_msg_pb(msg, &brood__nursery__signal__descriptor);
	struct fault why;
	char user[POLICY_USER];
	if (!m) {
		fault_set(&why, "control.malformed", "what was asked for cannot be read");
		refuse(msg, &why);
	} else if (signal_one(n, m, policy_user(who, user), &why) < 0) {
		refuse(msg, &why);
	} else {
		(void)brood_reply_pb(msg, &done.base);
		brood_msg_release(msg);
	}
}

static int is_signal(const brood_msg *msg)
{
	return strcmp(msg->type, brood__nursery__signal__descriptor.name) == 0;
}

static int on_identity(const brood_event *);

static void question_free(struct question *q)
{
	timer_release(&q->nursery->h->timers, &q->again);
	LIST_REMOVE(q, entry);
	free(q);
}

static int ask(struct question *q)
{
	Brood__Control__Who who = BROOD__CONTROL__WHO__INIT;
	who.id = ((struct letter *)(void *)q->msg)->remote->id;
	int64_t rc = brood_request_pb(q->nursery->h->broker, &who.base, -1, on_identity, q);
	q->asked = rc > 0;
	return rc < 0 ? (int)rc : 0;
}

static void cannot_tell(struct question *q, const char *text)
{
	struct fault why;
	fault_set(&why, "spawn.denied", "the broker does not say who asks: %.120s", text);
	refuse(q->msg, &why);
	question_free(q);
}

static void ask_again(struct timer *t)
{
	struct question *q = (struct question *)(void *)((char *)t - offsetof(struct question, again));
	int rc = ask(q);
	if (rc < 0)
		cannot_tell(q, strerror(-rc));
}

/* A broker that was restarted knows in a moment. */
static int is_early(const struct brood_error *e)
{
	return e && (strcmp(e->name, "broker.lost") == 0 || strcmp(e->name, "peer.away") == 0);
}

static int on_identity(const brood_event *e)
{
	struct question *q = e->data;
	const Brood__Control__Identity *who =
		e->msg ? brood_msg_pb(e->msg, &brood__control__identity__descriptor) : NULL;
	q->asked = 0;
	if (q->nursery->h->over) {
		question_free(q); /* told by brood_close(), which ends what was asked of us, too */
	} else if (!q->msg->wants_reply) {
		brood_msg_release(q->msg); /* it was cancelled */
		question_free(q);
	} else if (is_early(e->error)) {
		(void)timer_arm(&q->nursery->h->timers, &q->again, handle_now() + AGAIN_MS);
	} else if (who) {
		if (is_signal(q->msg))
			take_signal(q->nursery, q->msg, who);
		else
			judge(q->nursery, q->msg, who);
		question_free(q);
	} else {
		cannot_tell(q, e->error ? e->error->text : "its answer cannot be read");
	}
	return 0;
}

static int take_request(struct nursery *n, brood_msg *msg)
{
	struct question *q = calloc(1, sizeof(*q));
	if (!q || timer_promise(&n->h->timers, &q->again) < 0 || !brood_msg_keep(msg)) {
		if (q)
			timer_release(&n->h->timers, &q->again);
		free(q);
		return -ENOMEM;
	}
	q->nursery = n;
	q->msg = msg;
	q->again.fire = ask_again;
	LIST_INSERT_HEAD(&n->questions, q, entry);
	int rc = ask(q);
	if (rc < 0) {
		brood_msg_release(msg);
		question_free(q);
	}
	return rc;
}

static int on_event(const brood_event *e)
{
	struct nursery *n = e->data;
	switch (e->type) {
	case BROOD_EVENT_MESSAGE:
		if (!e->msg->wants_reply ||
		    (strcmp(e->msg->type, brood__nursery__spawn__descriptor.name) != 0 && !is_signal(e->msg)))
			return -ENOSYS;
		return take_request(n, e->msg);
	case BROOD_EVENT_READY:
		if (e->peer == brood_self(n->h))
			snprintf(n->address, sizeof(n->address), "%s", n->h->dialer.address);
		break;
	case BROOD_EVENT_ERROR:
		if (e->peer == brood_self(n->h))
			snprintf(n->why, sizeof(n->why), "%s (%s)", e->error->text, e->error->hint);
		break;
	default:
		break;
	}
	return 0;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static int watch(struct nursery *n)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = NULL };
	n->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return n->epoll_fd < 0 || epoll_ctl(n->epoll_fd, EPOLL_CTL_ADD, brood_fd(n->h), &e) < 0 ? -errno : 0;
}

int nursery_new(const struct nursery_options *o, struct settings *settings, struct nursery **ret)
{
	static const struct brood_handlers on = { .size = sizeof(on), .any = on_event };
	struct nursery *n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->epoll_fd = -1;
	n->settings = settings;
	int rc = brood_connect(&n->h, o->address, BROOD_OPTIONS(.on = &on, .data = n, .flags = BROOD_NO_AUTOSTART));
	if (rc == 0)
		rc = watch(n);
	if (rc == 0)
		rc = names_register_open(n->h, o->name);
	if (rc < 0) {
		n->settings = NULL;
		nursery_free(n);
		return rc;
	}
	*ret = n;
	return 0;
}

int nursery_fd(const struct nursery *n)
{
	return n->epoll_fd;
}

/* One that was in the list before may be gone by now. */
static int is_member(const struct nursery *n, const struct member *which)
{
	const struct member *m;
	LIST_FOREACH (m, &n->members, entry)
		if (m == which)
			return 1;
	return 0;
}

static void turn_of(struct nursery *n, struct member *m)
{
	if (is_member(n, m) && keeper_turn(m->keeper))
		dismiss(n, m);
}

static int refused_name(const struct nursery *n)
{
	return n->h->link.state == LINK_UP && !n->stop_at && LIST_EMPTY(&n->h->names);
}

int nursery_turn(struct nursery *n)
{
	struct epoll_event events[EVENTS];
	int found = epoll_wait(n->epoll_fd, events, EVENTS, 0), rc = 0;
	for (int i = 0; i < found; i++)
		if (events[i].data.ptr)
			turn_of(n, events[i].data.ptr);
	if ((rc = brood_process(n->h, 0)) < 0 || (rc = n->h->failed) < 0)
		return rc;
	if (n->stop_at && (n->n == 0 || handle_now() >= n->stop_at))
		return 1;
	return refused_name(n) ? -EADDRINUSE : 0;
}

const char *nursery_why(const struct nursery *n)
{
	return n->why;
}

void nursery_reload(struct nursery *n, struct settings *settings)
{
	settings_free(n->settings);
	n->settings = settings;
}

void nursery_stop(struct nursery *n)
{
	struct member *m;
	if (n->stop_at)
		return;
	n->stop_at = handle_now() + STOP_MS;
	(void)brood_unregister(n->h, NULL);
	LIST_FOREACH (m, &n->members, entry)
		keeper_stop(m->keeper);
}

void nursery_free(struct nursery *n)
{
	struct question *q, *next;
	struct member *m;
	while ((m = LIST_FIRST(&n->members)))
		dismiss(n, m);
	for (q = LIST_FIRST(&n->questions); q; q = next) {
		next = LIST_NEXT(q, entry);
		if (q->asked)
			continue; /* brood_close() calls it back */
		brood_msg_release(q->msg);
		question_free(q);
	}
	(void)brood_close(n->h);
	if (n->epoll_fd >= 0)
		close(n->epoll_fd);
	settings_free(n->settings);
	free(n);
}
