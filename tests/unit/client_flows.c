/*
 * outflow and inflow: one stream without sockets. What is appended comes out exactly once and in order, whatever the
 * connection does: partial writes, lost frames, going back, acknowledgements that come late or never.
 */
#include "test.h"

#include "inflow.h"
#include "outflow.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ends { /* a stream, and the bytes under way */
	struct outflow_pool pool;
	struct outflow out;
	struct inflow in;
	uint8_t *wire;
	size_t wire_bytes;
	uint64_t got; /* messages delivered */
	uint64_t cut; /* frames swallowed by the wire, as after a HOLD */
	uint64_t joined;
	uint32_t random;
	unsigned char passed[40000]; /* by item: its descriptors left with it */
};

/* Message number i has a descriptor. */
static int has_fd(uint64_t i)
{
	return i % 37 == 0 || (i / 100) % 20 == 3;
}

static int begin(void **state)
{
	struct ends *e = calloc(1, sizeof(*e));
	assert_non_null(e);
	assert_non_null(e->wire = malloc(32u << 20));
	outflow_pool_init(&e->pool, SIZE_MAX);
	outflow_init(&e->out, &e->pool, 1u << 20);
	inflow_init(&e->in);
	e->random = 1;
	*state = e;
	return 0;
}

static int end(void **state)
{
	struct ends *e = *state;
	outflow_deinit(&e->out);
	outflow_pool_deinit(&e->pool);
	inflow_deinit(&e->in);
	free(e->wire);
	free(e);
	return 0;
}

static uint32_t draw(struct ends *e, uint32_t below)
{
	e->random = e->random * 1664525u + 1013904223u;
	return (e->random >> 8) % below;
}

/* Message number i: its length and every byte follow from i. */
static size_t length_of(uint64_t i)
{
	return (size_t)(i * 7919 % 300) + (i % 50 == 0 ? 40000 : 0);
}

static int append(struct ends *e, uint64_t i)
{
	struct item it = { .kind = ITEM_MESSAGE, .length = (uint32_t)length_of(i), .total = length_of(i) };
	if (!outflow_has_room(&e->out, it.length + 128))
		return -EAGAIN;
	const char *type = i % 3 ? "Job" : "Other";
	struct parcel *parcel = NULL;
	if (has_fd(i) && !outflow_has_room_for_fds(&e->out, 1))
		return -EAGAIN;
	if (has_fd(i))
		assert_int_equal(parcel_dup((const int[]){ 0 }, 1, &parcel), 0);
	it.fds = parcel ? 1 : 0;
	int same = outflow_same_type(&e->out, type);
	uint8_t *body = NULL;
	if (same > 0 && !parcel) {
		it.type = (uint16_t)same;
		body = outflow_join(&e->out, &it);
		e->joined += body != NULL;
	}
	if (!body) {
		assert_int_equal(outflow_type(&e->out, type, &it), 0);
		body = parcel ? outflow_append_parcel(&e->out, &it, parcel) : outflow_append(&e->out, &it);
	}
	assert_non_null(body);
	memset(body, (int)(i % 251), it.length);
	return 0;
}

static uint64_t first_of(const struct iovec *frame)
{
	uint64_t sequence;
	memcpy(&sequence, (const uint8_t *)frame->iov_base + 32, sizeof(sequence));
	return sequence;
}

static void transmit(struct ends *e, size_t most)
{
	struct outflow_route route = { .destination = 9 };
	struct iovec iov[8], rest;
	const struct parcel *parcel = outflow_parcel(&e->out);
	int n = outflow_gather(&e->out, &route, iov, 8, most);
	size_t shown = 0, taken;
	uint8_t *to = e->wire + e->wire_bytes;
	for (int i = 0; i < n; i++) {
		memcpy(to + shown, iov[i].iov_base, iov[i].iov_len);
		shown += iov[i].iov_len;
	}
	taken = shown ? 1 + draw(e, (uint32_t)shown) : 0;
	if (parcel && taken) { /* alone, and at once */
		assert_int_equal(n, 1);
		assert_int_equal(parcel->at, first_of(&iov[0]));
		e->passed[parcel->at] = 1;
	}
	outflow_advance(&e->out, taken, &rest);
	if (rest.iov_len)
		memcpy(to + taken, rest.iov_base, rest.iov_len);
	e->wire_bytes += taken + rest.iov_len;
}

