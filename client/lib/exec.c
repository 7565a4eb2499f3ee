/*
 * exec: a program run to its end: brood_exec_file(), and brood_exec_sync(), which waits for it.
 *
 * An execution is the data of a child whose output goes into two buffers that grow to max_output and not a byte beyond.
 * Past that the child is made to end, and what it still writes is read and dropped, so that it can end. All paths meet
 * in ended(): the result is complete there, and either the program's callback hears of it or the waiting call does.
 *
 * Blocking without a handle means a handle of its own for one child, that never connects.
 */
#include "child.h"
#include "departure.h"
#include "event.h"
#include "loop.h"
#include "peer.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct collected {
	char *bytes; /* NULL: nothing came */
	size_t length, size;
};

struct execution {
	struct brood_result result;
	struct collected out, err;
	struct fault fault; /* its code is 0: exited with 0 */
	int too_much, no_memory;
	brood_fn *done;
	void *data;
	int *finished; /* brood_exec_sync() waits for this */
};

/* ---- collecting -------------------------------------------------------------------------------------------------- */

/* Room for n more and a NUL, doubling. */
static int make_room(struct collected *to, size_t n)
{
	size_t size = to->size ? to->size : 4096;
	while (size < to->length + n + 1)
		size *= 2;
	if (size == to->size)
		return 0;
	char *bytes = realloc(to->bytes, size);
	if (!bytes)
		return -ENOMEM;
	to->bytes = bytes;
	to->size = size;
	return 0;
}

static int append(struct collected *to, const void *bytes, size_t n)
{
	if (n == 0)
		return 0;
	if (make_room(to, n) < 0)
		return -ENOMEM;
	memcpy(to->bytes + to->length, bytes, n);
	to->length += n;
	to->bytes[to->length] = '\0';
	return 0;
}

static void collect(struct child *c, struct execution *x, struct collected *to, const struct pipe *p)
{
	size_t left = c->plan->max_output - to->length;
	if (p->have > left)
		x->too_much = 1;
	if (append(to, p->buffer, p->have < left ? p->have : left) < 0)
		x->no_memory = 1;
	if (x->too_much || x->no_memory)
		child_terminate(c, BROOD_BY_OUTPUT);
}

/* Pipes beyond 1 and 2 are the program's own: their output goes to its table. */
static void take_chunk(struct pipe *p)
{
	struct child *c = p->peer->child;
	struct execution *x = c->data;
	if (p->target > 2 || p->kind != PIPE_PLAIN) {
		event_output(p);
		return;
	}
	if (!x->too_much && !x->no_memory)
		collect(c, x, p->target == 1 ? &x->out : &x->err, p);
	pipe_taken(p);
}

static void drained(struct pipe *p)
{
	event_drain(p->peer, p->target);
}

/* A program need not read all of its input. */
static void broken(struct pipe *p, size_t left)
{
	(void)p;
	(void)left;
}

