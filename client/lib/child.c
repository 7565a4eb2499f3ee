/*
 * child: see child.h. The order at the end (exit never overtakes a message):
 *
 *   1. the pidfd is readable: waitid, and from now on it cannot be signalled
 *   2. with a channel: DIED to the broker, which reads what the child left, and answers END behind it
 *   3. END (or a second without it): DISCONNECT, EXIT, CLOSE
 */
#include "child.h"
#include "address.h"
#include "brood.pb-c.h"
#include "dial.h"
#include "event.h"
#include "link.h"
#include "parting.h"
#include "peer.h"
#include "remote.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_PATIENCE_MS 1000

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void finish(struct child *c)
{
	struct brood_peer *p = c->peer;
	if (c->state == CHILD_DONE)
		return;
	c->state = CHILD_DONE;
	LIST_REMOVE(c, entry);
	timer_cancel(&p->h->timers, &c->patience);
	timer_cancel(&p->h->timers, &c->life);
	timer_cancel(&p->h->timers, &c->grace);
	if (!(c->plan->flags & BROOD_UNREF))
		p->h->counting--;
	parting_close(p);
}

static const char *because(const struct child *c, char *text, size_t n)
{
	if (c->ended_by == BROOD_BY_TIMEOUT)
		snprintf(text, n, " after its timeout of %u ms", c->plan->timeout_ms);
	else
		snprintf(text, n, "%s", c->ended_by == BROOD_BY_KILL ? ", ended by its parent" : "");
	return text;
}

static void describe_exit(struct child *c)
{
	struct brood_peer *p = c->peer;
	struct brood_exit *x = &p->exit;
	char why[64];
	const char *missing = c->missing ? "; messages may be missing" : "";
	because(c, why, sizeof(why));
	if (x->cause == BROOD_EXITED)
		snprintf(p->exit_text, sizeof(p->exit_text), "exited with code %d%s%s", x->code, why, missing);
	else if (x->cause == BROOD_SIGNALED)
		snprintf(p->exit_text, sizeof(p->exit_text), "killed by signal %d (%s)%s%s%s", x->signo,
			 strsignal(x->signo), x->core ? ", core dumped" : "", why, missing);
	else
		snprintf(p->exit_text, sizeof(p->exit_text),
			 "ended; this program took its status (waitpid(-1), or SIGCHLD ignored)%s", missing);
	x->text = p->exit_text;
}

static const char *exit_words(const struct child *c)
{
	return c->peer->exit.cause == BROOD_SIGNALED ? "it was killed" : "it exited";
}

static void tell_exit(struct child *c)
{
	struct brood_peer *p = c->peer;
	struct fault f;
	fault_set(&f, "peer.exited", "%s", exit_words(c));
	describe_exit(c);
	if (p->remote)
		parting_gone(p->remote, &f);
	else
		parting_disconnect(p, &f);
	event_post(p->h, p, BROOD_EVENT_EXIT, NULL);
	finish(c);
}

static void no_end_came(struct timer *t)
{
	struct child *c = (struct child *)(void *)((char *)t - offsetof(struct child, patience));
	c->missing = 1;
	tell_exit(c);
}

void child_end(struct remote *r, uint64_t last)
{
	struct child *c = r->peer ? r->peer->child : NULL;
	if (!c || c->state != CHILD_REAPED)
		return;
	c->missing = last > r->in.next - 1;
	tell_exit(c);
}

static void read_status(struct child *c, const siginfo_t *info, const struct rusage *use)
{
	struct brood_exit *x = &c->peer->exit;
	int exited = info->si_code == CLD_EXITED;
	x->cause = exited ? BROOD_EXITED : BROOD_SIGNALED;
	x->code = exited ? info->si_status : -1;
	x->signo = exited ? 0 : info->si_status;
	x->core = info->si_code == CLD_DUMPED;
	x->user_us = (uint64_t)use->ru_utime.tv_sec * 1000000u + (uint64_t)use->ru_utime.tv_usec;
	x->system_us = (uint64_t)use->ru_stime.tv_sec * 1000000u + (uint64_t)use->ru_stime.tv_usec;
	x->max_rss_kib = (uint64_t)use->ru_maxrss;
}

