/*
 * returned: a process that others had given up comes back after all, because the broker that gave it up was followed by
 * one that knows nothing of it. What was under way is reported on both sides, once; what is said from then on arrives.
 *
 * Both processes are handles of this program, so that one can be deaf for as long as the test wants.
 */
#include "flow.h"
#include <stdio.h>
#include <string.h>

struct pair {
	brood *here, *there;
	brood_peer *to_there, *to_here;
	struct diary me, other; /* what the handles were told, messages included */
	char there_address[64], here_address[64];
};

static const char *address_of(brood *b, char to[64])
{
	snprintf(to, 64, "%s", info_of(brood_self(b)).address);
	return to;
}

static void begin(struct pair *p)
{
	assert_int_equal(brood_connect(&p->here, NULL, BROOD_OPTIONS(.on = diary_table, .data = &p->me)), 0);
	assert_int_equal(brood_connect(&p->there, NULL, BROOD_OPTIONS(.on = diary_table, .data = &p->other)), 0);
	assert_int_equal(brood_register(p->here, "here"), 0);
	assert_int_equal(brood_register(p->there, "there"), 0);
	assert_int_equal(brood_sync(p->here, PATIENCE_MS), 0);
	assert_int_equal(brood_sync(p->there, PATIENCE_MS), 0);
	assert_int_equal(brood_find(p->here, &p->to_there, address_of(p->there, p->there_address), NULL), 0);
	assert_int_equal(brood_find(p->there, &p->to_here, address_of(p->here, p->here_address), NULL), 0);
}

static int both(struct pair *p)
{
	return brood_process(p->here, 1) >= 0 && brood_process(p->there, 1) >= 0;
}

#define until_both(p, condition) until_by(condition, assert_true(both(p)))

/* Until each has consumed what the other said. */
static void settle(struct pair *p)
{
	while (brood_sync(p->here, 0) != 0 || brood_sync(p->there, 0) != 0) /* also after what was reported */
		assert_true(both(p));
}

static void end(struct pair *p)
{
	settle(p);
	assert_int_equal(brood_close(p->there), 0);
	assert_int_equal(brood_close(p->here), 0);
}

/* Some messages each way, typed, all consumed. */
static void talk(struct pair *p, unsigned n)
{
	unsigned mine = diary_messages(&p->me), others = diary_messages(&p->other);
	for (unsigned i = 0; i < n; i++) {
		say(p->to_there, i % 2 ? "some.Type" : "other.Type", "to there");
		say(p->to_here, i % 2 ? "its.Type" : "other.Type", "to here");
	}
	until_both(p, diary_messages(&p->me) == mine + n && diary_messages(&p->other) == others + n);
	settle(p);
}

/* If it speaks before it has heard that it was given up, it is told that this was not delivered. */
static void it_speaks_again(struct pair *p)
{
	unsigned errors = p->other.n[BROOD_EVENT_ERROR];
	p->me.body[0] = '\0';
	say(p->to_here, "its.Type", "and back");
	until_both(p, strcmp(p->me.body, "and back") == 0 || p->other.n[BROOD_EVENT_ERROR] == errors + 1);
	if (!p->me.body[0])
		say(p->to_here, "its.Type", "and back");
	until_both(p, strcmp(p->me.body, "and back") == 0);
}

/* The broker dies while nobody listens `there`, and the next one gives it up; that dies too, and the third knows nothing. */
#define give_up_there(x, p) give_up_there_while(x, p, (p)->me.n[BROOD_EVENT_DISCONNECT] != 1)
#define give_up_there_while(x, p, condition)                                                                           \
	do {                                                                                                           \
		broker_that_gives_up(x);                                                                               \
		until((p)->here, !(condition));                                                                        \
		broker_that_knows_nothing(x);                                                                          \
		until((p)->here, (p)->me.n[BROOD_EVENT_BACK] == 2);                                                    \
	} while (0)

static void broker_that_gives_up(struct fixture *x)
{
	x->away_ms = 500; /* `here` comes back in time, over TLS and on a busy host too */
	if (x->broker)
		assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	assert_int_equal(fixture_start(x), 0);
}

static void broker_that_knows_nothing(struct fixture *x)
{
	x->away_ms = 0;
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	assert_int_equal(fixture_start(x), 0);
}

