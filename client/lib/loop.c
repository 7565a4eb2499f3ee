/*
 * loop: see loop.h. A turn has an end, in this order: waiting events, what was read before, wait, descriptors, frames,
 * timers, events, and then one write of all that was gathered.
 *
 * The epoll descriptor is what programs put into loops of their own (`foreign`), so timers ring in it. The timer descriptor
 * is set only when the next deadline comes earlier than what it is set to. Our own waits need it too: a wait with a limit
 * costs the kernel a timer each time, which is one or two microseconds of every round trip.
 */
#include "loop.h"
#include "child.h"
#include "error.h"
#include "event.h"
#include "inbound.h"
#include "letter.h"
#include "link.h"
#include "names.h"
#include "parting.h"
#include "peer.h"
#include "pump.h"
#include "remote.h"
#include "request.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS 32        /* taken from epoll at once */
#define FAREWELL_MS 1000 /* for a connection on which to say goodbye, if it was just lost */

/* ---- waking up --------------------------------------------------------------------------------------------------- */

static void drain_counter(int fd)
{
	uint64_t count;
	while (read(fd, &count, sizeof(count)) > 0)
		;
}

static void woken(struct source *s, unsigned events)
{
	struct brood *h = (struct brood *)(void *)((char *)s - offsetof(struct brood, wake_source));
	(void)events;
	drain_counter(s->fd);
	if (!atomic_exchange(&h->wake, 0)) /* what was written before brood_wake() is seen in its event */
		return;
	event_post(h, h->self, BROOD_EVENT_WAKE, NULL);
}

static void timer_rang(struct source *s, unsigned events)
{
	struct brood *h = (struct brood *)(void *)((char *)s - offsetof(struct brood, timer_source));
	(void)events;
	drain_counter(s->fd);
	h->timer_due = UINT64_MAX;
}

int loop_init(struct brood *h)
{
	h->timer_due = UINT64_MAX;
	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	h->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (h->epoll_fd < 0 || h->wake_fd < 0 || h->timer_fd < 0)
		return -errno;
	h->wake_source = (struct source){ .ready = woken, .fd = h->wake_fd };
	h->timer_source = (struct source){ .ready = timer_rang, .fd = h->timer_fd };
	h->sooner.fire = handle_watch_again;
	if (timer_promise(&h->timers, &h->sooner) < 0)
		return -ENOMEM;
	handle_watch(h, &h->wake_source, EPOLLIN);
	handle_watch(h, &h->timer_source, EPOLLIN);
	/* What cannot be watched is tried again when a timer rings; for that one nobody would. */
	return h->timer_source.watched ? 0 : -ENOSPC;
}

void loop_deinit(struct brood *h)
{
	if (h->timer_fd >= 0)
		close(h->timer_fd);
	if (h->wake_fd >= 0)
		close(h->wake_fd);
	if (h->epoll_fd >= 0)
		close(h->epoll_fd);
}

