/*
 * ledger: see ledger.h.
 */
#include "ledger.h"
#include "memory.h"
#include "nodes.h"
#include "process.h"
#include <stdlib.h>
#include <string.h>

struct target {
	int from, to;
	unsigned parted; /* index of the first that was sent after the other was told to be gone */
	unsigned n, size;
	unsigned *entries;          /* accepted, in order */
	unsigned next[ACTORS_MOST]; /* by receiver: the lowest index that may come next */
};

struct ledger ledger;
static struct target *targets[TARGETS_MOST];
static int n_targets;
static struct entry *entries;
static unsigned n_entries, size_entries;

void ledger_reset(void)
{
	while (n_targets > 0) {
		host_free(targets[--n_targets]->entries);
		host_free(targets[n_targets]);
	}
	n_entries = 0;
	memset(&ledger, 0, sizeof(ledger));
}

int actor_new(int pid, int parent)
{
	if (ledger.n_actors == ACTORS_MOST)
		abort();
	ledger.actors[ledger.n_actors] = (struct actor){ .pid = pid, .node = process_of(pid)->node, .parent = parent };
	return ledger.n_actors++;
}

int actor_by_address(int node, const char *address)
{
	char real[ADDRESS_TEXT];
	int of_node = node_of_address(node, address, real);
	for (int i = ledger.n_actors - 1; i >= 0; i--)
		if (*address && ledger.actors[i].node == of_node && strcmp(ledger.actors[i].address, real) == 0)
			return i;
	return -1;
}

int actor_is_over(int actor)
{
	const struct actor *a = &ledger.actors[actor];
	return a->state != ACTOR_ALIVE || a->failed || !process_of(a->pid);
}

int target_new(int from, int to)
{
	if (n_targets == TARGETS_MOST)
		abort();
	struct target *t = targets[n_targets] = host_alloc(sizeof(*t));
	t->from = from;
	t->to = to;
	return n_targets++;
}

void target_settle(int target, int to)
{
	targets[target]->to = to;
}

int target_from(int target)
{
	return targets[target]->from;
}

int target_to(int target)
{
	return targets[target]->to;
}

unsigned entry_new(int target, size_t length, uint64_t deadline, int is_request, int fds)
{
	if (n_entries == size_entries)
		entries = host_grow(entries, (size_entries = 2 * size_entries + 256) * sizeof(*entries));
	entries[n_entries] = (struct entry){ .target = target,
					     .index = targets[target]->n,
					     .length = length,
					     .deadline = deadline,
					     .is_request = is_request,
					     .fds = fds,
					     .receiver = -1 };
	return n_entries++;
}

void entry_accepted(unsigned entry, int yes)
{
	struct entry *e = &entries[entry];
	struct target *t = targets[e->target];
	e->accepted = yes;
	e->refused = !yes;
	if (!yes) {
		if (e->deliveries)
			broken("message %u was refused, and arrived", entry);
		return;
	}
	if (t->n == t->size)
		t->entries = host_grow(t->entries, (t->size = 2 * t->size + 16) * sizeof(*t->entries));
	t->entries[t->n++] = entry;
	ledger.actors[t->from].open_requests += e->is_request && !e->ended;
	ledger.actors[t->from].missing += !e->is_request && !e->deliveries;
	ledger.actors[t->from].sent_fds |= e->fds;
}

int entry_target(unsigned entry)
{
	return entries[entry].target;
}

int entry_sender(unsigned entry)
{
	return entry < n_entries ? targets[entries[entry].target]->from : -1;
}

void entry_cancelled(unsigned entry)
{
	entries[entry].cancelled = 1;
}

void target_parted(int target)
{
	targets[target]->parted = targets[target]->n;
}

int ledger_is_leaving(int pid)
{
	for (int i = 0; i < ledger.n_actors; i++)
		if (ledger.actors[i].pid == pid && ledger.actors[i].state != ACTOR_ALIVE)
			return 1;
	return 0;
}

static int all_is_known(int actor)
{
	const struct actor *a = &ledger.actors[actor];
	return a->missing <= a->reported;
}

/* It need not arrive although one behind it did. */
static int may_be_left_out(const struct entry *e)
{
	return e->deliveries || e->fds || (e->is_request && e->deadline <= booted());
}

static void check_order(const struct entry *e, unsigned entry, int receiver)
{
	struct target *t = targets[e->target];
	unsigned next = t->next[receiver];
	if (e->index < next && !(e->index < t->parted && ledger_are_parted(t->from, receiver)))
		broken("message %u (number %u from actor %d) came to actor %d behind number %u", entry, e->index,
		       t->from, receiver, next - 1);
	if (t->to >= 0 && t->to != receiver)
		broken("message %u for actor %d came to actor %d", entry, t->to, receiver);
	for (unsigned i = next; t->to >= 0 && i < e->index && i < t->n; i++)
		if (!may_be_left_out(&entries[t->entries[i]]))
			broken("message %u (number %u from actor %d to actor %d) is lost: number %u came",
			       t->entries[i], i, t->from, receiver, e->index);
	if (e->index >= next)
		t->next[receiver] = e->index + 1;
}

void entry_written(unsigned entry)
{
	if (entry < n_entries)
		entries[entry].written = 1;
}

