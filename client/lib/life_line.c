/*
 * life_line: the parent's side, which is only bookkeeping: which descriptors are open and how they are numbered. What
 * makes it work is in the kernel (a pipe tells its asynchronous readers when the last writer closes) and in spawn's
 * child, which arms the description while it still holds a copy of the write end itself, so no moment is uncovered.
 *
 * The surprising rule is about numbers. A dying process releases its highest descriptors first. If our copy of a
 * child's description went before the write end, nothing would be left to kill a child that closed its own copy. So the
 * write end moves up whenever a new copy would lie above it.
 *
 * Where /proc is missing no second description of a pipe can be made. Then each child gets a pipe of its own, whose
 * write end the line keeps until nobody reads the pipe any more, which is looked for at the next start.
 */
#include "life_line.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Move *fd to `floor` or above, well above if there is room, so that this is seldom needed. */
static int raise_fd(int *fd, int floor)
{
	int higher = fcntl(*fd, F_DUPFD_CLOEXEC, 2 * floor + 16);
	if (higher < 0)
		higher = fcntl(*fd, F_DUPFD_CLOEXEC, floor);
	if (higher < 0)
		return -EMFILE; /* EINVAL too: `floor` is above the limit */
	close(*fd);
	*fd = higher;
	return 0;
}

/* A pipe whose write end is numbered above its read end, which is not certain while other threads open and close. */
static int make_pipe(int *read_fd, int *write_fd)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	if (ends[1] < ends[0]) {
		int rc = raise_fd(&ends[1], ends[0] + 1);
		if (rc < 0) {
			close(ends[0]);
			close(ends[1]);
			return rc;
		}
	}
	*read_fd = ends[0];
	*write_fd = ends[1];
	return 0;
}

int life_line_init(struct life_line *line)
{
	*line = (struct life_line){ .read_fd = -1, .write_fd = -1 };
	return make_pipe(&line->read_fd, &line->write_fd);
}

void life_line_deinit(struct life_line *line)
{
	for (size_t i = 0; i < line->n_lone; i++)
		close(line->lone[i]);
	free(line->lone);
	if (line->write_fd >= 0) {
		close(line->write_fd);
		close(line->read_fd);
	}
	*line = (struct life_line){ .read_fd = -1, .write_fd = -1 };
}

/* Close the write ends that nobody reads any more: their children are reaped, and so is all that inherited from them.
 */
static void drop_unread(struct life_line *line)
{
	size_t kept = 0;
	for (size_t i = 0; i < line->n_lone; i++) {
		struct pollfd end = { .fd = line->lone[i] };
		if (poll(&end, 1, 0) > 0 && (end.revents & POLLERR))
			close(end.fd);
		else
			line->lone[kept++] = end.fd;
	}
	line->n_lone = kept;
}

static int lone_reader(struct life_line *line)
{
	drop_unread(line);
	int *lone = realloc(line->lone, (line->n_lone + 1) * sizeof *lone);
	if (!lone)
		return -ENOMEM;
	line->lone = lone;
	int fd = -1, rc = make_pipe(&fd, &lone[line->n_lone]);
	if (rc < 0)
		return rc;
	line->n_lone++;
	return fd;
}

int life_line_reader(struct life_line *line)
{
	char path[sizeof "/proc/self/fd/" + 10];
	snprintf(path, sizeof path, "/proc/self/fd/%d", line->read_fd);
	for (;;) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return errno == EMFILE || errno == ENFILE ? -errno : lone_reader(line);
		if (fd < line->write_fd)
			return fd;
		/*
		 * Given back first, so that this works with the last free descriptor too: the write end may take its
		 * number, and the next copy takes the write end's old one, which is lower.
		 */
		close(fd);
		int rc = raise_fd(&line->write_fd, fd);
		if (rc < 0)
			return rc;
	}
}
