/*
 * policy: see policy.h. The order is made in the same pass that judges it, so that nothing is started that was not looked
 * at.
 */
#include "policy.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

extern char **environ;

#define DENY(why, ...) (fault_set((why), "spawn.denied", __VA_ARGS__), -1)

static int no_memory(struct fault *why)
{
	fault_set(why, "memory", "the nursery has no memory left");
	return -1;
}

/* Text of the program's own, which must have no NUL in it. NULL: no memory, or that. */
static char *text(const ProtobufCBinaryData *from)
{
	return memchr(from->len ? (const void *)from->data : "", '\0', from->len) ? NULL
	       : from->len ? strndup((const char *)from->data, from->len)
			   : strdup("");
}

/* ---- who --------------------------------------------------------------------------------------------------------- */

static int is_me(const Brood__Control__Identity *who, const char *node)
{
	return strcmp(who->node, node) == 0 && who->uid == (uint32_t)getuid();
}

const char *policy_user(const Brood__Control__Identity *who, char to[POLICY_USER])
{
	snprintf(to, POLICY_USER, "%s@%s", who->user, who->node);
	return to;
}

/* As in the broker's policy, "*" is everybody of this node and nobody of another. */
static int is_for(const struct program *p, const Brood__Control__Identity *who, const char *node)
{
	int here = strcmp(who->node, node) == 0;
	char full[POLICY_USER], any[POLICY_USER];
	if (!p->principals)
		return is_me(who, node);
	snprintf(any, sizeof(any), "*@%s", who->node);
	return settings_has_word(p->principals, "*@*") || settings_has_word(p->principals, policy_user(who, full)) ||
	       settings_has_word(p->principals, any) ||
	       (here && (settings_has_word(p->principals, "*") || settings_has_word(p->principals, who->user)));
}

/* ---- arguments --------------------------------------------------------------------------------------------------- */

static size_t count_words(const char *list)
{
	size_t n = 0;
	for (const char *at = list; at && *(at += strspn(at, " \t")); at += strcspn(at, " \t"))
		n++;
	return n;
}

/* argv[0] as asked, the fixed arguments, the others as asked. */
static int make_argv(struct order *o, const struct program *p, const Brood__Nursery__Spawn *m, struct fault *why)
{
	size_t n = 0, fixed = count_words(p->args);
	o->argv = calloc(m->n_argv + fixed + 1, sizeof(*o->argv));
	if (!o->argv)
		return no_memory(why);
	if (m->n_argv > 1 && !p->free_args)
		return DENY(why, "%s takes no arguments but its fixed ones (free-args)", p->name);
	for (size_t i = 0; i < m->n_argv; i++) {
		if (!(o->argv[n] = text(&m->argv[i])))
			return no_memory(why);
		n++;
		for (const char *at = p->args; i == 0 && at && *(at += strspn(at, " \t")); at += strcspn(at, " \t"))
			if (!(o->argv[n++] = strndup(at, strcspn(at, " \t"))))
				return no_memory(why);
	}
	return 0;
}

static size_t key_length(const char *s)
{
	return strcspn(s, "=");
}

static int may_set(const struct program *p, const char *entry, struct fault *why)
{
	char name[256];
	snprintf(name, sizeof(name), "%.*s", (int)key_length(entry), entry);
	if (settings_has_word(p->env, "*") || settings_has_word(p->env, name))
		return 1;
	(void)DENY(why, "%s: the environment variable %.60s may not be set (env)", p->name, name);
	return 0;
}

/* Room for so many, and a NULL. */
static const char **make_list(size_t n)
{
	return calloc(n + 1, sizeof(char *));
}

/* How they come together is the library's to say, as for a child of this host. */
static int put_entries(const char **to, const struct program *p, const ProtobufCBinaryData *list, size_t count,
		       struct fault *why)
{
	for (size_t i = 0; i < count; i++) {
		to[i] = text(&list[i]);
		if (!to[i])
			return no_memory(why);
		if (!may_set(p, to[i], why))
			return -1;
	}
	return 0;
}

/* The nursery's own, without what says who that is. */
static int put_mine(const char **to, struct fault *why)
{
	for (char **e = environ; *e; e++) {
		if (strncmp(*e, "BROOD_", 6) == 0 && strncmp(*e, "BROOD_ADDRESS=", 14) != 0)
			continue;
		if (!(*to++ = strdup(*e)))
			return no_memory(why);
	}
	return 0;
}

