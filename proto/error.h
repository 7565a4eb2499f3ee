/*
 * error: what people and programs are told. Every reason has a stable name for programs, a negative errno, and texts;
 * this is the one table of the names that cross the wire or reach a program.
 */
#ifndef BROOD_ERROR_H
#define BROOD_ERROR_H

#include <stddef.h>

struct error_reason {
	const char *name; /* "name.taken" */
	int code;         /* -EADDRINUSE */
	const char *hint; /* what to do next, or "" */
};

/* The table's row, or, for names it does not have, { "other", -EREMOTEIO, "" }. Never NULL; static. */
const struct error_reason *error_reason(const char *name);

#endif
