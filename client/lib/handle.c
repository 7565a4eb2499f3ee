/*
 * handle: the little that all modules need from it: the time, the epoll set, and the last failure.
 */
#include "handle.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

unsigned handle_generation;

int handle_check(const struct brood *h)
{
	if (!h)
		return -EINVAL;
	if (h->generation != handle_generation)
		return -ECHILD;
	return h->over ? -ESHUTDOWN : 0;
}

uint64_t handle_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

uint64_t handle_now_at_most(struct brood *h)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	uint64_t tick = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	if (tick != h->tick) {
		h->tick = tick;
		h->tick_ends = handle_now() + HANDLE_TICK_MS;
	}
	return h->tick_ends;
}

uint64_t handle_awake(struct brood *h)
{
	uint64_t now = handle_now(), passed = now - h->looked_at;
	h->awake += passed < HANDLE_AWAKE_MS ? passed : HANDLE_AWAKE_MS;
	h->looked_at = now;
	return h->awake;
}

#define SOONER_MS 50u

static void watch(struct brood *h, struct source *s)
{
	struct epoll_event e = { .events = s->wanted, .data.ptr = s };
	int operation = !s->watched ? EPOLL_CTL_ADD : s->wanted ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
	if (epoll_ctl(h->epoll_fd, operation, s->fd, &e) == 0 || !s->wanted) {
		s->watched = s->wanted;
		return;
	}
	LIST_INSERT_HEAD(&h->unwatched, s, entry);
	(void)timer_arm(&h->timers, &h->sooner, handle_now() + SOONER_MS);
}

void handle_watch(struct brood *h, struct source *s, unsigned events)
{
	if (s->wanted != s->watched)
		LIST_REMOVE(s, entry);
	s->wanted = events;
	if (s->wanted != s->watched)
		watch(h, s);
}

void handle_watch_again(struct timer *t)
{
	struct brood *h = (struct brood *)(void *)((char *)t - offsetof(struct brood, sooner));
	struct source *s, *next;
	for (s = LIST_FIRST(&h->unwatched); s; s = next) {
		next = LIST_NEXT(s, entry);
		LIST_REMOVE(s, entry);
		watch(h, s);
	}
}

void handle_poke(const struct brood *h)
{
	const uint64_t one = 1;
	int saved = errno;
	while (write(h->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	errno = saved; /* full: readable already */
}

int handle_fail(struct brood *h, int code, const char *name, const char *format, ...)
{
	char text[sizeof(h->last.text)];
	va_list args;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fault_set_code(&h->last, code, name, "%s", text);
	return code;
}

void handle_note(struct brood *h, const struct fault *f)
{
	if (h->first.error.code == 0)
		fault_copy(&h->first, f);
	fault_copy(&h->last, f);
}
