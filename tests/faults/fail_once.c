/*
 * fail_once: every allocation and system call of a scenario fails once, one after the other.
 *
 *   BROOD_BROKER=build/bin/broodd build/tests/fail_once MODE [--from N] [--to N] [--verbose]
 *
 * client: the call fails in a program that links the library. It may fail, and must say so; it must not hang or crash, and
 *   leaves no memory, process or session behind.
 * child: the same of the program's child. What that could not do its parent hears.
 * abroad: the same of a program whose children run on a nursery.
 * broker: the call fails in the broker while the scenario runs, and while somebody innocent is served. At most one of the
 *   two is affected; the broker lives, and leaves with status 0 when told to.
 * fifo, tcp, tls and broker_fifo, broker_tcp, broker_tls: as client and broker, where everybody reaches the broker that way.
 * start: the call fails while a broker starts. It either runs, or says why not, and leaves nothing behind.
 * nursery: the call fails in a nursery while it runs the programs of the scenario, twice. At most one of the two is affected;
 *   the nursery lives, and leaves with status 0 when told to, with no memory and no process left behind.
 * run, ask, pipe, worker: the call fails in `brood run`, `brood pipe`, `brood worker`, or in commands that ask the broker or somebody. It ends as it should, with all of
 *   its output, or with the status of a failure, and says why; nothing is left behind.
 * private, private_broker: likewise `brood run --name`, without a broker: it starts one, which leaves by itself; and the
 *   call fails in that broker.
 * near, far: the call fails in the broker here, or in the one there, while the scenario's programs run on a nursery there,
 *   twice. At most one of the two is affected, somebody innocent here is served, and all leave with status 0 when told to.
 */
#include "fixture.h"
#include "hosts.h"
#include "papers.h"
#include <brood.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define STEP_MS 1
#ifdef BROOD_TLS
#define HAVE_TLS 1
#else
#define HAVE_TLS 0
#endif

static unsigned long from = 1, up_to = 100000;
static int verbose;

struct outcome { /* what the shim wrote */
	unsigned long count;
	char failed[64]; /* "none": there are no such many calls */
	unsigned live;
	char from[4096]; /* who made the call: addresses, for addr2line(1) */
};

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = STEP_MS * 1000000 }, NULL);
}

static void result_path(const struct fixture *f, char to[96])
{
	snprintf(to, 96, "%s/faults", f->directory);
}

static int read_outcome(const struct fixture *f, struct outcome *o)
{
	char path[96];
	result_path(f, path);
	FILE *file = fopen(path, "re");
	*o = (struct outcome){ .failed = "none" };
	if (!file)
		return -1;
	int n = fscanf(file, "count %lu\nfailed %63[^\n]\nlive %u\n", &o->count, o->failed, &o->live);
	o->from[fread(o->from, 1, sizeof o->from - 1, file)] = '\0';
	fclose(file);
	unlink(path);
	return n == 3 ? 0 : -1;
}

static void set_faults(const struct fixture *f, const char *of, unsigned long at, int wait)
{
	char path[96], number[24];
	result_path(f, path);
	snprintf(number, sizeof number, "%lu", at);
	setenv("FAULTS_OF", of, 1);
	setenv("FAULTS_AT", number, 1);
	setenv("FAULTS_TO", path, 1);
	setenv("LD_PRELOAD", SHIM, 1);
	if (wait)
		setenv("FAULTS_WAIT", "1", 1);
}

static void unset_faults(void)
{
	static const char *const names[] = { "FAULTS_OF",   "FAULTS_AT",    "FAULTS_TO",
					     "FAULTS_WAIT", "FAULTS_CHILD", "LD_PRELOAD" };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unsetenv(names[i]);
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

static pid_t start_to(const char *const *argv, int out, int said)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0L, 0L, 0L);
	dup2(out, 1);
	dup2(said, 2);
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

static pid_t start(const char *const *argv, int said)
{
	return start_to(argv, said, said);
}