/* The status, once; 0 if it has not ended. */
static int reap(struct child *c)
{
	struct brood_exit *x = &c->peer->exit;
	struct rusage use = { 0 };
	siginfo_t info;
	info.si_pid = 0;
	long rc = syscall(SYS_waitid, P_PIDFD, c->pidfd.fd, &info, WEXITED | WNOHANG, &use);
	if (rc == 0 && info.si_pid == 0)
		return 0;
	*x = (struct brood_exit){ .cause = BROOD_STOLEN, .code = -1, .ended_by = c->ended_by, .stage = "" };
	if (rc == 0)
		read_status(c, &info, &use);
	x->wall_ms = handle_now() - c->started;
	c->peer->has_exit = 1;
	return 1;
}

static void close_descriptors(struct child *c)
{
	if (c->pidfd.fd < 0)
		return;
	handle_unwatch(c->peer->h, &c->pidfd);
	close(c->pidfd.fd);
	if (c->line_fd >= 0)
		close(c->line_fd);
	c->pidfd.fd = c->line_fd = -1;
}

/* Everything it sent has passed if it said goodbye; else the broker must look into its channel. */
static void ask_for_end(struct child *c)
{
	struct brood_peer *p = c->peer;
	Brood__Died died = BROOD__DIED__INIT;
	if (!p->remote || p->remote->ended) {
		tell_exit(c);
		return;
	}
	if (!link_is_up(p->h)) {
		c->missing = 1;
		tell_exit(c);
		return;
	}
	died.id = p->remote->id;
	link_control(p->h, FRAME_DIED, &died.base, -1);
	c->patience.fire = no_end_came;
	if (timer_arm(&p->h->timers, &c->patience, handle_now() + END_PATIENCE_MS) < 0)
		no_end_came(&c->patience);
}

static void pidfd_ready(struct source *s, unsigned events)
{
	struct child *c = (struct child *)(void *)((char *)s - offsetof(struct child, pidfd));
	struct brood *h = c->peer->h;
	(void)events;
	if (!reap(c))
		return;
	c->state = CHILD_REAPED;
	timer_cancel(&h->timers, &c->life);
	timer_cancel(&h->timers, &c->grace);
	close_descriptors(c);
	ask_for_end(c);
}

