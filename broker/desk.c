/*
 * desk: a table of handlers, one per kind of control frame.
 *
 * Everything said here is idempotent, so a client that reconnects simply says it all again. A mistake closes the
 * connection that made it, with the reason, and nobody else notices.
 *
 * A death in order: the parent says DIED, the dead child's connection is read to its end at the end of the turn, and
 * END follows behind all that was in it. So the answer to DIED is given in two places: at once if there is no
 * connection, else when it ends.
 */
#include "desk.h"
#include "body.h"
#include "clock.h"
#include "error.h"
#include "note.h"
#include "text.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Names.
 */

void desk_named(void *data, struct process *watcher, const struct name *name)
{
	Brood__Name told = BROOD__NAME__INIT;

	(void)data;
	told.name = (char *)(uintptr_t)name->text;
	told.id = name->holder ? name->holder->id : 0;
	note_put(watcher->sink, FRAME_NAME, &told.base);
}

static const char *name_error(int r)
{
	switch (r) {
	case -EADDRINUSE:
		return "name.taken";
	case -EINVAL:
		return "name.invalid";
	case -EACCES:
		return "name.denied";
	case -ENOSPC:
	case -EDQUOT:
		return "limit.names";
	default:
		return "memory";
	}
}

static void describe_refusal(struct desk *desk, const struct process *p, const char *name, int r,
			     char text[ACCOUNT_TEXT])
{
	const size_t n = ACCOUNT_TEXT;
	const struct process *holder = registry_name_holder(desk->registry, p->uid, name);
	char id[ID_TEXT];

	if (r == -EADDRINUSE && holder)
		snprintf(text, n, "the name %s is held by %s", name, id_format(holder->id, id));
	else if (r == -ENOSPC)
		snprintf(text, n, "process %s has %u names, the most allowed (limits.names-per-process = %" PRIu32 ")",
			 id_format(p->id, id), estate_of(p)->n_names,
			 desk->registry->accounts->limits->names_per_process);
	else if (r == -EACCES && policy_shared(desk->registry->policy, name))
		snprintf(text, n,
			 "the name %s is for another user's processes, not those of user %" PRIu32 " ([name \"%s\"])",
			 name, p->uid, name);
	else if (r == -EACCES)
		snprintf(text, n, "processes of user %" PRIu32 " may not take names (policy.register)", p->uid);
	else if (r == -EDQUOT)
		account_explain(desk->registry->accounts, p->uid, ACCOUNT_NAMES, r, text);
	else
		snprintf(text, n, "the name cannot be taken: %s", strerror(-r));
}

static void say_registered(struct desk *desk, struct process *p, const char *name, int r)
{
	Brood__Registered registered = BROOD__REGISTERED__INIT;
	char echo[2 * NAME_MAX_LENGTH], text[ACCOUNT_TEXT];
	const struct error_reason *reason = error_reason(name_error(r));

	registered.name = text_cut(echo, sizeof(echo), name);
	if (r < 0) {
		describe_refusal(desk, p, name, r, text);
		if (r == -ENOSPC || r == -EDQUOT || r == -EACCES)
			log_say(desk->life->log, LOG_NAME_REFUSED, FIELD_ID("id", p->id), FIELD_USER("uid", p->uid),
				FIELD_TEXT("error", reason->name), FIELD_TEXT("text", text));
		registered.code = reason->code;
		registered.error = (char *)(uintptr_t)reason->name;
		registered.text = text;
		registered.hint = (char *)(uintptr_t)reason->hint;
	}
	note_put(p->sink, FRAME_REGISTERED, &registered.base);
}

/*
 * After a run that did not end cleanly its processes come back and take their names again. Who is new waits for that.
 */
struct claim {
	STAILQ_ENTRY(claim) entry;
	uint64_t id;
	int open;
	char name[NAME_MAX_LENGTH + 1];
};
STAILQ_HEAD(claim_list, claim);

