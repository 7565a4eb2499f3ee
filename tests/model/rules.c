/*
 * rules: see rules.h.
 *
 * A connection has two ends that learn of its loss at different times: `library` and `broker` of a process. While only
 * the library believes in it, what it writes is lost and what was on its way to it can still be read; while only the
 * broker does, the other way round. A broker that is killed loses all it knows; a new one is there at once, because how
 * long it takes changes nothing for those who have to come back anyway.
 *
 * That a sender which is held may try a message now and then is among the faults: it must do no harm, and nothing may
 * depend on it.
 */
#include "rules.h"
#include <string.h>

#define QUEUE 1u    /* DATA frames that the broker keeps for R */
#define QUEUE_UP 1u /* frames that it keeps for S */
#define PIPE_OUT 1u /* frames that a library writes before it has to wait */
#define OTHER(x) (1 - (x))

enum mutant {
	NONE,
	NO_HOLD_AT_CUT,
	NO_HOLD_AT_FENCE,
	NO_GO,
	SILENT_DROP,
	NO_GRACE,
	EXPIRE_IN_GRACE,
	RETURN_AFTER_GONE,
	NO_GONE,
	NO_REWIND_ON_GO,
	NO_REWIND_ON_RETURN,
	NO_READ,
	ACK_TAKEN,
	ACCEPT_NEWER,
	ACCEPT_OLDER,
	NO_ACK_ON_GO,
	NO_RESET_ON_PROBE,
	NO_PROBE,
	FORGET,
	NO_RESET,
	RENUMBER,
	RESET_ANY_STREAM,
	RESET_AT_GAP,
	RESET_ACKS_TAKEN
};

static const struct {
	const char *name, *what;
} mutants[] = {
	[NONE] = { "", "" },
	[NO_HOLD_AT_CUT] = { "no-hold-at-cut", "the broker does not hold senders when the receiver's connection ends" },
	[NO_HOLD_AT_FENCE] = { "no-hold-at-fence", "nor when a newer connection replaces one that looked alive" },
	[NO_GO] = { "no-go", "the broker says no GO when the receiver is back" },
	[SILENT_DROP] = { "silent-drop", "the broker drops without HOLD when its queue is full" },
	[NO_GRACE] = { "no-grace", "a new broker says GONE of ids that it does not know yet" },
	[EXPIRE_IN_GRACE] = { "expire-in-grace", "sessions expire also while ids that are unknown may come back" },
	[RETURN_AFTER_GONE] = { "return-after-gone", "a session may return after it expired" },
	[NO_GONE] = { "no-gone", "the end of a session is told to nobody" },
	[NO_REWIND_ON_GO] = { "no-rewind-on-go", "after GO the sender goes on where it was" },
	[NO_REWIND_ON_RETURN] = { "no-rewind-on-return", "after its own return the sender goes on where it was" },
	[NO_READ] = { "no-read", "the sender does not read while its window is full" },
	[ACK_TAKEN] = { "ack-taken", "the receiver acknowledges what it took and did not consume yet" },
	[ACCEPT_NEWER] = { "accept-newer", "the receiver takes what comes behind a gap" },
	[ACCEPT_OLDER] = { "accept-older", "the receiver takes what comes again" },
	[NO_ACK_ON_GO] = { "no-ack-on-go", "the receiver does not repeat its acknowledgement after GO" },
	[NO_RESET_ON_PROBE] = { "no-reset-on-probe", "the receiver does not answer PROBE with RESET" },
	[NO_PROBE] = { "no-probe", "after its return a process says nothing to those it knows" },
	[FORGET] = { "forget", "the receiver forgets a sender that was GONE for another reason than a seen end" },
	[NO_RESET] = { "no-reset", "the receiver is silent to a sender that returns after GONE" },
	[RENUMBER] = { "renumber", "after RESET the sender begins with 1 under the same stream number" },
	[RESET_ANY_STREAM] = { "reset-any-stream", "RESET is taken for the stream that is open, whichever it names" },
	[RESET_AT_GAP] = { "reset-at-gap",
			   "a receiver that knows nothing answers what does not begin with 1 with RESET" },
	[RESET_ACKS_TAKEN] = { "reset-acks-taken", "RESET acknowledges also what was taken and is not consumed yet" },
};

