/*
 * body: the bytes that `send` and `request` send.
 */
#ifndef BODY_H
#define BODY_H

#include <stddef.h>

struct body {
	char *bytes;
	size_t length;
};

/*
 * The body that an argument means: its own text; standard input to its end for "-", and for no argument (NULL) where
 * standard input is not a terminal; else nothing. 0, or a negative errno: -EMSGSIZE if it is longer than a message may
 * be.
 */
int body_init(struct body *, const char *argument);
void body_deinit(struct body *);

#endif
