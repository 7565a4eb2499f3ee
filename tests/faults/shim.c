/*
 * shim: preloaded into a program to make one call of it fail, the Nth of those that may. Those that may are the
 * allocations, system calls and calls of libevent that our own code makes, by the address of the caller.
 *
 *   FAULTS_AT=N      fail the Nth; 0: only count
 *   FAULTS_OF=NAMES  whose calls: parts of files' names, such as "libbrood.so libbrood-tls.so"; also of those loaded later
 *   FAULTS_TO=FILE   at the end, and after the failure: "count CALLS", "failed NAME ERRNO", "live BLOCKS", and who made the call
 *   FAULTS_WAIT=1    do not begin before SIGWINCH comes
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

#define WATCHED 8
static struct {
	uintptr_t low, high;
} watched[WATCHED]; /* code */
static unsigned n_watched;
static unsigned long at, count;
static volatile sig_atomic_t ready;
static const char *of, *to;
static char failed[64] = "none";
static pid_t self;
static void *from[16]; /* who made the call that failed */
static int n_from;

/* Blocks that watched code allocated and nobody has freed; open addressing, never full in a test. */
#define BLOCKS (1u << 16)
static void *blocks[BLOCKS];
static unsigned live;

static int is_ours(const void *caller)
{
	for (unsigned i = 0; ready && i < n_watched; i++)
		if ((uintptr_t)caller >= watched[i].low && (uintptr_t)caller < watched[i].high)
			return getpid() == self;
	return 0;
}

static void say(void)
{
	char text[160];
	int n = snprintf(text, sizeof text, "count %lu\nfailed %s\nlive %u\n", count, failed, live);
	int fd = to ? open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
	if (fd < 0)
		return;
	(void)!write(fd, text, (size_t)n);
	backtrace_symbols_fd(from, n_from, fd);
	close(fd);
}

static int fails(const char *name, int error, const void *caller)
{
	if (!is_ours(caller) || ++count != at)
		return 0;
	snprintf(failed, sizeof failed, "%s %s", name, strerrorname_np(error));
	n_from = backtrace(from, sizeof from / sizeof *from);
	say();
	errno = error;
	return 1;
}

static int has_one_of(const char *names, const char *file)
{
	char copy_of[128], *rest;
	snprintf(copy_of, sizeof copy_of, "%s", names);
	for (char *name = strtok_r(copy_of, " ", &rest); name; name = strtok_r(NULL, " ", &rest))
		if (strstr(file, name))
			return 1;
	return 0;
}

static int find_code(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)size;
	if (!has_one_of(data, info->dlpi_name[0] ? info->dlpi_name : program_invocation_name))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || n_watched == WATCHED)
			continue;
		watched[n_watched].low = info->dlpi_addr + p->p_vaddr;
		watched[n_watched].high = watched[n_watched].low + p->p_memsz;
		n_watched++;
	}
	return 0;
}

static void find_all_code(void)
{
	n_watched = 0;
	dl_iterate_phdr(find_code, (void *)(uintptr_t)of);
}

static void now(int signo)
{
	(void)signo;
	ready = 1;
}

__attribute__((constructor)) static void begin(void)
{
	const char *text = getenv("FAULTS_AT");
	of = getenv("FAULTS_OF");
	to = getenv("FAULTS_TO");
	if (!of || !text)
		return;
	at = strtoul(text, NULL, 10);
	self = getpid();
	find_all_code();
	unsetenv("LD_PRELOAD"); /* it is for this program, not for those it starts */
	if (getenv("FAULTS_WAIT"))
		signal(SIGWINCH, now);
	else
		ready = 1;
}

__attribute__((destructor)) static void end(void)
{
	if (ready && getpid() == self)
		say();
}

/* ---- allocation -------------------------------------------------------------------------------------------------- */

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

static unsigned slot_of(const void *p)
{
	unsigned slot = (unsigned)(((uintptr_t)p >> 4) * 0x9e3779b1u) % BLOCKS;
	while (blocks[slot] && blocks[slot] != p)
		slot = (slot + 1) % BLOCKS;
	return slot;
}

