/*
 * conform_wire: what a client does with frames and items that are in pieces, old or unknown, and when it hears HOLD, GO, GONE and
 * PROBE.
 */
#include "brood.pb-c.h"
#include "conform.h"
#include "script.h"
#include <string.h>
#include <unistd.h>

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static size_t write_frame(struct script *s, struct voice *v, const char *body, uint8_t *to)
{
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE }, script_type, body);
	struct frame f = script_head(v, FRAME_DATA);
	f.sequence = v->next++;
	f.length = (uint32_t)s->drafted;
	size_t size = frame_size(s->drafted);
	memset(to, 0, size);
	frame_write_head(to, &f);
	memcpy(to + FRAME_HEAD, s->draft, s->drafted);
	s->drafted = 0;
	s->items = 0;
	return size;
}

static int check_pieces(struct trial *t)
{
	static const char chapter[] = "Connection";
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	_Alignas(8) uint8_t bytes[SCRIPT_DRAFT];
	size_t n = write_frame(s, v, "piece", bytes);
	for (size_t i = 0; i < n; i++) {
		understudy_write(&s->u, bytes + i, 1);
		usleep(500);
	}
	if (script_await_echo(s, v, script_type, "piece", "a frame that came byte by byte was not answered", chapter) <
	    0)
		return -1;
	n = write_frame(s, v, "one", bytes);
	n += write_frame(s, v, "two", bytes + n);
	size_t half = write_frame(s, v, "three", bytes + n) / 2 + n;
	n += 2 * (half - n);
	understudy_write(&s->u, bytes, half);
	if (script_await_echo(s, v, script_type, "one", "of two frames and a half the first was not answered",
			      chapter) < 0 ||
	    script_await_echo(s, v, script_type, "two", "of two frames and a half the second was not answered",
			      chapter) < 0)
		return -1;
	understudy_write(&s->u, bytes + half, n - half);
	return script_await_echo(s, v, script_type, "three", "a frame that came in halves was not answered", chapter);
}

/* A field 99, "x", behind the known ones. */
static void say_gone_of_tomorrow(struct script *s, uint64_t id)
{
	static const uint8_t more[] = { 0x9a, 0x06, 1, 'x' };
	uint8_t body[64];
	Brood__Gone m = BROOD__GONE__INIT;
	m.id = id;
	m.why = BROOD__WHY__WHY_LOST;
	size_t n = brood__gone__pack(&m, body);
	memcpy(body + n, more, sizeof more);
	struct frame f = { .kind = FRAME_GONE, .flags = 0x80, .destination = UNDERSTUDY_CLIENT };
	f.length = (uint32_t)(n + sizeof more);
	understudy_say(&s->u, &f, body, -1);
}

/* A tag that nobody knows yet, before the type's name. */
static void draft_tag_of_tomorrow(struct script *s, const char *body)
{
	static const uint8_t tag[8] = { 200, 3, 'x', 'y', 'z', 0, 0, 0 };
	uint8_t *to = s->draft;
	size_t length = strlen(body);
	memset(to, 0, SCRIPT_DRAFT);
	put64(to, length | (uint64_t)ITEM_MESSAGE << 48 | (uint64_t)1 << 56);
	memcpy(to + ITEM_HEAD, tag, sizeof tag);
	memcpy(to + ITEM_HEAD + sizeof tag, body, length);
	s->drafted = item_size(ITEM_MESSAGE, sizeof tag, length);
	s->items = 1;
}

static int check_unknown(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	struct voice stranger = { .id = UNDERSTUDY_EPOCH | 0xffff };
	script_about(s, &stranger, FRAME_HOLD);
	script_about(s, &stranger, FRAME_GO);
	say_gone_of_tomorrow(s, stranger.id);
	draft_tag_of_tomorrow(s, "tomorrow");
	script_send_as(s, v, v->next, 0x80 | FRAME_ACK_NOW, -1);
	return script_await_echo(
		s, v, "", "tomorrow",
		"HOLD, GO and GONE of somebody unknown, a flag, a field or a tag of a later version: the message "
		"behind that was not answered",
		"Heads");
}

/* Kinds that want no answer. */
static int check_bodiless(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	script_draft(s, (struct item){ .kind = ITEM_READY }, NULL, "");
	script_draft(s, (struct item){ .kind = ITEM_CANCEL, .correlation = 77 }, NULL, "");
	script_send(s, v);
	if (script_await_ack(s, v, 2, "items of the kinds READY and CANCEL were not acknowledged", "Items") < 0)
		return -1;
	return script_exchange(s, v, "behind", "READY and CANCEL: the message behind them was not answered", "Items");
}

