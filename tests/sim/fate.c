/*
 * fate: see fate.h. A run has three phases: programs work and things go wrong; nothing goes wrong any more, and
 * everything must drain without a push; all leave, and nothing must be left.
 */
#include "fate.h"
#include "file.h"
#include "ledger.h"
#include "memory.h"
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
#define LEAVE_MOST (60 * SECOND)

enum { CUTS = 1, BROKER_KILLS = 2, BROKER_REPLACED = 4, KILLS = 8, STOPS = 16, JUMPS = 32, LONG = 64 };

struct fate {
	unsigned faults;   /* which kinds happen */
	uint64_t end;      /* of the first phase */
	unsigned every_ms; /* about so often */
	struct task *broker;
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

static void start_broker(void *unused)
{
	static const char *const argv[] = { "broodd", "--dir",     DIRECTORY, "--log-level",
					    "debug",  "--confine", "no",      NULL };
	(void)unused;
	if (!fate.broker_wanted || (fate.broker && fate.broker->process))
		return;
	struct process *p = process_start("broodd", argv, NULL);
	if (!p)
		return;
	give_standard_files(p);
	fate.broker = p->task;
}

static void start_app(void *role)
{
	char number[16];
	snprintf(number, sizeof(number), "%d", (int)(intptr_t)role);
	struct process *p = process_start("app", (const char *const[]){ "app", number, NULL }, NULL);
	if (p)
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
	if (found)
		socket_cut(found, (int)world_below(2));
}

static void end_broker(int signo)
{
	if (!fate.broker || !fate.broker->process)
		return;
	process_signal(fate.broker->process, signo);
	at(world.now + (world_below(3) ? world_below(50 * MS) : world_below(3 * SECOND)), start_broker, NULL);
}

/* A service manager: sooner or later there is one again. */
static void keep_broker(void *unused)
{
	(void)unused;
	start_broker(NULL);
	if (fate.broker_wanted)
		at(world.now + SECOND, keep_broker, NULL);
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
	struct process *p = world_below(4) == 0 && fate.broker ? fate.broker->process : some_program();
	uint64_t most = world_below(5) ? 200 * MS : 12 * SECOND;
	if (fate.faults & LONG && world_below(2)) {
		most = 150 * SECOND;
		ledger.excused = 1;
	}
	if (!p)
		return;
	uint64_t until = world.now + world_below(most);
	trace("stopped", (uint64_t)p->task->pid, until, 0);
	process_stop(p, until);
}

/* The machine was suspended. */
static void jump(void)
{
	uint64_t us = world_below(world_below(2) ? 2 * SECOND : 60 * SECOND);
	if (us > 30 * SECOND)
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

static void begin(uint64_t seed, int tracing)
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
	keep_broker(NULL);
	for (unsigned role = 0; role < workload.roles; role++)
		at(world_below(200 * MS), start_app, (void *)(intptr_t)role);
	at(world_below(SECOND), go_wrong, NULL);
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

static int is_settled(void)
{
	return ledger_is_settled(0);
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

static void drain(void)
{
	start_broker(NULL);
	heal();
	int slow = ledger.excused || fate.faults & (BROKER_KILLS | BROKER_REPLACED | STOPS | JUMPS);
	uint64_t most = slow ? DRAIN_LONG : DRAIN_MOST, began = world.now;
	run_until(began + most, is_settled);
	trace("drained", world.now - began, 0, 0);
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
	if (fate.broker && fate.broker->process)
		process_signal(fate.broker->process, SIGTERM);
	run_until(world.now + 10 * SECOND, nobody_left);
	if (!world.broken[0] && !nobody_left())
		broken("stuck: the broker does not end");
}

int fate_run(unsigned long long seed, int tracing)
{
	static int ready;
	if (!ready)
		processes_init(programs, sizeof(programs) / sizeof(*programs));
	ready = 1;
	begin(seed, tracing);
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
