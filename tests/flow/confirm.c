/*
 * confirm: who asks hears exactly once that its message was consumed, or why it was not. And what brood_close() and
 * exit(3) say of those that were not.
 */
#include "flow.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct list { /* confirmations in the order in which they came */
	unsigned n, failed;
	uintptr_t last;
	int disorder;
	char error[64], text[256];
};

static struct list list;

static int confirmed(const brood_event *e)
{
	uintptr_t number = (uintptr_t)e->data;
	assert_int_equal(e->type, BROOD_EVENT_CONFIRM);
	list.disorder |= number != list.last + 1;
	list.last = number;
	list.n++;
	if (e->error) {
		list.failed++;
		snprintf(list.error, sizeof list.error, "%s", e->error->name);
		snprintf(list.text, sizeof list.text, "%s", e->error->text);
	}
	return 0;
}

static void send_confirmed(brood_peer *to, const char *type, uintptr_t number, unsigned flags)
{
	assert_int_equal(brood_send(to, BROOD_MSG(type, "x", 1, .flags = flags, .confirm = confirmed,
						  .confirm_data = (void *)number)),
			 0);
}

static void begin(struct family *f, const char *const *argv)
{
	list = (struct list){ 0 };
	family_begin(f, argv);
	until(f->b, f->d.n[BROOD_EVENT_READY] == 1);
}

#define MANY 5000u

static void test_each_once_in_order(void **state)
{
	struct family f = { 0 };
	(void)state;
	begin(&f, KID("worker"));
	for (uintptr_t i = 1; i <= MANY; i++)
		send_confirmed(f.kid, "numbered", i, BROOD_BLOCK | (i % 7 ? BROOD_MORE : 0));
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	until(f.b, list.n == MANY);
	assert_int_equal(list.failed, 0);
	assert_int_equal(list.disorder, 0);
	family_end(&f);
	assert_int_equal(list.n, MANY);
}

/* Consumed is when the receiver is done with it, not when it came. */
static void test_kept_is_not_consumed(void **state)
{
	struct family f = { 0 };
	(void)state;
	begin(&f, KID("worker"));
	send_confirmed(f.kid, "keep", 1, 0);
	(void)ask_number(f.kid, "count"); /* so it has the others */
	assert_int_equal(list.n, 0);
	say(f.kid, "release", "");
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	until(f.b, list.n == 1);
	assert_int_equal(list.failed, 0);
	family_end(&f);
}

static void test_survives_a_restart(void **state)
{
	struct fixture *x = *state;
	struct family f = { 0 };
	begin(&f, KID("worker"));
	for (uintptr_t i = 1; i <= 100; i++)
		send_confirmed(f.kid, "keep", i, 0);
	(void)ask_number(f.kid, "count"); /* so it has the others */
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	until(f.b, f.me.n[BROOD_EVENT_AWAY] == 1);
	send_confirmed(f.kid, "numbered", 101, 0);
	assert_int_equal(fixture_start(x), 0);
	say(f.kid, "release", "");
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	until(f.b, list.n == 101);
	assert_int_equal(list.failed, 0);
	assert_int_equal(list.disorder, 0);
	family_end(&f);
}

