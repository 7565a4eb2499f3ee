/*
 * ending: see ending.h. Only a failed exec says something about the program; a directory that is not there, for one, is
 * a failure of brood, although its errno is the same.
 */
#include "ending.h"
#include <errno.h>

int ending_status(const struct brood_exit *x)
{
	if (x->ended_by == BROOD_BY_TIMEOUT)
		return ENDING_TIMEOUT;
	if (x->cause == BROOD_EXITED)
		return x->code;
	return x->cause == BROOD_SIGNALED ? ENDING_SIGNAL + x->signo : ENDING_FAILED;
}

int ending_of_error(const struct brood_error *e)
{
	if (strcmp(e->name, "spawn.exec") != 0)
		return ENDING_FAILED;
	return e->code == -ENOENT ? ENDING_NOT_FOUND : ENDING_CANNOT_EXECUTE;
}

static const char *cause(int ended_by)
{
	static const char *const names[] = {
		[BROOD_BY_ITSELF] = "itself", [BROOD_BY_KILL] = "kill",       [BROOD_BY_TIMEOUT] = "timeout",
		[BROOD_BY_OUTPUT] = "output", [BROOD_BY_UNREADY] = "unready", [BROOD_BY_MEMORY] = "memory",
	};
	return ended_by >= 0 && ended_by < (int)(sizeof names / sizeof *names) ? names[ended_by] : "other";
}

json_t *ending_json(const struct brood_exit *x, int status)
{
	return json_pack("{s:i, s:i, s:b, s:I, s:I, s:I, s:I, s:s, s:i}", "code", x->code, "signal", x->signo, "core",
			 x->core, "wall_ms", (json_int_t)x->wall_ms, "user_us", (json_int_t)x->user_us, "system_us",
			 (json_int_t)x->system_us, "max_rss_kib", (json_int_t)x->max_rss_kib, "ended_by",
			 cause(x->ended_by), "status", status);
}

json_t *ending_error_json(const struct brood_error *e, int status)
{
	return json_pack("{s:s, s:i, s:s, s:s, s:i}", "error", e->name, "code", e->code, "text", e->text, "hint",
			 e->hint, "status", status);
}
