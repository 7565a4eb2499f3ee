/*
 * actors: what each process does until it is killed.
 *
 * The innocents look at the board's phase: they either send one way, or ask and answer at a modest rate, or rest, so that
 * one does not disturb the measurement of the other. A crowd's handles share a process and an epoll set; a sender that
 * is out of window waits for DRAIN, as a program would. The flood is what no program of ours would do: it keeps no window
 * and hears no HOLD.
 */
#include "actors.h"
#include "../flow/raw.h"
#include "brood.pb-c.h"
#include "timings.h"
#include <brood.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define FOREVER_MS 600000
#define NAME_SIZE 24
#define GATHERED 64 /* messages sent between two looks at what came */
#define LATENCY_PAUSE_US 500
#define POLITE_PAUSE_US 5000
#define FLOOD_FRAMES 16 /* in what a flooding connection repeats */
#define FLOOD_BODY 4096

static void must(long rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "isolation: %s: %s\n", what, strerror((int)-rc));
	_exit(1);
}

static char *name_of(char to[NAME_SIZE], const char *what, unsigned number)
{
	snprintf(to, NAME_SIZE, "%s-%u", what, number);
	return to;
}

static brood *connect_to(const struct actor *a, const struct brood_handlers *on, const char *name, void *data)
{
	brood *b;
	must(brood_connect(&b, a->address, BROOD_OPTIONS(.on = on, .name = name, .data = data)), "connect");
	must(brood_sync(b, FOREVER_MS), "sync");
	return b;
}

static void set(const struct actor *a, unsigned n)
{
	atomic_fetch_add(&a->board->ready, n);
}

static void live(brood *b)
{
	while (brood_process(b, -1) >= 0)
		;
}

/* ---- innocents --------------------------------------------------------------------------------------------------- */

static int count(const brood_event *e)
{
	_Atomic uint64_t *counter = e->data;
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
	return 0;
}

static void act_receiver(const struct actor *a)
{
	char name[NAME_SIZE];
	brood *b = connect_to(a, BROOD_ON(.message = count), name_of(name, "receiver", a->first),
			      &a->board->received[a->first]);
	set(a, 1);
	live(b);
}

/* Rest as long as it is not this phase. */
static void await_phase(const struct actor *a, brood *b, int first, int last)
{
	for (;;) {
		int phase = atomic_load(&a->board->phase);
		if (phase >= first && phase <= last)
			return;
		brood_process(b, 0);
		usleep(2000);
	}
}

static brood_peer *find(brood *b, const char *what, unsigned number)
{
	char name[NAME_SIZE];
	brood_peer *peer;
	must(brood_find(b, &peer, name_of(name, what, number), BROOD_FIND(.wait_ms = FOREVER_MS)), "find");
	return peer;
}

static void act_sender(const struct actor *a)
{
	static char body[MESSAGE_SIZE];
	brood *b = connect_to(a, NULL, NULL, NULL);
	brood_peer *to = find(b, "receiver", a->first);
	set(a, 1);
	for (;;) {
		await_phase(a, b, PHASE_THROUGHPUT, PHASE_THROUGHPUT);
		for (int i = 0; i < GATHERED; i++)
			must(brood_send(to, BROOD_MSG("", body, sizeof body, .flags = BROOD_BLOCK | BROOD_MORE)),
			     "send");
		must(brood_process(b, 0), "process");
	}
}

static int answer(const brood_event *e)
{
	return brood_reply(e->msg, BROOD_MSG("", e->msg->body, e->msg->length));
}

static void act_answerer(const struct actor *a)
{
	char name[NAME_SIZE];
	brood *b = connect_to(a, BROOD_ON(.message = answer), name_of(name, "answerer", 0), NULL);
	set(a, 1);
	live(b);
}

static void ask(const struct actor *a, brood_peer *to)
{
	brood_msg *m;
	uint64_t begin = timings_now();
	must(brood_call(to, BROOD_MSG("", "how are you?", 12), FOREVER_MS, &m), "call");
	uint64_t us = (timings_now() - begin) / 1000;
	unsigned at = atomic_load(&a->board->samples);
	brood_msg_release(m);
	if (at == SAMPLES)
		return;
	a->board->us[at] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
	atomic_store(&a->board->samples, at + 1);
}