void child_left(struct brood_peer *p)
{
	if (p->child && p->child->state == CHILD_REAPED)
		tell_exit(p->child);
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

/*
 * As long as the leader is not reaped, neither its pid nor its group can be anybody else's. We did not reap it; whether
 * the program did behind our back, its pidfd tells.
 */
static int deliver(struct child *c, int signo, int tree)
{
	int group = tree && c->own_group;
	long rc = syscall(SYS_pidfd_send_signal, c->pidfd.fd, group ? 0 : signo, NULL, 0);
	if (group && (rc == 0 || errno != ESRCH))
		rc = kill(-c->peer->pid, signo);
	return rc < 0 ? -errno : 0;
}

static void grace_over(struct timer *t)
{
	struct child *c = (struct child *)(void *)((char *)t - offsetof(struct child, grace));
	(void)deliver(c, SIGKILL, c->kill_tree);
}

static int signal_child(struct child *c, int signo, unsigned flags, int ended_by)
{
	struct brood *h = c->peer->h;
	int rc = deliver(c, signo, (flags & BROOD_TREE) != 0);
	if (rc < 0 || signo == 0)
		return rc;
	if (!c->ended_by)
		c->ended_by = ended_by;
	if (!(flags & BROOD_THEN_KILL) || c->grace.slot)
		return 0;
	c->kill_tree = (flags & BROOD_TREE) != 0;
	c->grace.fire = grace_over;
	return timer_arm(&h->timers, &c->grace, handle_now() + c->plan->grace_ms);
}

static void life_over(struct timer *t)
{
	struct child *c = (struct child *)(void *)((char *)t - offsetof(struct child, life));
	(void)signal_child(c, c->plan->kill_signal, BROOD_TREE | BROOD_THEN_KILL, BROOD_BY_TIMEOUT);
}

/* ---- birth ------------------------------------------------------------------------------------------------------- */

/* `what`: what failed, with its reason. */
static void start_failed(struct child *c, const char *stage, int code, const char *what)
{
	struct brood_peer *p = c->peer;
	struct fault f;
	char name[32];
	snprintf(name, sizeof(name), "spawn.%s", stage);
	fault_set_code(&f, code, name, "cannot start %s: %s", c->plan->argv[0], what);
	snprintf(p->exit_text, sizeof(p->exit_text), "%s", f.text);
	p->exit =
		(struct brood_exit){ .cause = BROOD_START_FAILED, .code = code, .stage = stage, .text = p->exit_text };
	p->has_exit = 1;
	if (p->remote) {
		parting_report(p->remote, &f);
		remote_end(p->remote);
	}
	p->disconnected = 1;
	event_post(p->h, p, BROOD_EVENT_ERROR, &f);
	finish(c);
}

/* A channel for the child: mine is what the broker gets (or, over TCP, only what BIRTH goes through), its is the
 * child's. */
struct pair {
	int mine, its;
};

static void pair_close(struct pair *s)
{
	if (s->mine >= 0)
		close(s->mine);
	if (s->its >= 0)
		close(s->its);
	s->mine = s->its = -1;
}

static int pair_open(const struct brood *h, struct pair *s)
{
	int fds[2], over_tcp = h->link.address_kind == ADDRESS_TCP;
	int rc = over_tcp ? pipe2(fds, O_CLOEXEC) : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
	if (rc < 0)
		return -errno;
	s->its = fds[0];
	s->mine = fds[1];
	if (!over_tcp) {
		dial_tune(fds[0], ADDRESS_UNIX);
		dial_tune(fds[1], ADDRESS_UNIX);
	}
	return 0;
}

/* The first frame in the channel: who the child is. */
static int write_birth(struct child *c, int fd)
{
	struct brood *h = c->peer->h;
	uint8_t ticket[TICKET_SIZE];
	_Alignas(8) uint8_t frame[FRAME_HEAD + 512] = { 0 };
	Brood__Birth birth = BROOD__BIRTH__INIT;
	birth.id = link_take_id(h, ticket);
	birth.parent = h->link.id;
	birth.node = h->link.node;
	birth.address = h->link.address;
	birth.ticket = (ProtobufCBinaryData){ TICKET_SIZE, ticket };
	size_t length = protobuf_c_message_pack(&birth.base, frame + FRAME_HEAD);
	frame_write_head(frame, &(struct frame){ .kind = FRAME_BIRTH, .length = (uint32_t)length });
	remote_resolve(c->peer->remote, birth.id);
	return write(fd, frame, frame_size(length)) == (ssize_t)frame_size(length) ? 0 : -errno;
}

static void adopt(struct child *c, struct pair *s)
{
	struct brood *h = c->peer->h;
	Brood__Adopt m = BROOD__ADOPT__INIT;
	int fd = h->link.address_kind == ADDRESS_TCP ? -1 : s->mine;
	m.id = c->peer->remote->id;
	m.uid = (uint32_t)getuid();
	m.pid = (uint32_t)c->peer->pid;
	const char *slash = strrchr(c->plan->argv[0], '/');
	m.title = (char *)(uintptr_t)(slash && slash[1] ? slash + 1 : c->plan->argv[0]);
	m.name = (char *)(uintptr_t)(c->plan->name ? c->plan->name : "");
	link_control(h, FRAME_ADOPT, &m.base, fd);
	if (fd >= 0)
		s->mine = -1; /* the link's now */
}

static int open_channel(struct child *c, struct pair *s)
{
	struct stat st;
	int rc = pair_open(c->peer->h, s);
	if (rc < 0 || (rc = write_birth(c, s->mine)) < 0)
		return rc;
	if (fstat(s->its, &st) < 0)
		return -errno;
	plan_set_channel(c->plan, st.st_ino);
	return 0;
}

/* My descriptor for the child's 0, 1 or 2: mine, or /dev/null (also where mine is closed). */
static int stdio_source(const struct plan *p, int fd, int null_fd)
{
	return p->stdio[fd] == BROOD_STDIO_MINE && fcntl(fd, F_GETFD) >= 0 ? fd : null_fd;
}

static int exec_child(struct child *c, const struct pair *s, struct spawn_failure *why)
{
	struct plan *p = c->plan;
	struct spawned born;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0) {
		*why = (struct spawn_failure){ "stdio", -errno };
		return -1;
	}
	struct spawn_fd fds[4] = { { 0, stdio_source(p, 0, null_fd) },
				   { 1, stdio_source(p, 1, null_fd) },
				   { 2, stdio_source(p, 2, null_fd) },
				   { PLAN_CHANNEL_FD, s->its } };
	int detached = (p->flags & BROOD_DETACHED) != 0;
	struct spawn_plan plan = { .file = p->file,
				   .argv = p->argv,
				   .env = p->env,
				   .cwd = p->cwd,
				   .fds = fds,
				   .n_fds = c->channel ? 4 : 3,
				   .own_session = detached,
				   .own_group = !detached && c->own_group,
				   .line = detached ? NULL : &c->peer->h->line };
	int rc = spawn_start(&plan, &born, why);
	close(null_fd);
	if (rc < 0)
		return rc;
	c->peer->pid = born.pid;
	c->pidfd.fd = born.pidfd;
	c->line_fd = born.line_fd;
	return 0;
}

