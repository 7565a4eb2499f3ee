/*
 * config: flags, then environment, then defaults.
 *
 * Nothing is opened here, only decided. Every refusal is one line that says what was given, why it cannot be, and what
 * to do; the first one ends the parsing. The surprising rule: plain TCP is for this host only, so an address that
 * others can reach is refused here, not warned about.
 */
#include "config.h"
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PRIVATE_IDLE_MS 5000u
#define AWAY_MS 120000u
#define IDLE_MOST_MS (7u * 24 * 3600 * 1000)
#define SYSTEM_DIR "/run/brood"

static const char help[] =
	"broodd: the broker of brood. Processes connect to it, and it carries their messages.\n"
	"\n"
	"  --listen ADDRESS   also listen here: unix:/path or tcp://127.0.0.1:PORT; may be repeated\n"
	"  --dir DIR          state directory, made if absent; its socket is DIR/sock. Default: "
	"$XDG_RUNTIME_DIR/brood,\n"
	"                     or /tmp/brood-UID; for root " SYSTEM_DIR "\n"
	"  --private          go to the background, and leave when nobody is connected any more\n"
	"  --idle-ms N        leave after N ms without a connection; 0 is never. Default: never, with --private 5000\n"
	"                     (or $BROOD_IDLE_MS)\n"
	"  --away-ms N        how long a process that lost its connection may take to come back. Default: 120000\n"
	"  --node NAME        what this host is called. Default: its host name\n"
	"  --log-level LEVEL  error, warn, info or debug. Default: info\n"
	"  --version, --help\n"
	"\n"
	"SIGTERM lets every connected process finish, for at most 5 s. A second one does not wait.\n"
	"SIGUSR2 makes it leave at once for another one to take over, to which the processes come back.\n";

const char *config_help(void)
{
	return help;
}

struct parse {
	struct config *config;
	int idle_given;
	char *why;
	size_t n;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct parse *parse, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(parse->why, parse->n, format, args);
	va_end(args);
	return -EINVAL;
}

static int take_listen(struct parse *parse, const char *text)
{
	struct config *c = parse->config;
	struct address *a = &c->listen[c->n_listen];
	char why[256];

	if (c->n_listen == CONFIG_LISTEN_MOST)
		return refuse(parse, "--listen: more than %u addresses; leave some out", CONFIG_LISTEN_MOST);
	if (address_parse(text, a, why, sizeof(why)) < 0)
		return refuse(parse, "--listen: %s", why);
	if (a->kind == ADDRESS_TCP && !a->loopback)
		return refuse(parse,
			      "--listen %s: plain TCP would show messages and the cookie to the network; "
			      "use tcp://127.0.0.1:PORT, and a tunnel such as ssh -L for other hosts",
			      text);
	c->n_listen++;
	return 0;
}

static int take_dir(struct parse *parse, const char *text)
{
	if (text[0] == '\0' || strlen(text) >= sizeof(parse->config->dir))
		return refuse(parse, "--dir: \"%.40s\" is empty or too long; give the path of a directory", text);
	strcpy(parse->config->dir, text);
	return 0;
}

static int parse_ms(const char *text, unsigned *ret)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || value > IDLE_MOST_MS)
		return -EINVAL;
	*ret = (unsigned)value;
	return 0;
}

static int take_away(struct parse *parse, const char *what, const char *text)
{
	unsigned ms;

	if (parse_ms(text, &ms) < 0 || ms == 0)
		return refuse(parse, "%s: \"%s\" is not a time; give milliseconds from 1 to %u", what, text,
			      IDLE_MOST_MS);
	parse->config->away_ms = ms;
	return 0;
}

static int take_idle(struct parse *parse, const char *what, const char *text)
{
	if (parse_ms(text, &parse->config->idle_ms) < 0)
		return refuse(parse, "%s: \"%s\" is not a time; give milliseconds from 0 (never) to %u", what, text,
			      IDLE_MOST_MS);
	parse->idle_given = 1;
	return 0;
}

static int take_node(struct parse *parse, const char *text)
{
	if (!name_is_valid(text))
		return refuse(parse, "--node: \"%s\" is not a name; use 1 to %d of a-z 0-9 . _ -", text,
			      NAME_MAX_LENGTH);
	strcpy(parse->config->node, text);
	return 0;
}

