/* broker_conffile: which bytes are which sections, keys and values, and which files are believed. */
#include "conffile.h"
#include "test.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char heard[65536]; /* "1[a] 2a.k=v 3! " */

__attribute__((format(printf, 1, 2))) static void hear(const char *format, ...)
{
	size_t used = strlen(heard);
	va_list args;

	va_start(args, format);
	vsnprintf(heard + used, sizeof(heard) - used, format, args);
	va_end(args);
}

static int on_section(void *data, unsigned line, const char *section, const char *name)
{
	(void)data;
	if (name)
		hear("%u[%s \"%s\"] ", line, section, name);
	else
		hear("%u[%s] ", line, section);
	return strncmp(section, "no", 2) != 0;
}

static void on_value(void *data, unsigned line, const char *section, const char *key, const char *value)
{
	(void)data;
	hear("%u%s.%s=%s ", line, section, key, value);
}

static void on_wrong(void *data, unsigned line, const char *why)
{
	assert_null(strchr(why, '\n'));
	hear("%u!%s", line, data ? why : " ");
}

static const struct conffile_ops ops = { on_section, on_value, on_wrong };

static const char *parse(const char *bytes, size_t n, int with_reasons)
{
	static int yes;

	heard[0] = '\0';
	conffile_parse(bytes, n, &ops, with_reasons ? &yes : NULL);
	return heard;
}

