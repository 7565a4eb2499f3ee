/*
 * notify: a datagram to the socket named in NOTIFY_SOCKET ("@name" is an abstract one), and descriptors counted in
 * LISTEN_FDS, meant for us if LISTEN_PID is our pid. Variables that are not as they should be are ignored.
 */
#include "notify.h"
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_FD 3
#define FDS_MOST 16

static void send_state(int fd, const struct sockaddr_un *to, socklen_t n, const char *state)
{
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)to, n);
}

void notify_state(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t length = path ? strlen(path) : 0;
	int fd;

	if (length < 2 || length >= sizeof(un.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(un.sun_path, path, length);
	if (un.sun_path[0] == '@')
		un.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	send_state(fd, &un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length), state);
	close(fd);
}

static long number_in(const char *variable)
{
	const char *text = getenv(variable);
	char *end;
	long value = text ? strtol(text, &end, 10) : 0;

	return text && *text && *end == '\0' ? value : 0;
}

int notify_sockets(int *first)
{
	long n = number_in("LISTEN_FDS");

	*first = FIRST_FD;
	if (number_in("LISTEN_PID") != getpid() || n <= 0 || n > FDS_MOST)
		return 0;
	for (int i = 0; i < (int)n; i++)
		if (fcntl(FIRST_FD + i, F_SETFD, FD_CLOEXEC) < 0)
			return 0;
	return (int)n;
}
