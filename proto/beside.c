/*
 * beside: see beside.h. So a copy of brood in any folder, a build tree included, uses what it was built with, and not what
 * happens to be installed.
 */
#include "beside.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

/*
 * The file that contains this code: 0, or negative if it cannot be told. Where that is the program itself, the linker
 * knows only argv[0], which may be anything; the kernel knows better.
 */
static int own_file(char *to, size_t n)
{
	static const char here;
	Dl_info mine, program;
	ssize_t length;

	if (dladdr(&here, &mine) && dladdr((void *)getauxval(AT_ENTRY), &program) &&
	    mine.dli_fbase != program.dli_fbase) {
		length = snprintf(to, n, "%s", mine.dli_fname);
		return length < 0 || (size_t)length >= n ? -ENAMETOOLONG : 0;
	}
	length = readlink("/proc/self/exe", to, n - 1);
	if (length < 0)
		return -errno;
	to[length] = '\0';
	return 0;
}

int beside_find(const char *relative, int mode, char *to, size_t n)
{
	char *slash;

	if (getauxval(AT_SECURE))
		return -EPERM;
	slash = own_file(to, n) < 0 ? NULL : strrchr(to, '/');
	if (!slash || to[0] != '/')
		return -ENOENT;
	if ((size_t)(slash - to) + strlen(relative) + 1 > n)
		return -ENAMETOOLONG;
	strcpy(slash, relative);
	return access(to, mode) < 0 ? -errno : 0;
}
