/*
 * broker_log: whatever clients put into what they say, the broker's log is lines of its own; and there are not too many.
 */
#include "control.pb-c.h"
#include "guard.h"
#include "message.h"
#include "wire.h"
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 20000

/* Each begins a line of its own, colours, writes from right to left, ends the quotes, and is marked. */
#define POISON(mark)                                                                                                   \
	mark "\n2026-01-01T00:00:00.000Z info forged a=b\r\x1b[31m\xe2\x80\xae \" \\\xc2\x9b"                          \
	     "1m\x7f\t\b"
#define ESCAPED(mark)                                                                                                  \
	"\"" mark "\\x0a2026-01-01T00:00:00.000Z info forged a=b\\x0d\\x1b[31m\\xe2\\x80\\xae \\x22 \\x5c\\xc2\\x9b"   \
	"1m\\x7f\\x09\\x08\""

static struct wire_broker broker;

static int begin(void **state)
{
	(void)state;
	wire_broker_init(&broker);
	return 0;
}

static int end(void **state)
{
	(void)state;
	wire_broker_deinit(&broker);
	return 0;
}

static char *written(void)
{
	static char text[1 << 20];
	char path[96];
	FILE *file;
	size_t n;

	snprintf(path, sizeof(path), "%s/stderr", broker.dir);
	file = fopen(path, "r");
	assert_non_null(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	assert_true(n < sizeof(text) - 1);
	text[n] = '\0';
	return text;
}

static void wait_for(const char *words)
{
	for (int i = 0; i < PATIENCE_MS / 10 && !strstr(written(), words); i++)
		usleep(10000);
	if (!strstr(written(), words))
		fail_msg("%s is not in the log", words);
}

static unsigned count(const char *words)
{
	unsigned n = 0;

	for (const char *at = written(); (at = strstr(at, words)); at++)
		n++;
	return n;
}

/* Every byte can be shown, and every line begins as the broker's do: with a time of now, a level, an event. */
static void assert_lines(void)
{
	static const char *const levels[] = { "error", "warn", "info", "debug" };
	char *text = written(), level[8], event[32];
	int year, known;

	for (const char *at = text; *at; at++)
		assert_true(*at == '\n' || (*at >= 0x20 && *at < 0x7f));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		assert_int_equal(sscanf(line, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ %7s %31s", &year, level, event), 3);
		assert_string_not_equal(event, "forged");
		known = 0;
		for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
			known |= strcmp(level, levels[i]) == 0;
		assert_true(known);
	}
}

static void tell_line(struct wire *w, const char *title, const char *text)
{
	Brood__Control__Line line = BROOD__CONTROL__LINE__INIT;
	struct item it = { .kind = ITEM_MESSAGE, .name = "brood.control.Line", .type = ITEM_UNNUMBERED };
	struct frame head = { .kind = FRAME_DATA, .destination = FRAME_BROKER, .sequence = 1 };
	_Alignas(8) uint8_t bytes[1024];

	line.title = (char *)(uintptr_t)title;
	line.text = (ProtobufCBinaryData){ strlen(text), (uint8_t *)(uintptr_t)text };
	it.name_length = (uint8_t)strlen(it.name);
	it.length = (uint32_t)protobuf_c_message_get_packed_size(&line.base);
	it.total = it.length;
	head.length = (uint32_t)item_size(it.kind, item_extension_size(&it), it.length);
	assert_true(head.length <= sizeof(bytes));
	protobuf_c_message_pack(&line.base, item_write(bytes, &it));
	wire_send(w, &head, bytes, -1);
}

static void test_all_that_clients_choose(void **state)
{
	Brood__Hello hello = BROOD__HELLO__INIT, orphan = BROOD__HELLO__INIT;
	struct wire a, b;

	(void)state;
	wire_broker_start(&broker, (const char *[]){ "--log-level", "debug", NULL });
	hello.title = (char *)(uintptr_t)POISON("title");
	hello.level = 1;
	wire_connect(&a, broker.socket);
	wire_hello(&a, &hello);
	wait_for("title=" ESCAPED("title"));
	tell_line(&a, POISON("program"), POISON("line"));
	wait_for("title=" ESCAPED("program") " fd=0 text=" ESCAPED("line"));
	orphan.parent = (char *)(uintptr_t)POISON("parent");
	wire_connect(&b, broker.socket);
	wire_say(&b, FRAME_HELLO, &orphan.base, -1);
	wire_expect_refused(&b, "parent.unknown");
	wait_for("parent\\x0a2026");
	wire_close(&b);
	wire_leave(&a);
	assert_lines();
}

static void test_what_files_say(void **state)
{
	char path[96];
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%s/broodd.conf", broker.dir);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0600), 0);
	wire_broker_start(&broker, (const char *[]){ "--config", path, NULL });
	file = fopen(path, "w");
	assert_non_null(file);
	fputs("[broker]\nlog-level = lo\xe2\x80\xaeud\nke\xe2\x80\xaey = 1\n[limits]\nx\x1b = 1\n", file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(kill(broker.pid, SIGHUP), 0);
	wait_for("broodd.conf:2: broker.log-level: \\x22lo\\xe2\\x80\\xaeud\\x22 is not a level");
	wait_for("broodd.conf:3: ke\\xe2\\x80\\xaey: there is no such key");
	wait_for("broodd.conf:5: there is a byte 0x1b");
	assert_lines();
}

/* How many events have a line, or were counted in one. */
static unsigned accounted(const char *event)
{
	unsigned n = count(event);

	for (const char *line = strstr(written(), event); line; line = strstr(line + 1, event)) {
		char copy[4096];
		const char *more;

		snprintf(copy, sizeof(copy), "%.*s", (int)strcspn(line, "\n"), line);
		more = strstr(copy, "suppressed=");
		n += more ? (unsigned)atoi(more + strlen("suppressed=")) : 0;
	}
	return n;
}

static void be_refused(void)
{
	struct wire w;

	wire_connect(&w, broker.socket);
	wire_raw(&w, "garbage", 7);
	wire_expect_refused(&w, "frame.magic");
	wire_close(&w);
}

static void test_floods(void **state)
{
	enum { MANY = 1000 };
	const char *event = " warn session.refused ";
	struct timespec first, now;
	unsigned refused = 0, ms, lines;

	(void)state;
	wire_broker_start(&broker, NULL);
	clock_gettime(CLOCK_MONOTONIC, &first);
	while (refused < MANY) {
		be_refused();
		refused++;
	}
	lines = count(event);
	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (unsigned)((now.tv_sec - first.tv_sec) * 1000 + (now.tv_nsec - first.tv_nsec) / 1000000);
	assert_in_range(lines, 50, 50 + ms / 100 + 2); /* 50 at once, then ten a second */
	for (int i = 0; i < PATIENCE_MS / 200 && accounted(event) < refused; i++) {
		usleep(200000);
		be_refused();
		refused++;
	}
	assert_int_equal(accounted(event), refused); /* none is lost to the count */
	assert_lines();
}

/* Of whom the broker knows nothing else, it says the address. */
static void test_who_is_refused(void **state)
{
	struct sockaddr_in own = { 0 };
	socklen_t length = sizeof(own);
	char path[96], address[64] = "", line[96];
	struct wire w;
	FILE *file;

	(void)state;
	wire_broker_start(&broker, (const char *const[]){ "--listen", "tcp://127.0.0.1:0", NULL });
	snprintf(path, sizeof(path), "%s/tcp", broker.dir);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%63s", address), 1);
	fclose(file);
	wire_connect(&w, address);
	assert_int_equal(getsockname(w.channel.in_fd, (struct sockaddr *)&own, &length), 0);
	wire_raw(&w, "garbage", 7);
	wire_expect_refused(&w, "frame.magic");
	wire_close(&w);
	snprintf(line, sizeof(line), " warn session.refused from=127.0.0.1:%u error=frame.magic ", ntohs(own.sin_port));
	assert_int_equal(count(line), 1);
	be_refused();
	snprintf(line, sizeof(line), " warn session.refused uid=%u error=frame.magic ", (unsigned)getuid());
	assert_int_equal(count(line), 1);
	assert_lines();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_that_clients_choose, begin, end),
		cmocka_unit_test_setup_teardown(test_what_files_say, begin, end),
		cmocka_unit_test_setup_teardown(test_floods, begin, end),
		cmocka_unit_test_setup_teardown(test_who_is_refused, begin, end),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
