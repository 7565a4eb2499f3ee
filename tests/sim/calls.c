/*
 * calls: the system calls of broker, library and libevent. The linker finds these before the C library's. What the
 * simulator itself calls outside of a simulated process goes to the real kernel.
 */
#include "file.h"
#include "memory.h"
#include "nodes.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define USER 1000
#define BACKLOG_MOST 64
#define PID_SPACE 4026531836u

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* sockaddr of glibc is a union of pointers, which pedantic compilers find odd. */
#pragma GCC diagnostic ignored "-Wpedantic"

static int fail(int code)
{
	errno = code;
	return -1;
}

/* ---- the real ones ----------------------------------------------------------------------------------------------- */

static long real(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	if (result < 0 && result > -4096)
		return fail((int)-result);
	return result;
}

#define REAL_1(name, a) (real(SYS_##name, (long)(a), 0, 0, 0))
#define REAL_2(name, a, b) (real(SYS_##name, (long)(a), (long)(b), 0, 0))
#define REAL_3(name, a, b, c) (real(SYS_##name, (long)(a), (long)(b), (long)(c), 0))
#define REAL_4(name, a, b, c, d) (real(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d)))

void simulator_write(const char *text, size_t n)
{
	(void)REAL_3(write, 1, text, n);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

int clock_gettime(clockid_t clock, struct timespec *t)
{
	if (!current)
		return (int)REAL_2(clock_gettime, clock, t);
	uint64_t now = clock_now(clock);
	*t = (struct timespec){ (time_t)(now / SECOND), (long)(now % SECOND) * 1000 };
	return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
	struct timespec now;
	(void)zone;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	*t = (struct timeval){ now.tv_sec, now.tv_nsec / 1000 };
	return 0;
}

time_t time(time_t *ret)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}

int timerfd_create(int clock, int flags)
{
	process_preempt();
	struct file *f = file_new(FILE_TIMER);
	f->clock = clock;
	f->flags = O_NONBLOCK;
	return file_install(f, 0, (flags & TFD_CLOEXEC) != 0);
}

static uint64_t microseconds(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * SECOND + (uint64_t)(t->tv_nsec + 999) / 1000;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *t, struct itimerspec *old)
{
	struct file *f = file_of(fd);
	(void)old;
	if (!f)
		return -1;
	uint64_t now = clock_now(f->clock), value = microseconds(&t->it_value);
	f->interval = microseconds(&t->it_interval);
	f->due = value == 0 ? 0 : flags & TFD_TIMER_ABSTIME ? value : now + value;
	if (f->due > now)
		at(world.now + (f->due - now), NULL, NULL);
	return 0;
}

/* ---- who am I ---------------------------------------------------------------------------------------------------- */

pid_t getpid(void)
{
	return current ? current->task->pid : (pid_t)REAL_1(getpid, 0);
}

uid_t getuid(void)
{
	return USER;
}

uid_t geteuid(void)
{
	return USER;
}

/* The C library's would look into the real files, and keep what it found in the memory of who asked first. */
int getpwuid_r(uid_t uid, struct passwd *restrict entry, char *restrict text, size_t n, struct passwd **restrict found)
{
	snprintf(text, n, "sim");
	*entry = (struct passwd){ .pw_name = text, .pw_uid = uid };
	*found = uid == USER ? entry : NULL;
	return 0;
}

int gethostname(char *name, size_t n)
{
	snprintf(name, n, "node");
	return 0;
}

char *getenv(const char *name)
{
	size_t n = strlen(name);
	char **at_one = current ? current->environment : environ;
	for (; at_one && *at_one; at_one++)
		if (strncmp(*at_one, name, n) == 0 && (*at_one)[n] == '=')
			return *at_one + n + 1;
	return NULL;
}

char *secure_getenv(const char *name)
{
	return getenv(name);
}

extern long __sysconf(int);

long sysconf(int what)
{
	return current && what == _SC_OPEN_MAX ? (long)current->fds_limit : __sysconf(what);
}

int getrlimit(__rlimit_resource_t what, struct rlimit *limit)
{
	(void)what;
	*limit = (struct rlimit){ current ? current->fds_limit : 1024, current ? current->fds_limit : 1024 };
	return 0;
}

int setrlimit(__rlimit_resource_t what, const struct rlimit *limit)
{
	(void)what;
	(void)limit;
	return 0;
}