static int check_channel(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	struct frame f = script_head(v, FRAME_DATA);
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE }, script_type, "elsewhere");
	f.stream = 5;
	f.sequence = 1;
	f.length = (uint32_t)s->drafted;
	understudy_say(&s->u, &f, s->draft, -1);
	s->drafted = 0;
	s->items = 0;
	return script_exchange(s, v, "here",
			       "a frame of channel 5 is to be ignored: the first message of channel 0 was not answered",
			       "Beginning anew");
}

static int check_sequence(struct trial *t)
{
	static const char chapter[] = "Streams: sequence, acknowledgement, window";
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	if (script_exchange(s, v, "first", "a message was not answered", chapter) < 0 ||
	    script_await_ack(s, v, 1, "a message was not acknowledged, which asked for it (flag 0x01)", chapter) < 0)
		return -1;
	v->acknowledged = 0;
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE }, script_type, "first");
	script_send_as(s, v, 1, FRAME_ACK_NOW, -1);
	if (script_await_ack(s, v, 1, "an item that came again, with flag 0x01, was not acknowledged again", chapter) <
	    0)
		return -1;
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE }, script_type, "third");
	script_send_as(s, v, 3, 0, -1);
	if (script_quiet(s, SCRIPT_QUIET_MS) < 0)
		return -1;
	if (v->taken > 1)
		return script_wrong(t, chapter, "it took an item that was old, or item 3 before item 2");
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE }, script_type, "first");
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE }, script_type, "second");
	script_send_as(s, v, 1, FRAME_ACK_NOW, -1);
	if (script_await_echo(s, v, script_type, "second",
			      "of a frame with an old and a new item the new one was not answered", chapter) < 0)
		return -1;
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE }, script_type, "third");
	script_send_as(s, v, 3, FRAME_ACK_NOW, -1);
	return script_await_echo(s, v, script_type, "third",
				 "an item that had come too early was not answered when its turn came", chapter);
}

/* ---- HOLD, GO, GONE ---------------------------------------------------------------------------------------------- */

static const char of_hold[] = "HOLD, GO, GONE";

static int check_hold(struct trial *t)
{
	static const char *const bodies[] = { "hold 1", "hold 2", "hold 3", "hold 4" };
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	if (script_exchange(s, v, "before", "a message was not answered", of_hold) < 0)
		return -1;
	script_acknowledge(s, v, 1);
	script_hold(s, v, 1);
	for (int i = 0; i < 4; i++) { /* it may read what this one still writes */
		script_say(s, v, bodies[i]);
		if (script_quiet(s, 60) < 0)
			return -1;
	}
	struct frame away = { .kind = FRAME_HOLD, .flags = FRAME_AWAY, .source = v->id };
	understudy_say(&s->u, &away, NULL, -1); /* now unreachable as well: one GO ends both */
	if (script_is_well(s, "HOLD is about one process: a message of another one was not answered meanwhile",
			   of_hold) < 0 ||
	    script_quiet(s, SCRIPT_QUIET_MS) < 0)
		return -1;
	v->acknowledged = 0;
	script_go(s, v);
	for (int i = 0; i < 4; i++)
		if (script_await_echo(s, v, script_type, bodies[i],
				      "what was to be sent while a process was held did not come after GO",
				      of_hold) < 0)
			return -1;
	return script_await_ack(s, v, 5, "what was consumed while a process was held was not acknowledged after GO",
				of_hold);
}

static int check_go(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	if (script_exchange(s, v, "go 1", "a message was not answered", of_hold) < 0 ||
	    script_exchange(s, v, "go 2", "a message was not answered", of_hold) < 0 ||
	    script_exchange(s, v, "go 3", "a message was not answered", of_hold) < 0)
		return -1;
	script_acknowledge(s, v, 1);
	script_hold(s, v, 1);
	if (script_quiet(s, SCRIPT_STEP_MS) < 0)
		return -1;
	v->taken = 1; /* the others were dropped */
	v->acknowledged = 0;
	script_go(s, v);
	if (script_await(s, &v->taken, 3,
			 "after GO it did not send again, from the first item on that was not acknowledged",
			 of_hold) < 0)
		return -1;
	if (strcmp(v->said[2].body, "go 2") != 0 || strcmp(v->said[3].body, "go 3") != 0)
		return script_wrong(t, of_hold,
				    "what it sent again after GO are not the items that were not acknowledged");
	if (script_await_ack(s, v, 3, "after GO it did not repeat its acknowledgement", of_hold) < 0)
		return -1;
	script_acknowledge(s, v, 3);
	if (script_quiet(s, 5 * SCRIPT_STEP_MS) < 0)
		return -1;
	v->acknowledged = 0;
	script_go(s, v);
	return script_await_ack(s, v, 3, "after GO, with nothing to send, it did not repeat its acknowledgement (ACK)",
				of_hold);
}

