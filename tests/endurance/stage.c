/*
 * stage: see stage.h.
 */
#include "stage.h"
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

uint64_t stage_now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
