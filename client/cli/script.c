/*
 * script: see script.h.
 */
#include "script.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what it says ------------------------------------------------------------------------------------------------ */

/* Where to read about it belongs to every reason. */
int script_wrong(struct trial *t, const char *chapter, const char *what)
{
	return trial_fail(t, "%s (proto/README.md, \"%s\")", what, chapter);
}

static int wrong_item(struct trial *t, uint64_t sequence, const char *what, const char *chapter)
{
	return trial_fail(t, "its item %llu %s (proto/README.md, \"%s\")", (unsigned long long)sequence, what, chapter);
}

static struct voice *find_voice(struct script *s, uint64_t id)
{
	for (int i = 0; i < s->voices; i++)
		if (s->voice[i].id == id)
			return &s->voice[i];
	return NULL;
}

static void copy_text(char *to, size_t room, const void *from, size_t n)
{
	size_t length = n < room ? n : room - 1;
	memcpy(to, from, length);
	to[length] = '\0';
}

static int name_type(struct trial *t, struct voice *v, const struct item *it, uint64_t sequence, struct said *said)
{
	if (it->type == 0)
		return 0;
	char unnumbered[SCRIPT_TEXT], *name = it->type <= ITEM_TYPES ? v->types[it->type] : unnumbered;
	if (it->type > ITEM_TYPES && it->type != ITEM_UNNUMBERED)
		return wrong_item(t, sequence, "has a type number that there is not", "Types");
	if (it->type == ITEM_UNNUMBERED)
		unnumbered[0] = '\0';
	if (it->name)
		copy_text(name, SCRIPT_TEXT, it->name, it->name_length);
	if (!name[0])
		return wrong_item(t, sequence, "has a type number without its name: the first on a stream brings it",
				  "Types");
	strcpy(said->type, name);
	return 0;
}

static void take_item(struct trial *t, struct voice *v, const struct item *it, uint64_t sequence)
{
	struct said said = { .kind = it->kind, .correlation = it->correlation };
	if (it->more || it->continued) {
		wrong_item(t, sequence, "is a fragment, and it was sent nothing that is long", "Fragments");
		return;
	}
	if (name_type(t, v, it, sequence, &said) < 0)
		return;
	copy_text(said.body, sizeof said.body, it->body, it->length);
	said.length = it->length < sizeof said.body ? it->length : sizeof said.body - 1;
	if (sequence > SCRIPT_ITEMS) {
		script_wrong(t, "Conformance", "it sent more than it was sent");
	} else if (sequence <= v->taken) { /* again */
		struct said *before = &v->said[sequence];
		if (before->kind != said.kind || strcmp(before->type, said.type) != 0 ||
		    strcmp(before->body, said.body) != 0)
			wrong_item(t, sequence, "came again, and was another one", "Streams");
	} else {
		v->said[sequence] = said;
		v->taken = sequence;
	}
}

static void take_items(struct trial *t, struct voice *v, const struct frame *f)
{
	const uint8_t *at = f->body, *end = f->body + f->length;
	struct item it;
	int rc;
	if (f->sequence > v->taken + 1) {
		trial_fail(t, "its item %llu came, and item %llu had not (proto/README.md, \"Streams\")",
			   (unsigned long long)f->sequence, (unsigned long long)v->taken + 1);
		return;
	}
	if (f->length == 0 || f->sequence == 0)
		script_wrong(t, "Items", "it sent DATA without an item, or without a number");
	for (uint64_t sequence = f->sequence; (rc = item_next(&at, end, &it)) == 1; sequence++)
		take_item(t, v, &it, sequence);
	if (rc < 0)
		trial_fail(t, "it sent an item that has %s (proto/README.md, \"Items\")", it.wrong);
}

/* Whom one is told to hold is sent nothing new; that the first item is tried once a second is allowed. */
static void take_held(struct trial *t, struct voice *v, const struct frame *f)
{
	if (f->kind != FRAME_DATA)
		return;
	if (f->sequence > v->floor)
		trial_fail(
			t,
			"after HOLD it went on sending to that process (DATA with item %llu), and has to wait for GO "
			"(proto/README.md, \"HOLD, GO, GONE\")",
			(unsigned long long)f->sequence);
	else if (++v->retries > 2 + (trial_now_ms() - v->held_at) / 1000)
		script_wrong(t, "HOLD, GO, GONE",
			     "after HOLD it sent the same again and again; at most once a second is allowed, until GO");
}

static void take_acknowledgement(struct trial *t, struct voice *v, const struct frame *f)
{
	if (stream_yours(f->stream) != v->mine || f->kind == FRAME_RESET)
		return; /* of another stream */
	if (f->acknowledge >= v->next)
		trial_fail(t, "it acknowledged item %llu, which it was not sent (proto/README.md, \"Streams\")",
			   (unsigned long long)f->acknowledge);
	if (v->withheld && f->acknowledge >= v->withheld)
		script_wrong(t, "Descriptors",
			     "it acknowledged a message that came without its descriptors before it said REFUSED");
	if (f->acknowledge > v->acknowledged)
		v->acknowledged = f->acknowledge;
}

