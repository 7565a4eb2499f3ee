/*
 * fate: see fate.h. A run has three phases: programs work and things go wrong; nothing goes wrong any more, and
 * everything must drain without a push; all leave, and nothing must be left.
 */
#include "fate.h"
#include "file.h"
#include "ledger.h"
#include "memory.h"
#include "nodes.h"
#include "process.h"
#include "workload.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define DRAIN_MOST (20 * SECOND)
/*
 * A broker does not know who died before it came, and waits 120 s for them; so it does for a handle that had no time to say
 * goodbye, in a process that lives.
 */
#define DRAIN_LONG (150 * SECOND)
#define BROKER_MOST (16u << 20) /* bytes, of which 1 MiB is its slab */
#define LEAVE_MOST (60 * SECOND)

enum { CUTS = 1, BROKER_KILLS = 2, BROKER_REPLACED = 4, KILLS = 8, STOPS = 16, JUMPS = 32, LONG = 64 };
enum { LINK_CUTS = 1, DEAF = 2, RELOADS = 4, REBOOTS = 8 }; /* between nodes */

struct fate {
	unsigned faults;                 /* which kinds happen */
	unsigned link_faults;            /* ... and which of those that need several nodes */
	uint64_t end;                    /* of the first phase */
	unsigned every_ms;               /* about so often */
	struct task *broker[NODES_MOST]; /* of each node */
	int broker_wanted;
};

static struct fate fate;

/* ---- programs ---------------------------------------------------------------------------------------------------- */

extern int broodd_main(int argc, char **argv);

static int broker_main(int argc, char **argv)
{
	int rc = broodd_main(argc, argv);
	struct memory_use use = memory_use(current->slot);
	if (use.blocks) {
		memory_show(current->slot);
		broken("the broker ends with %zu blocks of %zu bytes", use.blocks, use.bytes);
	}
	for (int fd = 3; fd < FDS_MOST; fd++)
		if (current->fds[fd].file)
			broken("the broker ends with descriptor %d open, of kind %d", fd,
			       (int)current->fds[fd].file->kind);
	if (rc)
		broken("the broker ends with %d", rc);
	return rc;
}

static const struct program programs[] = { { "broodd", broker_main, IMAGE_BROKER },
					   { "app", app_main, IMAGE_LIBRARY },
					   { "worker", worker_main, IMAGE_LIBRARY } };

/* 0, 1 and 2 of every process. */
static void give_standard_files(struct process *p)
{
	p->fds[0].file = file_new(FILE_NULL);
	p->fds[1].file = file_new(FILE_SINK);
	p->fds[2].file = file_ref(p->fds[1].file);
}

static struct process *broker_of(int node)
{
	return fate.broker[node] ? fate.broker[node]->process : NULL;
}

static void start_broker(void *number)
{
	int node = (int)(intptr_t)number;
	const char *const argv[] = { "broodd",
				     "--dir",
				     node_directory(node),
				     "--log-level",
				     "debug",
				     "--confine",
				     "no",
				     nodes.n > 1 ? "--config" : NULL,
				     node_config(node),
				     NULL };
	if (!fate.broker_wanted || broker_of(node))
		return;
	struct process *p = process_start("broodd", argv, NULL);
	if (!p)
		return;
	p->node = node;
	give_standard_files(p);
	fate.broker[node] = p->task;
}

static void start_app(void *role)
{
	char number[16];
	snprintf(number, sizeof(number), "%d", (int)(intptr_t)role);
	struct process *p = process_start("app", (const char *const[]){ "app", number, NULL }, NULL);
	if (!p)
		return;
	p->node = (int)((unsigned)(intptr_t)role % nodes.n);
	give_standard_files(p);
}

static int is_broker(const struct process *p)
{
	return p->program == &programs[0];
}

/* ---- what goes wrong --------------------------------------------------------------------------------------------- */

static struct process *some_program(void)
{
	struct process *found = NULL;
	unsigned n = 0;
	for (struct process *p = process_next(NULL); p; p = process_next(p))
		if (!is_broker(p) && world_below(++n) == 0)
			found = p;
	return found;
}

static void cut(void)
{
	struct file *found = NULL;
	unsigned n = 0;
	for (struct file *f = socket_next(NULL); f; f = socket_next(f))
		if (world_below(++n) == 0)
			found = f;
	if (!found)
		return;
	ledger.unheard |= ledger_is_leaving(found->owner_pid) || ledger_is_leaving(found->peer->owner_pid);
	socket_cut(found, (int)world_below(2));
}

/* No chance is taken where there is nothing to choose. */
static int some_node(void)
{
	return nodes.n > 1 ? (int)world_below(nodes.n) : 0;
}

