/*
 * terminal: children that have a terminal of their own.
 */
#include "flow.h"
#include "pattern.h"
#include <stdio.h>
#include <unistd.h>

#define TERMINAL BROOD_STDIO(BROOD_TTY(0), BROOD_TTY(1), BROOD_TTY(2))

static const char *shown(const struct family *f)
{
	return f->d.output[0].text;
}

/* All three are the same terminal, the controlling one of a session that the child leads. */
static void test_it_is_a_terminal(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, PLAIN("terminal"), .stdio = TERMINAL);
	until(f.b, strchr(shown(&f), '\n'));
	assert_string_equal(shown(&f), "111 1 1\r\n");
	assert_int_equal(brood_tty_size(f.kid, 33, 111), 0);
	until(f.b, strstr(shown(&f), "33x111"));
	assert_int_equal(brood_tty_size(f.kid, 50, 200), 0);
	until(f.b, strstr(shown(&f), "50x200"));
	assert_int_equal(brood_tty_size(f.kid, 70000, 1), -EINVAL);
	assert_int_equal(f.d.output[1].bytes, 0); /* it bears the first number */
	assert_int_equal(brood_kill(f.kid, SIGKILL, BROOD_TREE), 0);
	family_closes(&f);
	assert_int_equal(brood_tty_size(f.kid, 1, 1), -ESRCH);
	assert_int_equal(f.d.output[0].ends, 1);
	family_end(&f);
}

/* What is written is echoed, edited and read a line at a time; any of its numbers does for writing. */
static void test_a_line(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, BROOD_ARGV("sh", "-c", "read line; echo \"<$line>\""), .stdio = TERMINAL);
	assert_int_equal(brood_write(f.kid, 0, "hellp\177o", 7), 0); /* with a correction */
	assert_int_equal(brood_write(f.kid, 1, "\n", 1), 0);
	family_closes(&f);
	assert_non_null(strstr(shown(&f), "<hello>\r\n"));
	assert_int_equal(f.d.exit.code, 0);
	family_end(&f);
}

/* The end of the input, behind what was written before, and more than once. */
static void test_end(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, BROOD_ARGV("sh", "-c", "cat >/dev/null; echo one; cat >/dev/null; echo two"),
		    .stdio = TERMINAL);
	assert_int_equal(brood_write(f.kid, 0, "text\n", 5), 0);
	assert_int_equal(brood_end(f.kid, 0), 0);
	until(f.b, strstr(shown(&f), "one"));
	assert_int_equal(brood_end(f.kid, 0), 0);
	family_closes(&f);
	assert_non_null(strstr(shown(&f), "two"));
	family_end(&f);
}

/* A signal from the keyboard. */
static void test_interrupt(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, PLAIN("terminal"), .stdio = TERMINAL);
	until(f.b, strchr(shown(&f), '\n'));
	assert_int_equal(brood_write(f.kid, 0, "\003", 1), 0);
	family_closes(&f);
	assert_int_equal(f.d.exit.signo, SIGINT);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_ITSELF);
	family_end(&f);
}

/* Some of them may be something else. */
static void test_only_stdin(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, BROOD_ARGV("sh", "-c", "test -t 0 && ! test -t 1 && tty </dev/tty"),
		    .stdio = BROOD_STDIO(BROOD_TTY(0), BROOD_PIPE(1)));
	family_closes(&f);
	assert_int_equal(f.d.exit.code, 0);
	assert_non_null(strstr(f.d.output[1].text, "/dev/"));
	family_end(&f);
}

/* What it wrote before its end comes before EXIT, though the kernel hands it on later and in portions. */
static int check_before_exit(const brood_event *e)
{
	const struct diary *d = e->data;
	if (e->type == BROOD_EVENT_EXIT)
		assert_int_equal(d->output[0].bytes, *(const uint64_t *)d->data);
	return 0;
}

static void test_output_before_exit(void **state)
{
	static uint64_t lengths[] = { 3000, 12000 };
	char text[24];
	(void)state;
	for (int i = 0; i < 200; i++) {
		struct family f = { .d.also = check_before_exit, .d.data = &lengths[i % 2] };
		snprintf(text, sizeof text, "%llu", (unsigned long long)lengths[i % 2]);
		plain_begin(&f, PLAIN("text", text), .stdio = TERMINAL);
		if (i % 3)
			until_polled(NULL, process_state(info_of(f.kid).pid) == 'Z');
		family_closes(&f);
		assert_int_equal(f.d.exit.code, 0);
		assert_int_equal(f.d.output[0].ends, 1);
		family_end(&f);
	}
}

/* More than the kernel keeps for a terminal: it waits for the parent, and nothing is lost. */
static void test_much_output(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, BROOD_ARGV("sh", "-c", "\"$0\" text 1000000; read line", PLAIN_PROGRAM), .stdio = TERMINAL);
	until(f.b, f.d.output[0].bytes >= 1000000);
	assert_int_equal(brood_write(f.kid, 0, "\n", 1), 0);
	family_closes(&f);
	assert_int_equal(f.d.output[0].bytes, 1000000 + 2);
	family_end(&f);
}

/* Children with a terminal end with their parent's handle, though they lead a session. */
static void test_ends_with_the_handle(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, PLAIN("terminal"), .stdio = TERMINAL, .grace_ms = 50);
	until(f.b, strchr(shown(&f), '\n'));
	pid_t pid = info_of(f.kid).pid;
	family_end(&f);
	assert_int_equal(process_state(pid), 0);
}

static void test_with_a_channel(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_connect(&f);
	family_start(&f, KID("burst", "100", "1000"), .stdio = TERMINAL);
	family_closes(&f);
	assert_int_equal(diary_messages(&f.d), 100);
	assert_int_equal(f.d.exit.code, 0);
	family_end(&f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_UNIX(test_it_is_a_terminal),
		ON_UNIX(test_a_line),
		ON_UNIX(test_end),
		ON_UNIX(test_interrupt),
		ON_UNIX(test_only_stdin),
		ON_UNIX(test_output_before_exit),
		ON_UNIX(test_much_output),
		ON_UNIX(test_ends_with_the_handle),
		ON_ALL_HERE(test_with_a_channel),
	};
	return RUN("terminal", tests);
}
