/*
 * settings: one row per setting, and one way to read, write and describe the values of each type.
 *
 * Everything else follows the table: a new row is a key in the file, a flag, a variable, and a line of --print-config, and
 * the checks ask for its place in the manual page and in the example. What is wrong with a value is said here; where it
 * stands is put before that by config.
 */
#include "settings.h"
#include "nearest.h"
#include "who.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS (24u * 3600 * 1000)
#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

#define AT(member) offsetof(struct config, member)
#define SIZE(name, member, from, to, text)                                                                             \
	{                                                                                                              \
		.section = "limits", .key = (name), .type = SETTING_SIZE, .offset = AT(limits.member),                 \
		.least = (from), .most = (to), .help = (text)                                                          \
	}
#define FILE_AT(name, member, is_fixed, text)                                                                          \
	{                                                                                                              \
		.section = "broker", .key = (name), .type = SETTING_FILE, .offset = AT(member), .fixed = (is_fixed),   \
		.help = (text)                                                                                         \
	}
#define COUNT(name, member, from, to, text)                                                                            \
	{                                                                                                              \
		.section = "limits", .key = (name), .type = SETTING_COUNT, .offset = AT(limits.member),                \
		.least = (from), .most = (to), .help = (text)                                                          \
	}
#define COUNT_OR(meaning, name, member, from, to, text)                                                                \
	{                                                                                                              \
		.section = "limits", .key = (name), .type = SETTING_COUNT, .offset = AT(limits.member),                \
		.least = (from), .most = (to), .zero = (meaning), .help = (text)                                       \
	}

#define LIST(name, kind, member, normal, text)                                                                         \
	{                                                                                                              \
		.section = "policy", .key = (name), .type = (kind), .offset = AT(member), .unset = (normal),           \
		.help = (text)                                                                                         \
	}