/* All that was gathered left at once. */
static void pass_all(struct ends *e, const struct iovec *iov, int n)
{
	struct iovec rest;
	size_t bytes = 0;
	for (int i = 0; i < n; i++)
		bytes += iov[i].iov_len;
	outflow_advance(&e->out, bytes, &rest);
}

static void check_message(struct ends *e, const struct item *it)
{
	uint64_t i = ++e->got;
	const char *type;
	assert_int_equal(inflow_type(&e->in, it, &type), 0);
	assert_non_null(type);
	assert_string_equal(type, i % 3 ? "Job" : "Other");
	assert_int_equal(it->length, length_of(i));
	assert_int_equal(it->fds, has_fd(i));
	for (size_t b = 0; b < it->length; b++)
		assert_int_equal(it->body[b], i % 251);
	assert_int_equal(it->body[it->length], 0);
}

static void receive_frame(struct ends *e, const struct frame *f)
{
	const uint8_t *at = f->body, *stop = f->body + f->length;
	struct item it;
	int rc;
	assert_int_equal(f->kind, FRAME_DATA);
	assert_int_equal(f->destination, 9);
	if (f->flags & FRAME_FDS) {
		assert_true(e->passed[f->sequence]);
		assert_true(f->flags & FRAME_ACK_NOW);
		assert_int_equal(item_next(&at, stop, &it), 1);
		assert_ptr_equal(at, stop);
		at = f->body;
	}
	for (uint64_t sequence = f->sequence; (rc = item_next(&at, stop, &it)) == 1; sequence++)
		if (sequence == e->in.next) {
			e->in.next++;
			assert_int_equal((f->flags & FRAME_FDS) != 0, it.fds);
			check_message(e, &it);
		}
	assert_int_equal(rc, 0);
	if (f->flags & FRAME_ACK_NOW)
		inflow_ask(&e->in, e->in.next - 1);
}

/* What is under way arrives, but for the frames that the wire swallows. */
static void receive(struct ends *e, int lossy)
{
	struct frame f;
	size_t at = 0;
	int swallow = 0;
	while (at < e->wire_bytes) {
		assert_int_equal(frame_parse(e->wire + at, e->wire_bytes - at, FRAME_MAX, &f), 1);
		at += f.size;
		if (lossy && draw(e, 20) == 0)
			swallow = 1; /* from here on, as a broker does between HOLD and GO */
		if (swallow)
			e->cut++;
		else
			receive_frame(e, &f);
	}
	e->wire_bytes = 0;
}

static void acknowledge(struct ends *e)
{
	uint64_t consumed = inflow_consumed(&e->in);
	int news = consumed > e->out.acked;
	assert_int_equal(outflow_acknowledge(&e->out, consumed), news);
	inflow_tell(&e->in, consumed);
}

static void all_arrive_once_in_order(void **state)
{
	struct ends *e = *state;
	const uint64_t all = 30000;
	uint64_t next = 1;
	for (unsigned round = 0; e->got < all; round++) {
		for (unsigned n = draw(e, 200); n > 0 && next <= all && append(e, next) == 0; n--)
			next++;
		for (unsigned n = draw(e, 4); n > 0; n--)
			transmit(e, 1 + draw(e, 300000));
		receive(e, 1);
		if (draw(e, 3) == 0)
			acknowledge(e);
		if (draw(e, 8) == 0)
			outflow_rewind(&e->out); /* GO */
		assert_true(round < 1000000);
	}
	acknowledge(e);
	assert_int_equal(e->got, all);
	assert_int_equal(outflow_unacknowledged(&e->out), 0);
	assert_int_equal(e->out.written, e->out.freed);
	assert_true(e->cut > 20); /* the test did lose frames */
	assert_int_equal(e->out.n_fds, 0);
	assert_true(STAILQ_EMPTY(&e->out.parcels));
	assert_true(e->out.with_fds > 1000);
	assert_true(e->joined > all / 4);
}

