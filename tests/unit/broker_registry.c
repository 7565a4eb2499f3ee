/*
 * broker_registry: processes, families, names and watches, without a broker.
 */
#include "no_memory.h"
#include "registry.h"
#include "test.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct limits limits;
static struct accounts accounts;
static char told[1024]; /* what watchers heard: "watcher:name=holder " */

static void named(void *data, struct process *watcher, const struct name *name)
{
	size_t used = strlen(told);

	assert_string_equal(data, "data");
	snprintf(told + used, sizeof(told) - used, "%d:%s=%d ", (int)watcher->id, name->text,
		 name->holder ? (int)name->holder->id : 0);
}

static void assert_told(const char *text)
{
	assert_string_equal(told, text);
	told[0] = '\0';
}

static int begin(void **state)
{
	static struct registry r;
	static char data[] = "data";

	limits = (struct limits)LIMITS_DEFAULT;
	accounts_init(&accounts, &limits);
	registry_init(&r, &accounts, named, data);
	told[0] = '\0';
	*state = &r;
	return 0;
}

static int end(void **state)
{
	registry_deinit(*state);
	accounts_deinit(&accounts);
	return 0;
}

static void test_processes(void **state)
{
	struct registry *r = *state;
	struct process *p = registry_add(r, 7, 1000);

	assert_ptr_equal(registry_find(r, 7), p);
	assert_null(registry_find(r, 8));
	assert_null(registry_find(r, 0));
	assert_true(p->id == 7 && p->uid == 1000);
	registry_remove(r, p);
	assert_null(registry_find(r, 7));
}

static void test_titles_are_cut_between_characters(void **state)
{
	struct process *p = registry_add(*state, 1, 0);

	registry_entitle(p, "short");
	assert_string_equal(p->title, "short");
	registry_entitle(p, "0123456789012345678901\xc3\xa4");
	assert_string_equal(p->title, "0123456789012345678901");
	registry_entitle(p, "012345678901234567890\xc3\xa4");
	assert_string_equal(p->title, "012345678901234567890\xc3\xa4");
}

static void test_families(void **state)
{
	struct registry *r = *state;
	struct process *a = registry_add(r, 1, 0), *b = registry_add(r, 2, 0), *c = registry_add(r, 3, 0);

	registry_relate(b, a);
	registry_relate(c, a);
	assert_true(registry_related(a, b) && registry_related(b, a));
	assert_false(registry_related(b, c));
	registry_relate(c, b);
	assert_true(registry_related(b, c));
	assert_false(registry_related(a, c));
	registry_remove(r, b);
	assert_null(c->parent);
	assert_true(LIST_EMPTY(&a->children));
}

static void test_keepers(void **state)
{
	struct registry *r = *state;
	struct process *a = registry_add(r, 1, 0), *b = registry_add(r, 2, 0), *child = registry_add(r, 3, 0);

	assert_int_equal(registry_keep(child, NULL), 0);
	for (int i = 1; i <= 2; i++) { /* the child's estate, the keeper's */
		calloc_fails = i;
		assert_int_equal(registry_keep(child, a), -ENOMEM);
		assert_true(!child->estate && !a->estate);
	}
	assert_int_equal(registry_keep(child, a), 0);
	assert_int_equal(registry_keep(child, a), 0);
	assert_ptr_equal(estate_of(child)->keeper, a);
	calloc_fails = 1;
	assert_int_equal(registry_keep(child, b), -ENOMEM);
	assert_ptr_equal(estate_of(child)->keeper, a);
	assert_int_equal(registry_keep(child, b), 0);
	assert_ptr_equal(estate_of(child)->keeper, b);
	assert_null(a->estate);
	assert_int_equal(registry_keep(a, b), 0);
	registry_remove(r, a);
	assert_ptr_equal(LIST_FIRST(&estate_of(b)->kept), child->estate);
	registry_remove(r, b);
	assert_null(child->estate);
}

/* Who has nothing has no estate, whatever it had before. */
static void test_estates_come_and_go(void **state)
{
	struct registry *r = *state;
	struct process *p = registry_add(r, 1, 0);

	assert_null(p->estate);
	assert_int_equal(estate_of(p)->n_names, 0);
	assert_int_equal(registry_name_take(r, p, "name"), 0);
	assert_int_equal(registry_watch(r, p, "watched"), 0);
	registry_name_drop(r, p, "name");
	assert_non_null(p->estate);
	registry_unwatch(r, p, "watched");
	assert_null(p->estate);
	assert_int_equal(registry_name_take(r, p, "name"), 0);
	registry_name_give_up(r, p, "name");
	assert_string_equal(estate_of(p)->had, "name"); /* that is remembered */
}

