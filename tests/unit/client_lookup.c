/* Where a program is looked for: the rules of execvp(3), on a given environment. */
#include "test.h"

#include "lookup.h"
#include <stdlib.h>

/* The candidates of `file`, given the only or first entry of the environment, are `expected`, NULL-ended. */
static void expect(const char *file, const char *entry, const char *const *expected)
{
	const char *const env[] = { "XPATH=/wrong", entry ? entry : "PATHS=/wrong", "PATH=/bin:/usr/bin", NULL };
	const char **paths = lookup_paths(file, env);
	size_t i = 0;
	for (; expected[i]; i++)
		assert_string_equal(paths[i], expected[i]);
	assert_null(paths[i]);
	free(paths);
}

#define EXPECT(file, entry, ...) expect(file, entry, (const char *const[]){ __VA_ARGS__, NULL })

static void a_slash_means_this_very_file(void **state)
{
	(void)state;
	EXPECT("./x", "PATH=/a", "./x");
	EXPECT("/x", "PATH=/a", "/x");
	EXPECT("x/", "PATH=/a", "x/");
}

static void no_name_is_not_a_directory(void **state)
{
	(void)state;
	EXPECT("", "PATH=/a", "");
}

static void every_directory_in_its_order(void **state)
{
	(void)state;
	EXPECT("x", "PATH=/a", "/a/x");
	EXPECT("x", "PATH=/b:c:/a/", "/b/x", "c/x", "/a//x");
}

static void an_empty_directory_is_the_current_one(void **state)
{
	(void)state;
	EXPECT("x", "PATH=", "x");
	EXPECT("x", "PATH=:/a", "x", "/a/x");
	EXPECT("x", "PATH=/a::/b:", "/a/x", "x", "/b/x", "x");
}

static void the_first_path_counts_and_the_default_is_bin(void **state)
{
	const char *const none[] = { NULL };
	(void)state;
	EXPECT("x", NULL, "/bin/x", "/usr/bin/x");
	const char **paths = lookup_paths("x", none);
	assert_string_equal(paths[0], "/bin/x");
	assert_string_equal(paths[1], "/usr/bin/x");
	assert_null(paths[2]);
	free(paths);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slash_means_this_very_file),
		cmocka_unit_test(no_name_is_not_a_directory),
		cmocka_unit_test(every_directory_in_its_order),
		cmocka_unit_test(an_empty_directory_is_the_current_one),
		cmocka_unit_test(the_first_path_counts_and_the_default_is_bin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
