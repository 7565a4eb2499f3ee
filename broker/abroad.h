/*
 * abroad: what epochs of other nodes are called here. An id of another node is not used here as it is there, because two
 * nodes may give the same one; it has the same counter under a small epoch of our own, its *alias*. Aliases stay for ever:
 * the table is in the state directory, on disk before a number is first used. Pure but for that file.
 */
#ifndef BROOD_ABROAD_H
#define BROOD_ABROAD_H

#include "address.h"
#include "home.h"
#include <stdint.h>

#define EPOCH_MOST 0xefffffffu /* of the year 2097 */
#define ABROAD_PER_NODE 64u    /* epochs that are remembered of one node; the oldest are forgotten */
#define ABROAD_MOST 8192u      /* and of all nodes that there ever were */

struct abroad_epoch {
	uint32_t number; /* here */
	uint32_t epoch;  /* there */
	char node[NAME_MAX_LENGTH + 1];
};

struct abroad {
	const struct home *home;
	struct abroad_epoch *all; /* in order of numbers */
	uint32_t n, next;
};

/* Read the file; none is none. 0, or negative errno with `why`. */
int abroad_open(struct abroad *, const struct home *, char *why, size_t n);
void abroad_deinit(struct abroad *);

/* The number of this node's epoch, given now if it had none. 0: there is no room, or the file cannot be written. */
uint32_t abroad_number(struct abroad *, const char *node, uint32_t epoch);
/* The same if it has one; else 0. */
uint32_t abroad_known(const struct abroad *, const char *node, uint32_t epoch);
/*
 * Nodes that are not listed any more, whose processes were told to be gone: what was known of them is forgotten, so that
 * nobody who comes back with his node has an id that was told so. On disk as far as that can be written.
 */
void abroad_part(struct abroad *, int (*is_listed)(void *, const char *node), void *data);
/*
 * Which start of its host a node says this is. 1: the same as before, or nobody knows; 0: another, and its epochs are
 * forgotten, because all that had their ids are gone.
 */
int abroad_boot(struct abroad *, const char *node, const uint8_t boot[4]);
/* Of the last parting from this node: another number each time. 0: there was none. */
uint32_t abroad_parting(const struct abroad *, const char *node);
/* What a number stands for; NULL: nothing. Valid until the next number is given. */
const struct abroad_epoch *abroad_of(const struct abroad *, uint32_t number);

#endif
