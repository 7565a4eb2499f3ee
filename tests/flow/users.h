/*
 * users: a broker of root's with several users, whom nobody needs to have on this machine. Tests of it are skipped unless
 * root runs them.
 */
#ifndef BROOD_USERS_H
#define BROOD_USERS_H

#include "wire.h"

#define ANN 64321u
#define BOB 64322u
#define CARL 64323u

/* cmocka's, around a test; and where a test begins. */
int users_begin(void **state);
int users_end(void **state);

#define AS_ROOT_ONLY()                                                                                                 \
	do {                                                                                                           \
		if (geteuid() != 0) {                                                                                  \
			print_message("skipped: only root can be several users\n");                                    \
			skip();                                                                                        \
		}                                                                                                      \
	} while (0)

/* The broker, with more flags (NULL-ended) than where everybody may come. */
struct wire_broker *users_start(const char *const *flags);

/* As wire_connect() and wire_open(), as this user. */
void users_connect_as(struct wire *, uid_t);
void users_open_as(struct wire *, uid_t, uint32_t ids);
/* REGISTER; the answer is this error, "" for none. */
void users_take_name(struct wire *, const char *name, const char *error);
/* The next frame tells who has this name; 0: nobody. */
uint64_t users_told_name(struct wire *, const char *name);
/* WATCH, and what it is told then. */
uint64_t users_find_name(struct wire *, const char *name);
/* How many processes @broker shows, and the first of them. sequence: 1, and one more each time. */
size_t users_list(struct wire *, uint64_t sequence, uint64_t *first);

/* With a configuration file of this text: the broker; and once more while it runs. */
struct wire_broker *users_start_with(const char *text);
/* Waits until it counts, or was refused, which is what it should be if not `right`. */
void users_reload(const char *text, int right);
/* How many lines of the log have both. */
int users_logged(const char *event, const char *words);

#endif