const struct setting settings[SETTINGS] = {
	{ .section = "broker",
	  .key = "dir",
	  .type = SETTING_DIRECTORY,
	  .offset = AT(dir),
	  .fixed = 1,
	  .help = "State directory, made if absent; its socket is DIR/sock." },
	{ .section = "broker",
	  .key = "node",
	  .type = SETTING_NAME,
	  .offset = AT(node),
	  .fixed = 1,
	  .help = "What this host is called." },
	{ .section = "broker",
	  .key = "listen",
	  .type = SETTING_ADDRESSES,
	  .help = "Also listen there: unix:/path, tcp://127.0.0.1:PORT, tls://0.0.0.0:PORT, or fifo: for named pipes; "
		  "separated by blanks." },
	{ .section = "broker",
	  .key = "away",
	  .type = SETTING_DURATION,
	  .offset = AT(away_ms),
	  .least = 1,
	  .most = 7 * DAY_MS,
	  .ms_flag = "away-ms",
	  .help = "How long a process that lost its connection may take to come back." },
	{ .section = "broker",
	  .key = "idle",
	  .type = SETTING_DURATION,
	  .offset = AT(idle_ms),
	  .least = 1,
	  .most = 7 * DAY_MS,
	  .zero = "never",
	  .ms_flag = "idle-ms",
	  .help = "Leave after so long without a connection." },
	{ .section = "broker",
	  .key = "confine",
	  .type = SETTING_SWITCH,
	  .offset = AT(confine),
	  .fixed = 1,
	  .help = "Give up starting programs, privileges and core files; no is for debugging." },
	{ .section = "broker",
	  .key = "log-level",
	  .type = SETTING_LEVEL,
	  .offset = AT(level),
	  .help = "What is logged, and all that is more important." },

	FILE_AT("tls-cert", tls.certificate, 0, "For TLS: our certificate, and those between it and the CA."),
	FILE_AT("tls-key", tls.key, 0, "For TLS: its key, which only we may read."),
	FILE_AT("tls-ca", tls.ca, 0, "For TLS: the CA of clients that show a certificate."),
	FILE_AT("tls-crl", tls.crl, 0, "For TLS: the certificates that the CA has revoked."),
	{ .section = "broker",
	  .key = "tls-client",
	  .type = SETTING_CLIENTS,
	  .offset = AT(tls.clients),
	  .help = "For TLS: whether a client shows a certificate; without tls-ca none does." },
	FILE_AT("token-file", token_file, 1,
		"The secret of TCP and TLS clients without a certificate; if not set, DIR/cookie."),

	SIZE("queue-per-receiver", queue, MIB, 64 * GIB, "Bytes that may wait for one process, shared by its senders."),
	SIZE("queue-per-sender", share, 256 * KIB, 64 * GIB,
	     "The most of these that one sender may use, however few there are."),
	SIZE("queue-per-sender-least", share_least, 256 * KIB, 64 * GIB,
	     "What one sender may use, however many there are, while its user has room."),
	SIZE("queue-total", memory, MIB, 1024 * GIB,
	     "Bytes that may wait in all; of one user as many as it leaves free for others."),
	SIZE("answers-per-session", notes, 2 * MIB, GIB,
	     "Bytes of the broker's own that a session may leave unread, above which it is closed."),
	SIZE("answers-per-user", user_notes, 2 * MIB, 64 * GIB,
	     "Bytes of the broker's own that all sessions of one user may leave unread."),
	SIZE("turn", turn, 64 * KIB, 64 * MIB,
	     "Work done before the broker looks again who else is ready: bytes, and what takes as long."),
	SIZE("turn-per-user", quantum, 16 * KIB, 64 * MIB, "Work done for one user before it is the next one's turn."),
	COUNT("destinations-per-process", destinations, 1, 16777216, "Processes that one process may write to."),
	COUNT("names-per-process", names_per_process, 1, 65535, "Names that one process may hold."),
	COUNT("watches-per-process", watches_per_process, 1, 65535, "Names that one process may watch."),
	COUNT("id-blocks-per-process", id_blocks_per_process, 1, 65535,
	      "Blocks of ids for children that are remembered of one process; the oldest are forgotten."),
	COUNT("sessions-per-user", sessions_per_user, 1, 16777216,
	      "Connections of one user, and no more than it leaves free for others; those over TCP that have not said "
	      "who they are count as one user's."),
	COUNT("names-per-user", names_per_user, 1, 16777216, "Names that all processes of one user may hold."),
	COUNT("greetings-per-user", greetings_per_user, 1, 16777216,
	      "Connections of one user that have not said HELLO yet; each may send 4 KiB before."),
	COUNT_OR("not limited", "connections-per-user", connections_per_user, 1, 1000000,
		 "New connections a second of one user, beyond connection-burst."),
	COUNT("connection-burst", connection_burst, 1, 1000000,
	      "New connections of one user that may come at once, if connections-per-user is limited."),
	COUNT_OR("as many as the limit of open files allows", "sessions", connections, 1, 16777216,
		 "Connections of all users."),
	COUNT_OR("half of the limit of open files", "descriptors", descriptors, 1, 16777216,
		 "Descriptors that may wait to be passed on, above which frames go without theirs."),
	COUNT("awaited", awaited, 1, 16777216,
	      "Processes of an earlier run that somebody wrote to, and that may come back."),
	COUNT("absent", absent, 1, 16777216,
	      "Processes without a connection that may come back; whose connection ends after that is gone."),
	COUNT("absent-seen", absent_seen, 1, 65535,
	      "How many of these are watched, so that their end is known at once."),
	COUNT("claims", claims, 1, 16777216, "Names asked for while earlier holders may come back."),
	COUNT_OR("none", "exits", exits, 1, 1048576,
		 "Processes of which it is remembered how they ended; who has most of them loses one first."),
	{ .section = "limits",
	  .key = "hello-timeout",
	  .type = SETTING_DURATION,
	  .offset = AT(limits.hello_ms),
	  .least = 100,
	  .most = 600 * 1000,
	  .help = "How long a new connection may take to say HELLO." },

	LIST("connect", SETTING_USERS, policy.connect, "*", "Users who may connect."),
	LIST("register", SETTING_USERS, policy.names, "*", "Users whose processes may take names."),
	LIST("send", SETTING_PAIRS, policy.send, "",
	     "Whose processes may write to whose, which may answer them; parents and children always may."),
	LIST("parent", SETTING_PAIRS, policy.parent, "", "Whose processes may become children of whose."),
	LIST("list", SETTING_PAIRS, policy.list, "", "Who may see whose processes, though it may not write to them."),
	{ .section = "links",
	  .key = "beat",
	  .type = SETTING_DURATION,
	  .offset = AT(beat_ms),
	  .least = 100,
	  .most = 60 * 1000,
	  .help = "How often a linked node hears from us at least; it takes us for dead after three times as long." },
};

