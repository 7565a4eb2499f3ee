/*
 * channel: whole frames in, bytes out, without waiting.
 *
 * Receiving. A helping goes into the slab, behind what is already there, and frames are handed out where they lie. If
 * the helping ends inside a frame, that beginning is copied to the channel's carry; the next helping reads the frame's
 * rest straight behind it and everything else into the slab. Because a frame's size is a multiple of 8, and the rest
 * is counted exactly, what comes into the slab begins 8-aligned again. Only while the carry has less than a head is the
 * rest unknown: then the head is completed first, and what of that frame landed in the slab is moved over. Who knows
 * where the body of such a frame will end up may have it read there at once.
 *
 * Sending. Kept bytes lie in a backlog, which there is none of most of the time: whoever writes tries the socket first.
 *
 * Descriptors. The kernel hands them over with the first byte of the call that sent them, and ends a read behind the
 * bytes of that call; it does not say where in the helping they came. The surprising rule that makes this exact: a call
 * that carries a parcel begins with the first byte of its frame and does not go beyond that frame. So a parcel belongs to
 * the last frame that begins in the helping it came with, and nothing is ever counted or queued. At most three parcels
 * are here at a time: that of the helping, that of the frame in the carry, that of the frame shown last.
 *
 * Four things own memory: the slab (the helping area, the spare and the retired buffers), the carry, the parcels, and
 * the backlog. A channel at rest has none of the last three.
 */
#include "channel.h"
#include "quiet.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DRAIN_PIECES 16 /* the most in one call */
#define HEADS 4096u     /* read behind a body that goes elsewhere: the next frame's head, so that its body can, too */

/* Where a parcel is: `at` of each in a channel. */
#define FRESH 1u   /* of the last helping */
#define CARRIED 2u /* of the carry's frame */
#define SHOWN 3u   /* of the frame shown last */

/*
 * Parcels that came.
 */

static void put_parcel(struct channel *c, struct parcel *p, unsigned at)
{
	p->at = at;
	STAILQ_NEXT(p, next) = c->parcels;
	c->parcels = p;
}

/* The one in this place, now the caller's, or NULL. */
static struct parcel *take_parcel(struct channel *c, unsigned at)
{
	struct parcel **from = &c->parcels, *p;

	while (*from && (*from)->at != at)
		from = &STAILQ_NEXT(*from, next);
	p = *from;
	if (p)
		*from = STAILQ_NEXT(p, next);
	return p;
}

static void move_parcel(struct channel *c, unsigned from, unsigned to)
{
	struct parcel *p = take_parcel(c, from);

	if (p)
		put_parcel(c, p, to);
}

static const struct parcel *parcel_in(const struct channel *c, unsigned at)
{
	const struct parcel *p = c->parcels;

	while (p && p->at != at)
		p = STAILQ_NEXT(p, next);
	return p;
}

/*
 * Sockets.
 */

union fds { /* room for a parcel, aligned as the kernel wants it. What is more than that is lost, as the kernel says */
	struct cmsghdr head;
	char bytes[CMSG_SPACE(PARCEL_MOST * sizeof(int))];
};

static void add_all(struct parcel *p, const struct cmsghdr *cmsg)
{
	size_t i, n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
		if (p && p->n < PARCEL_MOST)
			parcel_add(p, fd);
		else
			close(fd);
	}
}

/* What came beside the bytes becomes the parcel of this helping. */
static int take_control(struct channel *c, struct msghdr *msg)
{
	struct parcel *p = parcel_new();
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg))
		if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
			add_all(p, cmsg);
	if (!p)
		return -ENOMEM;
	/* Descriptors came for which this process had no free number, or more than anybody may send. */
	p->lost = (msg->msg_flags & MSG_CTRUNC) != 0;
	parcel_free(take_parcel(c, FRESH));
	if (p->n == 0 && !p->lost)
		parcel_free(p);
	else
		put_parcel(c, p, FRESH);
	return 0;
}

