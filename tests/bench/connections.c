/*
 * connections: what an idle connection costs the broker, and how fast it takes new ones while it holds thousands.
 *
 *   BROOD_BROKER=build/bin/broodd build/tests/bench_connections [--via unix|tcp|tls] [--connections N] [--rounds N]
 *                                                               [--seconds S]
 *
 * A connection here is a socket that has said HELLO and was answered; no library is involved, because thousands of
 * processes would measure the machine. The memory is the broker's private one, before and after. The rate is that of
 * greetings: connect, HELLO, answer, close, sixteen at a time (by TLS each handshake by itself), while the N idle ones
 * stay. Its floor is the least server that could do this: epoll, accept, 64 bytes answered with 64 bytes; it holds as
 * many. In the end each of the idle ones sends itself a message, and gets it.
 */
#include "brood.pb-c.h"
#include "frame.h"
#include "message.h"
#include "raw.h"
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

/* A helping: more than is in any message, but TLS wants the room. */
static char room[256 * 1024];

static void answer(struct raw *r)
{
	ssize_t n = raw_take(r, room, sizeof room);
	if (n > 0)
		(void)raw_give(r, room, (size_t)n);
	if (n > 0 || (n < 0 && errno == EAGAIN))
		return;
	raw_close(r); /* which takes it out of the epoll set */
	free(r);
}

static int watch(int epoll, int fd, struct raw *r)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = r };
	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

static void take_all(int epoll, const struct raw_listener *l)
{
	struct raw r = RAW_NONE, *mine;
	while (raw_accept(l, &r) == 0) {
		mine = malloc(sizeof *mine);
		if (!mine)
			exit(die("floor"));
		*mine = r;
		fcntl(r.in, F_SETFL, O_NONBLOCK);
		watch(epoll, r.in, mine);
	}
}

static int serve(const char *place, enum via via)
{
	struct raw_listener l;
	struct epoll_event events[64];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	raise_limit();
	if (raw_listen(&l, place, via) < 0 || watch(epoll, l.fd, NULL) < 0)
		return die(place);
	fcntl(l.fd, F_SETFL, O_NONBLOCK);
	for (;;) {
		int n = epoll_wait(epoll, events, 64, -1);
		for (int i = 0; i < n; i++)
			if (events[i].data.ptr)
				answer(events[i].data.ptr);
			else
				take_all(epoll, &l);
	}
}

/* ---- clients ----------------------------------------------------------------------------------------------------- */

struct server {
	const char *name;
	char place[TESTBED_PATH];
	unsigned char greeting[512];
	size_t greeting_size;
	/* Bytes of what was answered; 0: not all of it is there. */
	size_t (*answer_size)(unsigned char *bytes, size_t n, uint64_t *id);
	struct raw *idle;
	uint64_t *ids; /* that the broker gave to the idle ones */
	double rates[ROUNDS];
};

static size_t floor_answer(unsigned char *bytes, size_t n, uint64_t *id)
{
	(void)bytes;
	(void)id;
	return n >= FLOOR_SIZE ? FLOOR_SIZE : 0;
}

static size_t brood_answer(unsigned char *bytes, size_t n, uint64_t *id)
{
	struct frame f;
	int rc = frame_parse(bytes, n, FRAME_MAX, &f);
	Brood__HelloOk *ok =
		rc == 1 && f.kind == FRAME_HELLO_OK ? brood__hello_ok__unpack(NULL, f.length, f.body) : NULL;
	if (!ok && rc == 0)
		return 0;
	if (!ok) {
		fputs("connections: the broker's answer is no HELLO_OK\n", stderr);
		exit(1);
	}
	*id = ok->id;
	brood__hello_ok__free_unpacked(ok, NULL);
	return f.size;
}

/* For TCP and TLS with the cookie. */
static int make_hello(struct server *s, const struct testbed *bed)
{
	uint8_t cookie[256];
	Brood__Hello hello = BROOD__HELLO__INIT;
	hello.pid = (uint32_t)getpid();
	hello.title = (char *)"connections";
	if (bed->via != VIA_UNIX) {
		FILE *f = fopen(bed->token, "re");
		if (!f)
			return die(bed->token);
		hello.cookie = (ProtobufCBinaryData){ fread(cookie, 1, sizeof cookie, f), cookie };
		fclose(f);
	}
	struct frame f = { .kind = FRAME_HELLO, .length = (uint32_t)brood__hello__get_packed_size(&hello) };
	s->greeting_size = frame_size(f.length);
	frame_write_head(s->greeting, &f);
	brood__hello__pack(&hello, s->greeting + FRAME_HEAD);
	return 0;
}

