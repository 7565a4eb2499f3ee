/*
 * Hellos at the rendezvous, in two helpings that the first byte cuts: what is taken for a hello is one, names nothing
 * beyond the directory, and does not depend on the cut.
 */
#include "knock.h"
#include "target.h"
#include <string.h>

struct found {
	unsigned hellos, others;
	char last[KNOCK_NAME];
};

static void check_name(const char *name)
{
	char path[KNOCK_PATH];

	must(strlen(name) < KNOCK_NAME);
	must(strncmp(name, KNOCK_PREFIX, strlen(KNOCK_PREFIX)) == 0);
	must(!strchr(name, '/') && !strchr(name, '.'));
	must(knock_is_pair(knock_path(name, KNOCK_UP, path)) && knock_is_pair(knock_path(name, KNOCK_DOWN, path)));
}

static void feed(struct knock_reader *r, const char *at, const char *end, struct found *f)
{
	char name[KNOCK_NAME];
	int one;

	while ((one = knock_next(r, &at, end, name)) != 0) {
		f->hellos += one == 1;
		f->others += one != 1;
		if (one != 1)
			continue;
		check_name(name);
		memcpy(f->last, name, sizeof(name));
	}
	must(at == end);
	must(r->n <= sizeof(r->line));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char good[] = "\nbrood 1 fifo-good\n";
	struct knock_reader whole = { .n = 0 }, cut = { .n = 0 };
	struct found a = { 0 }, b = { 0 };
	const char *text = (const char *)data + 1;
	size_t at;

	if (n == 0)
		return 0;
	at = n > 1 ? data[0] % n : 0;
	feed(&whole, text, text + (n - 1), &a);
	feed(&cut, text, text + at, &b);
	feed(&cut, text + at, text + (n - 1), &b);
	must(a.hellos == b.hellos && a.others == b.others && strcmp(a.last, b.last) == 0);
	feed(&cut, good, good + sizeof(good) - 1, &b);
	must(strcmp(b.last, "fifo-good") == 0); /* whatever was before */
	return 0;
}