static int take_name(struct registry *r, struct process *p)
{
	return registry_name_take(r, p, "name");
}

static int watch_name(struct registry *r, struct process *p)
{
	return registry_watch(r, p, "name");
}

static int grant(struct registry *r, struct process *p)
{
	return registry_grant(r, p, 1, 1);
}

/* Whichever allocation fails, nothing changes. How many there are, until it succeeds. */
static int without_memory(struct registry *r, int (*change)(struct registry *, struct process *))
{
	struct process *p = registry_add(r, 1, 0);
	int i = 0, error;

	do {
		calloc_fails = ++i;
		error = change(r, p);
		assert_true(error == 0 || error == -ENOMEM);
		assert_true(error == 0 || (!p->estate && !r->names));
	} while (error < 0);
	calloc_fails = 0;
	registry_remove(r, p);
	return i - 1;
}

static void test_estates_without_memory(void **state)
{
	assert_true(without_memory(*state, take_name) >= 3);  /* an account, an estate, a name */
	assert_true(without_memory(*state, watch_name) >= 3); /* a name, an estate, a watch */
	assert_true(without_memory(*state, grant) >= 1);
}

static void test_blocks(void **state)
{
	struct process *p = registry_add(*state, 1, 0);

	assert_int_equal(registry_grant(*state, p, 100, 10), 0);
	assert_int_equal(registry_grant(*state, p, 200, 1), 0);
	assert_true(registry_block_of(p, 99) == 0);
	assert_true(registry_block_of(p, 100) == 100);
	assert_true(registry_block_of(p, 109) == 100);
	assert_true(registry_block_of(p, 110) == 0);
	assert_true(registry_block_of(p, 200) == 200);
	assert_true(registry_block_of(p, 201) == 0);
	for (unsigned i = 0; i < limits.id_blocks_per_process; i++)
		assert_int_equal(registry_grant(*state, p, 1000 + 10 * i, 10), 0);
	assert_true(registry_block_of(p, 100) == 0); /* forgotten */
	assert_true(registry_block_of(p, 1000) == 1000);
	limits.id_blocks_per_process = 1; /* there are more, and there may be no more */
	assert_int_equal(registry_grant(*state, p, 5, 1), 0);
	assert_true(registry_block_of(p, 1000) == 0);
	assert_true(registry_block_of(p, 1010) == 1010);
	assert_true(registry_block_of(p, 5) == 5);
}

static void test_names(void **state)
{
	struct registry *r = *state;
	struct process *a = registry_add(r, 1, 1000), *b = registry_add(r, 2, 1000), *c = registry_add(r, 3, 1001);
	char text[16];

	assert_int_equal(registry_name_take(r, a, "resize"), 0);
	assert_int_equal(registry_name_take(r, a, "resize"), 0);
	assert_int_equal(registry_name_take(r, b, "resize"), -EADDRINUSE);
	assert_int_equal(registry_name_take(r, b, "Resize"), -EINVAL);
	assert_int_equal(registry_name_take(r, b, ""), -EINVAL);
	/* Another user's is another name. */
	assert_int_equal(registry_name_take(r, c, "resize"), 0);
	assert_ptr_equal(registry_name_holder(r, 1000, "resize"), a);
	assert_ptr_equal(registry_name_holder(r, 1001, "resize"), c);
	assert_null(registry_name_holder(r, 1002, "resize"));
	registry_name_drop(r, b, "resize"); /* not b's */
	assert_ptr_equal(registry_name_holder(r, 1000, "resize"), a);
	assert_int_equal(registry_name_take(r, a, "second"), 0);
	assert_string_equal(registry_names(a, text, sizeof(text)), "second resize");
	assert_string_equal(registry_names(a, text, 10), "second");
	registry_name_drop(r, a, "");
	assert_null(registry_name_holder(r, 1000, "resize"));
	assert_null(registry_name_holder(r, 1000, "second"));
	assert_int_equal(registry_name_take(r, b, "resize"), 0);
	registry_remove(r, b);
	assert_null(registry_name_holder(r, 1000, "resize"));
}

