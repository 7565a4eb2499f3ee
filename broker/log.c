/*
 * log: lines for people and for grep.
 *
 * A line is built in a buffer of fixed size and written with one write(2), so lines never mix and a long value is cut
 * rather than the line torn. Values that are not plain words are quoted and every other byte in them is escaped: what a
 * stranger chose (a title, a name) can neither begin a line nor colour a terminal.
 *
 * Rate: each kind of event has a bucket of tokens, and nothing waits for who reads the log. The surprising rule: the line after
 * a silence says how many like it were suppressed, so a count can be reconstructed even though lines are missing.
 */
#include "log.h"
#include "address.h"
#include "clock.h"
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MOST 4096

/* How many of a kind may come at once, and how often one more. What children write on purpose may be more. */
struct pace {
	uint32_t tokens_most;
	uint32_t token_ms;
};
static const struct pace usual = { 50, 100 }, talkative = { 1000, 10 };

static const struct pace *pace_of(enum log_event event)
{
	return event == LOG_CHILD_LINE ? &talkative : &usual;
}

static const struct {
	const char *name;
	enum log_level level;
} events[LOG_EVENTS] = {
	[LOG_START] = { "start", LOG_INFO },
	[LOG_LISTEN] = { "listen", LOG_INFO },
	[LOG_READY] = { "ready", LOG_INFO },
	[LOG_DRAIN] = { "drain", LOG_INFO },
	[LOG_STOP] = { "stop", LOG_INFO },
	[LOG_SOCKET_LOST] = { "socket.lost", LOG_ERROR },
	[LOG_IDLE] = { "idle", LOG_INFO },
	[LOG_ACCEPT_PAUSED] = { "accept.paused", LOG_WARN },
	[LOG_ACCEPT_FAILED] = { "accept.failed", LOG_WARN },
	[LOG_FIFO_REFUSED] = { "fifo.refused", LOG_WARN },
	[LOG_SESSION_BROKEN] = { "session.broken", LOG_DEBUG },
	[LOG_SESSION_REFUSED] = { "session.refused", LOG_WARN },
	[LOG_SESSION_FENCED] = { "session.fenced", LOG_INFO },
	[LOG_PROCESS_CAME] = { "process.came", LOG_DEBUG },
	[LOG_PROCESS_LOST] = { "process.lost", LOG_DEBUG },
	[LOG_PROCESS_BACK] = { "process.back", LOG_INFO },
	[LOG_PROCESS_GONE] = { "process.gone", LOG_DEBUG },
	[LOG_ADOPT_FAILED] = { "adopt.failed", LOG_WARN },
	[LOG_CHILD_LINE] = { "child.line", LOG_INFO },
	[LOG_NAME_REFUSED] = { "name.refused", LOG_WARN },
	[LOG_SEND_REFUSED] = { "send.refused", LOG_WARN },
	[LOG_LINK_UP] = { "link.up", LOG_INFO },
	[LOG_LINK_DOWN] = { "link.down", LOG_WARN },
	[LOG_LINK_FAILED] = { "link.failed", LOG_WARN },
	[LOG_RELOAD_DONE] = { "reload.done", LOG_INFO },
	[LOG_RELOAD_FAILED] = { "reload.failed", LOG_ERROR },
	[LOG_RELOAD_LATER] = { "reload.later", LOG_WARN },
};

static const char *const levels[] = { "error", "warn", "info", "debug" };

int log_level_parse(const char *name)
{
	for (int i = 0; i < (int)(sizeof(levels) / sizeof(*levels)); i++)
		if (strcmp(name, levels[i]) == 0)
			return i;
	return -1;
}

void log_init(struct log *log, int fd, enum log_level level)
{
	memset(log, 0, sizeof(*log));
	log->fd = fd;
	log->level = level;
	for (int i = 0; i < LOG_EVENTS; i++)
		log->rate[i].tokens = pace_of((enum log_event)i)->tokens_most;
}

void log_move(struct log *log, int fd, size_t most)
{
	off_t end;

	log->fd = fd;
	log->most = most;
	end = lseek(fd, 0, SEEK_END);
	log->written = end > 0 ? (size_t)end : 0;
}

