/*
 * parent: see parent.h. The proxy passes no descriptors, so the channels that are given to children lead nowhere, and they
 * come by their tickets: the longer way.
 */
#include "parent.h"
#include "numbered.h"
#include <brood.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define FLUSH_MS 120000u

struct family {
	struct stage *stage;
	struct actor *me;
	brood *b;
	brood_peer *child; /* NULL: none lives */
	uint64_t goal, n;  /* children to start, started */
	uint64_t expected; /* of the child's messages */
	uint64_t begin_ms, spawned_ms;
	int exited, closed;
};

static void trouble(struct family *f, const char *what, const struct brood_error *e)
{
	if (*f->me->trouble)
		return;
	snprintf(f->me->trouble, sizeof(f->me->trouble), "child %" PRIu64 "/%" PRIu64 ": %s %s %s", f->n, f->expected,
		 what, e ? e->name : "", e ? e->text : "");
}

/* Nobody else has to do with us. */
static int is_childs(struct family *f, const brood_event *e)
{
	struct brood_peer_info info;
	char what[80];
	if (e->peer == f->child)
		return 1;
	BROOD_INIT(info);
	(void)brood_info(e->peer, &info);
	snprintf(what, sizeof(what), "event %d of %s, which is not the child", e->type, info.address);
	trouble(f, what, e->error);
	return 0;
}

static int on_message(const brood_event *e)
{
	struct family *f = e->data;
	if (!is_childs(f, e))
		return 0;
	uint64_t n = numbered_read(e->msg);
	if (f->exited)
		trouble(f, "a message after EXIT", NULL);
	if (n == f->expected) {
		f->me->delivered++;
	} else {
		f->me->duplicated += n < f->expected;
		f->me->reordered += n > f->expected;
		trouble(f, "not the next", NULL);
	}
	f->expected = n + 1;
	return 0;
}

static int on_exit_event(const brood_event *e)
{
	struct family *f = e->data;
	if (!is_childs(f, e))
		return 0;
	if (e->exit->code != 0)
		trouble(f, e->exit->text, NULL);
	if (f->expected != CHILD_MESSAGES)
		trouble(f, "EXIT before all messages:", NULL);
	f->exited++;
	return 0;
}

static int on_close(const brood_event *e)
{
	struct family *f = e->data;
	uint64_t took = stage_now_ms() - f->spawned_ms;
	if (!is_childs(f, e))
		return 0;
	if (f->exited != 1 || f->closed++)
		trouble(f, "CLOSE out of turn", NULL);
	if (took > f->me->slowest_ms)
		f->me->slowest_ms = took;
	f->me->answered++;
	brood_release(f->child);
	f->child = NULL;
	return 0;
}

static int on_error(const brood_event *e)
{
	trouble(e->data, "error", e->error);
	return 0;
}

static int on_away(const brood_event *e)
{
	struct family *f = e->data;
	f->me->away += e->peer == brood_self(e->handle);
	return 0;
}

static uint64_t due(const struct family *f)
{
	uint64_t all = (uint64_t)f->stage->wish.seconds * 1000, passed = stage_now_ms() - f->begin_ms;
	return passed >= all ? f->goal : f->goal * passed / all;
}

static void start_child(struct family *f)
{
	if (f->child || f->n >= due(f))
		return;
	f->expected = 0;
	f->exited = f->closed = 0;
	f->spawned_ms = stage_now_ms();
	if (brood_spawn(f->b, &f->child, BROOD_ARGV("/proc/self/exe", "--child"), NULL) < 0) {
		trouble(f, "spawn", brood_last_error(f->b));
		return;
	}
	f->n++;
	f->me->asked++;
	f->me->sent += CHILD_MESSAGES;
}

static int connect_parent(struct family *f, unsigned number)
{
	const struct brood_handlers *on = BROOD_ON(.message = on_message, .error = on_error, .away = on_away,
						   .exit = on_exit_event, .close = on_close);
	return stage_connect(&f->b, stage_address(f->stage, number),
			     BROOD_OPTIONS(.on = on, .data = f, .token_file = f->stage->token_file));
}

int parent_play(struct stage *stage, unsigned number)
{
	struct family f = { .stage = stage, .me = &stage->actors[number], .begin_ms = stage_now_ms() };
	f.goal = stage->wish.children;
	if (connect_parent(&f, number) < 0)
		return 1;
	while (!stage->finish) {
		start_child(&f);
		if (brood_process(f.b, 10) < 0) {
			trouble(&f, "the handle failed", brood_last_error(f.b));
			break;
		}
		f.me->done = f.n == f.goal && !f.child;
	}
	brood_close(f.b);
	return *f.me->trouble != 0;
}

int child_play(void)
{
	brood *b;
	if (brood_connect(&b, NULL, BROOD_OPTIONS(.flush_ms = FLUSH_MS)) < 0 || !brood_parent(b))
		return 3;
	for (uint64_t i = 0; i < CHILD_MESSAGES; i++)
		if (numbered_send(brood_parent(b), i, NUMBERED_MIN + i * 31 % 9000, BROOD_BLOCK) < 0)
			return 4;
	exit(0); /* which flushes */
}