const struct setting named_settings[NAMED_SETTINGS] = {
	{ .section = "name",
	  .key = "owner",
	  .type = SETTING_USER,
	  .offset = offsetof(struct config_named, owner),
	  .unset = "",
	  .help = "The one user whose processes may hold this name, which is shared by all users named here." },
	{ .section = "name",
	  .key = "users",
	  .type = SETTING_USERS,
	  .offset = offsetof(struct config_named, users),
	  .unset = "",
	  .help = "Users whose processes find it, and may write to its holder, which may answer them." },
	{ .section = "peer",
	  .key = "url",
	  .type = SETTING_URL,
	  .offset = offsetof(struct config_named, url),
	  .unset = "",
	  .help = "Where the broker of this other node listens; without it we wait for that one to dial." },
};

static const struct setting *find(const struct setting *table, size_t n, const char *section, const char *key)
{
	for (const struct setting *s = table; s < table + n; s++)
		if (strcmp(s->section, section) == 0 && (!key || strcmp(s->key, key) == 0))
			return s;
	return NULL;
}

const struct setting *setting_find(const char *section, const char *key)
{
	const struct setting *s = find(settings, SETTINGS, section, key);

	return s ? s : find(named_settings, NAMED_SETTINGS, section, key);
}

int setting_is_named(const struct setting *s)
{
	return s >= named_settings && s < named_settings + NAMED_SETTINGS;
}

int setting_section_kind(const char *section)
{
	const struct setting *s = setting_find(section, NULL);

	return !s ? 0 : 1 + setting_is_named(s);
}

char *setting_flag(const struct setting *s, char to[SETTING_TEXT])
{
	if (strcmp(s->section, "broker") == 0)
		snprintf(to, SETTING_TEXT, "%s", s->key);
	else
		snprintf(to, SETTING_TEXT, "%s.%s", s->section, s->key);
	return to;
}

char *setting_variable(const struct setting *s, char to[SETTING_TEXT])
{
	char flag[SETTING_TEXT];

	snprintf(to, SETTING_TEXT, "BROODD_%s", setting_flag(s, flag));
	for (char *c = to; *c; c++)
		*c = *c == '-' || *c == '.' ? '_' : (char)toupper((unsigned char)*c);
	return to;
}

/*
 * Numbers with a unit.
 */

struct unit {
	const char *name;
	uint64_t factor;
};
static const struct unit durations[] = {
	{ "h", 3600 * 1000 }, { "min", 60 * 1000 }, { "s", 1000 }, { "ms", 1 }, { NULL, 0 }
};
static const struct unit sizes[] = { { "G", GIB }, { "M", MIB }, { "K", KIB }, { "", 1 }, { NULL, 0 } };
static const struct unit counts[] = { { "", 1 }, { NULL, 0 } };

static const struct unit *units_of(const struct setting *s)
{
	return s->type == SETTING_DURATION ? durations : s->type == SETTING_SIZE ? sizes : counts;
}

static char *number_format(const struct setting *s, uint64_t value, char *to, size_t n)
{
	const struct unit *unit = units_of(s);

	if (value == 0 && s->type == SETTING_DURATION)
		unit += 2; /* 0s */
	else
		while (unit->factor > 1 && (value == 0 || value % unit->factor != 0))
			unit++;
	snprintf(to, n, "%" PRIu64 "%s", value / unit->factor, unit->name);
	return to;
}

static char *number_range(const struct setting *s, char *to, size_t n)
{
	char least[32], most[32];

	snprintf(to, n, "from %s to %s%s%s%s", number_format(s, s->least, least, sizeof(least)),
		 number_format(s, s->most, most, sizeof(most)), s->zero ? ", or 0 (" : "", s->zero ? s->zero : "",
		 s->zero ? ")" : "");
	return to;
}