static void *born(void *p, const void *caller)
{
	if (p && is_ours(caller)) {
		blocks[slot_of(p)] = p;
		live++;
	}
	return p;
}

static void forget(void *p)
{
	unsigned slot = p ? slot_of(p) : 0, next;
	if (!p || !live || !blocks[slot])
		return;
	blocks[slot] = NULL;
	live--;
	for (next = (slot + 1) % BLOCKS; blocks[next]; next = (next + 1) % BLOCKS) {
		void *moved = blocks[next];
		blocks[next] = NULL;
		blocks[slot_of(moved)] = moved;
	}
}

EXPORT void *malloc(size_t n)
{
	const void *caller = __builtin_return_address(0);
	return fails("malloc", ENOMEM, caller) ? NULL : born(__libc_malloc(n), caller);
}

EXPORT void *calloc(size_t n, size_t size)
{
	const void *caller = __builtin_return_address(0);
	return fails("calloc", ENOMEM, caller) ? NULL : born(__libc_calloc(n, size), caller);
}

EXPORT void *realloc(void *old, size_t n)
{
	const void *caller = __builtin_return_address(0);
	if (fails("realloc", ENOMEM, caller))
		return NULL;
	void *p = __libc_realloc(old, n);
	if (p) {
		forget(old);
		born(p, caller);
	}
	return p;
}

EXPORT void free(void *p)
{
	forget(p);
	__libc_free(p);
}

static char *copy(const char *name, const char *text, size_t n, const void *caller)
{
	char *p = fails(name, ENOMEM, caller) ? NULL : born(__libc_malloc(n + 1), caller);
	if (!p)
		return NULL;
	memcpy(p, text, n);
	p[n] = '\0';
	return p;
}

EXPORT char *strdup(const char *text)
{
	return copy("strdup", text, strlen(text), __builtin_return_address(0));
}

EXPORT char *strndup(const char *text, size_t n)
{
	return copy("strndup", text, strnlen(text, n), __builtin_return_address(0));
}

/* ---- system calls ------------------------------------------------------------------------------------------------ */

