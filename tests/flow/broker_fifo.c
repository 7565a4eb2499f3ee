/*
 * broker_fifo: named pipes as their clients see them: the handshake by hand, hellos that are none, hang-ups at both ends,
 * and many clients. Every test has a broker of its own.
 */
#include "guard.h"
#include "leftovers.h"
#include "message.h"
#include "wire.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define CROWD 1000

struct bench {
	struct wire_broker broker;
	char address[96];
	int directory;
	struct wire witness; /* connected all the time */
};

static void hello(struct wire *w, unsigned ids)
{
	Brood__Hello hello = BROOD__HELLO__INIT;

	hello.pid = (uint32_t)getpid();
	hello.ids = ids;
	wire_hello(w, &hello);
}

static int begin(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	wire_broker_init(&b->broker);
	wire_broker_start(&b->broker, (const char *[]){ "--listen", "fifo:", NULL });
	snprintf(b->address, sizeof(b->address), "fifo:%s", b->broker.dir);
	b->directory = open(b->broker.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	wire_connect(&b->witness, b->address);
	hello(&b->witness, 0);
	*state = b;
	return 0;
}

static int end(void **state)
{
	struct bench *b = *state;
	struct stat st;

	wire_leave(&b->witness);
	assert_int_equal(leftovers_pairs(b->broker.dir), 0);
	if (b->broker.pid > 0) {
		assert_int_equal(wire_broker_stop(&b->broker, SIGTERM), 0);
		assert_int_equal(fstatat(b->directory, "fifo", &st, 0), -1);
	}
	wire_broker_deinit(&b->broker);
	close(b->directory);
	free(b);
	return 0;
}

/* The broker answers those it knows, and newcomers. */
static void all_is_well(struct bench *b)
{
	struct wire w;

	hello(&b->witness, 1);
	wire_connect(&w, b->address);
	hello(&w, 0);
	wire_data(&w, b->witness.id, 1, "well?");
	wire_expect_data(&b->witness, w.id, "well?");
	wire_leave(&w);
	wire_expect_gone(&b->witness, w.id, BROOD__WHY__WHY_LEFT);
}

/* Write to the rendezvous as anybody could. */
static void rendezvous(const struct bench *b, const void *bytes, size_t n)
{
	int fd = openat(b->directory, "fifo", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

static void say(const struct bench *b, const char *text)
{
	rendezvous(b, text, strlen(text));
}

/*
 * The handshake.
 */

/* As README says, without knock.c. */
static void test_by_hand(void **state)
{
	struct bench *b = *state;
	struct wire w;
	struct stat st;
	int in, out, hold;

	assert_int_equal(fstatat(b->directory, "fifo", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISFIFO(st.st_mode) && (st.st_mode & 07777) == 0600);
	assert_int_equal(mkfifoat(b->directory, "fifo-by-hand.up", 0600), 0);
	assert_int_equal(mkfifoat(b->directory, "fifo-by-hand.down", 0600), 0);
	in = openat(b->directory, "fifo-by-hand.down", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	hold = openat(b->directory, "fifo-by-hand.up", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	out = openat(b->directory, "fifo-by-hand.up", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	say(b, "\nbrood 1 fifo-by-hand\n");
	wire_take_pair(&w, in, out);
	hello(&w, 0);
	assert_int_equal(leftovers_pairs(b->broker.dir), 0);
	close(hold);
	wire_data(&w, b->witness.id, 1, "by hand");
	wire_expect_data(&b->witness, w.id, "by hand");
	wire_leave(&w);
	wire_expect_gone(&b->witness, w.id, BROOD__WHY__WHY_LEFT);
}

/*
 * Those that mean no good.
 */

static void make(const struct bench *b, const char *file)
{
	assert_int_equal(mkfifoat(b->directory, file, 0600), 0);
}

static void make_file(const struct bench *b, const char *file)
{
	assert_int_equal(close(openat(b->directory, file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
}

static void remove_files(const struct bench *b, const char *const *files)
{
	for (; *files; files++)
		unlinkat(b->directory, *files, unlinkat(b->directory, *files, 0) < 0 ? AT_REMOVEDIR : 0);
}

static void test_hellos_that_are_none(void **state)
{
	static const char *const lines[] = {
		"\n",
		"\nhello\n",
		"\nbrood 1 \n",
		"\nbrood 2 fifo-x\n",
		"\nbrood 1 ../fifo-x\n",
		"\nbrood 1 fifo-x/../../x\n",
		"\nbrood 1 /tmp/fifo-x\n",
		"\nbrood 1 sock\n",
		"\nbrood 1 fifo-nobody\n",
		"\nbrood 1 fifo-torn",
		"brood 1 fi",
	};
	struct bench *b = *state;
	char *flood = malloc(1 << 20);

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		say(b, lines[i]);
		all_is_well(b);
	}
	rendezvous(b, "\nbrood 1 fifo-\0x\n", 17);
	all_is_well(b);
	memset(flood, 'x', 1 << 20); /* a line that never ends */
	rendezvous(b, flood, 1 << 20);
	all_is_well(b);
	free(flood);
}

/* What lies under the name is not what a client makes. It is left alone, and so is what it leads to. */
static void test_names_of_something_else(void **state)
{
	static const char *const files[] = { "fifo-a.up",   "fifo-a.down", "fifo-b.up",   "fifo-b.down",
					     "fifo-c.down", "fifo-d.down", "fifo-e.down", "fifo-f.up",
					     "fifo-f.down", "there.up",    "there.down",  NULL };
	struct bench *b = *state;
	struct stat st;
	int reader;

	make_file(b, "fifo-a.up"); /* plain files */
	make_file(b, "fifo-a.down");
	assert_int_equal(symlinkat("fifo", b->directory, "fifo-b.up"), 0); /* links, one of them to the rendezvous */
	assert_int_equal(symlinkat("lock", b->directory, "fifo-b.down"), 0);
	assert_int_equal(mkdirat(b->directory, "fifo-c.down", 0700), 0);
	assert_int_equal(symlinkat("/dev/tty", b->directory, "fifo-d.down"), 0);
	say(b, "\nbrood 1 fifo-a\n\nbrood 1 fifo-b\n\nbrood 1 fifo-c\n\nbrood 1 fifo-d\n");
	all_is_well(b);
	for (int i = 0; i < 6; i++)
		assert_int_equal(fstatat(b->directory, files[i], &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(fstatat(b->directory, "lock", &st, 0), 0);
	assert_true(st.st_size > 0);
	/* Links to two FIFOs that would do. */
	make(b, "there.up");
	make(b, "there.down");
	assert_int_equal(symlinkat("there.up", b->directory, "fifo-f.up"), 0);
	assert_int_equal(symlinkat("there.down", b->directory, "fifo-f.down"), 0);
	reader = openat(b->directory, "there.down", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	say(b, "\nbrood 1 fifo-f\n");
	all_is_well(b);
	assert_int_equal(openat(b->directory, "there.up", O_WRONLY | O_NONBLOCK | O_CLOEXEC), -1); /* nobody reads it */
	assert_int_equal(errno, ENXIO);
	close(reader);
	/* Half a pair. */
	make(b, "fifo-e.down");
	reader = openat(b->directory, "fifo-e.down", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	say(b, "\nbrood 1 fifo-e\n");
	all_is_well(b);
	assert_int_equal(fstatat(b->directory, "fifo-e.down", &st, 0), -1);
	close(reader);
	remove_files(b, files);
}

static void test_pair_of_another_user(void **state)
{
	static const char *const files[] = { "fifo-x.up", "fifo-x.down", NULL };
	struct bench *b = *state;
	struct pollfd reader = { .events = POLLIN };
	struct stat st;

	if (geteuid() != 0) {
		print_message("skipped: only root can give files away\n");
		skip();
	}
	for (int i = 0; i < 2; i++) {
		make(b, files[i]);
		assert_int_equal(fchownat(b->directory, files[i], 65534, 65534, 0), 0);
	}
	reader.fd = openat(b->directory, "fifo-x.down", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	say(b, "\nbrood 1 fifo-x\n");
	all_is_well(b);
	(void)poll(&reader, 1, 0);
	assert_false(reader.revents & POLLIN);
	assert_int_equal(openat(b->directory, "fifo-x.up", O_WRONLY | O_NONBLOCK | O_CLOEXEC),
			 -1);       /* nobody reads it */
	for (int i = 0; i < 2; i++) /* neither taken nor removed */
		assert_int_equal(fstatat(b->directory, files[i], &st, AT_SYMLINK_NOFOLLOW), 0);
	close(reader.fd);
	remove_files(b, files);
}

static void test_taken_once(void **state)
{
	struct bench *b = *state;
	struct wire w;
	char line[80];

	wire_connect(&w, b->address);
	snprintf(line, sizeof(line), "\nbrood 1 %s\n", w.knock.name);
	say(b, line); /* again */
	hello(&w, 0);
	all_is_well(b);
	wire_leave(&w);
}

/* It says nothing: as over other transports, for 5 s. */
static void test_silent(void **state)
{
	struct bench *b = *state;
	struct wire w;

	wire_connect(&w, b->address);
	wire_expect_refused(&w, "hello.timeout");
	wire_close(&w);
}

/* The highest number that a process has given a descriptor. */
static unsigned highest_fd(pid_t pid)
{
	char path[64];
	unsigned highest = 0;
	const struct dirent *fd;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	fds = opendir(path);
	while ((fd = readdir(fds)))
		if ((unsigned)atoi(fd->d_name) > highest)
			highest = (unsigned)atoi(fd->d_name);
	closedir(fds);
	return highest;
}

static void test_broker_has_no_descriptor(void **state)
{
	struct bench *b = *state;
	struct rlimit old, few;
	Brood__Hello nobody = BROOD__HELLO__INIT;
	struct wire *w = calloc(CROWD, sizeof(*w));
	struct frame f;
	int n = 0, unheard = 0, heard;

	assert_int_equal(prlimit(b->broker.pid, RLIMIT_NOFILE, NULL, &old), 0);
	few = (struct rlimit){ highest_fd(b->broker.pid) + 1, old.rlim_max };
	assert_int_equal(prlimit(b->broker.pid, RLIMIT_NOFILE, &few, NULL), 0);
	do { /* there is room for some, between what it inherited */
		assert_true(n < CROWD);
		wire_connect(&w[n], b->address);
		wire_say(&w[n], FRAME_HELLO, &nobody.base, -1);
		heard = wire_next(&w[n], &f, PATIENCE_MS);
		if (heard == 1)
			continue;
		/* Its last descriptor may just be in use for something else: then there is no word, only the end. */
		assert_int_equal(heard, 0);
		assert_true(++unheard < 3);
		wire_close(&w[n]);
		f.kind = FRAME_HELLO_OK;
		n--;
	} while (f.kind == FRAME_HELLO_OK && ++n >= 0);
	assert_int_equal(f.kind, FRAME_GOODBYE);
	for (unsigned waited = 0; leftovers_pairs(b->broker.dir) > 0; waited++) { /* they go behind the last word */
		assert_true(waited < PATIENCE_MS);
		usleep(1000);
	}
	wire_close(&w[n]);
	for (heard = 0; heard == 0;) { /* and again: what was given up is there again */
		wire_connect(&w[n], b->address);
		wire_say(&w[n], FRAME_HELLO, &nobody.base, -1);
		heard = wire_next(&w[n], &f, PATIENCE_MS);
		if (heard == 0) {
			assert_true(++unheard < 6);
			wire_close(&w[n]);
		}
	}
	assert_int_equal(f.kind, FRAME_GOODBYE);
	for (; n >= 0; n--)
		wire_close(&w[n]);
	free(w);
	assert_int_equal(prlimit(b->broker.pid, RLIMIT_NOFILE, &old, NULL), 0);
	all_is_well(b);
}

/*
 * Hang-ups.
 */

/* It died between making its pair and being heard. */
static void test_client_died_before(void **state)
{
	struct bench *b = *state;

	make(b, "fifo-dead.up");
	make(b, "fifo-dead.down");
	say(b, "\nbrood 1 fifo-dead\n");
	all_is_well(b);
	assert_int_equal(leftovers_pairs(b->broker.dir), 0);
}

static void test_client_is_killed(void **state)
{
	struct bench *b = *state;
	struct wire w;
	struct frame f;
	int ready[2];
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		wire_connect(&w, b->address);
		hello(&w, 0);
		wire_data(&w, b->witness.id, 1, "last words");
		(void)!write(ready[1], "x", 1);
		pause();
	}
	assert_int_equal(read(ready[0], &w, 1), 1);
	kill(pid, SIGKILL);
	f = wire_expect(&b->witness, FRAME_DATA);
	wire_expect_gone(&b->witness, f.source, BROOD__WHY__WHY_LOST);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
}

static void test_broker_is_killed(void **state)
{
	struct bench *b = *state;
	struct pollfd p = { .fd = b->witness.channel.in_fd, .events = POLLIN };
	struct frame f;

	assert_int_equal(wire_broker_stop(&b->broker, SIGKILL), -SIGKILL);
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(p.revents, POLLHUP);
	assert_int_equal(wire_next(&b->witness, &f, PATIENCE_MS), 0);
	p = (struct pollfd){ .fd = b->witness.channel.out_fd, .events = POLLOUT };
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_true(p.revents & POLLERR);
	/* The next one makes a FIFO of its own, and lets us in. */
	wire_close(&b->witness);
	wire_broker_start(&b->broker, (const char *[]){ "--listen", b->address, NULL });
	wire_connect(&b->witness, b->address);
	hello(&b->witness, 0);
}

/* A stopped broker does not open the pair, and then it dies: the rendezvous shows that. */
static void test_broker_is_killed_before_it_came(void **state)
{
	struct bench *b = *state;
	struct pollfd p = { .events = 0 };
	struct wire w;

	assert_int_equal(kill(b->broker.pid, SIGSTOP), 0);
	wire_connect(&w, b->address);
	assert_int_equal(leftovers_pairs(b->broker.dir), 2);
	p.fd = w.knock.rendezvous;
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(wire_broker_stop(&b->broker, SIGKILL), -SIGKILL);
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_true(knock_is_vain(&w.knock, w.channel.in_fd, w.channel.out_fd));
	wire_close(&w);
	assert_int_equal(leftovers_pairs(b->broker.dir), 0);
	wire_close(&b->witness);
	wire_broker_start(&b->broker, (const char *[]){ "--listen", "fifo:", NULL });
	wire_connect(&b->witness, b->address);
	hello(&b->witness, 0);
}

/* How the process has files of this ending open: O_RDONLY, O_WRONLY or O_RDWR, each as a bit. */
static unsigned modes_of(pid_t pid, const char *ending)
{
	char path[64], link[300], file[512];
	unsigned modes = 0;
	struct dirent *fd;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	fds = opendir(path);
	while ((fd = readdir(fds))) {
		struct stat st;
		ssize_t n;

		snprintf(file, sizeof(file), "%s/%s", path, fd->d_name);
		n = readlink(file, link, sizeof(link) - 1);
		link[n > 0 ? n : 0] = '\0';
		if (!strstr(link, ending) || lstat(file, &st) < 0)
			continue;
		modes |= st.st_mode & 0400 && st.st_mode & 0200 ? 4 : st.st_mode & 0200 ? 2 : 1;
	}
	closedir(fds);
	return modes;
}

static void test_nobody_has_both_ends(void **state)
{
	struct bench *b = *state;

	assert_int_equal(modes_of(b->broker.pid, ".up (deleted)"), 1);
	assert_int_equal(modes_of(b->broker.pid, ".down (deleted)"), 2);
	assert_int_equal(modes_of(getpid(), ".up (deleted)"), 2);
	assert_int_equal(modes_of(getpid(), ".down (deleted)"), 1);
}

/*
 * Many, and much.
 */

static unsigned fds_of(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	fds = opendir(path);
	while (readdir(fds))
		n++;
	closedir(fds);
	return n;
}

static void test_a_thousand(void **state)
{
	struct bench *b = *state;
	struct wire *all = calloc(CROWD, sizeof(*all));
	Brood__Hello nobody = BROOD__HELLO__INIT;
	struct rlimit limit;
	unsigned before = fds_of(b->broker.pid);
	int left = 0;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < 6 * CROWD) {
		print_message("skipped: the limit of open files is too low\n");
		skip();
	}
	for (unsigned i = 0; i < CROWD; i++) { /* nobody waits for an answer before all are there */
		wire_connect(&all[i], b->address);
		wire_say(&all[i], FRAME_HELLO, &nobody.base, -1);
	}
	for (unsigned i = 0; i < CROWD; i++) {
		Brood__HelloOk *ok = wire_expect_body(&all[i], FRAME_HELLO_OK, &brood__hello_ok__descriptor);

		all[i].id = ok->id;
		guard_free(&ok->base);
		wire_data(&all[i], b->witness.id, 1, "one of many");
	}
	assert_true(fds_of(b->broker.pid) >= 2 * CROWD);
	for (unsigned i = 0; i < CROWD; i++)
		assert_int_equal(wire_expect(&b->witness, FRAME_DATA).kind, FRAME_DATA);
	print_message("the last pipe has %d bytes\n", fcntl(all[CROWD - 1].channel.in_fd, F_GETPIPE_SZ));
	for (unsigned i = 0; i < CROWD; i++) {
		wire_data(&b->witness, all[i].id, 1, "you");
		wire_expect_data(&all[i], b->witness.id, "you");
	}
	for (unsigned i = 0; i < CROWD; i++)
		wire_close(&all[i]);
	for (; left < CROWD; left++)
		assert_int_equal(wire_expect(&b->witness, FRAME_GONE).kind, FRAME_GONE);
	for (int i = 0; i < PATIENCE_MS && fds_of(b->broker.pid) > before; i++)
		usleep(1000);                         /* it closes at the end of its turn */
	assert_true(fds_of(b->broker.pid) <= before); /* then it had one of an earlier connection, perhaps */
	free(all);
}

/* As pipe number 1024 of a user is, and smaller. Whole frames come out, and the broker makes room where it may. */
static void test_small_pipes(void **state)
{
	enum { FRAMES = 24, LENGTH = 100000 };
	static _Alignas(8) uint8_t body[LENGTH + 64];
	struct bench *b = *state;
	struct item it = { .kind = ITEM_MESSAGE, .length = LENGTH };
	struct frame head = { .kind = FRAME_DATA }, f;
	struct wire w;

	wire_connect(&w, b->address);
	hello(&w, 0);
	assert_int_equal(fcntl(w.channel.out_fd, F_SETPIPE_SZ, 4096), 4096);
	assert_int_equal(fcntl(b->witness.channel.in_fd, F_SETPIPE_SZ, 4096), 4096);
	head.destination = b->witness.id;
	head.length = (uint32_t)item_size(it.kind, 0, it.length);
	memset(item_write(body, &it), 'm', LENGTH);
	for (unsigned i = 0; i < FRAMES; i++) {
		head.sequence = i + 1;
		wire_send(&w, &head, body, -1);
	}
	for (unsigned i = 0; i < FRAMES; i++) {
		f = wire_expect(&b->witness, FRAME_DATA);
		assert_int_equal(f.sequence, i + 1);
		assert_memory_equal(f.body, body, head.length);
	}
	assert_true(fcntl(b->witness.channel.in_fd, F_GETPIPE_SZ) > 4096);
	wire_leave(&w);
	wire_expect_gone(&b->witness, w.id, BROOD__WHY__WHY_LEFT);
}

/*
 * Starting.
 */

static void test_where(void **state)
{
	struct wire_broker b;
	char text[1024], listen[160];

	(void)state;
	wire_broker_init(&b);
	assert_int_equal(wire_broker_try(&b, (const char *[]){ "--listen", "fifo:/tmp", NULL }, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "own directory"));
	assert_int_equal(wire_broker_try(&b, (const char *[]){ "--listen", "fifo:tmp", NULL }, text, sizeof(text)), 2);
	assert_non_null(strstr(text, "not absolute"));
	snprintf(listen, sizeof(listen), "fifo:%s", b.dir);
	wire_broker_start(&b, (const char *[]){ "--listen", listen, "--listen", "fifo:", NULL });
	wire_broker_deinit(&b);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH(test_by_hand),
		WITH(test_hellos_that_are_none),
		WITH(test_names_of_something_else),
		WITH(test_pair_of_another_user),
		WITH(test_taken_once),
		WITH(test_silent),
		WITH(test_broker_has_no_descriptor),
		WITH(test_client_died_before),
		WITH(test_client_is_killed),
		WITH(test_broker_is_killed),
		WITH(test_broker_is_killed_before_it_came),
		WITH(test_nobody_has_both_ends),
		WITH(test_a_thousand),
		WITH(test_small_pipes),
		cmocka_unit_test(test_where),
	};

	signal(SIGPIPE, SIG_IGN);
	cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
	return cmocka_run_group_tests_name("broker_fifo", tests, NULL, NULL);
}
