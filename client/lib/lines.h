/*
 * lines: what a child writes to a LOG descriptor, as messages to the broker, one per line, which writes them to its log.
 */
#ifndef BROOD_LINES_H
#define BROOD_LINES_H

#include "pipe.h"

/* A sink's chunk(): sends its lines, and takes it when all are sent. While the broker takes no more the child waits. */
void lines_chunk(struct pipe *);
/* The broker takes more: go on with the chunks that wait. */
void lines_go_on(struct brood *);

#endif