static void begin_its_stream(struct voice *v, unsigned number)
{
	v->its = number;
	v->taken = v->seen = 0;
	memset(v->types, 0, sizeof v->types);
	memset(v->said, 0, sizeof v->said);
}

static void take_routed(struct trial *t, struct voice *v, const struct frame *f)
{
	if (f->stream & STREAM_CHANNEL)
		script_wrong(t, "Beginning anew", "it wrote on a channel (lower 24 bits of `stream`) that is not 0");
	if (stream_is_newer(stream_mine(f->stream), v->its))
		begin_its_stream(v, stream_mine(f->stream));
	if (f->kind == FRAME_DATA && v->first_is_over && stream_mine(f->stream) == 0)
		script_wrong(t, "Beginning anew",
			     "it went on with a stream that is over, instead of beginning anew with the next number "
			     "(`stream` "
			     "bits 28 to 31) and item 1");
	else if (f->kind == FRAME_DATA && stream_mine(f->stream) == v->its)
		take_items(t, v, f);
	if (v->taken > v->seen) /* an answer, of which the check decides */
		v->withheld = 0;
	take_acknowledgement(t, v, f);
	if (f->kind == FRAME_PROBE)
		v->probed = f->sequence;
	if (f->kind == FRAME_RESET) {
		v->reset = *f;
		v->resets++;
	}
}

static void heard(void *data, const struct frame *f)
{
	struct script *s = data;
	struct voice *v = find_voice(s, f->destination);
	if (f->source || f->source_node || f->destination_node)
		script_wrong(s->t, "Heads", "it filled in `source` or a node, which have to be zero");
	if (!v)
		script_wrong(s->t, "Conformance", "it wrote to somebody who had not written to it");
	else if (v->held)
		take_held(s->t, v, f);
	else
		take_routed(s->t, v, f);
}

/* ---- what it is told --------------------------------------------------------------------------------------------- */

struct voice *script_voice(struct script *s)
{
	struct voice *v = &s->voice[s->voices];
	*v = (struct voice){ .id = UNDERSTUDY_EPOCH | (unsigned)(16 + s->voices), .next = 1 };
	s->voices++;
	return v;
}

void script_draft(struct script *s, struct item it, const char *type, const char *body)
{
	it.length = (uint32_t)strlen(body);
	if (type) {
		it.type = 1;
		it.name = type;
		it.name_length = (uint8_t)strlen(type);
	}
	memcpy(item_write(s->draft + s->drafted, &it), body, it.length);
	s->drafted += item_size(it.kind, item_extension_size(&it), it.length);
	s->items++;
}

struct frame script_head(const struct voice *v, unsigned kind)
{
	return (struct frame){ .kind = (uint8_t)kind,
			       .source = v->id,
			       .destination = UNDERSTUDY_CLIENT,
			       .stream = stream_make(v->mine, v->its) };
}

/* Send what was drafted, as these items. */
void script_send_as(struct script *s, struct voice *v, uint64_t sequence, unsigned flags, int fd)
{
	struct frame f = script_head(v, FRAME_DATA);
	f.flags = (uint8_t)flags;
	f.sequence = sequence;
	f.length = (uint32_t)s->drafted;
	if (v->next < sequence + s->items)
		v->next = sequence + s->items;
	understudy_say(&s->u, &f, s->draft, fd);
	s->drafted = 0;
	s->items = 0;
}

void script_send(struct script *s, struct voice *v)
{
	script_send_as(s, v, v->next, FRAME_ACK_NOW, -1);
}

const char script_type[] = "conform.wire";

void script_say(struct script *s, struct voice *v, const char *body)
{
	script_draft(s, (struct item){ .kind = ITEM_MESSAGE }, script_type, body);
	script_send(s, v);
}

void script_bare(struct script *s, const struct voice *v, unsigned kind, uint64_t sequence, uint64_t acknowledge)
{
	struct frame f = script_head(v, kind);
	f.sequence = sequence;
	f.acknowledge = acknowledge;
	understudy_say(&s->u, &f, NULL, -1);
}

void script_about(struct script *s, const struct voice *v, unsigned kind)
{
	struct frame f = { .kind = (uint8_t)kind, .source = v->id, .destination = UNDERSTUDY_CLIENT };
	understudy_say(&s->u, &f, NULL, -1);
}

void script_acknowledge(struct script *s, const struct voice *v, uint64_t sequence)
{
	script_bare(s, v, FRAME_ACK, 0, sequence);
}

/* The client hears GONE. */
void script_bury(struct script *s, struct voice *v, unsigned why)
{
	v->over = 1;
	understudy_bury(&s->u, v->id, why);
}

/* And this one cannot read what it sent. */
void script_part(struct script *s, struct voice *v)
{
	v->over = 1;
	script_bare(s, v, FRAME_RESET, 0, 0);
}

void script_hold(struct script *s, struct voice *v, uint64_t acknowledged)
{
	v->held = 1;
	v->floor = acknowledged + 1;
	v->held_at = trial_now_ms();
	v->retries = 0;
	script_about(s, v, FRAME_HOLD);
}

