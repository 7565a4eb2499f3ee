/*
 * resolve: see resolve.h.
 *
 * The thread and who asked share what is looked up; the last of the two frees it, and closes the descriptor. So who loses
 * interest leaves at once, and the thread ends some time later, when the resolver has given up. It runs no code of the
 * program's: all signals are blocked in it. In a forked copy there is no thread, and its share stays behind.
 */
#include "resolve.h"
#include "dial.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct resolve {
	atomic_int shares;
	int fd;
	int result; /* from here on the thread's, until it has said so by the descriptor */
	struct address address;
};

void resolve_free(struct resolve *r)
{
	if (!r || atomic_fetch_sub(&r->shares, 1) > 1)
		return;
	close(r->fd);
	free(r);
}

static void *look_up(void *data)
{
	struct resolve *r = data;
	const uint64_t one = 1;

	r->result = dial_look_up(&r->address);
	(void)!write(r->fd, &one, sizeof(one));
	resolve_free(r);
	return NULL;
}

/* Detached, and deaf to signals, which are for the program's threads. */
static int start(struct resolve *r)
{
	pthread_attr_t detached;
	pthread_t thread;
	sigset_t all, before;
	int error = pthread_attr_init(&detached);

	if (error)
		return -error;
	sigfillset(&all);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, &detached, look_up, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&detached);
	return -error;
}

int resolve_begin(struct resolve **ret, const struct address *address)
{
	struct resolve *r = malloc(sizeof(*r));
	int error;

	if (!r)
		return -ENOMEM;
	r->address = *address;
	r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = r->fd < 0 ? -errno : 0;
	atomic_init(&r->shares, 2);
	if (error == 0)
		error = start(r);
	if (error == 0) {
		*ret = r;
		return 0;
	}
	if (r->fd >= 0)
		close(r->fd);
	free(r);
	return error;
}

int resolve_fd(const struct resolve *r)
{
	return r->fd;
}

int resolve_answer(const struct resolve *r, struct address *to)
{
	uint64_t one;

	if (read(r->fd, &one, sizeof(one)) != sizeof(one))
		return -EINPROGRESS;
	*to = r->address;
	return r->result;
}
