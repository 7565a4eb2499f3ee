/*
 * programs: as people run them, none of which knows of brood.
 */
#include "flow.h"
#include "pattern.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUT BROOD_STDIO(BROOD_PIPE(1))

/* Run a program to its end in this directory: what it wrote, with status 0. */
static struct brood_result *run_in(const char *directory, const char *const *argv)
{
	struct brood_result *r = NULL;
	int rc = brood_exec_sync(NULL, &r, argv, BROOD_SPAWN(.cwd = directory, .timeout_ms = PATIENCE_MS));
	if (rc != 0)
		fail_msg("%s %s: %d: %s%s", argv[0], argv[1], rc, r ? r->err : "", r ? r->exit->text : "");
	return r;
}

static void test_git(void **state)
{
	static const char commit[] = "a message with 'quotes' and $dollars";
	char directory[96];
	const struct fixture *x = *state;
	struct brood_result *r;
	if (access("/usr/bin/git", X_OK) < 0) {
		print_message("git is not installed\n");
		skip();
	}
	snprintf(directory, sizeof directory, "%s/repository", x->directory);
	setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1);
	free(run_in("/", BROOD_ARGV("git", "init", "-q", "-b", "main", directory)));
	free(run_in(directory, BROOD_ARGV("git", "config", "user.email", "a@example.org")));
	free(run_in(directory, BROOD_ARGV("git", "config", "user.name", "A")));
	free(run_in(directory, BROOD_ARGV("git", "commit", "-q", "--allow-empty", "-m", commit)));
	r = run_in(directory, BROOD_ARGV("git", "log", "--format=%an: %s"));
	assert_int_equal(strncmp(r->out, "A: ", 3), 0);
	assert_int_equal(strncmp(r->out + 3, commit, strlen(commit)), 0);
	free(r);
	assert_int_equal(
		brood_exec_sync(NULL, NULL, BROOD_ARGV("git", "log", "no-such-branch"), BROOD_SPAWN(.cwd = directory)),
		128);
	free(run_in("/", BROOD_ARGV("rm", "-r", directory)));
}

/* A conversation with an interpreter. */
static void test_python(void **state)
{
	static const char script[] = "import sys\n"
				     "for line in sys.stdin:\n"
				     "    print(eval(line), flush=True)\n"
				     "print('bye')\n"
				     "sys.exit(5)\n";
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, BROOD_ARGV("python3", "-c", script), .stdio = BROOD_STDIO(BROOD_PIPE(0), BROOD_PIPE(1)));
	for (int i = 0; i < 50; i++) {
		char line[32], answer[32];
		snprintf(line, sizeof line, "%d * %d\n", i, i);
		snprintf(answer, sizeof answer, "%d\n", i * i);
		uint64_t before = f.d.output[1].bytes;
		assert_int_equal(brood_write(f.kid, 0, line, strlen(line)), 0);
		until(f.b, f.d.output[1].bytes == before + strlen(answer));
	}
	assert_int_equal(brood_end(f.kid, 0), 0);
	family_closes(&f);
	assert_non_null(strstr(f.d.output[1].text, "49\n64\n81\n"));
	assert_int_equal(f.d.exit.code, 5);
	family_end(&f);
}

/* 20 MB through gzip and back, by descriptors, one pipe wired and one output read. */
static void test_gzip(void **state)
{
	struct brood_result *zipped, *r;
	size_t n = 20000000;
	uint8_t *bytes = malloc(n);
	(void)state;
	pattern_fill(bytes, 0, n);
	assert_int_equal(brood_exec_sync(NULL, &zipped, BROOD_ARGV("gzip", "-1"),
					 BROOD_SPAWN(.input = bytes, .input_length = n, .max_output = n)),
			 0);
	assert_true(zipped->out_length < n);
	assert_int_equal(
		brood_exec_sync(NULL, &r, BROOD_ARGV("gzip", "-d"),
				BROOD_SPAWN(.input = zipped->out, .input_length = zipped->out_length, .max_output = n)),
		0);
	assert_int_equal(r->out_length, n);
	assert_memory_equal(r->out, bytes, n);
	free(r);
	assert_int_equal(brood_exec_sync(NULL, &r, BROOD_ARGV("gzip", "-d"),
					 BROOD_SPAWN(.input = zipped->out, .input_length = zipped->out_length / 2,
						     .max_output = n)),
			 1); /* cut off: it says so */
	assert_non_null(strstr(r->err, "unexpected end of file"));
	free(r);
	free(zipped);
	free(bytes);
}

