/*
 * scenarios: those of child_process that no other file tells of.
 */
#include "flow.h"
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WORKERS 8

/* SPAWN is the first, once, before any output, EXIT and CLOSE, however fast the program is. */
static void test_spawn_is_first(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		struct family f = { 0 };
		family_connect(&f);
		family_start(&f, BROOD_ARGV("echo", "quick"), .stdio = BROOD_STDIO(BROOD_PIPE(1)));
		family_closes(&f);
		assert_true(f.d.order[0] == 'S' && f.d.n[BROOD_EVENT_SPAWN] == 1);
		assert_true(f.d.n[BROOD_EVENT_EXIT] == 1 && f.d.n[BROOD_EVENT_OUTPUT] == 2);
		family_end(&f);
	}
}

/* A pool: one DISCONNECT and one EXIT for each worker that is killed, and none for the others. */
static void test_pool_of_workers(void **state)
{
	static struct diary d[WORKERS];
	brood_peer *p[WORKERS];
	brood *b;
	(void)state;
	memset(d, 0, sizeof d);
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(brood_spawn(b, &p[i], KID("worker"), BROOD_SPAWN(.on = diary_table, .data = &d[i])),
				 0);
	for (int i = 0; i < WORKERS; i++) {
		assert_int_equal(ask_number(p[i], "count"), 0);
		until(b, d[i].n[BROOD_EVENT_READY] == 1);
	}
	for (int i = 0; i < WORKERS; i += 2)
		assert_int_equal(brood_kill(p[i], SIGKILL, 0), 0);
	for (int i = 0; i < WORKERS; i += 2)
		until(b, d[i].n[BROOD_EVENT_CLOSE] == 1);
	for (int i = 0; i < WORKERS; i++) {
		assert_string_equal(d[i].order, i % 2 ? "SR" : "SRDEC");
		if (i % 2)
			assert_int_equal(ask_number(p[i], "count"), 0);
	}
	brood_close(b);
}

/* A handler that returns an error answers the open request with it; messages go on. */
static int fail_requests(const brood_event *e)
{
	return e->msg && e->msg->wants_reply ? -EDOM : e->msg ? -EIO : 0;
}

static void test_handler_error(void **state)
{
	struct family f = { .d.also = fail_requests };
	(void)state;
	family_begin(&f, KID("worker"));
	say(f.kid, "ask", "first");
	until(f.b, diary_messages(&f.d) == 2);
	assert_string_equal(f.d.type, "answer");
	assert_string_equal(f.d.body, "request.failed");
	say(f.kid, "stream", "10 100");
	until(f.b, diary_messages(&f.d) == 12);
	assert_int_equal(f.d.wrong, 0);
	family_end(&f);
}

/* After CLOSE every call on it is refused, and is safe. */
static void test_after_close(void **state)
{
	struct family f = { 0 };
	struct diary asked = { 0 };
	brood_msg *m;
	(void)state;
	family_begin(&f, KID("quit", "0"));
	family_closes(&f);
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("x")), -ESRCH);
	assert_int_equal(brood_request(f.kid, BROOD_TEXT("x"), -1, diary_write, &asked), -ESRCH);
	assert_int_equal(brood_call(f.kid, BROOD_TEXT("x"), -1, &m), -ESRCH);
	assert_int_equal(brood_kill(f.kid, SIGTERM, 0), -ESRCH);
	assert_int_equal(brood_disconnect(f.kid), -ESRCH);
	assert_int_equal(brood_wait(f.kid, -1), 0);
	assert_int_equal(info_of(f.kid).connected, 0);
	assert_true(info_of(f.kid).pid > 0);
	assert_string_equal(info_of(f.kid).argv[1], "quit");
	assert_int_equal(asked.n[BROOD_EVENT_REPLY], 0);
	family_end(&f);
}

/* ---- a byte at a time -------------------------------------------------------------------------------------------- */

#define PAIRS 8 /* connections */

/* Stands between the broker and everybody else: each read on either side gets one byte. Descriptors do not pass. */
struct trickle {
	pthread_t thread;
	struct sockaddr_un mine, brokers;
	int listener, stop[2];
	struct pollfd fds[2 + 2 * PAIRS]; /* listener, stop, and pairs */
	nfds_t n;
};

