/*
 * queue: messages that a worker holds: the oldest ones are with its filter, in the order of its lines; the others wait.
 */
#ifndef QUEUE_H
#define QUEUE_H

#include <brood.h>
#include <sys/queue.h>

struct task {
	TAILQ_ENTRY(task) entry;
	brood_msg *msg;
	int is_question; /* somebody waited for an answer when it came */
};
TAILQ_HEAD(task_list, task);

struct queue {
	struct task_list given, waiting;
	unsigned n_given;
};

void queue_init(struct queue *);

/* Keep a message, behind all others. 0 or -ENOMEM. */
int queue_add(struct queue *, brood_msg *);

/* The first one that waits, or NULL; questions whose asker gave up meanwhile are dropped. */
struct task *queue_next(struct queue *);
/* That one is with the filter now, which will write a line for it. */
void queue_give(struct queue *);
/* That one is done without a line. */
void queue_skip(struct queue *);

/* The oldest one with the filter is done: answer it, if it wants that. 0: there was none. */
int queue_answer(struct queue *, const void *line, size_t length);

/* All that are with the filter, or all that wait, end in this error. How many were plain messages. */
unsigned queue_fail_given(struct queue *, int code, const char *text);
unsigned queue_fail_waiting(struct queue *, int code, const char *text);

int queue_is_empty(const struct queue *);

#endif
