/*
 * conform_level1: what a client has to do whose process outlives its connection. Between it and the broker is a tap; our
 * own connection loses the broker as well, so messages are sent again in both directions.
 *
 * In the middle of an exchange, with open questions, something is done to the client. Then it has to be back under the
 * same address and name, and the rest of the exchange shows whether anything was lost, doubled or reordered.
 */
#include "conform.h"
#include "control.pb-c.h"
#include "session.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#define QUESTIONS 10
#define QUESTION_MS 60000
#define AWAY_MS 2000
#define ATTEMPTS_MOST 20u /* to connect while no broker is there, in AWAY_MS */
#define STEP_MS 50
#define ASK_MOST 5

/* ---- who it is --------------------------------------------------------------------------------------------------- */

/* Is `name` among the names, which are separated by blanks? */
static int has_name(const char *names, const char *name)
{
	const char *at = strstr(names, name);
	size_t n = strlen(name);
	return at && (at == names || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0');
}

/* The holder of the client's name, 0: nobody who is connected; and how many are waited for. Negative: the broker does not say. */
static int look(struct trial *t, uint64_t *id, unsigned *lost)
{
	Brood__Control__List request = BROOD__CONTROL__LIST__INIT;
	brood_msg *msg = NULL;
	const void *answer;
	*id = *lost = 0;
	int rc, asked = 0;
	do /* our own connection may end meanwhile, too: what was asked on it was not answered */
		rc = session_ask_broker(t->b, "conform", &request.base, &brood__control__listing__descriptor, &msg,
					&answer);
	while (rc == -ECONNRESET && ++asked < ASK_MOST);
	if (rc < 0)
		return trial_fail(t, "the broker does not tell who is here");
	const Brood__Control__Listing *list = answer;
	for (size_t i = 0; i < list->n_process; i++) {
		int live = strcmp(list->process[i]->state, "live") == 0;
		if (live && has_name(list->process[i]->name, t->name))
			*id = list->process[i]->id;
		*lost += !live;
	}
	brood_msg_release(msg);
	return 0;
}

static int find_holder(struct trial *t, uint64_t *id)
{
	unsigned lost;
	return look(t, id, &lost);
}

/* Take what comes for a while. */
static void take_for(struct trial *t, int ms)
{
	int64_t end = trial_now_ms() + ms;
	while (trial_now_ms() < end && trial_take(t, (int)(end - trial_now_ms())) >= 0)
		;
}

static int await_holder(struct trial *t, uint64_t *id, unsigned *lost)
{
	int64_t end = trial_now_ms() + t->patience_ms;
	for (*id = 0; *id == 0 && !t->reason[0];) {
		if (t->exited)
			return trial_fail(t, "the client ended (%d) instead of coming back", t->code);
		if (trial_now_ms() > end)
			return trial_fail(t, "it did not come back and register its name again within %d s",
					  t->patience_ms / 1000);
		take_for(t, STEP_MS);
		if (look(t, id, lost) < 0)
			return -1;
	}
	return t->reason[0] ? -1 : 0;
}

static int await_return(struct trial *t, uint64_t was)
{
	uint64_t id;
	unsigned lost;
	if (await_holder(t, &id, &lost) < 0)
		return -1;
	if (id != was)
		return trial_fail(t, "it came back as %x.%u and was %x.%u", (unsigned)(id >> 32), (unsigned)id,
				  (unsigned)(was >> 32), (unsigned)was);
	return 0;
}

/* ---- an exchange that is disturbed ------------------------------------------------------------------------------- */

static int answered(const brood_event *ev)
{
	struct trial *t = ev->data;
	t->answered++;
	if (!ev->msg)
		return trial_fail(t, "a request that was open ended with: %s", ev->error->text);
	if (ev->msg->length != sizeof t->asked)
		return trial_fail(t, "a reply has %zu bytes instead of %zu", ev->msg->length, sizeof t->asked);
	return 0;
}

/* They want room in the window too, so that may take a while. */
static int ask_some(struct trial *t)
{
	int64_t end = trial_now_ms() + t->patience_ms;
	for (int asked = 0; asked < QUESTIONS && !t->reason[0];) {
		int64_t id = brood_request(t->peer, BROOD_MSG("conform.question", &t->asked, sizeof t->asked),
					   QUESTION_MS, answered, t);
		if (id < 0 && (id != -EAGAIN || trial_now_ms() > end))
			return trial_fail(t, "cannot ask: %s", brood_last_error(t->b)->text);
		if (id < 0)
			take_for(t, STEP_MS / 10);
		asked += id >= 0;
		t->asked += id >= 0;
	}
	return t->reason[0] ? -1 : 0;
}

static int await_answers(struct trial *t)
{
	int64_t end = trial_now_ms() + t->patience_ms;
	while (t->answered < t->asked && !t->reason[0]) {
		if (trial_now_ms() > end)
			return trial_fail(t, "%llu of %llu requests that were open were answered",
					  (unsigned long long)t->answered, (unsigned long long)t->asked);
		take_for(t, STEP_MS);
	}
	return t->reason[0] ? -1 : 0;
}

struct disturbance {
	int (*upset)(struct trial *, uint64_t part, unsigned time);
	unsigned times;
};

/* Each disturbance has a part of the messages to itself, which it sends. */
static int endure(struct trial *t, uint64_t n, size_t length, const struct disturbance *d)
{
	uint64_t id, part = n / (d->times + 1);
	if (find_holder(t, &id) < 0)
		return -1;
	trial_begin(t, length, trial_plain_type);
	t->asked = t->answered = 0;
	for (unsigned time = 1; time <= d->times; time++)
		if (ask_some(t) < 0 || d->upset(t, part, time) < 0 || await_return(t, id) < 0 ||
		    trial_advance(t, time * part, time * part) < 0)
			return -1;
	return trial_advance(t, n, n) < 0 ? -1 : await_answers(t);
}

/* ---- what is done to it ------------------------------------------------------------------------------------------ */

/* After some bytes more; and sometimes again when it comes back, in the middle of its HELLO or soon after. */
static int cut(struct trial *t, uint64_t part, unsigned time)
{
	static const uint64_t again[] = { 0, 20, 0, 70, 150, 0, 1, 4000 };
	unsigned cuts = tap_cuts(t->tap) + 1;
	int64_t end = trial_now_ms() + t->patience_ms;
	tap_cut(t->tap, 1 + 997 * time * time, (enum tap_cut)(time % TAP_CUTS), again[time % 8]);
	while (tap_cuts(t->tap) < cuts && !t->reason[0]) {
		if (trial_now_ms() > end)
			return trial_fail(t, "nothing moved any more before its connection was cut");
		if (trial_send_more(t, time * part) < 0)
			return -1;
		take_for(t, STEP_MS / 10);
	}
	return t->reason[0] ? -1 : 0;
}

/* A broker that leaves in order waits for us, too. */
static int end_broker(struct trial *t, int signo)
{
	int rc = testbed_signal(&t->bed, signo);
	while (rc == 0 && (rc = testbed_await_end(&t->bed, STEP_MS / 10)) == -ETIMEDOUT && !t->reason[0]) {
		take_for(t, STEP_MS / 10);
		rc = 0;
	}
	return rc < 0 ? trial_fail(t, "the broker could not be ended: %s", strerror(-rc)) : t->reason[0] ? -1 : 0;
}

static int start_broker(struct trial *t)
{
	int rc = testbed_start(&t->bed);
	return rc < 0 ? trial_fail(t, "the broker could not be started again: %s", strerror(-rc)) : 0;
}

static int replace(struct trial *t, int signo)
{
	return end_broker(t, signo) < 0 ? -1 : start_broker(t);
}

/* While most of the messages are under way. */
static int kill_broker(struct trial *t, uint64_t part, unsigned time)
{
	return trial_advance(t, time * part, (time - 1) * part + part / 8) < 0 ? -1 : replace(t, SIGKILL);
}

static int replace_broker(struct trial *t, uint64_t part, unsigned time)
{
	return trial_advance(t, time * part, (time - 1) * part + part / 8) < 0 ? -1 : replace(t, SIGUSR2);
}

/* ---- the checks -------------------------------------------------------------------------------------------------- */

/* Nobody has seen it so far but the broker, which waits for who said the first HELLO unless the second one is his. */
static int check_hello(struct trial *t)
{
	uint64_t id;
	unsigned lost;
	tap_cut_answer(t->tap);
	if (trial_await(t, &t->ready, "the name was not registered") < 0 || await_holder(t, &id, &lost) < 0)
		return -1;
	return lost ? trial_fail(t, "it came back as somebody else") : 0;
}

static int check_cut(struct trial *t)
{
	return endure(t, 24000, 300, &(struct disturbance){ cut, 12 });
}

static int check_cut_fragments(struct trial *t)
{
	return endure(t, 60, 300000, &(struct disturbance){ cut, 6 });
}

static int check_kill(struct trial *t)
{
	return endure(t, 20000, 300, &(struct disturbance){ kill_broker, 3 });
}

static int check_replace(struct trial *t)
{
	return endure(t, 20000, 300, &(struct disturbance){ replace_broker, 2 });
}

static int note_found(const brood_event *ev)
{
	struct trial *t = ev->data;
	const brood_msg *m = ev->msg;
	t->found |= strcmp(m->type, "conform.found") == 0;
	return 0;
}

/* Somebody takes the name; the client, which watches it, writes to him. */
static int be_found(struct trial *t, const char *name)
{
	brood *other;
	int rc = brood_connect(&other, t->bed.address,
			       BROOD_OPTIONS(.name = name, .on = BROOD_ON(.message = note_found), .data = t));
	if (rc < 0)
		return trial_fail(t, "cannot connect once more: %s", strerror(-rc));
	int64_t end = trial_now_ms() + t->patience_ms;
	while (!t->found && trial_now_ms() < end && brood_process(other, STEP_MS) >= 0)
		take_for(t, STEP_MS);
	brood_close(other);
	return t->found ? 0 : trial_fail(t, "it does not notice who holds a name that it watched before");
}

static int check_watch(struct trial *t)
{
	char name[sizeof t->name + 8];
	uint64_t id;
	snprintf(name, sizeof name, "%s.seen", t->name);
	t->found = 0;
	/* the message that comes back shows that the one before it was handled */
	if (brood_send(t->peer, BROOD_MSG("conform.watch", name, strlen(name))) < 0)
		return trial_fail(t, "cannot send conform.watch: %s", brood_last_error(t->b)->text);
	if (trial_exchange(t, 1, 8) < 0 || find_holder(t, &id) < 0 || replace(t, SIGKILL) < 0 ||
	    await_return(t, id) < 0)
		return -1;
	return be_found(t, name);
}

static int check_back_off(struct trial *t)
{
	uint64_t id;
	if (find_holder(t, &id) < 0)
		return -1;
	unsigned before = tap_attempts(t->tap);
	int64_t begin = trial_now_ms();
	if (end_broker(t, SIGKILL) < 0)
		return -1;
	take_for(t, AWAY_MS);
	unsigned attempts = tap_attempts(t->tap) - before;
	int64_t took = trial_now_ms() - begin;
	if (start_broker(t) < 0)
		return -1;
	if (attempts > ATTEMPTS_MOST * (uint64_t)took / AWAY_MS)
		return trial_fail(t, "it tried to connect %u times in %lld ms while no broker was there", attempts,
				  (long long)took);
	return await_return(t, id) < 0 ? -1 : trial_exchange(t, 100, 300);
}

/* From here on our own connection is leaving too, so whether the client has ended is what its process says. */
static int check_stopping(struct trial *t)
{
	struct brood_peer_info info;
	unsigned before = tap_attempts(t->tap);
	int64_t end = trial_now_ms() + t->patience_ms;
	BROOD_INIT(info);
	if (trial_exchange(t, 100, 300) < 0)
		return -1;
	if (testbed_signal(&t->bed, SIGTERM) < 0)
		return trial_fail(t, "the broker could not be stopped");
	while (brood_info(t->child, &info) == 0 && !info.exit && trial_now_ms() < end) {
		tap_turn(t->tap);
		(void)brood_process(t->b, STEP_MS / 10);
	}
	if (tap_attempts(t->tap) > before)
		return trial_fail(t, "it came back, although the broker is stopping");
	if (!info.exit)
		return trial_fail(t, "the broker stopped, and it did not end");
	if (info.exit->cause != BROOD_EXITED || info.exit->code != 0)
		return trial_fail(t, "the broker stopped, and it ended with: %s", info.exit->text);
	return 0;
}

const struct check conform_level1[] = {
	{ "comes back: the answer to its first HELLO is lost", check_hello, CHECK_BASIS },
	{ "comes back: its connection is cut 12 times at some byte", check_cut, 0 },
	{ "comes back: its connection is cut within fragments", check_cut_fragments, 0 },
	{ "comes back: the broker is killed", check_kill, 0 },
	{ "comes back: the broker is replaced", check_replace, 0 },
	{ "comes back: watches again what it watched", check_watch, 0 },
	{ "comes back: does not hammer while there is no broker", check_back_off, 0 },
	{ "finishes when the broker stops", check_stopping, 0 },
	{ NULL, NULL, 0 },
};
