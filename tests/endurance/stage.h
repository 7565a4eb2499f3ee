/*
 * stage: what the programs of one chaos run share: what was asked for, and a page of counters that all of them see. An
 * actor writes only its own counters, so the director knows at any time what arrived and who is stuck.
 */
#ifndef CHAOS_STAGE_H
#define CHAOS_STAGE_H

#include <brood.h>
#include <stdatomic.h>
#include <stdint.h>

#define PAIRS_MOST 256

enum { VIA_UNIX = 1, VIA_TCP = 2, VIA_FIFO = 4, VIA_TLS = 8 };
#ifdef BROOD_TLS
enum { VIA_ALL = VIA_UNIX | VIA_TCP | VIA_FIFO | VIA_TLS };
#else
enum { VIA_ALL = VIA_UNIX | VIA_TCP | VIA_FIFO };
#endif
#define LONGEST (1024u * 1024u)

struct wish {
	uint64_t messages; /* in all */
	unsigned seconds;  /* over which they are spread; 0: as fast as they go */
	uint64_t seed;
	unsigned pairs;
	unsigned families; /* parents, which start so many ... */
	unsigned children; /* ... each */
	unsigned vias;     /* bits */
	unsigned kill_ms;  /* mean time between two deaths of the broker; 0: it lives */
	unsigned
		cut_ms; /* mean time between two cuts of some connection, besides those after a number of bytes; 0: none */
	int json, keep;
};

struct actor {
	_Atomic uint64_t sent, delivered, duplicated, reordered, damaged, reported;
	_Atomic uint64_t asked, answered, failed; /* requests */
	_Atomic uint64_t slowest_ms;              /* answer */
	_Atomic uint64_t away;
	_Atomic int done;  /* all that it expects has come */
	_Atomic int ready; /* `address` is there */
	char address[32];
	char trouble[256]; /* the first thing that must not happen, "" if nothing did */
};

struct stage {
	struct wish wish;
	char proxy_unix[128], proxy_tcp[64], proxy_tls[64], token_file[128];
	char fifo[128]; /* the broker itself: nothing can stand in between, as the pipes are made in its directory */
	_Atomic int finish; /* actors go home */
	struct actor actors[];
};

/* The page, shared with whoever inherits *fd; or mapped from an inherited one. NULL, with errno. */
struct stage *stage_make(unsigned actors, int *fd);
struct stage *stage_open(int fd);

/* How many ways there are to connect; the address of the n-th, counted round and round. */
unsigned stage_ways(const struct stage *);
const char *stage_address(const struct stage *, unsigned n);
/* brood_connect(), until there is a broker. */
int stage_connect(brood **, const char *address, const struct brood_options *);

uint64_t stage_now_ms(void);

/* A small generator: the same seed, the same decisions. */
static inline uint64_t dice(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* Pairs first, then parents. */
static inline unsigned wish_actors(const struct wish *w)
{
	return 2 * w->pairs + w->families;
}

static inline uint64_t dice_below(uint64_t *state, uint64_t n)
{
	return n ? dice(state) % n : 0;
}

/* Any order of magnitude is as likely as any other: 1 to 2^bits. */
static inline uint64_t dice_magnitude(uint64_t *state, unsigned bits)
{
	uint64_t top = (uint64_t)1 << dice_below(state, bits);
	return top + dice_below(state, top) + 1;
}

#endif
