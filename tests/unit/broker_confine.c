/*
 * broker_confine: what a confined process can still do, tried from inside. Every attempt is made by a child of its own, which
 * confines itself first and cannot undo that.
 */
#include "confine.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONFINED 100 /* exit code: it could not confine itself */

/* An attempt: 0, or the errno of what failed. */
typedef int attempt_fn(void);

/* Exit code of the attempt, or minus the signal that ended it. */
static int try(attempt_fn *attempt)
{
	char why[256];
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(confine(why, sizeof(why)) < 0 ? CONFINED : attempt());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int result(long r)
{
	return r < 0 ? errno : 0;
}

/*
 * What kills.
 */

static int do_execve(void)
{
	char *argv[] = { (char *)(uintptr_t) "true", NULL };

	return result(execve("/bin/true", argv, argv + 1));
}

static int do_execveat(void)
{
	char *argv[] = { (char *)(uintptr_t) "true", NULL };

	return result(execveat(AT_FDCWD, "/bin/true", argv, argv + 1, 0));
}

static int do_fork(void)
{
	return result(fork());
}

static int do_spawn(void)
{
	char *argv[] = { (char *)(uintptr_t) "true", NULL };
	pid_t pid;

	return posix_spawn(&pid, "/bin/true", NULL, NULL, argv, argv + 1);
}

/* As libc does it where there is no clone3(). */
static int do_clone(void)
{
	return result(syscall(SYS_clone, CLONE_VFORK | CLONE_VM | SIGCHLD, NULL, NULL, NULL, NULL));
}

#ifdef SYS_fork
static int do_bare_fork(void)
{
	return result(syscall(SYS_fork));
}

static int do_bare_vfork(void)
{
	pid_t pid = vfork();

	if (pid == 0)
		_exit(0);
	return result(pid);
}
#endif

static int do_ptrace(void)
{
	return result(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int do_read_other(void)
{
	char byte;
	struct iovec here = { &byte, 1 };

	return result(process_vm_readv(getppid(), &here, 1, &here, 1, 0));
}

static int do_write_other(void)
{
	char byte = 0;
	struct iovec here = { &byte, 1 };

	return result(process_vm_writev(getppid(), &here, 1, &here, 1, 0));
}

static int do_take_fd(void)
{
	return result(pidfd_getfd(pidfd_open(getppid(), 0), 0, 0));
}

static int do_kill(void)
{
	return result(kill(getppid(), 0));
}

static int do_limit_other(void)
{
	struct rlimit limit;

	return result(prlimit(getppid(), RLIMIT_NOFILE, NULL, &limit));
}

static int do_setuid(void)
{
	return result(setresuid(getuid(), getuid(), getuid()));
}

static int do_unshare(void)
{
	return result(unshare(CLONE_NEWUSER));
}

static int do_chroot(void)
{
	return result(chroot("/"));
}

static int do_bpf(void)
{
	return result(syscall(SYS_bpf, 0, NULL, 0));
}

static void test_what_kills(void **state)
{
	static attempt_fn *const attempts[] = {
		do_execve,      do_execveat,   do_fork,        do_spawn,   do_clone,
		do_ptrace,      do_read_other, do_write_other, do_take_fd, do_kill,
		do_limit_other, do_setuid,     do_unshare,     do_chroot,  do_bpf,
#ifdef SYS_fork
		do_bare_fork,   do_bare_vfork,
#endif
	};

	(void)state;
	if (CONFINE_SANITIZED)
		skip(); /* see confine.h */
	for (size_t i = 0; i < sizeof(attempts) / sizeof(*attempts); i++)
		assert_int_equal(try(attempts[i]), -SIGSYS);
}

/*
 * What fails.
 */

static int do_clone3(void)
{
	return result(syscall(SYS_clone3, NULL, 0));
}

static int do_uring(void)
{
	return result(syscall(SYS_io_uring_setup, 1, NULL));
}

static int do_newer(void)
{
	return result(syscall(451, 0, 0, 0));
}

static int do_x32(void)
{
	return result(syscall(0x40000000 + 39)); /* its getpid() */
}

static int do_packet_socket(void)
{
	return result(socket(AF_NETLINK, SOCK_RAW, 0));
}

static void test_what_fails(void **state)
{
	(void)state;
	if (CONFINE_SANITIZED)
		skip(); /* see confine.h */
	assert_int_equal(try(do_clone3), ENOSYS);
	assert_int_equal(try(do_uring), ENOSYS);
	assert_int_equal(try(do_newer), ENOSYS);
	assert_int_equal(try(do_x32), ENOSYS);
	assert_int_equal(try(do_packet_socket), EAFNOSUPPORT);
}

/*
 * What works: all that the broker, libevent and OpenSSL do.
 */

static void *thread(void *data)
{
	return data;
}

static int do_thread(void)
{
	pthread_t id;
	int r = pthread_create(&id, NULL, thread, NULL);

	return r ? r : pthread_join(id, NULL);
}

static int do_sockets(void)
{
	int pair[2];

	if (socket(AF_UNIX, SOCK_STREAM, 0) < 0 || socket(AF_INET, SOCK_STREAM, 0) < 0)
		return errno;
	if (socket(AF_INET6, SOCK_STREAM, 0) < 0 && errno != EAFNOSUPPORT)
		return errno;
	return result(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
}

static int do_memory(void)
{
	char bytes[16];
	void *pages = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED || madvise(pages, 65536, MADV_DONTDUMP) < 0 || mlock(pages, 4096) < 0)
		return errno;
	if (getrandom(bytes, sizeof(bytes), 0) < 0 || memfd_create("x", MFD_CLOEXEC) < 0)
		return errno;
	return result(pidfd_open(getpid(), 0));
}

static int do_files(void)
{
	char path[] = "/tmp/confine-XXXXXX", fifo[64];

	if (!mkdtemp(path))
		return errno;
	snprintf(fifo, sizeof(fifo), "%s/fifo", path);
	if (mkfifoat(AT_FDCWD, fifo, 0600) < 0 || unlinkat(AT_FDCWD, fifo, 0) < 0)
		return errno;
	return result(rmdir(path));
}

static int do_abort(void)
{
	abort();
}

static void test_what_works(void **state)
{
	(void)state;
	assert_int_equal(try(do_thread), 0);
	assert_int_equal(try(do_sockets), 0);
	assert_int_equal(try(do_memory), 0);
	assert_int_equal(try(do_files), 0);
	assert_int_equal(try(do_abort), -SIGABRT); /* and says so by its own signal */
}

/*
 * What else is given up.
 */

static int do_privileges(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 1;
	if (syscall(SYS_capget, &head, data) < 0)
		return 2;
	if (((data[0].permitted | data[0].effective) & ~(1u << CAP_NET_BIND_SERVICE | 1u << CAP_SYS_RESOURCE)) |
	    data[1].permitted)
		return 3;
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0 && geteuid() == 0; cap++)
		if (prctl(PR_CAPBSET_READ, cap) > 0)
			return 4;
	return 0;
}

static int do_dumps(void)
{
	struct rlimit core;
	char text[16] = "";
	int fd = open("/proc/self/coredump_filter", O_RDONLY | O_CLOEXEC);

	if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_cur != 0 || core.rlim_max != 0)
		return 1;
	if (fd >= 0 && (read(fd, text, sizeof(text) - 1) < 0 || strtoul(text, NULL, 16) != 0))
		return 2;
	return 0;
}

static void test_what_else_is_given_up(void **state)
{
	(void)state;
	assert_int_equal(try(do_privileges), 0);
	assert_int_equal(try(do_dumps), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_kills),
		cmocka_unit_test(test_what_fails),
		cmocka_unit_test(test_what_works),
		cmocka_unit_test(test_what_else_is_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
