/*
 * primes-worker: counts the primes of each range that it is asked for. A handler that returns a negative errno answers
 * the request with that error, so nothing is left open when a message cannot be understood.
 */
#include "primes.pb-c.h"
#include <brood/pb.h>

static int is_prime(uint64_t n)
{
	if (n < 4)
		return n > 1;
	for (uint64_t d = 2; d * d <= n; d++)
		if (n % d == 0)
			return 0;
	return 1;
}

static int work(const brood_event *ev)
{
	const Primes__Range *range = brood_msg_pb(ev->msg, &primes__range__descriptor);
	Primes__Count count = PRIMES__COUNT__INIT;
	if (!range)
		return -errno;
	for (uint64_t n = range->first; n < range->last; n++)
		count.primes += (uint64_t)is_prime(n);
	return brood_reply_pb(ev->msg, &count.base);
}

int main(void)
{
	brood *b = NULL;
	int failed = brood_connect(&b, NULL, BROOD_OPTIONS(.on = BROOD_ON(.message = work))) < 0 || brood_run(b) < 0;
	brood_close(b);
	return failed;
}
