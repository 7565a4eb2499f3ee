/*
 * broker_ends: how a broker starts, stops, leaves, is killed, and comes back. Every test has a broker of its own.
 */
#include "guard.h"
#include "message.h"
#include "wire.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static char *path_of(const struct wire_broker *b, const char *name)
{
	static char path[100];

	snprintf(path, sizeof(path), "%s/%s", b->dir, name);
	return path;
}

/* The file's text, without its newline. */
static char *read_text(const struct wire_broker *b, const char *name, char *text, size_t n)
{
	int fd = open(path_of(b, name), O_RDONLY | O_CLOEXEC);
	ssize_t got;

	assert_true(fd >= 0);
	got = read(fd, text, n - 1);
	assert_true(got > 0);
	close(fd);
	text[got] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return text;
}

/*
 * Starting.
 */

static void test_second_broker_is_refused(void **state)
{
	struct wire_broker b;
	char text[1024], pid[32];
	struct wire w;

	(void)state;
	wire_broker_init(&b);
	wire_broker_start(&b, NULL);
	assert_int_equal(wire_broker_try(&b, NULL, text, sizeof(text)), 1);
	snprintf(pid, sizeof(pid), "pid %d", (int)b.pid);
	assert_non_null(strstr(text, "already running"));
	assert_non_null(strstr(text, pid));
	/* Whoever wants a private broker is content with the one that is there. */
	assert_int_equal(wire_broker_try(&b, (const char *[]){ "--private", NULL }, text, sizeof(text)), 0);
	assert_string_equal(text, "");
	wire_open(&w, &b, 0);
	wire_leave(&w);
	wire_broker_deinit(&b);
}

/* Run the broker by a script that closes some of the first three. */
static void start_with_closed(struct wire_broker *b, const char *which)
{
	char *program = getenv("BROOD_BROKER");
	FILE *script = fopen(path_of(b, "script"), "we");

	assert_non_null(script);
	fprintf(script, "#!/bin/sh\nexec '%s' \"$@\" %s\n", program, which);
	assert_int_equal(fchmod(fileno(script), 0700), 0);
	assert_int_equal(fclose(script), 0);
	program = strdup(program);
	assert_int_equal(setenv("BROOD_BROKER", path_of(b, "script"), 1), 0);
	wire_broker_start(b, NULL);
	assert_int_equal(setenv("BROOD_BROKER", program, 1), 0);
	free(program);
}

/* What is said there does not go into the lock, or to a client. */
static void test_standard_descriptors_are_closed(void **state)
{
	const char *const all[] = { "<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-" };
	struct wire_broker b;
	char text[1024], pid[32];

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		wire_broker_init(&b);
		start_with_closed(&b, all[i]);
		snprintf(pid, sizeof(pid), "%d", (int)b.pid);
		assert_string_equal(read_text(&b, "lock", text, sizeof(text)), pid);
		wire_broker_deinit(&b);
	}
}

static void test_directory_of_others_is_refused(void **state)
{
	struct wire_broker b;
	char text[1024];

	(void)state;
	wire_broker_init(&b);
	assert_int_equal(chmod(b.dir, 0750), 0);
	assert_int_equal(wire_broker_try(&b, NULL, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "others may enter it"));
	assert_int_equal(access(path_of(&b, "lock"), F_OK), -1);
	assert_int_equal(chmod(b.dir, 0700), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(b.dir, 12345, 12345), 0);
		assert_int_equal(wire_broker_try(&b, NULL, text, sizeof(text)), 1);
		assert_non_null(strstr(text, "belongs to another user"));
		assert_int_equal(chown(b.dir, 0, 0), 0);
	}
	wire_broker_deinit(&b);
}