/* 1: it is answered later. */
static int must_wait(const struct desk *desk, const struct process *p, const char *name)
{
	return desk->registry->settling && p->id >> 32 >= desk->router->first_epoch && name_is_valid(name) &&
	       registry_name_holder(desk->registry, p->uid, name) != p &&
	       desk->n_claims < desk->registry->accounts->limits->claims;
}

static int claim_later(struct desk *desk, const struct process *p, const char *name, int open)
{
	struct claim *claim = must_wait(desk, p, name) ? calloc(1, sizeof(*claim)) : NULL;

	if (!claim)
		return 0;
	claim->id = p->id;
	claim->open = open;
	strcpy(claim->name, name);
	STAILQ_INSERT_TAIL(desk->claims, claim, entry);
	desk->n_claims++;
	return 1;
}

static void take_name(struct desk *desk, struct process *p, const char *name, int open)
{
	int r = registry_name_take(desk->registry, p, name);

	if (r == 0 && open)
		registry_name_open(desk->registry, p, name);
	say_registered(desk, p, name, r);
}

static void on_register(struct desk *desk, struct session *s, const struct frame *f)
{
	Brood__Register *body = body_unpack(s, &brood__register__descriptor, f);

	if (!body)
		return;
	if (!claim_later(desk, s->process, body->name, body->open))
		take_name(desk, s->process, body->name, body->open);
	guard_free(&body->base);
}

static struct claim *next_claim(struct desk *desk)
{
	struct claim *claim = STAILQ_FIRST(desk->claims);

	if (claim)
		STAILQ_REMOVE_HEAD(desk->claims, entry);
	desk->n_claims -= claim != NULL;
	return claim;
}

void desk_settle(struct desk *desk)
{
	struct claim *claim;

	while ((claim = next_claim(desk))) {
		struct process *p = registry_find(desk->registry, claim->id);

		if (p && p->state == PROCESS_LIVE)
			take_name(desk, p, claim->name, claim->open);
		free(claim);
	}
}

/* What it holds and may not any more. */
static void review_names(struct desk *desk, struct process *p)
{
	const char *lost;
	char name[NAME_MAX_LENGTH + 1];

	while ((lost = registry_name_lost(desk->registry, p))) {
		strcpy(name, lost);
		registry_name_drop(desk->registry, p, name);
		say_registered(desk, p, name, -EACCES);
	}
}

void desk_review(struct desk *desk)
{
	struct process *p;
	uint32_t at = 0;

	while ((p = table_next(&desk->registry->processes, &at)))
		review_names(desk, p);
	registry_review(desk->registry);
	router_review(desk->router);
}

int desk_init(struct desk *desk)
{
	desk->claims = calloc(1, sizeof(*desk->claims));
	if (!desk->claims)
		return -ENOMEM;
	STAILQ_INIT(desk->claims);
	return 0;
}

void desk_deinit(struct desk *desk)
{
	while (desk->claims && desk->n_claims > 0)
		free(next_claim(desk));
	free(desk->claims);
	desk->claims = NULL;
}

/* Names that it gave up while it waited for them. */
static void forget_claims(struct desk *desk, const struct process *p, const char *name)
{
	struct claim *claim, *next;

	for (claim = STAILQ_FIRST(desk->claims); claim; claim = next) {
		next = STAILQ_NEXT(claim, entry);
		if (claim->id != p->id || (name[0] && strcmp(claim->name, name) != 0))
			continue;
		STAILQ_REMOVE(desk->claims, claim, claim, entry);
		desk->n_claims--;
		free(claim);
	}
}

static void on_unregister(struct desk *desk, struct session *s, const struct frame *f)
{
	Brood__Register *body = body_unpack(s, &brood__register__descriptor, f);

	if (!body)
		return;
	registry_name_give_up(desk->registry, s->process, body->name);
	forget_claims(desk, s->process, body->name);
	guard_free(&body->base);
}