ssize_t getrandom(void *bytes, size_t n, unsigned flags)
{
	if (!current)
		return REAL_3(getrandom, bytes, n, flags);
	for (size_t i = 0; i < n; i++)
		((uint8_t *)bytes)[i] = (uint8_t)chance_below(&current->chance, 256);
	return (ssize_t)n;
}

int isatty(int fd)
{
	(void)fd;
	return 0;
}

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

int close(int fd)
{
	if (!current)
		return (int)REAL_1(close, fd);
	process_preempt();
	return file_close(fd);
}

static int duplicate(struct file *f, int lowest, int close_on_exec)
{
	return file_install(file_ref(f), lowest, close_on_exec);
}

static int control(int fd, int command, long value)
{
	struct file *f = file_of(fd);
	if (!f)
		return -1;
	switch (command) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		if (value >= (long)current->fds_limit)
			return fail(EINVAL);
		return duplicate(f, (int)value, command == F_DUPFD_CLOEXEC);
	case F_GETFD:
		return current->fds[fd].close_on_exec;
	case F_SETFD:
		current->fds[fd].close_on_exec = (value & FD_CLOEXEC) != 0;
		return 0;
	case F_GETFL:
		return f->flags;
	case F_SETFL:
		f->flags = (int)value & (O_NONBLOCK | O_ASYNC | O_APPEND);
		return 0;
	case F_SETOWN:
		f->async_owner = (int)value;
		return 0;
	case F_SETSIG:
		f->async_signal = (int)value;
		return 0;
	default:
		return fail(EINVAL);
	}
}

int fcntl(int fd, int command, ...)
{
	va_list args;
	va_start(args, command);
	long value = va_arg(args, long);
	va_end(args);
	return current ? control(fd, command, value) : (int)REAL_3(fcntl, fd, command, value);
}

static int duplicate_to(int from, int to, int close_on_exec)
{
	struct file *f = file_of(from);
	if (!f || to < 0 || to >= FDS_MOST)
		return fail(EBADF);
	file_ref(f);
	if (current->fds[to].file)
		(void)file_close(to);
	current->fds[to] = (struct descriptor){ f, close_on_exec };
	return to;
}

int dup2(int from, int to)
{
	return duplicate_to(from, to, 0);
}

int eventfd(unsigned count, int flags)
{
	process_preempt();
	struct file *f = file_new(FILE_COUNTER);
	f->count = count;
	f->flags = O_NONBLOCK;
	return file_install(f, 0, (flags & EFD_CLOEXEC) != 0);
}

/* Both or none. */
static int install_pair(struct file *a, struct file *b, int close_on_exec, int fds[2])
{
	fds[0] = file_install(a, 0, close_on_exec);
	if (fds[0] < 0) {
		file_unref(b);
		return -1;
	}
	fds[1] = file_install(b, 0, close_on_exec);
	if (fds[1] >= 0)
		return 0;
	(void)file_close(fds[0]);
	return fail(EMFILE);
}

int pipe2(int fds[2], int flags)
{
	process_preempt();
	struct pipe_ends *pipe = host_alloc(sizeof(*pipe));
	struct file *reader = pipe_end(pipe, 0), *writer = pipe_end(pipe, 1);
	reader->flags = writer->flags = flags & O_NONBLOCK;
	return install_pair(reader, writer, (flags & O_CLOEXEC) != 0, fds);
}

