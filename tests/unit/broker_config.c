/*
 * broker_config: what flags, environment and files mean together, and that every mistake is told with where, what, why and
 * what to do.
 */
#include "config.h"
#include "settings.h"
#include "test.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config config;
static char why[65536]; /* all lines */
static unsigned errors;
static char directory[64], path[128]; /* of files; path is the one that --config names */

static void on_error(void *data, const char *line)
{
	size_t used = strlen(why);

	assert_string_equal(data, "data");
	assert_null(strchr(line, '\n'));
	snprintf(why + used, sizeof(why) - used, "%s\n", line);
	errors++;
}

static int parse(const char *const *flags)
{
	static char data[] = "data";
	const char *argv[64] = { "broodd" };
	int argc = 1;

	while (*flags)
		argv[argc++] = *flags++;
	why[0] = '\0';
	errors = 0;
	config_deinit(&config);
	return config_parse(&config, argc, (char **)(uintptr_t)argv, on_error, data);
}

#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

static void write_file(const char *to, const char *text)
{
	FILE *file = fopen(to, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(to, 0600), 0);
}

/* A directory without configuration files, which the environment leads to, and nothing else of ours in that. */
static int begin(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/config-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/broodd.conf", directory);
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	setenv("XDG_CONFIG_HOME", directory, 1);
	unsetenv("BROOD_IDLE_MS");
	return 0;
}

static int end(void **state)
{
	char command[96];

	(void)state;
	config_deinit(&config);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command);
}

/* The value of "section.key" as it would be written, and where it is from, as --print-config says. */
static void assert_value(const char *name, const char *value, const char *origin)
{
	char *text, line[512], expected[512];
	const char *dot = strchr(name, '.'), *found;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	assert_non_null(out);
	config_print(&config, out);
	assert_int_equal(fclose(out), 0);
	snprintf(line, sizeof(line), "\n%s = ", dot + 1);
	snprintf(expected, sizeof(expected), "\n%s = %s ; %s\n", dot + 1, value, origin);
	found = strstr(text, line);
	assert_non_null(found);
	assert_int_equal(strncmp(found, expected, strlen(expected)), 0);
	free(text);
}

static void test_defaults(void **state)
{
	char dir[64];

	(void)state;
	assert_int_equal(PARSE(NULL), CONFIG_RUN);
	assert_string_equal(config.dir, geteuid() == 0 ? "/run/brood" : "/run/user/7/brood");
	assert_int_equal(config.n_listen, 0);
	assert_int_equal(config.idle_ms, 0);
	assert_int_equal(config.away_ms, 120000);
	assert_int_equal(config.level, LOG_INFO);
	assert_true(name_is_valid(config.node));
	assert_int_equal(PARSE("--private"), CONFIG_RUN);
	assert_string_equal(config.dir, "/run/user/7/brood");
	assert_int_equal(config.idle_ms, 5000);
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(PARSE("--private"), CONFIG_RUN);
	snprintf(dir, sizeof(dir), "/tmp/brood-%u", (unsigned)geteuid());
	assert_string_equal(config.dir, dir);
	assert_int_equal(errors, 0);
}

static void test_flags(void **state)
{
	(void)state;
	assert_int_equal(PARSE("--listen", "tcp://127.0.0.1:0", "--listen=unix:/tmp/x", "--dir", "/tmp/d", "--idle-ms",
			       "0", "--node", "beta", "--log-level", "debug", "--private", "--limits.names-per-process",
			       "7", "--away=2min"),
			 CONFIG_RUN);
	assert_int_equal(config.n_listen, 2);
	assert_int_equal(config.listen[0].kind, ADDRESS_TCP);
	assert_int_equal(config.listen[1].kind, ADDRESS_UNIX);
	assert_string_equal(config.dir, "/tmp/d");
	assert_string_equal(config.node, "beta");
	assert_int_equal(config.idle_ms, 0);
	assert_int_equal(config.away_ms, 120000);
	assert_int_equal(config.level, LOG_DEBUG);
	assert_int_equal(config.private, 1);
	assert_int_equal(config.limits.names_per_process, 7);
	assert_value("limits.names-per-process", "7", "--limits.names-per-process");
	assert_value("broker.idle", "0s", "--idle-ms");
	assert_int_equal(PARSE("--help", "--nonsense"), CONFIG_HELP);
	assert_int_equal(PARSE("--version"), CONFIG_VERSION);
	assert_int_equal(PARSE("-t"), CONFIG_TEST);
	assert_int_equal(PARSE("--test"), CONFIG_TEST);
	assert_int_equal(PARSE("--print-config"), CONFIG_PRINT);
	assert_int_equal(PARSE("-t", "--idle", "x"), -EINVAL);
	assert_int_equal(PARSE("--idle", "1s", "--idle", "2s"), CONFIG_RUN); /* on a command line the last one counts */
	assert_int_equal(config.idle_ms, 2000);
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
	assert_string_equal(why, "BROOD_IDLE_MS: \"soon\" is not a time; give milliseconds, such as 5000\n");
	unsetenv("BROOD_IDLE_MS");
}

