/*
 * broker_configured: a broker with a configuration file: what is printed and refused, limits that are hit, and reloads. Each
 * test has a broker of its own, and hears through NOTIFY_SOCKET when a reload is done.
 */
#include "confine.h"
#include "dial.h"
#include "guard.h"
#include "wire.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000

struct setup {
	struct wire_broker broker;
	char file[96];
	int notify;
};

static struct setup setup;

static char *path_of(const char *name)
{
	static char paths[4][128];
	static int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", setup.broker.dir, name);
	return path;
}

static void configure(const char *text)
{
	FILE *file = fopen(setup.file, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(setup.file, 0600), 0);
}

static int begin(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	(void)state;
	wire_broker_init(&setup.broker);
	snprintf(setup.file, sizeof(setup.file), "%s/broodd.conf", setup.broker.dir);
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path_of("notify"));
	setup.notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(setup.notify, (struct sockaddr *)&un, sizeof(un)), 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	close(setup.notify);
	wire_broker_deinit(&setup.broker);
	return 0;
}

/* The next thing that the service manager is told. */
static char *told(void)
{
	static char text[4096];
	struct pollfd p = { .fd = setup.notify, .events = POLLIN };
	ssize_t n;

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	n = recv(setup.notify, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	return text;
}

static void start(const char *text, const char *const *flags)
{
	const char *all[16] = { "--config", setup.file };
	int n = 2;

	while (flags && *flags)
		all[n++] = *flags++;
	configure(text);
	setenv("NOTIFY_SOCKET", path_of("notify"), 1);
	wire_broker_start(&setup.broker, all);
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(strncmp(told(), "READY=1\n", 8), 0);
}

static void reload(const char *text)
{
	if (text)
		configure(text);
	assert_int_equal(kill(setup.broker.pid, SIGHUP), 0);
	assert_int_equal(strncmp(told(), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
	assert_int_equal(strncmp(told(), "READY=1\n", 8), 0);
}

/* The broker has logged a line with both; returns how many. */
static int logged(const char *event, const char *words)
{
	char line[8192];
	FILE *log = fopen(path_of("stderr"), "r");
	int n = 0;

	assert_non_null(log);
	while (fgets(line, sizeof(line), log))
		n += strstr(line, event) && strstr(line, words);
	fclose(log);
	return n;
}

/* The next frame is GOODBYE{REFUSED} for this reason, in these words, and tells what to do. */
static void expect_refused(struct wire *w, const char *error, const char *text)
{
	Brood__Goodbye *goodbye = wire_expect_body(w, FRAME_GOODBYE, &brood__goodbye__descriptor);
	struct frame f;

	assert_int_equal(goodbye->parting, BROOD__PARTING__PARTING_REFUSED);
	assert_string_equal(goodbye->error, error);
	assert_int_equal(goodbye->code, -EDQUOT);
	assert_string_equal(goodbye->text, text);
	assert_non_null(strstr(goodbye->hint, "broodd.conf"));
	guard_free(&goodbye->base);
	assert_int_equal(wire_next(w, &f, PATIENCE_MS), 0);
	wire_close(w);
}

static void expect_refusal(const char *error, const char *text)
{
	int before = logged("session.refused", text);
	struct wire w;

	wire_connect(&w, setup.broker.socket);
	expect_refused(&w, error, text);
	assert_int_equal(logged("session.refused", text), before + 1);
}

/* Says HELLO, and returns the kind of the answer. */
static int greet(struct wire *w)
{
	const struct frame hello = { .kind = FRAME_HELLO };
	uint8_t bytes[FRAME_HEAD];
	struct frame f;

	wire_connect(w, setup.broker.socket);
	frame_write_head(bytes, &hello);
	(void)send(w->channel.out_fd, bytes, sizeof(bytes), MSG_NOSIGNAL); /* it may have closed already */
	assert_int_equal(wire_next(w, &f, PATIENCE_MS), 1);
	w->id = 0;
	if (f.kind == FRAME_HELLO_OK) {
		ProtobufCMessage *ok;

		assert_int_equal(guard_unpack(&brood__hello_ok__descriptor, f.body, f.length, 1, &ok), 0);
		w->id = ((const Brood__HelloOk *)ok)->id;
		guard_free(ok);
	}
	return f.kind;
}

/* Until one more is let in: those who left may not be freed yet. */
static void open_when_possible(struct wire *w)
{
	for (int i = 0; i < PATIENCE_MS / 10 && greet(w) != FRAME_HELLO_OK; i++) {
		wire_close(w);
		usleep(10000);
	}
	assert_true(w->id != 0);
}

/*
 * Without running.
 */

static void test_test_and_print(void **state)
{
	char text[16384], expected[512];
	const char *flags[] = { "--config", setup.file, "-t", NULL };

	(void)state;
	configure("[broker]\nidle = 90s\n[limits]\nnames-per-process = 9 ; few\n");
	assert_int_equal(wire_broker_try(&setup.broker, flags, text, sizeof(text)), 0);
	snprintf(expected, sizeof(expected), "%s: fine\n", setup.file);
	assert_string_equal(text, expected);
	flags[2] = "--print-config";
	setenv("BROODD_AWAY", "3s", 1);
	assert_int_equal(wire_broker_try(&setup.broker, flags, text, sizeof(text)), 0);
	unsetenv("BROODD_AWAY");
	snprintf(expected, sizeof(expected), "\ndir = %s ; --dir\n", setup.broker.dir);
	assert_non_null(strstr(text, expected));
	snprintf(expected, sizeof(expected), "\nidle = 90s ; %s:2\n", setup.file);
	assert_non_null(strstr(text, expected));
	snprintf(expected, sizeof(expected), "\nnames-per-process = 9 ; %s:4\n", setup.file);
	assert_non_null(strstr(text, expected));
	assert_non_null(strstr(text, "\naway = 3s ; BROODD_AWAY\n"));
	assert_non_null(strstr(text, "\nnames-per-user = 65536 ; default\n"));
	assert_int_equal(access(path_of("lock"), F_OK), -1); /* nothing was begun */
	/* All mistakes, wherever they are. */
	configure("[broker]\nidel = 90s\n[limits]\nnames-per-process = many\n");
	for (int i = 0; i < 2; i++) {
		flags[2] = i == 0 ? "-t" : NULL;
		assert_int_equal(wire_broker_try(&setup.broker, flags, text, sizeof(text)), 2);
		snprintf(expected, sizeof(expected),
			 "broodd: %s:2: idel: there is no such key in [broker]; did you mean idle?\n"
			 "broodd: %s:4: limits.names-per-process: \"many\" is not a number; write digits, from 1 to "
			 "65535\n",
			 setup.file, setup.file);
		assert_string_equal(text, expected);
	}
}

static void test_a_file_that_others_can_write(void **state)
{
	const char *flags[] = { "--config", setup.file, NULL };
	char text[1024];

	(void)state;
	configure("");
	assert_int_equal(chmod(setup.file, 0606), 0);
	assert_int_equal(wire_broker_try(&setup.broker, flags, text, sizeof(text)), 2);
	assert_non_null(strstr(text, "others than its owner can write to it"));
	assert_non_null(strstr(text, setup.file));
}

/* A line of /proc/PID/status, behind its name. */
static unsigned long long status_of(pid_t pid, const char *name, int base)
{
	char path[64], line[256];
	unsigned long long value = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
			value = strtoull(line + strlen(name) + 1, NULL, base);
	fclose(file);
	return value;
}

/* unit.broker_confine tries what that means. */
static void test_it_is_confined(void **state)
{
	struct rlimit core;

	(void)state;
	start("", NULL);
	assert_int_equal(status_of(setup.broker.pid, "NoNewPrivs", 10), 1);
	assert_int_equal(status_of(setup.broker.pid, "Seccomp", 10), CONFINE_SANITIZED ? 0 : 2);
	assert_int_equal(status_of(setup.broker.pid, "CapPrm", 16) &
				 ~(1ull << CAP_NET_BIND_SERVICE | 1ull << CAP_SYS_RESOURCE),
			 0);
	assert_int_equal(status_of(setup.broker.pid, "Umask", 8), 077);
	assert_int_equal(prlimit(setup.broker.pid, RLIMIT_CORE, NULL, &core), 0);
	assert_int_equal(core.rlim_max, 0);
	assert_int_equal(logged("info start", "confined=yes"), 1);
}

static void test_it_is_not_confined(void **state)
{
	(void)state;
	start("[broker]\nconfine = no\n", NULL);
	assert_int_equal(status_of(setup.broker.pid, "Seccomp", 10), status_of(getpid(), "Seccomp", 10));
	assert_int_equal(logged("info start", "confined=no"), 1);
	reload("[broker]\nconfine = yes\n");
	assert_int_equal(logged("warn reload.later", "broker.confine: it cannot change while the broker runs"), 1);
}

/*
 * Limits.
 */

static void test_sessions_are_limited(void **state)
{
	struct wire w[3];
	char text[128];

	(void)state;
	start("[limits]\nsessions-per-user = 2\n", NULL);
	open_when_possible(&w[0]); /* the one by which it was seen to listen may still be there */
	open_when_possible(&w[1]);
	snprintf(text, sizeof(text), "user %u has 2 sessions, the most allowed (limits.sessions-per-user = 2)",
		 getuid());
	expect_refusal("limit.sessions", text);
	/* A reload changes it, for more and for less, and disconnects nobody. */
	reload("[limits]\nsessions-per-user = 3\n");
	wire_open(&w[2], &setup.broker, 0);
	reload("[limits]\nsessions-per-user = 1\n");
	snprintf(text, sizeof(text), "user %u has 3 sessions, the most allowed (limits.sessions-per-user = 1)",
		 getuid());
	expect_refusal("limit.sessions", text);
	wire_data(&w[0], w[1].id, 1, "still here");
	wire_expect_data(&w[1], w[0].id, "still here");
	reload("[limits]\nsessions = 3\n"); /* the other is its default again */
	expect_refusal("limit.sessions", "there are 3 sessions, the most allowed (limits.sessions = 3)");
	wire_leave(&w[2]);
	open_when_possible(&w[2]);
	for (int i = 0; i < 3; i++)
		wire_leave(&w[i]);
}

static void test_greetings_are_limited(void **state)
{
	struct wire silent, w;
	char text[128];

	(void)state;
	start("[limits]\ngreetings-per-user = 1\nhello-timeout = 10min\n", NULL);
	open_when_possible(&w); /* says HELLO, and is none any more */
	wire_connect(&silent, setup.broker.socket);
	snprintf(text, sizeof(text),
		 "user %u has 1 connections without a HELLO, the most allowed (limits.greetings-per-user = 1)",
		 getuid());
	expect_refusal("limit.greetings", text);
	/* The new time counts for those, too, who are waiting: it would be ten minutes otherwise. */
	reload("[limits]\nhello-timeout = 100ms\n");
	wire_expect_refused(&silent, "hello.timeout");
	wire_close(&silent);
	wire_leave(&w);
}

static void test_the_rate_is_limited(void **state)
{
	struct wire w[3];
	char text[128];

	(void)state;
	start("", NULL);
	reload("[limits]\nconnections-per-user = 1\nconnection-burst = 3\n");
	for (int i = 0; i < 3; i++)
		wire_open(&w[i], &setup.broker, 0);
	snprintf(text, sizeof(text), "user %u connects more than 1 times a second (limits.connections-per-user = 1)",
		 getuid());
	for (int i = 0; i < 3; i++)
		wire_leave(&w[i]);
	/* Tokens come back meanwhile, but not so fast. */
	for (int i = 0; i < 1000 && greet(&w[0]) == FRAME_HELLO_OK; i++)
		wire_leave(&w[0]);
	wire_close(&w[0]);
	assert_true(logged("error=limit.rate", text) > 0);
	open_when_possible(&w[0]); /* a moment later there is one again */
	wire_leave(&w[0]);
}

static void expect_name(struct wire *w, const char *name, const char *error, const char *text)
{
	Brood__Register body = BROOD__REGISTER__INIT;
	Brood__Registered *answer;

	body.name = (char *)(uintptr_t)name;
	wire_say(w, FRAME_REGISTER, &body.base, -1);
	answer = wire_expect_body(w, FRAME_REGISTERED, &brood__registered__descriptor);
	assert_string_equal(answer->name, name);
	assert_string_equal(answer->error, error);
	assert_string_equal(answer->text, text);
	if (error[0])
		assert_non_null(strstr(answer->hint, "broodd.conf"));
	guard_free(&answer->base);
	if (error[0])
		assert_int_equal(logged("name.refused", text), 1);
}

static void test_names_are_limited(void **state)
{
	struct wire a, b;
	char text[128], id[ID_TEXT];

	(void)state;
	start("[limits]\nnames-per-process = 1\nnames-per-user = 2\n", NULL);
	wire_open(&a, &setup.broker, 0);
	wire_open(&b, &setup.broker, 0);
	expect_name(&a, "one", "", "");
	snprintf(text, sizeof(text), "process %s has 1 names, the most allowed (limits.names-per-process = 1)",
		 id_format(a.id, id));
	expect_name(&a, "two", "limit.names", text);
	reload("[limits]\nnames-per-user = 2\n");
	expect_name(&b, "two", "", "");
	snprintf(text, sizeof(text), "user %u has 2 names, the most allowed (limits.names-per-user = 2)", getuid());
	expect_name(&a, "three", "limit.names", text);
	reload("");
	expect_name(&a, "three", "", "");
	wire_leave(&a);
	wire_leave(&b);
}

static void test_destinations_are_limited(void **state)
{
	struct wire a, b;
	char text[160], id[ID_TEXT];

	(void)state;
	start("[limits]\ndestinations-per-process = 1\n", NULL);
	wire_open(&a, &setup.broker, 0);
	wire_open(&b, &setup.broker, 0);
	wire_data(&a, b.id, 1, "one");
	wire_expect_data(&b, a.id, "one");
	wire_data(&a, a.id, 1, "two");
	snprintf(text, sizeof(text),
		 "process %s writes to 1 others, the most allowed (limits.destinations-per-process = 1)",
		 id_format(a.id, id));
	expect_refused(&a, "limit.destinations", text);
	wire_expect_gone(&b, a.id, BROOD__WHY__WHY_CLOSED);
	wire_leave(&b);
}

/*
 * Reloads.
 */

static void test_a_bad_reload_changes_nothing(void **state)
{
	struct wire a, b;
	char words[256], before[128], text[256];

	(void)state;
	start("[limits]\nsessions-per-user = 2\n", NULL);
	open_when_possible(&a);
	open_when_possible(&b);
	snprintf(text, sizeof(text),
		 "[limits]\nsessions-per-user = 9\n[broker]\nlisten = unix:%s\nidel = 9s\nlog-level = loud\n",
		 path_of("more"));
	reload(text);
	snprintf(words, sizeof(words), "%s:5: idel: there is no such key in [broker]; did you mean idle?", setup.file);
	assert_int_equal(logged("error reload.failed", words), 1);
	snprintf(words, sizeof(words), "%s:6: broker.log-level: ", setup.file);
	assert_int_equal(logged("error reload.failed", words), 1);
	assert_int_equal(logged("reload.done", ""), 0);
	assert_int_equal(access(path_of("more"), F_OK), -1);
	snprintf(before, sizeof(before), "user %u has 2 sessions, the most allowed (limits.sessions-per-user = 2)",
		 getuid());
	expect_refusal("limit.sessions", before);
	/* Right, but it cannot be: one address works, the other does not. */
	snprintf(text, sizeof(text),
		 "[limits]\nsessions-per-user = 9\n[broker]\nlisten = unix:%s unix:/nonexistent/x\n", path_of("more"));
	reload(text);
	assert_int_equal(logged("error reload.failed", "cannot listen on unix:/nonexistent/x: "), 1);
	assert_int_equal(logged("reload.done", ""), 0);
	assert_int_equal(access(path_of("more"), F_OK), -1);
	expect_refusal("limit.sessions", before);
	wire_data(&a, b.id, 1, "as before");
	wire_expect_data(&b, a.id, "as before");
	/* Not there any more: the defaults are not what it was told. */
	assert_int_equal(unlink(setup.file), 0);
	reload(NULL);
	assert_int_equal(logged("error reload.failed", "cannot be read: No such file"), 1);
	snprintf(text, sizeof(text), "[limits]\nsessions-per-user = 3\n[broker]\nlisten = unix:%s\n", path_of("more"));
	reload(text);
	assert_int_equal(logged("info reload.done", "files=1"), 1);
	assert_int_equal(access(path_of("more"), F_OK), 0);
	wire_leave(&a);
	wire_leave(&b);
}

static void test_what_cannot_change(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	Brood__HelloOk *ok;
	struct wire w;

	(void)state;
	start("[broker]\nnode = first\nlog-level = info\n", NULL);
	reload("[broker]\nnode = second\nlog-level = debug\n");
	assert_int_equal(logged("warn reload.later",
				"broker.node: it cannot change while the broker runs; restart it to have second"),
			 1);
	assert_int_equal(logged("reload.later", ""), 1); /* nothing of the directory, which a flag says */
	wire_connect(&w, setup.broker.socket);
	wire_say(&w, FRAME_HELLO, &hello.base, -1);
	ok = wire_expect_body(&w, FRAME_HELLO_OK, &brood__hello_ok__descriptor);
	assert_string_equal(ok->node, "first");
	guard_free(&ok->base);
	assert_int_equal(logged("debug process.came", ""), 1); /* the level counts from now on */
	wire_close(&w);
}

/* The address in DIR/tcp; "": there is none. */
static char *tcp_address(char to[64])
{
	FILE *file = fopen(path_of("tcp"), "r");

	to[0] = '\0';
	if (!file)
		return to;
	assert_non_null(fgets(to, 64, file));
	fclose(file);
	to[strcspn(to, "\n")] = '\0';
	return to;
}

static void test_addresses_come_and_go(void **state)
{
	char text[512], first[64], second[64], other[112];
	struct wire a, b, early;

	(void)state;
	start("[broker]\nlisten = tcp://127.0.0.1:0\n", NULL);
	tcp_address(first);
	assert_int_equal(strncmp(first, "tcp://127.0.0.1:", 16), 0);
	wire_open(&a, &setup.broker, 0);
	wire_connect(&early, first); /* its address goes before it has said anything */
	snprintf(other, sizeof(other), "unix:%s", path_of("other"));
	snprintf(text, sizeof(text), "[broker]\nlisten = %s tcp://127.0.0.1:0\n", other);
	reload(text);
	assert_string_equal(tcp_address(second), first); /* that one stays */
	wire_connect(&b, other);
	wire_hello(&b, &(Brood__Hello)BROOD__HELLO__INIT);
	snprintf(text, sizeof(text), "[broker]\nlisten = unix:%s\n", path_of("third"));
	reload(text);
	assert_string_equal(tcp_address(second), "");
	assert_int_equal(access(path_of("other"), F_OK), -1);
	assert_int_equal(access(path_of("third"), F_OK), 0);
	assert_int_equal(logged("info listen", path_of("third")), 1);
	/* Who came that way stays. */
	wire_data(&b, a.id, 1, "by a door that is shut");
	wire_expect_data(&a, b.id, "by a door that is shut");
	wire_raw(&early, "nonsense", 8);
	wire_raw(&early, "nonsense nonsense nonsense nonsense nonsense nonsense nonsense", 56);
	wire_expect_refused(&early, "frame.magic");
	wire_close(&early);
	/* The socket in the directory is always there, also if it was named and is not any more. */
	snprintf(text, sizeof(text), "[broker]\nlisten = %s\n", setup.broker.socket);
	reload(text);
	reload("");
	assert_int_equal(access(path_of("third"), F_OK), -1);
	wire_leave(&b);
	wire_open(&b, &setup.broker, 0);
	wire_leave(&a);
	wire_leave(&b);
}

static void greet_at(const char *address)
{
	struct wire w;

	wire_connect(&w, address);
	wire_hello(&w, &(Brood__Hello)BROOD__HELLO__INIT);
	wire_leave(&w);
}

/* Whatever comes and goes in between, those that are listened on answer. */
static void test_every_address_answers(void **state)
{
	static const char *const steps[] = { "abc", "cd", "dabef", "f", "fedcba", "ace", "bdf", "abcdef" };
	char text[1024], one[128];

	(void)state;
	start("", NULL);
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		strcpy(text, "[broker]\nlisten =");
		for (const char *c = steps[i]; *c; c++) {
			snprintf(one, sizeof(one), " unix:%s/%c", setup.broker.dir, *c);
			strcat(text, one);
		}
		strcat(text, "\n");
		reload(text);
		for (char c = 'a'; c <= 'f'; c++) {
			snprintf(one, sizeof(one), "unix:%s/%c", setup.broker.dir, c);
			assert_int_equal(access(one + 5, F_OK) == 0, strchr(steps[i], c) != NULL);
			if (strchr(steps[i], c))
				greet_at(one);
		}
		greet_at(setup.broker.socket);
	}
}

#define KNOCKING 300 /* more than are accepted at once */

/* They have connected, and the broker has not looked yet, when their address goes. */
static void test_who_is_at_the_door(void **state)
{
	static struct wire w[KNOCKING];
	char text[256], address[112];

	(void)state;
	snprintf(address, sizeof(address), "unix:%s", path_of("door"));
	snprintf(text, sizeof(text), "[broker]\nlisten = %s\n", address);
	start(text, NULL);
	assert_int_equal(kill(setup.broker.pid, SIGSTOP), 0);
	for (int i = 0; i < KNOCKING; i++)
		wire_connect(&w[i], address);
	configure("");
	assert_int_equal(kill(setup.broker.pid, SIGHUP), 0);
	assert_int_equal(kill(setup.broker.pid, SIGCONT), 0);
	for (int i = 0; i < KNOCKING; i++)
		wire_hello(&w[i], &(Brood__Hello)BROOD__HELLO__INIT);
	assert_int_equal(access(path_of("door"), F_OK), -1);
	for (int i = 0; i < KNOCKING; i++)
		wire_leave(&w[i]);
}

static void say_hello_by_tcp(struct wire *w, const uint8_t *ticket)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	char address[64], cookie[80];
	FILE *file = fopen(path_of("cookie"), "r");

	assert_non_null(file);
	assert_non_null(fgets(cookie, sizeof(cookie), file));
	fclose(file);
	cookie[strcspn(cookie, "\n")] = '\0';
	if (ticket)
		hello.ticket = (ProtobufCBinaryData){ TICKET_SIZE, (uint8_t *)(uintptr_t)ticket };
	else
		hello.cookie = (ProtobufCBinaryData){ strlen(cookie), (uint8_t *)cookie };
	wire_connect(w, tcp_address(address));
	wire_say(w, FRAME_HELLO, &hello.base, -1);
}

/* Who comes that way is told the address for its children, also if it is new. */
static void test_tcp_comes_later(void **state)
{
	char address[64];
	Brood__HelloOk *ok;
	struct wire w;

	(void)state;
	start("", NULL);
	reload("[broker]\nlisten = tcp://127.0.0.1:0\n");
	say_hello_by_tcp(&w, NULL);
	ok = wire_expect_body(&w, FRAME_HELLO_OK, &brood__hello_ok__descriptor);
	assert_string_equal(ok->address, tcp_address(address));
	guard_free(&ok->base);
	wire_close(&w);
}

/* Named pipes, too; whoever has come by them stays. */
static void test_fifos_come_and_go(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	char text[128], why[256];
	struct address a;
	struct knock k;
	struct wire w, other;
	int in, out;

	(void)state;
	start("", NULL);
	snprintf(text, sizeof(text), "fifo:%s", setup.broker.dir);
	assert_int_equal(address_parse(text, &a, why, sizeof(why)), 0);
	assert_int_equal(knock(&k, &a, &in, &out), -ENOENT);
	reload("[broker]\nlisten = fifo:\n");
	wire_connect(&w, text);
	wire_hello(&w, &hello);
	reload("[broker]\nlisten = fifo: tcp://127.0.0.1:0\n"); /* as before */
	wire_connect(&other, text);
	wire_hello(&other, &hello);
	reload("[broker]\n");
	assert_int_equal(knock(&k, &a, &in, &out), -ENOENT);
	wire_data(&w, other.id, 1, "still here");
	wire_expect_data(&other, w.id, "still here");
	reload("[broker]\nlisten = fifo:\n");
	wire_leave(&w);
	wire_connect(&w, text);
	wire_hello(&w, &hello);
	wire_leave(&w);
	wire_leave(&other);
}

/* Over FIFOs the directory says whose a session is: it counts as over a Unix socket. */
static void test_sessions_over_fifos_count(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT;
	char text[128];
	struct wire w, other;

	(void)state;
	start("[broker]\nlisten = fifo:\n[limits]\nsessions-per-user = 1\n", NULL);
	open_when_possible(&other);
	wire_leave(&other);
	snprintf(text, sizeof(text), "fifo:%s", setup.broker.dir);
	for (int i = 0; i < 2000; i++) { /* until the one before is gone */
		struct frame f;

		wire_connect(&w, text);
		wire_say(&w, FRAME_HELLO, &hello.base, -1);
		assert_int_equal(wire_next(&w, &f, 20000), 1);
		if (f.kind == FRAME_HELLO_OK)
			break;
		wire_close(&w);
		usleep(10000);
	}
	wire_connect(&other, text);
	wire_expect_refused(&other, "limit.sessions");
	wire_close(&other);
	wire_close(&w);
}

/* Whichever way they come: over TCP as who they say they are, with a ticket, or as a child on its parent's word. */
static void test_every_session_counts(void **state)
{
	Brood__Adopt adopt = BROOD__ADOPT__INIT;
	struct wire parent, lost, other, w;
	char text[128];
	int ends[2];

	(void)state;
	start("[broker]\nlisten = tcp://127.0.0.1:0\n", NULL);
	wire_open(&lost, &setup.broker, 0);
	wire_open(&parent, &setup.broker, 1);
	wire_close(&lost); /* has a ticket, and comes back with it */
	reload("[broker]\nlisten = tcp://127.0.0.1:0\n[limits]\nsessions-per-user = 2\n");
	open_when_possible(&other);
	snprintf(text, sizeof(text), "user %u has 2 sessions, the most allowed (limits.sessions-per-user = 2)",
		 geteuid());
	say_hello_by_tcp(&w, NULL);
	expect_refused(&w, "limit.sessions", text);
	say_hello_by_tcp(&w, lost.ticket);
	expect_refused(&w, "limit.sessions", text);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	adopt.id = parent.first_id;
	adopt.uid = geteuid();
	wire_say(&parent, FRAME_ADOPT, &adopt.base, ends[0]);
	wire_take(&w, ends[1]);
	expect_refused(&w, "limit.sessions", text);
	wire_leave(&other);
	say_hello_by_tcp(&w, lost.ticket);
	guard_free(wire_expect_body(&w, FRAME_HELLO_OK, &brood__hello_ok__descriptor));
	wire_close(&w);
	wire_leave(&parent);
}

/* Times that run count from now on as the file says. */
static void test_times_change(void **state)
{
	struct wire a, b;

	(void)state;
	start("[broker]\naway = 168h\nidle = 168h\n", NULL);
	wire_open(&a, &setup.broker, 0);
	wire_open(&b, &setup.broker, 0);
	wire_data(&b, a.id, 1, "known to each other");
	wire_expect_data(&a, b.id, "known to each other");
	wire_close(&a);
	assert_int_not_equal(wire_expect(&b, FRAME_HOLD).flags & FRAME_AWAY, 0);
	reload("[broker]\naway = 1ms\nidle = 168h\n");
	wire_expect_gone(&b, a.id, BROOD__WHY__WHY_LOST);
	wire_leave(&b);
	reload("[broker]\nidle = 168h\n"); /* nobody is there when this is done, and the long time has begun */
	configure("[broker]\nidle = 1ms\n");
	assert_int_equal(kill(setup.broker.pid, SIGHUP), 0);
	assert_int_equal(waitpid(setup.broker.pid, NULL, 0), setup.broker.pid);
	setup.broker.pid = 0;
}

#define MESSAGES 20000u
#define RELOADS 40u

/* Sends, with half of the broker's addresses changing all the time, and new limits. */
static void test_reloads_under_traffic(void **state)
{
	struct wire a, b, c;
	char text[512], message[32];
	unsigned sent = 0, got = 0;

	(void)state;
	start("", NULL);
	wire_open(&a, &setup.broker, 0);
	wire_open(&b, &setup.broker, 0);
	for (unsigned i = 0; i < RELOADS; i++) {
		snprintf(text, sizeof(text),
			 "[broker]\nlisten = unix:%s tcp://127.0.0.1:0\n[limits]\nqueue-per-sender = %uM\n%s\n",
			 path_of(i % 2 ? "odd" : "even"), 1 + i % 8, i % 5 == 4 ? "wrong" : "");
		configure(text);
		assert_int_equal(kill(setup.broker.pid, SIGHUP), 0);
		for (unsigned end = (i + 1) * (MESSAGES / RELOADS); sent < end; sent++) {
			snprintf(message, sizeof(message), "%u", sent);
			wire_data(&a, b.id, sent + 1, message);
		}
		for (; got < sent; got++) {
			snprintf(message, sizeof(message), "%u", got);
			wire_expect_data(&b, a.id, message);
		}
		assert_int_equal(strncmp(told(), "RELOADING=1\n", 12), 0);
		assert_int_equal(strncmp(told(), "READY=1\n", 8), 0);
		wire_open(&c, &setup.broker, 0);
		wire_leave(&c);
	}
	assert_int_equal(got, MESSAGES);
	assert_int_equal(logged("reload.done", ""), RELOADS - RELOADS / 5);
	assert_int_equal(logged("reload.failed", ""), RELOADS / 5);
	wire_leave(&a);
	wire_leave(&b);
}

/* Without --config, the user's own file; and it may come later. */
static void test_the_users_file(void **state)
{
	char text[16384];

	(void)state;
	setenv("XDG_CONFIG_HOME", setup.broker.dir, 1);
	assert_int_equal(mkdir(path_of("brood"), 0700), 0);
	snprintf(setup.file, sizeof(setup.file), "%s/brood/broodd.conf", setup.broker.dir);
	assert_int_equal(
		wire_broker_try(&setup.broker, (const char *[]){ "--private", "-t", NULL }, text, sizeof(text)), 0);
	assert_non_null(strstr(text, "no configuration file"));
	configure("[broker]\nidle = 1h\n");
	assert_int_equal(wire_broker_try(&setup.broker, (const char *[]){ "--private", "--print-config", NULL }, text,
					 sizeof(text)),
			 0);
	assert_non_null(strstr(text, "\nidle = 1h ; "));
	configure("idle = 1h\n");
	assert_int_equal(wire_broker_try(&setup.broker, (const char *[]){ "--private", NULL }, text, sizeof(text)), 2);
	assert_non_null(strstr(text, ":1: idle: it belongs to another section; move it behind [broker]\n"));
	unsetenv("XDG_CONFIG_HOME");
}

/* Of a terminal that was closed, SIGHUP is an end; the broker has nobody to talk to. */
static void test_the_terminal_hangs_up(void **state)
{
	const char *program = getenv("BROOD_BROKER");
	int master, slave, status;
	struct wire w;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	fcntl(master, F_SETFD, FD_CLOEXEC);
	setup.broker.pid = fork();
	if (setup.broker.pid == 0) {
		dup2(slave, STDERR_FILENO);
		close(slave);
		execl(program, "broodd", "--dir", setup.broker.dir, NULL);
		_exit(127);
	}
	close(slave);
	for (int i = 0; i < PATIENCE_MS / 10 && access(path_of("sock"), F_OK) < 0; i++)
		usleep(10000);
	wire_open(&w, &setup.broker, 0);
	assert_int_equal(kill(setup.broker.pid, SIGHUP), 0); /* a reload: the terminal is there */
	wire_expect_silence(&w);
	close(master);
	assert_int_equal(kill(setup.broker.pid, SIGHUP), 0);
	guard_free(wire_expect_body(&w, FRAME_GOODBYE, &brood__goodbye__descriptor));
	wire_close(&w);
	assert_int_equal(waitpid(setup.broker.pid, &status, 0), setup.broker.pid);
	setup.broker.pid = 0;
	assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_test_and_print, begin, end),
		cmocka_unit_test_setup_teardown(test_a_file_that_others_can_write, begin, end),
		cmocka_unit_test_setup_teardown(test_the_users_file, begin, end),
		cmocka_unit_test_setup_teardown(test_it_is_confined, begin, end),
		cmocka_unit_test_setup_teardown(test_it_is_not_confined, begin, end),
		cmocka_unit_test_setup_teardown(test_sessions_are_limited, begin, end),
		cmocka_unit_test_setup_teardown(test_greetings_are_limited, begin, end),
		cmocka_unit_test_setup_teardown(test_the_rate_is_limited, begin, end),
		cmocka_unit_test_setup_teardown(test_names_are_limited, begin, end),
		cmocka_unit_test_setup_teardown(test_destinations_are_limited, begin, end),
		cmocka_unit_test_setup_teardown(test_a_bad_reload_changes_nothing, begin, end),
		cmocka_unit_test_setup_teardown(test_what_cannot_change, begin, end),
		cmocka_unit_test_setup_teardown(test_addresses_come_and_go, begin, end),
		cmocka_unit_test_setup_teardown(test_every_address_answers, begin, end),
		cmocka_unit_test_setup_teardown(test_who_is_at_the_door, begin, end),
		cmocka_unit_test_setup_teardown(test_tcp_comes_later, begin, end),
		cmocka_unit_test_setup_teardown(test_fifos_come_and_go, begin, end),
		cmocka_unit_test_setup_teardown(test_sessions_over_fifos_count, begin, end),
		cmocka_unit_test_setup_teardown(test_every_session_counts, begin, end),
		cmocka_unit_test_setup_teardown(test_times_change, begin, end),
		cmocka_unit_test_setup_teardown(test_reloads_under_traffic, begin, end),
		cmocka_unit_test_setup_teardown(test_the_terminal_hangs_up, begin, end),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
