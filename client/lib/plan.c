/*
 * plan: see plan.h. Two passes over what the program gave: measure, then copy, so a plan is one allocation and one free.
 */
#include "plan.h"
#include "address.h"
#include "utf8.h"
#include <errno.h>
#include <signal.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define FD_MOST 65535 /* highest number for a descriptor in the child */
#define MAX_OUTPUT ((size_t)1024 * 1024)

struct builder {
	char *block; /* NULL while measuring */
	size_t used;
};

/* ---- copying ----------------------------------------------------------------------------------------------------- */

/* Room for n bytes; NULL while measuring. */
static void *add_room(struct builder *b, size_t n, size_t align)
{
	b->used = (b->used + align - 1) & ~(align - 1);
	void *to = b->block ? b->block + b->used : NULL;
	b->used += n;
	return to;
}

static void *add_copy(struct builder *b, const void *from, size_t n, size_t align)
{
	void *to = add_room(b, n, align);
	if (to && n)
		memcpy(to, from, n);
	return to;
}

static char *add_text(struct builder *b, const char *s)
{
	return s ? add_copy(b, s, strlen(s) + 1, 1) : NULL;
}

static size_t count(const char *const *list)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	return n;
}

static char **add_argv(struct builder *b, const char *const *argv)
{
	size_t n = count(argv);
	char **to = add_room(b, (n + 1) * sizeof(*to), alignof(char *));
	for (size_t i = 0; i <= n; i++) {
		char *copy = add_text(b, argv[i]);
		if (to)
			to[i] = copy;
	}
	return to;
}

static const char **add_list(struct builder *b, const char *const *list)
{
	return list ? (const char **)(void *)add_argv(b, list) : NULL;
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

/* Whom a child trusts is whom I trust, also if its environment is made by hand: over TLS it has to connect by itself. */
static const char *const trust[] = { "BROOD_TLS_CA", "BROOD_TLS_CERT", "BROOD_TLS_KEY", "BROOD_TLS_CRL" };
#define TRUST (sizeof(trust) / sizeof(*trust))

static int is_named(const char *key, const char *const *list)
{
	for (; list && *list; list++)
		if (same_key(key, *list))
			return 1;
	return 0;
}

static size_t add_trust(struct builder *b, char **to, const char *const *base, const char *const *add)
{
	size_t n = 0;
	for (size_t i = 0; i < TRUST; i++) {
		const char *value = getenv(trust[i]);
		if (!value || is_named(trust[i], base) || is_named(trust[i], add))
			continue;
		char *entry = add_room(b, strlen(trust[i]) + strlen(value) + 2, 1);
		if (entry)
			sprintf(entry, "%s=%s", trust[i], value);
		if (to)
			to[n++] = entry;
	}
	return n;
}

/* The first place is for BROOD_FD. */
static char **add_environment(struct builder *b, const char *const *base, const char *const *add, int channel)
{
	char **to = add_room(b, (count(base) + count(add) + TRUST + 2) * sizeof(*to), alignof(char *));
	size_t n = 1;
	for (; base && *base; base++) {
		if (same_key(*base, "BROOD_FD") || is_named(*base, add))
			continue;
		char *copy = add_text(b, *base);
		if (to)
			to[n++] = copy;
	}
	for (; add && *add; add++) {
		if ((*add)[key_length(*add)] != '=')
			continue;
		char *copy = add_text(b, *add);
		if (to)
			to[n++] = copy;
	}
	if (channel)
		n += add_trust(b, to ? to + n : NULL, base, add);
	if (to)
		to[n] = NULL;
	return to;
}

static size_t count_limits(const struct brood_limit *limits)
{
	size_t n = 0;
	while (limits[n].resource != -1)
		n++;
	return n;
}

static struct brood_limit *add_limits(struct builder *b, const struct brood_limit *limits)
{
	if (!limits)
		return NULL;
	return add_copy(b, limits, (count_limits(limits) + 1) * sizeof(*limits), alignof(struct brood_limit));
}

static struct brood_ids *add_ids(struct builder *b, const struct brood_ids *ids)
{
	if (!ids)
		return NULL;
	struct brood_ids *to = add_copy(b, ids, sizeof(*ids), alignof(struct brood_ids));
	gid_t *groups = add_copy(b, ids->groups, ids->n_groups * sizeof(gid_t), alignof(gid_t));
	if (to)
		to->groups = groups;
	return to;
}

/* ---- stdio ------------------------------------------------------------------------------------------------------- */

static size_t count_stdio(const struct brood_stdio *list)
{
	size_t n = 0;
	while (list && list[n].kind != BROOD_STDIO_END)
		n++;
	return n;
}

static const struct brood_stdio *find(const struct brood_stdio *list, size_t n, int fd)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].fd == fd)
			return &list[i];
	return NULL;
}

