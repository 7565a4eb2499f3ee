/*
 * absence: a list in order of time with one timer, and for each process on this host a pidfd, which is readable from the
 * moment the process has ended. So a crash is known within a moment, and only those who live, or whose end cannot be
 * seen, are waited for.
 */
#include "absence.h"
#include "clock.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#define RETRY_MS 1000u /* while a grace keeps everybody */

struct absence {
	TAILQ_ENTRY(absence) entry;
	struct absences *all;
	struct process *process;
	uint64_t since_ms;
	struct event ended; /* its pidfd; fd -1: none */
	int pidfd;
};

static void arm(struct absences *all)
{
	struct absence *first = TAILQ_FIRST(&all->list);
	uint64_t now = clock_ms(), due = first ? first->since_ms + all->most_ms : 0;
	uint64_t ms = due > now ? due - now : *all->grace ? RETRY_MS : 1;
	struct timeval t = { (time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000) };

	if (first && !event_pending(&all->timer, EV_TIMEOUT, NULL))
		(void)event_add(&all->timer, &t);
}

static void on_timer(evutil_socket_t fd, short what, void *data)
{
	struct absences *all = data;
	struct absence *a;
	uint64_t now = clock_ms();

	(void)fd;
	(void)what;
	while (!*all->grace && (a = TAILQ_FIRST(&all->list)) && a->since_ms + all->most_ms <= now) {
		struct process *p = a->process;

		absence_end(all, p);
		all->over(all->data, p);
	}
	arm(all);
}

static void on_ended(evutil_socket_t fd, short what, void *data)
{
	struct absence *a = data;
	struct absences *all = a->all;
	struct process *p = a->process;

	(void)fd;
	(void)what;
	absence_end(all, p);
	all->over(all->data, p);
}

void absences_init(struct absences *all, struct event_base *base, const struct limits *limits, unsigned most_ms,
		   const int *grace, void (*over)(void *data, struct process *), void *data)
{
	memset(all, 0, sizeof(*all));
	all->base = base;
	all->limits = limits;
	all->most_ms = most_ms;
	all->grace = grace;
	all->over = over;
	all->data = data;
	TAILQ_INIT(&all->list);
	event_assign(&all->timer, base, -1, 0, on_timer, all);
}

void absences_allow(struct absences *all, unsigned most_ms)
{
	all->most_ms = most_ms;
	event_del(&all->timer);
	arm(all);
}

void absences_deinit(struct absences *all)
{
	struct absence *a;

	if (!all->base)
		return;
	while ((a = TAILQ_FIRST(&all->list)))
		absence_end(all, a->process);
	event_del(&all->timer);
}

/* No kernel vouches for the number. */
static int says_its_pid(const struct process *p)
{
	return transport_is_net(p->transport) || p->transport == TRANSPORT_FIFO;
}

int absence_pidfd(const struct process *p)
{
	int fd;

	if (p->pid == 0 || (says_its_pid(p) && !p->visible))
		return -ENOENT;
	fd = pidfd_open((pid_t)p->pid, 0);
	return fd >= 0 ? fd : errno == ESRCH ? -ESRCH : -ENOENT;
}

static int has_ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return pidfd == -ESRCH || (pidfd >= 0 && poll(&p, 1, 0) == 1);
}

static int watch(struct absence *a)
{
	if (a->pidfd < 0)
		return 0;
	event_assign(&a->ended, a->all->base, a->pidfd, EV_READ, on_ended, a);
	return event_add(&a->ended, NULL) < 0 ? -ENOMEM : 0;
}

/* Let go of both; the code is for the caller to pass on. */
static int drop(int pidfd, struct absence *a, int code)
{
	if (pidfd >= 0)
		close(pidfd);
	free(a);
	return code;
}

/* As the process's own from now on. NULL without memory. */
static struct absence *make(struct absences *all, struct process *p, int pidfd)
{
	struct estate *e = estate_get(p);
	struct absence *a = e ? calloc(1, sizeof(*a)) : NULL;

	if (a) {
		*a = (struct absence){ .all = all, .process = p, .since_ms = clock_ms(), .pidfd = pidfd };
		if (watch(a) == 0)
			return e->absence = a;
	}
	free(a);
	estate_tidy(p);
	return NULL;
}

int absence_begin(struct absences *all, struct process *p, int pidfd)
{
	struct absence *a;

	if (has_ended(pidfd))
		return drop(pidfd, NULL, -ESRCH);
	if (all->n >= all->limits->absent)
		return drop(pidfd, NULL, -ENOSPC);
	if (pidfd >= 0 && all->seen >= all->limits->absent_seen)
		pidfd = drop(pidfd, NULL, -ENOENT);
	a = make(all, p, pidfd);
	if (!a)
		return drop(pidfd, NULL, -ENOMEM);
	TAILQ_INSERT_TAIL(&all->list, a, entry);
	all->n++;
	all->seen += pidfd >= 0;
	arm(all);
	return 0;
}

void absence_end(struct absences *all, struct process *p)
{
	struct absence *a = estate_of(p)->absence;

	if (!a)
		return;
	TAILQ_REMOVE(&all->list, a, entry);
	all->n--;
	all->seen -= a->pidfd >= 0;
	p->estate->absence = NULL;
	estate_tidy(p);
	if (a->pidfd >= 0)
		event_del(&a->ended);
	(void)drop(a->pidfd, a, 0);
	if (TAILQ_EMPTY(&all->list))
		event_del(&all->timer);
}