/* 1 if this event may be written now. */
static int take_token(struct log_rate *rate, const struct pace *pace)
{
	uint64_t now = clock_ms(), more = (now - rate->refilled_ms) / pace->token_ms;

	if (more > 0) {
		rate->tokens =
			more < pace->tokens_most - rate->tokens ? rate->tokens + (uint32_t)more : pace->tokens_most;
		rate->refilled_ms = now;
	}
	if (rate->tokens == 0) {
		rate->suppressed++;
		return 0;
	}
	rate->tokens--;
	return 1;
}

struct line {
	char bytes[LINE_MOST];
	size_t n; /* always leaves room for the newline */
};

static void add(struct line *line, const char *text, size_t n)
{
	size_t room = LINE_MOST - 1 - line->n;

	if (n > room)
		n = room;
	memcpy(line->bytes + line->n, text, n);
	line->n += n;
}

static void add_text(struct line *line, const char *text)
{
	add(line, text, strlen(text));
}

static int is_plain(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("._-/:@+,", c);
}

static int is_word(const char *text)
{
	const char *at = text;

	while (*at && is_plain((unsigned char)*at))
		at++;
	return at > text && *at == '\0';
}

static void add_quoted(struct line *line, const char *text)
{
	char escaped[8];

	add_text(line, "\"");
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
			snprintf(escaped, sizeof(escaped), "\\x%02x", c);
		else
			snprintf(escaped, sizeof(escaped), "%c", c);
		add_text(line, escaped);
	}
	add_text(line, "\"");
}

static int says_nothing(const struct log_field *field)
{
	return (field->kind == LOG_IS_TEXT && !field->text) || (field->kind == LOG_IS_ID && field->number == 0) ||
	       (field->kind == LOG_IS_USER && field->number == UINT32_MAX);
}

static void add_field(struct line *line, const struct log_field *field)
{
	char number[ID_TEXT + 8];

	if (says_nothing(field))
		return;
	add_text(line, " ");
	add_text(line, field->key);
	add_text(line, "=");
	if (field->kind == LOG_IS_TEXT) {
		if (is_word(field->text))
			add_text(line, field->text);
		else
			add_quoted(line, field->text);
		return;
	}
	if (field->kind == LOG_IS_ID)
		id_format(field->number, number);
	else
		snprintf(number, sizeof(number), "%" PRIu64, field->number);
	add_text(line, number);
}

static void add_time(struct line *line)
{
	char text[40], ms[8];
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ms, sizeof(ms), ".%03dZ", (int)(now.tv_nsec / 1000000));
	add_text(line, text);
	add_text(line, ms);
}

/*
 * It is written to whatever we were given, which may be a pipe to somebody who has stopped reading. O_NONBLOCK would change it
 * for all who share it. Where there is room, there is room for a line: that is a page at most, as a pipe's pieces are.
 */
static int has_room(const struct log *log)
{
	struct pollfd p = { .fd = log->fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && p.revents & POLLOUT;
}

/* Best effort: a log that cannot be written must not stop messages. */
static void write_line(struct log *log, struct line *line)
{
	line->bytes[line->n++] = '\n';
	if (log->most > 0 && log->written + line->n > log->most) {
		if (ftruncate(log->fd, 0) < 0)
			return;
		log->written = 0;
	}
	if (write(log->fd, line->bytes, line->n) > 0)
		log->written += line->n;
}

void log_fields(struct log *log, enum log_event event, const struct log_field *fields, size_t n)
{
	struct log_rate *rate = &log->rate[event];
	struct line line = { .n = 0 };

	if (events[event].level > log->level || !take_token(rate, pace_of(event)))
		return;
	if (!has_room(log)) {
		rate->suppressed++;
		return;
	}
	add_time(&line);
	add_text(&line, " ");
	add_text(&line, levels[events[event].level]);
	add_text(&line, " ");
	add_text(&line, events[event].name);
	for (size_t i = 0; i < n; i++)
		add_field(&line, &fields[i]);
	if (rate->suppressed > 0) {
		add_field(&line, &FIELD_NUMBER("suppressed", rate->suppressed));
		rate->suppressed = 0;
	}
	write_line(log, &line);
}