static int default_kind(enum plan_use use, const struct brood_spawn_options *o, int fd)
{
	if (use == PLAN_SPAWN)
		return fd == 0 ? BROOD_STDIO_NULL : BROOD_STDIO_MINE;
	return fd == 0 && !o->input ? BROOD_STDIO_NULL : BROOD_STDIO_PIPE;
}

/* The listed ones, then those of 0, 1 and 2 that are not listed. */
static struct brood_stdio *add_stdio(struct builder *b, enum plan_use use, const struct brood_spawn_options *o,
				     size_t *ret)
{
	size_t n = count_stdio(o->stdio);
	struct brood_stdio *to = add_room(b, (n + 3) * sizeof(*to), alignof(struct brood_stdio));
	if (!to)
		return NULL;
	if (n)
		memcpy(to, o->stdio, n * sizeof(*to));
	for (int fd = 0; fd < 3; fd++)
		if (!find(o->stdio, count_stdio(o->stdio), fd))
			to[n++] = (struct brood_stdio){ fd, default_kind(use, o, fd), -1, NULL };
	*ret = n;
	return to;
}

const struct brood_stdio *plan_stdio(const struct plan *p, int fd)
{
	return find(p->fds, p->n_fds, fd);
}

static int free_number(const struct plan *p)
{
	int fd = PLAN_CHANNEL_FD;
	while (plan_stdio(p, fd))
		fd++;
	return fd;
}

/* ---- checking ---------------------------------------------------------------------------------------------------- */

static const char *bad_environment(const char *const *env, int needs_value)
{
	for (; env && *env; env++)
		if (key_length(*env) == 0 || (needs_value && !strchr(*env, '=')))
			return "environment: an entry without a name or value";
	return NULL;
}

static const char *bad_entry(const struct brood_stdio *s)
{
	if (s->fd < 0 || s->fd > FD_MOST)
		return "stdio: a descriptor number that cannot be";
	if (s->kind < BROOD_STDIO_NULL || s->kind > BROOD_STDIO_PEER)
		return "stdio: an unknown kind: use BROOD_PIPE() and its like";
	if (s->kind == BROOD_STDIO_LOG && s->fd == 0)
		return "stdio: 0 is read by the child, so it writes no lines for the log";
	if (s->kind == BROOD_STDIO_PEER && (!s->peer || s->other < 0))
		return "stdio: BROOD_FROM() without a peer";
	return NULL;
}

static const char *bad_stdio(const struct brood_stdio *list)
{
	size_t n = count_stdio(list);
	for (size_t i = 0; i < n; i++) {
		const char *why = bad_entry(&list[i]);
		if (why)
			return why;
		if (find(list, i, list[i].fd))
			return "stdio: the same descriptor twice";
	}
	return NULL;
}

static const char *bad_limits(const struct brood_limit *limits)
{
	for (; limits && limits->resource != -1; limits++)
		if (limits->resource < 0 || limits->resource >= (int)RLIM_NLIMITS)
			return "limits: no such resource";
	return NULL;
}

static const char *bad_ids(const struct brood_ids *ids)
{
	if (!ids)
		return NULL;
	if (ids->uid == (uid_t)-1 || ids->gid == (gid_t)-1)
		return "ids: -1 is nobody";
	if (ids->n_groups > PLAN_GROUPS || (ids->n_groups && !ids->groups))
		return "ids: more than 64 groups, or none where some were said";
	return NULL;
}

