/*
 * listener: sockets on which connections come.
 */
#ifndef BROOD_LISTENER_H
#define BROOD_LISTENER_H

#include "address.h"
#include "log.h"
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/types.h>

#define LISTENERS_MOST 32u /* also for a moment while a reload replaces some */
#define ADDRESS_TEXT 128u

struct listener {
	int fd;
	struct event readable;
	struct listeners *all;
	struct address asked;   /* where it was told to listen: port 0, say */
	struct address address; /* where it listens in fact */
	char text[ADDRESS_TEXT];
	int inherited; /* from the service manager: the socket's file is not ours */
	dev_t device;  /* of the socket's file */
	ino_t inode;
};

/* A connection, non-blocking; now the callee's. */
typedef void listener_taken_fn(void *data, int fd, enum address_kind);

struct listeners {
	struct event_base *base;
	struct log *log;
	listener_taken_fn *taken;
	void *data;
	struct listener all[LISTENERS_MOST];
	unsigned n;
	int reserve;         /* a descriptor to be given up when there are no others */
	struct event resume; /* after a pause for lack of descriptors */
};

int listeners_init(struct listeners *, struct event_base *, struct log *, listener_taken_fn *, void *data);
/* Closes all and removes the files that are still ours. Half-built is fine. */
void listeners_deinit(struct listeners *);

/*
 * Listen. Of a Unix socket's path only what a dead broker left is replaced. 0, or negative errno with what, why, next in
 * `why`.
 */
int listener_add(struct listeners *, const struct address *, char *why, size_t n);
/* 1 if it was told to listen there. */
int listener_has(const struct listeners *, const struct address *asked);
/* Stop listening there. Who has connected by now is taken. Texts of others may move. */
void listener_remove(struct listeners *, const struct address *asked);
/* Listen on an inherited socket, which is ours now. Likewise. */
int listener_inherit(struct listeners *, int fd, char *why, size_t n);

/* The text of the first one of this kind, or "". Lives as long as the listeners. */
const char *listener_text(const struct listeners *, enum address_kind);

/* NULL, or the first whose file was removed or replaced by somebody. */
const struct listener *listener_lost(const struct listeners *);

/*
 * Stop listening for good, unless somebody is connecting at this moment: 1: nobody was, all is closed. 0: the
 * connection was taken, and we listen as before. Negative errno: we cannot.
 */
int listeners_leave(struct listeners *);

#endif
