/*
 * console: bytes in both directions, at most one chunk of each. What my output does not take pauses the child's; what
 * the child does not take is no longer read. My descriptors are shared with others, so they stay as they are: each read
 * and write is of an amount that poll() promised.
 */
#include "console.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

void console_init(struct console *c, brood_peer *child)
{
	*c = (struct console){ .child = child, .input_open = 1 };
}

/* ---- to the child ------------------------------------------------------------------------------------------------ */

static void write_input(struct console *c)
{
	if (brood_write(c->child, CONSOLE_FD, c->in, c->in_length) != -EAGAIN)
		c->in_length = 0; /* or nobody reads it any more */
}

static void read_input(struct console *c)
{
	ssize_t n = read(STDIN_FILENO, c->in, sizeof c->in);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		c->input_open = 0;
		(void)brood_end(c->child, CONSOLE_FD);
		return;
	}
	c->in_length = (size_t)n;
	write_input(c);
}

void console_drained(struct console *c)
{
	if (c->in_length)
		write_input(c);
}

/* ---- from the child ---------------------------------------------------------------------------------------------- */

static size_t waiting(const struct console *c)
{
	return c->end - c->at;
}

static void write_output(struct console *c, size_t most)
{
	size_t n = waiting(c) < most ? waiting(c) : most;
	ssize_t taken = write(STDOUT_FILENO, c->out + c->at, n);
	if (taken < 0 && errno != EINTR && errno != EAGAIN)
		c->broken = -errno;
	c->at += taken > 0 ? (size_t)taken : 0;
	if (c->broken)
		c->at = c->end;
	if (!waiting(c))
		(void)brood_pause(c->child, CONSOLE_FD, 0);
}

void console_output(struct console *c, const void *bytes, size_t n)
{
	if (c->broken || n == 0 || n > sizeof c->out)
		return;
	memcpy(c->out, bytes, n);
	c->at = 0;
	c->end = n;
	(void)brood_pause(c->child, CONSOLE_FD, 1);
}

void console_flush(struct console *c)
{
	while (waiting(c))
		write_output(c, sizeof c->out);
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

void console_wait(struct console *c, brood *b)
{
	struct pollfd fds[] = {
		{ .fd = brood_fd(b), .events = POLLIN },
		{ .fd = c->input_open && !c->in_length ? STDIN_FILENO : -1, .events = POLLIN },
		{ .fd = waiting(c) ? STDOUT_FILENO : -1, .events = POLLOUT },
	};
	if (poll(fds, 3, -1) < 0)
		return;
	if (fds[1].revents)
		read_input(c);
	if (fds[2].revents)
		write_output(c, PIPE_BUF);
}