/* Refused, and the one line has all of these words. */
static void assert_refused(int result, const char *what, const char *reason, const char *next)
{
	assert_int_equal(result, -EINVAL);
	assert_int_equal(errors, 1);
	assert_non_null(strstr(why, what));
	assert_non_null(strstr(why, reason));
	assert_non_null(strstr(why, next));
}

static void test_refused_flags(void **state)
{
	char text[5000];

	(void)state;
	assert_refused(PARSE("--listen", "tcp://0.0.0.0:7433"), "--listen: tcp://0.0.0.0:7433",
		       "plain TCP would show messages and the cookie to the network", "use tls://");
	assert_refused(PARSE("--listen", "tcp://[::]:7433"), "--listen", "plain TCP", "use ");
	assert_refused(PARSE("--listen", "tcp://192.168.1.1:7433"), "--listen", "plain TCP", "use ");
	assert_refused(PARSE("--listen", "http://localhost"), "--listen", "http://localhost", "unix:/path");
	assert_refused(PARSE("--listen", "unix:relative"), "relative", "not absolute", "unix:/path");
	assert_refused(PARSE("--idle-ms", "-1"), "--idle-ms", "-1", "milliseconds");
	assert_refused(PARSE("--idle-ms", "5s"), "--idle-ms", "5s", "milliseconds");
	assert_refused(PARSE("--idle-ms", ""), "--idle-ms", "not a time", "milliseconds");
	assert_refused(PARSE("--idle-ms", "99999999999999"), "--idle-ms", "out of range", "168h, or 0 (never)");
	assert_refused(PARSE("--away-ms", "0"), "--away-ms", "out of range", "from 1ms");
	assert_refused(PARSE("--node", "Not A Node"), "--node", "Not A Node", "use ");
	assert_refused(PARSE("--log-level", "loud"), "--log-level", "loud", "use error, warn");
	assert_refused(PARSE("--dir", ""), "--dir", "empty", "give ");
	assert_refused(PARSE("--frobnicate"), "--frobnicate", "no such flag", "--help");
	assert_refused(PARSE("--frobnicate=5"), "--frobnicate: ", "no such flag", "--help");
	assert_refused(PARSE("--idel", "--private"), "--idel: ", "no such flag", "did you mean --idle?");
	assert_refused(PARSE("--limits.nmaes-per-process=5"), "--limits.nmaes-per-process: ", "no such flag",
		       "did you mean --limits.names-per-process?");
	assert_refused(PARSE("--limits.names"), "--limits.names: ", "no such flag",
		       "did you mean --limits.names-per-process?"); /* begins two of them */
	assert_refused(PARSE("-x"), "-x", "no such flag", "--help");
	assert_refused(PARSE("--dir"), "--dir", "needs a value", "--help");
	assert_refused(PARSE("word"), "word", "flags only", "--help");
	assert_refused(PARSE("--config", "/nonexistent/x"), "/nonexistent/x", "No such file", "check the path");
	assert_refused(PARSE("--config", ""), "--config", "empty or too long", "give ");
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_refused(PARSE("--dir", text), "--dir", "too long", "give ");
	assert_refused(PARSE("--config", text), "--config", "too long", "give ");
	assert_refused(PARSE("--listen", text), "--listen", "too long", "use unix:/path");
	assert_refused(PARSE("--idle", text), "--idle", "is not a duration", "write ");
	/* All at once. */
	assert_int_equal(PARSE("--idle", "x", "--log-level", "inf", "--wrong", "more"), -EINVAL);
	assert_string_equal(why,
			    "--wrong: there is no such flag; see broodd --help\n"
			    "more: broodd takes flags only; see broodd --help\n"
			    "--idle: \"x\" is not a duration; write digits and ms, s, min or h, from 1ms to 168h, or 0 "
			    "(never)\n"
			    "--log-level: \"inf\" is not a level; did you mean info?\n");
}

static void test_tls(void **state)
{
	(void)state;
	assert_int_equal(PARSE(NULL), CONFIG_RUN);
	assert_string_equal(config.tls.certificate, "");
	assert_int_equal(config.tls.clients, TLS_CLIENTS_OPTIONAL); /* if there is a CA */
	assert_int_equal(PARSE("--listen", "tls://0.0.0.0:7433", "--tls-cert", "/c", "--tls-key", "/k"), CONFIG_RUN);
	assert_int_equal(config.listen[0].kind, ADDRESS_TLS);
	assert_value("broker.listen", "tls://0.0.0.0:7433", "--listen");
	assert_string_equal(config.tls.certificate, "/c");
	assert_string_equal(config.tls.key, "/k");
	assert_int_equal(PARSE("--tls-ca", "/ca", "--tls-crl", "/l", "--token-file", "/t", "--tls-client", "required"),
			 CONFIG_RUN);
	assert_string_equal(config.tls.ca, "/ca");
	assert_string_equal(config.tls.crl, "/l");
	assert_string_equal(config.token_file, "/t");
	assert_value("broker.tls-client", "required", "--tls-client");
	assert_refused(PARSE("--listen", "tls://127.0.0.1:1"), "broker.listen", "TLS needs a certificate",
		       "brood cert");
	assert_refused(PARSE("--listen", "tls://127.0.0.1:1", "--tls-cert", "/c"), "broker.listen", "its key",
		       "tls-key");
	assert_refused(PARSE("--listen", "tls://broker.example:1"), "broker.example", "several addresses",
		       "give the number");
	assert_refused(PARSE("--tls-client", "required"), "broker.tls-client", "need a CA", "give tls-ca");
	assert_refused(PARSE("--tls-crl", "/l"), "broker.tls-crl", "need their CA", "give tls-ca");
	assert_refused(PARSE("--tls-client", "maybe"), "--tls-client", "maybe", "use required");
	assert_refused(PARSE("--tls-key", "k"), "--tls-key", "does not begin with /", "absolute");
}

