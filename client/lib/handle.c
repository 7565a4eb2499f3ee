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
	return h->generation == handle_generation ? 0 : -ECHILD;
}

uint64_t handle_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static int watch(struct brood *h, struct source *s, int operation, unsigned events)
{
	struct epoll_event e = { .events = events, .data.ptr = s };
	return epoll_ctl(h->epoll_fd, operation, s->fd, &e) < 0 ? -errno : 0;
}

int handle_watch(struct brood *h, struct source *s, unsigned events)
{
	return watch(h, s, EPOLL_CTL_ADD, events);
}

int handle_rewatch(struct brood *h, struct source *s, unsigned events)
{
	return watch(h, s, EPOLL_CTL_MOD, events);
}

void handle_unwatch(struct brood *h, struct source *s)
{
	(void)watch(h, s, EPOLL_CTL_DEL, 0);
}

void handle_poke(const struct brood *h)
{
	const uint64_t one = 1;
	int saved = errno;
	if (write(h->wake_fd, &one, sizeof(one)) < 0)
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
