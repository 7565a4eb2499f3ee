/*
 * timer: a binary heap of pointers to timers, which know their slot in it, so that cancelling needs no search.
 *
 * The surprising rule: during a run no timer can be armed for that run. Otherwise a callback that arms itself for "now"
 * would keep the run going for ever.
 */
#include "timer.h"
#include <errno.h>
#include <stdlib.h>

void timers_init(struct timers *timers)
{
	*timers = (struct timers){ 0 };
}

void timers_deinit(struct timers *timers)
{
	for (unsigned slot = 1; slot <= timers->n; slot++)
		timers->heap[slot]->slot = 0;
	free(timers->heap);
	timers_init(timers);
}

static void put(struct timers *timers, unsigned slot, struct timer *timer)
{
	timers->heap[slot] = timer;
	timer->slot = slot;
}

/* Put the timer where it belongs, given that only `slot` is free and all others are in order. */
static void settle(struct timers *timers, unsigned slot, struct timer *timer)
{
	struct timer **heap = timers->heap;
	for (; slot > 1 && timer->due < heap[slot / 2]->due; slot /= 2)
		put(timers, slot, heap[slot / 2]);
	for (;;) {
		unsigned child = 2 * slot;
		if (child < timers->n && heap[child + 1]->due < heap[child]->due)
			child++;
		if (child > timers->n || timer->due <= heap[child]->due)
			break;
		put(timers, slot, heap[child]);
		slot = child;
	}
	put(timers, slot, timer);
}

/* Room for one more, beside those that always have some. */
static int make_room(struct timers *timers)
{
	if (timers->promised + timers->others < timers->size)
		return 0;
	unsigned size = timers->size ? 2 * timers->size : 15;
	struct timer **heap = realloc(timers->heap, (size + 1) * sizeof(struct timer *));
	if (!heap)
		return -ENOMEM;
	timers->heap = heap;
	timers->size = size;
	return 0;
}

int timer_promise(struct timers *timers, struct timer *timer)
{
	if (timer->promised)
		return 0;
	if (make_room(timers) < 0)
		return -ENOMEM;
	timer->promised = 1;
	timers->promised++;
	return 0;
}

void timer_release(struct timers *timers, struct timer *timer)
{
	timer_cancel(timers, timer);
	timers->promised -= timer->promised;
	timer->promised = 0;
}

int timer_arm(struct timers *timers, struct timer *timer, uint64_t due)
{
	if (!timer->slot && !timer->promised) {
		if (make_room(timers) < 0)
			return -ENOMEM;
		timers->others++;
	}
	timer->due = due > timers->earliest ? due : timers->earliest;
	settle(timers, timer->slot ? timer->slot : ++timers->n, timer);
	return 0;
}

void timer_cancel(struct timers *timers, struct timer *timer)
{
	unsigned slot = timer->slot;
	if (!slot)
		return;
	timers->others -= !timer->promised;
	struct timer *last = timers->heap[timers->n--];
	if (last != timer)
		settle(timers, slot, last);
	timer->slot = 0;
}

uint64_t timers_next(const struct timers *timers)
{
	return timers->n ? timers->heap[1]->due : UINT64_MAX;
}

unsigned timers_run(struct timers *timers, uint64_t now)
{
	unsigned fired = 0;
	timers->earliest = now + 1;
	while (timers->n && timers->heap[1]->due <= now) {
		struct timer *timer = timers->heap[1];
		timer_cancel(timers, timer);
		timer->fire(timer);
		fired++;
	}
	timers->earliest = 0;
	return fired;
}
