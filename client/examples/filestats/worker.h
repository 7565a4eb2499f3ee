/*
 * worker: a child of filestats; looks into one file after the other.
 */
#ifndef WORKER_H
#define WORKER_H

/* Serve until the parent is gone. The exit code. */
int worker_main(void);

#endif
