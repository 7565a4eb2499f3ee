/*
 * environment: a list that is searched; nobody has many.
 */
#include "environment.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int environment_init(struct environment *e, int room)
{
	*e = (struct environment){ .entries = calloc((size_t)room + 1, sizeof *e->entries) };
	if (!e->entries)
		fputs("brood: out of memory\n", stderr);
	return e->entries ? 0 : -ENOMEM;
}

void environment_deinit(struct environment *e)
{
	free(e->entries);
	*e = (struct environment){ 0 };
}

static void put(struct environment *e, const char *entry)
{
	size_t name = strcspn(entry, "=");
	for (size_t i = 0; i < e->n; i++) {
		if (strcspn(e->entries[i], "=") != name || strncmp(e->entries[i], entry, name) != 0)
			continue;
		e->entries[i] = entry;
		return;
	}
	e->entries[e->n++] = entry;
}

int environment_set(struct environment *e, const char *entry)
{
	const char *equals = strchr(entry, '=');
	if (!equals || equals == entry)
		return 0;
	put(e, entry);
	return 1;
}

int environment_unset(struct environment *e, const char *name)
{
	if (!*name || strchr(name, '='))
		return 0;
	put(e, name);
	return 1;
}
