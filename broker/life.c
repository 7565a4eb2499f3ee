/*
 * life: the states of a process and the one goodbye.
 *
 *   live ──── connection ends ────> lost          if its parent will tell how it ended, or it can come back by itself
 *   live ──── connection ends ────> gone          else
 *   lost ──── new connection ─────> live
 *   lost ──── seen to have ended, or away too long ─────> gone
 *   lost ──── its parent says died ─────> gone
 *   lost ──── its parent is gone ───────> gone    unless it can come back by itself
 *   awaited ─ new connection ─────> live          known by id only, from an earlier run of the broker
 *
 * Whatever ends a process runs life_end(). The surprising rule: the end of a process can end its lost children, and
 * theirs; that is a list that is worked off, not a recursion, because families are as deep as their members like.
 */
#include "life.h"
#include "clock.h"
#include "control.h"
#include <stdlib.h>
#include <unistd.h>

static const char *const why_names[] = {
	[BROOD__WHY__WHY_UNKNOWN] = "unknown", [BROOD__WHY__WHY_LEFT] = "left",
	[BROOD__WHY__WHY_EXITED] = "exited",   [BROOD__WHY__WHY_LOST] = "lost",
	[BROOD__WHY__WHY_NOBODY] = "nobody",   [BROOD__WHY__WHY_CLOSED] = "closed",
	[BROOD__WHY__WHY_DENIED] = "denied",   [BROOD__WHY__WHY_RESTARTED] = "restarted",
};

static struct process *add(struct life *life, uint64_t id, uint32_t uid, const char *title,
			   enum process_transport transport, struct process *keeper)
{
	struct process *p = registry_add(life->registry, id, uid);

	if (!p)
		return NULL;
	if (registry_keep(p, keeper) < 0) {
		registry_remove(life->registry, p);
		return NULL;
	}
	registry_entitle(p, title);
	p->transport = (uint8_t)transport;
	p->since_ms = clock_ms();
	return p;
}

struct process *life_begin(struct life *life, uint64_t id, uint32_t uid, const char *title,
			   enum process_transport transport, struct process *keeper, struct sink *sink)
{
	struct process *p = add(life, id, uid, title, transport, keeper);

	if (!p)
		return NULL;
	router_attach(life->router, p, sink);
	log_say(life->log, LOG_PROCESS_CAME, FIELD_ID("id", id), FIELD_USER("uid", uid), FIELD_TEXT("title", title));
	return p;
}

struct process *life_expect(struct life *life, uint64_t id, uint32_t uid, const char *title, struct process *keeper)
{
	struct process *p = add(life, id, uid, title, TRANSPORT_CHILD, keeper);

	if (p)
		p->state = PROCESS_LOST;
	return p;
}

/*
 * A parent of an earlier run is known by id only until it is back. Children of other users are not its own then; of those of
 * other nodes others know.
 */
static void disown_strangers(struct process *p)
{
	struct process *child, *next;

	for (child = LIST_FIRST(&p->children); child; child = next) {
		next = LIST_NEXT(child, sibling);
		if (!child->proxy && child->uid != p->uid && p->uid != 0)
			registry_relate(child, NULL);
	}
}

void life_return(struct life *life, struct process *p, uint32_t uid, enum process_transport transport,
		 struct sink *sink)
{
	if (p->state == PROCESS_AWAITED) {
		p->uid = uid;
		p->since_ms = clock_ms();
		disown_strangers(p);
		router_returned(life->router, p);
	}
	p->transport = (uint8_t)transport;
	absence_end(life->absences, p);
	control_forget(p); /* it asks again what it was not answered */
	router_attach(life->router, p, sink);
	log_say(life->log, LOG_PROCESS_BACK, FIELD_ID("id", p->id));
}

/* 1 if its parent, or its keeper, will say how it ends. */
static int is_vouched_for(const struct process *p)
{
	return estate_of(p)->keeper || (p->spawned && p->parent);
}

