/*
 * child: the program that the flow tests start, "kid". Its first argument says how it behaves; the table at the end
 * lists all behaviours. Most are a *worker*: it does what the types of its messages and requests say, so that one
 * program serves most tests. What it cannot do ends it with status 99 and a line on stderr.
 */
#include "child_descriptors.h"
#include "child_hostile.h"
#include "numbered.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
/*
 * The leak check at the end starts a process of its own, which becomes an orphan if we are killed meanwhile: the test
 * would count it.
 */
__attribute__((visibility("default"))) const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

static const char *program;
static brood *me;
static brood_peer *parent;

static struct {
	uint64_t messages, bytes, next, wrong, sent;
	brood_msg *kept[16384];
	unsigned n_kept;
} worker;

static long must(long rc, const char *what)
{
	if (rc >= 0)
		return rc;
	fprintf(stderr, "kid: %s: %s\n", what, strerror((int)-rc));
	exit(99);
}

#define MUST(call) must(call, #call)

static void connect_with(const struct brood_handlers *on, unsigned flags)
{
	MUST(brood_connect(&me, NULL, BROOD_OPTIONS(.on = on, .flags = flags)));
	parent = brood_parent(me);
}

static int run(void)
{
	int rc = brood_run(me);
	brood_close(me);
	return rc < 0 ? -rc : 0;
}

/* Until a signal ends this process. */
static int stay(void)
{
	while (pause() < 0)
		;
	return 0;
}

static int reply_number(brood_msg *m, uint64_t n)
{
	char text[24];
	snprintf(text, sizeof text, "%llu", (unsigned long long)n);
	return brood_reply(m, BROOD_TEXT(text));
}

/* ---- a worker's requests ----------------------------------------------------------------------------------------- */

static int echo_reply(brood_msg *m)
{
	return brood_reply(m, BROOD_MSG(m->type, m->body, m->length, .trace = m->trace));
}

static int error_reply(brood_msg *m)
{
	return brood_reply_error(m, -EPERM, "not today");
}

static int error_return(brood_msg *m)
{
	(void)m;
	return -EDOM;
}

static int forget(brood_msg *m)
{
	(void)m;
	return 0;
}

static int keep(brood_msg *m)
{
	if (worker.n_kept == sizeof worker.kept / sizeof *worker.kept)
		return -ENOBUFS;
	worker.kept[worker.n_kept++] = brood_msg_keep(m);
	return 0;
}

static int count_open(brood_msg *m)
{
	uint64_t open = 0;
	for (unsigned i = 0; i < worker.n_kept; i++)
		open += worker.kept[i]->wants_reply != 0;
	return reply_number(m, open);
}

static int count_messages(brood_msg *m)
{
	return reply_number(m, worker.messages);
}

static int count_wrong(brood_msg *m)
{
	return reply_number(m, worker.wrong);
}

static int time_left(brood_msg *m)
{
	char text[24];
	snprintf(text, sizeof text, "%d", m->timeout_ms);
	return brood_reply(m, BROOD_TEXT(text));
}

static int my_group(brood_msg *m)
{
	return reply_number(m, (uint64_t)getpgrp());
}

/* A descendant that knows nothing of brood, in my process group. */
static int fork_one(brood_msg *m)
{
	pid_t pid = fork();
	if (pid == 0)
		stay();
	return reply_number(m, (uint64_t)pid);
}

static int exit_at_once(brood_msg *m)
{
	exit(atoi(m->text));
}

static int exit_hard(brood_msg *m)
{
	_exit(atoi(m->text));
}

/* ---- a worker's messages ----------------------------------------------------------------------------------------- */

static int take_numbered(brood_msg *m)
{
	uint64_t n = numbered_read(m);
	worker.wrong += n != worker.next || !descriptors_match(m, n);
	worker.next = n + 1;
	return 0;
}

