/*
 * broker_policy: which words are which users, and who may do what by which lines. The users and groups of this host are those
 * of the table here, whatever the machine has.
 */
#include "policy.h"
#include "test.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The user database.
 */

enum { ROOT = 0, BROKER = 100, ALICE = 1000, BOB, CAROL, DAVE, NOBODY = 4711 };
#define FOREIGN_ALICE USERS_FOREIGN
#define FOREIGN_EVE (USERS_FOREIGN + 1)

static struct passwd users[] = {
	{ .pw_name = "root", .pw_uid = ROOT, .pw_gid = 0 },
	{ .pw_name = "alice", .pw_uid = ALICE, .pw_gid = 50 },
	{ .pw_name = "bob", .pw_uid = BOB, .pw_gid = 51 },
	{ .pw_name = "carol", .pw_uid = CAROL, .pw_gid = 60 },
	{ .pw_name = "dave", .pw_uid = DAVE, .pw_gid = 51 },
	{ .pw_name = "large", .pw_uid = USERS_FOREIGN, .pw_gid = 60 },
	{ .pw_name = "dom\\svc", .pw_uid = 2000, .pw_gid = 70 },
};
#define USERS (sizeof(users) / sizeof(*users))

static char *staff[] = { "bob", "gone", "large", NULL }, *nobody[] = { NULL };
static struct group groups[] = {
	{ .gr_name = "staff", .gr_gid = 60, .gr_mem = staff }, /* and Carol, whose first it is */
	{ .gr_name = "empty", .gr_gid = 61, .gr_mem = nobody },
};
static size_t at_user, at_group;
static int failure; /* of the next look-up */

struct passwd *getpwnam(const char *name)
{
	errno = failure;
	for (size_t i = 0; !failure && i < USERS; i++)
		if (strcmp(users[i].pw_name, name) == 0)
			return &users[i];
	return NULL;
}

void setpwent(void)
{
	at_user = 0;
}

void endpwent(void)
{
}

/* Each entry in the same place, as the real one has it. */
struct passwd *getpwent(void)
{
	static struct passwd entry;
	static char name[32];

	if (at_user == USERS)
		return NULL;
	entry = users[at_user++];
	strcpy(name, entry.pw_name);
	entry.pw_name = name;
	return &entry;
}

struct group *getgrnam(const char *name)
{
	errno = failure;
	for (size_t i = 0; !failure && i < 2; i++)
		if (strcmp(groups[i].gr_name, name) == 0)
			return &groups[i];
	return NULL;
}

void setgrent(void)
{
	at_group = 0;
}

void endgrent(void)
{
}

struct group *getgrent(void)
{
	static struct group entry;
	static char name[32];

	if (at_group == 2)
		return NULL;
	entry = groups[at_group++];
	strcpy(name, entry.gr_name);
	entry.gr_name = name;
	return &entry;
}

static const char *text_of(void *data, uint32_t uid)
{
	(void)data;
	return uid == FOREIGN_ALICE ? "alice@beta" : uid == FOREIGN_EVE ? "eve@gamma" : NULL;
}

/*
 * Words.
 */

static const uint32_t everybody[] = { ROOT, BROKER, ALICE, BOB, CAROL, DAVE, 2000, NOBODY, FOREIGN_ALICE, FOREIGN_EVE };

/* Those of everybody who are in it, "" for none. */
static char *members(const struct who_set *set, char to[256])
{
	to[0] = '\0';
	for (size_t i = 0; i < sizeof(everybody) / sizeof(*everybody); i++)
		if (who_set_has(set, everybody[i], text_of(NULL, everybody[i])))
			snprintf(to + strlen(to), 256 - strlen(to), "%s%u", to[0] ? " " : "",
				 everybody[i] >= USERS_FOREIGN ? everybody[i] - USERS_FOREIGN + 1 : everybody[i]);
	return to; /* foreign Alice is 1, foreign Eve 2 */
}

