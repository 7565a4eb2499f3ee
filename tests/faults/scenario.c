/*
 * scenario: a program that does a little of everything: a name, a child with messages, requests, descriptors, output and
 * an exit, a stranger, the broker, collected output. Run with one failing call it may fail too, but it has to say so: it
 * must not hang, and must leave nothing behind. With a host as its argument its programs run there.
 *
 * Exit status: 0 all well; 3 something failed and was told (on stderr); 9 something never came.
 */
#include <brood.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 10000u
#define LONG (300u * 1024u)

static struct {
	brood *b;
	brood_peer *kid, *innocent;
	unsigned replies, confirmed, messages, results, closed, output;
	int failed;       /* a code that was told */
	const char *host; /* of the programs; NULL: here */
} me;

static void told(int code, const char *where, const char *text)
{
	fprintf(stderr, "scenario: %s: %s\n", where, text);
	if (!me.failed)
		me.failed = code;
}

/* A call's result. 1 if it went well. */
static int well(long rc, const char *call)
{
	if (rc >= 0)
		return 1;
	told((int)rc, call, strerror((int)-rc));
	return 0;
}

#define WELL(call) well(call, #call)

/* ---- the child --------------------------------------------------------------------------------------------------- */

static int child_answers(const brood_event *e)
{
	if (e->msg->wants_reply)
		return brood_reply(e->msg, BROOD_MSG("answer", e->msg->body, e->msg->length));
	if (strcmp(e->msg->type, "end") == 0) {
		puts("some output");
		brood_stop(e->handle);
	}
	return 0;
}

static int child(void)
{
	brood *b;
	if (brood_connect(&b, NULL, BROOD_OPTIONS(.on = BROOD_ON(.message = child_answers))) < 0)
		return 1;
	(void)brood_run(b);
	int rc = brood_send(brood_parent(b), BROOD_TEXT("the last word"));
	brood_close(b);
	return rc < 0;
}

/* ---- the parent -------------------------------------------------------------------------------------------------- */

static int on_any(const brood_event *e)
{
	switch (e->type) {
	case BROOD_EVENT_ERROR:
		told(e->error->code, "ERROR", e->error->text);
		break;
	case BROOD_EVENT_MESSAGE:
		me.messages++;
		break;
	case BROOD_EVENT_OUTPUT:
		me.output += e->length > 0;
		break;
	case BROOD_EVENT_CLOSE:
		me.closed += e->peer == me.kid;
		break;
	default:
		break;
	}
	return 0;
}

static int on_reply(const brood_event *e)
{
	me.replies++;
	if (e->error)
		told(e->error->code, "REPLY", e->error->text);
	return 0;
}

static int on_confirm(const brood_event *e)
{
	me.confirmed++;
	if (e->error)
		told(e->error->code, "CONFIRM", e->error->text);
	return 0;
}

static int on_result(const brood_event *e)
{
	me.results++;
	if (e->error)
		told(e->error->code, "RESULT", e->error->text);
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Until *counter is `n`, something failed, or it never comes. */
static void await(const unsigned *counter, unsigned n, const char *what)
{
	uint64_t end = now_ms() + PATIENCE_MS;
	while (*counter < n) {
		int rc = brood_process(me.b, 100);
		if (rc < 0) {
			told(rc, what, strerror(-rc));
			return;
		}
		if (now_ms() < end)
			continue;
		fprintf(stderr, "scenario: %s: never came%s\n", what, me.failed ? ", after a failure" : "");
		_exit(9);
	}
}

/* To somebody here, and by a Unix socket only. */
static int descriptors_pass(void)
{
	const char *address = getenv("BROOD_ADDRESS");
	return !me.host && (!address || strncmp(address, "unix:", 5) == 0);
}

static void talk_to_the_child(void)
{
	static char body[LONG];
	int fd = descriptors_pass() ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
	unsigned asked = me.replies, sent = me.confirmed;
	WELL(brood_send(me.kid, BROOD_MSG("some.Type", body, 100)));
	if (WELL(brood_send(me.kid, BROOD_MSG("some.Type", body, LONG, .confirm = on_confirm))))
		await(&me.confirmed, sent + 1, "the confirmation");
	if (fd >= 0)
		WELL(brood_send(me.kid, BROOD_MSG("with.Fd", body, 1, .fds = &fd, .n_fds = 1)));
	if (WELL(brood_request(me.kid, BROOD_MSG("some.Request", body, 1000), -1, on_reply, NULL)))
		await(&me.replies, asked + 1, "the child's answer");
	if (fd >= 0)
		close(fd);
}

static void talk_to_others(void)
{
	brood_peer *broker;
	brood_msg *m;
	unsigned asked = me.replies;
	if (!WELL(brood_find(me.b, &broker, "@broker", NULL)) ||
	    !WELL(brood_find(me.b, &me.innocent, "innocent", BROOD_FIND(.wait_ms = 5000))))
		return;
	if (WELL(brood_request(broker, BROOD_MSG("brood.control.GetStatus", "", 0), 5000, on_reply, NULL)))
		await(&me.replies, asked + 1, "the broker's answer");
	if (WELL(brood_call(me.innocent, BROOD_MSG("echo", "anybody there?", 14), 5000, &m)))
		brood_msg_release(m);
}

static void end_the_child(void)
{
	if (!WELL(brood_send(me.kid, BROOD_MSG("end", "", 0))))
		(void)brood_kill(me.kid, 0, BROOD_THEN_KILL);
	await(&me.closed, 1, "the child's end");
	if (!me.failed && (me.messages != 1 || me.output == 0))
		told(-EIO, "the child", "its last word or output is missing, and nothing was said");
}

static void run(const char *program)
{
	unsigned results = me.results;
	if (!WELL(brood_register(me.b, "scenario")) || !WELL(brood_sync(me.b, 8000)))
		return;
	const char *faults[] = { getenv("FAULTS_CHILD"), NULL }; /* LD_PRELOAD=..., or nothing */
	if (!WELL(brood_spawn(me.b, &me.kid, BROOD_ARGV(program, "child"),
			      BROOD_SPAWN(.host = me.host, .name = "kid", .env_add = faults,
					  .stdio = BROOD_STDIO(BROOD_PIPE(0), BROOD_PIPE(1))))))
		return;
	WELL(brood_write(me.kid, 0, "input", 5));
	talk_to_the_child();
	talk_to_others();
	WELL(brood_unregister(me.b, "scenario"));
	if (WELL(brood_exec_file(me.b, NULL, BROOD_ARGV("/bin/echo", "hello"), BROOD_SPAWN(.host = me.host), on_result,
				 NULL)))
		await(&me.results, results + 1, "the result");
	end_the_child();
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "child") == 0)
		return child();
	me.host = argv[1];
	int rc = brood_connect(&me.b, NULL, BROOD_OPTIONS(.on = BROOD_ON(.any = on_any), .flush_ms = 1000));
	if (rc < 0) {
		told(rc, "brood_connect", strerror(-rc));
		return 3;
	}
	run(argv[0]);
	brood_close(me.b);
	return me.failed ? 3 : 0;
}
