/*
 * door: a sink without a session. What is not taken at once is not said: nothing else was ever written there, so there is
 * room for a short frame. SIGPIPE is ignored in this program.
 */
#include "door.h"
#include "brood.pb-c.h"
#include "error.h"
#include "note.h"
#include <unistd.h>

struct door {
	struct sink sink;
	int fd;
};

static void door_put(struct sink *sink, struct edge *edge, const uint8_t *bytes, size_t n)
{
	(void)edge;
	(void)!write(((struct door *)sink)->fd, bytes, n);
}

void door_say_full(int fd)
{
	const struct error_reason *reason = error_reason("broker.full");
	Brood__Goodbye goodbye = BROOD__GOODBYE__INIT;
	struct door door = { { .put = door_put }, fd };
	char text[] = "the broker has no descriptor left for another connection";

	goodbye.parting = BROOD__PARTING__PARTING_REFUSED;
	goodbye.code = reason->code;
	goodbye.error = (char *)(uintptr_t)reason->name;
	goodbye.hint = (char *)(uintptr_t)reason->hint;
	goodbye.text = text;
	note_put(&door.sink, FRAME_GOODBYE, &goodbye.base);
}
