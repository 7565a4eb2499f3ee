/*
 * bench_link: the two hosts of `brood bench --via link`. Alpha is the testbed's broker, to which we are connected; beta
 * is another one, in a directory of its own, with a nursery that starts what we ask for. Alpha dials beta over TLS on the
 * loopback device, each with the certificate of its node.
 */
#ifndef BENCH_LINK_H
#define BENCH_LINK_H

#include "testbed.h"

#define BENCH_FAR "beta" /* for brood_spawn_options.host */

struct bench_link {
	struct testbed beta;
};

/*
 * Start both brokers and the nursery, $BROOD_NURSERY or brood-nursery beside this program. 0, or a negative errno after a
 * message to stderr. In any case bench_link_deinit() and testbed_deinit() of alpha end it all.
 */
int bench_link_init(struct bench_link *, struct testbed *alpha);
void bench_link_deinit(struct bench_link *);

/* Wait until the nursery answers over the link. 0, or a negative errno after a message to stderr. */
int bench_link_await(brood *);

#endif