static void test_names_are_limited(void **state)
{
	struct registry *r = *state;
	struct process *a = registry_add(r, 1, 0);
	char name[16];

	for (unsigned i = 0; i < limits.names_per_process; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(registry_name_take(r, a, name), 0);
	}
	assert_int_equal(registry_name_take(r, a, "more"), -ENOSPC);
	assert_int_equal(registry_name_take(r, a, "n0"), 0);
	registry_name_drop(r, a, "n1");
	assert_int_equal(registry_name_take(r, a, "more"), 0);
}

static void test_names_of_a_user_are_limited(void **state)
{
	struct registry *r = *state;
	struct process *a = registry_add(r, 1, 1000), *b = registry_add(r, 2, 1000), *c = registry_add(r, 3, 1001);

	limits.names_per_user = 2;
	assert_int_equal(registry_name_take(r, a, "one"), 0);
	assert_int_equal(registry_name_take(r, a, "not a name"), -EINVAL); /* counts as none */
	assert_int_equal(registry_name_take(r, b, "two"), 0);
	assert_int_equal(registry_name_take(r, b, "two"), 0);
	assert_int_equal(registry_name_take(r, b, "three"), -EDQUOT);
	assert_int_equal(registry_name_take(r, b, "one"), -EADDRINUSE);
	assert_int_equal(registry_watch(r, b, "four"), 0); /* watching is not holding */
	assert_int_equal(registry_name_take(r, c, "three"), 0);
	registry_remove(r, a);
	assert_int_equal(registry_name_take(r, b, "three"), 0);
	assert_int_equal(registry_name_take(r, b, "five"), -EDQUOT);
	limits.names_per_user = 3;
	assert_int_equal(registry_name_take(r, b, "five"), 0);
	limits.names_per_user = 1; /* who has more keeps them */
	assert_ptr_equal(registry_name_holder(r, 1000, "five"), b);
	registry_name_drop(r, b, "five");
	registry_name_drop(r, b, "three");
	assert_int_equal(registry_name_take(r, b, "three"), -EDQUOT);
}

static void test_watches(void **state)
{
	struct registry *r = *state;
	struct process *a = registry_add(r, 1, 0), *b = registry_add(r, 2, 0), *w = registry_add(r, 9, 0);

	assert_int_equal(registry_watch(r, w, "resize"), 0);
	assert_told("9:resize=0 ");
	assert_int_equal(registry_watch(r, w, "No Name"), -EINVAL);
	assert_told("");
	assert_int_equal(registry_name_take(r, a, "resize"), 0);
	assert_told("9:resize=1 ");
	assert_int_equal(registry_watch(r, w, "resize"), 0);
	assert_told("9:resize=1 ");
	registry_name_take(r, b, "resize");
	registry_name_take(r, a, "resize");
	assert_told("");
	registry_remove(r, a);
	assert_told("9:resize=0 ");
	registry_unwatch(r, w, "resize");
	registry_name_take(r, b, "resize");
	assert_told("");
	assert_int_equal(registry_watch(r, w, "resize"), 0);
	assert_told("9:resize=2 ");
	registry_remove(r, w);
	registry_name_drop(r, b, "resize");
	assert_told("");
	assert_null(r->names); /* nothing is kept of names that nobody holds or watches */
}

static void test_watches_are_limited(void **state)
{
	struct registry *r = *state;
	struct process *w = registry_add(r, 1, 0);
	char name[16];

	for (unsigned i = 0; i < limits.watches_per_process; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(registry_watch(r, w, name), 0);
		told[0] = '\0';
	}
	assert_int_equal(registry_watch(r, w, "more"), -ENOSPC);
	assert_told("");
	assert_null(registry_name_holder(r, 0, "more"));
}

/* The section [name "shared"] for user 1's processes, with these users. */
static void share(struct registry *r, struct policy *policy, const char *users)
{
	struct config_named section = {
		.section = "name", .name = "shared", .owner = "1", .users = (char *)(uintptr_t)users
	};
	struct config config = { .named = &section, .n_named = 1 };
	char why[256];

	assert_int_equal(policy_make(policy, &config, 0, why, sizeof(why)), 0);
	r->policy = policy;
}