/* What all receivers hold together is bounded too; but each may have one message, and hears when there is room again. */
static void handle_is_bounded(void **state)
{
	struct ends *e = *state;
	struct outflow other;
	struct outflow_route route = { .destination = 9 };
	struct iovec iov[64];
	outflow_init(&other, &e->pool, 1u << 20);
	e->pool.most = 256u * 1024u;
	for (uint64_t i = 1; append(e, i) == 0; i++)
		;
	assert_true(e->out.written < 512u * 1024u); /* far from its own window */
	assert_false(outflow_has_recovered(&e->out));
	assert_true(outflow_has_room(&other, 100));
	struct item it = { .kind = ITEM_MESSAGE, .length = 100, .total = 100 };
	assert_non_null(outflow_append(&other, &it));
	assert_false(outflow_has_room(&other, 100));
	while (outflow_pending(&e->out))
		pass_all(e, iov, outflow_gather(&e->out, &route, iov, 64, 1u << 20));
	assert_int_equal(outflow_acknowledge(&e->out, e->out.next - 1), 1);
	assert_true(outflow_has_recovered(&e->out));
	assert_true(outflow_has_room(&other, 100));
	assert_int_equal(e->pool.held, 0);
	outflow_deinit(&other);
}

/* What joins unseen keeps within window and number, and leaves no gap without a mark. */
static void joining_keeps_all_bounds(void **state)
{
	static const uint32_t lengths[] = { 0, 1, 64, 1000, 5000, 16384 };
	static const size_t windows[] = { 65536, 1u << 20, 64u << 20 };
	struct ends *e = *state;
	for (size_t i = 0; i < 18; i++) {
		struct item it = { .kind = i % 2 ? ITEM_MESSAGE : ITEM_REQUEST, .length = lengths[i % 6] };
		size_t size = item_size(it.kind, 0, it.length);
		outflow_deinit(&e->out);
		outflow_init(&e->out, &e->pool, windows[i / 6]);
		while (outflow_join(&e->out, &it) ||
		       (outflow_has_room(&e->out, size + FRAME_HEAD) && outflow_append(&e->out, &it))) {
			assert_true(e->out.written <= windows[i / 6]);
			assert_true(outflow_unacknowledged(&e->out) <= OUTFLOW_MESSAGES);
			assert_true(e->out.written - e->out.marked_position < e->out.mark);
			assert_true(e->out.next - 1 - e->out.marked < OUTFLOW_MESSAGES / 4);
		}
		assert_true(e->out.written + size + 2 * FRAME_HEAD > windows[i / 6] ||
			    outflow_unacknowledged(&e->out) == OUTFLOW_MESSAGES);
	}
}

static void window_holds_and_recovers(void **state)
{
	struct ends *e = *state;
	struct item it = { .kind = ITEM_MESSAGE, .length = 1000, .total = 1000 };
	uint64_t n = 0;
	while (outflow_has_room(&e->out, 1200)) {
		assert_non_null(outflow_append(&e->out, &it));
		n++;
	}
	assert_in_range(n * 1000, (1u << 20) * 9 / 10, 1u << 20);
	assert_false(outflow_has_recovered(&e->out));
	while (outflow_pending(&e->out))
		transmit(e, 1u << 20);
	assert_int_equal(outflow_acknowledge(&e->out, n * 3 / 4), 1);
	assert_true(outflow_has_recovered(&e->out));
	assert_int_equal(outflow_acknowledge(&e->out, n + 1), -EPROTO); /* never sent */
	assert_int_equal(outflow_acknowledge(&e->out, n / 2), 0);       /* old */
}

static void descriptors_are_bounded_too(void **state)
{
	struct ends *e = *state;
	struct item it = { .kind = ITEM_MESSAGE, .fds = 16 };
	const int fds[16] = { 0 };
	for (unsigned n = 0; n < OUTFLOW_FDS; n += 16) {
		struct parcel *parcel;
		assert_true(outflow_has_room_for_fds(&e->out, 16));
		assert_int_equal(parcel_dup(fds, 16, &parcel), 0);
		assert_non_null(outflow_append_parcel(&e->out, &it, parcel));
	}
	assert_false(outflow_has_room_for_fds(&e->out, 1));
	while (outflow_pending(&e->out))
		transmit(e, 1u << 20);
	assert_int_equal(outflow_acknowledge(&e->out, 1), 1);
	assert_true(outflow_has_room_for_fds(&e->out, 16));
	assert_false(outflow_has_recovered(&e->out)); /* DRAIN is for more than one message */
	assert_int_equal(outflow_acknowledge(&e->out, OUTFLOW_FDS / 32), 1);
	assert_true(outflow_has_recovered(&e->out));
}

