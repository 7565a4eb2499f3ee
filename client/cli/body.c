/*
 * body: an argument, or standard input as it is. No newline is added or taken away.
 */
#include "body.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP (64u * 1024u)
#define MOST (64u * 1024u * 1024u) /* no message is longer */

static int make_room(struct body *body, size_t *room)
{
	if (*room - body->length >= STEP)
		return 0;
	size_t larger = *room * 2 + STEP;
	char *bytes = realloc(body->bytes, larger);
	if (!bytes)
		return -ENOMEM;
	body->bytes = bytes;
	*room = larger;
	return 0;
}

static int read_all(struct body *body)
{
	size_t room = 0;
	for (;;) {
		int rc = make_room(body, &room);
		if (rc < 0)
			return rc;
		ssize_t n = read(STDIN_FILENO, body->bytes + body->length, room - body->length);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			body->length += (size_t)n;
		if (body->length > MOST)
			return -EMSGSIZE;
	}
}

static int copy(struct body *body, const char *text)
{
	body->length = strlen(text);
	body->bytes = strdup(text);
	return body->bytes ? 0 : -ENOMEM;
}

int body_init(struct body *body, const char *argument)
{
	*body = (struct body){ 0 };
	int rc = 0;
	if (argument && strcmp(argument, "-") != 0)
		rc = copy(body, argument);
	else if (argument || !isatty(STDIN_FILENO))
		rc = read_all(body);
	if (rc < 0)
		body_deinit(body);
	return rc;
}

void body_deinit(struct body *body)
{
	free(body->bytes);
	*body = (struct body){ 0 };
}
