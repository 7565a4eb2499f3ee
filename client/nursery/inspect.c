/*
 * inspect: see inspect.h. The steps are those of `brood check`, but for the last: there the kernel is made to try, which takes
 * a process, and nobody but a keeper makes one here.
 */
#include "inspect.h"
#include "program.h"
#include <brood/pb.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEPS 4

struct steps {
	Brood__Nursery__Step list[STEPS], *pointers[STEPS];
	char texts[STEPS][PROGRAM_TEXT];
	size_t n;
};

/* 0: there is no use in going on. */
static int add(struct steps *s, const char *name, int answer, const char *text)
{
	Brood__Nursery__Step *step = s->pointers[s->n] = &s->list[s->n];
	brood__nursery__step__init(step);
	strcpy(s->texts[s->n], text);
	step->name = (char *)(uintptr_t)name;
	step->answer = answer;
	step->text = (ProtobufCBinaryData){ strlen(text), (uint8_t *)s->texts[s->n] };
	s->n++;
	return answer != 0;
}

static int look_at_directory(struct steps *s, const struct order *o)
{
	char text[PROGRAM_TEXT], here[PATH_MAX];
	const char *directory = o->cwd ? o->cwd : getcwd(here, sizeof(here));
	struct stat st;
	int is_one = directory && stat(directory, &st) == 0;
	if (is_one && !S_ISDIR(st.st_mode))
		errno = ENOTDIR;
	int ok = is_one && S_ISDIR(st.st_mode) && access(directory, X_OK) == 0;
	snprintf(text, sizeof(text), "%.4000s%s%s", directory ? directory : "the nursery's own", ok ? "" : ": ",
		 ok ? "" : strerror(errno));
	return add(s, "directory", ok, text);
}

static const char *path_of(const struct order *o)
{
	int is_named = 0;
	for (const char **e = o->env_add; *e; e++) {
		if (strncmp(*e, "PATH=", 5) == 0)
			return *e + 5;
		is_named |= strcmp(*e, "PATH") == 0; /* it is removed */
	}
	for (const char **e = o->env; !is_named && *e; e++)
		if (strncmp(*e, "PATH=", 5) == 0)
			return *e + 5;
	return NULL;
}

/* As it is called from here, where the program's directory is another. */
static const char *called(const struct order *o, char to[PATH_MAX])
{
	if (!o->cwd || o->file[0] == '/' || !strchr(o->file, '/'))
		return o->file;
	return snprintf(to, PATH_MAX, "%s/%s", o->cwd, o->file) < PATH_MAX ? to : o->file;
}

static void look(struct steps *s, const struct order *o, struct program_file *p)
{
	char name[PATH_MAX];
	if (!look_at_directory(s, o) || !add(s, "found", program_found(p, called(o, name), path_of(o)), p->text) ||
	    !add(s, "allowed", program_allowed(p), p->text))
		return;
	(void)add(s, "format", program_understood(p), p->text);
}

void inspect_answer(brood_msg *msg, const struct order *o)
{
	static struct steps s;
	static struct program_file p; /* both are too large for the stack, and used up before this returns */
	Brood__Nursery__Checked m = BROOD__NURSERY__CHECKED__INIT;
	s.n = 0;
	p.path[0] = '\0';
	look(&s, o, &p);
	m.path = (ProtobufCBinaryData){ strlen(p.path), (uint8_t *)p.path };
	m.n_step = s.n;
	m.step = s.pointers;
	(void)brood_reply_pb(msg, &m.base);
}
