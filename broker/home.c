/*
 * home: a directory that belongs to this user alone, reached by descriptor.
 *
 * Whoever can write here can be the broker, so the directory is checked once, through a descriptor that follows no
 * symbolic link, and everything in it is opened relative to that descriptor. The check refuses rather than repairs: a
 * directory that somebody else made in /tmp is theirs. Files are written beside themselves and renamed, so that a crash
 * leaves the old content or the new.
 */
#include "home.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TRIES 5
#define LOCK_AGAIN_US 5000

/* The reason why this directory cannot be trusted, or NULL. */
static const char *distrust(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return "it cannot be examined; choose another directory with --dir";
	if (st.st_uid != geteuid())
		return "it belongs to another user; choose another directory with --dir";
	if (st.st_mode & 077)
		return "others may enter it; make it yours alone with chmod 700, or choose another with --dir";
	return NULL;
}

/* A link to a directory is no directory, says the kernel. */
static int open_directory(const char *path)
{
	struct stat st;
	int fd;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOTDIR)
		return lstat(path, &st) == 0 && S_ISLNK(st.st_mode) ? -ELOOP : -ENOTDIR;
	return fd < 0 ? -errno : fd;
}

/* The kernel knows the absolute path of an open directory. */
static int find_path(struct home *home)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", home->fd);
	n = readlink(link, home->path, sizeof(home->path) - 1);
	if (n <= 0)
		return -1;
	home->path[n] = '\0';
	return 0;
}

int home_open(struct home *home, const char *path, char *why, size_t n)
{
	const char *reason;

	*home = (struct home){ .fd = open_directory(path), .lock_fd = -1 };
	if (home->fd < 0) {
		snprintf(why, n, "directory %s: cannot be opened: %s; %schoose another with --dir", path,
			 home->fd == -ELOOP ? "it is a symbolic link" : strerror(-home->fd),
			 home->fd == -ENOENT ? "make the directory that it is in, or " : "");
		return -EINVAL;
	}
	reason = distrust(home->fd);
	if (!reason && find_path(home) < 0)
		reason = "its path is not known, is /proc mounted?";
	if (!reason)
		return 0;
	snprintf(why, n, "directory %s: %s", path, reason);
	home_close(home);
	return -EINVAL;
}

void home_close(struct home *home)
{
	if (home->lock_fd >= 0)
		close(home->lock_fd);
	if (home->fd >= 0)
		close(home->fd);
	home->lock_fd = home->fd = -1;
}

static pid_t read_pid(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		return 0;
	return (pid_t)strtol(text, NULL, 10);
}

static int write_pid(int fd)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return -errno;
	return 0;
}

/* Clients that look whether a broker has it hold it for an instant themselves: that is no reason to give up. */
static int take_lock(int fd)
{
	for (int tries = 1; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
		if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
			return -errno;
		usleep(LOCK_AGAIN_US);
	}
	return 0;
}

int home_lock(struct home *home, pid_t *holder)
{
	int r;

	home->lock_fd = openat(home->fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (home->lock_fd < 0)
		return -errno;
	r = take_lock(home->lock_fd);
	if (r < 0) {
		*holder = read_pid(home->lock_fd);
		return r;
	}
	return write_pid(home->lock_fd);
}

static int is_mine_alone(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 077);
}

ssize_t home_read(const struct home *home, const char *name, void *bytes, size_t n)
{
	int fd = openat(home->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t got = -EPERM;

	if (fd < 0)
		return -errno;
	if (is_mine_alone(fd)) {
		got = read(fd, bytes, n);
		got = got < 0 ? -errno : got;
	}
	close(fd);
	return got;
}

static int fill(int fd, const void *bytes, size_t n)
{
	ssize_t done = write(fd, bytes, n);

	if (done != (ssize_t)n)
		return done < 0 ? -errno : -ENOSPC;
	return fsync(fd) < 0 ? -errno : 0;
}

int home_write(const struct home *home, const char *name, const void *bytes, size_t n)
{
	char beside[64];
	int fd, r;

	snprintf(beside, sizeof(beside), ".%s", name);
	fd = openat(home->fd, beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = fill(fd, bytes, n);
	close(fd);
	if (r == 0 && renameat(home->fd, beside, home->fd, name) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(home->fd, beside, 0);
	return r;
}

void home_remove(const struct home *home, const char *name)
{
	unlinkat(home->fd, name, 0);
}
