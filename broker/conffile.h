/*
 * conffile: a configuration file as text: sections, keys, values, and what is wrong with its lines. What they mean is for
 * others to say.
 */
#ifndef BROOD_CONFFILE_H
#define BROOD_CONFFILE_H

#include <stddef.h>

#define CONFFILE_MOST (1024u * 1024u)
#define CONFFILE_LINE_MOST 4096u

struct conffile_ops { /* all with the line's number, from 1 */
	/* [section], where name is NULL, or [section "name"]. Return 0 to hear nothing of what is in it. */
	int (*section)(void *data, unsigned line, const char *section, const char *name);
	void (*value)(void *data, unsigned line, const char *section, const char *key, const char *value);
	void (*wrong)(void *data, unsigned line, const char *why);
};

/* Bytes of a file, which may be any. */
void conffile_parse(const char *bytes, size_t n, const struct conffile_ops *, void *data);

/*
 * Read a file, if it is trusted: it belongs to root or to us, and nobody else can write to it; only root's broker minds a
 * group that can. 0, and *bytes is for the caller to free. -ENOENT: there is none. Else a negative errno, with what, why,
 * next in `why`.
 */
int conffile_read(const char *path, char **bytes, size_t *size, char *why, size_t n);
/* Whether what is in a directory may be read: likewise. 0, -ENOENT, or a negative errno with `why`. */
int conffile_trust_directory(const char *path, char *why, size_t n);

#endif