static const char *bad_use(enum plan_use use, const struct brood_spawn_options *o)
{
	if (use == PLAN_SPAWN && (o->max_output || o->input || o->input_length))
		return "max_output, input: only brood_exec_file() and brood_exec_sync() have them";
	if (use == PLAN_EXEC && o->flags & BROOD_DETACHED)
		return "flags: a detached program cannot be waited for";
	if (o->input_length && !o->input)
		return "input_length: without input";
	if ((use == PLAN_EXEC || o->flags & BROOD_PLAIN) && (o->name || o->ready_ms))
		return "name, ready_ms: a plain program has no channel";
	if (use == PLAN_EXEC && o->input && find(o->stdio, count_stdio(o->stdio), 0))
		return "input: stdio says something else of 0";
	return NULL;
}

static const char *bad_basics(const char *const *argv, const struct brood_spawn_options *o)
{
	if (!argv || !argv[0] || (!*argv[0] && !o->file))
		return "argv: no program";
	if (o->flags & ~(BROOD_PLAIN | BROOD_DETACHED | BROOD_UNREF))
		return "flags: unknown bits";
	if (o->file && !*o->file)
		return "file: an empty name";
	if (o->cwd && !*o->cwd)
		return "cwd: an empty name";
	if (o->name && !*o->name)
		return "name: an empty name";
	if (o->name && !name_is_valid(o->name))
		return "name: use 1 to 63 of a-z 0-9 . _ - and begin with a letter, a digit or _";
	if (o->kill_signal < 0 || o->kill_signal >= NSIG)
		return "kill_signal: no such signal";
	if (o->tty_rows > 0xffff || o->tty_columns > 0xffff)
		return "tty_rows, tty_columns: a terminal has at most 65535 of each";
	return NULL;
}

/* ---- to another host --------------------------------------------------------------------------------------------- */

static const char *bad_host(const struct brood_spawn_options *o)
{
	char node[NAME_MAX_LENGTH + 1];
	size_t n = o->host ? strcspn(o->host, "/") : 0;
	if (!o->host)
		return o->lease_ms || o->give_up_ms || o->on_unreachable ? "lease_ms, give_up_ms, on_unreachable: "
									   "without host"
									 : NULL;
	if (o->on_unreachable != BROOD_UNREACHABLE_KILL && o->on_unreachable != BROOD_UNREACHABLE_KEEP)
		return "on_unreachable: no such policy";
	if (n == 0 || n > NAME_MAX_LENGTH)
		return "host: not the name of a node";
	memcpy(node, o->host, n);
	node[n] = '\0';
	if (!name_is_valid(node) || (o->host[n] && !name_is_valid(o->host + n + 1)))
		return "host: not the name of a node, or of a nursery";
	return NULL;
}

/* This entry needs something of this host. */
static int stays_here(const struct brood_stdio *s)
{
	if (s->kind == BROOD_STDIO_MINE)
		return s->fd != 1 && s->fd != 2;
	return s->kind != BROOD_STDIO_NULL && s->kind != BROOD_STDIO_PIPE && s->kind != BROOD_STDIO_LOG;
}

static const char *cannot_cross(const struct brood_spawn_options *o)
{
	size_t n = count_stdio(o->stdio);
	if (o->host && o->ids)
		return "ids: another host's users are its own";
	if (o->host && n > PLAN_FAR_PIPES)
		return "stdio: more than 12 descriptors for another host";
	for (size_t i = 0; o->host && i < n; i++)
		if (stays_here(&o->stdio[i]))
			return "stdio: a descriptor of this host, a terminal or another child's pipe does not go to "
			       "another host";
	return NULL;
}

