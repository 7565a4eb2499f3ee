/*
 * backlog: bytes packed in a list of the slab's buffers, and beside it a ring of runs that says to whom they belong.
 *
 * A parcel leaves with the first byte of its run. So a call that carries one begins with that run and does not go beyond
 * it: see channel.c for what the other end makes of that.
 */
#include "backlog.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_LEAST 8u
#define CALL_MOST (512u * 1024u) /* bytes offered to the socket in one call */

struct run {
	void *tag;
	size_t bytes;
	struct parcel *parcel; /* or NULL; then the run is this one frame */
};

static struct run *run_at(const struct backlog *b, unsigned i)
{
	return &b->runs[(b->first + i) & (b->size - 1)];
}

void backlog_free(struct backlog **backlog, struct slab *slab)
{
	struct backlog *b = *backlog;

	if (!b)
		return;
	for (; b->n_runs > 0; b->n_runs--)
		parcel_free(run_at(b, b->n_runs - 1)->parcel);
	free(b->runs);
	slab_give_all(slab, &b->buffers);
	free(b);
	*backlog = NULL;
}

/*
 * Adding.
 */

static int make(struct backlog **ret)
{
	struct backlog *b = *ret ? *ret : calloc(1, sizeof(*b));

	if (b && !*ret)
		STAILQ_INIT(&b->buffers);
	*ret = b;
	return b ? 0 : -ENOMEM;
}

static int grow_runs(struct backlog *b)
{
	unsigned i, size = b->size ? 2 * b->size : RUNS_LEAST;
	struct run *runs;

	if (b->n_runs < b->size)
		return 0;
	runs = malloc(size * sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	for (i = 0; i < b->n_runs; i++)
		runs[i] = *run_at(b, i);
	free(b->runs);
	b->runs = runs;
	b->first = 0;
	b->size = size;
	return 0;
}

/* Add empty buffers until n more bytes fit; all or nothing. */
static int make_room(struct backlog *b, struct slab *slab, size_t n)
{
	struct buffer_list more = STAILQ_HEAD_INITIALIZER(more);
	size_t room = b->last ? FRAME_MAX - b->last->end : 0;

	for (; room < n; room += FRAME_MAX) {
		struct buffer *buffer = slab_take(slab);

		if (!buffer) {
			slab_give_all(slab, &more);
			return -ENOMEM;
		}
		STAILQ_INSERT_TAIL(&more, buffer, next);
	}
	STAILQ_CONCAT(&b->buffers, &more);
	return 0;
}

/* Copy behind the last byte, where make_room() made room. */
static void fill(struct backlog *b, const uint8_t *from, size_t n)
{
	if (!b->last)
		b->last = STAILQ_FIRST(&b->buffers);
	for (;; b->last = STAILQ_NEXT(b->last, next)) {
		size_t some = FRAME_MAX - b->last->end;

		if (some > n)
			some = n;
		memcpy(b->last->bytes + b->last->end, from, some);
		b->last->end += (uint32_t)some;
		from += some;
		n -= some;
		if (n == 0)
			return;
	}
}

static size_t fds_count(const struct parcel *p)
{
	return p ? p->n * BACKLOG_FD_BYTES : 0;
}

static void add_run(struct backlog *b, size_t n, void *tag, struct parcel *p)
{
	struct run *last = b->n_runs > 0 ? run_at(b, b->n_runs - 1) : NULL;

	b->bytes += n;
	b->fds += p ? p->n : 0;
	b->nobodys += tag ? 0 : n + fds_count(p);
	if (last && last->tag == tag && !p && !last->parcel) {
		last->bytes += n;
		return;
	}
	b->n_runs++;
	*run_at(b, b->n_runs - 1) = (struct run){ tag, n, p };
}

int backlog_add(struct backlog **backlog, struct slab *slab, const void *bytes, size_t n, void *tag, struct parcel *p)
{
	if (make(backlog) < 0)
		return -ENOMEM;
	if (grow_runs(*backlog) < 0 || make_room(*backlog, slab, n) < 0) {
		if ((*backlog)->bytes == 0)
			backlog_free(backlog, slab);
		return -ENOMEM;
	}
	fill(*backlog, bytes, n);
	add_run(*backlog, n, tag, p);
	return 0;
}

/*
 * Leaving.
 */

/* How many bytes the next call may carry: a parcel's run alone, else up to the next, or as many as are worth offering. */
static size_t next_bytes(const struct backlog *b)
{
	size_t sum = run_at(b, 0)->bytes;
	unsigned i;

	if (run_at(b, 0)->parcel)
		return sum;
	for (i = 1; i < b->n_runs && sum < CALL_MOST && !run_at(b, i)->parcel; i++)
		sum += run_at(b, i)->bytes;
	return sum < CALL_MOST ? sum : CALL_MOST;
}

int backlog_next(const struct backlog *b, struct iovec *iov, int most, const struct parcel **ret)
{
	const struct buffer *buffer = STAILQ_FIRST(&b->buffers);
	size_t left = next_bytes(b);
	int n;

	for (n = 0; left > 0 && n < most; n++, buffer = STAILQ_NEXT(buffer, next)) {
		size_t some = buffer->end - buffer->at;

		if (some > left)
			some = left;
		iov[n] = (struct iovec){ (uint8_t *)(uintptr_t)buffer->bytes + buffer->at, some };
		left -= some;
	}
	*ret = run_at(b, 0)->parcel;
	return n;
}

static void drop_buffers(struct backlog *b, struct slab *slab, size_t sent)
{
	while (sent > 0) {
		struct buffer *buffer = STAILQ_FIRST(&b->buffers);
		size_t some = buffer->end - buffer->at;

		if (some > sent)
			some = sent;
		buffer->at += (uint32_t)some;
		sent -= some;
		if (buffer->at < buffer->end)
			return;
		STAILQ_REMOVE_HEAD(&b->buffers, next);
		slab_give(slab, buffer);
	}
}

/* The run's parcel left with its first byte. What it counted as. */
static size_t drop_parcel(struct backlog *b, struct run *run)
{
	size_t counted = fds_count(run->parcel);

	b->fds -= run->parcel ? run->parcel->n : 0;
	parcel_free(run->parcel);
	run->parcel = NULL;
	return counted;
}

static void drop_runs(struct backlog *b, size_t sent, backlog_left_fn *left)
{
	while (sent > 0) {
		struct run *run = run_at(b, 0);
		size_t some = run->bytes < sent ? run->bytes : sent, counted = some + drop_parcel(b, run);

		run->bytes -= some;
		sent -= some;
		b->bytes -= some;
		b->nobodys -= run->tag ? 0 : counted;
		if (left)
			left(run->tag, counted);
		if (run->bytes == 0) {
			b->first = (b->first + 1) & (b->size - 1);
			b->n_runs--;
		}
	}
}

void backlog_sent(struct backlog **backlog, struct slab *slab, size_t n, backlog_left_fn *left)
{
	drop_buffers(*backlog, slab, n);
	drop_runs(*backlog, n, left);
	if ((*backlog)->bytes == 0)
		backlog_free(backlog, slab);
}

void backlog_retag(struct backlog *b, const void *tag, void *to)
{
	for (unsigned i = 0; b && i < b->n_runs; i++) {
		struct run *run = run_at(b, i);
		size_t counted = run->bytes + fds_count(run->parcel);

		if (run->tag != tag)
			continue;
		b->nobodys += to ? 0 : counted;
		b->nobodys -= tag ? 0 : counted;
		run->tag = to;
	}
}
