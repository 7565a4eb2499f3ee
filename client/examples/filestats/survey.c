/*
 * survey: hands files out to workers and gets what they found.
 *
 * A file is waiting, asked, and then done or unreadable. Every worker has a few asked at any time, so that it never
 * waits for us. brood ends every request in exactly one reply or error, and that is all there is to recovery: an error
 * that the worker itself gave ("request.failed") is about the file; any other error means that the worker is gone, and
 * the file goes back to wait for another one. When a worker has closed, a new one takes its place.
 *
 * The surprising rule: a file that was handed out three times in vain is given up, because it may be what kills them.
 */
#include "survey.h"
#include "filestats.pb-c.h"
#include <brood/pb.h>
#include <fts.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define OUTSTANDING 4 /* files per worker */
#define TRIES 3       /* per file */
#define RESTARTS 20   /* of workers, in all */

/* ---- the files --------------------------------------------------------------------------------------------------- */

static int add_file(struct survey *s, const char *path)
{
	if (s->n_files == s->room) {
		size_t room = s->room ? s->room * 2 : 1024;
		struct file *larger = realloc(s->files, room * sizeof *larger);
		if (!larger)
			return -ENOMEM;
		s->files = larger;
		s->room = room;
	}
	char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	s->files[s->n_files++] = (struct file){ .survey = s, .path = copy };
	return 0;
}

/* Take what the walk has come to. A directory that cannot be read is an error only if it is the one asked for. */
static int visit(struct survey *s, const FTSENT *entry)
{
	switch (entry->fts_info) {
	case FTS_F:
		return add_file(s, entry->fts_path);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		if (entry->fts_level == FTS_ROOTLEVEL)
			return -entry->fts_errno;
		fprintf(stderr, "filestats: %s: %s\n", entry->fts_path, strerror(entry->fts_errno));
		s->skipped++;
		return 0;
	default:
		return 0;
	}
}

static int walk(struct survey *s, FTS *tree)
{
	FTSENT *entry;
	int rc = 0;
	while (rc == 0 && (entry = fts_read(tree)) != NULL)
		rc = visit(s, entry);
	return rc;
}

int survey_find(struct survey *s, const char *directory)
{
	char *const roots[] = { (char *)directory, NULL };
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	int rc = tree ? walk(s, tree) : -errno;
	if (tree)
		fts_close(tree);
	s->again = rc == 0 ? calloc(s->n_files + 1, sizeof *s->again) : NULL;
	return rc == 0 && !s->again ? -ENOMEM : rc;
}

