/*
 * tombstone: see tombstone.h. A ring of stones, and chains through them by a hash of the id. It begins small, and grows
 * by doubling until it is as large as it may be; from then on the oldest stone makes room.
 */
#include "tombstone.h"
#include <stdlib.h>
#include <string.h>

#define LEAST 16u

static uint32_t *chain_of(const struct tombstones *t, uint64_t id)
{
	return &t->chains[(id * 0x9e3779b97f4a7c15u >> 32) & (t->size - 1)];
}

void tombstones_deinit(struct tombstones *t)
{
	free(t->stones);
	free(t->chains);
	memset(t, 0, sizeof(*t));
}

static void link_stone(struct tombstones *t, uint32_t slot)
{
	uint32_t *chain = chain_of(t, t->stones[slot].id);
	t->stones[slot].next_slot = *chain;
	*chain = slot + 1;
}

static void unlink_stone(struct tombstones *t, uint32_t slot)
{
	uint32_t *at = chain_of(t, t->stones[slot].id);
	while (*at != slot + 1)
		at = &t->stones[*at - 1].next_slot;
	*at = t->stones[slot].next_slot;
	t->stones[slot].id = 0;
}

/* 0 if it stays as it is. */
static int grow(struct tombstones *t)
{
	uint32_t size = t->size ? t->size * 2 : LEAST;
	struct tombstone *stones = size > TOMBSTONES_MOST ? NULL : realloc(t->stones, size * sizeof(*stones));
	uint32_t *chains = stones ? calloc(size, sizeof(*chains)) : NULL;
	if (stones)
		t->stones = stones;
	if (!chains)
		return 0;
	memset(stones + t->size, 0, (size - t->size) * sizeof(*stones));
	free(t->chains);
	t->chains = chains;
	t->at = t->size;
	t->size = size;
	for (uint32_t slot = 0; slot < t->at; slot++)
		if (stones[slot].id)
			link_stone(t, slot);
	return 1;
}

void tombstone_put(struct tombstones *t, const struct tombstone *stone)
{
	struct tombstone before;
	(void)tombstone_take(t, stone->id, &before);
	if (t->at == t->size && !grow(t))
		t->at = 0;
	if (!t->size)
		return;
	if (t->stones[t->at].id)
		unlink_stone(t, t->at);
	t->stones[t->at] = *stone;
	link_stone(t, t->at++);
}

int tombstone_take(struct tombstones *t, uint64_t id, struct tombstone *ret)
{
	uint32_t slot = t->size ? *chain_of(t, id) : 0;
	while (slot && t->stones[slot - 1].id != id)
		slot = t->stones[slot - 1].next_slot;
	if (!slot)
		return 0;
	*ret = t->stones[slot - 1];
	unlink_stone(t, slot - 1);
	return 1;
}