/* Answer what was kept, the newest first, with its own body. */
static int flush_kept(brood_msg *m)
{
	(void)m;
	while (worker.n_kept > 0) {
		brood_msg *kept = worker.kept[--worker.n_kept];
		int rc = echo_reply(kept);
		brood_msg_release(kept);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int release_kept(brood_msg *m)
{
	(void)m;
	while (worker.n_kept > 0)
		brood_msg_release(worker.kept[--worker.n_kept]);
	return 0;
}

/* "COUNT SIZE": numbered messages, each stream going on where the last one ended. */
static int stream(brood_msg *m)
{
	char *at;
	uint64_t n = strtoull(m->text, &at, 10);
	size_t size = strtoul(at, NULL, 10);
	for (uint64_t i = 0; i < n; i++)
		MUST(numbered_send(m->from, worker.sent++, size, BROOD_BLOCK));
	return 0;
}

static int take_name(brood_msg *m)
{
	return brood_register(me, m->text);
}

static int get_ready(brood_msg *m)
{
	(void)m;
	return brood_ready(me);
}

static int leave_parent(brood_msg *m)
{
	return brood_disconnect(m->from);
}

static int close_handle(brood_msg *m)
{
	(void)m;
	brood_close(me);
	me = NULL;
	return 0;
}

/* Ask the sender; the answer, or the error's name, goes back as a message of type "answer". */
static int ask_back(brood_msg *m)
{
	brood_msg *answer;
	int rc = brood_call(m->from, BROOD_MSG("question", m->body, m->length), 10000, &answer);
	if (rc < 0)
		return brood_send(m->from,
				  BROOD_MSG("answer", brood_last_error(me)->name, strlen(brood_last_error(me)->name)));
	rc = brood_send(m->from, BROOD_MSG("answer", answer->body, answer->length));
	brood_msg_release(answer);
	return rc;
}

static const struct {
	const char *type;
	int (*act)(brood_msg *);
} acts[] = {
	{ "numbered", take_numbered },  { "echo", echo_reply },      { "error", error_reply },
	{ "errno", error_return },      { "forget", forget },        { "keep", keep },
	{ "open", count_open },         { "count", count_messages }, { "wrong", count_wrong },
	{ "time", time_left },          { "group", my_group },       { "fork", fork_one },
	{ "exit", exit_at_once },       { "_exit", exit_hard },      { "flush", flush_kept },
	{ "release", release_kept },    { "stream", stream },        { "ready", get_ready },
	{ "disconnect", leave_parent }, { "close", close_handle },   { "ask", ask_back },
	{ "register", take_name },
};

static int work(const brood_event *e)
{
	if (!e->msg->wants_reply) {
		worker.messages++;
		worker.bytes += e->msg->length;
	}
	for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
		if (strcmp(acts[i].type, e->msg->type) == 0)
			return acts[i].act(e->msg);
	int rc = descriptors_act(e->msg);
	return rc == -ENOSYS ? 0 : rc;
}

static const struct brood_handlers working = { .size = sizeof working, .message = work };

static int be_worker(char **args)
{
	(void)args;
	connect_with(&working, 0);
	return run();
}

/* "COUNT": a worker that ends well if so many numbered messages came, in order. */
static int be_tally(char **args)
{
	(void)be_worker(args);
	return worker.wrong || worker.next != strtoull(args[0], NULL, 10);
}

static int record_fd;

/* How many messages came in order so far, as a text in a file: over the one before, as files made anew are slow. */
static int record(const brood_event *e)
{
	char text[24];
	if (strcmp(e->msg->type, "numbered") == 0)
		take_numbered(e->msg);
	int n = snprintf(text, sizeof text, "%20llu", worker.wrong ? 0ull : (unsigned long long)worker.next);
	MUST(pwrite(record_fd, text, (size_t)n, 0));
	return 0;
}

static int be_recorder(char **args)
{
	record_fd = open(args[0], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	MUST(record_fd);
	connect_with(BROOD_ON(.message = record), 0);
	return run();
}

/* ---- other ways to treat messages -------------------------------------------------------------------------------- */

static int echo(const brood_event *e)
{
	brood_msg *m = e->msg;
	if (m->wants_reply)
		return echo_reply(m);
	return brood_send(m->from, BROOD_MSG(m->type, m->body, m->length, .trace = m->trace, .flags = BROOD_BLOCK));
}

static int be_echo(char **args)
{
	(void)args;
	connect_with(BROOD_ON(.message = echo), 0);
	return run();
}

static int nothing(const brood_event *e)
{
	(void)e;
	return 0;
}

static int be_deaf(char **args)
{
	(void)args;
	connect_with(BROOD_ON(.ready = nothing), 0);
	return run();
}

/* Connected, but does not even read. */
static int be_mute(char **args)
{
	(void)args;
	connect_with(&working, 0);
	MUST(brood_sync(me, -1));
	return stay();
}

static int exit_unheard(const brood_event *e)
{
	for (int i = 0; i < 3; i++)
		MUST(brood_send(e->msg->from, BROOD_TEXT("does anybody hear me?")));
	exit(0);
}

/* "MS": at a message, three more, and exit(3) with so much patience. */
static int be_exiting(char **args)
{
	MUST(brood_connect(&me, NULL,
			   BROOD_OPTIONS(.on = BROOD_ON(.message = exit_unheard),
					 .flush_ms = (unsigned)strtoul(args[0], NULL, 10))));
	return run();
}

static int be_silent(char **args)
{
	(void)args;
	return stay();
}

static volatile sig_atomic_t go_on;

static void wake_up(int signo)
{
	(void)signo;
	go_on = 1;
	brood_wake(me);
}

/* Stops taking messages at the first that is of type "pause", says so, and goes on at SIGUSR1. */
static int work_or_pause(const brood_event *e)
{
	if (strcmp(e->msg->type, "pause") != 0)
		return work(e);
	MUST(brood_on(e->peer, NULL, NULL));
	return brood_send(e->peer, BROOD_TEXT("paused"));
}

static int be_pauser(char **args)
{
	(void)args;
	connect_with(NULL, 0);
	signal(SIGUSR1, wake_up);
	MUST(brood_on(parent, BROOD_ON(.message = work_or_pause), NULL));
	while (brood_process(me, -1) >= 0) {
		if (go_on)
			MUST(brood_on(parent, BROOD_ON(.message = work_or_pause), NULL));
		go_on = 0;
	}
	return 96;
}

static int be_not_ready(char **args)
{
	(void)args;
	connect_with(&working, BROOD_NOT_READY);
	return run();
}

static int be_named(char **args)
{
	connect_with(&working, 0);
	MUST(brood_register(me, args[0]));
	return run();
}

/* ---- ways to end ------------------------------------------------------------------------------------------------- */

static int do_quit(char **args)
{
	return atoi(args[0]);
}

static int do_exit(char **args)
{
	connect_with(NULL, 0);
	MUST(brood_sync(me, -1));
	exit(atoi(args[0]));
}

static int do_signal(char **args)
{
	connect_with(NULL, 0);
	MUST(brood_sync(me, -1));
	raise(atoi(args[0]));
	return 98;
}

/* "COUNT SIZE": send, and exit(0) with all of it still under way. */
static int do_burst(char **args)
{
	connect_with(NULL, 0);
	for (int i = 0; i < atoi(args[0]); i++)
		MUST(numbered_send(parent, (uint64_t)i, strtoul(args[1], NULL, 10), BROOD_BLOCK));
	exit(0);
}

/* "COUNT SIZE": send as a connected program does, and vanish: nothing waits for anything. */
static int do_vanish(char **args)
{
	struct brood_peer_info info;
	BROOD_INIT(info);
	connect_with(NULL, 0);
	do {
		MUST(brood_process(me, 10));
		MUST(brood_info(parent, &info));
	} while (!info.connected);
	for (int i = 0; i < atoi(args[0]); i++)
		MUST(numbered_send(parent, (uint64_t)i, strtoul(args[1], NULL, 10), 0));
	_exit(0);
}

/* "SIZE": send until killed. */
static int do_pour(char **args)
{
	connect_with(NULL, 0);
	for (uint64_t i = 0; numbered_send(parent, i, strtoul(args[0], NULL, 10), BROOD_BLOCK) == 0; i++)
		;
	return 96;
}

/* Three messages, then the goodbye; the process lives on. Twice is refused, and so is a message after it. */
static int do_disconnect(char **args)
{
	(void)args;
	connect_with(NULL, BROOD_OUTLIVE);
	for (uint64_t i = 0; i < 3; i++)
		MUST(numbered_send(parent, i, 100, 0));
	MUST(brood_disconnect(parent));
	if (brood_disconnect(parent) != -ENOTCONN || numbered_send(parent, 3, 100, 0) != -ENOTCONN)
		return 97;
	while (brood_process(me, -1) >= 0)
		;
	return 96;
}

/* Ask the parent; status 0 if it answered "yes", else the errno. */
static int do_ask(char **args)
{
	brood_msg *m;
	connect_with(NULL, 0);
	int rc = brood_call(parent, BROOD_MSG(args[0], NULL, 0), 10000, &m);
	if (rc == 0 && strcmp(m->text, "yes") != 0)
		rc = -EBADMSG;
	if (rc == 0)
		brood_msg_release(m);
	brood_close(me);
	return -rc;
}

/* ---- modifiers: the rest of the arguments is another behaviour ---------------------------------------------------- */

static int become(char **args);

static int be_late(char **args)
{
	raise(SIGSTOP);
	return become(args);
}

static int be_stubborn(char **args)
{
	signal(SIGTERM, SIG_IGN);
	return become(args);
}

/* ---- programs of their own: started by nobody's library ----------------------------------------------------------- */

static int serve(const struct brood_options *o)
{
	MUST(brood_connect(&me, NULL, o));
	int rc = brood_sync(me, 10000);
	printf("%d\n", rc < 0 ? rc : (int)getpid());
	fflush(stdout);
	return run();
}

/* "NAME": a worker under a name. Its pid, or a negative errno, goes to stdout. */
static int be_server(char **args)
{
	return serve(BROOD_OPTIONS(.on = &working, .name = args[0], .flags = BROOD_OUTLIVE));
}

/* "PARENT": a worker that joins a name or an address. */
static int be_joiner(char **args)
{
	return serve(BROOD_OPTIONS(.on = &working, .parent = args[0]));
}

static brood_peer *start_for(char letter)
{
	brood_peer *p;
	const char *host = getenv("FLOW_HOST"), *lease = host ? getenv("FLOW_LEASE") : NULL;
	const unsigned lease_ms = lease ? (unsigned)atoi(lease) : 0;
	const char *const *quiet = BROOD_ARGV(program, "silent");
	const struct brood_spawn_options *usual = BROOD_SPAWN(.host = host, .lease_ms = lease_ms);
	const struct brood_spawn_options *plain = BROOD_SPAWN(.flags = BROOD_PLAIN, .host = host, .lease_ms = lease_ms);
	const struct brood_spawn_options *detached =
		BROOD_SPAWN(.flags = BROOD_PLAIN | BROOD_DETACHED, .host = host, .lease_ms = lease_ms);
	if (letter == 'c')
		MUST(brood_spawn(me, &p, BROOD_ARGV(program, "worker"), usual));
	else if (letter == 'i')
		MUST(brood_spawn(me, &p, BROOD_ARGV(program, "stubborn", "silent"), usual));
	else if (letter == 's')
		MUST(brood_spawn(me, &p, BROOD_ARGV(program, "late", "silent"), usual));
	else if (letter == 'a')
		MUST(brood_spawn(
			me, &p, BROOD_ARGV(program, "server", "aloof"),
			BROOD_SPAWN(.flags = BROOD_DETACHED, .stdio = BROOD_STDIO(BROOD_NUL(1)), .host = host)));
	else
		MUST(brood_spawn(me, &p, quiet, letter == 'd' ? detached : plain));
	return p;
}

/* As any program starts another. Not by fork(), which the library would notice. */
static pid_t start_silent(void)
{
	char *const argv[] = { (char *)(uintptr_t)program, "silent", NULL };
	pid_t pid = -1;
	MUST(-posix_spawn(&pid, program, NULL, NULL, argv, environ));
	return pid;
}

/* A copy of a parent, which says so when it has become an orphan. */
static int be_copy_of(pid_t original)
{
	while (getppid() == original)
		usleep(1000);
	printf("%ld\n", (long)getpid());
	fflush(stdout);
	return stay();
}

/*
 * "KINDS HOW": a parent. One child per letter: c worker, i ignores SIGTERM, s stopped, p plain, d plain and detached,
 * a detached worker called "aloof". Their pids go to stdout; then HOW: "run", or to end by "exit", "_exit" or "close", or
 * "fork": run, and leave a copy that tells its own pid when it has become an orphan. Or "program": run, and start a
 * program without the library, whose pid is the last one.
 */
static int be_parent(char **args)
{
	char line[1024];
	size_t n = 0;
	struct brood_peer_info info;
	BROOD_INIT(info);
	MUST(brood_connect(&me, NULL, NULL));
	for (const char *kind = args[0]; *kind; kind++) {
		brood_peer *p = start_for(*kind);
		do {
			MUST(brood_process(me, 10));
			MUST(brood_info(p, &info));
		} while (!info.pid);
		n += (size_t)snprintf(line + n, sizeof line - n, "%ld ", (long)info.pid);
	}
	if (strcmp(args[1], "program") == 0)
		n += (size_t)snprintf(line + n, sizeof line - n, "%ld ", (long)start_silent());
	line[n - 1] = '\n';
	pid_t self = getpid();
	if (strcmp(args[1], "fork") == 0 && fork() == 0)
		return be_copy_of(self);
	MUST(write(1, line, n) == (ssize_t)n ? 0 : -EIO);
	if (strcmp(args[1], "run") == 0 || strcmp(args[1], "fork") == 0 || strcmp(args[1], "program") == 0)
		return run();
	if (strcmp(args[1], "_exit") == 0)
		_exit(0);
	if (strcmp(args[1], "close") == 0)
		brood_close(me);
	exit(0);
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int (*be)(char **args);
	int n_args; /* at least */
} behaviours[] = {
	{ "worker", be_worker, 0 },     { "tally", be_tally, 1 },
	{ "record", be_recorder, 1 },   { "echo", be_echo, 0 },
	{ "deaf", be_deaf, 0 },         { "mute", be_mute, 0 },
	{ "silent", be_silent, 0 },     { "exit-unheard", be_exiting, 1 },
	{ "pauser", be_pauser, 0 },     { "not-ready", be_not_ready, 0 },
	{ "named", be_named, 1 },       { "quit", do_quit, 1 },
	{ "exit", do_exit, 1 },         { "signal", do_signal, 1 },
	{ "burst", do_burst, 2 },       { "vanish", do_vanish, 2 },
	{ "pour", do_pour, 1 },         { "disconnect", do_disconnect, 0 },
	{ "ask", do_ask, 1 },           { "late", be_late, 1 },
	{ "stubborn", be_stubborn, 1 }, { "server", be_server, 1 },
	{ "joiner", be_joiner, 1 },     { "parent", be_parent, 2 },
	{ "hostile", be_hostile, 1 },
};

static int become(char **args)
{
	int n = 0;
	while (args[n])
		n++;
	for (size_t i = 0; n > 0 && i < sizeof behaviours / sizeof *behaviours; i++)
		if (strcmp(behaviours[i].name, args[0]) == 0 && n > behaviours[i].n_args)
			return behaviours[i].be(args + 1);
	fprintf(stderr, "kid: no such behaviour: %s\n", n > 0 ? args[0] : "(none)");
	return 99;
}

int main(int argc, char **argv)
{
	(void)argc;
	program = argv[0];
	return become(argv + 1);
}
