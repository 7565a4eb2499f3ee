/*
 * broker_listener: the moment of leaving, and what is ours of a socket's file. Sockets are the subject here.
 */
#include "dial.h"
#include "listener.h"
#include "test.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct bench {
	char dir[64], path[96];
	struct address address;
	struct log log;
	struct event_base *base;
	struct listeners listeners;
	int taken;
};

static void taken(void *data, int fd, enum address_kind kind)
{
	struct bench *b = data;

	assert_int_equal(kind, ADDRESS_UNIX);
	close(fd);
	b->taken++;
}

static int begin(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	char text[128], why[256];

	strcpy(b->dir, "/tmp/brood-listener-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->path, sizeof(b->path), "%s/sock", b->dir);
	snprintf(text, sizeof(text), "unix:%s", b->path);
	log_init(&b->log, STDERR_FILENO, LOG_ERROR);
	b->base = event_base_new();
	assert_int_equal(address_parse(text, &b->address, why, sizeof(why)), 0);
	assert_int_equal(listeners_init(&b->listeners, b->base, &b->log, taken, b), 0);
	assert_int_equal(listener_add(&b->listeners, &b->address, why, sizeof(why)), 0);
	assert_string_equal(listener_text(&b->listeners, ADDRESS_UNIX), text);
	assert_string_equal(listener_text(&b->listeners, ADDRESS_TCP), "");
	*state = b;
	return 0;
}

static int end(void **state)
{
	struct bench *b = *state;

	listeners_deinit(&b->listeners);
	event_base_free(b->base);
	unlink(b->path);
	assert_int_equal(rmdir(b->dir), 0);
	free(b);
	return 0;
}

static int connect_to(const struct bench *b)
{
	int pending, fd = dial(&b->address, &pending);

	assert_true(fd >= 0);
	return fd;
}

static void test_accepts_all_that_wait(void **state)
{
	struct bench *b = *state;
	int fds[100];

	for (int i = 0; i < 100; i++)
		fds[i] = connect_to(b);
	for (int i = 0; i < 3; i++)
		event_base_loop(b->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(b->taken, 100);
	for (int i = 0; i < 100; i++)
		close(fds[i]);
}

static void test_leaves_when_nobody_waits(void **state)
{
	struct bench *b = *state;

	assert_int_equal(listeners_leave(&b->listeners), 1);
	assert_int_equal(access(b->path, F_OK), -1);
	assert_int_equal(b->taken, 0);
}

/* Who was in the queue is taken, and the next one finds us, too. */
static void test_stays_when_somebody_waits(void **state)
{
	struct bench *b = *state;
	int early = connect_to(b), late;

	assert_int_equal(listeners_leave(&b->listeners), 0);
	assert_int_equal(b->taken, 1);
	assert_null(listener_lost(&b->listeners));
	late = connect_to(b);
	event_base_loop(b->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(b->taken, 2);
	close(early);
	close(late);
	assert_int_equal(listeners_leave(&b->listeners), 1);
	assert_int_equal(access(b->path, F_OK), -1);
}

/* A file that is not ours any more is noticed, and left alone. */
static void test_replaced_file(void **state)
{
	struct bench *b = *state;
	int other;

	assert_null(listener_lost(&b->listeners));
	other = dial_listen(&b->address, 1);
	assert_true(other >= 0);
	assert_ptr_equal(listener_lost(&b->listeners), &b->listeners.all[0]);
	listeners_deinit(&b->listeners);
	assert_int_equal(access(b->path, F_OK), 0);
	close(other);
}

static void test_removed_file(void **state)
{
	struct bench *b = *state;

	assert_int_equal(unlink(b->path), 0);
	assert_ptr_equal(listener_lost(&b->listeners), &b->listeners.all[0]);
}

/* A path is taken over from the dead only. */
static void test_what_is_there_stays(void **state)
{
	struct bench *b = *state;
	struct listeners other;
	struct stat st;
	char why[256];

	assert_int_equal(listeners_init(&other, b->base, &b->log, taken, b), 0);
	assert_int_equal(listener_add(&other, &b->address, why, sizeof(why)), -EADDRINUSE);
	assert_non_null(strstr(why, "in use; stop what uses it"));
	assert_null(listener_lost(&b->listeners));
	listeners_deinit(&b->listeners);

	assert_int_equal(mknod(b->path, S_IFREG | 0600, 0), 0);
	assert_int_equal(listener_add(&other, &b->address, why, sizeof(why)), -EEXIST);
	assert_non_null(strstr(why, "no socket is there; remove it"));
	assert_int_equal(lstat(b->path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(unlink(b->path), 0);

	close(dial_listen(&b->address, 1)); /* as kill -9 leaves it */
	assert_int_equal(access(b->path, F_OK), 0);
	assert_int_equal(listener_add(&other, &b->address, why, sizeof(why)), 0);
	listeners_deinit(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_accepts_all_that_wait, begin, end),
		cmocka_unit_test_setup_teardown(test_leaves_when_nobody_waits, begin, end),
		cmocka_unit_test_setup_teardown(test_stays_when_somebody_waits, begin, end),
		cmocka_unit_test_setup_teardown(test_replaced_file, begin, end),
		cmocka_unit_test_setup_teardown(test_removed_file, begin, end),
		cmocka_unit_test_setup_teardown(test_what_is_there_stays, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