static void test_shared_names(void **state)
{
	struct registry *r = *state;
	struct policy policy;
	struct process *owner = registry_add(r, 1, 1), *user = registry_add(r, 2, 2), *other = registry_add(r, 3, 3);

	share(r, &policy, "2");
	for (struct process *p = owner;; p = p == owner ? user : other) {
		assert_int_equal(registry_watch(r, p, "shared"), 0);
		if (p == other)
			break;
	}
	assert_told("1:shared=0 2:shared=0 3:shared=0 ");
	assert_int_equal(registry_name_take(r, user, "shared"), -EACCES);
	assert_int_equal(registry_name_take(r, other, "shared"), -EACCES);
	assert_int_equal(registry_name_take(r, owner, "shared"), 0);
	assert_told("2:shared=1 1:shared=1 ");
	assert_ptr_equal(registry_name_holder(r, 2, "shared"), owner);
	assert_null(registry_name_holder(r, 3, "shared"));
	assert_true(registry_offers(r, owner, 2) && registry_offers(r, owner, 1));
	assert_false(registry_offers(r, owner, 3) || registry_offers(r, user, 2));
	registry_unwatch(r, user, "shared");
	registry_name_drop(r, owner, "shared");
	assert_told("1:shared=0 ");
	assert_false(registry_offers(r, owner, 2));
	r->policy = &policy_default;
	policy_free(&policy);
}

/* Whoever means another name by what it watches is told of that, once. */
static void test_review(void **state)
{
	struct registry *r = *state;
	struct policy policy, other;
	struct process *owner = registry_add(r, 1, 1), *user = registry_add(r, 2, 2), *watcher = registry_add(r, 3, 2);

	assert_int_equal(registry_name_take(r, owner, "shared"), 0);
	assert_int_equal(registry_name_take(r, user, "shared"), 0);
	assert_int_equal(registry_name_take(r, user, "own"), 0);
	assert_int_equal(registry_watch(r, watcher, "a"), 0);
	assert_int_equal(registry_watch(r, watcher, "shared"), 0);
	assert_int_equal(registry_watch(r, watcher, "own"), 0);
	assert_told("3:a=0 3:shared=2 3:own=2 ");
	assert_null(registry_name_lost(r, user));
	share(r, &policy, "2");
	assert_string_equal(registry_name_lost(r, user), "shared");
	assert_null(registry_name_lost(r, owner));
	registry_name_drop(r, user, "shared");
	assert_told("3:shared=0 ");
	assert_null(registry_name_lost(r, user));
	registry_review(r);
	assert_told("3:shared=1 ");
	registry_review(r);
	assert_told("");
	assert_int_equal(estate_of(watcher)->n_watches, 3);
	registry_name_drop(r, owner, "shared");
	assert_int_equal(registry_name_take(r, owner, "shared"), 0);
	assert_told("3:shared=0 3:shared=1 ");
	share(r, &other, "");
	registry_review(r);
	assert_told("3:shared=0 ");
	registry_name_drop(r, owner, "shared");
	assert_told("");
	registry_unwatch(r, watcher, "shared");
	assert_int_equal(estate_of(watcher)->n_watches, 2);
	r->policy = &policy_default;
	policy_free(&policy);
	policy_free(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_processes, begin, end),
		cmocka_unit_test_setup_teardown(test_titles_are_cut_between_characters, begin, end),
		cmocka_unit_test_setup_teardown(test_families, begin, end),
		cmocka_unit_test_setup_teardown(test_keepers, begin, end),
		cmocka_unit_test_setup_teardown(test_estates_come_and_go, begin, end),
		cmocka_unit_test_setup_teardown(test_estates_without_memory, begin, end),
		cmocka_unit_test_setup_teardown(test_blocks, begin, end),
		cmocka_unit_test_setup_teardown(test_names, begin, end),
		cmocka_unit_test_setup_teardown(test_names_are_limited, begin, end),
		cmocka_unit_test_setup_teardown(test_names_of_a_user_are_limited, begin, end),
		cmocka_unit_test_setup_teardown(test_watches, begin, end),
		cmocka_unit_test_setup_teardown(test_watches_are_limited, begin, end),
		cmocka_unit_test_setup_teardown(test_shared_names, begin, end),
		cmocka_unit_test_setup_teardown(test_review, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
