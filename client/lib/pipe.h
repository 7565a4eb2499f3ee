/*
 * pipe: my end of one of a child's descriptors: a pipe, a socket pair, or a terminal's master.
 *
 * Reading  A chunk is read into the pipe's buffer and shown to its sink; nothing more is read until pipe_taken(), so a
 *          slow program slows its child and costs 64 KiB. The end of the stream is shown once, as a chunk of no bytes.
 * Writing  What the child does not take at once waits in a queue of 64 KiB.
 *
 * Two things ask for "what was written so far and no more": the child's exit, and the linger time after it. Both note
 * how many bytes are in the pipe (pipe_owe()); pipe_settled() is true when those were shown.
 */
#ifndef BROOD_PIPE_H
#define BROOD_PIPE_H

#include "handle.h"
#include "tail.h"

enum pipe_kind { PIPE_PLAIN, PIPE_SOCKET, PIPE_TERMINAL };

struct pipe;

struct pipe_sink { /* who takes what was read; given at creation */
	/* p->have bytes at p->buffer (a NUL behind them); at the end p->ended and 0, or what was kept: pipe_taken() when
	 * they are done with. */
	void (*chunk)(struct pipe *);
	/* It takes more input after -EAGAIN. */
	void (*drained)(struct pipe *);
	/* Its input could not be written: nobody reads it any more; so many bytes were left. */
	void (*broken)(struct pipe *, size_t left);
	/* It may be that pipe_settled() or pipe_is_open() changed. */
	void (*moved)(struct pipe *);
};

struct pipe {
	struct source source;    /* fd -1: closed */
	struct brood_peer *peer; /* whose it is */
	const struct pipe_sink *sink;
	int target; /* what the child calls it */
	enum pipe_kind kind;
	unsigned reads : 1, writes : 1; /* which ways are (still) open */
	unsigned paused : 1;
	unsigned showing : 1; /* the buffer is with the sink */
	unsigned ended : 1;   /* the end was read, and is to be shown or was */
	unsigned final : 1;   /* nothing is read beyond what is owed */
	unsigned ending : 1;  /* close the writing side when the queue is empty */
	unsigned want_drain : 1;
	unsigned mid_line : 1;   /* terminal: what was written last was not the end of a line */
	unsigned lines_lost : 1; /* said that nobody logs its lines */
	unsigned keeps_tail : 1; /* what was read last is remembered ... */
	struct tail tail;        /* ... here */
	uint8_t *buffer;
	size_t have, kept;      /* bytes shown; of those taken before, still at the beginning of the buffer */
	size_t owed, more;      /* to be read before EXIT or the end; how much more may come to that */
	struct event_item item; /* shows the chunk to the program */
	uint8_t *queue;         /* bytes from at to end wait to be written */
	size_t at, end, size;
};

#define PIPE_ROOM ((size_t)64 * 1024) /* of the buffer and of the queue */

/* Take over the descriptor. */
void pipe_init(struct pipe *, struct brood_peer *, enum pipe_kind, int target, int fd, const struct pipe_sink *);
/* Close it; a chunk that is with the sink stays valid, and it hears of input that was not written. */
void pipe_shut(struct pipe *);
void pipe_deinit(struct pipe *);

/* As brood_write(), without words: 0, -EAGAIN, -EPIPE, -EBADF, -ENOMEM. */
int pipe_write(struct pipe *, const void *, size_t);
/* End the writing side after what waits. */
int pipe_end(struct pipe *);

/* Nobody will read what waits, and nothing more: how many bytes that were. */
size_t pipe_drop_input(struct pipe *);

/* The sink is done with the chunk. */
void pipe_taken(struct pipe *);
/* ... but for the last n bytes, which come again with what follows them, or with the end. */
void pipe_taken_but(struct pipe *, size_t n);
/* The sink is done with the first n bytes only, and keeps the chunk. */
void pipe_keep(struct pipe *, size_t n);
void pipe_pause(struct pipe *, int paused);
/* Read no more, so that who writes learns it; a chunk that is with the sink is the last. */
void pipe_stop_reading(struct pipe *);

/* What is in there now is to be shown before pipe_settled(); nothing, while it is paused. */
void pipe_owe(struct pipe *);
/* As pipe_owe(), and behind that the stream ends, whoever else holds it open. */
void pipe_finish(struct pipe *);

static inline int pipe_settled(const struct pipe *p)
{
	return p->owed == 0;
}

/* Something may still be read from it. */
static inline int pipe_is_open(const struct pipe *p)
{
	return p->reads;
}

/* It stands still because the program does not take its chunk, or has paused it. */
static inline int pipe_is_stuck(const struct pipe *p)
{
	return p->reads && (p->item.pipe || p->paused);
}

#endif
