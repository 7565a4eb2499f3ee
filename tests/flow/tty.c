/*
 * tty: a child's terminal: its size is there before the child looks, and its input ends wherever it ends.
 */
#include "flow.h"
#include <stdlib.h>
#include <unistd.h>

struct seen {
	char text[200000];
	size_t n;
};

static int note(const brood_event *ev)
{
	struct seen *s = ev->data;
	assert_true(s->n + ev->length < sizeof(s->text));
	memcpy(s->text + s->n, ev->bytes, ev->length);
	s->n += ev->length;
	s->text[s->n] = '\0';
	return 0;
}

static brood_peer *start(brood *b, struct seen *s, const char *script, unsigned rows, unsigned columns)
{
	brood_peer *p;
	*s = (struct seen){ .n = 0 };
	assert_int_equal(brood_spawn(b, &p, BROOD_ARGV("sh", "-c", script),
				     BROOD_SPAWN(.flags = BROOD_PLAIN, .on = BROOD_ON(.output = note), .data = s,
						 .stdio = BROOD_STDIO(BROOD_TTY(0), BROOD_TTY(1), BROOD_TTY(2)),
						 .tty_rows = rows, .tty_columns = columns)),
			 0);
	return p;
}

static struct seen seen;

static void test_size_from_the_start(void **state)
{
	brood *b;
	(void)state;
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	for (int i = 0; i < 20; i++) {
		brood_peer *p = start(b, &seen, "stty size", 33, 77);
		assert_int_equal(brood_wait(p, PATIENCE_MS), 0);
		assert_string_equal(seen.text, "33 77\r\n");
		brood_release(p);
	}
	brood_peer *none = NULL;
	assert_int_equal(brood_spawn(b, &none, BROOD_ARGV("true"), BROOD_SPAWN(.tty_rows = 65536)), -EINVAL);
	brood_close(b);
}

static void test_end_in_a_line(void **state)
{
	static const char *const texts[] = { "half", "whole\n", "" };
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		brood *b;
		assert_int_equal(brood_connect(&b, NULL, NULL), 0);
		brood_peer *p = start(b, &seen, "stty -echo; echo go; cat; exit 7", 0, 0);
		until(b, strstr(seen.text, "go") != NULL);
		if (texts[i][0])
			assert_int_equal(brood_write(p, 0, texts[i], strlen(texts[i])), 0);
		assert_int_equal(brood_end(p, 0), 0);
		assert_int_equal(brood_wait(p, PATIENCE_MS), 0);
		assert_int_equal(info_of(p).exit->code, 7);
		assert_non_null(strstr(seen.text, i == 0 ? "half" : i == 1 ? "whole\r\n" : "go"));
		brood_close(b);
	}
}

/* The child does not read yet, and the terminal is full: the end waits behind what waits. */
static void test_end_of_a_full_terminal(void **state)
{
	char line[1000];
	unsigned lines = 0;
	brood *b;
	(void)state;
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	brood_peer *p = start(b, &seen, "stty -echo; echo go; sleep 0.3; wc -l; exit 7", 0, 0);
	until(b, strstr(seen.text, "go") != NULL);
	while (brood_write(p, 0, line, sizeof(line)) == 0)
		lines++;
	assert_true(lines > 64);
	assert_int_equal(brood_end(p, 0), 0);
	assert_int_equal(brood_wait(p, PATIENCE_MS), 0);
	assert_int_equal(info_of(p).exit->code, 7);
	assert_int_equal(atoi(strstr(seen.text, "go") + 4), lines);
	brood_close(b);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { ON_UNIX(test_size_from_the_start), ON_UNIX(test_end_in_a_line),
					    ON_UNIX(test_end_of_a_full_terminal) };
	return RUN("tty", tests);
}
