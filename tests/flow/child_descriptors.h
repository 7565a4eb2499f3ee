/*
 * child_descriptors: what the child of the flow tests does with descriptors. Part of a worker: see child.c.
 */
#ifndef CHILD_DESCRIPTORS_H
#define CHILD_DESCRIPTORS_H

#include <brood.h>

/* Do what a message's type says, if it is about descriptors; -ENOSYS if not. */
int descriptors_act(brood_msg *);

/* The descriptors that came with a numbered message, if any, are pipes from which its number can be read. */
int descriptors_match(brood_msg *, uint64_t number);

#endif
