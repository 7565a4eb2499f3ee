/*
 * fault: one failure, as a program reads it: code, stable name, text, hint. A struct brood_error with its text inside.
 */
#ifndef BROOD_FAULT_H
#define BROOD_FAULT_H

#include <brood.h>

struct fault {
	struct brood_error error; /* text points into this struct: copy with fault_copy() */
	char text[232];
};

void fault_clear(struct fault *);
/*
 * Code and hint come from the table of reasons; name must be a literal or outlive the fault. The text is one line: control
 * characters become '?'.
 */
void fault_set(struct fault *, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same with a code of its own. */
void fault_set_code(struct fault *, int code, const char *name, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* `from` may be NULL: nothing failed. */
void fault_copy(struct fault *to, const struct fault *from);

/* For a text: all of a path, or the end of a long one, so that there is room for what happened. */
#define FAULT_PATH 96
const char *fault_path(const char *path, char to[FAULT_PATH]);

#endif
