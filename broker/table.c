/*
 * table: open addressing with linear probing.
 *
 * A key's home is the upper bits of its product with an odd constant, which spreads the consecutive numbers that ids
 * are. A key lies at its home or in the unbroken run of used places behind it. The surprising rule: removal leaves no
 * mark; it moves later keys of the run back into the hole, so look-ups stay short however often ids come and go.
 */
#include "table.h"
#include <errno.h>
#include <stdlib.h>

#define SIZE_LEAST 4u

static uint32_t home(const struct table *t, uint64_t key)
{
	return (uint32_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (t->size - 1);
}

static struct table_place *find(const struct table *t, uint64_t key)
{
	uint32_t i = home(t, key);

	while (t->places[i].key != 0 && t->places[i].key != key)
		i = (i + 1) & (t->size - 1);
	return &t->places[i];
}

static int resize(struct table *t, uint32_t size)
{
	struct table old = *t;
	uint32_t i;

	t->places = calloc(size, sizeof(*t->places));
	if (!t->places) {
		*t = old;
		return -ENOMEM;
	}
	t->size = size;
	for (i = 0; i < old.size; i++)
		if (old.places[i].key != 0)
			*find(t, old.places[i].key) = old.places[i];
	free(old.places);
	return 0;
}

void table_deinit(struct table *t)
{
	free(t->places);
	*t = (struct table){ 0 };
}

int table_put(struct table *t, uint64_t key, void *value)
{
	if (4 * (uint64_t)(t->count + 1) > 3 * (uint64_t)t->size && resize(t, t->size ? 2 * t->size : SIZE_LEAST) < 0)
		return -ENOMEM;
	*find(t, key) = (struct table_place){ key, value };
	t->count++;
	return 0;
}

void *table_get(const struct table *t, uint64_t key)
{
	return t->count > 0 ? find(t, key)->value : NULL;
}

/* 1 if the key at `from` may move back to `hole`: its home does not lie behind the hole. */
static int may_move(const struct table *t, uint32_t from, uint32_t hole)
{
	uint32_t mask = t->size - 1;

	return ((from - home(t, t->places[from].key)) & mask) >= ((from - hole) & mask);
}

static void close_hole(struct table *t, uint32_t hole)
{
	uint32_t mask = t->size - 1, i;

	for (i = (hole + 1) & mask; t->places[i].key != 0; i = (i + 1) & mask) {
		if (!may_move(t, i, hole))
			continue;
		t->places[hole] = t->places[i];
		hole = i;
	}
	t->places[hole] = (struct table_place){ 0, NULL };
}

void *table_remove(struct table *t, uint64_t key)
{
	struct table_place *place = t->count > 0 ? find(t, key) : NULL;
	void *value = place ? place->value : NULL;

	if (!value)
		return NULL;
	close_hole(t, (uint32_t)(place - t->places));
	t->count--;
	if (t->size > SIZE_LEAST && 8 * (uint64_t)t->count < t->size)
		(void)resize(t, t->size / 2); /* without memory it stays large */
	return value;
}

void *table_next(const struct table *t, uint32_t *at)
{
	while (*at < t->size) {
		void *value = t->places[(*at)++].value;

		if (value)
			return value;
	}
	return NULL;
}
