/*
 * bench_pool: requests of 64 bytes to eight children, each of which always has the same number outstanding.
 *
 * The floor is the relay's switch: the same requests as frames with a worker's index, small writes gathered on each
 * side as they come.
 */
#include "bench_rows.h"
#include "raw.h"
#include "relay.h"
#include "timings.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define SIZE 64u

/* ---- brood ------------------------------------------------------------------------------------------------------- */

struct pool;
struct slot { /* one worker, as a callback sees it */
	struct pool *pool;
	brood_peer *peer;
};

struct pool {
	struct bench *bench;
	struct slot slots[BENCH_WORKERS];
	uint64_t end, asked, answered, failed;
};

static int answered(const brood_event *ev);

static int ask(struct slot *s)
{
	int64_t id =
		brood_request(s->peer, BROOD_MSG("echo", s->pool->bench->payload, SIZE), BENCH_WAIT_MS, answered, s);
	s->pool->asked += id > 0;
	return id < 0 ? (int)id : 0;
}

static int answered(const brood_event *ev)
{
	struct slot *s = ev->data;
	struct pool *p = s->pool;
	if (!ev->msg) {
		p->failed++;
		return 0;
	}
	p->answered++;
	if (timings_now() < p->end && ask(s) < 0)
		p->failed++;
	return 0;
}

static int start(struct pool *p, unsigned outstanding)
{
	int rc = 0;
	for (unsigned k = 0; k < outstanding; k++)
		for (unsigned i = 0; i < BENCH_WORKERS && rc == 0; i++)
			rc = ask(&p->slots[i]);
	return rc;
}

static int run_brood(struct bench *m, const struct row *row, struct sample *ret)
{
	uint64_t begin = timings_now();
	struct pool p = { .bench = m, .end = begin + m->span_ns };
	for (unsigned i = 0; i < BENCH_WORKERS; i++)
		p.slots[i] = (struct slot){ .pool = &p, .peer = m->workers[i].peer };
	int rc = start(&p, row->outstanding);
	while (rc >= 0 && p.answered + p.failed < p.asked)
		rc = brood_process(m->b, BENCH_WAIT_MS);
	if (rc < 0 || p.failed)
		return bench_failed(row, "requests failed", rc < 0 ? rc : -EIO);
	ret->values[0] = (double)p.answered / ((double)(timings_now() - begin) / 1e9);
	ret->lost = p.asked - p.answered;
	return 0;
}

/* ---- the floor --------------------------------------------------------------------------------------------------- */

#define FRAME (8u + 16u + 72u) /* what brood puts on the wire for it, see bench_wire_size() */
#define FRAMES 256u            /* more than are ever outstanding */

struct floor {
	int fd;
	unsigned char in[FRAMES * FRAME];
	size_t have;
	uint64_t asked, answered;
};

static int first_questions(struct bench *m, struct floor *f, unsigned outstanding)
{
	int rc = 0;
	for (uint32_t i = 0; i < BENCH_WORKERS * outstanding && rc == 0; i++) {
		unsigned char frame[FRAME];
		uint32_t head[2] = { i % BENCH_WORKERS, FRAME - sizeof head };
		memcpy(frame, head, sizeof head);
		memcpy(frame + sizeof head, m->payload, FRAME - sizeof head);
		rc = raw_write(f->fd, frame, sizeof frame);
		f->asked++;
	}
	return rc;
}

/* An answer carries its worker's index, so sending it back is the next question to the same worker. */
static int next_questions(struct floor *f, uint64_t end)
{
	long n = raw_some(f->fd, f->in + f->have, sizeof f->in - f->have, 1);
	if (n <= 0)
		return n < 0 ? (int)n : -ECONNRESET;
	f->have += (size_t)n;
	size_t whole = f->have / FRAME * FRAME;
	int rc = 0;
	f->answered += whole / FRAME;
	if (timings_now() < end) {
		rc = raw_write(f->fd, f->in, whole);
		f->asked += whole / FRAME;
	}
	f->have -= whole;
	memmove(f->in, f->in + whole, f->have);
	return rc;
}

static int exchange(struct bench *m, const struct row *row, struct floor *f, struct sample *ret)
{
	uint64_t begin = timings_now();
	int rc = first_questions(m, f, row->outstanding);
	while (rc == 0 && f->answered < f->asked)
		rc = next_questions(f, begin + m->span_ns);
	if (rc < 0)
		return bench_failed(row, "the relay broke", rc);
	ret->values[0] = (double)f->answered / ((double)(timings_now() - begin) / 1e9);
	return 0;
}

static int run_relay(struct bench *m, const struct row *row, struct sample *ret)
{
	struct floor f = { .fd = raw_dial(m->switch_place) };
	int rc = f.fd < 0 ? f.fd : 0;
	for (unsigned i = 0; i < BENCH_WORKERS && rc == 0; i++)
		rc = bench_serve_floor(m, i, "worker", m->switch_place, i);
	if (rc < 0)
		bench_failed(row, "the floor cannot start", rc);
	else
		rc = exchange(m, row, &f, ret);
	if (f.fd >= 0)
		close(f.fd);
	return rc;
}

const struct kind bench_pool = {
	.name = "pool",
	.values = { "requests/s" },
	.contenders = { { "brood", run_brood }, { "relay", run_relay } },
};
