/*
 * lookup: PATH, taken apart before the program is started, because between clone and exec nothing may allocate. Whether
 * a candidate exists is not asked here: only exec itself gives an answer that is still true when it is used.
 */
#include "lookup.h"
#include <stdlib.h>
#include <string.h>

static const char *search_path(const char *const *env)
{
	for (; *env; env++)
		if (strncmp(*env, "PATH=", 5) == 0)
			return *env + 5;
	return "/bin:/usr/bin"; /* what execvp() takes */
}

static const char **only(const char *file)
{
	const char **paths = calloc(2, sizeof *paths);
	if (paths)
		paths[0] = file;
	return paths;
}

/* Writes "directory/file", or "file" for an empty directory; the end of what was written. */
static char *write_path(char *to, const char *directory, size_t length, const char *file)
{
	memcpy(to, directory, length);
	to += length;
	if (length > 0)
		*to++ = '/';
	size_t size = strlen(file) + 1;
	memcpy(to, file, size);
	return to + size;
}

const char **lookup_paths(const char *file, const char *const *env)
{
	if (!*file || strchr(file, '/'))
		return only(file);

	const char *path = search_path(env);
	size_t n = 1;
	for (const char *at = path; *at; at++)
		n += *at == ':';

	size_t pointers = (n + 1) * sizeof(char *);
	const char **paths = malloc(pointers + strlen(path) + 1 + n * (strlen(file) + 2));
	if (!paths)
		return NULL;
	char *to = (char *)paths + pointers;
	for (size_t i = 0; i < n; i++) {
		size_t length = strcspn(path, ":");
		paths[i] = to;
		to = write_path(to, path, length, file);
		path += length + 1;
	}
	paths[n] = NULL;
	return paths;
}
