/*
 * bench_round_trip: one request and its answer at a time, from us to a child and back, both ways through the broker.
 *
 * The floor sends the same number of bytes through the relay and waits for as many. There are two of it, because a
 * process that waits in read() is woken up later than one that waits in poll(). The processor time is that of all
 * processes that take part, for one exchange. They take turns, so where each of them runs is held still (bench_place.h).
 */
#include "bench_place.h"
#include "bench_rows.h"
#include "raw.h"
#include "timings.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define WARM_UP 20 /* exchanges that are not counted */

/* One exchange. 0 or a negative errno. */
typedef int exchange(void *with, const struct row *);

static int measure(struct bench *m, const struct row *row, const struct middle *middle, exchange *once, void *with,
		   struct sample *ret)
{
	struct timings t = { 0 };
	int rc = 0;
	bench_place(m, middle);
	for (int i = 0; i < WARM_UP && rc == 0; i++)
		rc = once(with, row);
	uint64_t now = timings_now(), end = now + m->span_ns, cpu = bench_cpu(m, middle);
	while (now < end && rc == 0) {
		uint64_t begin = now;
		rc = once(with, row);
		now = timings_now();
		if (rc == 0)
			rc = timings_add(&t, now - begin);
	}
	bench_unplace(m, middle);
	timings_quantiles(&t, ret->values);
	ret->values[4] = t.n ? (double)(bench_cpu(m, middle) - cpu) / 1000 / (double)t.n : 0;
	timings_deinit(&t);
	return rc < 0 ? bench_failed(row, "an exchange failed", rc) : 0;
}

static int exchange_brood(void *bench, const struct row *row)
{
	struct bench *m = bench;
	brood_msg *reply;
	int rc = brood_call(m->workers[0].peer, BROOD_MSG("echo", m->payload, row->size), BENCH_WAIT_MS, &reply);
	if (rc < 0)
		return rc;
	rc = reply->length == row->size ? 0 : -EBADMSG;
	brood_msg_release(reply);
	return rc;
}

static int run_brood(struct bench *m, const struct row *row, struct sample *ret)
{
	return measure(m, row, &m->brokers, exchange_brood, m, ret);
}

struct line {
	unsigned char *payload;
	size_t size;
	struct raw raw;
	int poll_first;
};

static int exchange_raw(void *line, const struct row *row)
{
	struct line *l = line;
	(void)row;
	int rc = raw_write(&l->raw, l->payload, l->size);
	if (rc == 0)
		rc = raw_read(&l->raw, l->payload, l->size, l->poll_first);
	if (rc == 0)
		return -ECONNRESET;
	return rc < 0 ? rc : 0;
}

static int run_floor(struct bench *m, const struct row *row, int poll_first, struct sample *ret)
{
	size_t size = bench_wire_size(row->size, 1);
	int rc = bench_serve_floor(m, 0, poll_first ? "echo-poll" : "echo-read", size);
	if (rc < 0)
		return bench_failed(row, "the floor cannot start", rc);
	struct line line = { .payload = m->payload, .size = size, .poll_first = poll_first };
	rc = raw_dial(m->relay_place, &line.raw);
	if (rc < 0)
		return bench_failed(row, "the relay does not answer", rc);
	rc = measure(m, row, &m->relays, exchange_raw, &line, ret);
	raw_close(&line.raw);
	return rc;
}

static int run_read(struct bench *m, const struct row *row, struct sample *ret)
{
	return run_floor(m, row, 0, ret);
}

static int run_poll(struct bench *m, const struct row *row, struct sample *ret)
{
	return run_floor(m, row, 1, ret);
}

const struct kind bench_round_trip = {
	.name = "round-trip",
	.values = { "p50_us", "p90_us", "p99_us", "p99.9_us", "cpu_us" },
	.is_time = 1,
	.contenders = { { "brood", run_brood }, { "relay+poll", run_poll }, { "relay+read", run_read } },
};