/* 1, or 0 if it is not digits and a unit. What is too large for 64 bits is as large as can be. */
static int number_parse(const char *text, const struct unit *unit, uint64_t *ret)
{
	size_t digits = strspn(text, "0123456789");
	uint64_t value;

	if (digits == 0)
		return 0;
	errno = 0;
	value = strtoull(text, NULL, 10);
	while (unit->name && strcmp(unit->name, text + digits) != 0)
		unit++;
	if (!unit->name && (value > 0 || text[digits]))
		return 0;
	*ret = !unit->name ? 0 : errno || value > UINT64_MAX / unit->factor ? UINT64_MAX : value * unit->factor;
	return 1;
}

/*
 * Taking values.
 */

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t n, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, n, format, args);
	va_end(args);
	return -EINVAL;
}

static void *place_of(const struct setting *s, void *where)
{
	return (char *)where + s->offset;
}

static int take_number(const struct setting *s, void *where, const char *text, char *why, size_t n)
{
	char range[96];
	uint64_t value;

	number_range(s, range, sizeof(range));
	if (!number_parse(text, units_of(s), &value)) {
		if (s->type == SETTING_DURATION)
			return refuse(why, n, "\"%.60s\" is not a duration; write digits and ms, s, min or h, %s", text,
				      range);
		if (s->type == SETTING_SIZE)
			return refuse(why, n, "\"%.60s\" is not a size; write digits, and K, M or G behind them, %s",
				      text, range);
		return refuse(why, n, "\"%.60s\" is not a number; write digits, %s", text, range);
	}
	if ((value < s->least || value > s->most) && !(value == 0 && s->zero))
		return refuse(why, n, "%.60s is out of range; give a value %s", text, range);
	if (s->type == SETTING_SIZE)
		*(size_t *)place_of(s, where) = value;
	else
		*(uint32_t *)place_of(s, where) = (uint32_t)value;
	return 0;
}

static int take_name(const struct setting *s, void *where, const char *text, char *why, size_t n)
{
	if (!name_is_valid(text))
		return refuse(why, n, "\"%.80s\" is not a name; use 1 to %d of a-z 0-9 . _ -", text, NAME_MAX_LENGTH);
	strcpy(place_of(s, where), text);
	return 0;
}

static int take_directory(const struct setting *s, void *where, const char *text, char *why, size_t n)
{
	if (text[0] == '\0' || strlen(text) >= PATH_MAX)
		return refuse(why, n, "\"%.40s\" is empty or too long; give the path of a directory", text);
	strcpy(place_of(s, where), text);
	return 0;
}

/* "" takes back what a layer below says. */
static int take_path(const struct setting *s, void *where, const char *text, char *why, size_t n)
{
	if (strlen(text) >= PATH_MAX)
		return refuse(why, n, "\"%.40s\" is too long; give the path of a file", text);
	if (text[0] && text[0] != '/')
		return refuse(why, n, "\"%.60s\" does not begin with /; give an absolute path", text);
	strcpy(place_of(s, where), text);
	return 0;
}

static const char *const modes[] = {
	[TLS_CLIENTS_NONE] = "none", [TLS_CLIENTS_OPTIONAL] = "optional", [TLS_CLIENTS_REQUIRED] = "required"
};

static int take_clients(const struct setting *s, void *where, const char *text, char *why, size_t n)
{
	for (unsigned i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (strcmp(text, modes[i]) != 0)
			continue;
		*(enum tls_clients *)place_of(s, where) = (enum tls_clients)i;
		return 0;
	}
	return refuse(why, n, "\"%.60s\" is none of these; use required, optional or none", text);
}

static const char *const levels[] = { "error", "warn", "info", "debug" };

static int take_level(const struct setting *s, void *where, const char *text, char *why, size_t n)
{
	struct nearest nearest = { .word = text };
	int level = log_level_parse(text);

	for (size_t i = 0; level < 0 && i < sizeof(levels) / sizeof(*levels); i++)
		nearest_try(&nearest, levels[i]);
	if (nearest.best)
		return refuse(why, n, "\"%.60s\" is not a level; did you mean %s?", text, nearest.best);
	if (level < 0)
		return refuse(why, n, "\"%.60s\" is not a level; use error, warn, info or debug", text);
	*(enum log_level *)place_of(s, where) = (enum log_level)level;
	return 0;
}

