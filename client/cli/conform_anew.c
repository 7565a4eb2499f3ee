/*
 * conform_anew: what a client does with streams that begin anew, and when it hears RESET.
 */
#include "brood.pb-c.h"
#include "conform.h"
#include "script.h"
#include <string.h>

static const char of_anew[] = "Beginning anew";

static int check_anew(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	if (script_exchange(s, v, "old 1", "a message was not answered", of_anew) < 0 ||
	    script_exchange(s, v, "old 2", "a message was not answered", of_anew) < 0)
		return -1;
	v->mine = 1;
	v->next = 1;
	v->acknowledged = 0;
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE }, "conform.anew", "new 1");
	script_send(s, v);
	if (script_await_echo(s, v, "conform.anew", "new 1",
			      "a stream that began anew (`stream` bits 28 to 31 are 1, item 1 again) was not read",
			      of_anew) < 0 ||
	    script_await_ack(
		    s, v, 1,
		    "item 1 of a stream that began anew was not acknowledged under its number, 1 (`stream` bits 24 "
		    "to 27)",
		    of_anew) < 0)
		return -1;
	v->mine = 0;
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE }, script_type, "old 3");
	script_send_as(s, v, 3, 0, -1);
	v->mine = 1;
	v->next = 2;
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE }, "conform.anew", "new 2");
	script_send(s, v);
	return script_await_echo(
		s, v, "conform.anew", "new 2",
		"a frame of the stream before is to be ignored: the next of the new one was not answered", of_anew);
}

/* The first that is heard of somebody has any number. */
static int check_any_number(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	v->mine = 3;
	if (script_exchange(s, v, "third", "of a sender one knows nothing of any number begins: number 3 was not read",
			    of_anew) < 0)
		return -1;
	return script_await_ack(
		s, v, 1, "item 1 of a stream with the number 3 was not acknowledged under it (`stream` bits 24 to 27)",
		of_anew);
}

static int check_parted(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	if (script_exchange(s, v, "parted", "a message was not answered", of_anew) < 0)
		return -1;
	script_part(s, v);
	if (script_is_well(
		    s, "RESET with sequence 0 is about one process: a message of another one was not answered after it",
		    of_anew) < 0 ||
	    script_quiet(s, SCRIPT_QUIET_MS) < 0)
		return -1;
	return v->resets ? script_wrong(t, of_anew, "it answered RESET with RESET") : 0;
}

/* It sends on a stream with the next number, from item 1 on. */
static int await_anew(struct script *s, const struct voice *v, const char *what)
{
	int64_t end = trial_now_ms() + SCRIPT_PATIENCE_MS;
	while (v->its != 1 || v->taken == 0) {
		if (script_turn(s) < 0)
			return -1;
		if (trial_now_ms() > end)
			return script_wrong(s->t, of_anew, what);
	}
	return 0;
}

/* Somebody had given the client up: it reports what was under way, and does not send it again. */
static int check_reset(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	if (script_exchange(s, v, "reset 1", "a message was not answered", of_anew) < 0)
		return -1;
	script_bare(s, v, FRAME_RESET, 1, 0);
	v->first_is_over = 1;
	script_say(s, v, "reset 2");
	if (await_anew(s, v,
		       "after RESET it did not begin anew, with the next number (`stream` bits 28 to 31) and item 1") <
	    0)
		return -1;
	if (strcmp(v->said[1].body, "reset 1") == 0)
		return script_wrong(t, of_anew,
				    "after RESET it sent again what it had sent before, which may have been consumed");
	return script_await_echo(s, v, script_type, "reset 2", "after RESET the next message was not answered",
				 of_anew);
}