int pipe(int fds[2])
{
	return pipe2(fds, 0);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

static int is_readable(void *file)
{
	return file_events(file) != 0;
}

static ssize_t read_from(int fd, const struct iovec *iov, int n, struct msghdr *msg, int now)
{
	process_preempt();
	struct file *f = file_of(fd);
	if (!f)
		return -1;
	for (;;) {
		ssize_t got = file_read(f, iov, n, msg);
		if (got >= 0 || errno != EAGAIN || now || f->flags & O_NONBLOCK)
			return got;
		if (process_wait(is_readable, f, NEVER) < 0)
			return fail(EINTR);
	}
}

static ssize_t write_to(int fd, const struct iovec *iov, int n, struct file **files, unsigned n_files)
{
	process_preempt();
	struct file *f = file_of(fd);
	return f ? file_write(f, iov, n, files, n_files) : -1;
}

ssize_t read(int fd, void *bytes, size_t n)
{
	if (!current)
		return REAL_3(read, fd, bytes, n);
	return read_from(fd, &(struct iovec){ bytes, n }, 1, NULL, 0);
}

ssize_t readv(int fd, const struct iovec *iov, int n)
{
	return read_from(fd, iov, n, NULL, 0);
}

ssize_t recv(int fd, void *bytes, size_t n, int flags)
{
	return read_from(fd, &(struct iovec){ bytes, n }, 1, NULL, flags & MSG_DONTWAIT);
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	msg->msg_flags = 0;
	return read_from(fd, msg->msg_iov, (int)msg->msg_iovlen, msg, flags & MSG_DONTWAIT);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
	if (!current)
		return REAL_3(write, fd, bytes, n);
	return write_to(fd, &(struct iovec){ (void *)(uintptr_t)bytes, n }, 1, NULL, 0);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	return write_to(fd, iov, n, NULL, 0);
}

ssize_t send(int fd, const void *bytes, size_t n, int flags)
{
	(void)flags;
	return write_to(fd, &(struct iovec){ (void *)(uintptr_t)bytes, n }, 1, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct cmsghdr *head = msg->msg_control ? CMSG_FIRSTHDR(msg) : NULL;
	struct file *files[16];
	unsigned n = head ? (unsigned)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
	(void)flags;
	for (unsigned i = 0; i < n; i++) {
		int its;
		memcpy(&its, CMSG_DATA(head) + i * sizeof(int), sizeof(its));
		if (!(files[i] = file_of(its)))
			return -1;
	}
	return write_to(fd, msg->msg_iov, (int)msg->msg_iovlen, files, n);
}

ssize_t pread(int fd, void *bytes, size_t n, off_t from)
{
	struct file *f = file_of(fd);
	return f ? disk_read(f->inode, (size_t)from, bytes, n) : -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t to)
{
	struct file *f = file_of(fd);
	return f ? disk_write(f->inode, (size_t)to, bytes, n) : -1;
}

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

int socket(int domain, int type, int protocol)
{
	(void)protocol;
	process_preempt();
	if (domain != AF_UNIX)
		return fail(EAFNOSUPPORT);
	struct file *f = file_new(FILE_SOCKET);
	f->flags = type & SOCK_NONBLOCK ? O_NONBLOCK : 0;
	return file_install(f, 0, (type & SOCK_CLOEXEC) != 0);
}

int socketpair(int domain, int type, int protocol, int fds[2])
{
	struct file *ends[2];
	(void)domain;
	(void)protocol;
	process_preempt();
	socket_pair(ends);
	ends[0]->flags = ends[1]->flags = type & SOCK_NONBLOCK ? O_NONBLOCK : 0;
	return install_pair(ends[0], ends[1], (type & SOCK_CLOEXEC) != 0, fds);
}

int bind(int fd, const struct sockaddr *address, socklen_t n)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)address;
	struct file *f = file_of(fd);
	(void)n;
	process_preempt();
	if (!f)
		return -1;
	if (disk_find(un->sun_path) >= 0)
		return fail(EADDRINUSE);
	f->inode = disk_make(un->sun_path, S_IFSOCK | 0755);
	return 0;
}

int listen(int fd, int backlog)
{
	struct file *f = file_of(fd);
	(void)backlog;
	process_preempt();
	if (!f)
		return -1;
	f->kind = FILE_LISTENER;
	f->owner_pid = process_number();
	disk_set_listener(f->inode, f);
	return 0;
}

int connect(int fd, const struct sockaddr *address, socklen_t n)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)address;
	struct file *f = file_of(fd), *server;
	(void)n;
	process_preempt();
	int inode = disk_find(un->sun_path);
	if (!f || inode < 0)
		return f ? fail(ENOENT) : -1;
	struct file *listener = disk_listener(inode);
	if (!listener)
		return fail(ECONNREFUSED);
	if (listener->n_backlog == BACKLOG_MOST)
		return fail(EAGAIN);
	server = file_new(FILE_SOCKET);
	server->peer = f;
	f->peer = server;
	server->limit = f->limit = world.weather.buffer;
	server->owner_pid = process_number();
	f->owner_pid = listener->owner_pid;
	listener->backlog[listener->n_backlog++] = server;
	trace("connect", f->number, server->number, 0);
	return 0;
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
	struct file *f = file_of(fd);
	(void)address;
	(void)length;
	process_preempt();
	if (!f || f->n_backlog == 0)
		return f ? fail(EAGAIN) : -1;
	if (world_one_in(world.weather.emfile_one_in))
		return fail(EMFILE);
	struct file *one = file_ref(f->backlog[0]);
	one->flags = flags & SOCK_NONBLOCK ? O_NONBLOCK : 0;
	int got = file_install(one, 0, (flags & SOCK_CLOEXEC) != 0);
	if (got < 0)
		return -1;
	file_unref(one);
	memmove(f->backlog, f->backlog + 1, --f->n_backlog * sizeof(f->backlog[0]));
	return got;
}