static void test_too_many_addresses(void **state)
{
	char addresses[CONFIG_LISTEN_MOST + 1][32];
	const char *flags[2 * (CONFIG_LISTEN_MOST + 1) + 1] = { NULL };

	(void)state;
	for (unsigned i = 0; i <= CONFIG_LISTEN_MOST; i++) {
		snprintf(addresses[i], sizeof(addresses[i]), "unix:/tmp/x%u", i);
		flags[2 * i] = "--listen";
		flags[2 * i + 1] = addresses[i];
	}
	assert_refused(parse(flags), "--listen", "more than 8", "leave some out");
	flags[2 * CONFIG_LISTEN_MOST] = NULL;
	assert_int_equal(parse(flags), CONFIG_RUN);
}

/*
 * Files.
 */

/* What one file is told, "" if it is right; FILE stands for its path. */
static const struct {
	const char *text, *told;
} files[] = {
	{ "", "" },
	{ "# nothing\n; at all\n\n", "" },
	{ "[broker]\n[limits]\n[broker]\n", "" },
	{ "[broker]\nidle = 5s\n[limits]\nsessions = 1\n[broker]\naway = 1s", "" },
	{ "[broker]\nidle = 0\n", "" },
	{ "[broker]\nidle = 0s\n", "" },
	{ "[broker]\nidle = 1ms\n", "" },
	{ "[broker]\nidle = 168h\n", "" },
	{ "[broker]\nidle = 05s ; five\n", "" },
	{ "[broker]\nlisten =\n", "" },
	{ "[broker]\nlisten = unix:/x\nlisten = unix:/y tcp://[::1]:5\t tcp://localhost:0\n", "" },
	{ "[limits]\nqueue-per-receiver = 33554432\n", "" },
	{ "[limits]\nqueue-per-receiver = 32768K\n", "" },
	{ "[limits]\nconnections-per-user = 0\nsessions = 0\ndescriptors = 0\n", "" },
	/* names */
	{ "idle = 5s", "FILE:1: idle: it belongs to another section; move it behind [broker]\n" },
	{ "foo = 5s",
	  "FILE:1: foo: it stands before any section; write the line of its section above, as in [broker]\n" },
	{ "[brokr]", "FILE:1: [brokr]: there is no such section; did you mean [broker]?\n" },
	{ "\n\n[Limits]\nx = y", "FILE:3: [Limits]: there is no such section; did you mean [limits]?\n" },
	{ "[rules]", "FILE:1: [rules]: there is no such section; see broodd --print-config, and broodd.conf(5)\n" },
	{ "[name resize]", "FILE:1: [name resize]: the name has no quotes; write [name \"resize\"]\n" },
	{ "[broker]\nidel = 5s", "FILE:2: idel: there is no such key in [broker]; did you mean idle?\n" },
	{ "[broker]\nIDLE = 5s", "FILE:2: IDLE: there is no such key in [broker]; see broodd --print-config\n" },
	{ "[broker]\nidle-ms = 5", "FILE:2: idle-ms: there is no such key in [broker]; see broodd --print-config\n" },
	{ "[broker]\nloglevel = info",
	  "FILE:2: loglevel: there is no such key in [broker]; did you mean log-level?\n" },
	{ "[broker]\nsessions-per-user = 5",
	  "FILE:2: sessions-per-user: it belongs to another section; move it behind [limits]\n" },
	{ "[limits]\nsession-per-user = 5",
	  "FILE:2: session-per-user: there is no such key in [limits]; did you mean sessions-per-user?\n" },
	{ "[limits]\nprivate = yes", "FILE:2: private: there is no such key in [limits]; see broodd --print-config\n" },
	/* sections that have a name */
	{ "[name \"a\"]\nowner = root\n[name \"b\"]\nowner = root\nusers = *\nusers = root", "" },
	{ "[name \"a\"]\nusers = *", "FILE:1: [name \"a\"]: nobody may hold it; say who: owner = USER\n" },
	{ "[name \"a\"]\nowner = root\n[limits]\n[name \"a\"]\nowner = root",
	  "FILE:5: [name \"a\"] owner: it is set in line 2 already; keep one of them\n" },
	{ "[name \"A\"]\nowner = x", "FILE:1: [name \"A\"]: \"A\" is not a name; use 1 to 63 of a-z 0-9 . _ -\n" },
	{ "[name]\nowner = x", "FILE:1: [name]: it needs a name; write [name \"NAME\"]\n" },
	{ "[limits \"x\"]\nowner = x",
	  "FILE:1: [limits \"x\"]: there is one such section, which has no name; write [limits]\n" },
	{ "[naem \"x\"]\nowner = x", "FILE:1: [naem]: there is no such section; did you mean [name]?\n" },
	{ "[name \"a\"]\nownr = x", "FILE:2: ownr: there is no such key in [name]; did you mean owner?\n" },
	{ "[name \"a\"]\nidle = 5s", "FILE:2: idle: it belongs to another section; move it behind [broker]\n" },
	{ "[policy]\nusers = root", "FILE:2: users: it belongs to another section; move it behind [name]\n" },
	{ "[name \"a\"]\nowner = root\nusers = rooot",
	  "FILE:3: [name \"a\"] users: there is no user \"rooot\"; did you mean root?\n" },
	{ "[policy]\nconnect = root, @root\nconnect = *\nsend = root > *, *@beta > root\nlist =\n", "" },
	{ "[policy]\nsend = root\nsend = root > rooot",
	  "FILE:2: policy.send: \"root\" is not a pair; write A > B\n"
	  "FILE:3: policy.send: there is no user \"rooot\"; did you mean root?\n" },
	/* twice */
	{ "[broker]\nidle = 5s\n\nidle = 5s", "FILE:4: broker.idle: it is set in line 2 already; keep one of them\n" },
	{ "[broker]\nidle = x\nidle = 5s", "FILE:2: broker.idle: \"x\" is not a duration; write digits and ms, s, min "
					   "or h, from 1ms to 168h, or 0 (never)\n"
					   "FILE:3: broker.idle: it is set in line 2 already; keep one of them\n" },
	{ "[broker]\nlisten = unix:/x\nlisten = unix:/x",
	  "FILE:3: broker.listen: unix:/x is there already; give every address once\n" },
	{ "[broker]\nlisten = tcp://127.0.0.1:0 tcp://localhost:0",
	  "FILE:2: broker.listen: tcp://localhost:0 is there already; give every address once\n" },
	/* durations */
	{ "[broker]\naway = 5",
	  "FILE:2: broker.away: \"5\" is not a duration; write digits and ms, s, min or h, from 1ms to 168h\n" },
	{ "[broker]\naway = 5 s",
	  "FILE:2: broker.away: \"5 s\" is not a duration; write digits and ms, s, min or h, from 1ms to 168h\n" },
	{ "[broker]\naway = s",
	  "FILE:2: broker.away: \"s\" is not a duration; write digits and ms, s, min or h, from 1ms to 168h\n" },
	{ "[broker]\naway = 5m",
	  "FILE:2: broker.away: \"5m\" is not a duration; write digits and ms, s, min or h, from 1ms to 168h\n" },
	{ "[broker]\naway = -5s",
	  "FILE:2: broker.away: \"-5s\" is not a duration; write digits and ms, s, min or h, from 1ms to 168h\n" },
	{ "[broker]\naway = +5s",
	  "FILE:2: broker.away: \"+5s\" is not a duration; write digits and ms, s, min or h, from 1ms to 168h\n" },
	{ "[broker]\naway = 1.5s",
	  "FILE:2: broker.away: \"1.5s\" is not a duration; write digits and ms, s, min or h, from 1ms to 168h\n" },
	{ "[broker]\naway = 0x5s",
	  "FILE:2: broker.away: \"0x5s\" is not a duration; write digits and ms, s, min or h, from 1ms to 168h\n" },
	{ "[broker]\naway = never",
	  "FILE:2: broker.away: \"never\" is not a duration; write digits and ms, s, min or h, from 1ms to 168h\n" },
	{ "[broker]\naway =",
	  "FILE:2: broker.away: \"\" is not a duration; write digits and ms, s, min or h, from 1ms to 168h\n" },
	{ "[broker]\naway = 0s", "FILE:2: broker.away: 0s is out of range; give a value from 1ms to 168h\n" },
	{ "[broker]\naway = 0", "FILE:2: broker.away: 0 is out of range; give a value from 1ms to 168h\n" },
	{ "[broker]\naway = 169h", "FILE:2: broker.away: 169h is out of range; give a value from 1ms to 168h\n" },
	{ "[broker]\naway = 604800001ms",
	  "FILE:2: broker.away: 604800001ms is out of range; give a value from 1ms to 168h\n" },
	{ "[broker]\naway = 18446744073709551616ms",
	  "FILE:2: broker.away: 18446744073709551616ms is out of range; give a value from 1ms to 168h\n" },
	{ "[broker]\naway = 5124095576030432h", /* 2^64 ms and a little */
	  "FILE:2: broker.away: 5124095576030432h is out of range; give a value from 1ms to 168h\n" },
	{ "[broker]\nidle = 169h",
	  "FILE:2: broker.idle: 169h is out of range; give a value from 1ms to 168h, or 0 (never)\n" },
	{ "[limits]\nhello-timeout = 99ms",
	  "FILE:2: limits.hello-timeout: 99ms is out of range; give a value from 100ms to 10min\n" },
	/* sizes */
	{ "[limits]\nqueue-total = 1T", "FILE:2: limits.queue-total: \"1T\" is not a size; write digits, and K, M or G "
					"behind them, from 1M to 1024G\n" },
	{ "[limits]\nqueue-total = 1m", "FILE:2: limits.queue-total: \"1m\" is not a size; write digits, and K, M or G "
					"behind them, from 1M to 1024G\n" },
	{ "[limits]\nqueue-total = lots", "FILE:2: limits.queue-total: \"lots\" is not a size; write digits, and K, M "
					  "or G behind them, from 1M to 1024G\n" },
	{ "[limits]\nqueue-total = 1023K",
	  "FILE:2: limits.queue-total: 1023K is out of range; give a value from 1M to 1024G\n" },
	{ "[limits]\nqueue-total = 0",
	  "FILE:2: limits.queue-total: 0 is out of range; give a value from 1M to 1024G\n" },
	{ "[limits]\nqueue-total = 17179869184G", /* 2^64 */
	  "FILE:2: limits.queue-total: 17179869184G is out of range; give a value from 1M to 1024G\n" },
	{ "[limits]\nqueue-per-sender-least = 9M\n",
	  "limits.queue-per-sender-least: it is larger than limits.queue-per-sender; lower it, or raise the other\n" },
	{ "[limits]\nqueue-per-sender = 33M\n",
	  "limits.queue-per-sender: it is larger than limits.queue-per-receiver; lower it, or raise the other\n" },
	{ "[limits]\nqueue-per-receiver = 2G\n",
	  "limits.queue-per-receiver: it is larger than limits.queue-total; lower it, or raise the other\n" },
	{ "[limits]\nanswers-per-user = 7M\n",
	  "limits.answers-per-session: it is larger than limits.answers-per-user; lower it, or raise the other\n" },
	{ "[limits]\nturn-per-user = 129K\n",
	  "limits.turn-per-user: it is larger than limits.turn; lower it, or raise the other\n" },
	/* counts */
	{ "[limits]\nnames-per-process = 0",
	  "FILE:2: limits.names-per-process: 0 is out of range; give a value from 1 to 65535\n" },
	{ "[limits]\nnames-per-process = 65536",
	  "FILE:2: limits.names-per-process: 65536 is out of range; give a value from 1 to 65535\n" },
	{ "[limits]\nnames-per-process = 4294967297", /* not 1 */
	  "FILE:2: limits.names-per-process: 4294967297 is out of range; give a value from 1 to 65535\n" },
	{ "[limits]\nnames-per-process = 1K",
	  "FILE:2: limits.names-per-process: \"1K\" is not a number; write digits, from 1 to 65535\n" },
	{ "[limits]\nnames-per-process = -1",
	  "FILE:2: limits.names-per-process: \"-1\" is not a number; write digits, from 1 to 65535\n" },
	{ "[limits]\nnames-per-process =",
	  "FILE:2: limits.names-per-process: \"\" is not a number; write digits, from 1 to 65535\n" },
	{ "[limits]\nconnections-per-user = 1000001",
	  "FILE:2: limits.connections-per-user: 1000001 is out of range; give a value from 1 to 1000000, or 0 (not "
	  "limited)\n" },
	/* others */
	{ "[broker]\nlog-level = inf", "FILE:2: broker.log-level: \"inf\" is not a level; did you mean info?\n" },
	{ "[broker]\nconfine = on", "FILE:2: broker.confine: \"on\" is neither yes nor no; write one of them\n" },
	{ "[broker]\nconfine = no", "" },
	{ "[broker]\nlog-level = 3",
	  "FILE:2: broker.log-level: \"3\" is not a level; use error, warn, info or debug\n" },
	{ "[broker]\nnode = Node", "FILE:2: broker.node: \"Node\" is not a name; use 1 to 63 of a-z 0-9 . _ -\n" },
	{ "[broker]\nnode =", "FILE:2: broker.node: \"\" is not a name; use 1 to 63 of a-z 0-9 . _ -\n" },
	{ "[broker]\ndir = run/x", "FILE:2: broker.dir: \"run/x\" does not begin with /; give an absolute path\n" },
	{ "[broker]\ndir =", "FILE:2: broker.dir: \"\" does not begin with /; give an absolute path\n" },
	{ "[broker]\nlisten = unix:x",
	  "FILE:2: broker.listen: address \"unix:x\": the path is not absolute; write unix:/path/to/socket, "
	  "fifo:/path/to/directory, tcp://127.0.0.1:7433 or tls://host:7433\n" },
	{ "[broker]\nlisten = unix:/x, unix:/y", "" /* "/x," is a path */ },
	{ "[broker]\nlisten = tcp://10.0.0.1:80",
	  "FILE:2: broker.listen: tcp://10.0.0.1:80: plain TCP would show messages and the cookie to the network; use "
	  "tls:// for other hosts, or tcp://127.0.0.1:PORT with a tunnel such as ssh -L\n" },
	{ "[broker]\ntls-key = k", "FILE:2: broker.tls-key: \"k\" does not begin with /; give an absolute path\n" },
	{ "[broker]\ntls-client = maybe",
	  "FILE:2: broker.tls-client: \"maybe\" is none of these; use required, optional or none\n" },
	{ "[broker]\nlisten = unix:/1 unix:/2 unix:/3 unix:/4 unix:/5\nlisten = unix:/6 unix:/7 unix:/8 unix:/9",
	  "FILE:3: broker.listen: more than 8 addresses; leave some out\n" },
	/* lines */
	{ "[broker]\n\nidle",
	  "FILE:3: \"idle\" is not of the form KEY = VALUE; write it so, or put # before a comment\n" },
	{ "[broker]\nidle = 5s # five", "FILE:2: \"# five\" stands behind a value; comments there begin with ;\n" },
	{ "[broker]\nidle = 5s\n\t6s",
	  "FILE:3: \"6s\" is not of the form KEY = VALUE; write it so, or put # before a comment\n" },
};

