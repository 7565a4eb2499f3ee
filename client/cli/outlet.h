/*
 * outlet: a FIFO from which scripts read messages, as lines or as records (inlet.h). A message that cannot be written yet
 * is kept, so it fills its sender's window: that, and no number here, bounds the memory.
 */
#ifndef OUTLET_H
#define OUTLET_H

#include <brood.h>
#include <sys/queue.h>

struct line {
	TAILQ_ENTRY(line) entry;
	brood_msg *msg; /* NULL: an empty one */
	int there;      /* it may be written */
	void *data;     /* whose it is */
};

struct outlet {
	const char *path; /* NULL: there is none */
	int fd, hold;     /* to write; and a reader, so that there is always one */
	int raw;
	TAILQ_HEAD(, line) lines;
	unsigned n;
	size_t done; /* bytes of the first that were written */
};

/* Make the FIFO. 0 or negative errno: -EEXIST. */
int outlet_open(struct outlet *, const char *path, int raw);
/* Remove it, and let go of what was not written. 0, or negative errno: it is still there. */
int outlet_close(struct outlet *);

/* 1 if a body can be written: records can be anything. */
int outlet_takes(const struct outlet *, const brood_msg *);

/* A place in the order; outlet_fill() says what goes there. NULL: no memory. */
struct line *outlet_reserve(struct outlet *, void *data);
/* Not to be filled after all. */
void outlet_unreserve(struct outlet *, struct line *);
/* Takes over a kept message; NULL: an empty line. */
void outlet_fill(struct line *, brood_msg *);

/* Write what there is room for. 0 or negative errno. */
int outlet_write(struct outlet *);
/* Something waits for room. */
int outlet_waits(const struct outlet *);

#endif
