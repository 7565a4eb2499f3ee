/* The table of reasons: known names have their row, unknown ones a harmless one. */
#include "test.h"

#include "error.h"
#include <errno.h>

static void known_names_have_their_row(void **state)
{
	static const struct {
		const char *name;
		int code;
	} some[] = { { "name.taken", -EADDRINUSE }, { "deadline", -ETIMEDOUT },    { "frame.magic", -EPROTO },
		     { "unanswered", -ENOMSG },     { "spawn.exec", -ENOENT },     { "hello.denied", -EACCES },
		     { "peer.exited", -ESRCH },     { "broker.lost", -ECONNRESET } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(some) / sizeof(*some); i++) {
		const struct error_reason *r = error_reason(some[i].name);

		assert_string_equal(r->name, some[i].name);
		assert_int_equal(r->code, some[i].code);
		assert_true(r->hint[0] != '\0');
	}
}

static void unknown_names_are_other(void **state)
{
	(void)state;
	assert_string_equal(error_reason("no.such.name")->name, "other");
	assert_string_equal(error_reason("")->name, "other");
	assert_int_equal(error_reason("no.such.name")->code, -EREMOTEIO);
	assert_string_equal(error_reason("no.such.name")->hint, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_names_have_their_row),
		cmocka_unit_test(unknown_names_are_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
