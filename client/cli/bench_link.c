/*
 * bench_link: see bench_link.h. The authority is that of alpha's testbed, and the certificates are in its directory.
 */
#include "bench_link.h"
#include "tls_load.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PATIENCE_MS 10000
#define NEAR "alpha"

/* ---- configuration ----------------------------------------------------------------------------------------------- */

static int certify_node(const struct testbed *alpha, const char *node)
{
	struct certify_order order = { CERTIFY_NODE, alpha->directory, node, 2 };
	struct tls_fault why;
	char base[PATH_MAX];
	if (tls_load(&why) && tls_load(&why)->certify(&order, base, &why) == 0)
		return 0;
	fprintf(stderr, "brood bench: %s\n", why.text);
	return -EOPNOTSUPP;
}

/* Beta listens and waits to be dialed. */
static int configure(struct testbed *bed, const struct testbed *papers, const char *node, const char *peer,
		     unsigned port)
{
	FILE *f = fopen(testbed_path(bed, "broker.conf", bed->config), "we");
	const char *d = papers->directory;
	if (!f)
		return -errno;
	fprintf(f, "[broker]\nnode = %s\ntls-cert = %s/node-%s.crt\ntls-key = %s/node-%s.key\ntls-ca = %s/ca.crt\n",
		node, d, node, d, node, d);
	if (bed == papers)
		fprintf(f, "[peer \"%s\"]\nurl = tls://127.0.0.1:%u\n", peer, port);
	else
		fprintf(f, "listen = tls://127.0.0.1:%u\n[peer \"%s\"]\n", port, peer);
	return fclose(f) == EOF ? -errno : 0;
}

static int configure_both(struct testbed *alpha, struct testbed *beta)
{
	unsigned port = testbed_free_port();
	int rc = certify_node(alpha, NEAR);
	if (rc == 0)
		rc = certify_node(alpha, BENCH_FAR);
	if (rc == 0)
		rc = configure(alpha, alpha, NEAR, BENCH_FAR, port);
	return rc == 0 ? configure(beta, alpha, BENCH_FAR, NEAR, port) : rc;
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

static int write_policy(const char *path)
{
	FILE *f = fopen(path, "we");
	if (!f)
		return -errno;
	fprintf(f, "[program \"*\"]\nfree-args = yes\nfree-cwd = yes\nenv = *\nfor = *@" NEAR "\n");
	return fclose(f) == EOF ? -errno : 0;
}

static int start_nursery(struct testbed *beta)
{
	char program[TESTBED_PROGRAM], policy[TESTBED_PATH];
	int rc = testbed_program(program, "BROOD_NURSERY", "brood-nursery");
	if (rc == 0)
		rc = write_policy(testbed_path(beta, "nursery.conf", policy));
	if (rc == 0)
		rc = brood_spawn(beta->keeper, NULL,
				 BROOD_ARGV(program, "--config", policy, "--address", beta->address),
				 BROOD_SPAWN(.flags = BROOD_PLAIN));
	if (rc < 0)
		fprintf(stderr, "brood bench: cannot start a nursery, %s: %s\n", program, strerror(-rc));
	return rc;
}

int bench_link_init(struct bench_link *l, struct testbed *alpha)
{
	int rc = testbed_prepare(alpha, VIA_LINK);
	if (rc == 0)
		rc = testbed_prepare(&l->beta, VIA_UNIX);
	if (rc == 0)
		rc = configure_both(alpha, &l->beta);
	if (rc == 0)
		rc = testbed_start(&l->beta);
	if (rc == 0)
		rc = start_nursery(&l->beta);
	return rc == 0 ? testbed_start(alpha) : rc;
}

void bench_link_deinit(struct bench_link *l)
{
	testbed_deinit(&l->beta);
}

/* ---- until it is there ------------------------------------------------------------------------------------------- */

static int note_ready(const brood_event *ev)
{
	*(int *)ev->data = 1;
	return 0;
}

static time_t seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

int bench_link_await(brood *b)
{
	brood_peer *nursery;
	int ready = 0;
	time_t end = seconds() + PATIENCE_MS / 1000;
	int rc = brood_find(b, &nursery, BENCH_FAR "/nursery",
			    BROOD_FIND(.on = BROOD_ON(.ready = note_ready), .data = &ready));
	while (rc >= 0 && !ready && seconds() < end)
		rc = brood_process(b, 100);
	if (rc >= 0 && ready) {
		brood_release(nursery);
		return 0;
	}
	rc = rc < 0 ? rc : -ETIMEDOUT;
	fprintf(stderr, "brood bench: nobody answers as nursery of " BENCH_FAR ": %s\n", strerror(-rc));
	return rc;
}