/* Only frames that have the item `said`, or come behind it, acknowledge 7 and more. */
static void check_heads(struct ends *e, uint64_t consumed, uint64_t said)
{
	const struct outflow_route route = { .destination = 1, .acknowledge = consumed };
	struct iovec iov[64];
	int n = outflow_gather(&e->out, &route, iov, 64, 32u << 20);
	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		uint8_t *at = iov[i].iov_base, *end = at + iov[i].iov_len;
		for (struct frame f; at < end; at += frame_size(f.length)) {
			struct item it;
			assert_int_equal(frame_parse(at, (size_t)(end - at), FRAME_MAX, &f), 1);
			const uint8_t *item = f.body;
			while (item_next(&item, f.body + f.length, &it) == 1)
				f.sequence++;
			assert_int_equal(f.acknowledge, f.sequence > said ? consumed : 6);
		}
	}
	pass_all(e, iov, n);
}

/* Item 7 of the other direction was refused: nothing that may come without that says that 7 was consumed. */
static void a_refusal_comes_with_its_acknowledgement(void **state)
{
	struct ends *e = *state;
	struct item it = { .kind = ITEM_MESSAGE, .length = 50000 }, no = { .kind = ITEM_REFUSED, .correlation = 7 };
	struct outflow_refusal *f = malloc(sizeof(*f));
	assert_non_null(f);
	for (int i = 0; i < 8; i++)
		assert_non_null(outflow_append(&e->out, &it));
	assert_non_null(outflow_append(&e->out, &no));
	outflow_refuses(&e->out, f, 7);
	uint64_t said = e->out.next - 1;
	for (int i = 0; i < 8; i++)
		assert_non_null(outflow_append(&e->out, &it));
	assert_int_equal(outflow_may_acknowledge(&e->out, 9, outflow_cursor(&e->out) - 1), 6);
	assert_int_equal(outflow_may_acknowledge(&e->out, 5, outflow_cursor(&e->out) - 1), 5);
	for (int i = 0; i < 2; i++) {
		check_heads(e, 9, said);
		assert_int_equal(outflow_may_acknowledge(&e->out, 9, outflow_cursor(&e->out) - 1), 9);
		outflow_rewind(&e->out); /* it may have been lost with all that was behind it */
		assert_int_equal(outflow_may_acknowledge(&e->out, 9, outflow_cursor(&e->out) - 1), 6);
	}
	assert_int_equal(outflow_acknowledge(&e->out, said - 1), 1);
	assert_int_equal(outflow_may_acknowledge(&e->out, 9, e->out.acked), 6);
	assert_int_equal(outflow_acknowledge(&e->out, said), 1);
	assert_int_equal(outflow_may_acknowledge(&e->out, 9, e->out.acked), 9);
}

static void send_what_may_be_under_way(struct ends *e)
{
	const struct outflow_route route = { .destination = 1 };
	struct iovec iov[64];
	int n;
	while ((n = outflow_gather(&e->out, &route, iov, 64, 1)) > 0)
		pass_all(e, iov, n);
}

/* The other side may be waiting for it, as what it refuses is not acknowledged before. */
static void a_refusal_waits_for_no_window(void **state)
{
	struct ends *e = *state;
	struct item it = { .kind = ITEM_MESSAGE, .length = 50000 }, no = { .kind = ITEM_REFUSED, .correlation = 7 };
	struct outflow_refusal *f = malloc(sizeof(*f));
	assert_non_null(f);
	outflow_deinit(&e->out);
	outflow_init(&e->out, &e->pool, 65536);
	for (int i = 0; i < 20; i++)
		assert_non_null(outflow_append(&e->out, &it));
	send_what_may_be_under_way(e);
	assert_true(outflow_pending(&e->out) > 0);
	assert_non_null(outflow_append(&e->out, &no));
	outflow_refuses(&e->out, f, 7);
	uint64_t said = e->out.next - 1;
	for (int i = 0; i < 20; i++)
		assert_non_null(outflow_append(&e->out, &it));
	send_what_may_be_under_way(e);
	assert_true(outflow_cursor(&e->out) > said);
	assert_true(outflow_pending(&e->out) > 0); /* and no more than that */
	assert_int_equal(outflow_may_acknowledge(&e->out, 9, outflow_cursor(&e->out) - 1), 9);
}

static void many_small_ones_are_bounded_by_number(void **state)
{
	struct ends *e = *state;
	struct item it = { .kind = ITEM_MESSAGE };
	uint64_t n = 0;
	outflow_deinit(&e->out);
	outflow_init(&e->out, &e->pool, 64u << 20);
	while (outflow_has_room(&e->out, 16) && n < 2 * OUTFLOW_MESSAGES) {
		assert_non_null(outflow_append(&e->out, &it));
		n++;
	}
	assert_int_equal(n, OUTFLOW_MESSAGES);
}

