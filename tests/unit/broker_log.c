/*
 * broker_log: lines stay lines whatever is in them, floods are cut and counted, and a file stays small.
 */
#include "log.h"
#include "test.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int fd;
static struct log log_;

static int begin(void **state)
{
	(void)state;
	fd = memfd_create("log", MFD_CLOEXEC);
	log_init(&log_, fd, LOG_DEBUG);
	return 0;
}

static int end(void **state)
{
	(void)state;
	return close(fd);
}

/* All that was written. */
static const char *written(void)
{
	static char text[100000];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

/* Without its time, which has 25 characters with the blank. */
static void assert_line(const char *expected)
{
	const char *text = written();

	assert_true(strlen(text) > 25);
	assert_string_equal(text + 25, expected);
}

static void test_fields(void **state)
{
	(void)state;
	log_say(&log_, LOG_DRAIN, FIELD_TEXT("reason", "SIGTERM"), FIELD_NUMBER("n", 7),
		FIELD_ID("id", (uint64_t)0xab << 32 | 12));
	assert_line("info drain reason=SIGTERM n=7 id=ab.12\n");
}

static void test_what_says_nothing_is_left_out(void **state)
{
	(void)state;
	log_say(&log_, LOG_SESSION_REFUSED, FIELD_ID("id", 0), FIELD_USER("uid", UINT32_MAX), FIELD_TEXT("from", NULL),
		FIELD_NUMBER("n", 0), FIELD_ID("to", 1), FIELD_USER("of", 0), FIELD_TEXT("empty", ""));
	assert_line("warn session.refused n=0 to=0.1 of=0 empty=\"\"\n");
}

static void test_foreign_bytes_are_escaped(void **state)
{
	(void)state;
	log_say(&log_, LOG_SESSION_REFUSED, FIELD_TEXT("text", "a\nb\x1b[31m \"c\" \\ \xc3\xa4"),
		FIELD_TEXT("empty", ""));
	assert_line("warn session.refused text=\"a\\x0ab\\x1b[31m \\x22c\\x22 \\x5c \\xc3\\xa4\" empty=\"\"\n");
}

/* A byte of what was written, as it was; *at is behind it. */
static int unescape(const char **at)
{
	const char digits[3] = { (*at)[0] == '\\' ? (*at)[2] : '\0', (*at)[0] == '\\' ? (*at)[3] : '\0', '\0' };

	if (**at != '\\')
		return (unsigned char)*(*at)++;
	assert_int_equal((*at)[1], 'x');
	*at += 4;
	return (int)strtoul(digits, NULL, 16);
}

/* One line, of bytes that can be shown, and the value can be had back from it. */
static void assert_round_trip(const char *value)
{
	const char *line, *at;

	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	log_init(&log_, fd, LOG_DEBUG);
	log_say(&log_, LOG_PROCESS_CAME, FIELD_TEXT("title", value), FIELD_NUMBER("end", 1));
	line = written();
	at = strstr(line, " title=");
	assert_non_null(at);
	at += strlen(" title=");
	for (const char *byte = line; *byte; byte++)
		assert_true((*byte >= 0x20 && *byte < 0x7f) || (*byte == '\n' && byte[1] == '\0'));
	if (*at != '"') { /* a word, as it is */
		assert_int_equal(strncmp(at, value, strlen(value)), 0);
		at += strlen(value);
	} else {
		for (at++; *at != '"'; value++)
			assert_int_equal(unescape(&at), (unsigned char)*value);
		assert_int_equal(*value, '\0');
		at++;
	}
	assert_string_equal(at, " end=1\n");
}

static void test_every_byte(void **state)
{
	static const char *const values[] = { "a\xe2\x80\xae"
					      "b", /* written from right to left */
					      "\xe2\x81\xa6"
					      "x\xe2\x81\xa9",
					      "\xe2\x80\xa8", /* another newline */
					      "\xc2\x85",
					      "\xef\xbb\xbf",
					      "a end=1",
					      "\" end=1",
					      "\\\\x0a",
					      "=" };
	char text[4];

	(void)state;
	for (int c = 1; c < 256; c++) {
		snprintf(text, sizeof(text), "a%cb", c);
		assert_round_trip(text);
		snprintf(text, sizeof(text), "%c", c);
		assert_round_trip(text);
	}
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++)
		assert_round_trip(values[i]);
}

