/*
 * The library's receiving side. The bytes are what a broker sends to a handle with an inherited channel, behind a genuine
 * BIRTH. A handle with a table, and open requests, must read them to their end: no crash, no leak, no hang, and all
 * requests end.
 *
 * The first byte chooses what the handle does with messages: answer, keep, make a blocking call, disconnect, stop; and by
 * its bit 3 whether descriptors come with the bytes. None may stay open.
 */
#include "brood.pb-c.h"
#include "frame.h"
#include "target.h"
#include <brood.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST (128u * 1024u)

struct run {
	unsigned mode, answered, asked;
	brood_msg *kept;
};

static int on_message(const brood_event *e)
{
	struct run *r = e->data;
	brood_msg *answer;
	if (e->msg->n_fds) {
		int fd = brood_msg_take_fd(e->msg, e->msg->n_fds - 1);
		must(fd > 2 && close(fd) == 0); /* it was there, or the message would not be */
	}
	must(strlen(e->msg->type) <= 255);
	must(((const char *)e->msg->body)[e->msg->length] == '\0');
	switch (r->mode & 7u) {
	case 0:
		return brood_reply(e->msg, BROOD_MSG("echo", e->msg->body, e->msg->length));
	case 1:
		if (!r->kept)
			r->kept = brood_msg_keep(e->msg);
		return 0;
	case 2:
		if (brood_call(e->peer, BROOD_TEXT("why?"), 1, &answer) == 0)
			brood_msg_release(answer);
		return 0;
	case 3:
		(void)brood_disconnect(e->peer);
		return 0;
	case 4:
		return brood_stop(e->handle);
	default:
		return -EAGAIN;
	}
}

static int on_answer(const brood_event *e)
{
	((struct run *)e->data)->answered++;
	return 0;
}

static int on_any(const brood_event *e)
{
	must(e->error ? *e->error->name != '\0' : 1);
	return 0;
}

static size_t birth(uint8_t *to)
{
	Brood__Birth m = BROOD__BIRTH__INIT;
	m.id = (uint64_t)7 << 32 | 2;
	m.parent = (uint64_t)7 << 32 | 1;
	m.node = (char *)(uintptr_t) "here";
	m.address = (char *)(uintptr_t) "";
	size_t n = protobuf_c_message_pack(&m.base, to + FRAME_HEAD);
	struct frame f = { .kind = FRAME_BIRTH, .length = (uint32_t)n };
	frame_write_head(to, &f);
	memset(to + FRAME_HEAD + n, 0, frame_size(n) - FRAME_HEAD - n);
	return frame_size(n);
}

static int lowest_free(void)
{
	int fd = dup(0);
	close(fd);
	return fd;
}

static int inherited(void)
{
	int fds[2], size = 1 << 20;
	struct stat s;
	static char text[64]; /* is part of the environment, as setenv() would leak it in each run */
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	must(fstat(fds[0], &s) == 0);
	snprintf(text, sizeof(text), "BROOD_FD=%d:%llu", fds[0], (unsigned long long)s.st_ino);
	must(putenv(text) == 0);
	return fds[1];
}

/* The bytes, with one or two descriptors if that is wanted. */
static void deliver(int fd, const uint8_t *bytes, size_t n, unsigned fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (fds) {
		struct cmsghdr *cmsg = (struct cmsghdr *)(void *)control;
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fds * sizeof(int));
		for (unsigned i = 0; i < fds; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(int), (int[]){ 0 }, sizeof(int));
	}
	must(n == 0 || sendmsg(fd, &msg, MSG_DONTWAIT) > 0);
}

static void work(brood *b, struct run *r)
{
	for (int i = 0; i < 3; i++)
		r->asked += brood_request(brood_parent(b), BROOD_TEXT("?"), i ? -1 : 5, on_answer, r) > 0;
	for (int i = 0; i < 20 && brood_process(b, 0) >= 0; i++)
		;
	(void)brood_sync(b, 0);
	brood_msg_release(r->kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static _Alignas(8) uint8_t bytes[MOST + 512];
	struct run r = { 0 };
	brood *b;
	if (n < 1 || n > MOST)
		return 0;
	r.mode = data[0];
	int free_before = lowest_free();
	int fd = inherited();
	size_t length = birth(bytes);
	memcpy(bytes + length, data + 1, n - 1);
	must(brood_connect(&b, NULL,
			   BROOD_OPTIONS(.on = BROOD_ON(.message = on_message, .any = on_any), .data = &r,
					 .flush_ms = 1)) == 0);
	deliver(fd, bytes, length, 0);
	deliver(fd, bytes + length, n - 1, r.mode & 8u ? 1 + (r.mode >> 4 & 1u) : 0);
	shutdown(fd, SHUT_WR);
	work(b, &r);
	brood_close(b);
	must(r.answered == r.asked);
	close(fd);
	must(lowest_free() == free_before);
	return 0;
}
