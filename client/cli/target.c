/*
 * target: see target.h.
 *
 * First a pidfd is opened by the number, then what it refers to is looked at: it must be of the process's user, and have been
 * there before the process came to the broker. Whoever got the number later cannot have been, however often it was used.
 */
#include "target.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1u << 2) /* Linux 6.9 */
#endif

/* ---- what /proc says --------------------------------------------------------------------------------------------- */

static int slurp(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	FILE *file = fopen(path, "re");
	size_t n = file ? fread(text, 1, size - 1, file) : 0;
	text[n] = '\0';
	if (file)
		fclose(file);
	return n > 0;
}

/* When it was started, in milliseconds since the host was, to within 10; UINT64_MAX if that cannot be known. */
static uint64_t started_ms(pid_t pid)
{
	char text[1024], *at;
	long long ticks = -1;
	if (!slurp(pid, "stat", text, sizeof text) || !(at = strrchr(text, ')')))
		return UINT64_MAX;
	for (int field = 2; at && field < 22; field++) /* the name is field 2, and may have blanks in it */
		at = strchr(at + 1, ' ');
	if (at)
		ticks = strtoll(at, NULL, 10);
	return ticks < 0 ? UINT64_MAX : (uint64_t)ticks * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

static int is_of_user(pid_t pid, uint32_t uid)
{
	char text[4096], *at;
	unsigned real, effective;
	return slurp(pid, "status", text, sizeof text) && (at = strstr(text, "\nUid:")) &&
	       sscanf(at, "\nUid:%u%u", &real, &effective) == 2 && (real == uid || effective == uid);
}

/* ---- holding it -------------------------------------------------------------------------------------------------- */

static uint64_t pid_space(void)
{
	struct stat s;
	return stat("/proc/self/ns/pid", &s) == 0 ? s.st_ino : 0;
}

/* As the broker reads it: of two hosts the first namespaces have the same number. */
static uint64_t boot_id(void)
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	char text[64] = "";
	unsigned long long a = 0, b = 0, c = 0;
	if (!file)
		return 0;
	int n = fgets(text, sizeof text, file) ? sscanf(text, "%8llx-%4llx-%4llx-", &a, &b, &c) : 0;
	fclose(file);
	return n == 3 ? a << 32 | b << 16 | c : 0;
}

static int has_ended(const struct target *t)
{
	return poll(&(struct pollfd){ .fd = t->fd, .events = POLLIN }, 1, 0) == 1;
}

static int refuse(char *why, size_t n, const char *text)
{
	snprintf(why, n, "%s", text);
	return -ESRCH;
}

static int refuse_from_here(char *why, size_t n, const char *text)
{
	(void)refuse(why, n, text);
	return -EXDEV;
}

/* The number is read before the end is looked for, so all was read of the process that is held. */
static int check(const struct target *t, const Brood__Control__Process *p, char *why, size_t n)
{
	int its_user = is_of_user(t->pid, p->uid), was_there = started_ms(t->pid) <= p->came_ms;
	if (has_ended(t))
		return refuse(why, n, "it has just ended");
	if (!its_user)
		return refuse(why, n, "its pid is a process of another user by now, or was never its own");
	if (!was_there)
		return refuse(why, n, "its pid means another process by now, or was never its own");
	return 0;
}

int target_hold(struct target *t, const Brood__Control__Process *p, char *why, size_t n)
{
	*t = (struct target){ .pid = (pid_t)p->pid, .fd = -1 };
	if (p->boot == 0 || p->boot != boot_id())
		return refuse_from_here(why, n, "it runs on another host, as far as can be known; signal it there");
	if (p->pid == 0 || p->pid_space == 0)
		return refuse_from_here(
			why, n, "what its pid means here is not known: it runs in a container, or does not say where");
	if (p->pid_space != pid_space())
		return refuse_from_here(why, n,
					"its pid means it in another pid namespace than this one; signal it there");
	t->fd = pidfd_open(t->pid, 0);
	if (t->fd < 0)
		return refuse(why, n, errno == ESRCH ? "it has ended" : strerror(errno));
	if (check(t, p, why, n) == 0)
		return 0;
	target_release(t);
	return -ESRCH;
}

void target_release(struct target *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

/* ---- signalling -------------------------------------------------------------------------------------------------- */

static int send_signal(const struct target *t, int signo, unsigned flags)
{
	return syscall(SYS_pidfd_send_signal, t->fd, signo, NULL, flags) < 0 ? -errno : 0;
}

/* An older kernel knows the group by its number only, which is its leader's as long as that lives. */
static int signal_group(const struct target *t, int signo)
{
	if (getpgid(t->pid) != t->pid)
		return has_ended(t) ? -ESRCH : -ENOTSUP;
	int rc = send_signal(t, signo, PIDFD_SIGNAL_PROCESS_GROUP);
	if (rc != -EINVAL)
		return rc;
	if (has_ended(t))
		return -ESRCH;
	return kill(-t->pid, signo) < 0 ? -errno : 0;
}

int target_signal(const struct target *t, int signo, int tree)
{
	return tree ? signal_group(t, signo) : send_signal(t, signo, 0);
}
