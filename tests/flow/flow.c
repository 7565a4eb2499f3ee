/*
 * flow: see flow.h.
 */
#include "flow.h"
#include "papers.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

void poll_once(brood *b)
{
	if (b)
		assert_true(brood_process(b, 0) >= 0);
	nap();
}

/* ---- transports -------------------------------------------------------------------------------------------------- */

int on_unix(void **state)
{
	unsetenv("BROOD_TOKEN_FILE");
	return fixture_setup(state);
}

int on_fifo(void **state)
{
	int rc = fixture_setup_fifo(state);
	if (rc < 0)
		return rc;
	const struct fixture *f = *state;
	setenv("BROOD_ADDRESS", f->fifo, 1);
	unsetenv("BROOD_TOKEN_FILE");
	return 0;
}

int on_tcp(void **state)
{
	int rc = fixture_setup_tcp(state);
	if (rc < 0)
		return rc;
	const struct fixture *f = *state;
	setenv("BROOD_ADDRESS", f->tcp, 1);
	setenv("BROOD_TOKEN_FILE", f->token_file, 1);
	return 0;
}

int on_tls(void **state)
{
	int rc = fixture_setup_tls(state);
	if (rc < 0)
		return rc;
	const struct fixture *f = *state;
	setenv("BROOD_ADDRESS", f->tls, 1);
	unsetenv("BROOD_TOKEN_FILE");
	papers_show();
	return 0;
}

/* ---- the nursery ------------------------------------------------------------------------------------------------- */

const char *flow_host;
pid_t flow_nursery;

static int note_ready(const brood_event *e)
{
	*(int *)e->data = 1;
	return 0;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

void nursery_start(struct fixture *f, const char *configuration)
{
	static char node[64];
	char path[96];
	brood *b;
	brood_peer *p;
	int ready = 0;
	snprintf(path, sizeof path, "%s/nursery.conf", f->directory);
	write_file(path, configuration);
	flow_nursery = start_program(BROOD_ARGV(NURSERY_PROGRAM, "--config", path), NULL);
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	assert_int_equal(brood_find(b, &p, "nursery", BROOD_FIND(.on = BROOD_ON(.ready = note_ready), .data = &ready)),
			 0);
	until(b, ready);
	struct brood_peer_info i = info_of(brood_self(b));
	snprintf(node, sizeof node, "%s", i.node);
	flow_host = node;
	setenv("FLOW_HOST", node, 1); /* for children that are parents */
	brood_close(b);
	assert_int_equal(unlink(path), 0);
}

int nursery_stop(int signo)
{
	pid_t pid = flow_nursery;
	flow_nursery = 0;
	kill(pid, signo);
	return wait_program(pid);
}

int on_nursery(void **state)
{
	int rc = on_unix(state);
	if (rc == 0)
		nursery_start(*state, "[program \"*\"]\nfree-args = yes\nfree-cwd = yes\nenv = *\n");
	return rc;
}

int nursery_teardown(void **state)
{
	int status = flow_nursery ? nursery_stop(SIGTERM) : 0, rc = fixture_teardown(state);
	flow_host = NULL;
	unsetenv("FLOW_HOST");
	if (status)
		print_message("the nursery ended with %#x\n", (unsigned)status);
	return status ? -1 : rc;
}

void kill_broker_hard(struct fixture *f)
{
	assert_int_equal(fixture_stop(f, SIGKILL), SIGKILL);
	assert_int_equal(unlink(f->address + strlen("unix:")), 0);
	char path[128];
	snprintf(path, sizeof path, "%s/fifo", f->brood);
	assert_int_equal(f->fifo[0] ? unlink(path) : 0, 0);
}

/* ---- a parent and a child ---------------------------------------------------------------------------------------- */

void family_connect(struct family *f)
{
	assert_int_equal(
		brood_connect(&f->b, NULL, BROOD_OPTIONS(.on = diary_table, .data = &f->me, .flags = f->flags)), 0);
}

void family_begin(struct family *f, const char *const *argv)
{
	family_connect(f);
	assert_int_equal(brood_spawn(f->b, &f->kid, argv, BROOD_SPAWN(.on = diary_table, .data = &f->d)), 0);
}

void family_closes(struct family *f)
{
	until(f->b, f->d.n[BROOD_EVENT_CLOSE] == 1);
}

void family_end(struct family *f)
{
	brood_close(f->b);
	f->b = NULL;
	f->kid = NULL;
}

struct brood_peer_info info_of(brood_peer *p)
{
	struct brood_peer_info i;
	BROOD_INIT(i);
	assert_int_equal(brood_info(p, &i), 0);
	return i;
}

void say(brood_peer *to, const char *type, const char *text)
{
	assert_int_equal(brood_send(to, BROOD_MSG(type, text, strlen(text))), 0);
}

brood_msg *ask_peer(brood_peer *to, const char *type)
{
	brood_msg *m;
	assert_int_equal(brood_call(to, BROOD_MSG(type, NULL, 0), PATIENCE_MS, &m), 0);
	return m;
}

uint64_t ask_number(brood_peer *to, const char *type)
{
	brood_msg *m = ask_peer(to, type);
	uint64_t n = strtoull(m->text, NULL, 10);
	brood_msg_release(m);
	return n;
}

brood_msg *ask_broker(brood *b, const char *type)
{
	brood_peer *broker;
	assert_int_equal(brood_find(b, &broker, "@broker", NULL), 0);
	brood_msg *m = ask_peer(broker, type);
	brood_release(broker);
	return m;
}

/* ---- other processes --------------------------------------------------------------------------------------------- */

int process_state(pid_t pid)
{
	char path[64], line[512] = "";
	snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	size_t n = fread(line, 1, sizeof line - 1, f);
	fclose(f);
	line[n] = '\0';
	const char *end = strrchr(line, ')'); /* the name may have blanks in it */
	return end && end[1] ? end[2] : 0;
}

int process_is_dead(pid_t pid)
{
	int state = process_state(pid);
	return state == 0 || state == 'Z' || state == 'X';
}

long process_status(pid_t pid, const char *key)
{
	char path[64], line[256];
	long value = -1;
	snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, key, strlen(key)) == 0)
			value = strtol(line + strlen(key), NULL, 10);
	if (f)
		fclose(f);
	return value;
}

