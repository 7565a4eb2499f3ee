/*
 * diary: what a program was told about one peer, written down in order. Give it to a peer or a handle by
 *
 *   struct diary d = { 0 };
 *   brood_spawn(b, &kid, argv, BROOD_SPAWN(.on = diary_table, .data = &d))
 *
 * and look into it afterwards: d.order is "SRmDEC" for a child that started, connected, sent messages, and ended.
 */
#ifndef DIARY_H
#define DIARY_H

#include "numbered.h"

#define DIARY_FDS 6

struct diary_output { /* what a child wrote to one descriptor */
	uint64_t bytes, sum;
	unsigned ends; /* times its end was told */
	char text[256];
	size_t used; /* of text */
};

struct diary {
	/*
	 * S spawn, R ready, m messages and o output (a run of them is one letter), d drain, ! error, D disconnect, E exit,
	 * C close, J join, w wake, x result, c confirm. Not in it: replies, and away and back, which may come or not, depending on who sees a death first.
	 */
	char order[256];
	unsigned n[BROOD_EVENT_CONFIRM + 1]; /* events, by type */
	uint64_t bytes;                      /* of messages */
	uint64_t next, wrong;                /* numbered messages: the number expected next; how many were another */
	struct brood_exit exit;              /* of EXIT, with copies of its texts */
	char stage[32], exit_text[256];
	int code; /* of the last ERROR or failed REPLY */
	char error[64], text[256];
	char why[64];              /* of DISCONNECT: its error's name */
	char type[256], body[256]; /* the beginning of the last message or reply */
	uint64_t length;
	struct diary_output output[DIARY_FDS]; /* by descriptor; the last for all above */
	int drained;                           /* descriptor of the last DRAIN */
	int failed;                            /* RESULT: it had an error (code, error, text) */
	size_t out_length, err_length;         /* RESULT, and the beginning of both */
	char out[256], err[256];
	brood_peer *peer; /* of the last event */
	brood_fn *also;   /* called after each event was written down; its result is the callback's */
	void *data;       /* for it */
};

/* All events go to diary_write(). */
extern const struct brood_handlers *const diary_table;

/* As a callback: event->data is the diary. Also for brood_request(). */
int diary_write(const brood_event *);

/* All messages and replies that came. */
static inline unsigned diary_messages(const struct diary *d)
{
	return d->n[BROOD_EVENT_MESSAGE];
}

#endif
