/* knock: hellos out of bytes; and a client's half against a false broker that is a directory and a descriptor. */
#include "test.h"

#include "knock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Hellos.
 */

static int next(struct knock_reader *r, const char *text, char name[KNOCK_NAME])
{
	const char *at = text;

	return knock_next(r, &at, text + strlen(text), name);
}

static void test_hellos(void **state)
{
	struct knock_reader r = { .n = 0 };
	const char text[] = "\nbrood 1 fifo-1\n\nbrood 1 fifo-2-ab\ntorn\nbrood 1 fifo-3\n";
	const char *at = text, *end = text + strlen(text);
	char name[KNOCK_NAME];

	(void)state;
	assert_int_equal(knock_next(&r, &at, end, name), 1);
	assert_string_equal(name, "fifo-1");
	assert_int_equal(knock_next(&r, &at, end, name), 1);
	assert_string_equal(name, "fifo-2-ab");
	assert_int_equal(knock_next(&r, &at, end, name), -EPROTO);
	assert_int_equal(knock_next(&r, &at, end, name), 1);
	assert_string_equal(name, "fifo-3");
	assert_int_equal(knock_next(&r, &at, end, name), 0);
	/* In pieces. */
	assert_int_equal(next(&r, "brood 1 fi", name), 0);
	assert_int_equal(next(&r, "fo-4\n", name), 1);
	assert_string_equal(name, "fifo-4");
}

static void test_no_hellos(void **state)
{
	static const char *const lines[] = {
		"fifo-1",          "brood 1 ",         "brood 1 fifo-",         "brood 1 fifo",
		"brood 2 fifo-1",  "brood 1 ../fifo-", "brood 1 fifo-1/x",      "brood 1 fifo-1.up",
		"brood 1 fifo-..", "brood 1 fifo-1 ",  "brood 1 FIFO-1",        "brood 1 sock",
		" brood 1 fifo-1", "brood 1 fifo-1\r", "brood 1 fifo-\xc3\xa4", "brood 1 /fifo-1",
		"brood 1 lock",    "brood 1 fifo-A",   "brood 1 fifo-1\tbeta",
	};
	struct knock_reader r = { .n = 0 };
	char line[5000], name[KNOCK_NAME];

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		snprintf(line, sizeof(line), "%s\n", lines[i]);
		assert_int_equal(next(&r, line, name), -EPROTO);
	}
	memset(line, 'a', sizeof(line));
	memcpy(line, "brood 1 fifo-", 13);
	strcpy(line + sizeof(line) - 2, "\n");
	assert_int_equal(next(&r, line, name), -EPROTO); /* too long, once */
	assert_int_equal(next(&r, "brood 1 fifo-1\n", name), 1);
}

static void test_files_of_pairs(void **state)
{
	(void)state;
	assert_true(knock_is_pair("fifo-1.up"));
	assert_true(knock_is_pair("fifo-12-ab.down"));
	assert_false(knock_is_pair("fifo"));
	assert_false(knock_is_pair("fifo-1"));
	assert_false(knock_is_pair("fifo-.up"));
	assert_false(knock_is_pair("fifo-1.up.down"));
	assert_false(knock_is_pair("sock"));
	assert_false(knock_is_pair("../fifo-1.up"));
}

/*
 * A client.
 */

struct place {
	char directory[64];
	struct address address;
	int fd; /* the false broker's end of the rendezvous */
};

static const char *path_in(const struct place *p, const char *file)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", p->directory, file);
	return path;
}

static int place_setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	char text[80], why[200];

	assert_non_null(p);
	strcpy(p->directory, "/tmp/brood-knock-XXXXXX");
	assert_non_null(mkdtemp(p->directory));
	snprintf(text, sizeof(text), "fifo:%s", p->directory);
	assert_int_equal(address_parse(text, &p->address, why, sizeof(why)), 0);
	assert_int_equal(mkfifo(path_in(p, KNOCK_FILE), 0600), 0);
	p->fd = open(path_in(p, KNOCK_FILE), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(p->fd >= 0);
	*state = p;
	return 0;
}

/* Fails if a file is left but the rendezvous. */
static int place_teardown(void **state)
{
	struct place *p = *state;
	int r;

	if (p->fd >= 0)
		close(p->fd);
	unlink(path_in(p, KNOCK_FILE));
	r = rmdir(p->directory);
	free(p);
	return r;
}

