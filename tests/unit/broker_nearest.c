/* broker_nearest: what is meant by a word that is wrong. */
#include "nearest.h"
#include "test.h"

static const char *const words[] = { "idle", "away", "node", "names-per-user", "names-per-process", "warn", "error" };

static void test_words(void **state)
{
	static const struct {
		const char *written, *meant;
	} cases[] = { { "idle", "idle" },
		      { "idl", "idle" },
		      { "idel", "idle" },
		      { "iddle", "idle" },
		      { "odle", "idle" },
		      { "anmse-epr-user", "names-per-user" },
		      { "nodes", "node" },
		      { "wran", "warn" },
		      { "Error", "error" },
		      { "name-per-users", "names-per-user" },
		      { "namesperprocess", "names-per-process" },
		      { "names", "names-per-user" },
		      { "na", NULL },
		      { "sessions", NULL },
		      { "xyzw", NULL },
		      { "", NULL },
		      { "a-word-that-is-longer-than-any-that-there-is-in-any-table-of-this-broker-by-far", NULL } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct nearest nearest = { .word = cases[i].written };

		for (size_t j = 0; j < sizeof(words) / sizeof(*words); j++)
			nearest_try(&nearest, words[j]);
		if (cases[i].meant)
			assert_string_equal(nearest.best ? nearest.best : "", cases[i].meant);
		else
			assert_null(nearest.best);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_words) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