/* One byte, when those before it have been read. Not for ever, as not everybody reads. */
static void pass_byte(int from, int to)
{
	char bytes[4096];
	ssize_t n = read(from, bytes, sizeof bytes);
	if (n <= 0)
		shutdown(to, SHUT_WR);
	for (ssize_t i = 0; i < n; i++) {
		int unread = 1;
		for (int tries = 0; tries < 2000 && ioctl(to, SIOCOUTQ, &unread) == 0 && unread > 0; tries++)
			sched_yield();
		if (send(to, bytes + i, 1, MSG_NOSIGNAL) != 1)
			return;
	}
}

static void take_connection(struct trickle *t)
{
	int in = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC), out = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (t->n + 2 > 2 + 2 * PAIRS || connect(out, (struct sockaddr *)&t->brokers, sizeof t->brokers) < 0) {
		close(in);
		close(out);
		return;
	}
	t->fds[t->n++] = (struct pollfd){ .fd = in, .events = POLLIN };
	t->fds[t->n++] = (struct pollfd){ .fd = out, .events = POLLIN };
}

static void *pass_on(void *data)
{
	struct trickle *t = data;
	while (poll(t->fds, t->n, -1) > 0 && !t->fds[1].revents) {
		for (nfds_t i = 2; i < t->n; i++)
			if (t->fds[i].revents) {
				pass_byte(t->fds[i].fd, t->fds[i ^ 1].fd);
				if (t->fds[i].revents & POLLHUP)
					t->fds[i].events = 0;
				if (t->fds[i].revents == POLLHUP)
					t->fds[i].fd = ~t->fds[i].fd;
			}
		if (t->fds[0].revents)
			take_connection(t);
	}
	return NULL;
}

static void trickle_begin(struct trickle *t, const struct fixture *x)
{
	static char address[128];
	*t = (struct trickle){ .mine.sun_family = AF_UNIX, .brokers.sun_family = AF_UNIX, .n = 2 };
	snprintf(t->brokers.sun_path, sizeof t->brokers.sun_path, "%s", x->address + strlen("unix:"));
	snprintf(t->mine.sun_path, sizeof t->mine.sun_path, "%s/trickle", x->directory);
	snprintf(address, sizeof address, "unix:%s", t->mine.sun_path);
	setenv("BROOD_ADDRESS", address, 1);
	t->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(t->listener, (struct sockaddr *)&t->mine, sizeof t->mine), 0);
	assert_int_equal(listen(t->listener, PAIRS), 0);
	assert_int_equal(pipe2(t->stop, O_CLOEXEC), 0);
	t->fds[0] = (struct pollfd){ .fd = t->listener, .events = POLLIN };
	t->fds[1] = (struct pollfd){ .fd = t->stop[0], .events = POLLIN };
	assert_int_equal(pthread_create(&t->thread, NULL, pass_on, t), 0);
}

static void trickle_end(struct trickle *t)
{
	close(t->stop[1]);
	pthread_join(t->thread, NULL);
	for (nfds_t i = 0; i < t->n; i++)
		close(t->fds[i].fd < 0 ? ~t->fds[i].fd : t->fds[i].fd);
	unlink(t->mine.sun_path);
}

/* Lengths and heads come in pieces, to the library, to the broker and to the child: nothing changes but the time. */
static void test_a_byte_at_a_time(void **state)
{
	static struct trickle t;
	struct family f = { 0 };
	trickle_begin(&t, *state);
	family_begin(&f, KID("worker"));
	say(f.kid, "stream", "50 100");
	until(f.b, diary_messages(&f.d) == 50);
	assert_int_equal(f.d.wrong, 0);
	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(numbered_send(f.kid, i, 8 + i * 13, BROOD_MORE), 0);
	assert_int_equal(ask_number(f.kid, "count"), 21);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	assert_int_equal(brood_disconnect(f.kid), 0);
	family_closes(&f);
	assert_string_equal(f.d.order, "SRmDEC");
	family_end(&f);
	trickle_end(&t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_ALL(test_spawn_is_first), ON_ALL(test_pool_of_workers),    ON_ALL(test_handler_error),
		ON_ALL(test_after_close),    ON_HOSTS(test_a_byte_at_a_time),
	};
	return RUN("scenarios", tests);
}