static const char *what_is_wrong(enum plan_use use, const char *const *argv, const struct brood_spawn_options *o)
{
	const char *found[] = { bad_basics(argv, o),
				bad_use(use, o),
				bad_environment(o->env, 1),
				bad_environment(o->env_add, 0),
				bad_stdio(o->stdio),
				bad_limits(o->limits),
				bad_host(o),
				bad_ids(o->ids) };
	for (size_t i = 0; i < sizeof(found) / sizeof(*found); i++)
		if (found[i])
			return found[i];
	return NULL;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static unsigned or_default(unsigned value, unsigned otherwise)
{
	return value ? value : otherwise;
}

static void set_numbers(struct plan *p, enum plan_use use, const struct brood_spawn_options *o)
{
	p->flags = o->flags | (o->flags & BROOD_DETACHED ? BROOD_UNREF : 0u) | (use == PLAN_EXEC ? BROOD_PLAIN : 0u);
	p->timeout_ms = o->timeout_ms;
	p->ready_ms = o->ready_ms;
	p->grace_ms = or_default(o->grace_ms, 2000);
	p->linger_ms = or_default(o->linger_ms, 1000);
	p->kill_signal = o->kill_signal ? o->kill_signal : SIGTERM;
	p->max_output = o->max_output ? o->max_output : MAX_OUTPUT;
	p->input_length = o->input_length;
	p->tty_rows = (unsigned short)o->tty_rows;
	p->tty_columns = (unsigned short)o->tty_columns;
	p->keep = o->on_unreachable == BROOD_UNREACHABLE_KEEP;
	p->lease_ms = or_default(o->lease_ms, 30000);
	p->give_up_ms = o->give_up_ms;
}

static void add_host(struct builder *b, struct plan *p, const char *host)
{
	size_t n = host ? strcspn(host, "/") : 0;
	char *node = host ? add_room(b, n + 1, 1) : NULL;
	p->nursery = host ? add_text(b, host[n] ? host + n + 1 : "nursery") : NULL;
	p->host = node;
	if (node)
		sprintf(node, "%.*s", (int)n, host);
}

/* Another host has an environment of its own; what was asked for goes there as it is. */
static void add_environments(struct builder *b, struct plan *p, enum plan_use use, const struct brood_spawn_options *o)
{
	if (o->host) {
		p->env = add_list(b, o->env);
		p->env_add = add_list(b, o->env_add);
		return;
	}
	p->env = (const char **)(void *)add_environment(b, o->env ? o->env : (const char *const *)environ, o->env_add,
							use != PLAN_EXEC && !(o->flags & BROOD_PLAIN));
}

/* Into a block, or only its size. */
static size_t build(char *block, enum plan_use use, const char *const *argv, const struct brood_spawn_options *o)
{
	struct builder b = { block, 0 };
	struct plan unused, *p = add_room(&b, sizeof(*p), alignof(struct plan));
	if (!p)
		p = &unused;
	memset(p, 0, sizeof(*p));
	p->argv = (const char **)(void *)add_argv(&b, argv);
	add_environments(&b, p, use, o);
	p->limits = add_limits(&b, o->limits);
	p->ids = add_ids(&b, o->ids);
	p->fds = add_stdio(&b, use, o, &p->n_fds);
	p->file = add_text(&b, o->file ? o->file : argv[0]);
	p->cwd = add_text(&b, o->cwd);
	p->name = add_text(&b, o->name);
	add_host(&b, p, o->host);
	p->input = o->input ? add_copy(&b, o->input, o->input_length, 1) : NULL;
	set_numbers(p, use, o);
	return b.used;
}

int plan_make(enum plan_use use, const char *const *argv, const struct brood_spawn_options *options, struct plan **ret,
	      const char **why)
{
	struct brood_spawn_options o = { 0 };
	if (options && options->size < sizeof(size_t)) {
		*why = "the options' size is not set: use BROOD_SPAWN() or BROOD_INIT()";
		return -EINVAL;
	}
	if (options)
		memcpy(&o, options, options->size < sizeof(o) ? options->size : sizeof(o));
	if ((*why = what_is_wrong(use, argv, &o)))
		return -EINVAL;
	if ((*why = cannot_cross(&o)))
		return -EXDEV;
	struct plan *p = malloc(build(NULL, use, argv, &o));
	if (!p)
		return -ENOMEM;
	(void)build((char *)p, use, argv, &o);
	if (!p->host)
		*p->env++ = p->birth; /* without channel: leave the first entry out */
	p->channel_fd = free_number(p);
	*ret = p;
	return 0;
}

void plan_set_channel(struct plan *p, unsigned long long inode)
{
	snprintf(p->birth, sizeof(p->birth), "BROOD_FD=%d:%llu", p->channel_fd, inode);
	p->env--;
}

const char *plan_title(const struct plan *p)
{
	const char *name = *p->argv[0] ? p->argv[0] : p->file;
	const char *slash = strrchr(name, '/'), *title = slash && slash[1] ? slash + 1 : name;
	return utf8_is_text((const uint8_t *)title, strlen(title)) ? title : "?";
}
