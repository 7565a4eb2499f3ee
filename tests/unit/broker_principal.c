/*
 * broker_principal: a certificate's user becomes a uid here, or a reason.
 */
#include "principal.h"
#include "test.h"
#include <errno.h>
#include <string.h>

static uint32_t uid;
static char why[256];

static int ask(const char *principal)
{
	why[0] = '\0';
	uid = 4711;
	return principal_uid(principal, "beta", &uid, why, sizeof(why));
}

static void test_users(void **state)
{
	(void)state;
	assert_int_equal(ask("root"), 0);
	assert_int_equal(uid, 0);
	assert_int_equal(ask("root@beta"), 0);
	assert_int_equal(uid, 0);
	assert_int_equal(ask("12345"), 0);
	assert_int_equal(uid, 12345);
	assert_int_equal(ask("0@beta"), 0);
	assert_int_equal(uid, 0);
	assert_int_equal(ask("4026531839"), 0);
	assert_int_equal(uid, 4026531839u);
}

static void refuse(const char *principal, const char *reason)
{
	assert_int_equal(ask(principal), -EACCES);
	assert_non_null(strstr(why, reason));
}

static void test_strangers(void **state)
{
	(void)state;
	refuse("root@alpha", "for node \"alpha\", and this is \"beta\"");
	refuse("root@", "for node \"\"");
	refuse("root@beta@alpha", "for node \"beta@alpha\"");
	refuse("@beta", "names no user");
	refuse("", "names no user");
	refuse("no-such-user-here", "not known on this host");
	refuse("4026531840", "not known on this host"); /* stands for somebody of another node */
	refuse("4294967295", "not known on this host"); /* would be nobody's */
	refuse("4294967296", "not known on this host"); /* would be root if it wrapped */
	refuse("00", "not known on this host");
	refuse("-1", "not known on this host");
	refuse("0x0", "not known on this host");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_strangers),
	};

	return cmocka_run_group_tests_name("broker_principal", tests, NULL, NULL);
}
