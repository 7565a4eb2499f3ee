/*
 * nearest: the word that somebody meant who wrote another one. Pure.
 */
#ifndef BROOD_NEAREST_H
#define BROOD_NEAREST_H

struct nearest {
	const char *word; /* as written */
	const char *best; /* NULL: nothing is like it */
	unsigned distance;
};

/* Ask for each word that would have been right; the least different one is in `best`. They stay the caller's. */
void nearest_try(struct nearest *, const char *right);

#endif
