/*
 * plan: see plan.h. Two passes over the strings: measure, then copy, so a plan is one allocation and one free.
 */
#include "plan.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct builder {
	char **pointers; /* NULL while measuring */
	char *text;
	size_t n_pointers, n_text;
};

static char *add_text(struct builder *b, const char *s)
{
	size_t n = strlen(s) + 1;
	char *to = b->text ? b->text + b->n_text : NULL;
	if (to)
		memcpy(to, s, n);
	b->n_text += n;
	return to;
}

static void add_pointer(struct builder *b, char *p)
{
	if (b->pointers)
		b->pointers[b->n_pointers] = p;
	b->n_pointers++;
}

static void add_string(struct builder *b, const char *s)
{
	add_pointer(b, add_text(b, s));
}

/* "K=V" or "K": length of K. */
static size_t key_length(const char *s)
{
	return strcspn(s, "=");
}

static int same_key(const char *a, const char *b)
{
	size_t n = key_length(a);
	return n == key_length(b) && memcmp(a, b, n) == 0;
}

static int is_replaced(const char *entry, const char *const *add)
{
	for (; add && *add; add++)
		if (same_key(entry, *add))
			return 1;
	return same_key(entry, "BROOD_FD");
}

static void add_environment(struct builder *b, const char *const *base, const char *const *add, char *birth)
{
	add_pointer(b, birth);
	for (; base && *base; base++)
		if (!is_replaced(*base, add))
			add_string(b, *base);
	for (; add && *add; add++)
		if ((*add)[key_length(*add)] == '=')
			add_string(b, *add);
	add_pointer(b, NULL);
}

static char *add_optional(struct builder *b, const char *s)
{
	return s ? add_text(b, s) : NULL;
}

/* Once to measure (plan NULL), once to copy. */
static void build(struct builder *b, const char *const *argv, const struct brood_spawn_options *o, struct plan *p)
{
	const char *const *base = o->env ? o->env : (const char *const *)environ;
	char **start = b->pointers;
	for (const char *const *a = argv; *a; a++)
		add_string(b, *a);
	add_pointer(b, NULL);
	size_t env_at = b->n_pointers;
	add_environment(b, base, o->env_add, p ? p->birth : NULL);
	char *file = add_text(b, o->file ? o->file : argv[0]), *cwd = add_optional(b, o->cwd),
	     *name = add_optional(b, o->name);
	if (!p)
		return;
	p->argv = (const char **)(void *)start;
	p->env = (const char **)(void *)(start + env_at);
	p->file = file;
	p->cwd = cwd;
	p->name = name;
}

static int set_stdio(struct plan *p, const struct brood_stdio *list, const char **why)
{
	p->stdio[0] = BROOD_STDIO_NULL;
	p->stdio[1] = p->stdio[2] = BROOD_STDIO_MINE;
	for (; list && list->kind != BROOD_STDIO_END; list++) {
		if (list->fd < 0 || list->fd > 2 ||
		    (list->kind != BROOD_STDIO_NULL && list->kind != BROOD_STDIO_MINE)) {
			*why = "stdio: only 0, 1 and 2, as BROOD_NUL() or BROOD_MINE()";
			return -EINVAL;
		}
		p->stdio[list->fd] = list->kind;
	}
	return 0;
}

static const char *bad_environment(const char *const *env, int needs_value)
{
	for (; env && *env; env++)
		if (key_length(*env) == 0 || (needs_value && !strchr(*env, '=')))
			return "environment: an entry without a name or value";
	return NULL;
}

static const char *what_is_wrong(const char *const *argv, const struct brood_spawn_options *o)
{
	if (!argv || !argv[0] || !*argv[0])
		return "argv: no program";
	if (o->flags & ~(BROOD_PLAIN | BROOD_DETACHED | BROOD_UNREF))
		return "flags: unknown bits";
	if ((o->file && !*o->file) || (o->cwd && !*o->cwd) || (o->name && !*o->name))
		return "an empty name";
	if (o->kill_signal < 0 || o->kill_signal >= NSIG)
		return "kill_signal: no such signal";
	if (o->name && o->flags & BROOD_PLAIN)
		return "name: a plain program has no channel to be called by";
	const char *why = bad_environment(o->env, 1);
	return why ? why : bad_environment(o->env_add, 0);
}

static void set_numbers(struct plan *p, const struct brood_spawn_options *o)
{
	p->flags = o->flags | (o->flags & BROOD_DETACHED ? BROOD_UNREF : 0u);
	p->timeout_ms = o->timeout_ms;
	p->grace_ms = o->grace_ms ? o->grace_ms : 2000;
	p->kill_signal = o->kill_signal ? o->kill_signal : SIGTERM;
	p->birth[0] = '\0';
}

int plan_make(const char *const *argv, const struct brood_spawn_options *options, struct plan **ret, const char **why)
{
	struct brood_spawn_options o = { 0 };
	struct builder b = { 0 };
	if (options && options->size < sizeof(size_t)) {
		*why = "the options' size is not set: use BROOD_SPAWN() or BROOD_INIT()";
		return -EINVAL;
	}
	if (options)
		memcpy(&o, options, options->size < sizeof(o) ? options->size : sizeof(o));
	if ((*why = what_is_wrong(argv, &o)))
		return -EINVAL;
	build(&b, argv, &o, NULL);
	struct plan *p = malloc(sizeof(*p) + b.n_pointers * sizeof(char *) + b.n_text);
	if (!p)
		return -ENOMEM;
	b = (struct builder){ .pointers = (char **)(void *)(p + 1),
			      .text = (char *)(p + 1) + b.n_pointers * sizeof(char *) };
	build(&b, argv, &o, p);
	set_numbers(p, &o);
	int rc = set_stdio(p, o.stdio, why);
	if (rc < 0) {
		free(p);
		return rc;
	}
	p->env++; /* without channel: leave the first entry out */
	*ret = p;
	return 0;
}

void plan_set_channel(struct plan *p, unsigned long long inode)
{
	snprintf(p->birth, sizeof(p->birth), "BROOD_FD=%d:%llu", PLAN_CHANNEL_FD, inode);
	p->env--;
}