void survey_deinit(struct survey *s)
{
	for (size_t i = 0; i < s->n_files; i++)
		free(s->files[i].path);
	free(s->files);
	free(s->again);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static int answered(const brood_event *ev);

static struct file *next_file(struct survey *s)
{
	if (s->n_again > 0)
		return &s->files[s->again[--s->n_again]];
	return s->next < s->n_files ? &s->files[s->next++] : NULL;
}

static void put_back(struct survey *s, struct file *f)
{
	f->state = FILE_WAITING;
	s->again[s->n_again++] = (size_t)(f - s->files);
}

static int ask(struct helper *h, struct file *f)
{
	Filestats__File question = FILESTATS__FILE__INIT;
	question.path.data = (uint8_t *)f->path;
	question.path.len = strlen(f->path);
	int64_t id = brood_request_pb(h->peer, &question.base, -1, answered, f);
	if (id < 0)
		return (int)id;
	f->state = FILE_ASKED;
	f->tries++;
	h->open++;
	return 0;
}

/* Give a worker as much to do as it should have. A worker that takes nothing more is busy or about to close. */
static void keep_busy(struct helper *h)
{
	while (h->peer && h->open < OUTSTANDING) {
		struct file *f = next_file(h->survey);
		if (!f)
			return;
		if (ask(h, f) < 0) {
			put_back(h->survey, f);
			return;
		}
	}
}

static void keep_all_busy(struct survey *s)
{
	for (unsigned i = 0; i < s->n_helpers; i++)
		keep_busy(&s->helpers[i]);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static struct helper *helper_of(struct survey *s, const brood_peer *peer)
{
	for (unsigned i = 0; i < s->n_helpers; i++)
		if (s->helpers[i].peer == peer)
			return &s->helpers[i];
	return NULL;
}

static void finish(struct file *f, enum file_state state)
{
	struct survey *s = f->survey;
	f->state = state;
	s->finished++;
	if (s->progress)
		s->progress(s);
	if (s->finished == s->n_files)
		brood_stop(s->b);
}

static void note_stats(struct file *f, const Filestats__Stats *stats)
{
	f->tally = (struct tally){ .lines = stats->lines,
				   .words = stats->words,
				   .bytes = stats->bytes,
				   .opens = stats->opens,
				   .closes = stats->closes,
				   .unbroken = stats->unbroken };
	memcpy(f->sha256, stats->sha256.data, SURVEY_HASH);
	finish(f, FILE_DONE);
}

static void give_up(struct file *f, const char *why)
{
	fprintf(stderr, "filestats: %s: %s\n", f->path, why);
	finish(f, FILE_UNREADABLE);
}

static void note_error(struct file *f, const struct brood_error *error)
{
	if (strcmp(error->name, "request.failed") == 0)
		give_up(f, error->text);
	else if (f->tries >= TRIES)
		give_up(f, "its workers died");
	else
		put_back(f->survey, f);
}

/* In the middle of the work a worker that has something to do dies. */
static void kill_one(struct survey *s, struct helper *h)
{
	if (!s->kill_one || s->finished < s->n_files / 2 || h->open == 0)
		return;
	s->kill_one = 0;
	brood_kill(h->peer, SIGKILL, 0);
}

static int answered(const brood_event *ev)
{
	struct file *f = ev->data;
	struct survey *s = f->survey;
	struct helper *h = helper_of(s, ev->peer);
	const Filestats__Stats *stats = ev->msg ? brood_msg_pb(ev->msg, &filestats__stats__descriptor) : NULL;
	if (h)
		h->open--;
	if (stats && stats->sha256.len == SURVEY_HASH)
		note_stats(f, stats);
	else if (ev->error)
		note_error(f, ev->error);
	else
		give_up(f, "a worker gave an answer that is none");
	if (h && ev->msg) {
		keep_busy(h);
		kill_one(s, h);
	}
	return 0;
}

/* ---- workers ----------------------------------------------------------------------------------------------------- */

static int start_helper(struct helper *h);

static int not_started(const brood_event *ev)
{
	fprintf(stderr, "filestats: %s\n", ev->error->text);
	return 0;
}

/* A worker is gone, and all its requests have ended. Another one takes its place, unless too many have died. */
static int closed(const brood_event *ev)
{
	struct helper *h = ev->data;
	struct survey *s = h->survey;
	brood_release(h->peer);
	*h = (struct helper){ .survey = s };
	s->alive--;
	if (s->finished == s->n_files) /* as it should */
		return 0;
	s->ended++;
	if (s->ended <= RESTARTS)
		start_helper(h);
	keep_all_busy(s); /* there may be files to take over */
	return s->alive == 0 ? brood_stop(s->b) : 0;
}

static int start_helper(struct helper *h)
{
	struct survey *s = h->survey;
	const char *host = s->n_hosts ? s->hosts[(size_t)(h - s->helpers) % s->n_hosts] : NULL;
	int rc = brood_spawn(
		s->b, &h->peer, BROOD_ARGV(s->program, "--worker"),
		BROOD_SPAWN(.on = BROOD_ON(.error = not_started, .close = closed), .data = h, .host = host));
	s->alive += rc == 0;
	return rc;
}

int survey_run(struct survey *s, unsigned n_helpers)
{
	if (s->n_files == 0)
		return 0;
	int rc = brood_connect(&s->b, NULL, NULL);
	s->n_helpers = n_helpers < SURVEY_WORKERS ? n_helpers : SURVEY_WORKERS;
	for (unsigned i = 0; i < s->n_helpers && rc == 0; i++) {
		s->helpers[i].survey = s;
		rc = start_helper(&s->helpers[i]);
	}
	if (rc == 0) {
		keep_all_busy(s);
		rc = brood_run(s->b);
	}
	if (rc < 0)
		fprintf(stderr, "filestats: %s\n", s->b ? brood_last_error(s->b)->text : strerror(-rc));
	else if (s->finished < s->n_files)
		rc = -ECHILD;
	brood_close(s->b);
	return rc;
}
