/*
 * environment: the changes to a program's environment that --env and --unset ask for; of two that concern the same
 * variable the later one counts.
 */
#ifndef ENVIRONMENT_H
#define ENVIRONMENT_H

#include <stddef.h>

struct environment {
	const char **entries; /* "NAME=VALUE", or "NAME" to remove it; NULL-ended; texts belong to the caller */
	size_t n;
};

/* Room for so many changes. 0 or -ENOMEM, after a message. */
int environment_init(struct environment *, int room);
void environment_deinit(struct environment *);

/* 1, or 0 if it is no "NAME=VALUE", no name. */
int environment_set(struct environment *, const char *entry);
int environment_unset(struct environment *, const char *name);

#endif