static void running(struct child *c)
{
	struct brood *h = c->peer->h;
	c->state = CHILD_RUNNING;
	c->started = handle_now();
	c->pidfd.ready = pidfd_ready;
	(void)handle_watch(h, &c->pidfd, EPOLLIN);
	if (c->plan->timeout_ms) {
		c->life.fire = life_over;
		(void)timer_arm(&h->timers, &c->life, c->started + c->plan->timeout_ms);
	}
	event_post(h, c->peer, BROOD_EVENT_SPAWN, NULL);
}

static void not_started(struct child *c, const struct spawn_failure *why)
{
	char what[160];
	const char *cwd = strcmp(why->stage, "cwd") == 0 ? c->plan->cwd : NULL;
	snprintf(what, sizeof(what), "%s%s%s", cwd ? cwd : "", cwd ? ": " : "", strerror(-why->code));
	start_failed(c, why->stage, why->code, what);
}

static void start(struct child *c)
{
	struct pair s = { -1, -1 };
	struct spawn_failure why = { "stdio", 0 };
	struct brood *h = c->peer->h;
	int rc = h->line.write_fd < 0 ? life_line_init(&h->line) : 0;
	if (rc == 0 && c->channel)
		rc = open_channel(c, &s);
	if (rc < 0)
		why.code = rc;
	else
		rc = exec_child(c, &s, &why);
	if (rc < 0) {
		pair_close(&s);
		not_started(c, &why);
		return;
	}
	running(c);
	if (c->channel)
		adopt(c, &s);
	pair_close(&s);
}

void child_start_planned(struct brood *h)
{
	struct child *c, *next;
	for (c = LIST_FIRST(&h->children); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (c->state == CHILD_PLANNED && link_need_ids(h))
			start(c);
	}
	link_kick(h);
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
		if (c->state == CHILD_PLANNED) {
			start_failed(c, "broker", f->error.code, f->error.text);
		} else if (c->state == CHILD_REAPED) {
			c->missing = 1;
			tell_exit(c);
		}
	}
}

/* ---- public ------------------------------------------------------------------------------------------------------ */

