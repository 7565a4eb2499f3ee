/*
 * sessions: the turn.
 *
 * A turn serves as many of those who are ready as its work allows, users in turn, light ones first, each one helping, so
 * nobody starves. What sessions got is written at its end, so that a burst is one write; of a long turn also before,
 * after twice as much work each time: who gets it can begin while the rest is served.
 *
 * The slab that holds a turn's frames may fill before the turn ends. Then all dirty sessions are written at once and
 * the slab begins anew: this is safe exactly between two helpings, because nobody looks at a frame then.
 */
#include "sessions.h"
#include "clock.h"
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define SLAB_SIZE (4 * SLAB_HELPING)
#define PART 4096u                         /* of work, the first of a turn */
#define EXHAUST_MOST (64u * 1024u * 1024u) /* a dead process's descendants might write for ever */
#define WORK_EXHAUST 4096u                 /* of looking at a dead one, besides its bytes */

/*
 * A turn.
 */

static void sessions_flush(struct sessions *all)
{
	struct session *s;

	while ((s = STAILQ_FIRST(&all->dirty))) {
		STAILQ_REMOVE_HEAD(&all->dirty, of_dirty);
		session_flush(s);
	}
}

/* For the next helping. */
static void make_room(struct sessions *all)
{
	if (slab_has_room(&all->slab))
		return;
	sessions_flush(all);
	slab_reset(&all->slab);
}

static struct session *session_of_waiter(struct waiter *w)
{
	return (struct session *)(void *)((char *)w - offsetof(struct session, waiter));
}

static void serve_ready(struct sessions *all)
{
	uint64_t begin = all->work, part = PART;
	struct waiter *w;

	schedule_begin(&all->schedule);
	while ((w = schedule_next(&all->schedule))) {
		make_room(all);
		session_serve(session_of_waiter(w));
		if (all->work - begin >= part) {
			sessions_flush(all);
			begin = all->work;
			part *= 2;
		}
	}
}

/* Read it to its end, for the last words of its process. */
static void exhaust(struct session *s)
{
	size_t helpings = EXHAUST_MOST / SLAB_HELPING;

	do
		make_room(s->all);
	while (helpings-- > 0 && session_read(s) > 0);
	session_close(s);
}

/* As many of the dead as are one turn's work. */
static void exhaust_some(struct sessions *all, uint64_t end)
{
	struct session *s;

	while (all->work < end && (s = TAILQ_FIRST(&all->exhausting))) {
		all->work += WORK_EXHAUST;
		exhaust(s);
	}
}

static void reap(struct sessions *all)
{
	struct session *s;

	while ((s = TAILQ_FIRST(&all->closing))) {
		TAILQ_REMOVE(&all->closing, s, of_state);
		session_free(s);
	}
}

/*
 * The time for a HELLO.
 */

/* Milliseconds until its deadline, not above 0 if it has passed. */
static int32_t hello_left(const struct session *s)
{
	return (int32_t)(s->since_ms + s->all->limits->hello_ms - (uint32_t)clock_ms());
}

/* Only while somebody is new: a wait that has an end costs the kernel a timer each time, and us a look at the clock. */
static void arm_hello_timer(struct sessions *all)
{
	struct session *first = TAILQ_FIRST(&all->fresh);
	int32_t left = first ? hello_left(first) : 0, ms = left > 0 ? left : 1;
	struct timeval t = { (time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000) };
	int armed = event_pending(&all->hello_timer, EV_TIMEOUT, NULL);

	if (first && !armed)
		(void)event_add(&all->hello_timer, &t);
	else if (!first && armed)
		event_del(&all->hello_timer);
}

/* Sessions in `fresh` are in the order in which they came. */
static void on_hello_timer(evutil_socket_t fd, short what, void *data)
{
	struct sessions *all = data;
	struct session *s;

	(void)fd;
	(void)what;
	while ((s = TAILQ_FIRST(&all->fresh)) && hello_left(s) <= 0)
		session_refuse(s, "hello.timeout", "no %s came within %" PRIu32 " ms (limits.hello-timeout)",
			       s->link ? "LINK" : "HELLO", all->limits->hello_ms);
	arm_hello_timer(all);
}

