/*
 * leftovers: what a test must not leave behind: descriptors, processes, dead children that nobody reaped, files.
 *
 * Processes are found because the test makes itself a subreaper: whatever its descendants leave behind becomes its own
 * child. Every complaint is one line on stderr that names the thing.
 */
#ifndef LEFTOVERS_H
#define LEFTOVERS_H

#include <stddef.h>

#define LEFTOVERS_FDS 1024

struct leftovers {
	unsigned char open[LEFTOVERS_FDS]; /* descriptors that were open before */
};

/* Remember what is there. */
void leftovers_begin(struct leftovers *);

/* Number of descriptors that were not open at leftovers_begin(). */
unsigned leftovers_fds(const struct leftovers *);

/*
 * Wait up to timeout_ms until no child is left, then kill those that live: their number. Dead children count too,
 * beyond the first `orphans` (-1: any number): a library has to reap what it started, but somebody's grandchildren come
 * to us.
 */
unsigned leftovers_processes(int timeout_ms, int orphans);

/* Remove a directory tree: the number of files in it whose name `allowed` (NULL-ended) does not list. */
unsigned leftovers_files(const char *directory, const char *const *allowed);

/* Files of pairs of FIFOs in a broker's directory. */
unsigned leftovers_pairs(const char *directory);

#endif
