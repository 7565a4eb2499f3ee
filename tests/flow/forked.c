/*
 * forked: a handle in a copy of its process, made by fork(2). There every call refuses, and nothing that the copy does is
 * felt in the original: neither by its children, nor by its connection, nor by what it kept and what it waits for.
 *
 * The surprising rule: original and copy share one socket, one epoll set, one timer. A refusal that came after the first
 * system call would be too late, so each test goes on in the original afterwards and looks for a trace.
 *
 * The table has a line for every function in brood.map; a new one without a line fails test_table_is_complete().
 */
#include "flow.h"
#include <brood/pb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct copied {
	brood *b;
	brood_peer *kid, *name;
	brood_msg *question; /* kept, and not answered yet */
	int64_t request;     /* open */
};

/* ---- every function ---------------------------------------------------------------------------------------------- */

static int never(const brood_event *e)
{
	(void)e;
	abort();
}

static long call_(struct copied *c)
{
	brood_msg *m;
	return brood_call(c->kid, BROOD_TEXT("x"), 10, &m);
}

static long cancel_(struct copied *c)
{
	return brood_cancel(c->b, c->request);
}

static long close_(struct copied *c)
{
	brood_close(c->b);
	return -ECHILD; /* has no result: what it must not do shows in the original */
}

static long disconnect_(struct copied *c)
{
	return brood_disconnect(c->kid);
}

static long exec_file_(struct copied *c)
{
	return brood_exec_file(c->b, NULL, BROOD_ARGV("true"), NULL, never, NULL);
}

static long exec_sync_(struct copied *c)
{
	return brood_exec_sync(c->b, NULL, BROOD_ARGV("true"), NULL);
}

static long fd_(struct copied *c)
{
	return brood_fd(c->b);
}

static long find_(struct copied *c)
{
	brood_peer *p;
	return brood_find(c->b, &p, "somebody", NULL);
}

static long info_(struct copied *c)
{
	struct brood_peer_info i;
	BROOD_INIT(i);
	return brood_info(c->kid, &i);
}

static long kill_(struct copied *c)
{
	return brood_kill(c->kid, SIGKILL, BROOD_TREE);
}

static long last_error_(struct copied *c)
{
	return brood_last_error(c->b)->code;
}

static long msg_keep_(struct copied *c)
{
	return brood_msg_keep(c->question) ? 0 : -ECHILD;
}

static long msg_pb_(struct copied *c)
{
	static const ProtobufCMessageDescriptor type = { .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
							 .name = "question" };
	errno = 0;
	return brood_msg_pb(c->question, &type) ? 0 : -errno;
}

static long msg_take_fd_(struct copied *c)
{
	return brood_msg_take_fd(c->question, 0);
}

static long msg_release_(struct copied *c)
{
	brood_msg_release(c->question);
	return -ECHILD;
}

static long next_(struct copied *c)
{
	const brood_event *e;
	return brood_next(c->b, &e, 0);
}

static long on_(struct copied *c)
{
	return brood_on(c->kid, BROOD_ON(.any = never), NULL);
}

static long parent_(struct copied *c)
{
	return brood_parent(c->b) ? 0 : -ECHILD; /* it has none */
}

static long process_(struct copied *c)
{
	return brood_process(c->b, 0);
}

static long ready_(struct copied *c)
{
	return brood_ready(c->b);
}

static long register_(struct copied *c)
{
	return brood_register(c->b, "usurper");
}

static long release_(struct copied *c)
{
	brood_release(c->name);
	brood_release(c->kid);
	return -ECHILD;
}

static long reply_(struct copied *c)
{
	return brood_reply(c->question, BROOD_TEXT("from the copy"));
}

static long reply_error_(struct copied *c)
{
	return brood_reply_error(c->question, -EIO, "from the copy");
}

static long request_(struct copied *c)
{
	return brood_request(c->kid, BROOD_TEXT("x"), -1, never, NULL);
}