/* A full window has asked for an acknowledgement that will open it: the sender never waits for nothing. */
static void full_window_has_asked(void **state)
{
	struct ends *e = *state;
	struct item it = { .kind = ITEM_MESSAGE, .length = 5000, .total = 5000 };
	struct frame f;
	uint64_t asked = 0;
	while (outflow_has_room(&e->out, 5200))
		assert_non_null(outflow_append(&e->out, &it));
	while (outflow_pending(&e->out))
		transmit(e, 1u << 20);
	for (size_t at = 0; at < e->wire_bytes; at += f.size) {
		assert_int_equal(frame_parse(e->wire + at, e->wire_bytes - at, FRAME_MAX, &f), 1);
		if (f.flags & FRAME_ACK_NOW)
			asked = f.sequence;
	}
	assert_true(asked > e->out.next / 2);
}

/* What a PROBE tells: not what the window keeps back, or its receiver would miss it. */
static void cursor_is_what_is_sent_next(void **state)
{
	struct ends *e = *state;
	uint64_t i = 0;
	assert_int_equal(outflow_cursor(&e->out), 1);
	while (append(e, ++i) == 0)
		;
	for (int more = 0; more < 200; more++) { /* answers need no room */
		struct item answer = { .kind = ITEM_REPLY, .length = 1000, .total = 1000 };
		uint8_t *body = outflow_append(&e->out, &answer);
		assert_non_null(body);
		memset(body, 0, answer.length);
	}
	assert_int_equal(outflow_cursor(&e->out), 1);
	for (int n = 0; n < 1000; n++)
		transmit(e, 1u << 20);
	assert_true(outflow_cursor(&e->out) > 1);
	assert_true(outflow_cursor(&e->out) < e->out.next);
	assert_int_equal(outflow_cursor(&e->out), e->out.reached + 1);
	outflow_rewind(&e->out);
	assert_int_equal(outflow_cursor(&e->out), 1);
	assert_int_equal(outflow_acknowledge(&e->out, e->out.reached), 1);
	for (int n = 0; n < 1000; n++)
		transmit(e, 1u << 20);
	assert_int_equal(outflow_cursor(&e->out), e->out.next);
}

/* The cursor was set back, and then the acknowledgement came: what the other side has is left out. */
static void what_was_consumed_is_not_sent_again(void **state)
{
	struct ends *e = *state;
	for (int i = 0; i < 3; i++) {
		struct item it = { .kind = ITEM_MESSAGE, .fds = 1 };
		struct parcel *parcel;
		assert_int_equal(parcel_dup((const int[]){ 0 }, 1, &parcel), 0);
		assert_non_null(outflow_append_parcel(&e->out, &it, parcel));
		transmit(e, 1u << 20);
	}
	outflow_rewind(&e->out);
	assert_int_equal(outflow_cursor(&e->out), 1);
	assert_int_equal(outflow_acknowledge(&e->out, 2), 1);
	assert_int_equal(outflow_cursor(&e->out), 3);
	assert_non_null(outflow_parcel(&e->out));
	assert_int_equal(outflow_acknowledge(&e->out, 3), 1);
	assert_int_equal(outflow_cursor(&e->out), 4);
}

static void one_message_always_fits_an_empty_window(void **state)
{
	struct ends *e = *state;
	struct item it = { .kind = ITEM_MESSAGE };
	assert_true(outflow_has_room(&e->out, 64u << 20));
	assert_non_null(outflow_append(&e->out, &it));
	assert_false(outflow_has_room(&e->out, 64u << 20));
}

/* A message longer than the window goes out window by window. */
static void long_message_respects_the_window_under_way(void **state)
{
	struct ends *e = *state;
	struct item it = { .kind = ITEM_MESSAGE, .length = 128000, .total = 128000 };
	assert_int_equal(outflow_reserve(&e->out, 8u << 20), 0);
	for (int i = 0; i < 60; i++)
		assert_non_null(outflow_append(&e->out, &it));
	for (int i = 0; i < 200; i++)
		transmit(e, 1u << 20);
	assert_in_range(e->wire_bytes, 1u << 20, (1u << 20) + 2 * FRAME_MAX);
	assert_int_equal(outflow_acknowledge(&e->out, e->out.reached), 1);
	size_t before = e->wire_bytes;
	transmit(e, 1u << 20);
	assert_true(e->wire_bytes > before);
}