static void test_lists(void **state)
{
	static const struct {
		const char *list, *means; /* "!" and the reason */
	} cases[] = {
		{ "", "" },
		{ " \t", "" },
		{ "alice", "1000" },
		{ " alice ,bob\t, 4711 ", "1000 1001 4711" },
		{ "0", "0" },
		{ "dom\\svc", "2000" },
		{ "*", "0 100 1000 1001 1002 1003 2000 4711" }, /* nobody of other nodes */
		{ "*, alice", "0 100 1000 1001 1002 1003 2000 4711" },
		{ "@staff", "1001 1002" },
		{ "@empty", "" },
		{ "alice@beta", "1" },
		{ "alice@gamma", "" },
		{ "alice@bet", "" },
		{ "lice@beta", "" },
		{ "*@beta", "1" },
		{ "*@gamma", "2" },
		{ "*@ta", "" },
		{ "*@*", "1 2" },
		{ "*, *@gamma", "0 100 1000 1001 1002 1003 2000 4711 2" },
		/* what is none */
		{ "alcie", "!there is no user \"alcie\"; did you mean alice?" },
		{ "zaphod", "!there is no user \"zaphod\"; write one that exists, or a user's number" },
		{ "bob, alcie", "!there is no user \"alcie\"; did you mean alice?" },
		{ "@stuff", "!there is no group \"stuff\"; did you mean staff?" },
		{ "@alice", "!there is no group \"alice\"; write one that exists, or a user's number" },
		{ "alice bob", "!\"alice bob\" is not one user; put commas between users" },
		{ "alice,", "!there is nobody between two signs; write a user, or remove one sign" },
		{ ",alice", "!there is nobody between two signs; write a user, or remove one sign" },
		{ "alice,,bob", "!there is nobody between two signs; write a user, or remove one sign" },
		{ ",", "!there is nobody between two signs; write a user, or remove one sign" },
		{ "alice > bob", "!\"alice > bob\" is not one user; put commas between users" },
		{ "*x", "!there is no user \"*x\"; write one that exists, or a user's number" },
		{ "large", "!there is no user \"large\"; write one that exists, or a user's number" },
		{ "4026531840", "!there is no user \"4026531840\"; write one that exists, or a user's number" },
		{ "4294968296", "!there is no user \"4294968296\"; write one that exists, or a user's number" },
		{ "-1", "!there is no user \"-1\"; write one that exists, or a user's number" },
		{ "01000", "!there is no user \"01000\"; write one that exists, or a user's number" },
		{ "@", "!\"@\" names no user or group; write USER@NODE, or @GROUP" },
		{ "@staff@beta", "!\"@staff@beta\" names no user or group; write USER@NODE, or @GROUP" },
		{ "alice@", "!\"\" is not the name of a node; write USER@NODE" },
		{ "alice@Beta", "!\"Beta\" is not the name of a node; write USER@NODE" },
		{ "alice@beta@gamma", "!\"beta@gamma\" is not the name of a node; write USER@NODE" },
		{ "alice@*", "!\"alice@*\" is nobody; write USER@NODE, *@NODE, or *@*" },
		{ "a*@beta", "!\"a*@beta\" is nobody; write USER@NODE, *@NODE, or *@*" },
		{ "**@beta", "!\"**@beta\" is nobody; write USER@NODE, *@NODE, or *@*" },
	};
	char text[256], why[256];
	struct who_set set;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int r = who_set_make(&set, cases[i].list, why, sizeof(why));

		assert_int_equal(who_check_list(cases[i].list, why, sizeof(why)), r);
		if (cases[i].means[0] == '!')
			assert_string_equal(why, cases[i].means + 1);
		else
			assert_string_equal(members(&set, text), cases[i].means);
		assert_int_equal(r, cases[i].means[0] == '!' ? -EINVAL : 0);
		who_set_free(&set);
	}
	assert_int_equal(who_set_make(&set, "*@*", why, sizeof(why)), 0);
	assert_false(who_set_has(&set, USERS_FOREIGN + 7, NULL)); /* whom nobody knows */
	who_set_free(&set);
}

static void test_long_words(void **state)
{
	char list[400], why[256];

	(void)state;
	memset(list, 'a', sizeof(list));
	list[sizeof(list) - 1] = '\0';
	assert_int_equal(who_check_list(list, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "is too long"));
	assert_int_equal(who_check_user(list, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "is too long"));
	assert_int_equal(who_check_pairs(list, why, sizeof(why)), -EINVAL);
	memcpy(list + 150, " > bob", 6);
	list[156] = '\0';
	assert_int_equal(who_check_pairs(list, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "is too long"));
}

