/*
 * understudy: plays the broker to one client at a time, word for word. It answers what a client asks of a broker, and hands
 * on what the client says to other processes, of which there are none: whoever holds the understudy speaks for them. So a
 * client can be told anything, in any order, and everything that it does about it is seen.
 */
#ifndef UNDERSTUDY_H
#define UNDERSTUDY_H

#include "channel.h"

#define UNDERSTUDY_EPOCH ((uint64_t)0x65f2a1b0 << 32)
#define UNDERSTUDY_CLIENT (UNDERSTUDY_EPOCH | 2) /* the client's id; those below 16 are nobody else's */

struct understudy {
	int listener;
	int there;                                       /* a client is connected */
	int registered;                                  /* it has a name */
	int left;                                        /* it said goodbye */
	int ended;                                       /* its connection did, with or without */
	unsigned level;                                  /* of its HELLO */
	int cut;                                         /* its connection was ended by us */
	const char *broke;                               /* what it said that is no frame, or not for a broker; NULL */
	void (*heard)(void *data, const struct frame *); /* what it said to others; valid for the call */
	void *data;
	struct slab slab;
	struct channel channel;
};

/* Listen at "unix:...". 0 or negative errno. */
int understudy_open(struct understudy *, const char *address);
void understudy_close(struct understudy *);

/* Forget the client that was there: the next one may come. */
void understudy_clear(struct understudy *);

/* End its connection: a client of level 1 comes back, and has to show its ticket and register its name again. */
void understudy_cut(struct understudy *);

/* Read and write what can be; wait so long for the first of it. */
void understudy_turn(struct understudy *, int timeout_ms);

/* Say this to the client, with a descriptor that belongs to it or -1. */
void understudy_say(struct understudy *, const struct frame *, const void *body, int fd);
/* Say these bytes. */
void understudy_write(struct understudy *, const void *bytes, size_t n);
/* GONE. */
void understudy_bury(struct understudy *, uint64_t id, unsigned why);

#endif