static void end_broker(int signo)
{
	int node = some_node();
	if (!broker_of(node))
		return;
	process_signal(broker_of(node), signo);
	at(world.now + (world_below(3) ? world_below(50 * MS) : world_below(3 * SECOND)), start_broker,
	   (void *)(intptr_t)node);
}

/* A service manager: sooner or later there is one again. */
static void keep_broker(void *node)
{
	start_broker(node);
	if (fate.broker_wanted)
		at(world.now + SECOND, keep_broker, node);
}

/* Some programs are started again, by whoever started them. */
static void kill_program(void)
{
	struct process *p = some_program();
	if (!p)
		return;
	if (strcmp(p->program->name, "app") == 0 && world_below(2))
		at(world.now + world_below(SECOND), start_app, (void *)(intptr_t)(p->argv[1][0] - '0'));
	process_signal(p, SIGKILL);
}

static void stop_somebody(void)
{
	struct process *p = world_below(4) == 0 ? broker_of(some_node()) : some_program();
	uint64_t most = world_below(5) ? 200 * MS : 12 * SECOND;
	if (fate.faults & LONG && world_below(2)) {
		most = 150 * SECOND;
		ledger.excused = 1;
	}
	if (!p)
		return;
	ledger.silent |= is_broker(p);
	uint64_t until = world.now + world_below(most);
	trace("stopped", (uint64_t)p->task->pid, until, 0);
	process_stop(p, until);
}

static int a_broker_is_stopped(void)
{
	for (int node = 0; nodes.n > 1 && node < (int)nodes.n; node++)
		if (broker_of(node) && broker_of(node)->stopped_until > world.now)
			return 1;
	return 0;
}

/* The machine was suspended. */
static void jump(void)
{
	uint64_t us = world_below(world_below(2) ? 2 * SECOND : 60 * SECOND);
	if (us > 30 * SECOND ||
	    a_broker_is_stopped()) /* its clients try again and again meanwhile, and it serves all of that */
		ledger.excused = 1;
	trace("suspended", us, 0, 0);
	world.slept += us;
}

static void go_wrong(void *unused)
{
	(void)unused;
	if (world.now >= fate.end || !fate.faults)
		return;
	at(world.now + world_below(2 * fate.every_ms + 1) * MS, go_wrong, NULL);
	unsigned kind = 1u << world_below(6);
	if (!(fate.faults & kind))
		return;
	switch (kind) {
	case CUTS:
		cut();
		break;
	case BROKER_KILLS:
		end_broker(SIGKILL);
		break;
	case BROKER_REPLACED:
		end_broker(SIGUSR2);
		break;
	case KILLS:
		kill_program();
		break;
	case STOPS:
		stop_somebody();
		break;
	default:
		jump();
		break;
	}
}

/* ---- what goes wrong between nodes ------------------------------------------------------------------------------- */

static int is_brokers(int pid)
{
	const struct process *p = process_of(pid);
	return p && is_broker(p);
}

static int is_link(const struct file *f)
{
	return is_brokers(f->owner_pid) && is_brokers(f->peer->owner_pid);
}

static void cut_link(void)
{
	struct file *found = NULL;
	unsigned n = 0;
	for (struct file *f = socket_next(NULL); f; f = socket_next(f))
		if (is_link(f) && world_below(++n) == 0)
			found = f;
	if (found)
		socket_cut(found, (int)world_below(2));
}

/* Its node is taken for dead by the others, and is not. */
static void deafen(void)
{
	struct process *p = broker_of(some_node());
	if (!p)
		return;
	ledger.silent = 1;
	uint64_t until = world.now + world_below(6 * SECOND);
	trace("deaf", (uint64_t)p->task->pid, until, 0);
	process_stop(p, until);
}

/* All that it has is written down: read it. One that is not so far that it would listen has read it, or will. */
static void reload(void *number)
{
	struct process *p = broker_of((int)(intptr_t)number);
	if (p && p->handlers[SIGHUP])
		process_signal(p, SIGHUP);
}

static void put_peer_back(void *number)
{
	node_configure((int)(intptr_t)number, -1);
	reload(number);
}

static void take_peer_out(void)
{
	int node = some_node(), other = (node + 1 + (int)world_below(nodes.n - 1)) % (int)nodes.n;
	trace("without", (uint64_t)node, (uint64_t)other, 0);
	ledger.parted = 1;
	node_configure(node, other);
	reload((void *)(intptr_t)node);
	at(world.now + world_below(2 * SECOND), put_peer_back, (void *)(intptr_t)node);
}

