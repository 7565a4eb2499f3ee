/*
 * abroad: what children on another host have that others have not: refusals, their nursery's death, the lease. All else
 * is proved by the tests that other children have, run through a nursery: ON_NURSERY.
 */
#include "flow.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void test_a_life(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("burst", "3", "100"));
	family_closes(&f);
	assert_string_equal(f.d.order, "SRmDEC");
	assert_int_equal(diary_messages(&f.d), 3);
	assert_int_equal(f.d.exit.code, 0);
	family_end(&f);
}

static void test_output(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_connect(&f);
	family_start(&f, BROOD_ARGV("sh", "-c", "cat; echo done >&2; exit 7"), .flags = BROOD_PLAIN,
		     .stdio = BROOD_STDIO(BROOD_PIPE(0), BROOD_PIPE(1), BROOD_PIPE(2)));
	assert_int_equal(brood_write(f.kid, 0, "hello", 5), 0);
	assert_int_equal(brood_end(f.kid, 0), 0);
	family_closes(&f);
	assert_string_equal(f.d.output[1].text, "hello");
	assert_string_equal(f.d.output[2].text, "done\n");
	assert_int_equal(f.d.exit.code, 7);
	assert_string_equal(f.d.order, "SoDEC");
	family_end(&f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_NURSERY(test_a_life),
		ON_NURSERY(test_output),
	};
	return RUN("abroad", tests);
}