static enum mutant mutant;

const char *rules_mutant(int i, const char **what)
{
	if (i < 0 || (size_t)i + 1 >= sizeof mutants / sizeof *mutants)
		return NULL;
	*what = mutants[i + 1].what;
	return mutants[i + 1].name;
}

int rules_mutate(const char *name)
{
	mutant = NONE;
	for (size_t i = 1; name && i < sizeof mutants / sizeof *mutants; i++)
		if (strcmp(name, mutants[i].name) == 0)
			mutant = (enum mutant)i;
	return name && mutant == NONE ? -1 : 0;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

/* The list that is being made. */
struct list {
	const struct state *from;
	struct next *next;
	int n;
};

/* A new step, from which its caller goes on. */
static struct state *step(struct list *l, enum step_kind kind, const char *what, int number)
{
	struct next *x = &l->next[l->n++];
	x->state = *l->from;
	x->kind = kind;
	x->what = what;
	x->number = number;
	x->wrong = NULL;
	return &x->state;
}

static void wrong(struct list *l, const char *what)
{
	struct next *x = &l->next[l->n - 1];
	if (!x->wrong)
		x->wrong = what;
}

/* ---- frames in pipes --------------------------------------------------------------------------------------------- */

static unsigned pipe_length(const uint8_t pipe[PIPE])
{
	unsigned n = 0;
	while (n < PIPE && pipe[n] != NO_FRAME)
		n++;
	return n;
}

static unsigned pipe_data(const uint8_t pipe[PIPE])
{
	unsigned n = 0;
	for (unsigned i = 0; i < PIPE; i++)
		n += (pipe[i] & 0xF0) == DATA;
	return n;
}

static void pipe_put(uint8_t pipe[PIPE], uint8_t frame)
{
	unsigned n = pipe_length(pipe);
	if (n < PIPE)
		pipe[n] = frame;
}

static uint8_t pipe_take(uint8_t pipe[PIPE])
{
	uint8_t frame = pipe[0];
	memmove(pipe, pipe + 1, PIPE - 1);
	pipe[PIPE - 1] = NO_FRAME;
	return frame;
}

static void pipe_cut(uint8_t pipe[PIPE], unsigned keep)
{
	memset(pipe + keep, NO_FRAME, PIPE - keep);
}

static uint8_t about(unsigned kind, unsigned stream, unsigned number)
{
	return (uint8_t)(kind | stream << 3 | number);
}

static unsigned expected(const struct inflow *in)
{
	return in->next ? in->next : 1;
}

static uint8_t reset(unsigned stream, const struct inflow *in)
{
	return (uint8_t)(RESET | stream << 5 | expected(in) << 2 | in->consumed);
}

/* ---- the broker -------------------------------------------------------------------------------------------------- */

/* To a library. What nobody reads any more is lost. */
static void tell(struct state *s, int to, uint8_t frame)
{
	if (s->p[to].broker && s->p[to].library)
		pipe_put(s->p[to].down, frame);
}

/* Every rule that tells something waits until there is room for what it may tell; both libraries always read. */
static int has_room(const struct state *s)
{
	return pipe_length(s->p[S].down) + 2 <= PIPE && pipe_length(s->p[R].down) + 2 <= PIPE;
}

/* From now on nothing comes from `from`. */
static void hold(struct state *s, int from)
{
	if (s->p[from].held)
		return;
	s->p[from].held = 1;
	tell(s, from, HOLD);
}

static int is_full(const struct state *s, int to)
{
	return to == R ? pipe_data(s->p[R].down) >= QUEUE : pipe_length(s->p[S].down) >= QUEUE_UP;
}

/* Of somebody who is not there: is that for now? */
static int may_return(const struct state *s, int x)
{
	return s->p[x].known || (s->grace && mutant != NO_GRACE);
}

static void route(struct state *s, int from, uint8_t frame)
{
	int to = OTHER(from);
	struct process *f = &s->p[from];
	if (!may_return(s, to)) {
		s->p[to].ended = 1;
		tell(s, from, GONE);
		return;
	}
	f->edge = 1;
	if (!s->p[to].broker)
		hold(s, from);
	else if (!f->held && is_full(s, to) && mutant == SILENT_DROP)
		return;
	else if (!f->held && is_full(s, to))
		hold(s, from);
	if (!f->held)
		tell(s, to, frame);
}

static void broker_reads(struct list *l, int from)
{
	static const char *const what[] = { "B reads from S and routes or drops",
					    "B reads from R and routes or drops" };
	const struct process *f = &l->from->p[from];
	if (!f->broker || f->up[0] == NO_FRAME || !has_room(l->from))
		return;
	struct state *s = step(l, STEP, what[from], 0);
	route(s, from, pipe_take(s->p[from].up));
	if (from == R && l->from->crowds && l->from->p[S].broker) {
		s = step(l, FAULT, "B has too much for S and drops what R sent", 0);
		s->crowds--;
		s->p[R].edge = 1;
		pipe_take(s->p[R].up);
		hold(s, R);
	}
}

static void broker_says_go(struct list *l, int from)
{
	static const char *const what[] = { "B says GO to S", "B says GO to R" };
	const struct state *now = l->from;
	int to = OTHER(from), below_half = to == R ? pipe_data(now->p[R].down) == 0 : pipe_length(now->p[S].down) == 0;
	if (!now->p[from].held || !now->p[to].broker || !below_half || !has_room(now) || mutant == NO_GO)
		return;
	struct state *s = step(l, STEP, what[from], 0);
	s->p[from].held = 0;
	tell(s, from, GO);
}

/* The broker has no connection of x any more; of what it had written, `keep` frames can still be read. */
static void detach(struct state *s, int x, unsigned keep)
{
	struct process *p = &s->p[x];
	p->broker = 0;
	pipe_cut(p->up, 0);
	pipe_cut(p->down, p->library ? keep : 0);
	if (s->p[OTHER(x)].edge && mutant != NO_HOLD_AT_CUT)
		hold(s, OTHER(x));
}

/* x is gone for good. Whoever exchanged frames with it hears so; who is not there hears it when it asks. */
static void end(struct state *s, int x)
{
	int other = OTHER(x), related = s->p[x].edge || s->p[other].edge;
	s->p[x].known = 0;
	s->p[x].ended = 1;
	s->p[x].edge = s->p[x].held = s->p[other].edge = s->p[other].held = 0;
	if (related && mutant != NO_GONE)
		tell(s, other, GONE);
}

static void broker_notices(struct list *l, int x)
{
	static const char *const hang_up[] = { "B notices that S's connection is lost",
					       "B notices that R's connection is lost" };
	static const char *const death[] = { "B notices that S is dead", "B notices that R is dead" };
	const struct process *p = &l->from->p[x];
	if (!has_room(l->from))
		return;
	if (p->broker && !p->library && p->up[0] == NO_FRAME)
		detach(step(l, STEP, hang_up[x], 0), x, 0);
	if (p->known && !p->broker && p->life == DEAD)
		end(step(l, STEP, death[x], 0), x);
}

static void broker_expires(struct list *l, int x)
{
	static const char *const what[] = { "S is away for 120 s: B ends it", "R is away for 120 s: B ends it" };
	const struct state *now = l->from;
	if (!now->p[x].known || now->p[x].broker || now->p[x].life == DEAD || !now->expiries || !has_room(now) ||
	    (now->grace && mutant != EXPIRE_IN_GRACE))
		return;
	struct state *s = step(l, FAULT, what[x], 0);
	s->expiries--;
	s->expired = 1;
	end(s, x);
}

/* Those that did not come until then are gone; it costs an expiry for each that lives. */
static void broker_ends_grace(struct list *l)
{
	const struct state *now = l->from;
	unsigned cost = 0;
	for (int x = S; x <= R; x++)
		cost += !now->p[x].known && now->p[x].life == LIVES;
	if (!now->grace || cost > now->expiries || !has_room(now))
		return;
	struct state *s = step(l, cost ? FAULT : STEP, "the grace ends: who did not come is gone", 0);
	s->grace = 0;
	s->expiries = (uint8_t)(s->expiries - cost);
	s->expired |= cost > 0;
	for (int x = S; x <= R; x++)
		if (!now->p[x].known)
			end(s, x);
}

/* ---- what S reports ---------------------------------------------------------------------------------------------- */

/* "Outcome unknown" for those below `known`, "not delivered" for those from there on. */
static void report(struct list *l, struct state *s, unsigned known)
{
	if (s->unacked < s->submitted && s->p[R].life == LIVES && !s->expired && !s->evicted)
		wrong(l, "a loss is reported although both live and nobody was away too long");
	for (unsigned m = s->unacked; m < s->submitted; m++)
		if (m < known)
			s->unknown |= (uint8_t)(1u << m);
		else
			s->undelivered |= (uint8_t)(1u << m);
	s->unacked = s->next = s->submitted;
	if ((s->undelivered & s->taken) && !s->evicted)
		wrong(l, "\"not delivered\" is reported of a message that was");
}

static void acknowledged(struct list *l, struct state *s, unsigned m)
{
	if (m < s->unacked || m >= s->submitted)
		return;
	for (; s->unacked <= m; s->unacked++)
		s->acked |= (uint8_t)(1u << s->unacked);
	if (s->next < s->unacked)
		s->next = s->unacked;
	if (s->acked & ~s->taken)
		wrong(l, "a message was acknowledged that never came");
}

/* ---- S ----------------------------------------------------------------------------------------------------------- */

static void send_data(struct state *s, unsigned m)
{
	if (s->p[S].broker)
		pipe_put(s->p[S].up, about(DATA, s->stream, m - s->base + 1u));
}

static int can_write(const struct process *p)
{
	return p->life == LIVES && p->library && pipe_length(p->up) < PIPE_OUT;
}

/* What it is asked to send while it cannot is not lost before it was sent, so it need not be looked at. */
static int may_say_more(const struct state *s)
{
	return s->submitted <= s->messages && s->submitted - s->unacked < WINDOW;
}

/*
 * The alarm, when all was sent and nothing comes back. Elsewhere nothing may depend on it, so it is looked at only where
 * the rules do: R gave S up, or forgot it.
 */
static int may_be_forgotten(const struct state *s)
{
	return !s->p[S].hold && s->unacked < s->submitted && s->next == s->submitted && s->p[S].up[0] == NO_FRAME &&
	       (s->in[s->stream].closed || s->evicted);
}

static void sender_sends(struct list *l)
{
	const struct state *now = l->from;
	const struct process *p = &now->p[S];
	if (!can_write(p) || now->over)
		return;
	if (now->probe) {
		struct state *s = step(l, STEP, "S sends a PROBE", 0);
		s->probe = 0;
		if (p->broker)
			pipe_put(s->p[S].up, PROBE);
	}
	if (!p->hold && (now->next < now->submitted || may_say_more(now))) {
		struct state *s = step(l, STEP, "S sends message %d", now->next);
		send_data(s, s->next++);
		s->submitted = s->submitted < s->next ? s->next : s->submitted;
	}
	if (may_be_forgotten(now)) {
		struct state *s = step(l, STEP, "S, 10 s without an answer, sends a PROBE", 0);
		if (p->broker)
			pipe_put(s->p[S].up, PROBE);
	}
	if (p->hold && now->unacked < now->submitted && now->retries) {
		struct state *s = step(l, FAULT, "S, held, tries message %d", now->unacked);
		s->retries--;
		send_data(s, now->unacked);
	}
}

static void sender_hears_reset(struct list *l, struct state *s, uint8_t frame)
{
	unsigned stream = frame >> 5 & 1, next = frame >> 2 & 7, consumed = frame & 3;
	if (stream != s->stream && mutant != RESET_ANY_STREAM)
		return;
	if (mutant == RESET_ACKS_TAKEN)
		consumed = next - 1;
	if (consumed > 0)
		acknowledged(l, s, s->base + consumed - 1);
	report(l, s, s->base + next - 1);
	s->base = s->submitted;
	if (mutant == RENUMBER)
		return;
	if (s->stream == 0)
		s->second = s->base;
	s->stream++;
}

static void sender_reads(struct list *l)
{
	const struct state *now = l->from;
	const struct process *p = &now->p[S];
	if (p->life != LIVES || !p->library || p->down[0] == NO_FRAME)
		return;
	if (mutant == NO_READ && now->submitted - now->unacked == WINDOW)
		return;
	if ((p->down[0] & RESET) && now->stream + 1 >= STREAMS && (p->down[0] >> 5 & 1) == now->stream)
		return; /* a third stream: beyond what is explored, see sender_done() */
	uint8_t frame = p->down[0];
	struct state *s = step(l, STEP,
			       frame & RESET   ? "S reads RESET"
			       : frame & ACK   ? "S reads ACK %d"
			       : frame == HOLD ? "S reads HOLD"
			       : frame == GO   ? "S reads GO"
			       : frame == GONE ? "S reads GONE"
					       : "S reads PROBE",
			       frame & 7);
	pipe_take(s->p[S].down);
	if (frame & RESET) {
		if (!s->over)
			sender_hears_reset(l, s, frame);
	} else if (frame & ACK) {
		if ((frame >> 3 & 1) == s->stream)
			acknowledged(l, s, s->base + (frame & 7u) - 1);
	} else if (frame == HOLD) {
		s->p[S].hold = 1;
	} else if (frame == GO) {
		s->p[S].hold = 0;
		if (mutant != NO_REWIND_ON_GO)
			s->next = s->unacked;
	} else if (frame == GONE) {
		report(l, s, MESSAGES_MOST + 1);
		s->over = 1;
	}
}

/* ---- R ----------------------------------------------------------------------------------------------------------- */

/* Which message that is, for the observer. */
static unsigned message_of(const struct state *s, unsigned stream, unsigned number)
{
	return mutant == RENUMBER ? s->base + number - 1u : stream == 0 ? number : s->second + number - 1u;
}

static void receiver_takes(struct state *s, unsigned stream, unsigned number)
{
	struct inflow *in = &s->in[stream];
	in->next = (uint8_t)(number + 1);
	s->taken |= (uint8_t)(1u << message_of(s, stream, number));
}

static void receiver_hears_data(struct state *s, unsigned stream, unsigned number)
{
	struct inflow *in = &s->in[stream];
	s->heard_gone = 0;
	if (in->next == 0 && number == 1) {
		memset(in, 0, sizeof *in);
		receiver_takes(s, stream, number);
	} else if (in->closed) {
		in->owes_reset = mutant != NO_RESET;
	} else if (in->next == 0) { /* of a sender I know nothing of: a gap like any other */
		in->owes_reset = mutant == RESET_AT_GAP;
	} else if (number == in->next) {
		receiver_takes(s, stream, number);
	} else if (number < in->next) {
		in->owes_ack = 1;
		if (mutant == ACCEPT_OLDER && in->consumed >= number) {
			in->consumed = (uint8_t)(number - 1);
			in->next = (uint8_t)(number + 1);
		}
	} else if (mutant == ACCEPT_NEWER) {
		in->consumed = (uint8_t)(number - 1);
		receiver_takes(s, stream, number);
	}
}

/* What came before GONE stays valid; what comes after it is answered. */
static void receiver_hears_gone(struct state *s)
{
	s->heard_gone = 1;
	for (unsigned i = 0; i < STREAMS; i++)
		if (s->in[i].next > 0) {
			s->in[i].closed = 1;
			s->in[i].owes_ack = 0;
		}
}

static void receiver_says_all_again(struct state *s, int ack)
{
	for (unsigned i = 0; i < STREAMS; i++) {
		struct inflow *in = &s->in[i];
		in->owes_ack |= in->next > 0 && !in->closed && ack;
	}
}

/* What it gave up; and what it forgot, as far as a second PROBE shows that something is missing. */
static void receiver_resets_again(struct state *s)
{
	struct inflow *in = &s->in[s->stream];
	if ((in->closed && mutant != NO_RESET && mutant != NO_RESET_ON_PROBE) || (in->next == 0 && s->evicted))
		in->owes_reset = 1;
}

static void receiver_reads(struct list *l)
{
	const struct process *p = &l->from->p[R];
	if (p->life != LIVES || !p->library || p->down[0] == NO_FRAME)
		return;
	uint8_t frame = p->down[0];
	struct state *s = step(l, STEP,
			       frame & DATA    ? "R reads number %d"
			       : frame == HOLD ? "R reads HOLD"
			       : frame == GO   ? "R reads GO"
			       : frame == GONE ? "R reads GONE"
					       : "R reads PROBE",
			       frame & 7);
	pipe_take(s->p[R].down);
	if (frame & DATA) {
		receiver_hears_data(s, frame >> 3 & 1, frame & 7);
	} else if (frame == HOLD) {
		s->p[R].hold = 1;
	} else if (frame == GO) {
		s->p[R].hold = 0;
		receiver_says_all_again(s, mutant != NO_ACK_ON_GO);
	} else if (frame == GONE) {
		receiver_hears_gone(s);
	} else { /* PROBE */
		receiver_says_all_again(s, 1);
		receiver_resets_again(s);
	}
}

static int has_more(const struct inflow *in)
{
	return in->next > 0 && in->consumed + 1 < in->next;
}

/* In the order in which it came, also when a newer stream began meanwhile. */
static void receiver_consumes(struct list *l, unsigned stream)
{
	const struct inflow *now = &l->from->in[stream];
	if (l->from->p[R].life != LIVES || !has_more(now) || (stream > 0 && has_more(&l->from->in[0])))
		return;
	unsigned m = message_of(l->from, stream, now->consumed + 1u);
	struct state *s = step(l, STEP, "R consumes message %d", (int)m);
	s->in[stream].consumed++;
	s->in[stream].owes_ack |= !s->in[stream].closed;
	if ((s->consumed >> m & 1) && !s->evicted)
		wrong(l, "a message was consumed twice");
	else if (s->consumed >> m && !s->evicted)
		wrong(l, "a message was consumed after a later one");
	s->consumed |= (uint8_t)(1u << m);
}

static unsigned acknowledgement(const struct inflow *in)
{
	return mutant == ACK_TAKEN ? in->next - 1u : in->consumed;
}

static void receiver_answers(struct list *l, unsigned stream)
{
	const struct process *p = &l->from->p[R];
	const struct inflow *now = &l->from->in[stream];
	if (!can_write(p) || p->hold)
		return;
	if (now->owes_reset) {
		struct state *s = step(l, STEP, "R sends RESET, next is %d", (int)expected(now));
		s->in[stream].owes_reset = 0;
		s->in[stream].answered = 1;
		if (p->broker)
			pipe_put(s->p[R].up, reset(stream, now));
	} else if (now->owes_ack) {
		struct state *s = step(l, STEP, "R sends ACK %d", (int)acknowledgement(now));
		s->in[stream].owes_ack = 0;
		if (p->broker)
			pipe_put(s->p[R].up, about(ACK, stream, acknowledgement(now)));
	}
}

/* Forget what is only kept for a sender's return. */
static void receiver_forgets(struct list *l, unsigned stream)
{
	const struct state *now = l->from;
	const struct inflow *in = &now->in[stream];
	if (now->p[R].life != LIVES || !in->closed || has_more(in))
		return;
	if (now->evictions && !in->answered && !in->owes_reset) { /* those that answered lately go last */
		struct state *s = step(l, FAULT, "R has 65,536 others to remember and forgets S", 0);
		s->evictions--;
		s->evicted = 1;
		memset(&s->in[stream], 0, sizeof *in);
	}
	if (mutant == FORGET && now->p[S].life != DEAD)
		memset(&step(l, STEP, "R forgets S", 0)->in[stream], 0, sizeof *in);
}

/* ---- coming and going -------------------------------------------------------------------------------------------- */

/* The library's connection is lost; what was on its way to it is lost too. */
static void lose(struct state *s, int x)
{
	s->p[x].library = 0;
	pipe_cut(s->p[x].down, 0);
}

static void library_notices(struct list *l, int x)
{
	static const char *const what[] = { "S notices that its connection is lost",
					    "R notices that its connection is lost" };
	const struct process *p = &l->from->p[x];
	if (p->life == LIVES && p->library && !p->broker && p->down[0] == NO_FRAME)
		lose(step(l, STEP, what[x], 0), x);
}

/* Whatever it says tells the new broker that the two belong together. */
static void begin_again(struct state *s, int x)
{
	if (x == S && mutant != NO_REWIND_ON_RETURN)
		s->next = s->unacked;
	if (x == S)
		s->probe = s->submitted > 1 && s->unacked == s->submitted && !s->over && mutant != NO_PROBE;
	else if (!s->heard_gone && mutant != NO_PROBE)
		receiver_says_all_again(s, 1);
}

static void accept(struct list *l, struct state *s, int x)
{
	struct process *p = &s->p[x];
	if (p->ended)
		wrong(l, "a process is back of which this broker said that it is gone");
	if (p->broker && mutant == NO_HOLD_AT_FENCE)
		pipe_cut(p->up, 0);
	else if (p->broker)
		detach(s, x, 0);
	p->known = p->library = p->broker = 1;
	p->held = p->hold = 0;
	begin_again(s, x);
}

static void library_returns(struct list *l, int x)
{
	static const char *const back[] = { "S is back, with its ticket", "R is back, with its ticket" };
	static const char *const no[] = { "S is back too late and is refused", "R is back too late and is refused" };
	const struct state *now = l->from;
	if (now->p[x].life != LIVES || now->p[x].library || !has_room(now))
		return;
	if (now->p[x].known || now->grace || mutant == RETURN_AFTER_GONE) {
		accept(l, step(l, STEP, back[x], 0), x);
		return;
	}
	struct state *s = step(l, STEP, no[x], 0);
	s->p[x].life = REFUSED;
	if (x == S)
		report(l, s, MESSAGES_MOST + 1);
}

static void connection_is_cut(struct list *l, int x)
{
	static const char *const here[] = { "CUT at S's end, %d frames arrive", "CUT at R's end, %d frames arrive" };
	static const char *const there[] = { "CUT at B's end of S, %d frames arrive",
					     "CUT at B's end of R, %d frames arrive" };
	const struct process *p = &l->from->p[x];
	if (!l->from->cuts || !p->library || !p->broker || !has_room(l->from))
		return;
	for (unsigned keep = 0; keep <= pipe_length(p->up); keep++) {
		struct state *s = step(l, FAULT, here[x], (int)keep);
		s->cuts--;
		pipe_cut(s->p[x].up, keep);
		lose(s, x);
	}
	for (unsigned keep = 0; keep <= pipe_length(p->down); keep++) {
		struct state *s = step(l, FAULT, there[x], (int)keep);
		s->cuts--;
		detach(s, x, keep);
	}
}

static void forget_session(struct process *p, unsigned keep)
{
	p->broker = p->known = p->ended = p->edge = p->held = 0;
	pipe_cut(p->up, 0);
	pipe_cut(p->down, p->library ? keep : 0);
}

/* What the broker had written either arrives or does not, for each of the two. */
static void broker_is_killed(struct list *l)
{
	static const char *const what[] = { "KILL of B, what it wrote is lost", "KILL of B, what it wrote to S arrives",
					    "KILL of B, what it wrote to R arrives",
					    "KILL of B, what it wrote arrives" };
	if (!l->from->kills)
		return;
	for (unsigned choice = 0; choice < 4; choice++) {
		struct state *s = step(l, FAULT, what[choice], 0);
		s->kills--;
		s->grace = 1;
		forget_session(&s->p[S], choice & 1 ? PIPE : 0);
		forget_session(&s->p[R], choice & 2 ? PIPE : 0);
	}
}

static void process_dies(struct list *l, int x)
{
	static const char *const what[] = { "S DIES", "R DIES" };
	if (!l->from->deaths || l->from->p[x].life != LIVES)
		return;
	struct state *s = step(l, FAULT, what[x], 0);
	s->deaths--;
	s->p[x].life = DEAD;
	lose(s, x);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

void rules_begin(struct state *s, const struct faults *f)
{
	memset(s, 0, sizeof *s);
	for (int x = S; x <= R; x++)
		s->p[x].library = s->p[x].broker = s->p[x].known = 1;
	s->unacked = s->next = s->submitted = s->base = 1;
	s->kills = f->kills;
	s->cuts = f->cuts;
	s->expiries = f->expiries;
	s->deaths = f->deaths;
	s->evictions = f->evictions;
	s->retries = f->retries;
	s->crowds = f->crowds;
	s->messages = f->messages;
}

/* Of the dead and the refused, only what the broker still has matters. */
static void tidy(struct state *s)
{
	if (s->p[S].life != LIVES || s->over) {
		s->p[S].hold = s->probe = 0;
		s->unacked = s->next = s->submitted;
	}
	if (s->p[R].life != LIVES)
		memset(s->in, 0, sizeof s->in);
}

static void look_at(struct next *x)
{
	struct state *s = &x->state;
	if (s->p[R].life != LIVES && (s->acked & ~s->consumed) && !x->wrong)
		x->wrong = "a message was acknowledged, and its receiver ended without consuming it";
	tidy(s);
}

int rules_next(const struct state *s, struct next *next)
{
	struct list l = { s, next, 0 };
	for (int x = S; x <= R; x++) {
		broker_reads(&l, x);
		broker_says_go(&l, x);
		broker_notices(&l, x);
		broker_expires(&l, x);
		library_notices(&l, x);
		library_returns(&l, x);
		connection_is_cut(&l, x);
		process_dies(&l, x);
	}
	broker_ends_grace(&l);
	broker_is_killed(&l);
	sender_sends(&l);
	sender_reads(&l);
	receiver_reads(&l);
	for (unsigned stream = 0; stream < STREAMS; stream++) {
		receiver_consumes(&l, stream);
		receiver_answers(&l, stream);
		receiver_forgets(&l, stream);
	}
	for (int i = 0; i < l.n; i++)
		look_at(&next[i]);
	return l.n;
}

static int sender_done(const struct state *s)
{
	if (s->p[S].life != LIVES || s->over)
		return 1;
	if (s->stream + 1 >= STREAMS && (s->p[S].down[0] & RESET))
		return 1; /* a third stream: beyond what is explored */
	if (s->p[R].life != LIVES && s->submitted > 1)
		return 0; /* it has to hear so */
	return s->unacked > s->messages;
}

static int receiver_done(const struct state *s)
{
	if (s->p[R].life != LIVES)
		return 1;
	if (s->p[S].life != LIVES && !s->heard_gone && (s->in[0].next || s->in[1].next))
		return 0;
	return !has_more(&s->in[0]) && !has_more(&s->in[1]);
}

int rules_done(const struct state *s)
{
	return sender_done(s) && receiver_done(s);
}