static int greet(const struct server *s, struct raw *r)
{
	int rc = raw_dial(s->place, r);
	if (rc == 0)
		rc = raw_write(r, s->greeting, s->greeting_size);
	errno = -rc;
	return rc;
}

static int await_answer(const struct server *s, const struct raw *r, uint64_t *id)
{
	_Alignas(8) unsigned char bytes[4096];
	size_t have = 0;
	while (s->answer_size(bytes, have, id) == 0) {
		long n = raw_some(r, bytes + have, sizeof bytes - have, 0);
		if (n <= 0) {
			errno = n < 0 ? (int)-n : ECONNRESET;
			return -1;
		}
		have += (size_t)n;
	}
	return 0;
}

/* Greet n times at once. 0, and who was greeted in `to`. */
static int greet_many(const struct server *s, struct raw *to, uint64_t *ids, int n)
{
	for (int i = 0; i < n; i++)
		if (greet(s, &to[i]) < 0)
			return -1;
	for (int i = 0; i < n; i++)
		if (await_answer(s, &to[i], &ids[i]) < 0)
			return -1;
	return 0;
}

static int hold(struct server *s, int n)
{
	s->idle = calloc((size_t)n, sizeof *s->idle);
	s->ids = calloc((size_t)n, sizeof *s->ids);
	for (int i = 0; s->idle && s->ids && i < n; i += BATCH)
		if (greet_many(s, s->idle + i, s->ids + i, n - i < BATCH ? n - i : BATCH) < 0)
			return die(s->name);
	return s->idle && s->ids ? 0 : die(s->name);
}

static int measure(struct server *s, double seconds, int round)
{
	uint64_t begin = timings_now(), end = begin + (uint64_t)(seconds * 1e9), n = 0, ids[BATCH];
	while (timings_now() < end) {
		struct raw greeted[BATCH];
		if (greet_many(s, greeted, ids, BATCH) < 0)
			return die(s->name);
		for (int i = 0; i < BATCH; i++)
			raw_close(&greeted[i]);
		n += BATCH;
	}
	s->rates[round] = (double)n / ((double)(timings_now() - begin) / 1e9);
	return 0;
}

/* ---- are they alive? --------------------------------------------------------------------------------------------- */

/* A message with a number as its body. Bytes of the frame. */
static size_t write_message(unsigned char *to, uint64_t destination, uint64_t number)
{
	struct item it = { .kind = ITEM_MESSAGE, .length = sizeof number, .total = sizeof number };
	struct frame f = { .kind = FRAME_DATA, .destination = destination, .sequence = 1 };
	f.length = (uint32_t)item_size(it.kind, 0, it.length);
	frame_write_head(to, &f);
	memcpy(item_write(to + FRAME_HEAD, &it), &number, sizeof number);
	return frame_size(f.length);
}

/* The number that came, or UINT64_MAX. */
static uint64_t read_message(const struct raw *r)
{
	_Alignas(8) unsigned char bytes[4096];
	struct frame f;
	struct item_plain it;
	uint64_t number;
	size_t have = 0;
	int rc;
	while ((rc = frame_parse(bytes, have, FRAME_MAX, &f)) == 0) {
		long n = raw_some(r, bytes + have, sizeof bytes - have, 0);
		if (n <= 0)
			return UINT64_MAX;
		have += (size_t)n;
	}
	if (rc != 1 || f.kind != FRAME_DATA || !item_plain(f.body, f.length, &it) || it.length != sizeof number)
		return UINT64_MAX;
	memcpy(&number, it.body, sizeof number);
	return number;
}