void sessions_relimit(struct sessions *all)
{
	event_del(&all->hello_timer);
	arm_hello_timer(all);
}

void sessions_turn(struct sessions *all)
{
	uint64_t end;

	serve_ready(all);
	end = all->work + all->limits->turn;
	do {
		exhaust_some(all, end);
		sessions_flush(all);
	} while ((!TAILQ_EMPTY(&all->exhausting) && all->work < end) || !STAILQ_EMPTY(&all->dirty));
	reap(all);
	slab_reset(&all->slab);
	router_sweep(all->router);
	arm_hello_timer(all);
}

int sessions_are_busy(const struct sessions *all)
{
	return all->schedule.n > 0 || !TAILQ_EMPTY(&all->exhausting);
}

/*
 * What happens to all.
 */

void sessions_goodbye(struct sessions *all, Brood__Parting parting)
{
	struct session *s, *next;

	all->leaving = 1;
	all->parting = parting;
	for (s = TAILQ_FIRST(&all->live); s; s = next) {
		next = TAILQ_NEXT(s, of_state);
		session_say_leaving(s);
	}
	TAILQ_FOREACH (s, &all->links, of_state)
		session_say_leaving(s);
	while ((s = TAILQ_FIRST(&all->fresh))) {
		session_say_leaving(s);
		session_close(s);
	}
}

/* Of those whose certificates have an end before this one. */
static void review_list(struct session_list *list, int64_t now)
{
	struct session *s, *next;

	for (s = TAILQ_FIRST(list); s; s = next) {
		next = TAILQ_NEXT(s, of_state);
		session_review(s, now);
	}
}

static void review(struct sessions *all, int64_t now)
{
	all->expires = INT64_MAX;
	review_list(&all->live, now);
	review_list(&all->links, now);
}

void sessions_review(struct sessions *all)
{
	review(all, INT64_MAX);
}

void sessions_expire(struct sessions *all, int64_t now)
{
	if (now >= all->expires)
		review(all, now);
}

void sessions_expel(struct sessions *all, const struct policy *policy)
{
	struct session *s, *next;

	for (s = TAILQ_FIRST(&all->live); s; s = next) {
		next = TAILQ_NEXT(s, of_state);
		if (s->process)
			(void)session_permit(s, policy, s->process->uid);
	}
}

/*
 * Beginning and end.
 */

int sessions_init(struct sessions *all, struct event_base *base, struct log *log, struct router *router,
		  const struct session_ops *ops, void *data)
{
	memset(all, 0, sizeof(*all));
	all->base = base;
	all->log = log;
	all->router = router;
	all->limits = router->limits;
	schedule_init(&all->schedule, all->limits);
	all->ops = ops;
	all->data = data;
	all->expires = INT64_MAX;
	outbox_pool_init(&all->outboxes);
	TAILQ_INIT(&all->fresh);
	TAILQ_INIT(&all->live);
	TAILQ_INIT(&all->links);
	TAILQ_INIT(&all->exhausting);
	TAILQ_INIT(&all->closing);
	STAILQ_INIT(&all->dirty);
	event_assign(&all->hello_timer, base, -1, 0, on_hello_timer, all);
	return slab_init(&all->slab, SLAB_SIZE);
}

static void close_all(struct session_list *list)
{
	struct session *s;

	while ((s = TAILQ_FIRST(list)))
		session_close(s);
}

void sessions_deinit(struct sessions *all)
{
	if (!all->base)
		return;
	event_del(&all->hello_timer);
	close_all(&all->fresh);
	close_all(&all->live);
	close_all(&all->links);
	close_all(&all->exhausting);
	sessions_flush(all);
	reap(all);
	outbox_pool_deinit(&all->outboxes);
	slab_deinit(&all->slab);
}
