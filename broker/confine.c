/*
 * confine: a seccomp filter that refuses what only an intruder would ask for, and everything else that can be given up.
 *
 * It lists what is denied, not what is allowed: which calls libc, OpenSSL and libevent need differs between their
 * versions and between processors, and a broker that an update of libc kills is worse than none. Three things make up for
 * that. The list has every way to another program, process, thread group, privilege, or memory of others. A call that is
 * newer than the list does not exist (ENOSYS, to which every library has an answer), so what a later kernel offers is not
 * allowed by being unknown. And what libraries try and can do without (clone3, io_uring, strange sockets) fails as it
 * does on a kernel without it.
 *
 * The rest of the list kills, rather than EPERM: nothing of ours calls any of it, so who does is not the broker any more,
 * and must not get a second try in its name. Its clients come back to the next one. The kernel logs it (audit, dmesg:
 * "type=1326", with the number of the call).
 *
 * Memory: no core file, and none of it in a dump that is piped to a collector, which would ignore the limit. The process stays
 * "dumpable": what that keeps from its user (ptrace, /proc/PID/fd) the user can have by reading the key in the directory,
 * and whoever looks after a broker needs it.
 */
#include "confine.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE 0 /* not tried: a filter of wrong numbers is worse than none */
#endif

#define NEWEST 450 /* set_mempolicy_home_node, Linux 5.17; the numbers are the same on all processors */

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, (what))
/* Skip as many instructions if it is so, else if it is not. */
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), (yes), (no))
#define IF_MORE(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (uint32_t)(value), (yes), (no))
#define IF_BITS(bits, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (uint32_t)(bits), (yes), (no))
#define KILL RETURN(SECCOMP_RET_KILL_PROCESS)
#define FAIL(error) RETURN(SECCOMP_RET_ERRNO | (error))
#define DENY(call) IF_EQUAL(__NR_##call, 0, 1), KILL
#define MISSING(call) IF_EQUAL(__NR_##call, 0, 1), FAIL(ENOSYS)

/* The lower half of an argument, where little-endian machines have it. */
#define ARGUMENT(n) LOAD(args[n])

static const struct sock_filter filter[] = {
	LOAD(arch),
	IF_EQUAL(ARCHITECTURE, 1, 0),
	KILL,
	LOAD(nr),
	IF_MORE(NEWEST, 0, 1), /* those of x32, too, which have bit 30 */
	FAIL(ENOSYS),
	/* Programs and processes. A thread is fine. */
	DENY(execve),
	DENY(execveat),
#ifdef __NR_fork
	DENY(fork),
	DENY(vfork),
#endif
	MISSING(clone3), /* its flags are in memory, where they cannot be trusted; libc goes on with clone */
	IF_EQUAL(__NR_clone, 0, 4),
	ARGUMENT(0),
	IF_BITS(CLONE_THREAD, 1, 0),
	KILL,
	LOAD(nr),
	/* Other processes. */
	DENY(ptrace),
	DENY(process_vm_readv),
	DENY(process_vm_writev),
	DENY(process_madvise),
	DENY(pidfd_getfd),
	DENY(kill), /* abort() and raise() do without */
	DENY(pidfd_send_signal),
	DENY(rt_sigqueueinfo),
	IF_EQUAL(__NR_prlimit64, 0, 4), /* its own limits are fine */
	ARGUMENT(0),
	IF_EQUAL(0, 1, 0),
	KILL,
	LOAD(nr),
	/* Who it is, and where. */
	DENY(setuid),
	DENY(setgid),
	DENY(setreuid),
	DENY(setregid),
	DENY(setresuid),
	DENY(setresgid),
	DENY(setfsuid),
	DENY(setfsgid),
	DENY(setgroups),
	DENY(capset),
	DENY(personality),
	DENY(unshare),
	DENY(setns),
	DENY(chroot),
	DENY(pivot_root),
	DENY(mount),
	DENY(umount2),
	DENY(open_tree),
	DENY(move_mount),
	DENY(fsopen),
	DENY(fsconfig),
	DENY(fsmount),
	DENY(fspick),
	DENY(mount_setattr),
	DENY(open_by_handle_at),
	/* The kernel. */
	DENY(init_module),
	DENY(finit_module),
	DENY(delete_module),
	DENY(kexec_load),
	DENY(kexec_file_load),
	DENY(bpf),
	DENY(perf_event_open),
	DENY(userfaultfd),
	DENY(add_key),
	DENY(request_key),
	DENY(keyctl),
	DENY(reboot),
	DENY(swapon),
	DENY(swapoff),
	DENY(acct),
	DENY(quotactl),
	DENY(settimeofday),
	DENY(clock_settime),
	DENY(clock_adjtime),
	DENY(adjtimex),
	DENY(sethostname),
	DENY(setdomainname),
	DENY(syslog),
#ifdef __NR_iopl
	DENY(iopl),
	DENY(ioperm),
	DENY(modify_ldt),
#endif
	MISSING(io_uring_setup), /* does calls that no filter sees */
	/* Talking to others: the kinds of sockets that a broker has. */
	IF_EQUAL(__NR_socket, 0, 5),
	ARGUMENT(0),
	IF_EQUAL(AF_UNIX, 3, 0),
	IF_EQUAL(AF_INET, 2, 0),
	IF_EQUAL(AF_INET6, 1, 0),
	FAIL(EAFNOSUPPORT),
	RETURN(SECCOMP_RET_ALLOW),
};

static int begin_filter(void)
{
	const struct sock_fprog program = { sizeof(filter) / sizeof(*filter), (struct sock_filter *)(uintptr_t)filter };

	if (CONFINE_SANITIZED)
		return 0;
	if (ARCHITECTURE == 0)
		return -ENOSYS;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0 ? -errno : 0;
}

/* libc has them, and says so in no header. */
extern int capget(cap_user_header_t, cap_user_data_t);
extern int capset(cap_user_header_t, const cap_user_data_t);

/*
 * Root without capabilities still owns root's files, which is nearly all that root's broker needs. But ports below 1024 may
 * be wanted by a later configuration. And descriptors of all users are under way in root's name: if that were limited, one
 * user could take away everybody's.
 */
#define KEPT (1u << CAP_NET_BIND_SERVICE | 1u << CAP_SYS_RESOURCE)

static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap); /* which an ordinary user may not, and has nothing from */
	if (capget(&head, data) < 0)
		return -errno;
	if (((data[0].permitted | data[0].inheritable) & ~KEPT) == 0 && (data[1].permitted | data[1].inheritable) == 0)
		return 0; /* asking for less could be denied, by a service manager's filter */
	data[0].effective &= KEPT;
	data[0].permitted = data[0].effective;
	data[0].inheritable = 0;
	data[1] = (struct __user_cap_data_struct){ 0 };
	return capset(&head, data) < 0 ? -errno : 0;
}

static void keep_out_of_dumps(void)
{
	const struct rlimit none = { 0, 0 };
	int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);

	(void)setrlimit(RLIMIT_CORE, &none);
	if (fd < 0)
		return; /* a kernel without dumps */
	(void)!write(fd, "0\n", 2);
	close(fd);
}

static int fail(int error, const char *what, char *why, size_t n)
{
	snprintf(why, n, "cannot confine itself: %s: %s; to run without, set confine = no", what, strerror(-error));
	return error;
}

int confine(char *why, size_t n)
{
	int r;

	keep_out_of_dumps();
	r = drop_capabilities();
	if (r < 0)
		return fail(r, "capabilities", why, n);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail(-errno, "no new privileges", why, n);
	r = begin_filter();
	return r < 0 ? fail(r, "seccomp", why, n) : 0;
}