/* Each sends itself its own number. How many got it. */
static int count_alive(const struct server *s, int n)
{
	int alive = 0;
	for (int i = 0; i < n; i++) {
		_Alignas(8) unsigned char bytes[256] = { 0 };
		size_t size = write_message(bytes, s->ids[i], (uint64_t)i);
		alive += raw_write(&s->idle[i], bytes, size) == 0 && read_message(&s->idle[i]) == (uint64_t)i;
	}
	return alive;
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

static int start_floor(struct testbed *bed, const char *self, struct server *s)
{
	testbed_path(bed, "floor", s->place);
	setenv("BROOD_TLS_CERT", bed->certificate, 1);
	setenv("BROOD_TLS_KEY", bed->key, 1);
	const char *const *argv = BROOD_ARGV(self, "--via", via_name(bed->via), "--serve", s->place);
	int rc = brood_spawn(bed->keeper, NULL, argv, BROOD_SPAWN(.flags = BROOD_PLAIN));
	unsetenv("BROOD_TLS_CERT");
	unsetenv("BROOD_TLS_KEY");
	return rc < 0 ? die("floor") : 0;
}

/* Where raw_dial() finds it. A file of this name belongs to the testbed's directory. */
static int find_broker(const struct testbed *bed, struct server *s)
{
	if (bed->via == VIA_UNIX) {
		testbed_path(bed, "sock", s->place);
		return 0;
	}
	FILE *f = fopen(testbed_path(bed, "relay", s->place), "we");
	if (!f)
		return die(s->place);
	fprintf(f, "%s%s\n", strrchr(bed->also, ':') + 1, bed->via == VIA_TLS ? " tls" : "");
	return fclose(f) == EOF ? die(s->place) : 0;
}

static void tell(enum via via, int n, int alive, long before, long after, double fast, double fastest)
{
	printf("{\"row\":\"idle\",\"via\":\"%s\",\"connections\":%d,\"private_kib_before\":%ld,"
	       "\"private_kib_after\":%ld,\"kib_per_connection\":%.3f,\"alive\":%d}\n",
	       via_name(via), n, before, after, (double)(after - before) / n, alive);
	printf("{\"row\":\"connects\",\"via\":\"%s\",\"held\":%d,\"brood_per_s\":%.0f,\"floor_per_s\":%.0f,"
	       "\"ratio\":%.3f}\n",
	       via_name(via), n, fast, fastest, fast / fastest);
}

static void let_go(struct server *s, int n)
{
	for (int i = 0; s->idle && i < n; i++)
		if (s->idle[i].in > 0) /* those of zeros never were */
			raw_close(&s->idle[i]);
	free(s->idle);
	free(s->ids);
}

static int measure_all(struct testbed *bed, const char *self, int n, int rounds, double seconds)
{
	struct server brood_server = { .name = "brood", .answer_size = brood_answer };
	struct server floor = { .name = "floor", .answer_size = floor_answer, .greeting_size = FLOOR_SIZE };
	struct brood_peer_info info;
	int alive = 0;
	BROOD_INIT(info);
	if (brood_info(bed->process, &info) < 0 || find_broker(bed, &brood_server) != 0 ||
	    make_hello(&brood_server, bed) != 0 || start_floor(bed, self, &floor) != 0)
		return 1;
	int rc = hold(&floor, n);
	long before = private_kib(info.pid);
	rc = rc || hold(&brood_server, n);
	long after = private_kib(info.pid);
	for (int i = 0; i < rounds && rc == 0; i++)
		rc = measure(&brood_server, seconds, i) || measure(&floor, seconds, i);
	if (rc == 0)
		alive = count_alive(&brood_server, n);
	let_go(&brood_server, n);
	let_go(&floor, n);
	if (rc != 0)
		return rc;
	tell(bed->via, n, alive, before, after, timings_median(brood_server.rates, (size_t)rounds),
	     timings_median(floor.rates, (size_t)rounds));
	return alive == n ? 0 : 1;
}

static int run(const char *self, enum via via, int n, int rounds, double seconds)
{
	rlim_t limit = raise_limit();
	struct testbed bed;
	if ((rlim_t)n * 2 + SPARE > limit) { /* we hold the clients' ends of both */
		n = (int)((limit - SPARE) / 2);
		fprintf(stderr, "connections: only %d each, by the limit of %lu open files\n", n, (unsigned long)limit);
	}
	int rc = testbed_init(&bed, via) < 0 || measure_all(&bed, self, n, rounds, seconds);
	testbed_deinit(&bed);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "connections", required_argument, NULL, 'n' }, { "rounds", required_argument, NULL, 'r' },
		{ "seconds", required_argument, NULL, 's' },     { "serve", required_argument, NULL, 'S' },
		{ "via", required_argument, NULL, 'v' },         { NULL, 0, NULL, 0 }
	};
	int n = 9000, rounds = 5, via = VIA_UNIX, c;
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
		else if (c == 'v')
			via = via_parse(optarg);
		else
			return c == 'S' ? serve(optarg, (enum via)via) : 2;
	}
	if (via < 0 || via == VIA_FIFO || via == VIA_LINK || n < 1 || n > 1000000 || rounds < 1 || rounds > ROUNDS ||
	    optind < argc) {
		fputs("usage: bench_connections [--via unix|tcp|tls] [--connections N] [--rounds 1..50] [--seconds "
		      "S]\n",
		      stderr);
		return 2;
	}
	return run(self, (enum via)via, n, rounds, seconds);
}