static int make_env(struct order *o, const struct program *p, const Brood__Nursery__Spawn *m, struct fault *why)
{
	size_t mine = 0, more = m->own_environment ? 0 : m->n_env;
	while (environ[mine])
		mine++;
	o->env = make_list(m->own_environment ? m->n_env : mine);
	o->env_add = make_list(more + m->n_env_add);
	if (!o->env || !o->env_add)
		return no_memory(why);
	if (m->own_environment && !settings_has_word(p->env, "*"))
		return DENY(why, "%s: the environment may not be replaced (env = *)", p->name);
	if (!m->own_environment && put_mine(o->env, why) < 0)
		return -1;
	if (put_entries(m->own_environment ? o->env : o->env_add, p, m->env, m->n_env, why) < 0)
		return -1;
	return put_entries(o->env_add + more, p, m->env_add, m->n_env_add, why);
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

static int make_stdio(struct order *o, const Brood__Nursery__Spawn *m, struct fault *why)
{
	o->stdio = calloc(m->n_stdio + 1, sizeof(*o->stdio));
	if (!o->stdio)
		return no_memory(why);
	for (size_t i = 0; i < m->n_stdio; i++)
		o->stdio[i] =
			(struct brood_stdio){ (int)(m->stdio[i]->fd & 0x7fffffff),
					      m->stdio[i]->kind == BROOD__NURSERY__KIND__KIND_RELAY ? BROOD_STDIO_PIPE
												    : BROOD_STDIO_NULL,
					      -1, NULL };
	o->stdio[m->n_stdio] = (struct brood_stdio){ -1, BROOD_STDIO_END, -1, NULL };
	return 0;
}

static int is_limited(const struct order *o, size_t n, int resource)
{
	for (size_t i = 0; i < n; i++)
		if (o->limits[i].resource == resource)
			return 1;
	return 0;
}

/* The smaller of both, where both say something. */
static int make_limits(struct order *o, const struct program *p, const Brood__Nursery__Spawn *m, struct fault *why)
{
	size_t n = 0;
	o->limits = calloc(p->n_limits + m->n_limit + 1, sizeof(*o->limits));
	if (!o->limits)
		return no_memory(why);
	for (; n < p->n_limits; n++)
		o->limits[n] = (struct brood_limit){ p->limits[n].resource, p->limits[n].value };
	for (size_t i = 0; i < m->n_limit; i++) {
		int resource = (int)(m->limit[i]->resource & 0x7fffffff);
		for (size_t j = 0; j < p->n_limits; j++)
			if (o->limits[j].resource == resource && o->limits[j].value > m->limit[i]->value)
				o->limits[j].value = m->limit[i]->value;
		if (!is_limited(o, p->n_limits, resource))
			o->limits[n++] = (struct brood_limit){ resource, m->limit[i]->value };
	}
	o->limits[n] = (struct brood_limit){ -1, 0 };
	return 0;
}

static int make_place(struct order *o, const struct program *p, const Brood__Nursery__Spawn *m, const char *name,
		      struct fault *why)
{
	int any = strcmp(p->name, "*") == 0;
	if (m->cwd.len && !p->free_cwd)
		return DENY(why, "%s: another directory may not be asked for (free-cwd)", p->name);
	o->file = strdup(p->path ? p->path : any ? name : p->name);
	o->cwd = m->cwd.len ? text(&m->cwd) : p->cwd ? strdup(p->cwd) : NULL;
	o->name = strdup(m->name);
	o->program = strdup(p->name);
	if (!o->file || !o->name || !o->program || (!o->cwd && (m->cwd.len || p->cwd)))
		return no_memory(why);
	return 0;
}

static void make_options(struct order *o, const Brood__Nursery__Spawn *m, const struct settings *s)
{
	o->lease_ms = m->keep ? 0 : m->lease_ms; /* 0: for ever */
	if (s->lease_ms && (o->lease_ms == 0 || o->lease_ms > s->lease_ms))
		o->lease_ms = s->lease_ms;
	BROOD_INIT(o->options);
	o->options.flags = (m->plain ? BROOD_PLAIN : 0) | (m->detached ? BROOD_DETACHED : 0);
	o->options.file = o->file;
	o->options.env = o->env;
	o->options.env_add = o->env_add;
	o->options.cwd = o->cwd;
	o->options.name = *o->name && !m->plain ? o->name : NULL;
	o->options.stdio = o->stdio;
	o->options.limits = o->limits[0].resource == -1 ? NULL : o->limits;
	o->options.timeout_ms = m->timeout_ms;
	o->options.grace_ms = m->grace_ms;
	o->options.linger_ms = m->linger_ms;
	o->options.kill_signal = (int)(m->kill_signal & 0x7fffffff);
}

static void free_list(const char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free((char *)(uintptr_t)list[i]);
	free(list);
}

void order_free(struct order *o)
{
	if (!o)
		return;
	free_list(o->argv);
	free_list(o->env);
	free_list(o->env_add);
	free(o->file);
	free(o->cwd);
	free(o->name);
	free(o->program);
	free(o->stdio);
	free(o->limits);
	free(o);
}

static int make(struct order *o, const struct settings *s, const struct program *p, const Brood__Nursery__Spawn *m,
		const char *name, struct fault *why)
{
	if (make_argv(o, p, m, why) < 0 || make_env(o, p, m, why) < 0 || make_stdio(o, m, why) < 0 ||
	    make_limits(o, p, m, why) < 0 || make_place(o, p, m, name, why) < 0)
		return -1;
	make_options(o, m, s);
	return 0;
}

static int judge(const struct settings *s, const Brood__Control__Identity *who, const Brood__Nursery__Spawn *m,
		 const char *node, const char *name, struct order **ret, struct fault *why)
{
	const struct program *p = settings_program(s, name);
	if (!p) {
		fault_set(why, "spawn.unknown", "the nursery on %s has no section for a program %.80s", node, name);
		return -1;
	}
	if (!is_for(p, who, node))
		return DENY(why, "%.60s@%.60s may not start %.60s on %.60s (for)", who->user, who->node, name, node);
	struct order *o = calloc(1, sizeof(*o));
	if (!o)
		return no_memory(why);
	if (make(o, s, p, m, name, why) < 0) {
		order_free(o);
		return -1;
	}
	*ret = o;
	return 0;
}

int policy_judge(const struct settings *s, const Brood__Control__Identity *who, const Brood__Nursery__Spawn *m,
		 const char *node, struct order **ret, struct fault *why)
{
	char *name = m->n_argv ? text(m->file.len ? &m->file : &m->argv[0]) : NULL;
	int rc = -1;
	if (name && *name)
		rc = judge(s, who, m, node, name, ret, why);
	else
		fault_set(why, "argument", "there is no program in what was asked for");
	free(name);
	return rc;
}
