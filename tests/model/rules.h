/*
 * rules: what can happen next, by proto/README.md, and what must never be seen. Each mutant leaves out or twists one
 * rule.
 */
#ifndef MODEL_RULES_H
#define MODEL_RULES_H

#include "state.h"

enum step_kind {
	STEP, /* happens some time, unless something else does */
	FAULT /* costs one of the faults that may still happen; nobody shall have to rely on it */
};

struct next {
	struct state state;
	enum step_kind kind;
	const char *what; /* a constant text, with one %d for `number`, or none */
	int number;
	const char *wrong; /* NULL, or which promise was broken by this step */
};

#define NEXT_MOST 96

/* How much S has to say, and the faults that may happen in all. */
struct faults {
	uint8_t messages, kills, cuts, expiries, deaths, evictions, retries, crowds;
};

void rules_begin(struct state *, const struct faults *);

/* All that can happen in `state`, into next[NEXT_MOST]. Returns their number. */
int rules_next(const struct state *, struct next *next);

/* Everything that S said was delivered or reported, R has consumed what it took, and nobody waits for news. */
int rules_done(const struct state *);

/* Number `i` of the mutants: name and what it leaves out; NULL behind the last. */
const char *rules_mutant(int i, const char **what);

/* Use this mutant from now on; NULL: none. 0, or -1 if there is none of that name. */
int rules_mutate(const char *name);

#endif
