/*
 * schedule: deficit round robin over users.
 *
 * The ring holds the lanes in which somebody waits. The first one gets a quantum if it has no credit, is served until that is
 * spent, and goes behind the others. All steps take constant time but for a lane
 * in debt, which is passed over once per quantum that it owes: if nobody else waits that is no delay worth mentioning, so
 * nothing is idle while there is work, and a lane alone in the ring gets all of the turn.
 */
#include "schedule.h"

void schedule_init(struct schedule *s, const struct limits *limits)
{
	TAILQ_INIT(&s->ring);
	s->limits = limits;
	s->left = 0;
	s->n = 0;
}

void lane_init(struct lane *lane)
{
	TAILQ_INIT(&lane->light);
	TAILQ_INIT(&lane->heavy);
	lane->credit = 0;
	lane->heavy_next = lane->spent = 0;
}

static int is_empty(const struct lane *lane)
{
	return TAILQ_EMPTY(&lane->light) && TAILQ_EMPTY(&lane->heavy);
}

static struct waiter_list *list_of(struct lane *lane, const struct waiter *w)
{
	return w->heavy ? &lane->heavy : &lane->light;
}

void schedule_add(struct schedule *s, struct waiter *w, struct lane *lane)
{
	if (w->lane)
		return;
	if (is_empty(lane)) {
		TAILQ_INSERT_TAIL(&s->ring, lane, entry);
		lane->spent = 0;
	}
	w->lane = lane;
	s->n++;
	TAILQ_INSERT_TAIL(list_of(lane, w), w, entry);
}

void schedule_remove(struct schedule *s, struct waiter *w)
{
	struct lane *lane = w->lane;

	if (!lane)
		return;
	TAILQ_REMOVE(list_of(lane, w), w, entry);
	w->lane = NULL;
	s->n--;
	if (is_empty(lane))
		TAILQ_REMOVE(&s->ring, lane, entry);
}

void schedule_begin(struct schedule *s)
{
	s->left = (int64_t)s->limits->turn;
}

static struct waiter *take(struct schedule *s, struct lane *lane)
{
	struct waiter *light = TAILQ_FIRST(&lane->light), *heavy = TAILQ_FIRST(&lane->heavy);
	struct waiter *w = heavy && (lane->heavy_next || !light) ? heavy : light;

	lane->heavy_next = w == light;
	schedule_remove(s, w);
	return w;
}

static void go_behind(struct schedule *s, struct lane *lane)
{
	TAILQ_REMOVE(&s->ring, lane, entry);
	TAILQ_INSERT_TAIL(&s->ring, lane, entry);
	lane->spent = 0;
}

struct waiter *schedule_next(struct schedule *s)
{
	struct lane *lane;

	while (s->left > 0 && (lane = TAILQ_FIRST(&s->ring))) {
		if (!lane->spent && lane->credit <= 0)
			lane->credit += (int64_t)s->limits->quantum;
		if (!lane->spent && lane->credit > 0)
			return take(s, lane);
		go_behind(s, lane);
	}
	return NULL;
}

void schedule_charge(struct schedule *s, struct lane *lane, uint64_t work)
{
	lane->credit -= (int64_t)work;
	lane->spent = lane->credit <= 0;
	s->left -= (int64_t)work;
}
