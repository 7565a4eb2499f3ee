/*
 * process: see process.h. Static variables of the product are in sections of their own (see CMakeLists.txt); whoever
 * runs has his values there, everybody else's are kept in his image.
 */
#include "process.h"
#include "file.h"
#include "memory.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STACK_SIZE (256u * 1024u)
#define STACKS_AT 0x300000000000ull
#define CALLS_MOST 500u         /* system calls of one turn */
#define PATIENCE_STEPS 4000000u /* of one run: it does not come to an end */

struct process *current;

static struct process processes[ARENAS];
static struct task *tasks;
static int next_pid;
static const struct program *programs;
static unsigned n_programs;
static ucontext_t scheduler;
static unsigned steps, calls; /* turns so far; system calls in this one */

/* ---- static variables -------------------------------------------------------------------------------------------- */

extern char __start_lib_bss[] __attribute__((weak)), __stop_lib_bss[] __attribute__((weak));
extern char __start_lib_data[] __attribute__((weak)), __stop_lib_data[] __attribute__((weak));
extern char __start_broker_bss[] __attribute__((weak)), __stop_broker_bss[] __attribute__((weak));
extern char __start_broker_data[] __attribute__((weak)), __stop_broker_data[] __attribute__((weak));

static struct area {
	char *start, *end;
} areas[IMAGES][2];
static uint8_t *pristine[IMAGES];
static struct process *owner[IMAGES];

static size_t image_size(enum image_kind kind)
{
	return (size_t)(areas[kind][0].end - areas[kind][0].start) +
	       (size_t)(areas[kind][1].end - areas[kind][1].start);
}

static void image_save(enum image_kind kind, uint8_t *to)
{
	for (int i = 0; i < 2; i++) {
		size_t n = (size_t)(areas[kind][i].end - areas[kind][i].start);
		memcpy(to, areas[kind][i].start, n);
		to += n;
	}
}

static void image_load(enum image_kind kind, const uint8_t *from)
{
	for (int i = 0; i < 2; i++) {
		size_t n = (size_t)(areas[kind][i].end - areas[kind][i].start);
		memcpy(areas[kind][i].start, from, n);
		from += n;
	}
}

static void images_init(void)
{
	areas[IMAGE_LIBRARY][0] = (struct area){ __start_lib_bss, __stop_lib_bss };
	areas[IMAGE_LIBRARY][1] = (struct area){ __start_lib_data, __stop_lib_data };
	areas[IMAGE_BROKER][0] = (struct area){ __start_broker_bss, __stop_broker_bss };
	areas[IMAGE_BROKER][1] = (struct area){ __start_broker_data, __stop_broker_data };
	for (int kind = 0; kind < IMAGES; kind++) {
		pristine[kind] = host_alloc(image_size((enum image_kind)kind) + 1);
		image_save((enum image_kind)kind, pristine[kind]);
	}
}

static void image_enter(struct process *p)
{
	enum image_kind kind = p->program->image;
	if (owner[kind] == p)
		return;
	if (owner[kind])
		image_save(kind, owner[kind]->image);
	image_load(kind, p->image);
	owner[kind] = p;
}

/* ---- later ------------------------------------------------------------------------------------------------------- */

struct timed {
	uint64_t when, number;
	void (*fn)(void *);
	void *data;
};

static struct timed *heap; /* from 1 */
static size_t heap_n, heap_size;
static uint64_t heap_number;

static int is_before(const struct timed *a, const struct timed *b)
{
	return a->when != b->when ? a->when < b->when : a->number < b->number;
}

void at(uint64_t when, void (*fn)(void *), void *data)
{
	if (heap_n + 2 > heap_size)
		heap = host_grow(heap, (heap_size = 2 * heap_size + 64) * sizeof(*heap));
	struct timed t = { when, ++heap_number, fn, data };
	size_t slot = ++heap_n;
	for (; slot > 1 && is_before(&t, &heap[slot / 2]); slot /= 2)
		heap[slot] = heap[slot / 2];
	heap[slot] = t;
}

