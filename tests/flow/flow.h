/*
 * flow: what the tests of the library share: a parent with one child, waiting for a condition, all transports, and a
 * look at other processes. The child is the program child.c, whose first argument says how it behaves.
 */
#ifndef FLOW_H
#define FLOW_H

#include "test.h"

#include "diary.h"
#include "fixture.h"
#include <brood.h>
#include <errno.h>
#include <signal.h>

#define PATIENCE_MS 20000 /* much longer than anything takes; a wait that ends here is a failure */
#define BUSY_MS 4000      /* what a machine that has too much to do may add to a time that was promised */

uint64_t now_ms(void);
void nap(void); /* a millisecond */

/* Do `work` until the condition holds. The rest of the time is `left_`, in ms. */
#define until_by(condition, work)                                                                                      \
	do {                                                                                                           \
		uint64_t end_ = now_ms() + PATIENCE_MS, at_;                                                           \
		int holds_;                                                                                            \
		while (!(holds_ = !!(condition)) && (at_ = now_ms()) < end_) {                                         \
			int left_ = (int)(end_ - at_);                                                                 \
			(void)left_;                                                                                   \
			work;                                                                                          \
		}                                                                                                      \
		_assert_true((LargestIntegralType)holds_, #condition, __FILE__, __LINE__);                             \
	} while (0)

/* Let the handle work until the condition holds. It is the handle that must wake up: nothing here polls. */
#define until(b, condition) until_by(condition, assert_true(brood_process(b, left_ + 1) >= 0))

/* The same where the condition is about another process: the handle works and it is asked every millisecond. b may be
 * NULL. */
#define until_polled(b, condition) until_by(condition, poll_once(b))
void poll_once(brood *);

/* ---- transports -------------------------------------------------------------------------------------------------- */

/*
 * Setups: $BROOD_ADDRESS is the broker's Unix socket, its directory, its TCP port (and $BROOD_TOKEN_FILE its cookie), or
 * its TLS port; there the client shows a certificate of this user.
 */
int on_unix(void **state);
int on_fifo(void **state);
int on_tcp(void **state);
int on_tls(void **state);

/*
 * A broker, and a nursery on it that starts any program for this user. family_start() and its like then start their
 * children through that, with all that parent and child know of each other: flow_host is the node.
 */
int on_nursery(void **state);
int nursery_teardown(void **state);
extern const char *flow_host; /* NULL: here */
extern pid_t flow_nursery;
/* Start the nursery with this configuration, and wait until it is there. */
void nursery_start(struct fixture *, const char *configuration);
/* End it by this signal: its wait status. */
int nursery_stop(int signo);

/* Options for another host, and for this test's: whatever is written so goes there. */
#define BROOD_SPAWN_TO(host_, ...)                                                                                     \
	(&(const struct brood_spawn_options){                                                                          \
		.size = sizeof(struct brood_spawn_options), .host = (host_), __VA_ARGS__ })
#undef BROOD_SPAWN
#define BROOD_SPAWN(...) BROOD_SPAWN_TO(flow_host, __VA_ARGS__)

/* SIGKILL the fixture's broker, and remove the socket and the FIFO that it could not. */
void kill_broker_hard(struct fixture *);

#define ON_TRANSPORT(test, name)                                                                                       \
	{                                                                                                              \
#test " (" #name ")", test, on_##name, fixture_teardown, NULL                                          \
	}
#define ON_UNIX(test) ON_TRANSPORT(test, unix)
#define ON_FIFO(test) ON_TRANSPORT(test, fifo)
#define ON_TCP(test) ON_TRANSPORT(test, tcp)
#define ON_TLS(test) ON_TRANSPORT(test, tls)
/* Once over each: what reaches other hosts, and everything. */
#ifdef BROOD_TLS
#define ON_NET(test) ON_TCP(test), ON_TLS(test)
#else
#define ON_NET(test) ON_TCP(test)
#endif
#define ON_NURSERY(test)                                                                                               \
	{                                                                                                              \
#test " (nursery)", test, on_nursery, nursery_teardown, NULL                                           \
	}
/* Without another host, and with one: the nursery's. */
#define ON_ALL_HERE(test) ON_UNIX(test), ON_FIFO(test), ON_NET(test)
#define ON_ALL(test) ON_ALL_HERE(test), ON_NURSERY(test)
#define ON_HOSTS(test) ON_UNIX(test), ON_NURSERY(test)

/* The end of main(argc, argv): all tests, or those that match the pattern in argv[1]. */
#define RUN(name, tests)                                                                                               \
	(cmocka_set_test_filter(argc > 1 ? argv[1] : NULL), cmocka_run_group_tests_name(name, tests, NULL, NULL))

/* ---- a parent and a child ---------------------------------------------------------------------------------------- */

/* KID_PROGRAM is the path of child.c's program. */
#define KID(...) BROOD_ARGV(KID_PROGRAM, __VA_ARGS__)

struct family {
	brood *b;
	brood_peer *kid;
	struct diary me, d; /* what the handle and the child said */
	unsigned flags;     /* for brood_connect() */
};

/* Connect and start the child. Both have diaries, which may have `also` set before. */
void family_begin(struct family *, const char *const *argv);
/* Connect only. */
void family_connect(struct family *);
/* Start the child, with a diary and these options. */
#define family_start(f, argv, ...)                                                                                     \
	assert_int_equal(                                                                                              \
		brood_spawn((f)->b, &(f)->kid, argv, BROOD_SPAWN(.on = diary_table, .data = &(f)->d, __VA_ARGS__)), 0)
/* A program that knows nothing of brood: plain.c, whose first argument says what it does. */
#define PLAIN(...) BROOD_ARGV(PLAIN_PROGRAM, __VA_ARGS__)
/* Connect, and start such a program. */
#define plain_begin(f, argv, ...) (family_connect(f), family_start(f, argv, .flags = BROOD_PLAIN, __VA_ARGS__))
/* Until its CLOSE was told. */
void family_closes(struct family *);
/* Close the handle. */
void family_end(struct family *);

/* What brood_info() says of it. */
struct brood_peer_info info_of(brood_peer *);

/* Send a text with this type; the call must succeed. */
void say(brood_peer *, const char *type, const char *text);

/* Ask the child for a number: brood_call() with this type must succeed with a decimal number. */
uint64_t ask_number(brood_peer *, const char *type);
/* The answer to a request of this type without a body, to be released: the call must succeed. And that of @broker. */
brood_msg *ask_peer(brood_peer *, const char *type);
brood_msg *ask_broker(brood *, const char *type);

/* ---- other processes --------------------------------------------------------------------------------------------- */

/* Its state as in /proc/PID/stat: 'R', 'S', 'T', 'Z' ...; 0 if there is no such process. */
int process_state(pid_t);
/* It does not run (any more): no such process, or dead and not yet reaped. */
int process_is_dead(pid_t);
/* One number of /proc/PID/status, such as "VmRSS:" (KiB). -1 if there is none. */
long process_status(pid_t, const char *key);

/* Memory that a process may have grown by and still counts as not growing: sanitizers never give memory back at once. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_SLACK_KIB (400 * 1024) /* the quarantine alone is 256 MiB */
#else
#define MEMORY_SLACK_KIB (2 * 1024)
#endif

/* Start a program without the library: its pid, and in *out the read end of its standard output (if out is not NULL). */
pid_t start_program(const char *const *argv, int *out);
int is_readable(int fd);
/* Read a line with n numbers within PATIENCE_MS. */
void read_numbers(int fd, long *to, size_t n);
/* Its wait status, within PATIENCE_MS. */
int wait_program(pid_t);

/* Skip the test, and say why, unless root runs it and others may run programs from where we are. */
void skip_unless_others_can_run(const char *program);

/* Descriptors that this process has open. */
unsigned count_fds(void);

#endif
