/*
 * console: a child's terminal joined with my input and output, as ssh does it.
 */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <brood.h>

#define CONSOLE_FD 0 /* of the child: its terminal */
#define CONSOLE_IN 4096
#define CONSOLE_OUT (64 * 1024) /* a chunk of output is not larger */

struct console {
	brood_peer *child;
	int input_open;
	char in[CONSOLE_IN]; /* read, and not yet written to the child: it is full */
	size_t in_length;
	char out[CONSOLE_OUT]; /* bytes from at to end wait for my output */
	size_t at, end;
	int broken; /* negative errno: my output takes nothing */
};

void console_init(struct console *, brood_peer *child);

/* For the child's OUTPUT and DRAIN events. */
void console_output(struct console *, const void *, size_t);
void console_drained(struct console *);

/* Wait until there is work for the handle, and move bytes meanwhile. */
void console_wait(struct console *, brood *);

/* Write what is left. */
void console_flush(struct console *);

#endif