/* The power of one host fails. Its disk stays. */
static void reboot(void)
{
	int node = some_node();
	trace("reboots", (uint64_t)node, 0, 0);
	for (struct process *p = process_next(NULL); p; p = process_next(p)) {
		if (p->node != node)
			continue;
		if (strcmp(p->program->name, "app") == 0)
			at(world.now + SECOND + world_below(SECOND), start_app,
			   (void *)(intptr_t)(p->argv[1][0] - '0'));
		process_signal(p, SIGKILL);
	}
	node_rebooted(node);
}

static void go_wrong_between(void *unused)
{
	(void)unused;
	if (world.now >= fate.end)
		return;
	at(world.now + world_below(2 * fate.every_ms + 1) * MS, go_wrong_between, NULL);
	unsigned kind = world_below(12) ? 1u << world_below(3) : REBOOTS;
	if (!(fate.link_faults & kind))
		return;
	switch (kind) {
	case LINK_CUTS:
		cut_link();
		break;
	case DEAF:
		deafen();
		break;
	case RELOADS:
		take_peer_out();
		break;
	default:
		reboot();
		break;
	}
}

/* ---- a seed ------------------------------------------------------------------------------------------------------ */

static unsigned pick(unsigned a, unsigned b, unsigned c, unsigned d)
{
	const unsigned all[] = { a, b, c, d };
	return all[world_below(4)];
}

static void choose_weather(void)
{
	world.weather = (struct weather){ .delay_us = pick(0, 200, 5000, 60000),
					  .short_one_in = pick(0, 50, 10, 3),
					  .preempt_one_in = pick(0, 100, 20, 5),
					  .buffer = pick(212992, 65536, 8192, 2304) };
	if (world_below(8) == 0)
		world.weather.emfile_one_in = 4;
	if (world_below(6) == 0)
		world.weather.lost_fds_one_in = 5;
	if (world_below(8) == 0)
		world.weather.enobufs_one_in = 200;
}

static void choose_workload(void)
{
	workload = (struct workload){ .roles = 2 + (unsigned)world_below(4),
				      .spawns = (int)world_below(2),
				      .closes = world_below(3) == 0,
				      .passes_fds = world_below(3) == 0,
				      .disconnects = world_below(4) == 0,
				      .pauses = world_below(3) == 0,
				      .large = world_below(4) == 0,
				      .full = world.weather.emfile_one_in > 0,
				      .ops = 30 + (int)world_below(150) };
}

static void choose_faults(void)
{
	fate.faults = (unsigned)world_below(64) & (unsigned)world_below(64);
	if (world_below(6) == 0)
		fate.faults = 0;
	if (world_below(12) == 0)
		fate.faults |= LONG | STOPS;
	fate.every_ms = 20 + (unsigned)world_below(400);
	fate.end = (1 + world_below(5)) * SECOND;
}

/* Of every four worlds three have one node; what happens in those does not depend on this. */
static unsigned choose_nodes(uint64_t seed)
{
	uint64_t chance = seed * 0x9e3779b97f4a7c15u;
	if (chance_below(&chance, 4))
		return 1;
	return chance_below(&chance, 4) ? 2 : 3;
}

static void choose_between_nodes(void)
{
	static const char *const beats[] = { "100ms", "200ms", "500ms", "1s" };
	workload.roles = 2 * nodes.n + (unsigned)world_below(3);
	nodes.one_way = (int)world_below(2);
	nodes.beat = beats[world_below(4)];
	fate.link_faults = (unsigned)world_below(16) & (unsigned)world_below(16);
	if (world_below(2))
		fate.link_faults |= LINK_CUTS;
	ledger.cut |= fate.link_faults != 0;
	trace("between", nodes.n, fate.link_faults, (uint64_t)nodes.one_way);
}

static void begin(uint64_t seed, unsigned n, int tracing)
{
	world_begin(seed, tracing);
	ledger_reset();
	disk_reset();
	fate = (struct fate){ .broker_wanted = 1 };
	choose_weather();
	choose_workload();
	choose_faults();
	file_sees_data = workload_sees_data;
	ledger.cut = fate.faults & (CUTS | BROKER_KILLS | BROKER_REPLACED) || world.weather.lost_fds_one_in;
	trace("faults", fate.faults, fate.end, fate.every_ms);
	trace("weather", world.weather.delay_us, world.weather.short_one_in, world.weather.preempt_one_in);
	trace("weather", world.weather.buffer, world.weather.emfile_one_in, world.weather.enobufs_one_in);
	nodes.n = n;
	if (n > 1)
		choose_between_nodes();
	nodes_begin(n);
	for (int node = 0; node < (int)n; node++)
		keep_broker((void *)(intptr_t)node);
	for (unsigned role = 0; role < workload.roles; role++)
		at(world_below(200 * MS), start_app, (void *)(intptr_t)role);
	at(world_below(SECOND), go_wrong, NULL);
	if (n > 1)
		at(world_below(SECOND), go_wrong_between, NULL);
}

