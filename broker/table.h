/*
 * table: 64-bit keys to pointers, 16 bytes per place. Made for process ids: small where most processes own one, and one
 * or two cache lines per look-up.
 */
#ifndef BROOD_TABLE_H
#define BROOD_TABLE_H

#include <stdint.h>

struct table {
	struct table_place {
		uint64_t key; /* 0: free */
		void *value;
	} * places;
	uint32_t size, count; /* size: 0 or a power of two */
};

/* Zero bytes are an empty table. */
void table_deinit(struct table *);
/* key: not 0, and not there yet. 0 or -ENOMEM. */
int table_put(struct table *, uint64_t key, void *value);
void *table_get(const struct table *, uint64_t key);
/* The value that was there, or NULL. */
void *table_remove(struct table *, uint64_t key);
/* The values one by one: *at begins as 0. NULL at the end. The table must not change meanwhile. */
void *table_next(const struct table *, uint32_t *at);

#endif