static void test_one_user(void **state)
{
	static const char *const wrong[] = { "",           " ",         "*",     "@staff", "alice@beta",
					     "alice, bob", "alice bob", "a > b", "alcie" };
	char why[256];

	(void)state;
	assert_int_equal(who_check_user("alice", why, sizeof(why)), 0);
	assert_int_equal(who_check_user("4711", why, sizeof(why)), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(who_check_user(wrong[i], why, sizeof(why)), -EINVAL);
}

static void test_pairs(void **state)
{
	static const struct {
		const char *list, *why;
		unsigned n;
	} cases[] = {
		{ "", NULL, 0 },
		{ "alice>bob", NULL, 1 },
		{ "alice > bob, @staff > *, *@beta>4711", NULL, 3 },
		{ "alice", "\"alice\" is not a pair; write A > B", 0 },
		{ "alice > bob > carol", "\"alice > bob > carol\" is not a pair; write A > B", 0 },
		{ "alice > bob,", "\"\" is not a pair; write A > B", 0 },
		{ "alice >", "there is nobody between two signs; write a user, or remove one sign", 0 },
		{ "> bob", "there is nobody between two signs; write a user, or remove one sign", 0 },
		{ ">", "there is nobody between two signs; write a user, or remove one sign", 0 },
		{ "alice carol > bob", "\"alice carol\" is not one user; put commas between users", 0 },
		{ "alice > bbo", "there is no user \"bbo\"; did you mean bob?", 0 },
	};
	struct who_pair *pairs;
	char why[256];
	unsigned n;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int r = who_pairs_make(cases[i].list, &pairs, &n, why, sizeof(why));

		assert_int_equal(r, cases[i].why ? -EINVAL : 0);
		if (cases[i].why)
			assert_string_equal(why, cases[i].why);
		else
			assert_int_equal(n, cases[i].n);
		who_pairs_free(pairs, n);
	}
}

/* It is not known who that is: that is not the same as nobody. */
static void test_database_fails(void **state)
{
	char why[256];

	(void)state;
	failure = EIO;
	assert_int_equal(who_check_list("alice", why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "user \"alice\" cannot be looked up: Input/output error"));
	assert_int_equal(who_check_list("@staff", why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "group \"staff\" cannot be looked up: Input/output error"));
	assert_int_equal(who_check_list("1000", why, sizeof(why)), 0);
	failure = 0;
}

/*
 * Answers.
 */

static struct config config;
static struct config_named named[2];
static struct policy policy;

static void make(const char *connect, const char *names, const char *send, const char *parent, const char *list)
{
	char why[256] = "";

	policy_free(&policy);
	config.policy =
		(struct config_policy){ (char *)(uintptr_t)connect, (char *)(uintptr_t)names, (char *)(uintptr_t)send,
					(char *)(uintptr_t)parent, (char *)(uintptr_t)list };
	assert_int_equal(policy_make(&policy, &config, BROKER, why, sizeof(why)), 0);
	policy.abroad = text_of;
}

static void test_connect_and_register(void **state)
{
	(void)state;
	for (const struct policy *p = &policy_default;; p = &policy) {
		if (p == &policy)
			make(NULL, NULL, NULL, NULL, NULL);
		assert_true(policy_may_connect(p, ALICE) && policy_may_connect(p, NOBODY) &&
			    policy_may_connect(p, ROOT));
		assert_false(policy_may_connect(p, FOREIGN_ALICE)); /* by itself; over a link is another matter */
		assert_false(policy_may_connect(p, UINT32_MAX));
		assert_true(policy_may_hold(p, ALICE, "x") && policy_may_hold(p, NOBODY, "x"));
		if (p == &policy)
			break;
	}
	make("alice", "@staff", NULL, NULL, NULL);
	assert_true(policy_may_connect(&policy, ALICE));
	assert_false(policy_may_connect(&policy, BOB));
	assert_true(policy_may_connect(&policy, ROOT) && policy_may_connect(&policy, BROKER));
	assert_true(policy_may_hold(&policy, BOB, "x") && policy_may_hold(&policy, CAROL, "x"));
	assert_false(policy_may_hold(&policy, ALICE, "x"));
	assert_true(policy_may_hold(&policy, ROOT, "x") && policy_may_hold(&policy, BROKER, "x"));
	make("", "", NULL, NULL, NULL);
	assert_false(policy_may_connect(&policy, ALICE) || policy_may_hold(&policy, ALICE, "x"));
	assert_true(policy_may_connect(&policy, ROOT) && policy_may_hold(&policy, BROKER, "x"));
}