int life_waits_for(const struct process *p)
{
	return p->level > 0 && !is_vouched_for(p);
}

void life_disconnect(struct life *life, struct process *p, int pidfd)
{
	int waits = life_waits_for(p);

	if (pidfd >= 0 && !waits)
		close(pidfd);
	if (waits ? absence_begin(life->absences, p, pidfd) < 0 : !is_vouched_for(p)) {
		life_end(life, p, BROOD__WHY__WHY_LOST, NULL);
		return;
	}
	router_detach(life->router, p);
	log_say(life->log, LOG_PROCESS_LOST, FIELD_ID("id", p->id), FIELD_ID("parent", p->parent ? p->parent->id : 0));
}

void life_over(void *data, struct process *p)
{
	life_end(data, p, BROOD__WHY__WHY_LOST, NULL);
}

/* Their keeper started them, and its end is theirs. */
static void take_lost_kept(struct process *p, struct process_list *ending)
{
	struct estate *e;

	while ((e = LIST_FIRST(&estate_of(p)->kept))) {
		struct process *child = e->process;

		(void)registry_keep(child, NULL);
		if (child->state != PROCESS_LOST || estate_of(child)->absence)
			continue;
		registry_relate(child, NULL);
		LIST_INSERT_HEAD(ending, child, sibling);
	}
}

/* Its lost children had nobody but it to vouch for them. Those that can come back are waited for like others. */
static void take_lost_children(struct life *life, struct process *p, struct process_list *ending)
{
	struct process *child, *next;

	take_lost_kept(p, ending);
	for (child = LIST_FIRST(&p->children); child; child = next) {
		next = LIST_NEXT(child, sibling);
		if (child->state != PROCESS_LOST)
			continue;
		registry_relate(child, NULL);
		if (estate_of(child)->keeper)
			continue; /* that one says how it ends */
		if (estate_of(child)->absence)
			continue; /* one that joined was waited for already */
		if (child->dying || child->level == 0 || absence_begin(life->absences, child, absence_pidfd(child)) < 0)
			LIST_INSERT_HEAD(ending, child, sibling);
	}
}

static void end_one(struct life *life, struct process *p, Brood__Why why, struct process *except)
{
	log_say(life->log, LOG_PROCESS_GONE, FIELD_ID("id", p->id), FIELD_TEXT("why", why_names[why]));
	if (p->state != PROCESS_AWAITED && !p->proxy) /* its own node knows how it ended */
		exits_see(life->exits, p, why, NULL, NULL, clock_ms());
	p->sink = NULL;
	absence_end(life->absences, p);
	registry_name_drop(life->registry, p, "");
	router_end(life->router, p, why, except);
	control_forget(p);
	if (!id_is_foreign(p->id)) /* those have no tickets here */
		departed_add(&life->registry->departed, p->id, 0);
	registry_remove(life->registry, p);
}

void life_end(struct life *life, struct process *p, Brood__Why why, struct process *except)
{
	struct process_list ending = LIST_HEAD_INITIALIZER(ending);

	take_lost_children(life, p, &ending);
	end_one(life, p, why, except);
	while ((p = LIST_FIRST(&ending))) {
		LIST_REMOVE(p, sibling);
		take_lost_children(life, p, &ending);
		end_one(life, p, BROOD__WHY__WHY_LOST, NULL);
	}
}

void life_end_grace(struct life *life)
{
	uint32_t n = 0, at = 0, most = life->router->n_awaited;
	struct process **awaited = calloc(most + 1, sizeof(struct process *)), *p;

	if (!awaited)
		return; /* they stay awaited; nothing is lost by that */
	life->router->grace = 0;
	while (n < most && (p = table_next(&life->registry->processes, &at)))
		if (p->state == PROCESS_AWAITED)
			awaited[n++] = p;
	while (n > 0)
		life_end(life, awaited[--n], BROOD__WHY__WHY_NOBODY, NULL);
	free(awaited);
}