static void assert_told(const char *expected)
{
	char text[4096] = "";

	for (const char *at = expected; *at;) {
		size_t used = strlen(text);

		if (strncmp(at, "FILE", 4) == 0) {
			snprintf(text + used, sizeof(text) - used, "%s", path);
			at += 4;
		} else {
			snprintf(text + used, sizeof(text) - used, "%c", *at++);
		}
	}
	assert_string_equal(why, text);
}

static void test_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		write_file(path, files[i].text);
		assert_int_equal(PARSE("--config", path), files[i].told[0] ? -EINVAL : CONFIG_RUN);
		assert_told(files[i].told);
	}
}

/* Every row of the table: as a flag, in the environment and in a file; from its least to its most, and nothing beyond. */
static void try_everywhere(const struct setting *s, const char *value, int right)
{
	char flag[SETTING_TEXT], given[2 * SETTING_TEXT + 64], variable[SETTING_TEXT], text[256];

	snprintf(given, sizeof(given), "--%s=%s", setting_flag(s, flag), value);
	assert_int_equal(PARSE(given), right ? CONFIG_RUN : -EINVAL);
	setenv(setting_variable(s, variable), value, 1);
	assert_int_equal(PARSE(NULL), right ? CONFIG_RUN : -EINVAL);
	unsetenv(variable);
	snprintf(text, sizeof(text), "[%s]\n%s = %s\n", s->section, s->key, value);
	write_file(path, text);
	assert_int_equal(PARSE("--config", path), right ? CONFIG_RUN : -EINVAL);
	unlink(path);
}