#define CALL(type, name, error, parameters, arguments)                                                                 \
	EXPORT type name parameters                                                                                    \
	{                                                                                                              \
		static type(*real) parameters;                                                                         \
		if (!real)                                                                                             \
			real = (type(*) parameters)(uintptr_t)dlsym(RTLD_NEXT, #name);                                 \
		return fails(#name, error, __builtin_return_address(0)) ? (type)-1 : real arguments;                   \
	}

/* A connection that ends while it is written to: it must then be so for whoever reads, too. What it fails with. */
static int cut(int fd)
{
	struct stat s;
	int ends[2];
	if (fstat(fd, &s) < 0 || !S_ISFIFO(s.st_mode)) {
		shutdown(fd, SHUT_RDWR);
		return ECONNRESET;
	}
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0) { /* one that nobody reads */
		dup3(ends[1], fd, O_CLOEXEC);
		close(ends[0]);
		close(ends[1]);
	}
	return EPIPE;
}

#define WRITE(name, parameters, arguments)                                                                             \
	EXPORT ssize_t name parameters                                                                                 \
	{                                                                                                              \
		static ssize_t(*real) parameters;                                                                      \
		if (!real)                                                                                             \
			real = (ssize_t(*) parameters)(uintptr_t)dlsym(RTLD_NEXT, #name);                              \
		if (!fails(#name, ECONNRESET, __builtin_return_address(0)))                                            \
			return real arguments;                                                                         \
		errno = cut(a);                                                                                        \
		return -1;                                                                                             \
	}

CALL(int, socket, EMFILE, (int a, int b, int c), (a, b, c))
CALL(int, socketpair, EMFILE, (int a, int b, int c, int d[2]), (a, b, c, d))
CALL(int, connect, ECONNREFUSED, (int a, __CONST_SOCKADDR_ARG b, socklen_t c), (a, b, c))
CALL(int, accept4, EMFILE, (int a, __SOCKADDR_ARG b, socklen_t *restrict c, int d), (a, b, c, d))
CALL(int, epoll_create1, EMFILE, (int a), (a))
CALL(int, epoll_ctl, ENOSPC, (int a, int b, int c, struct epoll_event *d), (a, b, c, d))
CALL(int, epoll_wait, EINTR, (int a, struct epoll_event *b, int c, int d), (a, b, c, d))
CALL(int, poll, EINTR, (struct pollfd * a, nfds_t b, int c), (a, b, c))
CALL(int, eventfd, EMFILE, (unsigned a, int b), (a, b))
CALL(int, timerfd_create, EMFILE, (int a, int b), (a, b))
CALL(int, pipe2, EMFILE, (int a[2], int b), (a, b))
CALL(ssize_t, read, EINTR, (int a, void *b, size_t c), (a, b, c))
CALL(ssize_t, write, EINTR, (int a, const void *b, size_t c), (a, b, c))
WRITE(writev, (int a, const struct iovec *b, int c), (a, b, c))
WRITE(send, (int a, const void *b, size_t c, int d), (a, b, c, d))
CALL(ssize_t, recv, ECONNRESET, (int a, void *b, size_t c, int d), (a, b, c, d))
WRITE(sendmsg, (int a, const struct msghdr *b, int c), (a, b, c))
CALL(ssize_t, recvmsg, ECONNRESET, (int a, struct msghdr *b, int c), (a, b, c))
CALL(int, fstat, EIO, (int a, struct stat *b), (a, b))
CALL(int, stat, EACCES, (const char *restrict a, struct stat *restrict b), (a, b))
CALL(int, waitid, EINTR, (idtype_t a, id_t b, siginfo_t *c, int d), (a, b, c, d))
CALL(int, getsockopt, ENOBUFS, (int a, int b, int c, void *restrict d, socklen_t *restrict e), (a, b, c, d, e))
CALL(int, setsockopt, ENOBUFS, (int a, int b, int c, const void *d, socklen_t e), (a, b, c, d, e))
CALL(int, dup3, EMFILE, (int a, int b, int c), (a, b, c))
CALL(int, unlinkat, EACCES, (int a, const char *b, int c), (a, b, c))
CALL(int, rename, EACCES, (const char *a, const char *b), (a, b))
CALL(int, unlink, EACCES, (const char *a), (a))
CALL(int, chmod, EPERM, (const char *a, mode_t b), (a, b))
CALL(int, mkdir, EACCES, (const char *a, mode_t b), (a, b))
CALL(int, flock, ENOLCK, (int a, int b), (a, b))
CALL(int, fsync, EIO, (int a), (a))
CALL(int, ftruncate, EIO, (int a, off_t b), (a, b))
CALL(ssize_t, pread, EIO, (int a, void *b, size_t c, off_t d), (a, b, c, d))
CALL(ssize_t, pwrite, ENOSPC, (int a, const void *b, size_t c, off_t d), (a, b, c, d))
CALL(ssize_t, getrandom, ENOSYS, (void *a, size_t b, unsigned c), (a, b, c))
CALL(int, bind, EADDRINUSE, (int a, __CONST_SOCKADDR_ARG b, socklen_t c), (a, b, c))
CALL(int, listen, EADDRINUSE, (int a, int b), (a, b))
CALL(int, pidfd_open, EMFILE, (pid_t a, unsigned b), (a, b))
CALL(int, lstat, EACCES, (const char *restrict a, struct stat *restrict b), (a, b))
CALL(ssize_t, readlink, EACCES, (const char *restrict a, char *restrict b, size_t c), (a, b, c))
CALL(int, mkfifo, EACCES, (const char *a, mode_t b), (a, b))
CALL(int, mkfifoat, EACCES, (int a, const char *b, mode_t c), (a, b, c))
CALL(ssize_t, readv, EINTR, (int a, const struct iovec *b, int c), (a, b, c))
CALL(int, renameat, EACCES, (int a, const char *b, int c, const char *d), (a, b, c, d))

/* Those with an argument more or less: passing it always is harmless on Linux. */
EXPORT int open(const char *path, int flags, ...)
{
	static int (*real)(const char *, int, ...);
	if (!real)
		real = (int (*)(const char *, int, ...))(uintptr_t)dlsym(RTLD_NEXT, "open");
	va_list list;
	va_start(list, flags);
	mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
	va_end(list);
	return fails("open", EMFILE, __builtin_return_address(0)) ? -1 : real(path, flags, mode);
}

EXPORT int openat(int fd, const char *path, int flags, ...)
{
	static int (*real)(int, const char *, int, ...);
	if (!real)
		real = (int (*)(int, const char *, int, ...))(uintptr_t)dlsym(RTLD_NEXT, "openat");
	va_list list;
	va_start(list, flags);
	mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
	va_end(list);
	return fails("openat", EMFILE, __builtin_return_address(0)) ? -1 : real(fd, path, flags, mode);
}

EXPORT int fcntl(int fd, int command, ...)
{
	static int (*real)(int, int, ...);
	if (!real)
		real = (int (*)(int, int, ...))(uintptr_t)dlsym(RTLD_NEXT, "fcntl");
	va_list list;
	va_start(list, command);
	void *argument = va_arg(list, void *);
	va_end(list);
	int makes_one = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
	return makes_one && fails("fcntl", EMFILE, __builtin_return_address(0)) ? -1 : real(fd, command, argument);
}

/* Who goes on as a copy of itself: the rest of the calls are the copy's. */
EXPORT pid_t fork(void)
{
	static pid_t (*real)(void);
	if (!real)
		real = (pid_t(*)(void))(uintptr_t)dlsym(RTLD_NEXT, "fork");
	if (fails("fork", EAGAIN, __builtin_return_address(0)))
		return -1;
	pid_t pid = real();
	if (pid == 0 && ready)
		self = getpid();
	else if (pid > 0)
		ready = 0;
	return pid;
}

EXPORT FILE *fopen(const char *path, const char *how)
{
	static FILE *(*real)(const char *, const char *);
	if (!real)
		real = (FILE * (*)(const char *, const char *))(uintptr_t)dlsym(RTLD_NEXT, "fopen");
	return fails("fopen", EMFILE, __builtin_return_address(0)) ? NULL : real(path, how);
}

EXPORT void *dlopen(const char *path, int mode)
{
	static void *(*real)(const char *, int);
	if (!real)
		real = (void *(*)(const char *, int))(uintptr_t)dlsym(RTLD_NEXT, "dlopen");
	void *file = real(fails("dlopen", ENOMEM, __builtin_return_address(0)) ? "/dev/null" : path, mode);
	if (file && of)
		find_all_code();
	return file;
}

EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *argument, ...)
{
	static int (*real)(int (*)(void *), void *, int, void *, ...);
	if (!real)
		real = (int (*)(int (*)(void *), void *, int, void *, ...))(uintptr_t)dlsym(RTLD_NEXT, "clone");
	va_list list;
	va_start(list, argument);
	void *parent = va_arg(list, void *), *tls = va_arg(list, void *), *child = va_arg(list, void *);
	va_end(list);
	return fails("clone", EAGAIN, __builtin_return_address(0))
		       ? -1
		       : real(fn, stack, flags, argument, parent, tls, child);
}

EXPORT long syscall(long number, ...)
{
	static long (*real)(long, ...);
	long a[6];
	if (!real)
		real = (long (*)(long, ...))(uintptr_t)dlsym(RTLD_NEXT, "syscall");
	va_list list;
	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	/* a mask that is in order is never refused */
	return number != SYS_rt_sigprocmask && fails("syscall", EMFILE, __builtin_return_address(0))
		       ? -1
		       : real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- libevent ---------------------------------------------------------------------------------------------------- */

struct event;
struct event_base;
CALL(int, event_add, ENOSPC, (struct event * a, const struct timeval *b), (a, b))

EXPORT struct event *event_new(struct event_base *b, int fd, short what, void (*fn)(int, short, void *), void *data)
{
	static struct event *(*real)(struct event_base *, int, short, void (*)(int, short, void *), void *);
	if (!real)
		real = (struct event * (*)(struct event_base *, int, short, void (*)(int, short, void *), void *))(
			uintptr_t)dlsym(RTLD_NEXT, "event_new");
	return fails("event_new", ENOMEM, __builtin_return_address(0)) ? NULL : real(b, fd, what, fn, data);
}
