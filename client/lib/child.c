/*
 * child: see child.h. The order at the end (exit never overtakes a message, nor what the child itself wrote):
 *
 *   1. the pidfd is readable: waitid, and from now on it cannot be signalled
 *   2. what is in its pipes now is owed to the program before EXIT
 *   3. with a channel: DIED to the broker, which reads what the child left, and answers END behind it
 *   4. both are done (or a second passed without END): DISCONNECT, EXIT
 *   5. its pipes have ended, or the linger time has passed and what was in them then is shown: CLOSE
 */
#include "child.h"
#include "birth.h"
#include "errand.h"
#include "error.h"
#include "event.h"
#include "lines.h"
#include "link.h"
#include "obituary.h"
#include "parting.h"
#include "peer.h"
#include "pump.h"
#include "remote.h"
#include "verdict.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define END_PATIENCE_MS 1000  /* for the broker's word about a dead child ... */
#define AWAY_PATIENCE_MS 5000 /* ... and for the broker to be there again */

#define CHILD_OF(timer_, member) ((struct child *)(void *)((char *)(timer_)-offsetof(struct child, member)))

/* ---- signals ----------------------------------------------------------------------------------------------------- */

#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1u << 2) /* Linux 6.9: the group that was its own, by identity rather than number */
#endif

static int signal_by_pidfd(const struct child *c, int signo, unsigned flags)
{
	return syscall(SYS_pidfd_send_signal, c->pidfd.fd, signo, NULL, flags) < 0 ? -errno : 0;
}

/*
 * An older kernel knows the group by its number only. As long as the leader is not reaped that can be nobody else's. We
 * did not reap it; whether the program did behind our back, its pidfd tells.
 */
static int signal_group(const struct child *c, int signo)
{
	int rc = signal_by_pidfd(c, signo, PIDFD_SIGNAL_PROCESS_GROUP);
	if (rc != -EINVAL || (rc = signal_by_pidfd(c, 0, 0)) < 0)
		return rc;
	return kill(-c->peer->pid, signo) < 0 ? -errno : 0;
}

static int deliver(const struct child *c, int signo, int tree)
{
	return tree && c->own_group ? signal_group(c, signo) : signal_by_pidfd(c, signo, 0);
}

static void close_descriptors(struct child *c)
{
	if (c->pidfd.fd >= 0)
		close(c->pidfd.fd);
	if (c->line_fd >= 0)
		close(c->line_fd);
	c->pidfd.fd = c->line_fd = -1;
}

/* It stops, continues or tells, and ends nobody. */
static int is_harmless(int signo)
{
	static const int signals[] = { SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGCHLD, SIGURG, SIGWINCH };
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (signals[i] == signo)
			return 1;
	return 0;
}

/* The first reason holds; but a signal that a program may survive is none any more when what it cannot survive comes. */
static void note_signal(struct child *c, int signo, unsigned flags, int ended_by)
{
	int is_deadly = signo == SIGKILL || flags & BROOD_THEN_KILL;
	c->signalled = 1;
	if (is_deadly ? !c->doomed : !c->ended_by && !is_harmless(signo))
		c->ended_by = ended_by;
	c->doomed |= is_deadly;
}

/* The rest of a tree whose leader went first: its time is over. */
static void end_tail(struct child *c)
{
	(void)signal_by_pidfd(c, SIGKILL, PIDFD_SIGNAL_PROCESS_GROUP);
	c->tail = 0;
	close_descriptors(c);
	peer_unref(c->peer);
}

static void grace_over(struct timer *t)
{
	struct child *c = CHILD_OF(t, grace);
	if (c->tail) {
		end_tail(c);
		return;
	}
	if (deliver(c, SIGKILL, c->kill_tree) == 0)
		note_signal(c, SIGKILL, 0, c->kill_by);
	int rc = signal_by_pidfd(c, 0, 0);
	c->beyond_reach = rc < 0 && rc != -ESRCH; /* a set-uid program, say, that became another user */
}

