/*
 * departed: a table of ids, whose values say who said so, and a ring that tells which is the oldest. It grows to its limit
 * by doubling, because most brokers never see so many.
 */
#include "departed.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BY_BROKER 1u /* not an id: those have an epoch */

void departed_deinit(struct departed *d)
{
	table_deinit(&d->ids);
	free(d->ring);
	memset(d, 0, sizeof(*d));
}

/* Only while it is not full does it grow, and then the oldest is the first. */
static int make_room(struct departed *d)
{
	uint32_t size = d->size ? 2 * d->size : 64;
	uint64_t *ring;

	if (d->n < d->size)
		return 0;
	if (d->size == DEPARTED_MOST) {
		(void)table_remove(&d->ids, d->ring[d->oldest]);
		d->oldest = (d->oldest + 1) % d->size;
		d->n--;
		return 0;
	}
	ring = realloc(d->ring, size * sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	d->ring = ring;
	d->size = size;
	return 0;
}

void departed_add(struct departed *d, uint64_t id, uint64_t by)
{
	void *known = table_get(&d->ids, id), *value = (void *)(uintptr_t)(by ? by : BY_BROKER);

	if (known && by)
		return; /* what was seen or said first is not made less certain */
	if (known) {
		(void)table_remove(&d->ids, id);
		(void)table_put(&d->ids, id, value); /* has the place that it left */
		return;
	}
	if (make_room(d) < 0 || table_put(&d->ids, id, value) < 0)
		return;
	d->ring[(d->oldest + d->n++) % d->size] = id;
}

int departed_has(const struct departed *d, uint64_t id, uint64_t parent)
{
	uintptr_t by = (uintptr_t)table_get(&d->ids, id);

	return by == BY_BROKER || (by != 0 && by == parent);
}
