/* free_port: see free_port.h. Tests that run at the same time begin anywhere, and so hardly meet. */
#include "free_port.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST 10000u
#define LAST 31999u /* ip_local_port_range begins at 32768 */

unsigned free_port(void)
{
	static unsigned next;
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int rc = -1;
	while (next == 0 && getrandom(&next, sizeof next, 0) != sizeof next)
		;
	while (rc < 0) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		next = FIRST + (next + 1) % (LAST - FIRST + 1);
		a.sin_port = htons((uint16_t)next);
		rc = bind(fd, (struct sockaddr *)&a, sizeof a);
		close(fd);
	}
	return next;
}
