/*
 * fault: see fault.h. Names that come over the wire are mapped to the table's own strings, so a fault never points into
 * a frame.
 */
#include "fault.h"
#include "error.h"
#include <stdarg.h>
#include <stdio.h>

void fault_clear(struct fault *f)
{
	f->error = (struct brood_error){ 0, "", f->text, "" };
	f->text[0] = '\0';
}

/* One line, whatever a program, a path or another process put into it. */
static void make_one_line(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

static void set(struct fault *f, int code, const char *name, const char *format, va_list args)
{
	const struct error_reason *reason = error_reason(name);
	f->error.code = code ? code : reason->code;
	f->error.name = reason->name;
	f->error.hint = reason->hint;
	f->error.text = f->text;
	(void)vsnprintf(f->text, sizeof(f->text), format, args);
	make_one_line(f->text);
}

void fault_set(struct fault *f, const char *name, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	set(f, 0, name, format, args);
	va_end(args);
}

void fault_set_code(struct fault *f, int code, const char *name, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	set(f, code, name, format, args);
	va_end(args);
}

const char *fault_path(const char *path, char to[FAULT_PATH])
{
	size_t n = strlen(path);
	if (n < FAULT_PATH)
		return path;
	snprintf(to, FAULT_PATH, "...%s", path + n - (FAULT_PATH - 4));
	return to;
}

void fault_copy(struct fault *to, const struct fault *from)
{
	if (!from) {
		fault_clear(to);
		return;
	}
	memcpy(to->text, from->text, sizeof(to->text));
	to->error = from->error;
	to->error.text = to->text;
}
