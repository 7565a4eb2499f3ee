/*
 * knock: how a client of the same user gets a pair of named pipes to the broker, and what its hello says.
 *
 * In the broker's directory is one well-known FIFO, `fifo`. A client makes two of its own beside it, NAME.up (to the
 * broker) and NAME.down (from it), and writes one line with that name into `fifo`. The broker opens both, unlinks them,
 * and from then on they are a connection like any other.
 */
#ifndef BROOD_KNOCK_H
#define BROOD_KNOCK_H

#include "address.h"

#define KNOCK_FILE "fifo"    /* where hellos go */
#define KNOCK_PREFIX "fifo-" /* how the names of all pairs begin */
#define KNOCK_UP ".up"
#define KNOCK_DOWN ".down"
#define KNOCK_NAME 48 /* room for a pair's name */
#define KNOCK_PATH (KNOCK_NAME + 8)

/* Write the name of a file of the pair. Returns to. */
char *knock_path(const char *name, const char *suffix, char to[KNOCK_PATH]);
/* 1 if a file of this name belongs to a pair, whoever made it. */
int knock_is_pair(const char *file);

/*
 * The client.
 */

struct knock {
	int directory;  /* the broker's */
	int rendezvous; /* write end of `fifo`: it hangs up when the broker does */
	int hold;       /* a reader of `up` in the broker's place, until it has come */
	char name[KNOCK_NAME];
};

/*
 * Ask the broker in this directory for a connection: two non-blocking descriptors, to be written to at once; that there
 * is a broker shows in what it writes. Meanwhile `rendezvous` has a hang-up (EPOLLERR) if the broker ends; then ask
 * knock_is_vain(). When the first bytes came, or nothing will, call knock_end().
 * -ENOENT, -ECONNREFUSED: nobody is there. -EAGAIN: too much is going on there, try again. -EPERM: the directory is not
 * this user's alone, so who is in it may be anybody. Else negative errno; then there is nothing to end.
 */
int knock(struct knock *, const struct address *, int *in_fd, int *out_fd);
/* The rendezvous hung up: will nobody ever answer on this pair? Lets go of `hold`. */
int knock_is_vain(struct knock *, int in_fd, int out_fd);
/* Close what was for knocking only; unless the broker has `answered`, the pair's files go too. Twice is fine. */
void knock_end(struct knock *, int answered);

/*
 * The broker's side: hellos out of bytes.
 */

struct knock_reader {
	char line[KNOCK_PATH + 8]; /* begun and not ended; longer than any hello, so that what does not fit is none */
	size_t n;
};

/*
 * The next hello in [*at, end): 1 and its name. -EPROTO: a line that is none. 0: all was taken, and a line begun is kept.
 */
int knock_next(struct knock_reader *, const char **at, const char *end, char name[KNOCK_NAME]);

#endif