/* Its wait status; -1: it hangs, and was killed. */
static int await(pid_t pid)
{
	int status;
	for (int waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		nap();
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

static int has_ended(pid_t pid)
{
	siginfo_t info = { 0 };
	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid;
}

/* Orphans come to us. 1 if all ended by themselves. */
static int no_orphans(const pid_t *known, size_t n)
{
	for (int waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
		siginfo_t info = { 0 };
		int rc = waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT);
		if (rc == 0 && info.si_pid) {
			for (size_t i = 0; i < n; i++)
				if (known[i] == info.si_pid)
					return 0; /* one that should live */
			waitpid(info.si_pid, NULL, 0);
			continue;
		}
		unsigned others = 0;
		char path[64], line[4096] = "";
		snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t got = read(fd, line, sizeof line - 1);
		close(fd);
		line[got > 0 ? got : 0] = '\0';
		for (char *at = strtok(line, " "); at; at = strtok(NULL, " "))
			others++;
		if (others == n)
			return 1;
		nap();
	}
	return 0;
}

static unsigned broker_fds(const struct fixture *f)
{
	char path[64];
	unsigned n = 0;
	for (int fd = 0; fd < 256; fd++) {
		snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)f->broker, fd);
		n += faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	}
	return n;
}

/* When whoever has just left is gone there, too. */
static unsigned settled_fds(const struct fixture *f)
{
	unsigned n = broker_fds(f), now;
	for (int still = 0; still < 100; still++, nap())
		if ((now = broker_fds(f)) != n) {
			n = now;
			still = 0;
		}
	return n;
}

/* ---- somebody innocent ------------------------------------------------------------------------------------------- */

struct innocent {
	pid_t server;
	brood *b;
	brood_peer *peer;
};

static int is_served(struct innocent *i)
{
	brood_msg *m;
	int rc = brood_call(i->peer, BROOD_MSG("echo", "x", 1), 10000, &m);
	if (rc == 0)
		brood_msg_release(m);
	return rc == 0;
}

static int innocent_begin(struct innocent *i)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	i->server = start(BROOD_ARGV(KID_PROGRAM, "named", "innocent"), null);
	close(null);
	if (brood_connect(&i->b, NULL, NULL) < 0 ||
	    brood_find(i->b, &i->peer, "innocent", BROOD_FIND(.wait_ms = PATIENCE_MS)) < 0)
		return 0;
	return is_served(i);
}

static void innocent_end(struct innocent *i)
{
	brood_close(i->b);
	kill(i->server, SIGKILL);
	waitpid(i->server, NULL, 0);
}

/* ---- what is wrong ----------------------------------------------------------------------------------------------- */

static void show(int fd)
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof text, 0);
	if (n > 0)
		fprintf(stderr, "%.*s", (int)n, text);
}

static int complain(unsigned long at, const struct outcome *o, int said, const char *what, long value)
{
	fprintf(stderr, "fail_once: call %lu (%s): %s (%ld)\n%s", at, o->failed, what, value, o->from);
	show(said);
	return 1;
}

/* What happened, of one call alone also what was said, and who made it. */
static void tell(unsigned long at, const struct outcome *o, int said, int status)
{
	fprintf(stderr, "%lu of %lu: %s: status %d\n", at, o->count, o->failed, status);
	if (from < up_to)
		return;
	fputs(o->from, stderr);
	show(said);
}

static int is_orderly(int status)
{
	return status >= 0 && WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3);
}

