/*
 * herd: see herd.h.
 *
 * Input is read only when all have taken what was read before, so the slowest decides. Output that is labelled is written by
 * us, and waited for; else the library writes it.
 */
#include "herd.h"
#include "caught.h"
#include "cli.h"
#include "ending.h"
#include "output.h"
#include "prefix.h"
#include "session.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 4096
#define HOSTS_MOST 256u

struct herd;

struct member { /* on one host */
	struct herd *herd;
	const char *host;
	brood_peer *child;
	struct prefix out, err;
	int started, over;
	size_t taken; /* of the chunk of input */
	int status;
};

struct herd {
	const struct herd_options *options;
	struct member *members;
	size_t n, left;
	int reads_input;
	char input[CHUNK];
	size_t length; /* read, and not taken by all */
	int broken;    /* negative errno: our output takes nothing */
};

static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, 0 };

/* ---- the list ---------------------------------------------------------------------------------------------------- */

const char *herd_check(const char *hosts)
{
	size_t n = 1;
	for (const char *at = hosts;; at++) {
		size_t length = strcspn(at, ",");
		if (length == 0 || ++n > HOSTS_MOST)
			return "--host wants up to 255 nodes, such as beta or beta,gamma";
		at += length;
		if (!*at)
			return NULL;
	}
}

static int make_members(struct herd *h, char *hosts)
{
	char *save = NULL;
	h->members = calloc(HOSTS_MOST, sizeof *h->members);
	if (!h->members)
		return -ENOMEM;
	for (char *host = strtok_r(hosts, ",", &save); host; host = strtok_r(NULL, ",", &save))
		h->members[h->n++] = (struct member){ .herd = h,
						      .host = host,
						      .out = { .fd = STDOUT_FILENO, .label = host },
						      .err = { .fd = STDERR_FILENO, .label = host },
						      .status = ENDING_FAILED };
	return 0;
}

/* ---- input ------------------------------------------------------------------------------------------------------- */

static void give(struct member *m)
{
	const struct herd *h = m->herd;
	if (m->taken == h->length || m->over)
		return;
	if (brood_write(m->child, STDIN_FILENO, h->input, h->length) != -EAGAIN)
		m->taken = h->length; /* or nobody reads it any more */
}

static int is_taken(const struct herd *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (!h->members[i].over && h->members[i].taken < h->length)
			return 0;
	return 1;
}

static void end_input(struct herd *h)
{
	h->reads_input = 0;
	for (size_t i = 0; i < h->n; i++)
		if (!h->members[i].over)
			(void)brood_end(h->members[i].child, STDIN_FILENO);
}

static void read_input(struct herd *h)
{
	ssize_t n = read(STDIN_FILENO, h->input, sizeof h->input);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		end_input(h);
		return;
	}
	h->length = (size_t)n;
	for (size_t i = 0; i < h->n; i++) {
		h->members[i].taken = 0;
		give(&h->members[i]);
	}
}

/* ---- what happens to them ---------------------------------------------------------------------------------------- */

static int started(const brood_event *ev)
{
	((struct member *)ev->data)->started = 1;
	return 0;
}

static int output(const brood_event *ev)
{
	struct member *m = ev->data;
	struct prefix *p = ev->fd == STDERR_FILENO ? &m->err : &m->out;
	int rc = ev->length ? prefix_write(p, ev->bytes, ev->length) : prefix_end(p);
	if (rc < 0)
		m->herd->broken = rc;
	return 0;
}

static int drained(const brood_event *ev)
{
	give(ev->data);
	return 0;
}

static int tell(const struct member *m, json_t *how)
{
	if (how && json_object_set_new(how, "host", json_string(m->host)) < 0) {
		json_decref(how);
		how = NULL;
	}
	return output_json_to(stderr, how);
}

static int ended(const brood_event *ev)
{
	struct member *m = ev->data;
	const struct brood_exit *x = ev->exit;
	int is_ordinary = (x->cause == BROOD_EXITED || x->cause == BROOD_SIGNALED) && x->ended_by != BROOD_BY_TIMEOUT;
	m->status = ending_status(x);
	if (m->herd->options->json)
		tell(m, ending_json(x, m->status));
	else if (!is_ordinary || (m->herd->n > 1 && m->status != 0))
		fprintf(stderr, "brood run: %s: %s: %s\n", m->host, m->herd->options->argv[0], x->text);
	return 0;
}

