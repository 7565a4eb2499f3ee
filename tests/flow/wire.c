/*
 * wire: test doubles of libraries: blocking clients on the channel of proto/, with a deadline on every wait.
 */
#include "wire.h"
#include "dial.h"
#include "guard.h"
#include "message.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 20000 /* sanitizers on a busy machine are slow */
#define SILENCE_MS 100

/*
 * The broker.
 */

void wire_broker_init(struct wire_broker *b)
{
	memset(b, 0, sizeof(*b));
	strcpy(b->dir, "/tmp/brood-wire-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->socket, sizeof(b->socket), "unix:%s/sock", b->dir);
}

static void exec_broker(const struct wire_broker *b, const char *const *flags, int stderr_fd)
{
	const char *program = getenv("BROOD_BROKER");
	const char *argv[24] = { "broodd", "--dir", b->dir };
	int n = 3;

	while (flags && *flags)
		argv[n++] = *flags++;
	prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0L, 0L, 0L); /* it does not outlive a test that is killed */
	dup2(stderr_fd, STDOUT_FILENO);
	dup2(stderr_fd, STDERR_FILENO);
	if (program)
		execv(program, (char **)(uintptr_t)argv);
	perror(program ? program : "wire: BROOD_BROKER is not set");
	_exit(127);
}

static int log_file(const struct wire_broker *b)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/stderr", b->dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