static int new_task_file(int pid, int close_on_exec)
{
	struct task *t = task_of(pid);
	if (!t || t->reaped)
		return fail(ESRCH);
	struct file *f = file_new(FILE_TASK);
	f->task = task_ref(t);
	return file_install(f, 0, close_on_exec);
}

int getsockopt(int fd, int level, int option, void *restrict value, socklen_t *restrict n)
{
	struct file *f = file_of(fd);
	int number;
	(void)level;
	if (!f)
		return -1;
	switch (option) {
	case SO_PEERCRED:
		memcpy(value, &(struct ucred){ f->owner_pid, USER, USER }, sizeof(struct ucred));
		return 0;
	case SO_PEERPIDFD:
		if ((number = new_task_file(f->owner_pid, 1)) < 0)
			return -1;
		break;
	case SO_DOMAIN:
		number = AF_UNIX;
		break;
	case SO_TYPE:
		number = SOCK_STREAM;
		break;
	case SO_ERROR:
		number = 0;
		break;
	default:
		return fail(ENOPROTOOPT);
	}
	memcpy(value, &number, sizeof(number));
	*n = sizeof(number);
	return 0;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t n)
{
	struct file *f = file_of(fd);
	int number;
	(void)level;
	if (!f || n != sizeof(int))
		return f ? fail(EINVAL) : -1;
	memcpy(&number, value, sizeof(number));
	if (option == SO_SNDBUF && f->peer && (size_t)number > f->peer->limit)
		f->peer->limit = (size_t)number < 4 * f->peer->limit ? (size_t)number : 4 * f->peer->limit;
	return 0;
}

int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict n)
{
	struct file *f = file_of(fd);
	(void)address;
	(void)n;
	return !f ? -1 : f->peer ? 0 : fail(ENOTCONN);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static uint64_t deadline_of(int timeout_ms)
{
	return timeout_ms < 0 ? NEVER : world.now + (uint64_t)timeout_ms * MS;
}

int epoll_create1(int flags)
{
	process_preempt();
	return file_install(file_new(FILE_EPOLL), 0, (flags & EPOLL_CLOEXEC) != 0);
}

int epoll_create(int size)
{
	(void)size;
	return epoll_create1(0);
}

static int watch_add(struct file *set, struct watch **end, struct file *f, int fd, const struct epoll_event *e)
{
	(void)set;
	struct watch *w = host_alloc(sizeof(*w));
	*w = (struct watch){ .file = f, .fd = fd, .events = e->events, .data = e->data.u64 };
	*end = w;
	return 0;
}

int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *e)
{
	struct file *set = file_of(epoll_fd), *f = file_of(fd);
	if (!set || !f)
		return -1;
	struct watch **link = &set->watches;
	while (*link && !((*link)->file == f && (*link)->fd == fd))
		link = &(*link)->next;
	struct watch *w = *link;
	if (operation == EPOLL_CTL_ADD)
		return w ? fail(EEXIST) : watch_add(set, link, f, fd, e);
	if (!w)
		return fail(ENOENT);
	if (operation == EPOLL_CTL_MOD) {
		w->events = e->events;
		w->data = e->data.u64;
		return 0;
	}
	*link = w->next;
	host_free(w);
	return 0;
}

static int collect(struct file *set, struct epoll_event *events, int most)
{
	int n = 0;
	for (struct watch *w = set->watches; w && n < most; w = w->next) {
		uint32_t now = file_events(w->file) & (w->events | EPOLLERR | EPOLLHUP);
		if (now)
			events[n++] = (struct epoll_event){ .events = now, .data.u64 = w->data };
	}
	for (int i = n - 1; i > 0; i--) { /* in any order */
		int j = (int)world_below((uint64_t)i + 1);
		struct epoll_event one = events[i];
		events[i] = events[j];
		events[j] = one;
	}
	return n;
}

