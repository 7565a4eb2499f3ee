/*
 * filestats [DIRECTORY]: lines, words, bytes and SHA-256 of all files below a directory, by one worker per core.
 *
 * The totals are those of `find DIRECTORY -type f -print0 | xargs -0 cat | LC_ALL=C wc`: of all files as if they were
 * one, in find's order. This file is the command line and what is printed; survey.c is the parent's work, worker.c the
 * worker's. The workers are this program again, with --worker.
 */
#include "survey.h"
#include "worker.h"
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char help[] =
	"Example:\n"
	"  filestats /usr/include\n"
	"\n"
	"Usage: filestats [--list] [--json] [--workers N] [--hosts HOST,...] [--kill-one] [DIRECTORY]\n"
	"\n"
	"Print lines, words and bytes of all regular files below DIRECTORY (default:\n"
	"/usr/include), as `cat` of all of them into `LC_ALL=C wc` would.\n"
	"\n"
	"  --list       also print lines, words, bytes and SHA-256 of each file\n"
	"  --json       print objects, one per line; the totals come last\n"
	"  --workers N  1 to 64 (default: one per core)\n"
	"  --hosts ...  where they run, in turn; each host has DIRECTORY and a nursery\n"
	"  --kill-one   kill a worker in the middle; the result is the same\n"
	"\n"
	"Exit status: 0 all files were read, 1 some were not or it failed, 2 wrong arguments.\n";

struct wish {
	const char *directory;
	char *hosts; /* NULL: here */
	int list, json, kill_one;
	long workers;
};

/* ---- printing ---------------------------------------------------------------------------------------------------- */

static void show_progress(const struct survey *s)
{
	if (s->finished % 64 == 0 || s->finished == s->n_files)
		fprintf(stderr, "\r%zu of %zu files ", s->finished, s->n_files);
	if (s->finished == s->n_files)
		fputs("\r\033[K", stderr);
}

static const char *as_hex(const unsigned char *hash, char to[2 * SURVEY_HASH + 1])
{
	for (size_t i = 0; i < SURVEY_HASH; i++)
		sprintf(to + 2 * i, "%02x", hash[i]);
	return to;
}

static void print_object(json_t *object)
{
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

static json_t *tally_as_json(const struct tally *t)
{
	return json_pack("{s:I, s:I, s:I}", "lines", (json_int_t)t->lines, "words", (json_int_t)t->words, "bytes",
			 (json_int_t)t->bytes);
}

static void print_file(const struct wish *wish, const struct file *f)
{
	char hex[2 * SURVEY_HASH + 1];
	as_hex(f->sha256, hex);
	if (!wish->json) {
		printf("%7llu %7llu %9llu %s %s\n", (unsigned long long)f->tally.lines,
		       (unsigned long long)f->tally.words, (unsigned long long)f->tally.bytes, hex, f->path);
		return;
	}
	json_t *path = json_string(f->path), *object = tally_as_json(&f->tally);
	json_object_set_new(object, "sha256", json_string(hex));
	json_object_set_new(object, "path", path ? path : json_null()); /* not every path is UTF-8 */
	print_object(object);
}

static void print_totals(const struct wish *wish, const struct survey *s, const struct tally *total, size_t unreadable)
{
	if (!wish->json) {
		printf("%7llu %7llu %7llu\n", (unsigned long long)total->lines, (unsigned long long)total->words,
		       (unsigned long long)total->bytes);
		fprintf(stderr, "%zu files, %zu unreadable; %u workers, %u ended early\n", s->n_files, unreadable,
			s->n_helpers, s->ended);
		return;
	}
	json_t *object = tally_as_json(total);
	json_object_set_new(object, "files", json_integer((json_int_t)s->n_files));
	json_object_set_new(object, "unreadable", json_integer((json_int_t)unreadable));
	json_object_set_new(object, "workers", json_integer((json_int_t)s->n_helpers));
	json_object_set_new(object, "ended_early", json_integer((json_int_t)s->ended));
	print_object(object);
}

/* Exit code: is there something that could not be read? */
static int print(const struct wish *wish, const struct survey *s)
{
	struct tally total;
	size_t unreadable = 0;
	tally_init(&total);
	for (size_t i = 0; i < s->n_files; i++) {
		const struct file *f = &s->files[i];
		unreadable += f->state != FILE_DONE;
		if (f->state != FILE_DONE)
			continue;
		tally_join(&total, &f->tally);
		if (wish->list)
			print_file(wish, f);
	}
	print_totals(wish, s, &total, unreadable);
	return unreadable + s->skipped > 0;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

/* 0, or -1: there are too many. */
static int take_hosts(struct survey *s, char *list)
{
	char *save = NULL;
	for (char *host = list ? strtok_r(list, ",", &save) : NULL; host; host = strtok_r(NULL, ",", &save)) {
		if (s->n_hosts == SURVEY_HOSTS)
			return -1;
		s->hosts[s->n_hosts++] = host;
	}
	return 0;
}

static int run(const struct wish *wish)
{
	char program[4096];
	struct survey s = { .program = program, .kill_one = wish->kill_one };
	if (take_hosts(&s, wish->hosts) < 0) {
		fprintf(stderr, "filestats: --hosts: %d are the most\n", SURVEY_HOSTS);
		return 2;
	}
	ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
	if (n < 0) {
		perror("filestats: /proc/self/exe");
		return 1;
	}
	program[n] = '\0';
	if (isatty(STDERR_FILENO))
		s.progress = show_progress;
	int rc = survey_find(&s, wish->directory);
	if (rc < 0)
		fprintf(stderr, "filestats: %s: %s\n", wish->directory, strerror(-rc));
	else
		rc = survey_run(&s, (unsigned)wish->workers);
	int exit_code = rc < 0 ? 1 : print(wish, &s);
	survey_deinit(&s);
	return exit_code;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "list", no_argument, NULL, 'l' },        { "json", no_argument, NULL, 'j' },
		{ "kill-one", no_argument, NULL, 'k' },    { "workers", required_argument, NULL, 'n' },
		{ "hosts", required_argument, NULL, 'H' }, { "worker", no_argument, NULL, 'W' },
		{ "help", no_argument, NULL, 'h' },        { NULL, 0, NULL, 0 }
	};
	struct wish wish = { .directory = "/usr/include", .workers = sysconf(_SC_NPROCESSORS_ONLN) };
	int c;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'l':
			wish.list = 1;
			break;
		case 'j':
			wish.json = 1;
			break;
		case 'k':
			wish.kill_one = 1;
			break;
		case 'n':
			wish.workers = strtol(optarg, NULL, 10);
			break;
		case 'H':
			wish.hosts = optarg;
			break;
		case 'W':
			return worker_main();
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			return 2;
		}
	if (argc - optind > 1 || wish.workers < 1 || wish.workers > SURVEY_WORKERS) {
		fputs("filestats: wrong arguments; try --help\n", stderr);
		return 2;
	}
	if (optind < argc)
		wish.directory = argv[optind];
	return run(&wish);
}
