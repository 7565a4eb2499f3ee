/*
 * settings: see settings.h. What is not understood is an error, never ignored: this file grants rights.
 */
#include "settings.h"
#include "conffile.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct reading {
	const char *path;
	struct settings *to;
	struct program *program; /* whose section is read; NULL: [nursery] */
	settings_wrong_fn *wrong;
	unsigned errors;
};

__attribute__((format(printf, 3, 4))) static void complain(struct reading *r, unsigned line, const char *format, ...)
{
	char what[320], text[600];
	va_list args;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	snprintf(text, sizeof(text), "%s:%u: %s", r->path, line, what);
	r->wrong(text);
	r->errors++;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static void take_text(struct reading *r, unsigned line, char **to, const char *key, const char *value)
{
	if (*to)
		complain(r, line, "%s stands here twice; leave one out", key);
	free(*to);
	*to = strdup(value);
}

static void take_switch(struct reading *r, unsigned line, int *to, const char *key, const char *value)
{
	*to = strcmp(value, "yes") == 0;
	if (!*to && strcmp(value, "no") != 0)
		complain(r, line, "%s is \"%.40s\"; write yes or no", key, value);
}

static void take_number(struct reading *r, unsigned line, unsigned *to, const char *key, const char *value)
{
	char *end;
	errno = 0;
	unsigned long n = strtoul(value, &end, 10);
	if (errno || *end || value[0] < '0' || value[0] > '9' || n > 1000000000u)
		complain(r, line, "%s is \"%.40s\"; write a number up to 1000000000", key, value);
	else
		*to = (unsigned)n;
}

static const struct {
	const char *name;
	int resource;
} resources[] = {
	{ "as", RLIMIT_AS },           { "core", RLIMIT_CORE },   { "cpu", RLIMIT_CPU },
	{ "data", RLIMIT_DATA },       { "fsize", RLIMIT_FSIZE }, { "locks", RLIMIT_LOCKS },
	{ "memlock", RLIMIT_MEMLOCK }, { "nice", RLIMIT_NICE },   { "nofile", RLIMIT_NOFILE },
	{ "nproc", RLIMIT_NPROC },     { "stack", RLIMIT_STACK }, { "rtprio", RLIMIT_RTPRIO },
};

static int resource_of(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof(resources) / sizeof(*resources); i++)
		if (strlen(resources[i].name) == n && memcmp(resources[i].name, name, n) == 0)
			return resources[i].resource;
	return -1;
}

/* "nofile=64". */
static void take_limit(struct reading *r, unsigned line, const char *word)
{
	struct program *p = r->program;
	size_t n = strcspn(word, "=");
	int resource = resource_of(word, n);
	char *end = NULL;
	errno = 0;
	unsigned long long value = word[n] ? strtoull(word + n + 1, &end, 10) : 0;
	if (resource < 0 || !end || *end || end == word + n + 1 || errno || p->n_limits == SETTINGS_LIMITS) {
		complain(r, line,
			 "\"%.40s\" is not a limit; write NAME=NUMBER with a name of setrlimit(2), as nofile=64", word);
		return;
	}
	p->limits[p->n_limits].resource = resource;
	p->limits[p->n_limits++].value = value;
}

static void take_limits(struct reading *r, unsigned line, const char *value)
{
	char *copy = strdup(value), *save = NULL;
	for (char *word = copy ? strtok_r(copy, " \t", &save) : NULL; word; word = strtok_r(NULL, " \t", &save))
		take_limit(r, line, word);
	free(copy);
}

static void take_path(struct reading *r, unsigned line, char **to, const char *key, const char *value)
{
	if (value[0] != '/')
		complain(r, line, "%s is \"%.60s\"; write a path that begins with /", key, value);
	take_text(r, line, to, key, value);
}

/* Of broodd.conf's lists neither the commas nor @GROUP are known here; they would be users that nobody is. */
static void take_principals(struct reading *r, unsigned line, const char *key, const char *value)
{
	for (const char *at = value + strspn(value, " \t"); *at; at += strspn(at, " \t")) {
		size_t n = strcspn(at, " \t"), user = strcspn(at, "@"), most = n < 40 ? n : 40;
		int has_comma = memchr(at, ',', n) != NULL;
		if (has_comma || user == 0 || user + 1 == n)
			complain(r, line,
				 "\"%.*s\" is nobody%s; write user, user@node, *@node, *@* or *, with blanks between",
				 (int)most, at, has_comma ? ", because of the comma" : "");
		at += n;
	}
	take_text(r, line, &r->program->principals, key, value);
}

/* ---- sections ---------------------------------------------------------------------------------------------------- */

static void take_program_value(struct reading *r, unsigned line, const char *key, const char *value)
{
	struct program *p = r->program;
	if (strcmp(key, "path") == 0)
		take_path(r, line, &p->path, key, value);
	else if (strcmp(key, "cwd") == 0)
		take_path(r, line, &p->cwd, key, value);
	else if (strcmp(key, "args") == 0)
		take_text(r, line, &p->args, key, value);
	else if (strcmp(key, "env") == 0)
		take_text(r, line, &p->env, key, value);
	else if (strcmp(key, "for") == 0)
		take_principals(r, line, key, value);
	else if (strcmp(key, "free-args") == 0)
		take_switch(r, line, &p->free_args, key, value);
	else if (strcmp(key, "free-cwd") == 0)
		take_switch(r, line, &p->free_cwd, key, value);
	else if (strcmp(key, "max") == 0)
		take_number(r, line, &p->most, key, value);
	else if (strcmp(key, "limits") == 0)
		take_limits(r, line, value);
	else
		complain(r, line,
			 "\"%.40s\" is not a key of a program; there are path, args, free-args, env, cwd, free-cwd, "
			 "limits, "
			 "max, for",
			 key);
}

