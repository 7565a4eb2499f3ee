/*
 * autostart: a private broker for this user, started when no other is there.
 */
#ifndef BROOD_AUTOSTART_H
#define BROOD_AUTOSTART_H

#include "spawn.h"
#include <stddef.h>

/*
 * The path of the broker's program: $BROOD_BROKER, else ../bin/broodd as seen from the folder of this library (or of
 * the program that contains it) if it can be executed there, else where it is installed. A set-user-id program takes
 * the last only. 0, or -ENAMETOOLONG if it does not fit into n bytes. It need not exist.
 */
int autostart_find(char *to, size_t n);

/*
 * Start `broodd --private` in a session of its own, with /dev/null for its standard streams. It outlives us: no life
 * line. 0 and *ret: it was started; its first process exits when the broker it leaves behind listens (0), or cannot;
 * watch ret->pidfd, reap it, close it. Negative errno and *why as spawn_start().
 */
int autostart(struct spawned *ret, struct spawn_failure *why);

#endif