/* cat | gzip | gunzip | wc, wired; a file in. */
static void test_a_pipeline_of_programs(void **state)
{
	struct family f = { 0 };
	brood_peer *p[3];
	(void)state;
	family_connect(&f);
	int input = open(KID_PROGRAM, O_RDONLY | O_CLOEXEC);
	struct stat s;
	assert_int_equal(fstat(input, &s), 0);
	assert_int_equal(
		brood_spawn(f.b, &p[0], BROOD_ARGV("cat"),
			    BROOD_SPAWN(.flags = BROOD_PLAIN, .stdio = BROOD_STDIO(BROOD_FD(0, input), BROOD_HELD(1)))),
		0);
	close(input);
	assert_int_equal(brood_spawn(f.b, &p[1], BROOD_ARGV("gzip"),
				     BROOD_SPAWN(.flags = BROOD_PLAIN,
						 .stdio = BROOD_STDIO(BROOD_FROM(0, p[0], 1), BROOD_HELD(1)))),
			 0);
	assert_int_equal(brood_spawn(f.b, &p[2], BROOD_ARGV("gzip", "-d"),
				     BROOD_SPAWN(.flags = BROOD_PLAIN,
						 .stdio = BROOD_STDIO(BROOD_FROM(0, p[1], 1), BROOD_HELD(1)))),
			 0);
	family_start(&f, BROOD_ARGV("wc", "-c"), .flags = BROOD_PLAIN,
		     .stdio = BROOD_STDIO(BROOD_FROM(0, p[2], 1), BROOD_PIPE(1)));
	family_closes(&f);
	assert_int_equal(atol(f.d.output[1].text), s.st_size);
	family_end(&f);
}

/* It will not listen. */
static void test_ignores_sigterm(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, PLAIN("stubborn"), .stdio = OUT, .grace_ms = 60);
	until(f.b, f.d.output[1].bytes > 0);
	assert_int_equal(brood_kill(f.kid, SIGTERM, 0), 0);
	assert_int_equal(brood_process(f.b, 20), 0);
	assert_false(process_is_dead(info_of(f.kid).pid));
	assert_int_equal(brood_kill(f.kid, SIGTERM, BROOD_THEN_KILL), 0);
	family_closes(&f);
	assert_int_equal(f.d.exit.signo, SIGKILL);
	family_end(&f);
}

/* A daemon leaves the group: it is not ours any more. The life line does not cover it, as documented. */
static void test_a_daemon_is_not_covered(void **state)
{
	struct family f = { 0 };
	((struct fixture *)*state)->orphans = 2;
	plain_begin(&f, PLAIN("daemon"), .stdio = OUT);
	family_closes(&f);
	assert_int_equal(f.d.exit.code, 0);
	pid_t pid = (pid_t)atol(f.d.output[1].text);
	family_end(&f);
	assert_false(process_is_dead(pid));
	kill(pid, SIGKILL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_UNIX(test_git),
		ON_UNIX(test_python),
		ON_UNIX(test_gzip),
		ON_UNIX(test_a_pipeline_of_programs),
		ON_UNIX(test_ignores_sigterm),
		ON_UNIX(test_a_daemon_is_not_covered),
	};
	return RUN("programs", tests);
}
