/*
 * abroad: a short list, which is written as a whole when it changes. That is when a node's broker was started anew.
 *
 * A number is never given twice, so that no program finds somebody else under an id that it remembers. What is forgotten is
 * gone: nobody has that id any more. The surprising rule: a file that is not as we wrote it is an error, not an empty table,
 * for the same reason.
 *
 * Two more lines of a node may be in it, with what no epoch can be instead of one: which start of its host it was, and when it
 * was taken out of the configuration last. They have to outlive this run, because the programs that know the node's processes
 * do.
 */
#include "abroad.h"
#include "little.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "abroad"
#define LINE_MOST (NAME_MAX_LENGTH + 24u)
#define FILE_MOST (1024u * 1024u)
#define HEAD "next"
/* Above the epochs: what else is noted of a node. */
#define BOOT (EPOCH_MOST + 1) /* ... and behind it 27 bits of what its host said */
#define BOOT_BITS 0x07ffffffu
#define PARTED UINT32_MAX /* the number is that of the last parting from it */

static int broken(int error, char *why, size_t n)
{
	snprintf(why, n,
		 "file " FILE_NAME
		 ": it is not as the broker wrote it; put back a copy, or remove it and restart every "
		 "program that talks to other nodes");
	return error;
}

/* It may be as it should. */
static int unreadable(int error, char *why, size_t n)
{
	snprintf(why, n, "file " FILE_NAME ": %s; put that right, and do not remove it", strerror(-error));
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
		return unreadable(-ENOMEM, why, n);
	got = home_read(home, FILE_NAME, text, FILE_MOST);
	if (got > 0)
		text[got] = '\0';
	good = got == -ENOENT || (got > 0 && strlen(text) == (size_t)got && take_text(a, text));
	free(text);
	if (good)
		return 0;
	if (got < 0 && got != -EPERM)
		return unreadable((int)got, why, n);
	return broken(got < 0 ? (int)got : -EBADMSG, why, n);
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
		if (strcmp(a->all[i].node, node) != 0 || a->all[i].epoch > EPOCH_MOST)
			continue;
		has++;
		first = first == UINT32_MAX ? i : first;
	}
	if (has >= ABROAD_PER_NODE)
		drop(a, first);
	else if (a->n >= ABROAD_MOST)
		drop(a, 0);
}

static int put(struct abroad *a, const char *node, uint32_t epoch)
{
	struct abroad_epoch one = { .number = a->next, .epoch = epoch };

	strcpy(one.node, node);
	if (add(a, &one) < 0)
		return -ENOMEM;
	a->next++;
	return save(a);
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
	uint32_t known = abroad_known(a, node, epoch), n;

	if (known || !name_is_valid(node) || epoch < EPOCH_LEAST || epoch > EPOCH_MOST || a->next >= EPOCH_LEAST)
		return known;
	forget_oldest(a, node);
	n = a->n;
	if (put(a, node, epoch) == 0)
		return a->all[n].number;
	a->n = n;
	return 0; /* the number is not used again, in case it is on disk */
}

/* All that is noted of a node up to this epoch; instead of it stands another line. */
static void forget(struct abroad *a, const char *node, uint32_t up_to, uint32_t epoch)
{
	for (uint32_t i = a->n; i-- > 0;)
		if (a->all[i].epoch <= up_to && strcmp(a->all[i].node, node) == 0)
			drop(a, i);
	forget_oldest(a, node);
	if (a->next < EPOCH_LEAST)
		(void)put(a, node, epoch);
}

/* One that has epochs and is not listed, or NULL. */
static const char *find_unlisted(const struct abroad *a, int (*is_listed)(void *, const char *), void *data)
{
	for (uint32_t i = 0; i < a->n; i++)
		if (a->all[i].epoch != PARTED && !is_listed(data, a->all[i].node))
			return a->all[i].node;
	return NULL;
}

void abroad_part(struct abroad *a, int (*is_listed)(void *, const char *), void *data)
{
	const char *unlisted;
	char node[NAME_MAX_LENGTH + 1];

	while ((unlisted = find_unlisted(a, is_listed, data))) {
		strcpy(node, unlisted);
		forget(a, node, PARTED, PARTED);
	}
}

int abroad_boot(struct abroad *a, const char *node, const uint8_t boot[4])
{
	uint32_t bits = BOOT | (get32(boot) & BOOT_BITS), noted = 0;

	for (uint32_t i = 0; i < a->n; i++)
		if (strcmp(a->all[i].node, node) == 0 && a->all[i].epoch > EPOCH_MOST && a->all[i].epoch != PARTED)
			noted = a->all[i].epoch;
	if (noted == bits)
		return 1;
	forget(a, node, noted ? PARTED - 1 : 0, bits);
	return !noted;
}

uint32_t abroad_parting(const struct abroad *a, const char *node)
{
	return abroad_known(a, node, PARTED);
}

const struct abroad_epoch *abroad_of(const struct abroad *a, uint32_t number)
{
	for (uint32_t i = a->n; i-- > 0;)
		if (a->all[i].number == number)
			return &a->all[i];
	return NULL;
}
