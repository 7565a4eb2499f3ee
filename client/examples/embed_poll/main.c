/*
 * embed_poll: a program with a poll() loop of its own gains a child. Whatever the loop is (epoll, GLib, libuv), brood
 * needs two lines of it: one descriptor to watch, and one call when it is readable.
 *
 * Here the loop also reads lines from standard input. Each one is sent to the child, which sends it back.
 */
#include <brood.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

struct program {
	brood_peer *child;
	unsigned open; /* lines sent and not answered */
	int at_end;    /* of standard input */
};

static int replied(const brood_event *ev)
{
	struct program *p = ev->data;
	p->open--;
	if (ev->msg)
		fwrite(ev->msg->body, 1, ev->msg->length, stdout);
	else
		fprintf(stderr, "embed_poll: %s\n", ev->error->text);
	return 0;
}

static void read_input(struct program *p)
{
	char line[4096];
	ssize_t n = read(STDIN_FILENO, line, sizeof line);
	if (n <= 0)
		p->at_end = 1;
	else if (brood_request(p->child, BROOD_MSG("text", line, (size_t)n), 1000, replied, p) > 0)
		p->open++;
}

static int loop(brood *b, struct program *p)
{
	struct pollfd fds[] = { { .fd = brood_fd(b), .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };
	while (p->open > 0 || !p->at_end) {
		if (poll(fds, p->at_end ? 1 : 2, -1) < 0)
			return 1;
		if (fds[0].revents && brood_process(b, 0) < 0)
			return 1;
		if (!p->at_end && fds[1].revents)
			read_input(p);
	}
	return 0;
}

int main(void)
{
	brood *b;
	struct program p = { 0 };
	if (brood_connect(&b, NULL, NULL) < 0)
		return 1;
	int rc = brood_spawn(b, &p.child, BROOD_ARGV("./hello-child"), NULL) < 0 || loop(b, &p);
	brood_close(b);
	return rc;
}
