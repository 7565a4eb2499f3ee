/*
 * autostart: where the broker's program is, and how it is started. Whether one is wanted, and what to do when it
 * listens or not, is the caller's affair.
 *
 * The surprising rule: the program is looked for beside the library's own file first, so that a copy of brood in any
 * folder, a build tree included, starts the broker it was built with, and not one that happens to be installed.
 */
#include "autostart.h"
#include "beside.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

int autostart_find(char *to, size_t n)
{
	const char *wish = secure_getenv("BROOD_BROKER");
	if (!wish || !*wish) {
		if (beside_find("/../bin/broodd", X_OK, to, n) == 0 ||
		    beside_find("/" BROOD_LIB_TO_BIN "/broodd", X_OK, to, n) == 0)
			return 0;
		wish = BROOD_BROODD_PATH;
	}
	int length = snprintf(to, n, "%s", wish);
	return length < 0 || (size_t)length >= n ? -ENAMETOOLONG : 0;
}

/* Without the word about a channel that is not the broker's. One block; NULL: no memory. */
static const char **broker_env(void)
{
	size_t n = 0;
	while (environ[n])
		n++;
	const char **env = malloc((n + 1) * sizeof *env);
	const char **to = env;
	for (size_t i = 0; env && i < n; i++)
		if (strncmp(environ[i], "BROOD_FD=", 9) != 0)
			*to++ = environ[i];
	if (env)
		*to = NULL;
	return env;
}

static int fail(struct spawn_failure *why, const char *stage, int code)
{
	*why = (struct spawn_failure){ .stage = stage, .code = code };
	return code;
}

static int start_on(int null_fd, struct spawned *ret, struct spawn_failure *why)
{
	char path[PATH_MAX];
	int rc = autostart_find(path, sizeof path);
	if (rc < 0)
		return fail(why, "exec", rc);
	const char **env = broker_env();
	if (!env)
		return fail(why, "fork", -ENOMEM);
	struct spawn_fd fds[] = { { 0, null_fd }, { 1, null_fd }, { 2, null_fd } };
	struct spawn_plan plan = {
		.file = path,
		.argv = (const char *const[]){ "broodd", "--private", NULL },
		.env = env,
		.fds = fds,
		.n_fds = 3,
		.own_session = 1,
	};
	rc = spawn_start(&plan, ret, why);
	free(env);
	return rc;
}

int autostart(struct spawned *ret, struct spawn_failure *why)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		return fail(why, "stdio", -errno);
	int rc = start_on(null_fd, ret, why);
	close(null_fd);
	return rc;
}
