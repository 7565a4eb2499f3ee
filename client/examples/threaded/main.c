/*
 * threaded: a program with threads. Handles are independent, so each thread has its own, and may block in it; no lock is
 * needed. The only calls that cross threads are brood_wake() and brood_stop().
 *
 *   threaded [WORD...]
 *
 * One thread per word has a child of its own send the word back. The main thread runs a loop: brood_wake() tells it that
 * there is something to print, brood_stop() that nothing more will come.
 */
#include <brood.h>
#include <pthread.h>
#include <stdio.h>

#define THREADS 64

struct program {
	brood *main; /* the main thread's handle */
	pthread_mutex_t lock;
	char lines[THREADS][128];
	unsigned n_lines, n_printed, working, failed;
};

struct worker {
	struct program *program;
	const char *word;
	pthread_t thread;
};

/* ---- threads ----------------------------------------------------------------------------------------------------- */

/* Blocking calls, one after the other: this thread has nothing else to do. 0, or -1 with the reason in `line`. */
static int ask_child(const char *word, char *line, size_t n)
{
	brood *b;
	brood_peer *child;
	brood_msg *answer;
	if (brood_connect(&b, NULL, NULL) < 0)
		return -1;
	int rc = brood_spawn(b, &child, BROOD_ARGV("./hello-child"), NULL);
	if (rc == 0)
		rc = brood_call(child, BROOD_TEXT(word), 5000, &answer);
	snprintf(line, n, "%s", rc == 0 ? answer->text : brood_last_error(b)->text);
	if (rc == 0)
		brood_msg_release(answer);
	brood_close(b); /* ends the child */
	return rc;
}

static void *work(void *data)
{
	struct worker *w = data;
	struct program *p = w->program;
	char line[sizeof p->lines[0]] = "no memory";
	int rc = ask_child(w->word, line, sizeof line);
	pthread_mutex_lock(&p->lock);
	snprintf(p->lines[p->n_lines++], sizeof line, "%s", line);
	p->failed += rc < 0;
	unsigned left = --p->working;
	pthread_mutex_unlock(&p->lock);
	if (left > 0)
		brood_wake(p->main);
	else
		brood_stop(p->main);
	return NULL;
}

/* ---- the main thread --------------------------------------------------------------------------------------------- */

static void print_new(struct program *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->n_printed < p->n_lines)
		puts(p->lines[p->n_printed++]);
	pthread_mutex_unlock(&p->lock);
}

/* Several wakes may have become one event: take all there is. */
static int woken(const brood_event *ev)
{
	print_new(ev->data);
	return 0;
}

static unsigned start(struct program *p, struct worker *workers, const char *const *words, unsigned n)
{
	unsigned started = 0;
	p->working = n;
	for (unsigned i = 0; i < n; i++) {
		workers[i] = (struct worker){ .program = p, .word = words[i] };
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
			break;
		started++;
	}
	return started;
}

int main(int argc, char **argv)
{
	static const char *const usual[] = { "one", "two", "three", "four" };
	static struct program p = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct worker workers[THREADS];
	const char *const *words = argc > 1 ? (const char *const *)argv + 1 : usual;
	unsigned n = argc - 1 > THREADS ? THREADS : argc > 1 ? (unsigned)argc - 1 : 4;
	/* The name is what the loop runs for: without a child, an open request or a name, brood_run() has nothing to do. */
	if (brood_connect(&p.main, NULL, BROOD_OPTIONS(.on = BROOD_ON(.wake = woken), .data = &p, .name = "threaded")) <
	    0)
		return 1;
	unsigned started = start(&p, workers, words, n);
	int rc = started == n ? brood_run(p.main) : -1;
	for (unsigned i = 0; i < started; i++)
		pthread_join(workers[i].thread, NULL);
	print_new(&p); /* brood_stop() may have come before the last WAKE */
	brood_close(p.main);
	return rc < 0 || p.failed > 0;
}
