/*
 * conffile: inih splits lines into keys and values; what it gets to see is decided here.
 *
 * inih forgives a lot. It cuts what is longer than its buffer in two, ends at a NUL, takes an indented line for more of
 * the value above, and ignores what stands behind a section's bracket. In a file that grants rights each of these would
 * change silently what is meant. So it reads through take_line(), which hands it whole lines without their indentation,
 * and an empty one instead of what is wrong, or is a section: those are understood here. The surprising rule: inih does not
 * tell lines, so the number is that of the line that it read last, which is the one it speaks of because it gets no
 * continuations.
 */
#include "conffile.h"
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTION_MOST 40
#define NAME_MOST 64 /* of a section that has one; longer than names are, so that a cut one is not taken for another */
#define BLANKS " \t\r"

struct reading {
	const char *at, *end;
	unsigned line;
	char section[SECTION_MOST + 1];
	int skipping; /* a section that nobody wants to hear of */
	const struct conffile_ops *ops;
	void *data;
};

__attribute__((format(printf, 2, 3))) static void wrong(struct reading *r, const char *format, ...)
{
	char why[256];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	r->ops->wrong(r->data, r->line, why);
}

/*
 * Lines.
 */

/* What is between the brackets: a word, or a word and a quoted name. 1, with *name NULL if there is none. */
static int split_section(char *text, char **name)
{
	char *open = strchr(text, '"'), *close = open ? strchr(open + 1, '"') : NULL;
	size_t length = strcspn(text, BLANKS "\"");

	*name = NULL;
	if (!open)
		return 1;
	if (!close || close[1 + strspn(close + 1, BLANKS)] || close == open + 1 || close - open - 1 > NAME_MOST)
		return 0;
	if (length == 0 || text + length == open || text + length + strspn(text + length, BLANKS) != open)
		return 0;
	text[length] = *close = '\0';
	*name = open + 1;
	return 1;
}

/* "[section]" or "[section "name"]", and behind it at most a comment. */
static void take_section(struct reading *r, const char *text)
{
	const char *close = strchr(text, ']');
	const char *rest = close ? close + 1 + strspn(close + 1, BLANKS) : NULL;
	char inner[CONFFILE_LINE_MOST + 1], *name;

	r->skipping = 1; /* what follows belongs to no section that is known */
	if (!close || (*rest && *rest != ';' && *rest != '#')) {
		wrong(r, "\"%.60s\" is not a section; write [NAME] and nothing behind it", text);
		return;
	}
	snprintf(inner, sizeof(inner), "%.*s", (int)(close - text - 1), text + 1);
	if (!split_section(inner, &name)) {
		wrong(r, "\"%.90s\" is not a section; write [KIND \"NAME\"], the name with 1 to %d characters", text,
		      NAME_MOST);
		return;
	}
	if (inner[0] == '\0' || strlen(inner) > SECTION_MOST) {
		wrong(r, "a section's name has 1 to %d characters; write one, as in [broker]", SECTION_MOST);
		return;
	}
	strcpy(r->section, inner);
	r->skipping = !r->ops->section(r->data, r->line, inner, name);
}

/* What would be a comment elsewhere, and is part of the value to inih; or NULL. */
static const char *false_comment(const char *value)
{
	for (; *value; value++) {
		if (value[0] != ' ' && value[0] != '\t')
			continue;
		if (value[1] == ';')
			return NULL;
		if (value[1] == '#')
			return value + 1;
	}
	return NULL;
}

static int check_pair(struct reading *r, const char *text)
{
	const char *sign = text + strcspn(text, "=:"), *comment;

	if (r->skipping)
		return 0;
	if (*sign != '=' || sign == text) {
		wrong(r, "\"%.60s\" is not of the form KEY = VALUE; write it so, or put # before a comment", text);
		return 0;
	}
	comment = false_comment(sign);
	if (comment)
		wrong(r, "\"%.60s\" stands behind a value; comments there begin with ;", comment);
	return !comment;
}

/* 1 if the line, which begins with something else than a blank, may be seen by inih. */
static int check_line(struct reading *r, const char *text, size_t length)
{
	if (length == 0 || text[0] == ';' || text[0] == '#')
		return 0;
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if ((c < 0x20 && c != '\t' && (c != '\r' || i + 1 < length)) || c == 0x7f) {
			wrong(r, "there is a byte 0x%02x, which is not text; remove it", c);
			return 0;
		}
	}
	if (text[0] != '[')
		return check_pair(r, text);
	take_section(r, text);
	return 0;
}

