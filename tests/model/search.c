/*
 * search: see search.h.
 *
 * That nothing is stuck is seen backwards: from the states that are done, along the steps that need no fault. A state
 * that this does not reach can go on for ever, or not at all, without ever being done, although nothing fails any more.
 */
#include "search.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM (1u << 16)

/* ---- the set of states ------------------------------------------------------------------------------------------- */

static uint64_t hash(const struct state *s)
{
	const unsigned char *at = (const unsigned char *)s;
	uint64_t h = 0x9E3779B97F4A7C15u, word;
	size_t left = sizeof *s;
	for (; left > 0; at += word ? 8 : left, left -= left < 8 ? left : 8) {
		size_t n = left < 8 ? left : 8;
		word = 0;
		memcpy(&word, at, n);
		h = (h ^ word) * 0xFF51AFD7ED558CCDu;
		h ^= h >> 32;
		word = n == 8;
	}
	return h;
}

static void enter(struct search *s, uint32_t i)
{
	uint32_t slot = (uint32_t)hash(&s->states[i]) & (s->slots - 1);
	while (s->table[slot])
		slot = (slot + 1) & (s->slots - 1);
	s->table[slot] = i + 1;
}

static int grow(struct search *s)
{
	uint32_t room = s->room ? 2 * s->room : FIRST_ROOM;
	struct state *states = realloc(s->states, room * sizeof *states);
	s->states = states ? states : s->states;
	uint32_t *parent = realloc(s->parent, room * sizeof *parent);
	s->parent = parent ? parent : s->parent;
	uint32_t *table = calloc(2 * (size_t)room, sizeof *table);
	if (!states || !parent || !table) {
		free(table);
		return -ENOMEM;
	}
	free(s->table);
	s->table = table;
	s->slots = 2 * room;
	s->room = room;
	for (uint32_t i = 0; i < s->n; i++)
		enter(s, i);
	return 0;
}

/* Its number, in *ret; new ones get the next. */
static int number_of(struct search *s, const struct state *state, uint32_t parent, uint32_t *ret)
{
	if (s->n == s->room && grow(s) < 0)
		return -ENOMEM;
	uint32_t slot = (uint32_t)hash(state) & (s->slots - 1);
	for (; s->table[slot]; slot = (slot + 1) & (s->slots - 1)) {
		*ret = s->table[slot] - 1;
		if (memcmp(&s->states[*ret], state, sizeof *state) == 0)
			return 0;
	}
	*ret = s->n++;
	s->states[*ret] = *state;
	s->parent[*ret] = parent;
	s->table[slot] = *ret + 1;
	return 0;
}

static int note_edge(struct search *s, uint32_t from, uint32_t to)
{
	if (s->n_edges == s->edges_room) {
		size_t room = s->edges_room ? 2 * s->edges_room : FIRST_ROOM;
		uint32_t(*edges)[2] = realloc(s->edges, room * sizeof *edges);
		if (!edges)
			return -ENOMEM;
		s->edges = edges;
		s->edges_room = room;
	}
	s->edges[s->n_edges][0] = from;
	s->edges[s->n_edges++][1] = to;
	return 0;
}

/* ---- forwards ---------------------------------------------------------------------------------------------------- */

static int expand(struct search *s, uint32_t i)
{
	static struct next next[NEXT_MOST];
	struct state from = s->states[i]; /* the array may move */
	int n = rules_next(&from, next), rc = 0;
	for (int k = 0; k < n && rc == 0; k++) {
		uint32_t to;
		if (next[k].wrong) {
			s->wrong = next[k].wrong;
			s->last = i;
			s->broke = next[k];
			return 0;
		}
		rc = number_of(s, &next[k].state, i, &to);
		if (rc == 0 && next[k].kind == STEP && to != i)
			rc = note_edge(s, i, to);
	}
	return rc;
}

/* ---- backwards --------------------------------------------------------------------------------------------------- */

/* Edges sorted by where they lead: those that lead to i come from sources[begin[i]] to sources[begin[i + 1] - 1]. */
static int turn_round(const struct search *s, uint32_t **sources, uint32_t **begin)
{
	*begin = calloc((size_t)s->n + 2, sizeof **begin);
	*sources = malloc((s->n_edges + 1) * sizeof **sources);
	if (!*begin || !*sources)
		return -ENOMEM;
	for (size_t e = 0; e < s->n_edges; e++)
		(*begin)[s->edges[e][1] + 2]++;
	for (uint32_t i = 2; i <= s->n; i++)
		(*begin)[i] += (*begin)[i - 1];
	for (size_t e = 0; e < s->n_edges; e++)
		(*sources)[(*begin)[s->edges[e][1] + 1]++] = s->edges[e][0];
	return 0;
}

static int find_stuck(struct search *s, const uint32_t *sources, const uint32_t *begin)
{
	unsigned char *seen = calloc(s->n, 1);
	uint32_t *reached = malloc(s->n * sizeof *reached), n = 0;
	for (uint32_t i = 0; seen && reached && i < s->n; i++)
		if (rules_done(&s->states[i])) {
			seen[i] = 1;
			reached[n++] = i;
		}
	for (uint32_t at = 0; seen && reached && at < n; at++)
		for (uint32_t e = begin[reached[at]]; e < begin[reached[at] + 1]; e++)
			if (!seen[sources[e]]) {
				seen[sources[e]] = 1;
				reached[n++] = sources[e];
			}
	for (uint32_t i = 0; seen && reached && i < s->n && !s->wrong; i++)
		if (!seen[i]) {
			s->wrong = "nothing fails any more, and yet it is never done";
			s->last = i;
			s->broke.what = NULL;
		}
	int rc = seen && reached ? 0 : -ENOMEM;
	free(seen);
	free(reached);
	return rc;
}

int search_run(struct search *s, const struct faults *faults)
{
	struct state first;
	uint32_t i;
	memset(s, 0, sizeof *s);
	rules_begin(&first, faults);
	int rc = number_of(s, &first, 0, &i);
	for (i = 0; i < s->n && rc == 0 && !s->wrong; i++)
		rc = expand(s, i);
	if (rc == 0 && !s->wrong) {
		uint32_t *sources = NULL, *begin = NULL;
		rc = turn_round(s, &sources, &begin);
		if (rc == 0)
			rc = find_stuck(s, sources, begin);
		free(sources);
		free(begin);
	}
	return rc;
}

void search_free(struct search *s)
{
	free(s->states);
	free(s->parent);
	free(s->table);
	free(s->edges);
	memset(s, 0, sizeof *s);
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

static void print_step(unsigned n, const struct next *x)
{
	char text[80];
	const char *d = strstr(x->what, "%d");
	if (d)
		snprintf(text, sizeof text, "%.*s%d%s", (int)(d - x->what), x->what, x->number, d + 2);
	else
		snprintf(text, sizeof text, "%s", x->what);
	printf("  %2u  %s\n", n, text);
}

/* Which step led there is not kept; it is found again. */
static void print_way(const struct search *s, uint32_t to, unsigned *n)
{
	static struct next next[NEXT_MOST];
	if (to == 0)
		return;
	print_way(s, s->parent[to], n);
	int found = rules_next(&s->states[s->parent[to]], next);
	for (int k = 0; k < found; k++)
		if (memcmp(&next[k].state, &s->states[to], sizeof next[k].state) == 0) {
			print_step(++*n, &next[k]);
			return;
		}
}

void search_print(const struct search *s)
{
	unsigned n = 0;
	print_way(s, s->last, &n);
	if (s->broke.what)
		print_step(++n, &s->broke);
	printf("  --  %s\n", s->wrong);
}
