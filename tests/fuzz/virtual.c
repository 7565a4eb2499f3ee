/*
 * virtual: see virtual.h. The definition here is the one that everybody in the process gets, libevent too.
 */
#include "virtual.h"
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BEGIN_MS 1000000u

static uint64_t now_ms = BEGIN_MS, flow_ms;

void virtual_begin(void)
{
	now_ms = BEGIN_MS;
}

void virtual_pass(uint64_t ms)
{
	now_ms += ms;
}

void virtual_flow(uint64_t ms)
{
	flow_ms = ms;
}

/* Of the clocks that the product asks for periods of time. Others are for libFuzzer and the log. */
__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *ret)
{
	if (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE && id != CLOCK_BOOTTIME)
		return (int)syscall(SYS_clock_gettime, id, ret);
	now_ms += flow_ms;
	ret->tv_sec = (time_t)(now_ms / 1000);
	ret->tv_nsec = (long)(now_ms % 1000) * 1000000;
	return 0;
}