/* One piece without descriptors is the usual case, and recv() and send() are cheaper for it than their greater sisters. */
static ssize_t socket_read(struct channel *c, struct iovec *iov, int n)
{
	union fds control;
	struct msghdr msg = { .msg_iov = iov,
			      .msg_iovlen = (size_t)n,
			      .msg_control = c->takes_fds ? &control : NULL,
			      .msg_controllen = c->takes_fds ? sizeof(control) : 0 };
	ssize_t got;
	int r = 0;

	do
		got = n == 1 && !c->takes_fds ? recv(c->in_fd, iov->iov_base, iov->iov_len, MSG_DONTWAIT)
					      : recvmsg(c->in_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	if (c->takes_fds && (msg.msg_controllen > 0 || msg.msg_flags & MSG_CTRUNC))
		r = take_control(c, &msg);
	return r < 0 ? r : got;
}

static void attach(struct msghdr *msg, union fds *control, const struct parcel *p)
{
	size_t bytes = p->n * sizeof(int);
	struct cmsghdr *cmsg;

	memset(control, 0, sizeof(*control));
	msg->msg_control = control;
	msg->msg_controllen = CMSG_SPACE(bytes);
	cmsg = CMSG_FIRSTHDR(msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(bytes);
	memcpy(CMSG_DATA(cmsg), p->fds, bytes);
}

/* The frame at the beginning of these pieces does not bring descriptors after all: its flag goes. */
static void strip(const struct iovec *iov, int n)
{
	size_t at = FRAME_FLAGS_AT;

	for (; n > 0 && at >= iov->iov_len; n--)
		at -= iov++->iov_len;
	if (n > 0)
		((uint8_t *)iov->iov_base)[at] &= (uint8_t)~FRAME_FDS;
}

static ssize_t socket_write(struct channel *c, struct iovec *iov, int n, const struct parcel *p)
{
	union fds control;
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)n };
	ssize_t sent;

	if (p)
		attach(&msg, &control, p);
	do
		sent = n == 1 && !p ? send(c->out_fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
				    : sendmsg(c->out_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 && errno == ETOOMANYREFS && p) {
		/* Too many descriptors of this user are under way. The bytes must go, and their receiver sees it. */
		strip(iov, n);
		return socket_write(c, iov, n, NULL);
	}
	return sent < 0 ? -errno : sent;
}

static const struct channel_ops socket_ops = { .read = socket_read, .write = socket_write, .passes_fds = 1 };

/*
 * Named pipes.
 */

static ssize_t pipe_read(struct channel *c, struct iovec *iov, int n)
{
	ssize_t got;

	do
		got = readv(c->in_fd, iov, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

static ssize_t pipe_write(struct channel *c, struct iovec *iov, int n, const struct parcel *p)
{
	(void)p; /* never one: takes_fds is 0 */
	return quiet_writev(c->out_fd, iov, n);
}

static const struct channel_ops pipe_ops = { .read = pipe_read, .write = pipe_write };

/*
 * Life.
 */

static int is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static const struct channel_ops *bare_ops(const struct channel *c)
{
	return is_socket(c->in_fd) ? &socket_ops : &pipe_ops;
}

void channel_init(struct channel *c, int in_fd, int out_fd, struct slab *slab)
{
	memset(c, 0, sizeof(*c));
	c->in_fd = in_fd;
	c->out_fd = out_fd;
	c->ops = bare_ops(c);
	c->slab = slab;
	c->most = FRAME_MAX;
	c->takes_fds = c->ops->passes_fds;
}

void channel_secure(struct channel *c, const struct channel_ops *ops, void *state)
{
	c->ops = ops;
	c->state = state;
	c->takes_fds = ops->passes_fds;
}

void channel_expose(struct channel *c)
{
	if (c->ops->free)
		c->ops->free(c);
	c->state = NULL;
	c->ops = bare_ops(c);
}

void channel_end(struct channel *c)
{
	if (c->ops->end)
		c->ops->end(c);
}

static void close_fds(struct channel *c)
{
	if (c->in_fd >= 0)
		close(c->in_fd);
	if (c->out_fd >= 0 && c->out_fd != c->in_fd)
		close(c->out_fd);
	c->in_fd = c->out_fd = -1;
	parcel_free(take_parcel(c, FRESH));
	parcel_free(take_parcel(c, CARRIED));
	parcel_free(take_parcel(c, SHOWN));
}

void channel_deinit(struct channel *c)
{
	if (!c->slab)
		return;
	channel_end(c);
	channel_expose(c);
	close_fds(c);
	backlog_free(&c->backlog, c->slab);
	if (c->carry)
		slab_give(c->slab, c->carry);
	c->carry = NULL;
	c->at = c->end = NULL;
	c->slab = NULL;
}

/*
 * Receiving.
 */

/* How many bytes may be read behind the carry: the rest of its frame, or of its head as long as that is not whole. */
static ssize_t carry_rest(struct channel *c, struct frame *head)
{
	int r;

	head->size = 0;
	if (!c->carry)
		return 0;
	r = frame_parse(c->carry->bytes, c->carry->end, c->most, head);
	if (r < 0)
		return r;
	return (ssize_t)((head->size ? head->size : FRAME_HEAD) - c->carry->end);
}

/* `got` bytes came, the first `rest` of them behind the carry. */
static void take_helping(struct channel *c, size_t got, size_t rest)
{
	size_t carried = got < rest ? got : rest;

	if (c->carry)
		c->carry->end += (uint32_t)carried;
	c->at = c->slab->bytes + c->slab->used;
	c->end = c->at + (got - carried);
	c->slab->used += (got - carried + 7u) & ~(size_t)7u;
	if (c->slab->used > c->slab->size)
		c->slab->used = c->slab->size;
}

/* The pieces for the rest of the carry's frame, the first of them `elsewhere` bytes. */
static int rest_pieces(struct channel *c, size_t rest, uint8_t *to, size_t elsewhere, struct iovec *iov)
{
	int n = 0;

	if (elsewhere > 0)
		iov[n++] = (struct iovec){ to, elsewhere };
	if (rest > elsewhere)
		iov[n++] = (struct iovec){ c->carry->bytes + c->carry->end + elsewhere, rest - elsewhere };
	return n;
}

ssize_t channel_read_to(struct channel *c, channel_place_fn *place, void *data)
{
	struct slab *s = c->slab;
	struct frame head;
	struct iovec iov[3];
	ssize_t rest = carry_rest(c, &head), got;
	size_t room = s->size - s->used, elsewhere = 0;
	uint8_t *to = NULL;
	int n;

	if (rest < 0)
		return rest;
	if (!slab_has_room(s))
		return -ENOBUFS;
	if (room > SLAB_HELPING)
		room = SLAB_HELPING;
	if (place && head.size > 0)
		to = place(data, &head, c->carry->end, c->carry->elsewhere, &elsewhere);
	if (elsewhere >= SLAB_LEAST)
		room = HEADS;
	n = rest_pieces(c, (size_t)rest, to, elsewhere, iov);
	iov[n++] = (struct iovec){ s->bytes + s->used, room };
	got = c->ops->read(c, iov, n);
	if (got > 0) {
		if (to)
			c->carry->elsewhere = 1;
		take_helping(c, (size_t)got, (size_t)rest);
	}
	return got;
}

ssize_t channel_read(struct channel *c)
{
	return channel_read_to(c, NULL, NULL);
}

/* Move to the carry what the slab has of its frame. `whole`: size of that frame. */
static void top_up(struct channel *c, size_t whole)
{
	size_t n = whole - c->carry->end, there = (size_t)(c->end - c->at);

	if (n > there)
		n = there;
	if (n == 0)
		return;
	memcpy(c->carry->bytes + c->carry->end, c->at, n);
	c->carry->end += (uint32_t)n;
	c->at += n;
}

static int next_from_carry(struct channel *c, struct frame *ret)
{
	int r = frame_parse(c->carry->bytes, c->carry->end, c->most, ret);

	if (r == 0 && ret->size > 0) {
		top_up(c, ret->size);
		r = frame_parse(c->carry->bytes, c->carry->end, c->most, ret);
	}
	if (r == 1) {
		ret->elsewhere = c->carry->elsewhere;
		slab_retire(c->slab, c->carry);
		c->carry = NULL;
	}
	return r;
}

static int begin_carry(struct channel *c)
{
	size_t n = (size_t)(c->end - c->at);

	if (n == 0)
		return 0;
	c->carry = slab_take(c->slab);
	if (!c->carry)
		return -ENOMEM;
	memcpy(c->carry->bytes, c->at, n);
	c->carry->end = (uint32_t)n;
	c->at = c->end;
	return 0;
}

static int next_frame(struct channel *c, struct frame *ret)
{
	int r;

	if (c->carry)
		return next_from_carry(c, ret);
	r = frame_parse(c->at, (size_t)(c->end - c->at), c->most, ret);
	if (r == 1)
		c->at += ret->size;
	if (r == 0)
		r = begin_carry(c);
	return r;
}

/* Descriptors come with these only, and one at most with ADOPT. */
static int may_bring(const struct frame *f, const struct parcel *p)
{
	if (!p)
		return 1;
	if (f->kind == FRAME_ADOPT)
		return p->n <= 1;
	return f->kind == FRAME_DATA && f->flags & FRAME_FDS;
}

/* The same with parcels about: which of them is this frame's? */
static int next_with_parcels(struct channel *c, struct frame *ret)
{
	int from_carry = c->carry != NULL, r;

	parcel_free(take_parcel(c, SHOWN)); /* nobody wanted it */
	r = next_frame(c, ret);
	if (r == 1 && from_carry)
		move_parcel(c, CARRIED, SHOWN);
	else if (r == 1 && c->at == c->end)
		move_parcel(c, FRESH, SHOWN);
	else if (r == 0 && !from_carry && c->carry)
		move_parcel(c, FRESH, CARRIED);
	if ((r == 0 && parcel_in(c, FRESH)) || (r == 1 && !may_bring(ret, parcel_in(c, SHOWN))))
		return -EPROTO; /* descriptors that belong to no frame */
	return r;
}

int channel_next(struct channel *c, struct frame *ret)
{
	return c->parcels ? next_with_parcels(c, ret) : next_frame(c, ret);
}

struct parcel *channel_take_parcel(struct channel *c)
{
	return take_parcel(c, SHOWN);
}

int channel_take_fd(struct channel *c)
{
	struct parcel *p = take_parcel(c, SHOWN);
	int fd = p ? p->lost ? -EMFILE : parcel_take(p, 0) : -ENOENT;

	parcel_free(p);
	return fd;
}

/*
 * Sending.
 */

/* One call. A full socket, or a kernel that has no memory for the bytes now, means: nothing was written, try again later. */
static ssize_t write_some(struct channel *c, struct iovec *iov, int n, const struct parcel *p)
{
	ssize_t sent = c->ops->write(c, iov, n, p);

	return sent == -EAGAIN || sent == -EWOULDBLOCK || sent == -ENOBUFS || sent == -ENOMEM ? 0 : sent;
}

static size_t iov_bytes(const struct iovec *iov, int n)
{
	size_t sum = 0;

	while (n-- > 0)
		sum += iov[n].iov_len;
	return sum;
}

ssize_t channel_write(struct channel *c, const struct iovec *iov, int n)
{
	ssize_t all = 0;

	if (c->backlog)
		return 0;
	while (n > 0) {
		int pieces = n < IOV_MAX ? n : IOV_MAX;
		ssize_t sent = write_some(c, (struct iovec *)(uintptr_t)iov, pieces, NULL);

		if (sent < 0)
			return sent;
		all += sent;
		if ((size_t)sent < iov_bytes(iov, pieces))
			break;
		iov += pieces;
		n -= pieces;
	}
	return all;
}

ssize_t channel_write_parcel(struct channel *c, const struct iovec *iov, int n, const struct parcel *p)
{
	if (!c->takes_fds) {
		strip(iov, n);
		p = NULL;
	}
	if (c->backlog)
		return 0;
	return write_some(c, (struct iovec *)(uintptr_t)iov, n, p);
}

static int keep(struct channel *c, const void *bytes, size_t n, void *tag, struct parcel *p)
{
	if (p && !c->takes_fds)
		return -ENOTSOCK;
	return backlog_add(&c->backlog, c->slab, bytes, n, tag, p);
}

int channel_keep_parcel(struct channel *c, const void *bytes, size_t n, void *tag, struct parcel *p)
{
	int r = n > 0 ? keep(c, bytes, n, tag, p) : 0;

	if (r < 0 || n == 0)
		parcel_free(p);
	return r;
}

int channel_keep(struct channel *c, const void *bytes, size_t n, void *tag, int fd)
{
	struct parcel *p = fd >= 0 ? parcel_of(fd) : NULL;

	return fd >= 0 && !p ? -ENOMEM : channel_keep_parcel(c, bytes, n, tag, p);
}

int channel_drain_some(struct channel *c, backlog_left_fn *left, size_t most)
{
	size_t kept = channel_kept_bytes(c), end = kept > most ? kept - most : 0;
	int r = c->ops->flush ? c->ops->flush(c) : 0;

	if (r < 0)
		return r;
	while (channel_kept_bytes(c) > end) {
		struct iovec iov[DRAIN_PIECES];
		const struct parcel *parcel;
		int n = backlog_next(c->backlog, iov, DRAIN_PIECES, &parcel);
		size_t bytes = iov_bytes(iov, n);
		ssize_t sent = write_some(c, iov, n, parcel);

		if (sent < 0)
			return (int)sent;
		backlog_sent(&c->backlog, c->slab, (size_t)sent, left);
		if ((size_t)sent < bytes)
			break;
	}
	return 0;
}

int channel_drain(struct channel *c, backlog_left_fn *left)
{
	return channel_drain_some(c, left, SIZE_MAX);
}

/* Keep what is left of iov behind the first `done` bytes. */
static int keep_rest(struct channel *c, const struct iovec *iov, int n, size_t done, struct parcel *p)
{
	int i, r = 0;

	for (i = 0; i < n && r == 0; i++) {
		size_t skip = done < iov[i].iov_len ? done : iov[i].iov_len;

		done -= skip;
		r = channel_keep_parcel(c, (const uint8_t *)iov[i].iov_base + skip, iov[i].iov_len - skip, NULL, p);
		p = NULL;
	}
	return r;
}

static int send_parcel(struct channel *c, const struct iovec *iov, int n, struct parcel *p)
{
	ssize_t sent = channel_write_parcel(c, iov, n, p);

	if (sent != 0 || !c->takes_fds) {
		parcel_free(p);
		p = NULL;
	}
	return sent < 0 ? (int)sent : keep_rest(c, iov, n, (size_t)sent, p);
}

void channel_retag(struct channel *c, const void *tag, void *to)
{
	backlog_retag(c->backlog, tag, to);
}

int channel_send(struct channel *c, const struct frame *head, const void *body, int fd)
{
	static const uint8_t zeros[8];
	uint8_t bytes[FRAME_HEAD];
	struct iovec iov[3] = { { bytes, FRAME_HEAD },
				{ (void *)(uintptr_t)(body ? body : zeros), head->length },
				{ (void *)(uintptr_t)zeros, frame_size(head->length) - FRAME_HEAD - head->length } };
	struct parcel *p = fd >= 0 ? parcel_of(fd) : NULL;
	ssize_t sent;

	frame_write_head(bytes, head);
	if (fd >= 0)
		return p ? send_parcel(c, iov, 3, p) : -ENOMEM;
	sent = channel_write(c, iov, 3);
	return sent < 0 ? (int)sent : keep_rest(c, iov, 3, (size_t)sent, NULL);
}