static struct brood_peer *child_new(struct brood *h, struct plan *plan)
{
	int channel = !(plan->flags & BROOD_PLAIN);
	struct remote *r = channel ? remote_new(h) : NULL;
	struct brood_peer *p = r || !channel ? peer_new(h, PEER_CHILD, r) : NULL;
	remote_unref(r);
	struct child *c = p ? calloc(1, sizeof(*c)) : NULL;
	if (p && !c)
		peer_retire(p);
	if (!c)
		return NULL;
	c->peer = p;
	c->plan = plan;
	c->channel = channel;
	/* A program that reads my terminal must stay in its foreground group. */
	c->own_group = plan->flags & BROOD_DETACHED || plan->stdio[0] != BROOD_STDIO_MINE || !isatty(0);
	c->pidfd.fd = c->line_fd = -1;
	p->child = c;
	if (plan->name)
		p->name = strdup(plan->name);
	return p;
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

static void begin(struct brood *h, struct child *c)
{
	if (!c->channel) {
		start(c);
		return;
	}
	if (h->failed) {
		start_failed(c, "broker", h->failed, "there is no broker any more");
		return;
	}
	link_need(h); /* if that fails at once, the child has failed with it and is gone */
	if (!h->failed && c->state == CHILD_PLANNED && link_is_up(h) && link_need_ids(h))
		start(c);
	link_kick(h);
}

int brood_spawn(brood *h, brood_peer **ret, const char *const *argv, const struct brood_spawn_options *options)
{
	struct plan *plan;
	const char *why = "";
	int rc = handle_check(h);
	if (rc < 0)
		return rc;
	rc = plan_make(argv, options, &plan, &why);
	if (rc < 0)
		return handle_fail(h, rc, rc == -EINVAL ? "argument" : "memory", "cannot spawn: %s",
				   rc == -EINVAL ? why : "out of memory");
	struct brood_peer *p = child_new(h, plan);
	if (!p) {
		free(plan);
		return handle_fail(h, -ENOMEM, "memory", "cannot spawn: out of memory");
	}
	if (options && (options->on || options->data) && (rc = peer_set_table(p, options->on, options->data)) < 0) {
		peer_retire(p);
		return handle_fail(h, rc, "argument", "the size of a table is not set: use BROOD_ON() or BROOD_INIT()");
	}
	enlist(h, p->child);
	if (ret)
		peer_own(p);
	peer_ref(p);
	begin(h, p->child);
	if (ret)
		*ret = p;
	peer_unref(p);
	return 0;
}

int brood_kill(brood_peer *p, int signo, unsigned flags)
{
	struct child *c = p ? p->child : NULL;
	int rc = handle_check(p ? p->h : NULL);
	if (rc < 0)
		return rc;
	if (signo < 0 || signo >= NSIG || flags & ~(BROOD_TREE | BROOD_THEN_KILL))
		return -EINVAL;
	if (!c && p->kind == PEER_CHILD)
		return -ESRCH;
	if (!c)
		return handle_fail(p->h, -EPERM, "kill.denied", "%s was not spawned by this handle", peer_label(p));
	if (c->state == CHILD_PLANNED) {
		start_failed(c, "cancelled", -ECANCELED, "cancelled");
		return 0;
	}
	if (c->state != CHILD_RUNNING)
		return -ESRCH;
	rc = signal_child(c, signo ? signo : c->plan->kill_signal, flags, BROOD_BY_KILL);
	return rc < 0 ? handle_fail(p->h, rc, "kill.failed", "cannot signal %s: %s", peer_label(p), strerror(-rc)) : 0;
}

unsigned child_count(const struct brood *h)
{
	const struct child *c;
	unsigned n = 0;
	LIST_FOREACH (c, &h->children, entry)
		n += c->state == CHILD_RUNNING && !(c->plan->flags & BROOD_DETACHED);
	return n;
}

unsigned child_kill_all(struct brood *h)
{
	struct child *c, *next;
	for (c = LIST_FIRST(&h->children); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (c->state == CHILD_PLANNED)
			start_failed(c, "cancelled", -ECANCELED, "cancelled");
		else if (c->state == CHILD_RUNNING && !(c->plan->flags & BROOD_DETACHED))
			(void)signal_child(c, c->plan->kill_signal, BROOD_TREE | BROOD_THEN_KILL, BROOD_BY_KILL);
	}
	return child_count(h);
}

void child_abandon_all(struct brood *h)
{
	struct child *c, *next;
	for (c = LIST_FIRST(&h->children); c; c = next) {
		next = LIST_NEXT(c, entry);
		close_descriptors(c);
		finish(c);
	}
}
