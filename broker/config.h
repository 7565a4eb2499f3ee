/*
 * config: what is configured, by flags, the environment and files, in this order of precedence; and where each value is
 * from.
 */
#ifndef BROOD_CONFIG_H
#define BROOD_CONFIG_H

#include "address.h"
#include "limit.h"
#include "log.h"
#include "tls.h"
#include <limits.h>
#include <stdio.h>

#define CONFIG_LISTEN_MOST 8u
#define CONFIG_PEERS_MOST 64u
#define SETTINGS 44u      /* rows of the table in settings.c, ... */
#define NAMED_SETTINGS 3u /* ... and of those in sections that have a name */

struct origin { /* of a value */
	enum { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENVIRONMENT, ORIGIN_FLAG } kind;
	const char *name; /* of the file, the variable, the flag; NULL: a default */
	unsigned line;    /* in the file */
};

struct config_named {                          /* a section that has a name: [name "resize"] */
	const char *section;                   /* "name" */
	char name[NAME_MAX_LENGTH + 1];        /* "resize" */
	struct origin origin;                  /* of the line that begins it, the first if there are several */
	struct origin origins[NAMED_SETTINGS]; /* of the values, in the table's order */
	char *owner, *users;                   /* of a name: as written; NULL: not set */
	char *url;                             /* of a peer: where its broker listens; NULL: it dials us */
};

struct config {
	struct address listen[CONFIG_LISTEN_MOST]; /* besides the socket in the directory */
	unsigned n_listen;
	char dir[PATH_MAX];
	int private;
	uint32_t away_ms; /* how long a process that lost its connection may take to come back */
	uint32_t idle_ms; /* leave after so long without a session; 0: never */
	char node[NAME_MAX_LENGTH + 1];
	uint32_t beat_ms; /* other nodes hear from us as often */
	enum log_level level;
	int confine; /* see confine.h */
	struct limits limits;
	struct config_tls { /* absolute paths; "": none */
		char certificate[PATH_MAX], key[PATH_MAX], ca[PATH_MAX], crl[PATH_MAX];
		enum tls_clients clients;
	} tls;
	char token_file[PATH_MAX]; /* absolute; "": the cookie in the directory */
	struct config_policy {     /* as written; NULL: not set */
		char *connect, *names, *send, *parent, *list;
	} policy;
	struct config_named *named; /* in the order in which they were first seen */
	unsigned n_named;

	struct origin origins[SETTINGS]; /* in the table's order */
	char file[PATH_MAX];             /* what is read first; "" if there is no place for one */
	int file_given;                  /* by --config: it has to exist */
	char **texts;                    /* names that origins point to */
	unsigned n_texts, n_files;       /* files that were read are the first of these */
	int argc;                        /* of the command line, which stays the caller's */
	char **argv;
};

/* What to do after parsing, instead of running. */
enum config_result { CONFIG_RUN, CONFIG_HELP, CONFIG_VERSION, CONFIG_TEST, CONFIG_PRINT };

/* One line: where, what, why, next. */
typedef void config_error_fn(void *data, const char *line);

/*
 * An enum config_result, or -EINVAL after every mistake was told. config_deinit() in any case. argv has to live as long, if
 * config_again() is to be used.
 */
int config_parse(struct config *, int argc, char **argv, config_error_fn *, void *data);
/* The same command line and environment, and what the files say now. 0 or -EINVAL. */
int config_again(struct config *, const struct config *before, config_error_fn *, void *data);
/* What cannot change while the broker runs stays as it is in `now`; the differences are told. */
void config_keep_fixed(struct config *, const struct config *now, config_error_fn *, void *data);
void config_deinit(struct config *);

/* As a configuration file, each value with where it is from. */
void config_print(const struct config *, FILE *);
void config_help(FILE *);

#endif