static void test_every_setting(void **state)
{
	(void)state;
	for (const struct setting *s = settings; s < settings + SETTINGS; s++) {
		struct config copy;
		char least[64], most[64], number[64], reason[512];

		assert_ptr_equal(setting_find(s->section, s->key), s);
		assert_true(strlen(s->help) > 10 && s->help[strlen(s->help) - 1] == '.');
		if (s->type < SETTING_DURATION)
			continue;
		memset(&copy, 0, sizeof(copy));
		snprintf(number, sizeof(number), "%llu%s", (unsigned long long)s->most,
			 s->type == SETTING_DURATION ? "ms" : "");
		assert_int_equal(setting_take(s, &copy, number, reason, sizeof(reason)), 0);
		setting_format(s, &copy, most, sizeof(most));
		snprintf(number, sizeof(number), "%llu%s", (unsigned long long)s->least,
			 s->type == SETTING_DURATION ? "ms" : "");
		assert_int_equal(setting_take(s, &copy, number, reason, sizeof(reason)), 0);
		setting_format(s, &copy, least, sizeof(least));
		if (s->type != SETTING_SIZE) { /* those have to fit each other */
			try_everywhere(s, least, 1);
			try_everywhere(s, most, 1);
		}
		try_everywhere(s, "0", s->zero != NULL);
		snprintf(number, sizeof(number), "%llu%s", (unsigned long long)s->most + 1,
			 s->type == SETTING_DURATION ? "ms" : "");
		try_everywhere(s, number, 0);
		try_everywhere(s, "x", 0);
	}
}

