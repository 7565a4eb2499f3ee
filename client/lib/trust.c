/*
 * trust: see trust.h. The kernel keeps who called listen(), so it cannot be lied about; the directory says who can put
 * another socket there at any time.
 *
 * The surprising rule: a directory like /tmp, root's, in which everybody may make files, is trusted. There the answer
 * is that of the socket's owner alone, which is as good as its kernel's word.
 */
#include "trust.h"
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_USER "brood"

static int is_trusted(uid_t uid)
{
	char strings[1024];
	struct passwd user, *found = NULL;
	if (uid == 0 || uid == geteuid())
		return 1;
	/* Last, because it may ask files or servers. */
	return getpwnam_r(SYSTEM_USER, &user, strings, sizeof strings, &found) == 0 && found && found->pw_uid == uid;
}

static int refuse(char *why, size_t n, const char *what, uid_t uid)
{
	snprintf(why, n, "%s belongs to user %lu, who is neither root nor \"%s\" nor you", what, (unsigned long)uid,
		 SYSTEM_USER);
	return -EPERM;
}

static int cannot_see(char *why, size_t n, const char *what)
{
	int code = -errno;
	snprintf(why, n, "%s cannot be examined: %s", what, strerror(-code));
	return code;
}

int trust_socket(const char *path, int fd, char *why, size_t n)
{
	char directory[PATH_MAX];
	const char *slash = strrchr(path, '/');
	struct ucred peer;
	socklen_t size = sizeof peer;
	struct stat s;
	snprintf(directory, sizeof directory, "%.*s", slash && slash > path ? (int)(slash - path) : 1, path);
	if (stat(directory, &s) < 0)
		return cannot_see(why, n, "its directory");
	if (!is_trusted(s.st_uid))
		return refuse(why, n, "its directory", s.st_uid);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return cannot_see(why, n, "whoever listens there");
	return is_trusted(peer.uid) ? 0 : refuse(why, n, "what listens there", peer.uid);
}