static void test_pairs_are_directed(void **state)
{
	static const uint32_t all[] = { ROOT, ALICE, BOB, CAROL, NOBODY, FOREIGN_ALICE, FOREIGN_EVE };
	static const struct {
		enum policy_verb verb;
		uint32_t from, to;
	} may[] = {
		{ POLICY_SEND, ALICE, BOB },           { POLICY_SEND, BOB, NOBODY },  { POLICY_SEND, CAROL, NOBODY },
		{ POLICY_SEND, FOREIGN_ALICE, CAROL }, { POLICY_PARENT, BOB, ALICE }, { POLICY_LIST, CAROL, ROOT },
		{ POLICY_LIST, CAROL, ALICE },         { POLICY_LIST, CAROL, BOB },   { POLICY_LIST, CAROL, NOBODY },
		{ POLICY_SEND, ALICE, FOREIGN_EVE },
	};

	(void)state;
	make(NULL, NULL, "alice > bob, @staff > 4711, *@beta > carol, alice > *@gamma", "bob > alice", "carol > *");
	for (int verb = 0; verb < POLICY_VERBS; verb++)
		for (size_t i = 0; i < 49; i++) {
			uint32_t from = all[i / 7], to = all[i % 7];
			int expected = from == to;

			for (size_t j = 0; j < sizeof(may) / sizeof(*may); j++)
				expected |= (int)may[j].verb == verb && may[j].from == from && may[j].to == to;
			assert_int_equal(policy_may(&policy, (enum policy_verb)verb, from, to), expected);
		}
	policy.abroad = NULL;
	assert_false(policy_may(&policy, POLICY_SEND, FOREIGN_ALICE, CAROL));
}

static void test_shared_names(void **state)
{
	const struct policy_name *resize, *scan;

	(void)state;
	named[0] =
		(struct config_named){ .section = "name", .name = "resize", .owner = "dave", .users = "alice, *@beta" };
	named[1] = (struct config_named){ .section = "name", .name = "scan", .owner = "1001" };
	config.named = named;
	config.n_named = 2;
	make(NULL, "alice", NULL, NULL, NULL);
	config.n_named = 0;
	resize = policy_shared(&policy, "resize");
	scan = policy_shared(&policy, "scan");
	assert_non_null(resize);
	assert_non_null(scan);
	assert_null(policy_shared(&policy, "resiz"));
	assert_int_equal(resize->owner, DAVE);
	assert_int_equal(scan->owner, BOB);
	/* Its owner holds it, who may take no other name, and nobody else does, not even root. */
	assert_true(policy_may_hold(&policy, DAVE, "resize"));
	assert_false(policy_may_hold(&policy, DAVE, "other"));
	assert_false(policy_may_hold(&policy, ALICE, "resize"));
	assert_true(policy_may_hold(&policy, ALICE, "other"));
	assert_false(policy_may_hold(&policy, ROOT, "resize"));
	assert_false(policy_may_hold(&policy, FOREIGN_ALICE, "resize"));
	/* Who uses it. */
	assert_true(policy_may_use(&policy, resize, DAVE) && policy_may_use(&policy, resize, ALICE));
	assert_true(policy_may_use(&policy, resize, ROOT) && policy_may_use(&policy, resize, BROKER));
	assert_true(policy_may_use(&policy, resize, FOREIGN_ALICE));
	assert_false(policy_may_use(&policy, resize, FOREIGN_EVE));
	assert_false(policy_may_use(&policy, resize, BOB));
	assert_true(policy_may_use(&policy, scan, BOB));
	assert_false(policy_may_use(&policy, scan, ALICE));
	assert_true(policy_share_any(&policy, ALICE, DAVE));
	assert_false(policy_share_any(&policy, DAVE, ALICE));
	assert_false(policy_share_any(&policy, ALICE, BOB));
	policy_free(&policy);
}

/* Between the moment at which the line was read and this one. */
static void test_users_who_went(void **state)
{
	char why[256] = "";

	(void)state;
	named[0] = (struct config_named){ .section = "name", .name = "resize", .owner = "zaphod", .users = "alice" };
	config.named = named;
	config.n_named = 1;
	assert_int_equal(policy_make(&policy, &config, BROKER, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "there is no user \"zaphod\" any more"));
	policy_free(&policy);
	named[0].owner = "dave";
	named[0].users = "zaphod";
	assert_int_equal(policy_make(&policy, &config, BROKER, why, sizeof(why)), -EINVAL);
	policy_free(&policy);
	config.n_named = 0;
	config.policy.connect = "zaphod";
	assert_int_equal(policy_make(&policy, &config, BROKER, why, sizeof(why)), -EINVAL);
	policy_free(&policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_long_words),
		cmocka_unit_test(test_one_user),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_database_fails),
		cmocka_unit_test(test_connect_and_register),
		cmocka_unit_test(test_pairs_are_directed),
		cmocka_unit_test(test_shared_names),
		cmocka_unit_test(test_users_who_went),
	};

	return cmocka_run_group_tests_name("broker_policy", tests, NULL, NULL);
}