static void act_asker(const struct actor *a)
{
	brood *b = connect_to(a, NULL, NULL, NULL);
	brood_peer *to = find(b, "answerer", 0);
	set(a, 1);
	for (;;) {
		await_phase(a, b, PHASE_LATENCY, PHASE_POLITE);
		ask(a, to);
		usleep(atomic_load(&a->board->phase) == PHASE_POLITE ? POLITE_PAUSE_US : LATENCY_PAUSE_US);
	}
}

/* ---- crowds ------------------------------------------------------------------------------------------------------ */

struct member {
	brood *b;
	brood_peer *to;
};

static struct member *make_members(const struct actor *a)
{
	struct member *all = calloc(a->n, sizeof *all);
	must(all ? 0 : -ENOMEM, "crowd");
	return all;
}

static int add_to(int epoll, int fd, void *data)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = data };
	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

/* Let each handle work when it has something to do, and then do this. */
static void live_together(const struct actor *a, struct member *all, void (*then)(struct member *))
{
	struct epoll_event events[64];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < a->n; i++)
		must(add_to(epoll, brood_fd(all[i].b), &all[i]), "epoll");
	for (;;) {
		int n = epoll_wait(epoll, events, 64, -1);
		for (int i = 0; i < n; i++) {
			struct member *m = events[i].data.ptr;
			must(brood_process(m->b, 0), "process");
			if (then)
				then(m);
		}
	}
}

static int take(const brood_event *e)
{
	const struct actor *a = e->data;
	atomic_fetch_add_explicit(&a->board->flooded, e->msg->length, memory_order_relaxed);
	if (a->slow_us)
		usleep(a->slow_us);
	return 0;
}

static void act_crowd_receiver(const struct actor *a)
{
	struct member *all = make_members(a);
	char name[NAME_SIZE];
	for (unsigned i = 0; i < a->n; i++)
		all[i].b = connect_to(a, BROOD_ON(.message = take), name_of(name, "crowd", a->first + i),
				      (void *)(uintptr_t)a);
	set(a, a->n);
	live_together(a, all, NULL);
}

static void send_on(struct member *m)
{
	static char body[FLOOD_SIZE];
	int rc = 0;
	for (int i = 0; i < GATHERED && rc == 0; i++)
		rc = brood_send(m->to, BROOD_MSG("", body, sizeof body));
	must(rc == -EAGAIN ? 0 : rc, "flood");
	if (rc == 0)
		brood_wake(m->b); /* it is not done */
}

static void act_crowd_sender(const struct actor *a)
{
	struct member *all = make_members(a);
	for (unsigned i = 0; i < a->n; i++) {
		all[i].b = connect_to(a, BROOD_ON(.wake = NULL), NULL, NULL);
		all[i].to = find(all[i].b, "crowd", a->first + i);
	}
	set(a, a->n);
	for (unsigned i = 0; i < a->n; i++)
		send_on(&all[i]);
	live_together(a, all, send_on);
}

/* ---- the flood --------------------------------------------------------------------------------------------------- */

struct flooder {
	int fd;
	uint64_t id;
	size_t at; /* in what it repeats */
	unsigned char *bytes;
};

static uint64_t greet(const struct actor *a, int *fd)
{
	static struct raw_frame f;
	Brood__Hello hello = BROOD__HELLO__INIT;
	*fd = raw_connect(a->address + strlen("unix:"));
	must(*fd, "connect");
	must(raw_send_pb(*fd, FRAME_HELLO, &hello.base), "hello");
	int rc = raw_receive(*fd, &f, FOREVER_MS);
	must(rc == 1 && f.head.kind == FRAME_HELLO_OK ? 0 : -EPROTO, "hello");
	Brood__HelloOk *ok = brood__hello_ok__unpack(NULL, f.head.length, f.head.body);
	must(ok ? 0 : -ENOMEM, "hello");
	uint64_t id = ok->id;
	brood__hello_ok__free_unpacked(ok, NULL);
	fcntl(*fd, F_SETFL, O_NONBLOCK);
	return id;
}