static struct timed heap_take(void)
{
	struct timed first = heap[1], last = heap[heap_n--];
	size_t slot = 1;
	for (;;) {
		size_t child = 2 * slot;
		if (child < heap_n && is_before(&heap[child + 1], &heap[child]))
			child++;
		if (child > heap_n || is_before(&last, &heap[child]))
			break;
		heap[slot] = heap[child];
		slot = child;
	}
	heap[slot] = last;
	return first;
}

/* ---- tasks ------------------------------------------------------------------------------------------------------- */

struct task *task_ref(struct task *t)
{
	t->refs++;
	return t;
}

void task_unref(struct task *t)
{
	t->refs--; /* freed with all the others, so that a pid is never mistaken for another's */
}

struct task *task_of(int pid)
{
	struct task *t;
	for (t = tasks; t && t->pid != pid; t = t->next)
		;
	return t;
}

struct process *process_of(int pid)
{
	struct task *t = task_of(pid);
	return t ? t->process : NULL;
}

struct process *process_next(const struct process *p)
{
	for (int slot = p ? p->slot + 1 : 0; slot < ARENAS; slot++)
		if (processes[slot].used)
			return &processes[slot];
	return NULL;
}

int process_number(void)
{
	return current ? current->task->pid : 0;
}

const char *process_name(void)
{
	return current ? current->name : "-";
}

/* ---- beginning --------------------------------------------------------------------------------------------------- */

void processes_init(const struct program *table, unsigned n)
{
	programs = table;
	n_programs = n;
	images_init();
	next_pid = 100;
}

static char **copy_strings(const char *const *from)
{
	size_t n = 0;
	while (from && from[n])
		n++;
	char **to = host_alloc((n + 1) * sizeof(*to));
	for (size_t i = 0; i < n; i++) {
		size_t length = strlen(from[i]) + 1;
		to[i] = memcpy(host_alloc(length), from[i], length);
	}
	return to;
}

static void free_strings(char **strings)
{
	for (char **at_one = strings; strings && *at_one; at_one++)
		host_free(*at_one);
	host_free(strings);
}

static struct process *process_new(int parent)
{
	int slot = 0;
	while (slot < ARENAS && processes[slot].used)
		slot++;
	if (slot == ARENAS)
		return NULL;
	struct process *p = &processes[slot];
	memset(p, 0, sizeof(*p));
	p->slot = slot;
	p->used = 1;
	p->fds_limit = FDS_MOST;
	p->task = host_alloc(sizeof(*p->task));
	*p->task = (struct task){ .pid = next_pid++, .parent = parent, .refs = 1, .process = p, .next = tasks };
	tasks = p->task;
	p->group = p->task->pid;
	p->chance = world.seed * 0x2545f4914f6cdd1du + (uint64_t)p->task->pid;
	p->slowness = world_one_in(4) ? 1 + (unsigned)world_below(20) : 1;
	return p;
}

static const struct program *find_program(const char *path)
{
	const char *slash = strrchr(path, '/');
	for (unsigned i = 0; i < n_programs; i++)
		if (strcmp(programs[i].name, slash ? slash + 1 : path) == 0)
			return &programs[i];
	return NULL;
}

static void run(void)
{
	struct process *p = current;
	int argc = 0;
	while (p->argv[argc])
		argc++;
	process_exit(p->program->main(argc, p->argv));
}