static void test_files_are_for_their_owner_only(void **state)
{
	const char *const secret[] = { "key", "cookie", "lock", "epoch", "tcp", "sock" };
	struct wire_broker b;
	struct stat st;

	(void)state;
	wire_broker_init(&b);
	wire_broker_start(&b, (const char *[]){ "--listen", "tcp://127.0.0.1:0", NULL });
	for (size_t i = 0; i < sizeof(secret) / sizeof(*secret); i++) {
		assert_int_equal(lstat(path_of(&b, secret[i]), &st), 0);
		assert_int_equal(st.st_mode & 077, 0);
	}
	assert_int_equal(wire_broker_stop(&b, SIGTERM), 0);
	assert_int_equal(access(path_of(&b, "sock"), F_OK), -1);
	assert_int_equal(access(path_of(&b, "tcp"), F_OK), -1);
	wire_broker_deinit(&b);
}

/* Tell the service manager, on a socket in the broker's directory. */
static void test_readiness_is_notified(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct wire_broker b;
	char text[1024];
	ssize_t n;
	int fd;

	(void)state;
	wire_broker_init(&b);
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path_of(&b, "notify"));
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	setenv("NOTIFY_SOCKET", un.sun_path, 1);
	wire_broker_start(&b, NULL);
	unsetenv("NOTIFY_SOCKET");
	n = recv(fd, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	assert_ptr_equal(strstr(text, "READY=1\n"), text);
	assert_non_null(strstr(text, b.socket));
	assert_int_equal(wire_broker_stop(&b, SIGTERM), 0);
	n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "STOPPING=1"));
	close(fd);
	wire_broker_deinit(&b);
}

/* A socket that the service manager made, as descriptor 3. */
static void test_inherited_socket(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct wire_broker b;
	char address[160], pid[16];
	struct wire w;
	int fd;

	(void)state;
	wire_broker_init(&b);
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path_of(&b, "inherited"));
	snprintf(address, sizeof(address), "unix:%s", un.sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, 10), 0);
	b.pid = fork();
	if (b.pid == 0) {
		snprintf(pid, sizeof(pid), "%d", (int)getpid());
		setenv("LISTEN_PID", pid, 1);
		setenv("LISTEN_FDS", "1", 1);
		if (fd == 3)
			fcntl(fd, F_SETFD, 0);
		else
			dup2(fd, 3);
		execl(getenv("BROOD_BROKER"), "broodd", "--dir", b.dir, NULL);
		_exit(127);
	}
	close(fd);
	/* It may be connected to before the broker runs. */
	wire_connect(&w, address);
	{
		Brood__Hello hello = BROOD__HELLO__INIT;

		wire_hello(&w, &hello);
	}
	wire_leave(&w);
	assert_int_equal(access(path_of(&b, "sock"), F_OK), -1);
	assert_int_equal(wire_broker_stop(&b, SIGTERM), 0);
	assert_int_equal(access(un.sun_path, F_OK), 0);
	wire_broker_deinit(&b);
}

/*
 * Stopping.
 */

static void expect_stopping(struct wire *w)
{
	Brood__Goodbye *goodbye = wire_expect_body(w, FRAME_GOODBYE, &brood__goodbye__descriptor);

	assert_int_equal(goodbye->parting, BROOD__PARTING__PARTING_STOPPING);
	guard_free(&goodbye->base);
}

static void test_drain_lets_everybody_finish(void **state)
{
	struct wire_broker b;
	struct wire one, two, fresh;
	pid_t pid;
	int status;
	long begin;

	(void)state;
	wire_broker_init(&b);
	wire_broker_start(&b, NULL);
	wire_open(&one, &b, 0);
	wire_open(&two, &b, 0);
	wire_connect(&fresh, b.socket);
	pid = b.pid;
	begin = now_ms();
	assert_int_equal(kill(pid, SIGTERM), 0);
	expect_stopping(&one);
	expect_stopping(&two);
	expect_stopping(&fresh);
	/* Nobody new, but messages still travel. */
	assert_int_equal(access(path_of(&b, "sock"), F_OK), -1);
	wire_data(&one, two.id, 1, "before I go");
	wire_expect_data(&two, one.id, "before I go");
	wire_leave(&one);
	wire_expect_gone(&two, one.id, BROOD__WHY__WHY_LEFT);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	wire_leave(&two);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_in_range(now_ms() - begin, 0, 4500);
	b.pid = 0;
	wire_close(&fresh);
	wire_broker_deinit(&b);
}

