/*
 * channel: frames in and out of a connection, without an event loop. Broker and library use the same one.
 *
 * Receiving: channel_read() takes one helping from the socket into a `slab` that all channels of a loop share;
 * channel_next() hands out the whole frames in it, in place. A frame cut by the end of a helping waits in a carry
 * buffer of its channel, and the next helping completes it there. So an idle channel owns no buffer, and what
 * channel_next() showed is valid until slab_reset(), which the loop calls when everything shown was used.
 *
 * Sending: channel_write() writes the caller's bytes now, as far as the socket takes them. channel_keep() copies what
 * must wait; channel_drain() writes kept bytes when the socket is ready. Every kept run has a tag (the broker's edges)
 * that is told when its bytes left. While anything is kept, channel_write() writes nothing: order is never broken.
 *
 * A channel may be secured: then other operations, with a state of their own, stand between it and the descriptor. Their
 * rules are with `struct channel_ops`.
 *
 * Descriptors travel as the parcel of one frame, on Unix sockets. Those of the frame that channel_next() showed last are
 * there to be taken; if nobody does, the next call closes them.
 */
#ifndef BROOD_CHANNEL_H
#define BROOD_CHANNEL_H

#include "backlog.h"
#include "frame.h"
#include "parcel.h"
#include "slab.h"
#include <sys/types.h>
#include <sys/uio.h>

struct channel;

/*
 * How bytes get in and out. All but read and write may be NULL.
 *
 * The rule for read: what it does not hand out must be in the descriptor, which stays readable. Loops wait for that and
 * for nothing else, so operations that decrypt may not keep decrypted bytes, nor the news that these have ended.
 */
struct channel_ops {
	/* Bytes, 0 at the end, -EAGAIN, or what broke. The pieces are never smaller than a quarter of a helping in all. */
	ssize_t (*read)(struct channel *, struct iovec *, int n);
	/* Bytes taken, -EAGAIN, or what broke. */
	ssize_t (*write)(struct channel *, struct iovec *, int n, const struct parcel *);
	/* Write what was taken and has not left yet. 0, or what broke. */
	int (*flush)(struct channel *);
	/* Writability is of use now. NULL: whenever bytes are kept. */
	int (*wants_write)(const struct channel *);
	/* Tell the other end that nothing more comes, if that is possible without waiting. */
	void (*end)(struct channel *);
	void (*free)(struct channel *); /* the state */
	uint8_t passes_fds;
};

struct channel {
	int in_fd, out_fd; /* the same for sockets */
	const struct channel_ops *ops;
	void *state; /* of a secured one's operations */
	struct slab *slab;
	uint32_t most; /* longest frame accepted */
	uint8_t takes_fds; /* 1 for sockets at first. 0, as it must be for TCP: none pass, and the kernel drops what comes */
	uint8_t *at, *end;       /* bytes of the last helping not yet handed out */
	struct buffer *carry;    /* the beginning of a frame, or NULL */
	struct parcel *parcels;  /* that came and were not taken: a list, each `at` its place */
	struct backlog *backlog; /* what is kept, or NULL */
};

/* Take over fd (a connected, non-blocking stream socket; or two FIFO ends). */
void channel_init(struct channel *, int in_fd, int out_fd, struct slab *);
/* Close the descriptors, also received and unsent ones, and give all buffers back. Twice is fine. */
void channel_deinit(struct channel *);

/* From now on these operations, with this state, which is the channel's. Before anything was read or written. */
void channel_secure(struct channel *, const struct channel_ops *, void *state);
/* Back to the bare descriptor, for a last word to somebody who speaks no other way. */
void channel_expose(struct channel *);
/* Say that nothing more comes, as far as this kind of channel has words for it. channel_deinit() does so too. */
void channel_end(struct channel *);

/*
 * One helping. Above 0: so many bytes came. 0: end of file. -EAGAIN: nothing there. -ENOBUFS: slab_reset() first.
 * Other negative errno: the connection is broken. Call channel_next() until it gives 0 before the next channel_read().
 */
ssize_t channel_read(struct channel *);

/*
 * The same. If a helping cut a frame, `place` is asked where the rest of it goes: *n bytes of it, from offset `have` on,
 * to where it returns, and what is behind them as usual; NULL: all as usual. `again`: of this frame some already went
 * elsewhere.
 */
typedef uint8_t *channel_place_fn(void *data, const struct frame *head, size_t have, int again, size_t *n);
ssize_t channel_read_to(struct channel *, channel_place_fn *place, void *data);

/*
 * The next whole frame, in place: 1. 0: read again. -EPROTO, -EMSGSIZE as frame_parse(); -ENOMEM. Descriptors that came
 * with anything but ADOPT and DATA with FRAME_FDS are -EPROTO too.
 */
int channel_next(struct channel *, struct frame *ret);

/* What came with the frame shown last, now the caller's; NULL: nothing. If it says `lost`, it is not complete. */
struct parcel *channel_take_parcel(struct channel *);
/* The same if that is one descriptor. -ENOENT: none came. -EMFILE: it was lost, we had none free. */
int channel_take_fd(struct channel *);

/* Bytes written, 0 if the socket is full or bytes are kept; or negative errno. Never raises SIGPIPE. */
ssize_t channel_write(struct channel *, const struct iovec *, int n);

/*
 * The same for one frame with descriptors, which remain the caller's; they have left if the result is above 0. Where none
 * pass, the frame goes without them and without FRAME_FDS.
 */
ssize_t channel_write_parcel(struct channel *, const struct iovec *, int n, const struct parcel *);

/*
 * Copy n bytes to be sent later, behind all others. fd: passed with the first of them and then closed, or -1; it is the
 * channel's from now on, also on errors. -ENOMEM: nothing was kept. -ENOTSOCK: pipes pass no descriptors.
 */
int channel_keep(struct channel *, const void *, size_t n, void *tag, int fd);
/* The same with a parcel (or NULL) for one whole frame. */
int channel_keep_parcel(struct channel *, const void *, size_t n, void *tag, struct parcel *);

/*
 * Write kept bytes as far as the socket takes them; `left` (or NULL) is told (of descriptors as BACKLOG_FD_BYTES each),
 * and must not touch the channel. 0, or negative errno. What channel_deinit() throws away is not told.
 */
int channel_drain(struct channel *, backlog_left_fn *left);
/* The same, no more than this and one call's worth. */
int channel_drain_some(struct channel *, backlog_left_fn *left, size_t most);

/* How much is kept: bytes, descriptors, and what of both has tag NULL, counted as `left` is told. */
static inline size_t channel_kept_bytes(const struct channel *c)
{
	return c->backlog ? c->backlog->bytes : 0;
}

static inline unsigned channel_kept_fds(const struct channel *c)
{
	return c->backlog ? c->backlog->fds : 0;
}

static inline size_t channel_kept_nobodys(const struct channel *c)
{
	return c->backlog ? c->backlog->nobodys : 0;
}

/* Bytes wait to be written: ask for writability. Reading may change it: a handshake ends, an answer is due. */
static inline int channel_wants_write(const struct channel *c)
{
	return c->ops && c->ops->wants_write ? c->ops->wants_write(c) : c->backlog != NULL;
}

/* Kept bytes with this tag have that one from now on. */
void channel_retag(struct channel *, const void *tag, void *to);

/*
 * Write a frame with this body, at once if possible, else keep it with tag NULL. fd: as in channel_keep(), but where
 * none pass the frame goes without. -ENOMEM or the connection's error; after either the connection is of no more use, as half a frame may be on its way.
 */
int channel_send(struct channel *, const struct frame *head, const void *body, int fd);

#endif