int epoll_wait(int epoll_fd, struct epoll_event *events, int most, int timeout_ms)
{
	process_preempt();
	struct file *set = file_of(epoll_fd);
	if (!set)
		return -1;
	int n = collect(set, events, most);
	if (n > 0 || timeout_ms == 0)
		return n;
	if (process_wait(is_readable, set, deadline_of(timeout_ms)) < 0)
		return fail(EINTR);
	return collect(set, events, most);
}

struct polled {
	struct pollfd *fds;
	nfds_t n;
};

static int poll_look(void *data)
{
	struct polled *p = data;
	int n = 0;
	for (nfds_t i = 0; i < p->n; i++) {
		struct file *f = p->fds[i].fd >= 0 && p->fds[i].fd < FDS_MOST ? current->fds[p->fds[i].fd].file : NULL;
		uint32_t wanted = (uint32_t)p->fds[i].events | EPOLLERR | EPOLLHUP;
		uint32_t now = f ? file_events(f) & wanted : (uint32_t)POLLNVAL;
		p->fds[i].revents = (short)now;
		n += now != 0;
	}
	return n;
}

struct poll_wait {
	struct polled polled;
	struct process *process;
};

static int poll_ready(void *data)
{
	struct poll_wait *w = data;
	struct process *before = current;
	current = w->process;
	int n = poll_look(&w->polled);
	current = before;
	return n;
}

int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	if (!current)
		return (int)REAL_3(poll, fds, n, timeout_ms);
	process_preempt();
	struct poll_wait w = { { fds, n }, current };
	int found = poll_look(&w.polled);
	if (found || timeout_ms == 0)
		return found;
	found = process_wait(poll_ready, &w, deadline_of(timeout_ms));
	return found < 0 ? fail(EINTR) : found;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static int open_again(int number, int flags)
{
	struct file *f = file_of(number);
	if (!f || f->kind != FILE_PIPE)
		return fail(ENOENT);
	return file_install(pipe_end(f->pipe, f->writes), 0, (flags & O_CLOEXEC) != 0);
}

static int open_path(const char *path, int flags, mode_t mode)
{
	process_preempt();
	if (strncmp(path, "/proc/self/fd/", 14) == 0)
		return open_again(atoi(path + 14), flags);
	if (strcmp(path, "/dev/null") == 0)
		return file_install(file_new(FILE_NULL), 0, (flags & O_CLOEXEC) != 0);
	if (strcmp(path, "/proc/sys/kernel/random/boot_id") == 0)
		path = node_boot_path(current->node);
	int inode = disk_find(path);
	if (inode < 0 && !(flags & O_CREAT))
		return fail(ENOENT);
	if (inode >= 0 && flags & O_EXCL)
		return fail(EEXIST);
	if (inode < 0)
		inode = disk_make(path, S_IFREG | (mode & 0777));
	if (flags & O_TRUNC)
		disk_truncate(inode);
	struct file *f = file_new(FILE_DISK);
	f->inode = inode;
	return file_install(f, 0, (flags & O_CLOEXEC) != 0);
}

int open(const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	return current ? open_path(path, flags, mode) : (int)REAL_3(open, path, flags, mode);
}

static const char *below(int directory, const char *name, char *path, size_t n)
{
	struct file *f = file_of(directory);
	snprintf(path, n, "%s/%s", f && f->inode >= 0 ? disk_path(f->inode) : "?", name);
	return path;
}

int openat(int directory, const char *name, int flags, ...)
{
	char path[256];
	va_list args;
	va_start(args, flags);
	mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	return open_path(below(directory, name, path, sizeof(path)), flags, mode);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
	char a[256], b[256];
	process_preempt();
	return disk_rename(below(from_directory, from, a, sizeof(a)), below(to_directory, to, b, sizeof(b)));
}

int rename(const char *from, const char *to)
{
	process_preempt();
	return disk_rename(from, to);
}

int unlinkat(int directory, const char *name, int flags)
{
	char path[256];
	(void)flags;
	process_preempt();
	return disk_remove(below(directory, name, path, sizeof(path)));
}

int unlink(const char *path)
{
	process_preempt();
	return disk_remove(path);
}

