/*
 * bench_report: what `brood bench` prints of a row when all rounds are done.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench_stage.h"

#define BENCH_ROUNDS_MAX 99

struct result {
	const struct row *row;
	unsigned rounds; /* measured so far */
	struct sample samples[BENCH_CONTENDERS][BENCH_ROUNDS_MAX];
};

/* As lines of a table; with a head above it if the row is of another kind than `before` (NULL: the first). */
void bench_report_table(const struct result *, const struct kind *before);

/* As one JSON object on one line. 0, or a negative errno after a message. */
int bench_report_json(const struct result *, const char *via);

#endif
