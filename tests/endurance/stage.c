/*
 * stage: see stage.h.
 */
#include "stage.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct stage *map(int fd, size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return at == MAP_FAILED ? NULL : at;
}

struct stage *stage_make(unsigned actors, int *fd)
{
	size_t size = sizeof(struct stage) + actors * sizeof(struct actor);
	*fd = memfd_create("chaos", 0);
	if (*fd < 0 || ftruncate(*fd, (off_t)size) < 0)
		return NULL;
	return map(*fd, size);
}

struct stage *stage_open(int fd)
{
	struct stat s;
	return fstat(fd, &s) < 0 ? NULL : map(fd, (size_t)s.st_size);
}

unsigned stage_ways(const struct stage *s)
{
	return (unsigned)__builtin_popcount(s->wish.vias);
}

const char *stage_address(const struct stage *s, unsigned n)
{
	const char *all[4];
	unsigned count = 0;
	if (s->wish.vias & VIA_UNIX)
		all[count++] = s->proxy_unix;
	if (s->wish.vias & VIA_TCP)
		all[count++] = s->proxy_tcp;
	if (s->wish.vias & VIA_FIFO)
		all[count++] = s->fifo;
	if (s->wish.vias & VIA_TLS)
		all[count++] = s->proxy_tls;
	return all[n % count];
}

/* The proxy takes everybody at any time; FIFOs are there only when the broker is, and a first attempt fails without it. */
int stage_connect(brood **ret, const char *address, const struct brood_options *o)
{
	int rc = brood_connect(ret, address, o);
	while (rc == 0 && strncmp(address, "fifo:", 5) == 0 && brood_sync(*ret, 5000) == -ECONNREFUSED) {
		brood_close(*ret);
		usleep(10000);
		rc = brood_connect(ret, address, o);
	}
	return rc;
}

uint64_t stage_now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
