/*
 * actor: see actor.h. What it sends, and how long it is, follows from the seed and the number, so that the other side
 * knows it too. Messages and requests share their numbers, because they share one stream.
 */
#include "actor.h"
#include "numbered.h"
#include <brood.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS 600000u
#define LATER 8u /* answers that are owed at most */
#define BURST 64 /* messages between two turns */

struct play {
	struct stage *stage;
	struct actor *me;
	struct actor *other;
	brood *b;
	brood_peer *peer; /* NULL until its address is known */
	unsigned number;
	uint64_t goal;     /* numbers to send, and to receive */
	uint64_t next;     /* to send */
	uint64_t expected; /* to receive */
	uint64_t begin_ms;
	uint8_t *seen;
	brood_msg *owed[LATER]; /* requests that are answered later */
	unsigned n_owed;
	brood_msg *held; /* a message that is released later */
};

/* ---- what each number means -------------------------------------------------------------------------------------- */

static uint64_t nature(const struct play *a, uint64_t number)
{
	uint64_t state = a->stage->wish.seed ^ number * 0x632be59bd9b4e019u;
	return dice(&state);
}

static int is_empty(uint64_t nature)
{
	return nature % 61 == 7;
}

static int is_request(uint64_t nature)
{
	return nature % 16 == 3 && !is_empty(nature);
}

static size_t length_of(uint64_t nature)
{
	uint64_t state = nature;
	if (is_empty(nature))
		return 0;
	if (nature % 4096 == 100)
		return LONGEST;
	size_t n = (size_t)dice_magnitude(&state, nature >> 20 & 3 ? 9 : 16);
	return n < NUMBERED_MIN ? NUMBERED_MIN : n;
}

/* ---- trouble ----------------------------------------------------------------------------------------------------- */

static void trouble(struct play *a, const char *what, const struct brood_error *e)
{
	if (*a->me->trouble)
		return;
	snprintf(a->me->trouble, sizeof(a->me->trouble), "%s at %" PRIu64 "/%" PRIu64 ": %s %s", what, a->next,
		 a->expected, e ? e->name : "", e ? e->text : "");
}

/* "3 messages to ...: why; not delivered" */
static uint64_t reported_by(const struct brood_error *e)
{
	return strcmp(e->name, "undelivered") == 0 ? strtoull(e->text, NULL, 10) : 0;
}

static int on_error(const brood_event *e)
{
	struct play *a = e->data;
	a->me->reported += reported_by(e->error);
	trouble(a, "error", e->error);
	return 0;
}

static int on_disconnect(const brood_event *e)
{
	struct play *a = e->data;
	if (!a->stage->finish) /* nobody leaves before */
		trouble(a, "disconnect", e->error);
	return 0;
}

static int on_away(const brood_event *e)
{
	struct play *a = e->data;
	a->me->away += e->peer == brood_self(e->handle);
	return 0;
}

