/*
 * parcel: descriptors that travel together with one frame. Whoever has the parcel owns what is in it.
 */
#ifndef BROOD_PARCEL_H
#define BROOD_PARCEL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define PARCEL_MOST 16u /* descriptors in one */

struct parcel {
	STAILQ_ENTRY(parcel) next; /* for whoever keeps several, ... */
	uint64_t at;               /* ... and what it finds this one by */
	uint8_t n;
	uint8_t lost; /* not all of them came: this process had no numbers free */
	int fds[PARCEL_MOST];
};
STAILQ_HEAD(parcel_list, parcel);

/* An empty one, or NULL. */
struct parcel *parcel_new(void);
/* Duplicates of these, close-on-exec, in *ret. 0; -EBADF, -EMFILE, -ENOMEM, and nothing is left open. n: 1 to 16. */
int parcel_dup(const int *fds, size_t n, struct parcel **ret);
/* Take over this one, also when it fails. NULL: no memory. */
struct parcel *parcel_of(int fd);
/* Close what was not taken. NULL is fine. */
void parcel_free(struct parcel *);

/* Add one; there must be room. */
void parcel_add(struct parcel *, int fd);
/* The descriptor, now the caller's, or -ENOENT: there is none, or it was taken. */
int parcel_take(struct parcel *, unsigned index);

#endif
