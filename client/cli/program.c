/*
 * program: see program.h. What exec's errno leaves out: in which directories it was looked for, which right is missing, which
 * interpreter.
 */
#include "program.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DEEPEST 4 /* interpreters of interpreters that the kernel takes */

__attribute__((format(printf, 3, 4))) static int say(struct program_file *p, int answer, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(p->text, sizeof p->text, format, args);
	va_end(args);
	return answer;
}

/* ---- where ------------------------------------------------------------------------------------------------------- */

static int is_executable(const char *path)
{
	struct stat s;
	return stat(path, &s) == 0 && S_ISREG(s.st_mode) && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

/* As exec does it: the first that may be executed; if there is none, the first that is there. */
static int found_in(struct program_file *p, const char *name, const char *path)
{
	char there[PATH_MAX] = "";
	for (const char *at = path;; at++) {
		size_t length = strcspn(at, ":");
		int n = snprintf(p->path, sizeof p->path, "%.*s%s%s", (int)length, at, length ? "/" : "./", name);
		int fits = n < (int)sizeof p->path;
		if (fits && is_executable(p->path))
			return say(p, 1, "%s, by PATH", p->path);
		if (fits && !*there && access(p->path, F_OK) == 0)
			strcpy(there, p->path);
		at += length;
		if (!*at)
			break;
	}
	strcpy(p->path, there);
	return *there ? say(p, 1, "%s, by PATH", p->path)
		      : say(p, 0, "no directory of PATH has \"%.200s\": %.2000s", name, path);
}

int program_found(struct program_file *p, const char *name, const char *path)
{
	if (!*name)
		return say(p, 0, "its name is empty");
	if (!strchr(name, '/'))
		return found_in(p, name, path ? path : "/bin:/usr/bin");
	if (strlen(name) >= sizeof p->path)
		return say(p, 0, "its path is too long");
	strcpy(p->path, name);
	return access(name, F_OK) < 0 ? say(p, 0, "%s: %s", name, strerror(errno)) : say(p, 1, "%s", name);
}

/* ---- may we ------------------------------------------------------------------------------------------------------ */

int program_allowed(struct program_file *p)
{
	struct statvfs fs;
	struct stat s;
	if (stat(p->path, &s) < 0)
		return say(p, 0, "%s", strerror(errno));
	if (S_ISDIR(s.st_mode))
		return say(p, 0, "it is a directory");
	if (!S_ISREG(s.st_mode))
		return say(p, 0, "it is no regular file");
	unsigned mode = s.st_mode & 07777;
	if (statvfs(p->path, &fs) == 0 && fs.f_flag & ST_NOEXEC)
		return say(p, 0, "its file system is mounted with noexec");
	if (!is_executable(p->path))
		return say(p, 0, "we may not: mode %04o, of user %u and group %u; chmod +x?", mode, (unsigned)s.st_uid,
			   (unsigned)s.st_gid);
	return say(p, 1, "mode %04o, of user %u and group %u", mode, (unsigned)s.st_uid, (unsigned)s.st_gid);
}

/* ---- what runs it ------------------------------------------------------------------------------------------------ */

/* At most n - 1 bytes at this place, and a NUL behind them. Their number, or -1. */
static ssize_t read_at(const char *path, off_t at, void *to, size_t n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t got = fd < 0 ? -1 : pread(fd, to, n - 1, at);
	if (fd >= 0)
		close(fd);
	((char *)to)[got > 0 ? got : 0] = '\0';
	return got;
}

/* The dynamic loader that it names, or "" if it needs none. -1: its head makes no sense. */
static int elf_loader(const char *path, char *to, size_t n)
{
	Elf64_Ehdr head;
	Elf64_Phdr part;
	char buffer[sizeof head + 1];
	*to = '\0';
	if (read_at(path, 0, buffer, sizeof buffer) < (ssize_t)sizeof head)
		return -1;
	memcpy(&head, buffer, sizeof head);
	for (int i = 0; i < head.e_phnum; i++) {
		char bytes[sizeof part + 1];
		off_t at = (off_t)(head.e_phoff + (uint64_t)i * head.e_phentsize);
		if (read_at(path, at, bytes, sizeof bytes) < (ssize_t)sizeof part)
			return -1;
		memcpy(&part, bytes, sizeof part);
		if (part.p_type == PT_INTERP)
			return read_at(path, (off_t)part.p_offset, to, part.p_filesz < n ? part.p_filesz : n) > 0 ? 0
														  : -1;
	}
	return 0;
}

static unsigned own_machine(void)
{
	Elf64_Ehdr head = { 0 };
	char buffer[sizeof head + 1];
	if (read_at("/proc/self/exe", 0, buffer, sizeof buffer) == (ssize_t)sizeof head)
		memcpy(&head, buffer, sizeof head);
	return head.e_machine;
}

static int understood_elf(struct program_file *p, const char *path, const unsigned char *bytes)
{
	char loader[PATH_MAX];
	if (bytes[EI_CLASS] != ELFCLASS64)
		return say(p, -1, "%s: a program of another word size than ours", path);
	unsigned machine = bytes[18] | (unsigned)bytes[19] << 8;
	if (machine != own_machine())
		return say(p, -1, "%s: a program for another processor (ELF machine %u, ours is %u)", path, machine,
			   own_machine());
	if (elf_loader(path, loader, sizeof loader) < 0)
		return say(p, 0, "%s: a damaged program", path);
	if (*loader && access(loader, X_OK) < 0)
		return say(p, 0, "%s: its loader %s: %s; it was built for another system", path, loader,
			   strerror(errno));
	return say(p, 1, "a program for this processor");
}

/* The interpreter in a script's first line, without its argument. */
static char *interpreter(char *line)
{
	char *at = line + 2 + strspn(line + 2, " \t");
	at[strcspn(at, "\n")] = '\0';
	at[strcspn(at, " \t")] = '\0';
	return at;
}

static int understood_at(struct program_file *p, const char *path, int depth);

static int understood_script(struct program_file *p, const char *path, char *line, int depth)
{
	char by[256];
	snprintf(by, sizeof by, "%s", interpreter(line));
	size_t n = strlen(by);
	if (n == 0)
		return say(p, 0, "%s: a script whose first line names no interpreter", path);
	if (by[n - 1] == '\r')
		return say(p, 0, "%s: its first line ends as on Windows (CR LF), so its interpreter is \"%.*s\\r\"",
			   path, (int)n - 1, by);
	if (!is_executable(by))
		return say(p, 0, "%s: a script; its interpreter %s: %s", path, by,
			   access(by, F_OK) < 0 ? strerror(errno) : "we may not execute it");
	if (depth >= DEEPEST)
		return say(p, 0, "%s: too many interpreters of interpreters", path);
	int answer = understood_at(p, by, depth + 1);
	return answer == 1 ? say(p, 1, "a script, run by %s", by) : answer;
}

/* Recursive, but only as deep as DEEPEST. */
static int understood_at(struct program_file *p, const char *path, int depth)
{
	char bytes[256 + 1];
	ssize_t n = read_at(path, 0, bytes, sizeof bytes);
	if (n < 0)
		return say(p, -1, "%s: we may not read it, to see what it is", path);
	if (n == 0)
		return say(p, 0, "%s: it is empty", path);
	if (n > 20 && memcmp(bytes, ELFMAG, SELFMAG) == 0)
		return understood_elf(p, path, (const unsigned char *)bytes);
	if (n > 2 && bytes[0] == '#' && bytes[1] == '!')
		return understood_script(p, path, bytes, depth);
	return say(
		p, -1,
		"%s: no program that the kernel knows by itself, and no script: its first line does not begin with #!",
		path);
}

int program_understood(struct program_file *p)
{
	return understood_at(p, p->path, 0);
}
