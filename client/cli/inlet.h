/*
 * inlet: a FIFO into which scripts write lines, or records: a length of 4 bytes, little-endian, and so many bytes.
 */
#ifndef INLET_H
#define INLET_H

#include <stddef.h>

#define INLET_LINE (64u * 1024u)           /* longest line, without its end */
#define INLET_RECORD (64u * 1024u * 1024u) /* longest record: no message is longer */

struct inlet {
	const char *path; /* NULL: there is none */
	int fd, raw;
	int more; /* there may be more than was read */
	unsigned char *bytes;
	size_t begin, end, room; /* of what was read and not taken */
	size_t skip;             /* bytes of a record that is too long, still to come */
	int skipping;            /* in a line that is too long */
	unsigned long dropped;
};

/* Make the FIFO. 0 or negative errno: -EEXIST. */
int inlet_open(struct inlet *, const char *path, int raw);
/* Remove it. 0, or negative errno: it is still there. */
int inlet_close(struct inlet *);

/* The next line or record, in place until inlet_read(): 1. 0: there is none, read; nothing was set. What cannot be one is dropped, with a message. */
int inlet_next(struct inlet *, const void **body, size_t *length);
/* Read what is there. 0 or negative errno. */
int inlet_read(struct inlet *);

#endif