static int new_file(const struct fixture *f)
{
	return open(f->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

/* ---- the modes --------------------------------------------------------------------------------------------------- */

struct run {
	struct fixture *f;
	struct innocent innocent;
	int in_child;  /* it is the scenario's child whose call fails */
	pid_t nursery; /* 0: none */
	char host[64]; /* where its programs run */
	unsigned fds;
	const struct command *command; /* of the command line */
	int in_broker;                 /* that it starts: whose call fails */
	unsigned long n, told, wrong;
	int over;
};

/* What somebody knows who sees the others: they are as they were. */
static int judge_others(struct run *r, unsigned long at, const struct outcome *o, int said)
{
	const pid_t known[] = { r->f->broker, r->innocent.server, r->nursery };
	size_t n = !r->f->broker ? 0 : r->nursery ? 3 : 2;
	if (!no_orphans(known, n))
		return complain(at, o, said, "a process was left behind", 0);
	if (n == 0)
		return 0;
	if (!is_served(&r->innocent))
		return complain(at, o, said, "somebody innocent is not served", 0);
	for (int waited = 0; broker_fds(r->f) != r->fds; waited += STEP_MS) {
		if (waited > PATIENCE_MS)
			return complain(at, o, said, "the broker still has its descriptors", (long)broker_fds(r->f));
		nap();
	}
	return 0;
}

static int judge_client(struct run *r, unsigned long at, int status, const struct outcome *o, int said)
{
	if (!is_orderly(status))
		return complain(at, o, said, "crashed, hung or never heard", status);
	if (strcmp(o->failed, "none") == 0 && status != 0)
		return complain(at, o, said, "failed without a reason", status);
	if (o->live > 0)
		return complain(at, o, said, "memory was left behind: blocks", (long)o->live);
	return judge_others(r, at, o, said);
}

static void client_once(struct run *r, unsigned long at)
{
	struct outcome o;
	int said = new_file(r->f);
	set_faults(r->f, "libbrood.so libbrood-tls.so", at, 0);
	if (r->in_child) {
		setenv("FAULTS_CHILD", "LD_PRELOAD=" SHIM, 1);
		unsetenv("LD_PRELOAD");
	}
	pid_t pid = start(r->nursery ? BROOD_ARGV(SCENARIO, r->host) : BROOD_ARGV(SCENARIO), said);
	unset_faults();
	int status = await(pid);
	(void)read_outcome(r->f, &o);
	r->over = strcmp(o.failed, "none") == 0;
	r->told += status != 0;
	r->wrong += (unsigned)judge_client(r, at, status, &o, said);
	if (verbose)
		tell(at, &o, said, status);
	close(said);
}

static int judge_broker(struct run *r, unsigned long at, int status, int served, int left, const struct outcome *o,
			int said)
{
	if (!is_orderly(status))
		return complain(at, o, said, "the scenario crashed, hung or never heard", status);
	if (status != 0 && !served)
		return complain(at, o, said, "two were affected", status);
	if (left != 0)
		return complain(at, o, r->f->log_fd, "the broker did not live and leave in order", left);
	return 0;
}

static void broker_once(struct run *r, unsigned long at)
{
	struct outcome o;
	int said = new_file(r->f);
	set_faults(r->f, "broodd", at, 1);
	int rc = fixture_start(r->f);
	unset_faults();
	if (rc < 0 || !innocent_begin(&r->innocent)) {
		fprintf(stderr, "fail_once: the broker did not start\n");
		exit(1);
	}
	kill(r->f->broker, SIGWINCH);
	pid_t pid = start(BROOD_ARGV(SCENARIO), said);
	int served = is_served(&r->innocent);
	int status = await(pid);
	int still_served = is_served(&r->innocent);
	innocent_end(&r->innocent);
	int left = fixture_stop(r->f, SIGTERM);
	(void)read_outcome(r->f, &o);
	r->over = strcmp(o.failed, "none") == 0;
	r->told += status != 0;
	r->wrong += (unsigned)judge_broker(r, at, status, served && still_served, left, &o, said);
	if (verbose)
		fprintf(stderr, "%lu of %lu: %s: status %d, served %d\n", at, o.count, o.failed, status, served);
	close(said);
}

static void start_once(struct run *r, unsigned long at)
{
	struct outcome o;
	int said = new_file(r->f), status = 0, waited;
	char path[96], socket[96];
	snprintf(path, sizeof path, "%s/tcp", r->f->brood);
	snprintf(socket, sizeof socket, "%s/sock", r->f->brood);
	unlink(path);
	set_faults(r->f, "broodd", at, 0);
	pid_t pid =
		start(BROOD_ARGV(getenv("BROOD_BROKER"), "--dir", r->f->brood, "--listen", "tcp://127.0.0.1:0"), said);
	unset_faults();
	for (waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
		if (access(path, F_OK) == 0 || has_ended(pid))
			break;
		nap();
	}
	kill(pid, SIGTERM);
	status = await(pid);
	(void)read_outcome(r->f, &o);
	r->over = strcmp(o.failed, "none") == 0;
	r->told += status != 0;
	if (status < 0 || !WIFEXITED(status) || WEXITSTATUS(status) > 2)
		r->wrong += (unsigned)complain(at, &o, said, "it crashed or hung", status);
	else if (status != 0 && lseek(said, 0, SEEK_END) == 0)
		r->wrong += (unsigned)complain(at, &o, said, "it failed without a word", status);
	else if (status != 0 && unlink(socket) == 0)
		r->wrong += (unsigned)complain(at, &o, said, "it failed, and its socket is left behind", status);
	if (verbose)
		tell(at, &o, said, status);
	close(said);
}

static void write_configuration(const char *path)
{
	FILE *f = fopen(path, "we");
	if (!f || fputs("[program \"*\"]\nfree-args = yes\nfree-cwd = yes\nfor = *@*\n", f) < 0 || fclose(f) != 0) {
		perror(path);
		exit(1);
	}
}

/* The node's name when the nursery is there, whatever it answers. */
static int find_nursery(const char *name, char *host, size_t n)
{
	struct brood_peer_info self = { .size = sizeof self };
	brood *b;
	brood_peer *p;
	brood_msg *m = NULL;
	if (brood_connect(&b, NULL, NULL) < 0 || brood_find(b, &p, name, BROOD_FIND(.wait_ms = PATIENCE_MS)) < 0)
		return 0;
	int rc = brood_call(p, BROOD_MSG("are.you.there", "", 0), PATIENCE_MS, &m);
	brood_msg_release(m);
	(void)brood_info(brood_self(b), &self);
	snprintf(host, n, "%s", self.node);
	brood_close(b);
	return rc != -ETIMEDOUT && *host;
}

static int judge_nursery(struct run *r, unsigned long at, const int status[2], int left, const struct outcome *o,
			 int said)
{
	const pid_t known[] = { r->f->broker, r->innocent.server };
	if (!is_orderly(status[0]) || !is_orderly(status[1]))
		return complain(at, o, said, "the scenario crashed, hung or never heard", status[0]);
	if (status[0] != 0 && status[1] != 0)
		return complain(at, o, said, "two were affected", status[1]);
	if (left != 0)
		return complain(at, o, said, "the nursery did not live and leave in order", left);
	if (o->live > 0)
		return complain(at, o, said, "memory was left behind: blocks", (long)o->live);
	if (!no_orphans(known, 2))
		return complain(at, o, said, "a process was left behind", 0);
	return 0;
}

/* Its host in *host, when it is there. */
static pid_t start_nursery(const struct run *r, int said, char *host, size_t n)
{
	char path[96];
	snprintf(path, sizeof path, "%s/nursery.conf", r->f->directory);
	write_configuration(path);
	pid_t pid = start(BROOD_ARGV(NURSERY_PROGRAM, "--config", path), said);
	unset_faults();
	if (!find_nursery("nursery", host, n)) {
		fprintf(stderr, "fail_once: the nursery did not start\n");
		exit(1);
	}
	unlink(path);
	return pid;
}

static void twice(const char *host, int said, int status[2])
{
	for (int i = 0; i < 2; i++)
		status[i] = await(start(BROOD_ARGV(SCENARIO, host), said));
}

static void note_twice(struct run *r, unsigned long at, const int status[2], const struct outcome *o)
{
	r->over = strcmp(o->failed, "none") == 0;
	r->told += status[0] != 0 || status[1] != 0;
	if (verbose)
		fprintf(stderr, "%lu of %lu: %s: status %d, %d\n", at, o->count, o->failed, status[0], status[1]);
}

static void nursery_once(struct run *r, unsigned long at)
{
	struct outcome o;
	int said = new_file(r->f), status[2];
	char host[64];
	set_faults(r->f, "brood-nursery", at, 1);
	pid_t nursery = start_nursery(r, said, host, sizeof host);
	kill(nursery, SIGWINCH);
	twice(host, said, status);
	kill(nursery, SIGTERM);
	int left = await(nursery);
	(void)read_outcome(r->f, &o);
	r->wrong += (unsigned)judge_nursery(r, at, status, left, &o, said);
	note_twice(r, at, status, &o);
	close(said);
}

static struct hosts hosts;

/* left: how the nursery, the broker here, and the one there ended. A nursery that its broker refused has ended, and said why. */
static int judge_link(unsigned long at, const int status[2], int served, const int left[3], const struct outcome *o,
		      int said)
{
	int refused = left[0] > 0 && WIFEXITED(left[0]) && WEXITSTATUS(left[0]) == 1;
	if (!is_orderly(status[0]) || !is_orderly(status[1]))
		return complain(at, o, said, "the scenario crashed, hung or never heard", status[0]);
	if (status[0] != 0 && status[1] != 0 && !refused)
		return complain(at, o, said, "two were affected", status[1]);
	if (!served)
		return complain(at, o, said, "somebody innocent is not served", 0);
	if (left[0] != 0 && !refused)
		return complain(at, o, said, "the nursery did not live and leave in order", left[0]);
	if (left[1] != 0 || left[2] != 0)
		return complain(at, o, said, "a broker did not live and leave in order", left[1] | left[2]);
	return 0;
}

static void use_host(unsigned i)
{
	setenv("BROOD_ADDRESS", hosts.all[i].address, 1);
}

static void link_once(struct run *r, unsigned long at, unsigned faulty)
{
	struct outcome o;
	int said = new_file(r->f), status[2], left[3];
	char host[64];
	host_start(&hosts, ALPHA + BETA - faulty);
	set_faults(r->f, "broodd", at, 1);
	host_start(&hosts, faulty);
	unset_faults();
	use_host(BETA);
	pid_t nursery = start_nursery(r, said, host, sizeof host);
	use_host(ALPHA);
	if (!innocent_begin(&r->innocent) || !find_nursery("beta/nursery", host, sizeof host)) {
		fprintf(stderr, "fail_once: the brokers did not link\n");
		exit(1);
	}
	kill(hosts.all[faulty].pid, SIGWINCH);
	twice("beta", said, status);
	int served = is_served(&r->innocent);
	innocent_end(&r->innocent);
	kill(nursery, SIGTERM);
	left[0] = await(nursery);
	left[1] = host_stop(&hosts, ALPHA, SIGTERM);
	left[2] = host_stop(&hosts, BETA, SIGTERM);
	(void)read_outcome(r->f, &o);
	r->wrong += (unsigned)judge_link(at, status, served, left, &o, said);
	note_twice(r, at, status, &o);
	close(said);
}

static void near_once(struct run *r, unsigned long at)
{
	link_once(r, at, ALPHA);
}

static void far_once(struct run *r, unsigned long at)
{
	link_once(r, at, BETA);
}

/* ---- the command line -------------------------------------------------------------------------------------------- */

#define COMMAND_LINE "bin/brood libbrood.so libjansson.so libprotobuf-c.so"

/* How many answers it had to give, and what became of them. */
struct answers {
	unsigned right, failed; /* failed: whoever waits for one hears of it */
	unsigned wrong;         /* never came, or another's */
};

struct command {
	const char *const *argv;
	int status;         /* when all is well */
	int failed;         /* when not, and stderr says why */
	const char *output; /* when all is well; NULL: any ... */
	const char *never;  /* ... but this, unless stderr says why */
	/* It goes on until it is told to end: what to do with it until then. */
	void (*use)(struct run *, pid_t, struct answers *);
};

static int is_written(int fd, const char *text)
{
	char written[4096];
	ssize_t n = pread(fd, written, sizeof written, 0);
	return n == (ssize_t)strlen(text) && memcmp(written, text, (size_t)n) == 0;
}

static int has(int fd, const char *text)
{
	char written[4096];
	ssize_t n = pread(fd, written, sizeof written, 0);
	return n > 0 && memmem(written, (size_t)n, text, strlen(text));
}

static int judge_command(struct run *r, unsigned long at, int status, const struct answers *a, const struct outcome *o,
			 int out, int said)
{
	const struct command *c = r->command;
	int failed = status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == c->failed;
	int well = status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == c->status;
	if (!failed && !well)
		return complain(at, o, said, "it crashed, hung or ended as it must not", status);
	if (strcmp(o->failed, "none") == 0 && !well)
		return complain(at, o, said, "it failed without a reason", status);
	if (!well && lseek(said, 0, SEEK_END) == 0)
		return complain(at, o, said, "it failed without a word", status);
	if (well && ((c->output && !is_written(out, c->output)) ||
		     (c->never && has(out, c->never) && lseek(said, 0, SEEK_END) == 0))) {
		show(out);
		return complain(at, o, said, "its output is not what it should be, and it says nothing", status);
	}
	if (a->wrong > 0)
		return complain(at, o, said, "answers never came, or were another's", (long)a->wrong);
	if (well && a->failed > 0 && lseek(said, 0, SEEK_END) == 0)
		return complain(at, o, said, "not all was answered, and it says nothing", (long)a->failed);
	if ((unlink("in") == 0) + (unlink("out") == 0) > 0 && lseek(said, 0, SEEK_END) == 0)
		return complain(at, o, said, "it leaves its pipes behind", status);
	return judge_others(r, at, o, said);
}

static void command_once(struct run *r, unsigned long at)
{
	struct outcome o;
	int out = new_file(r->f), said = new_file(r->f);
	set_faults(r->f, r->in_broker ? "broodd" : COMMAND_LINE, at, 0);
	if (r->in_broker)
		unsetenv("LD_PRELOAD");
	struct answers a = { 0 };
	pid_t pid = start_to(r->command->argv, out, said);
	unset_faults();
	if (r->command->use) {
		r->command->use(r, pid, &a);
		kill(pid, SIGTERM);
	}
	/* What it has said to us it waits for us to take. */
	for (int waited = 0; !has_ended(pid) && waited < PATIENCE_MS; waited += STEP_MS, nap())
		(void)brood_process(r->innocent.b, 0);
	int status = await(pid);
	if (!r->f->broker)
		(void)no_orphans(NULL, 0); /* the broker that it started tells at its end */
	(void)read_outcome(r->f, &o);
	r->over = strcmp(o.failed, "none") == 0;
	r->told += status != r->command->status << 8;
	r->wrong += (unsigned)judge_command(r, at, status, &a, &o, out, said);
	if (verbose)
		tell(at, &o, said, status);
	close(out);
	close(said);
}

#define BROOD(...) BROOD_ARGV(BROOD_PROGRAM, __VA_ARGS__)
#define SHELL "sh", "-c", "echo some output; exit 7"

static const struct command runs[] = {
	{ .argv = BROOD("run", "--", SHELL), .status = 7, .failed = 125, .output = "some output\n" },
	{ .argv = BROOD("run", "--name", "kid", "--", SHELL), .status = 7, .failed = 125, .output = "some output\n" },
	{ .argv = BROOD("run", "--json", "--timeout", "10ms", "--", "sleep", "100"),
	  .status = 124,
	  .failed = 125,
	  .output = "" },
	{ .argv = BROOD("run", "--detach", "--", "true"), .failed = 125 },
	{ .argv = BROOD("run", "--tty", "--", SHELL), .status = 7, .failed = 125, .output = "some output\r\n" },
	{ .argv = NULL },
};

static const struct command starters[] = {
	{ .argv = BROOD("run", "--name", "kid", "--", SHELL), .status = 7, .failed = 125, .output = "some output\n" },
	{ .argv = NULL },
};

static const struct command questions[] = {
	{ .argv = BROOD("request", "--type", "echo", "innocent", "hello"), .failed = 1, .output = "hello" },
	{ .argv = BROOD("request", "--json", "--type", "echo", "innocent", "hello"),
	  .failed = 1,
	  .output = "{\"type\":\"echo\",\"body\":\"hello\"}\n" },
	{ .argv = BROOD("send", "--json", "innocent", "hello"),
	  .failed = 1,
	  .output = "{\"to\":\"innocent\",\"type\":\"text\",\"length\":5}\n" },
	{ .argv = BROOD("ps", "--json"), .failed = 1, .never = "\"node\":\"\"" },
	{ .argv = NULL },
};

/* ---- those that go on until they are told to end ------------------------------------------------------------------ */

static void ask_worker(struct run *r, pid_t pid, struct answers *a, const char *text, const char *expected)
{
	brood_peer *worker;
	brood_msg *m = NULL;
	int rc = -ESRCH;
	for (int waited = 0; rc == -ESRCH && !has_ended(pid) && waited < PATIENCE_MS; waited += STEP_MS, nap()) {
		if (brood_find(r->innocent.b, &worker, "upper", NULL) < 0)
			break;
		rc = brood_call(worker, BROOD_TEXT(text), PATIENCE_MS, &m);
		brood_release(worker);
	}
	if (rc == 0 && strcmp(m->text, expected) == 0)
		a->right++;
	else if (rc == 0 || rc == -ETIMEDOUT)
		a->wrong++; /* else we heard why */
	brood_msg_release(m);
}

static void use_worker(struct run *r, pid_t pid, struct answers *a)
{
	brood_peer *worker;
	ask_worker(r, pid, a, "one", "ONE");
	if (brood_find(r->innocent.b, &worker, "upper", NULL) == 0) {
		(void)!brood_send(worker, BROOD_TEXT("no request"));
		brood_release(worker);
	}
	ask_worker(r, pid, a, "two", "TWO");
	ask_worker(r, pid, a, "three", "THREE");
}

/* One end of a pipe that it makes, if it does. */
static int open_end(const char *path, int how, pid_t pid)
{
	for (int waited = 0; waited < PATIENCE_MS; waited += STEP_MS, nap()) {
		int fd = open(path, how | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0 || has_ended(pid))
			return fd;
	}
	return -1;
}

static void write_in(pid_t pid, const char *text)
{
	int fd = open_end("in", O_WRONLY, pid);
	if (fd < 0)
		return;
	(void)!write(fd, text, strlen(text));
	close(fd);
}

/* A line that is empty stands for one that failed. */
static void take_line(const char *line, const char *expected, struct answers *a)
{
	if (!*line)
		a->failed++;
	else if (strcmp(line, expected) == 0)
		a->right++;
	else
		a->wrong++;
}

static const char *const three_lines[3] = { "one", "two", "three" };

/* The three, as long as it lives. */
static void read_out(struct run *r, int fd, pid_t pid, struct answers *a, int patience_ms)
{
	char text[4096] = "", *rest = text;
	size_t n = 0, line = 0;
	for (int waited = 0; line < 3 && waited < patience_ms; waited += STEP_MS, nap()) {
		int ended = has_ended(pid);
		(void)brood_process(r->innocent.b, 0);
		ssize_t got = read(fd, text + n, sizeof text - 1 - n);
		n += got > 0 ? (size_t)got : 0;
		for (char *end; line < 3 && (end = strchr(rest, '\n')); rest = end + 1) {
			*end = '\0';
			take_line(rest, three_lines[line++], a);
		}
		if (ended && got <= 0)
			break;
	}
	if (line < 3 && !has_ended(pid))
		a->wrong++;
	else
		a->failed += 3 - (unsigned)line;
}

static void use_pipes(struct run *r, pid_t pid, struct answers *a)
{
	int out = open_end("out", O_RDONLY, pid);
	write_in(pid, "one\ntwo\n");
	write_in(pid, "three\n");
	if (out >= 0)
		read_out(r, out, pid, a, PATIENCE_MS);
	else
		a->failed = 3;
	close(out);
}

static int note_line(int fd, const char *expected)
{
	char text[64];
	ssize_t n = read(fd, text, sizeof text - 1);
	text[n > 0 ? n - 1 : 0] = '\0';
	return n > 0 ? strcmp(text, expected) == 0 : -1;
}

/* What is sent to the name that it takes comes out; what does not, it has said to be lost, or we hear why. */
static void use_out(struct run *r, pid_t pid, struct answers *a)
{
	brood_peer *piper;
	int out = open_end("out", O_RDONLY, pid), rc = -1;
	if (out < 0)
		return;
	if (brood_find(r->innocent.b, &piper, "piper", BROOD_FIND(.wait_ms = PATIENCE_MS)) < 0) {
		close(out);
		return;
	}
	for (size_t i = 0; i < 3; i++) {
		if (brood_send(piper, BROOD_TEXT(three_lines[i])) < 0 || brood_sync(r->innocent.b, PATIENCE_MS) < 0)
			break; /* we heard why */
		for (int waited = 0; (rc = note_line(out, three_lines[i])) < 0 && waited < 200; waited += STEP_MS)
			nap();
		a->right += rc > 0;
		a->wrong += rc == 0;
		a->failed += rc < 0;
	}
	brood_release(piper);
	close(out);
}

static const struct command pipes[] = {
	{ .argv = BROOD("pipe", "innocent", "--request", "--type", "echo", "--in", "in", "--out", "out"),
	  .failed = 1,
	  .use = use_pipes },
	{ .argv = BROOD("pipe", "--name", "piper", "--out", "out"), .failed = 1, .use = use_out },
	{ .argv = NULL },
};

static const struct command workers[] = {
	{ .argv = BROOD("worker", "upper", "--json", "--", "sed", "-u", "s/.*/\\U&/"),
	  .failed = 125,
	  .never = "\"messages\":0",
	  .use = use_worker },
	{ .argv = NULL },
};

enum via { BY_UNIX, BY_FIFO, BY_TCP, BY_TLS };

static const struct mode {
	const char *name;
	void (*once)(struct run *, unsigned long at);
	enum via via;                   /* how everybody reaches the broker */
	int own_broker;                 /* one for all runs */
	int private;                    /* none: who needs one starts it */
	int in_broker;                  /* that is who fails */
	int linked;                     /* two brokers, on two hosts */
	int abroad;                     /* one nursery for all runs */
	int in_child;                   /* the scenario's child is who fails */
	const struct command *commands; /* of the command line, one after the other */
} modes[] = {
	{ "client", client_once, .own_broker = 1 },
	{ "child", client_once, .own_broker = 1, .in_child = 1 },
	{ "abroad", client_once, .own_broker = 1, .abroad = 1 },
	{ "broker", broker_once, .own_broker = 0 },
	{ "fifo", client_once, .own_broker = 1, .via = BY_FIFO },
	{ "tcp", client_once, .own_broker = 1, .via = BY_TCP },
	{ "tls", client_once, .own_broker = 1, .via = BY_TLS },
	{ "broker_fifo", broker_once, .via = BY_FIFO },
	{ "broker_tcp", broker_once, .via = BY_TCP },
	{ "broker_tls", broker_once, .via = BY_TLS },
	{ "start", start_once, .own_broker = 0 },
	{ "nursery", nursery_once, .own_broker = 1 },
	{ "run", command_once, .own_broker = 1, .commands = runs },
	{ "ask", command_once, .own_broker = 1, .commands = questions },
	{ "pipe", command_once, .own_broker = 1, .commands = pipes },
	{ "worker", command_once, .own_broker = 1, .commands = workers },
	{ "private", command_once, .private = 1, .commands = starters },
	{ "private_broker", command_once, .private = 1, .in_broker = 1, .commands = starters },
	{ "near", near_once, .linked = 1 },
	{ "far", far_once, .linked = 1 },
};

/* A broker runs, and everybody will go this way to it. */
static struct fixture *set_up(enum via via)
{
	static int (*const setups[])(void **) = { fixture_setup, fixture_setup_fifo, fixture_setup_tcp,
						  fixture_setup_tls };
	void *state = NULL;
	if (setups[via](&state) < 0)
		return NULL;
	struct fixture *f = state;
	const char *const addresses[] = { f->address, f->fifo, f->tcp, f->tls };
	setenv("BROOD_ADDRESS", addresses[via], 1);
	if (via == BY_TCP)
		setenv("BROOD_TOKEN_FILE", f->token_file, 1);
	if (via == BY_TLS)
		papers_show();
	return f;
}

/* $BROOD_BROKER is a script from now on that starts it with the shim. */
static void preload_broker(void)
{
	FILE *f = fopen("broker", "we");
	if (!f || fprintf(f, "#!/bin/sh\nLD_PRELOAD=%s exec %s \"$@\"\n", SHIM, getenv("BROOD_BROKER")) < 0 ||
	    fclose(f) != 0 || chmod("broker", 0700) < 0) {
		perror("broker");
		exit(1);
	}
	char path[PATH_MAX];
	setenv("BROOD_BROKER", realpath("broker", path), 1);
}

static int sweep(const struct mode *mode)
{
	struct run r = { .f = set_up(mode->via), .in_child = mode->in_child, .in_broker = mode->in_broker };
	if (!r.f || (!mode->own_broker && fixture_stop(r.f, SIGTERM) != 0))
		return 1;
	if (chdir(r.f->directory) < 0)
		return 1;
	if (mode->in_broker)
		preload_broker();
	if (mode->private) {
		unsetenv("BROOD_ADDRESS");
		setenv("BROOD_IDLE_MS", "100", 1);
	}
	if (mode->linked)
		hosts_begin(&hosts, 2, HAVE_TLS);
	if (mode->own_broker && !innocent_begin(&r.innocent))
		return 1;
	if (mode->abroad)
		r.nursery = start_nursery(&r, 2, r.host, sizeof r.host);
	r.fds = mode->own_broker ? settled_fds(r.f) : 0;
	r.command = mode->commands;
	do {
		r.over = 0;
		for (unsigned long at = from; at <= up_to && !r.over; at++, r.n++)
			mode->once(&r, at);
		r.n -= (unsigned)r.over; /* there was no such call */
	} while (r.command && (++r.command)->argv);
	if (mode->abroad) {
		kill(r.nursery, SIGTERM);
		r.wrong += await(r.nursery) != 0;
	}
	if (mode->own_broker)
		innocent_end(&r.innocent);
	if (mode->linked)
		hosts_end(&hosts);
	r.f->orphans = -1;
	printf("%s: %lu calls failed, one at a time; %lu times it was told; %lu wrong\n", mode->name, r.n, r.told,
	       r.wrong);
	void *state = r.f;
	unlink("broker");
	if (chdir("/") < 0)
		return 1;
	return fixture_teardown(&state) < 0 || r.wrong > 0 || (up_to == 100000 && !r.over);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "from", 1, NULL, 'f' }, { "to", 1, NULL, 't' }, { "verbose", 0, NULL, 'v' }, { NULL, 0, NULL, 0 }
	};
	int c;
	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (c == 'f')
			from = strtoul(optarg, NULL, 10);
		else if (c == 't')
			up_to = strtoul(optarg, NULL, 10);
		else if (c == 'v')
			verbose = 1;
		else
			return 2;
	}
	for (size_t i = 0; optind < argc && i < sizeof modes / sizeof *modes; i++)
		if (strcmp(argv[optind], modes[i].name) == 0)
			return sweep(&modes[i]);
	fprintf(stderr, "fail_once MODE [--from N] [--to N] [--verbose]\nmodes:");
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
		fprintf(stderr, " %s", modes[i].name);
	fprintf(stderr, "\n");
	return 2;
}