static void test_precedence(void **state)
{
	char part[160], where[160];

	(void)state;
	snprintf(part, sizeof(part), "%s/brood", directory);
	assert_int_equal(mkdir(part, 0700), 0);
	snprintf(path, sizeof(path), "%s/brood/broodd.conf", directory);
	write_file(path, "[broker]\nidle = 1s\naway = 1s\nnode = one\nlisten = unix:/a unix:/b\nlisten = unix:/c\n");
	snprintf(part, sizeof(part), "%s/brood/conf.d", directory);
	assert_int_equal(mkdir(part, 0700), 0);
	snprintf(part, sizeof(part), "%s/brood/conf.d/20.conf", directory);
	write_file(part, "[broker]\nnode = three\n");
	snprintf(part, sizeof(part), "%s/brood/conf.d/10.conf", directory);
	write_file(part, "[broker]\nnode = two\naway = 2s\nlisten = unix:/d\n");
	snprintf(part, sizeof(part), "%s/brood/conf.d/30.conf~", directory);
	write_file(part, "nonsense");
	snprintf(part, sizeof(part), "%s/brood/conf.d/.40.conf", directory);
	write_file(part, "nonsense");
	setenv("BROODD_IDLE", "4s", 1);
	assert_int_equal(PARSE("--private"), CONFIG_RUN); /* a user's, also for root */
	assert_int_equal(config.n_files, 3);
	assert_value("broker.idle", "4s", "BROODD_IDLE");
	snprintf(where, sizeof(where), "%s/brood/conf.d/10.conf:3", directory);
	assert_value("broker.away", "2s", where);
	snprintf(where, sizeof(where), "%s/brood/conf.d/10.conf:4", directory);
	assert_value("broker.listen", "unix:/d", where);
	snprintf(where, sizeof(where), "%s/brood/conf.d/20.conf:2", directory);
	assert_value("broker.node", "three", where);
	assert_value("limits.names-per-process", "256", "default");
	setenv("BROODD_LISTEN", "", 1);
	setenv("BROOD_IDLE_MS", "7", 1); /* BROODD_IDLE says it more exactly */
	assert_int_equal(PARSE("--private", "--node", "five", "--idle=5s"), CONFIG_RUN);
	assert_value("broker.idle", "5s", "--idle");
	assert_value("broker.node", "five", "--node");
	assert_value("broker.listen", "", "BROODD_LISTEN");
	unsetenv("BROODD_IDLE");
	assert_int_equal(PARSE("--private", "--listen", "unix:/e"), CONFIG_RUN);
	assert_value("broker.idle", "7ms", "BROOD_IDLE_MS");
	assert_value("broker.listen", "unix:/e", "--listen");
	unsetenv("BROODD_LISTEN");
	unsetenv("BROOD_IDLE_MS");
	/* Another file has another conf.d. */
	snprintf(where, sizeof(where), "%s/other.conf", directory);
	write_file(where, "");
	assert_int_equal(PARSE("--private", "--config", where), CONFIG_RUN);
	assert_int_equal(config.n_files, 1);
	assert_value("broker.idle", "5s", "default");
	/* A part is not optional as a whole is. */
	snprintf(part, sizeof(part), "%s/brood/conf.d/25.conf", directory);
	assert_int_equal(symlink("/nonexistent", part), 0);
	assert_refused(PARSE("--private"), "conf.d/25.conf", "No such file", "check ");
}