static long run_(struct copied *c)
{
	return brood_run(c->b);
}

/* Borrowed, so there is nothing to refuse; but what it leads to refuses. */
static long self_(struct copied *c)
{
	return brood_send(brood_self(c->b), BROOD_TEXT("x"));
}

static long send_(struct copied *c)
{
	return brood_send(c->kid, BROOD_TEXT("x"));
}

static long spawn_(struct copied *c)
{
	return brood_spawn(c->b, NULL, KID("quit", "0"), NULL);
}

static long stop_(struct copied *c)
{
	return brood_stop(c->b);
}

static long sync_(struct copied *c)
{
	return brood_sync(c->b, 10);
}

static long unregister_(struct copied *c)
{
	return brood_unregister(c->b, NULL);
}

static long wait_(struct copied *c)
{
	return brood_wait(c->kid, 10);
}

static long wake_(struct copied *c)
{
	return brood_wake(c->b);
}

static long pause_(struct copied *c)
{
	return brood_pause(c->kid, -1, 1);
}

static long reaped_(struct copied *c)
{
	return brood_reaped(c->b, 1, 0);
}

static long tty_size_(struct copied *c)
{
	return brood_tty_size(c->kid, 1, 1);
}

static long write_(struct copied *c)
{
	return brood_write(c->kid, 0, "x", 1);
}

static const struct {
	const char *name;
	long (*call)(struct copied *); /* must be -ECHILD; NULL: it takes nothing of ours */
} functions[] = {
	{ "brood_call", call_ },
	{ "brood_cancel", cancel_ },
	{ "brood_close", close_ },
	{ "brood_connect", NULL },
	{ "brood_disconnect", disconnect_ },
	{ "brood_exec_file", exec_file_ },
	{ "brood_exec_sync", exec_sync_ },
	{ "brood_fd", fd_ },
	{ "brood_find", find_ },
	{ "brood_info", info_ },
	{ "brood_kill", kill_ },
	{ "brood_last_error", last_error_ },
	{ "brood_msg_keep", msg_keep_ },
	{ "brood_msg_pb", msg_pb_ },
	{ "brood_msg_release", msg_release_ },
	{ "brood_msg_take_fd", msg_take_fd_ },
	{ "brood_next", next_ },
	{ "brood_on", on_ },
	{ "brood_parent", parent_ },
	{ "brood_pause", pause_ },
	{ "brood_process", process_ },
	{ "brood_ready", ready_ },
	{ "brood_reaped", reaped_ },
	{ "brood_register", register_ },
	{ "brood_release", release_ },
	{ "brood_reply", reply_ },
	{ "brood_reply_error", reply_error_ },
	{ "brood_request", request_ },
	{ "brood_run", run_ },
	{ "brood_self", self_ },
	{ "brood_send", send_ },
	{ "brood_spawn", spawn_ },
	{ "brood_stop", stop_ },
	{ "brood_sync", sync_ },
	{ "brood_tty_size", tty_size_ },
	{ "brood_unregister", unregister_ },
	{ "brood_version", NULL },
	{ "brood_wait", wait_ },
	{ "brood_wake", wake_ },
	{ "brood_write", write_ },
};
#define N_FUNCTIONS (sizeof functions / sizeof *functions)

static int has_line(const char *name)
{
	for (size_t i = 0; i < N_FUNCTIONS; i++)
		if (strcmp(functions[i].name, name) == 0)
			return 1;
	fprintf(stderr, "%s has no line in the table\n", name);
	return 0;
}

static void test_table_is_complete(void **state)
{
	char line[256], name[64];
	size_t found = 0, missing = 0;
	(void)state;
	FILE *map = fopen(BROOD_MAP, "re");
	assert_non_null(map);
	while (fgets(line, sizeof line, map))
		if (sscanf(line, " %63[a-z_];", name) == 1 && strncmp(name, "brood_", 6) == 0) {
			found++;
			missing += !has_line(name);
		}
	fclose(map);
	assert_int_equal(missing, 0);
	assert_int_equal(found, N_FUNCTIONS);
}

