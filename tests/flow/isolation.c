/*
 * isolation: whoever does not read, or writes without end, hurts only those who talk to it. No clock decides: what was
 * delivered before something else is counted, and memory is looked at.
 *
 * The crowds are bare sockets in this process. To see the order in which the broker serves, it is stopped while they fill
 * their sockets; what the one receiver of all then gets shows the order.
 */
#include "brood.pb-c.h"
#include "flow.h"
#include "guard.h"
#include "raw.h"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define PAIRS 100
#define FLOODERS 200
#define BODY 65536
#define MEMORY_KIB (512 * 1024) /* the broker's, as in limit.h; one user's is half of it */
#if defined(__SANITIZE_ADDRESS__)
#define SLACK_KIB (512 * 1024) /* what was freed is kept for a while */
#else
#define SLACK_KIB (32 * 1024)
#endif

/* ---- connections ------------------------------------------------------------------------------------------------- */

struct end {
	int fd;
	uint64_t id;
	unsigned holds, goes;
	size_t have; /* bytes of the next frame's head */
	size_t skip; /* ... and of its body, still to come */
	_Alignas(8) unsigned char head[FRAME_HEAD];
};

/* In a user's name. The kernel tells the broker who connected. */
static void open_end(const struct fixture *x, struct end *e, uid_t user)
{
	static struct raw_frame answer;
	Brood__Hello hello = BROOD__HELLO__INIT;
	ProtobufCMessage *ok;
	memset(e, 0, sizeof *e);
	if (user)
		assert_int_equal(seteuid(user), 0);
	e->fd = raw_connect(x->address + strlen("unix:"));
	if (user)
		assert_int_equal(seteuid(0), 0);
	assert_true(e->fd >= 0);
	assert_int_equal(raw_send_pb(e->fd, FRAME_HELLO, &hello.base), 0);
	assert_int_equal(raw_receive(e->fd, &answer, PATIENCE_MS), 1);
	assert_int_equal(answer.head.kind, FRAME_HELLO_OK);
	assert_int_equal(guard_unpack(&brood__hello_ok__descriptor, answer.head.body, answer.head.length, 1, &ok), 0);
	e->id = ((Brood__HelloOk *)ok)->id;
	guard_free(ok);
}

static void close_ends(struct end *all, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(all[i].fd);
	test_free(all);
}

/* Broker, directory and socket are root's: let others in. */
static void open_doors(const struct fixture *x)
{
	assert_int_equal(chmod(x->directory, 0711), 0);
	assert_int_equal(chmod(x->brood, 0711), 0);
	assert_int_equal(chmod(x->address + strlen("unix:"), 0666), 0);
}

static void skip_unless_root(void)
{
	if (geteuid() == 0)
		return;
	print_message("skipped: only root can be other users\n");
	skip();
}

