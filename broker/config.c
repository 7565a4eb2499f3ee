/*
 * config: flags over environment over files over defaults.
 *
 * Nothing is opened here but files to be read, only decided. Each layer is applied on the one below, so the last value is
 * the one that counts, and its origin is remembered. Every mistake is told, each as one line: where, what, why, what to do
 * next; then nothing of it counts. The surprising rule: addresses add up within a file, or on the command line, but those
 * of one layer replace those of the one below.
 */
#include "config.h"
#include "conffile.h"
#include "nearest.h"
#include "settings.h"
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PRIVATE_IDLE_MS 5000u
#define AWAY_MS 120000u
#define BEAT_MS 1000u
#define SYSTEM_DIR "/run/brood"
#define SYSTEM_FILE "/etc/brood/broodd.conf"
#define PREFIX "BROODD_"
#define FILES_MOST 100u
#define LINE_MOST (PATH_MAX + 1024)

struct parse {
	struct config *config;
	config_error_fn *tell;
	void *data;
	unsigned errors;
};

struct layer { /* a file, the environment, the command line */
	struct parse *parse;
	struct origin origin;
	unsigned seen[SETTINGS];    /* in which line; 1 where there are none */
	struct config_named *named; /* the section that it is in, if that has a name; else NULL */
};

__attribute__((format(printf, 3, 4))) static void wrong(struct parse *parse, const char *where, const char *format, ...)
{
	char line[LINE_MOST];
	va_list args;
	int used = snprintf(line, sizeof(line), "%s: ", where);

	va_start(args, format);
	if (used > 0 && (size_t)used < sizeof(line))
		vsnprintf(line + used, sizeof(line) - (size_t)used, format, args);
	va_end(args);
	parse->errors++;
	parse->tell(parse->data, line);
}

/* A copy that lives as long as the config; NULL, which was told, without memory. */
static const char *keep_text(struct parse *parse, const char *text)
{
	struct config *c = parse->config;
	char **more = realloc(c->texts, (c->n_texts + 1) * sizeof(*more)), *copy = more ? strdup(text) : NULL;

	if (more)
		c->texts = more;
	if (copy)
		c->texts[c->n_texts++] = copy;
	else
		wrong(parse, text, "there is no memory for it; free some, then try again");
	return copy;
}

/*
 * Values.
 */

/* A value for a setting, from this place, which is called `where` in errors. */
static void take(struct layer *layer, const struct setting *s, const char *where, const char *value)
{
	struct config *c = layer->parse->config;
	size_t i = (size_t)(s - settings);
	char why[512];

	if (!layer->seen[i])
		setting_clear(s, c);
	layer->seen[i] = layer->origin.line ? layer->origin.line : 1;
	if (setting_take(s, c, value, why, sizeof(why)) < 0)
		wrong(layer->parse, where, "%s", why);
	else
		c->origins[i] = layer->origin;
}

static void take_ms(struct layer *layer, const struct setting *s, const char *where, const char *value)
{
	char text[64];

	if (value[0] == '\0' || value[strspn(value, "0123456789")] || strlen(value) > 40) {
		wrong(layer->parse, where, "\"%.60s\" is not a time; give milliseconds, such as 5000", value);
		return;
	}
	snprintf(text, sizeof(text), "%sms", value);
	take(layer, s, where, text);
}

/*
 * Sections that have a name.
 */

/* Made if there is none. NULL without memory. */
static struct config_named *get_named(struct config *c, const char *section, const char *name)
{
	struct config_named *more;

	for (unsigned i = 0; i < c->n_named; i++)
		if (strcmp(c->named[i].section, section) == 0 && strcmp(c->named[i].name, name) == 0)
			return &c->named[i];
	more = realloc(c->named, (c->n_named + 1) * sizeof(*more));
	if (!more)
		return NULL;
	c->named = more;
	more += c->n_named++;
	memset(more, 0, sizeof(*more));
	more->section = setting_find(section, NULL)->section;
	strcpy(more->name, name);
	return more;
}