static int on_ready(const brood_event *e)
{
	struct play *a = e->data;
	struct brood_peer_info info;
	BROOD_INIT(info);
	if (e->peer != brood_self(e->handle) || a->me->ready || brood_info(e->peer, &info) < 0)
		return 0;
	snprintf(a->me->address, sizeof(a->me->address), "%s", info.address);
	a->me->ready = 1;
	return 0;
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

/* Its number; those without body have none of their own. UINT64_MAX: it is not as it was sent. */
static uint64_t number_of(const struct play *a, const brood_msg *m)
{
	uint64_t n = m->length ? numbered_read(m) : a->expected;
	if (n >= a->goal || length_of(nature(a, n)) != m->length || is_request(nature(a, n)) != !!m->wants_reply)
		return UINT64_MAX;
	return n;
}

static void count(struct play *a, uint64_t n)
{
	uint8_t bit = (uint8_t)(1u << n % 8);
	if (n == UINT64_MAX) {
		a->me->damaged++;
		trouble(a, "damaged", NULL);
	} else if (a->seen[n / 8] & bit) {
		a->me->duplicated++;
		trouble(a, "duplicate", NULL);
	} else {
		a->seen[n / 8] |= bit;
		a->me->delivered++;
		a->me->reordered += n != a->expected;
		if (n != a->expected)
			trouble(a, "out of order", NULL);
		a->expected = n + 1;
	}
}

static int answer(brood_msg *m)
{
	uint64_t n;
	memcpy(&n, m->body, sizeof(n));
	size_t length = NUMBERED_MIN + (size_t)(n * 7919 % 3000);
	return brood_reply(m, BROOD_MSG("answer", &n, length, .fill = numbered_fill));
}

static void answer_one_owed(struct play *a)
{
	if (!a->n_owed)
		return;
	brood_msg *m = a->owed[--a->n_owed];
	if (answer(m) < 0)
		trouble(a, "reply", brood_last_error(a->b));
	brood_msg_release(m);
}

static int answer_or_owe(struct play *a, brood_msg *m, uint64_t n)
{
	if (nature(a, n) >> 30 & 3)
		return answer(m);
	if (a->n_owed == LATER)
		answer_one_owed(a);
	a->owed[a->n_owed++] = brood_msg_keep(m);
	return 0;
}

/* Now and then one is held for a while: acknowledgements stop there. */
static void hold_some(struct play *a, brood_msg *m, uint64_t n)
{
	if (nature(a, n) >> 40 & 63)
		return;
	brood_msg_release(a->held);
	a->held = brood_msg_keep(m);
}

static int on_message(const brood_event *e)
{
	struct play *a = e->data;
	uint64_t n = number_of(a, e->msg);
	count(a, n);
	if (n == UINT64_MAX)
		return 0;
	if (e->msg->wants_reply)
		return answer_or_owe(a, e->msg, n);
	hold_some(a, e->msg, n);
	return 0;
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

struct question {
	struct play *play;
	uint64_t number, asked_ms;
};

static int on_answer(const brood_event *e)
{
	struct question *q = e->data;
	struct play *a = q->play;
	uint64_t took = stage_now_ms() - q->asked_ms;
	if (!e->msg || numbered_read(e->msg) != q->number) {
		a->me->failed++;
		trouble(a, "answer", e->error);
	} else {
		a->me->answered++;
		if (took > a->me->slowest_ms)
			a->me->slowest_ms = took;
	}
	free(q);
	return 0;
}

static int ask(struct play *a, const struct brood_out *out)
{
	struct question *q = malloc(sizeof(*q));
	if (!q)
		return -ENOMEM;
	*q = (struct question){ a, a->next, stage_now_ms() };
	int64_t id = brood_request(a->peer, out, -1, on_answer, q);
	if (id < 0)
		free(q);
	a->me->asked += id > 0;
	return id < 0 ? (int)id : 0;
}

static int send_next(struct play *a)
{
	uint64_t what = nature(a, a->next);
	char type[16];
	struct brood_out out;
	snprintf(type, sizeof(type), "t%" PRIu64, what >> 8 & 31);
	BROOD_INIT(out);
	out.type = type;
	out.body = &a->next;
	out.length = length_of(what);
	out.fill = out.length ? numbered_fill : NULL;
	return is_request(what) ? ask(a, &out) : brood_send(a->peer, &out);
}

/* How far it may be by now. */
static uint64_t due(const struct play *a)
{
	uint64_t all = (uint64_t)a->stage->wish.seconds * 1000, passed = stage_now_ms() - a->begin_ms;
	return passed >= all ? a->goal : a->goal * passed / all;
}

static void send_some(struct play *a)
{
	uint64_t until = due(a);
	for (int i = 0; i < BURST && a->peer && a->next < until; i++) {
		int rc = send_next(a);
		if (rc == -EAGAIN)
			return;
		if (rc < 0) {
			trouble(a, "send", brood_last_error(a->b));
			return;
		}
		a->next++;
		a->me->sent++;
	}
}

/* ---- the play ---------------------------------------------------------------------------------------------------- */

static int by_name(const struct play *a)
{
	return a->number / 2 % 8 < 4;
}

/* The first pairs are the same way on both sides; sixteen are every way to every other one. */
static const char *address_of(const struct play *a)
{
	unsigned pair = a->number / 2, apart = a->number % 2 * (pair / stage_ways(a->stage));
	return stage_address(a->stage, pair + apart);
}

static void find_other(struct play *a)
{
	char name[32];
	if (a->peer || (!by_name(a) && !a->other->ready))
		return;
	snprintf(name, sizeof(name), "actor%u", a->number ^ 1);
	if (brood_find(a->b, &a->peer, by_name(a) ? name : a->other->address, BROOD_FIND(.wait_ms = WAIT_MS)) < 0)
		trouble(a, "find", brood_last_error(a->b));
}

static int connect_actor(struct play *a)
{
	static const size_t windows[] = { 0, 64 * 1024, 512 * 1024 };
	char name[32];
	const struct brood_handlers *on = BROOD_ON(.message = on_message, .error = on_error, .away = on_away,
						   .ready = on_ready, .disconnect = on_disconnect);
	snprintf(name, sizeof(name), "actor%u", a->number);
	return stage_connect(&a->b, address_of(a),
			     BROOD_OPTIONS(.on = on, .data = a, .name = name, .token_file = a->stage->token_file,
					   .window_bytes = windows[a->number / 2 % 3]));
}

static int is_done(const struct play *a)
{
	return a->next == a->goal && a->me->delivered == a->goal && a->me->answered + a->me->failed == a->me->asked &&
	       a->n_owed == 0;
}

static void release_held(struct play *a)
{
	brood_msg_release(a->held);
	a->held = NULL;
}

/* Long enough that thirty of us leave the machine alone, short enough for the pace. */
static int patience(const struct play *a)
{
	return a->me->done || a->me->sent == 0 ? 20 : 5;
}

static void act(struct play *a)
{
	for (unsigned turn = 0; !a->stage->finish; turn++) {
		find_other(a);
		send_some(a);
		if (brood_process(a->b, patience(a)) < 0) {
			trouble(a, "the handle failed", brood_last_error(a->b));
			return;
		}
		answer_one_owed(a);
		if (turn % 8 == 0) /* or a message longer than the window would wait for ever */
			release_held(a);
		a->me->done = is_done(a);
	}
}

static void leave(struct play *a)
{
	while (a->n_owed)
		brood_msg_release(a->owed[--a->n_owed]);
	release_held(a);
}

int actor_play(struct stage *stage, unsigned number)
{
	struct play a = {
		.stage = stage, .number = number, .me = &stage->actors[number], .other = &stage->actors[number ^ 1]
	};
	a.goal = stage->wish.messages / (2 * stage->wish.pairs);
	a.seen = calloc(a.goal / 8 + 1, 1);
	a.begin_ms = stage_now_ms();
	if (!a.seen || connect_actor(&a) < 0) {
		trouble(&a, "cannot connect", NULL);
		return 1;
	}
	act(&a);
	leave(&a);
	brood_close(a.b);
	free(a.seen);
	return *a.me->trouble != 0;
}
