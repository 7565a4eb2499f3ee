/*
 * bench_peer: the other processes of `brood bench`; this program again, as `brood bench --role ROLE`.
 *
 * A worker answers four types: "data" is counted; "echo" is answered with its own body; "tally" is answered with the
 * number of "data" messages since the last one, a u64; "floor" says "KIND PLACE NUMBER", is answered when the worker
 * has connected to PLACE, and makes it serve there, outside brood, until that connection ends.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

int bench_peer_worker(void);
/* Tell the parent "hello" and leave. */
int bench_peer_hello(void);

#endif