static void test_what_it_said_is_reported(void **state)
{
	struct pair p = { 0 };
	begin(&p);
	talk(&p, 20);
	assert_int_equal(fixture_stop(*state, SIGKILL), SIGKILL);
	for (int i = 0; i < 3; i++)
		say(p.to_here, "its.Type", "unheard");
	give_up_there(*state, &p);
	unsigned before = diary_messages(&p.me);
	until_both(&p, p.other.n[BROOD_EVENT_ERROR] == 1);
	assert_string_equal(p.other.error, "undelivered");
	assert_memory_equal(p.other.text, "3 messages", 10);
	/* From here on it is heard again, also types that were abbreviated before. */
	say(p.to_here, "its.Type", "heard");
	until_both(&p, diary_messages(&p.me) == before + 1);
	assert_string_equal(p.me.body, "heard");
	assert_string_equal(p.me.type, "its.Type");
	assert_int_equal(p.me.n[BROOD_EVENT_ERROR],
			 0); /* nobody had to wait until it was found that something is missing */
	end(&p);
}

/* A new stream to it is not taken for the old one, whose numbers it would have seen. */
static void test_what_it_is_told_is_new(void **state)
{
	struct pair p = { 0 };
	begin(&p);
	talk(&p, 20);
	give_up_there(*state, &p);
	unsigned before = diary_messages(&p.other);
	assert_int_equal(brood_find(p.here, &p.to_there, p.there_address, NULL), 0);
	for (int i = 0; i < 5; i++)
		say(p.to_there, "some.Type", "to there again");
	until_both(&p, diary_messages(&p.other) == before + 5);
	assert_string_equal(p.other.body, "to there again");
	assert_int_equal(p.me.n[BROOD_EVENT_ERROR], 0);
	it_speaks_again(&p);
	talk(&p, 5);
	end(&p);
}

static int keep_question(const brood_event *e)
{
	if (e->msg && e->msg->wants_reply)
		assert_non_null(brood_msg_keep(e->msg));
	return 0;
}

/* Who asked before it was given up hears that nothing will come. */
static void test_its_questions_end(void **state)
{
	struct pair p = { 0 };
	struct diary answer = { 0 };
	begin(&p);
	talk(&p, 1);
	p.me.also = keep_question;
	assert_true(brood_request(p.to_here, BROOD_TEXT("well?"), -1, diary_write, &answer) > 0);
	until_both(&p, diary_messages(&p.me) == 2);
	give_up_there(*state, &p);
	until_both(&p, answer.n[BROOD_EVENT_REPLY] == 1);
	assert_true(answer.code < 0);
	end(&p);
}

/* It may happen again and again. */
static void test_many_times(void **state)
{
	struct pair p = { 0 };
	begin(&p);
	for (unsigned i = 1; i <= 3; i++) {
		talk(&p, 3);
		p.me.n[BROOD_EVENT_DISCONNECT] = p.me.n[BROOD_EVENT_BACK] = 0;
		give_up_there(*state, &p);
		until_both(&p, p.other.n[BROOD_EVENT_BACK] == i);
		assert_int_equal(brood_find(p.here, &p.to_there, p.there_address, NULL), 0);
		it_speaks_again(&p);
	}
	talk(&p, 3);
	assert_int_equal(p.me.n[BROOD_EVENT_ERROR], 0);
	end(&p);
}

/* What it took, but was not done with, may be lost with it, and so is not as good as delivered. */
static void test_taken_is_not_consumed(void **state)
{
	struct pair p = { 0 };
	begin(&p);
	talk(&p, 2);
	assert_int_equal(brood_pause(p.to_there, -1, 1), 0);
	say(p.to_here, "its.Type", "taken, and never seen");
	until(p.here, info_of(p.to_there).received == 3);
	give_up_there_while(*state, &p, info_of(p.to_there).connected);
	until_both(&p, p.other.n[BROOD_EVENT_ERROR] == 1);
	assert_memory_equal(p.other.text, "1 message ", 10);
	assert_int_equal(brood_pause(p.to_there, -1, 0), 0);
	end(&p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_ALL(test_what_it_said_is_reported),
		ON_ALL(test_what_it_is_told_is_new),
		ON_UNIX(test_taken_is_not_consumed),
		ON_UNIX(test_its_questions_end),
		ON_UNIX(test_many_times),
	};
	return RUN("returned", tests);
}
