/*
 * fixture: a real broker for one test, in a directory of its own, and the proof that the test left nothing behind.
 *
 *   cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
 *   static void test(void **state) { struct fixture *f = *state; ... brood_connect(&b, NULL, NULL) ... }
 *
 * $BROOD_ADDRESS leads to the broker, so a program under test needs no argument. The teardown fails the test unless the
 * broker left with status 0 after SIGTERM, no process remains, no descriptor is open that was not before, and nothing
 * is in the directory but the broker's own state.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "leftovers.h"
#include <sys/types.h>

struct fixture {
	char directory[48];  /* 0700; $XDG_RUNTIME_DIR */
	char brood[64];      /* the broker's directory in it */
	char address[96];    /* "unix:..." */
	char tcp[48];        /* "tcp://127.0.0.1:PORT", or "" */
	char fifo[96];       /* "fifo:DIRECTORY", or "" */
	char tls[48];        /* "tls://localhost:PORT", or "" */
	char token_file[96]; /* for tcp */
	const char *more[6]; /* flags for the next start, up to the first NULL */
	pid_t broker;        /* 0: not running */
	unsigned away_ms;    /* how long it waits for those who are lost; 0: its default. For the next start */
	int log_fd;          /* what the broker said, shown when something is wrong */
	int orphans;         /* dead grandchildren that may come to us; -1: any number. Set by the test, 0 at first */
	struct leftovers before;
};

/*
 * For cmocka. A broker on a Unix socket; on a loopback TCP port too; on FIFOs too; on a TLS port too, with the certificates
 * of papers.h; none yet, and no address, so that one may start itself.
 */
int fixture_setup(void **state);
int fixture_setup_tcp(void **state);
int fixture_setup_fifo(void **state);
int fixture_setup_tls(void **state);
int fixture_setup_empty(void **state);
int fixture_teardown(void **state);

/* Start the broker (again) at the same addresses and wait until it listens. 0 or -1, after a message. */
int fixture_start(struct fixture *);

/* Send the broker a signal and wait until it is gone. Its wait status, or -1 if it took longer than 10 s. */
int fixture_stop(struct fixture *, int signo);

#endif