/* Copies the next line, without indentation and end; nothing of it if it is too long. 1, or 0 at the end. */
static int copy_line(struct reading *r, char to[CONFFILE_LINE_MOST + 1], size_t *length)
{
	const char *end;

	if (r->at == r->end)
		return 0;
	end = memchr(r->at, '\n', (size_t)(r->end - r->at));
	end = end ? end : r->end;
	r->line++;
	while (r->at < end && (*r->at == ' ' || *r->at == '\t'))
		r->at++;
	*length = (size_t)(end - r->at);
	if (*length > CONFFILE_LINE_MOST) {
		wrong(r, "the line is longer than %u bytes; make it shorter", CONFFILE_LINE_MOST);
		*length = 0;
	}
	memcpy(to, r->at, *length);
	to[*length] = '\0';
	r->at = end < r->end ? end + 1 : end;
	return 1;
}

/* Instead of fgets(), for inih. */
static char *take_line(char *to, int n, void *data)
{
	struct reading *r = data;
	char text[CONFFILE_LINE_MOST + 1];
	size_t length;

	if (!copy_line(r, text, &length))
		return NULL;
	if (!check_line(r, text, length))
		text[0] = '\0';
	if (strlen(text) + 2 > (size_t)n) {
		wrong(r, "the line is longer than %d bytes; make it shorter", n - 2);
		text[0] = '\0';
	}
	snprintf(to, (size_t)n, "%s\n", text);
	return to;
}

static int take_pair(void *data, const char *section, const char *key, const char *value)
{
	struct reading *r = data;

	(void)section; /* "", always */
	r->ops->value(r->data, r->line, r->section, key, value);
	return 1;
}

void conffile_parse(const char *bytes, size_t n, const struct conffile_ops *ops, void *data)
{
	struct reading r = { .at = bytes, .end = bytes + n, .ops = ops, .data = data };

	if (n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
		r.at += 3;                          /* some editors put it there */
	ini_max_line = (int)CONFFILE_LINE_MOST + 3; /* Debian's can be told at run time */
	if (ini_parse_stream(take_line, &r, take_pair, &r) != 0)
		wrong(&r, "there is no memory to read it; free some, then try again");
}

/*
 * Files.
 */

static int is_trusted(const struct stat *st)
{
	mode_t writers = geteuid() == 0 ? S_IWGRP | S_IWOTH : S_IWOTH;

	return (st->st_uid == 0 || st->st_uid == geteuid()) && (st->st_mode & writers) == 0;
}

/* Fits neither EACCES nor an entry that is not there: it cannot even be looked for. */
static int is_hidden(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0;
}

static int fail(int error, const char *what, char *why, size_t n)
{
	snprintf(why, n, "%s", what);
	return error;
}

static int check_file(const struct stat *st, char *why, size_t n)
{
	if (!S_ISREG(st->st_mode))
		return fail(-EINVAL, "is not a file; give the path of a configuration file", why, n);
	if (!is_trusted(st))
		return fail(
			-EPERM,
			"others than its owner can write to it, or its owner is neither root nor the broker's user; "
			"see chown(1) and chmod(1): chmod go-w",
			why, n);
	if (st->st_size > CONFFILE_MOST)
		return fail(-EFBIG, "is larger than 1 MiB; split it, or give a configuration file", why, n);
	return 0;
}

static int read_all(int fd, char **bytes, size_t *size)
{
	char *to = malloc(CONFFILE_MOST + 1);
	ssize_t got = 1;
	size_t n = 0;

	if (!to)
		return -ENOMEM;
	while (n < CONFFILE_MOST && (got = read(fd, to + n, CONFFILE_MOST - n)) > 0)
		n += (size_t)got;
	if (got < 0) {
		int error = -errno;

		free(to);
		return error;
	}
	*bytes = to;
	*size = n;
	return 0;
}

int conffile_read(const char *path, char **bytes, size_t *size, char *why, size_t n)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY), r = fd < 0 ? -errno : 0;
	struct stat st;

	if (r == -ENOTDIR || (r == -EACCES && is_hidden(path)))
		r = -ENOENT;
	if (r < 0) {
		snprintf(why, n, "cannot be read: %s; check the path and its permissions", strerror(-r));
		return r;
	}
	r = fstat(fd, &st) < 0 ? -errno : check_file(&st, why, n);
	if (r == 0) {
		r = read_all(fd, bytes, size);
		if (r < 0)
			snprintf(why, n, "cannot be read: %s; check the disk and the memory", strerror(-r));
	}
	close(fd);
	return r;
}

int conffile_trust_directory(const char *path, char *why, size_t n)
{
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return -ENOENT;
	if (!is_trusted(&st))
		return fail(-EPERM,
			    "others than its owner can write to the directory, or its owner is neither root nor the "
			    "broker's "
			    "user; see chown(1) and chmod(1): chmod go-w",
			    why, n);
	return 0;
}