static void heal(void)
{
	trace("heal", 0, 0, 0);
	world.weather.emfile_one_in = world.weather.lost_fds_one_in = world.weather.enobufs_one_in = 0;
	for (struct process *p = process_next(NULL); p; p = process_next(p))
		p->stopped_until = 0;
	workload.phase = PHASE_DRAIN;
	for (struct process *p = process_next(NULL); p; p = process_next(p))
		if (!is_broker(p))
			process_signal(p, SIGUSR1);
}

static void run_until(uint64_t until, int (*done)(void))
{
	uint64_t looked = 0;
	while (!world.broken[0] && world.now < until) {
		if (done && world.now >= looked && done())
			return;
		looked = done && world.now >= looked ? world.now + 20 * MS : looked;
		(void)processes_step(until);
	}
}

static int are_linked(int a, int b)
{
	for (struct file *f = socket_next(NULL); f; f = socket_next(f))
		if ((f->owner_pid == fate.broker[a]->pid && f->peer->owner_pid == fate.broker[b]->pid) ||
		    (f->owner_pid == fate.broker[b]->pid && f->peer->owner_pid == fate.broker[a]->pid))
			return 1;
	return 0;
}

static int all_are_linked(void)
{
	for (int a = 0; a < (int)nodes.n; a++)
		for (int b = 0; b < a; b++)
			if (!are_linked(a, b))
				return 0;
	return 1;
}

static int is_settled(void)
{
	return ledger_is_settled(0) && all_are_linked();
}

static int only_broker_left(void)
{
	struct process *p;
	for (p = process_next(NULL); p; p = process_next(p))
		if (!is_broker(p))
			return 0;
	return 1;
}

static int nobody_left(void)
{
	return !process_next(NULL);
}

/* When everything has arrived nothing waits in a broker. */
static void check_memory(int node)
{
	struct memory_use use = memory_use(broker_of(node)->slot);
	trace("memory", (uint64_t)node, use.bytes, use.most);
	if (use.bytes > BROKER_MOST)
		broken("broker %d still has %zu bytes of memory although everything has arrived", node, use.bytes);
}

static void drain(void)
{
	for (int node = 0; node < (int)nodes.n; node++) {
		start_broker((void *)(intptr_t)node);
		if (nodes.n > 1)
			put_peer_back((void *)(intptr_t)node);
		if (nodes.n > 1) /* again, in case that it was just being started */
			at(world.now + SECOND, reload, (void *)(intptr_t)node);
	}
	heal();
	int slow = ledger.excused || ledger.unheard || fate.faults & (BROKER_KILLS | BROKER_REPLACED | STOPS | JUMPS);
	uint64_t most = slow || fate.link_faults ? DRAIN_LONG : DRAIN_MOST, began = world.now;
	run_until(began + most, is_settled);
	trace("drained", world.now - began, 0, 0);
	for (int node = 0; node < (int)nodes.n; node++)
		if (broker_of(node))
			check_memory(node);
	if (!world.broken[0] && !all_are_linked())
		broken("stuck: %llu s after the last fault two nodes are not linked",
		       (unsigned long long)(most / SECOND));
	if (world.broken[0] || ledger_is_settled(1))
		return;
	broken("stuck: %llu s after the last fault not everything has arrived, come back or been answered",
	       (unsigned long long)(most / SECOND));
}

static void all_leave(void)
{
	workload.phase = PHASE_END;
	for (struct process *p = process_next(NULL); p; p = process_next(p))
		if (!is_broker(p))
			process_signal(p, SIGUSR1);
	run_until(world.now + LEAVE_MOST, only_broker_left);
	if (!world.broken[0] && !only_broker_left())
		broken("stuck: a program does not end");
	fate.broker_wanted = 0;
	for (int node = 0; node < (int)nodes.n; node++)
		if (broker_of(node))
			process_signal(broker_of(node), SIGTERM);
	run_until(world.now + 10 * SECOND, nobody_left);
	if (!world.broken[0] && !nobody_left())
		broken("stuck: the broker does not end");
}

int fate_run(unsigned long long seed, unsigned n, int tracing)
{
	static int ready;
	if (!ready)
		processes_init(programs, sizeof(programs) / sizeof(*programs));
	ready = 1;
	begin(seed, n ? n : choose_nodes(seed), tracing);
	run_until(fate.end, NULL);
	if (!world.broken[0])
		drain();
	if (!world.broken[0])
		all_leave();
	if (!world.broken[0])
		ledger_close();
	processes_reset();
	disk_reset();
	if (!world.broken[0] && files_open)
		broken("%u open files are left", files_open);
	return !world.broken[0];
}
