/*
 * broker_users: users as text and as number, and lists of them.
 */
#include "test.h"
#include "users.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_numbers(void **state)
{
	struct users u = { 0 };
	uint32_t alice, bob;

	(void)state;
	alice = users_foreign(&u, "alice", "beta");
	bob = users_foreign(&u, "bob", "beta");
	assert_true(user_is_foreign(alice));
	assert_true(user_is_foreign(bob));
	assert_int_not_equal(alice, bob);
	assert_int_equal(users_foreign(&u, "alice", "beta"), alice);
	assert_int_not_equal(users_foreign(&u, "alice", "gamma"), alice);
	assert_string_equal(users_text(&u, alice), "alice@beta");
	assert_string_equal(users_foreign_text(&u, bob), "bob@beta");
	assert_null(users_foreign_text(&u, 1000));
	assert_null(users_foreign_text(&u, USERS_FOREIGN + 99));
	assert_null(users_foreign_text(&u, UINT32_MAX));
	assert_false(user_is_foreign(UINT32_MAX)); /* nobody's */
	assert_false(user_is_foreign(USERS_FOREIGN - 1));
	users_deinit(&u);
}

static void test_what_is_no_user(void **state)
{
	static const char *const bad[] = { "", "a b", "a@b", "-a", "a/b", "a\n" };
	struct users u = { 0 };
	char longest[USERS_NAME + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(users_foreign(&u, bad[i], "beta"), 0);
	assert_int_equal(users_foreign(&u, "alice", ""), 0);
	assert_int_equal(users_foreign(&u, "alice", "Beta"), 0);
	memset(longest, 'x', sizeof(longest));
	longest[USERS_NAME] = '\0';
	assert_int_equal(users_foreign(&u, longest, "beta"), 0);
	assert_true(users_foreign(&u, longest + 1, "beta") > 0);
	assert_int_equal(u.n, 1);
	users_deinit(&u);
}

static void test_there_are_not_too_many(void **state)
{
	struct users u = { 0 };
	char name[16];

	(void)state;
	for (unsigned i = 0; i < USERS_MOST; i++) {
		snprintf(name, sizeof(name), "u%u", i);
		assert_true(users_foreign(&u, name, "beta") > 0);
	}
	assert_int_equal(users_foreign(&u, "alice", "beta"), 0);
	assert_int_equal(users_foreign(&u, "u7", "beta"), USERS_FOREIGN + 7);
	users_deinit(&u);
}

/* Who has no name has digits, and the cache does not grow for ever. */
static void test_local(void **state)
{
	struct users u = { 0 };
	char text[16];

	(void)state;
	assert_string_equal(users_text(&u, 0), "root");
	assert_string_equal(users_text(&u, 0), "root");
	assert_int_equal(u.n_local, 1);
	for (uint32_t uid = 3000000; uid < 3010000; uid++) {
		snprintf(text, sizeof(text), "%u", uid);
		assert_string_equal(users_text(&u, uid), text);
		assert_true(u.n_local <= 4096);
	}
	users_deinit(&u);
}

static void test_lists(void **state)
{
	const char *list = "alice@beta bob@gamma-2 carl@b";

	(void)state;
	assert_true(users_listed(list, "alice@beta"));
	assert_true(users_listed(list, "bob@gamma-2"));
	assert_true(users_listed(list, "carl@b"));
	assert_false(users_listed(list, "alice@bet"));
	assert_false(users_listed(list, "lice@beta"));
	assert_false(users_listed(list, "bob@gamma"));
	assert_false(users_listed("", "alice@beta"));
	assert_false(users_listed(NULL, "alice@beta"));
	assert_true(users_node_listed(list, "beta"));
	assert_true(users_node_listed(list, "b"));
	assert_false(users_node_listed(list, "eta"));
	assert_false(users_node_listed(list, "gamma"));
	assert_false(users_node_listed("beta", "beta"));
	assert_false(users_node_listed(NULL, "beta"));
}

static void test_adding(void **state)
{
	char *list = NULL;

	(void)state;
	assert_int_equal(users_list_add(&list, "alice@beta", 32), 0);
	assert_int_equal(users_list_add(&list, "bob@beta", 32), 0);
	assert_int_equal(users_list_add(&list, "alice@beta", 32), 0);
	assert_string_equal(list, "alice@beta bob@beta");
	assert_int_equal(users_list_add(&list, "carl@gamma.example", 32), 0); /* the oldest goes */
	assert_string_equal(list, "bob@beta carl@gamma.example");
	assert_int_equal(users_list_add(&list, "a-name-that-is-longer-than-all-that@beta", 32), 0);
	assert_string_equal(list, "bob@beta carl@gamma.example");
	free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_what_is_no_user),
		cmocka_unit_test(test_there_are_not_too_many),
		cmocka_unit_test(test_local),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_adding),
	};
	return cmocka_run_group_tests_name("broker_users", tests, NULL, NULL);
}
