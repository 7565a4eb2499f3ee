/*
 * connections: what an idle connection costs the broker, and how fast it takes new ones while it holds thousands.
 *
 *   BROOD_BROKER=build/bin/broodd build/tests/bench_connections [--connections N] [--rounds N] [--seconds S]
 *
 * A connection here is a socket that has said HELLO and was answered; no library is involved, because thousands of
 * processes would measure the machine. The memory is the broker's private one, before and after. The rate is that of
 * greetings: connect, HELLO, answer, close, sixteen at a time, while the N idle ones stay. Its floor is the least
 * server that could do this: epoll, accept, 64 bytes answered with 64 bytes; it holds as many.
 */
#include "brood.pb-c.h"
#include "frame.h"
#include "testbed.h"
#include "timings.h"
#include <brood.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BATCH 16
#define FLOOR_SIZE 64
#define SPARE 256 /* descriptors for everything else */
#define ROUNDS 50

static int die(const char *what)
{
	fprintf(stderr, "connections: %s: %s\n", what, strerror(errno));
	return 1;
}

static int unix_socket(const char *path, struct sockaddr_un *un)
{
	*un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(un->sun_path, sizeof un->sun_path, "%s", path);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static rlim_t raise_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur;
}

/* ---- the floor's server ------------------------------------------------------------------------------------------ */

static void answer(int fd)
{
	char bytes[FLOOR_SIZE];
	ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
	if (n > 0)
		(void)send(fd, bytes, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (n == 0 || errno != EAGAIN)
		close(fd); /* which takes it out of the epoll set */
}

static void take_all(int epoll, int listener)
{
	int fd;
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
	}
}

static int serve(const char *path)
{
	struct sockaddr_un un;
	struct epoll_event events[64];
	int listener = unix_socket(path, &un), epoll = epoll_create1(EPOLL_CLOEXEC);
	raise_limit();
	if (bind(listener, (struct sockaddr *)&un, sizeof un) < 0 || listen(listener, 4096) < 0)
		return die(path);
	struct epoll_event e = { .events = EPOLLIN, .data.fd = listener };
	fcntl(listener, F_SETFL, O_NONBLOCK);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
	for (;;) {
		int n = epoll_wait(epoll, events, 64, -1);
		for (int i = 0; i < n; i++)
			if (events[i].data.fd == listener)
				take_all(epoll, listener);
			else
				answer(events[i].data.fd);
	}
}

/* ---- clients ----------------------------------------------------------------------------------------------------- */

struct server {
	const char *name;
	char path[TESTBED_PATH];
	unsigned char greeting[256];
	size_t greeting_size;
	size_t (*answer_size)(unsigned char *bytes, size_t n); /* 0: not all of it is there */
	int *idle;
	double rates[ROUNDS];
};

static size_t floor_answer(unsigned char *bytes, size_t n)
{
	(void)bytes;
	return n >= FLOOR_SIZE ? FLOOR_SIZE : 0;
}

static size_t brood_answer(unsigned char *bytes, size_t n)
{
	struct frame f;
	int rc = frame_parse(bytes, n, FRAME_MAX, &f);
	if (rc == 1 && f.kind == FRAME_HELLO_OK)
		return f.size;
	if (rc != 0) {
		fputs("connections: the broker's answer is no HELLO_OK\n", stderr);
		exit(1);
	}
	return 0;
}

static void make_hello(struct server *s)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	hello.pid = (uint32_t)getpid();
	hello.title = (char *)"connections";
	struct frame f = { .kind = FRAME_HELLO, .length = (uint32_t)brood__hello__get_packed_size(&hello) };
	s->greeting_size = frame_size(f.length);
	frame_write_head(s->greeting, &f);
	brood__hello__pack(&hello, s->greeting + FRAME_HEAD);
}

static int greet(const struct server *s)
{
	struct sockaddr_un un;
	int fd = unix_socket(s->path, &un);
	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof un) < 0 ||
	    send(fd, s->greeting, s->greeting_size, MSG_NOSIGNAL) != (ssize_t)s->greeting_size) {
		int why = errno;
		if (fd >= 0)
			close(fd);
		errno = why;
		return -1;
	}
	return fd;
}

static int await_answer(const struct server *s, int fd)
{
	_Alignas(8) unsigned char bytes[4096];
	size_t have = 0;
	while (s->answer_size(bytes, have) == 0) {
		ssize_t n = recv(fd, bytes + have, sizeof bytes - have, 0);
		if (n <= 0)
			return -1;
		have += (size_t)n;
	}
	return 0;
}

/* Greet n times at once. 0, and the sockets in fds. */
static int greet_many(const struct server *s, int *fds, int n)
{
	for (int i = 0; i < n; i++)
		if ((fds[i] = greet(s)) < 0)
			return -1;
	for (int i = 0; i < n; i++)
		if (await_answer(s, fds[i]) < 0)
			return -1;
	return 0;
}

