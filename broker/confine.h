/*
 * confine: give up for good what a broker never needs, so that who takes it over has little of it: programs, processes,
 * other processes' memory, privileges, dumps of its own memory.
 */
#ifndef BROOD_CONFINE_H
#define BROOD_CONFINE_H

#include <stddef.h>

#ifdef __has_feature
#define CONFINE_HAS(x) __has_feature(x)
#else
#define CONFINE_HAS(x) 0
#endif
/* These fork and trace themselves, so a program that is built with them gives up all but that. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || CONFINE_HAS(address_sanitizer) ||                 \
	CONFINE_HAS(thread_sanitizer)
#define CONFINE_SANITIZED 1
#else
#define CONFINE_SANITIZED 0
#endif

/* Once, by the only thread. 0, or negative errno with what, why, next in `why`, and some of it may have been given up. */
int confine(char *why, size_t n);

#endif
