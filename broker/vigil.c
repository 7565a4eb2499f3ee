/*
 * vigil: see vigil.h. An answer is a frame on the way back, alone in the turn after the question's.
 */
#include "vigil.h"

#define MISSED_MOST 10 /* then one of 1024 answers is waited for */

/* The edge on which the question was that this one answers, or NULL. */
static struct edge *question_of(const struct vigil *v, const struct edge *answer)
{
	struct edge *e = answer->destination ? answer->destination->last : NULL;

	return e && e == v->edge && answer->source && e->destination == answer->source ? e : NULL;
}

static void came(struct edge *question, int looked)
{
	if (question->answers < UINT16_MAX)
		question->answers++;
	if (looked && question->missed > 0)
		question->missed--;
}

int vigil_begin(struct vigil *v)
{
	uint64_t n = v->router->frames - v->frames;
	struct edge *e = n == 1 ? v->router->latest : NULL, *question = e ? question_of(v, e) : NULL;

	if (n == 0)
		return 0;
	v->frames = v->router->frames;
	if (question)
		came(question, v->looked);
	v->edge = e;
	v->looked = e && e->answers >= 1u << e->missed;
	return v->looked;
}

void vigil_in_vain(struct vigil *v)
{
	struct edge *e = v->router->latest;

	v->looked = 0;
	if (!e)
		return;
	e->answers = 0;
	if (e->missed < MISSED_MOST)
		e->missed++;
}
