/*
 * output: the few forms in which all commands print, so that an age or an amount looks the same everywhere and text
 * from other processes can neither break JSON nor play tricks with a terminal.
 */
#include "output.h"
#include "utf8.h"
#include <errno.h>
#include <stdlib.h>

int output_json_to(FILE *to, json_t *value)
{
	if (!value) {
		fputs("brood: out of memory\n", stderr);
		return -ENOMEM;
	}
	int failed = json_dumpf(value, to, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6)) < 0;
	json_decref(value);
	if (failed && !ferror(to))
		fputs("brood: out of memory\n", stderr);
	failed |= putc('\n', to) == EOF;
	failed |= fflush(to) == EOF;
	return failed ? -EIO : 0; /* that it was not written main says */
}

int output_json(json_t *value)
{
	return output_json_to(stdout, value);
}

static char *base64(const unsigned char *in, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = malloc((n + 2) / 3 * 4 + 1), *to = out;
	for (size_t i = 0; out && i < n; i += 3) {
		unsigned group = (unsigned)in[i] << 16;
		group |= i + 1 < n ? (unsigned)in[i + 1] << 8 : 0;
		group |= i + 2 < n ? in[i + 2] : 0;
		*to++ = digits[group >> 18 & 63];
		*to++ = digits[group >> 12 & 63];
		*to++ = i + 1 < n ? digits[group >> 6 & 63] : '=';
		*to++ = i + 2 < n ? digits[group & 63] : '=';
	}
	if (out)
		*to = '\0';
	return out;
}

json_t *output_json_bytes(const void *bytes, size_t length)
{
	json_t *text = json_stringn(length ? bytes : "", length);
	if (text || utf8_is_text(bytes, length)) /* it does not say whether it was the text or the memory */
		return text;
	char *encoded = base64(bytes, length);
	json_t *object = encoded ? json_pack("{s:s}", "base64", encoded) : NULL;
	free(encoded);
	return object;
}

void output_safe(const char *text, char *to, size_t size)
{
	size_t n = 0;
	for (; *text && n + 1 < size; text++)
		to[n++] = (unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text;
	if (size)
		to[n] = '\0';
}

const char *output_age(uint64_t ms, char to[OUTPUT_SHORT])
{
	static const struct {
		uint64_t below, unit;
		const char *name;
	} steps[] = {
		{ 1000, 1, "ms" },
		{ 120 * 1000, 1000, "s" },
		{ 120 * 60000, 60000, "min" },
		{ UINT64_C(48) * 3600000, 3600000, "h" },
		{ UINT64_MAX, UINT64_C(24) * 3600000, "d" },
	};
	size_t i = 0;
	while (ms >= steps[i].below && i < sizeof steps / sizeof *steps - 1)
		i++;
	snprintf(to, OUTPUT_SHORT, "%llu %s", (unsigned long long)(ms / steps[i].unit), steps[i].name);
	return to;
}

const char *output_bytes(uint64_t bytes, char to[OUTPUT_SHORT])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double amount = (double)bytes;
	size_t unit = 0;
	while (amount >= 1024 && unit < sizeof units / sizeof *units - 1) {
		amount /= 1024;
		unit++;
	}
	snprintf(to, OUTPUT_SHORT, unit ? "%.1f %s" : "%.0f %s", amount, units[unit]);
	return to;
}
