/* Sockets to and of a broker: Unix and TCP, in the right order, with the right mode. */
#include "test.h"

#include "dial.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/brood-dial-XXXXXX";
static char text[128];

static struct address parse(const char *from)
{
	struct address a;
	char why[256];

	assert_int_equal(address_parse(from, &a, why, sizeof(why)), 0);
	return a;
}

static struct address unix_address(void)
{
	snprintf(text, sizeof(text), "unix:%s/socket", directory);
	return parse(text);
}

/* The address that a listener on port 0 got. */
static struct address bound(int fd, struct address a)
{
	a.length = sizeof(a.sockaddr);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a.sockaddr, &a.length), 0);
	return a;
}

static int wait_and_ask(int fd)
{
	struct pollfd p = { fd, POLLOUT, 0 };

	assert_int_equal(poll(&p, 1, 5000), 1);
	return dial_result(fd);
}

static void expect_flags(int fd)
{
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void expect_connection(int listener, struct address a)
{
	int pending, fd = dial(&a, &pending);

	assert_true(listener >= 0 && fd >= 0);
	expect_flags(listener);
	expect_flags(fd);
	assert_int_equal(pending ? wait_and_ask(fd) : dial_result(fd), 0);
	close(fd);
	close(listener);
}

static void connects_on_unix(void **state)
{
	struct address a = unix_address();

	(void)state;
	expect_connection(dial_listen(&a, 4), a);
}

static void connects_on_tcp(void **state)
{
	struct address a = parse("tcp://127.0.0.1:0");
	int listener = dial_listen(&a, 4);

	(void)state;
	expect_connection(listener, bound(listener, a));
}

static void a_unix_listener_is_private_and_leaves_no_other_file(void **state)
{
	struct address a = unix_address();
	char command[256];
	struct stat st;
	int first, second;

	(void)state;
	first = dial_listen(&a, 4);
	second = dial_listen(&a, 4); /* takes the path over without a gap */
	assert_true(first >= 0 && second >= 0);
	assert_int_equal(stat(text + 5, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	snprintf(command, sizeof(command), "test \"$(ls -A %s)\" = socket", directory);
	assert_int_equal(system(command), 0);
	close(first);
	expect_connection(second, a);
}

static void failures_are_told(void **state)
{
	struct address a = unix_address(), nowhere = parse("unix:/nonexistent/socket");
	struct address tcp = parse("tcp://127.0.0.1:0");
	int pending, fd, listener;

	(void)state;
	unlink(text + 5);
	assert_int_equal(dial(&a, &pending), -ENOENT);
	assert_int_equal(dial_listen(&nowhere, 4), -ENOENT);
	listener = dial_listen(&tcp, 4);
	tcp = bound(listener, tcp);
	close(listener);
	fd = dial(&tcp, &pending);
	assert_int_equal(fd < 0 ? fd : wait_and_ask(fd), -ECONNREFUSED);
	if (fd >= 0)
		close(fd);
}

static void a_full_queue_says_try_again(void **state)
{
	struct address a = unix_address();
	int listener = dial_listen(&a, 0), fds[4], n, pending;

	(void)state;
	for (n = 0; n < 4; n++)
		if ((fds[n] = dial(&a, &pending)) < 0)
			break;
	assert_true(n > 0 && n < 4);
	assert_int_equal(fds[n], -EAGAIN);
	while (n-- > 0)
		close(fds[n]);
	close(listener);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t length = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &length), 0);
	return value;
}

static void sockets_are_tuned(void **state)
{
	int tcp = socket(AF_INET, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);
	int before = option(local, SOL_SOCKET, SO_SNDBUF);

	(void)state;
	dial_tune(tcp, ADDRESS_TCP);
	assert_int_equal(option(tcp, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option(tcp, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option(tcp, IPPROTO_TCP, TCP_USER_TIMEOUT), 60000);
	dial_tune(local, ADDRESS_UNIX);
	assert_true(option(local, SOL_SOCKET, SO_SNDBUF) >= before);
	close(tcp);
	close(local);
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(text + 5);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connects_on_unix),
		cmocka_unit_test(connects_on_tcp),
		cmocka_unit_test(a_unix_listener_is_private_and_leaves_no_other_file),
		cmocka_unit_test(failures_are_told),
		cmocka_unit_test(a_full_queue_says_try_again),
		cmocka_unit_test(sockets_are_tuned),
	};

	if (!mkdtemp(directory))
		return 1;
	unix_address();
	return cmocka_run_group_tests(tests, NULL, remove_directory);
}