static int await_reset(struct script *s, struct voice *v, int n, const char *what)
{
	v->acknowledged = 0;
	int64_t end = trial_now_ms() + SCRIPT_PATIENCE_MS;
	while (v->resets < n) {
		if (script_turn(s) < 0)
			return -1;
		if (v->taken > 2)
			return script_wrong(s->t, of_anew, "it took a message of a stream that it had given up (GONE)");
		if (trial_now_ms() > end)
			return script_wrong(s->t, of_anew, what);
	}
	if (v->reset.sequence != 3 || v->reset.acknowledge != 2 || stream_yours(v->reset.stream) != 0)
		return trial_fail(
			s->t,
			"it had taken and consumed 2 items, and its RESET says sequence %llu, acknowledge %llu, "
			"number %u instead of 3, 2, 0 (proto/README.md, \"%s\")",
			(unsigned long long)v->reset.sequence, (unsigned long long)v->reset.acknowledge,
			stream_yours(v->reset.stream), of_anew);
	return 0;
}

/* The client gave somebody up, who comes back and knows nothing of that. */
static int check_given_up(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	if (script_exchange(s, v, "lost 1", "a message was not answered", of_anew) < 0 ||
	    script_exchange(s, v, "lost 2", "a message was not answered", of_anew) < 0 ||
	    script_await_ack(s, v, 2, "a message was not acknowledged, which asked for it (flag 0x01)", of_anew) < 0)
		return -1;
	script_acknowledge(s, v, 2);
	script_bury(s, v, BROOD__WHY__WHY_LOST);
	script_say(s, v, "lost 3");
	if (await_reset(s, v, 1,
			"DATA of a process that it had given up (GONE, WHY_LOST) was not answered with RESET") < 0)
		return -1;
	script_go(s, v);
	if (await_reset(s, v, 2, "its RESET was not repeated after GO") < 0)
		return -1;
	v->over = 0;
	v->first_is_over = 1;
	v->mine = 1;
	v->next = 1;
	script_say(s, v, "back");
	if (await_anew(s, v, "who was given up began anew, and was not answered on a stream with the next number") < 0)
		return -1;
	return script_await_echo(s, v, script_type, "back", "who was given up began anew, and was not answered",
				 of_anew);
}

/* HOLD ends with the connection: whoever has to be held hears it again. */
static int check_return(struct trial *t)
{
	static const char chapter[] = "Level 0 and level 1";
	struct script *s = t->script;
	struct voice *held = script_voice(s), *idle = script_voice(s);
	if (script_exchange(s, held, "before", "a message was not answered", chapter) < 0 ||
	    script_exchange(s, idle, "idle", "a message was not answered", chapter) < 0)
		return -1;
	script_acknowledge(s, held, 1);
	script_acknowledge(s, idle, 1);
	script_hold(s, held, 1);
	script_say(s, held, "held");
	if (script_quiet(s, SCRIPT_QUIET_MS) < 0)
		return -1;
	held->held = 0;
	held->acknowledged = idle->acknowledged = 0;
	understudy_cut(&s->u);
	if (script_await_flag(s, &s->u.registered,
			      "its connection was cut, and it did not come back and register its name", chapter) < 0 ||
	    script_await_echo(s, held, script_type, "held",
			      "after its return it did not send to whom it had been told to hold before",
			      chapter) < 0 ||
	    script_await_ack(s, held, 2, "after its return it did not repeat its acknowledgement", chapter) < 0 ||
	    script_await(
		    s, &idle->probed, 2,
		    "after its return it sent no PROBE (with the number of its next item) to a process that it knows "
		    "and has nothing to send to",
		    chapter) < 0)
		return -1;
	return script_await_ack(s, idle, 1, "after its return it did not repeat its acknowledgement", chapter);
}

const struct check conform_anew[] = {
	{ "reads a stream that begins anew", check_anew, 0 },
	{ "reads a stream that begins with any number", check_any_number, 0 },
	{ "RESET with sequence 0: parts, and goes on", check_parted, 0 },
	{ NULL, NULL, 0 },
};

const struct check conform_anew_level1[] = {
	{ "RESET: begins anew", check_reset, 0 },
	{ "answers with RESET whom it had given up", check_given_up, 0 },
	{ "comes back: HOLD is over, and all hear of it", check_return, 0 },
	{ NULL, NULL, 0 },
};
