/*
 * child_descriptors: see child_descriptors.h.
 */
#include "child_descriptors.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static unsigned long came; /* descriptors, with numbered messages */

static int reply_count(brood_msg *m, unsigned long n)
{
	char text[24];
	snprintf(text, sizeof text, "%lu", n);
	return brood_reply(m, BROOD_TEXT(text));
}

/* Write the message's text into each, with the index behind it, if they are what they should be. */
static int write_into(brood_msg *m)
{
	for (unsigned i = 0; i < m->n_fds; i++) {
		int fd = brood_msg_take_fd(m, i);
		if (fd < 0 || !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
			return fd < 0 ? fd : -EBADFD;
		dprintf(fd, "%s%u", m->text, i);
		close(fd);
	}
	return m->wants_reply ? reply_count(m, m->n_fds) : 0;
}

/* A pipe in which the message's text waits: its end to read from. */
static int pipe_with(const brood_msg *m)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	ssize_t n = write(ends[1], m->text, m->length);
	close(ends[1]);
	return n == (ssize_t)m->length ? ends[0] : -EIO;
}

static int give(brood_msg *m)
{
	int fd = pipe_with(m);
	int rc = brood_reply(m, BROOD_MSG("given", "here", 4, .fds = &fd, .n_fds = 1));
	close(fd);
	return rc;
}

static int give_unasked(brood_msg *m)
{
	int fd = pipe_with(m);
	int rc = brood_send(m->from, BROOD_MSG("given", "here", 4, .fds = &fd, .n_fds = 1));
	close(fd);
	return rc;
}

static int leave(brood_msg *m)
{
	return m->wants_reply ? reply_count(m, m->n_fds) : 0;
}

static int count_came(brood_msg *m)
{
	return reply_count(m, came);
}

static int count_open(brood_msg *m)
{
	unsigned long n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return reply_count(m, n);
}

/* "1": no number is free any more; "0": as before. */
static int limit(brood_msg *m)
{
	static struct rlimit before;
	struct rlimit none;
	if (m->text[0] == '0')
		return setrlimit(RLIMIT_NOFILE, &before) < 0 ? -errno : reply_count(m, 0);
	getrlimit(RLIMIT_NOFILE, &before);
	int lowest = dup(0);
	none = (struct rlimit){ (rlim_t)lowest, before.rlim_max };
	close(lowest);
	return setrlimit(RLIMIT_NOFILE, &none) < 0 ? -errno : reply_count(m, (unsigned long)lowest);
}

static const struct {
	const char *type;
	int (*act)(brood_msg *);
} acts[] = {
	{ "fd-write", write_into }, { "fd-give", give },       { "fd-give-unasked", give_unasked },
	{ "fd-leave", leave },      { "fd-came", count_came }, { "fd-open", count_open },
	{ "fd-limit", limit },
};

int descriptors_act(brood_msg *m)
{
	for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
		if (strcmp(acts[i].type, m->type) == 0)
			return acts[i].act(m);
	return -ENOSYS;
}

int descriptors_match(brood_msg *m, uint64_t number)
{
	int good = 1;
	for (unsigned i = 0; i < m->n_fds; i++) {
		uint64_t in_it = UINT64_MAX;
		int fd = brood_msg_take_fd(m, i);
		good &= fd >= 0 && read(fd, &in_it, sizeof in_it) == (ssize_t)sizeof in_it && in_it == number;
		if (fd >= 0)
			close(fd);
		came++;
	}
	return good;
}