static size_t make_flood(struct flooder *f, uint64_t to)
{
	struct frame head = { .kind = FRAME_DATA, .destination = to, .length = FLOOD_BODY };
	size_t size = frame_size(FLOOD_BODY);
	f->bytes = calloc(FLOOD_FRAMES, size);
	must(f->bytes ? 0 : -ENOMEM, "flood");
	for (unsigned i = 0; i < FLOOD_FRAMES; i++) {
		head.sequence = i + 1;
		frame_write_head(f->bytes + i * size, &head);
	}
	return FLOOD_FRAMES * size;
}

/* As much as the socket takes; read as much as there is, up to a point. */
static void flood(const struct actor *a, struct flooder *f, size_t size)
{
	static char sink[256 * 1024];
	ssize_t n = recv(f->fd, sink, sizeof sink, MSG_DONTWAIT);
	if (n > 0)
		atomic_fetch_add_explicit(&a->board->flooded, (uint64_t)n, memory_order_relaxed);
	must(n == 0 ? -ECONNRESET : 0, "flood");
	while ((n = send(f->fd, f->bytes + f->at, size - f->at, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
		f->at = (f->at + (size_t)n) % size;
}

static void act_flood(const struct actor *a)
{
	struct flooder *all = calloc(a->n, sizeof *all);
	struct epoll_event events[64];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	size_t size = 0;
	must(all ? 0 : -ENOMEM, "flood");
	for (unsigned i = 0; i < a->n; i++)
		all[i].id = greet(a, &all[i].fd);
	for (unsigned i = 0; i < a->n; i++) {
		struct epoll_event e = { .events = EPOLLIN | EPOLLOUT, .data.ptr = &all[i] };
		size = make_flood(&all[i], all[(i + 1) % a->n].id);
		must(epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &e) < 0 ? -errno : 0, "epoll");
	}
	set(a, a->n);
	for (;;) {
		int n = epoll_wait(epoll, events, 64, -1);
		for (int i = 0; i < n; i++)
			flood(a, events[i].data.ptr, size);
	}
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static int board_fd = -1;
static struct board *board;

static struct board *map_board(int fd)
{
	void *at = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return at == MAP_FAILED ? NULL : at;
}

struct board *actor_board(void)
{
	if (board)
		return board;
	board_fd = memfd_create("board", MFD_CLOEXEC);
	if (board_fd >= 0 && ftruncate(board_fd, sizeof *board) == 0)
		board = map_board(board_fd);
	return board;
}

/* In the new process. */
static void become(enum act act, const struct actor *a, pid_t parent)
{
	char numbers[7][16], self[] = "/proc/self/exe", argument[] = ACTOR_ARGUMENT;
	const unsigned values[7] = { act, (unsigned)parent, (unsigned)board_fd, a->user, a->first, a->n, a->slow_us };
	char *argv[11] = { self, argument };
	for (int i = 0; i < 7; i++) {
		snprintf(numbers[i], sizeof numbers[i], "%u", values[i]);
		argv[2 + i] = numbers[i];
	}
	argv[9] = (char *)(uintptr_t)a->address;
	fcntl(board_fd, F_SETFD, 0);
	execv(self, argv);
	_exit(1);
}

pid_t actor_start(enum act act, const struct actor *a)
{
	pid_t parent = getpid(), pid = fork();
	if (pid == 0)
		become(act, a, parent);
	return pid;
}

static void raise_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int actor_main(char **argv)
{
	static void (*const acts[])(const struct actor *) = { act_receiver, act_sender,         act_answerer,
							      act_asker,    act_crowd_receiver, act_crowd_sender,
							      act_flood };
	struct actor a = { .address = argv[9],
			   .board = map_board(atoi(argv[4])),
			   .user = (uid_t)atoi(argv[5]),
			   .first = (unsigned)atoi(argv[6]),
			   .n = (unsigned)atoi(argv[7]),
			   .slow_us = (unsigned)atoi(argv[8]) };
	const int act = atoi(argv[2]);
	must(a.board ? 0 : -errno, "board");
	raise_limit();
	if (a.user)
		must(setgid(a.user) < 0 || setuid(a.user) < 0 ? -errno : 0, "user");
	if (act == ACT_CROWD_RECEIVER || act == ACT_CROWD_SENDER)
		must(setpriority(PRIO_PROCESS, 0, 19) < 0 ? -errno : 0, "nice");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == atoi(argv[3]))
		acts[act](&a);
	return 1;
}