static void *stack_of(const struct process *p)
{
	static void *stacks[ARENAS];
	if (!stacks[p->slot])
		stacks[p->slot] =
			mmap((void *)(uintptr_t)(STACKS_AT + (uint64_t)p->slot * 2 * STACK_SIZE), STACK_SIZE,
			     PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	return stacks[p->slot];
}

static void become(struct process *p, const struct program *program, const char *const *argv,
		   const char *const *environment)
{
	p->program = program;
	p->argv = copy_strings(argv);
	p->environment = copy_strings(environment);
	snprintf(p->name, sizeof(p->name), "%s.%d", program->name, p->task->pid);
	size_t n = image_size(program->image);
	p->image = memcpy(host_alloc(n + 1), pristine[program->image], n);
	getcontext(&p->context);
	p->context.uc_stack.ss_sp = stack_of(p);
	p->context.uc_stack.ss_size = STACK_SIZE;
	p->context.uc_link = NULL;
	makecontext(&p->context, run, 0);
	trace_text("exec", p->name);
}

struct process *process_start(const char *name, const char *const *argv, const char *const *environment)
{
	struct process *p = process_new(1);
	if (!p)
		return NULL;
	become(p, find_program(name), argv, environment);
	return p;
}

int process_clone(int (*fn)(void *), void *data, struct task **ret)
{
	struct process *parent = current, *volatile child = process_new(parent->task->pid);
	jmp_buf out;
	if (!child) {
		errno = EAGAIN;
		return -1;
	}
	child->group = parent->group;
	child->node = parent->node;
	snprintf(child->name, sizeof(child->name), "born.%d", child->task->pid);
	for (int fd = 0; fd < FDS_MOST; fd++)
		if (parent->fds[fd].file)
			child->fds[fd] =
				(struct descriptor){ file_ref(parent->fds[fd].file), parent->fds[fd].close_on_exec };
	child->birth = &out;
	current = child;
	if (_setjmp(out) == 0) {
		child->die_code = fn(data);
		child->dying = 1;
	}
	current = parent;
	child->birth = NULL;
	*ret = child->task;
	if (child->dying)
		process_signal(child, 0);
	return (*ret)->pid;
}

int process_exec(const char *path, char *const *argv, char *const *environment)
{
	const struct program *program = find_program(path);
	if (!program) {
		errno = ENOENT;
		return -1;
	}
	for (int fd = 0; fd < FDS_MOST; fd++)
		if (current->fds[fd].file && current->fds[fd].close_on_exec)
			file_close(fd);
	become(current, program, (const char *const *)argv, (const char *const *)environment);
	_longjmp(*current->birth, 1);
}

/* ---- ending ------------------------------------------------------------------------------------------------------ */

static void end_is_seen(void *data)
{
	struct task *t = data;
	t->ended = 1;
	if (!process_of(t->parent))
		t->reaped = 1;
	trace("ended", (uint64_t)t->pid, (uint64_t)t->signo, (uint64_t)t->code);
}

/* Its memory and descriptors go without running any of its code; then its end is seen. */
static void bury(struct process *p)
{
	struct task *t = p->task;
	struct process *before = current;
	trace("dies", (uint64_t)t->pid, (uint64_t)p->die_signo, (uint64_t)p->die_code);
	t->signo = p->die_signo;
	t->code = p->die_code;
	t->process = NULL;
	p->dying = 1;
	current = p;
	for (int fd = FDS_MOST - 1; fd >= 0; fd--) /* the highest first */
		if (p->fds[fd].file)
			file_close(fd);
	current = before;
	for (int kind = 0; kind < IMAGES; kind++)
		if (owner[kind] == p)
			owner[kind] = NULL;
	host_free(p->image);
	free_strings(p->argv);
	free_strings(p->environment);
	memory_reset(p->slot);
	p->used = 0;
	at(world.now + world_below(3 * MS), end_is_seen, t);
}

static void die(struct process *p, int signo, int code)
{
	if (p->dying && p != current && !p->program) {
		bury(p);
		return;
	}
	if (p->dying)
		return;
	p->dying = 1;
	p->die_signo = signo;
	p->die_code = code;
	if (p != current || !p->program)
		bury(p);
	else
		swapcontext(&p->context, &scheduler);
}

void process_signal(struct process *p, int signo)
{
	if (signo && p->handlers[signo] == SIG_IGN)
		return;
	if (signo && signo != SIGKILL && p->handlers[signo]) {
		p->pending |= 1ull << signo;
		return;
	}
	die(p, signo, 0);
}

void process_stop(struct process *p, uint64_t until)
{
	p->stopped_until = until;
}

void process_exit(int code)
{
	struct process *p = current;
	while (p->n_exits > 0)
		p->exits[--p->n_exits]();
	die(p, 0, code & 255);
	abort();
}

void processes_reset(void)
{
	struct process *p;
	while ((p = process_next(NULL))) {
		p->dying = 1;
		bury(p);
	}
	while (tasks) {
		struct task *next = tasks->next;
		host_free(tasks);
		tasks = next;
	}
	heap_n = 0;
	heap_number = 0;
	next_pid = 100;
	steps = 0;
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static void resume(struct process *p)
{
	current = p;
	image_enter(p);
	memory_enter(p->slot);
	errno = p->saved_errno;
	calls = 0;
	swapcontext(&scheduler, &p->context);
	p->saved_errno = errno;
	memory_enter(-1);
	current = NULL;
	if (p->dying)
		bury(p);
}

static int run_handlers(void)
{
	struct process *p = current;
	int n = 0;
	for (int signo = 1; p->pending && signo < SIGNALS; signo++) {
		if (!(p->pending & 1ull << signo))
			continue;
		p->pending &= ~(1ull << signo);
		if (p->handlers[signo])
			p->handlers[signo](signo);
		n++;
	}
	return n;
}

static void pass_on(void)
{
	struct process *p = current;
	swapcontext(&p->context, &scheduler);
}

void process_preempt(void)
{
	if (!current->program)
		return; /* its parent sleeps until it is born */
	world.now++;
	if (world_one_in(world.weather.preempt_one_in) || ++calls > CALLS_MOST)
		pass_on();
	(void)run_handlers();
}

int process_wait(int (*ready)(void *), void *data, uint64_t deadline)
{
	struct process *p = current;
	p->ready = ready;
	p->wait_data = data;
	p->deadline = deadline;
	p->waits = 1;
	pass_on();
	p->waits = 0;
	if (run_handlers())
		return -1;
	return ready(data);
}

static int may_run(const struct process *p)
{
	if (p->stopped_until > world.now || !p->program)
		return 0;
	return !p->waits || p->pending || p->deadline <= world.now || p->ready(p->wait_data);
}

/* When the next thing happens if nobody can run now. */
static uint64_t next_time(void)
{
	uint64_t next = heap_n ? heap[1].when : NEVER;
	for (struct process *p = process_next(NULL); p; p = process_next(p)) {
		uint64_t when = p->waits ? p->deadline : NEVER;
		if (p->stopped_until > world.now && (when < p->stopped_until || p->waits == 0 || when == NEVER))
			when = p->stopped_until;
		if (when > world.now && when < next)
			next = when;
	}
	return next;
}

static struct process *choose(void)
{
	struct process *able[ARENAS];
	unsigned n = 0;
	for (struct process *p = process_next(NULL); p; p = process_next(p))
		if (may_run(p))
			able[n++] = p;
	if (n == 0)
		return NULL;
	struct process *p = able[world_below(n)];
	if (n > 1 && p->slowness > 1 && world_below(p->slowness))
		p = able[world_below(n)];
	return p;
}

int processes_step(uint64_t until)
{
	while (heap_n && heap[1].when <= world.now) {
		struct timed t = heap_take();
		if (t.fn)
			t.fn(t.data);
	}
	if (++steps > PATIENCE_STEPS && !world.broken[0])
		broken("no end: %u turns, somebody is busy without getting anything done", steps);
	struct process *p = choose();
	if (p) {
		world.now += 1 + world_below(10);
		resume(p);
		return 1;
	}
	uint64_t next = next_time();
	if (next > until) {
		world.now = until;
		return 0;
	}
	world.now = next;
	return 1;
}
