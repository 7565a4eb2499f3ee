/*
 * probe: would the kernel start this program? It is asked to, and the program is ended before its first instruction.
 */
#ifndef PROBE_H
#define PROBE_H

struct probe {
	const char *stage; /* "exec", "fork"; "trace": it could not be tried, and nothing is known */
	int code;          /* 0: it would; or negative errno */
};

struct probe probe_exec(const char *path, char **argv);

#endif
