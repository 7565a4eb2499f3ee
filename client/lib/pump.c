/*
 * pump: see pump.h.
 *
 * The surprising rule is in pump_run(): nothing is written while an older rest is kept by the channel, so at most one
 * frame is ever copied; everything else stays where it is, in the outflows.
 */
#include "pump.h"
#include "dial.h"
#include "remote.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define WATCH_MS 10000u         /* until it is looked whether what was sent arrived */
#define PIECES 64               /* iovecs per write ... */
#define HELPING (1024u * 1024u) /* ... and bytes */

void pump_unwatch(struct brood *h)
{
	struct link *l = &h->link;
	if (l->outlet.fd >= 0)
		handle_watch(h, &l->outlet, 0);
	l->outlet.fd = -1;
}

/* A pipe's other end is watched only as long as it is full: nobody could keep it from reporting that its reader went. */
static void watch_outlet(struct brood *h, int wanted)
{
	struct link *l = &h->link;
	if (wanted == (l->outlet.fd >= 0))
		return;
	if (!wanted) {
		pump_unwatch(h);
		return;
	}
	if (!l->enlarged)
		dial_tune(l->channel.out_fd, ADDRESS_FIFO);
	l->enlarged = 1;
	l->outlet.fd = l->channel.out_fd;
	handle_watch(h, &l->outlet, EPOLLOUT);
}

void pump_interest(struct brood *h)
{
	struct link *l = &h->link;
	unsigned want = EPOLLIN | (channel_wants_write(&l->channel) || l->full ? EPOLLOUT : 0u);
	if (l->source.fd < 0)
		return;
	if (l->channel.out_fd != l->channel.in_fd)
		watch_outlet(h, (want & EPOLLOUT) != 0);
	else
		handle_watch(h, &l->source, want);
}

void pump_spoil(struct brood *h)
{
	h->link.spoiled = 1;
	if (h->foreign)
		handle_poke(h);
}

static void spoil_if(struct brood *h, int rc)
{
	if (rc == -ENOMEM)
		pump_spoil(h);
}

/* Failures to write are not looked at: what the broker said last may still be readable and names the reason, and the
 * end of file behind it ends the link. But if there was no memory to keep the rest of a frame, nothing may follow. */
static void send_body(struct brood *h, unsigned kind, const uint8_t *body, size_t length, int fd)
{
	struct frame head = { .kind = (uint8_t)kind, .length = (uint32_t)length };
	if (h->link.source.fd >= 0)
		spoil_if(h, channel_send(&h->link.channel, &head, body, fd));
	else if (fd >= 0)
		close(fd);
	pump_interest(h);
}

void pump_control(struct brood *h, unsigned kind, const ProtobufCMessage *m, int fd)
{
	uint8_t small[1024], *body = small;
	size_t length = protobuf_c_message_get_packed_size(m);
	if (length > sizeof(small) && !(body = malloc(length))) {
		pump_spoil(h);
		if (fd >= 0)
			close(fd);
		return;
	}
	protobuf_c_message_pack(m, body);
	send_body(h, kind, body, length, fd);
	if (body != small)
		free(body);
}

void pump_reset(struct brood *h, const struct remote *r, uint64_t expected)
{
	struct frame head = { .kind = FRAME_RESET,
			      .destination = r->id,
			      .stream = stream_make(r->mine, r->its),
			      .sequence = expected,
			      .acknowledge = expected ? r->consumed : 0 };
	if (h->link.state != LINK_UP)
		return; /* what comes again is answered again */
	spoil_if(h, channel_send(&h->link.channel, &head, NULL, -1));
	pump_interest(h);
}

/* One remote's share of a write: data frames, or a bare acknowledgement. */
struct share {
	struct remote *remote;
	size_t bytes;
	uint64_t acknowledge;
	int bare; /* number of the bare head + 1, 0: data */
};

struct batch {
	struct iovec iov[PIECES];
	struct share shares[PIECES];
	_Alignas(8) uint8_t bare[PIECES][FRAME_HEAD];
	int pieces, n_shares, n_bare;
	size_t bytes;
	const struct parcel *parcel; /* of the one frame in it; NULL: no descriptors */
};

static void gather_bare(struct batch *b, struct share *s, unsigned kind, const struct outflow_route *route)
{
	const struct outflow *out = &s->remote->out;
	struct frame f = { .kind = (uint8_t)kind,
			   .destination = route->destination,
			   .stream = route->stream,
			   .acknowledge = outflow_may_acknowledge(out, route->acknowledge, outflow_cursor(out) - 1) };
	f.sequence = kind == FRAME_PROBE ? outflow_cursor(out) : 0;
	frame_write_head(b->bare[b->n_bare], &f);
	b->iov[b->pieces++] = (struct iovec){ b->bare[b->n_bare], FRAME_HEAD };
	s->bare = ++b->n_bare;
	s->bytes = FRAME_HEAD;
}