static void test_drain_is_limited(void **state)
{
	struct wire_broker b;
	struct wire idle;
	long begin;

	(void)state;
	wire_broker_init(&b);
	wire_broker_start(&b, NULL);
	wire_open(&idle, &b, 0);
	begin = now_ms();
	assert_int_equal(wire_broker_stop(&b, SIGTERM), 0);
	assert_in_range(now_ms() - begin, 4800, 20000);
	wire_close(&idle);
	wire_broker_deinit(&b);
}

static void test_second_signal_does_not_wait(void **state)
{
	struct wire_broker b;
	struct wire idle;
	long begin;

	(void)state;
	wire_broker_init(&b);
	wire_broker_start(&b, NULL);
	wire_open(&idle, &b, 0);
	begin = now_ms();
	assert_int_equal(kill(b.pid, SIGTERM), 0);
	expect_stopping(&idle);
	assert_int_equal(wire_broker_stop(&b, SIGINT), 0);
	assert_in_range(now_ms() - begin, 0, 4000);
	wire_close(&idle);
	wire_broker_deinit(&b);
}

/*
 * Leaving.
 */

/* Start a private broker; the caller returns when it listens. Its pid is in the lock. */
static void start_private(struct wire_broker *b, const char *idle_ms)
{
	char text[1024];

	wire_broker_init(b);
	assert_int_equal(
		wire_broker_try(b, (const char *[]){ "--private", "--idle-ms", idle_ms, NULL }, text, sizeof(text)), 0);
	assert_string_equal(text, "");
}

static pid_t lock_holder(const struct wire_broker *b)
{
	char text[32];

	return (pid_t)atoi(read_text(b, "lock", text, sizeof(text)));
}

/* Wait until nobody holds the lock. */
static void await_end(const struct wire_broker *b)
{
	int fd = open(path_of(b, "lock"), O_RDONLY | O_CLOEXEC), i;

	assert_true(fd >= 0);
	for (i = 0; i < 2000 && flock(fd, LOCK_SH | LOCK_NB) < 0; i++)
		usleep(10000);
	assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), 0);
	close(fd);
}

static void test_private_broker_leaves_when_idle(void **state)
{
	struct wire_broker b;
	struct wire w;
	pid_t pid;
	long begin;

	(void)state;
	start_private(&b, "400");
	pid = lock_holder(&b);
	assert_int_equal(getsid(pid), pid);
	wire_open(&w, &b, 0);
	usleep(900000);
	/* Not while somebody is there. */
	wire_data(&w, w.id, 1, "to myself");
	wire_expect_data(&w, w.id, "to myself");
	wire_leave(&w);
	begin = now_ms();
	await_end(&b);
	assert_in_range(now_ms() - begin, 300, 20000);
	assert_int_equal(access(path_of(&b, "sock"), F_OK), -1);
	assert_int_equal(access(path_of(&b, "log"), F_OK), 0);
	wire_broker_deinit(&b);
}

/* Whoever connects while it is about to leave finds it. Many try, at all phases. */
static void test_leaving_is_not_a_race(void **state)
{
	struct wire_broker b;
	int met = 0;

	(void)state;
	for (int i = 0; i < 30; i++) {
		struct address a;
		struct wire w;
		char why[256];
		int fd;

		start_private(&b, "30");
		usleep((useconds_t)(i * 1500)); /* 0 to 43 ms: at first it is there, in the end it is gone */
		assert_int_equal(address_parse(b.socket, &a, why, sizeof(why)), 0);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fd, (struct sockaddr *)&a.sockaddr, a.length) == 0) {
			Brood__Hello hello = BROOD__HELLO__INIT;

			fcntl(fd, F_SETFL, O_NONBLOCK);
			wire_take(&w, fd);
			wire_hello(&w, &hello); /* connected is answered */
			wire_leave(&w);
			met++;
		} else {
			close(fd);
		}
		await_end(&b);
		wire_broker_deinit(&b);
	}
	assert_in_range(met, 1, 30);
}