/* That it reads no more is its own business. */
static int failed(const brood_event *ev)
{
	struct member *m = ev->data;
	char command[80];
	if (m->started && strcmp(ev->error->name, "input.closed") == 0)
		return 0;
	snprintf(command, sizeof command, "run: %s", m->host);
	session_explain(command, ev->error);
	if (m->started)
		return 0;
	m->status = ending_of_error(ev->error);
	if (m->herd->options->json)
		tell(m, ending_error_json(ev->error, m->status));
	return 0;
}

static int closed(const brood_event *ev)
{
	struct member *m = ev->data;
	m->over = 1;
	m->herd->left--;
	return 0;
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

static void pass_on(const struct herd *h, const struct caught *c)
{
	unsigned flags = c->from_kernel ? BROOD_TREE : 0; /* as a terminal does it */
	int gives_up = c->signo != SIGUSR1 && c->signo != SIGUSR2;
	if (c->signo == SIGTERM && h->options->kill_after)
		flags |= BROOD_THEN_KILL;
	for (size_t i = 0; i < h->n; i++)
		if (!h->members[i].over && (h->members[i].started || gives_up))
			brood_kill(h->members[i].child, c->signo, flags);
}

static int woken(const brood_event *ev)
{
	const struct herd *h = ev->data;
	struct caught c;
	while ((c = caught_next()).signo)
		pass_on(h, &c);
	return 0;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static int start(brood *b, struct member *m)
{
	static const struct brood_stdio plain[] = { BROOD_PIPE(0), BROOD_MINE(1), BROOD_MINE(2), { -1, 0, -1, NULL } };
	static const struct brood_stdio labelled[] = {
		BROOD_PIPE(0), BROOD_PIPE(1), BROOD_PIPE(2), { -1, 0, -1, NULL }
	};
	struct brood_spawn_options how = m->herd->options->how;
	how.host = m->host;
	how.stdio = m->herd->options->label ? labelled : plain;
	how.data = m;
	how.on = BROOD_ON(.spawn = started, .exit = ended, .error = failed, .close = closed, .output = output,
			  .drain = drained);
	return brood_spawn(b, &m->child, (const char *const *)m->herd->options->argv, &how);
}

static int start_all(brood *b, struct herd *h)
{
	for (size_t i = 0; i < h->n; i++) {
		int rc = start(b, &h->members[i]);
		if (rc < 0)
			return rc;
		h->left++;
	}
	return 0;
}

static void wait_for_something(struct herd *h, brood *b)
{
	struct pollfd fds[] = {
		{ .fd = brood_fd(b), .events = POLLIN },
		{ .fd = h->reads_input && is_taken(h) ? STDIN_FILENO : -1, .events = POLLIN },
	};
	if (poll(fds, 2, -1) > 0 && fds[1].revents)
		read_input(h);
}

static int loop(brood *b, struct herd *h)
{
	int rc = 0;
	while (rc >= 0 && h->left > 0 && !h->broken) {
		wait_for_something(h, b);
		rc = brood_process(b, 0);
	}
	return rc;
}

static int highest(const struct herd *h)
{
	int status = 0;
	for (size_t i = 0; i < h->n; i++)
		if (h->members[i].status > status)
			status = h->members[i].status;
	return status;
}

static int run(brood *b, struct herd *h)
{
	int rc = start_all(b, h);
	if (rc == 0) {
		caught_wake(b);
		rc = loop(b, h);
		caught_wake(NULL);
	}
	if (rc < 0)
		session_explain("run", brood_last_error(b));
	if (h->broken)
		fprintf(stderr, "brood run: cannot write: %s\n", strerror(-h->broken));
	return rc < 0 || h->broken ? ENDING_FAILED : highest(h);
}

static void free_members(struct herd *h)
{
	for (size_t i = 0; i < h->n; i++) {
		free(h->members[i].out.line);
		free(h->members[i].err.line);
	}
	free(h->members);
}

int herd_run(const char *address, struct herd_options *options)
{
	struct herd h = { .options = options, .reads_input = 1 };
	brood *b = NULL;
	int status = ENDING_FAILED;
	caught_catch(caught);
	int rc = make_members(&h, options->hosts);
	if (rc == 0)
		rc = brood_connect(&b, address, BROOD_OPTIONS(.on = BROOD_ON(.wake = woken), .data = &h));
	if (rc < 0)
		fprintf(stderr, "brood run: %s\n", strerror(-rc));
	else
		status = run(b, &h);
	if (b)
		brood_close(b); /* who still runs ends with it */
	free_members(&h);
	return status;
}
