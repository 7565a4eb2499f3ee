/*
 * broker_rendezvous: what is left behind, whose file the FIFO is, and the moment of leaving. Files are the subject here.
 */
#include "rendezvous.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct bench {
	struct home home;
	struct address address;
	struct log log;
	struct event_base *base;
	struct rendezvous rendezvous;
	int taken, in, out; /* the last pair */
};

static void taken(void *data, int in_fd, int out_fd)
{
	struct bench *b = data;

	b->taken++;
	b->in = in_fd;
	b->out = out_fd;
}

static void open_again(struct bench *b)
{
	char why[PATH_MAX + 256];

	assert_int_equal(rendezvous_open(&b->rendezvous, b->base, &b->log, &b->home, taken, b, why, sizeof(why)), 0);
}

static int begin(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	char directory[] = "/tmp/brood-rendezvous-XXXXXX", text[128], why[512];

	assert_non_null(mkdtemp(directory));
	assert_int_equal(home_open(&b->home, directory, why, sizeof(why)), 0);
	snprintf(text, sizeof(text), "fifo:%s", directory);
	assert_int_equal(address_parse(text, &b->address, why, sizeof(why)), 0);
	log_init(&b->log, STDERR_FILENO, LOG_ERROR);
	b->base = event_base_new();
	b->in = b->out = -1;
	open_again(b);
	*state = b;
	return 0;
}

static int end(void **state)
{
	struct bench *b = *state;

	if (b->in >= 0)
		close(b->in);
	if (b->out >= 0)
		close(b->out);
	rendezvous_close(&b->rendezvous);
	rendezvous_close(&b->rendezvous);
	event_base_free(b->base);
	assert_int_equal(rmdir(b->home.path), 0);
	home_close(&b->home);
	free(b);
	return 0;
}

static int there(const struct bench *b, const char *file)
{
	struct stat st;

	return fstatat(b->home.fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void make_pair(const struct bench *b)
{
	assert_int_equal(mkfifoat(b->home.fd, "fifo-1-a.up", 0600), 0);
	assert_int_equal(mkfifoat(b->home.fd, "fifo-1-a.down", 0600), 0);
}

static void test_stale_pairs(void **state)
{
	struct bench *b = *state;

	make_pair(b);
	assert_int_equal(rendezvous_check(&b->rendezvous), 1);
	assert_true(there(b, "fifo-1-a.up")); /* its client may be about to say hello */
	b->rendezvous.stale_s = 0;
	for (int i = 0; i < 20000 && there(b, "fifo-1-a.up"); i++) {
		assert_int_equal(rendezvous_check(&b->rendezvous), 1);
		usleep(1000);
	}
	assert_false(there(b, "fifo-1-a.up"));
	assert_false(there(b, "fifo-1-a.down"));
	assert_true(there(b, "fifo"));
}

static void test_start_removes_pairs_only(void **state)
{
	struct bench *b = *state;
	int fd = openat(b->home.fd, "fifo-2-b.up", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	close(fd);
	assert_int_equal(symlinkat("fifo", b->home.fd, "fifo-2-b.down"), 0);
	assert_int_equal(mkfifoat(b->home.fd, "fifo-", 0600), 0);
	assert_int_equal(mkfifoat(b->home.fd, "mine.up", 0600), 0);
	make_pair(b);
	rendezvous_close(&b->rendezvous);
	assert_false(there(b, "fifo"));
	assert_false(there(b, "fifo-1-a.up")); /* at the end, too */
	make_pair(b);
	open_again(b);
	assert_false(there(b, "fifo-1-a.up"));
	assert_false(there(b, "fifo-1-a.down"));
	for (const char **file = (const char *[]){ "fifo-2-b.up", "fifo-2-b.down", "fifo-", "mine.up", NULL }; *file;
	     file++) {
		assert_true(there(b, *file));
		unlinkat(b->home.fd, *file, 0);
	}
}

static void test_whose_file(void **state)
{
	struct bench *b = *state;

	assert_int_equal(unlinkat(b->home.fd, "fifo", 0), 0);
	assert_int_equal(rendezvous_check(&b->rendezvous), 0);
	assert_int_equal(mkfifoat(b->home.fd, "fifo", 0600), 0);
	assert_int_equal(rendezvous_check(&b->rendezvous), 0);
	rendezvous_close(&b->rendezvous);
	assert_true(there(b, "fifo")); /* somebody else's now */
	assert_int_equal(unlinkat(b->home.fd, "fifo", 0), 0);
	assert_int_equal(rendezvous_check(&b->rendezvous), 1); /* closed: nothing to be lost */
}

static void test_leaving(void **state)
{
	struct bench *b = *state;
	struct knock k;
	int in, out;

	assert_int_equal(knock(&k, &b->address, &in, &out), 0);
	assert_int_equal(rendezvous_leave(&b->rendezvous), 0); /* it is let in ... */
	assert_int_equal(b->taken, 1);
	assert_true(there(b, "fifo")); /* ... and we stay */
	assert_int_equal(write(b->out, "x", 1), 1);
	knock_end(&k, 1);
	close(in);
	close(out);
	assert_int_equal(rendezvous_leave(&b->rendezvous), 1);
	assert_false(there(b, "fifo"));
	assert_int_equal(rendezvous_return(&b->rendezvous), 0);
	assert_int_equal(rendezvous_check(&b->rendezvous), 1);
	assert_true(there(b, "fifo"));
}

/* Nobody writes any more: that is no event, and costs nothing. */
static void test_rests(void **state)
{
	struct bench *b = *state;
	int fd = openat(b->home.fd, "fifo", O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	close(fd);
	assert_true(event_base_loop(b->base, EVLOOP_NONBLOCK) == 0);
	assert_int_equal(read(b->rendezvous.fd, &fd, 1), -1); /* not its end */
	assert_int_equal(errno, EAGAIN);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(test_stale_pairs), WITH(test_start_removes_pairs_only), WITH(test_whose_file), WITH(test_leaving),
		WITH(test_rests),
	};

	return cmocka_run_group_tests_name("broker_rendezvous", tests, NULL, NULL);
}