/* Programs start private brokers without saying where, and look for them in the default place. */
static void test_the_directory_of_a_private_broker(void **state)
{
	(void)state;
	write_file(path, "[broker]\ndir = /f\n");
	assert_int_equal(PARSE("--config", path), CONFIG_RUN);
	assert_string_equal(config.dir, "/f");
	assert_int_equal(PARSE("--private", "--config", path), CONFIG_RUN);
	assert_value("broker.dir", "/run/user/7/brood", "default");
	setenv("BROODD_DIR", "/e", 1);
	assert_int_equal(PARSE("--config", path), CONFIG_RUN);
	assert_value("broker.dir", "/e", "BROODD_DIR");
	assert_int_equal(PARSE("--private"), CONFIG_RUN);
	assert_value("broker.dir", "/run/user/7/brood", "default");
	assert_int_equal(PARSE("--private", "--dir", "/g", "--config", path), CONFIG_RUN);
	assert_value("broker.dir", "/g", "--dir");
	unsetenv("BROODD_DIR");
}

/* Lists of one file add up, and replace those of the file below, also in sections that have a name. */
static void test_lists(void **state)
{
	char part[160];

	(void)state;
	write_file(path, "[policy]\nconnect = 1\nconnect = 2, 3\nlist = 1 > 2\n[name \"a\"]\nowner = 1\nusers = 1\n"
			 "[name \"b\"]\nowner = 2\n");
	snprintf(part, sizeof(part), "%s/conf.d", directory);
	assert_int_equal(mkdir(part, 0700), 0);
	snprintf(part, sizeof(part), "%s/conf.d/x.conf", directory);
	write_file(part, "[name \"a\"]\nusers = 4\nusers = 5\n[policy]\nlist =\n[name \"b\"]\nowner = 3\n");
	assert_int_equal(
		PARSE("--config", path, "--policy.connect", "*", "--policy.register=", "--policy.send", "1 > 2"),
		CONFIG_RUN);
	assert_value("policy.connect", "*", "--policy.connect");
	assert_value("policy.register", "", "--policy.register");
	assert_value("policy.send", "1 > 2", "--policy.send");
	assert_value("policy.parent", "", "default");
	assert_string_equal(config.policy.list, "");
	assert_int_equal(config.n_named, 2);
	assert_string_equal(config.named[0].name, "a");
	assert_string_equal(config.named[0].owner, "1");
	assert_string_equal(config.named[0].users, "4, 5");
	assert_string_equal(config.named[1].owner, "3");
	assert_null(config.named[1].users);
	assert_int_equal(PARSE("--config", path), CONFIG_RUN);
	assert_string_equal(config.policy.connect, "1, 2, 3");
	assert_int_equal(PARSE(NULL), CONFIG_RUN);
	assert_null(config.policy.connect);
	assert_value("policy.connect", "*", "default");
}

