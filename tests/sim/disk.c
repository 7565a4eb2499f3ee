/*
 * disk: the few files that a broker keeps. They survive every process of a run.
 */
#include "file.h"
#include "memory.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MOST 4096
#define BYTES_MOST 4096

struct inode {
	char path[128]; /* "" : removed */
	mode_t mode;
	size_t length;
	struct file *locked_by, *listener;
	uint8_t bytes[BYTES_MOST];
};

static struct inode *inodes[FILES_MOST];
static int n_inodes;

void disk_reset(void)
{
	while (n_inodes > 0)
		host_free(inodes[--n_inodes]);
}

int disk_find(const char *path)
{
	for (int i = 0; i < n_inodes; i++)
		if (strcmp(inodes[i]->path, path) == 0)
			return i;
	return -1;
}

int disk_make(const char *path, mode_t mode)
{
	if (n_inodes == FILES_MOST || strlen(path) >= sizeof(inodes[0]->path))
		abort();
	struct inode *i = inodes[n_inodes] = host_alloc(sizeof(*i));
	strcpy(i->path, path);
	i->mode = mode;
	return n_inodes++;
}

int disk_remove(const char *path)
{
	int i = disk_find(path);
	if (i < 0) {
		errno = ENOENT;
		return -1;
	}
	inodes[i]->path[0] = '\0';
	return 0;
}

int disk_rename(const char *from, const char *to)
{
	int i = disk_find(from);
	if (i < 0) {
		errno = ENOENT;
		return -1;
	}
	(void)disk_remove(to);
	snprintf(inodes[i]->path, sizeof(inodes[i]->path), "%s", to);
	return 0;
}

int disk_stat(int inode, struct stat *s)
{
	memset(s, 0, sizeof(*s));
	s->st_dev = 1;
	s->st_ino = (ino_t)inode + 1000;
	s->st_mode = inodes[inode]->mode;
	s->st_size = (off_t)inodes[inode]->length;
	s->st_uid = 1000;
	return 0;
}

const char *disk_path(int inode)
{
	return inodes[inode]->path;
}

int disk_lock(int inode, struct file *f)
{
	struct inode *i = inodes[inode];
	if (i->locked_by && i->locked_by != f) {
		errno = EWOULDBLOCK;
		return -1;
	}
	i->locked_by = f;
	return 0;
}

void disk_unlock(struct file *f)
{
	if (f->inode >= 0 && inodes[f->inode]->locked_by == f)
		inodes[f->inode]->locked_by = NULL;
}

void disk_truncate(int inode)
{
	inodes[inode]->length = 0;
}

ssize_t disk_read(int inode, size_t from, void *to, size_t n)
{
	const struct inode *i = inodes[inode];
	size_t there = from < i->length ? i->length - from : 0;
	memcpy(to, i->bytes + from, there < n ? there : n);
	return (ssize_t)(there < n ? there : n);
}

ssize_t disk_write(int inode, size_t at_byte, const void *bytes, size_t n)
{
	struct inode *i = inodes[inode];
	if (at_byte + n > BYTES_MOST) {
		errno = ENOSPC;
		return -1;
	}
	memcpy(i->bytes + at_byte, bytes, n);
	i->length = at_byte + n > i->length ? at_byte + n : i->length;
	return (ssize_t)n;
}

void disk_set_listener(int inode, struct file *f)
{
	inodes[inode]->listener = f;
}

struct file *disk_listener(int inode)
{
	return inodes[inode]->listener;
}