void loop_timer_changed(struct brood *h)
{
	uint64_t due = timers_next(&h->timers);
	if (due >= h->timer_due)
		return;
	struct itimerspec at = { .it_value = { .tv_sec = (time_t)(due / 1000),
					       .tv_nsec = (long)(due % 1000) * 1000000 + 1 } };
	(void)timerfd_settime(h->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
	h->timer_due = due;
}

/* ---- a turn ------------------------------------------------------------------------------------------------------ */

/* Old slab memory may still be seen by a callback further up: it is kept until that returns. */
static int make_room(struct brood *h)
{
	struct slab *slab = &h->link.slab;
	if (!h->in_callback) {
		slab_reset(slab);
		while (h->n_pinned)
			free(h->pinned[--h->n_pinned]);
		return 1;
	}
	if (slab_has_room(slab))
		return 1;
	void **pinned = realloc(h->pinned, (h->n_pinned + 1) * sizeof(*pinned));
	if (pinned)
		h->pinned = pinned;
	uint8_t *fresh = pinned ? malloc(slab->size) : NULL;
	if (!fresh)
		return 0;
	h->pinned[h->n_pinned++] = slab->bytes;
	slab->bytes = fresh;
	slab->used = 0;
	return 1;
}

/* What was read before, and if all of that is done, one helping more. 1 if callbacks must not go on. */
static int read_and_run(struct brood *h)
{
	if (inbound_run(h))
		return 1;
	if (!h->link.readable || !h->link.slab_made || !make_room(h))
		return 0;
	return link_read(h) ? inbound_run(h) : 0;
}

static void run_sources(struct brood *h, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	if (timeout_ms != 0)
		loop_timer_changed(h);
	int n = epoll_wait(h->epoll_fd, events, EVENTS, timeout_ms);
	for (int i = 0; i < n; i++) {
		struct source *s = events[i].data.ptr;
		if (s->fd >= 0)
			s->ready(s, events[i].events);
	}
}

/* Not in a turn inside a callback: what comes there waits its turn. */
static int may_deliver(const struct brood *h)
{
	return h->dispatching && !h->in_callback && !h->blocking && !TAILQ_EMPTY(&h->ready);
}

/* 1 if there was something. */
static int deliver(struct brood *h)
{
	if (!may_deliver(h))
		return 0;
	event_dispatch(h);
	return 1;
}

/* It waits only if nothing has happened yet: also what nobody wanted to hear may have been the last that could. */
static void turn(struct brood *h, int timeout_ms)
{
	unsigned before = h->delivered;
	link_renew(h);
	int happened = deliver(h);
	if (inbound_run(h))
		return;
	pump_run(h);
	happened |= may_deliver(h) || h->delivered != before || h->link.spoiled;
	run_sources(h, happened ? 0 : timeout_ms);
	(void)read_and_run(h);
	if (handle_check(h) == 0 && h->timers.n)
		timers_run(&h->timers, handle_now());
	(void)deliver(h);
}

/* Those with an id are in the table; those that wait for one are only known by their peers. */
static void ask_all(struct brood *h)
{
	struct brood_peer *p;
	struct remote *r;
	for (r = h->by_id; r; r = r->hh.next)
		remote_ask(r);
	TAILQ_FOREACH (p, &h->peers, entry)
		if (p->remote && !p->remote->resolved)
			remote_ask(p->remote);
	pump_kick(h);
}

static int has_open(const struct remote *r)
{
	return !r->ended && outflow_unacknowledged(&r->out) > 0;
}

int loop_is_flushed(struct brood *h)
{
	const struct brood_peer *p;
	const struct remote *r;
	for (r = h->by_id; r; r = r->hh.next)
		if (has_open(r))
			return 0;
	TAILQ_FOREACH (p, &h->peers, entry)
		if (p->remote && !p->remote->resolved && has_open(p->remote))
			return 0;
	return 1;
}

/* The broker ends: all that was accepted has arrived, so we can go. */
static void follow_broker(struct brood *h)
{
	if (h->stopping == 1)
		ask_all(h);
	h->stopping = 2;
	if (loop_is_flushed(h) && !h->requests.open && !h->cursor.remote && !channel_wants_write(&h->link.channel))
		link_leave(h);
}

int loop_turn(struct brood *h, int timeout_ms, int dispatch)
{
	h->gather++;
	if (dispatch)
		h->dispatching = 1;
	turn(h, timeout_ms);
	if (dispatch)
		h->dispatching = 0;
	h->gather--;
	if (handle_check(h) < 0)
		return -ECHILD; /* a callback forked: from here on everything is the original's */
	if (h->stopping)
		follow_broker(h);
	pump_run(h);
	if (h->foreign)
		loop_timer_changed(h);
	return 0;
}

/* When a call ends that waits so long. Without a limit nobody looks at the clock. */
static uint64_t end_of(int timeout_ms)
{
	return timeout_ms < 0 ? UINT64_MAX : handle_now() + (uint64_t)timeout_ms;
}

/* Milliseconds until then, as for a turn; -1: without limit. */
static int left_until(uint64_t end)
{
	if (end == UINT64_MAX)
		return -1;
	uint64_t now = handle_now();
	return now < end ? (int)(end - now) : 0;
}

int loop_wait(struct brood *h, int timeout_ms, int (*done)(void *), void *data)
{
	uint64_t end = end_of(timeout_ms);
	int finished, left;
	h->blocking++;
	while (!(finished = done(data)) && (left = left_until(end)) != 0)
		(void)loop_turn(h, left, 0);
	h->blocking--;
	if (h->foreign && !TAILQ_EMPTY(&h->ready))
		handle_poke(h);
	return finished;
}

/* ---- waiting and flushing -----------------------------------------------------------------------------------------
 */

static int flushed(void *handle)
{
	struct brood *h = handle;
	return h->failed || loop_is_flushed(h);
}

static int written(void *handle)
{
	struct brood *h = handle;
	return h->failed || !channel_wants_write(&h->link.channel);
}

int loop_settle(struct brood *h, int timeout_ms)
{
	ask_all(h);
	return loop_wait(h, timeout_ms, flushed, h);
}

/* Either it hears my goodbye, or there is nobody who would wait for me. */
static int is_certain(void *handle)
{
	struct brood *h = handle;
	return h->failed || !link_may_be_known(h);
}

static int left_of(uint64_t end, int most)
{
	uint64_t now = handle_now(), left = now < end ? end - now : 0;
	return left < (uint64_t)most ? (int)left : most;
}

uint64_t loop_flush(struct brood *h, int timeout_ms)
{
	uint64_t end = handle_now() + (uint64_t)timeout_ms;
	if (h->link.state == LINK_IDLE || h->link.state == LINK_DOWN)
		return 0; /* nothing was sent, or its fate was told */
	(void)loop_settle(h, timeout_ms);
	(void)loop_wait(h, left_of(end, FAREWELL_MS), is_certain, h);
	link_leave(h);
	(void)loop_wait(h, left_of(end, INT_MAX), written, h);
	return parting_count(h);
}

/* ---- public: running --------------------------------------------------------------------------------------------- */

/* brood_close() in a callback: the work is done here, when the callback has returned. */
static int finish_turn(struct brood *h)
{
	if (!h->closing || handle_check(h) < 0)
		return 0;
	h->closing = 0;
	(void)h->end(h);
	return 1;
}

static int refuse(struct brood *h)
{
	int rc = handle_check(h);
	if (rc < 0)
		return rc;
	if (h->in_callback || h->blocking)
		return handle_fail(h, -EBUSY, "argument",
				   "a callback is under way: events go on when it has returned, not within it");
	return 0;
}

int brood_process(brood *h, int timeout_ms)
{
	int rc = refuse(h);
	if (rc < 0)
		return rc;
	unsigned before = h->delivered;
	if ((rc = loop_turn(h, timeout_ms, 1)) < 0)
		return rc;
	int n = h->lost ? h->lost : (int)(h->delivered - before);
	(void)finish_turn(h);
	return n;
}

static int parent_counts(const struct brood *h)
{
	return h->parent && (!h->parent->disconnected || h->flags & BROOD_OUTLIVE);
}

/* Something can still happen. */
static int alive(const struct brood *h)
{
	enum link_state s = h->link.state;
	if (h->stopping && !h->failed)
		return 1; /* what makes it fail is under way */
	return h->counting || h->requests.open || h->confirming || names_taken(h) ||
	       (!h->failed && !LIST_EMPTY(&h->letters)) || parent_counts(h) || !TAILQ_EMPTY(&h->ready) ||
	       !TAILQ_EMPTY(&h->held) || (s > LINK_IDLE && s < LINK_UP);
}

int brood_run(brood *h)
{
	int rc = refuse(h);
	if (rc < 0)
		return rc;
	h->running = 1;
	while (rc == 0 && !h->stop && !h->closing && alive(h) && !h->lost)
		rc = loop_turn(h, -1, 1);
	h->running = 0;
	h->stop = 0;
	rc = rc < 0 ? rc : h->failed;
	return finish_turn(h) ? 0 : rc;
}

int brood_next(brood *h, const brood_event **ret, int timeout_ms)
{
	int rc = refuse(h);
	if (rc == 0 && !ret)
		rc = handle_fail(h, -EINVAL, "argument", "nowhere to put the event");
	if (rc < 0)
		return rc;
	uint64_t end = end_of(timeout_ms);
	int left = timeout_ms;
	while (!(*ret = event_show(h))) {
		if (h->lost || (h->failed && !alive(h)))
			return h->failed;
		rc = loop_turn(h, left, 1);
		if (rc < 0)
			return rc;
		if (finish_turn(h))
			return -ESHUTDOWN;
		left = left_until(end);
		if (left == 0 && TAILQ_EMPTY(&h->kept))
			return 0;
	}
	return 1;
}

int brood_fd(const brood *h)
{
	int rc = handle_check(h);
	if (rc < 0)
		return rc;
	((struct brood *)(uintptr_t)h)->foreign = 1;
	loop_timer_changed((struct brood *)(uintptr_t)h);
	return h->epoll_fd;
}

int brood_stop(brood *h)
{
	int rc = handle_check(h);
	if (rc < 0)
		return rc;
	h->stop = 1;
	handle_poke(h);
	return 0;
}

int brood_wake(brood *h)
{
	int rc = handle_check(h);
	if (rc < 0)
		return rc;
	h->wake = 1;
	handle_poke(h);
	return 0;
}

/* ---- public: waiting --------------------------------------------------------------------------------------------- */

static int settled(struct brood *h)
{
	if (h->failed || h->first.error.code)
		return 1;
	return (h->link.state == LINK_UP || h->link.state == LINK_IDLE) && !names_pending(h) && !child_pending(h) &&
	       loop_is_flushed(h);
}

static int sync_result(struct brood *h)
{
	int rc = h->first.error.code;
	if (rc)
		fault_copy(&h->last, &h->first);
	fault_clear(&h->first);
	return rc ? rc : h->failed;
}

static int unsettled(struct brood *h, int code)
{
	const struct brood_peer *p = names_unreached(h);
	char why[256];
	if (h->link.state != LINK_UP && h->link.state != LINK_IDLE)
		return handle_fail(h, code, "deadline",
				   "not everything is settled yet: no answer from the broker%s%s so far",
				   h->dialer.inherited ? "" : " at ", h->dialer.inherited ? "" : h->dialer.address);
	int rc = handle_fail(h, code, "deadline", "not everything is settled yet%s%s", p ? ": " : "",
			     p ? peer_silence(p, why, sizeof(why)) : "");
	if (p)
		h->last.error.hint = error_reason("host.unreachable")->hint;
	return rc;
}

int brood_sync(brood *h, int timeout_ms)
{
	int rc = handle_check(h);
	if (rc < 0)
		return rc;
	uint64_t end = end_of(timeout_ms);
	int dispatch = !h->in_callback && !h->blocking, looked = 0, left = timeout_ms;
	if (h->dialer.given)
		link_need(h);
	ask_all(h);
	while (!settled(h) && !h->closing) {
		if (looked && left == 0)
			return unsettled(h, timeout_ms ? -ETIMEDOUT : -EAGAIN);
		h->blocking += !dispatch;
		rc = loop_turn(h, left, dispatch);
		h->blocking -= !dispatch;
		looked = 1; /* with a timeout of 0 too, so that who polls sees the end of it */
		if (rc < 0)
			return rc;
		ask_all(h);
		left = left_until(end);
	}
	return finish_turn(h) ? 0 : sync_result(h);
}

/*
 * Its output is where nobody will take it before this call returns: without a table, or in a callback. Where callbacks
 * run, one may let a paused pipe go on, as long as the child itself lives.
 */
static int waits_for_nobody(const struct brood_peer *p, int dispatch)
{
	const struct child *c = p->child;
	int has_table = p->has_on || (p->h->self->has_on && !p->quiet);
	if (!c || !(dispatch && has_table))
		return c && stdio_is_stuck(&c->stdio);
	return c->state == CHILD_EXITED && stdio_is_paused(&c->stdio);
}

/* It is closed, and whoever is called for that has been: what `data` points to may go when brood_wait() returns. */
static int is_over(const struct brood_peer *p, int dispatch)
{
	return p->closed && !(dispatch && event_is_owed(p));
}

int brood_wait(brood_peer *p, int timeout_ms)
{
	int rc = handle_check(p ? p->h : NULL);
	if (rc < 0)
		return rc;
	struct brood *h = p->h;
	uint64_t end = end_of(timeout_ms);
	int dispatch = !h->in_callback && !h->blocking, looked = 0, over, left = timeout_ms;
	peer_ref(p);
	while (!(over = is_over(p, dispatch)) && (left != 0 || !looked) && !h->closing && rc == 0) {
		if (waits_for_nobody(p, dispatch)) {
			rc = handle_fail(h, -EDEADLK, "peer.untaken", "%s waits for somebody to take its output",
					 peer_label(p));
			break;
		}
		h->blocking += !dispatch;
		rc = loop_turn(h, left, dispatch);
		h->blocking -= !dispatch;
		looked = 1;
		left = left_until(end);
	}
	if (rc == 0 && !over)
		rc = handle_fail(h, -ETIMEDOUT, "deadline", "%s has not closed yet", peer_label(p));
	peer_unref(p);
	(void)finish_turn(h);
	return rc;
}