/* Answers are added without asking, and one block takes more of them than a small window: what was consumed of it makes
 * room for the rest, wherever the cursor is. */
static void a_window_within_one_block(void **state)
{
	struct ends *e = *state;
	struct item it = { .kind = ITEM_REPLY, .length = 20000, .total = 20000 };
	outflow_deinit(&e->out);
	outflow_init(&e->out, &e->pool, 16u << 10);
	for (int i = 0; i < 12; i++)
		assert_non_null(outflow_append(&e->out, &it));
	assert_ptr_equal(TAILQ_FIRST(&e->out.blocks), TAILQ_LAST(&e->out.blocks, outflow_blocks));
	for (int i = 0; i < 100; i++) {
		transmit(e, 1u << 20);
		if (i % 2)
			outflow_rewind(&e->out);
		(void)outflow_acknowledge(&e->out, e->out.reached);
	}
	assert_true(TAILQ_EMPTY(&e->out.blocks));
}

static void held_messages_hold_back_consumption(void **state)
{
	struct ends *e = *state;
	struct inflow_hold a, b;
	e->in.next = 2;
	inflow_hold(&e->in, &a, 1);
	e->in.next = 3;
	inflow_hold(&e->in, &b, 2);
	inflow_ask(&e->in, 2);
	assert_int_equal(inflow_consumed(&e->in), 0);
	assert_false(inflow_owes(&e->in));
	inflow_release(&e->in, &b);
	assert_int_equal(inflow_consumed(&e->in), 0);
	inflow_release(&e->in, &a);
	assert_int_equal(inflow_consumed(&e->in), 2);
	assert_true(inflow_owes(&e->in));
	inflow_tell(&e->in, 2);
	assert_false(inflow_owes(&e->in));
	inflow_ask(&e->in, 2); /* asked again: the answer was lost */
	assert_true(inflow_owes(&e->in));
}

static void a_probe_is_answered_whatever_is_missing(void **state)
{
	struct ends *e = *state;
	inflow_probe(&e->in, 1);
	assert_false(inflow_owes(&e->in)); /* there is nothing to say */
	e->in.next = 3;
	inflow_ask(&e->in, 2);
	inflow_tell(&e->in, 2);
	inflow_probe(&e->in, 3); /* nothing is missing */
	assert_true(inflow_owes(&e->in));
	inflow_tell(&e->in, 2);
	inflow_probe(&e->in, 5); /* 3 and 4 are */
	assert_true(inflow_owes(&e->in));
	inflow_tell(&e->in, 2);
	inflow_probe(&e->in, 0);
	assert_true(inflow_owes(&e->in));
	inflow_tell(&e->in, 2);
	assert_false(inflow_owes(&e->in));
	inflow_probe(&e->in, 5);
	inflow_tell(&e->in, 2);
	e->in.next = 5; /* they came */
	assert_true(inflow_owes(&e->in));
}

static struct item fragment(uint64_t total, const uint8_t *body, uint32_t length, int continued, int more)
{
	return (struct item){ .kind = ITEM_MESSAGE,
			      .length = length,
			      .total = continued ? length : total,
			      .body = body,
			      .continued = continued,
			      .more = more };
}

static void fragments_are_put_together(void **state)
{
	struct ends *e = *state;
	static const uint8_t text[] = "abcdefghij";
	struct item a = fragment(10, text, 4, 0, 1), b = fragment(10, text + 4, 4, 1, 1),
		    c = fragment(10, text + 8, 2, 1, 0);
	assert_int_equal(inflow_assemble(&e->in, &a, "T", 0), 0);
	assert_int_equal(inflow_assemble(&e->in, &b, "T", 0), 0);
	assert_int_equal(inflow_assemble(&e->in, &c, "T", 0), 1);
	uint8_t *whole = inflow_assembly_take(&e->in);
	assert_string_equal((char *)whole, "abcdefghij");
	free(whole);
}