static void started(struct child *c)
{
	struct pipe *p = c->plan->input ? stdio_pipe(&c->stdio, 0) : NULL;
	if (!p)
		return;
	(void)pipe_write(p, c->plan->input, c->plan->input_length);
	(void)pipe_end(p);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void set_fault(struct child *c, struct execution *x)
{
	const struct brood_exit *e = &c->peer->exit;
	char path[FAULT_PATH];
	const char *program = fault_path(c->plan->argv[0], path), *name = NULL;
	if (e->cause == BROOD_START_FAILED) {
		fault_set_code(&x->fault, e->code, c->failed_as, "%s", e->text);
		x->fault.error.hint = c->failed_hint;
		return;
	}
	if (x->no_memory)
		name = "memory";
	else if (x->too_much)
		name = "exec.output";
	else if (e->ended_by == BROOD_BY_TIMEOUT)
		name = "exec.timeout";
	else if (e->ended_by == BROOD_BY_KILL)
		name = "exec.killed";
	else if (e->cause == BROOD_EXITED && e->code != 0)
		name = "exec.code";
	else if (e->cause != BROOD_EXITED)
		name = "exec.signal";
	if (name)
		fault_set(&x->fault, name, "%s: %s", program, e->text);
}

static void ended(struct child *c)
{
	struct execution *x = c->data;
	set_fault(c, x);
	x->result = (struct brood_result){ .exit = &c->peer->exit,
					   .out = x->out.bytes ? x->out.bytes : "",
					   .err = x->err.bytes ? x->err.bytes : "",
					   .out_length = x->out.length,
					   .err_length = x->err.length };
	if (x->finished)
		*x->finished = 1;
	else
		event_result(c->peer, x->done, x->data, &x->result, x->fault.error.code ? &x->fault : NULL);
}

static void released(struct child *c)
{
	struct execution *x = c->data;
	if (!x)
		return;
	free(x->out.bytes);
	free(x->err.bytes);
	free(x);
}

static void moved(struct pipe *p)
{
	child_moved(p->peer->child);
}

static const struct pipe_sink collects = { take_chunk, drained, broken, moved };
static const struct child_kind executed = { PLAN_EXEC, &collects, started, ended, released };

/* The execution belongs to the child from here on, if there is one. */
static int execute(struct brood *h, struct execution *as, const char *const *argv, const struct brood_spawn_options *o,
		   struct brood_peer **ret)
{
	struct execution *x = malloc(sizeof(*x));
	if (!x)
		return handle_fail(h, -ENOMEM, "memory", "cannot execute: out of memory");
	*x = *as;
	fault_clear(&x->fault);
	int rc = child_spawn(h, &executed, x, NULL, argv, o, ret);
	if (rc < 0)
		free(x);
	return rc;
}

int brood_exec_file(brood *h, brood_peer **ret, const char *const *argv, const struct brood_spawn_options *options,
		    brood_fn *done, void *data)
{
	struct execution x = { .done = done, .data = data };
	struct brood_peer *p;
	int rc = handle_check(h);
	if (rc == 0 && !done)
		rc = handle_fail(h, -EINVAL, "argument", "cannot execute: no callback for the result");
	if (rc < 0 || (rc = execute(h, &x, argv, options, &p)) < 0)
		return rc;
	if (ret) {
		peer_own(p);
		*ret = p;
	}
	peer_unref(p);
	return 0;
}

/* ---- blocking ---------------------------------------------------------------------------------------------------- */

static void *put(char **at, const void *bytes, size_t n)
{
	void *to = *at;
	if (n)
		memcpy(to, bytes, n);
	*at += n;
	return to;
}

/* Result, exit and all texts in one block. */
static struct brood_result *copy_result(const struct brood_result *r)
{
	size_t text = strlen(r->exit->text) + 1, stage = strlen(r->exit->stage) + 1;
	struct brood_result *copy = malloc(sizeof(*copy) + sizeof(struct brood_exit) + r->out_length + 1 +
					   r->err_length + 1 + text + stage);
	if (!copy)
		return NULL;
	struct brood_exit *exit = (struct brood_exit *)(void *)(copy + 1);
	char *at = (char *)(exit + 1);
	*copy = *r;
	*exit = *r->exit;
	copy->exit = exit;
	copy->out = put(&at, r->out, r->out_length + 1);
	copy->err = put(&at, r->err, r->err_length + 1);
	exit->text = put(&at, r->exit->text, text);
	exit->stage = put(&at, r->exit->stage, stage);
	return copy;
}

static int is_finished(void *data)
{
	return *(int *)data;
}

/* What a shell would report, or the error's code. */
static int status_of(const struct execution *x)
{
	const struct brood_exit *e = x->result.exit;
	int code = x->fault.error.code;
	if (code && code != -EREMOTEIO && code != -ECANCELED)
		return code;
	return e->cause == BROOD_EXITED ? e->code : e->cause == BROOD_SIGNALED ? 128 + e->signo : -ECHILD;
}

static int finish_sync(struct brood *h, const struct execution *x, struct brood_result **ret)
{
	struct brood_result *copy = ret ? copy_result(&x->result) : NULL;
	if (ret && !copy)
		return handle_fail(h, -ENOMEM, "memory", "the output was lost: out of memory");
	if (ret)
		*ret = copy;
	if (x->fault.error.code)
		fault_copy(&h->last, &x->fault);
	return status_of(x);
}

static int execute_and_wait(struct brood *h, struct brood_result **ret, const char *const *argv,
			    const struct brood_spawn_options *options)
{
	int finished = 0;
	struct execution x = { .finished = &finished };
	struct brood_peer *p;
	int rc = execute(h, &x, argv, options, &p);
	if (rc < 0)
		return rc;
	(void)loop_wait(h, -1, is_finished, &finished);
	rc = finish_sync(h, p->child->data, ret);
	peer_unref(p);
	return rc;
}

/* Nobody could write to it, take its output or wire it before the call returns; and without a handle there is no log. */
static int needs_somebody(const brood *h, const struct brood_stdio *s)
{
	return (s->kind == BROOD_STDIO_PIPE && s->fd != 1 && s->fd != 2) || s->kind == BROOD_STDIO_TTY ||
	       s->kind == BROOD_STDIO_HELD || (s->kind == BROOD_STDIO_LOG && !h);
}

static int cannot_wait(const brood *h, const struct brood_spawn_options *o)
{
	if (!h && o && o->size > offsetof(struct brood_spawn_options, host) && o->host)
		return 1;
	const struct brood_stdio *s = o && o->size > offsetof(struct brood_spawn_options, stdio) ? o->stdio : NULL;
	while (s && s->kind != BROOD_STDIO_END && !needs_somebody(h, s))
		s++;
	return s && s->kind != BROOD_STDIO_END;
}

int brood_exec_sync(brood *h, struct brood_result **ret, const char *const *argv,
		    const struct brood_spawn_options *options)
{
	struct brood *own = NULL;
	int rc = h ? handle_check(h) : 0;
	if (rc == 0 && cannot_wait(h, options))
		return h ? handle_fail(h, -EINVAL, "argument",
				       "cannot execute: stdio: a pipe that nobody can serve while this call waits")
			 : -EINVAL;
	if (rc < 0 || (!h && (rc = handle_new_bare(&own)) < 0))
		return rc;
	rc = execute_and_wait(h ? h : own, ret, argv, options);
	brood_close(own);
	return rc;
}
