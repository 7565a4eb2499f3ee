/*
 * parcel: a few descriptors with one owner. Taken ones leave -1 behind, so that an index always means the same.
 */
#include "parcel.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define ABOVE_STDIO 3 /* a duplicate never takes the number of a standard stream that the program closed */

struct parcel *parcel_new(void)
{
	struct parcel *p = malloc(sizeof(*p));

	if (!p)
		return NULL;
	p->at = 0;
	p->n = p->lost = 0;
	return p;
}

void parcel_add(struct parcel *p, int fd)
{
	p->fds[p->n++] = fd;
}

int parcel_dup(const int *fds, size_t n, struct parcel **ret)
{
	struct parcel *p = parcel_new();
	int error;

	if (!p)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, ABOVE_STDIO);

		if (fd < 0) {
			/* Without a number below the limit the kernel says EINVAL if the limit itself is that low. */
			error = errno == EINVAL ? EMFILE : errno;
			parcel_free(p);
			return -error;
		}
		parcel_add(p, fd);
	}
	*ret = p;
	return 0;
}

struct parcel *parcel_of(int fd)
{
	struct parcel *p = parcel_new();

	if (p)
		parcel_add(p, fd);
	else
		close(fd);
	return p;
}

void parcel_free(struct parcel *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->n; i++)
		if (p->fds[i] >= 0)
			close(p->fds[i]);
	free(p);
}

int parcel_take(struct parcel *p, unsigned index)
{
	int fd = index < p->n ? p->fds[index] : -1;

	if (fd < 0)
		return -ENOENT;
	p->fds[index] = -1;
	return fd;
}
