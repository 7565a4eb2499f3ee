/*
 * queue: two lists. A message that is in one of them is kept, so it fills its sender's window: that, and no number here,
 * bounds the memory.
 */
#include "queue.h"
#include <errno.h>
#include <stdlib.h>

void queue_init(struct queue *q)
{
	TAILQ_INIT(&q->given);
	TAILQ_INIT(&q->waiting);
	q->n_given = 0;
}

int queue_add(struct queue *q, brood_msg *msg)
{
	struct task *t = malloc(sizeof *t);
	if (t)
		*t = (struct task){ .msg = brood_msg_keep(msg), .is_question = msg->wants_reply };
	if (!t || !t->msg) {
		free(t);
		return -ENOMEM;
	}
	TAILQ_INSERT_TAIL(&q->waiting, t, entry);
	return 0;
}

static void drop(struct task_list *list, struct task *t)
{
	TAILQ_REMOVE(list, t, entry);
	brood_msg_release(t->msg);
	free(t);
}

struct task *queue_next(struct queue *q)
{
	struct task *t;
	while ((t = TAILQ_FIRST(&q->waiting)) && t->is_question && !t->msg->wants_reply)
		drop(&q->waiting, t);
	return t;
}

void queue_give(struct queue *q)
{
	struct task *t = TAILQ_FIRST(&q->waiting);
	TAILQ_REMOVE(&q->waiting, t, entry);
	TAILQ_INSERT_TAIL(&q->given, t, entry);
	q->n_given++;
}

void queue_skip(struct queue *q)
{
	drop(&q->waiting, TAILQ_FIRST(&q->waiting));
}

int queue_answer(struct queue *q, const void *line, size_t length)
{
	struct task *t = TAILQ_FIRST(&q->given);
	if (!t)
		return 0;
	if (t->is_question)
		brood_reply(t->msg, BROOD_MSG("text", line, length));
	drop(&q->given, t);
	q->n_given--;
	return 1;
}

static unsigned fail(struct task_list *list, int code, const char *text)
{
	unsigned plain = 0;
	struct task *t;
	while ((t = TAILQ_FIRST(list))) {
		plain += !t->is_question;
		if (t->is_question)
			brood_reply_error(t->msg, code, text);
		drop(list, t);
	}
	return plain;
}

unsigned queue_fail_given(struct queue *q, int code, const char *text)
{
	q->n_given = 0;
	return fail(&q->given, code, text);
}

unsigned queue_fail_waiting(struct queue *q, int code, const char *text)
{
	return fail(&q->waiting, code, text);
}

int queue_is_empty(const struct queue *q)
{
	return TAILQ_EMPTY(&q->given) && TAILQ_EMPTY(&q->waiting);
}
