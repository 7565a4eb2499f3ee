/*
 * who: a process as people name it: a name, an address, or a pid. For the commands that ask the broker about one.
 */
#ifndef WHO_H
#define WHO_H

#include "control.pb-c.h"
#include "session.h"

#define WHO_TEXT 192

/* What the broker knows of it: who lives, and how those ended who are meant; valid as long as msg. */
struct who {
	brood_msg *msg;
	const Brood__Control__Endings *known;
};

/*
 * Ask for the newest `most` that ended (0: one) and for who lives. text NULL: all that ended, but for those that did so in peace
 * unless `all`. 0, to be given to who_deinit();
 * else a negative errno, with the reason in brood_last_error() and an empty who.
 */
int who_ask(brood *, const char *text, unsigned most, int all, struct who *);
void who_deinit(struct who *);

/* 1 if this is one of its names. */
int who_has_name(const Brood__Control__Process *, const char *name);

/* "resize (65f2a1b0.7, pid 812)", with nothing in it that could move the cursor. Returns `to`. */
const char *who_living(const Brood__Control__Process *, char to[WHO_TEXT]);
const char *who_ended(const Brood__Control__Ending *, char to[WHO_TEXT]);

#endif