static void test_idle_time_from_the_environment(void **state)
{
	struct wire_broker b;
	char text[1024];
	long begin = now_ms();

	(void)state;
	wire_broker_init(&b);
	setenv("BROOD_IDLE_MS", "200", 1);
	assert_int_equal(wire_broker_try(&b, (const char *[]){ "--private", NULL }, text, sizeof(text)), 0);
	unsetenv("BROOD_IDLE_MS");
	await_end(&b);
	assert_in_range(now_ms() - begin, 150, 20000);
	wire_broker_deinit(&b);
}

static void test_private_broker_that_cannot_start_says_so(void **state)
{
	struct wire_broker b;
	char text[1024];

	(void)state;
	wire_broker_init(&b);
	assert_int_equal(mkdir(path_of(&b, "sock"), 0700), 0);
	assert_int_equal(wire_broker_try(&b, (const char *[]){ "--private", NULL }, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "cannot listen"));
	wire_broker_deinit(&b);
}

/* Somebody took the socket's place, or removed it: it sends everybody to whoever comes next. */
static void test_lost_socket(void **state)
{
	Brood__Goodbye *goodbye;
	struct wire_broker b;
	struct wire w;
	pid_t pid;
	int status;

	(void)state;
	wire_broker_init(&b);
	wire_broker_start(&b, NULL);
	wire_open(&w, &b, 0);
	assert_int_equal(unlink(path_of(&b, "sock")), 0);
	goodbye = wire_expect_body(&w, FRAME_GOODBYE, &brood__goodbye__descriptor);
	assert_int_equal(goodbye->parting, BROOD__PARTING__PARTING_RESTARTING);
	guard_free(&goodbye->base);
	wire_leave(&w);
	pid = b.pid;
	b.pid = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	wire_broker_deinit(&b);
}

/*
 * TCP.
 */

static void tcp_hello(struct wire *w, const char *address, const char *cookie, const uint8_t *ticket)
{
	Brood__Hello hello = BROOD__HELLO__INIT;

	wire_connect(w, address);
	hello.level = 1;
	hello.ids = 1;
	hello.cookie = (ProtobufCBinaryData){ strlen(cookie), (uint8_t *)(uintptr_t)cookie };
	if (ticket)
		hello.ticket = (ProtobufCBinaryData){ TICKET_SIZE, (uint8_t *)(uintptr_t)ticket };
	wire_say(w, FRAME_HELLO, &hello.base, -1);
}

static void take_hello_ok(struct wire *w)
{
	Brood__HelloOk *ok = wire_expect_body(w, FRAME_HELLO_OK, &brood__hello_ok__descriptor);

	w->id = ok->id;
	w->first_id = ok->first_id;
	memcpy(w->ids_key, ok->ids_key.data, TICKET_KEY);
	memcpy(w->ticket, ok->ticket.data, TICKET_SIZE);
	assert_ptr_equal(strstr(ok->address, "tcp://127.0.0.1:"), ok->address);
	guard_free(&ok->base);
}

/* Descriptors stop here; their message goes on, and says no more that they come with it. */
static void expect_without_descriptors(struct wire *from, struct wire *to)
{
	struct item it = { .kind = ITEM_MESSAGE, .fds = 1 };
	_Alignas(8) uint8_t body[64];
	struct frame f,
		head = { .kind = FRAME_DATA, .flags = FRAME_FDS | FRAME_ACK_NOW, .destination = to->id, .sequence = 2 };

	head.length = (uint32_t)item_size(it.kind, item_extension_size(&it), 0);
	(void)item_write(body, &it);
	wire_send(from, &head, body, dup(STDERR_FILENO));
	f = wire_expect(to, FRAME_DATA);
	assert_int_equal(f.sequence, 2);
	assert_int_equal(f.flags, FRAME_ACK_NOW);
}