/* Each comes back by its own, so there is no ERROR for all besides. */
static void test_receiver_dies(void **state)
{
	struct family f = { 0 };
	(void)state;
	begin(&f, KID("worker"));
	for (uintptr_t i = 1; i <= 10; i++)
		send_confirmed(f.kid, "keep", i, 0);
	(void)ask_number(f.kid, "count"); /* so it has the others */
	assert_int_equal(brood_kill(f.kid, SIGKILL, 0), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	until(f.b, list.n == 10);
	assert_int_equal(list.failed, 10);
	assert_int_equal(list.disorder, 0);
	assert_string_equal(list.error, "undelivered");
	assert_non_null(strstr(list.text, "may have arrived"));
	assert_int_equal(f.d.n[BROOD_EVENT_ERROR], 0);
	family_end(&f);
}

static void test_mixed_with_others(void **state)
{
	struct family f = { 0 };
	(void)state;
	begin(&f, KID("worker"));
	for (uintptr_t i = 1; i <= 3; i++) {
		send_confirmed(f.kid, "keep", i, 0);
		say(f.kid, "keep", "");
	}
	(void)ask_number(f.kid, "count"); /* so it has the others */
	assert_int_equal(brood_kill(f.kid, SIGKILL, 0), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	until(f.b, list.n == 3);
	assert_int_equal(f.d.n[BROOD_EVENT_ERROR], 1);
	assert_memory_equal(f.d.text, "3 messages", 10);
	family_end(&f);
}

static void test_nobody_holds_the_name(void **state)
{
	struct family f = { 0 };
	brood_peer *nobody;
	(void)state;
	list = (struct list){ 0 };
	family_connect(&f);
	assert_int_equal(brood_find(f.b, &nobody, "nobody", NULL), 0);
	send_confirmed(nobody, "x", 1, 0);
	until(f.b, list.n == 1);
	assert_int_equal(list.failed, 1);
	assert_non_null(strstr(list.text, "not delivered"));
	family_end(&f);
}

/* What waited for a name moves to its holder, behind what that was sent already. */
static void test_moves_with_its_message(void **state)
{
	struct family f = { 0 };
	brood_peer *name;
	(void)state;
	begin(&f, KID("worker"));
	for (int i = 0; i < 5; i++)
		say(f.kid, "keep", "");
	assert_int_equal(brood_find(f.b, &name, "late", BROOD_FIND(.wait_ms = PATIENCE_MS)), 0);
	send_confirmed(name, "keep", 1, 0);
	send_confirmed(name, "keep", 2, 0);
	assert_int_equal(brood_sync(f.b, 50), -ETIMEDOUT);
	say(f.kid, "register", "late");
	assert_int_equal(brood_sync(f.b, 200), -ETIMEDOUT);
	assert_int_equal(list.n, 0);
	say(f.kid, "release", "");
	until(f.b, list.n == 2);
	assert_int_equal(list.failed, 0);
	assert_int_equal(list.disorder, 0);
	family_end(&f);
}

/* Whoever refuses a message because its descriptors got lost has not consumed it. */
static void test_descriptors_refused(void **state)
{
	struct family f = { 0 };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct fixture *x = *state;
	brood_peer *far;
	list = (struct list){ 0 };
	family_connect(&f);
	assert_int_equal(setenv("BROOD_ADDRESS", x->tcp, 1), 0);
	assert_int_equal(setenv("BROOD_TOKEN_FILE", x->token_file, 1), 0);
	pid_t pid = start_program(KID("named", "far"), NULL);
	assert_int_equal(brood_find(f.b, &far, "far", BROOD_FIND(.wait_ms = PATIENCE_MS)), 0);
	assert_int_equal(brood_send(far, BROOD_MSG("x", "x", 1, .fds = &null, .n_fds = 1, .confirm = confirmed,
						   .confirm_data = (void *)(uintptr_t)1)),
			 0);
	until(f.b, list.n == 1);
	assert_int_equal(list.failed, 1);
	assert_int_equal(f.me.n[BROOD_EVENT_ERROR], 0);
	kill(pid, SIGKILL);
	wait_program(pid);
	close(null);
	family_end(&f);
	unsetenv("BROOD_TOKEN_FILE");
}

static void test_refused_calls(void **state)
{
	struct family f = { 0 };
	brood_msg *m;
	(void)state;
	begin(&f, KID("worker"));
	assert_true(brood_request(f.kid, BROOD_MSG("echo", "x", 1, .confirm = confirmed), -1, diary_write, &f.d) ==
		    -EINVAL);
	assert_int_equal(brood_call(f.kid, BROOD_MSG("echo", "x", 1, .confirm = confirmed), -1, &m), -EINVAL);
	family_end(&f);
	assert_int_equal(list.n, 0);
}

/* brood_run() goes on until it is known. */
static void test_run_waits(void **state)
{
	struct family f = { 0 };
	struct fixture *x = *state;
	brood *b;
	brood_peer *kid;
	begin(&f, KID("worker"));
	assert_int_equal(brood_connect(&b, x->address, NULL), 0);
	assert_int_equal(brood_find(b, &kid, info_of(f.kid).address, NULL), 0);
	send_confirmed(kid, "x", 1, 0);
	assert_int_equal(brood_run(b), 0);
	assert_int_equal(list.n, 1);
	assert_int_equal(brood_close(b), 0);
	family_end(&f);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void test_close_counts(void **state)
{
	struct family f = { 0 };
	struct fixture *x = *state;
	brood *b;
	brood_peer *kid;
	begin(&f, KID("worker"));
	assert_int_equal(brood_connect(&b, x->address, BROOD_OPTIONS(.flush_ms = 200)), 0);
	assert_int_equal(brood_find(b, &kid, info_of(f.kid).address, NULL), 0);
	say(kid, "numbered", "12345678");
	say(kid, "keep", "");
	say(kid, "numbered", "12345678");
	assert_int_equal(brood_close(b), 2); /* the kept one, and the one behind it */
	assert_int_equal(brood_connect(&b, x->address, NULL), 0);
	assert_int_equal(brood_find(b, &kid, info_of(f.kid).address, NULL), 0);
	say(kid, "numbered", "12345678");
	assert_int_equal(brood_close(b), 0);
	say(f.kid, "release", "");
	family_end(&f);
}

static void test_close_tells(void **state)
{
	struct family f = { 0 };
	struct fixture *x = *state;
	brood *b;
	brood_peer *kid;
	begin(&f, KID("worker"));
	assert_int_equal(brood_connect(&b, x->address, BROOD_OPTIONS(.flush_ms = 200)), 0);
	assert_int_equal(brood_find(b, &kid, info_of(f.kid).address, NULL), 0);
	send_confirmed(kid, "numbered", 1, 0);
	send_confirmed(kid, "keep", 2, 0);
	send_confirmed(kid, "numbered", 3, 0);
	assert_int_equal(brood_close(b), 2);
	assert_int_equal(list.n, 3);
	assert_int_equal(list.failed, 2);
	assert_int_equal(list.disorder, 0);
	assert_string_equal(list.error, "undelivered");
	assert_string_equal(list.text, "the handle was closed; it may have arrived");
	say(f.kid, "release", "");
	family_end(&f);
}

static void test_exit_says_so(void **state)
{
	struct family f = { .flags = 0 };
	(void)state;
	family_connect(&f);
	family_start(&f, KID("exit-unheard", "300"), .stdio = BROOD_STDIO(BROOD_PIPE(2)));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(brood_pause(f.kid, -1, 1), 0);
	say(f.kid, "go", "");
	until(f.b, f.d.output[2].ends == 1);
	assert_string_equal(f.d.output[2].text, "brood: 3 messages may be lost: not consumed within 300 ms of exit\n");
	assert_int_equal(brood_pause(f.kid, -1, 0), 0);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_int_equal(diary_messages(&f.d), 3);
	family_end(&f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_ALL(test_each_once_in_order),
		ON_ALL(test_kept_is_not_consumed),
		ON_ALL(test_survives_a_restart),
		ON_HOSTS(test_receiver_dies),
		ON_HOSTS(test_mixed_with_others),
		ON_HOSTS(test_nobody_holds_the_name),
		ON_HOSTS(test_moves_with_its_message),
		cmocka_unit_test_setup_teardown(test_descriptors_refused, fixture_setup_tcp, fixture_teardown),
		ON_HOSTS(test_refused_calls),
		ON_HOSTS(test_run_waits),
		ON_ALL(test_close_counts),
		ON_ALL(test_close_tells),
		ON_HOSTS(test_exit_says_so),
	};
	return RUN("confirm", tests);
}