void entry_delivered(unsigned entry, int receiver, size_t length)
{
	trace("delivered", entry, (uint64_t)receiver, length);
	if (entry >= n_entries) {
		broken("a message came that nobody sent");
		return;
	}
	struct entry *e = &entries[entry];
	if (e->refused)
		broken("message %u was refused, and arrived", entry);
	if (e->deliveries++)
		broken("message %u came twice, to actors %d and %d", entry, e->receiver, receiver);
	else
		check_order(e, entry, receiver);
	if (e->accepted && !e->is_request && e->deliveries == 1)
		ledger.actors[targets[e->target]->from].missing--;
	if (e->length != length)
		broken("message %u of %zu bytes came with %zu", entry, e->length, length);
	e->receiver = receiver;
	ledger.actors[targets[e->target]->from].heard = 1;
}

int ledger_are_parted(int a, int b)
{
	return ledger.parted && ledger.actors[a].node != ledger.actors[b].node;
}

/* Whether anybody may hear that this target is gone. */
static int may_be_gone(int from, int to)
{
	const struct actor *a = &ledger.actors[from];
	return ledger.excused || a->failed || a->state != ACTOR_ALIVE || to < 0 || actor_is_over(to) || a->estranged ||
	       ledger.actors[to].estranged || ledger_are_parted(from, to);
}

static void check_error(unsigned entry, const struct entry *e, const char *error)
{
	int from = targets[e->target]->from, to = targets[e->target]->to;
	if (strcmp(error, "deadline") == 0 && e->deadline > booted())
		broken("request %u ended before its deadline", entry);
	if (strcmp(error, "cancelled") == 0 && !e->cancelled && ledger.actors[from].state == ACTOR_ALIVE)
		broken("request %u was cancelled by nobody", entry);
	if (strncmp(error, "peer.", 5) == 0 && !may_be_gone(from, to))
		broken("request %u ended with %s although actor %d lives", entry, error, to);
}

void entry_ended(unsigned entry, const char *error, unsigned answered)
{
	struct entry *e = &entries[entry];
	trace("request.ended", entry, answered, 0);
	trace_text("request.error", error ? error : "");
	if (e->ended++)
		broken("request %u ended twice", entry);
	else if (e->accepted)
		ledger.actors[targets[e->target]->from].open_requests--;
	if (error)
		check_error(entry, e, error);
	else if (answered != entry)
		broken("request %u got the answer to %u", entry, answered);
	else if (!e->deliveries)
		broken("request %u was answered by nobody", entry);
}

void ledger_reported(int actor, int target, const char *text)
{
	unsigned n = (unsigned)strtoul(text, NULL, 10);
	trace_text("reported", text);
	ledger.actors[actor].reported += n;
	int to = target < 0 ? -1 : targets[target]->to;
	if (to >= 0 && !may_be_gone(actor, to) && !ledger.actors[actor].sent_fds)
		broken("actor %d hears \"%s\" although actor %d lives", actor, text, to);
}

void ledger_exit_told(int child, int parent)
{
	const struct actor *a = &ledger.actors[child], *b = &ledger.actors[parent];
	for (unsigned i = 0; i < n_entries && !ledger.cut && !a->estranged && !b->estranged; i++) {
		const struct entry *e = &entries[i];
		const struct target *t = targets[e->target];
		if (t->from == child && t->to == parent && e->written && !may_be_left_out(e) && !ledger.excused)
			broken("EXIT of actor %d was told to actor %d before its message %u", child, parent, i);
	}
}

/* What an actor sent and nobody got. */
static void show_missing(int actor)
{
	for (unsigned i = 0; i < n_entries; i++) {
		const struct entry *e = &entries[i];
		if (e->accepted && !e->is_request && !e->deliveries && targets[e->target]->from == actor)
			trace("missing", i, (uint64_t)actor, (uint64_t)targets[e->target]->to);
		if (e->accepted && e->is_request && !e->ended && targets[e->target]->from == actor)
			trace("unanswered", i, (uint64_t)actor, (uint64_t)e->receiver);
	}
}

int ledger_is_settled(int say)
{
	int settled = 1;
	for (int i = 0; i < ledger.n_actors; i++) {
		const struct actor *a = &ledger.actors[i];
		if (actor_is_over(i) || (!a->open_requests && all_is_known(i)))
			continue;
		settled = 0;
		if (!say)
			return 0;
		trace("unsettled", (uint64_t)i, a->open_requests, a->reported);
		show_missing(i);
	}
	return settled;
}

/* Who left in peace within his time had everything received by those who lived on. */
void ledger_close(void)
{
	for (unsigned i = 0; i < n_entries; i++) {
		const struct entry *e = &entries[i];
		const struct target *t = targets[e->target];
		const struct actor *a = &ledger.actors[t->from], *b = t->to < 0 ? NULL : &ledger.actors[t->to];
		if (!e->accepted || e->is_request || e->deliveries || e->fds || a->reported)
			continue;
		if (a->state != ACTOR_CLOSED || a->failed || a->close_took >= a->flush_ms * MS || ledger.excused)
			continue;
		if (b && ledger_are_parted(t->from, t->to))
			continue;
		if (b && !b->failed && !b->estranged && !a->estranged && b->ready &&
		    (b->state == ACTOR_ALIVE || b->close_began > a->close_began + a->close_took) && process_of(b->pid))
			broken("message %u from actor %d, which closed in peace, never came to actor %d", i, t->from,
			       t->to);
	}
}