static int give_grace(struct child *c, int tree, int ended_by)
{
	if (c->grace.slot)
		return 0;
	c->kill_tree = tree;
	c->kill_by = ended_by;
	c->grace.fire = grace_over;
	return timer_arm(&c->peer->h->timers, &c->grace, handle_now() + c->plan->grace_ms);
}

static int signal_child(struct child *c, int signo, unsigned flags, int ended_by)
{
	int tree = (flags & BROOD_TREE) != 0;
	if (c->errand) {
		errand_kill(c->errand, signo, flags);
		note_signal(c, signo, flags, ended_by);
		return 0;
	}
	int rc = deliver(c, signo, tree);
	if (rc < 0 || signo == 0)
		return rc;
	note_signal(c, signo, flags, ended_by);
	return flags & BROOD_THEN_KILL ? give_grace(c, tree, ended_by) : 0;
}

/*
 * The leader has ended, but is not reaped; the others of its group were promised their grace. Later their group is found
 * by the pidfd, where the kernel can do that; by its number it might be somebody else's then, so they end now.
 */
static void care_for_tail(struct child *c)
{
	struct brood *h = c->peer->h;
	if (!c->grace.slot || !c->kill_tree || !c->own_group) {
		timer_cancel(&h->timers, &c->grace);
	} else if (signal_by_pidfd(c, 0, PIDFD_SIGNAL_PROCESS_GROUP) == -EINVAL) {
		timer_cancel(&h->timers, &c->grace);
		(void)deliver(c, SIGKILL, 1);
	} else {
		c->tail = 1;
		peer_ref(c->peer);
	}
}

/* It was alone in its group. */
static void no_tail(struct child *c)
{
	timer_cancel(&c->peer->h->timers, &c->grace);
	c->tail = 0;
	peer_unref(c->peer); /* not the last: it has not closed */
}

void child_terminate(struct child *c, int ended_by)
{
	if (c->state == CHILD_RUNNING &&
	    signal_child(c, c->plan->kill_signal, BROOD_TREE | BROOD_THEN_KILL, ended_by) < 0)
		(void)give_grace(c, 1, ended_by); /* it may end by itself, but nobody waits for longer */
}

static void life_over(struct timer *t)
{
	child_terminate(CHILD_OF(t, life), BROOD_BY_TIMEOUT);
}

static void not_ready(struct timer *t)
{
	child_terminate(CHILD_OF(t, readiness), BROOD_BY_UNREADY);
}

