/*
 * fifo: what is the library's own about named pipes. Everything else runs over them as over the others (ON_ALL); how the
 * broker takes hellos is in broker_fifo.c.
 */
#include "flow.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Its hello was never read. Without a look at the rendezvous it would wait in vain, and fail. */
static void test_killed_while_knocking(void **state)
{
	struct fixture *x = *state;
	brood *b;
	assert_int_equal(kill(x->broker, SIGSTOP), 0);
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	assert_int_equal(brood_register(b, "early"), 0);
	assert_true(brood_process(b, 0) >= 0);
	assert_int_equal(leftovers_pairs(x->brood), 2);
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	assert_true(brood_process(b, PATIENCE_MS) >= 0);
	assert_int_equal(leftovers_pairs(x->brood), 0);
	assert_int_equal(fixture_start(x), 0);
	assert_int_equal(brood_sync(b, PATIENCE_MS), 0);
	assert_int_equal(leftovers_pairs(x->brood), 0);
	brood_close(b);
}

static void test_closed_while_knocking(void **state)
{
	struct fixture *x = *state;
	brood *b;
	assert_int_equal(kill(x->broker, SIGSTOP), 0);
	assert_int_equal(brood_connect(&b, NULL, BROOD_OPTIONS(.flush_ms = 1)), 0);
	assert_int_equal(brood_register(b, "early"), 0);
	assert_int_equal(leftovers_pairs(x->brood), 2);
	brood_close(b);
	assert_int_equal(leftovers_pairs(x->brood), 0);
	assert_int_equal(kill(x->broker, SIGCONT), 0);
}

/* What knocking needs is given back when the broker answers: two pipes are all that a connection takes. */
static void test_knocking_ends(void **state)
{
	brood *b;
	(void)state;
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	unsigned before = count_fds();
	assert_int_equal(brood_register(b, "here"), 0);
	assert_int_equal(count_fds(), before + 5);
	assert_int_equal(brood_sync(b, PATIENCE_MS), 0);
	assert_int_equal(count_fds(), before + 2);
	brood_close(b);
}

static void expect_distrust(const char *address)
{
	brood *b;
	assert_int_equal(brood_connect(&b, address, NULL), 0);
	assert_int_equal(brood_sync(b, PATIENCE_MS), -EPERM);
	assert_string_equal(brood_last_error(b)->name, "broker.untrusted");
	assert_non_null(strstr(brood_last_error(b)->text, "must be yours alone"));
	brood_close(b);
}

static void test_not_mine_alone(void **state)
{
	struct fixture *x = *state;
	char link[80], address[100];
	assert_int_equal(chmod(x->brood, 0710), 0);
	expect_distrust(x->fifo);
	assert_int_equal(chmod(x->brood, 0700), 0);
	snprintf(link, sizeof link, "%s/link", x->directory);
	assert_int_equal(symlink(x->brood, link), 0);
	snprintf(address, sizeof address, "fifo:%s", link);
	expect_distrust(address);
	assert_int_equal(unlink(link), 0);
}

/* A broker that serves no FIFOs. */
static void test_nobody_there(void **state)
{
	struct fixture *x = *state;
	char address[100];
	brood *b;
	snprintf(address, sizeof address, "fifo:%s", x->brood);
	assert_int_equal(brood_connect(&b, address, NULL), 0);
	assert_int_equal(brood_sync(b, PATIENCE_MS), -ENOENT);
	assert_string_equal(brood_last_error(b)->name, "broker.absent");
	brood_close(b);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_FIFO(test_killed_while_knocking), ON_FIFO(test_closed_while_knocking), ON_FIFO(test_knocking_ends),
		ON_FIFO(test_not_mine_alone),        ON_UNIX(test_nobody_there),
	};
	return RUN("fifo", tests);
}
