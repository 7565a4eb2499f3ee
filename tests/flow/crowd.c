/*
 * crowd: 10,000 children, 64 at a time, of all kinds, some killed at random moments: each ends exactly once with the
 * right cause, and nothing of them is left.
 */
#include "flow.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#define CHILDREN 4000 /* each takes several times as long */
#else
#define CHILDREN 10000
#endif
#define WARM 2000 /* memory is compared from here on */
#define AT_ONCE 64

enum kind { QUIT, PIPED, BY_SIGNAL, EXECUTED, WAITING, TALKING, KINDS };

struct crowd {
	brood *b;
	const struct fixture *x;
	unsigned started, ended, alive, random;
	long mine, brokers; /* memory after WARM */
	unsigned fds;
	unsigned wrong;
	struct one {
		struct crowd *c;
		brood_peer *peer;
		enum kind kind;
		int code;
		unsigned spawns, exits, ends, messages;
		uint64_t bytes;
		int killed;
	} slots[AT_ONCE];
};

static unsigned draw(struct crowd *c, unsigned below)
{
	c->random = c->random * 1664525u + 1013904223u;
	return (c->random >> 8) % below;
}

static void expect(struct crowd *c, int holds, const char *what, const struct one *o)
{
	if (holds)
		return;
	c->wrong++;
	print_error("child of kind %d, code %d, killed %d: %s\n", o->kind, o->code, o->killed, what);
}

/* Killed, or as it was told to end, which may be faster. */
static void check_exit(struct crowd *c, const struct one *o, const struct brood_exit *x)
{
	if (o->killed && x->signo == SIGKILL) {
		expect(c, x->ended_by == BROOD_BY_KILL && x->code == -1, "killed, but not by me", o);
		return;
	}
	if (o->kind == BY_SIGNAL)
		expect(c, x->cause == BROOD_SIGNALED && x->signo == SIGINT, "another signal", o);
	else
		expect(c, x->cause == BROOD_EXITED && x->code == o->code, x->text, o);
	if (o->kind == PIPED || o->kind == EXECUTED)
		expect(c, o->bytes == 1000, "output is missing", o);
	if (o->kind == TALKING)
		expect(c, o->messages == 3, "messages are missing", o);
	expect(c, o->kind != WAITING, "it ended by itself", o);
}

static void end_one(struct one *o)
{
	expect(o->c, ++o->ends == 1, "it ended twice", o);
	o->c->ended++;
	o->c->alive--;
	brood_release(o->peer);
	o->peer = NULL;
}

static int note(const brood_event *e)
{
	struct one *o = e->data;
	o->spawns += e->type == BROOD_EVENT_SPAWN;
	o->messages += e->type == BROOD_EVENT_MESSAGE;
	if (e->type == BROOD_EVENT_OUTPUT)
		o->bytes += e->length;
	if (e->type == BROOD_EVENT_EXIT) {
		expect(o->c, ++o->exits == 1 && o->spawns == 1, "not one SPAWN and one EXIT", o);
		check_exit(o->c, o, e->exit);
	}
	if (e->type == BROOD_EVENT_CLOSE) {
		expect(o->c, o->exits == 1, "CLOSE without EXIT", o);
		end_one(o);
	}
	return 0;
}

static int note_result(const brood_event *e)
{
	struct one *o = e->data;
	o->bytes = e->result->out_length;
	check_exit(o->c, o, e->result->exit);
	end_one(o);
	return 0;
}

static void start_one(struct crowd *c, struct one *o)
{
	static const struct brood_stdio out[] = { BROOD_PIPE(1), { -1, BROOD_STDIO_END, -1, NULL } };
	const struct brood_handlers *on = BROOD_ON(.any = note);
	char number[12];
	*o = (struct one){ .c = c, .kind = draw(c, 40) == 0 ? TALKING : draw(c, TALKING) };
	o->code = o->kind == QUIT ? (int)draw(c, 100) : 0;
	snprintf(number, sizeof number, "%d", o->kind == BY_SIGNAL ? -SIGINT : o->code);
	int rc = 0;
	if (o->kind == EXECUTED)
		rc = brood_exec_file(c->b, &o->peer, PLAIN("text", "1000"), NULL, note_result, o);
	else if (o->kind == TALKING)
		rc = brood_spawn(c->b, &o->peer, KID("burst", "3", "100"), BROOD_SPAWN(.on = on, .data = o));
	else
		rc = brood_spawn(
			c->b, &o->peer,
			o->kind == PIPED     ? PLAIN("text", "1000")
			: o->kind == WAITING ? PLAIN("wait")
					     : PLAIN("end", number),
			BROOD_SPAWN(.on = on, .data = o, .flags = BROOD_PLAIN, .stdio = o->kind == PIPED ? out : NULL));
	assert_int_equal(rc, 0);
	c->started++;
	c->alive++;
}

