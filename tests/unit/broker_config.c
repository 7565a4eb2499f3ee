/*
 * broker_config: what flags and environment mean, and that every refusal says what, why and what to do.
 */
#include "config.h"
#include "test.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct config config;
static char why[512];

static int parse(const char *const *flags)
{
	const char *argv[40] = { "broodd" };
	int argc = 1;

	while (*flags)
		argv[argc++] = *flags++;
	why[0] = '\0';
	return config_parse(&config, argc, (char **)(uintptr_t)argv, why, sizeof(why));
}

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

static void test_defaults(void **state)
{
	char dir[64];

	(void)state;
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	unsetenv("BROOD_IDLE_MS");
	assert_int_equal(PARSE(NULL), CONFIG_RUN);
	assert_string_equal(config.dir, geteuid() == 0 ? "/run/brood" : "/run/user/7/brood");
	assert_int_equal(config.n_listen, 0);
	assert_int_equal(config.idle_ms, 0);
	assert_int_equal(config.level, LOG_INFO);
	assert_true(name_is_valid(config.node));
	assert_int_equal(PARSE("--private"), CONFIG_RUN);
	assert_string_equal(config.dir, "/run/user/7/brood");
	assert_int_equal(config.idle_ms, 5000);
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(PARSE("--private"), CONFIG_RUN);
	snprintf(dir, sizeof(dir), "/tmp/brood-%u", (unsigned)geteuid());
	assert_string_equal(config.dir, dir);
}

static void test_flags(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--listen", "tcp://127.0.0.1:0", "--listen=unix:/tmp/x", "--dir", "/tmp/d", "--idle-ms",
			       "0", "--node", "beta", "--log-level", "debug", "--private"),
			 CONFIG_RUN);
	assert_int_equal(config.n_listen, 2);
	assert_int_equal(config.listen[0].kind, ADDRESS_TCP);
	assert_int_equal(config.listen[1].kind, ADDRESS_UNIX);
	assert_string_equal(config.dir, "/tmp/d");
	assert_string_equal(config.node, "beta");
	assert_int_equal(config.idle_ms, 0);
	assert_int_equal(config.level, LOG_DEBUG);
	assert_int_equal(config.private, 1);
	assert_int_equal(PARSE("--help"), CONFIG_HELP);
	assert_int_equal(PARSE("--version"), CONFIG_VERSION);
}

static void test_idle_time(void **state)
{
	(void)state;
	setenv("BROOD_IDLE_MS", "250", 1);
	assert_int_equal(PARSE("--private"), CONFIG_RUN);
	assert_int_equal(config.idle_ms, 250);
	assert_int_equal(PARSE("--private", "--idle-ms", "7"), CONFIG_RUN);
	assert_int_equal(config.idle_ms, 7);
	assert_int_equal(PARSE("--dir", "/tmp/d"), CONFIG_RUN);
	assert_int_equal(config.idle_ms, 0); /* it is for private brokers */
	setenv("BROOD_IDLE_MS", "soon", 1);
	assert_int_equal(PARSE("--private"), -EINVAL);
	assert_non_null(strstr(why, "BROOD_IDLE_MS"));
	unsetenv("BROOD_IDLE_MS");
}

/* Refused, and the line has all of these words. */
static void assert_refused(int result, const char *what, const char *reason, const char *next)
{
	assert_int_equal(result, -EINVAL);
	assert_non_null(strstr(why, what));
	assert_non_null(strstr(why, reason));
	assert_non_null(strstr(why, next));
	assert_null(strchr(why, '\n'));
}

static void test_refusals(void **state)
{
	char path[5000];

	(void)state;
	assert_refused(PARSE("--listen", "tcp://0.0.0.0:7433"), "tcp://0.0.0.0:7433",
		       "plain TCP would show messages and the cookie to the network", "use tcp://127.0.0.1:PORT");
	assert_refused(PARSE("--listen", "tcp://[::]:7433"), "--listen", "plain TCP", "use ");
	assert_refused(PARSE("--listen", "tcp://192.168.1.1:7433"), "--listen", "plain TCP", "use ");
	assert_refused(PARSE("--listen", "http://localhost"), "--listen", "http://localhost", "unix:/path");
	assert_refused(PARSE("--listen", "unix:relative"), "relative", "not absolute", "unix:/path");
	assert_refused(PARSE("--idle-ms", "-1"), "--idle-ms", "-1", "milliseconds");
	assert_refused(PARSE("--idle-ms", "5s"), "--idle-ms", "5s", "milliseconds");
	assert_refused(PARSE("--idle-ms", "99999999999999"), "--idle-ms", "not a time", "milliseconds");
	assert_refused(PARSE("--node", "Not A Node"), "--node", "Not A Node", "use ");
	assert_refused(PARSE("--log-level", "loud"), "--log-level", "loud", "use error, warn");
	assert_refused(PARSE("--dir", ""), "--dir", "empty", "give ");
	assert_refused(PARSE("--frobnicate"), "--frobnicate", "no such flag", "--help");
	assert_refused(PARSE("--dir"), "--dir", "needs a value", "--help");
	assert_refused(PARSE("word"), "word", "flags only", "--help");
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_refused(PARSE("--dir", path), "--dir", "too long", "give ");
}

static void test_too_many_addresses(void **state)
{
	const char *flags[2 * (CONFIG_LISTEN_MOST + 1) + 1] = { NULL };

	(void)state;
	for (unsigned i = 0; i <= CONFIG_LISTEN_MOST; i++) {
		flags[2 * i] = "--listen";
		flags[2 * i + 1] = "unix:/tmp/x";
	}
	assert_refused(parse(flags), "--listen", "more than 8", "leave some out");
	flags[2 * CONFIG_LISTEN_MOST] = NULL;
	assert_int_equal(parse(flags), CONFIG_RUN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),           cmocka_unit_test(test_flags),
		cmocka_unit_test(test_idle_time),          cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_too_many_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