/* Number of functions that do not refuse. All twice: what was "closed" and "released" is still there to refuse. */
static int count_willing(struct copied *c)
{
	int willing = 0;
	for (size_t i = 0; i < 2 * N_FUNCTIONS; i++) {
		long rc = functions[i / 2].call ? functions[i / 2].call(c) : -ECHILD;
		if (rc != -ECHILD)
			fprintf(stderr, "in a copy %s gives %ld\n", functions[i / 2].name, rc);
		willing += rc != -ECHILD;
	}
	return willing;
}

/* ---- what the original has when it is copied --------------------------------------------------------------------- */

static int keep_question(const brood_event *e)
{
	brood_msg **kept = ((struct diary *)e->data)->data;
	if (e->msg && e->msg->wants_reply)
		*kept = brood_msg_keep(e->msg);
	return 0;
}

static void begin(struct family *f, struct copied *c, struct diary *asked)
{
	f->d.also = keep_question;
	f->d.data = &c->question;
	family_begin(f, KID("worker"));
	c->b = f->b;
	c->kid = f->kid;
	assert_int_equal(brood_find(f->b, &c->name, "nobody", BROOD_FIND(.wait_ms = PATIENCE_MS)), 0);
	c->request = brood_request(f->kid, BROOD_MSG("keep", "me", 2), PATIENCE_MS, diary_write, asked);
	assert_true(c->request > 0);
	assert_int_equal(ask_number(f->kid, "open"), 1); /* the child has it */
	say(f->kid, "ask", "shall I?");
	until(f->b, c->question != NULL);
}

/* Everything goes on as if there had been no copy. */
static void go_on(struct family *f, struct copied *c, struct diary *asked)
{
	assert_int_equal(c->question->wants_reply, 1);
	assert_int_equal(brood_reply(c->question, BROOD_TEXT("yes")), 0);
	brood_msg_release(c->question);
	until(f->b, strcmp(f->d.type, "answer") == 0);
	assert_string_equal(f->d.body, "yes");
	say(f->kid, "flush", "");
	until(f->b, asked->n[BROOD_EVENT_REPLY] == 1);
	assert_string_equal(asked->body, "me");
	assert_int_equal(ask_number(f->kid, "count"), 2); /* "ask" and "flush" */
	assert_int_equal(brood_kill(f->kid, 0, 0), 0);
	until(f->b, f->d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f->d.order, "SRmDEC");
	assert_int_equal(f->d.exit.signo, SIGTERM);
	assert_string_equal(f->me.order, "R");
}

/* Ends in each way that a process has, after it tried everything. */
static void end_copy(int how, int status)
{
	if (how == 0)
		exit(status);
	if (how == 1)
		_exit(status);
	raise(status == 0 ? SIGKILL : SIGABRT);
}

static void test_refuses(void **state)
{
	(void)state;
	for (int how = 0; how < 3; how++) {
		struct family f = { 0 };
		struct copied c = { 0 };
		struct diary asked = { 0 };
		begin(&f, &c, &asked);
		pid_t copy = fork();
		if (copy == 0)
			end_copy(how, count_willing(&c));
		assert_int_equal(wait_program(copy), how == 2 ? SIGKILL : 0);
		go_on(&f, &c, &asked);
		family_end(&f);
	}
}

/* ---- what was not sent yet --------------------------------------------------------------------------------------- */

/* The copy has the same messages in its memory. Nobody gets them from it, not even when exit(3) flushes. */
static void test_exit_sends_nothing(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(numbered_send(f.kid, i, 100, BROOD_MORE), 0);
	pid_t copy = fork();
	if (copy == 0)
		exit(0);
	assert_int_equal(wait_program(copy), 0);
	nap();
	assert_int_equal(numbered_send(f.kid, 10, 100, 0), 0);
	assert_int_equal(ask_number(f.kid, "count"), 11);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	family_end(&f);
}

