/*
 * loop: a turn of the handle, and everything that waits.
 */
#ifndef BROOD_LOOP_H
#define BROOD_LOOP_H

#include "handle.h"

/* epoll, wake-up and timer descriptors. */
int loop_init(struct brood *);
void loop_deinit(struct brood *);

/*
 * One turn: what waits, then wait at most timeout_ms for more and do that, then send what was gathered. With `dispatch`
 * callbacks are called; without, their events wait. Never inside another dispatching turn. 0, or -ECHILD if a callback
 * called fork() and this is the copy.
 */
int loop_turn(struct brood *, int timeout_ms, int dispatch);

/*
 * Turns without callbacks until done() says so: 1; 0 when timeout_ms passed. For blocking calls, also inside callbacks.
 */
int loop_wait(struct brood *, int timeout_ms, int (*done)(void *), void *data);

/* After a timer was armed outside of a turn: somebody else's loop must hear of it. */
void loop_timer_changed(struct brood *);

/* 1 when everything handed to this handle was consumed by its receivers or reported. */
int loop_is_flushed(struct brood *);
/* Wait for that: 1; 0 when timeout_ms passed. */
int loop_settle(struct brood *, int timeout_ms);
/* Wait for that, and say goodbye: the end of a handle, or of the process. How many messages may be lost. */
uint64_t loop_flush(struct brood *, int timeout_ms);

#endif
