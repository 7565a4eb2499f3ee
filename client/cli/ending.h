/*
 * ending: how a program's end is told by an exit status, as env, timeout and the shell do it, and as JSON.
 */
#ifndef ENDING_H
#define ENDING_H

#include <brood.h>
#include <jansson.h>

enum ending_status {
	ENDING_TIMEOUT = 124,
	ENDING_FAILED = 125, /* brood itself, not the program */
	ENDING_CANNOT_EXECUTE = 126,
	ENDING_NOT_FOUND = 127,
	ENDING_SIGNAL = 128 /* and the signal's number */
};

/* Of a program that ran. */
int ending_status(const struct brood_exit *);

/* Of one that could not be started, for this reason. */
int ending_of_error(const struct brood_error *);

/* One object each; new references, NULL: no memory. */
json_t *ending_json(const struct brood_exit *, int status);
json_t *ending_error_json(const struct brood_error *, int status);

#endif