static void test_tcp_needs_cookie_or_ticket(void **state)
{
	char address[128], cookie[128], wrong[128];
	uint8_t ticket[TICKET_SIZE], own[TICKET_SIZE];
	struct wire_broker b;
	struct wire w, local, child;

	(void)state;
	wire_broker_init(&b);
	wire_broker_start(&b, (const char *[]){ "--listen", "tcp://127.0.0.1:0", NULL });
	read_text(&b, "tcp", address, sizeof(address));
	read_text(&b, "cookie", cookie, sizeof(cookie));
	assert_int_equal(strlen(cookie), 64);
	tcp_hello(&w, address, "", NULL);
	wire_expect_refused(&w, "hello.denied");
	wire_close(&w);
	strcpy(wrong, cookie);
	wrong[63] = wrong[63] == '0' ? '1' : '0';
	tcp_hello(&w, address, wrong, NULL);
	wire_expect_refused(&w, "hello.denied");
	wire_close(&w);
	tcp_hello(&w, address, cookie, NULL);
	take_hello_ok(&w);
	/* It is a process like any other. */
	wire_open(&local, &b, 0);
	wire_data(&local, w.id, 1, "over there");
	wire_expect_data(&w, local.id, "over there");
	expect_without_descriptors(&local, &w);
	wire_data(&w, local.id, 1, "over here");
	wire_expect_data(&local, w.id, "over here");
	/* Its child shows a ticket instead. */
	ticket_mint(w.ids_key,
		    &(struct ticket){ .id = w.first_id, .parent = w.id, .first = w.first_id, .uid = geteuid() },
		    ticket);
	tcp_hello(&child, address, "", ticket);
	take_hello_ok(&child);
	assert_true(child.id == w.first_id);
	wire_close(&child);
	/* A ticket that claims to be the broker's own is not what the key of a block can make. */
	ticket_mint(w.ids_key, &(struct ticket){ .id = w.first_id, .uid = geteuid() }, ticket);
	tcp_hello(&child, address, "", ticket);
	wire_expect_refused(&child, "hello.denied");
	wire_close(&child);
	/* The one it gave is. */
	memcpy(own, w.ticket, TICKET_SIZE);
	tcp_hello(&child, address, "", own);
	take_hello_ok(&child);
	assert_true(child.id == w.id);
	wire_expect_refused(&w, "fenced");
	wire_close(&w);
	wire_close(&child);
	wire_leave(&local);
	wire_broker_deinit(&b);
}

static void test_plain_tcp_stays_at_home(void **state)
{
	struct wire_broker b;
	char text[1024];

	(void)state;
	wire_broker_init(&b);
	assert_int_equal(
		wire_broker_try(&b, (const char *[]){ "--listen", "tcp://0.0.0.0:0", NULL }, text, sizeof(text)), 2);
	assert_non_null(strstr(text, "plain TCP would show messages and the cookie to the network"));
	wire_broker_deinit(&b);
}

/*
 * Coming back.
 */

static void resume(struct wire *w, const struct wire_broker *b, uint64_t parent)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	uint8_t ticket[TICKET_SIZE];
	uint64_t id = w->id;

	memcpy(ticket, w->ticket, sizeof(ticket));
	wire_close(w);
	wire_connect(w, b->socket);
	hello.level = 1;
	hello.ids = 1;
	hello.ticket = (ProtobufCBinaryData){ sizeof(ticket), ticket };
	wire_hello(w, &hello);
	assert_true(w->id == id);
	assert_true(w->parent == parent);
}

static void expect_about(struct wire *w, enum frame_kind kind, uint64_t id)
{
	struct frame f = wire_expect(w, kind);

	assert_true(f.source == id);
	assert_int_equal(f.flags, kind == FRAME_HOLD ? FRAME_AWAY : 0);
}

