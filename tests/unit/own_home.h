/*
 * own_home: a broker's directory of the test's own, new before each test and gone behind it.
 */
#ifndef BROOD_OWN_HOME_H
#define BROOD_OWN_HOME_H

#include "home.h"
#include "test.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct own_home {
	char path[64];
	struct home home;
	char why[256];
};

/* Setup of a test, whose state it is. */
static inline int own_home_begin(void **state)
{
	struct own_home *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	strcpy(b->path, "/tmp/brood-home-XXXXXX");
	assert_non_null(mkdtemp(b->path));
	assert_int_equal(home_open(&b->home, b->path, b->why, sizeof(b->why)), 0);
	*state = b;
	return 0;
}

/* At the end of a teardown that removed its files: there must be no others. */
static inline int own_home_end(struct own_home *b)
{
	home_close(&b->home);
	assert_int_equal(rmdir(b->path), 0);
	free(b);
	return 0;
}

#endif