static int can_connect(const char *address)
{
	struct address a;
	char why[256];
	int pending, fd;

	assert_int_equal(address_parse(address, &a, why, sizeof(why)), 0);
	fd = dial(&a, &pending);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

void wire_broker_start(struct wire_broker *b, const char *const *flags)
{
	int fd = log_file(b);

	b->pid = fork();
	assert_true(b->pid >= 0);
	if (b->pid == 0)
		exec_broker(b, flags, fd);
	close(fd);
	for (int i = 0; i < PATIENCE_MS / 10 && !can_connect(b->socket); i++) {
		assert_int_equal(waitpid(b->pid, NULL, WNOHANG), 0);
		usleep(10000);
	}
	assert_true(can_connect(b->socket));
}

static int exit_code(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int wire_broker_stop(struct wire_broker *b, int signo)
{
	pid_t pid = b->pid;

	b->pid = 0;
	assert_int_equal(kill(pid, signo), 0);
	return exit_code(pid);
}

int wire_broker_try(struct wire_broker *b, const char *const *flags, char *text, size_t n)
{
	int ends[2];
	size_t used = 0;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		exec_broker(b, flags, ends[1]);
	close(ends[1]);
	while (used + 1 < n && (got = read(ends[0], text + used, n - 1 - used)) > 0)
		used += (size_t)got;
	text[used] = '\0';
	close(ends[0]);
	return exit_code(pid);
}

void wire_broker_deinit(struct wire_broker *b)
{
	char command[128];

	if (b->pid > 0)
		assert_int_equal(wire_broker_stop(b, SIGTERM), 0);
	snprintf(command, sizeof(command), "rm -rf '%s'", b->dir);
	assert_int_equal(system(command), 0);
}

/*
 * Clients.
 */

void wire_take_pair(struct wire *w, int in_fd, int out_fd)
{
	memset(w, 0, sizeof(*w));
	w->knock = (struct knock){ .directory = -1, .rendezvous = -1, .hold = -1 };
	assert_int_equal(slab_init(&w->slab, SLAB_HELPING), 0);
	channel_init(&w->channel, in_fd, out_fd, &w->slab);
}

void wire_take(struct wire *w, int fd)
{
	wire_take_pair(w, fd, fd);
}

static void knock_at(struct wire *w, const struct address *a)
{
	struct knock k;
	int in_fd, out_fd;

	assert_int_equal(knock(&k, a, &in_fd, &out_fd), 0);
	wire_take_pair(w, in_fd, out_fd);
	w->knock = k;
}

void wire_connect(struct wire *w, const char *address)
{
	struct address a;
	char why[256];
	int pending, fd;

	assert_int_equal(address_parse(address, &a, why, sizeof(why)), 0);
	if (a.kind == ADDRESS_FIFO) {
		knock_at(w, &a);
		return;
	}
	fd = dial(&a, &pending);
	if (fd < 0)
		fail_msg("%s: %s", address, strerror(-fd));
	if (pending) {
		struct pollfd p = { fd, POLLOUT, 0 };

		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		assert_int_equal(dial_result(fd), 0);
	}
	wire_take(w, fd);
}

void wire_close(struct wire *w)
{
	knock_end(&w->knock, 0);
	channel_deinit(&w->channel);
	slab_deinit(&w->slab);
}

static void must_poll(struct wire *w, short events)
{
	struct pollfd p = { events == POLLOUT ? w->channel.out_fd : w->channel.in_fd, events, 0 };

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
}

void wire_send(struct wire *w, const struct frame *head, const void *body, int fd)
{
	int r = channel_send(&w->channel, head, body, fd);

	while (r == 0 && channel_wants_write(&w->channel)) {
		must_poll(w, POLLOUT);
		r = channel_drain(&w->channel, NULL);
	}
	assert_int_equal(r, 0);
}

void wire_say(struct wire *w, enum frame_kind kind, const ProtobufCMessage *body, int fd)
{
	struct frame head = { .kind = (uint8_t)kind, .length = (uint32_t)protobuf_c_message_get_packed_size(body) };
	uint8_t *bytes = malloc(head.length + 1);

	assert_non_null(bytes);
	protobuf_c_message_pack(body, bytes);
	wire_send(w, &head, bytes, fd);
	free(bytes);
}

void wire_data(struct wire *w, uint64_t to, uint64_t sequence, const char *text)
{
	struct item it = { .kind = ITEM_MESSAGE, .length = (uint32_t)strlen(text) };
	_Alignas(8) uint8_t body[4096];
	struct frame head = { .kind = FRAME_DATA, .destination = to, .sequence = sequence };

	head.length = (uint32_t)item_size(it.kind, 0, it.length);
	assert_true(head.length <= sizeof(body));
	memcpy(item_write(body, &it), text, it.length);
	wire_send(w, &head, body, -1);
}

void wire_raw(struct wire *w, const void *bytes, size_t n)
{
	const char *at = bytes;

	while (n > 0) {
		ssize_t sent = send(w->channel.out_fd, at, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EAGAIN) {
			must_poll(w, POLLOUT);
			continue;
		}
		if (sent < 0)
			return; /* refused in the middle: the test looks at the answer */
		at += sent;
		n -= (size_t)sent;
	}
}

int wire_next(struct wire *w, struct frame *ret, int ms)
{
	struct pollfd p = { w->channel.in_fd, POLLIN, 0 };

	for (;;) {
		ssize_t got;
		int r = channel_next(&w->channel, ret);

		assert_true(r >= 0);
		if (r == 1)
			return 1;
		slab_reset(&w->slab);
		if (poll(&p, 1, ms) == 0)
			return -ETIMEDOUT;
		got = channel_read(&w->channel);
		if (got == 0 || got == -ECONNRESET)
			return 0;
		if (got > 0)
			knock_end(&w->knock, 1);
		assert_true(got > 0 || got == -EAGAIN);
	}
}

struct frame wire_expect(struct wire *w, enum frame_kind kind)
{
	struct frame f;
	int r = wire_next(w, &f, PATIENCE_MS);

	if (r != 1)
		fail_msg("%s expected, but %s", frame_kind_name(kind),
			 r == 0 ? "the connection ended" : "nothing came");
	if (f.kind != kind)
		fail_msg("%s expected, but %s came", frame_kind_name(kind), frame_kind_name(f.kind));
	return f;
}

void *wire_expect_body(struct wire *w, enum frame_kind kind, const ProtobufCMessageDescriptor *type)
{
	struct frame f = wire_expect(w, kind);
	ProtobufCMessage *body;

	assert_int_equal(guard_unpack(type, f.body, f.length, 1, &body), 0);
	return body;
}

void wire_expect_data(struct wire *w, uint64_t from, const char *text)
{
	struct frame f = wire_expect(w, FRAME_DATA);
	const uint8_t *at = f.body;
	struct item it;

	assert_true(f.source == from);
	assert_int_equal(item_next(&at, f.body + f.length, &it), 1);
	assert_string_equal((const char *)it.body, text);
}

void wire_expect_gone(struct wire *w, uint64_t id, Brood__Why why)
{
	Brood__Gone *gone = wire_expect_body(w, FRAME_GONE, &brood__gone__descriptor);

	assert_true(gone->id == id);
	assert_int_equal(gone->why, why);
	guard_free(&gone->base);
}

void wire_expect_refused(struct wire *w, const char *error)
{
	Brood__Goodbye *goodbye = wire_expect_body(w, FRAME_GOODBYE, &brood__goodbye__descriptor);
	struct frame f;

	assert_int_equal(goodbye->parting, BROOD__PARTING__PARTING_REFUSED);
	assert_string_equal(goodbye->error, error);
	assert_true(goodbye->code < 0);
	assert_true(strlen(goodbye->text) > 0);
	guard_free(&goodbye->base);
	assert_int_equal(wire_next(w, &f, PATIENCE_MS), 0);
}

void wire_expect_silence(struct wire *w)
{
	struct frame f;
	int r = wire_next(w, &f, SILENCE_MS);

	if (r == 1)
		fail_msg("silence expected, but %s came", frame_kind_name(f.kind));
	assert_int_equal(r, -ETIMEDOUT);
}

/*
 * Hello and goodbye.
 */

void wire_hello(struct wire *w, const Brood__Hello *hello)
{
	Brood__HelloOk *ok;

	wire_say(w, FRAME_HELLO, &hello->base, -1);
	ok = wire_expect_body(w, FRAME_HELLO_OK, &brood__hello_ok__descriptor);
	w->id = ok->id;
	w->parent = ok->parent;
	w->first_id = ok->first_id;
	w->ids = ok->ids;
	if (ok->ids_key.len == TICKET_KEY)
		memcpy(w->ids_key, ok->ids_key.data, TICKET_KEY);
	if (ok->ticket.len == TICKET_SIZE)
		memcpy(w->ticket, ok->ticket.data, TICKET_SIZE);
	guard_free(&ok->base);
}

void wire_open(struct wire *w, const struct wire_broker *b, uint32_t ids)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	char title[] = "wire";

	wire_connect(w, b->socket);
	hello.level = 1;
	hello.pid = (uint32_t)getpid();
	hello.title = title;
	hello.ids = ids;
	wire_hello(w, &hello);
}

void wire_leave(struct wire *w)
{
	Brood__Goodbye goodbye = BROOD__GOODBYE__INIT;

	wire_say(w, FRAME_GOODBYE, &goodbye.base, -1);
	wire_close(w);
}
