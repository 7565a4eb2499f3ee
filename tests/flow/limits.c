/*
 * limits: what thousands of connections cost the broker, and that those which say nothing are sent away without anybody
 * else noticing. The connections are bare sockets: thousands of processes would measure the machine.
 */
#include "brood.pb-c.h"
#include "flow.h"
#include "guard.h"
#include "raw.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define IDLE 2000
#define SILENT 10000
#define SPARE 256 /* descriptors for everything else, here and in the broker */

/* The most a connection may cost. Sanitizers pad every allocation, and give nothing back at once. */
#if defined(__SANITIZE_ADDRESS__)
#define MOST_BYTES (16 * 1024)
#else
#define MOST_BYTES 700
#endif

/* The broker raises its own limit, to the same. */
static unsigned raise_limit(void)
{
	struct rlimit limit;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return limit.rlim_cur > 1000000 ? 1000000 : (unsigned)limit.rlim_cur;
}

static int connect_to(const struct fixture *x)
{
	int fd = raw_connect(x->address + strlen("unix:"));
	assert_true(fd >= 0);
	return fd;
}

/* ---- idle connections -------------------------------------------------------------------------------------------- */

static long private_dirty_kib(pid_t pid)
{
	char path[64], line[256];
	long kib = -1;
	snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", (long)pid);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof line, f))
		(void)sscanf(line, "Private_Dirty: %ld", &kib);
	fclose(f);
	assert_true(kib > 0);
	return kib;
}

static int greet(const struct fixture *x)
{
	static struct raw_frame answer;
	Brood__Hello hello = BROOD__HELLO__INIT;
	int fd = connect_to(x);
	hello.pid = (uint32_t)getpid();
	hello.title = (char *)(uintptr_t) "limits";
	assert_int_equal(raw_send_pb(fd, FRAME_HELLO, &hello.base), 0);
	assert_int_equal(raw_receive(fd, &answer, PATIENCE_MS), 1);
	assert_int_equal(answer.head.kind, FRAME_HELLO_OK);
	return fd;
}

static void test_idle_connections(void **state)
{
	const struct fixture *x = *state;
	int fds[IDLE];
	assert_true(raise_limit() >= IDLE + SPARE);
	long before = private_dirty_kib(x->broker);
	for (int i = 0; i < IDLE; i++)
		fds[i] = greet(x);
	long grown = private_dirty_kib(x->broker) - before;
	print_message("%d idle connections: %ld KiB of the broker\n", IDLE, grown);
	assert_true(grown * 1024 <= IDLE * MOST_BYTES);
	for (int i = 0; i < IDLE; i++)
		close(fds[i]);
}

/* ---- an innocent pair -------------------------------------------------------------------------------------------- */

/* In a process of its own: ask a child again and again until the pipe ends. How many answers came; -1 if one did not. */
static long ask_on_and_on(int stop)
{
	brood *b;
	brood_peer *kid;
	brood_msg *m;
	long n = 0;
	if (brood_connect(&b, NULL, NULL) < 0 || brood_spawn(b, &kid, KID("worker"), NULL) < 0)
		return -1;
	while (n >= 0 && !is_readable(stop)) {
		int rc = brood_call(kid, BROOD_MSG("echo", "well?", 5), 2000, &m);
		if (rc < 0 || strcmp(m->text, "well?") != 0)
			fprintf(stderr, "the innocent were disturbed after %ld answers: %s\n", n, strerror(-rc));
		n = rc < 0 ? -1 : n + 1;
		if (rc == 0)
			brood_msg_release(m);
	}
	brood_close(b);
	return n;
}

struct innocents {
	pid_t pid;
	int stop, answers; /* pipes */
};

static void innocents_begin(struct innocents *i)
{
	int stop[2], answers[2];
	assert_int_equal(pipe(stop), 0);
	assert_int_equal(pipe(answers), 0);
	i->pid = fork();
	if (i->pid == 0) {
		close(stop[1]);
		dprintf(answers[1], "%ld\n", ask_on_and_on(stop[0]));
		_exit(0);
	}
	assert_true(i->pid > 0);
	close(stop[0]);
	close(answers[1]);
	i->stop = stop[1];
	i->answers = answers[0];
}

/* How many answers they got. */
static long innocents_end(struct innocents *i)
{
	long n;
	close(i->stop);
	read_numbers(i->answers, &n, 1);
	close(i->answers);
	assert_int_equal(wait_program(i->pid), 0);
	return n;
}

/* ---- silent connections ------------------------------------------------------------------------------------------ */

struct silent {
	int fd;
	uint64_t since;
};

static struct silent *open_silent(const struct fixture *x, int epoll, unsigned n)
{
	struct silent *all = test_calloc(n, sizeof *all);
	for (unsigned i = 0; i < n; i++) {
		all[i] = (struct silent){ connect_to(x), now_ms() };
		struct epoll_event e = { .events = EPOLLIN, .data.ptr = &all[i] };
		assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &e), 0);
	}
	return all;
}

/* It was told why, and nothing more, and neither too early nor too late. */
static void expect_sent_away(const struct silent *s)
{
	static struct raw_frame f;
	ProtobufCMessage *m;
	assert_int_equal(raw_receive(s->fd, &f, PATIENCE_MS), 1);
	assert_int_equal(f.head.kind, FRAME_GOODBYE);
	assert_int_equal(guard_unpack(&brood__goodbye__descriptor, f.head.body, f.head.length, 1, &m), 0);
	const Brood__Goodbye *bye = (const Brood__Goodbye *)m;
	assert_int_equal(bye->parting, BROOD__PARTING__PARTING_REFUSED);
	assert_string_equal(bye->error, "hello.timeout");
	guard_free(m);
	assert_int_equal(raw_receive(s->fd, &f, PATIENCE_MS), 0);
	assert_in_range(now_ms() - s->since, 4900, 20000);
	close(s->fd);
}

static void silent_wave(const struct fixture *x, unsigned n)
{
	struct epoll_event events[64];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	assert_true(epoll >= 0);
	struct silent *all = open_silent(x, epoll, n);
	for (unsigned left = n; left > 0;) {
		int got = epoll_wait(epoll, events, 64, PATIENCE_MS);
		assert_true(got > 0);
		for (int i = 0; i < got; i++)
			expect_sent_away(events[i].data.ptr);
		left -= (unsigned)got;
	}
	close(epoll);
	test_free(all);
}

static void test_silent_connections(void **state)
{
	const struct fixture *x = *state;
	struct innocents pair;
	unsigned at_once = raise_limit() - SPARE;
	uint64_t begin = now_ms();
	innocents_begin(&pair);
	for (unsigned left = SILENT; left > 0;) {
		unsigned n = left < at_once ? left : at_once;
		silent_wave(x, n);
		left -= n;
	}
	long answers = innocents_end(&pair);
	print_message("%d silent connections, %ld answers meanwhile\n", SILENT, answers);
	assert_true(answers > 1000);
	assert_in_range(now_ms() - begin, 4900, 20000);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_UNIX(test_idle_connections),
		ON_UNIX(test_silent_connections),
	};
	return RUN("limits", tests);
}