static void refuse_watch(const struct desk *desk, struct session *s)
{
	char id[ID_TEXT];

	session_refuse(s, "limit.watches",
		       "process %s watches %u names, the most allowed (limits.watches-per-process = %" PRIu32 ")",
		       id_format(s->process->id, id), estate_of(s->process)->n_watches,
		       desk->registry->accounts->limits->watches_per_process);
}

static void watch(struct desk *desk, struct session *s, const char *name)
{
	Brood__Name nobody = BROOD__NAME__INIT;
	char echo[2 * NAME_MAX_LENGTH];
	int far = desk->links && name_is_of_node(name);
	int r = far ? links_watch(desk->links, s->process, name) : registry_watch(desk->registry, s->process, name);

	if (r == -ENOSPC)
		refuse_watch(desk, s);
	else if (r == -ENOMEM)
		session_refuse(s, "broker.full", "the broker has no memory left");
	if (r != -EINVAL)
		return;
	/* What is not a name has no holder and never will. */
	nobody.name = text_cut(echo, sizeof(echo), name);
	note_put(s->process->sink, FRAME_NAME, &nobody.base);
}

static void on_watch(struct desk *desk, struct session *s, const struct frame *f)
{
	Brood__Watch *body = body_unpack(s, &brood__watch__descriptor, f);

	if (!body)
		return;
	if (body->stop && desk->links && name_is_of_node(body->name))
		links_unwatch(desk->links, s->process, body->name);
	else if (body->stop)
		registry_unwatch(desk->registry, s->process, body->name);
	else
		watch(desk, s, body->name);
	guard_free(&body->base);
}

/*
 * Ends.
 */

static void say_end(struct process *parent, uint64_t id, uint64_t last)
{
	Brood__End end = BROOD__END__INIT;

	end.id = id;
	end.last = last;
	note_put(parent->sink, FRAME_END, &end.base);
}

/* Nothing more comes from it: the answer to DIED, which its parent said, or its keeper, behind its last words. */
static void bury(struct desk *desk, struct process *p)
{
	struct process *keeper = estate_of(p)->keeper, *teller = keeper ? keeper : p->parent;
	uint64_t id = p->id, teller_id = teller ? teller->id : 0, last = router_last(p, p->parent ? p->parent->id : 0);

	life_end(desk->life, p, BROOD__WHY__WHY_EXITED, p->parent);
	teller = registry_find(desk->registry, teller_id); /* it may have ended, too */
	if (teller)
		say_end(teller, id, last);
}

/* After a restart of the broker a keeper may not have said yet that it is one. */
static int may_say_died(const struct desk *desk, const struct process *teller, const struct process *p)
{
	const struct process *keeper = estate_of(p)->keeper;
	int survived = p->id >> 32 < desk->router->first_epoch;

	if (keeper)
		return keeper == teller;
	return p->parent == teller || (survived && p->parent && p->spawned && p->uid == teller->uid);
}

/* Could this process have had a child of that id, of which nothing is known here? One of an earlier run it could, too. */
static int may_have_had(const struct desk *desk, const struct process *parent, uint64_t id)
{
	return registry_block_of(parent, id) != 0 || id >> 32 < desk->router->first_epoch;
}

static void remember(struct desk *desk, const struct process *teller, const struct process *p, const Brood__Died *said)
{
	int unknown = !p || p->state == PROCESS_AWAITED;

	if (unknown)
		exits_tell(desk->life->exits, teller, NULL, said, may_have_had(desk, teller, said->id), clock_ms());
	else if (!p->proxy && may_say_died(desk, teller, p))
		exits_tell(desk->life->exits, teller, p, said, 1, clock_ms());
}

