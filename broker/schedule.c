/*
 * schedule: deficit round robin over users.
 *
 * The ring holds the lanes in which somebody waits. The first one gets a quantum if it has no credit, is served until that is
 * spent, and goes behind the others. All steps take constant time but for a lane
 * in debt, which is passed over once per quantum that it owes: if nobody else waits that is no delay worth mentioning, so
 * nothing is idle while there is work, and a lane alone in the ring gets all of the turn.
 *
 * A heavy one may take as long as a hundred light ones. So these pass it, and a turn ends before it if they did: then the caller
 * writes what they said and looks who else came, which costs little beside a heavy one, and is what a light one waits for.
 */
#include "schedule.h"

#define PASS_MOST 16u /* light ones that are served before a heavy one that waits */

void schedule_init(struct schedule *s, const struct limits *limits)
{
	TAILQ_INIT(&s->ring);
	s->limits = limits;
	s->left = 0;
	s->n = 0;
	s->light = 0;
}

void lane_init(struct lane *lane)
{
	TAILQ_INIT(&lane->light);
	TAILQ_INIT(&lane->heavy);
	lane->credit = 0;
	lane->passed = lane->spent = 0;
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
	s->light = 0;
}

/* Whose turn it is in this lane, in which somebody waits. */
static struct waiter *first_of(const struct lane *lane)
{
	struct waiter *light = TAILQ_FIRST(&lane->light), *heavy = TAILQ_FIRST(&lane->heavy);

	return heavy && (!light || lane->passed >= PASS_MOST) ? heavy : light;
}

static struct waiter *take(struct schedule *s, struct lane *lane, struct waiter *w)
{
	int passes = !w->heavy && !TAILQ_EMPTY(&lane->heavy);

	lane->passed = passes ? lane->passed + 1 : 0;
	s->light |= !w->heavy;
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
	struct waiter *w;

	while (s->left > 0 && (lane = TAILQ_FIRST(&s->ring))) {
		if (!lane->spent && lane->credit <= 0)
			lane->credit += (int64_t)s->limits->quantum;
		if (lane->spent || lane->credit <= 0) {
			go_behind(s, lane);
			continue;
		}
		w = first_of(lane);
		if (w->heavy && s->light)
			break;
		return take(s, lane, w);
	}
	return NULL;
}

void schedule_charge(struct schedule *s, struct lane *lane, uint64_t work)
{
	lane->credit -= (int64_t)work;
	lane->spent = lane->credit <= 0;
	s->left -= (int64_t)work;
}
