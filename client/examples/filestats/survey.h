/*
 * survey: all files of a directory, and what the workers found in them.
 */
#ifndef SURVEY_H
#define SURVEY_H

#include "tally.h"
#include <brood.h>

#define SURVEY_HASH 32
#define SURVEY_WORKERS 64 /* at most */
#define SURVEY_HOSTS 16

enum file_state { FILE_WAITING, FILE_ASKED, FILE_DONE, FILE_UNREADABLE };

struct survey;
struct file {
	struct survey *survey; /* so that a file is all that the callback of its request needs */
	char *path;
	enum file_state state;
	unsigned tries; /* times it was handed out */
	struct tally tally;
	unsigned char sha256[SURVEY_HASH];
};

struct helper { /* a worker, as its parent sees it */
	struct survey *survey;
	brood_peer *peer; /* NULL: none runs */
	unsigned open;    /* files it was asked for and has not answered */
};

struct survey {
	brood *b;
	const char *program;             /* starts as a worker when given --worker */
	const char *hosts[SURVEY_HOSTS]; /* where workers run, in turn; none: here */
	unsigned n_hosts;
	struct file *files; /* in the order of find(1) */
	size_t n_files, room;
	size_t skipped; /* directories that could not be read */
	size_t next;    /* files before this one were handed out at least once */
	size_t *again;  /* files whose worker died; room for all */
	size_t n_again;
	size_t finished; /* done or unreadable */
	struct helper helpers[SURVEY_WORKERS];
	unsigned n_helpers, alive, ended;        /* wanted; running; that ended before the work did */
	int kill_one;                            /* kill a worker in the middle, to show that nothing is lost */
	void (*progress)(const struct survey *); /* after each file; may be NULL */
};

/* Find the regular files below `directory`, not through symbolic links. 0 or negative errno. */
int survey_find(struct survey *, const char *directory);

/* Have all of them looked into by n workers. 0: every file is done or unreadable. Else negative errno after a message.
 */
int survey_run(struct survey *, unsigned n_helpers);

void survey_deinit(struct survey *);

#endif