static void false_fragments_are_refused(void **state)
{
	struct ends *e = *state;
	static const uint8_t text[16];
	struct item lone = fragment(10, text, 4, 1, 1), first = fragment(10, text, 8, 0, 1),
		    more = fragment(10, text, 8, 1, 0);
	struct item huge = fragment((uint64_t)MESSAGE_MAX + 1, text, 4, 0, 1), less = fragment(2, text, 4, 0, 1);
	struct item early = fragment(10, text, 4, 0, 1), stop = fragment(10, text, 1, 1, 0);
	assert_int_equal(inflow_assemble(&e->in, &lone, "T", 0), -EPROTO);
	assert_int_equal(inflow_assemble(&e->in, &huge, "T", 0), -EPROTO);
	assert_int_equal(inflow_assemble(&e->in, &less, "T", 0), -EPROTO);
	assert_int_equal(inflow_assemble(&e->in, &first, "T", 0), 0);
	assert_int_equal(inflow_assemble(&e->in, &more, "T", 0), -EPROTO); /* more than it said */
	assert_int_equal(inflow_assemble(&e->in, &early, "T", 0), 0);
	assert_int_equal(inflow_assemble(&e->in, &stop, "T", 0), -EPROTO); /* less than it said */
}

/* As the library does: the number is counted when its item is looked at. */
static int take(struct inflow *in, const struct item *it, int landed)
{
	in->next++;
	return inflow_assemble(in, it, "T", landed);
}

static void fragments_land_where_they_belong(void **state)
{
	struct ends *e = *state;
	struct inflow *in = &e->in;
	struct item a = fragment(10, NULL, 4, 0, 1), b = fragment(10, NULL, 4, 1, 1), c = fragment(10, NULL, 2, 1, 0);
	uint8_t *to = inflow_land(in, &a, 1, 0), *whole;
	assert_non_null(to);
	memcpy(to, "ab", 2);
	assert_ptr_equal(inflow_land(in, &a, 1, 1), to); /* the rest of it */
	memcpy(to + 2, "cd", 2);
	assert_int_equal(take(in, &a, 1), 0);
	memcpy(inflow_land(in, &b, 2, 0), "efgh", 4);
	assert_int_equal(take(in, &b, 1), 0);
	c.body = (const uint8_t *)"ij";
	assert_int_equal(take(in, &c, 0), 1); /* each as it came */
	whole = inflow_assembly_take(in);
	assert_ptr_equal(whole, to);
	assert_string_equal((char *)whole, "abcdefghij");
	free(whole);
}

static void only_what_is_next_may_land(void **state)
{
	struct ends *e = *state;
	struct inflow *in = &e->in;
	static const uint8_t text[16];
	struct item a = fragment(10, text, 4, 0, 1), b = fragment(10, text, 4, 1, 1),
		    more = fragment(10, text, 8, 1, 0), plain = fragment(4, text, 4, 0, 0), other = b;
	assert_null(inflow_land(in, &a, 2, 0));
	assert_null(inflow_land(in, &b, 1, 0)); /* of no message */
	assert_null(inflow_land(in, &plain, 1, 0));
	assert_null(inflow_land(in, &a, 1, 1)); /* nobody said so before */
	assert_int_equal(take(in, &a, 0), 0);
	other.kind = ITEM_REQUEST;
	assert_null(inflow_land(in, &other, 2, 0));
	assert_null(inflow_land(in, &more, 2, 0));
	assert_null(inflow_land(in, &a, 2, 0)); /* another, and the one before is not whole */
	assert_non_null(inflow_land(in, &b, 2, 0));
}

/* What was cut off by the end of its connection comes again on the next, whole or in part. */
static void what_landed_in_part_comes_again(void **state)
{
	struct ends *e = *state;
	struct inflow *in = &e->in;
	struct item a = fragment(10, (const uint8_t *)"abcd", 4, 0, 1), longer = fragment(12, NULL, 4, 0, 1),
		    b = fragment(10, (const uint8_t *)"efghij", 6, 1, 0);
	uint8_t *whole;
	memcpy(inflow_land(in, &a, 1, 0), "xx", 2);
	assert_null(inflow_land(in, &longer, 1, 0)); /* what landed has no room for it */
	memcpy(inflow_land(in, &a, 1, 0), "yyy", 3);
	assert_int_equal(take(in, &a, 0), 0);
	memcpy(inflow_land(in, &b, 2, 0), "zz", 2);
	assert_int_equal(take(in, &b, 0), 1);
	whole = inflow_assembly_take(in);
	assert_string_equal((char *)whole, "abcdefghij");
	free(whole);
}