int mkdir(const char *path, mode_t mode)
{
	if (disk_find(path) >= 0)
		return fail(EEXIST);
	(void)disk_make(path, S_IFDIR | mode);
	return 0;
}

int chmod(const char *path, mode_t mode)
{
	(void)path;
	(void)mode;
	return 0;
}

int fsync(int fd)
{
	(void)fd;
	process_preempt();
	return 0;
}

int flock(int fd, int operation)
{
	struct file *f = file_of(fd);
	(void)operation;
	return f ? disk_lock(f->inode, f) : -1;
}

int ftruncate(int fd, off_t length)
{
	struct file *f = file_of(fd);
	(void)length;
	if (f)
		disk_truncate(f->inode);
	return f ? 0 : -1;
}

ssize_t readlink(const char *restrict path, char *restrict to, size_t n)
{
	struct file *f = strncmp(path, "/proc/self/fd/", 14) == 0 ? file_of(atoi(path + 14)) : NULL;
	if (!f || f->inode < 0)
		return fail(ENOENT);
	size_t length = strlen(disk_path(f->inode));
	memcpy(to, disk_path(f->inode), length < n ? length : n);
	return (ssize_t)length;
}

static int stat_path(const char *path, struct stat *s)
{
	if (strcmp(path, "/proc/self/ns/pid") == 0) {
		memset(s, 0, sizeof(*s));
		s->st_ino = PID_SPACE;
		return 0;
	}
	int inode = disk_find(path);
	return inode < 0 ? fail(ENOENT) : disk_stat(inode, s);
}

int stat(const char *restrict path, struct stat *restrict s)
{
	return current ? stat_path(path, s) : (int)REAL_2(stat, path, s);
}

int lstat(const char *restrict path, struct stat *restrict s)
{
	return current ? stat_path(path, s) : (int)REAL_2(lstat, path, s);
}

