/*
 * nearest: letters that are missing, too many, wrong, or two in the wrong order are one difference each, and so
 * is a whole end that is missing.
 *
 * The surprising rule: how many differences are still "like it" grows with the length, because in a short word every
 * second letter makes another word of it.
 */
#include "nearest.h"
#include <string.h>

#define WORD_MOST 64
#define SHORT_LEAST 3

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

struct rows { /* of the table of differences between the beginnings of two words */
	unsigned older[WORD_MOST + 1], old[WORD_MOST + 1], now[WORD_MOST + 1];
};

static void fill_row(struct rows *rows, const char *a, const char *b, size_t i, size_t m)
{
	rows->now[0] = (unsigned)i;
	for (size_t j = 1; j <= m; j++) {
		unsigned d = rows->old[j - 1] + (a[i - 1] != b[j - 1]);

		d = least(d, least(rows->old[j], rows->now[j - 1]) + 1);
		if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
			d = least(d, rows->older[j - 2] + 1);
		rows->now[j] = d;
	}
}

static unsigned distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	struct rows rows;

	if (n > WORD_MOST || m > WORD_MOST)
		return WORD_MOST;
	if (n >= SHORT_LEAST && n < m && memcmp(a, b, n) == 0)
		return 1; /* its end is missing */
	memset(&rows, 0, sizeof(rows));
	for (size_t j = 0; j <= m; j++)
		rows.now[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		memcpy(rows.older, rows.old, sizeof(rows.old));
		memcpy(rows.old, rows.now, sizeof(rows.now));
		fill_row(&rows, a, b, i, m);
	}
	return rows.now[m];
}

void nearest_try(struct nearest *nearest, const char *right)
{
	unsigned d = distance(nearest->word, right), most = 1 + (unsigned)strlen(right) / 4;

	if (d > most || (nearest->best && d >= nearest->distance))
		return;
	nearest->best = right;
	nearest->distance = d;
}
