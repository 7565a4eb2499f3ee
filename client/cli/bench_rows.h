/*
 * bench_rows: what `brood bench` can measure, each in the file of its name.
 */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include "bench_stage.h"

extern const struct kind bench_round_trip, bench_one_way, bench_pool;
extern const struct kind bench_spawn_exit, bench_spawn_channel, bench_spawn_message, bench_spawn_far;

#endif
