/*
 * home: the broker's state directory, and the lock that makes it the only one there. Files in it are small and are
 * written whole or not at all.
 */
#ifndef BROOD_HOME_H
#define BROOD_HOME_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

struct home {
	int fd, lock_fd;     /* -1: not open */
	char path[PATH_MAX]; /* absolute */
};

/*
 * Open the directory, made with mode 0700 if it is not there. 0. -EINVAL with the reason in `why` (what, why, next): it
 * cannot be made, or is not this user's alone.
 */
int home_open(struct home *, const char *path, char *why, size_t n);
/* Closes; the lock is free then. Half-open is fine. */
void home_close(struct home *);

/* Take the lock for life and write our pid into it. 0. -EWOULDBLOCK: *holder has it (0: not known). Negative errno. */
int home_lock(struct home *, pid_t *holder);

/* Bytes read, at most n; -ENOENT and so on. Refuses with -EPERM what is not a plain file of this user alone. */
ssize_t home_read(const struct home *, const char *name, void *bytes, size_t n);
/* Replace or make a file, mode 0600. 0 or negative errno. */
int home_write(const struct home *, const char *name, const void *bytes, size_t n);
void home_remove(const struct home *, const char *name);

#endif