static void test_noise(void **state)
{
	char text[600];

	(void)state;
	srand(3);
	for (int i = 0; i < 2000; i++) {
		size_t n = (size_t)rand() % (sizeof(text) - 1);

		for (size_t k = 0; k < n; k++)
			text[k] = (char)(1 + rand() % 255);
		text[n] = '\0';
		assert_round_trip(text);
	}
}

static void test_long_values_are_cut(void **state)
{
	char text[5000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_say(&log_, LOG_DRAIN, FIELD_TEXT("reason", text));
	assert_int_equal(strlen(written()), 4096);
	assert_int_equal(written()[4095], '\n');
}

static void test_level(void **state)
{
	(void)state;
	log_.level = LOG_WARN;
	log_say(&log_, LOG_DRAIN, FIELD_NUMBER("n", 1));
	assert_string_equal(written(), "");
	log_say(&log_, LOG_SESSION_REFUSED, FIELD_NUMBER("n", 1));
	assert_line("warn session.refused n=1\n");
}

static unsigned count_lines(void)
{
	unsigned n = 0;

	for (const char *at = written(); (at = strchr(at, '\n')); at++)
		n++;
	return n;
}

static void test_floods_are_cut_and_counted(void **state)
{
	const char *last;
	unsigned n;

	(void)state;
	for (int i = 0; i < 1000; i++)
		log_say(&log_, LOG_SESSION_REFUSED, FIELD_NUMBER("i", i));
	n = count_lines();
	assert_in_range(n, 50, 70);
	/* Other events have their own measure. */
	log_say(&log_, LOG_DRAIN, FIELD_NUMBER("i", 0));
	assert_int_equal(count_lines(), n + 1);
	usleep(250000);
	log_say(&log_, LOG_SESSION_REFUSED, FIELD_NUMBER("i", 1000));
	last = strstr(written(), "i=1000");
	assert_non_null(last);
	assert_int_equal(atoi(strstr(last, "suppressed=") + strlen("suppressed=")), 1000 - n);
}

static void test_file_stays_small(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
	log_move(&log_, fd, 1000);
	for (int i = 0; i < 45; i++) {
		log_say(&log_, LOG_DRAIN, FIELD_NUMBER("i", i));
		assert_int_equal(fstat(fd, &st), 0);
		assert_in_range(st.st_size, 1, 1000);
	}
	assert_non_null(strstr(written(), "i=44\n"));
}

/* It is not waited for; what it missed is counted. */
static void test_a_reader_that_stopped(void **state)
{
	static char text[100000];
	int ends[2], n = 0, lines = 0;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) > 0);
	log_init(&log_, ends[1], LOG_DEBUG);
	memset(text, 'x', 2000);
	alarm(10);
	while (n < 40)
		log_say(&log_, LOG_DRAIN, FIELD_TEXT("reason", text), FIELD_NUMBER("i", n++));
	alarm(0);
	assert_true(read(ends[0], text, sizeof(text)) > 0);
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		lines++;
	assert_in_range(lines, 1, 3);
	log_say(&log_, LOG_DRAIN, FIELD_TEXT("reason", "SIGTERM"));
	memset(text, 0, sizeof(text));
	assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, "reason=SIGTERM suppressed="));
	assert_int_equal(atoi(strstr(text, "suppressed=") + strlen("suppressed=")), n - lines);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fields, begin, end),
		cmocka_unit_test_setup_teardown(test_what_says_nothing_is_left_out, begin, end),
		cmocka_unit_test_setup_teardown(test_foreign_bytes_are_escaped, begin, end),
		cmocka_unit_test_setup_teardown(test_every_byte, begin, end),
		cmocka_unit_test_setup_teardown(test_noise, begin, end),
		cmocka_unit_test_setup_teardown(test_long_values_are_cut, begin, end),
		cmocka_unit_test_setup_teardown(test_level, begin, end),
		cmocka_unit_test_setup_teardown(test_floods_are_cut_and_counted, begin, end),
		cmocka_unit_test_setup_teardown(test_file_stays_small, begin, end),
		cmocka_unit_test_setup_teardown(test_a_reader_that_stopped, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