/* What is on its way to the client when it hears that nobody is there any more: it goes on all the same. */
static int check_gone(struct trial *t)
{
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	if (script_exchange(s, v, "gone", "a message was not answered", of_hold) < 0)
		return -1;
	script_say(s, v, "gone 2");
	script_say(s, v, "gone 3");
	script_bury(s, v, BROOD__WHY__WHY_LEFT);
	if (script_quiet(s, 5 * SCRIPT_STEP_MS) < 0)
		return -1;
	return script_is_well(s, "GONE is about one process: a message of another one was not answered after it",
			      of_hold);
}

/* ---- PROBE ------------------------------------------------------------------------------------------------------- */

static int probe(struct script *s, struct voice *v, uint64_t sequence, uint64_t consumed, const char *what)
{
	v->acknowledged = 0;
	script_bare(s, v, FRAME_PROBE, sequence, 0);
	return script_await_ack(s, v, consumed, what, "Streams: sequence, acknowledgement, window");
}

static int check_probe(struct trial *t)
{
	static const char chapter[] = "Streams: sequence, acknowledgement, window";
	struct script *s = t->script;
	struct voice *v = script_voice(s);
	script_bare(s, v, FRAME_PROBE, 1, 0); /* which says no more than that somebody is there */
	if (script_exchange(s, v, "probe 1", "a message behind a PROBE was not answered", chapter) < 0 ||
	    script_exchange(s, v, "probe 2", "a message was not answered", chapter) < 0)
		return -1;
	script_acknowledge(s, v, 2);
	if (script_await_ack(s, v, 2, "a message was not acknowledged, which asked for it (flag 0x01)", chapter) < 0 ||
	    probe(s, v, 3, 2, "PROBE: it did not acknowledge, again, what it had consumed") < 0 ||
	    probe(s, v, 3, 2, "a second PROBE: it did not acknowledge once more what it had consumed") < 0 ||
	    probe(s, v, 0, 2, "PROBE with sequence 0: it did not acknowledge what it had consumed") < 0)
		return -1;
	/* items 3 and 4 were lost, and come when their sender is told */
	v->next = 5;
	if (probe(s, v, 5, 2,
		  "PROBE of a sender of whom items are missing: it did not acknowledge what it had consumed") < 0)
		return -1;
	v->next = 3;
	return script_exchange(s, v, "probe 3",
			       "a PROBE does not change what is taken next: the next item was not answered", chapter);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

/* Of the checks before. */
static void acknowledge_all(struct script *s)
{
	for (int i = 0; i < s->voices; i++)
		if (!s->voice[i].over)
			script_acknowledge(s, &s->voice[i], s->voice[i].taken);
}

static int check_leave(struct trial *t)
{
	static const char chapter[] = "GOODBYE";
	struct script *s = t->script;
	acknowledge_all(s);
	struct voice *gone = script_voice(s), *parted = script_voice(s), *v = script_voice(s);
	if (script_exchange(s, gone, "one", "a message was not answered", chapter) < 0 ||
	    script_exchange(s, parted, "two", "a message was not answered", chapter) < 0 ||
	    script_exchange(s, v, "three", "a message was not answered", chapter) < 0)
		return -1;
	script_bury(s, gone, BROOD__WHY__WHY_LOST);
	script_part(s, parted);
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE }, "conform.stop", "");
	s->draft[4] = 2; /* a type number of its own */
	script_send(s, v);
	if (script_quiet(s, SCRIPT_QUIET_MS) < 0)
		return -1;
	if (s->u.left)
		return script_wrong(t, chapter, "at conform.stop it left before all that it had sent was acknowledged");
	script_acknowledge(s, v, 1);
	return script_await_flag(
		s, &s->u.left,
		"it did not say goodbye when all that it had sent was acknowledged, but for what it sent to two "
		"processes of which it heard GONE, and RESET with sequence 0,",
		chapter);
}

static int check_end(struct trial *t)
{
	struct script *s = t->script;
	while (!t->exited)
		if (!s->u.left || trial_take(t, SCRIPT_PATIENCE_MS) <= 0)
			return trial_fail(t, "it did not say goodbye and exit");
	return t->code == 0 ? 0 : trial_fail(t, "it ended with %d", t->code);
}

const struct check conform_wire[] = {
	{ "takes frames in pieces, and several at once", check_pieces, 0 },
	{ "ignores what it does not know", check_unknown, 0 },
	{ "takes kinds that want no answer", check_bodiless, 0 },
	{ "ignores frames of another channel", check_channel, 0 },
	{ "ignores items that are old or early", check_sequence, 0 },
	{ "HOLD: stops for that process only", check_hold, 0 },
	{ "GO: goes back to what was not acknowledged", check_go, 0 },
	{ "GONE: goes on", check_gone, 0 },
	{ "PROBE: says what it consumed", check_probe, 0 },
	{ NULL, NULL, 0 },
};

const struct check conform_end[] = {
	{ "leaves when those who are there have acknowledged", check_leave, CHECK_LEADS },
	{ "exits with 0 then", check_end, CHECK_LEFT },
	{ NULL, NULL, 0 },
};
