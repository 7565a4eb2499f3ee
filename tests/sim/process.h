/*
 * process: simulated processes. Each is a coroutine that runs a real main(), with memory, descriptors, environment,
 * signal handlers and static variables of its own. Whenever one waits, or by chance at any system call, another goes on.
 * If all wait, virtual time passes.
 */
#ifndef SIM_PROCESS_H
#define SIM_PROCESS_H

#include "world.h"
#include <setjmp.h>
#include <ucontext.h>

#define FDS_MOST 192
#define SIGNALS 65
#define EXITS_MOST 4

struct file;
struct process;

/* What is known of a process; outlives it for as long as somebody may ask. */
struct task {
	int pid, parent, refs;
	struct process *process; /* NULL: dead */
	int ended, reaped;       /* can be seen to have ended */
	int signo, code;         /* why */
	struct task *next;
};

enum image_kind { IMAGE_LIBRARY, IMAGE_BROKER, IMAGES };

struct program {
	const char *name;
	int (*main)(int argc, char **argv);
	enum image_kind image; /* whose static variables it uses */
};

struct descriptor {
	struct file *file;
	int close_on_exec;
};

struct process {
	int slot, used;
	struct task *task;
	int group;
	int node;                      /* the host that it runs on */
	const struct program *program; /* NULL: between clone() and execve() */
	char name[24];
	char **argv, **environment;
	struct descriptor fds[FDS_MOST];
	unsigned fds_limit;
	int waits;
	int (*ready)(void *);
	void *wait_data;
	uint64_t deadline, stopped_until;
	unsigned slowness; /* passes over a turn but once in so many */
	void (*handlers[SIGNALS])(int);
	uint64_t pending; /* signals */
	void (*exits[EXITS_MOST])(void);
	unsigned n_exits;
	int dying, die_signo, die_code;
	ucontext_t context;
	uint8_t *image;
	int saved_errno;
	jmp_buf *birth;
	uint64_t chance; /* of its own, so that one process's choices do not shift another's */
	void *data;      /* the workload's */
};

/* Who runs; NULL: the simulator itself. */
extern struct process *current;

/* For the trace. */
int process_number(void);
const char *process_name(void);

void processes_init(const struct program *programs, unsigned n);
/* Everything dies and is forgotten. */
void processes_reset(void);

/* A new process with nothing open; `slot` decides its memory. Arguments and environment are copied. */
struct process *process_start(const char *name, const char *const *argv, const char *const *environment);
/* As clone(CLONE_VFORK) and execve() do it. */
int process_clone(int (*fn)(void *), void *data, struct task **ret);
int process_exec(const char *path, char *const *argv, char *const *environment);

struct process *process_of(int pid);
struct task *task_of(int pid);
struct task *task_ref(struct task *);
void task_unref(struct task *);
/* All that live, one by one: begin with NULL. */
struct process *process_next(const struct process *);

/* Deliver a signal: its handler, or death. */
void process_signal(struct process *, int signo);
void process_stop(struct process *, uint64_t until);
_Noreturn void process_exit(int code);

/* Sleep until ready() or the deadline: 1, or 0. -1: a signal came. */
int process_wait(int (*ready)(void *), void *data, uint64_t deadline);
/* At a system call: others may go on first, and signals are delivered. */
void process_preempt(void);

/* Later. */
void at(uint64_t when, void (*fn)(void *), void *data);
/* One turn of one process, or time passes. 0: nothing will ever happen again. */
int processes_step(uint64_t until);
/* Bytes that are allocated by the simulator's open files and so on: what is left behind is a leak. */
extern unsigned files_open;

#endif