void child_ready(struct brood_peer *p)
{
	if (p->child)
		timer_cancel(&p->h->timers, &p->child->readiness);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void finish(struct child *c)
{
	struct brood_peer *p = c->peer;
	if (c->state == CHILD_DONE)
		return;
	c->state = CHILD_DONE;
	if (c->errand)
		errand_end(c->errand);
	LIST_REMOVE(c, entry);
	timer_cancel(&p->h->timers, &c->patience);
	timer_cancel(&p->h->timers, &c->life);
	timer_cancel(&p->h->timers, &c->readiness);
	timer_cancel(&p->h->timers, &c->linger);
	stdio_shut(&c->stdio);
	if (!(c->plan->flags & BROOD_UNREF))
		p->h->counting--;
	if (c->kind->ended)
		c->kind->ended(c);
	parting_close(p);
}

static void linger_over(struct timer *t)
{
	struct child *c = CHILD_OF(t, linger);
	stdio_finish(&c->stdio);
	if (!stdio_is_open(&c->stdio))
		finish(c);
}

/* Somebody may still write to its pipes, or to what is carried here from another host. */
static int is_open(const struct child *c)
{
	return stdio_is_open(&c->stdio) || (c->errand && errand_is_open(c->errand));
}

/* CLOSE is next, when nobody writes to its pipes any more. On another host that has its time there. */
static void linger(struct child *c)
{
	struct brood *h = c->peer->h;
	c->state = CHILD_EXITED;
	if (!is_open(c)) {
		finish(c);
		return;
	}
	if (c->errand)
		return;
	c->linger.fire = linger_over;
	if (timer_arm(&h->timers, &c->linger, handle_now() + c->plan->linger_ms) < 0)
		linger_over(&c->linger);
}

static void tell_exit(struct child *c)
{
	struct brood_peer *p = c->peer;
	struct fault f;
	fault_set(&f, "peer.exited", "%s", p->exit.cause == BROOD_SIGNALED ? "it was killed" : "it exited");
	verdict_describe(c);
	if (p->remote && c->missing)
		remote_remember(p->remote); /* what comes of it later is not a stranger's */
	obituary_complete(c);
	if (p->remote)
		parting_gone(p->remote, &f);
	else
		parting_disconnect(p, &f);
	event_post(p->h, p, BROOD_EVENT_EXIT, NULL);
	linger(c);
}

/* Something that EXIT or CLOSE waits for has moved. */
void child_moved(struct child *c)
{
	if (c->state == CHILD_REAPED && c->sent_all && stdio_settled(&c->stdio))
		tell_exit(c);
	else if (c->state == CHILD_EXITED && !is_open(c))
		finish(c);
}

/* No more messages of it will come than have come; `missing`: that are fewer than it sent, or nobody knows. */
static void sent_all(struct child *c, int missing)
{
	timer_cancel(&c->peer->h->timers, &c->patience);
	c->sent_all = 1;
	c->awaits = 0;
	c->missing |= missing;
	child_moved(c);
}

static void no_end_came(struct timer *t)
{
	struct child *c = CHILD_OF(t, patience);
	if (c->channel && !c->errand)
		obituary_owe(c);
	sent_all(c, 1);
}

/*
 * A broker that knows nothing of it, although we had something from it, is a new one: what the old one had of it, and
 * what the child would have said again, nobody knows. Unless the child itself said that all was said.
 */
static int is_forgotten(const struct remote *r, uint64_t last)
{
	return last == 0 && r->in.next > 1 && !r->fin_received;
}

void child_end(struct remote *r, uint64_t last)
{
	struct child *c = r->peer ? r->peer->child : NULL;
	if (c && c->state == CHILD_REAPED && !c->awaits)
		sent_all(c, last > r->in.next - 1 || is_forgotten(r, last));
}

/* How much of that its parent has, only that knows. */
void child_end_kept(struct brood *h, uint64_t id, uint64_t last)
{
	struct child *c;
	LIST_FOREACH (c, &h->children, entry)
		if (c->kept && c->kept->id == id && c->state == CHILD_REAPED) {
			c->last = last;
			sent_all(c, 0);
			return;
		}
}

void child_arrived(struct child *c)
{
	if (c->awaits && c->peer->remote->in.next > c->last)
		sent_all(c, 0);
}

void child_left(struct brood_peer *p)
{
	if (p->child && p->child->state == CHILD_REAPED)
		sent_all(p->child, 0);
}

/* Everything it sent has passed if it said goodbye; else the broker must look into its channel. */
static void ask_for_end(struct child *c)
{
	struct brood_peer *p = c->peer;
	struct brood *h = p->h;
	if (!p->remote || p->remote->ended || h->failed) {
		sent_all(c, p->remote && !p->remote->ended);
		return;
	}
	int up = link_is_up(h);
	if (up)
		obituary_send(c);
	c->patience.fire = no_end_came;
	if (timer_arm(&h->timers, &c->patience, handle_now() + (up ? END_PATIENCE_MS : AWAY_PATIENCE_MS)) < 0)
		no_end_came(&c->patience);
}

void child_ask_again(struct brood *h)
{
	struct child *c, *next;
	for (c = LIST_FIRST(&h->children); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (c->state == CHILD_REAPED && !c->sent_all && !c->awaits)
			ask_for_end(c);
	}
}

void child_announce(struct brood *h)
{
	struct child *c;
	obituary_repeat(h);
	LIST_FOREACH (c, &h->children, entry)
		if (c->state == CHILD_RUNNING && c->channel && !c->errand && !c->peer->ready && !c->peer->remote->ended)
			birth_say_again(c);
}

static void pidfd_ready(struct source *s, unsigned events)
{
	struct child *c = (struct child *)(void *)((char *)s - offsetof(struct child, pidfd));
	struct brood *h = c->peer->h;
	(void)events;
	if (c->grace.slot && !verdict_is_in(c))
		return;
	care_for_tail(c);
	if (!verdict_take(c))
		return;
	verdict_describe(c);
	if (c->tail && signal_by_pidfd(c, 0, PIDFD_SIGNAL_PROCESS_GROUP) == -ESRCH)
		no_tail(c);
	c->state = CHILD_REAPED;
	timer_cancel(&h->timers, &c->life);
	timer_cancel(&h->timers, &c->readiness);
	handle_watch(h, &c->pidfd, 0);
	if (!c->tail)
		close_descriptors(c);
	stdio_owe(&c->stdio);
	ask_for_end(c);
}

/* ---- its pipes --------------------------------------------------------------------------------------------------- */

static void pipe_drained(struct pipe *p)
{
	event_drain(p->peer, p->target);
}

static void tell_left(struct brood_peer *p, int fd, size_t left)
{
	struct fault f;
	fault_set_code(&f, -EPIPE, "input.closed", "%s reads its descriptor %d no more; %zu bytes were left",
		       peer_label(p), fd, left);
	event_post(p->h, p, BROOD_EVENT_ERROR, &f);
}

static void pipe_broken(struct pipe *p, size_t left)
{
	tell_left(p->peer, p->target, left);
}

static void pipe_moved(struct pipe *p)
{
	child_moved(p->peer->child);
}

static const struct pipe_sink to_program = { event_output, pipe_drained, pipe_broken, pipe_moved };
static const struct pipe_sink to_log = { lines_chunk, pipe_drained, pipe_broken, pipe_moved };

/* ---- birth ------------------------------------------------------------------------------------------------------- */

/* What next, where the error's usual words do not fit the reason. */
static const char *hint_for(const struct brood *h, const char *name, int code)
{
	int exec = strcmp(name, "spawn.exec") == 0;
	if (h->failed && strcmp(name, "spawn.broker") == 0)
		return h->down.error.hint; /* the limit, say, may be the broker's */
	if ((code == -EMFILE || code == -ENFILE) && strncmp(name, "spawn.", 6) == 0)
		name = "fd.limit"; /* "broker.full" knows better */
	else if (exec && code == -E2BIG)
		return "pass less: see getconf ARG_MAX; one argument may have 128 KiB";
	else if (exec && code == -ETXTBSY)
		return "it is open for writing: try again when it is closed";
	else if (exec && code == -ENOEXEC)
		return "check that it is for this machine, or begins with #! and an interpreter";
	return error_reason(name)->hint;
}

/* The name is a constant: "spawn.exec", or "host.unknown". `what`: what failed, with its reason. */
static void failed_as(struct child *c, const char *name, int code, const char *what)
{
	struct brood_peer *p = c->peer;
	char program[FAULT_PATH];
	struct fault f;
	const char *stage = strncmp(name, "spawn.", 6) == 0 ? name + 6 : "host";
	c->failed_as = name;
	p->paused &= ~PAUSED_UNTIL_SPAWN;
	fault_set_code(&f, code, name, "cannot start %s: %s", fault_path(c->plan->file, program), what);
	f.error.hint = c->failed_hint = hint_for(p->h, name, code);
	snprintf(p->exit_text, sizeof(p->exit_text), "%s", f.text);
	p->exit =
		(struct brood_exit){ .cause = BROOD_START_FAILED, .code = code, .stage = stage, .text = p->exit_text };
	p->has_exit = 1;
	obituary_complete(c);
	if (p->remote) {
		parting_report(p->remote, &f);
		remote_end(p->remote);
	}
	p->disconnected = 1;
	event_post(p->h, p, BROOD_EVENT_ERROR, &f);
	finish(c);
}

static void start_failed(struct child *c, const char *stage, int code, const char *what)
{
	char name[32];
	snprintf(name, sizeof(name), "spawn.%s", stage);
	failed_as(c, error_reason(name)->name, code, what);
}

static void arm(struct child *c, struct timer *t, void (*fire)(struct timer *), unsigned ms)
{
	if (!ms)
		return;
	t->fire = fire;
	(void)timer_arm(&c->peer->h->timers, t, c->started + ms);
}

static void running(struct child *c)
{
	struct brood *h = c->peer->h;
	c->state = CHILD_RUNNING;
	c->started = handle_now();
	c->pidfd.ready = pidfd_ready;
	if (c->pidfd.fd >= 0) {
		handle_watch(h, &c->pidfd, EPOLLIN);
		arm(c, &c->life, life_over, c->plan->timeout_ms);
	}
	if (!c->peer->ready)
		arm(c, &c->readiness, not_ready, c->plan->ready_ms);
	event_post(h, c->peer, BROOD_EVENT_SPAWN, NULL);
}

static void not_started(struct child *c, const struct spawn_failure *why)
{
	char what[160], path[FAULT_PATH];
	const char *cwd = strcmp(why->stage, "cwd") == 0 ? fault_path(c->plan->cwd, path) : NULL;
	const char *text = why->code == -EXDEV ? "another user cannot reach a broker through FIFOs; spawn with "
						 "BROOD_PLAIN, or use its Unix socket"
					       : strerror(-why->code);
	snprintf(what, sizeof(what), "%s%s%s", cwd ? cwd : "", cwd ? ": " : "", text);
	start_failed(c, why->stage, why->code, what);
}

static void start(struct child *c)
{
	struct birth b;
	struct spawn_failure why;
	verdict_watch_memory(c->peer->h);
	if (birth_start(c, &b, &why) < 0) {
		not_started(c, &why);
		return;
	}
	running(c);
	birth_finish(c, &b);
	if (c->kind->started)
		c->kind->started(c);
}

/* ---- on another host --------------------------------------------------------------------------------------------- */

static void started_there(struct child *c, pid_t pid)
{
	struct brood_peer *p = c->peer;
	p->pid = pid;
	p->paused &= ~PAUSED_UNTIL_SPAWN;
	if (p->remote && p->remote->hold == REMOTE_UNBORN) {
		p->remote->hold = REMOTE_OPEN;
		remote_touch(p->remote);
	}
	running(c);
	event_paused(p);
	if (c->kind->started)
		c->kind->started(c);
}

static void no_more_came(struct timer *t)
{
	struct child *c = CHILD_OF(t, patience);
	sent_all(c, !c->peer->remote->ended);
}

/* Its messages come by another way than the word that it ended. */
static void await_last(struct child *c, uint64_t last)
{
	struct remote *r = c->peer->remote;
	c->last = last;
	if (!r || r->ended || r->in.next > last) {
		sent_all(c, r && !r->ended && is_forgotten(r, last));
		return;
	}
	c->awaits = 1;
	c->patience.fire = no_more_came;
	if (timer_arm(&c->peer->h->timers, &c->patience, handle_now() + END_PATIENCE_MS) < 0)
		no_more_came(&c->patience);
}

static void exited_there(struct child *c, const struct brood_exit *x, uint64_t last, int missing)
{
	struct brood_peer *p = c->peer;
	p->exit = *x;
	if (!c->ended_by || (!c->doomed && x->ended_by))
		c->ended_by = x->ended_by;
	p->exit.ended_by = c->ended_by;
	p->has_exit = 1;
	c->state = CHILD_REAPED;
	timer_cancel(&p->h->timers, &c->readiness);
	stdio_owe(&c->stdio);
	if (x->cause == BROOD_NODE_RESTARTED && errand_is_here(c->errand) && p->remote && p->remote->resolved)
		ask_for_end(c);
	else if (missing || p->h->failed)
		sent_all(c, p->remote && !p->remote->ended);
	else
		await_last(c, last);
}

/* What waits in the pipe here comes to that: it is told once. */
static void left_there(struct child *c, int fd, size_t n)
{
	struct pipe *p = stdio_pipe(&c->stdio, fd);
	if (p && p->writes) {
		n += pipe_drop_input(p);
		tell_left(c->peer, fd, n);
	}
}

static void away_there(struct child *c, int away)
{
	struct brood_peer *p = c->peer;
	int itself = p->remote && p->remote->hold == REMOTE_AWAY;
	c->host_away = away;
	if (p->away == away || p->closed || (!away && itself))
		return;
	p->away = away;
	event_post(p->h, p, away ? BROOD_EVENT_AWAY : BROOD_EVENT_BACK, NULL);
}

static const struct errand_up errand_up = {
	started_there, failed_as, exited_there, away_there, left_there, child_moved,
};

void child_paused(struct child *c, int fd, int paused)
{
	if (c->errand)
		errand_pause(c->errand, fd, paused);
}

void child_start_planned(struct brood *h)
{
	struct child *c, *next;
	for (c = LIST_FIRST(&h->children); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (c->state == CHILD_PLANNED && !c->errand && (c->kept || link_need_ids(h)))
			start(c);
	}
	pump_kick(h);
}

int child_pending(const struct brood *h)
{
	const struct child *c;
	LIST_FOREACH (c, &h->children, entry)
		if (c->state == CHILD_PLANNED)
			return 1;
	return 0;
}

void child_no_broker(struct brood *h, const struct fault *f)
{
	struct child *c, *next;
	for (c = LIST_FIRST(&h->children); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (c->state == CHILD_PLANNED)
			start_failed(c, "broker", f->error.code, f->error.text);
		else if (c->state == CHILD_REAPED && !c->sent_all)
			sent_all(c, 1);
	}
}

/* ---- making one -------------------------------------------------------------------------------------------------- */

#define TIMERS 5

static void list_timers(struct child *c, struct timer *all[TIMERS])
{
	struct timer *const list[TIMERS] = { &c->life, &c->readiness, &c->grace, &c->patience, &c->linger };
	memcpy(all, list, sizeof(list));
}

/* Armed when there is no memory too. */
static int promise_timers(struct brood *h, struct child *c)
{
	struct timer *all[TIMERS];
	int rc = 0;
	list_timers(c, all);
	for (int i = 0; i < TIMERS && rc == 0; i++)
		rc = timer_promise(&h->timers, all[i]);
	return rc;
}

static void release_timers(struct brood *h, struct child *c)
{
	struct timer *all[TIMERS];
	list_timers(c, all);
	for (int i = 0; i < TIMERS; i++)
		timer_release(&h->timers, all[i]);
}

static void child_free(struct child *c)
{
	release_timers(c->peer->h, c);
	if (c->kind->released)
		c->kind->released(c);
	errand_free(c->errand);
	stdio_deinit(&c->stdio);
	free(c->plan);
	free(c);
}

/* Without plan and descriptors yet. */
static struct child *child_new(struct brood *h, int channel)
{
	struct remote *r = channel ? remote_new(h) : NULL;
	struct brood_peer *p = r || !channel ? peer_new(h, PEER_CHILD, r) : NULL;
	remote_unref(r);
	struct child *c = p ? calloc(1, sizeof(*c)) : NULL;
	if (c && promise_timers(h, c) < 0) {
		release_timers(h, c);
		free(c);
		c = NULL;
	}
	if (p && !c)
		peer_retire(p);
	if (!c)
		return NULL;
	c->peer = p;
	c->channel = channel;
	c->pidfd.fd = c->line_fd = -1;
	c->free = child_free;
	p->child = c;
	return c;
}

/* A program that reads my terminal must stay in its foreground group. */
static int needs_own_group(const struct child *c)
{
	const struct brood_stdio *in = plan_stdio(c->plan, 0);
	int mine = in->kind == BROOD_STDIO_MINE ? 0 : in->kind == BROOD_STDIO_FD ? in->other : -1;
	return c->plan->flags & BROOD_DETACHED || c->stdio.terminal >= 0 || mine < 0 || !isatty(mine);
}

/* Equip the new child, whose peer is retired by the caller if that fails. */
static int equip(struct child *c, struct plan *plan, const struct brood_spawn_options *o)
{
	struct brood_peer *p = c->peer;
	c->plan = plan;
	if (plan->name && !(p->name = strdup(plan->name)))
		return handle_fail(p->h, -ENOMEM, "memory", "cannot spawn: out of memory");
	if (o && (o->on || o->data) && peer_set_table(p, o->on, o->data) < 0)
		return handle_fail(p->h, -EINVAL, "argument", UNSIZED_TABLE);
	int rc = stdio_open(&c->stdio, plan, p, c->kind->output, &to_log);
	if (rc == -EBADF)
		return handle_fail(p->h, rc, "argument", "cannot spawn: stdio: a descriptor that is not open");
	if (rc == -EINVAL)
		return handle_fail(p->h, rc, "argument",
				   "cannot spawn: stdio: that peer holds no such pipe for another child");
	if (rc < 0)
		return handle_fail(p->h, rc, "memory", "cannot spawn: %s", strerror(-rc));
	c->own_group = needs_own_group(c);
	if (plan->host && !(c->errand = errand_new(c, &errand_up)))
		return handle_fail(p->h, -ENOMEM, "memory", "cannot spawn: out of memory");
	if (plan->host)
		p->paused = PAUSED_UNTIL_SPAWN;
	return 0;
}

static struct child *last_child(struct brood *h)
{
	struct child *c, *last = NULL;
	LIST_FOREACH (c, &h->children, entry)
		last = c;
	return last;
}

/* In the order of the calls: those that wait start in it. */
static void enlist(struct brood *h, struct child *c)
{
	struct child *last = link_is_up(h) ? NULL : last_child(h);
	if (last)
		LIST_INSERT_AFTER(last, c, entry);
	else
		LIST_INSERT_HEAD(&h->children, c, entry);
	if (!(c->plan->flags & BROOD_UNREF))
		h->counting++;
}

/* It, and nobody but it, could not start because the nursery's pipes could not be opened, or starts there. */
static void begin_there(struct child *c)
{
	if (c->stdio.error)
		start_failed(c, "stdio", c->stdio.error, strerror(-c->stdio.error));
	else
		errand_begin(c->errand);
}

static void begin(struct brood *h, struct child *c)
{
	if (!c->channel && !c->errand) {
		start(c);
		return;
	}
	if (h->failed) {
		start_failed(c, "broker", h->failed, h->down.error.text);
		return;
	}
	link_need(h); /* if that fails at once, the child has failed with it and is gone */
	if (!h->failed && c->state == CHILD_PLANNED && c->errand)
		begin_there(c);
	else if (!h->failed && c->state == CHILD_PLANNED && link_is_up(h) && (c->kept || link_need_ids(h)))
		start(c);
	pump_kick(h);
}

int child_spawn(struct brood *h, const struct child_kind *kind, void *data, const struct child_kept *kept,
		const char *const *argv, const struct brood_spawn_options *options, struct brood_peer **ret)
{
	struct plan *plan;
	const char *why = "";
	int rc = plan_make(kind->use, argv, options, &plan, &why);
	if (rc < 0)
		return handle_fail(h, rc,
				   rc == -EINVAL  ? "argument"
				   : rc == -EXDEV ? "spawn.abroad"
						  : "memory",
				   "cannot spawn: %s", rc == -ENOMEM ? "out of memory" : why);
	struct child *c = child_new(h, !(plan->flags & BROOD_PLAIN));
	if (!c) {
		free(plan);
		return handle_fail(h, -ENOMEM, "memory", "cannot spawn: out of memory");
	}
	struct brood_peer *p = c->peer;
	c->kind = kind;
	c->kept = kept;
	p->quiet = kind->use == PLAN_EXEC;
	if ((rc = equip(c, plan, options)) < 0) {
		peer_retire(p);
		return rc;
	}
	c->data = data;
	enlist(h, c);
	*ret = peer_ref(p);
	begin(h, c);
	return 0;
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

int brood_spawn(brood *h, brood_peer **ret, const char *const *argv, const struct brood_spawn_options *options)
{
	static const struct child_kind spawned = { PLAN_SPAWN, &to_program, NULL, NULL, NULL };
	struct brood_peer *p;
	int rc = handle_check(h);
	if (rc < 0 || (rc = child_spawn(h, &spawned, NULL, NULL, argv, options, &p)) < 0)
		return rc;
	if (ret) {
		peer_own(p);
		*ret = p;
	}
	peer_unref(p);
	return 0;
}

static int has_ended(struct brood_peer *p)
{
	return handle_fail(p->h, -ESRCH, "peer.exited", "cannot signal %s: it has ended", peer_label(p));
}

int brood_kill(brood_peer *p, int signo, unsigned flags)
{
	struct child *c = p ? p->child : NULL;
	int rc = handle_check(p ? p->h : NULL);
	if (rc < 0)
		return rc;
	if (signo < 0 || signo >= NSIG || flags & ~(BROOD_TREE | BROOD_THEN_KILL))
		return handle_fail(p->h, -EINVAL, "argument", "cannot signal %s: no such signal, or an unknown flag",
				   peer_label(p));
	if (!c && p->kind == PEER_CHILD)
		return has_ended(p);
	if (!c)
		return handle_fail(p->h, -EPERM, "kill.denied", "%s was not spawned by this handle", peer_label(p));
	if (c->state == CHILD_PLANNED) {
		start_failed(c, "cancelled", -ECANCELED, "cancelled");
		return 0;
	}
	if (c->state != CHILD_RUNNING)
		return has_ended(p);
	rc = signal_child(c, signo ? signo : c->plan->kill_signal, flags, BROOD_BY_KILL);
	return rc < 0 ? handle_fail(p->h, rc, "kill.failed", "cannot signal %s: %s", peer_label(p), strerror(-rc)) : 0;
}

int brood_reaped(brood *h, pid_t pid, int status)
{
	struct child *c;
	int rc = handle_check(h);
	if (rc < 0)
		return rc;
	LIST_FOREACH (c, &h->children, entry) {
		if (c->state != CHILD_RUNNING || c->errand || c->peer->pid != pid)
			continue;
		c->status = status;
		c->has_status = 1;
		return 0;
	}
	return handle_fail(h, -ESRCH, "argument", "no child of this handle with pid %ld waits for its status",
			   (long)pid);
}

unsigned child_count(const struct brood *h)
{
	const struct child *c;
	unsigned n = 0;
	LIST_FOREACH (c, &h->children, entry)
		n += c->state == CHILD_RUNNING && !c->errand && !c->beyond_reach && !(c->plan->flags & BROOD_DETACHED);
	return n;
}

unsigned child_count_abroad(const struct brood *h)
{
	const struct child *c;
	unsigned n = 0;
	LIST_FOREACH (c, &h->children, entry)
		n += c->state <= CHILD_RUNNING && c->errand && !(c->plan->flags & BROOD_DETACHED);
	return n;
}

unsigned child_kill_abroad(struct brood *h)
{
	struct child *c, *next;
	for (c = LIST_FIRST(&h->children); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (!c->errand)
			continue;
		if (c->state == CHILD_PLANNED)
			start_failed(c, "cancelled", -ECANCELED, "cancelled");
		else if (!(c->plan->flags & BROOD_DETACHED))
			child_terminate(c, BROOD_BY_KILL);
	}
	pump_kick(h);
	return child_count_abroad(h);
}

unsigned child_kill_all(struct brood *h)
{
	struct child *c, *next;
	for (c = LIST_FIRST(&h->children); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (c->state == CHILD_PLANNED)
			start_failed(c, "cancelled", -ECANCELED, "cancelled");
		else if (!c->errand && !(c->plan->flags & BROOD_DETACHED))
			child_terminate(c, BROOD_BY_KILL);
	}
	return child_count(h);
}

void child_abandon_all(struct brood *h)
{
	struct brood_peer *p;
	struct child *c, *next;
	for (c = LIST_FIRST(&h->children); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (c->state == CHILD_RUNNING && !c->errand)
			handle_watch(h, &c->pidfd, 0);
		if (!c->tail)
			close_descriptors(c);
		finish(c);
	}
	TAILQ_FOREACH (p, &h->peers, entry) /* every peer that has a tail is in the list: the tail refers to it */
		if (p->child && p->child->tail) {
			timer_cancel(&h->timers, &p->child->grace);
			(void)signal_by_pidfd(p->child, SIGKILL, PIDFD_SIGNAL_PROCESS_GROUP);
			p->child->tail = 0;
			close_descriptors(p->child);
		}
}
