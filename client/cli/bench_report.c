/*
 * bench_report: medians, and ratios as speeds: 1.00 is as fast as the floor, less is slower, whether what was measured
 * are times or rates. A ratio is that of the medians of each contender's first value.
 */
#include "bench_report.h"
#include "output.h"
#include "timings.h"
#include <stdio.h>

static unsigned count_contenders(const struct kind *k)
{
	unsigned n = 0;
	while (n < BENCH_CONTENDERS && k->contenders[n].name)
		n++;
	return n;
}

static double median(const struct result *r, unsigned contender, unsigned value)
{
	double values[BENCH_ROUNDS_MAX];
	for (unsigned i = 0; i < r->rounds; i++)
		values[i] = r->samples[contender][i].values[value];
	return r->rounds ? timings_median(values, r->rounds) : 0;
}

static uint64_t lost(const struct result *r, unsigned contender)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < r->rounds; i++)
		sum += r->samples[contender][i].lost;
	return sum;
}

/* Speed of brood as a part of the contender's. */
static double ratio(const struct result *r, unsigned contender)
{
	double own = median(r, 0, 0), other = median(r, contender, 0);
	if (own <= 0 || other <= 0)
		return 0;
	return r->row->kind->is_time ? other / own : own / other;
}

/* ---- for people -------------------------------------------------------------------------------------------------- */

static void print_head(const struct kind *k)
{
	printf("\n%-20s %-12s", "", "");
	for (unsigned v = 0; v < BENCH_VALUES; v++)
		printf(" %10s", k->values[v] ? k->values[v] : "");
	printf(" %7s %6s\n", "RATIO", "LOST");
}

static void print_value(double value)
{
	printf(value < 10 ? " %10.3f" : value < 1000 ? " %10.1f" : " %10.0f", value);
}

static void print_contender(const struct result *r, unsigned contender)
{
	const struct kind *k = r->row->kind;
	printf("%-20s %-12s", contender == 0 ? r->row->name : "", k->contenders[contender].name);
	for (unsigned v = 0; v < BENCH_VALUES; v++)
		if (k->values[v])
			print_value(median(r, contender, v));
		else
			printf(" %10s", "");
	if (contender == 0)
		printf(" %7s %6llu\n", "", (unsigned long long)lost(r, contender));
	else
		printf(" %7.2f %6llu\n", ratio(r, contender), (unsigned long long)lost(r, contender));
}

void bench_report_table(const struct result *r, const struct kind *before)
{
	if (r->row->kind != before)
		print_head(r->row->kind);
	for (unsigned c = 0; c < count_contenders(r->row->kind); c++)
		print_contender(r, c);
	fflush(stdout);
}

/* ---- for programs ------------------------------------------------------------------------------------------------ */

static json_t *contender_as_json(const struct result *r, unsigned contender)
{
	const struct kind *k = r->row->kind;
	json_t *o = json_pack("{s:s}", "name", k->contenders[contender].name);
	for (unsigned v = 0; v < BENCH_VALUES; v++)
		if (k->values[v])
			json_object_set_new(o, k->values[v], json_real(median(r, contender, v)));
	json_object_set_new(o, "lost", json_integer((json_int_t)lost(r, contender)));
	if (contender > 0)
		json_object_set_new(o, "ratio", json_real(ratio(r, contender)));
	return o;
}

int bench_report_json(const struct result *r, const char *via)
{
	json_t *all = json_array();
	for (unsigned c = 0; c < count_contenders(r->row->kind); c++)
		json_array_append_new(all, contender_as_json(r, c));
	return output_json(json_pack("{s:s, s:s, s:I, s:i, s:i, s:o}", "row", r->row->name, "via", via, "size",
				     (json_int_t)r->row->size, "outstanding", (int)r->row->outstanding, "rounds",
				     (int)r->rounds, "contenders", all));
}