/* Nothing is lost when the broker is killed: ids stay, who is not back yet is away, families find each other again. */
static void test_processes_survive_a_killed_broker(void **state)
{
	struct wire_broker b;
	struct wire parent, child, friend;
	uint64_t old_block;

	(void)state;
	wire_broker_init(&b);
	wire_broker_start(&b, NULL);
	wire_open(&parent, &b, 1);
	wire_open(&friend, &b, 0);
	old_block = parent.first_id;
	ticket_mint(parent.ids_key,
		    &(struct ticket){ .id = old_block, .parent = parent.id, .first = old_block, .uid = geteuid() },
		    child.ticket);
	assert_int_equal(wire_broker_stop(&b, SIGKILL), -SIGKILL);
	wire_broker_start(&b, NULL);
	resume(&friend, &b, 0);
	assert_true(friend.first_id >> 32 > friend.id >> 32);
	wire_data(&friend, old_block, 1, "too early");
	expect_about(&friend, FRAME_HOLD, old_block);
	/* The child comes before its parent. */
	{
		uint8_t ticket[TICKET_SIZE];

		memcpy(ticket, child.ticket, sizeof(ticket));
		wire_connect(&child, b.socket);
		memcpy(child.ticket, ticket, sizeof(ticket));
		child.id = old_block;
	}
	resume(&child, &b, parent.id);
	expect_about(&friend, FRAME_GO, old_block);
	wire_data(&friend, old_block, 1, "again");
	wire_expect_data(&child, friend.id, "again");
	wire_data(&child, parent.id, 1, "too early");
	expect_about(&child, FRAME_HOLD, parent.id);
	resume(&parent, &b, 0);
	expect_about(&child, FRAME_GO, parent.id);
	wire_data(&child, parent.id, 1, "again");
	wire_expect_data(&parent, child.id, "again");
	/* It is a spawned child still: without a goodbye it is lost, not gone, and its parent has the last word. */
	wire_close(&child);
	expect_about(&friend, FRAME_HOLD, old_block);
	{
		Brood__Died died = BROOD__DIED__INIT;
		Brood__End *end;

		died.id = old_block;
		wire_say(&parent, FRAME_DIED, &died.base, -1);
		end = wire_expect_body(&parent, FRAME_END, &brood__end__descriptor);
		assert_true(end->id == old_block && end->last == 1);
		guard_free(&end->base);
	}
	wire_expect_gone(&friend, old_block, BROOD__WHY__WHY_EXITED);
	wire_leave(&parent);
	wire_leave(&friend);
	wire_broker_deinit(&b);
}

/* After a clean end nobody is waited for. */
static void test_ids_grow_and_the_past_is_past(void **state)
{
	struct wire_broker b;
	struct wire w;
	uint64_t before;

	(void)state;
	wire_broker_init(&b);
	for (int i = 0; i < 3; i++) {
		before = i ? w.id : 0;
		wire_broker_start(&b, NULL);
		wire_open(&w, &b, 0);
		assert_true(w.id >> 32 > before >> 32);
		wire_data(&w, before ? before : 4711, 1, "anybody there?");
		wire_expect_gone(&w, before ? before : 4711, BROOD__WHY__WHY_NOBODY);
		wire_leave(&w);
		assert_int_equal(wire_broker_stop(&b, SIGTERM), 0);
	}
	wire_broker_deinit(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_second_broker_is_refused),
		cmocka_unit_test(test_standard_descriptors_are_closed),
		cmocka_unit_test(test_directory_of_others_is_refused),
		cmocka_unit_test(test_files_are_for_their_owner_only),
		cmocka_unit_test(test_readiness_is_notified),
		cmocka_unit_test(test_inherited_socket),
		cmocka_unit_test(test_drain_lets_everybody_finish),
		cmocka_unit_test(test_drain_is_limited),
		cmocka_unit_test(test_second_signal_does_not_wait),
		cmocka_unit_test(test_private_broker_leaves_when_idle),
		cmocka_unit_test(test_leaving_is_not_a_race),
		cmocka_unit_test(test_idle_time_from_the_environment),
		cmocka_unit_test(test_private_broker_that_cannot_start_says_so),
		cmocka_unit_test(test_lost_socket),
		cmocka_unit_test(test_tcp_needs_cookie_or_ticket),
		cmocka_unit_test(test_plain_tcp_stays_at_home),
		cmocka_unit_test(test_processes_survive_a_killed_broker),
		cmocka_unit_test(test_ids_grow_and_the_past_is_past),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