static int take_level(struct parse *parse, const char *text)
{
	int level = log_level_parse(text);

	if (level < 0)
		return refuse(parse, "--log-level: \"%s\" is not a level; use error, warn, info or debug", text);
	parse->config->level = (enum log_level)level;
	return 0;
}

enum { FLAG_LISTEN = 1, FLAG_DIR, FLAG_PRIVATE, FLAG_IDLE, FLAG_AWAY, FLAG_NODE, FLAG_LEVEL, FLAG_VERSION, FLAG_HELP };

static const struct option flags[] = { { "listen", required_argument, NULL, FLAG_LISTEN },
				       { "dir", required_argument, NULL, FLAG_DIR },
				       { "private", no_argument, NULL, FLAG_PRIVATE },
				       { "idle-ms", required_argument, NULL, FLAG_IDLE },
				       { "away-ms", required_argument, NULL, FLAG_AWAY },
				       { "node", required_argument, NULL, FLAG_NODE },
				       { "log-level", required_argument, NULL, FLAG_LEVEL },
				       { "version", no_argument, NULL, FLAG_VERSION },
				       { "help", no_argument, NULL, FLAG_HELP },
				       { NULL, 0, NULL, 0 } };

static int take_flag(struct parse *parse, int flag, const char *given)
{
	switch (flag) {
	case FLAG_LISTEN:
		return take_listen(parse, optarg);
	case FLAG_DIR:
		return take_dir(parse, optarg);
	case FLAG_PRIVATE:
		parse->config->private = 1;
		return 0;
	case FLAG_IDLE:
		return take_idle(parse, "--idle-ms", optarg);
	case FLAG_AWAY:
		return take_away(parse, "--away-ms", optarg);
	case FLAG_NODE:
		return take_node(parse, optarg);
	case FLAG_LEVEL:
		return take_level(parse, optarg);
	case FLAG_VERSION:
		return CONFIG_VERSION;
	case FLAG_HELP:
		return CONFIG_HELP;
	case ':':
		return refuse(parse, "%s: needs a value; see broodd --help", given);
	default:
		return refuse(parse, "%s: no such flag; see broodd --help", given);
	}
}

static int parse_flags(struct parse *parse, int argc, char **argv)
{
	int flag, r = 0;

	opterr = 0;
	optind = 0; /* begin anew, also when called twice */
	while (r == 0 && (flag = getopt_long(argc, argv, ":", flags, NULL)) != -1)
		r = take_flag(parse, flag, argv[optind > 0 ? optind - 1 : 0]);
	if (r == 0 && optind < argc)
		r = refuse(parse, "%s: broodd takes flags only; see broodd --help", argv[optind]);
	return r;
}

/*
 * Defaults.
 */

static int default_dir(struct parse *parse)
{
	struct config *c = parse->config;

	if (c->dir[0])
		return 0;
	if (geteuid() == 0 && !c->private) {
		strcpy(c->dir, SYSTEM_DIR);
		return 0;
	}
	if (!address_private_directory(c->dir, sizeof(c->dir)))
		return refuse(parse, "XDG_RUNTIME_DIR: too long for a directory's path; give another with --dir");
	return 0;
}

static int default_idle(struct parse *parse)
{
	const char *text = getenv("BROOD_IDLE_MS");

	if (!parse->config->private || parse->idle_given)
		return 0;
	if (text)
		return take_idle(parse, "BROOD_IDLE_MS", text);
	parse->config->idle_ms = PRIVATE_IDLE_MS;
	return 0;
}

/* The host's name, as far as it is a name: without its domain, in lower case. */
static void default_node(struct config *c)
{
	char host[256] = "";

	if (c->node[0])
		return;
	(void)gethostname(host, sizeof(host) - 1);
	for (size_t i = 0; i < NAME_MAX_LENGTH && host[i] && host[i] != '.'; i++)
		c->node[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] - 'A' + 'a') : host[i];
	if (!name_is_valid(c->node))
		strcpy(c->node, "localhost");
}

int config_parse(struct config *c, int argc, char **argv, char *why, size_t n)
{
	struct parse parse = { c, 0, why, n };
	int r;

	memset(c, 0, sizeof(*c));
	c->level = LOG_INFO;
	c->away_ms = AWAY_MS;
	r = parse_flags(&parse, argc, argv);
	if (r == 0)
		r = default_dir(&parse);
	if (r == 0)
		r = default_idle(&parse);
	default_node(c);
	return r;
}
