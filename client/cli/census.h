/*
 * census: the nodes that the broker is linked with, and the processes of any of them.
 */
#ifndef CENSUS_H
#define CENSUS_H

#include "control.pb-c.h"
#include "session.h"

/*
 * The nodes, this one among them ("here"); valid as long as *msg. 0, or a negative errno with the reason in
 * brood_last_error(); -EOPNOTSUPP: an older broker, which knows no others.
 */
int census_nodes(brood *, brood_msg **msg, const Brood__Control__Nodes **);

/*
 * Ask a node's broker ("" is ours) for its processes, page after page, which `take` gets and keeps. 0, or what take
 * returned, or a negative errno with the reason in brood_last_error().
 */
int census_processes(brood *, const char *node, int (*take)(void *data, brood_msg *, const Brood__Control__Listing *),
		     void *data);

#endif
