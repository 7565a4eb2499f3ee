/*
 * filter: a program that answers each line on its input by one line on its output, such as `sed -u`.
 */
#ifndef FILTER_H
#define FILTER_H

#include <brood.h>

#define FILTER_LINE_IN (64u * 1024u)    /* longest line that it gets, without its end */
#define FILTER_LINE_OUT (1024u * 1024u) /* ... and that it may write */

struct filter_owner { /* who is told */
	void *data;
	void (*started)(void *);
	void (*line)(void *, const char *, size_t); /* without its end */
	void (*moved)(void *); /* it takes more after filter_write() was refused; or it has become useless */
	/* It is gone, and another may be started. exit: NULL if it could not be started, then error. */
	void (*gone)(void *, const struct brood_exit *, const struct brood_error *);
};

struct filter {
	const struct filter_owner *owner;
	brood_peer *peer; /* NULL: none runs */
	int running;      /* it started, and nothing of it has ended yet */
	int useless;      /* it runs, but reads or writes no more */
	char *partial;    /* a line that has begun */
	size_t length;
};

void filter_init(struct filter *, const struct filter_owner *);
void filter_deinit(struct filter *);

/* 0 or a negative errno at once. */
int filter_start(struct filter *, brood *, const char *const *argv);

/* Give it a line of at most FILTER_LINE_IN bytes: 0, -EAGAIN, or -EPIPE: it will be gone. */
int filter_write(struct filter *, const void *, size_t);

/* No more lines come. */
void filter_end(struct filter *);

/* End it: by SIGTERM and, a moment later, SIGKILL; or at once. */
void filter_kill(struct filter *, int at_once);

#endif
