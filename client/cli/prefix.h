/*
 * prefix: output of several sources in one stream, line by line, each with the name of its source in front.
 */
#ifndef PREFIX_H
#define PREFIX_H

#include <stddef.h>

struct prefix {
	int fd; /* where it is written to; waiting is fine */
	const char *label;
	char *line; /* begun, and not ended yet */
	size_t n, room;
	int cut; /* what was written last was a part of a line */
};

/* Write the whole lines in there. 0 or a negative errno: nobody reads it, or there is no memory. */
int prefix_write(struct prefix *, const char *bytes, size_t n);
/* It is over: write what is left, as a line. */
int prefix_end(struct prefix *);

#endif