static void exec_program(const char *const *argv, int out)
{
	prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0L, 0L, 0L);
	if (out >= 0)
		dup2(out, 1);
	execv(argv[0], (char *const *)(uintptr_t)argv);
	perror(argv[0]);
	_exit(127);
}

pid_t start_program(const char *const *argv, int *out)
{
	int ends[2] = { -1, -1 };
	assert_true(!out || pipe2(ends, O_CLOEXEC) == 0);
	pid_t pid = fork();
	if (pid == 0)
		exec_program(argv, ends[1]);
	assert_true(pid > 0);
	if (!out)
		return pid;
	close(ends[1]);
	*out = ends[0];
	return pid;
}

int is_readable(int fd)
{
	return poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) == 1;
}

void read_numbers(int fd, long *to, size_t n)
{
	char line[1024] = "";
	size_t have = 0;
	while (!strchr(line, '\n')) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		ssize_t got = read(fd, line + have, sizeof line - 1 - have);
		assert_true(got > 0);
		have += (size_t)got;
	}
	char *at = line;
	for (size_t i = 0; i < n; i++)
		to[i] = strtol(at, &at, 10);
}

int wait_program(pid_t pid)
{
	int status = -1;
	pid_t got = 0;
	until_polled(NULL, (got = waitpid(pid, &status, WNOHANG)) != 0);
	assert_int_equal(got, pid);
	return status;
}

/* Every directory on the way lets others through. */
static int others_reach(const char *program)
{
	char path[512];
	struct stat s;
	snprintf(path, sizeof path, "%s", program);
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		int open_to_all = stat(path, &s) == 0 && s.st_mode & S_IXOTH;
		*slash = '/';
		if (!open_to_all)
			return 0;
	}
	return 1;
}

void skip_unless_others_can_run(const char *program)
{
	const char *why = geteuid() != 0           ? "only root may become another user"
			  : !others_reach(program) ? "the build's directory is closed to other users"
						   : NULL;
	if (!why)
		return;
	print_message("skipped: %s\n", why);
	skip();
}

unsigned count_fds(void)
{
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}
