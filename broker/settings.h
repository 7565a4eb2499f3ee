/*
 * settings: the table of everything that can be set: what it is called, in which values, what it is for. The file, the
 * environment, the flags, --print-config and the checks of the manual page all follow this table.
 */
#ifndef BROOD_SETTINGS_H
#define BROOD_SETTINGS_H

#include "config.h"

enum setting_type {
	SETTING_NAME,      /* char[NAME_MAX_LENGTH + 1] */
	SETTING_DIRECTORY, /* char[PATH_MAX] */
	SETTING_ADDRESSES, /* config.listen and n_listen */
	SETTING_LEVEL,     /* enum log_level */
	SETTING_FILE,      /* char[PATH_MAX], absolute */
	SETTING_CLIENTS,   /* enum tls_clients */
	SETTING_SWITCH,    /* int */
	SETTING_USER,      /* char *, malloc()ed: who.h has what it may be; ... */
	SETTING_USERS,     /* ... a list of these; ... */
	SETTING_PAIRS,     /* ... a list of pairs */
	SETTING_URL,       /* char *, malloc()ed: another broker's address */
	SETTING_DURATION,  /* uint32_t, milliseconds */
	SETTING_SIZE,      /* size_t, bytes */
	SETTING_COUNT      /* uint32_t */
};

struct setting {
	const char *section, *key;
	enum setting_type type;
	size_t offset;        /* in struct config; of a section that has a name, in struct config_named */
	uint64_t least, most; /* numbers */
	const char *zero;     /* what 0 means, where it is outside of the range; or NULL */
	const char *unset;    /* what a list means that is not set */
	const char *ms_flag;  /* a flag that takes it as plain milliseconds; or NULL */
	int fixed;            /* it cannot change while the broker runs */
	const char *help;     /* a sentence */
};

extern const struct setting settings[SETTINGS];
/* Those of sections that have a name. They are in files only, not flags and not in the environment. */
extern const struct setting named_settings[NAMED_SETTINGS];

/* NULL: there is none. */
const struct setting *setting_find(const char *section, const char *key);
int setting_is_named(const struct setting *);
/* 0: there is no such section. 1. 2: there is, and each has a name. */
int setting_section_kind(const char *section);

#define SETTING_LIST_MOST 16384u /* bytes of a list, with its NUL */

/* What follows gets as `where` the struct config, or the struct config_named. */

/*
 * Take a value, which for addresses and lists adds to those that are there. 0, or -EINVAL with what, why, next in `why`,
 * and nothing has changed.
 */
int setting_take(const struct setting *, void *where, const char *value, char *why, size_t n);
/* As if it had never been taken: for addresses and lists. */
void setting_clear(const struct setting *, void *where);
/* As it would be written. Returns to. */
char *setting_format(const struct setting *, const void *where, char *to, size_t n);
/* What it may be: "a duration from 1ms to 168h, or 0 (never)". Returns to. */
char *setting_range(const struct setting *, char *to, size_t n);

#define SETTING_TEXT 96
/* What it is called on the command line, without the dashes, and in the environment. Returns to. */
char *setting_flag(const struct setting *, char to[SETTING_TEXT]);
char *setting_variable(const struct setting *, char to[SETTING_TEXT]);

#endif
