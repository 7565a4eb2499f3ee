/*
 * place: see place.h.
 */
#include "place.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* BROOD_FD=number:inode names it. It is renumbered so that nobody takes it twice. */
int place_inherited(void)
{
	const char *text = getenv("BROOD_FD");
	char *end;
	struct stat s;
	if (!text)
		return -1;
	long number = strtol(text, &end, 10);
	if (end == text || *end != ':' || number < 0 || number > 1 << 20)
		return -1;
	unsigned long long inode = strtoull(end + 1, &end, 10);
	if (*end || fstat((int)number, &s) < 0 || s.st_ino != inode || !(S_ISSOCK(s.st_mode) || S_ISFIFO(s.st_mode)))
		return -1;
	int fd = fcntl((int)number, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -1;
	close((int)number);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd;
}

int place_find(const char *address, char *to, size_t n)
{
	char directory[96];
	struct stat s;
	if (!address)
		address = getenv("BROOD_ADDRESS");
	if (address && *address) {
		snprintf(to, n, "%s", address);
		return 0;
	}
	if (stat("/run/brood", &s) == 0) {
		snprintf(to, n, "unix:/run/brood/sock");
		return 0;
	}
	*to = '\0';
	if (address_private_directory(directory, sizeof(directory)))
		snprintf(to, n, "unix:%s/sock", directory);
	return 1;
}

static size_t read_file(const char *path, void *to, size_t n, int flags)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
	if (fd < 0)
		return 0;
	ssize_t got = read(fd, to, n);
	close(fd);
	return got > 0 ? (size_t)got : 0;
}

/* "" if there is none. */
static void cookie_path(const char *file, char *path, size_t n)
{
	char directory[96];
	if (file || address_private_directory(directory, sizeof(directory)))
		snprintf(path, n, "%s%s", file ? file : directory, file ? "" : "/cookie");
	else
		path[0] = '\0';
}

size_t place_cookie(const char *file, uint8_t *to, size_t n)
{
	char path[PATH_MAX];
	cookie_path(file, path, sizeof(path));
	return read_file(path, to, n, O_NOFOLLOW);
}

void place_cookie_fault(const char *file, char *why, size_t n)
{
	char path[PATH_MAX];
	why[0] = '\0';
	cookie_path(file, path, sizeof(path));
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		close(fd);
	else if (*path)
		snprintf(why, n, "the cookie file %s cannot be read: %s", path, strerror(errno));
}

/* Where a private broker at this address has its lock. 0: nowhere. */
static int lock_path(const char *address, enum address_kind kind, char path[160])
{
	int n = (int)strlen(address) - (int)strlen("unix:");
	n -= kind == ADDRESS_FIFO ? 0 : (int)strlen("/sock");
	if (n <= 0)
		return 0;
	snprintf(path, 160, "%.*s/lock", n, address + strlen("unix:"));
	return 1;
}

long place_holder(const char *address, enum address_kind kind)
{
	char path[160], text[24] = "";
	if (!lock_path(address, kind, path))
		return 0;
	return read_file(path, text, sizeof(text) - 1, O_NONBLOCK) ? strtol(text, NULL, 10) : 0;
}

/* The pid in it outlives its writer, so the lock itself is asked. Others may have made the file: it must not block. */
int place_is_taken(const char *address, enum address_kind kind)
{
	char path[160];
	int fd = lock_path(address, kind, path) ? open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (fd < 0)
		return 0;
	int taken = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	close(fd);
	return taken;
}
