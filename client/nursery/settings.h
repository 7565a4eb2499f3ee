/*
 * settings: what a nursery's configuration file says: which programs may be started, and for whom.
 */
#ifndef NURSERY_SETTINGS_H
#define NURSERY_SETTINGS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define SETTINGS_LIMITS 16u

struct program { /* a section [program "NAME"] */
	LIST_ENTRY(program) entry;
	char *name;
	char *path;       /* NULL: the name is one; of "*": as was asked */
	char *args;       /* put before what was asked for, separated by blanks; NULL: none */
	char *env;        /* names that may be set, separated by blanks; "*": any; NULL: none */
	char *cwd;        /* NULL: the nursery's */
	char *principals; /* for whom; NULL: the nursery's own user, of this node */
	int free_args;    /* further arguments may be given */
	int free_cwd;     /* another directory may be */
	unsigned most;    /* at once; 0: any number */
	unsigned line;    /* where its section begins */
	struct {
		int resource;
		uint64_t value;
	} limits[SETTINGS_LIMITS]; /* at most that, whatever was asked for */
	unsigned n_limits;
};

struct settings {
	LIST_HEAD(, program) programs;
	unsigned most;     /* programs at once, in all */
	unsigned lease_ms; /* a parent may be unreachable for so long at most, whatever it asks for; 0: as it asks */
};

/* Everything that is wrong with a file, one call for each, as "FILE:LINE: what, why, next". */
typedef void settings_wrong_fn(const char *text);

/*
 * path NULL: ~/.config/brood/nursery.conf, else /etc/brood/nursery.conf, else nothing, which allows nothing. 0 and *ret, for
 * settings_free(); -1: it was said what is wrong. *used, if not NULL: which file it was, or "".
 */
int settings_read(const char *path, struct settings **ret, settings_wrong_fn *, char *used, size_t n);
void settings_free(struct settings *);

/* The section with this name, else that of "*", else NULL. */
const struct program *settings_program(const struct settings *, const char *name);

/* 1 if a list, separated by blanks, has this word. */
int settings_has_word(const char *list, const char *word);

#endif
