/*
 * bench_one_way: as many messages as will go, from us through the broker to a child that counts them.
 *
 * A measurement ends when the child has said how many it received, so nothing is counted that was only sent. The floor
 * does the least that an exchange of messages is: each is built behind a head with its length, small ones gathered into
 * writes of 64 KiB, and the child finds and counts each by its head; the relay between them looks at nothing. The
 * processor time is that of all processes that take part.
 */
#include "bench_rows.h"
#include "raw.h"
#include "timings.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define GATHER (64u * 1024u)

struct run { /* one measurement under way */
	uint64_t begin, cpu;
	const struct middle *middle;
};

static struct run begin(const struct bench *m, const struct middle *middle)
{
	return (struct run){ .begin = timings_now(), .cpu = bench_cpu(m, middle), .middle = middle };
}

static void end(const struct bench *m, const struct row *row, const struct run *run, uint64_t sent, uint64_t received,
		struct sample *ret)
{
	double seconds = (double)(timings_now() - run->begin) / 1e9, n = (double)received;
	double cpu_us = (double)(bench_cpu(m, run->middle) - run->cpu) / 1000;
	ret->values[0] = n / seconds;
	ret->values[1] = n * (double)row->size / seconds / 1e6;
	ret->values[2] = n > 0 ? cpu_us / n : 0;
	ret->lost = sent - received;
}

/* How many messages may be sent between two looks at the clock: some hundred KiB. */
static unsigned stride(const struct row *row)
{
	size_t n = 256u * 1024u / row->size;
	return n > 1 ? (unsigned)n : 1;
}

/* ---- brood ------------------------------------------------------------------------------------------------------- */

static int tally(struct bench *m, uint64_t *received)
{
	brood_msg *reply;
	int rc = brood_call(m->workers[0].peer, BROOD_MSG("tally", NULL, 0), BENCH_WAIT_MS, &reply);
	if (rc < 0)
		return rc;
	memcpy(received, reply->body, sizeof *received);
	brood_msg_release(reply);
	return 0;
}

static int send_some(struct bench *m, const struct row *row, unsigned n)
{
	int rc = 0;
	for (unsigned i = 0; i < n && rc == 0; i++)
		rc = brood_send(m->workers[0].peer,
				BROOD_MSG("data", m->payload, row->size, .flags = BROOD_MORE | BROOD_BLOCK));
	return rc;
}

static int run_brood(struct bench *m, const struct row *row, struct sample *ret)
{
	uint64_t sent = 0, received = 0;
	unsigned n = stride(row);
	int rc = tally(m, &received);
	struct run run = begin(m, &m->brokers);
	while (rc == 0 && timings_now() < run.begin + m->span_ns) {
		rc = send_some(m, row, n);
		sent += n;
	}
	if (rc == 0)
		rc = tally(m, &received);
	if (rc < 0)
		return bench_failed(row, "messages cannot be sent", rc);
	end(m, row, &run, sent, received, ret);
	return 0;
}

/* ---- the floor --------------------------------------------------------------------------------------------------- */

/* A head of 8 bytes that says how far it is to the next, and the body. */
static void build(const struct bench *m, unsigned char *to, size_t size, size_t wire)
{
	const uint64_t head = wire;
	memcpy(to, &head, sizeof head);
	memcpy(to + sizeof head, m->payload, size);
}

/* One by one in a buffer that goes out when it is full. */
static int write_some(const struct bench *m, size_t size, size_t wire, const struct raw *raw, unsigned n)
{
	static unsigned char buffer[GATHER + BENCH_ROOM];
	size_t used = 0;
	int rc = 0;
	while (n-- > 0 && rc == 0) {
		build(m, buffer + used, size, wire);
		used += wire;
		if (used + wire <= GATHER)
			continue;
		rc = raw_write(raw, buffer, used);
		used = 0;
	}
	return rc < 0 || used == 0 ? rc : raw_write(raw, buffer, used);
}

static int pour(struct bench *m, const struct row *row, struct raw *raw, struct sample *ret)
{
	uint64_t sent = 0, received = 0;
	size_t wire = bench_wire_size(row->size, 0);
	unsigned n = stride(row);
	int rc = 0;
	struct run run = begin(m, &m->relays);
	while (rc == 0 && timings_now() < run.begin + m->span_ns) {
		rc = write_some(m, row->size, wire, raw, n);
		sent += n;
	}
	raw_end(raw);
	if (rc == 0 && raw_read(raw, &received, sizeof received, 1) <= 0)
		rc = -ECONNRESET;
	if (rc < 0)
		return bench_failed(row, "the relay broke", rc);
	end(m, row, &run, sent, received, ret);
	return 0;
}

static int run_relay(struct bench *m, const struct row *row, struct sample *ret)
{
	int rc = bench_serve_floor(m, 0, "sink", row->size);
	if (rc < 0)
		return bench_failed(row, "the floor cannot start", rc);
	struct raw raw;
	rc = raw_dial(m->relay_place, &raw);
	if (rc < 0)
		return bench_failed(row, "the relay does not answer", rc);
	rc = pour(m, row, &raw, ret);
	raw_close(&raw);
	return rc;
}

const struct kind bench_one_way = {
	.name = "one-way",
	.values = { "msgs/s", "MB/s", "cpu_us/msg" },
	.contenders = { { "brood", run_brood }, { "relay", run_relay } },
};