/* What came to it: each frame of this kind counts, bodies are skipped. Returns the frame's source, or 0: nothing more now. */
static uint64_t next_frame(struct end *e)
{
	static unsigned char bytes[BODY + 8];
	struct frame f = { 0 };
	while (e->skip > 0 || e->have < FRAME_HEAD) {
		size_t want = e->skip ? e->skip : FRAME_HEAD - e->have;
		void *to = e->skip ? bytes : e->head + e->have;
		ssize_t n = recv(e->fd, to, want < sizeof bytes ? want : sizeof bytes, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return 0;
		assert_true(n > 0);
		if (e->skip)
			e->skip -= (size_t)n;
		else
			e->have += (size_t)n;
	}
	assert_true(frame_parse(e->head, FRAME_HEAD, FRAME_MAX, &f) >= 0);
	e->have = 0;
	e->skip = f.size - FRAME_HEAD;
	e->holds += f.kind == FRAME_HOLD;
	e->goes += f.kind == FRAME_GO;
	return f.source ? f.source : 1;
}

/* Frames to this one, as long as the socket takes them, but no more than that. What was written. */
static size_t fill(struct end *from, uint64_t to, size_t most)
{
	static _Alignas(8) unsigned char bytes[FRAME_HEAD + BODY + 8];
	struct frame head = { .kind = FRAME_DATA, .destination = to, .sequence = 1, .length = BODY };
	size_t size = frame_size(BODY), sent = 0;
	struct pollfd p = { .fd = from->fd, .events = POLLOUT };
	frame_write_head(bytes, &head);
	/* A whole frame, or none: room for one is what makes a Unix socket writable. */
	while (sent < most && poll(&p, 1, 0) == 1) {
		ssize_t n = send(from->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		assert_true(n > 0);
		if ((size_t)n < size)
			assert_int_equal(raw_write(from->fd, bytes + n, size - (size_t)n), 0);
		sent += size;
	}
	return sent;
}

/* ---- receivers that do not read ---------------------------------------------------------------------------------- */

static void read_all(struct end *all, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		while (next_frame(&all[i]))
			;
}

static unsigned count_held(const struct end *all, unsigned n)
{
	unsigned held = 0;
	for (unsigned i = 0; i < n; i++) {
		assert_true(all[i].holds <= 1);
		held += all[i].holds;
	}
	return held;
}

static void send_more(struct end *senders, const struct end *receivers)
{
	for (unsigned i = 0; i < PAIRS; i++)
		if (!senders[i].holds)
			(void)fill(&senders[i], receivers[i].id, 4 * BODY);
	read_all(senders, PAIRS);
}

static void assert_innocents(struct family *f, unsigned n)
{
	char text[16];
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(brood_send(f->kid, BROOD_MSG("note", text, sizeof text, .flags = BROOD_BLOCK)), 0);
	assert_int_equal(brood_sync(f->b, PATIENCE_MS), 0);
}

static void test_receivers_that_do_not_read(void **state)
{
	const struct fixture *x = *state;
	struct end *receivers = test_calloc(PAIRS, sizeof *receivers), *senders = test_calloc(PAIRS, sizeof *senders);
	struct family f = { 0 };
	family_begin(&f, KID("worker"));
	for (unsigned i = 0; i < PAIRS; i++) {
		open_end(x, &receivers[i], 0);
		open_end(x, &senders[i], 0);
	}
	long before = process_status(x->broker, "VmRSS:");
	for (uint64_t end = now_ms() + 3 * PATIENCE_MS; count_held(senders, PAIRS) < PAIRS && now_ms() < end;)
		send_more(senders, receivers); /* hundreds of MiB */
	assert_int_equal(count_held(senders, PAIRS), PAIRS);
	long grown = process_status(x->broker, "VmRSS:") - before;
	print_message("%d senders held, %ld KiB wait\n", PAIRS, grown);
	assert_true(grown <= MEMORY_KIB / 2 + SLACK_KIB);
	assert_true(grown >= PAIRS * 1024); /* each had a fair amount before */
	assert_innocents(&f, 5000);
	/* One begins to read: its sender goes on, and nobody else. */
	until_by(senders[7].goes == 1, (read_all(&receivers[7], 1), read_all(senders, PAIRS), nap()));
	for (unsigned i = 0; i < PAIRS; i++)
		assert_int_equal(senders[i].goes, i == 7);
	family_end(&f);
	close_ends(receivers, PAIRS);
	close_ends(senders, PAIRS);
}

/* ---- floods ------------------------------------------------------------------------------------------------------ */

struct flood {
	struct end *flooders, receiver, polite;
	size_t waits, before; /* bytes in sockets; of these came before what the polite one said */
};

static void flood_begin(const struct fixture *x, struct flood *f, uid_t user)
{
	*f = (struct flood){ .flooders = test_calloc(FLOODERS, sizeof *f->flooders) };
	open_end(x, &f->receiver, 0);
	open_end(x, &f->polite, 0);
	for (unsigned i = 0; i < FLOODERS; i++)
		open_end(x, &f->flooders[i], user);
}

static void flood_end(struct flood *f)
{
	close_ends(f->flooders, FLOODERS);
	close(f->receiver.fd);
	close(f->polite.fd);
}

static void stop(pid_t pid)
{
	kill(pid, SIGSTOP);
	until_polled(NULL, process_state(pid) == 'T');
}

/* Everybody says as much as its socket takes while the broker cannot look; the polite one says a little, last. */
static void flood_once(const struct fixture *x, struct flood *f)
{
	struct item it = { .kind = ITEM_MESSAGE };
	stop(x->broker);
	f->waits = f->before = 0;
	for (unsigned i = 0; i < FLOODERS; i++)
		f->waits += fill(&f->flooders[i], f->receiver.id, 2 * BODY);
	assert_int_equal(raw_send_item(f->polite.fd, 0, f->receiver.id, 1, &it, NULL), 0);
	kill(x->broker, SIGCONT);
}

static void await_polite(struct flood *f)
{
	uint64_t end = now_ms() + PATIENCE_MS, source = 0;
	while (source != f->polite.id && now_ms() < end) {
		struct pollfd p = { .fd = f->receiver.fd, .events = POLLIN };
		source = next_frame(&f->receiver);
		if (!source)
			poll(&p, 1, PATIENCE_MS);
		else if (source != f->polite.id)
			f->before += frame_size(BODY);
	}
	assert_true(source == f->polite.id);
}

static size_t take_one(struct flood *f)
{
	struct pollfd p = { .fd = f->receiver.fd, .events = POLLIN };
	if (next_frame(&f->receiver))
		return frame_size(BODY);
	poll(&p, 1, 10);
	return 0;
}

/* The rest. None was dropped: they all fit. */
static void await_rest(struct flood *f)
{
	size_t came = f->before;
	until_by(came >= f->waits, came += take_one(f));
	assert_int_equal(came, f->waits);
}

/* A fifth of what waits: the work of some turns, and those who were known to be ready before the polite one was. */
static void assert_served_soon(const struct flood *f)
{
	print_message("%zu KiB of %zu KiB came first\n", f->before >> 10, f->waits >> 10);
	assert_true(f->waits > FLOODERS * 65536);
	assert_true(f->before < f->waits / 5);
}

static void test_flood_of_another_user(void **state)
{
	const struct fixture *x = *state;
	struct flood f;
	skip_unless_root();
	open_doors(x);
	flood_begin(x, &f, NOBODY);
	for (int i = 0; i < 3; i++) {
		flood_once(x, &f);
		await_polite(&f);
		assert_served_soon(&f);
		await_rest(&f);
	}
	flood_end(&f);
}

/* Among those of one user, who takes little is before those who took much. */
static void test_flood_of_the_same_user(void **state)
{
	const struct fixture *x = *state;
	struct flood f;
	flood_begin(x, &f, 0);
	flood_once(x, &f); /* now it is known who does what */
	await_polite(&f);
	await_rest(&f);
	for (int i = 0; i < 3; i++) {
		flood_once(x, &f);
		await_polite(&f);
		assert_served_soon(&f);
		await_rest(&f);
	}
	flood_end(&f);
}

/* ---- answers that nobody reads ----------------------------------------------------------------------------------- */

#define ASKERS 32
#define QUESTIONS                                                                                                      \
	80000 /* their answers are less than the 8 MiB that one connection may leave unread, but more than half */
#define ANSWERS_MIB 64 /* that one user may */

static void ask_all(struct end *e)
{
	static unsigned char bytes[1000 * 128];
	Brood__Watch body = BROOD__WATCH__INIT;
	struct frame head = { .kind = FRAME_WATCH };
	char name[] = "nobody-holds-this";
	body.name = name;
	head.length = (uint32_t)brood__watch__get_packed_size(&body);
	size_t size = frame_size(head.length);
	for (unsigned i = 0; i < 1000; i++) {
		frame_write_head(bytes + i * size, &head);
		brood__watch__pack(&body, bytes + i * size + FRAME_HEAD);
	}
	for (unsigned i = 0; i < QUESTIONS / 1000 && raw_write(e->fd, bytes, 1000 * size) == 0; i++)
		;
}

static unsigned count_closed(const struct end *all)
{
	unsigned closed = 0;
	for (unsigned i = 0; i < ASKERS; i++) {
		struct pollfd p = { .fd = all[i].fd };
		closed += poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR);
	}
	return closed;
}

/* Each of them keeps within its own limit, but not all together within their user's. */
static void test_answers_of_one_user(void **state)
{
	const struct fixture *x = *state;
	struct end *askers = test_calloc(ASKERS, sizeof *askers);
	struct family f = { 0 };
	family_begin(&f, KID("worker"));
	long before = process_status(x->broker, "VmRSS:");
	for (unsigned i = 0; i < ASKERS; i++) {
		open_end(x, &askers[i], 0);
		ask_all(&askers[i]);
	}
	until_polled(NULL, count_closed(askers) > 0);
	assert_innocents(&f, 1000);
	long grown = process_status(x->broker, "VmHWM:") - before;
	print_message("%u of %d closed, %ld KiB\n", count_closed(askers), ASKERS, grown);
	assert_true(grown <= (ANSWERS_MIB + 8) * 1024 + SLACK_KIB);
	assert_in_range(count_closed(askers), 1, ASKERS - 8);
	family_end(&f);
	close_ends(askers, ASKERS);
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

/* 1: let in. 0: refused with "limit.sessions", which names the user. */
static int knock(const struct fixture *x, uid_t user, int *fd)
{
	static struct raw_frame f;
	Brood__Hello hello = BROOD__HELLO__INIT;
	ProtobufCMessage *m;
	assert_int_equal(seteuid(user), 0);
	*fd = raw_connect(x->address + strlen("unix:"));
	assert_int_equal(seteuid(0), 0);
	assert_true(*fd >= 0);
	(void)raw_send_pb(*fd, FRAME_HELLO, &hello.base);
	assert_int_equal(raw_receive(*fd, &f, PATIENCE_MS), 1);
	if (f.head.kind == FRAME_HELLO_OK)
		return 1;
	assert_int_equal(f.head.kind, FRAME_GOODBYE);
	assert_int_equal(guard_unpack(&brood__goodbye__descriptor, f.head.body, f.head.length, 1, &m), 0);
	const Brood__Goodbye *bye = (const Brood__Goodbye *)m;
	assert_string_equal(bye->error, "limit.sessions");
	assert_int_equal(bye->code, -EDQUOT);
	assert_non_null(strstr(bye->text, "user 65534 has "));
	assert_non_null(strstr(bye->text, "(limits.sessions = 100, the limit of open files)"));
	guard_free(m);
	return 0;
}

#define FILES 100

/* One user's connections leave as many free. */
static void test_connections_of_one_user(void **state)
{
	const struct fixture *x = *state;
	int fds[FILES], n = 0, in;
	skip_unless_root();
	open_doors(x);
	assert_int_equal(prlimit(x->broker, RLIMIT_NOFILE, &(struct rlimit){ FILES, FILES }, NULL), 0);
	while (n < FILES && knock(x, NOBODY, &fds[n]))
		n++;
	assert_int_equal(n, FILES / 2);
	close(fds[n]);
	/* Others come in, and when one of its own leaves so does it. */
	assert_int_equal(knock(x, NOBODY - 1, &fds[n++]), 1);
	assert_int_equal(knock(x, 0, &fds[n++]), 1);
	close(fds[0]);
	close(fds[1]);
	close(fds[2]);
	until_polled(NULL, (in = knock(x, NOBODY, &fds[0]), close(fds[0]), in));
	while (n > 3)
		close(fds[--n]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_UNIX(test_receivers_that_do_not_read), ON_UNIX(test_flood_of_another_user),
		ON_UNIX(test_flood_of_the_same_user),     ON_UNIX(test_answers_of_one_user),
		ON_UNIX(test_connections_of_one_user),
	};
	return RUN("isolation", tests);
}