/* As take(): in which line the same file said it before; 0: it did not, and what a file below said is forgotten. */
static unsigned named_line(const struct layer *layer, const struct setting *s)
{
	struct config_named *named = layer->named;
	const struct origin *origin = &named->origins[s - named_settings];

	if (origin->kind == ORIGIN_FILE && origin->name == layer->origin.name)
		return origin->line;
	setting_clear(s, named);
	return 0;
}

static void take_named(struct layer *layer, const struct setting *s, const char *where, const char *value)
{
	char why[512];

	layer->named->origins[s - named_settings] = layer->origin;
	if (setting_take(s, layer->named, value, why, sizeof(why)) < 0)
		wrong(layer->parse, where, "%s", why);
}

/*
 * Files.
 */

static char *place_in(const struct layer *layer, unsigned line, char to[LINE_MOST])
{
	snprintf(to, LINE_MOST, "%s:%u", layer->origin.name, line);
	return to;
}

/* What is behind [name resize]'s kind, which needs quotes; or NULL. */
static const char *bare_name(const char *section, char kind[CONFFILE_LINE_MOST])
{
	size_t n = strcspn(section, " \t");

	snprintf(kind, CONFFILE_LINE_MOST, "%.*s", (int)n, section);
	return section[n] && setting_section_kind(kind) == 2 ? section + n + strspn(section + n, " \t") : NULL;
}

static int refuse_section(struct layer *layer, unsigned line, const char *section)
{
	struct nearest nearest = { .word = section };
	char where[LINE_MOST], kind[CONFFILE_LINE_MOST];
	const char *bare = bare_name(section, kind);

	for (size_t i = 0; i < SETTINGS; i++)
		nearest_try(&nearest, settings[i].section);
	for (size_t i = 0; i < NAMED_SETTINGS; i++)
		nearest_try(&nearest, named_settings[i].section);
	place_in(layer, line, where);
	if (bare)
		wrong(layer->parse, where, "[%s]: the name has no quotes; write [%s \"%s\"]", section, kind, bare);
	else if (nearest.best)
		wrong(layer->parse, where, "[%s]: there is no such section; did you mean [%s]?", section, nearest.best);
	else
		wrong(layer->parse, where,
		      "[%s]: there is no such section; see broodd --print-config, and broodd.conf(5)", section);
	return 0;
}

static int begin_named(struct layer *layer, unsigned line, const char *section, const char *name)
{
	char where[LINE_MOST];

	place_in(layer, line, where);
	layer->named = name_is_valid(name) ? get_named(layer->parse->config, section, name) : NULL;
	if (!name_is_valid(name))
		wrong(layer->parse, where, "[%s \"%s\"]: \"%s\" is not a name; use 1 to %d of a-z 0-9 . _ -", section,
		      name, name, NAME_MAX_LENGTH);
	else if (!layer->named)
		wrong(layer->parse, where, "there is no memory for it; free some, then try again");
	else if (layer->named->origin.kind == ORIGIN_DEFAULT)
		layer->named->origin = (struct origin){ .kind = ORIGIN_FILE, .name = layer->origin.name, .line = line };
	return layer->named != NULL;
}

static int on_section(void *data, unsigned line, const char *section, const char *name)
{
	struct layer *layer = data;
	int kind = setting_section_kind(section);
	char where[LINE_MOST];

	layer->named = NULL;
	if (kind == 0)
		return refuse_section(layer, line, section);
	if (kind == 2 && name)
		return begin_named(layer, line, section, name);
	if (kind == 1 && !name)
		return 1;
	place_in(layer, line, where);
	if (name)
		wrong(layer->parse, where, "[%s \"%s\"]: there is one such section, which has no name; write [%s]",
		      section, name, section);
	else
		wrong(layer->parse, where, "[%s]: it needs a name; write [%s \"NAME\"]", section, section);
	return 0;
}

