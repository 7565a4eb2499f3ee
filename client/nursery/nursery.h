/*
 * nursery: takes what parents on other hosts ask for, judges it, and has keepers do it.
 */
#ifndef NURSERY_NURSERY_H
#define NURSERY_NURSERY_H

#include "settings.h"

struct nursery;

struct nursery_options {
	const char *address; /* the broker's; NULL: as brood_connect() finds it */
	const char *name;    /* registered under this name */
};

/* 0 and *ret; negative errno. The settings are the nursery's from now on. */
int nursery_new(const struct nursery_options *, struct settings *, struct nursery **ret);
/* Readable when nursery_turn() has something to do. */
int nursery_fd(const struct nursery *);
/* 0; 1: it has stopped as asked; negative errno: the broker is lost for good, and nursery_why() says more. */
int nursery_turn(struct nursery *);
const char *nursery_why(const struct nursery *);
/* From now on these settings count, for what is asked from now on. */
void nursery_reload(struct nursery *, struct settings *);
/* Take nothing more, and end all programs. */
void nursery_stop(struct nursery *);
void nursery_free(struct nursery *);

#endif