/* ---- a copy made in a callback ----------------------------------------------------------------------------------- */

static pid_t copy_in_callback;

static int copy_at_ready(const brood_event *e)
{
	const struct diary *d = e->data;
	if (e->type == BROOD_EVENT_READY)
		copy_in_callback = fork();
	if (e->type == BROOD_EVENT_MESSAGE && diary_messages(d) == 1000)
		assert_int_equal(brood_kill(e->peer, 0, 0), 0);
	return 0;
}

static int in_run(brood *b)
{
	return brood_run(b);
}

static int in_process(brood *b)
{
	return brood_process(b, -1);
}

static int in_sync(brood *b)
{
	return brood_sync(b, PATIENCE_MS);
}

static int in_next(brood *b)
{
	const brood_event *e;
	return brood_next(b, &e, 100);
}

static brood_peer *waited;

static int in_wait(brood *b)
{
	(void)b;
	return brood_wait(waited, -1);
}

/* The call that is under way comes back in the copy too. It says so there and does no more. */
static void test_copy_in_a_callback(void **state)
{
	static int (*const calls[])(brood *) = { in_run, in_process, in_sync, in_next, in_wait };
	(void)state;
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		struct family f = { .d.also = copy_at_ready };
		copy_in_callback = -1;
		family_begin(&f, KID("worker"));
		say(f.kid, "stream", "1000 100");
		waited = f.kid;
		pid_t self = getpid();
		while (f.d.n[BROOD_EVENT_READY] == 0 && getpid() == self) {
			int rc = calls[i](f.b);
			if (getpid() != self)
				_exit(rc != -ECHILD);
		}
		until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
		assert_int_equal(wait_program(copy_in_callback), 0);
		assert_string_equal(f.d.order, "SRmDEC");
		assert_int_equal(diary_messages(&f.d), 1000);
		assert_int_equal(f.d.wrong, 0);
		family_end(&f);
	}
}

/* ---- a copy that begins anew ------------------------------------------------------------------------------------- */

static int live(void)
{
	struct family f = { 0 };
	family_begin(&f, KID("burst", "10", "100"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	pid_t copy = fork(); /* and for the copy's copy it is the same again */
	if (copy == 0)
		_exit(brood_process(f.b, 0) != -ECHILD || brood_send(f.kid, BROOD_TEXT("x")) != -ECHILD);
	assert_int_equal(wait_program(copy), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	family_end(&f);
	return strcmp(f.d.order, "SRmDEC") != 0 || diary_messages(&f.d) != 10;
}

static void test_begins_anew(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	pid_t copy = fork();
	if (copy == 0)
		exit(live());
	assert_int_equal(wait_program(copy), 0);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	family_end(&f);
}

/* ---- the life line ----------------------------------------------------------------------------------------------- */

/*
 * A program that the host started by itself outlives it, as it should; brood's children do not, whatever that program
 * inherited. (loops.c has the same with a copy that does not exec.)
 */
static void test_life_line_and_a_program_of_the_host(void **state)
{
	((struct fixture *)*state)->orphans = -1;
	long pids[3];
	int out;
	pid_t host = start_program(KID("parent", "ci", "program"), &out);
	read_numbers(out, pids, 3);
	kill(host, SIGKILL);
	(void)wait_program(host);
	until_polled(NULL, process_is_dead((pid_t)pids[0]) && process_is_dead((pid_t)pids[1]));
	assert_false(process_is_dead((pid_t)pids[2]));
	kill((pid_t)pids[2], SIGKILL);
	close(out);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_is_complete),
		ON_ALL(test_refuses),
		ON_ALL(test_exit_sends_nothing),
		ON_ALL(test_copy_in_a_callback),
		ON_ALL(test_begins_anew),
		ON_UNIX(test_life_line_and_a_program_of_the_host),
	};
	return RUN("forked", tests);
}