static void refuse_key(struct layer *layer, const char *where, const char *section, const char *key)
{
	struct nearest nearest = { .word = key };
	const char *other = NULL;

	for (size_t i = 0; i < SETTINGS + NAMED_SETTINGS; i++) {
		const struct setting *s = i < SETTINGS ? &settings[i] : &named_settings[i - SETTINGS];

		if (strcmp(s->key, key) == 0)
			other = s->section;
		if (strcmp(s->section, section) == 0)
			nearest_try(&nearest, s->key);
	}
	if (other)
		wrong(layer->parse, where, "%.60s: it belongs to another section; move it behind [%s]", key, other);
	else if (section[0] == '\0')
		wrong(layer->parse, where,
		      "%.60s: it stands before any section; write the line of its section above, as in [broker]", key);
	else if (nearest.best)
		wrong(layer->parse, where, "%.60s: there is no such key in [%s]; did you mean %s?", key, section,
		      nearest.best);
	else
		wrong(layer->parse, where, "%.60s: there is no such key in [%s]; see broodd --print-config", key,
		      section);
}

/* It may be said in several lines of a file. */
static int adds_up(const struct setting *s)
{
	return s->type == SETTING_ADDRESSES || s->type == SETTING_USERS || s->type == SETTING_PAIRS;
}

static void on_value(void *data, unsigned line, const char *section, const char *key, const char *value)
{
	struct layer *layer = data;
	const struct setting *s = setting_find(section, key);
	char where[LINE_MOST], place[LINE_MOST + 192];
	unsigned before;

	place_in(layer, line, where);
	if (!s) {
		refuse_key(layer, where, section, key);
		return;
	}
	if (layer->named)
		snprintf(place, sizeof(place), "%s: [%s \"%s\"] %s", where, section, layer->named->name, key);
	else
		snprintf(place, sizeof(place), "%s: %s.%s", where, section, key);
	layer->origin.line = line;
	before = layer->named ? named_line(layer, s) : layer->seen[s - settings];
	if (before && !adds_up(s))
		wrong(layer->parse, place, "it is set in line %u already; keep one of them", before);
	else if (s->type == SETTING_DIRECTORY && value[0] != '/')
		wrong(layer->parse, place, "\"%.60s\" does not begin with /; give an absolute path", value);
	else if (layer->named)
		take_named(layer, s, place, value);
	else
		take(layer, s, place, value);
}

static void on_wrong(void *data, unsigned line, const char *why)
{
	struct layer *layer = data;
	char where[LINE_MOST];

	wrong(layer->parse, place_in(layer, line, where), "%s", why);
}

static const struct conffile_ops ops = { on_section, on_value, on_wrong };

static void take_bytes(struct parse *parse, const char *path, const char *bytes, size_t n)
{
	struct layer layer = { .parse = parse, .origin = { .kind = ORIGIN_FILE, .name = keep_text(parse, path) } };

	if (!layer.origin.name)
		return;
	parse->config->n_files++;
	conffile_parse(bytes, n, &ops, &layer);
}

static void read_file(struct parse *parse, const char *path, int required)
{
	char why[256], *bytes;
	size_t n;
	int r = conffile_read(path, &bytes, &n, why, sizeof(why));

	if (r == 0) {
		take_bytes(parse, path, bytes, n);
		free(bytes);
	} else if (r != -ENOENT || required) {
		wrong(parse, path, "%s", why);
	}
}