static void what_it_landed_in_may_be_gone(void **state)
{
	struct ends *e = *state;
	struct inflow *in = &e->in;
	struct item a = fragment(10, NULL, 4, 0, 1);
	assert_non_null(inflow_land(in, &a, 1, 0));
	inflow_begin_anew(in);
	assert_null(inflow_land(in, &a, 1, 1));
	assert_int_equal(take(in, &a, 1), -ESTALE);
}

static void type_numbers_keep_their_meaning(void **state)
{
	const char *got;
	struct ends *e = *state;
	struct item bind = { .type = 3, .name = "Job", .name_length = 3 }, use = { .type = 3 }, never = { .type = 4 };
	struct item other = { .type = 3, .name = "Evil", .name_length = 4 }, plain = { 0 };
	struct item loose = { .type = ITEM_UNNUMBERED, .name = "Once", .name_length = 4 };
	assert_int_equal(inflow_type(&e->in, &use, &got), -EPROTO);
	assert_int_equal(inflow_type(&e->in, &bind, &got), 0);
	assert_string_equal(got, "Job");
	assert_int_equal(inflow_type(&e->in, &use, &got), 0);
	assert_string_equal(got, "Job");
	assert_int_equal(inflow_type(&e->in, &bind, &got), 0);
	assert_string_equal(got, "Job"); /* sent again */
	assert_int_equal(inflow_type(&e->in, &other, &got), -EPROTO);
	assert_int_equal(inflow_type(&e->in, &never, &got), -EPROTO);
	assert_int_equal(inflow_type(&e->in, &plain, &got), 0);
	assert_string_equal(got, "");
	assert_int_equal(inflow_type(&e->in, &loose, &got), 0);
	assert_string_equal(got, "Once");
}

static void more_types_than_numbers(void **state)
{
	const char *got;
	struct ends *e = *state;
	char name[16];
	for (unsigned i = 0; i < 2 * ITEM_TYPES; i++) {
		struct item it = { .kind = ITEM_MESSAGE };
		snprintf(name, sizeof(name), "type-%u", i);
		assert_int_equal(outflow_type(&e->out, name, &it), 0);
		assert_int_equal(it.type, i < ITEM_TYPES ? i + 1 : ITEM_UNNUMBERED);
		assert_int_equal(inflow_type(&e->in, &it, &got), 0);
		assert_string_equal(got, name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_arrive_once_in_order, begin, end),
		cmocka_unit_test_setup_teardown(handle_is_bounded, begin, end),
		cmocka_unit_test_setup_teardown(joining_keeps_all_bounds, begin, end),
		cmocka_unit_test_setup_teardown(window_holds_and_recovers, begin, end),
		cmocka_unit_test_setup_teardown(descriptors_are_bounded_too, begin, end),
		cmocka_unit_test_setup_teardown(a_refusal_comes_with_its_acknowledgement, begin, end),
		cmocka_unit_test_setup_teardown(a_refusal_waits_for_no_window, begin, end),
		cmocka_unit_test_setup_teardown(many_small_ones_are_bounded_by_number, begin, end),
		cmocka_unit_test_setup_teardown(full_window_has_asked, begin, end),
		cmocka_unit_test_setup_teardown(cursor_is_what_is_sent_next, begin, end),
		cmocka_unit_test_setup_teardown(what_was_consumed_is_not_sent_again, begin, end),
		cmocka_unit_test_setup_teardown(one_message_always_fits_an_empty_window, begin, end),
		cmocka_unit_test_setup_teardown(long_message_respects_the_window_under_way, begin, end),
		cmocka_unit_test_setup_teardown(a_window_within_one_block, begin, end),
		cmocka_unit_test_setup_teardown(held_messages_hold_back_consumption, begin, end),
		cmocka_unit_test_setup_teardown(fragments_are_put_together, begin, end),
		cmocka_unit_test_setup_teardown(false_fragments_are_refused, begin, end),
		cmocka_unit_test_setup_teardown(fragments_land_where_they_belong, begin, end),
		cmocka_unit_test_setup_teardown(a_probe_is_answered_whatever_is_missing, begin, end),
		cmocka_unit_test_setup_teardown(only_what_is_next_may_land, begin, end),
		cmocka_unit_test_setup_teardown(what_landed_in_part_comes_again, begin, end),
		cmocka_unit_test_setup_teardown(what_it_landed_in_may_be_gone, begin, end),
		cmocka_unit_test_setup_teardown(type_numbers_keep_their_meaning, begin, end),
		cmocka_unit_test_setup_teardown(more_types_than_numbers, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
