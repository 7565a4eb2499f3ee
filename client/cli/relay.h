/*
 * relay: the least that could stand between two processes. `brood bench` measures brood beside it.
 */
#ifndef RELAY_H
#define RELAY_H

/* Join each connection with the next one, for ever. Returns an exit code only if it cannot work. */
int relay_pairs(const char *place, int tcp);

/*
 * The first connection is the parent's; every other one begins with the four bytes of its index, below RELAY_WORKERS.
 * Frames {u32 index, u32 length, bytes} go from the parent to the worker with that index, and from a worker, as they
 * are, to the parent. Ends with the parent's connection; then the next one may come.
 */
#define RELAY_WORKERS 8
int relay_switch(const char *place, int tcp);

#endif
