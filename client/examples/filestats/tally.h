/*
 * tally: lines, words and bytes, exactly as wc(1) counts them in the C locale.
 *
 * A line is a newline. A word is a run of bytes between white space (space, \t, \n, \v, \f, \r) of which at least one
 * is printable ASCII; other bytes are part of a word but do not make one.
 *
 * The tallies of two files can be joined to that of both, one behind the other, as `cat a b | wc` would give it: if a
 * does not end in white space, its last word goes on in b. Therefore a tally remembers what its edges are like.
 */
#ifndef TALLY_H
#define TALLY_H

#include <stddef.h>
#include <stdint.h>

struct tally {
	uint64_t lines, words, bytes; /* a word that is still open at the end is counted */
	int opens;                    /* a printable byte comes before the first white space */
	int closes;                   /* one comes behind the last white space */
	int unbroken;                 /* there is no white space at all */
};

/* The tally of nothing. */
void tally_init(struct tally *);

/* Count more bytes. */
void tally_add(struct tally *, const unsigned char *bytes, size_t n);

/* Make `t` the tally of what it counts followed by what `next` counts. */
void tally_join(struct tally *t, const struct tally *next);

#endif
