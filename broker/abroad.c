/*
 * abroad: a short list, which is written as a whole when it changes. That is when a node's broker was started anew.
 *
 * A number is never given twice, so that no program finds somebody else under an id that it remembers. What is forgotten is
 * gone: nobody has that id any more. The surprising rule: a file that is not as we wrote it is an error, not an empty table,
 * for the same reason.
 */
#include "abroad.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "abroad"
#define LINE_MOST (NAME_MAX_LENGTH + 24u)
#define FILE_MOST (1024u * 1024u)
#define HEAD "next"

static int broken(const char *what, int error, char *why, size_t n)
{
	snprintf(why, n,
		 "file " FILE_NAME ": %s; put back a copy, or remove it and restart every program that talks to other "
		 "nodes",
		 what);
	return error;
}

static int add(struct abroad *a, const struct abroad_epoch *one)
{
	struct abroad_epoch *more = realloc(a->all, (a->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	a->all = more;
	a->all[a->n++] = *one;
	return 0;
}

/* "N NODE EPOCH". 1 if the line is that, and behind those before. */
static int take_line(struct abroad *a, const char *line)
{
	struct abroad_epoch one = { 0 };
	char again[LINE_MOST + 1];

	if (sscanf(line, "%" SCNu32 " %63s %" SCNx32, &one.number, one.node, &one.epoch) != 3)
		return 0;
	snprintf(again, sizeof(again), "%" PRIu32 " %s %" PRIx32, one.number, one.node, one.epoch);
	if (strcmp(again, line) != 0 || !name_is_valid(one.node) || one.epoch < EPOCH_LEAST)
		return 0;
	if (one.number == 0 || one.number >= a->next || (a->n > 0 && one.number <= a->all[a->n - 1].number))
		return 0;
	return add(a, &one) == 0;
}

/* First the number to come, then the lines, and an end, so that half a file is seen. */
static int take_text(struct abroad *a, char *text)
{
	char *line, *rest = text;
	unsigned seen = 0, said;

	line = strsep(&rest, "\n");
	if (!rest || sscanf(line, HEAD " %" SCNu32 " %u", &a->next, &said) != 2 || a->next == 0 ||
	    a->next > EPOCH_LEAST)
		return 0;
	while ((line = strsep(&rest, "\n")) && rest) {
		if (!take_line(a, line))
			return 0;
		seen++;
	}
	return line && line[0] == '\0' && seen == said;
}

int abroad_open(struct abroad *a, const struct home *home, char *why, size_t n)
{
	char *text = malloc(FILE_MOST + 1);
	ssize_t got;
	int good;

	*a = (struct abroad){ .home = home, .next = 1 };
	if (!text)
		return broken(strerror(ENOMEM), -ENOMEM, why, n);
	got = home_read(home, FILE_NAME, text, FILE_MOST);
	if (got > 0)
		text[got] = '\0';
	good = got == -ENOENT || (got > 0 && strlen(text) == (size_t)got && take_text(a, text));
	free(text);
	if (good)
		return 0;
	return got < 0 ? broken(strerror((int)-got), (int)got, why, n)
		       : broken("it is not as the broker wrote it", -EBADMSG, why, n);
}

void abroad_deinit(struct abroad *a)
{
	free(a->all);
	*a = (struct abroad){ 0 };
}

static int save(const struct abroad *a)
{
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);
	int r;

	if (!file)
		return -ENOMEM;
	fprintf(file, HEAD " %" PRIu32 " %" PRIu32 "\n", a->next, a->n);
	for (uint32_t i = 0; i < a->n; i++)
		fprintf(file, "%" PRIu32 " %s %" PRIx32 "\n", a->all[i].number, a->all[i].node, a->all[i].epoch);
	r = fclose(file) == 0 ? home_write(a->home, FILE_NAME, text, size) : -ENOMEM;
	free(text);
	return r;
}

static void drop(struct abroad *a, uint32_t i)
{
	memmove(a->all + i, a->all + i + 1, (--a->n - i) * sizeof(*a->all));
}

/* The oldest of a node that has as many as may be remembered. */
static void forget_oldest(struct abroad *a, const char *node)
{
	uint32_t first = UINT32_MAX, has = 0;

	for (uint32_t i = 0; i < a->n; i++) {
		if (strcmp(a->all[i].node, node) != 0)
			continue;
		has++;
		first = first == UINT32_MAX ? i : first;
	}
	if (has >= ABROAD_PER_NODE)
		drop(a, first);
	else if (a->n >= ABROAD_MOST)
		drop(a, 0);
}

uint32_t abroad_known(const struct abroad *a, const char *node, uint32_t epoch)
{
	for (uint32_t i = a->n; i-- > 0;)
		if (a->all[i].epoch == epoch && strcmp(a->all[i].node, node) == 0)
			return a->all[i].number;
	return 0;
}

uint32_t abroad_number(struct abroad *a, const char *node, uint32_t epoch)
{
	struct abroad_epoch one = { .number = a->next, .epoch = epoch };
	uint32_t known = abroad_known(a, node, epoch);

	if (known || !name_is_valid(node) || epoch < EPOCH_LEAST || a->next >= EPOCH_LEAST)
		return known;
	strcpy(one.node, node);
	forget_oldest(a, node);
	if (add(a, &one) < 0)
		return 0;
	a->next++;
	if (save(a) == 0)
		return one.number;
	a->n--;
	return 0; /* the number is not used again, in case it is on disk */
}

const struct abroad_epoch *abroad_of(const struct abroad *a, uint32_t number)
{
	for (uint32_t i = a->n; i-- > 0;)
		if (a->all[i].number == number)
			return &a->all[i];
	return NULL;
}
