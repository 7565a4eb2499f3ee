/*
 * scenarios: those of child_process that no other file tells of.
 */
#include "flow.h"

#define WORKERS 8

/* SPAWN is the first, once, before any output, EXIT and CLOSE, however fast the program is. */
static void test_spawn_is_first(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		struct family f = { 0 };
		family_connect(&f);
		family_start(&f, BROOD_ARGV("echo", "quick"), .stdio = BROOD_STDIO(BROOD_PIPE(1)));
		family_closes(&f);
		assert_true(f.d.order[0] == 'S' && f.d.n[BROOD_EVENT_SPAWN] == 1);
		assert_true(f.d.n[BROOD_EVENT_EXIT] == 1 && f.d.n[BROOD_EVENT_OUTPUT] == 2);
		family_end(&f);
	}
}

/* A pool: one DISCONNECT and one EXIT for each worker that is killed, and none for the others. */
static void test_pool_of_workers(void **state)
{
	struct diary d[WORKERS] = { { 0 } };
	brood_peer *p[WORKERS];
	brood *b;
	(void)state;
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(brood_spawn(b, &p[i], KID("worker"), BROOD_SPAWN(.on = diary_table, .data = &d[i])),
				 0);
	for (int i = 0; i < WORKERS; i++) {
		assert_int_equal(ask_number(p[i], "count"), 0);
		until(b, d[i].n[BROOD_EVENT_READY] == 1);
	}
	for (int i = 0; i < WORKERS; i += 2)
		assert_int_equal(brood_kill(p[i], SIGKILL, 0), 0);
	for (int i = 0; i < WORKERS; i += 2)
		until(b, d[i].n[BROOD_EVENT_CLOSE] == 1);
	for (int i = 0; i < WORKERS; i++) {
		assert_string_equal(d[i].order, i % 2 ? "SR" : "SRDEC");
		if (i % 2)
			assert_int_equal(ask_number(p[i], "count"), 0);
	}
	brood_close(b);
}

/* A handler that returns an error answers the open request with it; messages go on. */
static int fail_requests(const brood_event *e)
{
	return e->msg && e->msg->wants_reply ? -EDOM : e->msg ? -EIO : 0;
}

static void test_handler_error(void **state)
{
	struct family f = { .d.also = fail_requests };
	(void)state;
	family_begin(&f, KID("worker"));
	say(f.kid, "ask", "first");
	until(f.b, diary_messages(&f.d) == 2);
	assert_string_equal(f.d.type, "answer");
	assert_string_equal(f.d.body, "request.failed");
	say(f.kid, "stream", "10 100");
	until(f.b, diary_messages(&f.d) == 12);
	assert_int_equal(f.d.wrong, 0);
	family_end(&f);
}

/* After CLOSE every call on it is refused, and is safe. */
static void test_after_close(void **state)
{
	struct family f = { 0 };
	struct diary asked = { 0 };
	brood_msg *m;
	(void)state;
	family_begin(&f, KID("quit", "0"));
	family_closes(&f);
	assert_int_equal(brood_send(f.kid, BROOD_TEXT("x")), -ESRCH);
	assert_int_equal(brood_request(f.kid, BROOD_TEXT("x"), -1, diary_write, &asked), -ESRCH);
	assert_int_equal(brood_call(f.kid, BROOD_TEXT("x"), -1, &m), -ESRCH);
	assert_int_equal(brood_kill(f.kid, SIGTERM, 0), -ESRCH);
	assert_int_equal(brood_disconnect(f.kid), -ESRCH);
	assert_int_equal(brood_wait(f.kid, -1), 0);
	assert_int_equal(info_of(f.kid).connected, 0);
	assert_true(info_of(f.kid).pid > 0);
	assert_string_equal(info_of(f.kid).argv[1], "quit");
	assert_int_equal(asked.n[BROOD_EVENT_REPLY], 0);
	family_end(&f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_BOTH(test_spawn_is_first),
		ON_BOTH(test_pool_of_workers),
		ON_BOTH(test_handler_error),
		ON_BOTH(test_after_close),
	};
	return RUN("scenarios", tests);
}
