/*
 * A configuration file of any bytes: what is understood of it is written back as text that means the same, every complaint is
 * one line about a line that exists, and lines come in order.
 */
#include "conffile.h"
#include "nearest.h"
#include "settings.h"
#include "target.h"
#include <string.h>

struct reading {
	struct config config;
	struct config_named named;
	unsigned line, lines;
};

static void must_be_next(struct reading *r, unsigned line)
{
	must(line >= r->line && line <= r->lines && line > 0);
	r->line = line;
}

static void must_be_line(const char *text, size_t most)
{
	must(memchr(text, 0, most) && !strchr(text, '\n'));
}

static int on_section(void *data, unsigned line, const char *section, const char *name)
{
	struct nearest nearest = { .word = section };

	must_be_next(data, line);
	must_be_line(section, 64);
	must(section[0] && (!name || name[0]));
	if (name)
		must_be_line(name, 80);
	nearest_try(&nearest, "limits");
	must(!nearest.best || nearest.distance <= 3);
	return setting_section_kind(section) == 1 + (name != NULL);
}

/* Either has room for the other's place. */
static union {
	struct config config;
	struct config_named named;
} copy;

static void must_mean_the_same(const struct setting *s, const void *where)
{
	char text[SETTING_LIST_MOST], again[sizeof(text)], why[512];

	memset(&copy, 0, sizeof(copy));
	setting_format(s, where, text, sizeof(text));
	must(setting_take(s, &copy, text, why, sizeof(why)) == 0);
	setting_format(s, &copy, again, sizeof(again));
	must(strcmp(text, again) == 0);
	setting_clear(s, &copy);
}

static void on_value(void *data, unsigned line, const char *section, const char *key, const char *value)
{
	struct reading *r = data;
	const struct setting *s = setting_find(section, key);
	void *where = s && setting_is_named(s) ? (void *)&r->named : &r->config;
	char why[512];

	must_be_next(r, line);
	must_be_line(key, CONFFILE_LINE_MOST + 1);
	must_be_line(value, CONFFILE_LINE_MOST + 1);
	if (!s)
		return;
	memset(why, 'w', sizeof(why));
	if (setting_take(s, where, value, why, sizeof(why)) < 0)
		must_be_line(why, sizeof(why));
	else
		must_mean_the_same(s, where);
}

static void on_wrong(void *data, unsigned line, const char *why)
{
	must_be_next(data, line);
	must_be_line(why, 256);
}

static const struct conffile_ops ops = { on_section, on_value, on_wrong };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct reading r;

	memset(&r, 0, sizeof(r));
	r.lines = 1;
	for (size_t i = 0; i < n; i++)
		r.lines += data[i] == '\n';
	conffile_parse((const char *)data, n, &ops, &r);
	for (const struct setting *s = settings; s < settings + SETTINGS; s++)
		setting_clear(s, &r.config);
	for (const struct setting *s = named_settings; s < named_settings + NAMED_SETTINGS; s++)
		setting_clear(s, &r.named);
	return 0;
}