/* What does not fit is refused, and not cut. */
static void test_a_list_that_is_too_long(void **state)
{
	FILE *file = fopen(path, "w");

	(void)state;
	assert_non_null(file);
	fprintf(file, "[policy]\n");
	for (int i = 0; i < 2500; i++)
		fprintf(file, "connect = 10000\n");
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(PARSE("--config", path), -EINVAL);
	assert_int_equal(errors, 2500 - 16385 / 7);
	assert_non_null(strstr(why, ":2342: policy.connect: the list is longer than 16383 bytes; use groups\n"));
}

static void test_variables(void **state)
{
	(void)state;
	setenv("BROODD_LIMITS_NAME_PER_PROCESS", "1", 1);
	assert_refused(PARSE(NULL), "BROODD_LIMITS_NAME_PER_PROCESS: ", "no such variable",
		       "did you mean BROODD_LIMITS_NAMES_PER_PROCESS?");
	unsetenv("BROODD_LIMITS_NAME_PER_PROCESS");
	setenv("BROODD_SERVICE", "1", 1);
	assert_refused(PARSE(NULL), "BROODD_SERVICE: ", "no such variable", "unset it");
	unsetenv("BROODD_SERVICE");
	setenv("BROODD_NODE", "", 1);
	assert_refused(PARSE(NULL), "BROODD_NODE: \"\"", "is not a name", "use ");
	unsetenv("BROODD_NODE");
}

/* The same file and flags again: what was changed counts, what was removed is the default. */
static void test_again(void **state)
{
	static char data[] = "data";
	char *argv[] = { (char[]){ "broodd" }, (char[]){ "--config" }, path, (char[]){ "--node=n" }, NULL };
	struct config first, second;

	(void)state;
	write_file(path, "[limits]\nsessions-per-user = 3\nnames-per-user = 4\n[broker]\ndir = /a\n");
	assert_int_equal(config_parse(&first, 4, argv, on_error, data), CONFIG_RUN);
	assert_int_equal(first.limits.sessions_per_user, 3);
	write_file(path, "[limits]\nnames-per-user = 5\n[broker]\ndir = /b\n");
	assert_int_equal(config_again(&second, &first, on_error, data), 0);
	assert_int_equal(second.limits.sessions_per_user, 65536);
	assert_int_equal(second.limits.names_per_user, 5);
	assert_string_equal(second.node, "n");
	why[0] = '\0';
	config_keep_fixed(&second, &first, on_error, data);
	assert_string_equal(why, "broker.dir: it cannot change while the broker runs; restart it to have /b\n");
	assert_string_equal(second.dir, "/a");
	config_deinit(&first);
	unlink(path);
	why[0] = '\0';
	assert_int_equal(config_again(&first, &second, on_error, data),
			 -EINVAL); /* it was named, so it has to be there */
	assert_told("FILE: cannot be read: No such file or directory; check the path and its permissions\n");
	config_deinit(&first);
	config_deinit(&second);
}

/* What is printed is a configuration that means the same. */
static void test_print(void **state)
{
	char *text, *again;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	(void)state;
	assert_int_equal(PARSE("--idle=90s", "--away", "1min", "--listen", "unix:/x", "--listen", "tcp://127.0.0.1:5",
			       "--limits.queue-total=3G", "--limits.queue-per-sender-least=300K",
			       "--limits.answers-per-session=2097153", "--log-level=warn", "--node=n"),
			 CONFIG_RUN);
	config_print(&config, out);
	fclose(out);
	write_file(path, text);
	assert_int_equal(PARSE("--config", path), CONFIG_RUN);
	assert_string_equal(why, "");
	assert_int_equal(config.idle_ms, 90000);
	assert_int_equal(config.away_ms, 60000);
	assert_int_equal(config.n_listen, 2);
	assert_int_equal(config.limits.memory, (uint64_t)3 << 30);
	assert_int_equal(config.limits.share_least, 300 << 10);
	assert_int_equal(config.limits.notes, 2097153);
	out = open_memstream(&again, &n);
	config_print(&config, out);
	fclose(out);
	assert_non_null(strstr(text, "\nidle = 90s ; --idle\n"));
	assert_non_null(strstr(again, "\nidle = 90s ; "));
	free(text);
	free(again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_defaults, begin, end),
		cmocka_unit_test_setup_teardown(test_flags, begin, end),
		cmocka_unit_test_setup_teardown(test_idle_time, begin, end),
		cmocka_unit_test_setup_teardown(test_refused_flags, begin, end),
		cmocka_unit_test_setup_teardown(test_tls, begin, end),
		cmocka_unit_test_setup_teardown(test_too_many_addresses, begin, end),
		cmocka_unit_test_setup_teardown(test_files, begin, end),
		cmocka_unit_test_setup_teardown(test_every_setting, begin, end),
		cmocka_unit_test_setup_teardown(test_precedence, begin, end),
		cmocka_unit_test_setup_teardown(test_the_directory_of_a_private_broker, begin, end),
		cmocka_unit_test_setup_teardown(test_lists, begin, end),
		cmocka_unit_test_setup_teardown(test_a_list_that_is_too_long, begin, end),
		cmocka_unit_test_setup_teardown(test_variables, begin, end),
		cmocka_unit_test_setup_teardown(test_again, begin, end),
		cmocka_unit_test_setup_teardown(test_print, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
