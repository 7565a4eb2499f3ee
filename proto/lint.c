/*
 * lint: walks a message type and everything inside it.
 *
 * The walk keeps the path from the outermost type in a chain on the stack: a type that is already on it is recursive.
 * That rule is checked first, along the whole way down, so the second walk, for repeated fields, always ends.
 */
#include "lint.h"
#include <errno.h>
#include <stdio.h>

struct path {
	const ProtobufCMessageDescriptor *type;
	const struct path *outer;
};

static const ProtobufCMessageDescriptor *inner_type(const ProtobufCFieldDescriptor *field)
{
	return field->type == PROTOBUF_C_TYPE_MESSAGE ? field->descriptor : NULL;
}

static int is_on(const struct path *path, const ProtobufCMessageDescriptor *type)
{
	for (; path; path = path->outer)
		if (path->type == type)
			return 1;
	return 0;
}

static int check_recursion(const struct path *path, char *why, size_t n)
{
	unsigned i;

	for (i = 0; i < path->type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &path->type->fields[i];
		struct path inner = { inner_type(field), path };

		if (!inner.type)
			continue;
		if (is_on(path, inner.type)) {
			snprintf(why, n, "%s.%s: %s contains itself; a few bytes could overflow the stack",
				 path->type->name, field->name, inner.type->name);
			return -EINVAL;
		}
		if (check_recursion(&inner, why, n) < 0)
			return -EINVAL;
	}
	return 0;
}

/* The first repeated field in a type or further inside, or NULL. */
static const ProtobufCFieldDescriptor *find_repeated(const ProtobufCMessageDescriptor *type)
{
	const ProtobufCFieldDescriptor *found = NULL;
	unsigned i;

	for (i = 0; i < type->n_fields && !found; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];

		if (field->label == PROTOBUF_C_LABEL_REPEATED)
			found = field;
		else if (inner_type(field))
			found = find_repeated(inner_type(field));
	}
	return found;
}

static int check_merging(const ProtobufCMessageDescriptor *type, char *why, size_t n)
{
	unsigned i;

	for (i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i], *repeated;
		const ProtobufCMessageDescriptor *inner = inner_type(field);

		if (!inner)
			continue;
		repeated = field->label == PROTOBUF_C_LABEL_REPEATED ? NULL : find_repeated(inner);
		if (repeated) {
			snprintf(why, n,
				 "%s.%s: a singular %s with the repeated field %s in it; sent twice it is merged in "
				 "quadratic time",
				 type->name, field->name, inner->name, repeated->name);
			return -EINVAL;
		}
		if (check_merging(inner, why, n) < 0)
			return -EINVAL;
	}
	return 0;
}

int lint_message(const ProtobufCMessageDescriptor *type, char *why, size_t n)
{
	struct path outermost = { type, NULL };

	if (check_recursion(&outermost, why, n) < 0)
		return -EINVAL;
	return check_merging(type, why, n);
}