static int take_switch(const struct setting *s, void *where, const char *text, char *why, size_t n)
{
	if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
		return refuse(why, n, "\"%.60s\" is neither yes nor no; write one of them", text);
	*(int *)place_of(s, where) = text[0] == 'y';
	return 0;
}

static int take_address(struct config *c, const char *text, char *why, size_t n)
{
	struct address *a = &c->listen[c->n_listen];

	if (c->n_listen == CONFIG_LISTEN_MOST)
		return refuse(why, n, "more than %u addresses; leave some out", CONFIG_LISTEN_MOST);
	memset(a, 0, sizeof(*a));
	memset(a, 0, sizeof(*a));
	if (strcmp(text, "fifo:") == 0)
		a->kind = ADDRESS_FIFO; /* in the directory that we shall have */
	else if (address_parse(text, a, why, n) < 0)
		return -EINVAL;
	if (a->kind == ADDRESS_TCP && !a->loopback)
		return refuse(why, n,
			      "%.80s: plain TCP would show messages and the cookie to the network; use "
			      "tls:// for other hosts, or tcp://127.0.0.1:PORT with a tunnel such as ssh -L",
			      text);
	if (a->kind == ADDRESS_TLS && a->length == 0)
		return refuse(
			why, n,
			"%.80s: a name may stand for several addresses; give the number, such as tls://0.0.0.0:PORT",
			text);
	for (unsigned i = 0; i < c->n_listen; i++)
		if (address_equal(a, &c->listen[i]))
			return refuse(why, n, "%.120s is there already; give every address once", text);
	c->n_listen++;
	return 0;
}

static int take_addresses(struct config *c, const char *text, char *why, size_t n)
{
	unsigned before = c->n_listen;
	char word[256];
	int r = 0;

	for (text += strspn(text, " \t"); r == 0 && *text; text += strspn(text, " \t")) {
		size_t length = strcspn(text, " \t");

		if (length >= sizeof(word))
			r = refuse(why, n, "the address %.40s... is too long; use unix:/path", text);
		else {
			memcpy(word, text, length);
			word[length] = '\0';
			r = take_address(c, word, why, n);
		}
		text += length;
	}
	if (r < 0)
		c->n_listen = before;
	return r;
}

/* Behind what is there. */
static int take_list(const struct setting *s, void *where, const char *text, char *why, size_t n)
{
	char **place = place_of(s, where), *old = *place ? *place : "", *both;
	const char *between = old[0] && text[0] ? ", " : "";
	size_t size = strlen(old) + strlen(between) + strlen(text) + 1;
	int r = s->type == SETTING_PAIRS ? who_check_pairs(text, why, n) : who_check_list(text, why, n);

	if (r < 0)
		return r;
	if (size > SETTING_LIST_MOST)
		return refuse(why, n, "the list is longer than %u bytes; use groups", SETTING_LIST_MOST - 1);
	both = malloc(size);
	if (!both)
		return refuse(why, n, "there is no memory for it; free some, then try again");
	snprintf(both, size, "%s%s%s", old, between, text);
	free(*place);
	*place = both;
	return 0;
}

static int take_user(const struct setting *s, void *where, const char *text, char *why, size_t n)
{
	char **place = place_of(s, where), *copy;
	int r = who_check_user(text, why, n);

	if (r < 0)
		return r;
	copy = strdup(text);
	if (!copy)
		return refuse(why, n, "there is no memory for it; free some, then try again");
	free(*place);
	*place = copy;
	return 0;
}

static int take_url(const struct setting *s, void *where, const char *text, char *why, size_t n)
{
	char **place = place_of(s, where), *copy;
	struct address a;

	if (address_parse(text, &a, why, n) < 0)
		return -EINVAL;
	if (a.kind != ADDRESS_TLS && a.kind != ADDRESS_UNIX)
		return refuse(
			why, n,
			"%.80s: brokers talk over TLS, or over a Unix socket on one host; give tls://HOST:PORT or "
			"unix:/path",
			text);
	copy = strdup(text);
	if (!copy)
		return refuse(why, n, "there is no memory for it; free some, then try again");
	free(*place);
	*place = copy;
	return 0;
}

