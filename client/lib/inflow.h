/*
 * inflow: what has come from one sender on one stream. Pure: no sockets, no time.
 *
 * Exactly the next item is taken, older ones are old news, newer ones are ignored: the sender will go back. What was
 * taken counts as *consumed* when its handler returned or the kept message was released; consumption is told to the
 * sender as one number, so a message that is held holds back those behind it. We owe the sender an acknowledgement when
 * it asked for one and something was consumed since the last.
 */
#ifndef BROOD_INFLOW_H
#define BROOD_INFLOW_H

#include "message.h"
#include "parcel.h"
#include <sys/queue.h>

struct inflow_hold { /* part of a message that was taken and is not consumed yet */
	TAILQ_ENTRY(inflow_hold) next;
	uint64_t sequence;
};
TAILQ_HEAD(inflow_holds, inflow_hold);

struct inflow_assembly { /* a message of several items, under construction */
	uint8_t *bytes;  /* NULL: none */
	size_t have;
	uint64_t landing;  /* item whose body inflow_land() said where to put, else 0 */
	struct item first; /* kind, total, correlation, deadline; name and trace not used */
	const char *type;
	char *trace;
	struct parcel *parcel; /* came with the first fragment, or NULL */
};

struct inflow {
	uint64_t next;             /* sequence that is taken next */
	uint64_t told;             /* last acknowledged to the sender */
	uint64_t asked;            /* highest item for which an acknowledgement was asked */
	uint64_t handling;         /* item whose handler runs, 0: none */
	struct inflow_holds holds; /* those that outlive their handler, by sequence */
	char **types;              /* bound names, by number - 1; [ITEM_TYPES] is the last unnumbered one */
	struct inflow_assembly assembly;
};

void inflow_init(struct inflow *);
void inflow_deinit(struct inflow *);

/* The sender begins again with 1. What is held of before stays held, but holds nothing back any more. */
void inflow_begin_anew(struct inflow *);

/* All up to this were consumed. */
uint64_t inflow_consumed(const struct inflow *);
/* 1 if the sender waits for an acknowledgement that can be given. */
int inflow_owes(const struct inflow *);
/* The acknowledgement went out with this number. */
void inflow_tell(struct inflow *, uint64_t sequence);
/* The sender asks for an acknowledgement of everything up to `sequence`; an old one is repeated. */
void inflow_ask(struct inflow *, uint64_t sequence);
/* A PROBE says that this item comes next (0: does not say): what was told is told again, and what is before it when it can be. */
void inflow_probe(struct inflow *, uint64_t sequence);

/* The item's handler begins, unless another one is waiting further up; ends. */
static inline void inflow_begin(struct inflow *in, uint64_t sequence)
{
	if (!in->handling)
		in->handling = sequence;
}

static inline void inflow_finish(struct inflow *in, uint64_t sequence)
{
	if (in->handling == sequence)
		in->handling = 0;
}

/* The item outlives its handler, or waits for it: hold it. */
void inflow_hold(struct inflow *, struct inflow_hold *, uint64_t sequence);
void inflow_release(struct inflow *, struct inflow_hold *);

/* Name of the item's type ("" if untyped), valid until the next unnumbered one. 0; -ENOMEM; -EPROTO: a number that was
 * never bound, or is bound to another name. */
int inflow_type(struct inflow *, const struct item *, const char **ret);

/* The same for a number up to ITEM_TYPES that was bound before (or 0). NULL: it was not. */
static inline const char *inflow_bound_type(const struct inflow *in, unsigned number)
{
	if (number == 0)
		return "";
	return in->types ? in->types[number - 1] : NULL;
}

/*
 * Where the body of a fragment that has not come yet is to be put, so that it need not be copied, if it is the next; or
 * NULL: nowhere. `again`: so it was said before, and some of it is there.
 */
uint8_t *inflow_land(struct inflow *, const struct item *, uint64_t sequence, int again);

/*
 * Add a fragment. `landed`: its body is where inflow_land() said. 1: the message is whole: assembly.bytes (malloc, NUL-ended, now the caller's after
 * inflow_assembly_take()). 0: more to come. -EPROTO, -ENOMEM; -ESTALE: it landed where nothing is any more.
 */
int inflow_assemble(struct inflow *, const struct item *, const char *type, int landed);
uint8_t *inflow_assembly_take(struct inflow *);

#endif
