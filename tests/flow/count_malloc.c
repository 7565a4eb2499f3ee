/*
 * count_malloc: preloaded into a program, counts its allocations in the file named by COUNT_MALLOC, 8 bytes that another
 * process reads meanwhile. glibc only: its own functions do the work under their other names.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);

static volatile uint64_t nowhere, *count = &nowhere;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("COUNT_MALLOC");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map = fd >= 0 ? mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	if (map != MAP_FAILED)
		count = map;
}

__attribute__((visibility("default"))) void *malloc(size_t n)
{
	++*count;
	return __libc_malloc(n);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
	++*count;
	return __libc_calloc(n, size);
}

__attribute__((visibility("default"))) void *realloc(void *at, size_t n)
{
	++*count;
	return __libc_realloc(at, n);
}
