/*
 * bench_pool: requests of 64 bytes to eight children, each of which always has the same number outstanding.
 *
 * The floor is the relay with a pair of connections for each worker: requests of the same length on the wire, each
 * built and found by its head. What was answered on a connection since we last looked is asked again in one write, and
 * a worker answers likewise; the relay between them looks at nothing. There are two of it, as for round trips: a worker
 * that waits in poll() is woken up sooner than one that waits in read().
 */
#include "bench_rows.h"
#include "raw.h"
#include "timings.h"
#include <errno.h>
#include <sys/epoll.h>
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
	uint64_t asked, answered, failed;
	int over;
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
	if (!p->over && ask(s) < 0)
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
	static struct pool p; /* those that are not answered are told later, when the handle is closed */
	uint64_t begin = timings_now();
	p = (struct pool){ .bench = m };
	for (unsigned i = 0; i < BENCH_WORKERS; i++)
		p.slots[i] = (struct slot){ .pool = &p, .peer = m->workers[i].peer };
	int rc = start(&p, row->outstanding);
	while (rc >= 0 && p.answered + p.failed < p.asked) {
		rc = brood_process(m->b, BENCH_WAIT_MS);
		p.over = timings_now() >= begin + m->span_ns;
	}
	if (rc < 0 || p.failed)
		return bench_failed(row, "requests failed", rc < 0 ? rc : -EIO);
	ret->values[0] = (double)p.answered / ((double)(timings_now() - begin) / 1e9);
	ret->lost = p.asked - p.answered;
	return 0;
}

/* ---- the floor --------------------------------------------------------------------------------------------------- */

#define ROOM 4096u /* for all that a worker ever has outstanding */

struct line { /* our connection for one worker */
	struct raw raw;
	size_t have;
	unsigned char bytes[ROOM];
};

struct floor {
	struct line lines[BENCH_WORKERS];
	int epoll;
	size_t wire; /* bytes of a request */
	uint64_t end, asked, answered;
};

/* The worker connects first and we next, so the relay joins the two. */
static int line_init(struct line *l, struct bench *m, unsigned worker, const char *kind, int epoll)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = l };
	int rc = bench_serve_floor(m, worker, kind, SIZE);
	if (rc < 0)
		return rc;
	rc = raw_dial(m->relay_place, &l->raw);
	if (rc < 0)
		return rc;
	return epoll_ctl(epoll, EPOLL_CTL_ADD, l->raw.in, &e) < 0 ? -errno : 0;
}

static int floor_init(struct floor *f, struct bench *m, const char *kind)
{
	*f = (struct floor){ .epoll = epoll_create1(EPOLL_CLOEXEC), .wire = bench_wire_size(SIZE, 1) };
	int rc = f->epoll < 0 ? -errno : 0;
	for (unsigned i = 0; i < BENCH_WORKERS; i++)
		f->lines[i].raw = RAW_NONE;
	for (unsigned i = 0; i < BENCH_WORKERS && rc == 0; i++)
		rc = line_init(&f->lines[i], m, i, kind, f->epoll);
	return rc;
}

static void floor_deinit(struct floor *f)
{
	for (unsigned i = 0; i < BENCH_WORKERS; i++)
		raw_close(&f->lines[i].raw);
	if (f->epoll >= 0)
		close(f->epoll);
}

static int first_questions(struct floor *f, struct line *l, const unsigned char *body, unsigned n)
{
	const uint64_t head = f->wire;
	for (unsigned i = 0; i < n; i++) {
		memcpy(l->bytes + i * f->wire, &head, sizeof head);
		memcpy(l->bytes + i * f->wire + sizeof head, body, SIZE);
	}
	f->asked += n;
	return raw_write(&l->raw, l->bytes, n * f->wire);
}

/* An answer is as long as a question, so what came back whole can be asked again. */
static int next_questions(struct floor *f, struct line *l)
{
	long n = raw_some(&l->raw, l->bytes + l->have, ROOM - l->have, 0);
	if (n <= 0)
		return n < 0 ? (int)n : -ECONNRESET;
	l->have += (size_t)n;
	size_t whole = raw_whole(l->bytes, l->have);
	int rc = 0;
	f->answered += whole / f->wire;
	if (timings_now() < f->end) {
		rc = raw_write(&l->raw, l->bytes, whole);
		f->asked += whole / f->wire;
	}
	l->have -= whole;
	memmove(l->bytes, l->bytes + whole, l->have);
	return rc;
}

static int wait_for_answers(struct floor *f)
{
	struct epoll_event events[BENCH_WORKERS];
	int n = epoll_wait(f->epoll, events, BENCH_WORKERS, -1), rc = 0;
	if (n < 0 && errno != EINTR)
		return -errno;
	for (int i = 0; i < n && rc == 0; i++)
		rc = next_questions(f, events[i].data.ptr);
	return rc;
}

static int exchange(struct bench *m, const struct row *row, struct floor *f, struct sample *ret)
{
	uint64_t begin = timings_now();
	int rc = 0;
	f->end = begin + m->span_ns;
	for (unsigned i = 0; i < BENCH_WORKERS && rc == 0; i++)
		rc = first_questions(f, &f->lines[i], m->payload, row->outstanding);
	while (rc == 0 && f->answered < f->asked)
		rc = wait_for_answers(f);
	if (rc < 0)
		return bench_failed(row, "the relay broke", rc);
	ret->values[0] = (double)f->answered / ((double)(timings_now() - begin) / 1e9);
	return 0;
}

static int run_floor(struct bench *m, const struct row *row, const char *kind, struct sample *ret)
{
	struct floor f;
	int rc = floor_init(&f, m, kind);
	if (rc < 0)
		bench_failed(row, "the floor cannot start", rc);
	else
		rc = exchange(m, row, &f, ret);
	floor_deinit(&f);
	return rc;
}

static int run_poll(struct bench *m, const struct row *row, struct sample *ret)
{
	return run_floor(m, row, "worker-poll", ret);
}

static int run_read(struct bench *m, const struct row *row, struct sample *ret)
{
	return run_floor(m, row, "worker-read", ret);
}

const struct kind bench_pool = {
	.name = "pool",
	.values = { "requests/s" },
	.contenders = { { "brood", run_brood }, { "relay+poll", run_poll }, { "relay+read", run_read } },
};
