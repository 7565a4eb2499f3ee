/*
 * file: open files of the simulated kernel: sockets, pipes, counters, timers, processes, epoll sets, files on disk.
 * Numbers are the process's own, from 0.
 */
#ifndef SIM_FILE_H
#define SIM_FILE_H

#include "process.h"
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum file_kind {
	FILE_SOCKET,
	FILE_LISTENER,
	FILE_PIPE,
	FILE_COUNTER,
	FILE_TIMER,
	FILE_TASK,
	FILE_EPOLL,
	FILE_DISK,
	FILE_NULL,
	FILE_SINK
};

/* Told of the body of each DATA frame that a process (not the broker) wrote in one piece. */
extern void (*file_sees_data)(const uint8_t *body, size_t n);

/* Bytes on their way. */
struct piece {
	struct piece *next;
	uint64_t due; /* visible from then on */
	size_t length, offset;
	unsigned n_files;
	struct file *files[16]; /* descriptors that came with it */
	uint8_t bytes[];
};

struct queue {
	struct piece *first, *last;
	size_t bytes;
	uint64_t due; /* of the last piece */
};

struct watch { /* of an epoll set */
	struct watch *next;
	struct file *file; /* not counted: goes with it */
	int fd;
	uint32_t events;
	uint64_t data;
};

struct decoder { /* of what a socket sends, for the trace */
	uint8_t head[48];
	size_t have, skip;
};

struct pipe_ends {
	struct queue queue;
	unsigned readers, writers;
};

struct file {
	enum file_kind kind;
	int refs;
	int flags; /* O_NONBLOCK, O_ASYNC, O_APPEND */
	struct file *next_open;
	/* sockets */
	struct queue in;
	struct file *peer; /* NULL: closed */
	int error;         /* told once */
	uint64_t end_due;  /* when the end of file is seen */
	size_t limit;      /* bytes that `in` may have */
	int can_be_cut;
	int owner_pid; /* who made the other end */
	unsigned number;
	struct decoder decoder;
	/* listeners */
	struct file *backlog[64];
	unsigned n_backlog;
	int inode;
	/* pipes */
	struct pipe_ends *pipe;
	int writes;
	int async_owner, async_signal;
	/* counters and timers */
	uint64_t count, due, interval;
	int clock;
	/* tasks */
	struct task *task;
	/* epoll */
	struct watch *watches;
	/* disk */
	size_t position;
};

struct file *file_new(enum file_kind);
struct file *file_ref(struct file *);
void file_unref(struct file *);
/* Give it the lowest free number, which is returned; -1 and errno, and the file is gone. */
int file_install(struct file *, int lowest, int close_on_exec);
/* NULL and errno. */
struct file *file_of(int fd);
int file_close(int fd);

/* EPOLL* that it has now. */
uint32_t file_events(struct file *);

/* Two ends that know each other. */
void socket_pair(struct file *ends[2]);
struct file *pipe_end(struct pipe_ends *, int writes);
/* flags: MSG_*. As the system calls, with errno. */
ssize_t file_read(struct file *, const struct iovec *, int n, struct msghdr *);
ssize_t file_write(struct file *, const struct iovec *, int n, struct file **files, unsigned n_files);

/* The network breaks between two processes: what was not read is lost from somewhere on. */
void socket_cut(struct file *, int reset);
/* The connections that can be cut: one of its ends, begin with NULL. */
struct file *socket_next(struct file *);

/* Microseconds of a clock. */
uint64_t clock_now(int clock);

/* On disk: see disk.c. */
void disk_reset(void);
int disk_find(const char *path); /* number, or -1 */
int disk_make(const char *path, mode_t mode);
int disk_remove(const char *path);
int disk_rename(const char *from, const char *to);
int disk_stat(int inode, struct stat *);
const char *disk_path(int inode);
int disk_lock(int inode, struct file *);
void disk_unlock(struct file *);
void disk_truncate(int inode);
ssize_t disk_read(int inode, size_t from, void *to, size_t n);
ssize_t disk_write(int inode, size_t at_byte, const void *bytes, size_t n);
void disk_set_listener(int inode, struct file *);
struct file *disk_listener(int inode);

#endif