static void died(struct desk *desk, struct session *s, const Brood__Died *said)
{
	const uint64_t id = said->id;
	struct process *p = registry_find(desk->registry, id);

	remember(desk, s->process, p, said);

	if (id != 0 && (!p || p->state == PROCESS_AWAITED))
		departed_add(&desk->registry->departed, id,
			     s->process->id); /* it may still have knocked, and be let in */
	if (!p || (!p->parent && !estate_of(p)->keeper) || p->proxy) {
		say_end(s->process, id, 0); /* it left before, or is nobody's child, or its own node says so */
		return;
	}
	if (!may_say_died(desk, s->process, p)) {
		session_refuse(s, "died.denied", "the process said to have died is somebody else's child");
		return;
	}
	if (p->parent != s->process && registry_keep(p, s->process) < 0) {
		session_refuse(s, "broker.full", "the broker has no memory left");
		return;
	}
	p->dying = 1;
	if (p->sink)
		session_exhaust(session_of(p->sink));
	else
		bury(desk, p);
}

static void on_died(struct desk *desk, struct session *s, const struct frame *f)
{
	Brood__Died *body = body_unpack(s, &brood__died__descriptor, f);

	if (!body)
		return;
	died(desk, s, body);
	guard_free(&body->base);
}

static void on_goodbye(struct desk *desk, struct session *s, const struct frame *f)
{
	Brood__Goodbye *body = body_unpack(s, &brood__goodbye__descriptor, f);
	struct process *p = s->process;

	if (!body)
		return;
	guard_free(&body->base);
	s->process = NULL;
	session_close(s);
	if (p->dying)
		bury(desk, p);
	else
		life_end(desk->life, p, BROOD__WHY__WHY_LEFT, NULL);
}

static void refused(void *data, const struct process *p, const struct error_reason *reason, const char *text)
{
	struct desk *desk = data;

	if (!p->dying)
		exits_see(desk->life->exits, p, BROOD__WHY__WHY_CLOSED, reason->name, text, clock_ms());
}

static void ended(void *data, struct session *s)
{
	struct desk *desk = data;
	struct process *p = s->process;

	if (p->dying)
		bury(desk, p);
	else if (s->refused)
		life_end(desk->life, p, BROOD__WHY__WHY_CLOSED, NULL);
	else
		life_disconnect(desk->life, p, life_waits_for(p) ? session_pidfd(s) : -ENOENT);
}

/*
 * Dispatch.
 */

static void on_hello(struct desk *desk, struct session *s, const struct frame *f)
{
	welcome_hello(desk->welcome, s, f);
}

static void on_adopt(struct desk *desk, struct session *s, const struct frame *f)
{
	welcome_adopt(desk->welcome, s, f);
}

typedef void handler_fn(struct desk *, struct session *, const struct frame *);

static handler_fn *const handlers[] = {
	[FRAME_HELLO] = on_hello,           [FRAME_ADOPT] = on_adopt, [FRAME_REGISTER] = on_register,
	[FRAME_UNREGISTER] = on_unregister, [FRAME_WATCH] = on_watch, [FRAME_DIED] = on_died,
	[FRAME_GOODBYE] = on_goodbye,
};

static void control(void *data, struct session *s, const struct frame *f)
{
	handler_fn *handler = f->kind < sizeof(handlers) / sizeof(*handlers) ? handlers[f->kind] : NULL;

	if (handler)
		handler(data, s, f);
	else
		session_refuse(s, "frame.kind", "clients do not send %s", frame_kind_name(f->kind));
}

static void request(void *data, struct session *s, const struct frame *f)
{
	struct desk *desk = data;
	int r = control_request(desk->control, s->process, f);

	if (r == -EBADMSG)
		session_refuse(s, "control.malformed", "a message to the broker is not made of items");
	else if (r < 0)
		session_refuse(s, "broker.full", "the broker has no memory left");
}

static void link_frame(void *data, struct session *s, const struct frame *f)
{
	struct desk *desk = data;

	if (desk->links)
		links_take(desk->links, s, f);
	else
		session_refuse(s, "link.unknown", "this broker is linked with no others");
}

static void parted(void *data, struct session *s, const char *why)
{
	links_parted(((struct desk *)data)->links, s, why);
}

const struct session_ops desk_ops = { control, request, refused, ended, link_frame, parted };
