/* The lint refuses what would let hostile bytes cost more than they are long, and says where. */
#include "test.h"

#include "bomb.pb-c.h"
#include "lint.h"
#include "schema.h"
#include <errno.h>
#include <string.h>

static void expect_refused(const ProtobufCMessageDescriptor *type, const char *where)
{
	char why[512];

	assert_int_equal(lint_message(type, why, sizeof(why)), -EINVAL);
	assert_memory_equal(why, where, strlen(where));
}

static void recursive_types_are_refused(void **state)
{
	(void)state;
	expect_refused(&bomb__nest__descriptor, "bomb.Nest.inner: bomb.Nest contains itself");
	expect_refused(&bomb__ping__descriptor, "bomb.Pong.ping: bomb.Ping contains itself");
	expect_refused(&bomb__pong__descriptor, "bomb.Ping.pong: bomb.Pong contains itself");
}

static void merging_types_are_refused(void **state)
{
	(void)state;
	expect_refused(&bomb__holder__descriptor,
		       "bomb.Holder.points: a singular bomb.Points with the repeated field point");
	expect_refused(&bomb__outer__descriptor,
		       "bomb.Holder.points: a singular bomb.Points with the repeated field point");
}

static void sound_types_pass(void **state)
{
	char why[512];
	int i;

	(void)state;
	assert_int_equal(lint_message(&bomb__fine__descriptor, why, sizeof(why)), 0);
	assert_int_equal(lint_message(&bomb__choice__descriptor, why, sizeof(why)), 0);
	for (i = 0; schema_messages[i]; i++)
		assert_int_equal(lint_message(schema_messages[i], why, sizeof(why)), 0);
	assert_true(i >= 19);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recursive_types_are_refused),
		cmocka_unit_test(merging_types_are_refused),
		cmocka_unit_test(sound_types_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
