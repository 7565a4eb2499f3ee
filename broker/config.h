/*
 * config: what the command line and the environment say.
 */
#ifndef BROOD_CONFIG_H
#define BROOD_CONFIG_H

#include "address.h"
#include "log.h"
#include <limits.h>

#define CONFIG_LISTEN_MOST 8u

struct config {
	struct address listen[CONFIG_LISTEN_MOST]; /* besides the socket in the directory */
	unsigned n_listen;
	char dir[PATH_MAX];
	int private;
	unsigned away_ms; /* how long a process that lost its connection may take to come back */
	unsigned idle_ms; /* leave after so long without a session; 0: never */
	char node[NAME_MAX_LENGTH + 1];
	enum log_level level;
};

/* What to do after parsing, instead of running. */
enum config_result { CONFIG_RUN, CONFIG_HELP, CONFIG_VERSION };

/* An enum config_result, or -EINVAL with one line in `why`: what, why, next. */
int config_parse(struct config *, int argc, char **argv, char *why, size_t n);

const char *config_help(void);

#endif