int fstat(int fd, struct stat *s)
{
	if (!current)
		return (int)REAL_2(fstat, fd, s);
	struct file *f = file_of(fd);
	if (!f)
		return -1;
	if (f->kind == FILE_DISK)
		return disk_stat(f->inode, s);
	memset(s, 0, sizeof(*s));
	s->st_ino = 1000000 + f->number;
	s->st_mode = f->kind == FILE_SOCKET || f->kind == FILE_LISTENER ? S_IFSOCK | 0777
		     : f->kind == FILE_PIPE                             ? S_IFIFO | 0600
									: S_IFCHR | 0600;
	return 0;
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

int pidfd_open(pid_t pid, unsigned flags)
{
	(void)flags;
	process_preempt();
	return new_task_file(pid, 1);
}

static int task_ended(void *file)
{
	return ((struct file *)file)->task->ended;
}

static int wait_for(id_t fd, siginfo_t *info, int options)
{
	struct file *f = file_of((int)fd);
	if (!f || f->kind != FILE_TASK)
		return fail(EBADF);
	if (f->task->parent != process_number() || f->task->reaped)
		return fail(ECHILD);
	while (!f->task->ended && !(options & WNOHANG))
		(void)process_wait(task_ended, f, NEVER);
	memset(info, 0, sizeof(*info));
	if (!f->task->ended)
		return 0;
	info->si_pid = f->task->pid;
	info->si_signo = SIGCHLD;
	info->si_code = f->task->signo ? CLD_KILLED : CLD_EXITED;
	info->si_status = f->task->signo ? f->task->signo : f->task->code;
	if (!(options & WNOWAIT))
		f->task->reaped = 1;
	return 0;
}

int waitid(idtype_t kind, id_t id, siginfo_t *info, int options)
{
	(void)kind;
	process_preempt();
	return wait_for(id, info, options);
}

/* To one process, or a group; signal 0 only asks. */
static int signal_all(int pid, int group, int signo)
{
	int found = 0;
	for (struct process *p = process_next(NULL); p; p = process_next(p)) {
		if (p->dying || !(pid ? p->task->pid == pid : p->group == group))
			continue;
		found = 1;
		trace("signal", (uint64_t)p->task->pid, (uint64_t)signo, 0);
		if (signo)
			process_signal(p, signo);
	}
	return found;
}

int kill(pid_t pid, int signo)
{
	process_preempt();
	return signal_all(pid > 0 ? pid : 0, -pid, signo) ? 0 : fail(ESRCH);
}

#define SIGNAL_GROUP (1u << 2)

static int signal_task(int fd, int signo, unsigned flags)
{
	struct file *f = file_of(fd);
	if (!f || f->kind != FILE_TASK)
		return fail(EBADF);
	int group = (flags & SIGNAL_GROUP) != 0;
	if (signal_all(group ? 0 : f->task->pid, f->task->pid, signo) || (!group && !f->task->reaped))
		return 0;
	return fail(ESRCH);
}

int clone(int (*fn)(void *), void *stack, int flags, void *data, ...)
{
	struct task *child;
	va_list args;
	va_start(args, data);
	int *pidfd = va_arg(args, int *);
	va_end(args);
	(void)stack;
	(void)flags;
	process_preempt();
	int pid = process_clone(fn, data, &child);
	if (pid < 0)
		return -1;
	struct file *f = file_new(FILE_TASK);
	f->task = task_ref(child);
	*pidfd = file_install(f, 0, 1);
	return pid;
}

static int close_range_of(unsigned first, unsigned last)
{
	for (unsigned fd = first; fd <= last && fd < FDS_MOST; fd++)
		if (current->fds[fd].file)
			(void)file_close((int)fd);
	return 0;
}

static int set_group(int pid, int group)
{
	(void)pid;
	(void)group;
	current->group = current->task->pid;
	return 0;
}

/* What is called by number: by a process between clone() and execve(), and for want of a function. */
static long call(long number, const long a[5])
{
	switch (number) {
	case SYS_rt_sigaction:
	case SYS_rt_sigprocmask:
	case SYS_chdir:
	case SYS_prlimit64:
		return 0;
	case SYS_getpid:
		return getpid();
	case SYS_setpgid:
	case SYS_setsid:
		return set_group((int)a[0], (int)a[1]);
	case SYS_fcntl:
		return control((int)a[0], (int)a[1], a[2]);
	case SYS_dup3:
		return duplicate_to((int)a[0], (int)a[1], (a[2] & O_CLOEXEC) != 0);
	case SYS_close:
		return file_close((int)a[0]);
	case SYS_close_range:
		return close_range_of((unsigned)a[0], (unsigned)a[1]);
	case SYS_execve:
		return process_exec((const char *)a[0], (char *const *)a[1], (char *const *)a[2]);
	case SYS_waitid:
		return wait_for((id_t)a[1], (siginfo_t *)a[2], (int)a[3]);
	case SYS_pidfd_send_signal:
		return signal_task((int)a[0], (int)a[1], (unsigned)a[3]);
	default:
		trace("syscall?", (uint64_t)number, 0, 0);
		return fail(ENOSYS);
	}
}

long syscall(long number, ...)
{
	long a[5];
	va_list args;
	va_start(args, number);
	for (int i = 0; i < 5; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	return current ? call(number, a) : real(number, a[0], a[1], a[2], a[3]);
}

int sigaction(int signo, const struct sigaction *restrict action, struct sigaction *restrict old)
{
	if (!current)
		return fail(ENOSYS);
	if (old)
		*old = (struct sigaction){ .sa_handler = current->handlers[signo] };
	if (action)
		current->handlers[signo] = action->sa_handler;
	return 0;
}

__sighandler_t signal(int signo, __sighandler_t handler)
{
	if (!current)
		return SIG_ERR;
	__sighandler_t old = current->handlers[signo];
	current->handlers[signo] = handler;
	return old;
}

/* The product's atexit() and pthread_atfork(), renamed when it was linked: exit handlers are the process's. */
int sim_atexit(void (*fn)(void));
int sim_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
int sim_fprintf(FILE *, const char *format, ...);

/* Into memory; or to standard error, whatever it says. */
int sim_fprintf(FILE *file, const char *format, ...)
{
	char text[256];
	va_list args;
	va_start(args, format);
	int n = file == stderr || file == stdout ? vsnprintf(text, sizeof(text), format, args)
						 : vfprintf(file, format, args);
	va_end(args);
	if (file == stderr || file == stdout)
		trace_text("says", text);
	return n;
}

int sim_atexit(void (*fn)(void))
{
	if (current->n_exits < EXITS_MOST)
		current->exits[current->n_exits++] = fn;
	return 0;
}

int sim_atfork(void (*before)(void), void (*parent)(void), void (*child)(void))
{
	(void)before;
	(void)parent;
	(void)child;
	return 0;
}