static int is_text(const struct setting *s)
{
	return s->type == SETTING_USER || s->type == SETTING_USERS || s->type == SETTING_PAIRS ||
	       s->type == SETTING_URL;
}

void setting_clear(const struct setting *s, void *where)
{
	if (s->type == SETTING_ADDRESSES)
		((struct config *)where)->n_listen = 0;
	if (!is_text(s))
		return;
	free(*(char **)place_of(s, where));
	*(char **)place_of(s, where) = NULL;
}

int setting_take(const struct setting *s, void *where, const char *value, char *why, size_t n)
{
	switch (s->type) {
	case SETTING_NAME:
		return take_name(s, where, value, why, n);
	case SETTING_DIRECTORY:
		return take_directory(s, where, value, why, n);
	case SETTING_ADDRESSES:
		return take_addresses(where, value, why, n);
	case SETTING_LEVEL:
		return take_level(s, where, value, why, n);
	case SETTING_FILE:
		return take_path(s, where, value, why, n);
	case SETTING_CLIENTS:
		return take_clients(s, where, value, why, n);
	case SETTING_SWITCH:
		return take_switch(s, where, value, why, n);
	case SETTING_USER:
		return take_user(s, where, value, why, n);
	case SETTING_URL:
		return take_url(s, where, value, why, n);
	case SETTING_USERS:
	case SETTING_PAIRS:
		return take_list(s, where, value, why, n);
	default:
		return take_number(s, where, value, why, n);
	}
}

/*
 * Writing them.
 */

static char *format_addresses(const struct config *c, char *to, size_t n)
{
	size_t used = 0;

	to[0] = '\0';
	for (unsigned i = 0; i < c->n_listen && used + 1 < n; i++) {
		if (i > 0)
			to[used++] = ' ';
		address_text(&c->listen[i], to + used, n - used);
		used += strlen(to + used);
	}
	return to;
}

char *setting_format(const struct setting *s, const void *where, char *to, size_t n)
{
	const void *place = (const char *)where + s->offset;

	switch (s->type) {
	case SETTING_NAME:
	case SETTING_DIRECTORY:
	case SETTING_FILE:
		snprintf(to, n, "%s", (const char *)place);
		return to;
	case SETTING_ADDRESSES:
		return format_addresses(where, to, n);
	case SETTING_LEVEL:
		snprintf(to, n, "%s", levels[*(const enum log_level *)place]);
		return to;
	case SETTING_CLIENTS:
		snprintf(to, n, "%s", modes[*(const enum tls_clients *)place]);
		return to;
	case SETTING_SWITCH:
		snprintf(to, n, "%s", *(const int *)place ? "yes" : "no");
		return to;
	case SETTING_USER:
	case SETTING_USERS:
	case SETTING_PAIRS:
	case SETTING_URL:
		snprintf(to, n, "%s", *(char *const *)place ? *(char *const *)place : s->unset);
		return to;
	case SETTING_SIZE:
		return number_format(s, *(const size_t *)place, to, n);
	default:
		return number_format(s, *(const uint32_t *)place, to, n);
	}
}

char *setting_range(const struct setting *s, char *to, size_t n)
{
	static const char *const kinds[] = { [SETTING_NAME] = "a name",
					     [SETTING_DIRECTORY] = "the path of a directory",
					     [SETTING_ADDRESSES] = "addresses, 8 at most",
					     [SETTING_LEVEL] = "error, warn, info or debug",
					     [SETTING_FILE] = "the absolute path of a file",
					     [SETTING_CLIENTS] = "required, optional or none",
					     [SETTING_SWITCH] = "yes or no",
					     [SETTING_USER] = "a user: a name or a number",
					     [SETTING_USERS] = "users: names, numbers, @GROUP, *, separated by commas",
					     [SETTING_URL] = "an address: tls://HOST:PORT or unix:/path",
					     [SETTING_PAIRS] = "pairs of users, as in A > B, separated by commas",
					     [SETTING_DURATION] = "a duration ",
					     [SETTING_SIZE] = "a size ",
					     [SETTING_COUNT] = "a number " };
	char range[96] = "";

	if (s->type >= SETTING_DURATION)
		number_range(s, range, sizeof(range));
	snprintf(to, n, "%s%s", kinds[s->type], range);
	return to;
}
