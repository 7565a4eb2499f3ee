/*
 * bench_stage: a broker, a relay and eight children, all started before the first measurement and idle between them; or
 * two brokers, two relays and one child.
 */
#include "bench_stage.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

size_t bench_wire_size(size_t body, int is_request)
{
	return 8 + (is_request ? 16u : 0u) + ((body + 8) & ~(size_t)7);
}

int bench_failed(const struct row *row, const char *what, int rc)
{
	fprintf(stderr, "brood bench: %s: %s: %s\n", row->name, what, strerror(-rc));
	return rc;
}

int bench_serve_floor(struct bench *m, unsigned worker, const char *kind, size_t number)
{
	char task[256];
	brood_msg *reply;
	int n = snprintf(task, sizeof task, "%s %s %zu", kind, m->far_place, number);
	int rc = brood_call(m->workers[worker].peer, BROOD_MSG("floor", task, (size_t)n), BENCH_WAIT_MS, &reply);
	if (rc < 0)
		return rc;
	brood_msg_release(reply);
	return 0;
}

/* Of a process so far, in ns. */
static uint64_t cpu_of(pid_t pid)
{
	clockid_t clock;
	struct timespec t = { 0 };
	if (clock_getcpuclockid(pid, &clock) == 0)
		clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t bench_cpu(const struct bench *m, const struct middle *middle)
{
	uint64_t sum = cpu_of(getpid()) + cpu_of(m->workers[0].pid);
	for (size_t i = 0; i < sizeof middle->pids / sizeof *middle->pids; i++)
		sum += middle->pids[i] ? cpu_of(middle->pids[i]) : 0;
	return sum;
}

static pid_t pid_of(brood_peer *peer)
{
	struct brood_peer_info info;
	BROOD_INIT(info);
	return brood_info(peer, &info) == 0 ? info.pid : 0;
}

/* Over TLS it has the broker's certificate, which nobody else of ours may show. */
static int start_relay(struct bench *m, const char *role, const char *place, const char *wire, pid_t *pid)
{
	brood_peer *relay;
	char crt[TESTBED_PATH + 32], key[TESTBED_PATH + 32];
	const char *const *argv =
		BROOD_ARGV(m->self, "bench", "--via", via_name(m->bed.via), "--role", role, place, wire);
	snprintf(crt, sizeof crt, "BROOD_TLS_CERT=%s", m->bed.certificate);
	snprintf(key, sizeof key, "BROOD_TLS_KEY=%s", m->bed.key);
	int rc = brood_spawn(m->bed.keeper, &relay, argv,
			     BROOD_SPAWN(.flags = BROOD_PLAIN, .env_add = BROOD_ARGV(crt, key)));
	if (rc < 0)
		return rc;
	*pid = pid_of(relay);
	return 0;
}

/* One for both ends; or one at each host, and a wire between them. */
static int start_relays(struct bench *m)
{
	char wire[TESTBED_PATH];
	testbed_path(&m->bed, "relay", m->relay_place);
	testbed_path(m->host ? &m->link.beta : &m->bed, "relay", m->far_place);
	if (!m->host)
		return start_relay(m, "relay", m->relay_place, NULL, &m->relays.pids[0]);
	testbed_path(&m->bed, "wire", wire);
	int rc = start_relay(m, "relay-far", m->far_place, wire, &m->relays.pids[1]);
	return rc == 0 ? start_relay(m, "relay-near", m->relay_place, wire, &m->relays.pids[0]) : rc;
}

/* A worker counts as started when it has answered. */
static int start_worker(struct bench *m, struct worker *w)
{
	brood_msg *reply;
	int rc = brood_spawn(m->b, &w->peer, BROOD_ARGV(m->self, "bench", "--role", "worker"),
			     BROOD_SPAWN(.host = m->host));
	if (rc == 0)
		rc = brood_call(w->peer, BROOD_MSG("tally", NULL, 0), BENCH_WAIT_MS, &reply);
	if (rc < 0)
		return rc;
	brood_msg_release(reply);
	w->pid = pid_of(w->peer);
	return w->pid ? 0 : -ESRCH;
}

static int start_workers(struct bench *m)
{
	int rc = 0;
	for (unsigned i = 0; i < (m->host ? 1 : BENCH_WORKERS) && rc == 0; i++)
		rc = start_worker(m, &m->workers[i]);
	return rc;
}

static int connect_to_broker(struct bench *m)
{
	const struct testbed *t = &m->bed;
	const char *address = t->also[0] ? t->also : t->address;
	const char *token = t->via == VIA_TCP || t->via == VIA_TLS ? t->token : NULL;
	/* Somebody must take the events of the children: they are skipped here, and requests end in their callbacks. */
	return brood_connect(&m->b, address, BROOD_OPTIONS(.on = BROOD_ON(0), .token_file = token));
}

static int start_brokers(struct bench *m, enum via via)
{
	m->host = via == VIA_LINK ? BENCH_FAR : NULL;
	int rc = m->host ? bench_link_init(&m->link, &m->bed) : testbed_init(&m->bed, via);
	if (rc == 0)
		m->brokers.pids[0] = pid_of(m->bed.process);
	if (rc == 0 && m->host)
		m->brokers.pids[1] = pid_of(m->link.beta.process);
	return rc;
}

static int start_clients(struct bench *m)
{
	int rc = connect_to_broker(m);
	if (rc == 0 && m->host)
		rc = bench_link_await(m->b);
	if (rc == 0)
		rc = start_workers(m);
	if (rc < 0)
		fprintf(stderr, "brood bench: %s\n", m->b ? brood_last_error(m->b)->text : strerror(-rc));
	return rc;
}

int bench_init(struct bench *m, double seconds, enum via via)
{
	ssize_t n = readlink("/proc/self/exe", m->self, sizeof m->self - 1);
	m->payload = calloc(1, BENCH_ROOM);
	m->span_ns = (uint64_t)(seconds * 1e9);
	if (n < 0 || !m->payload)
		return n < 0 ? -errno : -ENOMEM;
	int rc = sched_getaffinity(0, sizeof m->processors, &m->processors) < 0 ? -errno : 0;
	if (rc < 0) {
		fprintf(stderr, "brood bench: cannot tell which processors there are: %s\n", strerror(-rc));
		return rc;
	}
	rc = start_brokers(m, via);
	if (rc < 0)
		return rc;
	rc = start_relays(m);
	if (rc < 0) {
		fprintf(stderr, "brood bench: %s\n", brood_last_error(m->bed.keeper)->text);
		return rc;
	}
	return start_clients(m);
}

void bench_deinit(struct bench *m)
{
	brood_close(m->b);
	bench_link_deinit(&m->link);
	testbed_deinit(&m->bed);
	free(m->payload);
}