void script_go(struct script *s, struct voice *v)
{
	v->held = 0;
	script_about(s, v, FRAME_GO);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

/* 0; -1 when it is over: a reason was noted, or nobody is there. */
int script_turn(struct script *s)
{
	struct trial *t = s->t;
	understudy_turn(&s->u, SCRIPT_STEP_MS);
	if (s->u.broke)
		trial_fail(t, "%s", s->u.broke);
	if (t->reason[0])
		return -1;
	if (s->u.ended && !s->u.left)
		return trial_fail(t, "it closed its connection without a goodbye");
	if (trial_take(t, 0) < 0)
		return -1;
	if (t->exited && !s->u.left)
		return trial_fail(t, "the client ended (%d)", t->code);
	return t->reason[0] ? -1 : 0;
}

int script_quiet(struct script *s, int ms)
{
	int64_t end = trial_now_ms() + ms;
	while (trial_now_ms() < end)
		if (script_turn(s) < 0)
			return -1;
	return 0;
}

/* One turn more, until its patience ends. */
static int wait_on(struct script *s, int64_t end, const char *what, const char *chapter)
{
	if (script_turn(s) < 0)
		return -1;
	if (trial_now_ms() > end)
		return trial_fail(s->t, "%s within %d s (proto/README.md, \"%s\")", what, SCRIPT_PATIENCE_MS / 1000,
				  chapter);
	return 0;
}

/* Until *number is so much. */
int script_await(struct script *s, const uint64_t *number, uint64_t much, const char *what, const char *chapter)
{
	int64_t end = trial_now_ms() + SCRIPT_PATIENCE_MS;
	while (*number < much)
		if (wait_on(s, end, what, chapter) < 0)
			return -1;
	return 0;
}

int script_await_flag(struct script *s, const int *flag, const char *what, const char *chapter)
{
	int64_t end = trial_now_ms() + SCRIPT_PATIENCE_MS;
	while (!*flag)
		if (wait_on(s, end, what, chapter) < 0)
			return -1;
	return 0;
}

/* Its next item to this one is that message. */
int script_await_echo(struct script *s, struct voice *v, const char *type, const char *body, const char *what,
		      const char *chapter)
{
	uint64_t i = v->seen + 1;
	if (script_await(s, &v->taken, i, what, chapter) < 0)
		return -1;
	const struct said *said = &v->said[v->seen = i];
	if (said->kind != ITEM_MESSAGE || strcmp(said->type, type) != 0 || strcmp(said->body, body) != 0)
		return trial_fail(s->t,
				  "instead of the message \"%s\" of type \"%s\" it sent kind %u, \"%.40s\" of type "
				  "\"%.40s\" (proto/README.md, \"%s\")",
				  body, type, said->kind, said->body, said->type, chapter);
	return 0;
}

int script_exchange(struct script *s, struct voice *v, const char *body, const char *what, const char *chapter)
{
	script_say(s, v, body);
	return script_await_echo(s, v, script_type, body, what, chapter);
}

/* It is well, and does what somebody else wants. */
int script_is_well(struct script *s, const char *what, const char *chapter)
{
	return script_exchange(s, script_voice(s), "another", what, chapter);
}

int script_await_ack(struct script *s, struct voice *v, uint64_t sequence, const char *what, const char *chapter)
{
	return script_await(s, &v->acknowledged, sequence, what, chapter);
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

int script_open(struct trial *t, int argc, char **argv)
{
	char path[TESTBED_PATH];
	struct script *s = t->script = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->t = t;
	s->argc = argc;
	s->argv = argv;
	snprintf(s->address, sizeof s->address, "unix:%s", testbed_path(&t->bed, "understudy", path));
	int rc = understudy_open(&s->u, s->address);
	if (rc < 0)
		fprintf(stderr, "brood conform: cannot listen at %s: %s\n", path, strerror(-rc));
	s->u.heard = heard;
	s->u.data = s;
	return rc;
}

/* One that failed may still be there, and at level 1 it would come back. */
static int end_last_client(struct trial *t)
{
	if (!t->child || t->exited)
		return 0;
	(void)brood_kill(t->child, SIGKILL, 0);
	while (!t->exited)
		if (trial_take(t, SCRIPT_PATIENCE_MS) <= 0)
			return trial_fail(t, "a client that failed cannot be ended");
	return 0;
}

void script_close(struct trial *t)
{
	if (!t->script)
		return;
	(void)end_last_client(t);
	understudy_close(&t->script->u);
	free(t->script);
	t->script = NULL;
}

int script_begin(struct trial *t)
{
	struct script *s = t->script;
	if (s->u.there && s->u.registered && !t->reason[0] && !t->exited)
		return 0;
	if (end_last_client(t) < 0)
		return -1;
	understudy_clear(&s->u);
	s->voices = 0;
	int rc = trial_start_elsewhere(t, s->argc, s->argv, s->address);
	if (rc == 0)
		rc = script_await_flag(s, &s->u.registered, "the name was not registered", "Conformance");
	return rc;
}
