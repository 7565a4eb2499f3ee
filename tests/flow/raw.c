/*
 * raw: see raw.h.
 */
#include "raw.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_un unix_address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	return a;
}

int raw_listen(const char *path)
{
	struct sockaddr_un a = unix_address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 16) < 0)
		return -errno;
	return fd;
}

int raw_connect(const char *path)
{
	struct sockaddr_un a = unix_address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	int rc = -errno;
	close(fd);
	return rc;
}

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int wait_readable(int fd, int64_t end)
{
	int64_t left = end - now();
	struct pollfd p = { .fd = fd, .events = POLLIN };
	return poll(&p, 1, left > 0 ? (int)left : 0) == 1 ? 0 : -ETIMEDOUT;
}

int raw_accept(int listener, int timeout_ms)
{
	int rc = wait_readable(listener, now() + timeout_ms);
	if (rc < 0)
		return rc;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int raw_write(int fd, const void *bytes, size_t n)
{
	const uint8_t *at = bytes;
	while (n > 0) {
		ssize_t took = send(fd, at, n, MSG_NOSIGNAL);
		if (took < 0)
			return -errno;
		at += took;
		n -= (size_t)took;
	}
	return 0;
}

int raw_send(int fd, const struct frame *head, const void *body, size_t length)
{
	size_t size = frame_size(length);
	struct frame f = *head;
	uint8_t *bytes = calloc(1, size);
	if (!bytes)
		return -ENOMEM;
	f.length = (uint32_t)length;
	frame_write_head(bytes, &f);
	if (length)
		memcpy(bytes + FRAME_HEAD, body, length);
	int rc = raw_write(fd, bytes, size);
	free(bytes);
	return rc;
}

int raw_send_pb(int fd, unsigned kind, const ProtobufCMessage *m)
{
	uint8_t body[4096];
	size_t length = protobuf_c_message_get_packed_size(m);
	if (length > sizeof body)
		return -EMSGSIZE;
	protobuf_c_message_pack(m, body);
	return raw_send(fd, &(struct frame){ .kind = (uint8_t)kind }, body, length);
}

int raw_send_item(int fd, uint64_t source, uint64_t destination, uint64_t sequence, const struct item *it,
		  const void *body)
{
	size_t size = item_size(it->kind, item_extension_size(it), it->length);
	struct frame f = {
		.kind = FRAME_DATA, .source = source, .destination = destination, .sequence = sequence ? sequence : 1
	};
	uint8_t *bytes = calloc(1, size);
	if (!bytes)
		return -ENOMEM;
	uint8_t *to = item_write(bytes, it);
	if (it->length)
		memcpy(to, body, it->length);
	int rc = raw_send(fd, &f, bytes, size);
	free(bytes);
	return rc;
}

static int read_all(int fd, uint8_t *to, size_t n, int64_t end)
{
	while (n > 0) {
		int rc = wait_readable(fd, end);
		if (rc < 0)
			return rc;
		ssize_t got = read(fd, to, n);
		if (got <= 0)
			return 0;
		to += got;
		n -= (size_t)got;
	}
	return 1;
}

int raw_receive(int fd, struct raw_frame *f, int timeout_ms)
{
	int64_t end = now() + timeout_ms;
	int rc = read_all(fd, f->bytes, FRAME_HEAD, end);
	if (rc <= 0)
		return rc;
	rc = frame_parse(f->bytes, FRAME_HEAD, FRAME_MAX, &f->head);
	if (rc < 0)
		return rc;
	if (rc == 0 && (rc = read_all(fd, f->bytes + FRAME_HEAD, f->head.size - FRAME_HEAD, end)) <= 0)
		return rc;
	return frame_parse(f->bytes, f->head.size, FRAME_MAX, &f->head);
}

int raw_receive_kind(int fd, unsigned kind, struct raw_frame *f, int timeout_ms)
{
	int64_t end = now() + timeout_ms;
	int rc;
	do {
		int64_t left = end - now();
		rc = raw_receive(fd, f, left > 0 ? (int)left : 0);
	} while (rc == 1 && f->head.kind != kind);
	return rc;
}