static void take_value(void *data, unsigned line, const char *section, const char *key, const char *value)
{
	struct reading *r = data;
	(void)section;
	if (r->program)
		take_program_value(r, line, key, value);
	else if (strcmp(key, "max") == 0)
		take_number(r, line, &r->to->most, key, value);
	else if (strcmp(key, "lease-ms") == 0)
		take_number(r, line, &r->to->lease_ms, key, value);
	else
		complain(r, line, "\"%.40s\" is not a key of [nursery]; there are max and lease-ms", key);
}

static struct program *find(const struct settings *s, const char *name)
{
	struct program *p;
	LIST_FOREACH (p, &s->programs, entry)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}

static struct program *add(struct settings *s, const char *name)
{
	struct program *p = calloc(1, sizeof(*p));
	if (p && !(p->name = strdup(name))) {
		free(p);
		p = NULL;
	}
	if (p)
		LIST_INSERT_HEAD(&s->programs, p, entry);
	return p;
}

static int take_program(struct reading *r, unsigned line, const char *name)
{
	if (find(r->to, name)) {
		complain(r, line, "there is a section for this program already; leave one out");
		return 0;
	}
	r->program = add(r->to, name);
	if (!r->program)
		complain(r, line, "there is no memory to read it");
	else
		r->program->line = line;
	return r->program != NULL;
}

static int take_section(void *data, unsigned line, const char *section, const char *name)
{
	struct reading *r = data;
	r->program = NULL;
	if (strcmp(section, "nursery") == 0 && !name)
		return 1;
	if (strcmp(section, "program") == 0 && name)
		return take_program(r, line, name);
	complain(r, line, "[%.40s%s] is not a section; there are [nursery] and [program \"NAME\"]", section,
		 name ? " ..." : "");
	return 0;
}

static void take_wrong(void *data, unsigned line, const char *why)
{
	complain(data, line, "%s", why);
}

/* What only the whole of a section shows. */
static void check(struct reading *r)
{
	const struct program *p;
	LIST_FOREACH (p, &r->to->programs, entry) {
		int any = strcmp(p->name, "*") == 0;
		if (any && (p->path || p->args))
			complain(r, p->line,
				 "[program \"*\"] has a path or args; leave them out, it stands for any program");
		if (!any && !p->path && p->name[0] != '/')
			complain(r, p->line, "[program \"%s\"] has no path; give one", p->name);
	}
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

void settings_free(struct settings *s)
{
	struct program *p;
	if (!s)
		return;
	while ((p = LIST_FIRST(&s->programs))) {
		LIST_REMOVE(p, entry);
		free(p->name);
		free(p->path);
		free(p->args);
		free(p->env);
		free(p->cwd);
		free(p->principals);
		free(p);
	}
	free(s);
}

/* 0, -ENOENT: there is none, -1: it was said what is wrong. */
static int read_file(const char *path, struct settings *to, settings_wrong_fn *wrong)
{
	static const struct conffile_ops ops = { take_section, take_value, take_wrong };
	struct reading r = { .path = path, .to = to, .wrong = wrong };
	char why[256], text[600], *bytes;
	size_t n;
	int rc = conffile_read(path, &bytes, &n, why, sizeof(why));
	if (rc == -ENOENT)
		return rc;
	if (rc < 0) {
		snprintf(text, sizeof(text), "%s: %s", path, why);
		wrong(text);
		return -1;
	}
	conffile_parse(bytes, n, &ops, &r);
	free(bytes);
	check(&r);
	return r.errors ? -1 : 0;
}

static int read_default(struct settings *to, settings_wrong_fn *wrong, char *path, size_t n)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	int rc = -ENOENT;
	if (config && config[0] == '/')
		snprintf(path, n, "%s/brood/nursery.conf", config);
	else
		snprintf(path, n, "%s/.config/brood/nursery.conf", home ? home : "");
	if ((config && config[0] == '/') || home)
		rc = read_file(path, to, wrong);
	if (rc == -ENOENT) {
		snprintf(path, n, "/etc/brood/nursery.conf");
		rc = read_file(path, to, wrong);
	}
	if (rc == -ENOENT)
		path[0] = '\0';
	return rc == -ENOENT ? 0 : rc;
}

int settings_read(const char *path, struct settings **ret, settings_wrong_fn *wrong, char *used, size_t n)
{
	struct settings *s = calloc(1, sizeof(*s));
	char text[600];
	if (!s)
		return -1;
	s->most = 1024;
	int rc = path ? read_file(path, s, wrong) : read_default(s, wrong, used, n);
	if (path)
		snprintf(used, n, "%s", path);
	if (rc == -ENOENT) {
		snprintf(text, sizeof(text), "%s: there is no such file; check the path", path);
		wrong(text);
	}
	if (rc < 0) {
		settings_free(s);
		return -1;
	}
	*ret = s;
	return 0;
}

const struct program *settings_program(const struct settings *s, const char *name)
{
	const struct program *p = strcmp(name, "*") == 0 ? NULL : find(s, name);
	return p ? p : find(s, "*");
}

int settings_has_word(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *at = list; at && *at; at += strcspn(at, " \t")) {
		at += strspn(at, " \t");
		if (strcspn(at, " \t") == n && memcmp(at, word, n) == 0)
			return 1;
	}
	return 0;
}
