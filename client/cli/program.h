/*
 * program: a file that is to be executed: where it is, and what can be seen of it without executing it.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <limits.h>
#include <stddef.h>

#define PROGRAM_TEXT (PATH_MAX + 512)

struct program_file {
	char path[PATH_MAX];     /* as it would be executed */
	char text[PROGRAM_TEXT]; /* of the last question: the answer, for people */
};

/*
 * Each: 1 yes, 0 no, -1 it cannot be known this way; with the answer in words.
 *
 * found: by PATH (`path`; NULL: there is none), unless the name has a slash. allowed: a regular file that we may execute. understood: the kernel knows its
 * format, and what runs it is there, too.
 */
int program_found(struct program_file *, const char *name, const char *path);
int program_allowed(struct program_file *);
int program_understood(struct program_file *);

#endif