static void test_lines(void **state)
{
	static const struct {
		const char *text, *means;
	} cases[] = {
		{ "", "" },
		{ "\n\n", "" },
		{ "[a]", "1[a] " },
		{ "[a]\nk=v", "1[a] 2a.k=v " },
		{ "[a]\nk = v\n", "1[a] 2a.k=v " },
		{ "[a]\r\nk = v\r\n", "1[a] 2a.k=v " },
		{ "[a] \t\n\tk\t=\tv \n", "1[a] 2a.k=v " },
		{ "[a]\nk =\n", "1[a] 2a.k= " },
		{ "[a]\nk = a = b\n", "1[a] 2a.k=a = b " },
		{ "[a]\nk = unix:/x tcp://y:1\n", "1[a] 2a.k=unix:/x tcp://y:1 " },
		{ "k = v\n", "1.k=v " },
		/* what follows a value is not more of it, wherever it stands */
		{ "[a]\nk = v\n  l = w\n", "1[a] 2a.k=v 3a.l=w " },
		{ "[a]\nk = v\n\tw\n", "1[a] 2a.k=v 3! " },
		{ "[a]\nk = v\n  [b]\nk = w", "1[a] 2a.k=v 3[b] 4b.k=w " },
		{ "[a]\nk = v \\\nl = w", "1[a] 2a.k=v \\ 3a.l=w " },
		/* comments */
		{ "# x\n;x\n  # [a]\n[a] ; x\n[b] # x\nk = v ; x\nl = v;x\nm = ;x\n",
		  "4[a] 5[b] 6b.k=v 7b.l=v;x 8b.m= " },
		{ "[a]\nk = v # x\nl = w\nm = #\nn = x#y\no = v ; x # y\np = v # x ; y\n",
		  "1[a] 2! 3a.l=w 4! 5a.n=x#y 6a.o=v 7! " },
		/* sections that are none, and what would be in them */
		{ "[a\nk = v\n[b]\nk = v", "1! 3[b] 4b.k=v " },
		{ "[a] k = v\nl = w\n", "1! " },
		{ "[]\nk = v", "1! " },
		{ "[a]]\nk = v", "1! " },
		{ "[ a ]\n", "1[ a ] " },
		{ "[a]\n[no]\nk = v\nnonsense\n[b]\nk = v", "1[a] 2[no] 5[b] 6b.k=v " },
		{ "[1234567890123456789012345678901234567890]", "1[1234567890123456789012345678901234567890] " },
		{ "[12345678901234567890123456789012345678901]\nk=v", "1! " },
		/* sections that have a name */
		{ "[peer \"beta\"]\nk=v\n[a]\nk=v", "1[peer \"beta\"] 2peer.k=v 3[a] 4a.k=v " },
		{ "[peer\t \"be ta;\" ] ; x\nk=v", "1[peer \"be ta;\"] 2peer.k=v " },
		{ "[peer \"1234567890123456789012345678901234567890123456789012345678901234\"]\nk=v",
		  "1[peer \"1234567890123456789012345678901234567890123456789012345678901234\"] 2peer.k=v " },
		{ "[peer \"12345678901234567890123456789012345678901234567890123456789012345\"]\nk=v", "1! " },
		{ "[peer \"\"]\nk=v", "1! " },
		{ "[\"beta\"]\nk=v", "1! " },
		{ "[ \"beta\"]\nk=v", "1! " },
		{ "[peer\"beta\"]\nk=v", "1! " },
		{ "[peer x \"beta\"]\nk=v", "1! " },
		{ "[peer \"beta]\nk=v", "1! " },
		{ "[peer \"be\"ta\"]\nk=v", "1! " },
		{ "[peer \"beta\"\nk=v", "1! " },
		{ "[peer \"be]ta\"]\nk=v", "1! " },
		{ "[peer beta]\nk=v", "1[peer beta] 2peer beta.k=v " },
		{ "[no \"x\"]\nk=v", "1[no \"x\"] " },
		/* pairs that are none */
		{ "[a]\nnonsense\n= v\nk: v\nk: v = w\n=\n:\n", "1[a] 2! 3! 4! 5! 6! 7! " },
		{ "[a]\nlisten unix:/x = y", "1[a] 2! " },
		/* bytes that are no text */
		{ "[a]\nk = \x01\nl = \x7f\nm = \x1b[31m\nn = v\rw\no = \xc3\xa4\n",
		  "1[a] 2! 3! 4! 5! 6a.o=\xc3\xa4 " },
		/* a byte order mark is one only at the beginning */
		{ "\xef\xbb\xbf[a]\nk=v", "1[a] 2a.k=v " },
		{ "\xef\xbb\xbf", "" },
		{ "\xef\xbb\xbf\xef\xbb\xbf[a]\nk=v", "1! 2.k=v " },
		{ "\xef\xbb", "1! " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(parse(cases[i].text, strlen(cases[i].text), 0), cases[i].means);
}

static void test_reasons(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "[a", "1!\"[a\" is not a section; write [NAME] and nothing behind it" },
		{ "[a] b", "1!\"[a] b\" is not a section; write [NAME] and nothing behind it" },
		{ "[]", "1!a section's name has 1 to 40 characters; write one, as in [broker]" },
		{ "[peer \"b]", "1!\"[peer \"b]\" is not a section; write [KIND \"NAME\"], the name with 1 to 64 "
				"characters" },
		{ "idle", "1!\"idle\" is not of the form KEY = VALUE; write it so, or put # before a comment" },
		{ "k = v # x", "1!\"# x\" stands behind a value; comments there begin with ;" },
		{ "k = \x1b", "1!there is a byte 0x1b, which is not text; remove it" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(parse(cases[i].text, strlen(cases[i].text), 1), cases[i].why);
}

/* Also at the end of a file, and so that nothing behind it is lost. */
static void test_zero_bytes(void **state)
{
	static const char text[] = "[a]\nk = v\0w\nl = w\0\n\0\nm = x", name[] = "[a\0]\nk = v";

	(void)state;
	assert_string_equal(parse(text, sizeof(text) - 1, 0), "1[a] 2! 3! 4! 5a.m=x ");
	assert_string_equal(parse(name, sizeof(name) - 1, 0), "1! 2.k=v ");
	assert_string_equal(parse("\0", 1, 1), "1!there is a byte 0x00, which is not text; remove it");
}

/* Lines as long as may be are whole; longer ones are refused, not cut in two. */
static void test_long_lines(void **state)
{
	size_t lengths[] = { 199, 200, 1000, CONFFILE_LINE_MOST, CONFFILE_LINE_MOST + 1, 2 * CONFFILE_LINE_MOST + 10 };
	char text[3 * CONFFILE_LINE_MOST], expected[3 * CONFFILE_LINE_MOST];

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		memset(text, 'x', sizeof(text));
		text[1] = '=';
		snprintf(text + lengths[i], sizeof(text) - lengths[i], "\nl=v\n");
		parse(text, strlen(text), 0);
		if (lengths[i] > CONFFILE_LINE_MOST)
			snprintf(expected, sizeof(expected), "1! 2.l=v ");
		else
			snprintf(expected, sizeof(expected), "1.x=%.*s 2.l=v ", (int)(lengths[i] - 2), text + 2);
		assert_string_equal(heard, expected);
	}
}

/*
 * Files.
 */

static char directory[] = "/tmp/conffile-XXXXXX", path[64];

static int begin(void **state)
{
	FILE *file;

	(void)state;
	strcpy(directory + strlen(directory) - 6, "XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/f.conf", directory);
	file = fopen(path, "w");
	if (!file || fputs("[a]\nk = v\n", file) < 0 || fclose(file) != 0)
		return -1;
	return chmod(path, 0644);
}

static int end(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static int read_it(const char *what, char why[256])
{
	char *bytes;
	size_t n;
	int r = conffile_read(what, &bytes, &n, why, 256);

	if (r == 0) {
		assert_int_equal(n, 10);
		assert_memory_equal(bytes, "[a]\nk = v\n", n);
		free(bytes);
	}
	return r;
}

static void test_files(void **state)
{
	char why[256], other[128];

	(void)state;
	assert_int_equal(read_it(path, why), 0);
	snprintf(other, sizeof(other), "%s/none", directory);
	assert_int_equal(read_it(other, why), -ENOENT);
	snprintf(other, sizeof(other), "%s/below", path);
	assert_int_equal(read_it(other, why), -ENOENT);
	assert_true(read_it(directory, why) < 0);
	assert_non_null(strstr(why, "is not a file; give"));
	assert_true(read_it("/dev/zero", why) < 0);
	assert_non_null(strstr(why, "is not a file; give"));
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_true(read_it(path, why) < 0); /* and nobody was waited for */
	assert_non_null(strstr(why, "is not a file; give"));
}

static void test_a_large_file(void **state)
{
	char why[256];

	(void)state;
	assert_int_equal(truncate(path, CONFFILE_MOST + 1), 0);
	assert_int_equal(read_it(path, why), -EFBIG);
	assert_non_null(strstr(why, "larger than 1 MiB; split it"));
}

static void test_who_can_write(void **state)
{
	char why[256];
	int root = geteuid() == 0;

	(void)state;
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(read_it(path, why), -EPERM);
	assert_non_null(strstr(why, "others than its owner can write to it"));
	assert_non_null(strstr(why, "chmod go-w"));
	assert_int_equal(chmod(path, 0664), 0);
	assert_int_equal(read_it(path, why), root ? -EPERM : 0);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(read_it(path, why), 0);
	assert_int_equal(conffile_trust_directory(directory, why, sizeof(why)), 0);
	assert_int_equal(chmod(directory, 0777), 0);
	assert_int_equal(conffile_trust_directory(directory, why, sizeof(why)), -EPERM);
	assert_non_null(strstr(why, "can write to the directory"));
	assert_int_equal(conffile_trust_directory("/nonexistent", why, sizeof(why)), -ENOENT);
	if (!root)
		return;
	assert_int_equal(chown(path, 65534, 0), 0);
	assert_int_equal(read_it(path, why), -EPERM);
	assert_int_equal(chmod(directory, 0755), 0);
	assert_int_equal(chown(directory, 65534, 0), 0);
	assert_int_equal(conffile_trust_directory(directory, why, sizeof(why)), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_zero_bytes),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test_setup_teardown(test_files, begin, end),
		cmocka_unit_test_setup_teardown(test_a_large_file, begin, end),
		cmocka_unit_test_setup_teardown(test_who_can_write, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