static int hold(struct server *s, int n)
{
	s->idle = calloc((size_t)n, sizeof *s->idle);
	for (int i = 0; s->idle && i < n; i += BATCH)
		if (greet_many(s, s->idle + i, n - i < BATCH ? n - i : BATCH) < 0)
			return die(s->name);
	return s->idle ? 0 : die(s->name);
}

static int measure(struct server *s, double seconds, int round)
{
	uint64_t begin = timings_now(), end = begin + (uint64_t)(seconds * 1e9), n = 0;
	while (timings_now() < end) {
		int fds[BATCH];
		if (greet_many(s, fds, BATCH) < 0)
			return die(s->name);
		for (int i = 0; i < BATCH; i++)
			close(fds[i]);
		n += BATCH;
	}
	s->rates[round] = (double)n / ((double)(timings_now() - begin) / 1e9);
	return 0;
}

/* ---- the measurement --------------------------------------------------------------------------------------------- */

static long private_kib(pid_t pid)
{
	char path[64], line[256];
	long sum = 0, kib;
	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "Private_Clean: %ld", &kib) == 1 || sscanf(line, "Private_Dirty: %ld", &kib) == 1)
			sum += kib;
	if (f)
		fclose(f);
	return sum;
}

static int await_path(const char *path)
{
	for (int i = 0; i < 1000 && access(path, F_OK) < 0; i++)
		usleep(5000);
	return access(path, F_OK) < 0 ? die(path) : 0;
}

static int start_floor(struct testbed *bed, const char *self, struct server *s)
{
	testbed_path(bed, "floor", s->path);
	if (brood_spawn(bed->keeper, NULL, BROOD_ARGV(self, "--serve", s->path), BROOD_SPAWN(.flags = BROOD_PLAIN)) < 0)
		return die("floor");
	return await_path(s->path);
}

static int measure_all(struct testbed *bed, const char *self, int n, int rounds, double seconds)
{
	struct server brood_server = { .name = "brood", .answer_size = brood_answer };
	struct server floor = { .name = "floor", .answer_size = floor_answer, .greeting_size = FLOOR_SIZE };
	struct brood_peer_info info;
	BROOD_INIT(info);
	testbed_path(bed, "sock", brood_server.path);
	make_hello(&brood_server);
	if (brood_info(bed->process, &info) < 0 || start_floor(bed, self, &floor) != 0)
		return 1;
	int rc = hold(&floor, n);
	long before = private_kib(info.pid);
	rc = rc || hold(&brood_server, n);
	long after = private_kib(info.pid);
	for (int i = 0; i < rounds && rc == 0; i++)
		rc = measure(&brood_server, seconds, i) || measure(&floor, seconds, i);
	free(brood_server.idle);
	free(floor.idle);
	if (rc != 0)
		return rc;
	double fast = timings_median(brood_server.rates, (size_t)rounds);
	double fastest = timings_median(floor.rates, (size_t)rounds);
	printf("{\"row\":\"idle\",\"connections\":%d,\"private_kib_before\":%ld,\"private_kib_after\":%ld,"
	       "\"kib_per_connection\":%.3f}\n",
	       n, before, after, (double)(after - before) / n);
	printf("{\"row\":\"connects\",\"held\":%d,\"brood_per_s\":%.0f,\"floor_per_s\":%.0f,\"ratio\":%.3f}\n", n, fast,
	       fastest, fast / fastest);
	return 0;
}

static int run(const char *self, int n, int rounds, double seconds)
{
	rlim_t limit = raise_limit();
	struct testbed bed;
	if ((rlim_t)n * 2 + SPARE > limit) { /* we hold the clients' ends of both */
		n = (int)((limit - SPARE) / 2);
		fprintf(stderr, "connections: only %d each, by the limit of %lu open files\n", n, (unsigned long)limit);
	}
	int rc = testbed_init(&bed, VIA_UNIX) < 0 || measure_all(&bed, self, n, rounds, seconds);
	testbed_deinit(&bed);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "connections", required_argument, NULL, 'n' },
						 { "rounds", required_argument, NULL, 'r' },
						 { "seconds", required_argument, NULL, 's' },
						 { "serve", required_argument, NULL, 'S' },
						 { NULL, 0, NULL, 0 } };
	int n = 9000, rounds = 5, c;
	double seconds = .5;
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	if (length < 0)
		return die("/proc/self/exe");
	self[length] = '\0';
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'n')
			n = atoi(optarg);
		else if (c == 'r')
			rounds = atoi(optarg);
		else if (c == 's')
			seconds = atof(optarg);
		else
			return c == 'S' ? serve(optarg) : 2;
	}
	if (n < 1 || n > 1000000 || rounds < 1 || rounds > ROUNDS || optind < argc) {
		fputs("usage: bench_connections [--connections N] [--rounds 1..50] [--seconds S]\n", stderr);
		return 2;
	}
	return run(self, n, rounds, seconds);
}
