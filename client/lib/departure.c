/*
 * departure: see departure.h.
 *
 * At exit(3) only handles of the exiting thread are flushed: others may be in use. In a forked copy the life lines are
 * closed, or the copy would keep the children of its parent alive; everything else there is left alone.
 */
#include "departure.h"
#include "loop.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static LIST_HEAD(, brood) handles = LIST_HEAD_INITIALIZER(handles);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* It stays in the list: whoever ends a program without brood_close() has not lost the handle. */
static struct brood *next_of_this_thread(void)
{
	struct brood *h;
	pthread_mutex_lock(&lock);
	LIST_FOREACH (h, &handles, entry)
		if (!h->flushed && pthread_equal(h->thread, pthread_self()) && h->generation == handle_generation)
			break;
	if (h)
		h->flushed = 1;
	pthread_mutex_unlock(&lock);
	return h;
}

static void at_exit(void)
{
	struct brood *h;
	while ((h = next_of_this_thread())) {
		uint64_t n = loop_flush(h, (int)h->flush_ms);
		if (n > 0)
			fprintf(stderr, "brood: %" PRIu64 " message%s may be lost: not consumed within %u ms of exit\n",
				n, n == 1 ? "" : "s", h->flush_ms);
	}
}

static void before_fork(void)
{
	pthread_mutex_lock(&lock);
}

static void after_fork_in_parent(void)
{
	pthread_mutex_unlock(&lock);
}

static void after_fork_in_child(void)
{
	struct brood *h;
	handle_generation++;
	LIST_FOREACH (h, &handles, entry)
		life_line_deinit(&h->line);
	LIST_INIT(&handles);
	pthread_mutex_unlock(&lock);
}

static void install(void)
{
	(void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
	(void)atexit(at_exit);
}

void departure_add(struct brood *h)
{
	pthread_once(&once, install);
	pthread_mutex_lock(&lock);
	h->generation = handle_generation;
	h->thread = pthread_self();
	h->listed = 1;
	LIST_INSERT_HEAD(&handles, h, entry);
	pthread_mutex_unlock(&lock);
}

void departure_remove(struct brood *h)
{
	pthread_mutex_lock(&lock);
	if (h->listed)
		LIST_REMOVE(h, entry);
	h->listed = 0;
	pthread_mutex_unlock(&lock);
}
