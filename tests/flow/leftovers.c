/*
 * leftovers: see leftovers.h. Reads /proc; changes nothing but what it finds left over.
 *
 * The surprising rule: a dead child that nobody reaped is looked at with WNOWAIT and only then reaped here, so that it
 * is counted once.
 */
#include "leftovers.h"
#include "knock.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *link_of(int fd, char *to, size_t n)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	ssize_t length = readlink(path, to, n - 1);
	to[length < 0 ? 0 : length] = '\0';
	return to;
}

void leftovers_begin(struct leftovers *l)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L);
	for (int fd = 0; fd < LEFTOVERS_FDS; fd++)
		l->open[fd] = fcntl(fd, F_GETFD) >= 0;
}

unsigned leftovers_fds(const struct leftovers *l)
{
	unsigned found = 0;
	char what[256];
	for (int fd = 0; fd < LEFTOVERS_FDS; fd++) {
		if (l->open[fd] || fcntl(fd, F_GETFD) < 0)
			continue;
		fprintf(stderr, "left open: descriptor %d, %s\n", fd, link_of(fd, what, sizeof what));
		found++;
	}
	return found;
}

static const char *command_of(pid_t pid, char *to, size_t n)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%ld/comm", (long)pid);
	FILE *f = fopen(path, "re");
	if (!f || !fgets(to, (int)n, f))
		snprintf(to, n, "?");
	if (f)
		fclose(f);
	to[strcspn(to, "\n")] = '\0';
	return to;
}

/* Reap one dead child. Its pid; 0 if children are left that live; -1 if none is left at all. */
static pid_t reap_one(char *name, size_t n)
{
	siginfo_t info = { .si_pid = 0 };
	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		return -1;
	if (info.si_pid == 0)
		return 0;
	command_of(info.si_pid, name, n);
	waitpid(info.si_pid, NULL, 0);
	return info.si_pid;
}

static unsigned kill_children(void)
{
	unsigned killed = 0;
	char path[64], name[64];
	snprintf(path, sizeof path, "/proc/self/task/%ld/children", (long)getpid());
	FILE *f = fopen(path, "re");
	long pid;
	while (f && fscanf(f, "%ld", &pid) == 1) {
		fprintf(stderr, "left running: process %ld, %s\n", pid, command_of((pid_t)pid, name, sizeof name));
		kill((pid_t)pid, SIGKILL);
		killed++;
	}
	if (f)
		fclose(f);
	return killed;
}

unsigned leftovers_processes(int timeout_ms, int orphans)
{
	unsigned found = 0;
	char name[64];
	for (int waited = 0;;) {
		pid_t pid = reap_one(name, sizeof name);
		if (pid < 0)
			return found;
		if (pid > 0 && orphans == 0) {
			fprintf(stderr, "left dead and not reaped: process %ld, %s\n", (long)pid, name);
			found++;
		}
		if (pid > 0) {
			orphans -= orphans > 0;
			continue;
		}
		if (waited++ >= timeout_ms / 5) {
			found += kill_children();
			orphans = -1; /* what we killed was counted */
			waited = 0;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
}

static const char *const *allowed_names;
static unsigned files_found;

static int is_allowed(const char *name)
{
	for (const char *const *a = allowed_names; *a; a++)
		if (strcmp(*a, name) == 0)
			return 1;
	return 0;
}

static int visit(const char *path, const struct stat *s, int type, struct FTW *at)
{
	(void)s;
	if (type != FTW_DP && !is_allowed(path + at->base)) {
		fprintf(stderr, "left behind: %s\n", path);
		files_found++;
	}
	return remove(path);
}

unsigned leftovers_files(const char *directory, const char *const *allowed)
{
	allowed_names = allowed; /* nftw() passes nothing along */
	files_found = 0;
	if (nftw(directory, visit, 16, FTW_DEPTH | FTW_PHYS) != 0) {
		fprintf(stderr, "cannot remove %s: %s\n", directory, strerror(errno));
		return files_found + 1;
	}
	return files_found;
}

unsigned leftovers_pairs(const char *directory)
{
	DIR *files = opendir(directory);
	const struct dirent *file;
	unsigned n = 0;
	while (files && (file = readdir(files)))
		n += knock_is_pair(file->d_name) != 0;
	if (files)
		closedir(files);
	return n;
}
