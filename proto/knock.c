/*
 * knock: see knock.h. A hello is "\nbrood 1 NAME\n", in one write, which the kernel never mixes with another's up to 4096
 * bytes. It begins with a line feed, too, so that one that was torn spoils none behind it.
 *
 * Nobody may have both ends of a pipe open: the death of the other side would never show. But a pipe that nobody reads
 * cannot be opened for writing, and one that nobody reads any more loses what is in it. So for the moment of knocking,
 * and no longer, the client reads `up` itself. During that moment a death of the broker shows elsewhere: as the end of
 * `down`, if it had come already, else at the rendezvous.
 */
#include "knock.h"
#include "quiet.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define HELLO "brood 1 "
#define NAME_CHARACTERS "0123456789abcdefghijklmnopqrstuvwxyz-"

char *knock_path(const char *name, const char *suffix, char to[KNOCK_PATH])
{
	snprintf(to, KNOCK_PATH, "%s%s", name, suffix);
	return to;
}

/* The prefix and then something; no dot and no slash, so that it is a file in that directory and nothing else. */
static int is_name(const char *name, size_t n)
{
	size_t prefix = strlen(KNOCK_PREFIX);

	return n > prefix && n < KNOCK_NAME && memcmp(name, KNOCK_PREFIX, prefix) == 0 &&
	       strspn(name, NAME_CHARACTERS) == n;
}

int knock_is_pair(const char *file)
{
	const char *dot = strchr(file, '.');

	return dot && is_name(file, (size_t)(dot - file)) &&
	       (strcmp(dot, KNOCK_UP) == 0 || strcmp(dot, KNOCK_DOWN) == 0);
}

/*
 * The client.
 */

/* Whoever else could write there could be the broker. */
static int open_directory(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOTDIR || errno == ELOOP ? -EPERM : -errno;
	if (fstat(fd, &st) == 0 && (st.st_uid == geteuid() || st.st_uid == 0) && !(st.st_mode & 077))
		return fd;
	close(fd);
	return -EPERM;
}

/* Never waits: there is a reader, or this fails. */
static int open_rendezvous(int directory)
{
	struct stat st;
	int fd = openat(directory, KNOCK_FILE, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENXIO ? -ECONNREFUSED : -errno;
	if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
		return fd;
	close(fd);
	return -EPERM;
}

static int choose_name(char name[KNOCK_NAME])
{
	unsigned long long number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -errno;
	snprintf(name, KNOCK_NAME, KNOCK_PREFIX "%d-%016llx", (int)getpid(), number);
	return 0;
}

static int open_end(const struct knock *k, const char *suffix, int flags)
{
	char path[KNOCK_PATH];
	int fd = openat(k->directory, knock_path(k->name, suffix, path), flags | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int make_pair(const struct knock *k)
{
	char path[KNOCK_PATH];

	if (mkfifoat(k->directory, knock_path(k->name, KNOCK_UP, path), 0600) < 0 ||
	    mkfifoat(k->directory, knock_path(k->name, KNOCK_DOWN, path), 0600) < 0)
		return -errno;
	return 0;
}

static int say_hello(const struct knock *k)
{
	char line[KNOCK_NAME + 16];
	int n = snprintf(line, sizeof(line), "\n" HELLO "%s\n", k->name);
	struct iovec all = { line, (size_t)n };
	ssize_t r = quiet_writev(k->rendezvous, &all, 1);

	if (r == -EPIPE)
		return -ECONNREFUSED;
	return r < 0 ? (int)r : 0;
}

/* Readers come first: only then can a pipe be opened for writing. */
static int open_pair(struct knock *k, int *in_fd, int *out_fd)
{
	int r = make_pair(k);

	*in_fd = *out_fd = -1;
	if (r == 0)
		r = *in_fd = open_end(k, KNOCK_DOWN, O_RDONLY);
	if (r >= 0)
		r = k->hold = open_end(k, KNOCK_UP, O_RDONLY);
	if (r >= 0)
		r = *out_fd = open_end(k, KNOCK_UP, O_WRONLY);
	if (r >= 0)
		r = say_hello(k);
	if (r >= 0)
		return 0;
	if (*in_fd >= 0)
		close(*in_fd);
	if (*out_fd >= 0)
		close(*out_fd);
	return r;
}

int knock(struct knock *k, const struct address *a, int *in_fd, int *out_fd)
{
	int r;

	*k = (struct knock){ .directory = open_directory(address_directory(a)), .rendezvous = -1, .hold = -1 };
	r = k->directory;
	if (r >= 0)
		r = k->rendezvous = open_rendezvous(k->directory);
	if (r >= 0)
		r = choose_name(k->name);
	if (r >= 0)
		r = open_pair(k, in_fd, out_fd);
	if (r < 0)
		knock_end(k, 0);
	return r;
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Whoever opened `up` for reading opened `down` before, and said something in it if it closed both. */
int knock_is_vain(struct knock *k, int in_fd, int out_fd)
{
	struct pollfd out = { .fd = out_fd }, in = { .fd = in_fd, .events = POLLIN };

	close_one(&k->hold);
	return poll(&out, 1, 0) == 1 && out.revents & POLLERR && poll(&in, 1, 0) == 0;
}

void knock_end(struct knock *k, int answered)
{
	char path[KNOCK_PATH];

	if (k->directory >= 0 && k->name[0] && !answered) {
		unlinkat(k->directory, knock_path(k->name, KNOCK_UP, path), 0);
		unlinkat(k->directory, knock_path(k->name, KNOCK_DOWN, path), 0);
	}
	close_one(&k->hold);
	close_one(&k->rendezvous);
	close_one(&k->directory);
}

/*
 * The broker.
 */

static int parse_line(const char *line, size_t n, char name[KNOCK_NAME])
{
	size_t hello = strlen(HELLO);

	if (n <= hello || n - hello >= KNOCK_NAME || memcmp(line, HELLO, hello) != 0)
		return -EPROTO;
	memcpy(name, line + hello, n - hello);
	name[n - hello] = '\0';
	return is_name(name, n - hello) ? 1 : -EPROTO;
}

int knock_next(struct knock_reader *r, const char **at, const char *end, char name[KNOCK_NAME])
{
	while (*at < end) {
		char c = *(*at)++;
		size_t n = r->n;

		if (c != '\n' && n < sizeof(r->line))
			r->line[r->n++] = c;
		if (c != '\n')
			continue;
		r->n = 0;
		if (n > 0)
			return parse_line(r->line, n, name);
	}
	return 0;
}