static int is_part(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return entry->d_name[0] != '.' && n > 5 && strcmp(entry->d_name + n - 5, ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void read_parts(struct parse *parse, const char *directory)
{
	struct dirent **entries = NULL;
	char path[PATH_MAX + 300], why[256];
	int r = conffile_trust_directory(directory, why, sizeof(why)), n;

	if (r == -ENOENT)
		return;
	if (r < 0) {
		wrong(parse, directory, "%s", why);
		return;
	}
	n = scandir(directory, &entries, is_part, by_name);
	if (n < 0 || n > (int)FILES_MOST)
		wrong(parse, directory, "%s; check it", n < 0 ? strerror(errno) : "it has more than 100 files");
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		if (n <= (int)FILES_MOST)
			read_file(parse, path, 1);
		free(entries[i]);
	}
	free(entries);
}

static void read_files(struct parse *parse)
{
	struct config *c = parse->config;
	char directory[PATH_MAX + 16];
	const char *slash = strrchr(c->file, '/');

	if (!slash)
		return;
	read_file(parse, c->file, c->file_given);
	snprintf(directory, sizeof(directory), "%.*s/conf.d", (int)(slash - c->file), c->file);
	read_parts(parse, directory);
}

/* Where an administrator, or the user, puts it. */
static void default_file(struct config *c)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	int n = 0;

	if (geteuid() == 0 && !c->private)
		n = snprintf(c->file, sizeof(c->file), "%s", SYSTEM_FILE);
	else if (config && config[0] == '/')
		n = snprintf(c->file, sizeof(c->file), "%s/brood/broodd.conf", config);
	else if (home && home[0] == '/')
		n = snprintf(c->file, sizeof(c->file), "%s/.config/brood/broodd.conf", home);
	if (n >= (int)sizeof(c->file))
		c->file[0] = '\0'; /* nothing can be there */
}

/* Absolute, because the working directory changes in the background. */
static void take_file(struct parse *parse, const char *path)
{
	struct config *c = parse->config;
	char here[PATH_MAX] = "";
	int n;

	if (c->file_given == 2)
		return; /* again */
	if (path[0] != '/' && !getcwd(here, sizeof(here)))
		here[0] = '\0';
	n = snprintf(c->file, sizeof(c->file), "%s%s%s", here, here[0] ? "/" : "", path);
	if (path[0] == '\0' || c->file[0] != '/' || n >= (int)sizeof(c->file)) {
		wrong(parse, "--config", "\"%.60s\" is empty or too long; give the path of a file", path);
		c->file[0] = '\0';
	}
	c->file_given = 1;
}

/*
 * The environment.
 */

extern char **environ;

static void take_variable(struct layer *layer, const char *name, const char *value)
{
	struct nearest nearest = { .word = name };
	char names[SETTINGS][SETTING_TEXT];

	for (size_t i = 0; i < SETTINGS; i++) {
		setting_variable(&settings[i], names[i]);
		if (strcmp(names[i], name) == 0) {
			layer->origin.name = keep_text(layer->parse, name);
			take(layer, &settings[i], name, value);
			return;
		}
		nearest_try(&nearest, names[i]);
	}
	if (nearest.best)
		wrong(layer->parse, name, "there is no such variable; did you mean %s?", nearest.best);
	else
		wrong(layer->parse, name, "there is no such variable; unset it, or see broodd.conf(5)");
}

static void take_environment(struct parse *parse)
{
	struct layer layer = { .parse = parse, .origin = { .kind = ORIGIN_ENVIRONMENT } };
	const char *idle_ms = getenv("BROOD_IDLE_MS");
	char name[SETTING_TEXT];

	/* Programs that start a private broker for themselves say this one. */
	if (parse->config->private && idle_ms) {
		layer.origin.name = keep_text(parse, "BROOD_IDLE_MS");
		take_ms(&layer, setting_find("broker", "idle"), "BROOD_IDLE_MS", idle_ms);
	}
	for (char **at = environ; *at; at++) {
		size_t n = strcspn(*at, "=");

		if (strncmp(*at, PREFIX, strlen(PREFIX)) != 0 || (*at)[n] != '=')
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)n, *at);
		take_variable(&layer, name, *at + n + 1);
	}
}

/*
 * Flags.
 */

