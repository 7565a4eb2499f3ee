/*
 * sink: where the router puts bytes. The router knows nothing else of sessions, so a test can be a sink too, and so can
 * a process of another node, whose frames go over a link.
 */
#ifndef BROOD_SINK_H
#define BROOD_SINK_H

#include <stddef.h>
#include <stdint.h>

struct edge;

struct sink {
	/*
	 * n bytes, whole frames, to be sent behind all others. With an edge they stay where they are until the end of
	 * the turn, and what has to wait longer is charged to the edge. Without one they are valid during the call
	 * only. Never fails and never calls back: a sink that cannot take bytes ends its connection, later.
	 */
	void (*put)(struct sink *, struct edge *, const uint8_t *bytes, size_t n);
	/*
	 * For a sink that others use, too, and that outlives its process; else NULL: the edge ends. What waits of it
	 * counts as nobody's from now on.
	 */
	void (*forget)(struct sink *, struct edge *);
};

#endif
