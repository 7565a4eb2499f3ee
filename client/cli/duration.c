/*
 * duration: a number, perhaps with a fraction, and a unit.
 */
#include "duration.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static double unit_ms(const char *unit)
{
	static const struct {
		const char *name;
		double ms;
	} units[] = { { "", 1 }, { "ms", 1 }, { "s", 1e3 }, { "m", 6e4 }, { "h", 3.6e6 }, { "d", 8.64e7 } };
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (strcmp(unit, units[i].name) == 0)
			return units[i].ms;
	return 0;
}

long duration_ms(const char *text)
{
	size_t digits = strspn(text, "0123456789.");
	char *end;
	double ms = strtod(text, &end); /* which would also take "inf" and "0x1" */
	if (digits == 0 || end != text + digits)
		return -1;
	ms *= unit_ms(end);
	if (!(ms > 0) || ms > INT_MAX)
		return -1;
	long whole = (long)ms;
	return (double)whole < ms ? whole + 1 : whole;
}
