/*
 * door: a last word to one who is not let in.
 */
#ifndef BROOD_DOOR_H
#define BROOD_DOOR_H

/* The broker has no descriptor left, says this non-blocking connection, or a pipe; it remains the caller's. */
void door_say_full(int fd);

#endif