/* A frame with descriptors is a batch of its own. */
static int must_be_alone(const struct batch *b, const struct remote *r)
{
	return b->parcel || (r->out.n_fds && b->n_shares > 0 && !r->hold && outflow_parcel(&r->out));
}

static void gather_share(struct batch *b, struct remote *r)
{
	if (r->hold)
		return;
	struct outflow_route route = remote_route(r);
	struct share *s = &b->shares[b->n_shares];
	*s = (struct share){ .remote = r, .acknowledge = route.acknowledge };
	int first = b->pieces;
	b->parcel = outflow_parcel(&r->out);
	b->pieces += outflow_gather(&r->out, &route, b->iov + first, PIECES - first, HELPING - b->bytes);
	for (int i = first; i < b->pieces; i++)
		s->bytes += b->iov[i].iov_len;
	if (!s->bytes && (r->probe || inflow_owes(&r->in)))
		gather_bare(b, s, r->probe ? FRAME_PROBE : FRAME_ACK, &route);
	if (b->pieces == first || s->bare)
		b->parcel = NULL;
	if (!s->bytes)
		return;
	b->bytes += s->bytes;
	b->n_shares++;
}

/* `taken` bytes of this share left; what is left of a frame begun is kept by the channel. Bytes used up. */
static size_t settle_share(struct brood *h, struct batch *b, struct share *s, size_t taken)
{
	struct iovec rest = { NULL, 0 };
	size_t used = taken < s->bytes ? taken : s->bytes;
	if (!used)
		return 0;
	inflow_tell(&s->remote->in, s->acknowledge);
	if (s->bare) {
		rest = (struct iovec){ b->bare[s->bare - 1] + used, FRAME_HEAD - used };
		if (s->remote->probe)
			s->remote->asked = outflow_cursor(&s->remote->out);
		s->remote->probe = 0;
	} else {
		outflow_advance(&s->remote->out, used, &rest);
	}
	if (rest.iov_len)
		spoil_if(h, channel_keep(&h->link.channel, rest.iov_base, rest.iov_len, NULL, -1));
	return used;
}

static ssize_t write_batch(struct brood *h, struct batch *b)
{
	struct channel *c = &h->link.channel;
	ssize_t written =
		b->parcel ? channel_write_parcel(c, b->iov, b->pieces, b->parcel) : channel_write(c, b->iov, b->pieces);
	size_t left = written > 0 ? (size_t)written : 0;
	for (int i = 0; i < b->n_shares; i++)
		left -= settle_share(h, b, &b->shares[i], left);
	return written;
}

/* One write of what the dirty remotes have. 1: try again, 0: nothing left or the socket is full. */
static int pump_once(struct brood *h, struct batch *b)
{
	struct remote *r, *next;
	b->pieces = b->n_shares = b->n_bare = 0;
	b->bytes = 0;
	b->parcel = NULL;
	for (r = TAILQ_FIRST(&h->dirty); r && b->pieces < PIECES && b->bytes < HELPING; r = next) {
		if (must_be_alone(b, r))
			break;
		int had = b->n_shares;
		next = TAILQ_NEXT(r, dirty_entry);
		gather_share(b, r);
		if (b->n_shares == had) { /* held, or its window is under way: GO or acknowledgements bring it back */
			TAILQ_REMOVE(&h->dirty, r, dirty_entry);
			r->dirty = 0;
		}
	}
	if (!b->pieces)
		return 0;
	ssize_t written = write_batch(h, b);
	for (int i = 0; i < b->n_shares; i++) {
		r = b->shares[i].remote;
		TAILQ_REMOVE(&h->dirty, r, dirty_entry);
		r->dirty = 0;
		remote_touch(r);
	}
	if (!h->watch.slot)
		(void)timer_arm(&h->timers, &h->watch, handle_now() + WATCH_MS);
	/* Also when it took nothing at all, and so nothing is kept: EPOLLOUT brings us back. */
	h->link.full = written == -EAGAIN || (written >= 0 && (size_t)written < b->bytes);
	return written > 0 && !h->link.full;
}

void pump_run(struct brood *h)
{
	struct batch batch;
	if (h->link.state != LINK_UP || h->link.full || h->link.spoiled)
		return;
	while (!TAILQ_EMPTY(&h->dirty) && !channel_wants_write(&h->link.channel))
		if (!pump_once(h, &batch) || h->link.spoiled)
			break;
	pump_interest(h);
}

void pump_retry(struct brood *h, struct remote *r)
{
	struct batch b = { .n_shares = 1, .shares = { { .remote = r } } };
	struct outflow_route route = remote_route(r);
	if (h->link.state != LINK_UP || h->link.full || channel_wants_write(&h->link.channel))
		return;
	outflow_rewind(&r->out);
	b.parcel = outflow_parcel(&r->out);
	b.pieces = outflow_gather(&r->out, &route, b.iov, 1, 1);
	if (!b.pieces)
		return;
	b.shares[0].acknowledge = route.acknowledge;
	b.shares[0].bytes = b.iov[0].iov_len;
	(void)write_batch(h, &b);
	pump_interest(h);
}