/* Take the hello, open the pair as a broker does, and unlink it. */
static void answer(const struct place *p, int *in_fd, int *out_fd)
{
	struct knock_reader r = { .n = 0 };
	char bytes[4096], name[KNOCK_NAME], file[KNOCK_PATH];
	const char *at = bytes;
	ssize_t got = read(p->fd, bytes, sizeof(bytes));

	assert_true(got > 0);
	assert_int_equal(knock_next(&r, &at, bytes + got, name), 1);
	*out_fd = open(path_in(p, knock_path(name, KNOCK_DOWN, file)), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(*out_fd >= 0);
	assert_int_equal(unlink(path_in(p, file)), 0);
	*in_fd = open(path_in(p, knock_path(name, KNOCK_UP, file)), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(*in_fd >= 0);
	assert_int_equal(unlink(path_in(p, file)), 0);
}

static short shown(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

static void test_a_pair(void **state)
{
	struct place *p = *state;
	struct knock k;
	char byte;
	int in, out, its_in, its_out;

	assert_int_equal(knock(&k, &p->address, &in, &out), 0);
	assert_int_equal(write(out, "x", 1), 1); /* before anybody came */
	assert_int_equal(shown(in), 0);
	answer(p, &its_in, &its_out);
	assert_int_equal(read(its_in, &byte, 1), 1);
	assert_int_equal(write(its_out, "y", 1), 1);
	assert_int_equal(shown(in), POLLIN);
	assert_int_equal(read(in, &byte, 1), 1);
	knock_end(&k, 1);
	knock_end(&k, 1);
	assert_int_equal(k.hold, -1);
	/* Nobody has both ends of anything: each end shows. */
	close(its_in);
	assert_true(shown(out) & POLLERR);
	close(its_out);
	assert_int_equal(shown(in), POLLHUP);
	close(in);
	close(out);
}

static void test_nobody_there(void **state)
{
	struct place *p = *state;
	struct knock k;
	int in, out;

	close(p->fd);
	p->fd = -1;
	assert_int_equal(knock(&k, &p->address, &in, &out), -ECONNREFUSED);
	unlink(path_in(p, KNOCK_FILE));
	assert_int_equal(knock(&k, &p->address, &in, &out), -ENOENT);
	assert_true(close(open(path_in(p, KNOCK_FILE), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) == 0);
	assert_int_equal(knock(&k, &p->address, &in, &out), -EPERM); /* not a FIFO */
}

static void test_gives_up(void **state)
{
	struct place *p = *state;
	struct knock k;
	int in, out;

	assert_int_equal(knock(&k, &p->address, &in, &out), 0);
	assert_int_equal(shown(k.rendezvous), 0);
	close(p->fd); /* it ends with the hello unread */
	p->fd = -1;
	assert_int_equal(shown(k.rendezvous), POLLERR);
	assert_true(knock_is_vain(&k, in, out));
	knock_end(&k, 0); /* removes its files: see the teardown */
	close(in);
	close(out);
}

/* It had come, and then it was gone: the pair itself shows that. Or it only listens no more. */
static void test_not_in_vain(void **state)
{
	struct place *p = *state;
	struct knock k;
	int in, out, its_in, its_out;

	assert_int_equal(knock(&k, &p->address, &in, &out), 0);
	answer(p, &its_in, &its_out);
	close(p->fd);
	p->fd = -1;
	assert_int_equal(shown(k.rendezvous), POLLERR);
	assert_false(knock_is_vain(&k, in, out));
	close(its_in);
	close(its_out);
	assert_false(knock_is_vain(&k, in, out));
	assert_int_equal(shown(in), POLLHUP);
	knock_end(&k, 1);
	close(in);
	close(out);
}

static void test_rendezvous_is_full(void **state)
{
	struct place *p = *state;
	static const char bytes[4096];
	struct knock k;
	int in, out, fd = open(path_in(p, KNOCK_FILE), O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	while (write(fd, bytes, sizeof(bytes)) > 0)
		;
	assert_int_equal(knock(&k, &p->address, &in, &out), -EAGAIN);
	close(fd);
}

static void test_whose_directory(void **state)
{
	struct place *p = *state;
	char link[80], text[96], why[200];
	struct address a;
	struct knock k;
	int in, out;

	assert_int_equal(chmod(p->directory, 0750), 0);
	assert_int_equal(knock(&k, &p->address, &in, &out), -EPERM);
	assert_int_equal(chmod(p->directory, 0701), 0);
	assert_int_equal(knock(&k, &p->address, &in, &out), -EPERM);
	assert_int_equal(chmod(p->directory, 0700), 0);
	snprintf(link, sizeof(link), "%s.link", p->directory);
	assert_int_equal(symlink(p->directory, link), 0);
	snprintf(text, sizeof(text), "fifo:%s", link);
	assert_int_equal(address_parse(text, &a, why, sizeof(why)), 0);
	assert_int_equal(knock(&k, &a, &in, &out), -EPERM);
	unlink(link);
	if (geteuid() != 0) {
		print_message("only root can make a directory of another user\n");
		return;
	}
	assert_int_equal(chown(p->directory, 65534, 65534), 0);
	assert_int_equal(knock(&k, &p->address, &in, &out), -EPERM);
}

#define IN_A_PLACE(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hellos),         cmocka_unit_test(test_no_hellos),
		cmocka_unit_test(test_files_of_pairs), IN_A_PLACE(test_a_pair),
		IN_A_PLACE(test_nobody_there),         IN_A_PLACE(test_gives_up),
		IN_A_PLACE(test_not_in_vain),          IN_A_PLACE(test_rendezvous_is_full),
		IN_A_PLACE(test_whose_directory),
	};

	return cmocka_run_group_tests_name("proto_knock", tests, NULL, NULL);
}