enum {
	FLAG_TEST = 't',
	FLAG_PRINT = 1,
	FLAG_CONFIG,
	FLAG_PRIVATE,
	FLAG_VERSION,
	FLAG_HELP,
	FLAG_SETTING = 256,
	FLAG_MS = 512
};

static const struct option others[] = {
	{ "config", required_argument, NULL, FLAG_CONFIG }, { "private", no_argument, NULL, FLAG_PRIVATE },
	{ "test", no_argument, NULL, FLAG_TEST },           { "print-config", no_argument, NULL, FLAG_PRINT },
	{ "version", no_argument, NULL, FLAG_VERSION },     { "help", no_argument, NULL, FLAG_HELP }
};
#define OTHERS (sizeof(others) / sizeof(*others))

struct flags {
	char names[SETTINGS][SETTING_TEXT];
	struct option options[2 * SETTINGS + OTHERS + 1];
};

static void make_flags(struct flags *flags)
{
	struct option *next = flags->options;

	memset(flags, 0, sizeof(*flags));
	for (int i = 0; i < (int)SETTINGS; i++) {
		setting_flag(&settings[i], flags->names[i]);
		*next++ = (struct option){ flags->names[i], required_argument, NULL, FLAG_SETTING + i };
		if (settings[i].ms_flag)
			*next++ = (struct option){ settings[i].ms_flag, required_argument, NULL, FLAG_MS + i };
	}
	memcpy(next, others, sizeof(others));
}

static void refuse_flag(struct parse *parse, const struct flags *flags, const char *given)
{
	char name[SETTING_TEXT];
	struct nearest nearest = { .word = name + strspn(given, "-") };

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(given, "="), given);
	for (const struct option *o = flags->options; o->name; o++)
		nearest_try(&nearest, o->name);
	if (nearest.best)
		wrong(parse, name, "there is no such flag; did you mean --%s?", nearest.best);
	else
		wrong(parse, name, "there is no such flag; see broodd --help");
}

/* What has to be known before the files are read. An enum config_result; CONFIG_RUN: go on. */
static int look_at_flag(struct parse *parse, const struct flags *flags, int flag, const char *given)
{
	switch (flag) {
	case FLAG_CONFIG:
		take_file(parse, optarg);
		break;
	case FLAG_PRIVATE:
		parse->config->private = 1;
		break;
	case FLAG_VERSION:
		return CONFIG_VERSION;
	case FLAG_HELP:
		return CONFIG_HELP;
	case FLAG_TEST:
		return CONFIG_TEST;
	case FLAG_PRINT:
		return CONFIG_PRINT;
	case ':':
		wrong(parse, given, "it needs a value; see broodd --help");
		break;
	case '?':
		refuse_flag(parse, flags, given);
		break;
	default:
		break; /* its turn comes */
	}
	return CONFIG_RUN;
}

static void take_flag(struct layer *layer, const struct flags *flags, int flag)
{
	char where[SETTING_TEXT + 2];
	int ms = flag >= FLAG_MS;
	const struct setting *s = &settings[flag - (ms ? FLAG_MS : FLAG_SETTING)];

	snprintf(where, sizeof(where), "--%s", ms ? s->ms_flag : flags->names[s - settings]);
	layer->origin.name = keep_text(layer->parse, where);
	if (ms)
		take_ms(layer, s, where, optarg);
	else
		take(layer, s, where, optarg);
}

static int next_flag(const struct flags *flags, int argc, char **argv)
{
	return getopt_long(argc, argv, ":t", flags->options, NULL);
}

/* The first walk: an enum config_result. */
static int look_at_flags(struct parse *parse, int argc, char **argv)
{
	struct flags flags;
	int flag, result = CONFIG_RUN, found;

	make_flags(&flags);
	opterr = 0;
	optind = 0; /* begin anew, also when called twice */
	while ((flag = next_flag(&flags, argc, argv)) != -1) {
		found = look_at_flag(parse, &flags, flag, argv[optind > 0 ? optind - 1 : 0]);
		if (found == CONFIG_HELP || found == CONFIG_VERSION)
			return found;
		result = found != CONFIG_RUN ? found : result;
	}
	if (optind < argc)
		wrong(parse, argv[optind], "broodd takes flags only; see broodd --help");
	return result;
}