static void start_more(struct crowd *c)
{
	for (unsigned i = 0; i < AT_ONCE && c->started < CHILDREN; i++)
		if (!c->slots[i].peer)
			start_one(c, &c->slots[i]);
}

/* Those that would never end, and one in sixteen of the others. */
static void kill_some(struct crowd *c)
{
	for (unsigned i = 0; i < AT_ONCE; i++) {
		struct one *o = &c->slots[i];
		if (!o->peer || o->killed || draw(c, o->kind == WAITING ? 2 : 16) != 0)
			continue;
		if (info_of(o->peer).pid)
			o->killed = brood_kill(o->peer, SIGKILL, draw(c, 2) ? BROOD_TREE : 0) == 0;
	}
}

static void remember(struct crowd *c)
{
	c->mine = process_status(getpid(), "VmRSS:");
	c->brokers = process_status(c->x->broker, "VmRSS:");
	c->fds = count_fds();
}

static void finish_round(struct crowd *c, unsigned until_started)
{
	uint64_t end = now_ms() + 3 * PATIENCE_MS;
	while (c->started < until_started && now_ms() < end) {
		start_more(c);
		kill_some(c);
		assert_true(brood_process(c->b, 5) >= 0);
	}
	assert_true(c->started >= until_started);
}

/* A result that ends its handle, and one that starts the next. */
static int close_at_result(const brood_event *e)
{
	brood_close(e->handle);
	return 0;
}

static int count_down(const brood_event *e)
{
	int *left = e->data;
	if (--*left > 0)
		assert_int_equal(brood_exec_file(e->handle, NULL, BROOD_ARGV("true"), NULL, count_down, left), 0);
	return 0;
}

static void test_results_that_do_things(void **state)
{
	brood *b;
	int left = 30;
	(void)state;
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	assert_int_equal(brood_exec_file(b, NULL, BROOD_ARGV("true"), NULL, count_down, &left), 0);
	assert_int_equal(brood_run(b), 0); /* as long as one is under way */
	assert_int_equal(left, 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(brood_exec_file(b, NULL, PLAIN(i ? "wait" : "end", "0"), NULL, close_at_result, NULL),
				 0);
	assert_int_equal(brood_run(b), 0);
}

static void test_ten_thousand(void **state)
{
	struct crowd *c = calloc(1, sizeof *c);
	c->x = *state;
	c->random = 1;
	assert_int_equal(brood_connect(&c->b, NULL, NULL), 0);
	assert_int_equal(brood_sync(c->b, PATIENCE_MS), 0);
	unsigned fds = count_fds();
	finish_round(c, WARM);
	remember(c);
	finish_round(c, CHILDREN);
	until_by(c->alive == 0, (kill_some(c), (void)brood_process(c->b, 5)));
	assert_int_equal(c->ended, CHILDREN);
	assert_int_equal(c->wrong, 0);
	long grown = process_status(getpid(), "VmRSS:") - c->mine;
	print_message("grown by %ld KiB here, %ld KiB in the broker\n", grown,
		      process_status(c->x->broker, "VmRSS:") - c->brokers);
	assert_true(grown < MEMORY_SLACK_KIB);
	assert_true(process_status(c->x->broker, "VmRSS:") - c->brokers < MEMORY_SLACK_KIB);
	/* The connection, which is two for FIFOs, and the life line were made for the first. */
	assert_true(count_fds() <= fds + (c->x->fifo[0] ? 4 : 3));
	assert_int_equal(waitid(P_ALL, 0, &(siginfo_t){ 0 }, WEXITED | WNOHANG | WNOWAIT), 0); /* the broker is one */
	brood_close(c->b);
	free(c);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { ON_UNIX(test_results_that_do_things), ON_ALL_HERE(test_ten_thousand) };
	return RUN("crowd", tests);
}
