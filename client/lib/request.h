/*
 * request: my open questions. Each ends exactly once: answer, error, deadline, cancel, or its peer's end.
 */
#ifndef BROOD_REQUEST_H
#define BROOD_REQUEST_H

#include "handle.h"

void requests_deinit(struct brood *);

/* Open one. Its id (> 0), or -ENOMEM. due: its deadline as of handle_now(), 0: none. `call` or `done` is told. */
int64_t request_open(struct brood_peer *, uint64_t due, brood_fn *done, void *data, struct call *call);
/* Undo request_open(): it was never sent, nobody is told. */
void request_forget(struct brood *, int64_t id);

/* An answer came: letter, or fault. 0, or -ENOENT if nobody waits for it (any more): the letter is the caller's then.
 */
int request_answer(struct brood *, struct remote *, uint64_t correlation, struct letter *, const struct fault *);

/* End this one with a fault and tell the other side that nobody waits. -ENOENT. */
int request_cancel(struct brood *, int64_t id, const struct fault *);
/* End all of a remote's with this fault. */
void request_fail_all(struct remote *, const struct fault *);
/* The questions move with what was sent. */
void request_move(struct remote *from, struct remote *to);

#endif
