/*
 * keeper: the nursery's, by itself, between its parent and a broker. What it does for a child is proved through a nursery.
 */
#include "keeper.h"
#include "flow.h"
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static time_t slept;

/* What the library asks for periods of time; the tests themselves ask another clock. */
int clock_gettime(clockid_t id, struct timespec *ret)
{
	int rc = (int)syscall(SYS_clock_gettime, id, ret);
	if (id == CLOCK_BOOTTIME)
		ret->tv_sec += slept;
	return rc;
}

/* No policy has made it. */
void order_free(struct order *o)
{
	free(o);
}

static int keep(const brood_event *e)
{
	brood_msg **asked = e->data;
	*asked = brood_msg_keep(e->msg);
	return 0;
}

static int works_on(struct keeper *k)
{
	for (int i = 0; i < 5; i++)
		if (keeper_turn(k))
			return 0;
	return 1;
}

/* The broker does not come back: it is waited for as long as anybody waits who lost one, in time that it saw pass, and then
 * who asked is told. The machine has been up for longer than that, or shorter: that is no part of it. */
static void test_broker_does_not_come(void **state)
{
	struct brood_handlers on = { .size = sizeof on, .message = keep };
	const Brood__Nursery__Spawn m = BROOD__NURSERY__SPAWN__INIT;
	struct order *order = calloc(1, sizeof *order);
	brood_msg *asked = NULL;
	brood *nursery;
	brood_peer *p;
	struct family f = { 0 };
	int seconds = 0;
	(void)state;
	assert_int_equal(brood_connect(&nursery, NULL, BROOD_OPTIONS(.on = &on, .data = &asked, .name = "keeps")), 0);
	assert_int_equal(brood_sync(nursery, PATIENCE_MS), 0);
	family_connect(&f);
	assert_int_equal(brood_find(f.b, &p, "keeps", NULL), 0);
	assert_true(brood_request(p, BROOD_TEXT("start it"), -1, diary_write, &f.d) > 0);
	until_by(asked, (poll_once(f.b), poll_once(nursery)));
	struct keeper *k = keeper_new(asked, &m, order, "one@there", "unix:/nowhere/sock");
	assert_non_null(k);
	for (; seconds < 1000 && works_on(k); seconds++)
		slept++;
	assert_in_range(seconds, 100, 140);
	keeper_free(k);
	until_by(f.d.n[BROOD_EVENT_REPLY] == 1, (poll_once(f.b), poll_once(nursery)));
	assert_string_equal(f.d.error, "spawn.broker");
	until_by(brood_sync(nursery, 0) == 0, (poll_once(f.b), poll_once(nursery)));
	brood_close(nursery);
	family_end(&f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_UNIX(test_broker_does_not_come),
	};
	return RUN("keeper", tests);
}