/* The second walk: values. */
static void take_flags(struct parse *parse, int argc, char **argv)
{
	struct layer layer = { .parse = parse, .origin = { .kind = ORIGIN_FLAG } };
	struct flags flags;
	int flag;

	make_flags(&flags);
	optind = 0;
	while ((flag = next_flag(&flags, argc, argv)) != -1)
		if (flag >= FLAG_SETTING)
			take_flag(&layer, &flags, flag);
}

/*
 * Defaults.
 */

/* A private broker is where programs look for it, or where the one who starts it says: a file is for all of a user's. */
static void default_dir(struct parse *parse)
{
	struct config *c = parse->config;
	struct origin *origin = &c->origins[setting_find("broker", "dir") - settings];

	if (c->private && origin->kind != ORIGIN_FLAG) {
		*origin = (struct origin){ .kind = ORIGIN_DEFAULT };
		c->dir[0] = '\0';
	}
	if (c->dir[0])
		return;
	if (geteuid() == 0 && !c->private)
		strcpy(c->dir, SYSTEM_DIR);
	else if (!address_private_directory(c->dir, sizeof(c->dir)))
		wrong(parse, "XDG_RUNTIME_DIR", "too long for a directory's path; give another with --dir");
}

static void default_idle(struct config *c)
{
	const struct setting *idle = setting_find("broker", "idle");

	if (c->private && c->origins[idle - settings].kind == ORIGIN_DEFAULT)
		c->idle_ms = PRIVATE_IDLE_MS;
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

/* What is right by itself, but not together. */
static void check_together(struct parse *parse)
{
	const struct limits *l = &parse->config->limits;
	const struct config_tls *tls = &parse->config->tls;

	for (unsigned i = 0; i < parse->config->n_listen; i++)
		if (parse->config->listen[i].kind == ADDRESS_TLS && (!tls->certificate[0] || !tls->key[0])) {
			wrong(parse, "broker.listen",
			      "TLS needs a certificate and its key; give tls-cert and tls-key, which are made by: "
			      "brood "
			      "cert server");
			break;
		}
	if (tls->clients == TLS_CLIENTS_REQUIRED && !tls->ca[0])
		wrong(parse, "broker.tls-client",
		      "certificates of clients need a CA to be checked by; give tls-ca, or take another value");
	if (tls->crl[0] && !tls->ca[0])
		wrong(parse, "broker.tls-crl", "revoked certificates need their CA; give tls-ca, or leave tls-crl out");
	if (l->share_least > l->share)
		wrong(parse, "limits.queue-per-sender-least",
		      "it is larger than limits.queue-per-sender; lower it, or raise the other");
	if (l->share > l->queue)
		wrong(parse, "limits.queue-per-sender",
		      "it is larger than limits.queue-per-receiver; lower it, or raise the other");
	if (l->queue > l->memory)
		wrong(parse, "limits.queue-per-receiver",
		      "it is larger than limits.queue-total; lower it, or raise the other");
	if (l->notes > l->user_notes)
		wrong(parse, "limits.answers-per-session",
		      "it is larger than limits.answers-per-user; lower it, or raise the other");
	if (l->quantum > l->turn)
		wrong(parse, "limits.turn-per-user", "it is larger than limits.turn; lower it, or raise the other");
}

/* A section that has a name needs these. */
static void check_named(struct parse *parse, const struct config_named *named)
{
	char where[LINE_MOST + 160];

	snprintf(where, sizeof(where), "%s:%u: [%s \"%s\"]", named->origin.name, named->origin.line, named->section,
		 named->name);
	if (strcmp(named->section, "name") == 0 && !named->owner)
		wrong(parse, where, "nobody may hold it; say who: owner = USER");
	if (strcmp(named->section, "peer") != 0)
		return;
	if (strcmp(named->name, parse->config->node) == 0)
		wrong(parse, where, "that is this node's own name; give the other node's, or set broker.node");
	if (named->url && strncmp(named->url, "tls:", 4) == 0 && !parse->config->tls.ca[0])
		wrong(parse, where, "a node that is dialed with TLS needs a CA to be checked by; give tls-ca");
	if (named->url && strncmp(named->url, "tls:", 4) == 0 && !parse->config->tls.certificate[0])
		wrong(parse, where,
		      "a node that dials with TLS needs a certificate of its own; give tls-cert and tls-key, which are "
		      "made "
		      "by: brood cert node");
}

static void check_peers(struct parse *parse)
{
	const struct config *c = parse->config;
	unsigned n = 0;

	for (unsigned i = 0; i < c->n_named; i++)
		n += strcmp(c->named[i].section, "peer") == 0;
	if (n > CONFIG_PEERS_MOST)
		wrong(parse, "[peer]", "there are %u nodes, more than %u; leave some out", n, CONFIG_PEERS_MOST);
}

static int load(struct parse *parse, int argc, char **argv)
{
	struct config *c = parse->config;
	int result = look_at_flags(parse, argc, argv);

	if (result == CONFIG_HELP || result == CONFIG_VERSION)
		return parse->errors > 0 ? -EINVAL : result;
	if (!c->file_given)
		default_file(c);
	read_files(parse);
	take_environment(parse);
	take_flags(parse, argc, argv);
	default_dir(parse);
	default_idle(c);
	default_node(c);
	if (parse->errors == 0)
		check_together(parse);
	for (unsigned i = 0; parse->errors == 0 && i < c->n_named; i++)
		check_named(parse, &c->named[i]);
	check_peers(parse);
	return parse->errors > 0 ? -EINVAL : result;
}

static void begin(struct config *c, int argc, char **argv)
{
	memset(c, 0, sizeof(*c));
	c->level = LOG_INFO;
	c->confine = 1;
	c->away_ms = AWAY_MS;
	c->beat_ms = BEAT_MS;
	c->tls.clients = TLS_CLIENTS_OPTIONAL;
	c->limits = (struct limits)LIMITS_DEFAULT;
	c->argc = argc;
	c->argv = argv;
}

int config_parse(struct config *c, int argc, char **argv, config_error_fn *tell, void *data)
{
	struct parse parse = { c, tell, data, 0 };

	begin(c, argc, argv);
	return load(&parse, argc, argv);
}

int config_again(struct config *c, const struct config *before, config_error_fn *tell, void *data)
{
	struct parse parse = { c, tell, data, 0 };

	begin(c, before->argc, before->argv);
	strcpy(c->file, before->file);
	c->file_given = before->file_given ? 2 : 0;
	return load(&parse, c->argc, c->argv) < 0 ? -EINVAL : 0;
}

void config_keep_fixed(struct config *c, const struct config *now, config_error_fn *tell, void *data)
{
	char old[PATH_MAX], new[PATH_MAX], line[2 * PATH_MAX], why[256];

	for (const struct setting *s = settings; s < settings + SETTINGS; s++) {
		if (!s->fixed ||
		    strcmp(setting_format(s, c, new, sizeof(new)), setting_format(s, now, old, sizeof(old))) == 0)
			continue;
		snprintf(line, sizeof(line), "%s.%s: it cannot change while the broker runs; restart it to have %s",
			 s->section, s->key, new);
		tell(data, line);
		(void)setting_take(s, c, old, why, sizeof(why)); /* which it was taken from */
	}
}

void config_deinit(struct config *c)
{
	for (const struct setting *s = settings; s < settings + SETTINGS; s++)
		setting_clear(s, c);
	for (size_t i = 0; i < c->n_named * NAMED_SETTINGS; i++)
		setting_clear(&named_settings[i % NAMED_SETTINGS], &c->named[i / NAMED_SETTINGS]);
	free(c->named);
	c->named = NULL;
	c->n_named = 0;
	for (unsigned i = 0; i < c->n_texts; i++)
		free(c->texts[i]);
	free(c->texts);
	c->texts = NULL;
	c->n_texts = c->n_files = 0;
}

/*
 * For people.
 */

static void print_origin(const struct origin *origin, FILE *out)
{
	if (origin->kind == ORIGIN_FILE)
		fprintf(out, " ; %s:%u\n", origin->name, origin->line);
	else
		fprintf(out, " ; %s\n", origin->kind == ORIGIN_DEFAULT ? "default" : origin->name);
}

static void print_named(const struct config_named *named, FILE *out)
{
	char value[SETTING_LIST_MOST], range[192];

	fprintf(out, "\n[%s \"%s\"]\n", named->section, named->name);
	for (const struct setting *s = named_settings; s < named_settings + NAMED_SETTINGS; s++) {
		if (strcmp(s->section, named->section) != 0)
			continue;
		fprintf(out, "# %s\n# It is %s.\n", s->help, setting_range(s, range, sizeof(range)));
		fprintf(out, "%s = %s", s->key, setting_format(s, named, value, sizeof(value)));
		print_origin(&named->origins[s - named_settings], out);
	}
}

void config_print(const struct config *c, FILE *out)
{
	char value[SETTING_LIST_MOST], range[192];
	const char *section = "";

	for (size_t i = 0; i < SETTINGS; i++) {
		const struct setting *s = &settings[i];

		if (strcmp(section, s->section) != 0)
			fprintf(out, "%s[%s]\n", i > 0 ? "\n" : "", s->section);
		section = s->section;
		fprintf(out, "# %s\n# It is %s.\n", s->help, setting_range(s, range, sizeof(range)));
		fprintf(out, "%s = %s", s->key, setting_format(s, c, value, sizeof(value)));
		print_origin(&c->origins[i], out);
	}
	for (unsigned i = 0; i < c->n_named; i++)
		print_named(&c->named[i], out);
}

void config_help(FILE *out)
{
	char flag[SETTING_TEXT], left[SETTING_TEXT + 16];

	fputs("broodd: the broker of brood. Processes connect to it, and it carries their messages.\n\n", out);
	for (size_t i = 0; i < SETTINGS; i++) {
		if (strcmp(settings[i].section, "broker") != 0)
			continue;
		snprintf(left, sizeof(left), "--%s VALUE", setting_flag(&settings[i], flag));
		fprintf(out, "  %-20s %s\n", left, settings[i].help);
	}
	fputs("  --links.beat VALUE   how often other nodes hear from this one; which nodes, [peer \"NAME\"] in the "
	      "files says\n"
	      "  --policy.KEY VALUE   who may do what; see broodd.conf(5)\n"
	      "  --limits.KEY VALUE   a limit; --print-config shows all keys, what they are for, and their values\n"
	      "  --config FILE        instead of /etc/brood/broodd.conf (root's), $XDG_CONFIG_HOME/brood/broodd.conf "
	      "(others')\n"
	      "  --private            go to the background, and leave when nobody is connected any more\n"
	      "  -t, --test           say whether the configuration is right, and leave\n"
	      "  --print-config       print the configuration, with where each value is from, and leave\n"
	      "  --version, --help\n"
	      "\n"
	      "All settings may also be in the files, and in the environment as BROODD_IDLE, BROODD_LIMITS_SESSIONS "
	      "and so on.\n"
	      "SIGHUP reads them again.\n"
	      "SIGTERM lets every connected process finish, for at most 5 s. A second one does not wait.\n"
	      "SIGUSR2 makes it leave at once for another one to take over, to which the processes come back.\n",
	      out);
}
